"""What the paper claims, claim by claim, and what the committed runs say of it.

A claim is a comparison of two models, or of two maps of one model, in one metric, and the sign that the paper's
difference has. A run's verdict on it comes from the paired difference on the run's own test images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from experiments.differences import Side
from experiments.names import MODELS
from vitol.datasets.splits import TEST_CUT
from vitol.measurements import read_scores
from vitol.tables import PAPER_DATASETS

Verdict = Literal["holds", "reversed", "open"]

V2 = "MaxBoxAccV2"
FOLLOWS = "GridPointing"  # of `experiments.follow`: the part of a map on its own class's image, percent
PAPER_BACKBONE = "DeiT-B"  # the one that Tables 3 and 4 are of
COLUMNS = [
    *("claim", "comparison", "metric", "policy", "sign", *(f"paper {name}" for name in PAPER_DATASETS)),
    *("run", "dataset", "backbone", "difference", "ci_low", "ci_high", "seed_sd", "seeds", "n_images"),
    "verdict",
]


class Comparison(NamedTuple):
    """One difference: a minus b. Of the paper, b may be another model than of ours (`paper_b`)."""

    title: str
    a: Side
    b: Side
    paper_b: str = ""


class Claim(NamedTuple):
    """What the paper says, where, and the differences that would show it."""

    title: str
    says: str
    metric: str
    sign: int
    comparisons: tuple[Comparison, ...]


def _of_models(a: str, b: str, *maps: str, paper_b: str = "") -> tuple[Comparison, ...]:
    pair = f"{MODELS[a].title} - {MODELS[b].title}"
    return tuple(
        Comparison(f"{pair}, {name or 'top-1'}", Side(a, name), Side(b, name), paper_b)
        for name in maps or ("",)
    )


def _of_maps(a: str, b: str, *models: str) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(f"{a} - {b}, {MODELS[model].title}", Side(model, a), Side(model, b)) for model in models
    )


CLAIMS = (
    Claim(
        "p-ADL localizes better",
        "Table 3: with p-ADL above without, for AR and GAR. (There without p-ADL is the model before the additional "
        "epochs; here it is the control, which had the same epochs without p-ADL.)",
        V2,
        1,
        _of_models("mmp", "control", "AR", "GAR", "LRP", paper_b="baseline"),
    ),
    Claim(
        "p-ADL costs classification",
        "Section 3.1: dropping informative patches may lead to misclassification; the paper has no Top-1 Cls without "
        "p-ADL to compare with.",
        "Top1Cls",
        -1,
        _of_models("mmp", "control"),
    ),
    Claim(
        "GAR beats AR",
        "Table 3: GAR above AR, with and without p-ADL.",
        V2,
        1,
        _of_maps("GAR", "AR", "baseline", "mmp"),
    ),
    Claim(
        "LRP beats GAR",
        "Table 1: Ours-LRP above Ours-GAR in MaxBoxAccV2, with p-ADL.",
        V2,
        1,
        _of_maps("LRP", "GAR", "baseline", "mmp"),
    ),
    Claim(
        "MMp beats MpM",
        "Table 4, which is measured with LRP: p-ADL after the MLP above p-ADL between attention and MLP.",
        V2,
        1,
        _of_models("mmp", "mpm", "LRP", "GAR", "AR"),
    ),
    Claim(
        "Maps follow the class",
        "Section 1: GAR's maps depend on the class asked for. Measured by the grid pointing game: the part of a map "
        "that lies on the image of its class among four, where a class-agnostic map such as AR gets 25%.",
        FOLLOWS,
        1,
        (*_of_maps("GAR", "AR", "baseline"), *_of_maps("LRP", "AR", "baseline")),
    ),
)


def verdict_of(
    difference: float, ci_low: float, ci_high: float, sign: int, seed_sd: float = float("nan"), seeds: int = 1
) -> Verdict:
    """What a run says of a claim.

    Args:
        difference: Of the mean over seeds, in percentage points.
        ci_low: Lower end of its 95% interval over images.
        ci_high: Its upper end.
        sign: Of the paper's difference, 1 or -1.
        seed_sd: Standard deviation of the seeds' differences; NaN for one seed.
        seeds: How many there are.

    Returns:
        "holds" or "reversed" if the interval leaves out 0 and, with several seeds, the difference is more than twice
        the standard error of their mean; else "open".

    >>> verdict_of(2.0, 0.5, 3.5, sign=1)
    'holds'
    >>> verdict_of(2.0, 0.5, 3.5, sign=1, seed_sd=3.0, seeds=3)
    'open'
    """
    beyond_images = ci_low > 0 or ci_high < 0
    beyond_seeds = seeds < 2 or abs(difference) > 2 * seed_sd / seeds**0.5
    if not (beyond_images and beyond_seeds):
        return "open"
    return "holds" if difference * sign > 0 else "reversed"


def paper_difference(published: pd.DataFrame, comparison: Comparison, metric: str, dataset: str) -> float:
    """The paper's own difference, in percentage points; NaN where it has not both numbers.

    Args:
        published: Rows of experiments/published.
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
    """
    frames = [read_scores(folder / run / "differences.csv")]
    game = folder / f"follow-{run}" / "differences.csv"
    if game.is_file():
        rows = pd.read_csv(game)
        shared = {"subset": "all", "metric": FOLLOWS, "policy": "", "n_images": 4 * rows["n_mosaics"]}
        frames.append(rows.assign(**shared, model_a=rows["model"], model_b=rows["model"]))
    return pd.concat(frames, ignore_index=True)[list(frames[0].columns)]


def claim_table(folder: Path, published: pd.DataFrame, runs: list[str], policy: str) -> pd.DataFrame:
    """What every run says of every claim.

    Args:
        folder: experiments/results.
        published: Rows of experiments/published.
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
                verdict = verdict_of(difference, low, high, claim.sign, spread, seeds)
                rows.append(
                    (
                        *(claim.title, comparison.title, claim.metric, at, claim.sign, *papers, run),
                        *(row["dataset"], row["backbone"], difference, low, high, spread, seeds),
                        *(int(row["n_images"]), verdict),
                    )
                )
    return pd.DataFrame(rows, columns=COLUMNS)
