r"""TS-CAM: what a class is made of, times what the class token looks at.

Gao et al., ICCV 2021, "TS-CAM: Token semantic coupled attention map for weakly supervised object localization".
After their code, `vasgaowei/TS-CAM@eeac46b` (`lib/models/deit.py`), with which it is to agree.

B images, C classes, K classes asked for an image, L blocks, H heads, N tokens, D width, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitol.attention import capture_attention
from vitol.cams.skeleton import Localizer, chosen
from vitol.cams.transformer import TransformerFeatures
from vitol.precision import wide_type
from vitol.rollout import fuse_heads
from vitol.tokens import patch_grid, prefix_tokens


class TSCAM(Localizer):
    r"""Semantic maps S_c out of the patch tokens, coupled with the class token's attention: A o S_c.

    - Their semantic re-allocation: a 3 x 3 convolution of the last norm's patch tokens gives S, (C, h, w); its mean is
      the score, trained with cross-entropy. Attention takes no part in training.
    - Their semantic-agnostic attention map: the class token's row of a block's attention, mean over heads, of all
      blocks summed, as in the code. Their mean would be another factor, and the same once a map is stretched to [0, 1].
    - The coupled map is the plain product, `cams` in the code. Neither factor is rescaled or clamped, so the map is
      negative wherever the semantic map is. Their scorer resizes it to the image and only then stretches it to [0, 1];
      so does `vitol.boxes.score_map`.

    Hyperparameters: none.

    Args:
        features: A transformer with a class token.
        num_classes: C.

    Raises:
        ValueError: If the transformer has no class token.
    """

    network = TransformerFeatures
    features: TransformerFeatures

    def __init__(self, features: TransformerFeatures, num_classes: int) -> None:
        super().__init__(features, num_classes)
        if getattr(features.body, "cls_token", None) is None:
            raise ValueError(
                f"this {type(features.body).__name__} has no class token, the attention of which is a factor of "
                f"{type(self).__name__}'s map; take a transformer that has one, such as deit_small_patch16_224"
            )
        self.head = nn.Conv2d(features.channels, num_classes, 3, padding=1)

    def localize(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the semantic maps of some classes times the attention map.

        Args:
            images: Normalised, (B, 3, H, W).
            classes: What to localize, (B, K).

        Returns:
            Logits (B, C), and maps (B, K, h, w) of any sign; both detached, at least float32.

        Raises:
            CaptureError: If a block's attention is not one over all tokens.
        """
        body = self.features.body
        prefix, (height, width) = prefix_tokens(body), patch_grid(body, images)
        with torch.no_grad(), capture_attention(body, keep=class_token_row) as capture:
            semantic = self.class_maps(images)
        semantic = semantic.to(wide_type(semantic))
        rows = capture.matrices(len(images), prefix + height * width)
        attention = attention_map(rows, prefix, height, width).to(semantic)
        return semantic.mean(dim=(2, 3)), self.couple(attention, chosen(semantic, classes))

    def couple(self, attention: Tensor, semantic: Tensor) -> Tensor:
        """Multiply an attention map (B, 1, h, w) into semantic maps (B, K, h, w)."""
        return attention * semantic


def class_token_row(attention: Tensor) -> Tensor:
    """What the class token attends to in one block, mean over heads: (B, H, N, N) to (B, N), at least float32."""
    return fuse_heads(attention[:, :, :1])[:, 0]


def attention_map(rows: Sequence[Tensor], prefix: int, height: int, width: int) -> Tensor:
    """The class-agnostic map of TS-CAM: the sum of the blocks' rows, on the patch grid.

    Args:
        rows: Of `class_token_row`, L of (B, N).
        prefix: How many tokens come before the patches; they are left out.
        height: h.
        width: w.

    Returns:
        (B, 1, h, w), positive.
    """
    return torch.stack(tuple(rows)).sum(dim=0)[:, None, prefix:].unflatten(2, (height, width))
