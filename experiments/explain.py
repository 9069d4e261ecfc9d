"""Stage explain: localization maps of test and val images, for the ground-truth and the predicted class."""

from __future__ import annotations

import sys
from itertools import chain, islice

import numpy as np
import torch
from torch.utils.data import DataLoader

from experiments.inputs import classes, images_root
from experiments.names import MAP_FILES, METHODS, OF_CLASS, PREDICTED
from experiments.params import read_params
from experiments.resume import code_digest, data_digest, resuming
from experiments.stage import (
    checkpoint_path,
    data_folder,
    mapped_splits,
    maps_folder,
    options,
    package_versions,
    progress_bar,
    provenance,
    replaced,
)
from vitol.chunks import Chunks
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.splits import read_split
from vitol.maps import Method, explain
from vitol.models import describe_device, load_checkpoint
from vitol.processes import start, team
from vitol.weight_files import file_digest

# Where presets share a file, the first one makes it.
MAPS = {file: Method.of(METHODS[name], preset) for (name, preset), file in reversed(MAP_FILES.items())}


# Batches a chunk: what is lost at most when the stage is broken off, and what processes take turns with.
CHUNK = 8


def maps_of_batch(model: torch.nn.Module, batch: torch.Tensor, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """Logits (B, C), and every method's maps (B, h, w) for the label and, where it has one, the predicted class.

    The predicted class's maps are those of the label where the two agree; only the others are made again.
    """
    of_class = {file: method for file, method in MAPS.items() if file in OF_CLASS}
    explanation = explain(model, batch, labels, list(MAPS.values()))
    named = {"logits": explanation.logits, **dict(zip(MAPS, explanation.maps, strict=True))}
    predicted = {file: named[file].clone() for file in of_class}
    wrong = (explanation.logits.argmax(dim=1) != labels).nonzero().flatten()
    if len(wrong):
        again = explain(model, batch[wrong], None, list(of_class.values())).maps
        for maps, of_wrong in zip(predicted.values(), again, strict=True):
            maps[wrong] = of_wrong
    named |= {file + PREDICTED: maps for file, maps in predicted.items()}
    return {name: tensor.float().cpu().numpy() for name, tensor in named.items()}


def make_maps(
    model: torch.nn.Module, images: SplitImages, chunks: Chunks, batch_size: int, workers: int, label: str
) -> None:
    """Make the maps of this process's chunks that are not there yet."""
    processes = team()
    device = next(model.parameters()).device
    processes.wait_for_everyone()
    waiting = chunks.waiting(processes.process_index, processes.num_processes)
    processes.wait_for_everyone()
    batches = {}
    for chunk in waiting:
        members = chunks.images(chunk)
        batches[chunk] = [list(members[at : at + batch_size]) for at in range(0, len(members), batch_size)]
    loader = iter(
        DataLoader(images, batch_sampler=list(chain.from_iterable(batches.values())), num_workers=workers)
    )
    with progress_bar() as bar:
        task = bar.add_task(f"maps {label}", total=sum(len(chunks.images(chunk)) for chunk in waiting))
        for chunk in waiting:
            parts = []
            for batch, labels in islice(loader, len(batches[chunk])):
                parts.append(maps_of_batch(model, normalise(batch.to(device)), labels.to(device)))
                bar.advance(task, len(batch))
            chunks.write(chunk, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def main(dataset: str, backbone_name: str, model_name: str) -> None:
    """Make the maps of every seed's checkpoint."""
    params = read_params()
    config = {"maps": list(MAPS), "seeds": params.seeds, "batch_size": params.explain.batch_size}
    name = f"explain-{dataset}-{backbone_name}-{model_name}"
    processes = team()
    with provenance(name, **config) as facts, resuming() as resume:
        facts |= {"device": describe_device(), "processes": processes.num_processes}
        size, batch_size = params.backbones[backbone_name].image_size, params.explain.batch_size
        root, data = images_root(dataset, params.grid.datasets[dataset]), data_digest(dataset)
        for seed in params.seeds:
            checkpoint = checkpoint_path(dataset, backbone_name, model_name, seed)
            model, _ = load_checkpoint(checkpoint, num_classes=len(classes(dataset)))
            model = model.to(processes.device)
            settings = {
                "image_size": size,
                "batch_size": batch_size,
                "chunk": CHUNK,
                "data": data,
                "weights": file_digest(checkpoint),
                "code": code_digest(),
                "packages": package_versions(),
                "device": describe_device(),
            }
            kept, _ = resume.folder(f"{name}-seed{seed}", settings)
            of_split = {}
            for split in mapped_splits(dataset):
                images = SplitImages(read_split(data_folder(dataset) / split), root, size)
                of_split[split] = Chunks(kept / split, len(images), CHUNK * batch_size)
                label = f"{model_name} {split}"
                make_maps(model, images, of_split[split], batch_size, params.workers, label)
            processes.wait_for_everyone()
            if processes.is_main_process:
                with replaced(maps_folder(dataset, backbone_name, model_name, seed)) as folder:
                    for split, chunks in of_split.items():
                        (folder / split).mkdir()
                        for file, array in chunks.merged().items():
                            np.save(folder / split / f"{file}.npy", array, allow_pickle=False)


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone", "model")
    start("experiments.explain", sys.argv[1:], read_params().processes)
    main(*arguments)
