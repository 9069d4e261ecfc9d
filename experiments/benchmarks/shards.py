"""Ten thousand maps scored with one command, and once more as four shards whose metrics are merged.

    python -m experiments.benchmarks.shards
    python -m experiments.benchmarks.shards --images 50000 --shards 8

Random smooth maps of 14 x 14 (a blob near the object, and noise) are written to a temporary folder as a user would have
them, `<image id>.npy` beside WSOL metadata. First `vitol score` scores the folder. Then every shard is a process of its
own that scores its part and writes the states of its metrics; they are merged here, and have to give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from experiments.stage import console
from vitol.boxes import best_ious_of_maps
from vitol.datasets.splits import make_split, read_split, write_split
from vitol.map_folder import MapFolder

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

CLASSES = 10
GRID = 14


def write_data(folder: Path, images: int) -> None:
    """Maps, metadata and logits of random images."""
    rng = np.random.default_rng(0)
    ids = [f"{number % 100:02d}/{number:06d}.jpg" for number in range(images)]
    sizes = rng.integers(200, 500, (images, 2))
    corners = np.sort(rng.random((images, 2, 2)), axis=1) * 0.8 + 0.1
    labels = rng.integers(0, CLASSES, images)
    boxes = [[tuple((corner * size).ravel().tolist())] for corner, size in zip(corners, sizes, strict=True)]
    write_split(make_split(ids, labels.tolist(), sizes.tolist(), boxes), folder / "metadata" / "test")
    logits = rng.standard_normal((images, CLASSES)).astype(np.float32)
    logits[np.arange(images), labels] += 2
    np.save(folder / "logits.npy", logits)
    y, x = np.mgrid[:GRID, :GRID] / (GRID - 1)
    for image, corner in zip(ids, corners, strict=True):
        (centre_x, centre_y), (width, height) = corner.mean(axis=0), corner[1] - corner[0] + 0.1
        blob = np.exp(-(((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2) * 4)
        path = folder / "maps" / f"{image}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, (blob + 0.2 * rng.random((GRID, GRID))).astype(np.float32))


def metrics() -> MetricCollection:
    """What every shard counts."""
    from torchmetrics import MetricCollection

    from vitol.metrics import GTKnownLoc, MaxBoxAcc, Top1Loc, Top5Loc

    return MetricCollection([MaxBoxAcc(), GTKnownLoc(), Top1Loc(), Top5Loc()])


def score_shard(folder: Path, shard: int, shards: int) -> None:
    """Score every `shards`-th image, and write the states of the metrics."""
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    whole = read_split(folder / "metadata" / "test")
    members = np.arange(len(whole)) % shards == shard
    split = whole.select(members)
    reader = MapFolder.open("maps", folder / "maps", split.ids, whole.ids).reader(split.ids, False)
    curves = best_ious_of_maps(reader, split.sizes, split.boxes, workers=1, largest=False)
    logits = np.load(folder / "logits.npy", allow_pickle=False)[members]
    order = np.argsort(-logits, axis=1, kind="stable")
    found = metrics()
    found.update(
        ious=curves.all,
        correct=order[:, 0] == split.labels,
        correct5=(order[:, :5] == split.labels[:, None]).any(axis=1),
    )
    found.persistent(True)
    save_file(found.state_dict(), folder / f"shard{shard}.safetensors")


def merged(folder: Path, shards: int) -> dict[str, float]:
    """What the shards' metrics give together."""
    from safetensors.torch import load_file

    whole = metrics()
    for shard in range(shards):
        part = metrics()
        part.persistent(True)
        part.load_state_dict(load_file(folder / f"shard{shard}.safetensors"))
        for name, metric in whole.items():
            metric.merge_state({state: getattr(part[name], state) for state in metric.metric_state})
    return {name: value.item() for name, value in whole.compute().items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, score, merge, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--shard", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.shard is not None:
        score_shard(options.folder, options.shard, options.shards)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, options.images)
        maps, metadata, out = folder / "maps", folder / "metadata" / "test", folder / "out"
        command = ["vitol", "score", "--maps", f"ours={maps}", "--metadata", str(metadata), "--out", str(out)]
        start = time.perf_counter()
        subprocess.run([*command, "--logits", str(folder / "logits.npy"), "--no-floors"], check=True)
        one = time.perf_counter() - start
        start = time.perf_counter()
        own = [sys.executable, "-m", "experiments.benchmarks.shards", "--folder", str(folder)]
        running = [
            subprocess.Popen([*own, "--shards", str(options.shards), "--shard", str(shard)])
            for shard in range(options.shards)
        ]
        if any(process.wait() for process in running):
            raise RuntimeError("a shard failed; what it said stands above")
        together = merged(folder, options.shards)
        several = time.perf_counter() - start
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    whole = {entry["metric"]: entry["value"] for entry in report["methods"][0]["measurements"]}
    whole["MaxBoxAcc"] = whole["MaxBoxAccV2"]
    table = Table("", "vitol score", f"{options.shards} shards, merged", title=f"{options.images:,} maps")
    for metric, value in together.items():
        # The report rounds to six digits.
        of_whole = whole[metric]
        table.add_row(metric, f"{of_whole:.6f}", f"{value:.6f}")
        if round(value, 6) != round(of_whole, 6):
            raise AssertionError(f"{metric}: {value} from the shards, {of_whole} from one command")
    table.add_section()
    table.add_row("wall time, start of Python included", f"{one:.1f} s", f"{several:.1f} s")
    console.print(table)


if __name__ == "__main__":
    main()
