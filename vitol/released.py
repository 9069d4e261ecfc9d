"""The ViTOL authors' checkpoints (Saurav-31/ViTOL), read without running anything, as timm's parameters.

Their model is Chefer's differentiable copy of timm's vision transformer: its parameters have timm's names and shapes,
class token first, and their p-ADL has none. So nothing is renamed but the prefix that `DataParallel` adds; what is
done here is to read safely and to check. One thing differs from timm's model: the epsilon of their last LayerNorm is
1e-5, timm's 1e-6 (DeiT-T's logits of a photo, up to 6.6, then differ by at most 0.0002).
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitol.checkpoints import save_checkpoint
from vitol.class_names import imagenet_names
from vitol.datasets.images import MEAN, STD
from vitol.models import create_model
from vitol.weight_files import CheckpointError, file_digest

ARCHITECTURES = {
    (192, 12): "deit_tiny_patch16_224",
    (384, 12): "deit_small_patch16_224",
    (768, 12): "deit_base_patch16_224",
    (1024, 24): "vit_large_patch16_224",
}
"""Width and number of blocks of the models that the release can build, and DeiT-T. ViT-B is as large as DeiT-B."""
FORMS = ("state_dict", "model")
"""Where a checkpoint keeps its parameters: the release's own key, and DeiT's; otherwise it is the parameters alone."""
PARALLEL = "module."
"""What `DataParallel` puts before every name."""


@dataclass(frozen=True)
class Released:
    """A checkpoint's parameters, every one checked.

    Attributes:
        architecture: The timm model that they fit.
        num_classes: Rows of the head.
        tensors: timm's names and the tensors, as they are stored.
    """

    architecture: str
    num_classes: int
    tensors: dict[str, Tensor]

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(tensor.numel() for tensor in self.tensors.values())


def convert(path: Path, architecture: str | None = None, num_classes: int | None = None) -> Released:
    """Read a checkpoint of the release and check every tensor of it.

    Optimiser state, epoch and other plain values beside the parameters are left out.

    Args:
        path: A file that `torch.save` wrote: {"state_dict": ...} as the release has it, {"model": ...} as DeiT has
            it, or the parameters alone; with or without the prefix of `DataParallel`.
        architecture: The timm model; None for the one with that width and number of blocks.
        num_classes: The number of classes it must have; None for any.

    Returns:
        The parameters under timm's names.

    Raises:
        CheckpointError: If the file is missing or damaged, its pickle needs more than tensors and plain containers
            (then nothing of it is executed), or tensors are missing, unknown, of another shape or not finite; all
            such faults are in the text.
        ValueError: If timm does not know the architecture.
    """
    tensors = _parameters(path, read_plain(path))
    found = _architecture(tensors)
    if architecture is None and found is None:
        raise CheckpointError(
            f"{path} has a width and a number of blocks that no model of the release has "
            f"({_size(tensors)}); give its timm architecture (--architecture)"
        )
    wanted = architecture or str(found)
    head = tensors.get("head.weight")
    count = head.shape[0] if isinstance(head, Tensor) and head.ndim == 2 else num_classes or 1000
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in create_model(wanted, count).state_dict().items()}
    faults = tensor_faults(tensors, shapes)
    if num_classes is not None and count != num_classes:
        faults.insert(0, f"head.weight has {count} classes, {num_classes} are asked for")
    if faults:
        other = f"; its size is that of {found}" if found not in (None, wanted) else ""
        lines = [f"{path} does not fit {wanted} (faults: {len(faults)}){other}", *faults]
        raise CheckpointError("\n  ".join(lines))
    return Released(wanted, count, {name: tensors[name] for name in shapes})


def save_released(released: Released, source: Path, out: Path) -> None:
    """Write parameters as a vitol checkpoint, whole or not at all: float32 safetensors, and its record beside it.

    The record has what the release's code says of its input (ImageNet's mean and deviation) and the hash of the
    file that was converted. Of 1,000 classes it has ImageNet's names, as timm takes them for ImageNet's, too.

    Args:
        released: What `convert` returned.
        source: The file it was read from.
        out: Ends in `.safetensors`.

    Raises:
        CheckpointError: If a file cannot be written.
    """
    model = create_model(released.architecture, released.num_classes)
    model.load_state_dict(released.tensors, strict=True)
    record: dict[str, Any] = {
        "architecture": released.architecture,
        "options": {},
        "num_classes": released.num_classes,
        "variant": "converted",
        "weights": f"sha256:{file_digest(source)}",
        "mean": list(MEAN),
        "std": list(STD),
    }
    names = imagenet_names(model)
    save_checkpoint(out, model, record if names is None else {**record, "classes": names})


def read_plain(path: Path) -> Any:
    """Read a file of `torch.save` that holds tensors and plain containers only.

    Raises:
        CheckpointError: If it is missing, damaged, or asks for anything else; the text says for what.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give a checkpoint that torch.save wrote (.pth, .pth.tar)")
    try:
        # Only the zip format, torch's since 1.6, can be mapped into memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (
        Exception
    ) as error:  # torch raises many types on damaged files (KeyError, EOFError, struct.error, ...)
        asked = _asked_for(path, error)
        if asked:
            raise CheckpointError(
                f"{path} is refused: besides tensors and plain containers its pickle asks for {', '.join(asked)}, "
                "which can run code; nothing of it was executed. Whoever trusts it can save its parameters alone: "
                'torch.save({"state_dict": ...})'
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of torch.save ({type(error).__name__}); it is damaged, cut short "
            "or another kind of file: fetch it again"
        ) from error


