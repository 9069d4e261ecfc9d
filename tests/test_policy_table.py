from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vitol.measurements import COLUMNS
from vitol.policy_table import line_name, policy_figure, policy_table


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


def test_lines_are_named_after_map_and_model() -> None:
    assert line_name("GAR", "padl", "MMp") == "GAR   p-ADL MMp"
    assert line_name("Gaussian", "", "") == "Centred Gaussian"
