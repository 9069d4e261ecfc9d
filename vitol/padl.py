r"""Patch-based attention dropout (p-ADL): Eqs. 3-6, and putting it into a timm vision transformer.

B images, N tokens (class token included), D width.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vitol.batches import own_draws
from vitol.precision import wide_type
from vitol.tokens import prefix_tokens

Position = Literal["MMp", "MpM"]
POSITIONS: tuple[Position, ...] = get_args(Position)


def mean_activation(tokens: Tensor) -> Tensor:
    r"""Mean of every token over the embedding dimension, Eq. 3.

    Args:
        tokens: Block output O, those that take part: by footnote 1 of the paper the class token too, (B, N, D).

    Returns:
        mu_att, (B, N, 1), at least float32: in bfloat16 neighbouring values near the limit of Eq. 5 would be equal.
    """
    return tokens.mean(dim=-1, keepdim=True, dtype=wide_type(tokens))


def importance_map(tokens: Tensor) -> Tensor:
    r"""Weight every token by the sigmoid of its mean activation, Eq. 4.

    Args:
        tokens: Block output, those that take part, (B, N, D).

    Returns:
        M_imp, in (0, 1), (B, N, 1), of the tokens' type. Differentiable.

    >>> importance_map(torch.tensor([[[0.0], [2.0]]])).squeeze()
    tensor([0.5000, 0.8808])
    """
    return mean_activation(tokens).sigmoid().to(tokens.dtype)


def drop_mask(tokens: Tensor, threshold: float) -> Tensor:
    r"""Mask the tokens whose mean activation comes near the image's maximum, Eq. 5.

    With a negative maximum and a threshold below 1 nothing is dropped, since the limit then lies above the
    maximum; at threshold 1 the maximum itself is dropped whatever its sign.

    Args:
        tokens: Block output, those that take part, (B, N, D).
        threshold: lambda, the fraction of the maximum from which a token is dropped, in [0, 1].

    Returns:
        1 where a token is kept, 0 where it is dropped, (B, N, 1). Carries no gradient.

    >>> drop_mask(torch.tensor([[[1.0], [4.0], [2.0]]]), threshold=0.9).squeeze()
    tensor([1., 0., 1.])
    """
    mean = mean_activation(tokens.detach())
    return (mean < threshold * mean.amax(dim=1, keepdim=True)).to(tokens.dtype)


class PatchAttentionDropout(nn.Module):
    r"""p-ADL, Eq. 6: multiply the tokens by the drop mask or by the importance map, drawn at random.

    In training mode the drop mask is taken when a uniform draw from [0, 1) is below `drop_rate`, else the
    importance map. Draws come from torch's generator of the CPU, on any device. In eval mode the layer is the
    identity (section 4.3: p-ADL is not used during inference). It has no parameters and no buffers.

    Args:
        drop_rate: alpha, the probability of the drop mask, in [0, 1]; the paper's value by default.
        drop_threshold: lambda of Eq. 5, in [0, 1]; the paper's value by default.
        per_image: Draw once for every image instead of once for the batch. The paper does not say; the
            released code draws once a forward pass and block for the whole batch, as is the default here.
        spared: How many tokens at the front take no part: they count neither for the maximum of Eq. 5 nor are they
            dropped or weighted. None in the paper (its footnote 1) and in the released code.

    Raises:
        ValueError: If a rate or threshold lies outside [0, 1], or fewer tokens than none are spared.
    """

    def __init__(
        self,
        drop_rate: float = 0.75,
        drop_threshold: float = 0.9,
        *,
        per_image: bool = False,
        spared: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("drop_rate", drop_rate), ("drop_threshold", drop_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} = {value} lies outside [0, 1]")
        if spared < 0:
            raise ValueError(f"spared = {spared} tokens is negative; none is 0")
        self.drop_rate = drop_rate
        self.drop_threshold = drop_threshold
        self.per_image = per_image
        self.spared = spared

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply Eq. 6 to tokens of shape (B, N, D), class token included; same shape out."""
        if not self.training:
            return tokens
        if self.spared:
            spared, rest = tokens[:, : self.spared], tokens[:, self.spared :]
            return torch.cat([spared, self._drop_or_weight(rest)], dim=1)
        return self._drop_or_weight(tokens)

    def _drop_or_weight(self, tokens: Tensor) -> Tensor:
        """Eq. 6 for the tokens that take part."""
        if not self.per_image:
            # Drawn where Python can look at it without waiting for a GPU, so that only one of the two is made.
            dropped = torch.rand(1).item() < self.drop_rate
            return tokens * (drop_mask(tokens, self.drop_threshold) if dropped else importance_map(tokens))
        draws = own_draws(len(tokens), 1, 1).to(tokens.device)
        mask = drop_mask(tokens, self.drop_threshold)
        return tokens * torch.where(draws < self.drop_rate, mask, importance_map(tokens))

    def extra_repr(self) -> str:
        """Show the layer's settings in a model's printout."""
        return (
            f"drop_rate={self.drop_rate}, drop_threshold={self.drop_threshold}, per_image={self.per_image}, "
            f"spared={self.spared}"
        )


