"""Boxes as arithmetic: scaled to the score map, compared by IoU, and checked, as the reference evaluator has them.

k ground-truth boxes of an image, m other boxes. Boxes are (x0, y0, x1, y1) with inclusive corners.

Source: reference [8] of the paper, `clovaai/wsolevaluation@96f4b88` (`evaluation.py`, `util.py`).
"""

from collections.abc import Sequence

import numpy as np

SIZE = 224  # side of the score map, where maps and ground truth meet, in pixels


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
    corners = _checked(boxes)
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
    left, right = _checked(a, "a"), _checked(b, "b")
    near = np.maximum(left[:, None, :2], right[None, :, :2])
    far = np.minimum(left[:, None, 2:], right[None, :, 2:])
    intersection = np.maximum(far - near + 1, 0).prod(axis=2)
    left_area, right_area = ((boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (left, right))
    return intersection / (left_area[:, None] + right_area[None, :] - intersection)


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
            truths.append(whole_boxes(scale_boxes(corners, image_size)))
        except ValueError as error:
            raise ValueError(f"image {image if names is None else names[image]}: {error}") from error
    return truths


def whole_boxes(boxes: np.ndarray) -> np.ndarray:
    """Ground truth in pixels of the score map, checked, int64 (k, 4)."""
    corners = _checked(boxes, "gt_boxes", needed=True)
    for index in np.flatnonzero((corners != np.trunc(corners)).any(axis=1)):
        raise ValueError(
            f"gt_boxes[{index}] = {_shown(corners[index])} is not in whole pixels of the score map; "
            "scale_boxes makes it so, from pixels of the image"
        )
    return corners.astype(np.int64)


def _checked(boxes: np.ndarray, name: str = "boxes", needed: bool = False) -> np.ndarray:
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
