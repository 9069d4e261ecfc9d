"""What relevance loses in float32: LRP maps in each precision against float64, on real weights and images.

python -m experiments.benchmarks.precision IMAGES... [--model deit_tiny_patch16_224] [--count 64]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table

from experiments.benchmarks.maps import write
from experiments.stage import RESULTS, console, progress_bar
from vitol.boxes import boxes_at, score_map
from vitol.maps import Method, explain
from vitol.methods import ABOUT
from vitol.models import describe_device
from vitol.photo_input import find_photos, read_photo
from vitol.photos import Explainer
from vitol.rectangles import iou_matrix

METHODS = [name for name in ABOUT if ABOUT[name].by_relevance]
PRECISIONS = ("model", "mixed")
THRESHOLD = 0.185  # of the release's LRP


def errors(made: np.ndarray, exact: np.ndarray) -> pd.DataFrame:
    """How far maps (n, h, w) are from exact ones: largest difference as a part of the exact maximum; box IoU."""
    apart = np.abs(made - exact).max(axis=(1, 2)) / np.abs(exact).max(axis=(1, 2))
    boxes = [
        [boxes_at(score_map(one), THRESHOLD, "largest") for one in pair]
        for pair in zip(made, exact, strict=True)
    ]
    return pd.DataFrame({"error": apart, "iou": [iou_matrix(a, b)[0, 0] for a, b in boxes]})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write results/benchmarks/precision.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, help="images or folders of images")
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name or vitol checkpoint")
    parser.add_argument("--count", type=int, default=64, help="how many images, spread over those found")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args(arguments)

    found = find_photos(options.images)
    chosen = [found[int(at)] for at in np.unique(np.linspace(0, len(found) - 1, options.count).astype(int))]
    explainer = Explainer(options.model)
    methods = [Method.of(name, precision=p) for name in METHODS for p in (*PRECISIONS, "double")]
    parts = []
    with progress_bar() as bar:
        task = bar.add_task("maps", total=len(chosen))
        for start in range(0, len(chosen), options.batch_size):
            files = chosen[start : start + options.batch_size]
            batch = torch.stack([explainer.prepare(read_photo(file)) for file in files]).to(explainer.device)
            parts.append(
                [maps.double().cpu().numpy() for maps in explain(explainer.model, batch, None, methods).maps]
            )
            bar.advance(task, len(files))
    maps = dict(zip(methods, map(np.concatenate, zip(*parts, strict=True)), strict=True))

    table = Table(
        "map",
        "precision",
        "median",
        "95%",
        "largest",
        "boxes below IoU 0.9",
        title="Error of the map",
        title_justify="left",
    )
    rows = []
    for name in METHODS:
        exact = maps[Method.of(name, precision="double")]
        for precision in PRECISIONS:
            frame = errors(maps[Method.of(name, precision=precision)], exact)
            quantiles = [float(frame["error"].quantile(q)) for q in (0.5, 0.95, 1.0)]
            moved = 100 * float((frame["iou"] < 0.9).mean())
            rows.append((ABOUT[name].title, precision, *quantiles, moved))
            table.add_row(
                ABOUT[name].title, precision, *(f"{value:.1e}" for value in quantiles), f"{moved:.0f}%"
            )
    console.print(f"{options.model}, {len(chosen)} images, {describe_device()}, torch {torch.__version__}")
    console.print(table)
    console.print(
        "Largest difference to float64 as a part of the map's maximum, over images; boxes of the largest "
        f"contour at {THRESHOLD} of the maximum."
    )
    columns = ["map", "precision", "median", "95%", "largest", "moved_percent"]
    write(pd.DataFrame(rows, columns=columns), RESULTS / "benchmarks" / "precision.csv", describe_device())


if __name__ == "__main__":
    main()
