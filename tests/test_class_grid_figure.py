"""The figure of the grid pointing game: what it shows is what the frames say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import drawn_by
from matplotlib.figure import Figure
from test_figures import check_texts, written

from vitol import class_grid_figure as module
from vitol.class_grid_figure import class_grid_figure

MAPS = ("AR", "GAR", "LRP", "Grad-CAM", "Attention")
MODELS = ("baseline", "control", "p-ADL MMp", "p-ADL MpM")


def frames(models: tuple[str, ...] = MODELS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means over two seeds, and the seeds."""
    means = [
        (name, model, 25.0 + 8 * at + place, 24.0 + 8 * at + place, 27.0 + 8 * at + place, 97)
        for at, name in enumerate(MAPS)
        for place, model in enumerate(models)
    ]
    seeds = [(name, model, score + shift) for name, model, score, *_ in means for shift in (-0.5, 0.5)]
    columns = ["map", "model", "score", "ci_low", "ci_high", "n_mosaics"]
    return pd.DataFrame(means, columns=columns), pd.DataFrame(seeds, columns=columns[:3])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    return drawn_by(module, monkeypatch)


def test_marks_lie_at_the_scores_and_the_dashed_line_at_chance(drawn):
    means, seeds = frames()
    class_grid_figure(means, seeds, "cub20, deit_tiny", Path("unused"))
    lines = drawn[0].axes[0].lines
    assert [line.get_xdata()[0] for line in lines if line.is_dashed()] == [25]
    of_means = {line.get_ydata()[0]: line.get_xdata()[0] for line in lines if line.get_marker() in "os^v"}
    assert of_means == dict(enumerate(means["score"]))
    of_seeds = [x for line in lines if line.get_marker() == "." for x in line.get_xdata()]
    assert of_seeds == seeds["score"].tolist()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_no_two_texts_overlap_or_leave_the_figure(drawn, count):
    class_grid_figure(*frames(MODELS[:count]), "cub20, deit_tiny: do maps follow the class?", Path("unused"))
    check_texts(drawn[0])
    words = written(drawn[0])
    assert "GAR   baseline" in words and "33.0 [32.0, 35.0]" in words
    assert "mean of 97 mosaics" in " ".join(" ".join(words).split())


def test_equal_frames_give_equal_bytes(tmp_path):
    for name in ("one.png", "again.png"):
        class_grid_figure(*frames(), "title", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_more_models_than_marks_are_refused():
    with pytest.raises(ValueError, match="5 models to plot; the figure tells 1 to 4 apart"):
        class_grid_figure(*frames((*MODELS, "fifth")), "title", Path("unused"))
