r"""Attention rollout (AR) and gradient attention rollout (GAR): Eqs. 7-8.

B images, H heads, N tokens. Of the product of all blocks' matrices only one row is wanted, the one the head
reads (section 3.2, last paragraph). Carrying that row through the blocks from the last to the first costs
O(N^2) a block where the product of the whole matrices costs O(N^3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

Clamp = Literal["heads", "mean"]


def roll_out(transitions: Iterable[Tensor], row: Tensor, *, normalize_rows: bool) -> Tensor:
    r"""Row of the product of (I + T_b) over blocks, later blocks on the left: Eq. 8, Eq. 10.

    The paper writes the product from b = 1 to K; the order here, T_K ... T_1, is the released code's, and
    the one in which the class token's row is the class token of the last block.

    Args:
        transitions: T_b, **last block first**, (B, N, N) each, non-negative.
        row: The row vector to start from, (N,) or (B, N).
        normalize_rows: Divide every row of I + T_b by its sum before multiplying (the released code; not
            in Eqs. 7-10).

    Returns:
        (B, N).
    """
    result = row
    for transition in transitions:
        result = result.to(transition).expand(len(transition), -1)
        if normalize_rows:
            result = result / (1 + transition.sum(dim=-1))
        result = result + torch.einsum("bi,bij->bj", result, transition)
    return result


def attention_rollout(attention: Sequence[Tensor], row: Tensor, *, normalize_rows: bool = True) -> Tensor:
    r"""Attention rollout of Abnar and Zuidema: head-averaged attention, accumulated over blocks.

    Args:
        attention: Every block's softmax output, first block first, (B, H, N, N) each.
        row: Where the head reads, (N,), see `vitol.attention.readout_row`.
        normalize_rows: Rows of A + I summing to 1, as in the original and in the released code.

    Returns:
        How much every token contributes to the row, (B, N). Sums to 1 if rows are normalised.
    """
    return roll_out(
        (matrix.mean(dim=1) for matrix in reversed(attention)), row, normalize_rows=normalize_rows
    )


def gradient_attention_rollout(
    attention: Sequence[Tensor],
    gradients: Sequence[Tensor],
    row: Tensor,
    *,
    normalize_rows: bool = True,
    clamp: Clamp = "heads",
) -> Tensor:
    r"""Gradient attention rollout: attention weighted by the positive part of its gradient, Eqs. 7-8.

    Args:
        attention: Every block's softmax output, first block first, (B, H, N, N) each.
        gradients: Gradient of the class's logit with respect to them, same shapes and order.
        row: Where the head reads, (N,), see `vitol.attention.readout_row`.
        normalize_rows: Rows of I + T summing to 1: the released code. Eq. 7 shows no normalisation.
        clamp: "heads" clamps every head at zero and then averages: the paper's text ("for each attention
            head") and the released code. "mean" averages first: Eq. 7 as it is typeset.

    Returns:
        How much every token contributes to the row, (B, N), non-negative.
    """
    weighted = (a * g for a, g in zip(reversed(attention), reversed(gradients), strict=True))
    transitions = (
        m.clamp(min=0).mean(dim=1) if clamp == "heads" else m.mean(dim=1).clamp(min=0) for m in weighted
    )
    return roll_out(transitions, row, normalize_rows=normalize_rows)
