"""What pictures and notebooks show of the grid's models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from experiments import examples
from experiments.differences import COLUMNS
from experiments.examples import Examples, png
from experiments.params import read_params
from vitol.datasets.splits import make_split


def of(*models: str) -> Examples:
    return Examples("mini", "small", models, 0, Path("images"))


def with_split(monkeypatch: pytest.MonkeyPatch, subsets: list[str]) -> Examples:
    """Examples of as many images as subsets are named."""
    count = len(subsets)
    ids = [f"{at}.jpg" for at in range(count)]
    split = make_split(ids, [0] * count, [(9, 9)] * count, [[(0, 0, 5, 5)]] * count, subsets)
    monkeypatch.setattr(examples, "read_split", lambda folder: split)
    return of("baseline")


def test_examples_are_spread_over_every_subset_and_none_comes_twice(monkeypatch):
    subsets = ["plain"] * 10 + ["multi"] * 10
    chosen = with_split(monkeypatch, subsets).spread(4)
    assert chosen == [2, 7, 12, 17]
    few = with_split(monkeypatch, ["plain", "plain", "multi"]).spread(30)
    assert sorted(few) == [0, 1, 2]


def test_the_model_of_the_papers_figures_is_mmp_or_the_last_one_there_is():
    assert of("baseline", "control", "mmp", "mpm").padl == "mmp"
    assert of("baseline", "mpm").padl == "mpm"
    assert of("baseline").padl == "baseline"


def test_notebooks_show_registered_data_where_the_grid_has_any_and_mini_otherwise(monkeypatch):
    monkeypatch.setattr(examples, "images_root", lambda dataset, source: Path(source))
    params = read_params(ROOT / "params.yaml")
    assert Examples.for_notebooks(params) == Examples(
        "mini", "small", ("baseline", "control", "mmp", "mpm"), 0, Path("data/mini")
    )
    both = {"mini": "data/mini", "cub20": "registered/cub20.json"}
    grid = params.grid.model_copy(update={"datasets": both, "backbones": ["deit_tiny"]})
    shown = Examples.for_notebooks(params.model_copy(update={"grid": grid, "seeds": [2, 0]}))
    assert (shown.dataset, shown.backbone, shown.seed) == ("cub20", "deit_tiny", 2)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.0, 3.0, "is better than"), (-3.0, -1.0, "is worse than"), (-1.0, 3.0, "cannot be told from")],
)
def test_a_difference_is_told_by_whether_its_interval_leaves_out_zero(
    low, high, verdict, tmp_path, monkeypatch
):
    monkeypatch.setattr(examples, "RESULTS", tmp_path)
    key = ("mini", "small", "all", "MaxBoxAccV2", "oracle-per-iou", "mmp", "GAR", "control", "GAR")
    other = ("mini", "small", "all", "MaxBoxAccV2", "validation", "mmp", "GAR", "control", "GAR")
    rows = [(*other, 9.0, 8.0, 10.0, 0.1, 16, 2), (*key, (low + high) / 2, low, high, 0.1, 16, 2)]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "differences.csv", index=False)
    said = of("baseline", "control", "mmp").says(("mmp", "GAR"), ("control", "GAR"))
    numbers = f"{(low + high) / 2:+.1f} [{low:+.1f}, {high:+.1f}] points of MaxBoxAccV2 (n=16, seeds: 2)"
    assert said == f"p-ADL MMp GAR {verdict} control GAR: {numbers}"
    not_run = of("baseline").says(("baseline", "GAR"), ("control", "GAR"))
    assert not_run == "baseline GAR against control GAR: not run"


def test_a_box_over_an_image_is_in_pixels_of_the_image(tmp_path, monkeypatch):
    shown = with_split(monkeypatch, ["plain"])
    monkeypatch.setattr(examples, "classes", lambda dataset: ("robin, Erithacus",))
    monkeypatch.setattr(Examples, "pixels", lambda self, index: np.zeros((9, 9, 3), np.uint8))
    heat = np.zeros((2, 2))
    heat[0, 0] = 1
    overlay = shown.over(0, heat, "a title that is longer than there is room", 0.5)
    (box,) = overlay.predicted_boxes
    assert box[:2].tolist() == [0, 0] and 4 < box[2] < 6 and 4 < box[3] < 6
    assert overlay.gt_boxes.tolist() == [[0, 0, 5, 5]] and overlay.title == "a title that is longer than "
    assert len(shown.over(0, heat, "without a threshold").predicted_boxes) == 0
    assert shown.bare(0).title == "plain: robin"


def test_png_gives_the_bytes_of_what_is_drawn_and_leaves_no_file():
    drawn: list[Path] = []

    def draw(path: Path) -> None:
        drawn.append(path)
        path.write_bytes(b"picture")

    assert png(draw) == b"picture" and not drawn[0].exists()
