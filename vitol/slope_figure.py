"""Tables 3 and 4 as slope charts: from without to with p-ADL, and from p-ADL between attention and MLP to after it.

A line's colour is its map. The paper's lines are dashed, between hollow diamonds; ours are solid, with the 95%
intervals of both ends. In Table 3 a dotted line starts from the control, which was trained on like p-ADL, without it:
its slope is p-ADL's alone, the solid one's that of the longer training, too.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitol.figures import MAP_COLOURS, PLAIN, QUIET, STYLE, save_png
from vitol.tables import POLICY, PRESET, Table

# Of a table: what the ends of its lines are called, and which (variant, position) they are.
SLOPES = {
    3: (("without", "p-ADL"), (("baseline", ""), ("padl", "MMp"))),
    4: (("MpM", "MMp"), (("padl", "MpM"), ("padl", "MMp"))),
}
_CONTROL = ("control", "")
_NOTE = (
    "Percent; the number beside a line is its change in points. Threshold policy {policy}, preset {preset}; ours with "
    "the 95% interval of a bootstrap over images at each end, means over seeds. {control}The interval of a change is "
    "narrower than those of its ends suggest, since both are measured on the same images: see differences.csv. A data "
    "set of which one end was not run is left out."
)
_CONTROL_NOTE = (
    "In brackets, and dotted: the change from the control, which was trained on like p-ADL, without it. "
)
# Inches: axis labels, a panel, the changes beside it; head, a panel's height, the room below it, a line of text.
_LEFT, _WIDE, _CHANGES, _HEAD, _HIGH, _BELOW, _LINE = 0.62, 1.15, 1.05, 0.85, 1.6, 0.4, 0.13


@dataclass(frozen=True)
class _Slope:
    """A line of a panel: its map, its kind ("paper", "ours" or "control"), and value, low and high of both ends."""

    label: str
    kind: str
    ends: np.ndarray

    @property
    def change(self) -> float:
        return float(self.ends[1, 0] - self.ends[0, 0])


def slope_figure(table: Table, path: Path) -> None:
    """Plot Table 3 or 4: a row of panels for each metric, a column for each data set with both ends of a line.

    Args:
        table: What `vitol.tables.build_table` made.
        path: The PNG to write.

    Raises:
        ValueError: If it is another table.
    """
    if table.number not in SLOPES:
        raise ValueError(
            f"Table {table.number} has no slopes; Tables {' and '.join(map(str, SLOPES))} have, from one place of "
            "p-ADL to another"
        )
    slopes = {
        (str(metric), str(group)): _slopes(entries, table.number)
        for (metric, group), entries in table.cells.groupby(["metric", "group"], sort=False)
    }
    metrics = list(dict.fromkeys(metric for metric, _ in slopes))
    groups = list(dict.fromkeys(group for (_, group), found in slopes.items() if found))
    headers = table.cells.drop_duplicates("group").set_index("group")["header"]
    width = _LEFT + len(groups) * (_WIDE + _CHANGES) + 0.1
    drawn = [slope for found in slopes.values() for slope in found]
    controlled = any(slope.kind == "control" for slope in drawn)
    words = _NOTE.format(policy=POLICY, preset=PRESET, control=_CONTROL_NOTE if controlled else "")
    note = textwrap.wrap(words, int(width * 19))
    foot = 0.3 + _LINE * len(note)
    height = _HEAD + len(metrics) * (_HIGH + _BELOW) + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(0.1 / width, 1 - 0.18 / height, table.title, fontsize=10, fontweight="bold", va="center")
        for row, metric in enumerate(metrics):
            of_row = [slope for group in groups for slope in slopes[metric, group]]
            limits = _limits(of_row)
            top = _HEAD + row * (_HIGH + _BELOW)
            for column, group in enumerate(groups):
                left = _LEFT + column * (_WIDE + _CHANGES)
                place = (left / width, 1 - (top + _HIGH) / height, _WIDE / width, _HIGH / height)
                axes = figure.add_axes(place)
                axes.set(xlim=(-0.2, 1.2), ylim=limits)
                axes.set_xticks([0, 1], SLOPES[table.number][0])
                axes.set_yticks([tick for tick in axes.get_yticks() if limits[0] <= tick <= limits[1]])
                _draw_panel(axes, slopes[metric, group], limits)
                if column == 0:
                    axes.set_ylabel(metric, fontsize=8.5, fontweight="bold")
                axes.tick_params(labelleft=column == 0)
                if row == 0:
                    axes.set_title(headers[group], fontsize=7.5, pad=8)
        _draw_legend(figure, drawn, (0.1 / width, (foot - 0.15) / height))
        figure.text(0.1 / width, 0.08 / height, "\n".join(note), fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)


def _slopes(entries: pd.DataFrame, number: int) -> list[_Slope]:
    """The lines of one panel that have both ends: the paper's, ours, and ours from the control."""
    by_end = entries.drop_duplicates(["label", "variant", "position"]).set_index(
        ["label", "variant", "position"]
    )
    columns = {"paper": ["paper", "paper", "paper"], "ours": ["ours", "ci_low", "ci_high"]}
    columns["control"] = columns["ours"]
    start, end = SLOPES[number][1]
    found = []
    for label in (label for label in MAP_COLOURS if label in set(entries["label"])):
        for kind, names in columns.items():
            places = [(label, *(_CONTROL if kind == "control" else start)), (label, *end)]
            if (kind == "control" and number != 3) or not all(place in by_end.index for place in places):
                continue
            ends = np.array([by_end.loc[place, names].to_numpy(dtype=float) for place in places])
            if not np.isnan(ends[:, 0]).any():
                found.append(_Slope(label, kind, ends))
    return found


