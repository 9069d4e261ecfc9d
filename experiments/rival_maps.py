"""Stage rival_maps: localization maps of a rival, of test and val images, for the label and any predicted class."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

from experiments.mapping import map_seeds
from experiments.params import read_params
from experiments.stage import options
from vitol.cams.registry import load_localizer
from vitol.processes import start


def load(checkpoint: Path, num_classes: int) -> nn.Module:
    """A rival."""
    return load_localizer(checkpoint, num_classes=num_classes)[0]


def main(dataset: str, backbone: str, rival: str) -> None:
    """Make the maps of every seed's checkpoint."""

    def make(
        model: nn.Module, images: Tensor, labels: Tensor, of_class: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and the rival's map: see `experiments.mapping.Explain`."""
        logits, maps = model.localize(images, labels[:, None])  # type: ignore[operator]
        return logits, {rival: maps[:, 0]}

    map_seeds("rival_maps", dataset, backbone, rival, load, make, [rival])


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone", "rival")
    start("experiments.rival_maps", sys.argv[1:], read_params().processes)
    main(*arguments)
