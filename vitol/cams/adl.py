"""ADL. Choe and Shim, CVPR 2019, "Attention-based dropout layer for weakly supervised object localization"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vitol.cams.skeleton import Features, Localizer
from vitol.padl import PatchAttentionDropout


class ADL(Localizer):
    """CAM, with a layer between blocks that in training drops or weights the places of a feature map, their section 3.

    The mean over channels is a place's attention. With probability `drop_rate` the layer zeroes the places whose
    attention reaches `drop_threshold` times the image's maximum, else it multiplies every place by the sigmoid of its
    attention. It draws once for the whole batch, as both released codes do; gradient flows through the sigmoid and
    not through the mask; in eval mode it is the identity. p-ADL is this layer with the patches of a transformer for
    the places of a map, and is used here.

    The authors start from ImageNet's weights, at a tenth of the rate for early layers, and evaluate the epoch of least
    validation error. Here all methods have one recipe, random weights where there are no others, and the last epoch.

    The layers are forward hooks, there only during a step of training: the weights' names are CAM's.

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`.
        drop_rate: Probability of the drop mask, the paper's by default. (The authors' code takes the importance map's,
            0.25.) In [8] it is drawn from U[0, 1].
        drop_threshold: gamma, by default as in the authors' command for a ResNet-50 with squeeze-and-excitation and in
            the options of [8], where it is drawn from U[0, 1].
        after: Where the layers are, as (stage, block in it), negative ones from the end. By default as both codes have
            them in a ResNet-50, behind the first block of each of the last two stages, and at the end of the last one.
            A stage that is no sequence of blocks counts as one, and places that coincide as one: in a VGG-16 layers
            are at the end of the last two stages. (There [8] has a third one, behind the third pooling.)

    Raises:
        ValueError: If rate or threshold lies outside [0, 1], there is no layer, or a place does not exist.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        neck: int = 0,
        drop_rate: float = 0.75,
        drop_threshold: float = 0.9,
        after: Sequence[tuple[int, int]] = ((-2, 0), (-1, 0), (-1, -1)),
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        if not after:
            raise ValueError("after = () leaves ADL no layer; give a (stage, block), or take CAM")
        self.dropout = PatchAttentionDropout(drop_rate, drop_threshold)
        self.after = tuple(after)
        self.blocks()

    def blocks(self) -> list[nn.Module]:
        """The blocks with a layer behind them.

        Raises:
            ValueError: If one does not exist.
        """
        stages = len(self.features.stages)
        found: dict[nn.Module, None] = {}
        for stage, block in self.after:
            if not -stages <= stage < stages:
                raise ValueError(
                    f"after: stage {stage} does not exist; the features' stages are 0..{stages - 1}"
                )
            end = self.features.end_of(stage)
            blocks = list(end) if isinstance(end, nn.Sequential) else [end]
            if not -len(blocks) <= block < len(blocks):
                raise ValueError(
                    f"after: block {block} of stage {stage} does not exist; its blocks are 0..{len(blocks) - 1}"
                )
            found[blocks[block]] = None
        return list(found)

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy with the layers in."""
        hooks = [block.register_forward_hook(self._drop_or_weight) for block in self.blocks()]
        try:
            return super().step(images, labels, smoothing)
        finally:
            for hook in hooks:
                hook.remove()

    def _drop_or_weight(self, _: nn.Module, __: object, output: Tensor) -> Tensor:
        """The layer, on a block's output, (B, D, h, w)."""
        places = output.flatten(2).transpose(1, 2)
        return self.dropout(places).transpose(1, 2).unflatten(2, output.shape[2:])
