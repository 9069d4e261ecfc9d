"""Training a classifier in one call, from a model's name and a data set to a checkpoint; interrupted, it goes on.

data = read_training_data("cub")
train_classifier("deit_tiny_patch16_224", data, Path("cub.safetensors"), SCHEDULES["imagenet"], position="MMp")
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitol.datasets.images import SplitImages, TrainImages
from vitol.fitting import OWN_DRAWS, Fit, Told, fit, full_record, run_settings
from vitol.models import describe_device, start_model
from vitol.padl import Position, insert_padl
from vitol.photo_input import input_size
from vitol.processes import team
from vitol.recipe import Recipe
from vitol.resumption import files_digest, team_lock
from vitol.snapshots import FILE, Snapshots, read_header
from vitol.training import Progress
from vitol.training_inputs import TrainingData
from vitol.weight_files import read_record
from vitol.wording import counted

LIBRARY = Path(__file__).parent
"""The code that a training is known by: all of it, so that it is the same from wherever the training is called."""

COMPUTING = ("torch", "torchvision", "timm", "numpy", "pillow", "accelerate")
"""The packages that it is known by: those that compute."""


def train_classifier(
    name: str,
    data: TrainingData,
    checkpoint: Path,
    recipe: Recipe,
    *,
    position: Position | None = None,
    padl: Mapping[str, Any] | None = None,
    scratch: bool = False,
    options: Mapping[str, Any] | None = None,
    resize: int | None = None,
    seed: int = 0,
    workers: int = 0,
    every_seconds: float = 60.0,
    progress: Progress = lambda *_: None,
    told: Told = lambda *_: None,
    said: Callable[[str], object] = lambda _: None,
) -> Fit:
    """Train a model on a data set, p-ADL in it or not, and write checkpoint, record and log.

    An interrupted call leaves its state in `resume_folder(checkpoint)`, and an equal call goes on from there, on the
    same CPU with the very weights, to the bit, that an uninterrupted one would have had. Then the folder is gone.
    Several processes (torchrun) share the training; the first one writes and tells.

    Args:
        name: Of a model, as `vitol.sources.find_source` takes it.
        data: What to train on.
        checkpoint: The file to write, `.safetensors`; record (`.json`) and log (`.csv`) go beside it.
        recipe: The schedule.
        position: Where p-ADL goes; None for none.
        padl: Further settings of `vitol.padl.insert_padl`.
        scratch: Start from random weights.
        options: Further arguments of the timm model.
        resize: Side of the images before the crop to the model's input; None for 8/7 of that, as 256 is of 224.
        seed: Of everything that is drawn. A run from a vitol checkpoint draws other numbers than the checkpoint's.
        workers: Processes that decode images.
        every_seconds: How often a snapshot is taken, at most.
        progress: Called with (images done, images in all), with those of an earlier call first.
        told: Called after every epoch with its record and the rate.
        said: Called with a line about what is done here.

    Returns:
        What the training came to.

    Raises:
        CheckpointError: If there are no weights, they do not fit, or the checkpoint cannot be written.
        SnapshotError: If what an earlier call left is of other settings.
        ValueError: If an argument is wrong, an image cannot be read, or another call is at the same work.
    """
    first = team().is_main_process
    if not first:
        progress = told = said = _silent
    torch.manual_seed(seed)
    model, record = start_model(name, data.name, data.layout.classes, pretrained=not scratch, options=options)
    if not scratch and name.endswith(".safetensors"):
        record["from"] = read_record(Path(name).expanduser())
    draws = seed + OWN_DRAWS if "from" in record else seed
    train, validation = images_of(model, data, resize, draws)
    record |= variant(position, padl or {}, "from" in record)
    record |= {"data": data.fingerprint, "val_cut": data.val_cut}
    record = full_record(record, recipe, seed, draws)
    said(f"{len(train):,} images of {data.name}, {len(data.layout.classes):,} classes, {describe_device()}")
    if record["precision"] != recipe.precision:
        said("no bfloat16 in hardware: training in float32")
    packages = {each: version(each) for each in COMPUTING}
    code = files_digest(LIBRARY, list(LIBRARY.rglob("*.py")))
    settings = run_settings(record, model, train, data=data.fingerprint, code=code, packages=packages)
    folder = resume_folder(checkpoint)
    with team_lock(folder):
        try:
            snapshots = Snapshots(folder, settings, every_seconds)
            found = snapshots.position()
            if found.epoch or found.step:
                said(f"goes on after {counted(found.epoch, 'epoch')} and {counted(found.step, 'step')}")
            each = recipe.images_an_epoch(len(train))
            progress(found.epoch * each + found.seen, recipe.epochs * each)
            with insert_padl(model, position, **(padl or {})) if position else nullcontext():
                done = fit(
                    model,
                    train,
                    recipe,
                    checkpoint,
                    record,
                    snapshots,
                    validation=validation,
                    workers=workers,
                    progress=progress,
                    told=told,
                )
            team().wait_for_everyone()
            if first:
                shutil.rmtree(folder)
        finally:
            if first and not goes_on(checkpoint):
                shutil.rmtree(folder, ignore_errors=True)
    return done


def _silent(*_: object) -> None:
    """Say nothing: the first process does."""


def resume_folder(checkpoint: Path) -> Path:
    """Where the state of an interrupted training waits."""
    return checkpoint.with_suffix(".resume")


def goes_on(checkpoint: Path) -> bool:
    """Whether an interrupted training of a checkpoint has left a snapshot to go on from."""
    return (resume_folder(checkpoint) / FILE).exists()


def kept_in_words(checkpoint: Path) -> str:
    """What an interrupted training has left, and how to go on with it."""
    folder = resume_folder(checkpoint)
    if not goes_on(checkpoint):
        return "no snapshot was due yet, so nothing was kept; give the same command again"
    position = read_header(folder / FILE)["position"]
    return (
        f"{counted(position['epoch'], 'epoch')} and {counted(position['step'], 'step')} are kept in {folder}; give the "
        "same command again to go on from there, or remove the folder to start anew"
    )


def images_of(
    model: nn.Module, data: TrainingData, resize: int | None, draws: int
) -> tuple[TrainImages, SplitImages | None]:
    """The images to train on and to validate on, of the model's input size."""
    height, width = input_size(model)
    if height != width:
        raise ValueError(
            f"the model takes images of {width}x{height}; training crops squares: give another one"
        )
    root = data.layout.images
    train = TrainImages(data.train, root, width, resize or round(width * 256 / 224), draws)
    return train, None if data.validation is None else SplitImages(data.validation, root, width)


def variant(position: Position | None, padl: Mapping[str, Any], continued: bool) -> dict[str, Any]:
    """What a checkpoint's record says of p-ADL, with the names that the pipeline uses."""
    if position is None:
        return {"variant": "control" if continued else "baseline", "padl": None}
    return {"variant": position.lower(), "padl": {"position": position, **padl}}
