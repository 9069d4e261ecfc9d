"""Speed and memory of the scorer, against the loop over a thousand thresholds.

    python -m experiments.benchmarks.scorer
    python -m experiments.benchmarks.scorer --maps results/maps/ilsvrc300/deit_tiny/baseline/seed0/test/gar-release.npy

Three tables. The first is the time an image takes on one core, from a score map of 224 x 224 pixels to the best IoU at
every threshold, as a ratio to the loop's: the median over rounds in which both take every map once, after their results
were found equal. "from the map" begins at the localization map, the time to scale it then being in both; with V1 ours
finds the largest contours as well, the loop still all contours alone. The second says where the time goes, and what
could not be saved: scaling the map, and reading each pixel once. The third is throughput and peak memory of whole data
sets, scored part by part, for more images and more threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
from rich.table import Table

from experiments.benchmarks.threshold_loop import threshold_loop
from experiments.stage import console, progress_bar
from vitol.boxes import best_ious, best_ious_of_maps, score_map
from vitol.contours import CUTS, best_at_cuts, component_tree
from vitol.rectangles import SIZE

MAPS = Path("results/maps/mini/small/baseline/seed0/test/gar-release.npy")
ROOT = Path(__file__).parents[2]
GRID = 14  # of the maps that whole data sets are made of


def noise(images: int, side: int) -> np.ndarray:
    """Maps of independent uniform noise, (n, side, side)."""
    return np.random.default_rng(0).random((images, side, side), dtype=np.float32)


def truths_of(images: int) -> list[np.ndarray]:
    """One to three boxes an image, in pixels of the score map."""
    rng = np.random.default_rng(1)
    corners = [np.sort(rng.integers(0, SIZE, (1 + image % 3, 2, 2)), axis=1) for image in range(images)]
    return [of_image.reshape(-1, 4) for of_image in corners]


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Ratio(NamedTuple):
    """Milliseconds of the loop and of ours an image, and the median and smallest ratio of the rounds."""

    loop: float
    ours: float
    median: float
    least: float


def compare(maps: Sequence[np.ndarray], rounds: int) -> dict[str, Ratio]:
    """Time both on the same maps, by where they begin.

    Raises:
        AssertionError: If they find different IoUs anywhere.
    """
    scores, truths = [score_map(of_image) for of_image in maps], truths_of(len(maps))
    for score, truth in zip(scores, truths, strict=True):
        np.testing.assert_array_equal(best_ious(score, truth).all, threshold_loop(score, truth))
    sizes, out = np.full((len(maps), 2), SIZE), np.empty(CUTS)

    def ours() -> None:
        for score, truth in zip(scores, truths, strict=True):
            best_at_cuts((score * 255).astype(np.uint8), truth, out, out, False)

    def loop() -> None:
        for score, truth in zip(scores, truths, strict=True):
            threshold_loop(score, truth)

    works: dict[str, Callable[[], object]] = {
        "loop": loop,
        "scaling": lambda: [score_map(of_image) for of_image in maps],
        "scores": ours,
        "maps": lambda: best_ious_of_maps(maps, sizes, truths, workers=1, largest=False),
        "maps, V1": lambda: best_ious_of_maps(maps, sizes, truths, workers=1),
    }
    for name in ("scores", "maps", "maps, V1"):  # compiled, or read from the cache
        works[name]()
    times = [{name: seconds(work) for name, work in works.items()} for _ in range(rounds)]
    begins = {
        "from the score map": ("loop", "scores"),
        "from the map": ("loop", "scaling", "maps"),
        "from the map, V1 too": ("loop", "scaling", "maps, V1"),
    }
    found = {}
    for begin, (*of_loop, of_ours) in begins.items():
        pairs = [(sum(of_round[name] for name in of_loop), of_round[of_ours]) for of_round in times]
        ratios = [loop_time / our_time for loop_time, our_time in pairs]
        loop_ms, ours_ms = (1e3 * median(side) / len(maps) for side in zip(*pairs, strict=True))
        found[begin] = Ratio(loop_ms, ours_ms, median(ratios), min(ratios))
    return found


def parts(maps: Sequence[np.ndarray], rounds: int) -> dict[str, float]:
    """Milliseconds an image of the parts of scoring, median over rounds."""
    values = [np.asarray(of_image, dtype=np.float32) for of_image in maps]
    scores = [score_map(of_image) for of_image in maps]
    levels = [(score * 255).astype(np.uint8) for score in scores]
    inverted = [~of_image for of_image in levels]
    truths, out = truths_of(len(maps)), np.empty(CUTS)
    sizes = np.full((len(maps), 2), SIZE)

    def best(largest: bool) -> None:
        for of_image, truth in zip(levels, truths, strict=True):
            best_at_cuts(of_image, truth, out, out.copy(), largest)

    works: dict[str, Callable[[], object]] = {
        "scaling the map (OpenCV)": lambda: [
            cv2.resize(of_image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for of_image in values
        ],
        "foreground: segments, edges, peaks, sorted": lambda: [component_tree(of, True) for of in levels],
        "background: the same": lambda: [component_tree(of, False) for of in inverted],
        "V2 from the levels": lambda: best(False),
        "V2 and V1 from the levels": lambda: best(True),
        "V2 from the map": lambda: best_ious_of_maps(maps, sizes, truths, workers=1, largest=False),
        "one findContours, for comparison": lambda: [
            cv2.findContours((of > 127).view(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            for of in levels
        ],
        "reading each pixel once (its maximum)": lambda: [int(of.max()) for of in levels],
    }
    for work in works.values():
        work()
    return {
        name: 1e3 * median(seconds(work) for _ in range(rounds)) / len(maps) for name, work in works.items()
    }


def whole_set(images: int, workers: int) -> tuple[float, float]:
    """Images a second and peak memory in MiB of a process that scores so many maps from a file."""
    code = f"from experiments.benchmarks.scorer import print_whole_set; print_whole_set({images}, {workers})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    rate, memory = result.stdout.split()
    return float(rate), float(memory)


def print_whole_set(images: int, workers: int) -> None:
    """Score a set of smooth random maps part by part into metrics of constant size, in this process."""
    import torch

    from vitol.metrics import MaxBoxAcc

    torch.set_num_threads(1)
    metric, sizes = MaxBoxAcc(), np.full((PART, 2), SIZE)
    maps, truths = noise(PART, GRID), truths_of(PART)
    best_ious_of_maps(maps[:1], sizes[:1], truths[:1])  # compiled, or read from the cache
    start = time.perf_counter()
    for _ in range(images // PART):
        curves = best_ious_of_maps(maps, sizes, truths, workers, largest=False)
        metric.update(ious=torch.from_numpy(curves.all))
    rate = images / (time.perf_counter() - start)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    print(rate, peak)


PART = 500  # maps at a time


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--maps", type=Path, default=MAPS, help="localization maps (n, h, w), .npy")
    parser.add_argument("--images", type=int, default=24, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--sets", type=int, nargs="*", default=[1000, 4000, 16000], help="sizes of whole sets"
    )
    options = parser.parse_args(arguments)
    if not options.maps.is_file():
        parser.error(f"{options.maps} is not there; run `make repro` first, or give --maps")
    real = np.load(options.maps, allow_pickle=False)
    cv2.setNumThreads(1)
    kinds = {
        f"{len(real[: options.images])} maps of {options.maps.name}, {'x'.join(map(str, real.shape[1:]))}": list(
            real[:: max(1, len(real) // options.images)][: options.images]
        ),
        "noise 28x28": list(noise(options.images, 28)),
        "pixel noise": list(noise(2, SIZE)),
    }
    table = Table("maps", "", "loop, ms", "ours, ms", "x loop", "(least)", title="One core, an image")
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=len(kinds) + 1 + 2 * len(options.sets))
        for kind, maps in kinds.items():
            for begin, (loop, ours, ratio, least) in compare(maps, options.rounds).items():
                table.add_row(kind, begin, f"{loop:.1f}", f"{ours:.2f}", f"{ratio:.0f}", f"{least:.0f}")
            table.add_section()
            bar.advance(task)
        where = Table("part", "ms an image", title=f"Where the time goes: {next(iter(kinds))}")
        for name, spent in parts(next(iter(kinds.values())), options.rounds).items():
            where.add_row(name, f"{spent:.3f}")
        bar.advance(task)
        sets = Table(
            "images",
            "threads",
            "images/s",
            "x one thread",
            "peak MiB",
            title=f"Whole sets, {GRID}x{GRID} noise",
        )
        for images in options.sets:
            alone = 0.0
            for workers in dict.fromkeys((1, os.cpu_count() or 1)):
                rate, memory = whole_set(images, workers)
                alone = alone or rate
                sets.add_row(
                    f"{images:,}", str(workers), f"{rate:,.0f}", f"{rate / alone:.2f}", f"{memory:,.0f}"
                )
                bar.advance(task)
    console.print(table, where, sets)


if __name__ == "__main__":
    main()
