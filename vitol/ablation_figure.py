"""The figure of p-ADL's ablations: how far every setting is from fine-tuning without p-ADL, the control.

Above, lambda against alpha, a heat-map for each map and one for the classifier; below, the settings that differ from
the paper's in one other thing, as dots with their intervals.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from vitol.bootstrap import side_of_zero
from vitol.figures import MAP_COLOURS, PLAIN, QUIET, STYLE, save_png
from vitol.measurements import span
from vitol.tables import NOT_RUN, POLICY, PRESET

# What is shown, a column of panels each: map, metric, the panel's name.
PANELS = (
    ("AR", "MaxBoxAccV2", "AR, MaxBoxAccV2"),
    ("GAR", "MaxBoxAccV2", "GAR, MaxBoxAccV2"),
    ("LRP", "MaxBoxAccV2", "LRP, MaxBoxAccV2"),
    ("", "Top1Cls", "Top-1 Cls"),
)
# The paper's setting, and the values of lambda and alpha beside its own. At alpha 0 lambda has no say.
PAPER: dict[str, object] = {
    "position": "MMp",
    "drop_threshold": 0.9,
    "drop_rate": 0.75,
    "per_image": False,
    "class_token": True,
}
THRESHOLDS, RATES = (0.7, 0.9, 1.0), (0.5, 0.75, 1.0)
# What differs from the paper's setting in one other thing, and what a line of dots is called.
SINGLE: dict[str, dict[str, object]] = {
    "paper's setting": {},
    "p-ADL before the MLP (MpM)": {"position": "MpM"},
    "a draw per image": {"per_image": True},
    "class token spared": {"class_token": False},
}
_COLOURS = "RdBu"  # red below the control, blue above: told apart by colour-blind eyes
_NOTE = (
    "Points more than the control: the same fine-tuning without p-ADL. {dataset} test split, all {images} images, "
    "{seeds}; threshold policy {policy}, preset {preset} (Top-1 Cls has neither). Bars are 95% intervals of a paired "
    "bootstrap over images; * where that interval leaves out 0, as one in twenty does by chance where there is no "
    "difference. The spread over seeds is not in it. Framed, and dotted below: the paper's setting. α = 0 takes the "
    "importance map at every step, whatever λ; α = 1 the drop mask at every step."
)
# Inches: row labels, a cell's sides, the gap beside alpha 0, the numbers beside dots, between panels; head, from the
# heat-maps to the dots, a line of dots, below them, the colour bar.
_LABELS, _WIDE, _HIGH, _APART, _NUMBER, _GAP = 1.75, 0.5, 0.42, 0.12, 0.42, 0.14
_HEAD, _BETWEEN, _ROW, _FOOT, _BAR = 0.95, 0.85, 0.24, 0.55, 0.75


class Place(NamedTuple):
    """A cell of a heat-map: the values it is for, and its lower left corner and height in cells."""

    values: dict[str, object]
    x: float
    y: float
    height: int


def ablation_figure(frame: pd.DataFrame, dataset: str, backbone: str, path: Path) -> None:
    """Plot the differences of a model's ablations to the control.

    Args:
        frame: A row for each setting, map and metric, with the settings' columns (those of PAPER), map, metric, value,
            difference, difference_low, difference_high, n_images and seeds. What is not there is shown as not run.
        dataset: What they were made on.
        backbone: Of the model.
        path: The PNG to write.

    Raises:
        ValueError: If the frame has no row.
    """
    if frame.empty:
        raise ValueError(f"no ablation of {dataset} {backbone} to plot; run at least one setting")
    limit = max(float(np.ceil(frame["difference"].abs().max())), 1.0)
    low, high = _limits(frame)
    ticks = MaxNLocator(4).tick_values(low, high)
    panel = (1 + len(RATES)) * _WIDE + _APART
    rows, lines = len(THRESHOLDS) * _HIGH, len(SINGLE) * _ROW
    width = _LABELS + len(PANELS) * (panel + _NUMBER + _GAP) + _BAR
    note = textwrap.wrap(_filled(frame, dataset), int(width * 19))
    height = _HEAD + rows + _BETWEEN + lines + _FOOT + 0.13 * len(note)

    def place(left: float, top: float, wide: float, high: float) -> tuple[float, float, float, float]:
        return left / width, 1 - (top + high) / height, wide / width, high / height

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        title = f"{dataset}, {backbone}: ablations of p-ADL"
        heads = [
            (0.18, title, 10.0),
            (0.45, "Drop rate and drop threshold: points more (blue) or less (red) than the control", 8.5),
            (_HEAD + rows + _BETWEEN - 0.2, "Position, draw and class token, one changed at a time", 8.5),
        ]
        for top, text, size in heads:
            figure.text(0.1 / width, 1 - top / height, text, fontsize=size, fontweight="bold", va="center")
        for at, (name, metric, header) in enumerate(PANELS):
            of_panel = frame[(frame["map"] == name) & (frame["metric"] == metric)]
            left = _LABELS + at * (panel + _NUMBER + _GAP)
            heat = figure.add_axes(place(left, _HEAD, panel, rows))
            _draw_heat(heat, of_panel, limit)
            dots = figure.add_axes(place(left, _HEAD + rows + _BETWEEN, panel, lines))
            _draw_dots(dots, of_panel, MAP_COLOURS.get(name, PLAIN))
            dots.set(xlim=(low, high), xticks=[tick for tick in ticks if low <= tick <= high])
            heat.set_title(f"{header}\ncontrol {_control(of_panel)}", fontsize=7.5, pad=5)
            if at == 0:
                heat.set_ylabel("drop threshold λ", labelpad=6)
                dots.set_yticks(range(len(SINGLE)), list(SINGLE))
        bar = figure.add_axes(place(width - _BAR + 0.1, _HEAD, 0.1, rows))
        scale = ScalarMappable(Normalize(-limit, limit), _COLOURS)
        figure.colorbar(scale, cax=bar).outline.set_visible(False)
        bar.set_title("points", fontsize=6.5, pad=5)
        wrapped = "\n".join(note)
        figure.text(0.1 / width, 0.08 / height, wrapped, fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)


def _filled(frame: pd.DataFrame, dataset: str) -> str:
    """The note, with what the numbers are of."""
    counts = span(frame["seeds"])
    seeds = "1 seed" if counts == "1" else f"mean over {counts} seeds"
    images = span(frame["n_images"])
    return _NOTE.format(dataset=dataset, images=images, seeds=seeds, policy=POLICY, preset=PRESET)


def _control(of_panel: pd.DataFrame) -> str:
    """The control's own number, in percent."""
    return f"{(of_panel['value'] - of_panel['difference']).mean():.1f}%" if len(of_panel) else NOT_RUN


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """Ends of the dots' axes: every interval drawn, 0, and some room."""
    ends = [0.0]
    for _, of_panel in frame.groupby(["map", "metric"]):
        for values in SINGLE.values():
            if (row := _row(of_panel, values)) is not None:
                ends += [row["difference_low"], row["difference_high"]]
    room = max(0.08 * (max(ends) - min(ends)), 0.1)
    return min(ends) - room, max(ends) + room


