"""Training as the stages baseline, finetune and rival do it: data in, checkpoint and epoch log out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from experiments.inputs import images_root
from experiments.params import Params
from experiments.resume import Resume, code_digest, data_digest
from experiments.stage import console, data_folder, package_versions, progress_bar
from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.splits import read_split
from vitol.fitting import epoch_in_words, full_record, run_settings
from vitol.fitting import fit as train_and_save
from vitol.models import describe_device
from vitol.processes import team
from vitol.recipe import Recipe
from vitol.snapshots import Snapshots
from vitol.training import EpochRecord, Objective, cross_entropy


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
    instead: TrainImages | None = None,
    objective: Objective = cross_entropy,
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
        instead: Other images than the train split's; there is no validation then.
        objective: What a step minimises.

    Returns:
        Device, processes, throughput and wall time of the training, for the provenance; and where it went on from,
        if it did.
    """
    folder, root = data_folder(dataset), images_root(dataset, params.grid.datasets[dataset])
    sides = params.backbones[backbone]
    validation = None
    if instead is not None:
        images = instead
    else:
        images = TrainImages(read_split(folder / "train"), root, sides.image_size, sides.resize, draws)
        if (folder / "val").exists():
            validation = SplitImages(read_split(folder / "val"), root, sides.image_size)
    made = full_record(record, recipe, seed, draws)
    if made["precision"] != recipe.precision:
        console.print(f"{describe_device()} has no bfloat16 in hardware: training in float32")
    name = checkpoint.parent.name
    kept, settings = resume.folder(
        f"{dataset}-{backbone}-{name}-seed{seed}",
        run_settings(
            made, model, images, data=data_digest(dataset), code=code_digest(), packages=package_versions()
        ),
    )
    snapshots = Snapshots(kept, settings, params.snapshots.every_seconds)
    found = snapshots.position()
    if found.epoch or found.step:
        console.print(f"{name} seed {seed} goes on after {found.epoch} epochs and {found.step} steps")

    def say(epoch: EpochRecord, rate: float) -> None:
        console.print(f"{name} seed {seed} {epoch_in_words(epoch, recipe.epochs, rate)}")

    with progress_bar() as bar:
        task = bar.add_task(name, total=None)
        came_to = train_and_save(
            model,
            images,
            recipe,
            checkpoint,
            made,
            snapshots,
            validation=validation,
            workers=params.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            told=say,
            objective=objective,
        )
    rate = came_to.images_per_second
    return {
        "device": describe_device(),
        "processes": team().num_processes,
        "precision": made["precision"],
        "train_seconds": round(came_to.seconds, 1),
        "images_per_second": None if rate is None else round(rate, 1),
        "went_on_after": {"epochs": found.epoch, "steps": found.step},
    }
