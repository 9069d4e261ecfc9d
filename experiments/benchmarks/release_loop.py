r"""The rival of vitol's maps: AR, GAR and LRP one image at a time, as the released code goes about it.

Written from the papers and from what the released code does: forward with unfused attention and every
parameter's gradient wanted; a full `backward` for GAR and LRP, with hooks that keep the gradient of every
attention matrix; relevance propagated layer by layer from inputs that hooks keep, each rule recomputing its
layer and asking autograd for the product with S; and K products of whole N x N matrices, of which one row is
read.

By default it is that loop at its best. `as_released` adds what the released code does besides, at a cost in
time or memory, and which changes no map but by rounding: a forward pass for the predicted class, whose graph
stays alive; the graph of the main pass retained; the inhibiting half of the linear rule, multiplied by 0; the
division and multiplication by the activation where paths meet; and an autograd graph of the propagation.

B images, N tokens (class token first), D width, H heads, K blocks, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitol.models import unfused_attention

LoopMethod = Literal["ar", "gar", "lrp"]
LOOP_METHODS: tuple[LoopMethod, ...] = get_args(LoopMethod)


class Kept:
    """What hooks keep of the latest forward and backward pass, by module."""

    def __init__(self, as_released: bool) -> None:
        self.as_released = as_released
        self.prediction: Tensor | None = None
        self.inputs: dict[nn.Module, Tensor] = {}
        self.outputs: dict[nn.Module, Tensor] = {}
        self.gradients: dict[nn.Module, Tensor] = {}

    def attention(self, module: nn.Module, _: object, output: Tensor) -> None:
        """Keep an attention matrix, and its gradient once it is there (forward hook)."""
        self.outputs[module] = output.detach().requires_grad_()
        if output.requires_grad:
            output.register_hook(partial(self.gradients.__setitem__, module))

    def layer(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep what a layer takes and gives (forward hook)."""
        self.inputs[module] = inputs[0].detach().requires_grad_()
        self.outputs[module] = output.detach().requires_grad_()


def loop_maps(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    method: LoopMethod = "gar",
    *,
    normalize_rows: bool | None = None,
    as_released: bool = False,
) -> Tensor:
    """Localization maps, one image after the other.

    Args:
        model: timm's plain VisionTransformer with a class token, such as DeiT, in eval mode. GAR and LRP
            leave gradients in its parameters, as the released code does.
        images: Normalised images, (B, 3, H, W).
        targets: Class indices, (B,).
        method: "ar", "gar" or "lrp".
        normalize_rows: Divide the rows of I + T by their sum; None as released: AR and GAR do, LRP does not.
        as_released: With the released code's redundant work.

    Returns:
        (B, h, w).
    """
    normalize = method != "lrp" if normalize_rows is None else normalize_rows
    transformer: Any = model
    with ExitStack() as undo:
        undo.enter_context(unfused_attention(model))
        kept = Kept(as_released)
        for block in transformer.blocks:
            undo.callback(block.attn.attn_drop.register_forward_hook(kept.attention).remove)
        if method == "lrp":
            for module in _propagating(transformer):
                undo.callback(module.register_forward_hook(kept.layer).remove)
        rows = []
        for image, target in zip(images, targets, strict=True):
            if as_released:
                kept.prediction = model(image[None])
            logits = model(image[None])
            if method != "ar":
                model.zero_grad()
                logits[0, target].backward(retain_graph=as_released)
            transitions = _transitions(transformer, kept, logits, target, method)
            rows.append(_roll_out(transitions, normalize).detach())
    return torch.stack(rows)[:, 1:].unflatten(1, transformer.patch_embed.grid_size)


def _propagating(transformer: Any) -> Iterable[nn.Module]:
    """The modules whose inputs or outputs the propagation needs."""
    for block in transformer.blocks:
        yield from (block.norm1, block.drop_path1, block.norm2, block.drop_path2)
        yield from (module for module in block.modules() if isinstance(module, nn.Linear))
    yield from (transformer.norm, transformer.head)


def _transitions(
    transformer: Any, kept: Kept, logits: Tensor, target: Tensor, method: LoopMethod
) -> list[Tensor]:
    """T_b of Eq. 8 or 10 or the head mean of AR, first block first, (N, N) each."""
    matrices = [block.attn.attn_drop for block in transformer.blocks]
    if method == "ar":
        return [kept.outputs[matrix].detach()[0].mean(dim=0) for matrix in matrices]
    if method == "gar":
        weighted = [kept.outputs[matrix].detach() for matrix in matrices]
    else:
        weighted = relevance_of_attention(transformer, kept, logits, target)
    pairs = zip(weighted, matrices, strict=True)
    return [(weight * kept.gradients[matrix])[0].clamp(min=0).mean(dim=0) for weight, matrix in pairs]


