"""The numbers that the paper printed: one tidy file a table, each row with its place in the paper.

`published/table1.csv` to `table4.csv` hold the tables, `release.csv` what the README of the paper's released code adds.
They are package data: an installed vitol has them, too.
"""

from pathlib import Path

import pandas as pd

from vitol.measurements import read_scores

PUBLISHED = Path(__file__).parent / "published"
TABLES = (1, 2, 3, 4)


def read_published(number: int) -> pd.DataFrame:
    """What one of the paper's tables prints, a row a number, with the columns that `vitol.tables` needs.

    Args:
        number: One of `TABLES`.
    """
    return read_scores(PUBLISHED / f"table{number}.csv")


def read_all_published() -> pd.DataFrame:
    """What the four tables and the README of the released code print, a row a number."""
    return pd.concat([read_scores(path) for path in sorted(PUBLISHED.glob("*.csv"))], ignore_index=True)
