"""Asking a model about photos: where is a class, by which method, and in which box.

    explainer = Explainer("deit_tiny_patch16_224")
    results = explainer.explain(["photo.jpg"], classes=["space shuttle", "crash helmet"], method="gar")
    results.save("explained")

B photos, K classes of a photo, h x w patch grid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vitol.checkpoints import load_checkpoint
from vitol.class_names import ClassNames, imagenet_names, read_class_names
from vitol.maps import explain as explain_batch
from vitol.methods import Method, MethodName
from vitol.models import create_model, find_device
from vitol.photo_input import Preparation, find_photos, photo_sizes, read_photo
from vitol.photo_maps import PhotoMap, PhotoMaps, Progress, check_free
from vitol.sources import HUB, LOCAL, find_source, find_weights
from vitol.weight_files import CheckpointError

THRESHOLDS: dict[MethodName, float] = {
    "ar": 0.263,
    "gar": 0.140,
    "lrp": 0.112,
    "relevance": 0.177,
    "full-lrp": 0.027,
    "attention": 0.110,
    "gradcam": 0.171,
    "legrad": 0.298,
    "attnlrp": 0.122,
}
"""Fractions of a map's maximum above which boxes are drawn: for each method the one at which most boxes of the largest
contour are right (IoU 0.5) with DeiT-Tiny and the label's map, on a third of ILSVRC-300 that is cut by a hash of the
images' ids (`experiments/thresholds.py`). For looking at photos: no reported number uses them. The paper's released
code has 0.208 (DeiT-B) and 0.165 (DeiT-S) for GAR, 0.185 and 0.15 for LRP, with p-ADL, for the best box of any
contour."""
LONGEST = 100  # characters of a photo's name in the names of its files


class Explainer:
    """A model with what is needed to ask it about photos: input size, normalisation, class names.

    Args:
        model: A timm model name (weights from the folder `$VITOL_WEIGHTS`, or timm's hub), "local-dir:FOLDER" or
            "hf-hub:ORG/NAME" (see `vitol.models`), or the path of a vitol checkpoint (`.safetensors`).
        names: Class names in label order, or a text file with one a line; None for those in the checkpoint or the
            folder, or ImageNet's for a pretrained model.

    Raises:
        CheckpointError: If there are no weights, or they do not fit.
        ValueError: If timm does not know the model, it has no classifier, or the names do not fit.
    """

    def __init__(self, model: str | Path, names: Sequence[str] | str | Path | None = None) -> None:
        self.name = str(model)
        path = Path(model).expanduser()
        if not self.name.startswith((LOCAL, HUB)) and (path.suffix == ".safetensors" or path.is_file()):
            loaded, record = load_checkpoint(path)
            classes = int(record["num_classes"])
            self.prepare = Preparation.of_record(loaded, record)
            known = record.get("classes")
        else:
            loaded, classes = _pretrained(self.name)
            self.prepare = Preparation.of_pretrained(loaded)
            known = _config_names(loaded) or imagenet_names(loaded)
        if isinstance(names, str | Path):
            names = read_class_names(Path(names))
        self.names = ClassNames(classes, known if names is None else names)
        self.device = find_device()
        self.model = loaded.eval().to(self.device)

    def explain(
        self,
        photos: Sequence[str | Path],
        classes: Sequence[str | int] = (),
        method: str | Sequence[str] = "gar",
        preset: str = "release",
        threshold: float | None = None,
        batch_size: int = 16,
        out: str | Path | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> PhotoMaps:
        """Maps and boxes of classes in photos.

        Everything is checked before the model runs, every photo decoded to its end included.

        Args:
            photos: Image files, and folders of images.
            classes: Names or indices, asked of every photo; none for each photo's predicted class.
            method: One or several of `vitol.maps.METHODS`.
            preset: One of `vitol.maps.PRESETS`.
            threshold: Fraction of a map's maximum above which boxes are drawn, in [0, 1]; None for the method's
                of `THRESHOLDS`.
            batch_size: B, photos a forward pass.
            out: Where to save the result at once (see `PhotoMaps.save`); None to leave that.
            force: Overwrite files there.
            progress: Told what is done.

        Returns:
            One map a photo, class and method.

        Raises:
            CaptureError: If the model's attention cannot be captured.
            ValueError: If an argument is wrong, a photo cannot be decoded, or files would be overwritten.
        """
        names = [method] if isinstance(method, str) else method
        methods = list(dict.fromkeys(Method.of(name, preset) for name in names))  # type: ignore[arg-type]
        if not methods:
            raise ValueError("no method was given; give at least one")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(
                f"threshold {threshold} is outside [0, 1]; it is a fraction of the map's maximum"
            )
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size} is below 1; it is the photos of a forward pass")
        asked = list(dict.fromkeys(self.names.find(name) for name in classes))
        files = find_photos(photos, leave_out=None if out is None else Path(out))
        of_class = [_slug(index, self.names.short(index)) for index in asked] or ["predicted"]
        stems = [[f"{label}.{middle}" for middle in of_class] for label in _labels(files)]
        if out is not None:
            every = [f"{stem}.{way.name}" for row in stems for stem in row for way in methods]
            check_free(Path(out), every, force)
        say = progress or (lambda *_: None)
        sizes = photo_sizes(files, lambda done, count: say("Checking photos", done, count))

        found = []
        say("Making maps", 0, len(files))
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            indices, probabilities, maps = self._explain_batch(batch, asked, methods)
            for b, path in enumerate(batch):
                for k, index in enumerate(indices[b]):
                    for way, of_method in zip(methods, maps, strict=True):
                        if not np.isfinite(of_method[b, k]).all():
                            raise ValueError(f"{path}: the {way.name} map of class {index} is not finite")
                        found.append(
                            PhotoMap(
                                path=path,
                                size=sizes[start + b],
                                index=index,
                                label=self.names.short(index),
                                probability=float(probabilities[b, index]),
                                predicted=not asked,
                                method=way.name,
                                preset=preset,
                                threshold=THRESHOLDS[way.name] if threshold is None else threshold,
                                map=of_method[b, k],
                                stem=f"{stems[start + b][k]}.{way.name}",
                            )
                        )
            say("Making maps", start + len(batch), len(files))
        results = PhotoMaps(self.name, tuple(found))
        if out is not None:
            results.save(out, force, progress)
        return results

    def _explain_batch(
        self, batch: Sequence[Path], asked: list[int], methods: Sequence[Method]
    ) -> tuple[list[list[int]], np.ndarray, list[np.ndarray]]:
        """Classes of each photo (B, K), probabilities (B, C), and each method's maps, float32 (B, K, h, w)."""
        images = torch.stack([self.prepare(read_photo(path)) for path in batch]).to(self.device)
        targets = torch.tensor([asked] * len(batch), device=self.device) if asked else None
        explanation = explain_batch(self.model, images, targets, methods)
        probabilities = explanation.logits.softmax(dim=1).cpu()
        classes, maps = explanation.classes, explanation.maps
        if not asked:
            classes, maps = classes.unsqueeze(1), tuple(made.unsqueeze(1) for made in maps)
        return classes.tolist(), probabilities.numpy(), [made.float().cpu().numpy() for made in maps]


def _pretrained(name: str) -> tuple[nn.Module, int]:
    """A model with its pretrained weights, and its number of classes.

    A file of weights says itself how many classes it has: for another number the head would be a random one.
    """
    architecture = find_source(name).architecture
    try:
        config = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        known = ", ".join(timm.list_pretrained(f"{architecture.partition('.')[0]}.*"))
        raise ValueError(
            f"timm knows no weights {architecture!r}; it knows {known or 'none of this model'}"
        ) from error
    weights = find_weights(name)
    classes = getattr(config, "num_classes", 0)
    if isinstance(weights, Path):
        classifier = getattr(config, "classifier", None) or "head"
        head = f"{classifier if isinstance(classifier, str) else classifier[0]}.weight"
        try:
            with safe_open(str(weights), framework="pt") as file:
                classes = file.get_slice(head).get_shape()[0] if head in set(file.keys()) else 0
        except SafetensorError as error:
            raise CheckpointError(
                f"{weights} is not a safetensors file ({error}); other formats are not read"
            ) from error
    if not classes:
        raise ValueError(
            f"{name} has no classifier, so there is no class to ask for; choose a model with one"
        )
    return create_model(name, classes, weights=weights), classes


def _config_names(model: nn.Module) -> list[str] | None:
    """Names of the classes as the config of a model's folder has them, in label order; None if it has none.

    timm's config has labels, in a list or under their indices, and may describe each label.
    """
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    labels = config.get("label_names")
    if not labels:
        return None
    if isinstance(labels, Mapping):
        labels = [label for _, label in sorted(labels.items(), key=lambda entry: int(entry[0]))]
    described = config.get("label_descriptions") or {}
    return [described.get(label, label) for label in labels]


def _labels(files: Sequence[Path]) -> list[str]:
    """A name for each file, without its suffix; a number tells files of one name apart."""
    stems = [file.stem[:LONGEST] for file in files]
    reserved = {stem.casefold() for stem in stems}
    labels: list[str] = []
    used: set[str] = set()
    for stem in stems:
        numbered = (f"{stem}-{number}" for number in count(2))
        others = (label for label in numbered if label.casefold() not in reserved)
        label = next(label for label in chain([stem], others) if label.casefold() not in used)
        used.add(label.casefold())
        labels.append(label)
    return labels


def _slug(index: int, name: str) -> str:
    """A class as a piece of a file's name."""
    return f"{index}-{re.sub('[^a-z0-9]+', '-', name.casefold())[:40]}".strip("-")
