"""CutMix. Yun et al., ICCV 2019.

"CutMix: regularization strategy to train strong classifiers with localizable features".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn import functional as F

from vitol.cams.skeleton import Features, Localizer


class CutMix(Localizer):
    """CAM, trained on images with a rectangle of another one in them, and on the labels of both, their Eqs. 1-2.

    A rectangle of area 1 - lambda, lambda ~ Beta(alpha, alpha), is cut around a point that is uniform in the image, and
    clipped at the border; the labels are weighted by the areas that are left, as in the released code. There is one
    rectangle for a batch. `timm` mixes: image i with image B - 1 - i, where the released code permutes the batch at
    random, which for images in random order is the same but that no image meets itself.

    Several processes draw the same rectangle, each mixing its own share of the batch.

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`.
        alpha: Parameter of the beta distribution, above 0; 1, the paper's, makes lambda uniform. [8] calls it "size
            prior" and draws it from positive numbers.
        mix_rate: Probability that a batch is mixed; 1 by default, as in the authors' command for ImageNet and in the
            code of [8] (0.5 in theirs for CIFAR-100). In [8] it is drawn from U[0, 1].

    Raises:
        ValueError: If alpha is not positive, or the rate lies outside [0, 1].
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        neck: int = 0,
        alpha: float = 1.0,
        mix_rate: float = 1.0,
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha = {alpha} is no positive number; 1 draws areas uniformly")
        if not 0 <= mix_rate <= 1:
            raise ValueError(f"mix_rate = {mix_rate} lies outside [0, 1]; it is a batch's chance to be mixed")
        self.num_classes = num_classes
        self.alpha = alpha
        self.mix_rate = mix_rate

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy with mixed labels; in eval mode that of CAM.

        The logits are those of the mixed images: told from them, training accuracy comes out low.
        """
        if not self.training:
            return super().step(images, labels, smoothing)
        mixed, targets = self.mix(images, labels, smoothing)
        logits = self.class_scores(mixed)
        return F.cross_entropy(logits.float(), targets), logits

    def mix(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Mix a batch, in a copy.

        A batch of an odd number of images is mixed with its last image in it twice, one of which is then left out; an
        image that is alone stays as it is.

        Args:
            images: (B, 3, H, W).
            labels: (B,).
            smoothing: Of the labels.

        Returns:
            Images, and probabilities of the classes, (B, C) in float32.
        """
        mixup = Mixup(
            mixup_alpha=0.0,
            cutmix_alpha=self.alpha,
            prob=self.mix_rate,
            label_smoothing=smoothing,
            num_classes=self.num_classes,
        )
        count = len(images)
        index = torch.arange(count + count % 2, device=images.device).clamp_max(count - 1)
        with numpy_seeded_by_torch():
            mixed, targets = mixup(images[index], labels[index])
        return mixed[:count], targets[:count]


@contextmanager
def numpy_seeded_by_torch() -> Iterator[None]:
    """Within it, numpy's global generator goes on from a number drawn by torch's of the CPU; afterwards as before.

    For code of others that draws from numpy's.
    """
    seed = int(torch.randint(2**32, (1,)))
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
