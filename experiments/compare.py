"""The end of `make repro` and `make run`: this run's measurements against the committed ones of the same models."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table

from experiments.params import read_params
from experiments.stage import RESULTS, console
from experiments.tabulate import COMMITTED, grid_measurements
from vitol.measurements import COLUMNS, read_scores

MODEL = ["dataset", "backbone", "variant", "position", "seed"]
KEYS = [name for name in COLUMNS if name not in ("value", "ci_low", "ci_high")]
LISTED = 20
FILE = RESULTS / "compared.csv"


def differences(ours: pd.DataFrame, reference: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """How this run's measurements compare with the committed ones of the same models.

    Args:
        ours: This run's measurements.
        reference: The committed ones; those of models, data sets, backbones or seeds that this run does not have
            are left out.
        tolerance: Largest difference that counts as equal, in percentage points.

    Returns:
        One row a measurement, with `value_ours`, `value_reference`, `difference` and `verdict`: "identical",
        "close", "beyond", or "only ours" and "only committed" where the other has no such measurement.
    """
    run = set(ours[MODEL].itertuples(index=False, name=None))
    kept = [key in run for key in reference[MODEL].itertuples(index=False, name=None)]
    known = set(reference[MODEL].itertuples(index=False, name=None))
    shared = [key in known for key in ours[MODEL].itertuples(index=False, name=None)]
    both = ours[shared].merge(
        reference[kept], how="outer", on=KEYS, suffixes=("_ours", "_reference"), indicator=True
    )
    both["difference"] = both["value_ours"] - both["value_reference"]
    apart = both["difference"].abs()
    both["verdict"] = "close"
    both.loc[apart == 0, "verdict"] = "identical"
    both.loc[apart > tolerance, "verdict"] = "beyond"
    both.loc[both["_merge"] == "left_only", "verdict"] = "only ours"
    both.loc[both["_merge"] == "right_only", "verdict"] = "only committed"
    return both.loc[apart.sort_values(ascending=False, kind="stable").index]


def show(compared: pd.DataFrame, run: Path, tolerance: float) -> None:
    """Print how many measurements agree with a committed run's, and the first that do not."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in compared["verdict"].value_counts().items())
    console.print(f"Against {run}, tolerance {tolerance:g} points: {counts}.")
    apart = compared[~compared["verdict"].isin(["identical", "close"])]
    if apart.empty:
        return
    table = Table("subset", "model", "map", "preset", "metric", "policy", "ours", "committed", "verdict")
    for row in apart.head(LISTED).to_dict("records"):
        model = f"{row['variant']} {row['position']}".strip()
        numbers = (f"{row['value_ours']:.2f}", f"{row['value_reference']:.2f}")
        table.add_row(
            row["subset"],
            model,
            *(row[name] for name in ("map", "preset", "metric", "policy")),
            *numbers,
            row["verdict"],
        )
    if len(apart) > LISTED:
        table.caption = f"The furthest {LISTED} of {len(apart)}; all of them: {FILE}"
    console.print(table)


def main() -> None:
    """Compare this run with every committed one that has its models; say so where none has."""
    params = read_params()
    grid = grid_measurements(params)
    committed = {name: read_scores(COMMITTED / name / "measurements.csv") for name in params.committed}
    found = {name: differences(grid, frame, params.tolerance) for name, frame in committed.items()}
    found = {name: frame for name, frame in found.items() if len(frame)}
    for name, frame in found.items():
        show(frame, COMMITTED / name, params.tolerance)
    if found:
        every = pd.concat([frame.assign(run=name) for name, frame in found.items()])
        every.drop(columns="_merge").to_csv(FILE, index=False, lineterminator="\n")
    else:
        runs = ", ".join(committed) or "none"
        console.print(f"Nothing to compare: no committed run ({runs}) has a model of this grid.")


if __name__ == "__main__":
    main()
