# %% [markdown]
# # Tables 1-4: the paper's numbers beside ours
#
# **The paper** compares ViTOL with other methods (Tables 1 and 2), without and with p-ADL (3), and with p-ADL in two
# places (4). **Here** are its numbers and ours, with 95% intervals; nothing is measured here, `results/` is read.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

import pandas as pd
from IPython.display import Image, display

from experiments.plot import FIGURES
from experiments.stage import RESULTS
from vitol.measurements import read_scores
from vitol.paper import TABLES, read_published
from vitol.slope_figure import SLOPES
from vitol.tables import NOT_RUN, build_table

measurements = read_scores(RESULTS / "measurements.csv")
tables = {number: build_table(number, measurements, read_published(number)) for number in TABLES}

# %% [markdown]
# Every number with its interval; `not run` where nobody ran it. Columns in which nobody ran anything are left out.

# %%
with pd.option_context("display.max_columns", None):
    for table in tables.values():
        frame = table.frame
        display(table.title, frame.loc[:, ~frame.isin(["", NOT_RUN]).all()])

# %% [markdown]
# The same at a glance.

# %%
for number in tables:
    display(Image(FIGURES / f"table{number}.png"))

# %% [markdown]
# What p-ADL changes, and what its place changes: the paper's slopes beside ours.

# %%
for number in SLOPES:
    display(Image(FIGURES / f"table{number}-slopes.png"))

# %% [markdown]
# **Shown:** a difference to the paper stands only where data set, size and backbone are the paper's; and the paper's
# numbers in the tables are those of `vitol/published`, all of them, each with its source.

# %%
for number, table in tables.items():
    shown = table.cells[table.cells["difference"].notna()]
    assert shown["of_paper"].all() and shown["n_images"].isin([5_794, 50_000]).all()
    published = read_published(number)
    assert set(table.cells["paper"].dropna()) == set(published["value"].dropna())
    assert (published["source"] != "").all()
