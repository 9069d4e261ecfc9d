"""SPG: self-produced guidance.

Zhang et al., ECCV 2018, "Self-produced guidance for weakly-supervised object localization", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vitol.cams.skeleton import Features, Localizer, chosen, rescaled
from vitol.cams.stages import from_the_front

IGNORED = 255
"""What marks a pixel between the thresholds: it takes no part in the loss."""
FEWEST = 30
"""Fewer pixels than these above the high threshold, and the image's own maximum sets another one.

As many in an image of any size, as in both codes, where images are 224 x 224.
"""
OF_MAXIMUM = 0.7
"""That other threshold, as a share of the maximum."""


class SPG(Localizer):
    r"""Side branches that learn which pixels are the object's from thresholded maps of the network itself.

    A map of scores in [0, 1] is cut into seeds (`seeds`): object, background, and ignored pixels in between. They
    carry no gradient. Three branches learn from them by pixelwise binary cross-entropy (`seed_loss`):

    - B2, at a middle stage, from the true class's map, brought to [0, 1] image by image;
    - B1, at an earlier stage, from what B2 says;
    - C, on what the classifier's last convolution reads, from the mean of what B1 and B2 say.

    The three losses are added to the cross-entropy of the classes, unweighted. B1 and B2 each have a convolution of
    their own and share the two behind it. Every map is resized to the images' sides, bilinearly, before a sigmoid, a
    threshold or a loss sees it: the authors' inputs are 224 x 224, and so are their maps. At inference this is CAM: the
    branches are of use only to the training.

    This is what the authors' code does (`xiaomengyc/SPG@609e23e`, `models/google/inception3_spg.py`) and that of [8],
    Choe et al., CVPR 2020 (`clovaai/wsolevaluation@b5c1e8a`, `wsol/method/spg.py`): in both the deeper branch teaches
    the other one. Differences: branches stand at the ends of timm's stages (in the authors' Inception-v3 after Mixed_5d
    and Mixed_6d, in the ResNet-50 of [8] after the first and the last block of layer3), and the head has no dropout.
    Where an image has few pixels above the high threshold (`FEWEST`), it gets another one for itself, as in the code of
    [8]; the authors' goes on with that one for the rest of the batch. Means are over the seeds of all images that a
    process has.

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`.
        stages: Where B1 and B2 branch off, B1's first; negative ones count from the end.
        width: Channels within the branches; the authors' 512.
        b2: Low and high threshold of the seeds that B2 learns from. The authors' code has (0.05, 0.7), that
            of [8] has (0.01, 0.7) where it is not told otherwise.
        b1: Those that B1 learns from; (0.05, 0.5) in both.
        c: Those that C learns from; (0.1, 0.7) in both. For each of the three pairs [8] searches low in [0, 1] and high
            in [low, 1], both uniformly.

    Raises:
        ValueError: If a threshold lies outside [0, 1] or is the wrong way round, if a stage does not exist or is not
            before the other one, or if there are no channels.
    """

    head: nn.Sequential

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        neck: int = 0,
        stages: Sequence[int] = (-3, -2),
        width: int = 512,
        b2: Sequence[float] = (0.05, 0.7),
        b1: Sequence[float] = (0.05, 0.5),
        c: Sequence[float] = (0.1, 0.7),
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        for name, pair in (("b2", b2), ("b1", b1), ("c", c)):
            if len(pair) != 2 or not 0 <= pair[0] <= pair[1] <= 1:
                raise ValueError(f"{name} = {pair} is not a low and a high threshold, 0 <= low <= high <= 1")
        if width < 1:
            raise ValueError(f"width = {width}: the branches need at least 1 channel")
        self.stages = from_the_front(features, stages)
        if len(self.stages) != 2 or self.stages[0] >= self.stages[1]:
            raise ValueError(f"stages = {stages}: give two, that of B1 first, which comes before that of B2")
        self.b2, self.b1, self.c = tuple(b2), tuple(b1), tuple(c)
        channels = features.body.feature_info.channels()
        first, second = (channels[stage] for stage in self.stages)
        self.branch_b1 = nn.Sequential(nn.Conv2d(first, width, 3, padding=1), nn.ReLU())
        self.branch_b2 = nn.Sequential(nn.Conv2d(second, width, 3, padding=1), nn.ReLU())
        self.branch_b = _branch(width, width)
        self.branch_c = _branch(neck or features.channels, width)

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """As `Localizer.step`: cross-entropy, and that of the three branches with their seeds."""
        outputs = self.features.body(images)
        last = self.head[:-1](outputs[-1])
        maps = self.head[-1](last)
        logits = maps.mean(dim=(2, 3))
        size = images.shape[2:]
        says_b1, says_b2, says_c = (
            resized(says, size)
            for says in (
                self.branch_b(self.branch_b1(outputs[self.stages[0]])),
                self.branch_b(self.branch_b2(outputs[self.stages[1]])),
                self.branch_c(last),
            )
        )
        attention = rescaled(resized(chosen(maps, labels[:, None]), size))
        fused = (says_b1.sigmoid() + says_b2.sigmoid()) / 2
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        loss = loss + seed_loss(says_b2, seeds(attention, *self.b2))
        loss = loss + seed_loss(says_b1, seeds(says_b2.sigmoid(), *self.b1))
        loss = loss + seed_loss(says_c, seeds(fused, *self.c))
        return loss, logits


def seeds(scores: Tensor, low: float, high: float) -> Tensor:
    """What the scores are sure of: 1 above the high threshold, 0 below the low one, and 255, `IGNORED`, in between.

    In an image of fewer than 30 pixels above the high threshold those above 0.7 of its maximum are the object instead.
    The low threshold is applied last.

    Args:
        scores: In [0, 1], (..., h, w).
        low: Below it is background.
        high: Above it is object.

    Returns:
        Of the same shape. Comparisons carry no gradient.
    """
    surely = scores > high
    few = surely.sum(dim=(-2, -1), keepdim=True) < FEWEST
    surely = surely.where(~few, scores > OF_MAXIMUM * scores.amax(dim=(-2, -1), keepdim=True))
    return scores.new_full(scores.shape, IGNORED).masked_fill(surely, 1).masked_fill(scores < low, 0)


def seed_loss(logits: Tensor, marks: Tensor) -> Tensor:
    """Binary cross-entropy of a map with seeds: the mean over all pixels that are not ignored; 0 if all are.

    Args:
        logits: Any shape.
        marks: Of `seeds`, same shape.
    """
    known = (marks != IGNORED).to(logits)
    total = F.binary_cross_entropy_with_logits(logits, marks * known, weight=known, reduction="sum")
    return total / known.sum().clamp_min(1)


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, C, h, w) to another size, bilinearly between pixel centres, as float32."""
    return F.interpolate(maps.float(), size=tuple(size), mode="bilinear", align_corners=False)


def _branch(channels: int, width: int) -> nn.Sequential:
    """Features to the logits of one map."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))
