"""How a localization fails: the box covers too little, too much, or several objects.

n images, k ground-truth boxes of an image, h x w map grid. One box an image is judged, that of the largest
contour at one threshold, against the image's ground truth. With intersections and areas of boxes of inclusive
corners (see `vitol.rectangles.iou_matrix`), for a predicted box P and a true box G,

    IoG = |P and G| / |G|, how much of the object is covered;  IoP = |P and G| / |P|, how much of P is object;

an image is, in this order of precedence (T is the true box with the highest IoU, the first of equals),

    right   IoU(P, T) >= 0.5
    multi   IoG > 0.3 for at least two true boxes: one box around several objects
    part    IoP(P, T) > 0.5: P lies on the object and covers too little of it
    more    IoG(P, T) >= 0.7: P covers the object, and too much beside it
    other   none of these: beside the object, or across its edge.

Sources: W. Gao et al., "TS-CAM", ICCV 2021, reports the three as "M-Ins", "Part" and "More". Definitions,
thresholds, which of them are strict, and the precedence are those of its code, `vasgaowei/TS-CAM@121c8ca`
(`lib/cams_deit.py`: `get_badcase_detail`, `cal_iou`). It shares them with `Panxjia/SPA_CVPR2021@f2e1571`
(`utils/utils/evaluate.py`; X. Pan et al., CVPR 2021) and `MsterDC/SPA2Net@6061622` (`utils/evaluate.py`); no code
with others was found. They differ from each other, and this module from them, in what is judged:

- The codes take IoU > 0.5 as right. Here it is >= 0.5, as everywhere else in the protocol, so that the share of
  "right" is the accuracy at this threshold of GT-known Loc with the largest contour.
- The codes judge the map of the predicted class, and first set apart the images whose class is wrong (for Top-1
  Loc). Here the map is what it is, and nothing is set apart.
- TS-CAM takes the largest contour's box at 224 x 224, as here; SPA and SPA2Net by default one box around all
  foreground pixels, in pixels of the image.

With one true box, P inside it can only be right or part, and P around it only right or more. P that is shifted
may meet part and more at once; what each image meets whatever the precedence is kept in `Failures.meets`.
Ground truth holds boxes of the image's label alone, so objects of other classes inside P do not make a multi.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from vitol.boxes import boxes_at, score_map
from vitol.views import COLUMNS, RIGHT, share_row

CATEGORIES = ("right", "part", "more", "multi", "other")
FAILURES = ("part", "more", "multi")
_SEVERAL, _PART, _MORE = 0.3, 0.5, 0.7  # IoG of each of two objects, IoP, IoG


@dataclass(frozen=True, eq=False)
class Failures:
    """What became of n images.

    Attributes:
        categories: One of `CATEGORIES` an image, n names.
        meets: Which definitions of `FAILURES` an image that is not right meets, precedence aside, bool (n, 3).
        ious: IoU of the predicted box with the nearest true box, in [0, 1], (n,).
    """

    categories: tuple[str, ...]
    meets: np.ndarray
    ious: np.ndarray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.categories)

    def shares(self) -> dict[str, float]:
        """Percent of the images in each of `CATEGORIES`, in their order; they sum to 100."""
        return {name: 100 * self.categories.count(name) / len(self) for name in CATEGORIES}

    def frame(self) -> pd.DataFrame:
        """The shares as rows of `vitol.views.COLUMNS`.

        View "failure" holds the categories; view "failure, overlapping" each definition alone, whatever the
        precedence, which do not sum to 100.
        """
        chosen = np.array(self.categories)
        rows = [share_row("failure", name, chosen == name, self.ious) for name in CATEGORIES]
        for name, met in zip(FAILURES, self.meets.T, strict=True):
            rows.append(share_row("failure, overlapping", name, met, self.ious))
        return pd.DataFrame(rows, columns=COLUMNS)


class Overlaps(NamedTuple):
    """IoU, IoG and IoP of one predicted box with an image's true boxes, each (k,)."""

    iou: np.ndarray
    iog: np.ndarray
    iop: np.ndarray


