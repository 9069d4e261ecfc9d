r"""Features of a timm vision transformer: its patch tokens on their grid, as a convolutional network's come.

B images, D width, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitol.attention import CaptureError, attention_modules
from vitol.cams.skeleton import Features
from vitol.models import create_model
from vitol.tokens import patch_grid, prefix_tokens


class TransformerFeatures(Features):
    """A timm vision transformer without its head: images to what its last norm makes of the patch tokens.

    Args:
        architecture: A timm name.
        weights: As `vitol.models.create_model` takes them; those of the head are left out.
        stage: -1: a transformer is taken whole.
        options: Further arguments of the timm model, such as `img_size`.

    Attributes:
        body: The transformer.
        stages: The names of its blocks.
        channels: D.

    Raises:
        CaptureError: If the attention of its blocks cannot be seen, see `vitol.attention`.
        CheckpointError: As `vitol.models.create_model`.
        ValueError: As `vitol.models.create_model`, or if another stage is asked for.
    """

    def __init__(
        self,
        architecture: str,
        *,
        weights: str | Path | None = None,
        stage: int = -1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        if stage != -1:
            raise ValueError(
                f"stage {stage} of {architecture}: a transformer is taken whole; leave the stage at -1"
            )
        self.body = create_model(architecture, 0, weights=weights, options=options)
        self.stages = [name.removesuffix(".attn") for name in attention_modules(self.body)]
        self.channels = int(self.body.num_features)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the transformer names as not to be decayed, such as `body.pos_embed`."""
        return {f"body.{name}" for name in getattr(self.body, "no_weight_decay", set[str])()}

    def forward(self, images: Tensor) -> Tensor:
        """Patch tokens, (B, D, h, w), of images (B, 3, H, W).

        Raises:
            ValueError: If the transformer drops patches while it trains, so that they fill no grid.
        """
        tokens = self.body.forward_features(images)
        # A transformer that averages its patches has its last norm behind the average; here there is no average.
        tokens = getattr(self.body, "fc_norm", nn.Identity())(tokens)
        patches = tokens[:, prefix_tokens(self.body) :]
        height, width = patch_grid(self.body, images)
        if patches.shape[1] != height * width:
            raise ValueError(
                f"{type(self.body).__name__} gives {patches.shape[1]} patch tokens for a grid of {height} x {width}; "
                "leave out an option that drops patches, such as patch_drop_rate"
            )
        return patches.transpose(1, 2).unflatten(2, (height, width))


def network_features(
    architecture: str,
    *,
    weights: str | Path | None = None,
    stage: int = -1,
    options: Mapping[str, Any] | None = None,
) -> Features:
    """Features of a network of either kind: `TransformerFeatures` where blocks attend, else `Features`.

    Args:
        architecture: A timm name.
        weights: As those take them.
        stage: As those take it.
        options: Further arguments of the timm model.

    Raises:
        CheckpointError, ValueError: As those.
    """
    try:
        with torch.device("meta"):  # to look at its modules; no weights are drawn
            attention_modules(create_model(architecture, 0, options=options))
    except CaptureError:
        return Features(architecture, weights=weights, stage=stage, options=options)
    return TransformerFeatures(architecture, weights=weights, stage=stage, options=options)
