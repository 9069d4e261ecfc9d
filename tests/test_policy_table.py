from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vitol import policy_table as module
from vitol.cams.about import RIVALS
from vitol.figures import RIVALS_NOTE
from vitol.measurements import COLUMNS, FLOORS, GAUSSIAN
from vitol.paper import read_published
from vitol.policy_table import policy_figure, policy_table
from vitol.tables import build_table


def rows(**changes: object) -> list[dict]:
    """MaxBoxAccV2, GT-known Loc and Top-1 Loc of one map under two policies, with a value of its own each."""
    first = dict(dataset="mini", split="test", subset="all", backbone="small", variant="padl", position="MMp")
    first |= dict(map="GAR", preset="release", ci_low=10.0, ci_high=90.0, n_images=40, seed=0) | changes
    metrics, policies = ("MaxBoxAccV2", "GTKnownLoc", "Top1Loc"), ("oracle-per-iou", "validation")
    return [
        first | {"metric": metric, "policy": policy, "value": 50.0 - 4 * number + 2 * first["seed"]}
        for metric in metrics
        for number, policy in enumerate(policies)
    ]


def frame(*parts: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])[COLUMNS]


def test_policies_stand_in_one_row_with_their_mean_and_spread_over_seeds() -> None:
    table = policy_table(frame(rows(), rows(seed=1)))
    assert table["metric"].tolist() == ["MaxBoxAccV2", "GTKnownLoc", "Top1Loc"]
    first = table.iloc[0]
    assert (first["oracle-per-iou value"], first["validation value"]) == (51.0, 47.0)
    assert first["validation seed_sd"] == round(np.std([46, 48], ddof=1), 2)
    assert (first["validation ci_low"], first["validation ci_high"]) == (10.0, 90.0)
    assert np.isnan(first["fixed value"]) and np.isnan(first["oracle-single value"])


def test_only_all_images_and_those_of_the_cut_are_tabled_and_only_of_the_release_preset() -> None:
    parts = (rows(), rows(subset="test-cut", n_images=20), rows(subset="part"), rows(preset="paper"))
    table = policy_table(frame(*parts))
    assert table["subset"].tolist() == ["all"] * 3 + ["test-cut"] * 3


def test_the_figure_is_the_same_for_the_same_numbers_and_needs_some(tmp_path: Path) -> None:
    floor = rows(map="Gaussian", preset="", variant="baseline", position="")
    measured = frame(rows(), floor)
    for name in ("a.png", "b.png"):
        policy_figure(measured, "mini", "small", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(ValueError, match="no policies of cub deit_base; measured: mini small"):
        policy_figure(measured, "cub", "deit_base", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    kept: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, path: kept.append(figure))
    return kept


def lines(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def values(figure: Figure, name: str) -> list[float]:
    """What the panels show of a line under the policy of the tables."""
    at = lines(figure).index(name)
    return [panel.containers[0].lines[0].get_xdata()[at] for panel in figure.axes]


def test_rivals_stand_beside_the_backbone_in_the_order_of_the_tables(drawn: list[Figure]) -> None:
    of_rivals = [
        rows(
            variant=key,
            position="",
            map=rival.title,
            preset="",
            seed=number,
            backbone="small" if rival.transformer else "resnet_small",
        )
        for number, (key, rival) in enumerate(RIVALS.items())
    ]
    policy_figure(frame(*of_rivals, rows()), "mini", "small", Path("unused.png"))
    titles = [rival.title + "   with boxes" * rival.with_boxes for rival in RIVALS.values()]
    assert lines(drawn[0]) == ["GAR   p-ADL MMp", *titles]
    for number, title in enumerate(titles):
        assert values(drawn[0], title) == [50.0 + 2 * number] * 3
    assert RIVALS_NOTE in drawn[0].texts[1].get_text()
    policy_figure(frame(rows()), "mini", "small", Path("unused.png"))
    assert RIVALS_NOTE not in drawn[1].texts[1].get_text()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_sees_no_image_has_the_top_1_of_table_2(drawn: list[Figure], order: tuple[int, int]) -> None:
    floor = dict(map=GAUSSIAN, preset="")
    both = (rows(**floor, variant="baseline", position=""), rows(**floor))
    both[0][4]["value"] = 33.0  # Top1Loc, oracle-per-iou
    measured = frame(rows(), *(both[at] for at in order))
    policy_figure(measured, "mini", "small", Path("unused.png"))
    assert values(drawn[0], FLOORS[GAUSSIAN]) == [50.0, 50.0, 50.0]
    table = build_table(2, measured, read_published(2)).frame.set_index("method")
    assert table.filter(regex="^mini.* Top1Loc ours").loc[FLOORS[GAUSSIAN]].tolist() == ["50.00"]
    assert "its Top1Loc takes the predictions of the model with p-ADL MMp" in drawn[0].texts[1].get_text()


def test_without_padl_what_sees_no_image_has_no_top_1(drawn: list[Figure]) -> None:
    of = dict(variant="baseline", position="")
    policy_figure(frame(rows(**of), rows(**of, map=GAUSSIAN, preset="")), "mini", "small", Path("unused.png"))
    first, second, third = values(drawn[0], FLOORS[GAUSSIAN])
    assert (first, second) == (50.0, 50.0) and np.isnan(third)
    assert "Top1Loc" not in drawn[0].texts[1].get_text()
