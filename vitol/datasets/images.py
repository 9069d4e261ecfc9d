"""Images of a split as tensors, with the protocol's transforms: protocol of [8], section 4.1 of the paper.

Items are bytes, a quarter of what floats would be to hand from process to process and to a GPU; `normalise` makes
a model's input of a batch of them, where the model is. It is a third of an image's way on one core.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as F

from vitol.datasets.splits import Split

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class SplitImages(Dataset[tuple[Tensor, int]]):
    """The images of a split, resized straight to the model's input (no crop), bilinear: the test transform.

    Every item is an image (3, S, S), uint8, for `normalise`, and its label.

    Args:
        split: Which images.
        root: The folder their ids start from.
        size: S, the side of the model's input in pixels.
    """

    def __init__(self, split: Split, root: Path, size: int) -> None:
        self.split = split
        self.root = root
        self.size = size

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.split.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and label."""
        image = self.open(index).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return F.pil_to_tensor(image), int(self.split.labels[index])

    def open(self, index: int) -> Image.Image:
        """Decode an image as RGB (a grey one gets three equal channels).

        Raises:
            ValueError: If it is missing or cannot be decoded.
        """
        path = self.root / self.split.ids[index]
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except OSError as error:
            raise ValueError(
                f"{path} cannot be read as an image ({error}); "
                "run `vitol data register` to list all such files"
            ) from error


class TrainImages(SplitImages):
    """The training transform: resize to a square, a random crop of the model's input, a random flip.

    The draw depends on seed, epoch and image alone, so it is the same for any number of workers and for an
    interrupted and resumed run.

    Args:
        split: Which images.
        root: The folder their ids start from.
        size: S, the side of the crop in pixels.
        resize: The side before cropping in pixels, at least S; 256 for 224 in the protocol.
        seed: Seed of the draws.

    Raises:
        ValueError: If resize < size.
    """

    def __init__(self, split: Split, root: Path, size: int, resize: int, seed: int) -> None:
        super().__init__(split, root, size)
        if resize < size:
            raise ValueError(f"images resized to {resize} have no crop of {size}; give resize >= size")
        self.resize = resize
        self.seed = seed
        self.epoch = 0

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and label."""
        left, top, flip = self.draw(index)
        image = self.open(index).resize((self.resize, self.resize), Image.Resampling.BILINEAR)
        image = image.crop((left, top, left + self.size, top + self.size))
        return F.pil_to_tensor(ImageOps.mirror(image) if flip else image), int(self.split.labels[index])

    def draw(self, index: int) -> tuple[int, int, bool]:
        """Left and top of the crop, and whether to flip, for an image in the current epoch."""
        generator = np.random.default_rng((self.seed, self.epoch, index))
        left, top = generator.integers(0, self.resize - self.size, size=2, endpoint=True)
        return int(left), int(top), bool(generator.random() < 0.5)


def normalise(images: Tensor) -> Tensor:
    """Bytes to a model's input, with ImageNet's mean and standard deviation, on the device that they are on.

    Args:
        images: RGB, (..., 3, H, W), uint8.

    Returns:
        The same shape, float32.
    """
    mean, std = _statistics(images.device)
    return F.to_dtype(images, torch.float32, scale=True).sub_(mean).div_(std)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation on a device, (3, 1, 1): copied there once, since a copy makes a GPU wait."""
    return torch.tensor(MEAN, device=device)[:, None, None], torch.tensor(STD, device=device)[:, None, None]
