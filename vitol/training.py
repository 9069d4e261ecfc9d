"""Training a classifier: one loop for baseline, control and p-ADL (section 4.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import timm.optim
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from vitol.batches import SharedBatches
from vitol.datasets.images import SplitImages, TrainImages, normalise
from vitol.precision import attention_for, autocast, no_tf32
from vitol.processes import shared_gradients, team
from vitol.recipe import Recipe
from vitol.snapshots import Position, SnapshotError, Snapshots

LOOK_EVERY = 20
"""Steps between two looks at the losses. A look waits for the device, so one at every step would keep it waiting."""

FUSED = ("adam", "adamw", "sgd")
"""Optimizers of timm's factory that are torch's own, with a fused kernel."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to. Percentages in percent; `val_top1` is None without a validation split."""

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float | None

    @classmethod
    def columns(cls) -> list[str]:
        """Names of the fields, in order."""
        return [field.name for field in fields(cls)]


Progress = Callable[[int, int], None]

Objective = Callable[[nn.Module, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""(model, inputs (b, 3, H, W), labels (b,), label smoothing) to the loss of a step and the logits (b, C). It calls the
model once, since several processes share gradients of what a model's `forward` returns. Where images give a label for
every pixel, labels are (b, H, W) and logits (b, C, H, W)."""


def cross_entropy(
    model: nn.Module, inputs: Tensor, labels: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The objective of a plain classifier, as of section 4.3: cross-entropy of the model's logits."""
    logits = model(inputs)
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing), logits


def own_objective(
    model: nn.Module, inputs: Tensor, labels: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The objective of a model that has its own, such as a rival: what the model returns when it is given labels."""
    loss, logits = model(inputs, labels, smoothing)
    return loss, logits


def train(
    model: nn.Module,
    images: TrainImages,
    recipe: Recipe,
    *,
    validation: SplitImages | None = None,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
    objective: Objective = cross_entropy,
) -> Iterator[EpochRecord]:
    """Train a model in place, yielding a record after every epoch.

    The last epoch's weights are the result (section 4.3: "last saved checkpoint"); the validation accuracy
    is logged and chooses nothing. Bit-identical for equal arguments on one CPU with one number of threads,
    interrupted and gone on with or not.
    Every call starts at epoch 0: with the baseline's seed, fine-tuning would see the baseline's first epochs
    again, image by image and crop by crop. Give it another seed, the same for every variant.

    Several processes (`vitol.processes`) share every batch, so the recipe means the same for any number of them:
    equal batches, equal draws of p-ADL, a mean loss over the whole batch, BatchNorm over it (on GPUs; on the CPU one
    process trains a model that has it). Sums are rounded in another order. Where a model has dropout of its own,
    every process draws the same one for its images.

    Args:
        model: A classifier; p-ADL may be in it. It is trained on the device its parameters are on.
        images: Training images; their `epoch` is advanced.
        recipe: The schedule. Its precision is what `vitol.precision.precision_on` makes of it.
        validation: Images to report top-1 on after every epoch.
        seed: Seed of the order of the images, of dropout and of p-ADL's draws.
        workers: Processes that decode images, for each process that trains.
        progress: Called with (images done, images in all) after every step.
        snapshots: Where to go on from, and to leave the state for the next time. Of epochs that were done the
            records are yielded again.
        objective: What a step minimises.

    Yields:
        One record an epoch.

    Raises:
        ValueError: If the loss is not finite (the text says in which epoch and step), or the processes cannot
            share a batch equally, or its statistics.
        SnapshotError: If a snapshot cannot be written, or is not this run's.
    """
    device = next(model.parameters()).device
    processes = team()
    optimizer = create_optimizer(model, recipe, device)
    order = torch.Generator().manual_seed(seed)
    batches = SharedBatches(
        len(images), recipe.batch_size, order, processes.process_index, processes.num_processes
    )
    loader = DataLoader(
        images,
        batch_sampler=batches,
        generator=order,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    torch.manual_seed(seed)
    position = snapshots.restore(model, optimizer, order, device) if snapshots else Position()
    agree_on(position, device)
    yield from (EpochRecord(**record) for record in position.log)
    # Its hooks average gradients over the processes; the parameters stay the model's own.
    parallel = shared_gradients(model)
    each = recipe.images_an_epoch(len(images))
    total = each * recipe.epochs

    def rate_of(epoch: int, step: int) -> float:
        """Learning rate of a step, from 1."""
        return recipe.lr_at(epoch + step / (len(batches) + 1))

    def keep(order_before: Tensor, last: bool = False) -> None:
        """Take a snapshot of the present position, if it is time for one, or the run is over."""
        if snapshots and processes.is_main_process and (last or snapshots.due()):
            snapshots.save(position, model, optimizer, order_before, device)

    for epoch in range(position.epoch, recipe.epochs):
        images.epoch = epoch
        batches.first = position.step
        order_before = order.get_state()
        parallel.train()
        losses = Losses(position)
        for batch, labels in loader:
            for group in optimizer.param_groups:
                group["lr"] = rate_of(epoch, losses.steps + 1)
            labels = labels.to(device, non_blocking=True)
            inputs = normalise(batch.to(device, non_blocking=True))
            optimizer.zero_grad(set_to_none=True)
            with no_tf32():
                with autocast(device, recipe.precision), attention_for(model, device, recipe.precision):
                    loss, logits = objective(parallel, inputs, labels, recipe.label_smoothing)
                loss.backward()
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            losses.add(loss.detach(), logits.detach(), labels)
            if progress:
                progress(epoch * each + losses.steps * each // len(batches), total)
            if losses.steps % LOOK_EVERY == 0:
                losses.look(position)
                keep(order_before)
        losses.look(position)
        val_top1 = top1(model, validation, recipe, workers) if validation else None
        record = EpochRecord(
            epoch + 1,
            rate_of(epoch, len(batches)),
            position.loss_sum / position.seen,
            100 * position.right / position.seen,
            val_top1,
        )
        position = Position(epoch=epoch + 1, log=[*position.log, asdict(record)])
        keep(order.get_state(), last=epoch + 1 == recipe.epochs)
        yield record
    model.eval()


def agree_on(position: Position, device: torch.device) -> None:
    """Refuse to go on where processes have found different snapshots, or only some of them any.

    Raises:
        SnapshotError: In all of them alike.
    """
    here = torch.tensor([[position.epoch, position.step]], device=device)
    found = {tuple(place) for place in team().gather(here).tolist()}
    if len(found) > 1:
        places = ", ".join(f"epoch {epoch} step {step}" for epoch, step in sorted(found))
        raise SnapshotError(
            f"the processes would go on from different places ({places}); give them one folder that all of them see"
        )


class Losses:
    """What the steps of an epoch came to, of all processes; left on the device until it is looked at.

    Args:
        position: Where in the epoch the first step is.
    """

    def __init__(self, position: Position) -> None:
        self.steps = position.step
        self._waiting: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Note a step: mean loss, logits and labels of this process's share of the batch.

        Args:
            loss: A number.
            logits: (b, C), or (b, C, H, W) where every pixel has a label.
            labels: (b,), or (b, H, W); then an image counts by the share of its pixels that are right.
        """
        hits = (logits.argmax(dim=1) == labels).double()
        right = hits.reshape(len(labels), -1).mean(dim=1).sum()
        self._waiting.append(torch.stack([loss.double(), right, torch.full_like(right, len(labels))]))
        self.steps += 1

    def look(self, position: Position) -> None:
        """Add the steps since the last look to a position.

        Raises:
            ValueError: If a loss is not finite, in all processes alike.
        """
        if not self._waiting:
            return
        # (steps, 3). Shares are equal, so the mean over processes of the mean loss is that of the batch.
        found = team().reduce(torch.stack(self._waiting), "sum")
        self._waiting.clear()
        found[:, 0] /= team().num_processes
        for loss, right, seen in found.tolist():
            position.step += 1
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss} in epoch {position.epoch + 1}, step {position.step}; "
                    "lower the learning rate, warm up, or train in fp32"
                )
            position.loss_sum += loss * seen
            position.right += right
            position.seen += int(seen)


