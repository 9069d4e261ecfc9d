"""Making maps of the test and val images with every seed's checkpoint, in chunks that outlive an interruption."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.inputs import classes, images_root
from experiments.names import OF_CLASS, PREDICTED
from experiments.params import read_params
from experiments.resume import code_digest, data_digest, resuming
from experiments.stage import (
    checkpoint_path,
    data_folder,
    mapped_splits,
    maps_folder,
    package_versions,
    progress_bar,
    provenance,
)
from vitol.atomic import atomic_folder
from vitol.chunks import Chunks
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.splits import read_split
from vitol.models import describe_device
from vitol.processes import team
from vitol.weight_files import file_digest

# Batches a chunk: what is lost at most when the stage is broken off, and what processes take turns with.
CHUNK = 8

Load = Callable[[Path, int], nn.Module]
"""(checkpoint, number of classes) to a model in eval mode."""

Explain = Callable[[nn.Module, Tensor, Tensor, bool], tuple[Tensor, dict[str, Tensor]]]
"""(model, images, classes (B,), whether only maps of a class count) to logits (B, C), and maps (B, h, w) by file."""


def maps_of_batch(explain: Explain, model: nn.Module, batch: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Logits (B, C), and every map (B, h, w) for the label and, where it has one, the predicted class.

    The predicted class's maps are those of the label where the two agree; only the others are made again.
    """
    logits, maps = explain(model, batch, labels, False)
    predicted = {file: found.clone() for file, found in maps.items() if file in OF_CLASS}
    classes = logits.argmax(dim=1)
    wrong = (classes != labels).nonzero().flatten()
    if len(wrong) and predicted:
        _, again = explain(model, batch[wrong], classes[wrong], True)
        for file, found in predicted.items():
            found[wrong] = again[file]
    named = {"logits": logits, **maps, **{file + PREDICTED: found for file, found in predicted.items()}}
    return {name: tensor.float().cpu().numpy() for name, tensor in named.items()}


def make_maps(
    explain: Explain,
    model: nn.Module,
    images: SplitImages,
    chunks: Chunks,
    batch_size: int,
    workers: int,
    label: str,
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
                parts.append(maps_of_batch(explain, model, normalise(batch.to(device)), labels.to(device)))
                bar.advance(task, len(batch))
            chunks.write(chunk, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def map_seeds(
    stage: str, dataset: str, backbone: str, model_name: str, load: Load, explain: Explain, maps: list[str]
) -> None:
    """Make the maps of every seed's checkpoint.

    Args:
        stage: Its name, for the provenance.
        dataset: Of the grid.
        backbone: Of the grid.
        model_name: A model of the grid, or a rival.
        load: How its checkpoints are read.
        explain: What makes its maps.
        maps: The files that it makes.
    """
    params = read_params()
    config = {"maps": maps, "seeds": params.seeds, "batch_size": params.explain.batch_size}
    name = f"{stage}-{dataset}-{backbone}-{model_name}"
    processes = team()
    with provenance(name, **config) as facts, resuming() as resume:
        facts |= {"device": describe_device(), "processes": processes.num_processes}
        size, batch_size = (
            params.backbones[params.network(backbone, model_name)].image_size,
            params.explain.batch_size,
        )
        root, data = images_root(dataset, params.grid.datasets[dataset]), data_digest(dataset)
        for seed in params.seeds:
            checkpoint = checkpoint_path(dataset, backbone, model_name, seed)
            model = load(checkpoint, len(classes(dataset))).to(processes.device)
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
                make_maps(explain, model, images, of_split[split], batch_size, params.workers, label)
            processes.wait_for_everyone()
            if processes.is_main_process:
                with atomic_folder(maps_folder(dataset, backbone, model_name, seed)) as folder:
                    for split, chunks in of_split.items():
                        (folder / split).mkdir()
                        for file, array in chunks.merged().items():
                            np.save(folder / split / f"{file}.npy", array, allow_pickle=False)
