"""Pixel masks of images, read when they are asked for: what they have in common, wherever they lie.

A mask is uint8 (H, W): 1 object, 0 background, 255 left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vitol.datasets.faults import Fault
from vitol.pxap import IGNORED

PLAIN_MODES = ("1", "L", "I", "I;16", "F")  # one number a pixel, taken as it is


class BadMask(ValueError):
    """A mask that cannot be used; it carries the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_pixels(path: Path, where: str, image: str) -> np.ndarray:
    """One number a pixel of a picture of a mask; colours are turned to grey.

    Args:
        path: The picture.
        where: It, in a fault.
        image: Id of the image whose mask it is.

    Raises:
        BadMask: If it is missing, or cannot be decoded.
    """
    try:
        with Image.open(path) as picture:
            plain = picture if picture.mode in PLAIN_MODES else picture.convert("L")
            return np.asarray(plain)
    except FileNotFoundError as error:
        raise BadMask(Fault(where, "no such file", "restore the mask", image)) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadMask(Fault(where, "cannot be decoded", "write it again as PNG", image)) from error


class Masks(ABC):
    """Masks of images, read when they are asked for, by any thread; faults are kept, not raised.

    In place of a mask at fault there is one that leaves out everything, so that those after it are looked at too.

    Args:
        ids: Of the images, n.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self._faults: dict[int, Fault] = {}

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Mask of an image.

        Raises:
            BadMask: If it cannot be used.
        """

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """Width and height that the mask of an image has."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> np.ndarray:
        """Mask of an image."""
        try:
            return self.read(index)
        except BadMask as error:
            self._faults[index] = error.fault
            return np.full(self.size(index)[::-1], IGNORED, np.uint8)

    @property
    def faults(self) -> list[Fault]:
        """Of the masks read so far, in the order of the images."""
        return [self._faults[index] for index in sorted(self._faults)]
