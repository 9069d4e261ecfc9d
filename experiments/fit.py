"""Training as the stages baseline and finetune do it: data in, checkpoint and epoch log out."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from experiments.inputs import images_root
from experiments.params import Params
from experiments.resume import Resume, code_digest, data_digest, weights_digest
from experiments.stage import console, data_folder, package_versions, progress_bar
from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.splits import read_split
from vitol.models import describe_device, save_checkpoint
from vitol.processes import team
from vitol.recipe import Recipe
from vitol.snapshots import Snapshots
from vitol.training import EpochRecord, precision_on, train


def percent(value: float | None) -> str:
    """A percentage for people."""
    return "-" if value is None else f"{value:.1f}%"


def fit(
    model: nn.Module,
    checkpoint: Path,
    record: dict[str, Any],
    recipe: Recipe,
    *,
    params: Params,
    dataset: str,
    backbone: str,
    seed: int,
    draws: int,
    resume: Resume,
) -> dict[str, Any]:
    """Train a model and write checkpoint and log; go on where an earlier call with equal arguments was broken off.

    Several processes share the training; the first one writes.

    Args:
        model: The model, p-ADL in it where wanted.
        checkpoint: The file to write, `.safetensors`; its log goes beside it as `.csv`.
        record: What made the model; schedule, seeds and final figures are added.
        recipe: The schedule.
        params: The settings, for the sides of the images, the workers and the snapshots.
        dataset: A prepared data set.
        backbone: The model's name in params.yaml.
        seed: Seed of the run, recorded.
        draws: Seed of order, crops, dropout and p-ADL, recorded.
        resume: Where snapshots are kept.

    Returns:
        Device, processes, throughput and wall time of the training, for the provenance; and where it went on from,
        if it did.
    """
    folder, root = data_folder(dataset), images_root(dataset, params.grid.datasets[dataset])
    sides = params.backbones[backbone]
    images = TrainImages(read_split(folder / "train"), root, sides.image_size, sides.resize, draws)
    validation = None
    if (folder / "val").exists():
        validation = SplitImages(read_split(folder / "val"), root, sides.image_size)
    processes = team()
    precision = precision_on(processes.device, recipe.precision)
    if precision != recipe.precision:
        console.print(f"{describe_device()} has no bfloat16 in hardware: training in float32")
    # The recipe is what was asked for, the precision what it came to here.
    record = {**record, "recipe": asdict(recipe), "precision": precision, "seed": seed, "draws": draws}
    name = checkpoint.parent.name
    kept, settings = resume.folder(
        f"{dataset}-{backbone}-{name}-seed{seed}",
        {
            **record,
            "image_size": sides.image_size,
            "resize": sides.resize,
            "data": data_digest(dataset),
            "start": weights_digest(model),
            "code": code_digest(),
            "packages": package_versions(),
            "device": describe_device(),
        },
    )
    snapshots = Snapshots(kept, settings, params.snapshots.every_seconds)
    found = snapshots.position()
    if found.epoch or found.step:
        console.print(f"{name} seed {seed} goes on after {found.epoch} epochs and {found.step} steps")
    log: list[EpochRecord] = []
    start = time.perf_counter()
    seconds, images_done = 0.0, 0
    with progress_bar() as bar:
        task = bar.add_task(name, total=None)
        epochs = train(
            model.to(processes.device),
            images,
            recipe,
            validation=validation,
            seed=draws,
            workers=params.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            snapshots=snapshots,
        )
        for epoch in epochs:
            log.append(epoch)
            if epoch.epoch <= found.epoch:
                continue
            seconds = time.perf_counter() - start
            images_done = (epoch.epoch - found.epoch) * images_an_epoch(len(images), recipe) - found.seen
            console.print(
                f"{name} seed {seed} epoch {epoch.epoch:2d}/{recipe.epochs}  "
                f"loss {epoch.train_loss:.3f}  train top-1 {epoch.train_top1:.1f}%  "
                f"val top-1 {percent(epoch.val_top1)}  {images_done / seconds:.0f} images/s"
            )
    model.cpu()
    if processes.is_main_process:
        save_checkpoint(checkpoint, model, {**record, "final": asdict(log[-1])})
        write_log(checkpoint.with_suffix(".csv"), log)
    return {
        "device": describe_device(),
        "processes": processes.num_processes,
        "precision": precision,
        "train_seconds": round(seconds, 1),
        "images_per_second": round(images_done / seconds, 1) if seconds else None,
        "went_on_after": {"epochs": found.epoch, "steps": found.step},
    }


def images_an_epoch(images: int, recipe: Recipe) -> int:
    """How many images an epoch sees: an incomplete last batch is left out, unless it is the only one."""
    return max(images // recipe.batch_size * recipe.batch_size, min(images, recipe.batch_size))


def write_log(path: Path, log: list[EpochRecord]) -> None:
    """An epoch a row."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, EpochRecord.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else f"{value:.6g}" for name, value in asdict(epoch).items()}
            for epoch in log
        )
