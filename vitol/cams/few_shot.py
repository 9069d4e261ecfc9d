r"""The few-shot localizer of [8]: one foreground map, learned from the boxes of the validation split.

Choe et al., CVPR 2020, "Evaluating weakly supervised object localization methods right", their few-shot learning
baseline: the network's last layer becomes a 1 x 1 convolution to one score map, each pixel of which is trained with
binary cross-entropy on whether it lies in a box. It is no weakly supervised method, but what the boxes that every
such method chooses its hyperparameters with are worth when they are learned from instead: a ceiling. Their code for it
was never released, so what the paper leaves open is decided here, and said where it is.

B images, C classes, K classes asked for an image, h x w map grid, S x S pixels of an input.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vitol.cams.skeleton import Features, Localizer, class_head
from vitol.cams.transformer import network_features
from vitol.datasets.images import TrainImages
from vitol.datasets.splits import Split
from vitol.precision import wide_type


class FewShot(Localizer):
    """A network with one map of foreground and no classes; train it with `vitol.fitting.fit` on `BoxImages`.

    Whatever is not the head is as in the other methods, so that it can stand beside any of them: a convolutional
    network with its neck, or a vision transformer. The map is scaled up to the input's pixels, bilinearly, for the
    loss; on which grid [8] takes theirs is not known. At test the map is its sigmoid, in [0, 1].

    There are no class scores. `localize` gives NaN for logits, which `vitol.logits` refuses, so that no Top-1 number
    can come of them by accident; what needs scores in training (`vitol.training.train` with a validation split, or
    without `objective=own_objective`) is an error. It is measured by what knows the class: MaxBoxAccV2 and GT-known.

    Args:
        features: As for `Localizer`.
        num_classes: C, for the shape of those logits alone.
        neck: As for `Localizer`.
    """

    network = staticmethod(network_features)

    def __init__(self, features: Features, num_classes: int, *, neck: int = 0) -> None:
        super().__init__(features, num_classes)
        self.head = class_head(features.channels, 1, neck)
        self.num_classes = num_classes

    def class_scores(self, images: Tensor) -> Tensor:
        """There are none.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "the few-shot localizer has a foreground map and no class scores; train it with "
            "vitol.training.own_objective on BoxImages, and without a validation split"
        )

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """What one step of training minimises.

        Args:
            images: Normalised, (B, 3, S, S).
            labels: Which pixels are foreground, (B, S, S), 0 or 1, as `BoxImages` gives them.
            smoothing: Takes no part.

        Returns:
            The binary cross-entropy, mean over pixels, and logits of background and foreground, (B, 2, S, S): what
            `train` calls accuracy is of pixels.
        """
        maps = self.class_maps(images)
        maps = maps.to(wide_type(maps))
        score = F.interpolate(maps, labels.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        loss = F.binary_cross_entropy_with_logits(score, labels.to(score))
        return loss, torch.stack([torch.zeros_like(score), score], dim=1)

    def localize(self, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """NaN for logits, and the one map for whichever class is asked for.

        Args:
            images: Normalised, (B, 3, S, S).
            classes: What to localize, (B, K); which classes they are makes no difference.

        Returns:
            NaN (B, C), and maps in [0, 1], (B, K, h, w); detached, at least float32.
        """
        with torch.no_grad():
            maps = self.class_maps(images)
        maps = maps.to(wide_type(maps)).sigmoid().expand(-1, classes.shape[1], -1, -1)
        return maps.new_full((len(images), self.num_classes), torch.nan), maps


class BoxImages(TrainImages):
    """Images to learn boxes from: the training transform of every other method, and the boxes moved along.

    Every item is an image (3, S, S), uint8, as `TrainImages` gives it (resized, cropped, flipped at random), and in
    the place of a label (S, S), uint8: 1 where a pixel's centre lies in a box of the image. A crop may leave little of
    a box, or none.

    Args:
        split: Which images: of the validation split, as in [8]. Its conference version learns from all of them, with
            hyperparameters chosen elsewhere (`clovaai/wsolevaluation` issue 41).
        root: The folder their ids start from.
        size: S, the side of the crop in pixels.
        resize: The side before cropping in pixels, at least S.
        seed: Seed of the draws.

    Raises:
        ValueError: If an image has no box, or resize < size.
    """

    def __init__(self, split: Split, root: Path, size: int, resize: int, seed: int) -> None:
        super().__init__(split, root, size, resize, seed)
        bare = [image for image, boxes in zip(split.ids, split.boxes, strict=True) if not len(boxes)]
        if bare:
            raise ValueError(
                f"{len(bare)} of {len(split)} images have no box to learn from, such as {bare[0]}; take a split with "
                "boxes, such as val"
            )

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return image and foreground."""
        left, top, flip = self.draw(index)
        mask = torch.zeros(self.size, self.size, dtype=torch.uint8)
        centres = torch.arange(self.size, dtype=torch.float64) + 0.5
        width, height = self.split.sizes[index].tolist()
        for x0, y0, x1, y1 in self.split.boxes[index].tolist():
            across = (centres + left) * width / self.resize
            down = (centres + top) * height / self.resize
            inside = ((x0 <= across) & (across < x1))[None] & ((y0 <= down) & (down < y1))[:, None]
            mask[inside] = 1
        return super().__getitem__(index)[0], mask.flip(1) if flip else mask