def create_optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimizer, with a fused kernel on a GPU where torch has one.

    `experiments/benchmarks/training_step.py` measures it.
    """
    arguments: dict[str, Any] = {
        "opt": recipe.optimizer,
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
    }
    if device.type == "cuda" and recipe.optimizer in FUSED:
        arguments["fused"] = True
    return timm.optim.create_optimizer_v2(model, **arguments)


@torch.no_grad()
def top1(model: nn.Module, images: SplitImages, recipe: Recipe, workers: int = 0) -> float:
    """Top-1 accuracy on a split, in percent; leaves the model in eval mode. Processes share the images."""
    device = next(model.parameters()).device
    processes = team()
    own = Subset(images, range(processes.process_index, len(images), processes.num_processes))
    model.eval()
    right = torch.zeros((), dtype=torch.long, device=device)
    # With a generator of its own: a loader draws a number even when it shuffles nothing, and looking at validation
    # images would change p-ADL's draws of the next epoch.
    loader = DataLoader(
        own, batch_size=4 * recipe.batch_size, num_workers=workers, generator=torch.Generator()
    )
    for batch, labels in loader:
        with no_tf32(), autocast(device, recipe.precision):
            logits: Tensor = model(normalise(batch.to(device)))
        right += (logits.argmax(dim=1) == labels.to(device)).sum()
    return 100 * int(processes.reduce(right, "sum")) / len(images)
