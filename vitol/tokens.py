r"""How a vision transformer lays out its tokens, and which of them its head reads.

B images, N tokens (prefix tokens first), P prefix tokens, h x w patch grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitol.attention import CaptureError


def prefix_tokens(model: nn.Module) -> int:
    """P, how many tokens (class, distillation, registers) come before the patches."""
    return int(getattr(model, "num_prefix_tokens", getattr(model, "cls_token", None) is not None))


def patch_grid(model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Rows and columns (h, w) of the patch grid that the model makes of a batch of images (B, 3, H, W).

    Raises:
        CaptureError: If the model has no patch embedding of timm's.
    """
    embed = getattr(model, "patch_embed", None) or getattr(model, "embeds", None)  # NaFlexViT: embeds
    if embed is None or not hasattr(embed, "dynamic_feat_size"):
        raise CaptureError(
            f"{type(model).__name__} has no timm `patch_embed`: its tokens cannot be laid out on a grid"
        )
    height, width = embed.dynamic_feat_size(tuple(images.shape[-2:]))
    return height, width


def readout_row(model: nn.Module, tokens: int) -> Tensor:
    """Return the weights with which the model's head reads the last block's tokens: where a rollout starts.

    The class token's unit row (the paper), the mean of class and distillation token for a distilled DeiT,
    the mean of all patches for average pooling.

    Args:
        model: A timm vision transformer.
        tokens: N, prefix tokens and patches.

    Returns:
        (N,), non-negative, summing to 1, on the CPU.

    Raises:
        CaptureError: If the model pools in a way that has no such row.
    """
    prefix = prefix_tokens(model)
    pool = getattr(model, "global_pool", "token")
    row = torch.zeros(tokens)
    if pool == "token":
        row[: 2 if hasattr(model, "head_dist") else 1] = 1
    elif pool == "avg":
        row[0 if getattr(model, "pool_include_prefix", False) else prefix :] = 1
    else:
        raise CaptureError(
            f"{type(model).__name__} pools its tokens by {pool!r}; only 'token' and 'avg' have a row"
        )
    return row / row.sum()
