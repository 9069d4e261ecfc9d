"""What the stages that look at images start from: class names, and where the images are."""

from __future__ import annotations

from pathlib import Path

from experiments.sections import is_registered
from experiments.stage import data_folder
from vitol.datasets.registered import dataset_root, read_manifest


def classes(dataset: str) -> tuple[str, ...]:
    """Class names of a prepared data set, in label order."""
    return tuple((data_folder(dataset) / "classes.txt").read_text(encoding="utf-8").splitlines())


def images_root(dataset: str, source: str) -> Path:
    """Where the images of a prepared data set are: beside its splits, or where it is registered."""
    if is_registered(source):
        return dataset_root(dataset) / read_manifest(dataset)["images"]
    return data_folder(dataset) / "images"
