"""I2C: inter-image communication.

Zhang, Wei and Yang, ECCV 2020, "Inter-image communication for weakly supervised localization", section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vitol.batches import own_draws
from vitol.cams.skeleton import Features, Localizer, chosen, class_head, rescaled


class I2C(Localizer):
    r"""Features of object pixels are to be alike in all images of a class.

    In every image some object pixels are drawn: places where the true class's map, brought to [0, 1], is high
    (`object_pixels`). Their features x, (B, K, D), carry a gradient; the choice of the places does not. The loss is
    CE + lambda_sc SC + lambda_gc GC:

    - SC, stochastic consistency (`stochastic_consistency`): the distance between pixels of two images of one class;
    - GC, global consistency (`global_consistency`): the distance between their mean, for every class, and its centre.

    A centre follows the means that its class comes to, m <- (1 - r) m + r mean with r = exp(-decay t), where t is how
    often it has been updated. The first mean is thus taken as it is. Centres are buffers: they go into snapshots and
    checkpoints. They move in training mode only, after the loss has been taken. At inference this is CAM.

    The authors draw classes, and two images of each, so that a batch is made of pairs (`xiaomengyc/I2C@83c609f`,
    `utils/mydataset_crsimg.py`). Batches here are of any images: SC is the mean over all pairs of one class that the
    batch happens to have, 0 if there are none, and GC the mean over the classes that it has; in a batch that is made of
    pairs both are what the authors have. With many more classes than images in a batch SC is mostly 0.

    Other differences from their code (`models/resnet/resnet_i2c.py`): it takes the first K object pixels, row by row,
    having drawn an order that it does not use; here they are drawn, as in the paper. It starts from random centres;
    here a class without a centre adds nothing to GC. Several processes each look for pairs in their own images, and use
    the centres of the first one. The authors go on from a network trained without the two losses; here one from random
    weights gets them from its first step, when a map does not say yet where the object is.

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`; by default that of the authors' networks, their ResNet-50 too. The pixels' features
            are those before it.
        dropout: Probability that a value is dropped before each convolution of the head; 0.5 in their code.
        lambda_sc: Weight of SC; 0.008 in the authors' script for ImageNet.
        lambda_gc: Weight of GC; 0.001 there, and 0.003 in that for CUB.
        pixels: K, how many are drawn in an image; 3 there. In an image of fewer object pixels they come up repeatedly.
        threshold: The share of a map's maximum from which a pixel is the object's, in [0, 1]; 0.7 in their code.
        decay: How fast centres settle; 0.002 in their code.

    Attributes:
        centres: Of the classes' features, (C, D).
        updates: t, (C,).

    Raises:
        ValueError: If a value lies out of its range.
    """

    centres: Tensor
    updates: Tensor

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        neck: int = 1024,
        dropout: float = 0.5,
        lambda_sc: float = 0.008,
        lambda_gc: float = 0.001,
        pixels: int = 3,
        threshold: float = 0.7,
        decay: float = 0.002,
    ) -> None:
        super().__init__(features, num_classes)
        if not 0 <= dropout < 1:
            raise ValueError(
                f"dropout = {dropout} lies outside [0, 1); it is a probability, and 1 leaves nothing"
            )
        self.head = class_head(features.channels, num_classes, neck, dropout)
        for name, value in (("lambda_sc", lambda_sc), ("lambda_gc", lambda_gc), ("decay", decay)):
            if not value >= 0:
                raise ValueError(f"{name} = {value} is negative; give 0 or more")
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold = {threshold} lies outside [0, 1]; it is a share of the maximum")
        if pixels < 1:
            raise ValueError(f"pixels = {pixels}: draw at least 1; for CAM set both lambdas to 0")
        self.lambda_sc, self.lambda_gc, self.decay = lambda_sc, lambda_gc, decay
        self.pixels, self.threshold = pixels, threshold
        self.register_buffer("centres", torch.zeros(num_classes, features.channels))
        self.register_buffer("updates", torch.zeros(num_classes, dtype=torch.long))

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """As `Localizer.step`: cross-entropy, SC and GC."""
        features = self.features(images)
        maps = self.head(features)
        logits = maps.mean(dim=(2, 3))
        places = object_pixels(chosen(maps, labels[:, None])[:, 0].float(), self.threshold, self.pixels)
        index = places[:, :, None].expand(-1, -1, features.shape[1])
        objects = features.float().flatten(2).transpose(1, 2).gather(1, index)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        loss = loss + self.lambda_sc * stochastic_consistency(objects, labels)
        classes, means = class_means(objects, labels)
        known = self.updates[classes] > 0
        loss = loss + self.lambda_gc * global_consistency(means, self.centres[classes].float(), known)
        if self.training:
            self._move(classes, means.detach())
        return loss, logits

    def _move(self, classes: Tensor, means: Tensor) -> None:
        """Let the centres of some classes (n,) follow their means (n, D)."""
        rate = torch.exp(-self.decay * self.updates[classes])[:, None]
        self.centres[classes] = self.centres[classes].float().lerp(means, rate).to(self.centres)
        self.updates[classes] += 1


def object_pixels(maps: Tensor, threshold: float, count: int) -> Tensor:
    """Places of the object, drawn without putting back until none is left, then again from the first one drawn.

    Draws come from torch's generator of the CPU, on any device; as many for every image as it has pixels.

    Args:
        maps: The true class's, (B, h, w).
        threshold: With the map brought to [0, 1], pixels of at least this share of its maximum are the object's; the
            maximum always is.
        count: K.

    Returns:
        Numbers of pixels, row by row, (B, K).
    """
    scores = rescaled(maps).flatten(1)
    inside = scores >= threshold * scores.amax(dim=1, keepdim=True)
    draws = own_draws(len(scores), scores.shape[1]).to(scores.device)
    order = draws.masked_fill(~inside, -1).argsort(dim=1, descending=True)
    turns = torch.arange(count, device=scores.device) % inside.sum(dim=1, keepdim=True)
    return order.gather(1, turns)


def stochastic_consistency(objects: Tensor, labels: Tensor) -> Tensor:
    """SC: the mean of |x_ik - x_jk| over pairs i < j of one class and k; 0 without pairs.

    Args:
        objects: x, features of the pixels drawn, (B, K, D).
        labels: (B,).
    """
    first, second = (labels[:, None] == labels).triu(diagonal=1).nonzero(as_tuple=True)
    distances = torch.linalg.vector_norm(objects[first] - objects[second], dim=-1)
    return distances.sum() / max(distances.numel(), 1)


def class_means(objects: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The classes of a batch, (n,), and the mean feature of all pixels drawn for each, (n, D).

    Args:
        objects: (B, K, D).
        labels: (B,).
    """
    classes, where = labels.unique(return_inverse=True)
    among = F.one_hot(where, len(classes)).T.to(objects)
    # Autocast would round the product to bfloat16, and with it the centres, in whatever type they are kept.
    with torch.autocast(objects.device.type, enabled=False):
        return classes, among @ objects.mean(dim=1) / among.sum(dim=1, keepdim=True)


def global_consistency(means: Tensor, centres: Tensor, known: Tensor) -> Tensor:
    """GC: the mean of |mean - centre| over the classes that have a centre; 0 without any.

    Args:
        means: Of `class_means`, (n, D).
        centres: (n, D).
        known: Which classes have one, (n,).
    """
    distances = torch.linalg.vector_norm(means - centres, dim=-1)
    return (distances * known).sum() / known.sum().clamp_min(1)
