"""Stage plot: tables and test images as pictures; the tables on the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.differences import render_differences
from experiments.examples import Examples
from experiments.names import METHODS
from experiments.params import Params, read_params
from experiments.stage import RESULTS, console, provenance, sanity_folder, scores_folder
from experiments.views import method_view
from vitol.figures import subset_figure, table_figure
from vitol.measurements import read_scores
from vitol.overlays import Overlay, overlay_figure
from vitol.paper import TABLES, read_published
from vitol.policy_table import policy_figure
from vitol.sanity_figure import sanity_figure
from vitol.score_figure import score_figure
from vitol.slope_figure import SLOPES, slope_figure
from vitol.table_print import render
from vitol.tables import POLICY, build_table

FIGURES = RESULTS / "figures"
EXAMPLES = 4  # test images in the picture of examples
EXAMPLE_MODELS = ("baseline", "mmp")  # those of the paper's Figure 6


def examples_figure(params: Params, dataset: str, backbone: str, path: Path) -> None:
    """Test images beside maps for the label, without and with p-ADL, as in the paper's Figure 6."""
    examples = Examples.of(params, dataset, backbone)
    shown = [(model, name) for model in params.grid.models if model in EXAMPLE_MODELS for name in METHODS]
    overlays: list[Overlay] = []
    for index in examples.spread(EXAMPLES):
        overlays.append(examples.bare(index))
        overlays += [examples.overlay(index, model, name) for model, name in shown]
    caption = examples.caption("Maps for the label, by several methods, without and with p-ADL.")
    overlay_figure(overlays, path, columns=1 + len(shown), caption=caption)


def randomized_figure(params: Params, dataset: str, backbone: str, path: Path) -> None:
    """How far the baseline's maps follow its weights, and the maps of the first image of the check."""
    folder = sanity_folder(dataset, backbone)
    frame = pd.read_csv(folder / "similarity.csv", keep_default_na=False)
    first, *_ = (folder / "images.txt").read_text(encoding="utf-8").splitlines()
    maps = {
        name: np.load(folder / f"{name}.npy", allow_pickle=False)[:, 0] for name in frame["method"].unique()
    }
    examples = Examples.of(params, dataset, backbone)
    pixels = examples.pixels(examples.split.ids.index(first))
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
            if number in SLOPES:
                slope_figure(table, FIGURES / f"table{number}-slopes.png")
            console.print(render(table))
        console.print(render_differences(read_scores(RESULTS / "differences.csv")))


if __name__ == "__main__":
    main()
