"""Bootstrap replicates of measurements as files, so that models of different stages can be compared in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from vitol.accuracy import Measurement

TABLE, REPLICATES = "replicates.csv", "replicates.npy"  # no .npz: its bytes depend on Python's version
KEYS = ["seed", "subset", "map", "metric", "policy"]


def write_replicates(frame: pd.DataFrame, folder: Path) -> None:
    """Keep measurements with their replicates, rounded to float32.

    Args:
        frame: Rows with KEYS and the fields of a `Measurement`.
        folder: Where to.
    """
    frame[[*KEYS, "n_images", "value"]].to_csv(folder / TABLE, index=False, lineterminator="\n")
    replicates = np.stack(frame["replicates"].tolist()).astype(np.float32)
    np.save(folder / REPLICATES, replicates, allow_pickle=False)


def read_replicates(folder: Path) -> dict[tuple[str, ...], Measurement]:
    """What `write_replicates` kept, by KEYS; without intervals and thresholds, which stand elsewhere."""
    text = dict.fromkeys(KEYS, "str")
    table = pd.read_csv(folder / TABLE, dtype=text, keep_default_na=False, float_precision="round_trip")
    kept = np.load(folder / REPLICATES, allow_pickle=False).astype(np.float64)
    found: dict[tuple[str, ...], Measurement] = {}
    for row, replicates in zip(table.to_dict("records"), kept, strict=True):
        key = tuple(row[name] for name in KEYS)
        numbers = (row["value"], np.nan, np.nan, row["n_images"], None, replicates)
        found[key] = Measurement(row["metric"], row["policy"], *numbers)
    return found
