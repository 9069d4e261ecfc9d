"""Stage localize: maps to measurements, whole test split and every subset, intervals included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.names import MAP_FILES, MODELS, OF_CLASS, PREDICTED
from experiments.params import Params, read_params
from experiments.stage import data_folder, maps_folder, options, progress_bar, provenance, scores_folder
from vitol.boxes import IouCurves, best_ious_of_maps
from vitol.datasets.splits import Split, read_split
from vitol.floors import full_image_ious, gaussian_ious
from vitol.measurements import COLUMNS
from vitol.metrics import Measurement, measure

KEYS = ["subset", "map", "preset", "metric", "policy"]


def score_maps(
    folder: Path, split: Split, correct: np.ndarray, progress: Callable[[], None]
) -> dict[str, tuple[IouCurves, np.ndarray]]:
    """IoU curves of every map file: of the label's maps, and of the predicted class's (all contours).

    The two sets of maps differ only where the class is wrong, so only those are scored twice; a map without a
    class is the same for both.
    """
    scored = {}
    wrong = np.flatnonzero(~correct)
    for file in dict.fromkeys(MAP_FILES.values()):
        maps = np.load(folder / f"{file}.npy", allow_pickle=False)
        names = [f"{split.ids[index]}, {file}.npy" for index in range(len(split))]
        curves = best_ious_of_maps(maps, split.sizes, split.boxes, names=names, progress=progress)
        of_predicted = curves.all.copy()
        if file in OF_CLASS and len(wrong):
            maps = np.load(folder / f"{file}{PREDICTED}.npy", allow_pickle=False)[wrong]
            boxes = [split.boxes[index] for index in wrong]
            names = [f"{split.ids[index]}, {file}{PREDICTED}.npy" for index in wrong]
            of_predicted[wrong] = best_ious_of_maps(maps, split.sizes[wrong], boxes, names=names).all
        scored[file] = (curves, of_predicted)
    return scored


def floors(split: Split) -> dict[str, IouCurves]:
    """IoU curves of the two baselines that never look at the image."""
    return {
        "Gaussian": gaussian_ious(split.sizes, split.boxes),
        "Full image": full_image_ious(split.sizes, split.boxes),
    }


def subsets(split: Split) -> Iterator[tuple[str, np.ndarray]]:
    """Names and members of the sets of images to measure: all, and every subset."""
    yield "all", np.ones(len(split.ids), dtype=bool)
    names = np.array(split.subsets)
    for name in dict.fromkeys(split.subsets):
        yield name, names == name


def measurements_of_seed(
    folder: Path, split: Split, params: Params, progress: Callable[[], None]
) -> pd.DataFrame:
    """Measurements of one seed's maps, with the columns map, preset, subset and those of a measurement.

    Where presets share a file it is measured once, and stands in the rows of each.
    """
    correct = np.load(folder / "logits.npy", allow_pickle=False).argmax(axis=1) == split.labels
    curves = score_maps(folder, split, correct, progress)
    sources: dict[tuple[str, str], str] = {key: file for key, file in MAP_FILES.items()}
    for floor, of_floor in floors(split).items():
        curves[floor] = (of_floor, of_floor.all)
        sources[floor, ""] = floor
    sources["", ""] = "ar-release"  # Top-1 Cls has no map: it is the same beside every one
    rows = []
    for subset, members in subsets(split):
        measured: dict[str, list[Measurement]] = {
            source: measure(
                of_label.all[members],
                of_label.largest[members],
                of_predicted[members],
                correct[members],
                replicates=params.bootstrap.replicates,
                seed=params.bootstrap.seed,
            )
            for source, (of_label, of_predicted) in curves.items()
        }
        for (name, preset), source in sources.items():
            rows += [
                {**vars(m), "subset": subset, "map": name, "preset": preset}
                for m in measured[source]
                if (m.metric == "Top1Cls") == (name == "")
            ]
    return pd.DataFrame(rows)


def main(dataset: str, backbone: str, model: str) -> None:
    """Measure every seed's maps; write measurements.csv, and the thresholds that the policy chose."""
    params = read_params()
    with provenance(f"localize-{dataset}-{backbone}-{model}", bootstrap=params.bootstrap, seeds=params.seeds):
        split = read_split(data_folder(dataset) / "test")
        variant, position, _ = MODELS[model]
        frames = []
        with progress_bar() as bar:
            maps = len(set(MAP_FILES.values())) * len(params.seeds)
            task = bar.add_task(f"boxes {model}", total=maps * len(split.ids))
            for seed in params.seeds:
                folder = maps_folder(dataset, backbone, model) / f"seed{seed}"
                frame = measurements_of_seed(folder, split, params, lambda: bar.advance(task))
                frames.append(frame.assign(seed=seed))
        frame = pd.concat(frames).assign(
            dataset=dataset, split="test", backbone=backbone, variant=variant, position=position
        )
        folder = scores_folder(dataset, backbone, model)
        folder.mkdir(parents=True, exist_ok=True)
        percent = ["value", "ci_low", "ci_high"]
        frame[percent] = frame[percent].round(2)
        frame[COLUMNS].to_csv(folder / "measurements.csv", index=False, lineterminator="\n")
        chosen = frame.loc[frame["threshold"].notna(), [*KEYS, "seed", "threshold"]]
        chosen.to_csv(folder / "thresholds.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main(*options(__doc__, "dataset", "backbone", "model"))
