"""Checkpoints: a model's weights with what made them, in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_model, save_model
from torch import nn

from vitol.atomic import atomic_file
from vitol.models import create_model
from vitol.weight_files import RECORD, CheckpointError, check_names, read_classifier_record, writing

_Model = TypeVar("_Model", bound=nn.Module)


def save_checkpoint(path: Path, model: nn.Module, record: Mapping[str, Any]) -> None:
    """Write weights with what made them, in one file: all of it or nothing, whenever the process ends.

    An earlier checkpoint stays as it was until the new one is whole on the disk. What made the weights is in the
    file's header, and for people once more beside it as JSON.

    Args:
        path: Ends in `.safetensors`; the JSON gets the same name with `.json`.
        model: The model; its tensors are written under timm's names.
        record: JSON-able facts. `architecture`, `options` and `num_classes` are needed for loading.

    Raises:
        ValueError: If the record lacks one of those.
        CheckpointError: If a file cannot be written.
    """
    missing = {"architecture", "options", "num_classes"} - set(record)
    if missing:
        raise ValueError(
            f"the checkpoint's record lacks {', '.join(sorted(missing))}; it could not be loaded again"
        )
    text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with writing(path):
        with atomic_file(path) as partial:
            save_model(model, str(partial), metadata={RECORD: text})
        with atomic_file(path.with_suffix(".json")) as partial:
            partial.write_text(text, encoding="utf-8")


def load_checkpoint(path: Path, *, num_classes: int | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """Read a checkpoint written by `save_checkpoint`.

    Args:
        path: The safetensors file; the JSON beside it is not read.
        num_classes: The number of classes it must have; None to accept any.

    Returns:
        The model in eval mode, on the CPU, and the record.

    Raises:
        CheckpointError: If the file is missing, damaged or no vitol checkpoint of a classifier, tensors do not fit, or
            the class count differs.
    """
    record = read_classifier_record(path)

    def build(count: int) -> nn.Module:
        return create_model(record["architecture"], count, options=record["options"])

    return load_into(build, path, record, num_classes=num_classes), record


def load_into(
    build: Callable[[int], _Model], path: Path, record: Mapping[str, Any], *, num_classes: int | None = None
) -> _Model:
    """Build what a checkpoint is of, and give it the checkpoint's weights.

    Args:
        build: Makes the model for a number of classes.
        path: The safetensors file.
        record: The file's, of `vitol.weight_files.read_record`.
        num_classes: The number of classes it must have; None to accept any.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        CheckpointError: If the class count differs, or tensors do not fit.
    """
    count = int(record["num_classes"])
    if num_classes is not None and count != num_classes:
        raise CheckpointError(
            f"{path} is a checkpoint of {count} classes, {num_classes} are asked for; "
            "take the checkpoint that was trained on this data set"
        )
    model = build(count)
    check_names(path, model)
    load_model(model, str(path))
    return model.eval()
