"""Slow twins of TS-CAM, SCM and the few-shot localizer: one number at a time, in float64, no code of vitol's."""

from __future__ import annotations

import math

import numpy as np

Matrix = list[list[float]]


def convolution(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Class maps (C, h, w) of features (D, h, w) by a 3 x 3 convolution (C, D, 3, 3) over zeros around them."""
    depth, height, width = features.shape
    out = np.empty((len(weight), height, width))
    for c in range(len(weight)):
        for y in range(height):
            for x in range(width):
                total = float(bias[c])
                for d in range(depth):
                    for i in range(3):
                        for j in range(3):
                            row, column = y + i - 1, x + j - 1
                            if 0 <= row < height and 0 <= column < width:
                                total += float(weight[c, d, i, j]) * float(features[d, row, column])
                out[c, y, x] = total
    return out


def attention(matrices: list[np.ndarray], prefix: int, height: int, width: int) -> np.ndarray:
    """TS-CAM's class-agnostic map (h, w) of one image, from every block's attention (H, N, N)."""
    out = np.zeros((height, width))
    for matrix in matrices:
        for head in matrix:
            for y in range(height):
                for x in range(width):
                    out[y, x] += float(head[0, prefix + y * width + x]) / len(matrix)
    return out


def stretched(values: np.ndarray) -> np.ndarray:
    """Values brought to [0, 1] by their minimum and maximum."""
    flat = [float(value) for value in values.flat]
    low, high = min(flat), max(flat)
    return np.array([(value - low) / (high - low) for value in flat]).reshape(values.shape)


def laplacian(height: int, width: int) -> Matrix:
    """Degrees minus adjacency of a grid in which every place touches the four beside it."""
    count = height * width
    out = [[0.0] * count for _ in range(count)]
    for y in range(height):
        for x in range(width):
            for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= row < height and 0 <= column < width:
                    out[y * width + x][row * width + column] = -1.0
                    out[y * width + x][y * width + x] += 1.0
    return out


def product(left: Matrix, right: Matrix) -> Matrix:
    """Of two matrices."""
    count = len(right)
    return [[sum(row[k] * right[k][j] for k in range(count)) for j in range(len(right[0]))] for row in left]


def inverse(matrix: Matrix, iterations: int, start: float) -> Matrix:
    """Newton's and Schulz's steps from a multiple of the transpose."""
    count = len(matrix)
    found = [[start * matrix[j][i] for j in range(count)] for i in range(count)]
    for _ in range(iterations):
        so_far = product(matrix, found)
        rest = [[2.0 * (i == j) - so_far[i][j] for j in range(count)] for i in range(count)]
        found = product(found, rest)
    return found


def diffusion(
    semantic: np.ndarray, foreground: np.ndarray, iterations: int, flow: float, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """One activation diffusion block: semantic maps (C, h, w) and a foreground map (h, w) to the same."""
    classes, height, width = semantic.shape
    vectors = [
        [float(semantic[c, y, x]) for c in range(classes)] for y in range(height) for x in range(width)
    ]
    lengths = [math.sqrt(sum(value * value for value in vector)) for vector in vectors]
    grid = laplacian(height, width)
    count = height * width
    operator = [[0.0] * count for _ in range(count)]
    for i in range(count):
        for j in range(count):
            dot = sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True))
            operator[i][j] = grid[i][j] * (flow * dot / (lengths[i] * lengths[j]) - 1)
    spread = product(inverse(operator, iterations, 0.002), [[float(value)] for value in foreground.flat])
    limit = threshold * max(float(value) for value in foreground.flat)
    shrunk = [value / limit - math.tanh(value / limit) for (value,) in spread]
    gain = stretched(np.array(shrunk).reshape(height, width))
    return np.array([each + each * gain for each in semantic]), foreground + gain


def cross_entropy(logits: list[np.ndarray], labels: list[int], smoothing: float) -> float:
    """Mean over images, labels smoothed."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        norm = math.log(sum(math.exp(value) for value in row))
        for c, value in enumerate(row):
            total -= ((1 - smoothing) * (c == label) + smoothing / len(row)) * (float(value) - norm)
    return total / len(labels)


def scaled_up(values: np.ndarray, size: int) -> np.ndarray:
    """A map (h, w) on size x size pixels, bilinear between the centres of its places."""
    height, width = values.shape
    out = np.empty((size, size))
    for y in range(size):
        for x in range(size):
            row = min(max((y + 0.5) * height / size - 0.5, 0), height - 1)
            column = min(max((x + 0.5) * width / size - 0.5, 0), width - 1)
            top, left = int(row), int(column)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = row - top, column - left
            upper = (1 - across) * values[top, left] + across * values[top, right]
            lower = (1 - across) * values[below, left] + across * values[below, right]
            out[y, x] = (1 - down) * upper + down * lower
    return out


def binary_cross_entropy(score: np.ndarray, mask: np.ndarray) -> float:
    """Mean over pixels, of the logits of foreground."""
    total = 0.0
    for value, inside in zip(score.flat, mask.flat, strict=True):
        probability = 1 / (1 + math.exp(-float(value)))
        total -= math.log(probability if inside else 1 - probability)
    return total / score.size


def box_mask(
    boxes: list[list[float]], sides: tuple[int, int], resize: int, crop: tuple[int, int, bool], size: int
) -> np.ndarray:
    """Which pixels of a crop (left, top, flipped) lie in boxes of an image whose sides are (width, height)."""
    left, top, flipped = crop
    out = np.zeros((size, size), dtype=np.uint8)
    for y in range(size):
        for x in range(size):
            column = (size - 1 - x if flipped else x) + left + 0.5
            row = y + top + 0.5
            for x0, y0, x1, y1 in boxes:
                wide, high = resize / sides[0], resize / sides[1]
                if x0 * wide <= column < x1 * wide and y0 * high <= row < y1 * high:
                    out[y, x] = 1
    return out
