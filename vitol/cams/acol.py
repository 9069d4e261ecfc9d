"""ACoL. Zhang et al., CVPR 2018, "Adversarial complementary learning for weakly supervised object localization"."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vitol.cams.skeleton import Features, Localizer, chosen, class_head, rescaled


class ACoL(Localizer):
    """Two classifiers on the same features, the second without what the first one finds, their section 3.2.

    Classifier A is CAM's head. Its map of a class, brought to [0, 1], erases the features where it reaches the
    threshold; classifier B, a head like A, sees what is left. In training that class is the image's label, and the loss
    is the sum of both cross-entropies. What erases is a comparison and carries no gradient: the loss of B trains B and
    the features.

    A localization map is the larger of A's and B's at every place, each brought to [0, 1]. The class that erases is the
    one to localize, for each of the K. The released code erases with the image's true label there, whichever class it
    localizes, and so uses the label of a test image.

    Logits are A's alone, in accuracy too, as in the released code and in that of [8]. The average pooling that both
    codes put before the classifiers of a VGG-16 is left out, as in the ResNet-50 of [8].

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`; by default the paper's, which [8] gives to ResNet-50, too.
        threshold: delta, that of the authors' code by default; 0.7 in the code of [8], where it is drawn from U[0, 1].

    Raises:
        ValueError: If the threshold lies outside [0, 1].
    """

    def __init__(
        self, features: Features, num_classes: int, *, neck: int = 1024, threshold: float = 0.6
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold = {threshold} lies outside [0, 1], the range of the map that erases")
        self.head_b = class_head(features.channels, num_classes, neck)
        self.threshold = threshold

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """The sum of both classifiers' cross-entropies, and the logits of A."""
        features = self.features(images)
        maps = self.head(features)
        logits = maps.mean(dim=(2, 3))
        erased = self.erase(features, own_maps(maps, labels[:, None]))
        others = self.head_b(erased).mean(dim=(2, 3))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        return loss + F.cross_entropy(others.float(), labels, label_smoothing=smoothing), logits

    def localize(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of A and fused maps, in [0, 1]; as of `Localizer`."""
        with torch.no_grad():
            features = self.features(images)
            maps = self.head(features)
            first = own_maps(maps, classes)
            second = [
                own_maps(self.head_b(self.erase(features, guide)), column)
                for guide, column in zip(first.split(1, dim=1), classes.split(1, dim=1), strict=True)
            ]
        return maps.float().mean(dim=(2, 3)), torch.maximum(first, torch.cat(second, dim=1))

    def erase(self, features: Tensor, guide: Tensor) -> Tensor:
        """Zero the features (B, D, h, w) where a map (B, 1, h, w) reaches the threshold."""
        return features * (guide < self.threshold)


def own_maps(maps: Tensor, classes: Tensor) -> Tensor:
    """The maps of some classes (B, K, h, w), of those of all (B, C, h, w), each brought to [0, 1], in float32."""
    return rescaled(chosen(maps, classes).float())
