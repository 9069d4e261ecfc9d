"""Fitting a model to a data set: images and snapshots in, checkpoint and epoch log out."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vitol.atomic import atomic_file
from vitol.checkpoints import save_checkpoint
from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.splits import Split
from vitol.models import describe_device
from vitol.precision import precision_on
from vitol.processes import team
from vitol.recipe import Recipe
from vitol.resumption import digest, weights_digest
from vitol.snapshots import Position, Snapshots
from vitol.training import EpochRecord, Objective, Progress, cross_entropy, train
from vitol.weight_files import writing
from vitol.wording import images_a_second, percent

OWN_DRAWS = 1_000_000
"""Added to the run's seed where fine-tuning draws order, crops, dropout and p-ADL: with the seed itself, which the
baseline drew with, it would see the baseline's first epochs again."""

Told = Callable[[EpochRecord, float], object]
"""Called after every epoch with its record, and the images a second since the run began or went on."""


@dataclass(frozen=True)
class Fit:
    """What a training came to.

    Attributes:
        log: A record of each epoch.
        went_on: From where; the very start where there was nothing to go on from.
        seconds: Of wall time, until the last epoch that was trained now.
        images_per_second: Over that time; None where nothing was left to train.
    """

    log: list[EpochRecord]
    went_on: Position
    seconds: float
    images_per_second: float | None


def full_record(record: Mapping[str, Any], recipe: Recipe, seed: int, draws: int) -> dict[str, Any]:
    """What made a model, with the schedule and the seeds of its training.

    The recipe is what was asked for, the precision what it comes to on this device.

    Args:
        record: What is known besides.
        recipe: The schedule.
        seed: Seed of the run.
        draws: Seed of order, crops, dropout and p-ADL.
    """
    precision = precision_on(team().device, recipe.precision)
    return {**record, "recipe": asdict(recipe), "precision": precision, "seed": seed, "draws": draws}


def run_settings(
    record: Mapping[str, Any], model: nn.Module, images: TrainImages, *, data: str, code: str, packages: Any
) -> dict[str, Any]:
    """All that a training depends on: what a snapshot of it is known by.

    Args:
        record: Of `full_record`.
        model: With the weights that training starts from.
        images: Those it is trained on.
        data: Hash of the data set that they are of.
        code: Hash of the code.
        packages: Versions of the libraries.
    """
    return {
        **record,
        "image_size": images.size,
        "resize": images.resize,
        "images": split_digest(images.split),
        "data": data,
        "start": weights_digest(model),
        "code": code,
        "packages": packages,
        "device": describe_device(),
    }


def split_digest(split: Split) -> str:
    """Hash of which images a split has, in which order, and of their labels."""
    return digest("\n".join(split.ids).encode(), split.labels.astype("<i8").tobytes())


def fit(
    model: nn.Module,
    images: TrainImages,
    recipe: Recipe,
    checkpoint: Path,
    record: Mapping[str, Any],
    snapshots: Snapshots,
    *,
    validation: SplitImages | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    told: Told = lambda *_: None,
    objective: Objective = cross_entropy,
) -> Fit:
    """Train a model and write checkpoint and log; go on where an earlier call was broken off.

    Several processes share the training; the first one writes.

    Args:
        model: The model, p-ADL in it where wanted. It is on the CPU again afterwards.
        images: Training images; their seed is that of all draws.
        recipe: The schedule.
        checkpoint: The file to write, `.safetensors`; its log goes beside it as `.csv`.
        record: Of `full_record`; the last epoch's figures are added.
        snapshots: Where to go on from, and to leave the state for the next time.
        validation: Images to report top-1 on after every epoch; it chooses nothing.
        workers: Processes that decode images, for each process that trains.
        progress: Called with (images done, images in all) after every step.
        told: Called after every epoch that is trained now.
        objective: What a step minimises.

    Raises:
        ValueError: As `vitol.training.train`.
        CheckpointError: If checkpoint or log cannot be written.
        SnapshotError: If a snapshot cannot be written or gone on from.
    """
    found = snapshots.position()
    processes = team()
    log: list[EpochRecord] = []
    start = time.perf_counter()
    seconds, done = 0.0, 0
    epochs = train(
        model.to(processes.device),
        images,
        recipe,
        validation=validation,
        seed=images.seed,
        workers=workers,
        progress=progress,
        snapshots=snapshots,
        objective=objective,
    )
    for epoch in epochs:
        log.append(epoch)
        if epoch.epoch <= found.epoch:
            continue
        seconds = time.perf_counter() - start
        done = (epoch.epoch - found.epoch) * recipe.images_an_epoch(len(images)) - found.seen
        told(epoch, done / seconds)
    model.cpu()
    if processes.is_main_process:
        write_log(checkpoint.with_suffix(".csv"), log)
        save_checkpoint(checkpoint, model, {**record, "final": asdict(log[-1])})
    return Fit(log, found, seconds, done / seconds if seconds else None)


def epoch_in_words(epoch: EpochRecord, epochs: int, rate: float) -> str:
    """An epoch in a line.

    Args:
        epoch: What it came to.
        epochs: How many there are in all.
        rate: Images a second.
    """
    return (
        f"epoch {epoch.epoch:>{len(str(epochs))}}/{epochs}  loss {epoch.train_loss:.3f}  "
        f"train top-1 {percent(epoch.train_top1)}  val top-1 {percent(epoch.val_top1)}  {images_a_second(rate)}"
    )


def write_log(path: Path, log: list[EpochRecord]) -> None:
    """An epoch a row.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    with (
        writing(path),
        atomic_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.DictWriter(handle, EpochRecord.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else f"{value:.6g}" for name, value in asdict(epoch).items()}
            for epoch in log
        )
