"""From IoU curves to the numbers that are reported, each with its bootstrap interval over images.

n images, T thresholds, R bootstrap replicates. An IoU curve is an image's best IoU at every threshold
(see `vitol.boxes`). Numbers are in percent, thresholds are fractions of a map's maximum.

Policy `oracle-per-iou`, that of [8]: a metric is the accuracy at the threshold where that very accuracy is
highest on the evaluated images; the three parts of MaxBoxAccV2 have a threshold each.

Sources: reference [8] of the paper for MaxBoxAcc and MaxBoxAccV2; Sec. 4 of the paper for GT-known Loc and
Top-1 Loc. An IoU equal to delta is correct, as in [8] and in the paper's released code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vitol.boxes import THRESHOLDS

DELTAS = (0.3, 0.5, 0.7)  # the IoUs that MaxBoxAccV2 asks for
ORACLE_PER_IOU = "oracle-per-iou"
DRAWS_AT_ONCE = 2**22  # bounds the bootstrap's memory to about 100 MB, whatever the number of images


@dataclass(frozen=True)
class Measurement:
    """One metric of one set of images.

    Attributes:
        metric: Its name, as in `measurements.csv`.
        policy: How the threshold was chosen; "" for Top1Cls, which has none.
        value: In percent, unrounded.
        ci_low: Lower end of the 95% percentile bootstrap interval over images, in percent.
        ci_high: Its upper end, in percent.
        n_images: Number of images.
        threshold: The lowest threshold with that value; None for Top1Cls and for MaxBoxAccV2 (it has three).
    """

    metric: str
    policy: str
    value: float
    ci_low: float
    ci_high: float
    n_images: int
    threshold: float | None


def max_box_acc(ious: np.ndarray, delta: float = 0.5) -> float:
    """Share of images whose IoU is at least delta, at the threshold where that share is highest, in percent.

    Args:
        ious: IoU curves, in [0, 1], (n, T).
        delta: The IoU from which a box is correct, in (0, 1].

    Raises:
        ValueError: If there is no image, an IoU is NaN or outside [0, 1], or delta is outside (0, 1].

    >>> max_box_acc(np.array([[0.6, 0.1], [0.5, 0.9], [0.2, 0.7], [0.2, 0.5]]), delta=0.5)
    75.0
    """
    if not 0 < delta <= 1:
        raise ValueError(f"delta is {delta}; the IoU to ask for is a fraction in (0, 1]")
    right = _checked_curves("ious", ious) >= delta
    return 100 * int(right.sum(axis=0).max()) / len(right)


def max_box_acc_v2(ious: np.ndarray) -> float:
    """MaxBoxAccV2 of [8]: the mean of `max_box_acc` over the three DELTAS, in percent."""
    return float(np.mean([max_box_acc(ious, delta) for delta in DELTAS]))


def measure(
    ious_all: np.ndarray,
    ious_largest: np.ndarray | None = None,
    ious_predicted: np.ndarray | None = None,
    correct: np.ndarray | None = None,
    replicates: int = 2000,
    seed: int = 0,
    thresholds: np.ndarray = THRESHOLDS,
) -> list[Measurement]:
    """Every metric that the given curves allow, with the threshold chosen on these very images.

    `ious_all` gives MaxBoxAccV2, IoU30, IoU50, IoU70 and GTKnownLoc (IoU50 under the paper's name),
    `ious_largest` GTKnownLocV1, `ious_predicted` PredictedLoc, `correct` Top1Loc and Top1Cls. Top-1 Loc is
    the share of images with the class right and an IoU >= 0.5 at one threshold for all images: the threshold
    with the most such images. It is the same for the maps of the ground-truth and of the predicted class,
    since it counts only images where those are one class. What a user without labels gets is PredictedLoc:
    IoU >= 0.5 with the predicted class's map, the class right or wrong.

    The bootstrap chooses the threshold again in every replicate; MaxBoxAccV2's replicate is the mean of its
    three maxima. Every metric, and every call with as many images and the same seed, sees the same resamples,
    so that differences are paired.

    Args:
        ious_all: IoU curves of all contours, from the maps of the ground-truth class, in [0, 1], (n, T).
        ious_largest: Likewise, of the largest contour, (n, T).
        ious_predicted: As `ious_all`, from the maps of the predicted class, (n, T).
        correct: Whether the predicted class is right, bool, (n,).
        replicates: R, the number of resamples of the images.
        seed: Of the resamples.
        thresholds: Those of the curves, (T,).

    Returns:
        One measurement a metric, in the order MaxBoxAccV2, IoU30, IoU50, IoU70, GTKnownLoc, GTKnownLocV1,
        PredictedLoc, Top1Loc, Top1Cls.

    Raises:
        ValueError: If there is no image, shapes differ, an IoU is NaN or outside [0, 1], `correct` is not
            boolean, or there is no replicate.
    """
    hits = _hits(ious_all, ious_largest, ious_predicted, correct)
    n_images, n_thresholds = np.shape(ious_all)
    if np.shape(thresholds) != (n_thresholds,):
        raise ValueError(f"the curves have {n_thresholds} thresholds, but {np.size(thresholds)} are named")
    maxima = bootstrap_maxima(list(hits.values()), replicates, seed)

    accuracy = {metric: 100 * right.sum(axis=0) / n_images for metric, right in hits.items()}
    best = {metric: float(curve.max()) for metric, curve in accuracy.items()}
    replicated = {metric: 100 * found / n_images for metric, found in zip(hits, maxima, strict=True)}
    parts = [f"IoU{round(100 * delta)}" for delta in DELTAS]
    best = {"MaxBoxAccV2": float(np.mean([best[part] for part in parts])), **best}
    replicated["MaxBoxAccV2"] = np.mean([replicated[part] for part in parts], axis=0)

    measurements = []
    for metric, value in best.items():
        low, high = np.percentile(replicated[metric], [2.5, 97.5])
        policy = "" if metric == "Top1Cls" else ORACLE_PER_IOU
        single = metric not in ("MaxBoxAccV2", "Top1Cls")
        threshold = float(thresholds[accuracy[metric].argmax()]) if single else None
        measurements.append(Measurement(metric, policy, value, float(low), float(high), n_images, threshold))
    return measurements


def bootstrap_maxima(hits: list[np.ndarray], replicates: int, seed: int) -> np.ndarray:
    """Highest number of hits over the thresholds, of several criteria in the same resamples of the images.

    Args:
        hits: For each criterion, which images are right at which threshold, bool, (n, T); T may differ.
        replicates: R, the number of resamples, each of n images drawn with replacement.
        seed: Of the resamples.

    Returns:
        Counts of images, float64, (criteria, R).

    Raises:
        ValueError: If there is no replicate.
    """
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; an interval needs at least 1, and 2000 are usual")
    distinct = [_distinct_columns(right) for right in hits]
    maxima = [
        [(weights @ right.astype(np.float32)).max(axis=1) for right in distinct]
        for weights in _resamples(len(hits[0]), replicates, seed)
    ]
    return np.concatenate(maxima, axis=1).astype(np.float64)


def _resamples(n_images: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample holds each image, some resamples at a time, (r, n).

    float32 makes the products fast and is exact: it counts to 2^24 images.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // n_images)
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        draws = rng.integers(0, n_images, (rows, n_images))
        draws += np.arange(rows)[:, None] * n_images
        counts = np.bincount(draws.ravel(), minlength=rows * n_images)
        yield counts.reshape(rows, n_images).astype(np.float32)


def _distinct_columns(right: np.ndarray) -> np.ndarray:
    """The criterion without the thresholds that repeat the one before: of 1000, at most 255 differ."""
    changes = (right[:, 1:] != right[:, :-1]).any(axis=0)
    return right[:, np.concatenate([[True], changes])]


def _hits(
    ious_all: np.ndarray,
    ious_largest: np.ndarray | None,
    ious_predicted: np.ndarray | None,
    correct: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Which images are right at which threshold, bool (n, T), for each metric with a single threshold."""
    curves = _checked_curves("ious_all", ious_all)
    hits = {f"IoU{round(100 * delta)}": curves >= delta for delta in DELTAS}
    hits["GTKnownLoc"] = hits["IoU50"]
    if ious_largest is not None:
        hits["GTKnownLocV1"] = _checked_curves("ious_largest", ious_largest, curves.shape) >= 0.5
    if ious_predicted is not None:
        hits["PredictedLoc"] = _checked_curves("ious_predicted", ious_predicted, curves.shape) >= 0.5
    if correct is not None:
        if np.asarray(correct).dtype != bool or np.shape(correct) != curves.shape[:1]:
            raise ValueError(
                f"correct has shape {np.shape(correct)} and type {np.asarray(correct).dtype}; pass one bool "
                f"for each of the {len(curves)} images: predicted class == ground-truth class"
            )
        class_right = np.asarray(correct)[:, None]
        hits["Top1Loc"] = hits["IoU50"] & class_right
        hits["Top1Cls"] = class_right
    return hits


def _checked_curves(name: str, ious: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    curves = np.asarray(ious, dtype=np.float64)
    if curves.ndim != 2 or curves.size == 0:
        raise ValueError(f"{name} has shape {curves.shape}; pass (n, T), an IoU curve for at least one image")
    if shape is not None and curves.shape != shape:
        raise ValueError(f"{name} has shape {curves.shape}, ious_all {shape}; pass curves of the same images")
    bad = np.argwhere(~((curves >= 0) & (curves <= 1)))
    if len(bad):
        image, threshold = bad[0]
        raise ValueError(
            f"{name}[{image}, {threshold}] = {curves[image, threshold]:g} is no IoU in [0, 1] ({len(bad)} of "
            f"{curves.size} values are not); recompute or drop the image, and pass fractions, not percent"
        )
    return curves
