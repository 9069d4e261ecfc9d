"""The boxes of a map as functions of the threshold: what a slider needs to show them without a scorer.

L = 255 distinct thresholds (`vitol.boxes.DISTINCT_THRESHOLDS`), k ground-truth boxes, H x W score map. Boxes are
(x0, y0, x1, y1) with inclusive corners, in pixels of the score map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vitol.boxes import DISTINCT_THRESHOLDS, THRESHOLDS, best_ious, boxes_at, largest_boxes
from vitol.rectangles import iou_matrix, whole_boxes


class Steps(NamedTuple):
    """Two boxes of a map at each distinct threshold, each uint8 (L, 4).

    `largest` is that of the largest contour (MaxBoxAcc). `best` is, of all contours' boxes, the one whose IoU with
    any true box is highest (MaxBoxAccV2): the largest contour's, if it is one of those.
    """

    largest: np.ndarray
    best: np.ndarray


def steps_of(score: np.ndarray, gt_boxes: np.ndarray) -> Steps:
    """Find both boxes at every distinct threshold.

    Args:
        score: Score map in [0, 1] as `vitol.boxes.score_map` makes it, sides of at most 256 pixels, (H, W).
        gt_boxes: Ground-truth boxes in its pixels, (k, 4), k >= 1.

    Returns:
        The boxes. Their IoUs are those of `vitol.boxes.best_ious`, to the bit.

    Raises:
        ValueError: If the score map is none, or too large, or a true box is bad.
    """
    truths = whole_boxes(gt_boxes)
    if max(np.shape(score), default=0) > 256:
        raise ValueError(
            f"the score map has shape {np.shape(score)}; its corners are packed into a byte each, so make it of "
            "at most 256 x 256, as score_map does"
        )
    largest = largest_boxes(score)
    best = largest.copy()
    curves = best_ious(score, truths)
    starts = step_starts()
    # Most often the largest contour is the best one: only where another beats it, all of them are looked at.
    for at in np.flatnonzero(curves.all[starts] > curves.largest[starts]):
        boxes = boxes_at(score, DISTINCT_THRESHOLDS[at])
        best[at] = boxes[iou_matrix(boxes, truths).max(axis=1).argmax()]
    return Steps(largest.astype(np.uint8), best.astype(np.uint8))


def step_starts() -> list[int]:
    """Where each step begins: of the 1,000 thresholds the index of the first that gives it, L numbers."""
    return np.searchsorted(THRESHOLDS, DISTINCT_THRESHOLDS).tolist()


def threshold_index(threshold: float) -> int:
    """Which of the 1,000 thresholds a fraction in [0, 1) is; the nearest, if it was rounded.

    >>> threshold_index(0.306)
    306
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold {threshold} is outside [0, 1); thresholds are fractions of the maximum")
    return int(np.abs(THRESHOLDS - threshold).argmin())
