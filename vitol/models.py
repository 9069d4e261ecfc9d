"""timm models by name, and checkpoints: safetensors plus a JSON of what made them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

WEIGHTS_VARIABLE = "VITOL_WEIGHTS"


class CheckpointError(ValueError):
    """Weights that do not fit; the text says which file, what was seen and what to do."""


def create_model(
    architecture: str,
    num_classes: int,
    *,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Create a timm model, with random or pretrained weights.

    The head is made anew (random) when the weights are for another number of classes.

    Args:
        architecture: A timm model name, such as "deit_small_patch16_224".
        num_classes: Number of classes of the head.
        weights: None for random weights, "hub" for timm's own, or the path of a safetensors file with
            timm's parameter names (any floating type; the model is float32).
        options: Further arguments of the timm model, such as `img_size` or `patch_size`.

    Returns:
        The model in training mode, on the CPU.

    Raises:
        CheckpointError: If the file is missing, is not safetensors, or its tensors do not fit the model; if
            the hub has no weights or cannot be reached.
        ValueError: If timm does not know the architecture.
    """
    if not timm.is_model(architecture):
        near = ", ".join(timm.list_models(f"*{architecture.split('_')[0]}*")[:5]) or "timm.list_models()"
        raise ValueError(f"timm knows no model {architecture!r}; near it: {near}")
    arguments: dict[str, Any] = {"num_classes": num_classes, **(options or {})}
    if weights is None:
        return timm.create_model(architecture, pretrained=False, **arguments)
    if weights == "hub":
        try:
            return timm.create_model(architecture, pretrained=True, **arguments)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"timm has no weights of {architecture} that fit, or its hub cannot be reached ({error}); "
                f"put {architecture}.safetensors into a folder and set {WEIGHTS_VARIABLE} to it"
            ) from error
    path = Path(weights)
    _check_names(path, timm.create_model(architecture, pretrained=False, **(options or {})))
    return timm.create_model(
        architecture, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **arguments
    )


def find_weights(architecture: str) -> str | Path:
    """Where pretrained weights come from: `$VITOL_WEIGHTS/<architecture>.safetensors`, else timm's hub."""
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if folder:
        path = Path(folder) / f"{architecture}.safetensors"
        if path.is_file():
            return path
    return "hub"


def find_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device() -> str:
    """The device that `find_device` finds, in words that tell two machines apart."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def save_checkpoint(path: Path, model: nn.Module, record: Mapping[str, Any]) -> None:
    """Write `path` (safetensors) and beside it a JSON of what made the weights, each atomically.

    Args:
        path: Ends in `.safetensors`; the JSON gets the same name with `.json`.
        model: The model; its tensors are written under timm's names.
        record: JSON-able facts. `architecture`, `options` and `num_classes` are needed for loading.
    """
    missing = {"architecture", "options", "num_classes"} - set(record)
    if missing:
        raise ValueError(
            f"the checkpoint's record lacks {', '.join(sorted(missing))}; it could not be loaded again"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_model(model, str(partial))
    partial_record = path.with_name(path.name + ".json.partial")
    partial_record.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
    partial_record.replace(path.with_suffix(".json"))


def load_checkpoint(path: Path, *, num_classes: int | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Read a checkpoint written by `save_checkpoint`.

    Args:
        path: The safetensors file; its JSON lies beside it.
        num_classes: The number of classes it must have; None to accept any.

    Returns:
        The model in eval mode, on the CPU, and the record.

    Raises:
        CheckpointError: If a file is missing or damaged, tensors do not fit, or the class count differs.
    """
    record_path = path.with_suffix(".json")
    for file in (path, record_path):
        if not file.is_file():
            raise CheckpointError(
                f"{file} is missing; a checkpoint is a safetensors file and a JSON of the same name"
            )
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        count = int(record["num_classes"])
        architecture, options = record["architecture"], record["options"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{record_path} is not the record of a vitol checkpoint ({error!r}); "
            "write it with save_checkpoint"
        ) from error
    if num_classes is not None and count != num_classes:
        raise CheckpointError(
            f"{path} is a checkpoint of {count} classes, {num_classes} are asked for; "
            "take the checkpoint that was trained on this data set"
        )
    model = create_model(architecture, count, options=options)
    _check_names(path, model, classifier_too=True)
    load_model(model, str(path))
    return model.eval(), record


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check_names(path: Path, model: nn.Module, *, classifier_too: bool = False) -> None:
    """Compare a file's tensor names and shapes with the model's; the classifier may differ unless said."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give a safetensors file with timm's parameter names")
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file ({error}); other formats are not read"
        ) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if not classifier_too:
        classifier = getattr(model, "pretrained_cfg", {}).get("classifier", "head")
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        shapes, wanted = (
            {name: shape for name, shape in part.items() if name.rpartition(".")[0] not in heads}
            for part in (shapes, wanted)
        )
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - shapes.keys())]
    faults += [f"{name} is not of this model" for name in sorted(shapes.keys() - wanted.keys())]
    faults += [
        f"{name} has shape {shapes[name]}, not {wanted[name]}"
        for name in sorted(shapes.keys() & wanted.keys())
        if shapes[name] != wanted[name]
    ]
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {shown}")
