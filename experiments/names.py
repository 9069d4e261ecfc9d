"""What the grid's models and map files are called: in params.yaml, in measurements, in pictures."""

from __future__ import annotations

from typing import Literal, NamedTuple

from vitol.cams.about import RIVALS
from vitol.methods import ABOUT, MethodName, Preset


class Model(NamedTuple):
    """A model of the grid as measurements name it, and its name for people."""

    variant: str
    position: Literal["", "MMp", "MpM"]
    title: str


# The paper's own.
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
OF_CLASS = {key for key, rival in RIVALS.items() if not rival.with_boxes} | {
    file for (name, _), file in MAP_FILES.items() if ABOUT[METHODS[name]].of_class
}
PREDICTED = "-predicted"


def named(model: str) -> Model:
    """What measurements and people call one of `MODELS` or one of the rivals."""
    return MODELS[model] if model in MODELS else Model(model, "", RIVALS[model].title)


def with_boxes(model: str) -> bool:
    """Whether a model is trained on the boxes of the validation split."""
    return model not in MODELS and RIVALS[model].with_boxes


def classifies(model: str) -> bool:
    """Whether a model has class scores."""
    return not with_boxes(model)


def map_files(model: str) -> dict[tuple[str, Preset | Literal[""]], str]:
    """The files of a model's maps, as `MAP_FILES`; a rival has one, and no presets."""
    if model in MODELS:
        return {(name, preset): file for (name, preset), file in MAP_FILES.items()}
    return {(RIVALS[model].title, ""): model}


def shown_file(model: str, name: str) -> str:
    """The file of the maps that tables and pictures show: of the preset release, or of a rival."""
    return MAP_FILES[name, "release"] if model in MODELS else model


def map_names(model: str) -> tuple[str, ...]:
    """What a model's maps are called."""
    return tuple(METHODS) if model in MODELS else (RIVALS[model].title,)
