"""Stage plot: tables and test images as pictures; the tables on the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from experiments.differences import render_differences
from experiments.inputs import classes, images_root
from experiments.names import MAP_FILES, METHODS, MODELS
from experiments.params import Params, read_params
from experiments.stage import (
    RESULTS,
    console,
    data_folder,
    maps_folder,
    provenance,
    sanity_folder,
    scores_folder,
)
from experiments.views import method_view
from vitol.boxes import boxes_at, score_map
from vitol.datasets.splits import Split, read_split
from vitol.figures import Overlay, overlay_figure, subset_figure, table_figure
from vitol.measurements import read_scores
from vitol.paper import TABLES, read_published
from vitol.policy_table import policy_figure
from vitol.sanity_figure import sanity_figure
from vitol.score_figure import score_figure
from vitol.tables import POLICY, build_table, render

FIGURES = RESULTS / "figures"
EXAMPLES = 4  # test images in the picture of examples
EXAMPLE_MODELS = ("baseline", "mmp")  # those of the paper's Figure 6


def example_indices(split: Split) -> list[int]:
    """One image a subset, taken from its middle, or spread over the split; chosen without looking."""
    names = np.array(split.subsets or ("all",) * len(split.ids))
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
    each = -(-EXAMPLES // len(groups))
    return [int(group[len(group) * (2 * k + 1) // (2 * each)]) for group in groups for k in range(each)]


def threshold_of(folder: Path, map_name: str, seed: int) -> float:
    """The threshold at which most largest-contour boxes of the whole test split are right."""
    chosen = pd.read_csv(folder / "thresholds.csv", keep_default_na=False).query(
        "subset == 'all' and map == @map_name and preset == 'release' and metric == 'GTKnownLocV1' "
        "and policy == @POLICY and seed == @seed"
    )
    return float(chosen["threshold"].item())


def read_pixels(path: Path) -> np.ndarray:
    """An image as RGB, (H, W, 3) uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def examples_figure(params: Params, dataset: str, backbone: str, path: Path) -> None:
    """Test images beside maps for the label, without and with p-ADL, as in the paper's Figure 6.

    The true box is green, the largest contour's box red.
    """
    split = read_split(data_folder(dataset) / "test")
    root = images_root(dataset, params.grid.datasets[dataset])
    seed = params.seeds[0]
    overlays, names = [], classes(dataset)
    maps = {
        (model, name): np.load(
            maps_folder(dataset, backbone, model, seed) / "test" / f"{file}.npy",
            mmap_mode="r",
            allow_pickle=False,
        )
        for model in params.grid.models
        if model in EXAMPLE_MODELS
        for (name, preset), file in MAP_FILES.items()
        if preset == "release"
    }
    thresholds = {
        (model, name): threshold_of(scores_folder(dataset, backbone, model), name, seed)
        for model, name in maps
    }
    for index in example_indices(split):
        pixels = read_pixels(root / split.ids[index])
        size, truth = split.sizes[index], split.boxes[index]
        subset = f"{split.subsets[index]}: " if split.subsets else ""
        title = f"{subset}{names[split.labels[index]].partition(',')[0]}"[:28]
        overlays.append(Overlay(pixels, title, None, truth, np.zeros((0, 4))))
        for (model, name), of_split in maps.items():
            score = score_map(of_split[index])
            box = boxes_at(score, thresholds[model, name], "largest") * size[[0, 1, 0, 1]] / score.shape[0]
            overlays.append(Overlay(pixels, f"{MODELS[model].title}: {name}", score, truth, box))
    overlay_figure(overlays, path, columns=1 + len(maps))


def randomized_figure(params: Params, dataset: str, backbone: str, path: Path) -> None:
    """How far the baseline's maps follow its weights, and the maps of the first image of the check."""
    folder = sanity_folder(dataset, backbone)
    frame = pd.read_csv(folder / "similarity.csv", keep_default_na=False)
    first, *_ = (folder / "images.txt").read_text(encoding="utf-8").splitlines()
    maps = {
        name: np.load(folder / f"{name}.npy", allow_pickle=False)[:, 0] for name in frame["method"].unique()
    }
    pixels = read_pixels(images_root(dataset, params.grid.datasets[dataset]) / first)
    title = f"{dataset}, {backbone}: maps of the baseline under randomised weights"
    sanity_figure(frame, pixels, maps, title, path)


def views_figure(params: Params, dataset: str, backbone: str, path: Path) -> None:
    """The baseline's maps beside each other: headline, thresholds, IoUs, failures, results by group."""
    folder, seed = scores_folder(dataset, backbone, "baseline"), params.seeds[0]
    views = {name: method_view(folder, name, seed) for name in METHODS}
    note = (
        f"{dataset}, {backbone}, test split, maps of the label; thresholds chosen on these images ({POLICY})."
    )
    score_figure(f"{dataset}, {backbone}: maps of the baseline", views, path, note)


def main() -> None:
    """Draw every figure and print the four tables."""
    params = read_params()
    with provenance("plot"):
        measurements = read_scores(RESULTS / "measurements.csv")
        FIGURES.mkdir(parents=True, exist_ok=True)
        for dataset in params.grid.datasets:
            for backbone in params.grid.backbones:
                subset_figure(measurements, dataset, backbone, FIGURES / f"subsets-{dataset}-{backbone}.png")
                examples_figure(params, dataset, backbone, FIGURES / f"examples-{dataset}-{backbone}.png")
                randomized_figure(params, dataset, backbone, FIGURES / f"sanity-{dataset}-{backbone}.png")
                policy_figure(measurements, dataset, backbone, FIGURES / f"policies-{dataset}-{backbone}.png")
                views_figure(params, dataset, backbone, FIGURES / f"views-{dataset}-{backbone}.png")
        for number in TABLES:
            table = build_table(number, measurements, read_published(number))
            table_figure(table, FIGURES / f"table{number}.png")
            console.print(render(table))
        console.print(render_differences(read_scores(RESULTS / "differences.csv")))


if __name__ == "__main__":
    main()