def predicted_boxes(
    maps: Sequence[np.ndarray] | np.ndarray,
    threshold: float,
    reference_nan: bool = False,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Box of the largest contour of every map at one threshold.

    Args:
        maps: Localization maps, (n, h, w) or n arrays (h, w) of any sizes, n >= 1.
        threshold: Fraction of the score map's maximum, in [0, 1].
        reference_nan: See `vitol.boxes.score_map`.
        names: What errors call the images, n strings; None for their index.

    Returns:
        x0, y0, x1, y1 in pixels of the score map, int64 (n, 4); [0, 0, 0, 0] where there is no foreground.

    Raises:
        ValueError: If there is no map, the threshold is none, or a map is bad: then with the image's name.
    """
    if len(maps) == 0 or (names is not None and len(names) != len(maps)):
        named = "" if names is None else f" and {len(names)} names"
        raise ValueError(f"{len(maps)} maps{named}; give at least one map, and a name for each or none")
    found = np.empty((len(maps), 4), np.int64)
    for image in range(len(maps)):
        try:
            score = score_map(maps[image], reference_nan=reference_nan)
            found[image] = boxes_at(score, threshold, "largest")[0]
        except ValueError as error:
            raise ValueError(f"image {image if names is None else names[image]}: {error}") from error
    return found


def failures(
    predicted: np.ndarray, truths: Sequence[np.ndarray], names: Sequence[str] | None = None
) -> Failures:
    """Sort images by what became of their box; the definitions are at the head of this module.

    Args:
        predicted: One box an image, see `predicted_boxes`, (n, 4), n >= 1.
        truths: Ground truth of every image in the same pixels, see `vitol.rectangles.scaled_truths`, n arrays (k, 4),
            k >= 1.
        names: What errors call the images, n strings; None for their index.

    Returns:
        The category of every image.

    Raises:
        ValueError: If the lengths differ or are 0, an image has no true box, or a box is bad.
    """
    boxes = np.asarray(predicted, dtype=np.float64)
    n = len(truths)
    if n == 0 or boxes.shape != (n, 4) or (names is not None and len(names) != n):
        named = "" if names is None else f" and {len(names)} names"
        raise ValueError(
            f"predicted has shape {boxes.shape}, for ground truth of {n} images{named}; "
            "give one box (x0, y0, x1, y1) and one array of true boxes (k, 4) an image, at least one image"
        )
    categories, ious, meets = [], np.empty(n), np.zeros((n, len(FAILURES)), bool)
    for image, (box, truth) in enumerate(zip(boxes, truths, strict=True)):
        try:
            overlaps = overlaps_with(box, truth)
        except ValueError as error:
            raise ValueError(f"image {image if names is None else names[image]}: {error}") from error
        nearest = int(np.argmax(overlaps.iou))
        ious[image] = overlaps.iou[nearest]
        part = bool(overlaps.iop[nearest] > _PART)
        more = bool(overlaps.iog[nearest] >= _MORE)
        multi = np.count_nonzero(overlaps.iog > _SEVERAL) > 1
        right = ious[image] >= RIGHT
        meets[image] = not right and np.array([part, more, multi])
        ordered = {"right": right, "multi": multi, "part": part, "more": more, "other": True}
        categories.append(next(name for name, met in ordered.items() if met))
    return Failures(tuple(categories), meets, ious)


def overlaps_with(box: np.ndarray, truth: np.ndarray) -> Overlaps:
    """Overlaps of a predicted box (4,) with true boxes (k, 4), of inclusive corners.

    >>> overlaps_with(np.array([0, 0, 1, 1]), np.array([[0, 0, 1, 3]]))
    Overlaps(iou=array([0.5]), iog=array([0.5]), iop=array([1.]))
    """
    predicted, true = np.asarray(box, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if true.ndim != 2 or true.shape[1:] != (4,) or len(true) == 0:
        raise ValueError(f"the true boxes have shape {true.shape}; needed: (k, 4) with at least one box")
    for name, corners in (("the predicted box", predicted[None]), ("a true box", true)):
        wrong = ~np.isfinite(corners).all(axis=1) | (corners[:, 2:] < corners[:, :2]).any(axis=1)
        if wrong.any():
            shown = ", ".join(f"{value:g}" for value in corners[int(np.argmax(wrong))])
            raise ValueError(
                f"{name} is ({shown}); boxes are finite (x0, y0, x1, y1) that do not end before they start"
            )
    near, far = np.maximum(predicted[:2], true[:, :2]), np.minimum(predicted[2:], true[:, 2:])
    intersection = np.maximum(far - near + 1, 0).prod(axis=1)
    area, areas = (predicted[2:] - predicted[:2] + 1).prod(), (true[:, 2:] - true[:, :2] + 1).prod(axis=1)
    return Overlaps(intersection / (area + areas - intersection), intersection / areas, intersection / area)
