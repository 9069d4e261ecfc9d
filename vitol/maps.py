r"""One verb over the map methods: a batch of images and classes in, localization maps out.

B images, K classes an image, C classes in all, N tokens, P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vitol.attention import capture_attention, patch_grid, readout_row
from vitol.rollout import Clamp, attention_rollout, gradient_attention_rollout

MethodName = Literal["ar", "gar"]
Preset = Literal["release", "paper"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
PRESETS: tuple[Preset, ...] = get_args(Preset)


@dataclass(frozen=True)
class Method:
    """How a map is made.

    Attributes:
        name: "ar" attention rollout (class-agnostic), "gar" gradient attention rollout (Eqs. 7-8).
        normalize_rows: Whether rows of I + T are divided by their sum.
        clamp: Order of clamping and head averaging in GAR.
    """

    name: MethodName
    normalize_rows: bool = True
    clamp: Clamp = "heads"

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if self.name not in METHODS:
            raise ValueError(f"map method {self.name!r} is unknown; choose one of {', '.join(METHODS)}")
        if self.clamp not in get_args(Clamp):
            raise ValueError(f"clamp {self.clamp!r} is unknown; choose one of {', '.join(get_args(Clamp))}")

    @classmethod
    def of(cls, name: MethodName, preset: Preset = "release", **options: Any) -> Method:
        """Make a method with a preset's settings, single options overridden.

        Preset "release" normalises rows in AR and GAR, as the code that made the paper's numbers does;
        preset "paper" follows Eq. 7, which does not, for GAR (Abnar and Zuidema's AR always does).
        """
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is unknown; choose one of {', '.join(PRESETS)}")
        return cls(name, **{"normalize_rows": name == "ar" or preset == "release", **options})


@dataclass(frozen=True)
class Explanation:
    """Logits (B, C), and for every method asked for its maps, (B, h, w) or (B, K, h, w)."""

    logits: Tensor
    maps: tuple[Tensor, ...]


def explain(
    model: nn.Module, images: Tensor, targets: Tensor | None = None, methods: Sequence[Method] = ()
) -> Explanation:
    """Logits and localization maps by several methods from one forward pass.

    Args:
        model: A timm vision transformer in eval mode. It is left exactly as it was found.
        images: Normalised images, (B, 3, H, W).
        targets: Class indices: None for each image's predicted class, (B,), or (B, K).
        methods: The maps to make.

    Returns:
        Detached logits and maps on the model's patch grid, on its device, one entry a method.

    Raises:
        CaptureError: If the model's attention cannot be captured.
        ValueError: If the model is in training mode, or images or targets have a wrong shape or range.
    """
    if model.training:
        raise ValueError(
            "the model is in training mode (dropout and p-ADL would act); call model.eval() first"
        )
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images have shape {tuple(images.shape)}, not (B, 3, H, W) with B > 0")
    needs_gradient = any(method.name == "gar" for method in methods)
    if needs_gradient and torch.is_inference_mode_enabled():
        raise ValueError(
            "GAR needs gradients, which torch.inference_mode() rules out; leave it, or use torch.no_grad()"
        )
    height, width = patch_grid(model, images)
    prefix = getattr(model, "num_prefix_tokens", 1)
    tokens = prefix + height * width

    with capture_attention(model) as capture, torch.set_grad_enabled(needs_gradient):
        logits = model(images)
        attention = capture.matrices(len(images), tokens)
        classes = _classes(targets, logits)
        row = readout_row(model, tokens)
        rows: list[list[Tensor]] = [[] for _ in methods]
        for k in range(classes.shape[1]):
            if needs_gradient:
                score = logits.gather(1, classes[:, k : k + 1]).sum()
                gradients = capture.gradients(score, attention, keep_graph=k + 1 < classes.shape[1])
            with torch.no_grad():
                for made, method in zip(rows, methods, strict=True):
                    if method.name == "ar":
                        made.append(attention_rollout(attention, row, normalize_rows=method.normalize_rows))
                    else:
                        made.append(
                            gradient_attention_rollout(
                                attention,
                                gradients,
                                row,
                                normalize_rows=method.normalize_rows,
                                clamp=method.clamp,
                            )
                        )

    maps = [torch.stack(made, dim=1)[..., prefix:].unflatten(-1, (height, width)).detach() for made in rows]
    if targets is None or targets.ndim == 1:
        maps = [stack.squeeze(1) for stack in maps]
    return Explanation(logits.detach(), tuple(maps))


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
        images: Normalised images, (B, 3, H, W).
        targets: Class indices: None for each image's predicted class, (B,), or (B, K).
        method: "ar" (class-agnostic) or "gar" (Eqs. 7-8).
        preset: "release" as the paper's released code, "paper" as its equations; see `Method.of`.
        **options: Single settings of `Method` that override the preset.

    Returns:
        (B, h, w), or (B, K, h, w) for (B, K) targets, non-negative, not rescaled.

    Raises:
        CaptureError: If the model's attention cannot be captured.
        ValueError: If the model is in training mode, or an argument is wrong.
    """
    return explain(model, images, targets, [Method.of(method, preset, **options)]).maps[0]


def _classes(targets: Tensor | None, logits: Tensor) -> Tensor:
    """Targets as (B, K) indices, checked."""
    if targets is None:
        return logits.argmax(dim=1, keepdim=True)
    batch, count = logits.shape
    if targets.ndim not in (1, 2) or len(targets) != batch or targets.is_floating_point():
        raise ValueError(
            f"targets have shape {tuple(targets.shape)} and type {targets.dtype}; "
            f"give class indices of shape ({batch},) or ({batch}, K)"
        )
    wrong = ((targets < 0) | (targets >= count)).nonzero()
    if len(wrong):
        index = wrong[0].tolist()
        raise ValueError(
            f"targets{index} = {targets[tuple(index)].item()} is no class of this model (0..{count - 1})"
        )
    return targets.reshape(batch, -1).to(logits.device)
