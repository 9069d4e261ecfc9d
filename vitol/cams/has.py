"""HaS: Hide-and-Seek. Singh and Lee, ICCV 2017.

"Hide-and-Seek: forcing a network to be meticulous for weakly-supervised object and action localization".
"""

from __future__ import annotations

from torch import Tensor

from vitol.batches import own_draws
from vitol.cams.skeleton import Features, Localizer


class HaS(Localizer):
    """CAM, trained on images of which random patches are hidden, their section 3.1; tested on whole ones.

    A hidden pixel takes the mean colour of the training set, so that a layer sees on average in training what it sees
    in testing. The mean meant here is the one that images are normalised with, which makes a hidden pixel zero.

    The paper's patches have a side of 32 (of images with a side of 224, hence a grid of 7); its "mixed" variant, which
    draws the side as well, is left out, as in [8].

    Args:
        features: As for `Localizer`.
        num_classes: C.
        neck: As for `Localizer`.
        grid: How many patches there are along a side; those at the end are smaller where it is no divisor of the side.
        drop_rate: Probability that a patch is hidden, each patch of each image on its own; the paper's by default.
            In [8] it is drawn from U[0, 1]; so is the "drop area", here 1 / grid. The code of [8] takes a patch's
            side in pixels, 4 by default.

    Raises:
        ValueError: If the grid has no patches, or the rate lies outside [0, 1].
    """

    def __init__(
        self, features: Features, num_classes: int, *, neck: int = 0, grid: int = 7, drop_rate: float = 0.5
    ) -> None:
        super().__init__(features, num_classes, neck=neck)
        if grid < 1:
            raise ValueError(
                f"grid = {grid} makes no patches; give how many there are along a side, 1 or more"
            )
        if not 0 <= drop_rate <= 1:
            raise ValueError(
                f"drop_rate = {drop_rate} lies outside [0, 1]; it is a patch's chance to be hidden"
            )
        self.grid = grid
        self.drop_rate = drop_rate

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy of images with hidden patches; in eval mode of whole ones."""
        return super().step(self.hide(images) if self.training else images, labels, smoothing)

    def hide(self, images: Tensor) -> Tensor:
        """Set the pixels of random patches to zero, in a copy.

        Draws come from torch's generator of the CPU, for the images of all processes.

        Args:
            images: Normalised, (B, 3, H, W).
        """
        hidden = own_draws(len(images), self.grid, self.grid).to(images.device) < self.drop_rate
        for dim, size in ((1, images.shape[2]), (2, images.shape[3])):
            hidden = hidden.repeat_interleave(-(-size // self.grid), dim).narrow(dim, 0, size)
        return images.masked_fill(hidden[:, None], 0)
