"""Slow twins of the paper's equations and of the WSOL protocol, literal and in float64.

One number, one threshold, one contour, one image at a time; no code is shared with vitol.
"""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np

Box = tuple[int, int, int, int]


def padl(tokens: np.ndarray, draw: float, alpha: float, lam: float) -> np.ndarray:
    """Eqs. 3-6 for one image: tokens (N, D), the random number given."""
    count, width = tokens.shape
    mean = [sum(float(tokens[i, d]) for d in range(width)) / width for i in range(count)]
    largest = max(mean)
    out = np.empty_like(tokens, dtype=np.float64)
    for i in range(count):
        importance = 1 / (1 + math.exp(-mean[i]))
        kept = 0.0 if mean[i] >= lam * largest else 1.0
        for d in range(width):
            out[i, d] = float(tokens[i, d]) * (kept if draw < alpha else importance)
    return out


def with_identity(transition: np.ndarray, normalize_rows: bool) -> np.ndarray:
    """I + T, rows divided by their sum on request."""
    count = len(transition)
    out = np.array([[float(i == j) + float(transition[i, j]) for j in range(count)] for i in range(count)])
    if normalize_rows:
        for i in range(count):
            out[i] = out[i] / sum(out[i])
    return out


def ar_transition(attention: np.ndarray) -> np.ndarray:
    """Head mean of one block's attention (H, N, N)."""
    heads, count, _ = attention.shape
    return np.array(
        [[sum(attention[h, i, j] for h in range(heads)) / heads for j in range(count)] for i in range(count)]
    )


def gar_transition(attention: np.ndarray, gradient: np.ndarray, clamp_heads: bool) -> np.ndarray:
    """E_h of the clamped product of Eq. 7, or the clamped E_h, for one block (H, N, N)."""
    heads, count, _ = attention.shape
    out = np.empty((count, count))
    for i, j in itertools.product(range(count), repeat=2):
        products = [attention[h, i, j] * gradient[h, i, j] for h in range(heads)]
        if clamp_heads:
            out[i, j] = sum(max(p, 0.0) for p in products) / heads
        else:
            out[i, j] = max(sum(products) / heads, 0.0)
    return out


def rollout_by_paths(matrices: list[np.ndarray], start: int) -> np.ndarray:
    """Row `start` of M_K ... M_1 as the sum, over all paths of tokens through the blocks, of products."""
    count = len(matrices[0])
    out = np.zeros(count)
    for path in itertools.product(range(count), repeat=len(matrices)):
        product, here = 1.0, start
        for matrix, token in zip(reversed(matrices), path, strict=True):
            product *= matrix[here, token]
            here = token
        out[here] += product
    return out


def rollout_by_matrices(matrices: list[np.ndarray]) -> np.ndarray:
    """M_K ... M_1, whole matrices."""
    product = np.eye(len(matrices[0]))
    for matrix in matrices:
        product = matrix @ product
    return product


def scaled(box: tuple[float, ...], width: float, height: float, size: int) -> Box:
    """Ground truth on the score map: multiplied first, then divided, then truncated, number by number."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return int(x0 * size / width), int(y0 * size / height), int(x1 * size / width), int(y1 * size / height)


def iou(a: Box, b: Box) -> float:
    """IoU with inclusive corners."""

    def area(x0: int, y0: int, x1: int, y1: int) -> int:
        return (x1 - x0 + 1) * (y1 - y0 + 1)

    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    common = max(width, 0) * max(height, 0)
    return common / (area(*a) + area(*b) - common)


def bicubic(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cubic convolution (a = -3/4) between pixel centres, the border repeated; rows, then columns."""

    def weight(distance: float) -> float:
        d = abs(distance)
        if d <= 1:
            return 1.25 * d**3 - 2.25 * d**2 + 1
        return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0

    def stretched(rows: np.ndarray, length: int) -> np.ndarray:
        out = np.zeros((length, rows.shape[1]))
        for i in range(length):
            centre = (i + 0.5) * len(rows) / length - 0.5
            for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
                out[i] += weight(centre - tap) * rows[min(max(tap, 0), len(rows) - 1)]
        return out

    return stretched(stretched(values, height).T, width).T


def contour_boxes(levels: np.ndarray, cut: int, largest: bool) -> list[Box]:
    """Boxes of the contours of what lies above the cut, uint8 levels (H, W)."""
    height, width = levels.shape
    _, mask = cv2.threshold(levels, cut, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) == 0:
        return [(0, 0, 0, 0)]
    if largest:
        contours = [max(contours, key=cv2.contourArea)]
    boxes = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    return boxes


