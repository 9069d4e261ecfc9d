# %% [markdown]
# # Figure 6: AR, GAR and LRP, without and with p-ADL
#
# **The paper** shows five images of ImageNet with the maps of DeiT-B by AR, GAR and LRP, then the same with p-ADL, and
# finds that GAR and LRP follow the class, are free of noise, and cover the whole object with p-ADL.
#
# **Here** are images spread over the test split, chosen without looking, in the paper's columns. The paper draws the
# box of ViTOL-GAR everywhere; here every map has its own.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

from IPython.display import Image

from experiments.examples import Examples, png
from experiments.names import METHODS, MODELS
from experiments.params import read_params
from experiments.stage import RESULTS
from vitol.measurements import read_scores
from vitol.overlays import overlay_figure
from vitol.tables import headline

examples = Examples.for_notebooks(read_params())
models = dict.fromkeys(["baseline", examples.padl])

# %%
overlays = []
for index in examples.spread(5)[:5]:
    overlays.append(examples.bare(index))
    overlays += [examples.overlay(index, model, name) for model in models for name in METHODS]
caption = examples.caption("Maps for the label.")
Image(png(lambda path: overlay_figure(overlays, path, 1 + len(METHODS) * len(models), caption=caption)))

# %% [markdown]
# What p-ADL changes, against the control that was trained on as long without it, over all seeds; and whether GAR and
# LRP are ahead of AR, as in the paper:

# %%
for name in METHODS:
    print(examples.says((examples.padl, name), ("control", name)))
for name in ("GAR", "LRP"):
    print(examples.says((examples.padl, name), (examples.padl, "AR")))

# %% [markdown]
# **Shown:** these differences are those of the measured values, model by model and map by map, averaged over the seeds.

# %%
scores = read_scores(RESULTS / "measurements.csv")
mine = (scores["dataset"] == examples.dataset) & (scores["backbone"] == examples.backbone)
scores = scores[mine & headline(scores) & (scores["metric"] == "MaxBoxAccV2")]
names = {(model.variant, model.position): name for name, model in MODELS.items()}
scores = scores.assign(model=list(map(names.get, zip(scores["variant"], scores["position"], strict=True))))
means = scores.groupby(["model", "map"])["value"].mean()
differences = examples.differences("MaxBoxAccV2")
ours = differences[["model_a", "model_b"]].isin(list(MODELS)).all(axis=1)  # `means` has no rivals
for row in differences[ours].itertuples():
    assert abs(means[row.model_a, row.map_a] - means[row.model_b, row.map_b] - row.difference) < 0.02
assert ours.sum() >= 6 * len(models)
