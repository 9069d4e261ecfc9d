"""Which images of a split a gallery shows: chosen by their place alone, never by what came out."""

import numpy as np

from vitol.datasets.splits import Split


def spread(split: Split, count: int) -> list[int]:
    """Choose images spread evenly over every subset of a split, the same number of each as far as they go.

    Args:
        split: With n images.
        count: How many to choose at most, at least 1.

    Returns:
        Their rows, rising; all n if there are no more than `count`.

    Raises:
        ValueError: If the count is below 1.
    """
    if count < 1:
        raise ValueError(f"{count} images cannot be chosen; give at least 1")
    if len(split) <= count:
        return list(range(len(split)))
    names = np.array(split.subsets or ("",) * len(split))
    groups = sorted(
        (np.flatnonzero(names == name) for name in dict.fromkeys(split.subsets or ("",))), key=len
    )
    chosen: list[int] = []
    for at, group in enumerate(groups):  # small groups first: what they lack goes to the larger ones
        share = min((count - len(chosen)) // (len(groups) - at), len(group))
        chosen += [int(group[len(group) * (2 * k + 1) // (2 * share)]) for k in range(share)]
    return sorted(chosen)
