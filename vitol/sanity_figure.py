"""The figure of the sanity check: how far each kind of map follows the weights, and one image's maps.

D depths of randomisation, h x w map grid; see `vitol.sanity`, whose frame and maps this draws.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitol.boxes import score_map
from vitol.figures import MAP_COLOURS, PLAIN, QUIET, STYLE, save_png
from vitol.methods import ABOUT

_COLOURS: dict[str, str] = {
    **{"ar": MAP_COLOURS["AR"], "gar": MAP_COLOURS["GAR"], "lrp": MAP_COLOURS["LRP"]},
    **{"relevance": "#8FD175", "full-lrp": "#6B4C9A", "attention": "#56B4E9"},
    **{"gradcam": "#CC79A7", "legrad": "#000000", "attnlrp": "#E69F00"},
}
_NOTE = (
    "The model's weights are replaced part by part, from the head down, by noise of the same mean and standard "
    "deviation. Left: Spearman's rank correlation with the map of the untouched model, mean over {count} test images "
    "with the 95% interval of a bootstrap over images; it counts all patches alike, dark ones too. A line that "
    "stays up belongs to a map that does not depend on those weights: it explains nothing of what they learned. "
    "Right: the image's maps for the class that the untouched model predicts, each stretched to its own range."
)
# Inches. Left: margin, the lines' panel, its names and legend below; right: a map of the strip, gaps, row labels.
_LEFT, _WIDE, _HIGH, _BELOW = 0.6, 3.8, 3.0, 1.45
_HEAD, _CELL, _GAP, _LABEL = 0.45, 0.62, 0.06, 1.1


def sanity_figure(
    frame: pd.DataFrame, image: np.ndarray, maps: Mapping[str, np.ndarray], title: str, path: Path
) -> None:
    """Plot similarity against depth, a line a method, and beside it one image's maps at every depth.

    Args:
        frame: What `vitol.sanity.similarity_frame` made.
        image: The image whose maps are shown, RGB, (H, W, 3) uint8.
        maps: Its maps at every depth, (D, h, w), for each method of the frame.
        title: The line at the top.
        path: The PNG to write.

    Raises:
        ValueError: Maps of other methods or depths than the frame's, or not finite.
    """
    methods, parts = list(frame["method"].unique()), list(frame["part"].unique())
    depths = {name: len(of_method) for name, of_method in maps.items()}
    if depths != dict.fromkeys(methods, len(parts)):
        raise ValueError(
            f"maps at {depths} depths, but the frame has {len(parts)} of {', '.join(methods)}; "
            "give the maps and the frame of one cascade"
        )
    note = textwrap.wrap(_NOTE.format(count=frame["n_images"].max()), int((_LEFT + _WIDE) * 20))
    strip, step = _LEFT + _WIDE + _LABEL, _CELL + _GAP
    width = strip + len(parts) * step + 0.1
    text = _HEAD + _HIGH + _BELOW
    height = 0.1 + max(text + 0.13 * len(note), _HEAD + (len(methods) + 1) * step)

    def place(left: float, top: float, wide: float, high: float) -> tuple[float, float, float, float]:
        return left / width, 1 - (top + high) / height, wide / width, high / height

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(0.1 / width, 1 - 0.18 / height, title, fontsize=10, fontweight="bold", va="center")
        _draw_lines(figure.add_axes(place(_LEFT, _HEAD, _WIDE, _HIGH)), frame, parts)
        _draw_picture(figure.add_axes(place(strip, _HEAD - 0.14, _CELL, _CELL)), image)
        for row, method in enumerate(methods):
            for depth, part in enumerate(parts):
                axes = figure.add_axes(place(strip + depth * step, _HEAD + (row + 1) * step, _CELL, _CELL))
                _draw_picture(axes, score_map(maps[method][depth]))
                if row == 0:
                    axes.set_title(part, fontsize=6.5, pad=2)
                if depth == 0:
                    name, colour = _name_and_colour(method)
                    axes.text(
                        -0.1, 0.5, name, transform=axes.transAxes, color=colour, ha="right", va="center"
                    )
        wrapped = "\n".join(note)
        figure.text(0.1 / width, 1 - text / height, wrapped, fontsize=6.5, color=PLAIN, va="top")
        save_png(figure, path)


def _name_and_colour(method: str) -> tuple[str, str]:
    """A method's title and colour; one that vitol does not have gets its own name, and grey."""
    titles = {name: about.title for name, about in ABOUT.items()}
    return titles.get(method, method), _COLOURS.get(method, QUIET)  # type: ignore[call-overload]


def _draw_lines(axes: Axes, frame: pd.DataFrame, parts: list[str]) -> None:
    """Draw one line a method, its interval shaded."""
    for method, rows in frame.groupby("method", sort=False):
        name, colour = _name_and_colour(str(method))
        axes.fill_between(
            rows["depth"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.1, linewidth=0
        )
        axes.plot(
            rows["depth"], rows["similarity"], "o-", color=colour, linewidth=1.3, markersize=3, label=name
        )
    axes.axhline(0, color=PLAIN, linewidth=0.6)
    lowest = min(np.floor(5 * frame["ci_low"].min()) / 5, -0.2)
    axes.set(xlim=(-0.3, len(parts) - 0.7), ylim=(lowest, 1.05))
    axes.set_yticks(np.arange(lowest, 1.01, 0.2).round(1))
    axes.set_xticks(range(len(parts)), parts, rotation=90)
    axes.set_xlabel("randomised from the head down to")
    axes.set_ylabel("rank correlation with the untouched model's map")
    axes.legend(
        loc="lower left", ncols=3, bbox_to_anchor=(0, -_BELOW / _HIGH), frameon=False, borderaxespad=0
    )


def _draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show an image, or a map in [0, 1] as heat."""
    axes.imshow(picture, cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], frame_on=False)
