"""Files of weights: safetensors, with a record of what made them in the header if vitol wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # to read a record takes no torch
    from torch import nn

RECORD = "vitol"
"""What made a checkpoint stands under this name in the header of its file."""

METHOD = "method"
"""In a checkpoint's record, the key of the rival that the model is; a timm classifier's record has none."""

AUXILIARY = "AuxLogits."
"""Names of the second head that Inception-v3's files have, and that timm builds for training alone, if asked to."""


class CheckpointError(ValueError):
    """Weights that do not fit; the text says which file, what was seen and what to do."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, its damage in words."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give a safetensors file with timm's parameter names")
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file ({error}); other formats are not read"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A checkpoint, or what goes beside it, being written; a failure in words."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} could not be written ({error}); make room or let its folder be written to, and run again"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """What made a checkpoint: architecture, options and class count at least."""
    with opened(path) as file:
        text = (file.metadata() or {}).get(RECORD, "")
    try:
        record = json.loads(text)
        int(record["num_classes"]), str(record["architecture"]), dict(record["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} has no record of a vitol checkpoint in its header ({error!r}); write it with save_checkpoint, "
            "or give weights without a record together with their timm architecture"
        ) from error
    return record


def read_classifier_record(path: Path) -> dict[str, Any]:
    """As `read_record`, of a timm classifier: a rival's checkpoint is refused."""
    record = read_record(path)
    if METHOD in record:
        raise CheckpointError(
            f"{path} is a checkpoint of the rival {record[METHOD]} on {record['architecture']}, not of a timm "
            "classifier; read it with vitol.cams.registry.load_localizer"
        )
    return record


def check_names(path: Path, model: nn.Module, replaced: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    """Compare a file's tensor names and shapes with the model's.

    A head that only training uses may be in the file besides.

    Args:
        path: The safetensors file.
        model: Tells names and shapes; it may be on the meta device.
        replaced: Layers of the model that may be of another shape in the file, or missing as a whole.

    Returns:
        The file's shapes, by name.

    Raises:
        CheckpointError: If the file is missing or no safetensors, or its tensors are not those of the model.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with opened(path) as file:
        names = [name for name in file.keys() if name in wanted or not name.startswith(AUXILIARY)]
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    free = {name for name in wanted if name.rpartition(".")[0] in replaced}
    needed = wanted.keys() if free & shapes.keys() else wanted.keys() - free
    faults = [f"{name} is missing" for name in sorted(needed - shapes.keys())]
    faults += [f"{name} is not of this model" for name in sorted(shapes.keys() - wanted.keys())]
    faults += [
        f"{name} has shape {shapes[name]}, not {wanted[name]}"
        for name in sorted(shapes.keys() & wanted.keys() - free)
        if shapes[name] != wanted[name]
    ]
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {shown}")
    return shapes


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe_weights(weights: str | Path | None) -> str:
    """Where a model's weights came from: no path, so that it is the same on every machine.

    Args:
        weights: What `vitol.models.create_model` takes.
    """
    return f"sha256:{file_digest(weights)}" if isinstance(weights, Path) else weights or "random"
