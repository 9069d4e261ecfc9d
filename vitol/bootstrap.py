"""Resampling of images: what a measurement would have been on other images of the same kind.

n images, T thresholds, R resamples (replicates). A resample is n images drawn with replacement. Every call with
as many images and the same seed draws the same resamples, so that metrics and methods are paired.
"""

from collections.abc import Iterator, Mapping

import numpy as np

DRAWS_AT_ONCE = 2**22  # bounds the memory to about 100 MB, whatever the number of images
MOST_IMAGES = 2**24  # float32, in which hits are counted, is exact up to here


def resamples(
    n_images: int, replicates: int, seed: int, stream: int = 0, width: int = 1
) -> Iterator[np.ndarray]:
    """How often each resample holds each image, some resamples at a time.

    Args:
        n_images: n, at least 1.
        replicates: R, at least 1.
        seed: Of the draws, not negative.
        stream: Draws of another stream have nothing to do with these: for a second set of images.
        width: Numbers that the caller keeps for each resample; more of them, fewer resamples at a time.

    Yields:
        Counts, float32 (r, n), each row summing to n; R rows in all.

    Raises:
        ValueError: If there is no replicate, or more images than can be counted.
    """
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; an interval needs at least 1, and 2000 are usual")
    if n_images > MOST_IMAGES:
        raise ValueError(f"{n_images} images are more than the {MOST_IMAGES} that can be counted; split them")
    # The first stream is that of the plain seed, as it was before there were others: numbers stay as reported.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)) if stream else seed)
    at_once = max(1, DRAWS_AT_ONCE // max(n_images, width))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        draws = rng.integers(0, n_images, (rows, n_images))
        draws += np.arange(rows)[:, None] * n_images
        counts = np.bincount(draws.ravel(), minlength=rows * n_images)
        yield counts.reshape(rows, n_images).astype(np.float32)


def resampled_counts(
    hits: Mapping[str, np.ndarray], replicates: int, seed: int, stream: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Hits at every threshold in every resample, of several criteria in the same resamples.

    Args:
        hits: By criterion which images are right at which threshold, bool, (n, T); T may differ.
        replicates: R.
        seed: Of the draws.
        stream: See `resamples`.

    Yields:
        By criterion the number of hits, float32, exact, (r, T); R rows in all.

    Raises:
        ValueError: See `resamples`.
    """
    distinct = {criterion: _distinct_columns(right) for criterion, right in hits.items()}
    n_images = len(next(iter(hits.values())))
    width = max(right.shape[1] for right in hits.values())
    for weights in resamples(n_images, replicates, seed, stream, width):
        yield {name: (weights @ right.astype(np.float32))[:, of] for name, (right, of) in distinct.items()}


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """Ends of the 95% percentile interval of replicates (R,), those that are NaN left out; NaN without any other."""
    defined = replicates[~np.isnan(replicates)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return float(low), float(high)


def side_of_zero(low: float, high: float) -> int:
    """Which side of 0 an interval lies on: 1 above, -1 below, 0 where it holds 0.

    >>> side_of_zero(-0.5, 2.0), side_of_zero(0.5, 2.0), side_of_zero(0.0, 2.0)
    (0, 1, 0)
    """
    return 1 if low > 0 else -1 if high < 0 else 0


def _distinct_columns(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The criterion without thresholds that repeat the one before, and which column stands for each of the T."""
    changes = np.concatenate([[True], (right[:, 1:] != right[:, :-1]).any(axis=0)])
    return right[:, changes], np.cumsum(changes) - 1
