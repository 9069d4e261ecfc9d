# %% [markdown]
# # Figure 4: methods side by side
#
# **The paper** shows the maps of VGG16-CAM, ResNet50-ADL, TS-CAM and ViTOL (GAR) on images of ImageNet.
#
# **Here** model and images are the same in every column, and only the way to make a map of them differs: the paper's
# AR, GAR and LRP, and other maps. The maps are those of the sanity check: of the baseline, without p-ADL, for the
# class that it predicts.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

import numpy as np
import pandas as pd
from IPython.display import Image

from experiments.examples import Examples, png
from experiments.names import METHODS
from experiments.params import read_params
from experiments.stage import sanity_folder, scores_folder
from experiments.views import CURVES, method_view
from vitol.methods import ABOUT
from vitol.overlays import overlay_figure
from vitol.score_figure import threshold_figure

params = read_params()
examples = Examples.for_notebooks(params)
folder = sanity_folder(examples.dataset, examples.backbone)
ids = (folder / "images.txt").read_text().splitlines()
maps = {
    name: np.load(folder / f"{name}.npy")[0] for name in params.randomize.methods
}  # of the untouched weights

# %%
overlays = []
for row, image in list(enumerate(ids))[:: max(1, len(ids) // 4)][:4]:
    index = examples.split.ids.index(image)
    overlays.append(examples.bare(index))
    for name, of_method in maps.items():
        title = ABOUT[name].title
        threshold = examples.threshold("baseline", title) if title in METHODS else None
        overlays.append(examples.over(index, of_method[row], title, threshold))
caption = examples.caption("The baseline's maps for the class it predicts; boxes of AR, GAR and LRP alone.")
Image(png(lambda path: overlay_figure(overlays, path, 1 + len(maps), column_width=1.1, caption=caption)))

# %% [markdown]
# A map is judged by its box, and the box by its threshold. Each method needs its own, and none is right for all IoUs:

# %%
scores = scores_folder(examples.dataset, examples.backbone, "baseline")
views = {name: method_view(scores, name, examples.seed) for name in METHODS}
note = f"{examples.origin}, baseline, maps of the label, all contours; thresholds chosen on these images."
title = f"{examples.dataset}, {examples.backbone}: how much depends on the threshold"
Image(png(lambda path: threshold_figure(title, views, path, note)))

# %% [markdown]
# In numbers, over all seeds; the paper has GAR far ahead of AR:

# %%
print(examples.says(("baseline", "GAR"), ("baseline", "AR")))
print(examples.says(("baseline", "LRP"), ("baseline", "AR")))
print(examples.says(("baseline", "GAR"), ("baseline", "Gaussian")))

# %% [markdown]
# **Shown:** the accuracy that is reported is the highest of each curve, and the marks are where it is reached.

# %%
curves = pd.read_csv(scores / CURVES)
for name, view in views.items():
    of_map = curves[(curves["map"] == name) & (curves["seed"] == examples.seed)]
    for delta, threshold in view.thresholds.items():
        curve = of_map[str(delta)].to_numpy()
        (at,) = np.flatnonzero(of_map["threshold"].round(3) == round(threshold, 3))
        assert curve[at] == curve.max()
        assert abs(curve[at] - examples.measured("baseline", name, f"IoU{round(100 * delta)}")) < 0.006
