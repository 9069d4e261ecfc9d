"""A training schedule: everything a run depends on besides model, data and seed (section 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict


@dataclass(frozen=True)
class Recipe:
    """A training schedule; rates decay in steps, as in the paper.

    Attributes:
        epochs: Passes over the training images.
        lr: Learning rate at the start.
        decay_every: Epochs after which the learning rate is multiplied by `decay_factor`, again and again.
        decay_factor: See `decay_every`; 0.1 in the paper.
        warmup_epochs: Epochs over which the rate rises linearly from zero (0: none, as in the paper).
        weight_decay: Weight decay; 0 in the paper.
        batch_size: Images a step (the paper does not say).
        optimizer: A name of timm's optimiser factory (the paper does not say).
        precision: "bf16" for bfloat16 autocast (float32 on a device without it), or "fp32".
        label_smoothing: Of the cross-entropy; 0 in the paper.
        clip_norm: Largest gradient norm; 0 for no clipping.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epochs: int
    lr: float
    decay_every: int
    decay_factor: float
    warmup_epochs: float
    weight_decay: float
    batch_size: int
    optimizer: str
    precision: Literal["bf16", "fp32"]
    label_smoothing: float
    clip_norm: float

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        for name in ("epochs", "lr", "decay_every", "decay_factor", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} in a training recipe; it must be above 0")
        for name in ("warmup_epochs", "weight_decay", "label_smoothing", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"{name} = {getattr(self, name)} in a training recipe; it must not be negative"
                )
        if self.precision not in ("bf16", "fp32"):
            raise ValueError(f"precision {self.precision!r} is unknown; choose bf16 or fp32")

    def images_an_epoch(self, images: int) -> int:
        """How many of some images an epoch sees: an incomplete last batch is left out, unless it is the only one."""
        return max(images // self.batch_size * self.batch_size, min(images, self.batch_size))

    def lr_at(self, moment: float) -> float:
        """Learning rate at a moment of training, in epochs from the start, in (0, epochs).

        Rises with the warm-up, then stays until the next multiple of `decay_every`.
        """
        rate = self.lr * self.decay_factor ** math.floor(moment / self.decay_every)
        return rate * min(1.0, moment / self.warmup_epochs) if self.warmup_epochs else rate
