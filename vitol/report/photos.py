"""The images of a gallery, read from where a split's images lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vitol.datasets.splits import Split
from vitol.rectangles import scaled_truths
from vitol.report.contents import Photo
from vitol.report.pictures import shrunk


def read_photos(split: Split, rows: Sequence[int], root: Path) -> tuple[Photo, ...]:
    """Read some images of a split, no larger than the page shows them.

    Args:
        split: Whose images; each needs a box.
        rows: Which of them.
        root: The folder that the ids start from.

    Raises:
        ValueError: If an image is missing, cannot be decoded or has not the size that the split states.
    """
    chosen = np.array(rows, dtype=np.int64)
    names = [split.ids[row] for row in rows]
    boxes = [split.boxes[row] for row in rows]
    truths = scaled_truths(boxes, split.sizes[chosen], len(rows), names)
    return tuple(
        Photo(
            name=split.ids[row],
            pixels=_read(root, split.ids[row], split.sizes[row]),
            label=int(split.labels[row]),
            truths=truth,
            subset=split.subsets[row] if split.subsets else "",
        )
        for row, truth in zip(rows, truths, strict=True)
    )


def _read(root: Path, name: str, size: np.ndarray) -> np.ndarray:
    """An image as RGB, (H, W, 3) uint8, smaller than it is if it is large."""
    path = root / name
    try:
        with Image.open(path) as image:
            seen, pixels = image.size, np.asarray(shrunk(image))
    except FileNotFoundError as error:
        raise ValueError(
            f"image {name}: {path} does not exist; give the folder that the image ids start from"
        ) from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"image {name}: {path} cannot be decoded ({error}); replace the file") from error
    if seen != tuple(size.tolist()):
        raise ValueError(
            f"image {name}: {path} has {seen[0]} x {seen[1]} pixels, but image_sizes.txt says "
            f"{size[0]} x {size[1]}, which its boxes are in; give the images that the boxes were drawn on"
        )
    return pixels
