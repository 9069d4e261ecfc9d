"""The training images alone, as fast as they come: what a GPU could be fed with.

    python -m experiments.benchmarks.loader                   # drawn JPEGs of 500x375, as many in ImageNet are
    python -m experiments.benchmarks.loader --dataset cub     # a registered data set

For every number of workers the images a second of `vitol.datasets.images.TrainImages` (resize 256, random crop 224,
flip), batches and hand-over included, and beside them the same images with floats made in the workers, as torchvision's
usual transforms do. Median over rounds, in turn; the first batch of a round is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.stage import console, progress_bar
from vitol.datasets.images import TrainImages, normalise
from vitol.datasets.register import load
from vitol.datasets.splits import Split

DRAWN = 512
SIZE = (500, 375)


class FloatImages(TrainImages):
    """The rival: every item is a normalised image."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and label."""
        image, label = super().__getitem__(index)
        return normalise(image), label


def draw_images(root: Path) -> Split:
    """Blurred noise, which JPEG takes as much trouble with as with a photo of its size (some 60 kB)."""
    generator = np.random.default_rng(0)
    for index in range(DRAWN):
        noise = generator.normal(128, 60, (SIZE[1], SIZE[0], 3))
        blurred = cv2.GaussianBlur(noise, (0, 0), 1.2)
        cv2.imwrite(str(root / f"{index}.jpg"), (128 + 3 * (blurred - 128)).clip(0, 255).astype(np.uint8))
    ids = tuple(f"{index}.jpg" for index in range(DRAWN))
    return Split(ids, np.zeros(DRAWN, np.int64), np.tile(SIZE, (DRAWN, 1)), (np.zeros((0, 4)),) * DRAWN)


def rate(images: TrainImages, workers: int, batch: int) -> float:
    """Images a second of one epoch."""
    start, seen = 0.0, 0
    order = torch.Generator().manual_seed(0)
    for number, (pixels, _) in enumerate(
        DataLoader(
            images, batch_size=batch, shuffle=True, generator=order, num_workers=workers, drop_last=True
        )
    ):
        if number:
            seen += len(pixels)
        else:
            start = time.perf_counter()
    return seen / (time.perf_counter() - start)


def main(arguments: list[str] | None = None) -> None:
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dataset", help="a registered data set")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, progress_bar() as bar:
        if options.dataset:
            layout = load(options.dataset)
            split, root = layout.splits["train"], layout.images
        else:
            root = Path(folder)
            split = draw_images(root)
        sets = {
            "bytes": TrainImages(split, root, 224, 256, 0),
            "floats": FloatImages(split, root, 224, 256, 0),
        }
        cells = [(name, workers) for workers in options.workers for name in sets]
        rates: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
        task = bar.add_task("epochs", total=len(cells) * options.rounds)
        for _ in range(options.rounds):
            for name, workers in cells:
                rates[name, workers].append(rate(sets[name], workers, options.batch_size))
                bar.advance(task)
    table = Table(
        "workers", "images/s", "with floats from the workers", "x", title=options.dataset or "drawn, 500x375"
    )
    for workers in options.workers:
        ours, theirs = (rates[name, workers] for name in sets)
        ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        table.add_row(
            str(workers), f"{statistics.median(ours):.0f}", f"{statistics.median(theirs):.0f}", f"{ratio:.2f}"
        )
    console.print(f"{os.cpu_count()} cores; median of {options.rounds} rounds")
    console.print(table)


if __name__ == "__main__":
    main()
