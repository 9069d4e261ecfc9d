"""Two figures of a campaign: differences with intervals, grouped by what they are about, and how training went."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter

from vitol.figures import PLAIN, QUIET, STYLE, save_png

# Of runs, in their order: colours that colour-blind eyes tell apart, and marks.
RUN_MARKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
MODEL_COLOURS = {"baseline": PLAIN, "control": "#0072B2", "mmp": "#D55E00", "mpm": "#009E73"}
_POINTS = ("P", "X")
# Inches: labels, the panel; head with legend, a line, the gap between groups, axis and note.
_LABELS, _PANEL, _HEAD, _LINE, _GAP, _FOOT = 2.9, 5.2, 0.95, 0.155, 0.24, 0.75


def differences_figure(
    differences: pd.DataFrame,
    names: Mapping[str, str],
    path: Path,
    *,
    title: str,
    axis: str,
    note: str,
    points: Mapping[str, str] | None = None,
) -> None:
    """Plot differences: a band a line of a group, in it a mark with its interval for each run.

    Args:
        differences: A row a mark: group, line, run, difference, ci_low, ci_high, and the columns of `points`; drawn
            in its order.
        names: What each run is called, in the order of their marks.
        path: The PNG to write.
        title: The line at the top.
        axis: What is on the axis.
        note: The lines at the bottom.
        points: Columns with numbers of others, without intervals, and what they are called; at most two.

    Raises:
        ValueError: If there is nothing to plot, or more runs or points than marks.
    """
    points = dict(points or {})
    if differences.empty or len(names) > len(RUN_MARKS) or len(points) > len(_POINTS):
        raise ValueError(
            f"{len(differences)} differences of {len(names)} runs and {len(points)} others to plot; needed: 1 or "
            f"more, of at most {len(RUN_MARKS)} runs and {len(_POINTS)} others"
        )
    bands: list[tuple[str, str, float]] = []  # group, line, how far below the top, in inches
    depth = 0.0
    for group, of_group in differences.groupby("group", sort=False):
        depth += _GAP
        for line, rows in of_group.groupby("line", sort=False):
            bands.append((str(group), str(line), depth))
            depth += _LINE * (len(rows) + (1.2 if points else 0.6))
    head = _HEAD if len(names) + len(points) > 1 else _HEAD / 2
    width, height = _LABELS + _PANEL + 0.2, head + depth + _FOOT
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((_LABELS / width, _FOOT / height, _PANEL / width, depth / height))
        axes.axvline(0, color=PLAIN, linewidth=0.9)
        beside = axes.get_yaxis_transform()
        handles, before = {}, ""
        for group, line, top in bands:
            rows = differences[(differences["group"] == group) & (differences["line"] == line)]
            if group != before:
                left = -(_LABELS - 0.12) / _PANEL
                axes.text(left, top - 0.06, group, transform=beside, fontweight="bold", va="center")
                if before:
                    axes.axhline(top - 0.17, color=QUIET, linewidth=0.6)
                before = group
            axes.text(-0.02, top + _LINE, line, transform=beside, ha="right", va="center")
            for (column, label), mark in zip(points.items(), _POINTS, strict=False):
                if np.isfinite(rows[column].iloc[0]):
                    (handles[label],) = axes.plot(
                        rows[column].iloc[0], top + 0.2 * _LINE, mark, color="black", markersize=5, zorder=4
                    )
            for place, row in enumerate(rows.to_dict("records")):
                colour, mark = RUN_MARKS[list(names).index(row["run"])]
                y = top + _LINE * (place + 1)
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=1.2, zorder=3)
                (handles[names[row["run"]]],) = axes.plot(
                    row["difference"], y, mark, color=colour, markersize=4.5, zorder=4
                )
        drawn = differences[["difference", "ci_low", "ci_high", *points]].abs().to_numpy(dtype=float)
        reach = np.ceil(max(1.0, np.nanmax(drawn)) / 5) * 5
        axes.set(xlim=(-reach, reach), ylim=(depth, 0), yticks=[])
        axes.set_xlabel(axis)
        axes.grid(axis="y", visible=False)
        figure.text(0.12 / width, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
        order = [label for label in (*points.values(), *names.values()) if label in handles]
        if len(order) > 1:
            figure.legend(
                [handles[label] for label in order],
                order,
                loc="upper left",
                bbox_to_anchor=(0.08 / width, 1 - 0.3 / height),
                ncols=3,
                frameon=False,
                fontsize=7,
            )
        wrapped = "\n".join(textwrap.wrap(note, 135))
        figure.text(0.12 / width, 0.06 / height, wrapped, fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)


def curves_figure(logs: pd.DataFrame, names: dict[str, str], titles: dict[str, str], path: Path) -> None:
    """Plot how training went: for every run the loss and the top-1 on held-out images, a line a model and seed.

    Fine-tuned models go on where the baseline ends. The loss of a model with p-ADL is the loss under its masks.

    Args:
        logs: A row an epoch: run, model, seed, epoch, train_loss, val_top1 (NaN where nothing was held out).
        names: What each run is called, in the order of the panels; those without logs are left out.
        titles: What each model is called.
        path: The PNG to write.

    Raises:
        ValueError: If there is nothing to plot.
    """
    if logs.empty:
        raise ValueError("no epochs to plot; needed: logs of at least one run that was trained")
    runs = [run for run in names if run in set(logs["run"])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * len(runs) + 0.6, 4.6))
        panels = figure.subplots(2, len(runs), squeeze=False, sharex="col")
        lines = {}
        for (loss, top1), run in zip(panels.T, runs, strict=True):
            of_run = logs[logs["run"] == run]
            before = np.nan_to_num(of_run.loc[of_run["model"] == "baseline", "epoch"].max())
            for (model, _), rows in of_run.groupby(["model", "seed"], sort=False):
                at = rows["epoch"] + (0 if model == "baseline" else before)
                for panel, column in ((loss, "train_loss"), (top1, "val_top1")):
                    (line,) = panel.plot(
                        at, rows[column], ".-", color=MODEL_COLOURS[str(model)], lw=0.9, ms=3
                    )
                    lines[str(model)] = line
            for panel in (loss, top1):
                panel.axvline(before + 0.5, color=QUIET, linewidth=0.8, linestyle=(0, (3, 2)))
            top1.xaxis.set_major_locator(MaxNLocator(integer=True))
            loss.set_title(names[run])
            loss.set_yscale("log")
            # Less than a decade has numbers between the powers of ten, too, and 2.2 reads better than 2.2 x 10^0.
            loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            loss.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
            loss.set_ylabel("training loss")
            top1.set_ylabel("top-1, held-out images, %")
            top1.set_xlabel("epoch; fine-tuning right of the dashed line")
        shown = [model for model in titles if model in lines]
        figure.legend(
            [lines[model] for model in shown],
            [titles[model] for model in shown],
            loc="lower center",
            ncols=len(shown),
            frameon=False,
            fontsize=7,
        )
        title = "How training went (a line a seed; with p-ADL the loss is that under its masks)"
        figure.suptitle(title, fontsize=8.5, x=0.02, ha="left")
        figure.tight_layout(rect=(0, 0.05, 1, 1))
        save_png(figure, path)
