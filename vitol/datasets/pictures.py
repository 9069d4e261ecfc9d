"""The images of `mini`: which birds and surroundings each one shows, in which split and subset.

The head of a bird always tells its class; the plumage of body and tail agrees with it 85% of the time. Test
images come in four subsets, the paper's challenges one by one:

- `plain`: one bird, now and then two of one class, before a textured background;
- `part`: body and tail are always another class's, so that the small head alone tells;
- `multi`: two birds with heads of different colours; boxes and mask are those of the one asked for;
- `clutter`: many branches, leaves, stones and headless bird-coloured blobs behind the bird.

Images for training and validation are `plain` and `clutter`, interleaved. An image depends on seed, split,
subset and its place in the subset alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from vitol.datasets import scenery
from vitol.datasets.drawing import CLASSES, SCALE, Bird, flock, paint

SEED = 20
SPLITS = ("train", "val", "test")
SUBSETS = ("plain", "part", "multi", "clutter")
COUNTS: Mapping[str, Mapping[str, int]] = {
    "train": {"plain": 2800, "clutter": 1200},
    "val": {"plain": 144, "clutter": 56},
    "test": {"plain": 400, "part": 200, "multi": 200, "clutter": 200},
}
AGREEMENT = 0.85  # how often a body, and how often a tail, is its class's
PAIRS = 0.12  # how often a plain image holds two birds of its class


@dataclass(frozen=True)
class Picture:
    """One image and all that is known about it.

    Attributes:
        pixels: (64, 64, 3) uint8 RGB, before JPEG compression.
        label: The class asked for, from 0, an index into `CLASSES`.
        boxes: Of each asked bird's visible pixels, (k, 4) int64, x1 and y1 one past the last pixel.
        mask: The visible pixels of all asked birds, (64, 64) bool.
        subset: Its subset.
        birds: All birds of the image, farthest first.
        asked: Which of them are asked for.
    """

    pixels: np.ndarray
    label: int
    boxes: np.ndarray
    mask: np.ndarray
    subset: str
    birds: tuple[Bird, ...]
    asked: tuple[int, ...]


def draw_image(split: str, subset: str, index: int, seed: int = SEED) -> Picture:
    """Draw one image; its label is `index` modulo the number of classes.

    Args:
        split: "train", "val" or "test".
        subset: "plain", "part", "multi" or "clutter".
        index: Place in the subset, from 0.
        seed: Of the whole data set, from 0.

    Raises:
        ValueError: The split or the subset is not one of those above, or a number is negative.
    """
    for name, names in ((split, SPLITS), (subset, SUBSETS)):
        if name not in names:
            raise ValueError(f"mini has no {name!r}; choose one of {', '.join(names)}")
    if index < 0 or seed < 0:
        raise ValueError(f"index {index} and seed {seed} of {split}/{subset} must be 0 or more")
    rng = np.random.default_rng([seed, SPLITS.index(split), SUBSETS.index(subset), index])
    label = index % len(CLASSES)
    labels, asked = _cast(rng, subset, label)
    birds = flock(rng, labels, agreement=0.0 if subset == "part" else AGREEMENT)
    canvas = scenery.backdrop(rng)
    scenery.litter(canvas, rng, cluttered=subset == "clutter")
    for bird in birds:
        if rng.random() < 0.5:
            scenery.perch(canvas, bird, rng)
    masks = paint(canvas, birds)[list(asked)]
    pixels = scenery.light(np.asarray(canvas.reduce(SCALE)), rng)
    boxes = np.array([_box(mask) for mask in masks], dtype=np.int64)
    return Picture(pixels, label, boxes, np.any(masks, axis=0), subset, tuple(birds), asked)


def _cast(rng: Generator, subset: str, label: int) -> tuple[list[int], tuple[int, ...]]:
    """The classes of an image's birds, farthest first, and which of the birds are asked for."""
    if subset == "multi":
        others = [other for other in range(len(CLASSES)) if other // 2 != label // 2]
        labels = [label, others[int(rng.integers(len(others)))]]
        return (labels, (0,)) if rng.random() < 0.5 else (labels[::-1], (1,))
    if subset == "plain" and rng.random() < PAIRS:
        return [label, label], (0, 1)
    return [label], (0,)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def image_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """(subset, index) of a split's images in the order of their numbers: subsets spread evenly.

    Raises:
        ValueError: A subset is not one of `SUBSETS`.

    >>> image_order({"plain": 3, "clutter": 1})
    [('plain', 0), ('plain', 1), ('clutter', 0), ('plain', 2)]
    """
    if unknown := [subset for subset in counts if subset not in SUBSETS]:
        raise ValueError(f"mini has no {unknown[0]!r}; choose one of {', '.join(SUBSETS)}")
    places = [((k + 0.5) / n, SUBSETS.index(subset), k) for subset, n in counts.items() for k in range(n)]
    return [(SUBSETS[subset], index) for _, subset, index in sorted(places)]
