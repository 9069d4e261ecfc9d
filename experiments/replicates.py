"""Bootstrap replicates of measurements as a file, so that models of different stages can be compared in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from vitol.accuracy import Measurement

FILE = "replicates.npz"
KEYS = ["seed", "subset", "map", "metric", "policy"]


def write_replicates(frame: pd.DataFrame, folder: Path) -> None:
    """Keep measurements with their replicates, rounded to float32.

    Args:
        frame: Rows with KEYS and the fields of a `Measurement`.
        folder: Where to.
    """
    np.savez_compressed(
        folder / FILE,
        keys=frame[KEYS].astype(str).to_numpy(dtype=np.str_),
        n_images=frame["n_images"].to_numpy(),
        value=frame["value"].to_numpy(),
        replicates=np.stack(frame["replicates"].tolist()).astype(np.float32),
    )


def read_replicates(folder: Path) -> dict[tuple[str, ...], Measurement]:
    """What `write_replicates` kept, by KEYS; without intervals and thresholds, which stand elsewhere."""
    with np.load(folder / FILE, allow_pickle=False) as kept:
        parts = [kept[name] for name in ("keys", "n_images", "value", "replicates")]
    found: dict[tuple[str, ...], Measurement] = {}
    for key, n_images, value, replicates in zip(*parts, strict=True):
        seed, subset, name, metric, policy = (str(text) for text in key)
        found[seed, subset, name, metric, policy] = Measurement(
            metric, policy, float(value), np.nan, np.nan, int(n_images), None, replicates.astype(np.float64)
        )
    return found
