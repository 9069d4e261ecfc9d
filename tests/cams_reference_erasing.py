"""Slow twins of the erasing and mixing rivals, literal and in float64: one number at a time, no code of vitol's."""

from __future__ import annotations

import math

import numpy as np


def hidden(image: np.ndarray, draws: np.ndarray, rate: float) -> np.ndarray:
    """HaS: an image (3, H, W) without the patches of a grid whose draw is below the rate."""
    _, height, width = image.shape
    rows, columns = math.ceil(height / len(draws)), math.ceil(width / len(draws))
    out = np.array(image, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            if draws[y // rows, x // columns] < rate:
                out[:, y, x] = 0.0
    return out


def dropped_or_weighted(features: np.ndarray, draw: float, rate: float, gamma: float) -> np.ndarray:
    """ADL: one image's features (D, h, w) behind the layer."""
    depth, height, width = features.shape
    attention = [
        [sum(float(features[d, y, x]) for d in range(depth)) / depth for x in range(width)]
        for y in range(height)
    ]
    largest = max(max(row) for row in attention)
    out = np.empty(features.shape)
    for y in range(height):
        for x in range(width):
            if draw < rate:
                factor = 0.0 if attention[y][x] >= gamma * largest else 1.0
            else:
                factor = 1 / (1 + math.exp(-attention[y][x]))
            for d in range(depth):
                out[d, y, x] = float(features[d, y, x]) * factor
    return out


def mixed(
    images: np.ndarray, labels: list[int], classes: int, smoothing: float, lam: float, centre: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """CutMix: images (B, 3, H, W) with a rectangle of their partners in them, and targets (B, C).

    An image's partner is the one as far from the end as it is from the start; an odd batch has its last image twice.
    """
    count, depth, height, width = images.shape
    tall, wide = int(height * math.sqrt(1 - lam)), int(width * math.sqrt(1 - lam))
    top, left = max(centre[0] - tall // 2, 0), max(centre[1] - wide // 2, 0)
    bottom = min(centre[0] - tall // 2 + tall, height)
    right = min(centre[1] - wide // 2 + wide, width)
    own = 1 - (bottom - top) * (right - left) / (height * width)
    out, targets = np.array(images, dtype=np.float64), np.full((count, classes), smoothing / classes)
    for i in range(count):
        partner = min(count + count % 2 - 1 - i, count - 1)
        for d in range(depth):
            for y in range(top, bottom):
                for x in range(left, right):
                    out[i, d, y, x] = images[partner, d, y, x]
        targets[i, labels[i]] += (1 - smoothing) * own
        targets[i, labels[partner]] += (1 - smoothing) * (1 - own)
    return out, targets


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean over images of the cross-entropy of probabilities (B, C)."""
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        norm = math.log(sum(math.exp(float(value)) for value in row))
        total -= sum(float(t) * (float(value) - norm) for value, t in zip(row, target, strict=True))
    return total / len(logits)


def class_maps(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A 1 x 1 convolution: features (D, h, w), weight (C, D) and bias (C,) to maps (C, h, w)."""
    depth, height, width = features.shape
    out = np.empty((len(weight), height, width))
    for c in range(len(weight)):
        for y in range(height):
            for x in range(width):
                products = [float(weight[c, d]) * float(features[d, y, x]) for d in range(depth)]
                out[c, y, x] = float(bias[c]) + sum(products)
    return out


def to_unit_range(values: np.ndarray) -> np.ndarray:
    """A map by its own minimum and maximum, a flat one to 0."""
    low, high = float(values.min()), float(values.max())
    return np.array([[(float(v) - low) / (high - low) if high > low else 0.0 for v in row] for row in values])


def acol(
    features: np.ndarray,
    label: int,
    threshold: float,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ACoL for one image (D, h, w) and class: logits of A, logits of B, fused map; weights and bias of A and of B."""
    maps = class_maps(features, *first)
    own = to_unit_range(maps[label])
    erased = np.array(features, dtype=np.float64)
    for y in range(own.shape[0]):
        for x in range(own.shape[1]):
            if own[y, x] >= threshold:
                erased[:, y, x] = 0.0
    others = class_maps(erased, *second)
    other = to_unit_range(others[label])
    fused = np.array(
        [
            [max(a, b) for a, b in zip(row, beside, strict=True)]
            for row, beside in zip(own, other, strict=True)
        ]
    )
    return (
        np.array([m.sum() / m.size for m in maps]),
        np.array([m.sum() / m.size for m in others]),
        fused,
    )
