"""Who beats whom: paired differences of maps and of models, from the replicates that stage localize kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd
from rich.table import Table

from experiments.names import METHODS, MODELS, map_names, named
from experiments.params import Params
from experiments.replicates import read_replicates
from experiments.stage import scores_folder
from vitol.accuracy import CLASSIFICATION, Measurement, paired_difference
from vitol.bootstrap import side_of_zero
from vitol.measurements import GAUSSIAN

METRICS = ("MaxBoxAccV2", "GTKnownLoc", "GTKnownLocV1", "Top1Loc", "Top1Cls")
MAP_PAIRS = (("GAR", "AR"), ("LRP", "AR"), ("LRP", "GAR"), *((name, GAUSSIAN) for name in METHODS))
# What [8] asks of every rival: whether it is better than plain CAM.
PLAIN_RIVAL = "cam"
MODEL_PAIRS = (("control", "baseline"), ("mmp", "control"), ("mpm", "control"), ("mmp", "mpm"))
COLUMNS = [
    *("dataset", "backbone", "subset", "metric", "policy", "model_a", "map_a", "model_b", "map_b"),
    *("difference", "ci_low", "ci_high", "seed_sd", "n_images", "seeds"),
]
SHOWN = "metric == 'MaxBoxAccV2' and policy == 'oracle-per-iou' and subset == 'all'"


class Side(NamedTuple):
    """One side of a comparison: a model of the grid, and the map made of it ("" for its classification)."""

    model: str
    map: str


def challengers(models: Sequence[str]) -> list[Side]:
    """What every rival stands against: the paper's maps with p-ADL, and without it.

    Without it they are of the control, which was trained for as many epochs as the rivals; of the baseline where the
    models have no control.

    >>> [side.map for side in challengers(["baseline"])]
    ['AR', 'GAR', 'LRP']
    """
    without = "control" if "control" in models else "baseline"
    return [Side(model, name) for model in ("mmp", without) if model in models for name in METHODS]


def pairs(models: list[str]) -> Iterator[tuple[Side, Side]]:
    """What is compared: maps of one model, one map of two models, two models' classification, and rivals with ours."""
    for model, (a, b) in product((model for model in models if model in MODELS), MAP_PAIRS):
        yield Side(model, a), Side(model, b)
    for (a, b), name in product(MODEL_PAIRS, (*METHODS, "")):
        if {a, b} <= set(models):
            yield Side(a, name), Side(b, name)
    for rival in (model for model in models if model not in MODELS):
        (own,) = map_names(rival)
        for challenger in challengers(models):
            yield challenger, Side(rival, own)
        if "mmp" in models:
            yield Side("mmp", ""), Side(rival, "")
        yield Side(rival, own), Side(rival, GAUSSIAN)
        if rival != PLAIN_RIVAL and PLAIN_RIVAL in models:
            yield Side(rival, own), Side(PLAIN_RIVAL, *map_names(PLAIN_RIVAL))


def grid_differences(params: Params) -> pd.DataFrame:
    """Every pair in every metric and policy, over all seeds, with COLUMNS.

    Differences are in percentage points, a minus b, seed by seed on the same images and resamples. Over several
    seeds, difference and interval are those of the mean over seeds; `seed_sd` is the standard deviation of the
    seeds' differences, empty for one seed.
    """
    rows = []
    for dataset, backbone in product(params.grid.datasets, params.grid.backbones):
        kept = {
            model: read_replicates(scores_folder(dataset, backbone, model)) for model in params.grid.scored
        }
        keys = dict.fromkeys(
            (subset, metric, policy) for of in kept.values() for _, subset, _, metric, policy in of
        )
        for (a, b), (subset, metric, policy) in product(pairs(params.grid.scored), keys):
            if metric not in METRICS or (metric in CLASSIFICATION) != (a.map == ""):
                continue
            sides = [
                seeds_of(kept[side.model], params.seeds, (subset, side.map, metric, policy))
                for side in (a, b)
            ]
            if not all(sides):
                continue
            found = paired_difference(*sides)
            each = pd.Series([one.value - other.value for one, other in zip(*sides, strict=True)])
            numbers = (found.value, found.ci_low, found.ci_high, each.std(), sides[0][0].n_images, len(each))
            rows.append((dataset, backbone, subset, metric, policy, *a, *b, *numbers))
    return pd.DataFrame(rows, columns=COLUMNS).round(2)


def seeds_of(
    kept: dict[tuple[str, ...], Measurement], seeds: list[int], key: tuple[str, ...]
) -> list[Measurement]:
    """A measurement of every seed; none if any lacks it."""
    found = [kept[str(seed), *key] for seed in seeds if (str(seed), *key) in kept]
    return found if len(found) == len(seeds) else []


def render_differences(differences: pd.DataFrame) -> Table:
    """MaxBoxAccV2's differences for a terminal, a column a run."""
    shown = differences.query(SHOWN)
    runs = list(shown[["dataset", "backbone"]].drop_duplicates().itertuples(index=False, name=None))
    table = Table("", *(f"{dataset}\n{backbone}" for dataset, backbone in runs), title_justify="left")
    table.title = "Who beats whom: MaxBoxAccV2, points, paired 95% interval over images (oracle-per-iou)"
    sides = ["model_a", "map_a", "model_b", "map_b"]
    for key, rows in shown.groupby(sides, sort=False):
        model_a, map_a, model_b, map_b = map(str, key)
        if model_a not in MODELS:  # a rival, whose map is called as it is
            name = f"{map_a} - {map_b}"
        elif model_a == model_b:
            name = f"{map_a} - {map_b} ({named(model_a).title})"
        elif map_a == map_b:
            name = f"{named(model_a).title} - {named(model_b).title} ({map_a})"
        else:
            name = f"{map_a} ({named(model_a).title}) - {map_b}"
        table.add_row(name, *(cell_of(rows, run) for run in runs))
    return table


def cell_of(rows: pd.DataFrame, run: tuple[str, str]) -> str:
    """A difference with its interval, bold where the interval leaves out zero."""
    found = rows[(rows["dataset"] == run[0]) & (rows["backbone"] == run[1])]
    if found.empty:
        return ""
    value, low, high = found[["difference", "ci_low", "ci_high"]].iloc[0]
    text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"[bold]{text}[/bold]" if side_of_zero(low, high) else text
