"""Stage explain: localization maps of test and val images, for the ground-truth and the predicted class."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader

from experiments.inputs import classes, images_root
from experiments.names import MAP_FILES, METHODS, OF_CLASS, PREDICTED
from experiments.params import read_params
from experiments.stage import (
    checkpoint_path,
    data_folder,
    mapped_splits,
    maps_folder,
    options,
    progress_bar,
    provenance,
    replaced,
)
from vitol.datasets.images import SplitImages
from vitol.datasets.splits import read_split
from vitol.maps import Method, explain
from vitol.models import describe_device, find_device, load_checkpoint

# Where presets share a file, the first one makes it.
MAPS = {file: Method.of(METHODS[name], preset) for (name, preset), file in reversed(MAP_FILES.items())}


def make_maps(
    model: torch.nn.Module, images: SplitImages, batch_size: int, label: str
) -> dict[str, np.ndarray]:
    """Logits (n, C), and every method's maps (n, h, w) for the label and, where it has one, the predicted class.

    The predicted class's maps are those of the label where the two agree; only the others are made again.
    """
    parts: dict[str, list[np.ndarray]] = {}
    device = next(model.parameters()).device
    of_class = {file: method for file, method in MAPS.items() if file in OF_CLASS}
    with progress_bar() as bar:
        task = bar.add_task(f"maps {label}", total=len(images))
        for batch, labels in DataLoader(images, batch_size=batch_size):
            batch, labels = batch.to(device), labels.to(device)
            explanation = explain(model, batch, labels, list(MAPS.values()))
            named = {"logits": explanation.logits, **dict(zip(MAPS, explanation.maps, strict=True))}
            predicted = {file: named[file].clone() for file in of_class}
            wrong = (explanation.logits.argmax(dim=1) != labels).nonzero().flatten()
            if len(wrong):
                again = explain(model, batch[wrong], None, list(of_class.values())).maps
                for maps, of_wrong in zip(predicted.values(), again, strict=True):
                    maps[wrong] = of_wrong
            named |= {file + PREDICTED: maps for file, maps in predicted.items()}
            for name, tensor in named.items():
                parts.setdefault(name, []).append(tensor.float().cpu().numpy())
            bar.advance(task, len(batch))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def main(dataset: str, backbone_name: str, model_name: str) -> None:
    """Make the maps of every seed's checkpoint."""
    params = read_params()
    config = {"maps": list(MAPS), "seeds": params.seeds, "batch_size": params.explain.batch_size}
    name = f"explain-{dataset}-{backbone_name}-{model_name}"
    with provenance(name, **config) as facts:
        facts["device"] = describe_device()
        size = params.backbones[backbone_name].image_size
        root = images_root(dataset, params.grid.datasets[dataset])
        for seed in params.seeds:
            checkpoint = checkpoint_path(dataset, backbone_name, model_name, seed)
            model, _ = load_checkpoint(checkpoint, num_classes=len(classes(dataset)))
            model = model.to(find_device())
            with replaced(maps_folder(dataset, backbone_name, model_name, seed)) as folder:
                for split in mapped_splits(dataset):
                    images = SplitImages(read_split(data_folder(dataset) / split), root, size)
                    arrays = make_maps(model, images, params.explain.batch_size, f"{model_name} {split}")
                    (folder / split).mkdir()
                    for file, array in arrays.items():
                        np.save(folder / split / f"{file}.npy", array, allow_pickle=False)


if __name__ == "__main__":
    main(*options(__doc__, "dataset", "backbone", "model"))
