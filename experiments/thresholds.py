"""The thresholds at which `vitol explain` draws boxes: for each method the best on a third of a data set's test images.

python -m experiments.thresholds ilsvrc300     (registered; see `vitol.photos.THRESHOLDS` for what is kept of it)

The third is cut by a hash of the images' ids; the rest, on which nothing is chosen, says what the choice is worth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from rich.table import Table
from torch.utils.data import DataLoader

from experiments.stage import console, progress_bar
from vitol.boxes import THRESHOLDS, best_ious_of_maps
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.register import load
from vitol.datasets.registered import dataset_root, read_manifest
from vitol.datasets.splits import cut_by_hash
from vitol.maps import Method, explain
from vitol.methods import ABOUT, METHODS
from vitol.photos import Explainer


def chosen_threshold(ious: np.ndarray) -> int:
    """Index of the threshold at which most largest-contour boxes have an IoU of 0.5, in the middle of equals.

    Args:
        ious: (n, T), thresholds ascending.
    """
    right = (ious >= 0.5).sum(axis=0)
    best = np.flatnonzero(right == right.max())
    return int(best[len(best) // 2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", help="a registered data set")
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name or vitol checkpoint")
    parser.add_argument("--batch-size", type=int, default=10)
    options = parser.parse_args(arguments)

    split = load(options.dataset).splits["test"]
    explainer = Explainer(options.model)
    size = explainer.prepare.size[0]
    root = dataset_root(options.dataset) / read_manifest(options.dataset)["images"]
    parts = []
    with progress_bar() as bar:
        task = bar.add_task("maps", total=len(split))
        for images, labels in DataLoader(SplitImages(split, root, size), batch_size=options.batch_size):
            inputs, labels = normalise(images.to(explainer.device)), labels.to(explainer.device)
            made = explain(explainer.model, inputs, labels, [Method.of(name) for name in METHODS])
            parts.append([maps.float().cpu().numpy() for maps in made.maps])
            bar.advance(task, len(images))
    held = cut_by_hash(split.ids, len(split) // 3)
    table = Table(
        "method", "threshold", f"right, {held.sum()} chosen on", f"right, the other {(~held).sum()}"
    )
    for name, maps in zip(METHODS, map(np.concatenate, zip(*parts, strict=True)), strict=True):
        ious = best_ious_of_maps(maps, split.sizes, split.boxes).largest
        at = chosen_threshold(ious[held])
        shares = [f"{100 * (ious[part, at] >= 0.5).mean():.1f}%" for part in (held, ~held)]
        table.add_row(ABOUT[name].title, f"{THRESHOLDS[at]:.3f}", *shares)
    console.print(
        f"{options.model} on {options.dataset}, the label's maps, IoU of the largest contour's box >= 0.5"
    )
    console.print(table)


if __name__ == "__main__":
    main()