def _limits(slopes: list[_Slope]) -> tuple[float, float]:
    """The range of percentages of a row of panels, with room for a number above and below."""
    values = np.concatenate([slope.ends.ravel() for slope in slopes]) if slopes else np.array([0.0, 100.0])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.08 * max(high - low, 10)
    return low - room, high + room


def _draw_panel(axes: Axes, slopes: list[_Slope], limits: tuple[float, float]) -> None:
    """Draw the lines of a panel, and their changes to its right."""
    looks = {"paper": ("D", (0, (4, 2))), "ours": ("o", "-"), "control": ("s", (0, (1, 1.2)))}
    for slope in slopes:
        colour, (marker, line) = MAP_COLOURS[slope.label], looks[slope.kind]
        shown = slice(0, 1) if slope.kind == "control" else slice(0, 2)  # its other end is that of ours
        axes.plot([0, 1], slope.ends[:, 0], color=colour, linewidth=1.2, linestyle=line, zorder=3)
        filled = "white" if slope.kind == "paper" else colour
        axes.plot(
            [0, 1][shown],
            slope.ends[shown, 0],
            marker,
            color=colour,
            markerfacecolor=filled,
            markersize=5,
            zorder=4,
        )
        for x, (_, low, high) in list(enumerate(slope.ends))[shown]:
            axes.plot([x, x], [low, high], color=colour, linewidth=1.2, zorder=3)
    labelled = sorted((slope for slope in slopes if slope.kind != "control"), key=lambda one: one.ends[1, 0])
    gap = (limits[1] - limits[0]) * _LINE / _HIGH
    wanted = np.array([slope.ends[1, 0] for slope in labelled])
    for slope, y in zip(labelled, spread_apart(wanted, gap, limits[1] - gap / 2), strict=True):
        text = f"{slope.label} {slope.change:+.1f}"
        if slope.kind == "paper":
            text += " paper"
        from_control = [s for s in slopes if s.kind == "control" and s.label == slope.label]
        if slope.kind == "ours" and from_control:
            text += f" ({from_control[0].change:+.1f})"
        colour = MAP_COLOURS[slope.label]
        axes.text(1.06, y, text, transform=axes.get_yaxis_transform(), color=colour, va="center")
    axes.tick_params(length=0, pad=3)
    axes.grid(axis="x", visible=False)


def spread_apart(wanted: np.ndarray, gap: float, highest: float) -> np.ndarray:
    """Places near the wanted ones, at least a gap apart and none above the highest.

    Args:
        wanted: Ascending, (n,).
        gap: Least distance of two.
        highest: The last one's limit.

    Returns:
        Ascending, (n,).

    >>> spread_apart(np.array([1.0, 1.5, 5.0]), gap=1.0, highest=5.0).tolist()
    [1.0, 2.0, 5.0]
    """
    places = np.array(wanted, dtype=float)
    for at in range(1, len(places)):
        places[at] = max(places[at], places[at - 1] + gap)
    for at in reversed(range(len(places))):
        above = highest if at == len(places) - 1 else places[at + 1] - gap
        places[at] = min(places[at], above)
    return places


def _draw_legend(figure: Figure, drawn: list[_Slope], place: tuple[float, float]) -> None:
    """Explain the lines that the figure has."""
    labels, kinds = {slope.label for slope in drawn}, {slope.kind for slope in drawn}
    handles = [
        Line2D([], [], color=colour, linewidth=2.5, label=label)
        for label, colour in MAP_COLOURS.items()
        if label in labels
    ]
    if "paper" in kinds:
        dashed: dict[str, Any] = {"linestyle": (0, (4, 2)), "marker": "D", "markerfacecolor": "white"}
        handles.append(Line2D([], [], color=QUIET, linewidth=1.2, label="the paper", **dashed))
    if "ours" in kinds:
        handles.append(Line2D([], [], color=PLAIN, marker="o", linewidth=1.2, label="ours"))
    if "control" in kinds:
        dotted: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "marker": "s"}
        handles.append(Line2D([], [], color=PLAIN, linewidth=1.2, label="ours, from the control", **dotted))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=place,
        ncols=6,
        frameon=False,
        borderaxespad=0,
        handlelength=3.2,
    )
