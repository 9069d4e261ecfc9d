r"""Maps beyond the paper: methods that stand beside AR, GAR and LRP in the same tables.

B images, H heads, N tokens, P prefix tokens, D width. Each gives the scores of all tokens, (B, N).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitol.precision import wide_type
from vitol.rollout import fuse_heads


def class_attention(attention: Tensor, row: Tensor) -> Tensor:
    """What the head's token attends to in one block, mean over heads: "raw attention", as in DINO's figures.

    Args:
        attention: The last block's softmax output, (B, H, N, N).
        row: Where the head reads, (N,), see `vitol.tokens.readout_row`.

    Returns:
        (B, N), summing to 1. It does not depend on a class.
    """
    fused = fuse_heads(attention)
    return torch.einsum("n,bnm->bm", row.to(fused), fused)


def token_grad_cam(tokens: Tensor, gradient: Tensor, prefix: int) -> Tensor:
    r"""Grad-CAM (Selvaraju et al., ICCV 2017, Eqs. 1-2) with patches for pixels and D channels.

    ReLU(sum_d w_d t_d), the weights w_d being the gradient's mean over patches.

    Args:
        tokens: The activations t, (B, N, D); by custom those after the first norm of the last block.
        gradient: The gradient of the class's logit with respect to them, same shape.
        prefix: P; prefix tokens take no part in the mean.

    Returns:
        (B, N), non-negative.
    """
    weights = gradient[:, prefix:].mean(dim=1, dtype=wide_type(gradient))
    return torch.einsum("bnd,bd->bn", tokens.to(weights), weights).relu()


def legrad(
    model: nn.Module, outputs: Sequence[Tensor], attention: Sequence[Tensor], classes: Tensor
) -> list[Tensor]:
    r"""LeGrad (Bousselham et al., ICCV 2025): how the score of every block's output feels its own attention.

    Block b's score s_b is the logit that the model's last norm and head give its output; the map is the mean over
    blocks, heads and query tokens of (d s_b / d A_b)^+. As in their section 3: all blocks take part, and tokens are
    pooled as the model pools them. (Their code for CLIP averages tokens, and starts at a late block.)

    Args:
        model: A timm model with `norm` and `forward_head`.
        outputs: What the blocks returned, first block first, (B, N, D) each, with their autograd graph.
        attention: Their softmax outputs, (B, H, N, N) each.
        classes: (B, K).

    Returns:
        K maps (B, N), non-negative.
    """
    maps = [torch.zeros_like(attention[0][:, 0, 0], dtype=wide_type(attention[0])) for _ in classes.T]
    for output, matrix in zip(outputs, attention, strict=True):
        with torch.enable_grad():
            logits = model.forward_head(model.norm(output))  # type: ignore[operator]
        for scores, column in zip(maps, classes.T, strict=True):
            score = logits.gather(1, column[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, matrix, retain_graph=True)
            scores += gradient.relu().mean(dim=(1, 2), dtype=scores.dtype) / len(attention)
    return maps
