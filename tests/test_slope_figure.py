from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_by
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from test_figures import check_texts, measured, table, written

from vitol import slope_figure as module
from vitol.measurements import COLUMNS
from vitol.slope_figure import slope_figure, spread_apart


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    rows = measured("mini", "small", 400, seeds=2) + measured("cub", "deit_base", 5794)
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return drawn_by(module, monkeypatch)


def lines(axes: Axes, style: str) -> dict[str, list[list[float]]]:
    """Both ends of the panel's lines that are solid ("-") or broken ("--"), by colour, in the order of drawing."""
    found: dict[str, list[list[float]]] = {}
    for line in axes.lines:
        if list(line.get_xdata()) == [0, 1] and line.get_linestyle() == style:
            found.setdefault(line.get_color(), []).append([float(y) for y in line.get_ydata()])
    return found


@pytest.mark.parametrize("number", [3, 4])
def test_the_same_table_gives_the_same_bytes_and_another_gives_others(number, tmp_path, measurements):
    one, again, other = (tmp_path / name for name in ("one.png", "again.png", "other.png"))
    for path in (one, again):
        slope_figure(table(number, measurements), path)
    slope_figure(table(number, measurements[measurements["dataset"] == "mini"]), other)
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("number", [3, 4])
def test_no_two_texts_overlap_or_leave_the_figure(number, measurements, drawn):
    slope_figure(table(number, measurements), Path("unused.png"))
    check_texts(drawn[0])


def test_lines_go_from_without_to_with_padl_the_papers_beside_ours(measurements, drawn):
    result = table(3, measurements)
    slope_figure(result, Path("unused.png"))
    imagenet, cub, mini = drawn[0].axes[:3]
    blue, orange = "#0072B2", "#D55E00"
    assert lines(imagenet, "--") == {blue: [[45.94, 46.51]], orange: [[62.82, 69.17]]}
    assert lines(imagenet, "-") == {}
    # Made up: baseline 50 and 40, control one more, MMp two more; over two seeds a quarter more. Broken lines are
    # the paper's, then ours from the control.
    assert lines(cub, "-") == {blue: [[50, 52]], orange: [[40, 42]]}
    assert lines(cub, "--") == {blue: [[49.75, 57.42], [51, 52]], orange: [[70.79, 72.42], [41, 42]]}
    assert lines(mini, "-") == {blue: [[50.25, 52.25]], orange: [[40.25, 42.25]]}
    assert lines(mini, "--") == {blue: [[51.25, 52.25]], orange: [[41.25, 42.25]]}
    changes = {text.get_text() for text in cub.texts}
    assert changes == {"AR +7.7 paper", "GAR +1.6 paper", "AR +2.0 (+1.0)", "GAR +2.0 (+1.0)"}


def test_both_ends_have_their_intervals(measurements, drawn):
    slope_figure(table(4, measurements), Path("unused.png"))
    mini = drawn[0].axes[2]
    upright = [
        line
        for line in mini.lines
        if line.get_xdata()[0] == line.get_xdata()[-1] and len(line.get_xdata()) == 2
    ]
    spans = sorted((line.get_xdata()[0], *line.get_ydata()) for line in upright)
    # LRP of MpM and MMp: 49.25 and 48.25; GAR: 43.25 and 42.25; intervals two below and three above.
    assert spans == [(0, 41.25, 46.25), (0, 47.25, 52.25), (1, 40.25, 45.25), (1, 46.25, 51.25)]
    assert [label.get_text() for label in mini.get_xticklabels()] == ["MpM", "MMp"]


def test_a_data_set_with_one_end_only_is_left_out(measurements, drawn):
    baseline = measurements[(measurements["variant"] == "baseline") | (measurements["dataset"] == "cub")]
    slope_figure(table(3, baseline), Path("unused.png"))
    titles = [axes.get_title().split("\n")[0] for axes in drawn[0].axes if axes.get_title()]
    assert titles == ["ImageNet", "CUB"]


def test_without_a_control_nothing_is_said_of_it(measurements, drawn):
    slope_figure(table(3, measurements[measurements["variant"] != "control"]), Path("unused.png"))
    assert not any("control" in words for words in written(drawn[0]))


def test_a_table_without_measurements_shows_the_papers_slopes(measurements, drawn):
    slope_figure(table(4, measurements.iloc[:0]), Path("unused.png"))
    green = "#009E73"
    shown = [lines(axes, "--") for axes in drawn[0].axes]
    assert shown == [{green: [[70.41, 70.47]]}, {green: [[71.99, 73.17]]}]


@pytest.mark.parametrize("number", [1, 2])
def test_a_table_without_slopes_is_refused(number, measurements):
    with pytest.raises(ValueError, match=f"Table {number} has no slopes; Tables 3 and 4 have"):
        slope_figure(table(number, measurements), Path("unused.png"))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_places_are_in_order_apart_and_below_the_highest(values):
    wanted = np.sort(values)
    places = spread_apart(wanted, 3.0, 100.0)
    assert places.max() <= 100 and all(b - a >= 3 - 1e-9 for a, b in pairwise(places))
    if all(b - a >= 3 for a, b in pairwise(wanted)):
        np.testing.assert_allclose(places, wanted)
