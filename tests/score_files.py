"""Small folders of maps and metadata to score."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vitol.datasets.splits import Split, make_split, write_split

SIZES = ((40, 30), (30, 50), (64, 64), (33, 21))


def small_split(images: int, name: str = "test", seed: int = 0) -> Split:
    """A split of images of several sizes, with one to three boxes each and four classes."""
    rng = np.random.default_rng(seed)
    sizes = [SIZES[index % len(SIZES)] for index in range(images)]
    boxes = []
    for index, (width, height) in enumerate(sizes):
        near = rng.integers(0, (width // 3, height // 3), (1 + index % 3, 2))
        far = near + rng.integers(5, (width // 2, height // 2), near.shape)
        boxes.append([tuple(box) for box in np.hstack([near, far]).tolist()])
    return make_split(
        [f"{name}/{index:02}.jpg" for index in range(images)], [i % 4 for i in range(images)], sizes, boxes
    )


def write_maps(folder: Path, split: Split, noise: float = 0.3, seed: int = 0) -> Path:
    """Maps of 14 x 14 that are high where the boxes are, more or less so, one file an image."""
    rng = np.random.default_rng(seed)
    for image, size, boxes in zip(split.ids, split.sizes, split.boxes, strict=True):
        inside = np.zeros((14, 14), np.float32)
        for box in boxes:
            x0, y0, x1, y1 = (box / np.tile(size, 2) * 14).round().astype(int)
            inside[y0 : y1 + 1, x0 : x1 + 1] = 1
        values = cv2.GaussianBlur(inside, (5, 5), 0) + noise * rng.random((14, 14), dtype=np.float32)
        path = folder / f"{image}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
    return folder


def write_two_methods(split: Split) -> None:
    """The metadata `test`, and the maps of two methods, `good` and `poor`, in the current folder."""
    write_metadata(Path("test"), split)
    write_maps(Path("good"), split)
    write_maps(Path("poor"), split, noise=3, seed=1)


def write_masks(folder: Path, split: Split) -> Path:
    """The boxes of a split as pixel masks."""
    for image, (width, height), boxes in zip(split.ids, split.sizes.tolist(), split.boxes, strict=True):
        mask = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in boxes.astype(int):
            mask[y0:y1, x0:x1] = 255
        path = (folder / image).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return folder


def write_logits(path: Path, split: Split, classes: int = 6, seed: int = 0) -> Path:
    """Logits of a classifier that is right more often than not."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(split), classes))
    logits[np.arange(len(split)), split.labels] += 2
    np.save(path, logits.astype(np.float32))
    return path


def write_metadata(folder: Path, split: Split) -> Path:
    """The text files of a split."""
    write_split(split, folder)
    return folder
