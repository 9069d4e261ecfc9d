"""From IoU curves to the numbers that are reported, under every policy, each with its bootstrap interval.

n images, L thresholds, R bootstrap replicates. Numbers are in percent, thresholds are fractions of a map's
maximum. `vitol.localizations` says when an image is right, `vitol.readings` where the threshold comes from.
MaxBoxAccV2 is the mean of its three parts: each read at its own threshold under `oracle-per-iou` and
`validation`, all at the same one under `oracle-single` and `fixed`.

Source: reference [8] of the paper for MaxBoxAcc and MaxBoxAccV2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from vitol.bootstrap import interval
from vitol.boxes import DISTINCT_THRESHOLDS
from vitol.localizations import (
    CLASSIFICATION,
    DELTAS,
    PARTS,
    Localizations,
    checked_curves,
    checked_flags,
    hits,
)
from vitol.readings import FIXED, ORACLE_PER_IOU, ORACLE_SINGLE, POLICIES, VALIDATION, Reading, read

V2 = "MaxBoxAccV2"


@dataclass(frozen=True)
class Measurement:
    """One metric of one set of images.

    Attributes:
        metric: Its name, as in `measurements.csv`.
        policy: Where its threshold comes from; "" for metrics without one.
        value: In percent, unrounded.
        ci_low: Lower end of the 95% percentile bootstrap interval over images, in percent.
        ci_high: Its upper end, in percent.
        n_images: Number of images.
        threshold: The one it is read at; None if it has none, or three (MaxBoxAccV2 where each IoU has its own).
        replicates: The metric in every bootstrap resample, in percent, float64 (R,).
    """

    metric: str
    policy: str
    value: float
    ci_low: float
    ci_high: float
    n_images: int
    threshold: float | None
    replicates: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Difference:
    """A metric of one method minus that of another, in percentage points, with its 95% interval over images."""

    value: float
    ci_low: float
    ci_high: float


def max_box_acc(ious: np.ndarray, delta: float = 0.5) -> float:
    """Share of images whose IoU is at least delta, at the threshold where that share is highest, in percent.

    Args:
        ious: IoU curves, in [0, 1], (n, L).
        delta: The IoU from which a box is correct, in (0, 1].

    Raises:
        ValueError: If there is no image, an IoU is NaN or outside [0, 1], or delta is outside (0, 1].

    >>> max_box_acc(np.array([[0.6, 0.1], [0.5, 0.9], [0.2, 0.7], [0.2, 0.5]]), delta=0.5)
    75.0
    """
    right = checked_curves("ious", ious) >= checked_delta(delta)
    return 100 * int(right.sum(axis=0).max()) / len(right)


def max_box_acc_v2(ious: np.ndarray) -> float:
    """MaxBoxAccV2 of [8]: the mean of `max_box_acc` over the three DELTAS, in percent."""
    return float(np.mean([max_box_acc(ious, delta) for delta in DELTAS]))


def gt_known_loc(ious: np.ndarray) -> float:
    """GT-known Loc as the paper has it, which is MaxBoxAcc of all contours at an IoU of 0.5, in percent.

    Args:
        ious: IoU curves of all contours of the label's map, in [0, 1], (n, L).
    """
    return max_box_acc(ious, 0.5)


def top_loc(ious: np.ndarray, correct: np.ndarray) -> float:
    """Top-1 Loc, or Top-5 Loc: the class right and an IoU >= 0.5, at the threshold with most such images, in percent.

    Args:
        ious: IoU curves of all contours, in [0, 1], (n, L).
        correct: Whether the label is the first class, or for Top-5 Loc among the five first, bool (n,).

    >>> top_loc(np.array([[0.6, 0.1], [0.5, 0.9], [0.2, 0.7]]), np.array([True, True, False]))
    66.66666666666667
    """
    right = checked_curves("ious", ious) >= 0.5
    together = right & checked_flags("correct", correct, len(right))[:, None]
    return 100 * int(together.sum(axis=0).max()) / len(right)


def measure(
    found: Localizations,
    policies: Sequence[str] = (ORACLE_PER_IOU,),
    validation: Localizations | None = None,
    fixed: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    thresholds: np.ndarray = DISTINCT_THRESHOLDS,
) -> list[Measurement]:
    """Every metric that is known of a set of images, under every policy asked for.

    The bootstrap resamples the images, and for `validation` also those that thresholds are chosen on; it chooses
    thresholds again in every replicate. MaxBoxAccV2's replicate is the mean of its three parts'. Every metric and
    policy, and every call with as many images and the same seed, sees the same resamples, so that differences
    are paired.

    Args:
        found: The images to measure.
        policies: Some of POLICIES, at least one.
        validation: Other images, to choose thresholds on; for the policy `validation`.
        fixed: The threshold of the policy `fixed`, a fraction in [0, 1).
        replicates: R, the number of resamples.
        seed: Of the resamples.
        thresholds: Those of the curves, ascending, (L,).

    Returns:
        Policy by policy MaxBoxAccV2, IoU30, IoU50, IoU70, GTKnownLoc, GTKnownLocV1, PredictedLoc, Top1Loc, Top5Loc,
        as far as `found` goes; at the end Top1Cls and Top5Cls, which have no policy.

    Raises:
        ValueError: If a policy is unknown or lacks what it needs, the thresholds are not those of the curves, or
            there is no replicate.
    """
    grid = _checked_thresholds(thresholds, found.ious.shape[1])
    unknown = [policy for policy in policies if policy not in POLICIES]
    if unknown or not policies or len(set(policies)) < len(policies):
        raise ValueError(f"policies are {list(policies)}; give some of {', '.join(POLICIES)}, each once")
    column = _checked_fixed(fixed, grid) if FIXED in policies else None
    other = _checked_validation(validation, found) if VALIDATION in policies else None
    right = hits(found)
    readings = read(right, policies, PARTS, other, column, replicates, seed)
    measurements = []
    for policy, reading in readings.items():
        at = {name: float(grid[index]) for name, index in reading.columns.items()}
        if policy == FIXED and fixed is not None:
            at = dict.fromkeys(at, float(fixed))
        measurements += _measurements(policy, reading, at, len(found))
    for name in CLASSIFICATION:
        if name in right:
            anywhere = readings[policies[0]]
            value = 100 * anywhere.hits[name] / len(found)
            shares = 100 * anywhere.replicates[name] / len(found)
            measurements.append(Measurement(name, "", value, *interval(shares), len(found), None, shares))
    return measurements


def paired_difference(
    a: Measurement | Sequence[Measurement], b: Measurement | Sequence[Measurement]
) -> Difference:
    """What method a has more than method b in a metric, with the interval of the difference.

    Both are measured on the same images in the same order, with the same seed of the bootstrap: a replicate of
    the difference is that of a minus that of b, on the same resample. Methods with several seeds of training
    are averaged first, replicate by replicate; the spread over these seeds is not in the interval.

    Args:
        a: A method's measurement, or those of its seeds of training.
        b: The other's; the number of seeds may differ.

    Returns:
        a - b in percentage points, with the 2.5 and 97.5 percentiles of its replicates.

    Raises:
        ValueError: If there is no measurement or replicate, or metric, policy, number of images or of replicates
            are not those of the first one.
    """
    methods = [[of] if isinstance(of, Measurement) else list(of) for of in (a, b)]
    for name, method in zip("ab", methods, strict=True):
        if not method:
            raise ValueError(f"{name} has no measurement; pass one, or one for each seed of training")
    kinds = [_kind(measurement) for method in methods for measurement in method]
    for kind in kinds:
        if kind != kinds[0]:
            raise ValueError(
                f"{kinds[0]} and {kind} are not paired; measure the same thing on the same images"
            )
    if not len(methods[0][0].replicates):
        raise ValueError(f"{kinds[0]}: a difference needs replicates to get its interval from")
    values = [float(np.mean([of.value for of in method])) for method in methods]
    shares = [np.mean([of.replicates for of in method], axis=0) for method in methods]
    return Difference(values[0] - values[1], *interval(shares[0] - shares[1]))


def _kind(of: Measurement) -> str:
    policy = f" ({of.policy})" if of.policy else ""
    return f"{of.metric}{policy} on {of.n_images} images with {len(of.replicates)} replicates"


def _measurements(policy: str, reading: Reading, at: dict[str, float], n_images: int) -> list[Measurement]:
    """All metrics that have a threshold, MaxBoxAccV2 first."""
    names = [name for name in reading.hits if name not in CLASSIFICATION]
    values = {name: 100 * reading.hits[name] / n_images for name in names}
    shares = {name: 100 * reading.replicates[name] / n_images for name in names}
    values = {V2: float(np.mean([values[part] for part in PARTS])), **values}
    shares[V2] = np.mean([shares[part] for part in PARTS], axis=0)
    thresholds: dict[str, float | None] = {
        V2: at["IoU50"] if policy in (ORACLE_SINGLE, FIXED) else None,
        **at,
    }
    return [
        Measurement(name, policy, value, *interval(shares[name]), n_images, thresholds[name], shares[name])
        for name, value in values.items()
    ]


def checked_delta(delta: float) -> float:
    """The IoU from which a box is right, in (0, 1]."""
    if not 0 < delta <= 1:
        raise ValueError(f"delta is {delta}; the IoU to ask for is a fraction in (0, 1]")
    return delta


def _checked_thresholds(thresholds: np.ndarray, count: int) -> np.ndarray:
    grid = np.asarray(thresholds, dtype=np.float64)
    if grid.shape != (count,):
        raise ValueError(f"the curves have {count} thresholds, but {grid.size} are named")
    if not (np.diff(grid) > 0).all():
        raise ValueError("thresholds do not ascend; of equally good ones the first is to be the lowest")
    return grid


def _checked_fixed(fixed: float | None, grid: np.ndarray) -> int:
    """Column of the given threshold: the one with its foreground, of a map that reaches 1."""
    if fixed is None or not 0 <= fixed < 1:
        raise ValueError(f"fixed is {fixed}; the policy fixed needs its threshold, a fraction in [0, 1)")
    same = np.flatnonzero((grid * 255).astype(int) == int(fixed * 255))
    if not len(same):
        raise ValueError(
            f"fixed is {fixed}, but the curves have no threshold with the foreground of that one"
        )
    return int(same[0])


def _checked_validation(validation: Localizations | None, found: Localizations) -> dict[str, np.ndarray]:
    """Hits on the validation images, of every metric of the evaluated ones."""
    if validation is None:
        raise ValueError("the policy validation needs other images: pass their localizations as validation")
    if validation.ious.shape[1] != found.ious.shape[1]:
        raise ValueError(
            f"the curves of validation have {validation.ious.shape[1]} thresholds, those to be measured "
            f"{found.ious.shape[1]}; make both the same way"
        )
    for part in fields(found):
        if getattr(found, part.name) is not None and getattr(validation, part.name) is None:
            raise ValueError(
                f"validation has no {part.name}, which the images to be measured have; thresholds of its metrics "
                "are chosen on it: pass it, or leave it out of both"
            )
    there = hits(validation)
    return {name: there[name] for name in hits(found)}
