"""Mosaics of a data set's test images, and what the maps of every model of a run of the grid make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.inputs import classes
from experiments.params import Params
from experiments.resume import Resume, code_digest, data_digest
from experiments.stage import checkpoint_path, package_versions, progress_bar
from vitol.checkpoints import load_checkpoint
from vitol.chunks import Chunks
from vitol.class_grid import cell_scores, class_correlation, compose, without_mass
from vitol.datasets.images import SplitImages, normalise
from vitol.maps import Method, explain
from vitol.methods import ABOUT, MethodName, Preset
from vitol.models import describe_device, find_device
from vitol.resumption import digest
from vitol.weight_files import file_digest

MAPS: tuple[MethodName, ...] = ("ar", "gar", "lrp", "gradcam", "attention")
PRESET: Preset = "release"
PARTS = ("score", "correlation", "without_mass")
"""What is kept of a map's mosaics: `cell_scores`, `class_correlation` and the number of `without_mass`."""

Work = Callable[[nn.Module, Tensor, Tensor], Mapping[str, np.ndarray]]


class Run(NamedTuple):
    """A model of the grid, by one seed of training."""

    model: str
    seed: int


class Study(NamedTuple):
    """What is compared: models of one data set and backbone."""

    params: Params
    dataset: str
    backbone: str
    runs: list[Run]

    @property
    def name(self) -> str:
        """The study, as its folder and its record are called."""
        return f"follow-{self.dataset}-{self.backbone}"

    @property
    def models(self) -> list[str]:
        """The models of the runs, in their order."""
        return list(dict.fromkeys(run.model for run in self.runs))

    def checkpoint(self, run: Run) -> Path:
        """The weights of a run."""
        return checkpoint_path(self.dataset, self.backbone, *run)


class Items(Dataset[tuple[Tensor, Tensor]]):
    """Some images of a split, or mosaics of them, with their labels.

    Args:
        images: Of the split, with the side of the model's input for images, half of it for mosaics.
        rows: Indices of images, (m,), or of the four images of each mosaic, (m, 4).
    """

    def __init__(self, images: SplitImages, rows: np.ndarray) -> None:
        self.images = images
        self.rows = rows

    def __len__(self) -> int:
        """Return the number of images, or of mosaics."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return pixels (3, S, S), uint8, and the label () or labels (4,)."""
        row = self.rows[index]
        labels = torch.as_tensor(self.images.split.labels[row])
        if row.ndim == 0:
            return self.images[int(row)][0], labels
        return compose(torch.stack([self.images[int(one)][0] for one in row])), labels


def right_of_batch(model: nn.Module, batch: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Whether each image's label is the predicted class, bool (B,)."""
    with torch.no_grad():
        return {"right": (model(batch).argmax(dim=1) == labels).cpu().numpy()}


def scores_of_batch(model: nn.Module, batch: Tensor, labels: Tensor) -> dict[str, np.ndarray]:
    """Of each map of MAPS the PARTS of every mosaic, each (B,): the score is the mean of its classes, in percent."""
    found = explain(model, batch, labels, [Method.of(name, PRESET) for name in MAPS])
    arrays = {}
    for name, on_device in zip(MAPS, found.maps, strict=True):
        maps = on_device.cpu()
        try:
            arrays[f"{name} score"] = 100 * cell_scores(maps).mean(dim=1).numpy()
        except ValueError as error:
            raise ValueError(f"{ABOUT[name].title}, {error}") from error
        arrays[f"{name} correlation"] = class_correlation(maps).numpy()
        arrays[f"{name} without_mass"] = without_mass(maps).sum(dim=1).numpy()
    return arrays


def checked_study(params: Params, dataset: str, backbone: str, models: Sequence[str] | None) -> Study:
    """What to compare; every run has a checkpoint.

    Raises:
        ValueError: If the grid has no such data set, backbone or model, the side of its images is odd, or a
            checkpoint is missing.
    """
    chosen = list(dict.fromkeys(params.grid.models if models is None else models))
    for kind, wanted, there in (
        ("data set", [dataset], list(params.grid.datasets)),
        ("backbone", [backbone], params.grid.backbones),
        ("model", chosen, params.grid.models),
    ):
        for name in wanted:
            if name not in there:
                raise ValueError(
                    f"{kind} {name!r} is not in the grid of params.yaml, which has {', '.join(there)}; "
                    "`python -m experiments.select` points the grid elsewhere"
                )
    side = params.backbones[backbone].image_size
    if side % 2:
        raise ValueError(
            f"images of {backbone!r} are {side} px wide, which two cells cannot share evenly; take a backbone with "
            "an even image_size"
        )
    study = Study(params, dataset, backbone, [Run(*run) for run in product(chosen, params.seeds)])
    for run in study.runs:
        if not study.checkpoint(run).is_file():
            raise ValueError(f"{study.checkpoint(run)} is missing; run `dvc repro` for this grid first")
    return study


def in_all_runs(
    study: Study, title: str, work: Work, items: Items, resume: Resume
) -> dict[Run, dict[str, np.ndarray]]:
    """What `work` makes of all items with the model of each run; batches that were done earlier are not done again.

    Args:
        study: With the runs.
        title: Of the work, for people.
        work: From a model, and normalised pixels and labels on its device, to arrays of one row an item.
        items: Images or mosaics.
        resume: Where finished batches are kept.

    Returns:
        For each run the arrays of all items, in their order.
    """
    params, device, found = study.params, find_device(), {}
    shared = {
        "image_size": params.backbones[study.backbone].image_size,
        "batch_size": params.explain.batch_size,
        "items": digest(items.rows.tobytes()),
        "data": data_digest(study.dataset),
        "code": code_digest(),
        "packages": package_versions(),
        "device": describe_device(),
    }
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(study.runs) * len(items))
        for run in study.runs:
            settings = {**shared, "weights": file_digest(study.checkpoint(run))}
            folder, _ = resume.folder(f"{study.name}-{run.model}-seed{run.seed}-{title}", settings)
            chunks = Chunks(folder / "done", len(items), params.explain.batch_size)
            batches = {chunk: list(chunks.images(chunk)) for chunk in chunks.waiting()}
            bar.advance(task, len(items) - sum(map(len, batches.values())))
            model, _ = load_checkpoint(study.checkpoint(run), num_classes=len(classes(study.dataset)))
            model.to(device)
            loader = DataLoader(items, batch_sampler=list(batches.values()), num_workers=params.workers)
            for chunk, (batch, labels) in zip(batches, loader, strict=True):
                try:
                    arrays = work(model, normalise(batch.to(device)), labels.to(device))
                except ValueError as error:
                    at = f"{study.checkpoint(run)}, {title} from {batches[chunk][0]}"
                    raise ValueError(f"{at}: {error}") from error
                chunks.write(chunk, arrays)
                bar.advance(task, len(batch))
            found[run] = chunks.merged()
    return found
