"""What the grid's models and map files are called: in params.yaml, in measurements, in pictures."""

from __future__ import annotations

from typing import Literal, NamedTuple

from vitol.methods import ABOUT, MethodName, Preset


class Model(NamedTuple):
    """A model of the grid as measurements name it, and its name for people."""

    variant: Literal["baseline", "control", "padl"]
    position: Literal["", "MMp", "MpM"]
    title: str


MODELS = {
    "baseline": Model("baseline", "", "baseline"),
    "control": Model("control", "", "control"),
    "mmp": Model("padl", "MMp", "p-ADL MMp"),
    "mpm": Model("padl", "MpM", "p-ADL MpM"),
}


# Maps of the tables, by the method that makes them.
METHODS: dict[str, MethodName] = {"AR": "ar", "GAR": "gar", "LRP": "lrp"}

# The file, without its end, that holds the maps of (map, preset). AR normalises the rows of I + A in both presets,
# as its authors do, and LRP in neither, as Eqs. 9-10 and the released code: one file serves both.
MAP_FILES: dict[tuple[str, Preset], str] = {
    ("AR", "release"): "ar-release",
    ("AR", "paper"): "ar-release",
    ("GAR", "release"): "gar-release",
    ("GAR", "paper"): "gar-paper",
    ("LRP", "release"): "lrp-release",
    ("LRP", "paper"): "lrp-release",
}

# Files with a second one beside them, PREDICTED added to its name: the maps of the predicted class, not the label.
OF_CLASS = {file for (name, _), file in MAP_FILES.items() if ABOUT[METHODS[name]].of_class}
PREDICTED = "-predicted"
