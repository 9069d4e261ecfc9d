r"""Forward and backward passes that map methods share: token scores of several methods from one forward pass.

B images, K classes an image, C classes in all, H heads, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vitol.attention import CaptureError, capture_attention
from vitol.methods import ABOUT, Method
from vitol.other_maps import class_attention, legrad, token_grad_cam
from vitol.precision import no_tf32
from vitol.propagation import Propagation, exact_arithmetic
from vitol.relevance import CHEFER, attn_lrp
from vitol.rollout import Rollout, attention_rollout, fuse_heads, gar_transition, lrp_transition
from vitol.tokens import prefix_tokens, readout_row

Visit = Callable[[int, Tensor], None]


class Scored(NamedTuple):
    """Logits (B, C), classes (B, K), and each method's token scores, K times (B, N)."""

    logits: Tensor
    classes: Tensor
    scores: dict[Method, list[Tensor]]


def score_directly(
    model: nn.Module, images: Tensor, targets: Tensor | None, methods: Sequence[Method], tokens: int
) -> Scored:
    """Token scores by methods of attention, tokens and gradients, in the model's float type.

    Args:
        model: A timm vision transformer in eval mode.
        images: (B, 3, H, W).
        targets: (B,), (B, K) or None for the predicted classes.
        methods: Methods without relevance.
        tokens: N.

    Raises:
        CaptureError, ValueError: As `vitol.maps.explain`.
    """
    of = {name: [m for m in methods if m.name == name] for name in ABOUT}
    by_gradient = [m for m in methods if ABOUT[m.name].of_class]
    fusions = {m.heads for m in of["ar"]}
    alone = len(fusions) == 1 and len(of["ar"]) == len(methods)
    capture_of = capture_attention(
        model,
        keep=partial(fuse_heads, heads=fusions.pop()) if alone else None,
        from_tokens=bool(of["gradcam"]),
        activations=bool(of["gradcam"] or of["legrad"]),
    )
    with no_tf32(), capture_of as capture, torch.set_grad_enabled(bool(by_gradient)):
        logits = _class_scores(model, model(images))
        attention = capture.matrices(len(images), tokens)
        _check_start(methods, len(attention))
        classes = _classes(targets, logits)
        count = classes.shape[1]
        scores: dict[Method, list[Tensor]] = {m: [] for m in methods}
        for m in methods:
            if not ABOUT[m.name].of_class:
                scores[m] = [_without_class(m, attention, readout_row(model, tokens))] * count
        activations = [capture.last_input] if of["gradcam"] and capture.last_input is not None else []
        for k, column in enumerate(classes.T if of["gar"] or of["gradcam"] else ()):
            rollouts = _rollouts(of["gar"], model, tokens)
            gradients = capture.pull_back(
                logits,
                _one_hot(column, logits),
                _roll_gradients(rollouts, attention),
                also=activations,
                keep_graph=bool(of["legrad"]) or k + 1 < count,
            )
            for m, rollout in rollouts.items():
                scores[m].append(rollout.row)
            for m in of["gradcam"]:
                scores[m].append(token_grad_cam(activations[0].detach(), gradients[0], prefix_tokens(model)))
        for m in of["legrad"]:
            scores[m] = legrad(model, list(capture.outputs.values()), attention, classes)
    return Scored(logits.detach(), classes, scores)


