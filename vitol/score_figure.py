"""The picture of `vitol score`: methods side by side, from the headline to how they fail.

One PNG of 1,600 pixels' width: measurements over the whole width; below them accuracy over threshold and the
histogram of IoU; below these the failures, accuracy by object size and, where images have more than one box, by
number of boxes. The panels themselves are in `vitol.score_panels`.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vitol.failures import CATEGORIES
from vitol.figures import MAP_COLOURS, PLAIN, QUIET, STYLE, save_png
from vitol.localizations import DELTAS
from vitol.score_panels import (
    NAME_LINE,
    Headlines,
    Look,
    MethodView,
    draw_counts,
    draw_curves,
    draw_failures,
    draw_headlines,
    draw_histogram,
    draw_sizes,
)
from vitol.views import BINS, BOX_COUNTS, COLUMNS, SIZES

__all__ = ["MOST", "MethodView", "headline_figure", "score_figure", "threshold_figure"]

MOST = 6  # methods of a figure: more colours are not told apart
_KNOWN = {**MAP_COLOURS, "GAUSSIAN": PLAIN, "FULL IMAGE": QUIET}
_MARKERS = "osD^v>"
_NOTE = (
    "Measurements: 95% intervals of a bootstrap over images. Curves: share of images whose IoU reaches delta; marks "
    "are chosen thresholds. Histogram, failures and groups are read at the threshold marked for IoU ≥ 0.5. Failures: "
    "box of the largest contour, right from IoU 0.5; definitions in vitol.failures. Histogram and groups: all "
    "contours; intervals are Wilson's, 95%."
)
# Inches: the figure, its margins, the space between panels; room above a panel and below those of each row.
_WIDTH, _MARGIN, _LEFT, _GAP = 1600 / 150, 0.15, 0.5, 0.62
_TITLE, _NAMES, _ABOVE, _BELOW = 0.36, 0.175, 0.3, (0.42, 0.5, 0.6)
_BARS_HIGH, _PANEL_HIGH = 1.75, 2.1


def score_figure(title: str, methods: Mapping[str, MethodView], path: Path, note: str = "") -> None:
    """Draw the views of one to six methods into one PNG; the same input gives the same bytes.

    Args:
        title: The line at the top.
        methods: What to show by the method's name, in the order of drawing. AR, GAR, LRP, Gaussian and Full image
            have colours of their own, which AR, GAR and LRP have in the project's other figures too.
        path: The PNG to write.
        note: What the reader has to know of data set, policy and images, put below the panels.

    Raises:
        ValueError: If there is no method or more than six, or a part of a view is not what it should be.
    """
    if not 1 <= len(methods) <= MOST:
        raise ValueError(f"{len(methods)} methods; the figure shows 1 to {MOST}, so draw several figures")
    for name, method in methods.items():
        _check_view(name, method)
    looks, views = _looks(list(methods)), list(methods.values())
    # With one box in every image, by number of boxes would repeat the headline.
    counted = any(set(view.of("boxes").index) - {"1"} for view in views)
    inner = _WIDTH - _LEFT - _MARGIN
    half, third = (inner - _GAP) / 2, inner - 2 * _GAP
    widths = [[inner], [half, half], [0.36 * third, 0.37 * third, 0.27 * third] if counted else [half, half]]
    # The failures' panel is as high as its names and bars need; the others of its row may be higher.
    names = [textwrap.wrap(look.name, int(15.5 * (widths[2][0] + _LEFT - _MARGIN))) or [""] for look in looks]
    bar = max(0.26, 0.42 - 0.03 * len(looks))
    failures_high = sum(NAME_LINE * len(lines) + bar for lines in names)
    heights = [_BARS_HIGH, _PANEL_HIGH, max(_PANEL_HIGH, failures_high)]
    columns = _legend_columns(looks)
    head = _TITLE + _NAMES * -(-len(looks) // columns) + 0.08
    notes = textwrap.wrap(f"{note} {_NOTE}".strip(), 212)
    height = head + sum(heights) + len(heights) * _ABOVE + sum(_BELOW) + 0.13 * len(notes) + 0.1

    def place(row: int, column: int) -> tuple[float, float, float, float]:
        top = head + sum(heights[:row]) + sum(_BELOW[:row]) + (row + 1) * _ABOVE
        left = _LEFT + sum(widths[row][:column]) + column * _GAP
        wide, high = widths[row][column], heights[row]
        if (row, column) == (2, 0):  # the failures have no ticks at their left
            left, wide, high = _MARGIN, wide + _LEFT - _MARGIN, failures_high
        return left / _WIDTH, 1 - (top + high) / height, wide / _WIDTH, high / height

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        plain: dict[str, Any] = {"x": _MARGIN / _WIDTH, "parse_math": False}  # a "$" in a name is one
        figure.text(y=1 - 0.18 / height, s=title, fontsize=10, fontweight="bold", va="center", **plain)
        _draw_legend(figure, looks, columns, (_MARGIN / _WIDTH, 1 - _TITLE / height))
        draw_headlines(figure.add_axes(place(0, 0)), looks, [view.headlines for view in views], inner)
        draw_curves(figure.add_axes(place(1, 0)), looks, views)
        draw_histogram(figure.add_axes(place(1, 1)), looks, views)
        draw_failures(figure.add_axes(place(2, 0)), names, views, failures_high)
        draw_sizes(figure.add_axes(place(2, 1)), looks, views, SIZES)
        if counted:
            draw_counts(figure.add_axes(place(2, 2)), looks, views, BOX_COUNTS)
        figure.text(y=0.08 / height, s="\n".join(notes), fontsize=6.5, color=PLAIN, va="bottom", **plain)
        save_png(figure, path)


def headline_figure(title: str, headlines: Mapping[str, Headlines], path: Path, note: str) -> None:
    """Draw the measurements alone, of one to six methods that have no boxes to draw more of; as `score_figure`."""
    note = f"{note} Intervals are those of a bootstrap over images, 95%."

    def draw(axes: Axes, looks: Sequence[Look], width: float) -> None:
        draw_headlines(axes, looks, list(headlines.values()), width)

    _one_panel(title, list(headlines), draw, path, note)


def threshold_figure(title: str, methods: Mapping[str, MethodView], path: Path, note: str = "") -> None:
    """Draw accuracy over threshold alone, a line a method and IoU, the chosen thresholds marked; as `score_figure`."""
    for name, method in methods.items():
        _check_view(name, method)
    note = f"{note} Curves: share of images whose IoU reaches delta; marks are chosen thresholds.".strip()

    def draw(axes: Axes, looks: Sequence[Look], _: float) -> None:
        draw_curves(axes, looks, list(methods.values()))

    _one_panel(title, list(methods), draw, path, note)


def _one_panel(
    title: str,
    names: Sequence[str],
    draw: Callable[[Axes, Sequence[Look], float], None],
    path: Path,
    note: str,
) -> None:
    """Lay out a figure of one panel, which `draw` fills: it gets axes, the methods' looks and the width in inches."""
    if not 1 <= len(names) <= MOST:
        raise ValueError(f"{len(names)} methods; the figure shows 1 to {MOST}, so draw several figures")
    looks = _looks(names)
    columns = _legend_columns(looks)
    head = _TITLE + _NAMES * -(-len(looks) // columns) + 0.08 + _ABOVE
    notes = textwrap.wrap(note, 212)
    height = head + _PANEL_HIGH + _BELOW[0] + 0.13 * len(notes) + 0.1
    inner = _WIDTH - _LEFT - _MARGIN
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        plain: dict[str, Any] = {"x": _MARGIN / _WIDTH, "parse_math": False}
        figure.text(y=1 - 0.18 / height, s=title, fontsize=10, fontweight="bold", va="center", **plain)
        _draw_legend(figure, looks, columns, (_MARGIN / _WIDTH, 1 - _TITLE / height))
        place = (_LEFT / _WIDTH, 1 - (head + _PANEL_HIGH) / height, inner / _WIDTH, _PANEL_HIGH / height)
        draw(figure.add_axes(place), looks, inner)
        figure.text(y=0.08 / height, s="\n".join(notes), fontsize=6.5, color=PLAIN, va="bottom", **plain)
        save_png(figure, path)


def _check_view(name: str, view: MethodView) -> None:
    """Refuse a view whose parts are not what the panels need; the text names the method and the part."""
    curves, counts = np.shape(view.curves), view.histogram
    counted = counts.shape == (BINS,) and 0 < counts.sum() == view.n_images
    chosen = all(delta in DELTAS and 0 <= at < 1 for delta, at in view.thresholds.items())
    faults = {
        "headlines": (not view.headlines, "empty", "at least one metric"),
        "curves": (len(curves) != 2 or curves[0] != len(DELTAS) or not curves[1], curves, "(3, L)"),
        "thresholds": (not chosen, dict(view.thresholds), f"fractions in [0, 1) by delta of {DELTAS}"),
        "histogram": (not counted, counts, f"({BINS},) with the {view.n_images} images"),
        "failures": (set(view.failures) != set(CATEGORIES), set(view.failures), CATEGORIES),
        "groups": (list(view.groups) != COLUMNS, list(view.groups), COLUMNS),
    }
    for part, (wrong, seen, needed) in faults.items():
        if wrong:
            raise ValueError(f"method {name!r}: {part} is {seen}; needed: {needed}")


def _looks(names: Sequence[str]) -> list[Look]:
    """A colour and a marker a method: its own colour where the project has one, else one unlike those taken."""
    known = [_KNOWN.get(name.upper()) for name in names]
    own = [None if colour in known[:at] else colour for at, colour in enumerate(known)]
    taken = [colour for colour in own if colour is not None]
    palette = sns.color_palette("colorblind").as_hex()
    # Sky blue comes before the palette's pale pink, grey and yellow, which are faint on white.
    spare = [palette[at] for at in (0, 1, 2, 3, 4, 9, 5, 6, 7, 8)]
    looks = []
    for at, (name, colour) in enumerate(zip(names, own, strict=True)):
        if colour is None:
            # The palette's blue and green are all but those of AR and LRP.
            colour = next(c for c in spare if all(_distance(c, other) > 0.15 for other in taken))
            taken.append(colour)
        looks.append(Look(name, colour, _MARKERS[at], (at + 0.5) / len(names) - 0.5))
    return looks


def _distance(one: str, other: str) -> float:
    return float(np.linalg.norm(np.subtract(to_rgb(one), to_rgb(other))))


def _legend_columns(looks: Sequence[Look]) -> int:
    """How many names have room beside each other above the panels."""
    widest = 0.7 + 0.066 * max(len(look.name) for look in looks)  # inches
    return max(1, min(len(looks), int((_WIDTH - 2 * _MARGIN) / widest)))


def _draw_legend(figure: Figure, looks: Sequence[Look], columns: int, place: tuple[float, float]) -> None:
    """Explain the methods' colours and markers, row by row."""
    # A legend fills column by column: in this order it reads row by row.
    ordered = [look for column in range(columns) for look in looks[column::columns]]
    lines = [Line2D([], [], color=look.colour, marker=look.marker, lw=1.8, ms=5) for look in ordered]
    at: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": place, "borderaxespad": 0, "borderpad": 0}
    # Of a name too long for the figure the end is kept too: folders often differ there.
    names = (look.name for look in ordered)
    labels = [name if len(name) <= 140 else f"{name[:60]} ... {name[-75:]}" for name in names]
    legend = figure.legend(lines, labels, ncols=columns, frameon=False, fontsize=8, handlelength=2.4, **at)
    for text in legend.get_texts():
        text.set_parse_math(False)
