"""Figures of numbers: the tables, and the challenge subsets; what all figures share.

Every figure is a PNG whose bytes depend on its input alone: no window, no date and no version goes in. In
dot plots a hollow grey diamond is the paper's number, a filled mark ours with its 95% interval. Its colour is
the map, its shape the training, or that the method is another's; dashed lines are maps that see no image, which
any other has to beat.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitol.cams.about import RIVALS
from vitol.measurements import (
    FLOORS,
    FULL_IMAGE,
    GAUSSIAN,
    beside_transformers,
    floors_of_any_model,
    mean_over_seeds,
    span,
    validate_measurements,
)
from vitol.tables import POLICY, PRESET, Table

MAP_COLOURS = {"AR": "#0072B2", "GAR": "#D55E00", "LRP": "#009E73"}  # told apart by colour-blind eyes
PLAIN, QUIET = "#333333", "#8C8C8C"
# By variant: name and mark.
_TRAININGS = {"baseline": ("baseline", "o"), "control": ("control", "s"), "padl": ("p-ADL", "^")}
_MARKS = _TRAININGS | dict.fromkeys(RIVALS, ("other methods", "v"))
RIVALS_NOTE = "Other methods stand with the network that they were trained on, which measurements.csv names."
_DASHES: dict[str, tuple] = {GAUSSIAN: (0, (5, 2)), FULL_IMAGE: (0, (1, 1.2))}
# Metrics shown as a small mark below that of another.
_COMPANIONS = {"GTKnownLocV1": ("GTKnownLoc", "x"), "PredictedLoc": ("GTKnownLoc", "+")}
STYLE = {
    **sns.axes_style("whitegrid"),
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "grid.color": "#DDDDDD",
}
# Inches: row labels, a panel, the numbers beside it, a line; head of the figure, room under a panel, a gap.
_LABELS, _PANEL, _NUMBER, _ROW, _HEAD, _AXIS, _GAP = 2.15, 1.6, 0.38, 0.185, 0.95, 0.5, 0.24
_ENTRY = 1.1  # of a legend


def table_figure(table: Table, path: Path) -> None:
    """Plot a table: a row of panels for each metric, a column of panels for each group of its columns.

    Args:
        table: What `vitol.tables.build_table` made.
        path: The PNG to write.
    """
    names = table.cells["method"] + "   " + table.cells["architecture"]
    if table.number == 4:
        names += "  " + table.cells["position"]
    _dot_plot(table.cells.assign(name=names.str.strip()), table.title, table.note, path)


def subset_figure(measurements: pd.DataFrame, dataset: str, backbone: str, path: Path) -> None:
    """Plot the MaxBoxAccV2 of every map and training on each subset of a test split, in the frame's order.

    Rivals stand beside the backbone as in the tables, see `vitol.measurements.beside_transformers`.

    Args:
        measurements: One row a score, with `vitol.measurements.COLUMNS`.
        dataset: The data set, such as "mini".
        backbone: The backbone, such as "small".
        path: The PNG to write.

    Raises:
        ValueError: Nothing was measured there, or what `validate_measurements` refuses.
    """
    validate_measurements(measurements)
    there = (measurements["dataset"] + " " + measurements["backbone"]).unique()
    subsets = list(measurements["subset"].unique())
    measurements = beside_transformers(measurements)
    wanted = dict(dataset=dataset, backbone=backbone, split="test", metric="MaxBoxAccV2", policy=POLICY)
    shown = (measurements[list(wanted)] == list(wanted.values())).all(axis=1)
    shown &= measurements["preset"].isin(["", PRESET])
    if not shown.any():
        raise ValueError(f"no MaxBoxAccV2 of {dataset} {backbone}; measured: {', '.join(there) or 'nothing'}")
    cells = mean_over_seeds(
        measurements[shown], ["subset", "n_images", "map", "variant", "position", "metric"]
    )
    cells = floors_of_any_model(cells)
    cells.loc[cells["map"].isin(FLOORS), ["variant", "position"]] = ""
    cells["rank"] = cells["map"].map(map_order(cells["map"]).index)
    cells["line"] = cells.groupby(["rank", "variant", "position"]).ngroup()
    cells["name"] = [line_name(*of) for of in cells[["map", "variant", "position"]].to_numpy()]
    seeds = cells["subset"].map(cells.groupby("subset")["seeds"].agg(span))
    header = cells["subset"] + "\nn=" + cells["n_images"].astype(str) + ", " + seeds
    cells["header"] = header + np.where(seeds == "1", " seed", " seeds")
    cells = cells.assign(group=cells["subset"], label=cells["map"], of_paper=False)
    cells = cells.assign(paper=np.nan, dash=False, absent="", row=0)
    cells = cells.sort_values("group", key=lambda names: names.map(subsets.index), kind="stable")
    note = f"Percent, 95% interval of a bootstrap over images; threshold policy {POLICY}, preset {PRESET}. "
    note += "Centred Gaussian and Full image see no image: what does not beat them is not localizing."
    if cells["variant"].isin(list(RIVALS)).any():
        note += f" {RIVALS_NOTE}"
    _dot_plot(cells, f"{dataset}, {backbone}: subsets of the test split", note, path)


def map_order(names: Iterable[str]) -> list[str]:
    """The order of maps in a picture: the paper's, any others by name, the rivals', those that see no image."""
    titles = [rival.title for rival in RIVALS.values()]
    return [*MAP_COLOURS, *sorted({*names} - {*MAP_COLOURS, *titles, *FLOORS}), *titles, *FLOORS]


def line_name(name: str, variant: str, position: str) -> str:
    """What the line of a map and a model is called in a picture.

    >>> line_name("GAR", "padl", "MMp"), line_name("CAM", "cam", "")
    ('GAR   p-ADL MMp', 'CAM')
    """
    if variant in RIVALS:
        training = "with boxes" * RIVALS[variant].with_boxes
    else:
        training, _ = _TRAININGS.get(variant, (variant, ""))
    return "   ".join(filter(None, (FLOORS.get(name, name), f"{training} {position}".strip())))


def percent_limits(low: float, high: float) -> tuple[float, float]:
    """The axis of a dot plot of percentages: whole tens, with room at both ends.

    >>> percent_limits(41.0, 59.5)
    (30.0, 70.0)
    """
    return max((low - 2) // 10 * 10, 0), min((high + 12) // 10 * 10, 100)


def _dot_plot(cells: pd.DataFrame, title: str, note: str, path: Path) -> None:
    """Lay out panels of one size, metrics down and groups across, with a legend and the note below them.

    `cells` has the columns of `vitol.tables.Table.cells`, and name, the text beside a line.
    """
    metrics = [metric for metric in cells["metric"].unique() if metric not in _COMPANIONS]
    names = cells.drop_duplicates("line").set_index("line")["name"].sort_index()
    groups = cells.groupby("group", sort=False)["of_paper"].first()
    width = _LABELS + sum(_PANEL + _GAP + _NUMBER * (1 + of_paper) for of_paper in groups)
    panel, wrapped = _ROW * len(names), textwrap.wrap(note, int((width - 0.3) * 20))
    foot = 0.3 + 0.13 * len(wrapped)
    height = _HEAD + len(metrics) * (panel + _AXIS) + foot
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(0.1 / width, 1 - 0.18 / height, title, fontsize=10, fontweight="bold", va="center")
        for row, metric in enumerate(metrics):
            entries = cells[cells["metric"] == metric]
            beside = [name for name, (host, _) in _COMPANIONS.items() if host == metric]
            crosses = cells[cells["metric"].isin(beside)]
            numbers = pd.concat([entries, crosses])[["paper", "ours", "ci_low", "ci_high"]]
            limits = percent_limits(numbers.min().min(), numbers.max().max())
            top, left = _HEAD + row * (panel + _AXIS), _LABELS
            figure.text(
                0.1 / width, 1 - (top - 0.1) / height, metric, fontsize=8.5, fontweight="bold", va="center"
            )
            for group, of_paper in groups.items():
                place = (left / width, 1 - (top + panel) / height, _PANEL / width, panel / height)
                axes = figure.add_axes(place)
                of_group = entries[entries["group"] == group]
                _draw_panel(axes, of_group, crosses[crosses["group"] == group])
                axes.set(xlim=limits, ylim=(len(names) - 0.5, -0.5))
                axes.set_yticks(range(len(names)), names if left == _LABELS else [""] * len(names))
                if row == 0:
                    axes.set_title(of_group["header"].iloc[0], fontsize=7.5, pad=14)
                left += _PANEL + _GAP + _NUMBER * (1 + of_paper)
        _draw_legend(figure, cells, (0.1 / width, (foot - 0.12) / height))
        figure.text(0.1 / width, 0.08 / height, "\n".join(wrapped), fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)


def _draw_panel(axes: Axes, entries: pd.DataFrame, crosses: pd.DataFrame) -> None:
    """Draw one panel: a line an entry, its numbers to the right of the axes."""
    of_paper = entries["of_paper"].any()
    beside = axes.get_yaxis_transform()
    paper_at, ours_at = 1 + 0.34 / _PANEL, 1 + (0.06 + 0.36 * of_paper) / _PANEL
    axes.text(ours_at, -0.6, "ours", transform=beside, color=QUIET, fontsize=6.5, va="bottom")
    if of_paper:
        axes.text(
            paper_at, -0.6, "paper", transform=beside, color=QUIET, fontsize=6.5, ha="right", va="bottom"
        )
    for entry in entries.to_dict("records"):
        y, label, colour = entry["line"], entry["label"], MAP_COLOURS.get(entry["label"], PLAIN)
        marker = "|" if label in FLOORS else _MARKS.get(entry["variant"], ("", "o"))[1]
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#F3F3F3", zorder=0, linewidth=0)
        if label in FLOORS and entry["metric"] != "Top1Cls":
            axes.axvline(entry["ours"], color=PLAIN, linewidth=0.9, linestyle=_DASHES[label], zorder=1)
        axes.plot(entry["paper"], y, "D", color=QUIET, markerfacecolor="white", markersize=5, zorder=2)
        axes.plot([entry["ci_low"], entry["ci_high"]], [y, y], color=colour, linewidth=1.3, zorder=3)
        axes.plot(entry["ours"], y, marker, color=colour, markersize=4.5, zorder=4)
        text, shade = (f"{entry['ours']:.1f}", colour) if entry["seeds"] else (entry["absent"], QUIET)
        axes.text(ours_at, y, text, transform=beside, color=shade, va="center")
        paper = "-" if entry["dash"] else "" if np.isnan(entry["paper"]) else f"{entry['paper']:g}"
        axes.text(paper_at, y, paper, transform=beside, color=PLAIN, ha="right", va="center")
    for entry in crosses.to_dict("records"):
        colour = MAP_COLOURS.get(entry["label"], PLAIN)
        marker = _COMPANIONS[entry["metric"]][1]
        axes.plot(entry["ours"], entry["line"] + 0.28, marker, color=colour, markersize=3, zorder=5)
    axes.axhline(
        (entries["row"] > 0).sum() - 0.5, color=QUIET, linewidth=0.6
    )  # below it, rows the paper lacks
    axes.tick_params(length=0, pad=3)
    axes.grid(axis="y", visible=False)


def _draw_legend(figure: Figure, cells: pd.DataFrame, place: tuple[float, float]) -> None:
    """Explain the marks that the figure uses."""
    run = cells[cells["seeds"] > 0]
    handles = [Line2D([], [], marker="D", color=QUIET, mfc="white", ls="", ms=5, label="the paper")]
    handles = handles if cells["paper"].notna().any() else []
    for name in (name for name in MAP_COLOURS if name in set(run["label"])):
        handles.append(Line2D([], [], color=MAP_COLOURS[name], linewidth=2.5, label=name))
    variants = set(run.loc[~run["label"].isin(FLOORS), "variant"])
    for name, marker in dict.fromkeys(_MARKS[variant] for variant in _MARKS if variant in variants):
        handles.append(Line2D([], [], marker=marker, color=PLAIN, ls="", ms=5, label=name))
    for name, (_, marker) in _COMPANIONS.items():
        if name in set(run["metric"]):
            handles.append(Line2D([], [], marker=marker, color=PLAIN, ls="", ms=4, label=name))
    for name in (name for name in FLOORS if name in set(run["label"])):
        handles.append(Line2D([], [], color=PLAIN, linestyle=_DASHES[name], label=FLOORS[name]))
    columns = int(figure.get_figwidth() / _ENTRY)
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=place, ncols=columns, frameon=False, borderaxespad=0
    )


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, making its folder; the bytes depend on the figure alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})
