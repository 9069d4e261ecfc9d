"""The masks that a split's `localization.txt` lists, as OpenImages-30k has them.

An image's object is the union of its masks (nonzero pixels). What its ignore file marks is left out, unless it is
object. Masks may have any size: each is scaled to the size asked for, the nearest pixel's value taken, before they
are joined. Source: reference [8] of the paper, `clovaai/wsolevaluation@96f4b88` (`evaluation.py`, `get_mask`). Masks
of 16 bits a pixel differ: there their lower 8 bits are cut off first, so that values below 256 are background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitol.datasets.splits import Split
from vitol.masks import Masks, read_pixels
from vitol.pxap import IGNORED, scale_mask
from vitol.rectangles import SIZE


def joined_mask(
    root: Path, masks: Sequence[str], ignore: str, size: Sequence[int], image: str = ""
) -> np.ndarray:
    """Mask of one image from its files.

    Args:
        root: The folder that their paths start from.
        masks: At least one.
        ignore: What is left out; "" for nothing.
        size: Width and height of the result, in pixels.
        image: The image's id, for faults.

    Returns:
        1 object, 0 background, 255 left out, uint8 (H, W).

    Raises:
        BadMask: If a file is missing or cannot be decoded.
    """

    def marked(file: str) -> np.ndarray:
        return scale_mask(read_pixels(root / file, file, image) > 0.5, size) == 1

    found = np.any([marked(file) for file in masks], axis=0)
    joined = found.astype(np.uint8)
    if ignore:
        joined[marked(ignore) & ~found] = IGNORED
    return joined


class SplitMaskReader(Masks):
    """Masks of a split that lists them.

    Args:
        split: The images; every one needs a mask.
        root: The folder that the masks' paths start from.
        size: Width and height of every mask in pixels, those of the score map if not given.

    Raises:
        ValueError: If the split lists no masks, or the root is not a folder.
    """

    def __init__(self, split: Split, root: Path, size: tuple[int, int] = (SIZE, SIZE)) -> None:
        if len(split.masks) != len(split):
            raise ValueError("the split lists no masks in its localization.txt; give one that does")
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder; give the one that the masks' paths start from")
        super().__init__(split.ids)
        self.split, self.root = split, root
        self._size = size

    def read(self, index: int) -> np.ndarray:
        """Mask of an image, see `joined_mask`."""
        masks, ignore = self.split.masks[index], self.split.ignores[index]
        return joined_mask(self.root, masks, ignore, self._size, self.ids[index])

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of every mask."""
        return self._size
