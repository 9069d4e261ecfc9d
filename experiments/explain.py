"""Stage explain: localization maps of test and val images, for the ground-truth and the predicted class."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

from experiments.mapping import map_seeds
from experiments.names import MAP_FILES, METHODS, OF_CLASS
from experiments.params import read_params
from experiments.stage import options
from vitol.checkpoints import load_checkpoint
from vitol.maps import Method, explain
from vitol.processes import start

# Where presets share a file, the first one makes it.
MAPS = {file: Method.of(METHODS[name], preset) for (name, preset), file in reversed(MAP_FILES.items())}


def load(checkpoint: Path, num_classes: int) -> nn.Module:
    """A model of the grid."""
    return load_checkpoint(checkpoint, num_classes=num_classes)[0]


def make(
    model: nn.Module, images: Tensor, labels: Tensor, of_class: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the maps of all methods, or only of those that ask for a class: see `experiments.mapping.Explain`."""
    wanted = {file: method for file, method in MAPS.items() if file in OF_CLASS or not of_class}
    found = explain(model, images, labels, list(wanted.values()))
    return found.logits, dict(zip(wanted, found.maps, strict=True))


def main(dataset: str, backbone: str, model: str) -> None:
    """Make the maps of every seed's checkpoint."""
    map_seeds("explain", dataset, backbone, model, load, make, list(MAPS))


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone", "model")
    start("experiments.explain", sys.argv[1:], read_params().processes)
    main(*arguments)
