"""timm models, random or with pretrained weights, and where they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from vitol.datasets.images import MEAN, STD
from vitol.sources import WEIGHTS_VARIABLE, Source, find_source, find_weights
from vitol.weight_files import CheckpointError, check_names, describe_weights


def create_model(
    name: str,
    num_classes: int,
    *,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Create a timm model, with random or pretrained weights.

    The head is made anew (random) when the weights are for another number of classes, or have none.

    Args:
        name: A timm model name, such as "deit_small_patch16_224", or another name that `find_source` takes.
        num_classes: Number of classes of the head.
        weights: None for random weights, "hub" for the model's own (timm's, or those of the folder that `name`
            is), or the path of a safetensors file with timm's parameter names (any floating type; the model is
            float32).
        options: Further arguments of the timm model, such as `img_size` or `patch_size`.

    Returns:
        The model in training mode, on the CPU.

    Raises:
        CheckpointError: If a file is missing, is not safetensors, or its tensors do not fit the model; if
            the hub has no weights or cannot be reached.
        ValueError: If timm does not know the architecture, or an option is not the model's own.
    """
    source = find_source(name, options)
    arguments: dict[str, Any] = {"num_classes": num_classes, **source.options}
    if weights == "hub" and source.architecture != name:
        weights = find_weights(name)
    if weights is None:
        return timm.create_model(source.architecture, pretrained=False, **arguments)

    def plain() -> nn.Module:
        return timm.create_model(source.architecture, pretrained=False, **source.options)

    return create_pretrained(source.architecture, weights, plain, arguments, source.config)


def create_pretrained(
    architecture: str,
    weights: str | Path,
    plain: Callable[[], nn.Module],
    arguments: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Create a timm model with pretrained weights, a file's for all of it but the classifier.

    timm does not see to that: wherever the model's classifier is not that of the file, it takes the tensors whose
    names it knows and leaves the others random.

    Args:
        architecture: A timm name.
        weights: "hub" for timm's own, or the path of a safetensors file with timm's parameter names.
        plain: Makes the classifier whose names and shapes the file must have; it may be on the meta device.
        arguments: Those of `timm.create_model`.
        config: What is to be in the model's `pretrained_cfg` besides.

    Raises:
        CheckpointError: If a file is missing, is not safetensors, or its tensors do not fit the classifier; if the
            hub has no weights or cannot be reached.
    """
    if weights == "hub":
        try:
            return timm.create_model(architecture, pretrained=True, **arguments)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"timm has no weights of {architecture} that fit, or its hub cannot be reached ({error}); "
                f"put {architecture}.safetensors into a folder and set {WEIGHTS_VARIABLE} to it"
            ) from error
    path = Path(weights)
    if path.suffix != ".safetensors":
        # By the name timm decides whether to unpickle.
        raise CheckpointError(
            f"{path} is not a safetensors file (it does not end in .safetensors); other formats are not read"
        )
    classifier = plain()
    last = _classifiers(classifier)
    shapes = check_names(path, classifier, replaced=last)
    # timm keeps the head when the weights' class count, which it reads here, is the model's.
    count = shapes.get(f"{last[0]}.weight", (0,))[0]
    overlay = {**(config or {}), "file": str(path), "custom_load": False, "num_classes": count}
    return timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)


def start_model(
    name: str,
    dataset: str,
    classes: Sequence[str],
    *,
    pretrained: bool = True,
    options: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A model for a data set's classes to train, and the start of its checkpoint's record: what it was made of.

    Args:
        name: Of a model, as `vitol.sources.find_source` takes it.
        dataset: What the data set is called.
        classes: Names in label order. The head is made anew where the weights are for another number of them.
        pretrained: Take the weights that go by the name, not random ones.
        options: Further arguments of the timm model.

    Returns:
        The model, on the CPU, and what a record says of architecture, data set, weights and normalisation.

    Raises:
        CheckpointError, ValueError: As `create_model`, `find_source` and `find_weights`.
    """
    source = find_source(name, options)
    weights = find_weights(name) if pretrained else None
    model = create_model(name, len(classes), weights=weights, options=options)
    return model, start_record(source, weights, dataset, classes)


def start_record(
    source: Source, weights: str | Path | None, dataset: str, classes: Sequence[str]
) -> dict[str, Any]:
    """The start of a checkpoint's record: what a model that is to be trained was made of.

    Args:
        source: What the model's name stands for.
        weights: Of `find_weights`; None for random ones.
        dataset: What the data set is called.
        classes: Names in label order.

    Returns:
        What a record says of architecture, data set, weights and normalisation.
    """
    record: dict[str, Any] = {
        "architecture": source.architecture,
        "options": source.options,
        "num_classes": len(classes),
        "dataset": dataset,
        "weights": describe_weights(weights),
        "classes": list(classes),
        "mean": list(MEAN),
        "std": list(STD),
    }
    if weights and source.license:
        record["license"] = source.license
    return record


def find_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device() -> str:
    """The device that `find_device` finds, in words that tell two machines apart."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def unfused_attention(model: nn.Module) -> Iterator[None]:
    """Let every timm attention module of a model compute its matrix, until the `with` is left.

    timm reads the `fused_attn` of a module in its forward pass; environment variables act only on models
    built later.
    """
    with ExitStack() as undo:
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                undo.callback(setattr, module, "fused_attn", module.fused_attn)
                module.fused_attn = False  # type: ignore[assignment]
        yield


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    """Names of a timm model's last layers (a distilled DeiT has two)."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or "head"
    return (named,) if isinstance(named, str) else tuple(named)
