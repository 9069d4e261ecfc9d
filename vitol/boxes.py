"""From a localization map to the best IoU of its boxes at every threshold, as the reference evaluator has it.

n images, k ground-truth boxes of an image, m boxes of a score map, h x w map grid, H x W score map,
T = 1000 thresholds. Boxes are (x0, y0, x1, y1) with inclusive corners, in pixels of the score map.

Source: reference [8] of the paper, `clovaai/wsolevaluation@96f4b88` (`evaluation.py`, `util.py`).
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import cv2
import numpy as np

SIZE = 224  # side of the score map, where maps and ground truth meet, in pixels
THRESHOLDS: np.ndarray = np.arange(0, 1, 0.001)  # of [8], as fractions of the score map's maximum, (T,)


class IouCurves(NamedTuple):
    """Best IoU at every threshold over `all` contours (V2) and of the `largest` (V1), each (T,) or (n, T)."""

    all: np.ndarray
    largest: np.ndarray


def score_map(
    localization_map: np.ndarray, size: tuple[int, int] = (SIZE, SIZE), reference_nan: bool = False
) -> np.ndarray:
    """Scale a map to the image with bicubic interpolation and stretch its values to [0, 1].

    A constant map becomes all zeros. That is decided before scaling: interpolating a constant leaves rounding
    errors, which stretching would turn into a pattern.

    Args:
        localization_map: Finite values on any grid, (h, w).
        size: Width and height of the score map, in pixels.
        reference_nan: Turn a map that is not finite into zeros, as the reference does, instead of raising.

    Returns:
        The score map, float32 in [0, 1], (H, W).

    Raises:
        ValueError: If the map is not two-dimensional or empty, or holds NaN, infinity or values beyond 1e37.
    """
    values = np.asarray(localization_map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"the localization map has shape {values.shape}; pass one map (h, w) at a time, on its patch grid"
        )
    # Cubic interpolation overshoots: well below float32's limit (3.4e38) neither it nor the range overflows.
    bad = ~(np.abs(values) < 1e37)
    if bad.any() and not reference_nan:
        raise ValueError(
            f"{np.count_nonzero(bad)} of the localization map's {values.size} values are NaN, infinite or "
            f"beyond 1e37, the first at {np.argwhere(bad)[0].tolist()}; repair the map, or pass "
            "reference_nan=True to score it as all zeros, as the reference evaluator does"
        )
    values = np.where(bad.any(), 0, values).astype(np.float32)
    if values.min() == values.max():
        return np.zeros(size[::-1], np.float32)
    scores = cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)
    scores = scores - scores.min()
    return scores / (scores.max() or 1)


def scale_boxes(boxes: np.ndarray, image_size: Sequence[int] | np.ndarray, size: int = SIZE) -> np.ndarray:
    """Scale an image's ground-truth boxes to the score map: int(x * size / W), multiplied first.

    Args:
        boxes: (x0, y0, x1, y1) in pixels of the image, decimals allowed, (k, 4).
        image_size: Width and height of the image, in pixels.
        size: Side of the score map, in pixels.

    Returns:
        The boxes in pixels of the score map, truncated, int64 in [0, size], (k, 4).

    Raises:
        ValueError: If a box is not finite, ends before it starts or leaves the image, or the size is not one.

    >>> scale_boxes(np.array([[60, 27, 385, 331]]), (500, 335))
    array([[ 26,  18, 172, 221]])
    """
    corners = _checked_boxes(boxes)
    sides = np.asarray(image_size, dtype=np.float64)
    if sides.shape != (2,) or not (np.isfinite(sides) & (sides > 0)).all():
        raise ValueError(f"image size {sides.tolist()} is not a (width, height) of positive pixel counts")
    limits = np.tile(sides, 2)
    for index in np.flatnonzero(((corners < 0) | (corners > limits)).any(axis=1)):
        raise ValueError(
            f"boxes[{index}] = {_shown(corners[index])} leaves its image of {sides[0]:g} x {sides[1]:g} "
            "pixels; boxes are in pixels of the original image, neither fractions nor already scaled"
        )
    return np.trunc(corners * size / limits).astype(np.int64)


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of `a` with every box of `b`; corners count: a box from 2 to 4 is 3 pixels wide.

    Args:
        a: Boxes, (m, 4), each finite and not ending before it starts.
        b: Boxes, (k, 4), likewise.

    Returns:
        float64 in [0, 1], (m, k).

    >>> iou_matrix([[0, 0, 1, 1]], [[0, 0, 1, 1], [1, 1, 2, 2]])
    array([[1.        , 0.14285714]])
    """
    left, right = _checked_boxes(a, "a"), _checked_boxes(b, "b")
    near = np.maximum(left[:, None, :2], right[None, :, :2])
    far = np.minimum(left[:, None, 2:], right[None, :, 2:])
    intersection = np.maximum(far - near + 1, 0).prod(axis=2)
    left_area, right_area = ((boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (left, right))
    return intersection / (left_area[:, None] + right_area[None, :] - intersection)


def boxes_at(score: np.ndarray, threshold: float, contours: Literal["all", "largest"] = "all") -> np.ndarray:
    """Boxes around the foreground of a score map at one threshold.

    The map is quantised to 256 levels; foreground lies strictly above `int(threshold * highest level)`. Every
    8-connected component gives a box, and so does every hole, one pixel larger on each side. Far corners lie
    one pixel beyond the last pixel, clamped to the map.

    Args:
        score: Score map in [0, 1], (H, W).
        threshold: Fraction of the map's maximum, in [0, 1].
        contours: "all" (V2), or only the "largest" by enclosed area (V1; the first one found of equals).

    Returns:
        int64, (m, 4), m >= 1: without any foreground the one box [0, 0, 0, 0].

    Raises:
        ValueError: If an argument is not as above.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold {threshold} is outside [0, 1]; thresholds are fractions of the maximum")
    if contours not in ("all", "largest"):
        raise ValueError(f"contours is {contours!r}; choose 'all' (MaxBoxAccV2) or 'largest' (MaxBoxAcc)")
    levels = _quantised(score)
    boxes, largest = _contour_boxes(levels > int(threshold * int(levels.max())))
    return boxes if contours == "all" else boxes[largest : largest + 1]


def best_ious(score: np.ndarray, gt_boxes: np.ndarray) -> IouCurves:
    """Best IoU, over contours and over ground-truth boxes, of a score map at each of the 1000 thresholds.

    Args:
        score: Score map in [0, 1], (H, W).
        gt_boxes: Ground-truth boxes in pixels of the score map (see `scale_boxes`), (k, 4), k >= 1.

    Returns:
        Curves of float64 (T,), in [0, 1].

    Raises:
        ValueError: If the score map is not one, there is no ground-truth box, or a box ends before it starts.
    """
    return iou_curves(boxes_at_all(score), gt_boxes)


class ThresholdBoxes(NamedTuple):
    """Boxes of one score map at all thresholds, those of equal foregrounds kept once.

    Attributes:
        boxes: All boxes, foreground by foreground, int64 (m, 4).
        starts: Where a foreground's boxes start, (f,).
        largest: Which box of all is its foreground's largest contour's, (f,).
        foreground: Which foreground a threshold has, (T,).
    """

    boxes: np.ndarray
    starts: np.ndarray
    largest: np.ndarray
    foreground: np.ndarray


def boxes_at_all(score: np.ndarray) -> ThresholdBoxes:
    """Boxes of a score map in [0, 1], (H, W), at each of the 1000 thresholds; see `boxes_at`."""
    levels = _quantised(score)
    cuts = (THRESHOLDS * int(levels.max())).astype(np.uint8)
    # Foregrounds are nested, so two that leave out equally many pixels are the same: computed once.
    left_out = np.cumsum(np.bincount(levels.ravel(), minlength=256))[cuts]
    _, first, foreground = np.unique(left_out, return_index=True, return_inverse=True)
    found = [_contour_boxes(levels > cut) for cut in cuts[first]]
    starts = np.cumsum([0] + [len(boxes) for boxes, _ in found[:-1]])
    largest = starts + [index for _, index in found]
    return ThresholdBoxes(np.concatenate([boxes for boxes, _ in found]), starts, largest, foreground)


def iou_curves(found: ThresholdBoxes, gt_boxes: np.ndarray) -> IouCurves:
    """Best IoU of a score map's boxes with an image's ground truth (k, 4) at each threshold, (T,) each."""
    best = iou_matrix(found.boxes, _checked_boxes(gt_boxes, "gt_boxes", needed=True)).max(axis=1)
    of_all = np.maximum.reduceat(best, found.starts)
    return IouCurves(of_all[found.foreground], best[found.largest][found.foreground])


def best_ious_of_maps(
    maps: Sequence[np.ndarray] | np.ndarray,
    image_sizes: np.ndarray,
    boxes: Sequence[np.ndarray],
    workers: int | None = None,
    progress: Callable[[], object] | None = None,
    reference_nan: bool = False,
    names: Sequence[str] | None = None,
) -> IouCurves:
    """IoU curves of one localization map an image, from maps and ground truth as they come.

    Args:
        maps: Localization maps, (n, h, w) or n arrays (h, w) of any sizes.
        image_sizes: Width and height of every image, in pixels, (n, 2).
        boxes: Ground-truth boxes of every image in pixels of that image, n arrays (k, 4), k >= 1.
        workers: Threads (OpenCV releases Python's lock); None takes one a core. The result is the same.
        progress: Called once an image, from the calling thread.
        reference_nan: See `score_map`.
        names: What errors call the images, n strings; None for their index.

    Returns:
        Curves of float64 (n, T), in [0, 1].

    Raises:
        ValueError: If the lengths differ or are 0, or a map or a box is bad: then with the image's name.
    """
    truths = scaled_truths(boxes, image_sizes, len(maps), names)
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1, or None for one a core")

    def curves_of(image: int) -> IouCurves:
        try:
            return best_ious(score_map(maps[image], reference_nan=reference_nan), truths[image])
        except ValueError as error:
            raise ValueError(f"image {image if names is None else names[image]}: {error}") from error

    ious = np.empty((2, len(maps), len(THRESHOLDS)))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for image, curves in enumerate(pool.map(curves_of, range(len(maps)))):
            ious[:, image] = curves
            if progress is not None:
                progress()
    return IouCurves(*ious)


def _quantised(score: np.ndarray) -> np.ndarray:
    """The 256 levels that thresholds are compared with, uint8 (H, W)."""
    values = np.asarray(score)
    if values.ndim != 2 or values.size == 0 or not ((values >= 0) & (values <= 1)).all():
        seen = f" and values from {values.min()} to {values.max()}" if values.size else ""
        raise ValueError(
            f"the score map has shape {values.shape}{seen}; pass (H, W) in [0, 1], as score_map makes it"
        )
    return (values * 255).astype(np.uint8)


def _contour_boxes(foreground: np.ndarray) -> tuple[np.ndarray, int]:
    """Boxes of all contours of a mask (H, W), int64 (m, 4), and the index of the largest contour."""
    contours, _ = cv2.findContours(foreground.view(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((1, 4), np.int64), 0
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], np.int64)
    boxes[:, 2:] = np.minimum(boxes[:, :2] + boxes[:, 2:], np.array(foreground.shape[::-1]) - 1)
    return boxes, int(np.argmax([cv2.contourArea(contour) for contour in contours]))


def scaled_truths(
    boxes: Sequence[np.ndarray], image_sizes: np.ndarray, images: int, names: Sequence[str] | None = None
) -> list[np.ndarray]:
    """Ground truth of every image in pixels of the score map, n arrays (k, 4); errors name the image."""
    if images == 0 or len(boxes) != images or np.shape(image_sizes) != (images, 2):
        raise ValueError(
            f"{images} images, but boxes of {len(boxes)} and image_sizes of shape {np.shape(image_sizes)}; "
            "give at least one image, and for each its boxes (k, 4) and its (width, height)"
        )
    truths = []
    for image, (corners, image_size) in enumerate(zip(boxes, image_sizes, strict=True)):
        try:
            truths.append(_checked_boxes(scale_boxes(corners, image_size), needed=True))
        except ValueError as error:
            raise ValueError(f"image {image if names is None else names[image]}: {error}") from error
    return truths


def _checked_boxes(boxes: np.ndarray, name: str = "boxes", needed: bool = False) -> np.ndarray:
    """The boxes as float64 (k, 4), each finite and not ending before it starts; at least one if `needed`."""
    corners = np.asarray(boxes, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"{name} has shape {corners.shape}; expected (k, 4), one (x0, y0, x1, y1) a row")
    if needed and len(corners) == 0:
        raise ValueError("there is no ground-truth box; leave images without boxes out before scoring")
    for index in np.flatnonzero(~np.isfinite(corners).all(axis=1)):
        raise ValueError(f"{name}[{index}] = {_shown(corners[index])} is not finite; repair or drop the box")
    for index in np.flatnonzero((corners[:, 2:] < corners[:, :2]).any(axis=1)):
        raise ValueError(
            f"{name}[{index}] = {_shown(corners[index])} ends before it starts; boxes are (x0, y0, x1, y1) "
            "with inclusive corners, not (x, y, width, height)"
        )
    return corners


def _shown(box: np.ndarray) -> str:
    return f"({', '.join(f'{value:.12g}' for value in box)})"
