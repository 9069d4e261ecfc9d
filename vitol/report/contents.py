"""What stands on the page: sheets of numbers, pictures, and galleries of images with their maps.

n images of a gallery, k ground-truth boxes of an image, h x w map grid, L = 255 distinct thresholds, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vitol.boxes import DISTINCT_THRESHOLDS
from vitol.localizations import DELTAS

Of = Literal["label", "predicted", "any"]
"""Whose class a layer's maps are of; "any" where the method does not ask for one."""


@dataclass(frozen=True)
class Cell:
    """An entry of a sheet.

    Attributes:
        text: What it says.
        value: What it is sorted by; None sorts by the text, and puts a number that is missing last.
        note: A second, smaller line, such as an interval.
    """

    text: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a sheet: its name, the group it stands in ("" for none), and whether it holds numbers."""

    name: str
    group: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a sheet; `aside` sets it apart, as one that the paper lacks."""

    cells: tuple[Cell, ...]
    aside: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table to sort.

    Attributes:
        title: Its heading; sheets that follow each other under one title are shown one at a time.
        part: What tells such sheets apart, for instance the metric.
        note: What the reader has to know.
        columns: Its columns.
        rows: Its lines, as many cells each.

    Raises:
        ValueError: A line has more cells or fewer.
    """

    title: str
    part: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        """Refuse lines of another length."""
        for at, row in enumerate(self.rows):
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"{self.title}, {self.part}: row {at} has {len(row.cells)} cells; needed: {len(self.columns)}, "
                    "one a column"
                )


@dataclass(frozen=True)
class Picture:
    """A plot: its title, the text below it, and the bytes of its PNG."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, eq=False)
class Photo:
    """An image of a gallery.

    Attributes:
        name: Its id.
        pixels: RGB, (H, W, 3) uint8; they may be fewer than the image's.
        label: Its class.
        truths: Ground truth in pixels of the score map, see `vitol.rectangles.scaled_truths`, (k, 4), k >= 1.
        subset: Where the split has subsets, its own; else "".
    """

    name: str
    pixels: np.ndarray
    label: int
    truths: np.ndarray
    subset: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy over threshold: percent of `n_images` for each of `vitol.localizations.DELTAS`, (3, L)."""

    accuracy: np.ndarray
    n_images: int


@dataclass(frozen=True, eq=False)
class Layer:
    """Maps of all images of a gallery by one method of one model.

    Attributes:
        model: Its name.
        method: Its name.
        of: The class that the maps are of.
        maps: One an image, n arrays (h, w) of any sizes, as the method gave them.
        threshold: Where the slider starts, a fraction in [0, 1).
        chosen: How that threshold was chosen, in a few words.
        curve: Over all images that were scored; None takes the gallery's own.
        predicted: The class that the model predicts of every image, n numbers; None without a classifier.
    """

    model: str
    method: str
    of: Of
    maps: Sequence[np.ndarray]
    threshold: float
    chosen: str
    curve: Curve | None = None
    predicted: Sequence[int] | np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images, and what models and methods make of them.

    Attributes:
        title: Such as data set and backbone.
        note: What the reader has to know: split, number of images, policy.
        classes: Names by label; () where there are none.
        photos: The images.
        layers: The maps, in the order of choosing; the first one is shown first.

    Raises:
        ValueError: No image, no layer, one twice, or parts that do not fit each other.
    """

    title: str
    note: str
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        if not self.photos or not self.layers:
            raise ValueError(
                f"gallery {self.title!r} has {len(self.photos)} images and {len(self.layers)} layers of maps; "
                "give at least one of each"
            )
        keys = [(layer.model, layer.method, layer.of) for layer in self.layers]
        for layer, key in zip(self.layers, keys, strict=True):
            name = " ".join(filter(None, key))
            if keys.count(key) > 1:
                raise ValueError(f"gallery {self.title!r} has two layers of {name}; keep one")
            if len(layer.maps) != len(self.photos):
                raise ValueError(
                    f"gallery {self.title!r}, {name}: {len(layer.maps)} maps for {len(self.photos)} images"
                )
            needed = (len(DELTAS), len(DISTINCT_THRESHOLDS))
            if layer.curve is not None and layer.curve.accuracy.shape != needed:
                raise ValueError(
                    f"gallery {self.title!r}, {name}: the curve has shape {layer.curve.accuracy.shape}; needed: "
                    f"{needed}, a row for each IoU of {', '.join(map(str, DELTAS))}"
                )
            if layer.predicted is not None and len(layer.predicted) != len(self.photos):
                raise ValueError(
                    f"gallery {self.title!r}, {name}: {len(layer.predicted)} predicted classes for "
                    f"{len(self.photos)} images"
                )


@dataclass(frozen=True, eq=False)
class Contents:
    """The whole page.

    Attributes:
        title: Its heading.
        lead: What it is, in a sentence.
        sheets: Tables.
        pictures: Plots.
        galleries: Of one data set and backbone each.
    """

    title: str
    lead: str
    sheets: tuple[Sheet, ...]
    pictures: tuple[Picture, ...]
    galleries: tuple[Gallery, ...]
