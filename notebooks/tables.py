# %% [markdown]
# # Tables 1-4: the paper's numbers beside ours
#
# Run `make repro` first: this notebook trains and measures nothing, it reads `results/`.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Image, display

from vitol.measurements import read_scores
from vitol.paper import read_published
from vitol.tables import build_table

ROOT = next(
    folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "results/measurements.csv").is_file()
)
measurements = read_scores(ROOT / "results" / "measurements.csv")
tables = {number: build_table(number, measurements, read_published(number)) for number in (1, 2, 3, 4)}

# %% [markdown]
# Every number with its interval; `not run` where nobody ran it.

# %%
with pd.option_context("display.max_columns", None, "display.width", 200):
    for table in tables.values():
        display(table.title, table.frame)

# %% [markdown]
# The same at a glance.

# %%
for number in tables:
    display(Image(ROOT / "results" / "figures" / f"table{number}.png"))

# %% [markdown]
# A difference to the paper stands only where data set, size and backbone are the paper's.

# %%
for table in tables.values():
    shown = table.cells[table.cells["difference"].notna()]
    assert shown["of_paper"].all() and (shown["n_images"].isin([5_794, 50_000])).all()
