"""Slow twins of the paper's equations: loops over single numbers, in float64, sharing no code with vitol."""

from __future__ import annotations

import itertools
import math

import numpy as np


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
