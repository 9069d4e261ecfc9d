"""What the paper claims, claim by claim, and what the committed runs say of it.

A claim is a comparison of two models, or of two maps of one model, in one metric, and the sign that the paper's
difference has. A run's verdict on it comes from the paired difference on the run's own test images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.differences import Side
from experiments.names import MODELS
from experiments.run_facts import same_checkpoints
from experiments.verdicts import verdict_of
from vitol.datasets.splits import TEST_CUT
from vitol.measurements import read_scores
from vitol.tables import PAPER_DATASETS

V2 = "MaxBoxAccV2"
FOLLOWS = "GridPointing"  # of `experiments.follow`: the part of a map on its own class's image, percent
PAPER_BACKBONE = "DeiT-B"  # the one that Tables 3 and 4 are of
COLUMNS = [
    *(
        "claim",
        "comparison",
        "stated",
        "metric",
        "policy",
        "sign",
        *(f"paper {name}" for name in PAPER_DATASETS),
    ),
    *("run", "dataset", "backbone", "difference", "ci_low", "ci_high", "seed_sd", "seeds", "n_images"),
    "verdict",
]


class Comparison(NamedTuple):
    """One difference: a minus b.

    Attributes:
        title: What is compared, for people.
        a: A model's map.
        b: Another model's, or another map.
        stated: Whether the paper makes this comparison; one of ours beside it does not count for the claim.
        paper_b: The model that the paper compares a with, where it is not b's.
    """

    title: str
    a: Side
    b: Side
    stated: bool
    paper_b: str = ""


class Claim(NamedTuple):
    """What the paper says, where, and the differences that would show it."""

    title: str
    says: str
    metric: str
    sign: int
    comparisons: tuple[Comparison, ...]


def _of_models(a: str, b: str, stated: str, others: str = "", paper_b: str = "") -> tuple[Comparison, ...]:
    pair = f"{MODELS[a].title} - {MODELS[b].title}"
    maps = {name: name in stated.split(",") for name in f"{stated},{others}".rstrip(",").split(",")}
    return tuple(
        Comparison(f"{pair}, {name or 'top-1'}", Side(a, name), Side(b, name), said, paper_b)
        for name, said in maps.items()
    )


def _of_maps(a: str, b: str, models: dict[str, bool]) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(f"{a} - {b}, {MODELS[model].title}", Side(model, a), Side(model, b), said)
        for model, said in models.items()
    )


CLAIMS = (
    Claim(
        "p-ADL localizes better",
        'Table 3: with p-ADL above without, for AR and GAR. (There "without" is the model before the additional '
        "epochs; here it is the control, which had the same epochs without p-ADL.)",
        V2,
        1,
        _of_models("mmp", "control", "AR,GAR", "LRP", paper_b="baseline"),
    ),
    Claim(
        "p-ADL costs classification",
        "Section 3.1 grants that dropped patches may lead to misclassification, and has the importance map counter it; "
        "the paper gives Top-1 Cls with p-ADL only (Table 2), nothing to compare it with.",
        "Top1Cls",
        -1,
        _of_models("mmp", "control", ""),
    ),
    Claim(
        "GAR beats AR",
        "Table 3: GAR above AR, with and without p-ADL.",
        V2,
        1,
        _of_maps("GAR", "AR", {"baseline": True, "mmp": True}),
    ),
    Claim(
        "LRP beats GAR",
        "Table 1: Ours-LRP above Ours-GAR, with p-ADL, for DeiT-B. For DeiT-S the paper's Table 2 (GT-known Loc, Top-1 "
        "Loc) and the release's README (MaxBoxAccV2) have GAR above LRP.",
        V2,
        1,
        _of_maps("LRP", "GAR", {"mmp": True, "baseline": False}),
    ),
    Claim(
        "MMp beats MpM",
        "Table 4: p-ADL after the MLP above p-ADL between attention and MLP. The table names no map; its numbers of "
        "MMp are those of LRP.",
        V2,
        1,
        _of_models("mmp", "mpm", "LRP", "GAR,AR"),
    ),
    Claim(
        "Maps follow the class",
        "Section 1: GAR's maps depend on the class asked for, and section 3.2 has LRP's do so too. Measured by the "
        "grid pointing game: four test images of different classes, all right for every checkpoint, in one mosaic; the "
        "part of a map that lies on the image of its class, where a class-agnostic map such as AR gets 25%. Its "
        "intervals are over mosaics.",
        FOLLOWS,
        1,
        (
            *_of_maps("GAR", "AR", {"baseline": True, "mmp": True}),
            *_of_maps("LRP", "AR", {"baseline": True, "mmp": True}),
        ),
    ),
)


def paper_difference(published: pd.DataFrame, comparison: Comparison, metric: str, dataset: str) -> float:
    """The paper's own difference, in percentage points; NaN where it has not both numbers.

    Args:
        published: Rows of vitol/published.
        comparison: What is compared.
        metric: In which metric.
        dataset: "ilsvrc" or "cub".
    """
    numbers = []
    for side, model in ((comparison.a, comparison.a.model), (comparison.b, comparison.b.model)):
        named = MODELS[comparison.paper_b or model if side is comparison.b else model]
        rows = published[
            (published["dataset"] == dataset)
            & (published["backbone"] == PAPER_BACKBONE)
            & (published["variant"] == named.variant)
            & (published["position"] == named.position)
            & (published["map"] == side.map)
            & (published["metric"] == metric)
        ]
        numbers.append(rows["value"].iloc[0] if len(rows) else float("nan"))
    return round(numbers[0] - numbers[1], 2)


def read_run(folder: Path, run: str) -> pd.DataFrame:
    """All paired differences of a committed run, those of the grid pointing game among them if it was played.

    Args:
        folder: experiments/results.
        run: Such as "cub20-deit_tiny".

    Raises:
        ValueError: If the game was played with other checkpoints, or those of other seeds.
    """
    frames = [read_scores(folder / run / "differences.csv")]
    ((dataset, backbone),) = set(frames[0][["dataset", "backbone"]].itertuples(index=False, name=None))
    game = folder / f"follow-{dataset}-{backbone}"
    if game.is_dir():
        played, kept = (
            json.loads((of / "provenance.json").read_text(encoding="utf-8")) for of in (game, folder / run)
        )
        again = f"play it again with `python -m experiments.follow {dataset} {backbone}`"
        seeds, trained = played["config"]["seeds"], kept["params"]["seeds"]
        if seeds != trained:
            raise ValueError(
                f"{game} was played with seeds {seeds}, {folder / run} is of seeds {trained}; {again}"
            )
        if same_checkpoints(played, kept) is False:
            raise ValueError(
                f"{game} was played with other checkpoints than those of {folder / run}; {again}"
            )
        rows = pd.read_csv(game / "differences.csv")
        rows = rows.assign(subset="all", metric=FOLLOWS, policy="", n_images=4 * rows["n_mosaics"])
        frames.append(rows.assign(model_a=rows["model"], model_b=rows["model"]))
    return pd.concat(frames, ignore_index=True)[list(frames[0].columns)]


def claim_table(folder: Path, published: pd.DataFrame, runs: list[str], policy: str) -> pd.DataFrame:
    """What every run says of every claim.

    Args:
        folder: experiments/results.
        published: Rows of vitol/published.
        runs: Committed runs, such as "cub20-deit_tiny".
        policy: Where the thresholds come from. Where a run was not read under it on all images, it is on those
            on which no threshold was chosen.

    Returns:
        COLUMNS, a row a comparison and run that has it.
    """
    rows = []
    found = {run: read_run(folder, run) for run in runs}
    for claim in CLAIMS:
        at = policy if claim.metric == V2 else ""
        for comparison in claim.comparisons:
            papers = [paper_difference(published, comparison, claim.metric, name) for name in PAPER_DATASETS]
            for run, frame in found.items():
                sides = frame[["model_a", "map_a", "model_b", "map_b"]] == [*comparison.a, *comparison.b]
                fitting = frame[
                    sides.all(axis=1) & (frame["metric"] == claim.metric) & (frame["policy"] == at)
                ]
                fitting = fitting.sort_values("subset", key=lambda names: names != "all", kind="stable")
                fitting = fitting[fitting["subset"].isin(["all", TEST_CUT])]
                if fitting.empty:
                    continue
                row = fitting.iloc[0]
                numbers = [row[name] for name in ("difference", "ci_low", "ci_high", "seed_sd")]
                difference, low, high, spread = map(float, numbers)
                seeds = int(row["seeds"])
                trained = comparison.a.model != comparison.b.model
                verdict = verdict_of(
                    difference, low, high, claim.sign, seed_sd=spread, seeds=seeds, trained=trained
                )
                rows.append(
                    (
                        *(claim.title, comparison.title, comparison.stated, claim.metric, at, claim.sign),
                        *(*papers, run),
                        *(row["dataset"], row["backbone"], difference, low, high, spread, seeds),
                        *(int(row["n_images"]), verdict),
                    )
                )
    return pd.DataFrame(rows, columns=COLUMNS)
