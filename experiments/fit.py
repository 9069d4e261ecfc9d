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
from experiments.stage import console, data_folder, progress_bar
from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.splits import read_split
from vitol.models import describe_device, find_device, save_checkpoint
from vitol.recipe import Recipe
from vitol.training import EpochRecord, train


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
) -> dict[str, Any]:
    """Train a model and write checkpoint and log.

    Args:
        model: The model, p-ADL in it where wanted.
        checkpoint: The file to write, `.safetensors`; its log goes beside it as `.csv`.
        record: What made the model; schedule, seeds and final figures are added.
        recipe: The schedule.
        params: The settings, for the sides of the images and the workers.
        dataset: A prepared data set.
        backbone: The model's name in params.yaml.
        seed: Seed of the run, recorded.
        draws: Seed of order, crops, dropout and p-ADL, recorded.

    Returns:
        Device, throughput and wall time of the training, for the provenance.
    """
    folder, root = data_folder(dataset), images_root(dataset, params.grid.datasets[dataset])
    sides = params.backbones[backbone]
    images = TrainImages(read_split(folder / "train"), root, sides.image_size, sides.resize, draws)
    validation = None
    if (folder / "val").exists():
        validation = SplitImages(read_split(folder / "val"), root, sides.image_size)
    log: list[EpochRecord] = []
    start = time.perf_counter()
    with progress_bar() as bar:
        task = bar.add_task(checkpoint.parent.name, total=None)
        epochs = train(
            model.to(find_device()),
            images,
            recipe,
            validation=validation,
            seed=draws,
            workers=params.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        for epoch in epochs:
            log.append(epoch)
            seconds = time.perf_counter() - start
            console.print(
                f"{checkpoint.parent.name} seed {seed} epoch {epoch.epoch:2d}/{recipe.epochs}  "
                f"loss {epoch.train_loss:.3f}  train top-1 {epoch.train_top1:.1f}%  "
                f"val top-1 {percent(epoch.val_top1)}  "
                f"{epoch.epoch * len(images) / seconds:.0f} images/s"
            )
    record = {**record, "recipe": asdict(recipe), "seed": seed, "draws": draws, "final": asdict(log[-1])}
    save_checkpoint(checkpoint, model.cpu(), record)
    with checkpoint.with_suffix(".csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, EpochRecord.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else f"{value:.6g}" for name, value in asdict(epoch).items()}
            for epoch in log
        )
    return {
        "device": describe_device(),
        "train_seconds": round(seconds, 1),
        "images_per_second": round(recipe.epochs * len(images) / seconds, 1),
    }
