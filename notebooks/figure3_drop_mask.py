# %% [markdown]
# # Figure 3: the patch drop mask after every encoder block
#
# **The paper** shows which patches of a crane the drop mask of p-ADL drops after each of the first five blocks, dark
# where dropped: first a small part of the bird, then more and more of it, until little of the object is left.
#
# **Here** every block of the model with p-ADL drops what its mask says (in training it does so three times out of four,
# by the paper's drop rate), so that each block sees what the ones before it left. The images are spread over the test
# split, chosen without looking.

# %%
import os
from pathlib import Path

# Wherever the notebook is opened, it reads the project's results.
os.chdir(next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "params.yaml").is_file()))

import numpy as np
import pandas as pd
import torch
from IPython.display import Image

from experiments.examples import Examples, png
from experiments.names import MODELS
from experiments.params import read_params
from vitol.checkpoints import load_checkpoint
from vitol.datasets.images import SplitImages, normalise
from vitol.drop_mask_figure import drop_mask_figure
from vitol.drop_masks import block_drop_masks, patches_in_boxes
from vitol.tokens import prefix_tokens

params = read_params()
examples = Examples.for_notebooks(params)
position, padl = MODELS[examples.padl].position or "MMp", params.padl
chosen = examples.spread(32)
images = SplitImages(examples.split, examples.root, params.backbones[examples.backbone].image_size)
batch = normalise(torch.stack([images[index][0] for index in chosen]))
model, _ = load_checkpoint(examples.checkpoint[examples.padl])
masks = block_drop_masks(
    model, batch, position, drop_threshold=padl.drop_threshold, class_token=padl.class_token
)

# %%
shown = list(range(0, len(chosen), max(1, len(chosen) // 4)))[:4]
caption = (
    f"{examples.origin}, {MODELS[examples.padl].title}, lambda {padl.drop_threshold:g}. Dark: dropped, with "
    "the number of dropped patches below. Green: the true boxes, which the model never sees."
)
Image(
    png(
        lambda path: drop_mask_figure(
            [examples.bare(chosen[at]) for at in shown], masks.patches[shown].numpy(), path, caption
        )
    )
)

# %% [markdown]
# The paper's reading is that the mask drops the discriminative parts of the object. If so, dropped patches lie on the
# object more often than patches do by chance, that is, by the part of all patches whose centre lies in a true box:

# %%
dropped = ~masks.patches.numpy()
truth = [
    patches_in_boxes(examples.split.boxes[i], examples.split.sizes[i], dropped.shape[2:]) for i in chosen
]
on_object = dropped & np.stack(truth)[:, None]
counts = dropped.sum(axis=(0, 2, 3))
pd.DataFrame(
    {
        f"dropped patches an image (n={len(chosen)})": (counts / len(chosen)).round(1),
        "of them on the object, %": (100 * on_object.sum(axis=(0, 2, 3)) / counts.clip(1)).round(1),
        "by chance, %": round(100 * float(np.mean(truth)), 1),
        "images without a dropped patch": (~dropped.any(axis=(2, 3))).sum(axis=0),
        "images that drop the class token": (~masks.kept[:, :, 0].numpy()).sum(axis=0),
    },
    index=pd.RangeIndex(1, 1 + len(counts), name="block"),
)

# %% [markdown]
# A block drops nothing where the highest mean activation is negative: lambda times it then lies above it (Eq. 5).
#
# **Shown:** a token is dropped if and only if its mean activation is at least lambda times the image's maximum.

# %%
first = 0 if padl.class_token else prefix_tokens(model)
means, kept = masks.means.numpy()[:, :, first:], masks.kept.numpy()[:, :, first:]
assert np.array_equal(~kept, means >= padl.drop_threshold * means.max(axis=2, keepdims=True))
assert masks.kept.numpy()[:, :, :first].all()