def best_ious(score: np.ndarray, truth: list[Box], largest: bool) -> list[float]:
    """Best IoU at each of the 1000 thresholds, each with its own contours."""
    levels = (score * 255).astype(np.uint8)
    curve = []
    for threshold in np.arange(0, 1, 0.001):
        found = contour_boxes(levels, int(threshold * np.max(levels)), largest)
        curve.append(max(iou(box, true) for box in found for true in truth))
    return curve


def flooded_boxes(foreground: np.ndarray) -> list[Box]:
    """The boxes of all contours of a mask without OpenCV: components and holes by flood fill.

    A component is 8-connected. A hole is a 4-connected piece of background that does not reach the frame; its
    contour runs through the pixels around it. Far corners lie one pixel beyond, within the frame.
    """
    height, width = foreground.shape
    straight = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    seen: set[tuple[int, int]] = set()
    boxes = []
    for start in np.ndindex(height, width):
        if start in seen:
            continue
        solid = bool(foreground[start])
        steps = [*straight, (1, 1), (1, -1), (-1, 1), (-1, -1)] if solid else straight
        piece, waiting = set(), [start]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < height and 0 <= column < width
            if (row, column) in piece or not inside or bool(foreground[row, column]) != solid:
                continue
            piece.add((row, column))
            waiting += [(row + down, column + right) for down, right in steps]
        seen |= piece
        rows, columns = [row for row, _ in piece], [column for _, column in piece]
        top, left, bottom, right = min(rows), min(columns), max(rows), max(columns)
        if not solid:
            if top == 0 or left == 0 or bottom == height - 1 or right == width - 1:
                continue
            top, left, bottom, right = top - 1, left - 1, bottom + 1, right + 1
        boxes.append((left, top, min(right + 1, width - 1), min(bottom + 1, height - 1)))
    return boxes or [(0, 0, 0, 0)]


def highest_counts(hits: np.ndarray, replicates: int, seed: int) -> list[int]:
    """Per replicate: draw the images, count the hits at every threshold, keep the highest count."""
    generator = np.random.default_rng(seed)
    images, thresholds = hits.shape
    counts = []
    for _ in range(replicates):
        drawn = generator.integers(0, images, images)
        counts.append(max(sum(bool(hits[image, t]) for image in drawn) for t in range(thresholds)))
    return counts


def most_hits(criteria: list[np.ndarray], images: list[int]) -> int:
    """The first threshold at which the images, repeated ones counted again, are right most often in all criteria."""
    best, most = 0, -1
    for t in range(criteria[0].shape[1]):
        count = sum(int(hits[image, t]) for hits in criteria for image in images)
        if count > most:
            best, most = t, count
    return best


def read_by_policy(
    hits: dict[str, np.ndarray],
    images: list[int],
    policy: str,
    others: dict[str, np.ndarray],
    other_images: list[int],
    fixed: int,
) -> tuple[dict[str, float], dict[str, int]]:
    """Accuracies in percent and their thresholds, of bool (n, L) hits, by the definition of each policy."""
    accuracy, at = {}, {}
    for name, right in hits.items():
        at[name] = {
            "oracle-per-iou": lambda name=name: most_hits([hits[name]], images),
            "oracle-single": lambda: most_hits([hits["IoU30"], hits["IoU50"], hits["IoU70"]], images),
            "validation": lambda name=name: most_hits([others[name]], other_images),
            "fixed": lambda: fixed,
        }[policy]()
        accuracy[name] = 100 * sum(int(right[image, at[name]]) for image in images) / len(images)
    accuracy["MaxBoxAccV2"] = (accuracy["IoU30"] + accuracy["IoU50"] + accuracy["IoU70"]) / 3
    return accuracy, at


def drawn(count: int, replicates: int, seed: int | np.random.SeedSequence) -> list[list[int]]:
    """Images of every resample, drawn one resample after the other."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, count, count).tolist() for _ in range(replicates)]


def nearest(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Every pixel takes the value of the one that its corner falls into."""
    out = np.empty((height, width), mask.dtype)
    for y, x in np.ndindex(height, width):
        out[y, x] = mask[int(y * (len(mask) / height)), int(x * (mask.shape[1] / width))]
    return out


def pxap(scores: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """Sum of precision times the step in recall, in percent, from threshold 1 down, over pixels of all images."""
    found = [float(v) for score, mask in zip(scores, masks, strict=True) for v in score[mask == 1]]
    background = [float(v) for score, mask in zip(scores, masks, strict=True) for v in score[mask == 0]]
    area, before = 0.0, 0.0
    for threshold in [1.0, *reversed(np.arange(0, 1, 0.001).tolist())]:
        right = sum(value >= threshold for value in found)
        wrong = sum(value >= threshold for value in background)
        if right + wrong:
            recall = right / len(found)
            area += right / (right + wrong) * (recall - before)
            before = recall
    return 100 * area
