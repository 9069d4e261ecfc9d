"""What the inquiry works at: registered data sets, a pretrained model, its fine-tuning, and maps of the test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.params import Params
from experiments.resume import Resume, code_digest
from experiments.stage import package_versions, progress_bar
from experiments.suspects import Compared, Variant, compare, curves_of, maps_of
from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.chunks import Chunks
from vitol.datasets.images import SplitImages, TrainImages
from vitol.datasets.layout import Layout, needs_validation_cut, with_validation_cut
from vitol.datasets.register import load
from vitol.datasets.registered import dataset_root, read_manifest
from vitol.models import create_model, describe_device, find_device
from vitol.resumption import digest, weights_digest
from vitol.snapshots import Snapshots
from vitol.sources import find_weights
from vitol.training import train


class Bench:
    """A data set's images, and models' maps of them.

    Args:
        params: The settings.
        backbone: The model's name in params.yaml.
        resume: Where maps are kept while the inquiry is not done.
    """

    def __init__(self, params: Params, backbone: str, resume: Resume) -> None:
        self.params, self.backbone, self.resume = params, backbone, resume
        self.sides = params.backbones[backbone]
        self.device = find_device()
        self.weights = find_weights(self.sides.architecture)
        self.layouts: dict[str, Layout] = {}

    def model(self, classes: int) -> nn.Module:
        """The pretrained model, with its own head if that is of so many classes, else with a new one."""
        sides = self.sides
        model = create_model(sides.architecture, classes, weights=self.weights, options=sides.options)
        return model.to(self.device)

    def root(self, dataset: str) -> Path:
        """The folder that the images of a registered data set start from."""
        return dataset_root(dataset) / read_manifest(dataset)["images"]

    def layout(self, dataset: str) -> Layout:
        """A registered data set, a validation split cut where the pipeline cuts one."""
        if dataset not in self.layouts:
            layout = load(dataset)
            self.layouts[dataset] = with_validation_cut(layout) if needs_validation_cut(layout) else layout
        return self.layouts[dataset]

    def images(self, dataset: str, split: str) -> SplitImages:
        """Images by the test transform."""
        return SplitImages(self.layout(dataset).splits[split], self.root(dataset), self.sides.image_size)

    def maps(
        self, name: str, model: nn.Module, dataset: str, variants: Sequence[Variant], of_label: bool
    ) -> dict[str, np.ndarray]:
        """AR's and GAR's maps of the test images."""
        images = self.images(dataset, "test")
        settings = {
            "weights": weights_digest(model),
            "data": read_manifest(dataset)["fingerprint"],
            "variants": [variant.name for variant in variants],
            "of_label": of_label,
            "image_size": self.sides.image_size,
            "batch_size": self.params.explain.batch_size,
            "code": code_digest(),
            "packages": package_versions(),
            "device": describe_device(),
        }
        folder, _ = self.resume.folder(f"inquire-{name}", settings)
        chunks = Chunks(folder / "done", len(images), self.params.explain.batch_size)
        with progress_bar() as bar:
            task = bar.add_task(name, total=len(images))
            return maps_of(
                model.eval(),
                images,
                chunks,
                variants,
                of_label=of_label,
                workers=self.params.workers,
                progress=lambda count: bar.advance(task, count),
            )

    def compared(
        self, dataset: str, maps: dict[str, np.ndarray], variant: str, members: np.ndarray
    ) -> Compared:
        """AR against GAR on some of the test images: the same resamples for the same images, others for others."""
        split = self.layout(dataset).splits["test"]
        settings = self.params.bootstrap
        ar, gar = (curves_of(maps[name], split) for name in ("AR", variant))
        images = digest(str(settings.seed).encode(), dataset.encode(), members.tobytes())
        return compare(ar, gar, members, settings.replicates, seed=int(images[:8], 16))


def fine_tuned(
    bench: Bench, dataset: str, after: Sequence[int], seed: int, facts: dict[str, Any]
) -> Iterator[tuple[int, nn.Module]]:
    """Fine-tune by the baseline's recipe, as the pipeline's baseline of the seed, and yield the model epoch by epoch.

    Args:
        bench: Whose backbone is trained.
        dataset: What it is trained on.
        after: The epochs after which the model is yielded, ascending.
        seed: Of the training.
        facts: Loss and top-1 of every epoch that is trained are added.

    Raises:
        ValueError: If the recipe has not so many epochs.
    """
    recipe, sides = bench.params.datasets[dataset].baseline, bench.sides
    if recipe is None or recipe.epochs < after[-1]:
        raise ValueError(
            f"params.yaml has no baseline of {after[-1]} epochs for {dataset!r}; the inquiry needs one"
        )
    torch.manual_seed(seed)
    classes = len(bench.layout(dataset).classes)
    model = bench.model(classes).train()
    images = TrainImages(
        bench.layout(dataset).splits["train"], bench.root(dataset), sides.image_size, sides.resize, seed
    )
    settings = {
        "recipe": recipe,
        "start": weights_digest(model),
        "sides": sides,
        "data": read_manifest(dataset)["fingerprint"],
        "code": code_digest(),
        "packages": package_versions(),
        "device": describe_device(),
    }
    folder, plain = bench.resume.folder("inquire-training", settings)
    kept = {epoch: folder / f"epoch{epoch}.safetensors" for epoch in after}
    record = {"architecture": sides.architecture, "options": sides.options, "num_classes": classes}
    if not all(path.is_file() for path in kept.values()):
        with progress_bar() as bar:
            task = bar.add_task("fine-tuning", total=None)
            epochs = train(
                model,
                images,
                recipe,
                seed=seed,
                workers=bench.params.workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                snapshots=Snapshots(folder, plain, bench.params.snapshots.every_seconds),
            )
            for epoch in epochs:
                facts[f"after epoch {epoch.epoch}"] = {"loss": epoch.train_loss, "top1": epoch.train_top1}
                path = kept.get(epoch.epoch)
                # Of epochs done before an interruption the record comes again, but not the weights.
                if path is not None and not path.is_file():
                    save_checkpoint(path, model, record)
    for number, path in kept.items():
        yield number, load_checkpoint(path, num_classes=classes)[0].to(bench.device)
