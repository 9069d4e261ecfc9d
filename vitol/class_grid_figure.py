"""The figure of the grid pointing game: how far the map of a class keeps to its own cell, for each map and model.

See `vitol.class_grid`. A large mark is the mean over seeds with its interval, grey ones below it are single seeds.
"""

import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vitol.class_grid import CHANCE
from vitol.figures import MAP_COLOURS, PLAIN, QUIET, STYLE, save_png

_MARKS = ("o", "s", "^", "v")  # of the models, in their order
_NOTE = (
    "Four test images of different classes beside each other: the part of a map's positive mass that lies on the "
    "image of the class it was made for, mean of {count} mosaics with the 95% interval of a bootstrap over mosaics. "
    "A map that does not depend on the class gets 25%, the dashed line. Grey: single seeds of training."
)
# Inches: row labels, the panel, numbers beside it; head, a line, axis; line of the note.
_LABELS, _PANEL, _NUMBERS, _HEAD, _ROW, _AXIS, _LINE = 1.75, 4.2, 1.35, 0.45, 0.2, 0.5, 0.13


def class_grid_figure(means: pd.DataFrame, seeds: pd.DataFrame, title: str, path: Path) -> None:
    """Plot scores, a line a map and model.

    Args:
        means: A row a map and model: map, model, score, ci_low, ci_high in percent, n_mosaics; drawn in its order.
        seeds: A row a map, model and seed: map, model, score.
        title: The line at the top.
        path: The PNG to write.

    Raises:
        ValueError: If there is nothing to plot, or more models than there are marks.
    """
    models = list(dict.fromkeys(means["model"]))
    if not 1 <= len(models) <= len(_MARKS):
        raise ValueError(f"{len(models)} models to plot; the figure tells 1 to {len(_MARKS)} apart")
    note = textwrap.wrap(_NOTE.format(count=means["n_mosaics"].max()), 145)
    panel = _ROW * len(means)
    width = _LABELS + _PANEL + _NUMBERS
    height = _HEAD + panel + _AXIS + _LINE * len(note) + 0.1
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(0.1 / width, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
        axes = figure.add_axes(
            (_LABELS / width, 1 - (_HEAD + panel) / height, _PANEL / width, panel / height)
        )
        beside = axes.get_yaxis_transform()
        axes.axvline(100 * CHANCE, color=PLAIN, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
        for y, row in enumerate(means.to_dict("records")):
            colour = MAP_COLOURS.get(row["map"], PLAIN)
            of_row = seeds[(seeds["map"] == row["map"]) & (seeds["model"] == row["model"])]
            axes.plot(of_row["score"], [y + 0.3] * len(of_row), ".", color=QUIET, markersize=3, zorder=2)
            axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1.3, zorder=3)
            mark = _MARKS[models.index(row["model"])]
            axes.plot(row["score"], y, mark, color=colour, markersize=4.5, zorder=4)
            text = f"{row['score']:.1f} [{row['ci_low']:.1f}, {row['ci_high']:.1f}]"
            axes.text(1.02, y, text, transform=beside, color=colour, va="center")
            if y and row["map"] != means["map"].iloc[y - 1]:
                axes.axhline(y - 0.5, color=QUIET, linewidth=0.6)
        lowest = 10 * np.floor(min(means["ci_low"].min(), 20) / 10)
        highest = 10 * np.ceil(max(means["ci_high"].max(), 30) / 10)
        axes.set(xlim=(lowest, highest), ylim=(len(means) - 0.5, -0.5))
        axes.set_xticks(np.arange(lowest, highest + 1, 5 if highest - lowest <= 40 else 10))
        axes.set_yticks(range(len(means)), means["map"] + "   " + means["model"])
        axes.tick_params(length=0, pad=3)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("part of the map on its own class, percent")
        wrapped = "\n".join(note)
        figure.text(0.1 / width, 0.06 / height, wrapped, fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)
