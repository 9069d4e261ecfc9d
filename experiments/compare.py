"""The end of `make repro`: this run's measurements against the committed copy of the same grid."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from experiments.params import read_params
from experiments.stage import RESULTS, console
from experiments.tabulate import COMMITTED
from vitol.measurements import COLUMNS, read_scores

REFERENCE = COMMITTED / "mini" / "measurements.csv"
KEYS = [name for name in COLUMNS if name not in ("value", "ci_low", "ci_high")]


def differences(ours: pd.DataFrame, reference: pd.DataFrame, tolerance: float) -> tuple[pd.DataFrame, int]:
    """What of the reference this run did not reproduce.

    Args:
        ours: This run's measurements.
        reference: The committed ones.
        tolerance: Largest difference that counts as equal, in percentage points.

    Returns:
        The rows beyond the tolerance, with columns `value_ours`, `value_reference`, `difference`, largest
        first, and the number of rows that both have.
    """
    both = ours.merge(reference, on=KEYS, suffixes=("_ours", "_reference"))
    both["difference"] = both["value_ours"] - both["value_reference"]
    beyond = both[both["difference"].abs() > tolerance]
    order = beyond["difference"].abs().sort_values(ascending=False, kind="stable").index
    return beyond.loc[order], len(both)


def main() -> None:
    """Print how this run compares; say so when the committed copy is of another grid."""
    tolerance = read_params().tolerance
    ours, reference = read_scores(RESULTS / "measurements.csv"), read_scores(REFERENCE)
    beyond, shared = differences(ours, reference, tolerance)
    if not shared:
        console.print(f"Nothing to compare: {REFERENCE} has no row of this grid.")
        return
    identical = ours.merge(reference, on=COLUMNS)
    console.print(
        f"Against {REFERENCE}: {shared} measurements in common, {len(identical)} identical, "
        f"{len(beyond)} beyond the tolerance of {tolerance:g} points."
    )
    if len(beyond):
        table = Table("subset", "variant", "map", "preset", "metric", "ours", "committed", "difference")
        for row in beyond.to_dict("records"):
            names = (
                row["subset"],
                f"{row['variant']} {row['position']}",
                row["map"],
                row["preset"],
                row["metric"],
            )
            numbers = (row["value_ours"], row["value_reference"], row["difference"])
            table.add_row(*names, *(f"{number:.2f}" for number in numbers))
        console.print(table)


if __name__ == "__main__":
    main()
