"""The panels of the picture of `vitol score`, each drawn into axes of its own; `vitol.score_figure` lays them out.

L thresholds. A method has one colour and one marker in all panels.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitol.failures import CATEGORIES
from vitol.figures import PLAIN, QUIET
from vitol.localizations import DELTAS
from vitol.views import BINS, RIGHT

NAME_LINE = 0.16  # height of a line of a method's name above its failures, in inches
_LINES: dict[float, tuple] = {0.3: (0.8, (0, (4, 1.5))), 0.5: (1.8, "-"), 0.7: (0.8, (0, (1, 1.2)))}
# Unlike the methods' colours: these are kinds of failure.
_CATEGORY_STYLE = {
    "right": ("#DCDCDC", "right"),
    "part": ("#F3D36B", "part: too small"),
    "more": ("#A98BB5", "more: too large"),
    "multi": ("#7FB9B0", "multi: several objects"),
    "other": ("#5A5A5A", "other"),
}
_KEY: dict[str, Any] = {"frameon": False, "fontsize": 6.5, "columnspacing": 1, "handletextpad": 0.5}

Headlines = Mapping[str, tuple[float, float, float]]
"""Percent and the ends of its 95% interval by metric; NaN ends where there is no interval."""


@dataclass(frozen=True, eq=False)
class MethodView:
    """What the figure shows of one method.

    Attributes:
        n_images: Images scored.
        headlines: Percent and the ends of its 95% interval by metric; NaN ends where there is no interval.
        curves: `vitol.views.accuracy_over_threshold`, percent, (3, L).
        thresholds: The chosen threshold by delta, fractions in [0, 1); a delta may be left out.
        histogram: `vitol.views.iou_histogram` at the chosen threshold, counts that sum to `n_images`, (20,).
        failures: `vitol.failures.Failures.shares`, percent.
        groups: `vitol.views.views_frame`; views "object size" and "boxes" are drawn.
    """

    n_images: int
    headlines: Headlines
    curves: np.ndarray
    thresholds: Mapping[float, float]
    histogram: np.ndarray
    failures: Mapping[str, float]
    groups: pd.DataFrame

    def of(self, view: str) -> pd.DataFrame:
        """The rows of one view of `groups`, by group."""
        return self.groups[self.groups["view"] == view].set_index("group")


@dataclass(frozen=True)
class Look:
    """A method's name, colour and marker, and where in [-0.5, 0.5] its marks stand among those of the others."""

    name: str
    colour: str
    marker: str
    shift: float


def draw_headlines(axes: Axes, looks: Sequence[Look], headlines: Sequence[Headlines], width: float) -> None:
    """Draw a cluster of bars a metric, a bar a method, its value above its interval.

    Args:
        axes: Where to draw.
        looks: One a method.
        headlines: One a method.
        width: Of the axes, in inches, which decides whether there is room for numbers that lie flat.
    """
    metrics = list(dict.fromkeys(metric for of_method in headlines for metric in of_method))
    room = width / len(metrics)
    cluster = min(0.84, 0.5 * len(looks) / room)
    flat = cluster * room / len(looks) >= 0.3
    highest = 1.0
    for look, of_method in zip(looks, headlines, strict=True):
        # Mixed with white, not transparent: neither the grid nor the interval is lost in the bar.
        shade = 0.75 * np.array(to_rgb(look.colour)) + 0.25
        for metric, (value, low, high) in of_method.items():
            x, top = metrics.index(metric) + cluster * look.shift, float(np.nanmax([value, high]))
            axes.bar(x, value, 0.92 * cluster / len(looks), color=shade, linewidth=0, zorder=2)
            axes.plot([x, x], [low, high], color=PLAIN, linewidth=1)
            centred: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": PLAIN}
            place: dict[str, Any] = {
                "xytext": (0, 2),
                "textcoords": "offset points",
                "rotation": 0 if flat else 90,
            }
            axes.annotate(f"{value:.1f}", (x, top), **centred, **place)
            highest = max(highest, top)
    axes.set(xlim=(-0.5, len(metrics) - 0.5), ylim=(0, highest * (1.12 if flat else 1.24)))
    axes.set_yticks([tick for tick in range(0, 101, 20) if tick <= axes.get_ylim()[1]])
    words = [textwrap.fill(metric, max(int(room / 0.07), 8), break_long_words=False) for metric in metrics]
    longest = max(len(line) for word in words for line in word.splitlines())
    axes.set_xticks(range(len(metrics)), words, fontsize=min(7.5, 7.5 * room / (0.074 * longest)))
    axes.set_ylabel("percent")
    axes.grid(axis="x", visible=False)
    _head(axes, "Measurements, with 95% intervals")


def draw_curves(axes: Axes, looks: Sequence[Look], views: Sequence[MethodView]) -> None:
    """Draw accuracy over threshold, a line a method and delta, the chosen thresholds marked."""
    for look, view in zip(looks, views, strict=True):
        steps = view.curves.shape[1]
        for delta, curve in zip(DELTAS, view.curves, strict=True):
            width, dashes = _LINES[delta]
            axes.plot(np.arange(steps) / steps, curve, color=look.colour, linewidth=width, linestyle=dashes)
            if delta in view.thresholds:
                at = int(view.thresholds[delta] * steps)
                edge: dict[str, Any] = {
                    "markeredgecolor": "white",
                    "markeredgewidth": 0.5,
                    "clip_on": False,
                    "zorder": 4,
                }
                size = 7 if delta == RIGHT else 5
                axes.plot(at / steps, curve[at], look.marker, color=look.colour, markersize=size, **edge)
    handles = [
        Line2D([], [], color=PLAIN, lw=_LINES[delta][0], ls=_LINES[delta][1], label=f"IoU ≥ {delta}")
        for delta in DELTAS
    ]
    handles.append(Line2D([], [], color=PLAIN, marker="o", ls="", ms=5, label="chosen"))
    axes.legend(handles=handles, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.3, **_KEY)
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="threshold, as a fraction of the map's maximum")
    axes.set_ylabel("images, percent")
    _head(axes, "Accuracy over threshold")


