from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import drawn_by
from matplotlib.figure import Figure
from test_figures import check_texts

from vitol import ranking_figure as module
from vitol.ranking_figure import ranking_figure

KINDS = {"a transformer": "#D55E00", "a network": "#333333", "unseen": "#009E73"}
NONE = float("nan")


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = [
        ("TS-CAM", "a transformer", "oracle-per-iou", 62.0, 60.0, 65.0, 1),
        ("TS-CAM", "a transformer", "validation", 55.0, 50.0, 58.0, 2),
        ("CAM, of a very long name", "a network", "oracle-per-iou", 61.0, 59.0, 63.0, 2),
        ("CAM, of a very long name", "a network", "validation", 58.0, 57.0, 60.0, 1),
        ("Few-shot", "a network", "oracle-per-iou", 40.0, 31.0, 43.0, NONE),
    ]
    return pd.DataFrame(rows, columns=["line", "kind", "policy", "value", "ci_low", "ci_high", "rank"])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return drawn_by(module, monkeypatch)


def draw(scores: pd.DataFrame, path: Path = Path("unused.png")) -> None:
    ranking_figure(scores, KINDS, path, title="A ranking", axis="percent", note="What to know of it. " * 12)


def test_every_number_has_its_mark_and_interval_in_its_line_and_colour(scores, drawn):
    draw(scores)
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(scores["line"].unique())
    assert axes.get_xlim() == (20, 70)  # a round ten, at least two below the least and two above the most
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    spans = [line for line in axes.lines if len(line.get_xdata()) == 2]
    for row, mark, span in zip(scores.to_dict("records"), marks, spans, strict=True):
        assert mark.get_xdata()[0] == row["value"] and list(span.get_xdata()) == [
            row["ci_low"],
            row["ci_high"],
        ]
        assert mark.get_color() == span.get_color() == KINDS[row["kind"]]
        filled = mark.get_markerfacecolor() == mark.get_color()
        assert filled == (row["policy"] == "oracle-per-iou")
        line = list(scores["line"].unique()).index(row["line"])
        assert abs(mark.get_ydata()[0] - line) < 0.5 and mark.get_ydata()[0] == span.get_ydata()[0]
    texts = [text.get_text() for text in axes.texts]
    assert sorted(text for text in texts if text.isdigit()) == ["1", "1", "2", "2"]


def test_the_legend_has_the_kinds_and_policies_that_are_drawn(scores, drawn):
    draw(scores)
    (legend,) = drawn[0].legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["a transformer", "a network", "oracle-per-iou", "validation"]


def test_no_two_texts_overlap_or_leave_the_figure(scores, drawn):
    draw(scores)
    check_texts(drawn[0])


def test_the_same_numbers_give_the_same_bytes_and_others_give_others(scores, tmp_path):
    for name in ("one", "again"):
        draw(scores, tmp_path / name)
    draw(scores[:-1], tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "other").read_bytes() != (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda scores: scores[:0], "0 numbers of 0 policies to plot"),
        (lambda scores: scores.assign(policy=list("abcde")), "of 5 policies to plot.*at most 2 policies"),
        (lambda scores: scores.assign(kind="odd"), "kinds without a colour: odd"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(scores, tmp_path, changed, said):
    with pytest.raises(ValueError, match=said):
        draw(changed(scores), tmp_path / "ranking.png")
    assert not list(tmp_path.iterdir())
