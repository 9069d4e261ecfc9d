"""The rival of the scorer's benchmark: what the reference evaluator does for one score map, threshold by threshold.

A thousand thresholds, `findContours` at each, then the IoUs of all boxes at once. Written by us after section 1 of
the protocol, in the reference's order of work (`clovaai/wsolevaluation@96f4b88`), which is faster than IoUs one by one.
"""

from __future__ import annotations

import cv2
import numpy as np

from vitol.boxes import THRESHOLDS
from vitol.rectangles import iou_matrix


def threshold_loop(score: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Best IoU over all contours at each of the thousand thresholds, with nothing computed once for several.

    Args:
        score: Score map in [0, 1], (H, W).
        truth: Ground-truth boxes in its pixels, (k, 4).

    Returns:
        float64 (1000,).
    """
    levels = (score * 255).astype(np.uint8)
    height, width = levels.shape
    boxes: list[tuple[int, ...]] = []
    starts = []
    for threshold in THRESHOLDS:
        _, mask = cv2.threshold(levels, int(threshold * levels.max()), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        starts.append(len(boxes))
        if not contours:
            boxes.append((0, 0, 0, 0))
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    best = iou_matrix(np.array(boxes), truth).max(axis=1)
    return np.maximum.reduceat(best, starts)
