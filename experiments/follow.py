"""Do maps follow the class? The grid pointing game (`vitol.class_grid`) on the checkpoints of a run of the grid.

    python -m experiments.follow cub20 deit_tiny                            # every model and seed of params.yaml
    python -m experiments.follow mini small --models baseline --images 200  # a look at one model, not kept

Mosaics are made of test images that every model and seed asked for classifies correctly at full size, so that all
of them play on the same mosaics and every difference is paired. Needs the stages `prepare`, `baseline` and
`finetune` of the same grid. Goes on where it was broken off; writes experiments/results/follow-DATASET-BACKBONE.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from experiments.inputs import images_root
from experiments.mosaics import (
    MAPS,
    PARTS,
    PRESET,
    Items,
    Run,
    Study,
    checked_study,
    in_all_runs,
    right_of_batch,
    scores_of_batch,
)
from experiments.names import MODELS
from experiments.params import read_params
from experiments.resume import Resume, resuming
from experiments.run_facts import checkpoint_digests
from experiments.stage import RESULTS, console, data_folder, provenance
from experiments.tabulate import COMMITTED
from vitol.atomic import atomic_folder
from vitol.bootstrap import interval, resamples
from vitol.class_grid import CELLS, CHANCE, draw_mosaics
from vitol.class_grid_figure import class_grid_figure
from vitol.datasets.images import SplitImages
from vitol.datasets.splits import read_split
from vitol.methods import ABOUT, MethodName
from vitol.models import describe_device

SEED = 0  # of the order of the images, and of the mosaics
PAIRS: tuple[tuple[MethodName, MethodName], ...] = (("gar", "ar"), ("lrp", "ar"), ("lrp", "gar"))
ROUNDED = {"correlation": 3, **dict.fromkeys(("score", "difference", "ci_low", "ci_high", "seed_sd"), 2)}

Numbers = Mapping[str, np.ndarray]
Row = dict[str, Any]


def play(study: Study, images: int | None, resume: Resume, facts: dict[str, Any]) -> Mapping[Run, Numbers]:
    """Draw the mosaics and score every run's maps of them; tells `facts` how many images took part of how many.

    Raises:
        ValueError: If too few images are classified correctly for one mosaic, or a map is not finite.
    """
    split = read_split(data_folder(study.dataset) / "test")
    root = images_root(study.dataset, study.params.grid.datasets[study.dataset])
    side = study.params.backbones[study.backbone].image_size
    looked_at = np.random.default_rng(SEED).permutation(len(split))[:images]
    whole = Items(SplitImages(split, root, side), looked_at)
    right = {
        run: of["right"] for run, of in in_all_runs(study, "images", right_of_batch, whole, resume).items()
    }
    usable = looked_at[np.all(list(right.values()), axis=0)]
    try:
        mosaics = usable[draw_mosaics(split.labels[usable], SEED)]
    except ValueError as error:
        raise ValueError(f"images that all {len(right)} checkpoints classify correctly: {error}") from error
    facts["images"] = {
        "test": len(split),
        "looked_at": len(looked_at),
        "correct": {f"{run.model}-seed{run.seed}": int(of.sum()) for run, of in right.items()},
        "correct_by_all": len(usable),
        "in_mosaics": mosaics.size,
    }
    halves = Items(SplitImages(split, root, side // 2), mosaics)
    return in_all_runs(study, "mosaics", scores_of_batch, halves, resume)


def row_of(study: Study, model: str, name: MethodName, of: Numbers, weights: np.ndarray) -> Row:
    """What the PARTS (n,) of a model's map come to; `weights` (R, n) is what each mosaic counts in a resample."""
    score, count = of["score"], len(of["score"])
    low, high = interval(weights @ score)
    return {
        "dataset": study.dataset,
        "backbone": study.backbone,
        "model": model,
        "map": ABOUT[name].title,
        "score": score.mean(),
        "ci_low": low,
        "ci_high": high,
        "correlation": of["correlation"].mean(),
        "without_mass": of["without_mass"].sum(),
        "n_mosaics": count,
        "n_images": CELLS * count,
    }


def tables(study: Study, found: Mapping[Run, Numbers]) -> tuple[pd.DataFrame, ...]:
    """Three frames: scores by seed, their means over seeds, and paired differences of maps.

    Intervals are of a bootstrap over mosaics, all of the same resamples; those of means and differences are of the
    mean over seeds. `seed_sd` is the standard deviation of the seeds' differences, empty for one seed.
    """
    settings = study.params.bootstrap
    count = len(next(iter(found.values()))[f"{MAPS[0]} score"])
    counts = np.concatenate(list(resamples(count, settings.replicates, settings.seed)))
    weights = counts.astype(np.float64) / count
    by_seed, means, differences = [], [], []
    for model, seeds in groupby(study.runs, key=attrgetter("model")):
        runs = list(seeds)
        of = {
            name: {part: np.stack([found[run][f"{name} {part}"] for run in runs]) for part in PARTS}
            for name in MAPS
        }
        for name, parts in of.items():
            for at, run in enumerate(runs):
                of_seed = {part: values[at] for part, values in parts.items()}
                by_seed.append({**row_of(study, model, name, of_seed, weights), "seed": run.seed})
            averaged = {part: values.mean(axis=0) for part, values in parts.items()}
            means.append({**row_of(study, model, name, averaged, weights), "seeds": len(runs)})
        for a, b in PAIRS:
            apart = of[a]["score"] - of[b]["score"]
            low, high = interval(weights @ apart.mean(axis=0))
            differences.append(
                {
                    "dataset": study.dataset,
                    "backbone": study.backbone,
                    "model": model,
                    "map_a": ABOUT[a].title,
                    "map_b": ABOUT[b].title,
                    "difference": apart.mean(),
                    "ci_low": low,
                    "ci_high": high,
                    "seed_sd": pd.Series(apart.mean(axis=1)).std(),
                    "n_mosaics": count,
                    "seeds": len(runs),
                }
            )
    return tuple(pd.DataFrame(rows).round(ROUNDED) for rows in (by_seed, means, differences))