def _roll_out(transitions: list[Tensor], normalize_rows: bool) -> Tensor:
    """The class token's row of (I + T_K) ... (I + T_1), from products of whole matrices, (N,)."""
    matrices = [torch.eye(len(t), dtype=t.dtype, device=t.device) + t for t in transitions]
    if normalize_rows:
        matrices = [matrix / matrix.sum(dim=-1, keepdim=True) for matrix in matrices]
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return product[0]


def relevance_of_attention(transformer: Any, kept: Kept, logits: Tensor, target: Tensor) -> list[Tensor]:
    """Relevance of every block's attention matrix for one class, first block first, (1, H, N, N) each."""
    start = torch.zeros_like(logits)
    start[0, target] = 1
    normed = kept.outputs[transformer.norm].detach()
    selected = _through_linear(transformer.head, kept, start)
    if kept.as_released:
        selected = normed[:, 0] * _divide(selected, normed[:, 0])
    relevance = F.pad(selected[:, None], (0, 0, 0, normed.shape[1] - 1))  # the other tokens have none
    matrices = []
    for block in reversed(transformer.blocks):
        middle, change = kept.inputs[block.norm2], kept.outputs[block.drop_path2]
        skipped, branch = _through_sum(middle, change, kept, relevance)
        branch = _through_linear(block.mlp.fc1, kept, _through_linear(block.mlp.fc2, kept, branch))
        relevance = _joined(middle, skipped, branch, kept)

        x, change = kept.inputs[block.norm1], kept.outputs[block.drop_path1]
        skipped, branch = _through_sum(x, change, kept, relevance)
        branch = _through_linear(block.attn.proj, kept, branch)
        matrix, branch = _through_attention(block.attn, kept, branch)
        relevance = _joined(x, skipped, _through_linear(block.attn.qkv, kept, branch), kept)
        matrices.append(matrix)
    return matrices[::-1]


def _through_attention(attention: Any, kept: Kept, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance of attention's joined heads (1, N, D) to that of its matrix and of its qkv (1, N, 3 D)."""
    count, heads = relevance.shape[1], attention.num_heads
    qkv = kept.outputs[attention.qkv].detach().reshape(1, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = (part.clone().requires_grad_() for part in qkv)
    of_heads = relevance.reshape(1, count, heads, -1).transpose(1, 2)
    matrix = kept.outputs[attention.attn_drop]
    of_matrix, of_v = (part / 2 for part in _through(torch.matmul, matrix, v, kept, of_heads))
    of_q, of_k = (part / 2 for part in _through(_times_transposed, q, k, kept, of_matrix))
    return of_matrix, torch.stack([of_q, of_k, of_v]).permute(1, 3, 0, 2, 4).reshape(1, count, -1)


def _times_transposed(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(-2, -1)


def _joined(x: Tensor, first: Tensor, second: Tensor, kept: Kept) -> Tensor:
    """Relevance of what went two ways."""
    if kept.as_released:
        return x * (_divide(first, x) + _divide(second, x))
    return first + second


def _divide(relevance: Tensor, output: Tensor) -> Tensor:
    """S = R / (Z + 1e-9), and 0 where Z is 0."""
    bottom = output + 1e-9
    bottom = torch.where(bottom == 0, 1e-9, bottom)
    return relevance / bottom * (output != 0)


def _through(
    function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor, kept: Kept, relevance: Tensor
) -> tuple[Tensor, Tensor]:
    """Relevance of two operands: each times its gradient of <S, f(a, b)>."""
    output = function(a, b)
    with torch.set_grad_enabled(kept.as_released):
        s = _divide(relevance, output)
        of_a, of_b = torch.autograd.grad(output, (a, b), s, retain_graph=kept.as_released)
        return a * of_a, b * of_b


def _through_sum(a: Tensor, b: Tensor, kept: Kept, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """The same for a sum, each term then rescaled to its share of all relevance."""
    parts = _through(torch.add, a, b, kept, relevance)
    sums = [part.sum() for part in parts]
    total = sums[0].abs() + sums[1].abs()
    shares = [_divide(_divide(s.abs(), total) * relevance.sum(), s) for s in sums]
    return parts[0] * shares[0], parts[1] * shares[1]


def _through_linear(layer: nn.Linear, kept: Kept, relevance: Tensor) -> Tensor:
    """Alpha-1 rule: positive inputs by positive weights, negative by negative, without bias."""
    x = kept.inputs[layer].detach()
    positive, negative = x.clamp(min=0).requires_grad_(), x.clamp(max=0).requires_grad_()
    above, below = layer.weight.clamp(min=0), layer.weight.clamp(max=0)

    def shared(with_positive: Tensor, with_negative: Tensor) -> Tensor:
        first, second = F.linear(positive, with_positive), F.linear(negative, with_negative)
        with torch.set_grad_enabled(kept.as_released):
            s = _divide(relevance, first + second)
            of_positive = torch.autograd.grad(first, positive, s)[0]
            of_negative = torch.autograd.grad(second, negative, s)[0]
            return positive * of_positive + negative * of_negative

    return shared(above, below) - 0 * shared(below, above) if kept.as_released else shared(above, below)
