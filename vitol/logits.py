"""Which rank a classifier gives the right class, from a file of its logits.

n images, C classes.
"""

from pathlib import Path

import numpy as np

from vitol.map_file import BadMap, read_map


def label_ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rank of every image's label among the logits, 0 for the highest; of equals the lower class comes first.

    So rank 0 is `argmax(logits) == label`, and ranks below 5 are the label among the five first classes.

    Args:
        logits: As `read_logits` gives them, (n, C).
        labels: Class of each image, in [0, C), (n,).

    Returns:
        int64 in [0, C), (n,).

    >>> label_ranks(np.array([[0.1, 0.7, 0.2], [0.5, 0.4, 0.4]]), np.array([2, 2]))
    array([1, 2])
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    before = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(axis=1)


def read_logits(path: Path, labels: np.ndarray) -> np.ndarray:
    """Read logits that go with labels.

    Args:
        path: A `.npy` file of real numbers, (n, C), a row an image in the order of `image_ids.txt`. Negative
            infinity is fine: of a class that was masked out.
        labels: Class of each image from 0, (n,).

    Returns:
        The array, (n, C).

    Raises:
        ValueError: If the file is no such array, has fewer classes than the labels, or holds NaN or positive
            infinity; the text says so.
    """
    needed = f"logits are a .npy array ({len(labels)}, classes), a row an image in the order of image_ids.txt"
    try:
        logits = read_map(path)
    except BadMap as error:
        raise ValueError(f"{path}: {error}; {needed}") from error
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({(error.strerror or 'damaged').lower()}); {needed}"
        ) from error
    if len(logits) != len(labels):
        raise ValueError(f"{path} has shape {logits.shape}; {needed}")
    highest = int(labels.max())
    if highest >= logits.shape[1]:
        raise ValueError(
            f"{path} has {logits.shape[1]} classes, but the labels go up to {highest}; labels count from 0, "
            "and the logits need a column for every class"
        )
    bad = np.argwhere(~(logits < np.inf))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{path}[{row}, {column}] is {logits[row, column]}; logits are numbers, or -inf for a class that was "
            "masked out: with others the model's output cannot be ranked"
        )
    return logits
