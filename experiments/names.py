"""What the grid's models and map files are called: in params.yaml, in measurements, in pictures."""

from __future__ import annotations

from typing import Literal, NamedTuple


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

# The file, without its end, that holds the maps of (map, preset). AR is the same in both presets.
MAP_FILES = {
    ("AR", "release"): "ar-release",
    ("AR", "paper"): "ar-release",
    ("GAR", "release"): "gar-release",
    ("GAR", "paper"): "gar-paper",
}
