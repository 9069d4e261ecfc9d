r"""The patch drop masks of all encoder blocks in one forward pass: Eq. 5 after every block, Figure 3 of the paper.

B images, L blocks, N tokens (prefix tokens first), P prefix tokens, h x w patch grid, k boxes of an image.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vitol.padl import PatchAttentionDropout, Position, drop_mask, insert_padl, mean_activation
from vitol.tokens import patch_grid, prefix_tokens


class BlockMasks(NamedTuple):
    """What p-ADL sees and drops after every block, on the CPU.

    Attributes:
        means: Mean activation of every token, Eq. 3, (B, L, N).
        kept: False where a token is dropped, Eq. 5, bool (B, L, N).
        patches: `kept` without the prefix tokens, on the patch grid, bool (B, L, h, w).
    """

    means: Tensor
    kept: Tensor
    patches: Tensor


def block_drop_masks(
    model: nn.Module,
    images: Tensor,
    position: Position = "MMp",
    *,
    drop_threshold: float = 0.9,
    class_token: bool = True,
) -> BlockMasks:
    """Let every block drop what its drop mask says, and keep the masks.

    As with an embedding drop rate (alpha) of 1: every block sees what those before it left, as in Figure 3. With the
    paper's 0.75 a forward pass of training takes each of these masks with that probability, and the importance map
    otherwise.

    Args:
        model: A timm vision transformer in eval mode, without p-ADL in it. It is left exactly as it was found, and
            so are torch's random numbers.
        images: Normalised images, (B, 3, H, W), on the model's device.
        position: Where p-ADL goes, see `vitol.padl.insert_padl`.
        drop_threshold: lambda of Eq. 5, in [0, 1].
        class_token: Whether the prefix tokens take part.

    Raises:
        CaptureError: If the model has no patch grid.
        ValueError: If the model is in training mode, or p-ADL cannot be put into it.
    """
    if model.training:
        raise ValueError(
            f"{type(model).__name__} is in training mode, where dropout changes what blocks see; call eval() first"
        )
    (height, width), prefix = patch_grid(model, images), prefix_tokens(model)
    means: list[Tensor] = []
    kept: list[Tensor] = []

    def look(layer: PatchAttentionDropout, args: tuple[Tensor]) -> None:
        taking_part = args[0][:, layer.spared :]
        mask = drop_mask(taking_part, layer.drop_threshold)
        means.append(mean_activation(args[0]).squeeze(-1).cpu())
        kept.append(nn.functional.pad(mask.squeeze(-1), (layer.spared, 0), value=1).bool().cpu())

    settings = {"drop_rate": 1.0, "drop_threshold": drop_threshold, "class_token": class_token}
    with torch.no_grad(), torch.random.fork_rng(devices=[]), ExitStack() as undo:
        undo.enter_context(insert_padl(model, position, **settings))  # type: ignore[arg-type]
        for layer in [module for module in model.modules() if isinstance(module, PatchAttentionDropout)]:
            layer.train()
            layer.register_forward_pre_hook(look)
        model(images)
    shape = (len(images), len(kept), height, width)
    masks = torch.stack(kept, dim=1)
    return BlockMasks(torch.stack(means, dim=1), masks, masks[:, :, prefix:].reshape(shape))


def patches_in_boxes(boxes: np.ndarray, size: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Which patches have their centre in a box of the image.

    Args:
        boxes: x0, y0, x1, y1 in pixels of the image, (k, 4).
        size: Width and height of the image, (2,).
        grid: h, w.

    Returns:
        bool (h, w).

    >>> patches_in_boxes(np.array([[0, 0, 50, 99]]), np.array([100, 100]), (2, 2))
    array([[ True, False],
           [ True, False]])
    """
    ys, xs = ((np.arange(count) + 0.5) / count for count in grid)
    x0, y0, x1, y1 = (np.asarray(boxes) / np.tile(size, 2)).T[..., None, None]
    inside = (x0 <= xs) & (xs <= x1) & (y0 <= ys[:, None]) & (ys[:, None] <= y1)
    return inside.any(axis=0)