def render(study: Study, means: pd.DataFrame, differences: pd.DataFrame) -> Table:
    """Means over seeds for a terminal, a line a map and model, and how far each is above AR."""
    table = Table(
        "map", "model", "on its class", "above AR", "correlation", "without mass", title_justify="left"
    )
    table.title = (
        f"{study.dataset}, {study.backbone}: percent of a map on its own class (chance {100 * CHANCE:.0f})"
    )
    table.caption = (
        f"{means['n_mosaics'].iloc[0]} mosaics, {means['seeds'].iloc[0]} seed(s), 95% intervals over mosaics; "
        "correlation of the maps of a mosaic's classes; maps without mass score chance"
    )
    above = differences[differences["map_b"] == "AR"].rename(columns={"map_a": "map"})
    above = for_people(above).set_index(["map", "model"])
    for row in for_people(means).to_dict("records"):
        key, apart = (row["map"], row["model"]), ""
        if key in above.index:
            apart = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*above.loc[key, ["difference", "ci_low", "ci_high"]])
        table.add_row(
            row["map"],
            row["model"],
            f"{row['score']:.1f} [{row['ci_low']:.1f}, {row['ci_high']:.1f}]",
            apart,
            f"{row['correlation']:.2f}",
            f"{row['without_mass']:.3g}",
        )
    return table


def for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows map by map, the models in their order within each and by their titles."""
    order = [ABOUT[name].title for name in MAPS]
    titled = frame.assign(model=[MODELS[model].title for model in frame["model"]])
    return titled.sort_values("map", key=lambda maps: maps.map(order.index), kind="stable")


def main(
    dataset: str, backbone: str, models: Sequence[str] | None = None, images: int | None = None
) -> pd.DataFrame:
    """Play the game, print the scores, and write them, differences, figure and provenance; returns the scores.

    Args:
        dataset: Of the grid.
        backbone: Of the grid.
        models: Of the grid; None for all.
        images: How many test images are looked at, drawn at random, to print the scores alone; None for all.

    Raises:
        ValueError: As `checked_study`; or too few images are classified correctly for one mosaic.
    """
    params = read_params()
    study = checked_study(params, dataset, backbone, models)
    if images is not None and images < 1:
        raise ValueError(f"images is {images}; look at 1 or more, or leave it out to look at all")
    config = {
        "models": study.models,
        "seeds": params.seeds,
        "maps": MAPS,
        "preset": PRESET,
        "images": images,
        "mosaics_seed": SEED,
        "image_size": params.backbones[backbone].image_size,
        "batch_size": params.explain.batch_size,
        "bootstrap": params.bootstrap,
    }
    folder = COMMITTED / study.name
    with resuming() as resume:
        with provenance(study.name, **config) as facts:
            facts["device"] = describe_device()
            facts["checkpoints"] = checkpoint_digests(dataset, backbone, study.models, params.seeds)
            found = play(study, images, resume, facts)
        scores, means, differences = tables(study, found)
        if images is None:
            with atomic_folder(folder) as new:
                scores.to_csv(new / "follow.csv", index=False, lineterminator="\n")
                differences.to_csv(new / "differences.csv", index=False, lineterminator="\n")
                title = f"{dataset}, {backbone}: do maps follow the class?"
                class_grid_figure(for_people(means), for_people(scores), title, new / "follow.png")
                shutil.copy(RESULTS / "provenance" / f"{study.name}.json", new / "provenance.json")
    console.print(render(study, means, differences))
    counts = facts["images"]
    console.print(
        f"{counts['correct_by_all']} of {counts['looked_at']} images are classified correctly by every checkpoint "
        f"({len(study.runs)}); {counts['in_mosaics']} of them took part. "
        + (f"The numbers are in {folder}" if images is None else "A look at some images is not kept.")
    )
    return scores


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", help="of the grid of params.yaml")
    parser.add_argument("backbone", help="of the grid of params.yaml")
    parser.add_argument("--models", nargs="+", choices=MODELS, help="all of the grid if not given")
    parser.add_argument(
        "--images", type=int, help="look at so many test images only, drawn at random, and keep nothing"
    )
    given = parser.parse_args()
    main(given.dataset, given.backbone, given.models, given.images)
