"""Strips of drop masks: an image, then what p-ADL keeps and drops after every encoder block; the paper's Figure 3.

L blocks, h x w patch grid; see `vitol.drop_masks`, whose masks this draws. Dark patches are dropped, as in the paper.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vitol.figures import PLAIN, STYLE, save_png
from vitol.overlays import TRUTH, Overlay, draw_caption

_DROPPED = np.array([25, 20, 45], np.uint8)
_WHITE = 0.6  # mixed into what is kept, so that dropped patches stand out from a dark image, too
# Inches: a picture, what is free between two; names of blocks, the title above a strip, the count below it, a line.
_SIDE, _FREE, _NAMES, _TITLE, _COUNT, _LINE = 0.64, 0.07, 0.2, 0.2, 0.2, 0.14


def drop_mask_figure(images: Sequence[Overlay], kept: np.ndarray, path: Path, caption: str = "") -> None:
    """Draw a strip an image: the image with its true boxes, then every block's mask over it.

    Args:
        images: The images; of an overlay, the picture, the title and the true boxes are shown, the picture squared.
        kept: False where a patch is dropped, bool (images, L, h, w).
        path: The PNG to write.
        caption: What the reader has to know of data set and model, put below.

    Raises:
        ValueError: If there is no image, or masks of another number of images or that are not bool.
    """
    kept = np.asarray(kept)
    if not images or kept.ndim != 4 or len(kept) != len(images) or kept.dtype != bool:
        raise ValueError(
            f"{len(images)} images and masks {kept.shape} {kept.dtype}; needed: at least one image, and bool "
            f"({len(images)}, blocks, h, w)"
        )
    blocks = kept.shape[1]
    step, strip = _SIDE + _FREE, _TITLE + _SIDE + _COUNT
    width = step * (blocks + 1) + _FREE
    lines = textwrap.wrap(caption, int(17 * width))
    height = _NAMES + strip * len(images) + _LINE * len(lines) + 0.08
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for row, (image, masks) in enumerate(zip(images, kept, strict=True)):
            top = _NAMES + row * strip
            for column in range(blocks + 1):
                left, bottom = _FREE + column * step, height - top - _TITLE - _SIDE
                axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
                if column == 0:
                    _draw_image(axes, image)
                else:
                    _draw_mask(axes, image.image, masks[column - 1])
                if row == 0 and column:
                    place = ((left + _SIDE / 2) / width, 1 - 0.5 * _NAMES / height)
                    figure.text(*place, f"block {column}", fontsize=7.5, ha="center", va="center")
            plain: dict[str, Any] = {"va": "center", "fontsize": 8, "parse_math": False}
            figure.text(_FREE / width, 1 - (top + _TITLE / 2) / height, image.title, **plain)
        draw_caption(figure, lines, _FREE)
        save_png(figure, path)


def _draw_image(axes: Axes, image: Overlay) -> None:
    """Show an image as the model sees it, squared, with its true boxes."""
    height, width = image.image.shape[:2]
    axes.imshow(image.image, extent=(0, 1, 1, 0))
    for x0, y0, x1, y1 in image.gt_boxes / (width, height, width, height):
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=TRUTH, lw=1.4))
    axes.set_axis_off()


def _draw_mask(axes: Axes, pixels: np.ndarray, kept: np.ndarray) -> None:
    """Show an image in light colours, dropped patches dark, and how many they are below it."""
    side = kept.shape[0] * 16, kept.shape[1] * 16
    small = cv2.resize(pixels, side[::-1], interpolation=cv2.INTER_AREA)
    light = (_WHITE * 255 + (1 - _WHITE) * small).astype(np.uint8)
    stretched = cv2.resize(kept.astype(np.uint8), side[::-1], interpolation=cv2.INTER_NEAREST)
    axes.imshow(np.where(stretched[..., None] > 0, light, _DROPPED), extent=(0, 1, 1, 0))
    count = f"{np.count_nonzero(~kept)} of {kept.size}"
    axes.text(0.5, 1.03, count, fontsize=6.5, color=PLAIN, ha="center", va="top")
    axes.set_axis_off()
