# %% [markdown]
# # Figure 5: ViTOL on CUB
#
# **The paper** shows five images of CUB and ViTOL's LRP maps of them: a bird half hidden, one that is camouflaged,
# narrow wings, a thin tail, and a noisy background, each boxed well.
#
# **Here** are ten images spread over the test split, chosen without looking, with LRP and GAR maps of the model with
# p-ADL. The data set is the grid's registered one, such as CUB, or `mini` where the grid has none.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

import pandas as pd
from IPython.display import Image

from experiments.examples import Examples, png
from experiments.params import read_params
from vitol.overlays import overlay_figure

examples = Examples.for_notebooks(read_params())
chosen = examples.spread(10)[:10]

# %%
overlays = []
for row in (chosen[:5], chosen[5:]):
    overlays += [examples.bare(index) for index in row]
    overlays += [examples.overlay(index, examples.padl, name) for name in ("LRP", "GAR") for index in row]
caption = examples.caption("Maps for the label.")
Image(png(lambda path: overlay_figure(overlays, path, columns=5, caption=caption)))

# %% [markdown]
# Ten images are an impression. Of all test images, in percent (definitions in `vitol.failures`):

# %%
became = {name: examples.failures(examples.padl, name) for name in ("AR", "GAR", "LRP")}
pd.DataFrame({name: of_map.shares() for name, of_map in became.items()}).round(1)

# %% [markdown]
# **Shown:** the boxes that are drawn are those that are scored: the part of them that is right is the measured one.

# %%
for name, of_map in became.items():
    assert round(of_map.shares()["right"], 2) == examples.measured(examples.padl, name, "GTKnownLocV1")
