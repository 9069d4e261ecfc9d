"""From a localization map to the best IoU of its boxes at every threshold, as the reference evaluator has it.

n images, k ground-truth boxes of an image, m boxes of a score map, h x w map grid, H x W score map,
T = 1000 thresholds. Boxes are (x0, y0, x1, y1) with inclusive corners, in pixels of the score map.

Source: reference [8] of the paper, `clovaai/wsolevaluation@96f4b88` (`evaluation.py`, `util.py`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import cv2
import numpy as np

from vitol.contours import CUTS, best_at_cuts, best_of_images
from vitol.contours import largest_boxes as compiled_largest_boxes
from vitol.rectangles import SIZE, scaled_truths, whole_boxes
from vitol.threads import threads

THRESHOLDS: np.ndarray = np.arange(0, 1, 0.001)  # of [8], as fractions of the score map's maximum, (T,)
# A score map reaches 1, that is level 255, or is constant: the lowest threshold of every foreground there is, (255,).
DISTINCT_THRESHOLDS: np.ndarray = THRESHOLDS[np.unique((THRESHOLDS * 255).astype(int), return_index=True)[1]]
CHUNK = 16  # images a thread takes at a time; 50,000 pixels each


class IouCurves(NamedTuple):
    """Best IoU at every threshold over `all` contours (V2) and of the `largest` (V1), each (T,) or (n, T)."""

    all: np.ndarray
    largest: np.ndarray


def score_map(
    localization_map: np.ndarray, size: tuple[int, int] = (SIZE, SIZE), reference_nan: bool = False
) -> np.ndarray:
    """Scale a map to the image with bicubic interpolation and stretch its values to [0, 1].

    A constant map becomes all zeros. That is decided before scaling: interpolating a constant leaves rounding
    errors, which stretching would turn into a pattern. All is float32, as section 1 of the protocol has it: a map
    that a reference evaluator is given in float64 may fall into another level at single pixels.

    Args:
        localization_map: Finite values on any grid, (h, w).
        size: Width and height of the score map, in pixels.
        reference_nan: Turn a map that is not finite into zeros, as the reference does, instead of raising.

    Returns:
        The score map, float32 in [0, 1], (H, W).

    Raises:
        ValueError: If the map is not two-dimensional or empty, or holds NaN, infinity or values beyond 1e37.
    """
    scores = _resized(localization_map, size, reference_nan)
    scores = scores - scores.min()
    return scores / (scores.max() or 1)


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


def largest_boxes(score: np.ndarray) -> np.ndarray:
    """Box of the largest contour at each of DISTINCT_THRESHOLDS: what `boxes_at` gives one by one, far faster.

    Args:
        score: Score map in [0, 1], (H, W).

    Returns:
        int64, (255, 4); [0, 0, 0, 0] where there is no foreground.

    Raises:
        ValueError: If the score map is not one.
    """
    levels = np.ascontiguousarray(_quantised(score))
    boxes = np.empty((CUTS, 4), np.int32)
    compiled_largest_boxes(levels, boxes)
    return boxes[(DISTINCT_THRESHOLDS * int(levels.max())).astype(np.int64)].astype(np.int64)


def best_ious(score: np.ndarray, gt_boxes: np.ndarray) -> IouCurves:
    """Best IoU, over contours and over ground-truth boxes, of a score map at each of the 1000 thresholds.

    Args:
        score: Score map in [0, 1], (H, W).
        gt_boxes: Ground-truth boxes in pixels of the score map (see `scale_boxes`), (k, 4), k >= 1.

    Returns:
        Curves of float64 (T,), in [0, 1].

    Raises:
        ValueError: If the score map is not one, there is no ground-truth box, or a box ends before it starts or
            is not in whole pixels.
    """
    levels = np.ascontiguousarray(_quantised(score))
    curves = IouCurves(np.empty(CUTS), np.empty(CUTS))
    best_at_cuts(levels, whole_boxes(gt_boxes), *curves, True)
    cuts = (THRESHOLDS * int(levels.max())).astype(np.int64)
    return IouCurves(curves.all[cuts], curves.largest[cuts])


def best_ious_of_maps(
    maps: Sequence[np.ndarray] | np.ndarray,
    image_sizes: np.ndarray,
    boxes: Sequence[np.ndarray],
    workers: int | None = None,
    progress: Callable[[], object] | None = None,
    reference_nan: bool = False,
    names: Sequence[str] | None = None,
    largest: bool = True,
) -> IouCurves:
    """IoU curves of one localization map an image, from maps and ground truth as they come.

    Args:
        maps: Localization maps, (n, h, w) or a sequence of n arrays (h, w) of any sizes. Each is asked for once,
            in a thread, so that a sequence may read them from files.
        image_sizes: Width and height of every image, in pixels, (n, 2).
        boxes: Ground-truth boxes of every image in pixels of that image, n arrays (k, 4), k >= 1.
        workers: Threads (OpenCV and the sweep release Python's lock); None takes one a core. The result is the same.
        progress: Called once an image, from the calling thread.
        reference_nan: See `score_map`.
        names: What errors call the images, n strings; None for their index.
        largest: Whether to find the largest contours, too, which takes longer than all of them.

    Returns:
        Curves at DISTINCT_THRESHOLDS, float64 (n, 255), in [0, 1]; `largest` is NaN where it was not asked for.

    Raises:
        ValueError: If the lengths differ or are 0, or a map or a box is bad: then with the image's name.
    """
    truths = scaled_truths(boxes, image_sizes, len(maps), names)
    count = threads(workers)
    of_all, of_largest = np.empty((len(maps), CUTS)), np.empty((len(maps) if largest else 0, CUTS))

    corners = np.concatenate(truths)
    ends = np.cumsum([0] + [len(truth) for truth in truths])

    def score(first: int) -> int:
        chosen = slice(first, min(first + CHUNK, len(maps)))
        scores = np.empty((chosen.stop - first, SIZE, SIZE), np.float32)
        for image in range(first, chosen.stop):
            try:
                scores[image - first] = _resized(maps[image], (SIZE, SIZE), reference_nan)
            except ValueError as error:
                raise ValueError(f"image {image if names is None else names[image]}: {error}") from error
        best_of_images(scores, corners, ends[first:], of_all[chosen], of_largest[chosen], largest)
        return len(scores)

    with ThreadPoolExecutor(count) as pool:
        try:
            for scored in pool.map(score, range(0, len(maps), CHUNK)):
                if progress is not None:
                    for _ in range(scored):
                        progress()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return IouCurves(of_all, of_largest if largest else np.broadcast_to(np.nan, of_all.shape))


def _resized(localization_map: np.ndarray, size: tuple[int, int], reference_nan: bool) -> np.ndarray:
    """A checked map scaled to the image, float32 (H, W); zeros if it is constant. See `score_map`."""
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
    return cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)


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