def score_by_relevance(
    model: nn.Module, images: Tensor, targets: Tensor | None, methods: Sequence[Method], tokens: int
) -> Scored:
    """Token scores by methods that propagate relevance, all in the precision of the first of them.

    The model itself is not converted: its parameters are replaced, in this forward pass alone, by copies of the
    float type that is needed. (So tensors that are neither parameters nor buffers keep their type; timm has none.)

    Args:
        model: A timm vision transformer in eval mode.
        images: (B, 3, H, W).
        targets: (B,), (B, K) or None for the predicted classes.
        methods: Methods of relevance.
        tokens: N.

    Returns:
        Logits and scores in the model's float type, at least float32.

    Raises:
        CaptureError, ValueError: As `vitol.maps.explain`.
    """
    of = {name: [m for m in methods if m.name == name] for name in ABOUT}
    precision = methods[0].precision
    own = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    kind = own if precision == "model" else torch.float64
    linear_type = kind if precision == "double" else own
    originals = {
        name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    state = {n: tensor.to(kind) if tensor.is_floating_point() else tensor for n, tensor in originals.items()}
    narrow = {state[name]: tensor for name, tensor in originals.items() if tensor.dtype == linear_type}
    propagation = Propagation(len(images), linear_type, narrow)
    scores: dict[Method, list[Tensor]] = {m: [] for m in methods}
    with capture_attention(model, from_tokens=True) as capture, exact_arithmetic(images.device):
        with propagation, propagation.naming(model), torch.enable_grad():
            logits = _class_scores(model, functional_call(model, state, (images.to(kind),)))
        _check_start(methods, len(capture.matrices(len(images), tokens)))
        classes = _classes(targets, logits)
        assert capture.entering is not None, "the graph starts at the tokens"
        of_tokens = [capture.entering]
        for column in classes.T:
            signal = _one_hot(column, logits)
            pull_back = partial(capture.pull_back, logits, keep_graph=True)
            gradients: dict[int, Tensor] = {}
            if of["lrp"]:
                with propagation.under(None):
                    pull_back(signal, _keep_gradients(gradients, propagation.linear_type))
            rollouts = _rollouts([*of["lrp"], *of["relevance"]], model, tokens)
            if rollouts or of["full-lrp"]:
                visit = _roll_relevance(rollouts, gradients)
                with propagation.under(CHEFER):
                    entering = pull_back(signal, visit, also=of_tokens if of["full-lrp"] else [])
                for m, rollout in rollouts.items():
                    scores[m].append(rollout.row)
                for m in of["full-lrp"]:
                    scores[m].append(entering[0].sum(dim=-1).relu())
            for m in of["attnlrp"]:
                with propagation.under(attn_lrp(m.gamma)):
                    entering = pull_back(signal * logits.detach(), also=of_tokens)
                scores[m].append(entering[0].sum(dim=-1).relu())
    in_own = {m: [row.to(own) for row in rows] for m, rows in scores.items()}
    return Scored(logits.detach().to(own), classes, in_own)


def _without_class(method: Method, attention: Sequence[Tensor], row: Tensor) -> Tensor:
    """Token scores (B, N) of a method that does not depend on the class."""
    with torch.no_grad():
        if method.name == "attention":
            return class_attention(attention[-1], row)
        return attention_rollout(
            attention,
            row,
            normalize_rows=bool(method.normalize_rows),
            heads=method.heads,
            start_block=method.start_block,
        )


def _rollouts(methods: Sequence[Method], model: nn.Module, tokens: int) -> dict[Method, Rollout]:
    """An empty rollout for every method, with its settings."""
    return {
        m: Rollout(
            readout_row(model, tokens), normalize_rows=bool(m.normalize_rows), start_block=m.start_block
        )
        for m in methods
    }


def _roll_gradients(rollouts: dict[Method, Rollout], attention: Sequence[Tensor]) -> Visit:
    """GAR during a backward pass; methods with the same clamp share its transitions."""

    def visit(block: int, gradient: Tensor) -> None:
        clamps = {m.clamp for m in rollouts}
        transitions = {clamp: gar_transition(attention[block], gradient, clamp) for clamp in clamps}
        for m, rollout in rollouts.items():
            rollout.multiply(block, transitions[m.clamp])

    return visit


def _keep_gradients(gradients: dict[int, Tensor], kind: torch.dtype) -> Visit:
    """Keep what arrives at every block, until relevance comes by."""

    def visit(block: int, gradient: Tensor) -> None:
        gradients[block] = gradient.to(kind)

    return visit


def _roll_relevance(rollouts: dict[Method, Rollout], gradients: dict[int, Tensor]) -> Visit:
    """LRP, or relevance alone, during the pass of relevance; gradients are dropped once used."""

    def visit(block: int, relevance: Tensor) -> None:
        gradient = gradients.pop(block, None)
        for m, rollout in rollouts.items():
            if gradient is not None and m.name == "lrp":
                rollout.multiply(block, lrp_transition(gradient, relevance))
            else:
                rollout.multiply(block, fuse_heads(relevance.relu()))

    return visit


def _class_scores(model: nn.Module, output: object) -> Tensor:
    """What a model returned, if it is a score a class."""
    if not isinstance(output, Tensor) or output.ndim != 2:
        seen = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise CaptureError(
            f"{type(model).__name__} returns {seen}, not class scores (B, C); maps need a model that pools its "
            "tokens and has a head"
        )
    return output


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    """(B, C) with a one at every image's class."""
    return torch.zeros_like(logits).scatter_(1, classes[:, None], 1)


def _check_start(methods: Sequence[Method], depth: int) -> None:
    """Refuse a rollout over no block."""
    for method in methods:
        if method.start_block >= depth:
            raise ValueError(f"start_block = {method.start_block}, but the model's blocks are 0..{depth - 1}")


def _classes(targets: Tensor | None, logits: Tensor) -> Tensor:
    """Targets as (B, K) indices, those of the predicted classes if there are none."""
    if targets is None:
        return logits.argmax(dim=1, keepdim=True)
    count = logits.shape[1]
    wrong = ((targets < 0) | (targets >= count)).nonzero()
    if len(wrong):
        index = wrong[0].tolist()
        raise ValueError(
            f"targets{index} = {targets[tuple(index)].item()} is no class of this model (0..{count - 1})"
        )
    return targets.reshape(len(logits), -1)
