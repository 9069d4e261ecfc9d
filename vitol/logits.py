"""Which rank a classifier gives the right class, from a file of its logits.

n images, C classes.
"""

from pathlib import Path

import numpy as np

from vitol.map_file import BadMap, read_map


def label_ranks(path: Path, labels: np.ndarray) -> np.ndarray:
    """Rank of every image's label among the logits, 0 for the highest; of equals the lower class comes first.

    So rank 0 is `argmax(logits) == label`, and ranks below 5 are the label among the five first classes.

    Args:
        path: A `.npy` file of real numbers, (n, C), a row an image in the order of `image_ids.txt`.
        labels: Class of each image from 0, (n,).

    Returns:
        int64 in [0, C), (n,).

    Raises:
        ValueError: If the file is no such array, or has fewer classes than the labels; the text says so.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "logits.npy", [[0.1, 0.7, 0.2], [0.5, 0.4, 0.4]])
    ...     label_ranks(Path(folder) / "logits.npy", np.array([2, 2]))
    array([1, 2])
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
    bad = np.argwhere(~np.isfinite(logits))
    if len(bad):
        raise ValueError(
            f"{path}[{bad[0][0]}, {bad[0][1]}] is not finite; the model's output cannot be ranked"
        )
    own = logits[np.arange(len(labels)), labels][:, None]
    before = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(axis=1)
