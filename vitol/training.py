"""Training a classifier: one loop for baseline, control and p-ADL (section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import timm.optim
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from vitol.datasets.images import SplitImages, TrainImages
from vitol.models import unfused_attention
from vitol.recipe import Recipe


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


def train(
    model: nn.Module,
    images: TrainImages,
    recipe: Recipe,
    *,
    validation: SplitImages | None = None,
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Iterator[EpochRecord]:
    """Train a model in place, yielding a record after every epoch.

    The last epoch's weights are the result (section 4.3: "last saved checkpoint"); the validation accuracy
    is logged and chooses nothing. Bit-identical for equal arguments on one CPU with one number of threads.
    Every call starts at epoch 0: with the baseline's seed, fine-tuning would see the baseline's first epochs
    again, image by image and crop by crop. Give it another seed, the same for every variant.

    Args:
        model: A classifier; p-ADL may be in it. It is trained on the device its parameters are on.
        images: Training images; their `epoch` is advanced.
        recipe: The schedule.
        validation: Images to report top-1 on after every epoch.
        seed: Seed of the order of the images, of dropout and of p-ADL's draws.
        workers: Processes that decode images.
        progress: Called with (images done, images in all) after every step.

    Yields:
        One record an epoch.

    Raises:
        ValueError: If the loss is not finite; the text says in which epoch and step.
    """
    device = next(model.parameters()).device
    optimizer = timm.optim.create_optimizer_v2(
        model, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        images,
        batch_size=recipe.batch_size,
        shuffle=True,
        generator=order,
        num_workers=workers,
        drop_last=len(images) > recipe.batch_size,
        pin_memory=device.type == "cuda",
    )
    total = len(loader) * recipe.batch_size * recipe.epochs
    done = 0
    torch.manual_seed(seed)
    for epoch in range(recipe.epochs):
        images.epoch = epoch
        model.train()
        loss_sum, right, seen = 0.0, 0, 0
        for step, (batch, labels) in enumerate(loader):
            rate = recipe.lr_at(epoch + (step + 1) / (len(loader) + 1))
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch, labels = batch.to(device), labels.to(device)
            with autocast(device, recipe.precision), attention_for(model, device):
                logits = model(batch)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} in epoch {epoch + 1}, step {step + 1}; "
                    "lower the learning rate, warm up, or train in fp32"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += int((logits.argmax(dim=1) == labels).sum())
            seen += len(labels)
            done += recipe.batch_size
            if progress:
                progress(done, total)
        val_top1 = top1(model, validation, recipe) if validation else None
        yield EpochRecord(epoch + 1, rate, loss_sum / seen, 100 * right / seen, val_top1)
    model.eval()


@torch.no_grad()
def top1(model: nn.Module, images: SplitImages, recipe: Recipe) -> float:
    """Top-1 accuracy on a split, in percent; leaves the model in eval mode."""
    device = next(model.parameters()).device
    model.eval()
    right = 0
    for batch, labels in DataLoader(images, batch_size=4 * recipe.batch_size):
        with autocast(device, recipe.precision):
            logits: Tensor = model(batch.to(device))
        right += int((logits.argmax(dim=1).cpu() == labels).sum())
    return 100 * right / len(images)


def attention_for(model: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Unfused attention on the CPU, where the fused kernel's backward pass is slow in bfloat16.

    `experiments/benchmarks/training_step.py` measures it: 1.8 times slower a step on two cores of a Zen 4.
    """
    return unfused_attention(model) if device.type == "cpu" else nullcontext()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to bfloat16 for precision "bf16", none for "fp32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
