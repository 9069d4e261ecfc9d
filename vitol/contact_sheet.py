"""A contact sheet: images of a data set with their boxes or masks, to see whether they are what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from vitol.datasets.layout import Layout
from vitol.datasets.splits import Split
from vitol.figures import PLAIN, QUIET, STYLE, save_png
from vitol.pxap import IGNORED
from vitol.split_masks import joined_mask
from vitol.wording import counted

COLUMNS = 6
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
TRUTH, LEFT_OUT = "#00E000", "#FFFFFF"
# Inches: a column, what is free between two, the title above all, the caption above an image, the gap below it.
_COLUMN, _FREE, _TITLE, _CAPTION, _GAP = 1.9, 0.12, 0.4, 0.34, 0.1
_CLASS_LETTERS, _ID_LETTERS = 27, 38  # that fit a column


@dataclass(frozen=True)
class Shown:
    """One image of a sheet: RGB (H, W, 3) uint8, its class and id, boxes (k, 4), and its mask (H, W) if it has one."""

    pixels: np.ndarray
    label: str
    image: str
    boxes: np.ndarray
    mask: np.ndarray | None


def contact_sheet(
    layout: Layout, split_name: str, path: Path, title: str, count: int = 24, seed: int = 0
) -> int:
    """Draw some images of a split with what is known of them; the same arguments give the same picture.

    Boxes are green rectangles. The outline of an object that is given by masks is green, that of what is left out
    white and dashed, and the title says so.

    Args:
        layout: The data set.
        split_name: Which of its splits.
        path: The PNG to write.
        title: What stands above all, before the numbers.
        count: How many images, at most; see `choose_images`.
        seed: Which ones.

    Returns:
        How many were drawn.

    Raises:
        ValueError: There is no such split; a number is out of range; an image or mask cannot be read.
    """
    split = layout.splits.get(split_name)
    if split is None:
        raise ValueError(f"there is no split {split_name!r}; choose one of {', '.join(layout.splits)}")
    rows = choose_images(split.labels, count, seed)
    shown = [read_image(layout, split, row) for row in rows.tolist()]
    kinds = len(set(split.labels[rows].tolist()))
    words = f"{title}: {len(shown):,} of {counted(len(split), 'image')}, "
    words += f"{kinds:,} of {len(layout.classes):,} classes, seed {seed}"
    if split.masks:
        words += ". Green: the object; white, dashed: left out"
    draw_sheet(shown, words, path)
    return len(shown)


def choose_images(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Images spread over the classes as evenly as they come, drawn at random, sorted by class.

    Args:
        labels: Class of each image, (n,).
        count: How many images, from 1; all if there are fewer.
        seed: Of the draw, from 0.

    Returns:
        Their places in the split, int64 (min(count, n),).

    >>> labels = np.array([0, 0, 0, 0, 1, 2])
    >>> labels[choose_images(labels, count=4, seed=0)].tolist()
    [0, 0, 1, 2]
    """
    if count < 1 or seed < 0:
        raise ValueError(f"count is {count} and seed {seed}; give at least 1 image, and a seed from 0")
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(labels))
    turns = {label: turn for turn, label in enumerate(generator.permutation(np.unique(labels)).tolist())}
    rounds: dict[int, int] = {}
    place = []
    for row in drawn.tolist():
        label = int(labels[row])
        rounds[label] = rounds.get(label, 0) + 1
        place.append((rounds[label], turns[label], row))
    chosen = [row for _, _, row in sorted(place)[:count]]
    return np.array(sorted(chosen, key=lambda row: (labels[row], row)), dtype=np.int64)


def read_image(layout: Layout, split: Split, row: int) -> Shown:
    """Read an image of a split, and its mask, scaled to the image.

    Raises:
        ValueError: One of them cannot be read.
    """
    image = split.ids[row]
    try:
        with Image.open(layout.images / image) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{layout.images / image} cannot be read as an image ({error}); restore it"
        ) from error
    mask = None
    if split.masks and split.masks[row]:
        size = pixels.shape[1::-1]
        mask = joined_mask(layout.images, split.masks[row], split.ignores[row], size, image)
    return Shown(pixels, layout.classes[split.labels[row]], image, split.boxes[row], mask)


def draw_sheet(shown: Sequence[Shown], title: str, path: Path) -> None:
    """Draw images row by row; a row is as high as its highest image, and an image at most as high as a column wide."""
    columns = min(COLUMNS, len(shown))
    wide = _COLUMN - _FREE
    aspects = [min(entry.pixels.shape[0] / entry.pixels.shape[1], 1) for entry in shown]
    heights = [wide * max(aspects[at : at + columns]) for at in range(0, len(shown), columns)]
    # The title has room even above few images.
    width, total = _COLUMN * max(columns, 4), _TITLE + sum(heights) + len(heights) * (_CAPTION + _GAP)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, total))
        figure.text(_FREE / 2 / width, 1 - 0.2 / total, title, fontsize=9, va="center", parse_math=False)
        top = total - _TITLE
        for at, entry in enumerate(shown):
            row, column = divmod(at, columns)
            if at and not column:
                top -= _CAPTION + heights[row - 1] + _GAP
            left, bottom = column * _COLUMN + _FREE / 2, top - _CAPTION - heights[row]
            axes = figure.add_axes((left / width, bottom / total, wide / width, heights[row] / total))
            for text, down, size, colour in (
                (_shortened(entry.label.split(",")[0], _CLASS_LETTERS), 0.08, 7.5, PLAIN),
                (_shortened_path(entry.image, _ID_LETTERS), 0.22, 5.5, QUIET),
            ):
                place = (left / width, (top - down) / total)
                figure.text(*place, text, fontsize=size, color=colour, va="center", parse_math=False)
            _draw_image(axes, entry)
        save_png(figure, path)


def _draw_image(axes: Axes, entry: Shown) -> None:
    height, width = entry.pixels.shape[:2]
    # Coordinates are those of boxes: pixel 0 reaches from 0 to 1.
    axes.imshow(entry.pixels, extent=(0, width, height, 0))
    for x0, y0, x1, y1 in entry.boxes:
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=TRUTH, lw=1.4, clip_on=False))
    if entry.mask is not None:
        xs, ys = np.arange(-1, width + 1) + 0.5, np.arange(-1, height + 1) + 0.5
        for kind, colour, line in ((IGNORED, LEFT_OUT, "dashed"), (1, TRUTH, "solid")):
            framed = np.pad(entry.mask == kind, 1)  # so that outlines close at the border
            if framed.any():
                outline = axes.contour(
                    xs, ys, framed, [0.5], colors=[colour], linestyles=line, linewidths=1.2
                )
                outline.set_path_effects([withStroke(linewidth=2.4, foreground="#00000080")])
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_anchor("NW")


def _shortened(text: str, letters: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= letters else text[: letters - 1] + ELLIPSIS


def _shortened_path(path: str, letters: int) -> str:
    """The file's name in place of a path that is too long, or that name's end."""
    if len(path) <= letters:
        return path
    name = f"{ELLIPSIS}/{path.rpartition('/')[2]}"
    return name if len(name) <= letters else ELLIPSIS + name[1 - letters :]
