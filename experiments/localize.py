"""Stage localize: maps to measurements under every threshold policy, of the test split and every subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.inputs import classes
from experiments.names import OF_CLASS, PREDICTED, classifies, map_files, named, with_boxes
from experiments.params import Params, read_params
from experiments.replicates import write_replicates
from experiments.stage import (
    data_folder,
    mapped_splits,
    maps_folder,
    options,
    progress_bar,
    provenance,
    scores_folder,
)
from experiments.views import CURVES, VIEWS, curves_of_seed, views_of_seed
from vitol.accuracy import CLASSIFICATION, FIXED, POLICIES, VALIDATION, Localizations, Measurement, measure
from vitol.atomic import atomic_folder
from vitol.boxes import best_ious_of_maps, score_map
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.splits import TEST_CUT, VAL_CUT, Split, read_split
from vitol.floors import full_image_ious, gaussian_ious
from vitol.logits import label_ranks, read_logits
from vitol.mask_folder import MaskReader
from vitol.measurements import COLUMNS, FLOORS
from vitol.pxap import measure_pxap, pixel_counts, scale_mask
from vitol.rectangles import SIZE

OF_CLASSIFIER = ("Top1Loc", "Top5Loc", "PredictedLoc")  # localization that asks the classifier as well
KEYS = ["subset", "map", "preset", "metric", "policy"]
WHOLE = ("all", TEST_CUT)  # what models are compared on
Progress = Callable[[], object]


def scored_splits(dataset: str, model: str) -> tuple[str, ...]:
    """The splits whose maps are scored: test, and val to choose thresholds on, unless the model was trained on it."""
    return ("test",) if with_boxes(model) else mapped_splits(dataset)


def score_maps(folder: Path, model: str, split: Split, progress: Progress) -> dict[str, Localizations]:
    """What every map file of a model, and both floors, say of each image.

    The maps of the label and of the predicted class differ only where the class is wrong, so only those are
    scored twice; a map without a class is the same for both.
    """
    ranks = np.zeros(len(split), dtype=int)
    if classifies(model):
        ranks = label_ranks(read_logits(folder / "logits.npy", split.labels), split.labels)
    classes = {"top1": ranks == 0, "top5": ranks < 5}
    wrong = np.flatnonzero(ranks > 0)
    scored = {}
    for file in dict.fromkeys(map_files(model).values()):
        maps = np.load(folder / f"{file}.npy", allow_pickle=False)
        names = [f"{image}, {file}.npy" for image in split.ids]
        curves = best_ious_of_maps(maps, split.sizes, split.boxes, names=names, progress=progress)
        predicted = curves.all.copy()
        if file in OF_CLASS and len(wrong):
            maps = np.load(folder / f"{file}{PREDICTED}.npy", allow_pickle=False)[wrong]
            boxes = [split.boxes[index] for index in wrong]
            names = [f"{split.ids[index]}, {file}{PREDICTED}.npy" for index in wrong]
            again = best_ious_of_maps(maps, split.sizes[wrong], boxes, names=names, largest=False)
            predicted[wrong] = again.all
        scored[file] = Localizations(curves.all, curves.largest, predicted, **classes)
    for floor, ious in zip(FLOORS, (gaussian_ious, full_image_ious), strict=True):
        curves = ious(split.sizes, split.boxes)
        scored[floor] = Localizations(curves.all, curves.largest, curves.all, **classes)
    return scored


class Sample(NamedTuple):
    """Images that are measured together, and those that thresholds are chosen on, if there are any."""

    subset: str
    members: np.ndarray
    validation: dict[str, Localizations] | None


def samples(
    split: Split, scored: dict[str, Localizations], val: dict[str, Localizations] | None
) -> Iterator[Sample]:
    """All images, and every subset.

    Thresholds are chosen on the val split; without one, on one part of the test split for the other, where the data
    set is cut that way.
    """
    names = np.array(split.subsets)
    cut = {}
    if val is None and VAL_CUT in split.subsets:
        cut[TEST_CUT] = {source: found.select(names == VAL_CUT) for source, found in scored.items()}
    yield Sample("all", np.ones(len(split), dtype=bool), val)
    for name in dict.fromkeys(split.subsets):
        yield Sample(name, names == name, cut.get(name, val))


def measurements_of_sample(
    sample: Sample, model: str, scored: dict[str, Localizations], fixed: dict[str, float], params: Params
) -> list[dict]:
    """Measurements of one set of images, with the columns map, preset and those of a `Measurement`.

    Where presets share a file it is measured once, and stands in the rows of each.
    """
    files = map_files(model)
    sources: dict[tuple[str, str], str] = {key: file for key, file in files.items()}
    sources |= {(floor, ""): floor for floor in scored if floor not in files.values()}
    measured: dict[str, list[Measurement]] = {}
    for (name, _), source in sources.items():
        if source not in measured:
            validation = None if sample.validation is None else sample.validation[source]
            lacking = {VALIDATION} if validation is None else set()
            lacking |= set() if name in fixed else {FIXED}
            measured[source] = measure(
                scored[source].select(sample.members),
                [policy for policy in POLICIES if policy not in lacking],
                validation,
                fixed.get(name),
                replicates=params.bootstrap.replicates,
                seed=params.bootstrap.seed,
            )
    rows = [
        {**vars(m), "subset": sample.subset, "map": name, "preset": preset}
        for (name, preset), source in sources.items()
        for m in measured[source]
        if m.metric not in CLASSIFICATION and (classifies(model) or m.metric not in OF_CLASSIFIER)
    ]
    if not classifies(model):
        return rows
    # The classifier has no map: it is the same beside every one.
    of_class = [m for m in next(iter(measured.values())) if m.metric in CLASSIFICATION]
    return rows + [{**vars(m), "subset": sample.subset, "map": "", "preset": ""} for m in of_class]


def measurements_of_seed(
    folder: Path,
    dataset: str,
    model: str,
    split: Split,
    fixed: dict[str, float],
    params: Params,
    progress: Progress,
) -> tuple[pd.DataFrame, dict[str, Localizations]]:
    """Measurements of one seed's maps, with the columns subset, map, preset and those of a `Measurement`.

    Returns:
        The measurements, and what the maps say of each image of the test split.
    """
    scored = score_maps(folder / "test", model, split, progress)
    val = None
    if "val" in scored_splits(dataset, model):
        val = score_maps(folder / "val", model, read_split(data_folder(dataset) / "val"), progress)
    rows: list[dict] = []
    for sample in samples(split, scored, val):
        rows += measurements_of_sample(sample, model, scored, fixed, params)
    if (data_folder(dataset) / "masks").is_dir():
        rows += pixel_measurements(folder / "test", model, data_folder(dataset) / "masks", split, params)
    return pd.DataFrame(rows), scored


def pixel_measurements(maps: Path, model: str, masks: Path, split: Split, params: Params) -> list[dict]:
    """PxAP of every map, on all images, with the columns of `measurements_of_sample`."""
    reader = MaskReader(masks, split.ids, split.sizes)
    pixels = [scale_mask(reader[index], (SIZE, SIZE)) for index in range(len(split))]
    if reader.faults:
        raise DatasetFaults(f"{masks} has masks that cannot be used", reader.faults, shown=20)
    of_file = {}
    for file in dict.fromkeys(map_files(model).values()):
        scores = map(score_map, np.load(maps / f"{file}.npy", allow_pickle=False))
        counts = np.stack([pixel_counts(*pair) for pair in zip(scores, pixels, strict=True)])
        of_file[file] = measure_pxap(counts, params.bootstrap.replicates, params.bootstrap.seed)
    return [
        {**vars(of_file[file]), "subset": "all", "map": name, "preset": preset}
        for (name, preset), file in map_files(model).items()
    ]


def main(dataset: str, backbone: str, model: str) -> None:
    """Measure every seed's maps; write measurements, chosen thresholds, replicates, curves and views."""
    params = read_params()
    config = {"bootstrap": params.bootstrap, "seeds": params.seeds}
    fixed = params.fixed_thresholds.of(backbone)
    with provenance(f"localize-{dataset}-{backbone}-{model}", **config, fixed_thresholds=fixed):
        split = read_split(data_folder(dataset) / "test")
        variant, position, _ = named(model)
        frames, views, curves = [], [], []
        with progress_bar() as bar:
            images = sum(
                len(read_split(data_folder(dataset) / name)) for name in scored_splits(dataset, model)
            )
            task = bar.add_task(
                f"boxes {model}", total=images * len(set(map_files(model).values())) * len(params.seeds)
            )
            for seed in params.seeds:
                folder = maps_folder(dataset, backbone, model, seed)
                frame, scored = measurements_of_seed(
                    folder, dataset, model, split, fixed, params, lambda: bar.advance(task)
                )
                frames.append(frame.assign(seed=seed))
                shown = views_of_seed(folder / "test", model, frame, scored, split, classes(dataset))
                views.append(shown.assign(seed=seed))
                curves.append(curves_of_seed(model, scored).assign(seed=seed))
        frame = pd.concat(frames, ignore_index=True).assign(
            dataset=dataset,
            split="test",
            backbone=params.network(backbone, model),
            variant=variant,
            position=position,
        )
        with atomic_folder(scores_folder(dataset, backbone, model)) as folder:
            write_replicates(
                frame[frame["preset"].isin(["", "release"]) & frame["subset"].isin(WHOLE)], folder
            )
            percent = ["value", "ci_low", "ci_high"]
            frame[percent] = frame[percent].round(2)
            frame[COLUMNS].to_csv(folder / "measurements.csv", index=False, lineterminator="\n")
            chosen = frame.loc[frame["threshold"].notna(), [*KEYS, "seed", "threshold"]]
            chosen.to_csv(folder / "thresholds.csv", index=False, lineterminator="\n")
            for file, parts in ((VIEWS, views), (CURVES, curves)):
                pd.concat(parts).round(4).to_csv(folder / file, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(*options(__doc__, "dataset", "backbone", "model"))
