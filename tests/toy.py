"""A training run that takes a moment: thirty-two images of two classes and a transformer of two blocks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.splits import Split
from vitol.models import create_model
from vitol.padl import Position, insert_padl
from vitol.recipe import Recipe
from vitol.training import EpochRecord, train

OPTIONS = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
RECIPE: dict[str, Any] = {
    "epochs": 3,
    "lr": 3e-3,
    "decay_every": 2,
    "decay_factor": 0.1,
    "warmup_epochs": 0.0,
    "weight_decay": 0.0,
    "batch_size": 8,
    "optimizer": "adamw",
    "precision": "fp32",
    "label_smoothing": 0.0,
    "clip_norm": 1.0,
}


def toy_split(root: Path, write: bool = True) -> Split:
    """Thirty-two images of two classes, dark and bright, with noise."""
    generator = np.random.default_rng(0)
    for index in range(32 if write else 0):
        pixels = generator.normal(60 + 120 * (index % 2), 20, (20, 24, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{index}.png")
    ids = tuple(f"{index}.png" for index in range(32))
    sizes = np.tile([24, 20], (32, 1))
    return Split(ids, np.arange(32) % 2, sizes, tuple(np.zeros((0, 4)) for _ in ids))


def train_toy(
    split: Split,
    root: Path,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    padl: Position | None = None,
    per_image: bool = False,
    **arguments: Any,
) -> tuple[nn.Module, list[EpochRecord]]:
    """Train from seed 0's weights, p-ADL in the model where asked for, and take p-ADL out again."""
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", 2, options=OPTIONS)
    images, validation = TrainImages(split, root, 16, 18, seed), SplitImages(split, root, 16)
    inserted = insert_padl(model, padl, per_image=per_image) if padl else None
    log = list(
        train(model, images, recipe or Recipe(**RECIPE), validation=validation, seed=seed, **arguments)
    )
    if inserted:
        inserted.remove()
    return model, log


def weights(model: nn.Module) -> torch.Tensor:
    """All parameters in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
