"""The two baselines that never look at an image: what does not beat them is not localizing.

n images, k ground-truth boxes of an image, h x w map grid, 255 distinct thresholds.

Source: reference [8] of the paper for the centred Gaussian.
"""

from collections.abc import Sequence

import numpy as np

from vitol.boxes import DISTINCT_THRESHOLDS, IouCurves, boxes_at, score_map
from vitol.rectangles import SIZE, iou_matrix, scaled_truths


def gaussian_ious(image_sizes: np.ndarray, boxes: Sequence[np.ndarray]) -> IouCurves:
    """IoU curves of the baseline that answers every image with the same centred Gaussian.

    Arguments, shapes and errors are those of `vitol.boxes.best_ious_of_maps`.
    """
    score = score_map(centred_gaussian(SIZE, SIZE))
    # Every threshold leaves one disc without a hole: one box, of all contours and of the largest.
    discs = np.concatenate([boxes_at(score, threshold) for threshold in DISTINCT_THRESHOLDS])
    truths = scaled_truths(boxes, image_sizes, len(boxes))
    curves = np.stack([iou_matrix(discs, truth).max(axis=1) for truth in truths])
    return IouCurves(curves, curves)


def full_image_ious(image_sizes: np.ndarray, boxes: Sequence[np.ndarray]) -> IouCurves:
    """IoU curves of the baseline that answers with the whole image at every threshold; both are equal.

    Arguments, shapes and errors are those of `vitol.boxes.best_ious_of_maps`.
    """
    whole = np.array([[0, 0, SIZE - 1, SIZE - 1]])
    best = [iou_matrix(whole, truth).max() for truth in scaled_truths(boxes, image_sizes, len(boxes))]
    curves = np.repeat(np.array(best)[:, None], len(DISTINCT_THRESHOLDS), axis=1)
    return IouCurves(curves, curves)


def centred_gaussian(height: int, width: int, sigma: float = 0.25) -> np.ndarray:
    """Map of the isotropic centred Gaussian, the baseline of [8] that never looks at the image.

    `sigma` decides how finely the thresholds sample the boxes around the centre, not which boxes there are,
    unless it is so small (below about 0.15) that the outer ones all fall on level 0.

    Args:
        height: h, in pixels.
        width: w, in pixels.
        sigma: Standard deviation as a fraction of the shorter side; at 0.25 that side ends at 2 sigma.

    Returns:
        float64 in (0, 1], (h, w).
    """
    if not (height > 0 and width > 0 and sigma > 0):
        raise ValueError(f"height {height}, width {width} and sigma {sigma} must all be positive")
    y, x = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    return np.exp(-(y[:, None] ** 2 + x**2) / (2 * (sigma * min(height, width)) ** 2))
