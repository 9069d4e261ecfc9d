# %% [markdown]
# # Your own model, your own image
#
# **The paper** has no such figure: this is for you. Ten lines ask a timm model where it sees a class, and box it; put
# your model and your image into the first cell. A model is a timm name (weights from `$VITOL_WEIGHTS` or timm's hub),
# `hf-hub:ORG/NAME`, `local-dir:FOLDER`, or a checkpoint of vitol's.
#
# **Here** it is DeiT-Tiny and a photo of this project. Where its weights are neither in `$VITOL_WEIGHTS` nor in the
# hub's cache and there is no network, it is the pipeline's own baseline and a test image.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

MODEL, PHOTO = "deit_tiny_patch16_224", Path("docs/photos/astronaut.jpg")
CLASSES = ["space shuttle", "crash helmet", "punching bag"]

# %%
import numpy as np
from IPython.display import Image

from experiments.examples import Examples, png
from experiments.params import read_params
from vitol.overlays import overlay_figure
from vitol.photos import Explainer
from vitol.weight_files import CheckpointError

try:
    explainer = Explainer(MODEL)
except CheckpointError as error:
    print(
        f"Without {MODEL}, since its weights are not at hand ({type(error).__name__}): the pipeline's baseline."
    )
    examples = Examples.for_notebooks(read_params())
    (index,) = examples.spread(1)[:1]
    explainer, PHOTO = Explainer(examples.checkpoint["baseline"]), examples.root / examples.split.ids[index]
    CLASSES = np.argsort(-examples.logits("baseline")[index])[:3].tolist()

# %%
results = explainer.explain([PHOTO], classes=CLASSES, method=["ar", "gar", "lrp"])
overlays = [result.overlay() for result in results]
caption = f"{PHOTO.name}, {explainer.name}. Above an image: class, probability, method. Red: the largest contour's box."
Image(png(lambda path: overlay_figure(overlays, path, columns=3, column_width=2.6, caption=caption)))

# %% [markdown]
# A map says where the model would see a class, not whether it is there: read the probability. AR does not know of
# classes and gives one map for all.
#
# Boxes are in pixels of the photo, at a threshold for looking at photos (`vitol.photos.THRESHOLDS`):

# %%
for result in results:
    print(f"{result.label[:30]:30} {result.method:4} {result.threshold:.3f} {result.box.round(1).tolist()}")

# %% [markdown]
# **Shown:** the class that is asked for changes GAR's map and not AR's, and every box lies in the photo.

# %%
maps = {name: [result.map for result in results if result.method == name] for name in ("ar", "gar")}
assert all(np.array_equal(maps["ar"][0], other) for other in maps["ar"][1:])
assert all(not np.array_equal(maps["gar"][0], other) for other in maps["gar"][1:])
for result in results:
    x0, y0, x1, y1 = result.box
    assert 0 <= x0 <= x1 <= result.size[0] and 0 <= y0 <= y1 <= result.size[1]
