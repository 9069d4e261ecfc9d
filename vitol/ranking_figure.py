"""A ranking as a picture: a line a method, with its number under each threshold policy, intervals and ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitol.figures import PLAIN, QUIET, STYLE, percent_limits, save_png

# Of policies, in their order: the mark, and whether it is filled.
_MARKS = (("o", True), ("D", False))
# Inches: labels, the panel, a column of ranks; head with legend, a line, axis; a line of the note.
_LABELS, _PANEL, _RANK, _HEAD, _LINE, _AXIS, _NOTE = 1.75, 4.6, 0.62, 0.95, 0.3, 0.5, 0.13


def ranking_figure(
    scores: pd.DataFrame,
    kinds: Mapping[str, str],
    path: Path,
    *,
    title: str,
    axis: str,
    note: str,
) -> None:
    """Plot numbers with intervals: a line a method, a mark a threshold policy, the ranks at the side.

    Args:
        scores: A row a mark: line, kind, policy, value, ci_low, ci_high, rank (NaN where it has none); lines from top
            to bottom and policies, at most two, in its order.
        kinds: The colour of each kind of method, in the order of the legend.
        path: The PNG to write.
        title: The line at the top.
        axis: What is on the axis.
        note: The lines at the bottom.

    Raises:
        ValueError: If there is nothing to plot, or more policies than marks, or a kind without a colour.
    """
    policies = list(dict.fromkeys(scores["policy"]))
    colourless = sorted(set(scores["kind"]) - set(kinds))
    if scores.empty or len(policies) > len(_MARKS) or colourless:
        raise ValueError(
            f"{len(scores)} numbers of {len(policies)} policies to plot, kinds without a colour: "
            f"{', '.join(colourless) or 'none'}; needed: 1 or more, of at most {len(_MARKS)} policies, and a colour "
            "for every kind"
        )
    lines = list(dict.fromkeys(scores["line"]))
    width = _LABELS + _PANEL + _RANK * len(policies) + 0.15
    wrapped = textwrap.wrap(note, int(width * 19))
    depth, foot = _LINE * len(lines), _AXIS + _NOTE * len(wrapped)
    height = _HEAD + depth + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((_LABELS / width, foot / height, _PANEL / width, depth / height))
        beside = axes.get_yaxis_transform()
        # A column's rank stands right of the panel, its header above the first line.
        ends = [1 + _RANK * (place + 0.75) / _PANEL for place in range(len(policies))]
        for place, policy in enumerate(policies):
            header = "rank,\n" + textwrap.fill(policy, 10)
            axes.text(ends[place], -0.55, header, transform=beside, ha="right", fontsize=6.5, color=QUIET)
        for at, line in enumerate(lines):
            rows = scores[scores["line"] == line]
            colour = kinds[rows["kind"].iloc[0]]
            if at % 2:
                axes.axhspan(at - 0.5, at + 0.5, color="#F3F3F3", zorder=0, linewidth=0)
            for row in rows.to_dict("records"):
                place = policies.index(row["policy"])
                mark, filled = _MARKS[place]
                y = at + 0.22 * (2 * place - 1) * (len(rows) > 1)  # above the middle, below it; alone, on it
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1.2, zorder=3)
                axes.plot(
                    row["value"],
                    y,
                    mark,
                    color=colour,
                    markerfacecolor=colour if filled else "white",
                    markersize=4.5,
                    zorder=4,
                )
                if np.isfinite(row["rank"]):
                    axes.text(
                        ends[place],
                        at,
                        f"{row['rank']:.0f}",
                        transform=beside,
                        ha="right",
                        va="center",
                        color=colour,
                    )
        low, high = float(scores["ci_low"].min()), float(scores["ci_high"].max())
        axes.set(xlim=percent_limits(low, high), ylim=(len(lines) - 0.5, -0.5))
        axes.set_yticks(range(len(lines)), lines)
        axes.set_xlabel(axis)
        axes.grid(axis="y", visible=False)
        figure.text(0.12 / width, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
        drawn = set(scores["kind"])
        handles = [
            Line2D([], [], color=colour, linewidth=2.5, label=kind)
            for kind, colour in kinds.items()
            if kind in drawn
        ]
        handles += [
            Line2D(
                [], [], color=PLAIN, marker=mark, markerfacecolor=PLAIN if filled else "white", label=policy
            )
            for policy, (mark, filled) in zip(policies, _MARKS, strict=False)
        ]
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.08 / width, 1 - 0.3 / height),
            ncols=4,
            frameon=False,
            fontsize=7,
        )
        figure.text(0.12 / width, 0.06 / height, "\n".join(wrapped), fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)
