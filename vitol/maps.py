r"""One verb over the map methods: a batch of images and classes in, localization maps out.

B images, K classes an image, C classes in all, N tokens, P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vitol.attention import capture_attention
from vitol.methods import ABOUT, METHODS, PRESETS, Method, MethodName, Preset
from vitol.propagation import Propagation, exact_arithmetic
from vitol.relevance import CHEFER, attn_lrp
from vitol.rivals import class_attention, legrad, token_grad_cam
from vitol.rollout import Rollout, attention_rollout, fuse_heads, gar_transition, lrp_transition
from vitol.tokens import patch_grid, prefix_tokens, readout_row

__all__ = ["METHODS", "PRESETS", "Explanation", "Method", "explain", "localization_maps"]


@dataclass(frozen=True)
class Explanation:
    """Logits (B, C), and for every method asked for its maps, (B, h, w) or (B, K, h, w)."""

    logits: Tensor
    maps: tuple[Tensor, ...]


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
        Detached logits and maps on the model's patch grid, on its device, one entry a method.

    Raises:
        CaptureError: If the model's attention cannot be captured, or relevance has no rule for what it does.
        ValueError: If the model is in training mode, gradients are ruled out, or images or targets have a wrong
            shape, device or range.
    """
    model = getattr(model, "_orig_mod", model)  # a model under torch.compile wraps its own
    methods = list(methods)
    _check(model, images, methods)
    grid, prefix = patch_grid(model, images), prefix_tokens(model)
    tokens = prefix + grid[0] * grid[1]
    distinct = list(dict.fromkeys(methods))
    groups = [(_direct, [m for m in distinct if not ABOUT[m.name].by_relevance])]
    for precision in dict.fromkeys(m.precision for m in distinct if ABOUT[m.name].by_relevance):
        of_one = [m for m in distinct if ABOUT[m.name].by_relevance and m.precision == precision]
        groups.append((_by_relevance, of_one))

    scores: dict[Method, list[Tensor]] = {}
    logits, classes = None, targets
    for make, members in groups:
        if members or not methods:
            own_logits, classes, found = make(model, images, classes, members, tokens)
            logits = own_logits if logits is None else logits
            scores |= found
    assert logits is not None
    maps = [torch.stack(scores[m], dim=1)[..., prefix:].unflatten(-1, grid) for m in methods]
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


Scores = dict[Method, list[Tensor]]  # K times (B, N)


def _direct(
    model: nn.Module, images: Tensor, targets: Tensor | None, methods: list[Method], tokens: int
) -> tuple[Tensor, Tensor, Scores]:
    """Logits, classes (B, K) and token scores by methods of attention, tokens and gradients."""
    by_gradient = [m for m in methods if ABOUT[m.name].of_class]
    fusions = {m.heads for m in methods if m.name == "ar"}
    lean = not by_gradient and len(fusions) == 1 and {m.name for m in methods} == {"ar"}
    keep = partial(fuse_heads, heads=next(iter(fusions))) if lean else None
    activations = any(m.name in ("gradcam", "legrad") for m in methods)
    with (
        capture_attention(model, keep=keep, activations=activations) as capture,
        torch.set_grad_enabled(bool(by_gradient)),
    ):
        logits = model(images)
        attention = capture.matrices(len(images), tokens)
        _check_start(methods, len(attention))
        classes = _classes(targets, logits)
        scores: Scores = {m: [] for m in methods}
        with torch.no_grad():
            for m in methods:
                if m.name == "ar":
                    row = readout_row(model, tokens)
                    settings = dict(normalize_rows=m.normalize_rows, heads=m.heads, start_block=m.start_block)
                    scores[m] = [attention_rollout(attention, row, **settings)] * classes.shape[1]  # type: ignore[arg-type]
                elif m.name == "attention":
                    row = readout_row(model, tokens)
                    scores[m] = [class_attention(attention[-1], row)] * classes.shape[1]
        of_legrad = [m for m in methods if m.name == "legrad"]
        of_cam = [m for m in methods if m.name == "gradcam"]
        of_gar = [m for m in methods if m.name == "gar"]
        for k, column in enumerate(classes.T if of_cam or of_gar else ()):
            rollouts = {m: _rollout(model, tokens, m) for m in of_gar}

            def visit(block: int, gradient: Tensor, rollouts: dict[Method, Rollout] = rollouts) -> None:
                for clamp in dict.fromkeys(m.clamp for m in rollouts):
                    transition = gar_transition(attention[block], gradient, clamp)
                    for m, rollout in rollouts.items():
                        if m.clamp == clamp:
                            rollout.multiply(block, transition)

            also = [capture.last_input] if of_cam and capture.last_input is not None else []
            more = bool(of_legrad) or k + 1 < classes.shape[1]
            found = capture.pull_back(logits, _one_hot(column, logits), visit, also=also, keep_graph=more)
            for m, rollout in rollouts.items():
                scores[m].append(rollout.row)
            for m in of_cam:
                scores[m].append(token_grad_cam(also[0].detach(), found[0], prefix_tokens(model)))
        for m in of_legrad:
            scores[m] = legrad(model, list(capture.outputs.values()), attention, classes)
    return logits, classes, scores


