"""Views of a scored split beyond its headline: accuracy over threshold, IoU histogram, results by group.

n images, L = 255 distinct thresholds, k ground-truth boxes of an image. The views of one method are one tidy
frame with `COLUMNS`: `value` is a percentage of the row's `n_images` with its 95% interval, and `mean_iou`
is the mean IoU of these images.

Intervals are Wilson score intervals, not bootstrap ones as those of the headline: a group may hold few images,
and where all of three images are right every resample says 100%, so its bootstrap interval is [100, 100]. They
take the threshold as given: that it was chosen on these images is not in them.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pandas as pd

from vitol.localizations import DELTAS

RIGHT = 0.5  # the delta of results by group, as of GT-known Loc
BINS = 20  # of the IoU histogram
# Correctly rounded, so that an IoU of exactly 3 / 20 lies in the bin that starts there.
_EDGES = np.arange(BINS + 1) / BINS
COLUMNS = ["view", "group", "n_images", "value", "ci_low", "ci_high", "mean_iou"]
# Area of the largest ground-truth box as a fraction of the image: a bin holds its lower edge, the last also 1.
# The edges are fixed, not quantiles, so that groups of different splits and data sets can be compared.
SIZE_EDGES = (0.0, 0.1, 0.25, 0.5, 1.0)
SIZES = tuple(f"{100 * low:g}-{100 * high:g}%" for low, high in pairwise(SIZE_EDGES))
BOX_COUNTS = ("1", "2", "3+")


def ious_at(ious: np.ndarray, threshold: float) -> np.ndarray:
    """Best IoU of every image at one threshold.

    Args:
        ious: Curves over the distinct thresholds, (n, L) with L = 255, as `vitol.boxes.best_ious_of_maps` gives.
        threshold: Fraction of the map's maximum, in [0, 1).

    Returns:
        The curves' column of that threshold, (n,).

    Raises:
        ValueError: If the curves are not as above, or the threshold is none.
    """
    curves = _checked_ious(ious, 2)
    if curves.shape[1] != 255:
        raise ValueError(
            f"ious has shape {curves.shape}; needed: (n, 255), a column for each distinct threshold"
        )
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold {threshold} is outside [0, 1); thresholds are fractions of the maximum")
    return curves[:, int(threshold * 255)]


def accuracy_over_threshold(ious: np.ndarray) -> np.ndarray:
    """Share of images whose IoU reaches delta, at every threshold.

    The maximum of a row is MaxBoxAcc(delta) under the policy `oracle-per-iou`.

    Args:
        ious: IoU curves in [0, 1], (n, L).

    Returns:
        Percent, a row for each of `DELTAS`, float64 (3, L).
    """
    curves = _checked_ious(ious, 2)
    return np.stack([100 * (curves >= delta).mean(axis=0) for delta in DELTAS])


def iou_histogram(at: np.ndarray) -> np.ndarray:
    """Images in 20 equal bins of IoU; a bin holds its lower edge, the last also 1.

    Args:
        at: IoU of every image at the chosen threshold, in [0, 1], (n,).

    Returns:
        Counts that sum to n, int64 (20,).

    >>> iou_histogram(np.array([0.0, 0.05, 0.5, 1.0]))[[0, 1, 10, 19]].tolist()
    [1, 1, 1, 1]
    """
    return np.bincount(_bins(_checked_ious(at, 1)), minlength=BINS)


def wilson_interval(hits: int, n_images: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share: the shares that a score test does not reject.

    Inside [0, 100], never of zero width, and close to its level also for few images.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927;
    recommended for small n by L. D. Brown, T. T. Cai and A. DasGupta, "Interval estimation for a binomial
    proportion", Statistical Science 16(2), 2001.

    Args:
        hits: Images counted, 0 to `n_images`.
        n_images: All images, at least 1.
        level: Coverage, in (0, 1).

    Returns:
        Its ends in percent.

    >>> [round(end, 2) for end in wilson_interval(3, 3)]
    [43.85, 100.0]
    """
    if not 0 <= hits <= n_images or n_images < 1:
        raise ValueError(
            f"{hits} of {n_images} images is no share; give 0 <= hits <= n_images, n_images >= 1"
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = hits / n_images, 1 + z**2 / n_images
    centre = (share + z**2 / (2 * n_images)) / shrink
    half = z / shrink * (share * (1 - share) / n_images + z**2 / (4 * n_images**2)) ** 0.5
    # At either end one limit is exact; rounding would leave it a little inside or outside.
    return (0.0 if hits == 0 else 100 * (centre - half)), (
        100.0 if hits == n_images else 100 * (centre + half)
    )


def share_row(view: str, group: str, counted: np.ndarray, ious: np.ndarray) -> dict[str, object]:
    """A row of the frame: the share of images that are `counted`, (n,) bool, and the mean of their `ious`."""
    hits, n_images = int(np.count_nonzero(counted)), len(counted)
    numbers = (n_images, 100 * hits / n_images, *wilson_interval(hits, n_images), float(np.mean(ious)))
    return dict(zip(COLUMNS, (view, group, *numbers), strict=True))


def views_frame(
    at: np.ndarray,
    boxes: Sequence[np.ndarray],
    image_sizes: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    subsets: Sequence[str] = (),
) -> pd.DataFrame:
    """All views at one threshold in one tidy frame.

    Views, in this order: "iou at least" (the share at or above each of `DELTAS`), "iou histogram" (the share in
    each bin), then the share at or above 0.5 by "object size" (of the image's largest box, `SIZES`), by "boxes"
    (`BOX_COUNTS`), by "class" and by "subset". A group that holds no image has no row.

    Args:
        at: IoU of every image at the chosen threshold, in [0, 1], (n,).
        boxes: Ground truth of every image in pixels of that image, n arrays (k, 4), k >= 1.
        image_sizes: Width and height of every image, in pixels, (n, 2).
        labels: Class of every image from 0, (n,); None leaves the view out.
        class_names: Names of the classes by label; None takes the labels. A name that several classes share
            (ImageNet has two "crane") is followed by the label.
        subsets: Subset of every image, n names, in whose first order they are listed; () leaves the view out.

    Returns:
        The frame, with `COLUMNS`.

    Raises:
        ValueError: If lengths differ, an IoU is not in [0, 1], an image has no box, or a label has no name.
    """
    ious = _checked_ious(at, 1)
    n = len(ious)
    seen = f"{len(boxes)} arrays of boxes, image_sizes {np.shape(image_sizes)}"
    seen += "" if labels is None else f", {len(labels)} labels"
    seen += f", {len(subsets)} subsets" if len(subsets) else ""
    lengths = {len(boxes), n if labels is None else len(labels), len(subsets) or n}
    if lengths != {n} or np.shape(image_sizes) != (n, 2):
        raise ValueError(f"{n} images, but {seen}; every image needs one of each")
    rows = [share_row("iou at least", str(delta), ious >= delta, ious) for delta in DELTAS]
    names = [f"{low:.2f}-{high:.2f}" for low, high in pairwise(_EDGES)]
    held = _bins(ious)
    rows += [share_row("iou histogram", name, held == number, ious) for number, name in enumerate(names)]
    rows += _by_group("object size", object_sizes(boxes, image_sizes), SIZES, ious)
    counts = [BOX_COUNTS[min(len(of_image), len(BOX_COUNTS)) - 1] for of_image in boxes]
    rows += _by_group("boxes", counts, BOX_COUNTS, ious)
    if labels is not None:
        present = sorted({int(label) for label in labels})
        named = _class_names(present, class_names)
        rows += _by_group("class", [named[int(label)] for label in labels], list(named.values()), ious)
    rows += _by_group("subset", list(subsets), list(dict.fromkeys(subsets)), ious)
    return pd.DataFrame(rows, columns=COLUMNS)


def object_sizes(boxes: Sequence[np.ndarray], image_sizes: np.ndarray) -> list[str]:
    """The one of `SIZES` that each image's largest box is of, by its area as a fraction of the image.

    Args:
        boxes: Ground truth of every image in pixels of that image, n arrays (k, 4), k >= 1; x1 may equal the
            image's width, so a box is x1 - x0 wide.
        image_sizes: Width and height of every image, in pixels, (n, 2).

    Raises:
        ValueError: If an image has no box.

    >>> object_sizes([np.array([[0, 0, 5, 5], [0, 0, 5, 2]])], np.array([[10, 10]]))
    ['25-50%']
    """
    sizes = []
    for image, (corners, (width, height)) in enumerate(zip(boxes, image_sizes, strict=True)):
        if not len(corners):
            raise ValueError(f"image {image} has no box; leave images without boxes out before scoring")
        area = (corners[:, 2:] - corners[:, :2]).prod(axis=1).max() / (width * height)
        sizes.append(SIZES[int(np.searchsorted(SIZE_EDGES[1:-1], area, side="right"))])
    return sizes


def _bins(ious: np.ndarray) -> np.ndarray:
    """The bin of each IoU, from 0, (n,)."""
    return np.minimum(np.searchsorted(_EDGES, ious, side="right") - 1, BINS - 1)


def _by_group(view: str, names: Sequence[str], order: Sequence[str], ious: np.ndarray) -> list[dict]:
    """A row a group, in the given order: the share of its images at or above 0.5."""
    of_image = np.asarray(names)
    groups = [(name, ious[of_image == name]) for name in order]
    return [share_row(view, name, of_group >= RIGHT, of_group) for name, of_group in groups if len(of_group)]


def _class_names(labels: Sequence[int], class_names: Sequence[str] | None) -> dict[int, str]:
    """A name of its own for each label."""
    if class_names is None:
        return {label: str(label) for label in labels}
    if labels and not (0 <= min(labels) and max(labels) < len(class_names)):
        raise ValueError(
            f"labels from {min(labels)} to {max(labels)}, but {len(class_names)} class names; "
            "give the name of every class, in the order of the labels from 0"
        )
    often = Counter(class_names)
    return {
        label: class_names[label] if often[class_names[label]] == 1 else f"{class_names[label]} ({label})"
        for label in labels
    }


def _checked_ious(ious: np.ndarray, dimensions: int) -> np.ndarray:
    """IoUs as float64 of so many dimensions, at least one image, each in [0, 1]."""
    values = np.asarray(ious, dtype=np.float64)
    needed = {1: "(n,), one an image", 2: "(n, L), a curve over thresholds an image"}[dimensions]
    if values.ndim != dimensions or values.size == 0:
        raise ValueError(f"the IoUs have shape {values.shape}; needed: {needed}, with at least one image")
    wrong = ~((values >= 0) & (values <= 1)).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        raise ValueError(f"image {int(np.argmax(wrong))} has an IoU outside [0, 1]; score its map again")
    return values
