"""What a paired difference says of a claim, when its images and its seeds are both few."""

from __future__ import annotations

from math import hypot
from typing import Literal

from vitol.bootstrap import side_of_zero

Verdict = Literal["holds", "reversed", "open", "one training"]

# 97.5% quantiles of Student's t for so many seeds: with few of them their own spread is hardly known.
T_OF_SEEDS = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def with_seeds(
    difference: float, ci_low: float, ci_high: float, seed_sd: float, seeds: int
) -> tuple[float, float]:
    """The 95% interval over images, widened by that of the mean over seeds (Student's t).

    Args:
        difference: Of the mean over seeds.
        ci_low: Lower end of its interval over images.
        ci_high: Its upper end.
        seed_sd: Standard deviation of the seeds' differences; not used for one seed.
        seeds: How many there are.
    """
    spread = 0.0 if seeds < 2 else T_OF_SEEDS[min(seeds, max(T_OF_SEEDS))] * seed_sd / seeds**0.5
    down, up = max(difference - ci_low, 0), max(ci_high - difference, 0)
    return difference - hypot(down, spread), difference + hypot(up, spread)


def verdict_of(
    difference: float,
    ci_low: float,
    ci_high: float,
    sign: int,
    *,
    seed_sd: float = float("nan"),
    seeds: int = 1,
    trained: bool = False,
) -> Verdict:
    """What a run says of a claim.

    Args:
        difference: Of the mean over seeds, in percentage points.
        ci_low: Lower end of its 95% interval over images.
        ci_high: Its upper end.
        sign: Of the paper's difference, 1 or -1.
        seed_sd: Standard deviation of the seeds' differences.
        seeds: How many there are.
        trained: Whether the two sides are two trainings, so that one seed of each says nothing of the next.

    Returns:
        "holds" or "reversed" if both the interval over images and the one widened by the seeds leave out 0; else
        "open". "one training" instead of these two, where there is one seed of two trainings.

    >>> verdict_of(2.0, 0.5, 3.5, sign=1)
    'holds'
    >>> verdict_of(2.0, 0.5, 3.5, sign=1, seed_sd=1.0, seeds=3)
    'open'
    """
    low, high = with_seeds(difference, ci_low, ci_high, seed_sd, seeds)
    side = side_of_zero(min(low, ci_low), max(high, ci_high))
    if not side:
        return "open"
    if trained and seeds < 2:
        return "one training"
    return "holds" if side == sign else "reversed"
