"""Slow twins of the rivals that guide or compare features (SPG, MEIL, I2C), literal and in float64.

One pixel, one image, one pair at a time; no code is shared with vitol.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

Pair = tuple[float, float]


def cross_entropy(logits: np.ndarray, labels: list[int], smoothing: float = 0.0) -> float:
    """Mean over images of -sum_c t_c log softmax_c, the target smoothed over all classes."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        norm = math.log(sum(math.exp(value) for value in row))
        for c, value in enumerate(row):
            target = smoothing / len(row) + (1 - smoothing if c == label else 0.0)
            total -= target * (value - norm)
    return total / len(labels)


def bilinear(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Straight lines between pixel centres, the border repeated."""
    rows, columns = values.shape
    out = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        v = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        u = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        top, left = int(v), int(u)
        bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
        upper = values[top, left] * (1 - (u - left)) + values[top, right] * (u - left)
        lower = values[bottom, left] * (1 - (u - left)) + values[bottom, right] * (u - left)
        out[y, x] = upper * (1 - (v - top)) + lower * (v - top)
    return out


def rescaled(values: np.ndarray) -> np.ndarray:
    """From 0 at the least to 1 at the greatest."""
    low, high = values.min(), values.max()
    return np.array([[(value - low) / (high - low) for value in row] for row in values])


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Number by number."""
    return np.array([[1 / (1 + math.exp(-value)) for value in row] for row in values])


def seeds(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """1, 0 or 255 for every pixel of one map, by the authors' rule for few pixels of the object."""
    if sum(float(value) > high for value in scores.flat) < 30:
        high = 0.7 * max(float(value) for value in scores.flat)
    out = np.empty(scores.shape)
    for at in np.ndindex(scores.shape):
        out[at] = 0 if scores[at] < low else 1 if scores[at] > high else 255
    return out


def seed_loss(logits: list[np.ndarray], marks: list[np.ndarray]) -> float:
    """Mean of -log p(mark) over the pixels of all images that have one."""
    losses = []
    for image, marked in zip(logits, marks, strict=True):
        for value, mark in zip(image.flat, marked.flat, strict=True):
            if mark != 255:
                said = 1 / (1 + math.exp(-value))
                losses.append(-math.log(said if mark == 1 else 1 - said))
    return sum(losses) / len(losses) if losses else 0.0


def spg(
    maps: np.ndarray,
    says: dict[str, np.ndarray],
    labels: list[int],
    size: tuple[int, int],
    thresholds: dict[str, Pair],
) -> float:
    """The whole loss, of class maps (B, C, h, w) and what B1, B2 and C say, (B, h, w) each."""
    at = {name: [bilinear(image, *size) for image in images] for name, images in says.items()}
    attention = [rescaled(bilinear(maps[i, label], *size)) for i, label in enumerate(labels)]
    b1, b2 = [sigmoid(image) for image in at["b1"]], [sigmoid(image) for image in at["b2"]]
    teachers = {"b2": attention, "b1": b2, "c": [(x + y) / 2 for x, y in zip(b1, b2, strict=True)]}
    logits = np.array([[image[c].sum() / image[c].size for c in range(maps.shape[1])] for image in maps])
    loss = cross_entropy(logits, labels)
    for name, teacher in teachers.items():
        loss += seed_loss(at[name], [seeds(image, *thresholds[name]) for image in teacher])
    return loss


def erased(features: np.ndarray, gamma: float) -> np.ndarray:
    """Features (D, h, w) of one image, 0 at the places whose mean reaches gamma times the greatest mean."""
    depth, height, width = features.shape
    mean = np.empty((height, width))
    for y, x in np.ndindex(height, width):
        mean[y, x] = sum(float(features[d, y, x]) for d in range(depth)) / depth
    limit = gamma * mean.max()
    out = np.zeros(features.shape)
    for d, y, x in np.ndindex(features.shape):
        if mean[y, x] < limit:
            out[d, y, x] = features[d, y, x]
    return out


def object_pixels(scores: np.ndarray, draws: list[float], threshold: float, count: int) -> list[int]:
    """Pixels of one map (h, w) in the order of their draws, the greatest first, over and over."""
    flat = rescaled(scores).flatten().tolist()
    inside = [place for place, value in enumerate(flat) if value >= threshold]
    order = sorted(inside, key=lambda place: -draws[place])
    return [place for place, _ in zip(itertools.cycle(order), range(count), strict=False)]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean, of two vectors."""
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def stochastic_consistency(objects: np.ndarray, labels: list[int]) -> float:
    """SC of features (B, K, D)."""
    found = [
        distance(objects[i, k], objects[j, k])
        for i, j in itertools.combinations(range(len(labels)), 2)
        if labels[i] == labels[j]
        for k in range(objects.shape[1])
    ]
    return sum(found) / len(found) if found else 0.0


class Bank:
    """Centres of classes, a vector each, as they come to be one batch after the other."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.centres: dict[int, np.ndarray] = {}
        self.updates: dict[int, int] = {}

    def global_consistency(self, objects: np.ndarray, labels: list[int]) -> float:
        """GC of features (B, K, D) with the centres so far, which move afterwards."""
        found = []
        for c in sorted(set(labels)):
            pixels = [x for image, label in zip(objects, labels, strict=True) if label == c for x in image]
            mean = np.array([sum(float(x[d]) for x in pixels) / len(pixels) for d in range(len(pixels[0]))])
            times = self.updates.get(c, 0)
            if times:
                found.append(distance(mean, self.centres[c]))
            rate = math.exp(-self.decay * times)
            self.centres[c] = (1 - rate) * self.centres.get(c, np.zeros_like(mean)) + rate * mean
            self.updates[c] = times + 1
        return sum(found) / len(found) if found else 0.0
