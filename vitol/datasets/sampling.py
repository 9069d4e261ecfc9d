"""A handful of a data set, to rehearse on what is to run on all of it."""

from dataclasses import replace

import numpy as np

from vitol.datasets.layout import Layout
from vitol.datasets.splits import Split


def sample(layout: Layout, classes: int, images: int, seed: int = 0) -> Layout:
    """Draw some classes, and some images of each from every split; the same arguments draw the same ones.

    Args:
        layout: The data set.
        classes: How many classes, of those with an image in every split. They are numbered from 0 in their order.
        images: How many of a class in a split; all where there are fewer.
        seed: Of the draw, from 0.

    Returns:
        The images that were drawn, in the order of the data set. They stay where they are.

    Raises:
        ValueError: A number is out of range, or too few classes have an image in every split.
    """
    if min(classes, images) < 1 or seed < 0:
        raise ValueError(
            f"{classes} classes, {images} images of each and seed {seed} cannot be drawn; give at least 1 class and "
            "1 image, and a seed from 0"
        )
    splits = {name: split for name, split in layout.splits.items() if len(split)}
    shared = set(range(len(layout.classes))).intersection(
        *(split.labels.tolist() for split in splits.values())
    )
    if len(shared) < classes:
        raise ValueError(
            f"{classes} classes are asked for, and {len(shared)} have an image in each of {', '.join(splits)}; ask "
            "for fewer"
        )
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(sorted(shared), classes, replace=False))

    def some_of(split: Split) -> Split:
        drawn = generator.permutation(len(split))
        keep = np.zeros(len(split), dtype=bool)
        for label in chosen:
            keep[drawn[split.labels[drawn] == label][:images]] = True
        kept = split.select(keep)
        return replace(kept, labels=np.searchsorted(chosen, kept.labels))

    return Layout(
        classes=tuple(layout.classes[label] for label in chosen),
        splits={name: some_of(split) for name, split in splits.items()},
        images=layout.images,
    )
