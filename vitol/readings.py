"""Where the threshold of an accuracy comes from, and what the accuracy is there, in every resample of the images.

n images, L thresholds, R bootstrap replicates, r of them at a time. A criterion says which images are right at
which threshold; a column is a threshold's index.

- `oracle-per-iou`, that of [8]: each criterion where it has most hits on the evaluated images.
- `oracle-single`: all criteria where a few of them, the parts, have most hits together.
- `validation`: each criterion where it has most hits on other images: Murtaza et al., WACV 2025.
- `fixed`: all criteria at a given column, as in the paper's released code.

Of columns with equally many hits the first is chosen. A criterion with one column has no threshold to choose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vitol.bootstrap import resampled_counts

ORACLE_PER_IOU, ORACLE_SINGLE, VALIDATION, FIXED = POLICIES = (
    "oracle-per-iou",
    "oracle-single",
    "validation",
    "fixed",
)
VALIDATION_STREAM = 1  # of the bootstrap; the evaluated images have stream 0


@dataclass(frozen=True, eq=False)
class Reading:
    """Criteria read under one policy, each by its name.

    Attributes:
        columns: Where.
        hits: How many images are right there.
        replicates: How many are in every resample, its columns chosen again, float64 (R,).
    """

    columns: dict[str, int]
    hits: dict[str, int]
    replicates: dict[str, np.ndarray]


def read(
    right: Mapping[str, np.ndarray],
    policies: Sequence[str],
    parts: Sequence[str],
    validation: Mapping[str, np.ndarray] | None,
    fixed: int | None,
    replicates: int,
    seed: int,
) -> dict[str, Reading]:
    """Read criteria under policies; all see the same resamples.

    Args:
        right: By criterion which images are right at which threshold, bool, (n, L) or (n, 1).
        policies: Some of POLICIES.
        parts: The criteria that `oracle-single` goes by, with the same L.
        validation: The criteria on other images, needed for `validation`; resampled too.
        fixed: The column of `fixed`, needed for it.
        replicates: R.
        seed: Of the resamples.

    Returns:
        The reading under each policy.

    Raises:
        ValueError: If there is no replicate.
    """
    elsewhere: dict[str, np.ndarray] = {}
    elsewhere_again: dict[str, np.ndarray] = {}
    if VALIDATION in policies and validation is not None:
        elsewhere = _most_hits(_totals(validation))
        drawn = resampled_counts(validation, replicates, seed, VALIDATION_STREAM)
        pieces = [_most_hits(counts) for counts in drawn]
        elsewhere_again = {name: np.concatenate([piece[name] for piece in pieces]) for name in validation}

    again: dict[str, list[dict[str, np.ndarray]]] = {policy: [] for policy in policies}
    done = 0
    for counts in resampled_counts(right, replicates, seed):
        count = len(counts[parts[0]])
        there = {name: columns[done : done + count] for name, columns in elsewhere_again.items()}
        for policy in policies:
            again[policy].append(_at(counts, _columns(policy, counts, parts, there, fixed)))
        done += count

    readings, totals = {}, _totals(right)
    for policy in policies:
        columns = _columns(policy, totals, parts, elsewhere, fixed)
        readings[policy] = Reading(
            {name: int(of[0]) for name, of in columns.items()},
            {name: int(found[0]) for name, found in _at(totals, columns).items()},
            {name: np.concatenate([of[name] for of in again[policy]]).astype(np.float64) for name in right},
        )
    return readings


def _columns(
    policy: str,
    counts: Mapping[str, np.ndarray],
    parts: Sequence[str],
    elsewhere: Mapping[str, np.ndarray],
    fixed: int | None,
) -> dict[str, np.ndarray]:
    """Columns of every criterion, (r,), from hits at every column, (r, L)."""
    if policy == ORACLE_PER_IOU:
        return _most_hits(counts)
    if policy == VALIDATION:
        return dict(elsewhere)
    together = np.stack([counts[part] for part in parts]).sum(axis=0, dtype=np.float64)
    column = together.argmax(axis=1) if policy == ORACLE_SINGLE else np.full(len(together), fixed)
    return {name: column if found.shape[1] > 1 else 0 * column for name, found in counts.items()}


def _totals(right: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hits at every column on the images as they are, (1, L)."""
    return {name: of.sum(axis=0)[None] for name, of in right.items()}


def _most_hits(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first column with most hits, (r,)."""
    return {name: found.argmax(axis=1) for name, found in counts.items()}


def _at(counts: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hits at the columns, (r,)."""
    return {name: found[np.arange(len(found)), columns[name]] for name, found in counts.items()}
