"""The end of `make repro`: this run's measurements against the committed copy of the same grid."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from experiments.params import read_params
from experiments.stage import RESULTS, console
from experiments.tabulate import COMMITTED
from vitol.measurements import COLUMNS, read_scores

REFERENCE = COMMITTED / "mini" / "measurements.csv"
CELL = ["dataset", "backbone", "seed"]
KEYS = [name for name in COLUMNS if name not in ("value", "ci_low", "ci_high")]


def differences(ours: pd.DataFrame, reference: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """How this run's measurements compare with the committed ones of the same models.

    Args:
        ours: This run's measurements.
        reference: The committed ones; those of data sets, backbones or seeds that this run does not have are
            left out.
        tolerance: Largest difference that counts as equal, in percentage points.

    Returns:
        One row a measurement, with `value_ours`, `value_reference`, `difference` and `verdict`: "identical",
        "close", "beyond", or "only ours" and "only committed" where the other has no such measurement.
    """
    run = set(ours[CELL].itertuples(index=False, name=None))
    kept = [key in run for key in reference[CELL].itertuples(index=False, name=None)]
    known = set(reference[CELL].itertuples(index=False, name=None))
    shared = [key in known for key in ours[CELL].itertuples(index=False, name=None)]
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


def main() -> None:
    """Print how this run compares; say so when the committed copy is of another grid."""
    tolerance = read_params().tolerance
    if not REFERENCE.is_file():
        console.print(
            f"Nothing to compare: there is no {REFERENCE}; `python -m experiments.publish mini` makes it."
        )
        return
    compared = differences(read_scores(RESULTS / "measurements.csv"), read_scores(REFERENCE), tolerance)
    if compared.empty:
        console.print(f"Nothing to compare: {REFERENCE} has no model of this grid.")
        return
    counts = ", ".join(f"{count} {verdict}" for verdict, count in compared["verdict"].value_counts().items())
    console.print(f"Against {REFERENCE}, tolerance {tolerance:g} points: {counts}.")
    listed = compared[~compared["verdict"].isin(["identical", "close"])]
    if len(listed):
        table = Table("subset", "variant", "map", "preset", "metric", "ours", "committed", "verdict")
        for row in listed.to_dict("records"):
            names = (
                row["subset"],
                f"{row['variant']} {row['position']}",
                row["map"],
                row["preset"],
                row["metric"],
            )
            numbers = (f"{row['value_ours']:.2f}", f"{row['value_reference']:.2f}")
            table.add_row(*names, *numbers, row["verdict"])
        console.print(table)


if __name__ == "__main__":
    main()