def _row(of_panel: pd.DataFrame, values: dict[str, object]) -> pd.Series | None:
    """The row of the setting that differs from the paper's in these values, if it was run."""
    wanted = PAPER | values
    found = of_panel[(of_panel[list(wanted)] == list(wanted.values())).all(axis=1)]
    return None if found.empty else found.iloc[0]


def _number(row: pd.Series) -> str:
    """A difference, marked where its interval leaves out 0."""
    rounded = round(row["difference"], 1)
    text = f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"
    return text + "*" * abs(side_of_zero(row["difference_low"], row["difference_high"]))


def _places() -> Iterator[Place]:
    """The cells of a heat-map: alpha 0 as one, then alpha to the right, lambda upwards."""
    yield Place({"drop_rate": 0.0}, 0, 0, len(THRESHOLDS))
    for x, rate in enumerate(RATES):
        for y, threshold in enumerate(THRESHOLDS):
            yield Place({"drop_rate": rate, "drop_threshold": threshold}, 1 + _APART / _WIDE + x, float(y), 1)


def _draw_heat(axes: Axes, of_panel: pd.DataFrame, limit: float) -> None:
    """Draw one heat-map, its colours from -limit to limit."""
    colours = mpl.colormaps[_COLOURS]
    for values, x, y, height in _places():
        row = _row(of_panel, values)
        colour = to_rgb("white" if row is None else colours(float(0.5 + row["difference"] / (2 * limit))))
        axes.add_patch(Rectangle((x, y), 1, height, facecolor=colour, edgecolor="white", linewidth=1))
        text, shade = (NOT_RUN, QUIET) if row is None else (_number(row), _ink(colour))
        axes.text(x + 0.5, y + height / 2, text, color=shade, ha="center", va="center")
        if PAPER | values == PAPER:
            axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=PLAIN, linewidth=1.4, zorder=3))
    axes.set(xlim=(0, 1 + _APART / _WIDE + len(RATES)), ylim=(0, len(THRESHOLDS)), frame_on=False)
    centres = [0.5, *(1.5 + _APART / _WIDE + np.arange(len(RATES)))]
    axes.set_xticks(centres, ["0", *(f"{rate:g}" for rate in RATES)])
    axes.set_yticks(0.5 + np.arange(len(THRESHOLDS)), [f"{value:g}" for value in THRESHOLDS])
    axes.set_xlabel("drop rate α")
    axes.tick_params(length=0, pad=3)
    axes.grid(visible=False)


def _ink(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever is read better on a colour."""
    red, green, blue = colour
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "white"


def _draw_dots(axes: Axes, of_panel: pd.DataFrame, colour: str) -> None:
    """Draw the differences of settings that stand alone, their numbers to the right of the axes."""
    axes.axvline(0, color=PLAIN, linewidth=0.8)
    for line, values in enumerate(SINGLE.values()):
        row = _row(of_panel, values)
        text = NOT_RUN if row is None else _number(row)
        shade = QUIET if row is None else colour
        beside = axes.get_yaxis_transform()
        axes.text(1.04, line, text, transform=beside, color=shade, va="center")
        if row is None:
            continue
        ends = [row["difference_low"], row["difference_high"]]
        axes.plot(ends, [line, line], color=colour, linewidth=1.3, zorder=3)
        axes.plot(row["difference"], line, "o", color=colour, markersize=4.5, zorder=4)
        if not values:
            axes.axvline(row["difference"], color=QUIET, linewidth=0.9, linestyle=(0, (1, 1.2)), zorder=1)
    axes.set_ylim(len(SINGLE) - 0.5, -0.5)
    axes.set_yticks(range(len(SINGLE)), [""] * len(SINGLE))
    axes.set_xlabel("points more than the control")
    axes.tick_params(length=0, pad=3)
    axes.grid(axis="y", visible=False)