def _by_relevance(
    model: nn.Module, images: Tensor, targets: Tensor | None, methods: list[Method], tokens: int
) -> tuple[Tensor, Tensor, Scores]:
    """Logits, classes (B, K) and token scores by methods that propagate relevance in one precision."""
    own = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    kind = own if methods[0].precision == "model" else torch.float64
    state = {
        name: tensor.detach().to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    propagation = Propagation(len(images), kind if methods[0].precision == "double" else own)
    of_lrp, of_relevance, of_tokens = (
        [m for m in methods if m.name == name] for name in ("lrp", "relevance", "full-lrp")
    )
    scores: Scores = {m: [] for m in methods}
    with capture_attention(model, from_tokens=True) as capture, exact_arithmetic(images.device):
        with propagation, torch.enable_grad():
            logits = functional_call(model, state, (images.to(kind),))
        _check_start(methods, len(capture.matrices(len(images), tokens)))
        classes = _classes(targets, logits)
        assert capture.entering is not None
        for column in classes.T:
            signal = _one_hot(column, logits)
            gradients: dict[int, Tensor] = {}
            if of_lrp:

                def keep(block: int, gradient: Tensor, gradients: dict[int, Tensor] = gradients) -> None:
                    gradients[block] = gradient.to(propagation.linear_type)

                with propagation.under(None):
                    capture.pull_back(logits, signal, keep, keep_graph=True)
            rollouts = {m: _rollout(model, tokens, m) for m in (*of_lrp, *of_relevance)}

            def visit(
                block: int,
                relevance: Tensor,
                rollouts: dict[Method, Rollout] = rollouts,
                gradients: dict[int, Tensor] = gradients,
            ) -> None:
                gradient = gradients.pop(block, None)
                for m, rollout in rollouts.items():
                    if m.name == "lrp":
                        assert gradient is not None
                        rollout.multiply(block, lrp_transition(gradient, relevance))
                    else:
                        rollout.multiply(block, fuse_heads(relevance.relu()))

            if rollouts or of_tokens:
                also = [capture.entering] if of_tokens else []
                with propagation.under(CHEFER):
                    found = capture.pull_back(logits, signal, visit, also=also, keep_graph=True)
                for m, rollout in rollouts.items():
                    scores[m].append(rollout.row)
                for m in of_tokens:
                    scores[m].append(found[0].sum(dim=-1).relu())
            for m in methods:
                if m.name == "attnlrp":
                    with propagation.under(attn_lrp(m.gamma)):
                        of_logit = signal * logits.detach()
                        found = capture.pull_back(logits, of_logit, also=[capture.entering], keep_graph=True)
                    scores[m].append(found[0].sum(dim=-1).relu())
    return logits.to(own), classes, {m: [row.to(own) for row in rows] for m, rows in scores.items()}


def _rollout(model: nn.Module, tokens: int, method: Method) -> Rollout:
    """An empty rollout with a method's settings."""
    row = readout_row(model, tokens)
    return Rollout(row, normalize_rows=method.normalize_rows, start_block=method.start_block)


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    """(B, C) with a one at every image's class."""
    return torch.zeros_like(logits).scatter_(1, classes[:, None], 1)


def _check(model: nn.Module, images: Tensor, methods: Sequence[Method]) -> None:
    """Refuse what would give a wrong map or an obscure error."""
    if model.training:
        raise ValueError(
            "the model is in training mode (dropout and p-ADL would act); call model.eval() first"
        )
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images have shape {tuple(images.shape)}, not (B, 3, H, W) with B > 0")
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != images.device:
        raise ValueError(
            f"images are on {images.device}, the model on {parameter.device}; move one to the other"
        )
    needing = [ABOUT[m.name].title for m in methods if ABOUT[m.name].of_class]
    if not needing:
        return
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


def _check_start(methods: Sequence[Method], depth: int) -> None:
    """Refuse a rollout over no block."""
    for method in methods:
        if method.start_block >= depth:
            raise ValueError(f"start_block = {method.start_block}, but the model's blocks are 0..{depth - 1}")


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
    if targets.device != logits.device:
        raise ValueError(
            f"targets are on {targets.device}, the model on {logits.device}; give targets.to({str(logits.device)!r})"
        )
    wrong = ((targets < 0) | (targets >= count)).nonzero()
    if len(wrong):
        index = wrong[0].tolist()
        raise ValueError(
            f"targets{index} = {targets[tuple(index)].item()} is no class of this model (0..{count - 1})"
        )
    return targets.reshape(batch, -1)
