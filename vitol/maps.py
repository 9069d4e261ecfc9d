r"""One verb over the map methods: a batch of images and classes in, localization maps out.

B images, K classes an image, C classes in all, N tokens, P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitol.attention import CaptureError, attention_modules
from vitol.methods import ABOUT, METHODS, PRESETS, Method, MethodName, Preset
from vitol.passes import Scored, score_by_relevance, score_directly
from vitol.tokens import patch_grid, prefix_tokens

__all__ = ["METHODS", "PRESETS", "Explanation", "Method", "explain", "localization_maps"]


@dataclass(frozen=True)
class Explanation:
    """Logits (B, C), for every method asked for its maps (B, h, w) or (B, K, h, w), and of which classes these are.

    Classes are (B,) or (B, K): those asked for, or those that the first forward pass predicted. In other precisions,
    and rounded, logits may name another.
    """

    logits: Tensor
    maps: tuple[Tensor, ...]
    classes: Tensor


def explain(
    model: nn.Module, images: Tensor, targets: Tensor | None = None, methods: Sequence[Method] = ()
) -> Explanation:
    """Logits and localization maps by several methods.

    All methods share one forward pass, but for those that propagate relevance: they have one for each precision.
    All classes of an image share it too. Models under `torch.compile` run eagerly.

    Args:
        model: A timm vision transformer in eval mode. It is left exactly as it was found.
        images: Normalised images, (B, 3, H, W), on the model's device.
        targets: Class indices, on that device: None for each image's predicted class, (B,), or (B, K).
        methods: The maps to make.

    Returns:
        Detached logits, maps on the model's patch grid, one entry a method, at least float32, and their classes; all
        on its device.

    Raises:
        CaptureError: If the model's attention cannot be captured, or relevance has no rule for what it does.
        ValueError: If the model is in training mode, gradients are ruled out, or images or targets have a wrong
            shape, device or range.
    """
    model = getattr(model, "_orig_mod", model)  # a model under torch.compile wraps its own
    methods = list(methods)
    _check(model, images, methods)
    _check_targets(targets, images)
    images = images.detach()
    attention_modules(model)  # before the grid: what it says of a model that attends otherwise says more
    grid, prefix = patch_grid(model, images), prefix_tokens(model)
    tokens = prefix + grid[0] * grid[1]
    direct = [m for m in methods if not ABOUT[m.name].by_relevance]
    groups: dict[str, list[Method]] = {"direct": direct} if direct or not methods else {}
    for method in methods:
        if ABOUT[method.name].by_relevance:
            groups.setdefault(method.precision, []).append(method)

    passes: list[Scored] = []
    for key, members in groups.items():
        score = score_directly if key == "direct" else score_by_relevance
        # All passes explain the classes that the first one settled on.
        classes = passes[0].classes if passes else targets
        passes.append(score(model, images, classes, list(dict.fromkeys(members)), tokens))
    scores = {method: rows for scored in passes for method, rows in scored.scores.items()}
    maps = [torch.stack(scores[m], dim=1)[..., prefix:].unflatten(-1, grid) for m in methods]
    classes = passes[0].classes
    if targets is None or targets.ndim == 1:
        maps, classes = [stack.squeeze(1) for stack in maps], classes.squeeze(1)
    return Explanation(passes[0].logits, tuple(maps), classes)


def localization_maps(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None = None,
    method: MethodName = "gar",
    preset: Preset = "release",
    **options: Any,
) -> Tensor:
    """Localization maps of a batch of images for the classes asked for.

    Args:
        model: A timm vision transformer in eval mode. It is left exactly as it was found.
        images: Normalised images, (B, 3, H, W), on the model's device.
        targets: Class indices, on that device: None for each image's predicted class, (B,), or (B, K).
        method: One of `METHODS`, such as "ar" (class-agnostic), "gar" (Eqs. 7-8), "lrp" (Eqs. 9-10).
        preset: "release" as the paper's released code, "paper" as its equations; see `Method.of`.
        **options: Single settings of `Method` that override the preset.

    Returns:
        (B, h, w), or (B, K, h, w) for (B, K) targets, non-negative, not rescaled.

    Raises:
        CaptureError: If the model's attention cannot be captured.
        ValueError: If the model is in training mode, or an argument is wrong.
    """
    return explain(model, images, targets, [Method.of(method, preset, **options)]).maps[0]


def _check(model: nn.Module, images: Tensor, methods: Sequence[Method]) -> None:
    """Refuse what would give a wrong map or an obscure error."""
    if isinstance(model, nn.DataParallel):
        raise ValueError("the model is wrapped in DataParallel; give the model inside it, model.module")
    training = next((name for name, module in model.named_modules() if module.training), None)
    if training is not None:
        raise ValueError(
            f"{training or 'the model'} is in training mode (dropout and p-ADL would act); call model.eval() first"
        )
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images have shape {tuple(images.shape)}, not (B, 3, H, W) with B > 0")
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != images.device:
        raise ValueError(
            f"images are on {images.device}, the model on {parameter.device}; move one to the other"
        )
    _check_precision(methods, images.device)
    needing = [ABOUT[m.name].title for m in methods if ABOUT[m.name].of_class]
    if not needing:
        return
    if getattr(model, "num_classes", None) == 0:
        raise CaptureError(
            f"{needing[0]} needs classes, but the model has no classifier (num_classes=0); take one that has, or "
            "a method without a class"
        )
    if torch.is_inference_mode_enabled():
        raise ValueError(
            f"{needing[0]} needs gradients, which torch.inference_mode() rules out; leave it, or use "
            "torch.no_grad()"
        )
    if images.is_inference() or (parameter is not None and parameter.is_inference()):
        whose = "images" if images.is_inference() else "model's weights"
        raise ValueError(
            f"{needing[0]} needs gradients, but the {whose} were made under torch.inference_mode(); make them outside"
        )


def _check_precision(methods: Sequence[Method], device: torch.device) -> None:
    """Refuse float64 where a device has none."""
    for method in methods:
        if device.type == "mps" and ABOUT[method.name].by_relevance and method.precision != "model":
            raise ValueError(
                f"{ABOUT[method.name].title} is computed in float64 (precision={method.precision!r}), which {device} "
                "does not have; give precision='model', or move model and images to the CPU"
            )


def _check_targets(targets: object, images: Tensor) -> None:
    """Refuse targets that are no class indices for these images."""
    if targets is None:
        return
    batch, need = len(images), f"give int64 class indices of shape ({len(images)},) or ({len(images)}, K)"
    if not isinstance(targets, Tensor):
        raise ValueError(f"targets are a {type(targets).__name__}, not a tensor; {need}")
    shaped = targets.ndim in (1, 2) and len(targets) == batch and targets.numel() > 0
    if not shaped or targets.dtype != torch.int64:
        raise ValueError(f"targets have shape {tuple(targets.shape)} and type {targets.dtype}; {need}")
    if targets.device != images.device:
        raise ValueError(
            f"targets are on {targets.device}, the model on {images.device}; give targets.to({str(images.device)!r})"
        )
