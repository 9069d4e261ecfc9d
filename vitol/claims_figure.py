"""Two figures of a campaign: the paper's claims as differences with intervals, and how training went."""

import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vitol.figures import PLAIN, QUIET, STYLE, save_png

# Of runs, in their order: colours that colour-blind eyes tell apart, and marks.
RUN_MARKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
MODEL_COLOURS = {"baseline": PLAIN, "control": "#0072B2", "mmp": "#D55E00", "mpm": "#009E73"}
_PAPER = (("paper ilsvrc", "P", "the paper, ImageNet, DeiT-B"), ("paper cub", "X", "the paper, CUB, DeiT-B"))
_NOTE = (
    "Differences in percentage points with 95% intervals of a paired bootstrap over test images, means over seeds. "
    "To the right of 0 the claim holds. The paper gives no intervals."
)
# Inches: labels, the panel; head with legend, a line, the gap between claims, axis and note.
_LABELS, _PANEL, _HEAD, _LINE, _GAP, _FOOT = 2.6, 5.2, 0.95, 0.155, 0.24, 0.75


def claims_figure(claims: pd.DataFrame, names: dict[str, str], path: Path) -> None:
    """Plot every comparison of every claim: one mark a run, and the paper's own difference.

    Args:
        claims: Rows of `experiments.claims.claim_table`.
        names: What each run is called, in the order of their marks.
        path: The PNG to write.

    Raises:
        ValueError: If there is nothing to plot, or more runs than marks.
    """
    if claims.empty or len(names) > len(RUN_MARKS):
        raise ValueError(
            f"{len(claims)} differences of {len(names)} runs to plot; needed: 1 or more, of at most "
            f"{len(RUN_MARKS)} runs"
        )
    heights: list[tuple[str, str, float]] = []  # claim, comparison, how far below the top, in inches
    depth = 0.0
    for claim, of_claim in claims.groupby("claim", sort=False):
        depth += _GAP
        for comparison, rows in of_claim.groupby("comparison", sort=False):
            heights.append((str(claim), str(comparison), depth))
            depth += _LINE * (len(rows) + 1.2)
    width, height = _LABELS + _PANEL + 0.2, _HEAD + depth + _FOOT
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((_LABELS / width, _FOOT / height, _PANEL / width, depth / height))
        axes.axvline(0, color=PLAIN, linewidth=0.9)
        beside = axes.get_yaxis_transform()
        labelled: set[str] = set()

        def draw(x: float, y: float, mark: str, colour: str, label: str, size: float = 4.5) -> None:
            shown = "" if label in labelled else label
            labelled.add(label)
            axes.plot(x, y, mark, color=colour, markersize=size, label=shown or "_", zorder=4, clip_on=False)

        before = ""
        for claim, comparison, top in heights:
            rows = claims[(claims["claim"] == claim) & (claims["comparison"] == comparison)]
            if claim != before:
                axes.text(-0.47, top - 0.06, claim, transform=beside, fontweight="bold", va="center")
                if before:
                    axes.axhline(top - 0.17, color=QUIET, linewidth=0.6)
                before = claim
            sign = int(rows["sign"].iloc[0])
            turned = "" if sign > 0 else " (sign turned)"
            axes.text(-0.02, top + _LINE, comparison + turned, transform=beside, ha="right", va="center")
            for column, mark, label in _PAPER:
                if np.isfinite(rows[column].iloc[0]):
                    draw(sign * rows[column].iloc[0], top + 0.2 * _LINE, mark, "black", label, 5)
            for place, row in enumerate(rows.to_dict("records")):
                colour, mark = RUN_MARKS[list(names).index(row["run"])]
                y = top + _LINE * (place + 1)
                ends = sorted((sign * row["ci_low"], sign * row["ci_high"]))
                axes.plot(ends, [y, y], color=colour, linewidth=1.2, zorder=3)
                draw(sign * row["difference"], y, mark, colour, names[row["run"]])
        reach = np.ceil(max(1, _reach(claims)) / 5) * 5
        axes.set(xlim=(-reach, reach), ylim=(depth, 0), yticks=[])
        axes.set_xlabel("percentage points in the direction of the paper's claim")
        axes.grid(axis="y", visible=False)
        figure.text(
            0.12 / width,
            1 - 0.2 / height,
            "The paper's claims, measured",
            fontsize=10,
            fontweight="bold",
            va="center",
        )
        handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        order = [name for name in (*(label for _, _, label in _PAPER), *names.values()) if name in handles]
        figure.legend(
            [handles[name] for name in order],
            order,
            loc="upper left",
            bbox_to_anchor=(0.08 / width, 1 - 0.3 / height),
            ncols=3,
            frameon=False,
            fontsize=7,
        )
        note = "\n".join(textwrap.wrap(_NOTE, 130))
        figure.text(0.12 / width, 0.06 / height, note, fontsize=6.5, color=PLAIN, va="bottom")
        save_png(figure, path)


def _reach(claims: pd.DataFrame) -> float:
    """The largest distance from 0 of anything that is drawn."""
    columns = ["difference", "ci_low", "ci_high", *(column for column, _, _ in _PAPER)]
    return float(np.nanmax(claims[columns].abs().to_numpy()))


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
