"""Stage explain: localization maps of the test images, for the ground-truth and the predicted class."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from experiments.inputs import classes, images_root
from experiments.names import MAP_FILES
from experiments.params import read_params
from experiments.stage import checkpoint_path, data_folder, maps_folder, options, progress_bar, provenance
from vitol.datasets.images import SplitImages
from vitol.datasets.splits import read_split
from vitol.maps import Method, explain
from vitol.models import describe_device, find_device, load_checkpoint

METHODS = {
    file: Method.of("ar" if name == "AR" else "gar", "release" if preset == "release" else "paper")
    for (name, preset), file in reversed(MAP_FILES.items())
}


def make_maps(
    model: torch.nn.Module, images: SplitImages, batch_size: int, label: str
) -> dict[str, np.ndarray]:
    """Logits (n, C), and every method's maps (n, h, w) for the label and for the predicted class.

    The predicted class's maps are those of the label where the two agree; only the others are made again.
    """
    parts: dict[str, list[np.ndarray]] = {}
    device = next(model.parameters()).device
    methods = list(METHODS.values())
    with progress_bar() as bar:
        task = bar.add_task(f"maps {label}", total=len(images))
        for batch, labels in DataLoader(images, batch_size=batch_size):
            batch, labels = batch.to(device), labels.to(device)
            explanation = explain(model, batch, labels, methods)
            predicted = [maps.clone() for maps in explanation.maps]
            wrong = (explanation.logits.argmax(dim=1) != labels).nonzero().flatten()
            if len(wrong):
                for maps, again in zip(
                    predicted, explain(model, batch[wrong], None, methods).maps, strict=True
                ):
                    maps[wrong] = again
            named = {"logits": explanation.logits, **dict(zip(METHODS, explanation.maps, strict=True))}
            named |= {f"{name}-predicted": maps for name, maps in zip(METHODS, predicted, strict=True)}
            for name, tensor in named.items():
                parts.setdefault(name, []).append(tensor.float().cpu().numpy())
            bar.advance(task, len(batch))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def save_arrays(arrays: dict[str, np.ndarray], folder: Path) -> None:
    """Write a folder of `.npy` files in place of what was there, all or nothing."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array, allow_pickle=False)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def main(dataset: str, backbone_name: str, model_name: str) -> None:
    """Make the maps of every seed's checkpoint."""
    params = read_params()
    config = {"maps": list(METHODS), "seeds": params.seeds, "batch_size": params.explain.batch_size}
    name = f"explain-{dataset}-{backbone_name}-{model_name}"
    with provenance(name, **config) as facts:
        facts["device"] = describe_device()
        size = params.backbones[backbone_name].image_size
        root = images_root(dataset, params.grid.datasets[dataset])
        images = SplitImages(read_split(data_folder(dataset) / "test"), root, size)
        for seed in params.seeds:
            checkpoint = checkpoint_path(dataset, backbone_name, model_name, seed)
            model, _ = load_checkpoint(checkpoint, num_classes=len(classes(dataset)))
            arrays = make_maps(model.to(find_device()), images, params.explain.batch_size, model_name)
            save_arrays(arrays, maps_folder(dataset, backbone_name, model_name) / f"seed{seed}")


if __name__ == "__main__":
    main(*options(__doc__, "dataset", "backbone", "model"))