def draw_histogram(axes: Axes, looks: Sequence[Look], views: Sequence[MethodView]) -> None:
    """Draw the share of images in each bin of IoU, a stepped line a method."""
    for look, view in zip(looks, views, strict=True):
        shares = 100 * view.histogram / view.n_images
        axes.stairs(shares, np.arange(BINS + 1) / BINS, color=look.colour, linewidth=1.4, baseline=None)
    for delta in DELTAS:
        axes.axvline(delta, color=QUIET, linewidth=0.8, linestyle=_LINES[delta][1], zorder=0)
    axes.set(xlim=(0, 1), xlabel="IoU at the chosen threshold; vertical lines: 0.3, 0.5, 0.7")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("images a bin, percent")
    _head(axes, "Histogram of IoU")


def draw_failures(
    axes: Axes, names: Sequence[Sequence[str]], views: Sequence[MethodView], height: float
) -> None:
    """Draw a stacked bar a method, its name above it.

    Args:
        axes: Where to draw.
        names: The lines of each method's name.
        views: One a method.
        height: Of the axes, in inches, which are the unit of y.
    """
    free = (height - NAME_LINE * sum(len(lines) for lines in names)) / len(names)
    thick, down = 0.6 * free, 0.0
    for lines, view in zip(names, views, strict=True):
        down += NAME_LINE * len(lines)
        axes.text(0, down, "\n".join(lines), va="bottom", parse_math=False)
        left, middle = 0.0, down + thick / 2 + 0.02
        for category in CATEGORIES:
            share, colour = view.failures[category], _CATEGORY_STYLE[category][0]
            axes.barh(middle, share, thick, left, color=colour, linewidth=0)
            if share >= 5:  # narrower ones have no room for their number
                shade = "white" if category == "other" else PLAIN
                centred: dict[str, Any] = {
                    "ha": "center",
                    "va": "center_baseline",
                    "fontsize": 6.5,
                    "color": shade,
                }
                axes.text(left + share / 2, middle, f"{share:.0f}", **centred)
            left += share
        down += free
    handles = [Patch(color=colour, label=label, linewidth=0) for colour, label in _CATEGORY_STYLE.values()]
    below: dict[str, Any] = {
        "loc": "upper left",
        "bbox_to_anchor": (0, -0.2 / height),
        "borderaxespad": 0,
        "borderpad": 0,
    }
    axes.legend(handles=handles, ncols=3, handlelength=1, **below, **_KEY)
    axes.set(xlim=(0, 100), ylim=(height, 0), yticks=[], frame_on=False)
    axes.grid(visible=False)
    _head(axes, "How localization fails, percent of images")


def draw_groups(
    axes: Axes, looks: Sequence[Look], views: Sequence[MethodView], view: str, order: Sequence[str]
) -> None:
    """Draw the accuracy of each group of a view, in the given order, a point with its interval a method."""
    frames = [method.of(view) for method in views]
    groups = [name for name in order if any(name in frame.index for frame in frames)]
    for look, frame in zip(looks, frames, strict=True):
        for group in frame.index:
            x, row = groups.index(group) + 0.7 * look.shift, frame.loc[group]
            unclipped: dict[str, Any] = {"color": look.colour, "clip_on": False, "zorder": 3}
            axes.plot([x, x], [row["ci_low"], row["ci_high"]], linewidth=1.3, **unclipped)
            axes.plot(x, row["value"], look.marker, markersize=4.5, **unclipped)
    counts = pd.concat([frame["n_images"] for frame in frames]).groupby(level=0).agg(["min", "max"])
    spans = ["-".join(map(str, dict.fromkeys(counts.loc[group].tolist()))) for group in groups]
    labels = [f"{group}\nn={span}" for group, span in zip(groups, spans, strict=True)]
    axes.set(xlim=(-0.5, len(groups) - 0.5), ylim=(0, 100))
    axes.set_xticks(range(len(groups)), labels)
    axes.set_ylabel("images with IoU ≥ 0.5, percent")
    axes.grid(axis="x", visible=False)


def draw_sizes(axes: Axes, looks: Sequence[Look], views: Sequence[MethodView], order: Sequence[str]) -> None:
    """Draw accuracy by object size."""
    draw_groups(axes, looks, views, "object size", order)
    axes.set_xlabel("area of the image's largest box")
    _head(axes, "By object size")


def draw_counts(axes: Axes, looks: Sequence[Look], views: Sequence[MethodView], order: Sequence[str]) -> None:
    """Draw accuracy by number of boxes."""
    draw_groups(axes, looks, views, "boxes", order)
    axes.set_xlabel("ground-truth boxes of the image")
    _head(axes, "By number of boxes")


def _head(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=8.5, fontweight="bold", pad=6)
    axes.tick_params(length=0, pad=3)
    axes.tick_params(axis="x", pad=5)  # so that the zeros of both axes do not touch
