"""Maps over images, with ground-truth boxes green and predicted boxes red, as in the figures of the paper."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vitol.figures import PLAIN, STYLE, save_png

TRUTH, PREDICTED = "#00E000", "#FF0000"  # colours of boxes; predicted ones are dashed, too
NO_BOXES: np.ndarray = np.zeros((0, 4))
# Inches above and below an image, a line of the caption, and letters of it in an inch.
_TITLE, _FOOT, _LINE, _LETTERS = 0.26, 0.14, 0.14, 17
_LETTER = 0.068  # inches that a letter of a title of 8 points takes


@dataclass(frozen=True)
class Overlay:
    """One image of an overlay figure.

    Attributes:
        image: RGB, (H, W, 3) uint8.
        title: The line above it.
        localization_map: Scores in [0, 1], (h, w), stretched over the image; None leaves the image bare.
        gt_boxes: Ground truth, green: x0, y0, x1, y1 in pixels of the image, (k, 4).
        predicted_boxes: Predictions, red and dashed, likewise.
    """

    image: np.ndarray
    title: str
    localization_map: np.ndarray | None
    gt_boxes: np.ndarray
    predicted_boxes: np.ndarray


def overlay_figure(
    overlays: Sequence[Overlay],
    path: Path,
    columns: int = 4,
    column_width: float = 1.9,
    caption: str = "",
) -> None:
    """Show images with their maps as heat, ground-truth boxes green and predicted boxes red.

    A row is as high as its highest image, and an image at most as high as its column is wide.

    Args:
        overlays: The images, row by row.
        path: The PNG to write.
        columns: Images a row.
        column_width: Width of an image with its margins, in inches of 150 pixels.
        caption: What the reader has to know of data set, model, policy and images, put below them.

    Raises:
        ValueError: No image; an image that is not (H, W, 3) uint8; a map that is not in [0, 1].
    """
    if not overlays:
        raise ValueError("no overlay to show; give at least one")
    for at, overlay in enumerate(overlays):
        _check_overlay(overlay, at)
    aspects = [min(overlay.image.shape[0] / overlay.image.shape[1], 1) for overlay in overlays]
    wide = 0.92 * column_width
    heights = [wide * max(aspects[at : at + columns]) for at in range(0, len(overlays), columns)]
    lines = textwrap.wrap(caption, int(column_width * columns * _LETTERS))
    width, foot = column_width * columns, _LINE * len(lines)
    total = sum(heights) + len(heights) * (_TITLE + _FOOT) + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, total))
        for at, overlay in enumerate(overlays):
            row, column = divmod(at, columns)
            bottom = total - sum(heights[: row + 1]) - (row + 1) * _TITLE - row * _FOOT
            left = (column + 0.04) / columns
            place = (left, bottom / total, 0.92 / columns, heights[row] / total)
            points = min(8.0, 8 * column_width / (_LETTER * max(len(overlay.title), 1)))
            _draw_overlay(figure.add_axes(place), overlay, points)
        if lines:
            draw_caption(figure, lines, 0.04 * column_width)
        save_png(figure, path)


def draw_caption(figure: Figure, lines: Sequence[str], left: float) -> None:
    """Put the lines of a caption at the bottom of a figure, `left` inches from its edge."""
    width, height = figure.get_size_inches()
    place: dict[str, Any] = {"x": left / width, "y": 0.06 / height, "va": "bottom"}
    figure.text(s="\n".join(lines), fontsize=6.5, color=PLAIN, parse_math=False, **place)


def _check_overlay(overlay: Overlay, at: int) -> None:
    """Refuse an image or a map that cannot be shown; `at` is its place in the figure."""
    image, heat = overlay.image, overlay.localization_map
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"overlays[{at}].image is {image.shape} {image.dtype}; needed: (H, W, 3) uint8")
    if heat is not None and (heat.ndim != 2 or not ((heat >= 0) & (heat <= 1)).all()):
        raise ValueError(f"overlays[{at}].localization_map is not a (h, w) map in [0, 1]; scale it first")


def _draw_overlay(axes: Axes, overlay: Overlay, points: float) -> None:
    """Draw an image, its map, its boxes, and its title of so many points."""
    image, heat = overlay.image, overlay.localization_map
    height, width = image.shape[:2]
    axes.imshow(image)
    if heat is not None:
        stretched = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        axes.imshow(stretched.clip(0, 1), cmap="inferno", alpha=0.55, vmin=0, vmax=1)
    for boxes, colour, line in ((overlay.gt_boxes, TRUTH, "-"), (overlay.predicted_boxes, PREDICTED, "--")):
        for x0, y0, x1, y1 in boxes:
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, ls=line, lw=1.8))
    axes.set_title(overlay.title, fontsize=points, pad=3, parse_math=False)  # a "$" in a name is one
    axes.set_axis_off()
    axes.set_anchor("N")
