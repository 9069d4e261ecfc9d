"""PxAP: how well a map's values rank the object's pixels above the background's, over a whole data set.

n images, H x W score map, B = 1001 bins of its values: [0, 0.001), ..., [0.999, 1), and 1 alone. Every pixel of
every image goes into one histogram; sweeping a threshold from 1 to 0 gives one precision-recall curve, and PxAP is
the area under it.

Source: reference [8] of the paper, `clovaai/wsolevaluation@96f4b88` (`evaluation.py`, the mask evaluator). Its
bins beyond 1 are left out: no score lies there.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from vitol.accuracy import Measurement
from vitol.bootstrap import interval, resamples
from vitol.boxes import THRESHOLDS

PXAP = "PxAP"
BINS = len(THRESHOLDS) + 1
IGNORED = 255  # in a mask: neither object nor background
_EDGES = np.append(THRESHOLDS, 1.0)
IMAGES_AT_ONCE = 256  # bounds the bootstrap's memory


def scale_mask(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Scale a mask to its score map, each pixel taking the nearest one's value.

    Args:
        mask: 1 object, 0 background, 255 left out, (H, W); bool is taken as well.
        size: Width and height of the score map, in pixels.

    Returns:
        The same values, uint8 of that height and width.

    Raises:
        ValueError: If the mask is not two-dimensional or empty, or holds other values.
    """
    return cv2.resize(_checked_mask(mask), (int(size[0]), int(size[1])), interpolation=cv2.INTER_NEAREST)


def pixel_counts(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Histograms of the score map's values on background and on object; those of images add up.

    Args:
        score: Score map in [0, 1] (see `vitol.boxes.score_map`), (H, W).
        mask: 1 object, 0 background, 255 left out, (H, W); bool is taken as well.

    Returns:
        Numbers of pixels in each bin, background first, int64 (2, B).

    Raises:
        ValueError: If the score map is not one, or the mask is of another size or holds other values.
    """
    scores, kinds = np.asarray(score), _checked_mask(mask)
    if scores.shape != kinds.shape:
        raise ValueError(
            f"the mask has shape {kinds.shape}, its score map {scores.shape}; scale the mask (scale_mask)"
        )
    bad = ~((scores >= 0) & (scores <= 1))
    if bad.any():
        raise ValueError(
            f"{np.count_nonzero(bad)} of {scores.size} scores are not in [0, 1], the first at "
            f"{np.argwhere(bad)[0].tolist()}; make the map a score map first (vitol.boxes.score_map)"
        )
    seen = kinds != IGNORED
    values = scores[seen].astype(np.float64)
    # The product of an edge is never rounded below its bin's number, that of a value just below it may reach it.
    bins = (values * len(THRESHOLDS)).astype(np.int64)
    bins -= values < _EDGES[bins]
    return np.bincount(bins + BINS * (kinds[seen] == 1), minlength=2 * BINS).reshape(2, BINS)


def pxap(counts: np.ndarray) -> float:
    """Area under the precision-recall curve of pixels, in percent.

    Args:
        counts: Sum of the images' `pixel_counts`, (2, B).

    Raises:
        ValueError: If there is no pixel of an object, or counts are none.

    >>> sure, unsure = np.array([[0.9, 0.1]]), np.array([[0.9, 0.9]])
    >>> pxap(pixel_counts(sure, np.array([[1, 0]]))), pxap(pixel_counts(unsure, np.array([[1, 0]])))
    (100.0, 50.0)
    """
    pixels = np.asarray(counts, dtype=np.float64)
    if pixels.shape != (2, BINS) or not (pixels >= 0).all():
        raise ValueError(
            f"counts have shape {pixels.shape}; pass the sum of pixel_counts, (2, {BINS}), from 0 up"
        )
    if not pixels[1].any():
        raise ValueError(
            "no pixel of any mask is an object; PxAP needs some: are masks of 0 and 1, not empty?"
        )
    return float(_areas(pixels[None])[0])


def measure_pxap(counts: np.ndarray, replicates: int = 2000, seed: int = 0) -> Measurement:
    """PxAP of a set of images with its bootstrap interval over images; it has no threshold and no policy.

    The resamples are those of `vitol.accuracy.measure` for as many images and the same seed.

    Args:
        counts: `pixel_counts` of every image, (n, 2, B). As uint16, enough for score maps of up to 255 x 255
            pixels, they take 4 KB an image.
        replicates: R. One without any pixel of an object is NaN; the interval is over the others, and NaN only if
            there are none.
        seed: Of the resamples.

    Raises:
        ValueError: If there is no image, no pixel of an object, or no replicate.
    """
    pixels = np.asarray(counts)
    if pixels.shape != (len(pixels), 2, BINS) or not len(pixels):
        raise ValueError(
            f"counts have shape {pixels.shape}; pass the pixel_counts of n images, (n, 2, {BINS})"
        )
    value = pxap(pixels.sum(axis=0, dtype=np.int64))
    flat = pixels.reshape(len(pixels), 2 * BINS)
    shares = []
    for weights in resamples(len(pixels), replicates, seed, width=2 * BINS):
        drawn = np.zeros((len(weights), 2 * BINS))
        for first in range(0, len(pixels), IMAGES_AT_ONCE):
            images = slice(first, first + IMAGES_AT_ONCE)
            drawn += weights[:, images].astype(np.float64) @ flat[images].astype(np.float64)
        shares.append(_areas(drawn.reshape(-1, 2, BINS)))
    again = np.concatenate(shares)
    return Measurement(PXAP, "", value, *interval(again), len(pixels), None, again)


def _areas(pixels: np.ndarray) -> np.ndarray:
    """PxAP of histograms, in percent, (r, 2, B) to (r,); NaN where there is no pixel of an object."""
    background, found = pixels[:, :, ::-1].cumsum(axis=2).swapaxes(0, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(found + background > 0, found / (found + background), 0)
        recall = found / found[:, -1:]
    return 100 * (precision * np.diff(recall, axis=1, prepend=0)).sum(axis=1)


def _checked_mask(mask: np.ndarray) -> np.ndarray:
    values = np.asarray(mask)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the mask has shape {values.shape}; pass one mask (H, W) at a time")
    bad = (values != 0) & (values != 1) & (values != IGNORED)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"mask[{row}, {column}] = {values[row, column]:g}; masks hold 1 for the object, 0 for the background and "
            f"{IGNORED} for what is left out"
        )
    return values.astype(np.uint8)