class InsertedPADL:
    """The p-ADL layers put into a model by `insert_padl`; `remove` (or leaving a `with`) takes them out.

    While they are in, every block has a submodule `padl`, so `model.train()` and `model.eval()` reach it
    and printing the model shows it; having no tensors, it adds nothing to the model's state dict.
    """

    def __init__(self, blocks: list[nn.Module], undo: list[Callable[[], None]]) -> None:
        self._blocks = blocks
        self._undo = undo

    def remove(self) -> None:
        """Take the layers out again. Safe to call twice."""
        while self._undo:
            self._undo.pop()()
        while self._blocks:
            del self._blocks.pop().padl

    def __enter__(self) -> InsertedPADL:
        """Return self: the layers are already in."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the layers out, also after an exception."""
        self.remove()


def insert_padl(
    model: nn.Module,
    position: Position = "MMp",
    *,
    drop_rate: float = 0.75,
    drop_threshold: float = 0.9,
    per_image: bool = False,
    class_token: bool = True,
) -> InsertedPADL:
    """Put p-ADL into every encoder block of a timm vision transformer, at a position of Table 4.

    Args:
        model: A timm vision transformer: `model.blocks`, each block with the residual branches
            `drop_path1` (attention) and `drop_path2` (MLP). The model is changed in place.
        position: "MMp", after the MLP: on the block's output. "MpM", between attention and MLP: on the
            stream after the attention's residual sum, as in the released code's unused lines.
        drop_rate: alpha of Eq. 6.
        drop_threshold: lambda of Eq. 5.
        per_image: See `PatchAttentionDropout`.
        class_token: Whether the class token (and any other prefix token) takes part, as in the paper's footnote 1
            and the released code; False is the ablation without it.

    Returns:
        A handle that takes the layers out again, leaving modules, state dict and outputs as before.

    Raises:
        ValueError: If the position is unknown, the model has no such blocks, or p-ADL is in already.
    """
    if position not in POSITIONS:
        raise ValueError(f"position {position!r} is unknown; p-ADL goes to one of {', '.join(POSITIONS)}")
    blocks = list(getattr(model, "blocks", ()))
    if not blocks:
        raise ValueError(
            f"{type(model).__name__} has no `blocks`: p-ADL needs a timm vision transformer with encoder "
            "blocks"
        )
    for index, block in enumerate(blocks):
        if hasattr(block, "padl"):
            raise ValueError(f"blocks[{index}] has p-ADL already; call remove() on its handle first")
        if not isinstance(getattr(block, "drop_path1", None), nn.Module):
            raise ValueError(
                f"blocks[{index}] is a {type(block).__name__} without `drop_path1`: its attention branch and "
                "MLP branch cannot be told apart, so p-ADL has no place in it"
            )

    hook = _hook_after_mlp if position == "MMp" else _hook_between
    spared = 0 if class_token else prefix_tokens(model)
    layers = [
        PatchAttentionDropout(drop_rate, drop_threshold, per_image=per_image, spared=spared).train(
            block.training
        )
        for block in blocks
    ]
    undo: list[Callable[[], None]] = []
    for block, layer in zip(blocks, layers, strict=True):
        block.add_module("padl", layer)
        undo += hook(block, layer)
    return InsertedPADL(blocks, undo)


def _hook_after_mlp(block: nn.Module, layer: PatchAttentionDropout) -> list[Callable[[], None]]:
    """Apply the layer to the block's output."""

    def after_block(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return layer(output)

    return [block.register_forward_hook(after_block).remove]


def _hook_between(block: nn.Module, layer: PatchAttentionDropout) -> list[Callable[[], None]]:
    """Apply the layer to x + a, the sum that the block forms from its input x and its attention branch a.

    No module of a timm block outputs that sum. The branch's last module is `drop_path1`, so its output is
    replaced by layer(x + a) - x: the block's own sum then gives layer(x + a), exactly 0 where it is dropped.
    """
    entered: list[Tensor] = []

    def before_block(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        entered[:] = [args[0]]

    def after_attention(_: nn.Module, __: object, branch: Tensor) -> Tensor:
        stream = entered.pop()
        return layer(stream + branch) - stream if layer.training else branch

    branch_end: nn.Module = block.drop_path1  # type: ignore[assignment]
    return [
        block.register_forward_pre_hook(before_block).remove,
        branch_end.register_forward_hook(after_attention).remove,
    ]
