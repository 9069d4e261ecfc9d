"""The same training and maps for any number of processes; test_processes.py runs it with one and with two.

python -m shared_work FOLDER PROCESSES
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from toy import OPTIONS, RECIPE, toy_split, train_toy

from experiments.explain import make
from experiments.mapping import make_maps
from vitol import training
from vitol.chunks import Chunks
from vitol.classifier import train_classifier
from vitol.datasets.images import SplitImages
from vitol.datasets.layout import Layout
from vitol.datasets.splits import Split
from vitol.models import create_model
from vitol.processes import start, team
from vitol.recipe import Recipe
from vitol.snapshots import Snapshots
from vitol.training_inputs import TrainingData

# A step an epoch, so that the epochs' losses are the steps'.
RUNS = {
    "plain": {},
    "MMp": {"padl": "MMp"},
    "MpM": {"padl": "MpM"},
    "per image": {"padl": "MMp", "per_image": True},
}
BROKEN = {"padl": "MpM", "per_image": True}


class Interrupted(Exception):
    """Stands for whatever ends all processes."""


def broken_off(split: Split, folder: Path) -> nn.Module:
    """Train, break off in the middle of an epoch, and go on."""

    def stop(done: int, _: int) -> None:
        if done == 7 * 8:
            raise Interrupted

    resume = folder / f"resume{team().num_processes}"
    with patch.object(training, "LOOK_EVERY", 2):
        with suppress(Interrupted):
            train_toy(split, folder, progress=stop, snapshots=Snapshots(resume, {}, 0), **BROKEN)
        assert Snapshots(resume, {}, 0).position().step == 2
        team().wait_for_everyone()
        return train_toy(split, folder, snapshots=Snapshots(resume, {}, 0), **BROKEN)[0]


def main(folder: Path, out: Path) -> None:
    split = toy_split(folder, write=False)
    recipe = Recipe(**{**RECIPE, "epochs": 20, "batch_size": 32, "decay_every": 15})
    losses, tensors = {}, {}
    for name, arguments in RUNS.items():
        model, log = train_toy(split, folder, recipe=recipe, **arguments)
        losses[name] = [record.train_loss for record in log]
        tensors |= {f"{name} {key}": tensor for key, tensor in model.state_dict().items()}
    several = Recipe(**{**RECIPE, "epochs": 5, "batch_size": 8})
    losses["four steps an epoch"] = [
        record.train_loss for record in train_toy(split, folder, recipe=several)[1]
    ]
    tensors |= {
        f"whole {key}": tensor for key, tensor in train_toy(split, folder, **BROKEN)[0].state_dict().items()
    }
    tensors |= {f"broken off {key}": tensor for key, tensor in broken_off(split, folder).state_dict().items()}
    data = TrainingData("toy", Layout(("dark", "bright"), {"train": split}, folder), "")
    train_classifier(
        "vit_tiny_patch16_224",
        data,
        folder / f"classifier{team().num_processes}.safetensors",
        several,
        position="MMp",
        scratch=True,
        options=OPTIONS,
        resize=18,
        every_seconds=0,
    )
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", 2, options=OPTIONS).eval()
    chunks = Chunks(folder / f"chunks{team().num_processes}", 32, 6)
    make_maps(make, model, SplitImages(split, folder, 16), chunks, 3, 0, "toy")
    team().wait_for_everyone()
    if team().is_main_process:
        out.mkdir()
        (out / "losses.json").write_text(json.dumps(losses))
        save_file(tensors, out / "weights.safetensors")
        np.savez(out / "maps.npz", **chunks.merged())


if __name__ == "__main__":
    start("shared_work", sys.argv[1:], int(sys.argv[2]))
    main(Path(sys.argv[1]), Path(sys.argv[1]) / f"out{sys.argv[2]}")
