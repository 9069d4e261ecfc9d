"""Maps against the per-image loop and against bare passes: images a second and peak memory.

    python -m experiments.benchmarks.maps [--models NAME ...] [--batches N ...] [--methods NAME ...]

Run on a quiet machine. Weights are random: they change no time worth speaking of. Everything is float32, but
for LRP, which vitol runs in each of its precisions. Rounds are interleaved, so that a slow moment hits all
passes alike; ratios are taken within a round, and their median over rounds is shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.table import Table

from experiments.benchmarks.passes import (
    AS_RELEASED,
    BACKWARD,
    FORWARD,
    LOOP_IMAGES,
    Case,
    Pass,
    passes_of,
    peak_memory,
    prepare,
)
from experiments.stage import RESULTS, console, progress_bar
from vitol.maps import METHODS
from vitol.models import describe_device, find_device

MODELS, BATCHES = ("deit_tiny_patch16_224", "deit_small_patch16_224"), (1, 8, 32)
ON_GPU = tuple(itertools.product(("deit_base_patch16_224",), (64, 128, 256)))
DEPTH_MODEL, DEPTH_BATCH, DEPTHS = "deit_tiny_patch16_224", 8, (4, 8, 16, 32)
REPEATS, WARM_UP = 7, 2
GAR = Pass("vitol", "gar")
COLUMNS = {
    "images_per_second": ("images/s", ".1f"),
    "peak_mib": ("peak MiB", ".0f"),
    "loop_ratio": ("x loop's speed", ".2f"),
    "released_ratio": ("x released loop's speed", ".2f"),
    "forward_ratio": ("x time of forward", ".2f"),
    "backward_ratio": ("x time of f. + b.", ".2f"),
    "gar_ratio": ("x time of GAR", ".2f"),
}


def time_passes(
    case: Case, passes: Sequence[Pass], repeats: int, advance: Callable[[], object] = lambda: None
) -> dict[Pass, list[float]]:
    """Seconds an image of every pass in every round, two warm-up rounds left out."""
    calls = {what: prepare(case, what) for what in passes}
    seconds: dict[Pass, list[float]] = {what: [] for what in passes}
    for round_ in range(WARM_UP + repeats):
        for what, call in calls.items():
            start = time.perf_counter()
            call()
            if case.device == "cuda":
                torch.cuda.synchronize()
            if round_ >= WARM_UP:
                seconds[what].append((time.perf_counter() - start) / what.images(case.batch))
            advance()
    return seconds


def measure(case: Case, passes: Sequence[Pass], repeats: int) -> pd.DataFrame:
    """One row a pass: images a second, peak memory, and the ratios of COLUMNS."""
    with progress_bar() as bar:
        task = bar.add_task(f"{case.architecture}, batch {case.batch}: memory", total=len(passes))
        peaks = {}
        for what in passes:
            peaks[what] = peak_memory(case, what)
            bar.advance(task)
        task = bar.add_task("time", total=len(passes) * (WARM_UP + repeats))
        seconds = time_passes(case, passes, repeats, lambda: bar.advance(task))

    def ratio(top: Pass, bottom: Pass) -> float:
        """Median over rounds of the quotient of two passes' times an image."""
        if top not in seconds or bottom not in seconds or top == bottom:
            return math.nan
        pairs = zip(seconds[top], seconds[bottom], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def over_loop(what: Pass, options: Any) -> float:
        return ratio(Pass("loop", what.method, options), what) if what.kind == "vitol" else math.nan

    rows = [
        {
            "architecture": case.architecture,
            "batch": case.batch,
            "pass": what.label,
            "images_per_second": 1 / statistics.median(seconds[what]),
            "peak_mib": peaks[what],
            "loop_ratio": over_loop(what, ()),
            "released_ratio": over_loop(what, AS_RELEASED),
            "forward_ratio": ratio(what, FORWARD),
            "backward_ratio": ratio(what, BACKWARD),
            "gar_ratio": ratio(what, GAR) if what.kind == "vitol" else math.nan,
            "repeats": repeats,
        }
        for what in passes
    ]
    return pd.DataFrame(rows)


def measure_depths(depths: Sequence[int], device: str) -> pd.DataFrame:
    """Peak memory of GAR and of the cheapest backward pass at several depths, and their difference, in MiB."""
    rows = []
    with progress_bar() as bar:
        for depth in bar.track(depths, description="memory against depth"):
            case = Case(DEPTH_MODEL, DEPTH_BATCH, device, depth)
            backward, gar = peak_memory(case, BACKWARD), peak_memory(case, GAR)
            rows.append(
                {"depth": depth, "backward_mib": backward, "gar_mib": gar, "extra_mib": gar - backward}
            )
    return pd.DataFrame(rows)


def show(frame: pd.DataFrame, title: str) -> None:
    """Print the passes of one case."""
    table = Table("pass", title=title, title_justify="left")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right")
    for _, row in frame.iterrows():
        cells = (
            "" if math.isnan(row[name]) else format(row[name], spec) for name, (_, spec) in COLUMNS.items()
        )
        table.add_row(row["pass"], *cells)
    console.print(table)


def show_depths(frame: pd.DataFrame) -> None:
    """Print the memory at several depths."""
    table = Table(title=f"Extra memory against depth: width of {DEPTH_MODEL}, batch {DEPTH_BATCH}, MiB")
    for heading in ("blocks", "forward + cheapest backward", "GAR", "GAR's extra"):
        table.add_column(heading, justify="right")
    for row in frame.itertuples():
        table.add_row(f"{row.depth}", f"{row.backward_mib:.1f}", f"{row.gar_mib:.1f}", f"{row.extra_mib:.1f}")
    console.print(table)


def write(frame: pd.DataFrame, path: Path, machine: str) -> None:
    """Write a CSV, with what it was measured on in every row; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    frame.assign(machine=machine, torch=torch.__version__).to_csv(partial, index=False, float_format="%.4g")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, print the tables, and write results/benchmarks/maps*.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", help=f"timm names; by default {' '.join(MODELS)}")
    parser.add_argument("--batches", nargs="+", type=int, help=f"by default {BATCHES}")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ar", "gar", "lrp"])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default=find_device().type)
    parser.add_argument("--depths", nargs="*", type=int, default=DEPTHS, help="blocks; none: no such table")
    parser.add_argument("--results", type=Path, default=RESULTS / "benchmarks")
    options = parser.parse_args(arguments)

    for name in ("batches", "depths"):
        if min(getattr(options, name) or [1]) < 1:
            parser.error(f"--{name} {getattr(options, name)} has a number below 1")
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats} leaves nothing to measure; give 1 or more")

    asked = list(itertools.product(options.models or MODELS, options.batches or BATCHES))
    if options.device == "cuda" and not options.models and not options.batches:
        asked += ON_GPU
    machine = f"{describe_device()}; run on {options.device}"
    console.print(f"{machine}; torch {torch.__version__}; random weights")
    console.print(
        f"float32, but for LRP as each line says; median of {options.repeats} interleaved rounds; "
        f"loops take {LOOP_IMAGES} images at most"
    )
    frames = []
    for architecture, batch in asked:
        case = Case(architecture, batch, options.device)
        frames.append(measure(case, passes_of(options.methods), options.repeats))
        show(frames[-1], f"{architecture}, batch {batch}")
        write(pd.concat(frames), options.results / "maps.csv", machine)
    if options.depths:
        frame = measure_depths(options.depths, options.device)
        show_depths(frame)
        write(frame, options.results / "maps_depth.csv", machine)


if __name__ == "__main__":
    main()
