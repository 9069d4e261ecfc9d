"""EIL and MEIL: erasing integrated learning.

Mai, Yang and Luo, CVPR 2020, "Erasing integrated learning: a simple yet effective approach for weakly supervised object
localization", section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitol.cams.skeleton import Features, Localizer
from vitol.cams.stages import from_the_front
from vitol.padl import drop_mask


class MEIL(Localizer):
    r"""Classes are to be told from whole features, and from those whose strongest places are erased.

    At the end of a stage a copy of the features is made, in which places are 0 whose mean over the channels comes near
    the image's maximum (`erased`). Whole and erased features go on together through the same layers, and the loss is
    CE(whole) + alpha CE(erased). With one stage this is EIL; MEIL has several, and every one adds an erased copy of the
    whole features and a term alpha CE(erased) of its own. It draws nothing. At inference this is CAM.

    The copies are put behind the batch, so that all that follows runs once; the first logits are those of the whole
    images. Layers that look at the whole batch, such as batch normalisation in training, see whole and erased features
    together. With alpha = 0 nothing is copied, so that this is CAM to the last bit.

    The paper calls gamma a threshold; the authors' code (`Wayne-Mai/EIL@1a385e6`, `network/vgg_eil.py`) takes gamma
    times the image's maximum, and so does this. That code erases at one place, behind pool4 of VGG-16; it does not say
    where MEIL does, and the two stages before the last are our choice.

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`.
        stages: At the end of which to erase; negative ones count from the end. One for EIL, such as (-2,).
        gamma: The share of the maximum from which a place is erased, in [0, 1]; the authors' code has 0.7.
        alpha: Weight of an erased copy's cross-entropy; the authors' code adds the two as they are.

    Raises:
        ValueError: If a value lies out of its range, a stage does not exist or is named twice, or there is none.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        neck: int = 0,
        stages: Sequence[int] = (-3, -2),
        gamma: float = 0.7,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma = {gamma} lies outside [0, 1]; it is a share of the maximum")
        if not alpha >= 0:
            raise ValueError(f"alpha = {alpha} is negative; 0 trains as CAM does")
        self.stages = from_the_front(features, stages)
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise ValueError(f"stages = {stages}: give at least one, and each of them once")
        self.gamma = gamma
        self.alpha = alpha

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """As `Localizer.step`: cross-entropy of whole and, in training mode, of erased features."""
        with self._erasing(len(images)):
            logits, *others = self.class_scores(images).split(len(images))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        for other in others:
            loss = loss + self.alpha * F.cross_entropy(other.float(), labels, label_smoothing=smoothing)
        return loss, logits

    @contextmanager
    def _erasing(self, whole: int) -> Iterator[None]:
        """Let every stage put an erased copy of the first `whole` images' features behind the batch."""

        def put_behind(_: nn.Module, __: object, output: Tensor) -> Tensor:
            return torch.cat([output, erased(output[:whole], self.gamma)])

        wanted = self.stages if self.training and self.alpha > 0 else ()
        handles = [self.features.end_of(stage).register_forward_hook(put_behind) for stage in wanted]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def erased(features: Tensor, gamma: float) -> Tensor:
    """Features that are 0 wherever their mean over the channels reaches gamma times the image's maximum: p-ADL's Eq. 5.

    With a negative maximum and gamma below 1 nothing is erased. The mask carries no gradient.

    Args:
        features: (B, D, h, w).
        gamma: In [0, 1].

    >>> erased(torch.tensor([[[[1.0, 4.0, 3.0]]]]), gamma=0.7)
    tensor([[[[1., 0., 0.]]]])
    """
    mask = drop_mask(features.flatten(2).transpose(1, 2), gamma)
    return features * mask.transpose(1, 2).unflatten(2, features.shape[2:])