def tensor_faults(tensors: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is wrong with parameters, a line each.

    Args:
        tensors: Names and what stands under them.
        shapes: The shapes that they must have.

    Returns:
        Missing names, unknown ones, and those that are no tensor, no floating type, of another shape or not finite.
    """
    faults = [f"{name} is missing" for name in shapes if name not in tensors]
    faults += [f"{name} is not of this model" for name in tensors if name not in shapes]
    for name, wanted in shapes.items():
        tensor = tensors.get(name)
        if name not in tensors:
            continue
        if not isinstance(tensor, Tensor):
            faults.append(f"{name} is no tensor ({type(tensor).__name__})")
        elif tensor.layout is not torch.strided or tensor.is_meta:
            faults.append(
                f"{name} is a {'meta' if tensor.is_meta else 'sparse'} tensor; weights are plain ones"
            )
        elif tuple(tensor.shape) != wanted:
            faults.append(f"{name} has shape {tuple(tensor.shape)}, not {wanted}")
        elif not tensor.is_floating_point():
            faults.append(f"{name} has the type {tensor.dtype}; weights are floating")
        elif odd := int((~tensor.isfinite()).sum()):
            faults.append(f"{name} has {odd} of {tensor.numel()} values that are not finite")
    return faults


def _parameters(path: Path, content: Any) -> dict[str, Any]:
    """Names and parameters in a checkpoint, without the prefix of `DataParallel`."""
    if isinstance(content, Mapping):
        inner = next((content[key] for key in FORMS if isinstance(content.get(key), Mapping)), None)
        if inner is None and any(isinstance(value, Tensor) for value in content.values()):
            inner = content
        if inner:
            names = [str(name) for name in inner]
            cut = len(PARALLEL) if all(name.startswith(PARALLEL) for name in names) else 0
            return {name[cut:]: value for name, value in zip(names, inner.values(), strict=True)}
        keys = ", ".join(map(repr, list(content)[:8])) or "nothing"
    else:
        keys = f"a {type(content).__name__}"
    raise CheckpointError(f"{path} holds {keys}; needed: parameters, alone or under {' or '.join(FORMS)}")


def _block_count(tensors: Mapping[str, Any]) -> int:
    """Blocks that parameters speak of."""
    return len({found[1] for name in tensors if (found := re.match(r"blocks\.(\d+)\.", name))})


def _width(tensors: Mapping[str, Any]) -> int | None:
    """Width of the tokens."""
    token = tensors.get("cls_token")
    return token.shape[-1] if isinstance(token, Tensor) and token.ndim else None


def _architecture(tensors: Mapping[str, Any]) -> str | None:
    """The model of the release with the parameters' width and number of blocks."""
    width = _width(tensors)
    return None if width is None else ARCHITECTURES.get((width, _block_count(tensors)))


def _size(tensors: Mapping[str, Any]) -> str:
    """Width and number of blocks, in words."""
    return f"width {_width(tensors) or 'unknown, as there is no cls_token'}, blocks {_block_count(tensors)}"


def _asked_for(path: Path, error: Exception) -> list[str]:
    """What a pickle that was refused asks for; nothing if that is not why it failed."""
    if not isinstance(error, pickle.UnpicklingError):
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # the format before torch 1.6 is not looked into, but the error names the first one
        return re.findall(r"GLOBAL (\S+)", str(error))[:1]
