r"""Rollout: what every token contributes to the row that the head reads, through all blocks. Eqs. 7-10.

B images, H heads, N tokens. Of the product of all blocks' matrices only one row is wanted, the one the head
reads (section 3.2, last paragraph). Carrying that row through the blocks from the last to the first costs
O(N^2) a block where the product of the whole matrices costs O(N^3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitol.methods import Clamp, HeadFusion
from vitol.precision import wide_type


class Rollout:
    r"""A row of the product of (I + T_b) over blocks, later blocks on the left, made block by block: Eq. 8, Eq. 10.

    The paper writes the product from b = 1 to K; the order here, T_K ... T_1, is the released code's, and
    the one in which the class token's row is the class token of the last block.

    Args:
        row: The row vector to start from, (N,) or (B, N), see `vitol.tokens.readout_row`.
        normalize_rows: Divide every row of I + T_b by its sum before multiplying (the released code; not
            in Eqs. 7-10).
        start_block: The first block that takes part; those before it are left out of the product.
    """

    def __init__(self, row: Tensor, *, normalize_rows: bool, start_block: int = 0) -> None:
        self.row = row
        self.normalize_rows = normalize_rows
        self.start_block = start_block

    def multiply(self, block: int, transition: Tensor) -> None:
        """Multiply a block in; blocks come last first.

        Args:
            block: Its number, from 0.
            transition: T_b, (B, N, N), non-negative.
        """
        if block < self.start_block:
            return
        row = self.row.to(transition).expand(len(transition), -1)
        if self.normalize_rows:
            row = row / (1 + transition.sum(dim=-1))
        self.row = row + torch.einsum("bi,bij->bj", row, transition)


def fuse_heads(attention: Tensor, heads: HeadFusion = "mean") -> Tensor:
    """One matrix an image from one a head: (B, H, N, N) to (B, N, N), at least float32."""
    if heads == "mean":
        return attention.mean(dim=1, dtype=wide_type(attention))
    return (attention.amin(dim=1) if heads == "min" else attention.amax(dim=1)).to(wide_type(attention))


def gar_transition(attention: Tensor, gradient: Tensor, clamp: Clamp = "heads") -> Tensor:
    r"""E_h((grad A o A)^+) of Eq. 7, a block's share of GAR.

    Args:
        attention: The block's softmax output, (B, H, N, N).
        gradient: The gradient of the class's logit with respect to it, same shape.
        clamp: "heads" clamps every head at zero and then averages: the paper's text ("for each attention
            head") and the released code. "mean" averages first: Eq. 7 as it is typeset.

    Returns:
        (B, N, N), non-negative, at least float32.
    """
    # Widened before the product: in float16 what is below 6e-8 would be 0.
    product = attention.to(wide_type(attention)) * gradient
    return fuse_heads(product.relu_()) if clamp == "heads" else fuse_heads(product).relu_()


def lrp_transition(gradient: Tensor, relevance: Tensor) -> Tensor:
    r"""E_h((grad A o R)^+) of Eq. 9, a block's share of LRP.

    Args:
        gradient: The gradient of the class's logit with respect to the block's softmax output, (B, H, N, N).
        relevance: R of that output, same shape.

    Returns:
        (B, N, N), non-negative. Clamped head by head, as in the released code.
    """
    return fuse_heads((gradient * relevance).relu_())


def attention_rollout(
    attention: Sequence[Tensor],
    row: Tensor,
    *,
    normalize_rows: bool = True,
    heads: HeadFusion = "mean",
    start_block: int = 0,
) -> Tensor:
    r"""Attention rollout (AR) of Abnar and Zuidema: fused attention, accumulated over blocks.

    Args:
        attention: Every block's softmax output, first block first, (B, H, N, N), or fused, (B, N, N), each.
        row: Where the head reads, (N,), see `vitol.tokens.readout_row`.
        normalize_rows: Rows of A + I summing to 1, as in the original and in the released code.
        heads: How heads are fused; the mean in the original, minimum and maximum are usual variants.
        start_block: The first block that takes part.

    Returns:
        How much every token contributes to the row, (B, N). Sums to 1 if rows are normalised.
    """
    rollout = Rollout(row, normalize_rows=normalize_rows, start_block=start_block)
    for block in reversed(range(len(attention))):
        matrix = attention[block]
        rollout.multiply(block, matrix if matrix.ndim == 3 else fuse_heads(matrix, heads))
    return rollout.row


def gradient_attention_rollout(
    attention: Sequence[Tensor],
    gradients: Sequence[Tensor],
    row: Tensor,
    *,
    normalize_rows: bool = True,
    clamp: Clamp = "heads",
    start_block: int = 0,
) -> Tensor:
    r"""Gradient attention rollout (GAR): attention weighted by the positive part of its gradient, Eqs. 7-8.

    Args:
        attention: Every block's softmax output, first block first, (B, H, N, N) each.
        gradients: Gradient of the class's logit with respect to them, same shapes and order.
        row: Where the head reads, (N,), see `vitol.tokens.readout_row`.
        normalize_rows: Rows of I + T summing to 1: the released code. Eq. 7 shows no normalisation.
        clamp: The order of clamping and averaging, see `gar_transition`.
        start_block: The first block that takes part.

    Returns:
        How much every token contributes to the row, (B, N), non-negative.
    """
    rollout = Rollout(row, normalize_rows=normalize_rows, start_block=start_block)
    for block, (a, g) in reversed(list(enumerate(zip(attention, gradients, strict=True)))):
        rollout.multiply(block, gar_transition(a, g, clamp))
    return rollout.row
