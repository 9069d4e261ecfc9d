"""Slow twins of relevance propagation and of the maps beside AR and GAR, literal and in float64.

One image at a time, every contribution of every neuron written out; no code is shared with vitol. Relevance
of an output is handed to the inputs it was made of: `R` is what arrives at an operation's output, what a rule
returns is what its inputs get. The transformer is timm's plain VisionTransformer with a class token, given as
arrays under timm's names.

N tokens, D width, H heads, K blocks, M = D / H width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

TINY = 1e-9
Array = np.ndarray
Weights = Mapping[str, Array]


def stabilised_division(numerator: Array, denominator: Array) -> Array:
    """S = R / (Z + 1e-9), and 0 where Z is 0."""
    out = np.zeros(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)))
    top, bottom = np.broadcast_to(numerator, out.shape), np.broadcast_to(denominator, out.shape)
    for index in np.ndindex(out.shape):
        if bottom[index] != 0:
            # Where Z is exactly -1e-9 the sum is 0, and 1e-9 stands in for it.
            out[index] = top[index] / ((bottom[index] + TINY) or TINY)
    return out


# The rules of Chefer et al. (CVPR 2021), alpha = 1, which Eqs. 9-10 take over.


def linear_relevance(x: Array, weight: Array, relevance: Array) -> Array:
    """Alpha-1 rule, x (N, I), weight (O, I), relevance (N, O): in proportion to positive w_oi * x_i, no bias."""
    out = np.zeros_like(x, dtype=np.float64)
    for n in range(len(x)):
        contributions = np.maximum(weight * x[n], 0.0)
        out[n] = contributions.T @ stabilised_division(relevance[n], contributions.sum(axis=1))
    return out


def add_relevance(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """A sum of two: in proportion to a and b, then each as a whole rescaled to its share of all relevance."""
    shared = stabilised_division(relevance, a + b)
    parts = [a * shared, b * shared]
    sums = [float(part.sum()) for part in parts]
    total = abs(sums[0]) + abs(sums[1])
    scaled = []
    for part, part_sum in zip(parts, sums, strict=True):
        share = stabilised_division(np.array(abs(part_sum)), np.array(total)) * relevance.sum()
        scaled.append(part * stabilised_division(share, np.array(part_sum)))
    return scaled[0], scaled[1]


def matmul_relevance(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """A product a (N, J) @ b (J, P): in proportion to a_nj * b_jp, one half to each factor."""
    contributions = a[:, :, None] * b[None, :, :]
    shared = stabilised_division(relevance, contributions.sum(axis=1))
    flow = contributions * shared[:, None, :]
    return flow.sum(axis=2) / 2, flow.sum(axis=0) / 2


def unchanged_softmax(_: Array, relevance: Array) -> Array:
    """Softmax hands its relevance on, as GELU does."""
    return relevance


# The rules of AttnLRP (Achtibat et al., ICML 2024).


def gamma_linear(
    x: Array, weight: Array, relevance: Array, bias: Array | None = None, gamma: float = 0.0
) -> Array:
    """Generalised gamma rule: in proportion to w_oi * x_i, those of the output's own sign 1 + gamma times.

    The bias is part of the output and keeps its share. With gamma = 0 this is the epsilon rule.
    """
    out = np.zeros_like(x, dtype=np.float64)
    for n, o in np.ndindex(relevance.shape):
        contributions = [float(weight[o, i] * x[n, i]) for i in range(x.shape[1])]
        output = sum(contributions) + (0.0 if bias is None else float(bias[o]))
        sign = -1.0 if output < 0 else 1.0
        weighted = [c * (1 + gamma) if c * sign > 0 else c for c in contributions]
        total = output + sum(weighted) - sum(contributions) + sign * TINY
        for i, part in enumerate(weighted):
            out[n, i] += part / total * relevance[n, o]
    return out


def epsilon_add(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """Epsilon rule for a sum of two: in proportion to a and b."""
    shared = stabilised_division(relevance, a + b)
    return a * shared, b * shared


def uniform_matmul(a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
    """Epsilon rule, then halves: R(a_ji) = sum_p a_ji b_ip R_jp / (2 O_jp + epsilon), and so for b."""
    out_a, out_b = np.zeros_like(a, dtype=np.float64), np.zeros_like(b, dtype=np.float64)
    product = a @ b
    for j, i, p in np.ndindex(a.shape[0], a.shape[1], b.shape[1]):
        flow = a[j, i] * b[i, p] * relevance[j, p] / (2 * product[j, p] + 2 * TINY)
        out_a[j, i] += flow
        out_b[i, p] += flow
    return out_a, out_b


def epsilon_norm(x: Array, weight: Array, bias: Array, relevance: Array) -> Array:
    """Epsilon rule for LayerNorm, rows of (N, D), the deviation a constant: y_j = sum_i c_ij + b_j.

    c_ij = w_j ([i = j] - 1/D) x_i / deviation is what x_i contributes to y_j.
    """
    out = np.zeros_like(x, dtype=np.float64)
    count, width = x.shape
    for n in range(count):
        deviation = math.sqrt(((x[n] - x[n].mean()) ** 2).mean() + 1e-6)
        for j in range(width):
            parts = [
                float(weight[j]) * ((i == j) - 1 / width) * float(x[n, i]) / deviation for i in range(width)
            ]
            share = stabilised_division(relevance[n, j], np.array(sum(parts) + float(bias[j])))
            for i in range(width):
                out[n, i] += parts[i] * float(share)
    return out


def taylor_softmax(x: Array, relevance: Array) -> Array:
    """R_i = x_i (R_i - s_i sum_j R_j) with s = softmax(x), row by row: the Taylor expansion with its bias."""
    out = np.zeros_like(x, dtype=np.float64)
    for index in np.ndindex(x.shape[:-1]):
        s = softmax(x[index])
        total = relevance[index].sum()
        for i in range(x.shape[-1]):
            out[index][i] = x[index][i] * (relevance[index][i] - s[i] * total)
    return out


class Rules(NamedTuple):
    """The rules that differ between the two methods; all else hands relevance on unchanged."""

    linear: Callable[[Array, Array, Array, Array], Array]
    add: Callable[[Array, Array, Array], tuple[Array, Array]]
    matmul: Callable[[Array, Array, Array], tuple[Array, Array]]
    softmax: Callable[[Array, Array], Array]
    norm: Callable[[Array, Array, Array, Array], Array]


CHEFER = Rules(
    lambda x, weight, bias, relevance: linear_relevance(x, weight, relevance),
    add_relevance,
    matmul_relevance,
    unchanged_softmax,
    lambda x, weight, bias, relevance: relevance,
)


def attn_lrp(gamma: float) -> Rules:
    """The rules of AttnLRP, linear layers with this gamma."""
    return Rules(
        lambda x, weight, bias, relevance: gamma_linear(x, weight, relevance, bias, gamma),
        epsilon_add,
        uniform_matmul,
        taylor_softmax,
        epsilon_norm,
    )


# The forward pass.


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def gelu(x: Array) -> Array:
    """x times the normal distribution function."""
    return x * np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in x.flat]).reshape(x.shape)


def layer_norm(x: Array, weights: Weights, name: str) -> Array:
    """Layer normalisation of every row; timm's epsilon."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: Weights, name: str) -> Array:
    """A linear layer."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def embed(weights: Weights, image: Array, patch: int) -> Array:
    """Class token and patches, row by row, with positions: image (3, height, width) to (N, D)."""
    kernel = weights["patch_embed.proj.weight"]
    tokens = [weights["cls_token"][0, 0]]
    for top in range(0, image.shape[1], patch):
        for left in range(0, image.shape[2], patch):
            piece = image[:, top : top + patch, left : left + patch]
            tokens.append((kernel * piece).sum(axis=(1, 2, 3)) + weights["patch_embed.proj.bias"])
    return np.array(tokens) + weights["pos_embed"][0]


class Head(NamedTuple):
    """One head of one block: queries, keys and values (N, M), and what the softmax takes and gives (N, N)."""

    q: Array
    k: Array
    v: Array
    logits: Array
    attention: Array


class Block(NamedTuple):
    """Activations of one block, in the order in which they come about."""

    x: Array
    normed1: Array
    heads: list[Head]
    joined: Array
    attended: Array
    middle: Array
    normed2: Array
    hidden: Array
    activated: Array
    out: Array


def forward_block(weights: Weights, name: str, x: Array, heads: int) -> Block:
    """One block: attention and MLP, each with a residual."""
    count, width = x.shape
    normed1 = layer_norm(x, weights, f"{name}.norm1")
    qkv = linear(normed1, weights, f"{name}.attn.qkv").reshape(count, 3, heads, width // heads)
    kept = []
    for h in range(heads):
        q, k, v = qkv[:, 0, h], qkv[:, 1, h], qkv[:, 2, h]
        logits = q @ k.T / math.sqrt(width // heads)
        kept.append(Head(q, k, v, logits, softmax(logits)))
    joined = np.concatenate([head.attention @ head.v for head in kept], axis=1)
    attended = linear(joined, weights, f"{name}.attn.proj")
    middle = x + attended
    normed2 = layer_norm(middle, weights, f"{name}.norm2")
    hidden = linear(normed2, weights, f"{name}.mlp.fc1")
    activated = gelu(hidden)
    out = linear(activated, weights, f"{name}.mlp.fc2")
    return Block(x, normed1, kept, joined, attended, middle, normed2, hidden, activated, out)


def forward(weights: Weights, config: Mapping[str, int], image: Array) -> tuple[list[Block], Array, Array]:
    """Every block's activations, the last LayerNorm's output (N, D), and the logits (C,)."""
    x = embed(weights, image, int(config["patch_size"]))
    blocks = []
    for b in range(int(config["depth"])):
        blocks.append(forward_block(weights, f"blocks.{b}", x, int(config["num_heads"])))
        x = blocks[-1].middle + blocks[-1].out
    normed = layer_norm(x, weights, "norm")
    return blocks, normed, linear(normed[:1], weights, "head")[0]


# Relevance through the transformer.


class Propagated(NamedTuple):
    """Relevance of every softmax's output (K, H, N, N), and of the first block's input (N, D)."""

    matrices: Array
    tokens: Array


def block_relevance(
    weights: Weights, name: str, block: Block, relevance: Array, rules: Rules, round_trips: bool
) -> tuple[Array, Array]:
    """Relevance (N, D) of a block's output to that of its softmaxes (H, N, N) and of its input (N, D)."""

    def through(layer: str, x: Array, relevance: Array) -> Array:
        return rules.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], relevance)

    def joined(x: Array, first: Array, second: Array) -> Array:
        """Relevance of what went two ways; the original divides and multiplies it by x on the way."""
        if round_trips:
            return x * (stabilised_division(first, x) + stabilised_division(second, x))
        return first + second

    def before_norm(layer: str, x: Array, relevance: Array) -> Array:
        return rules.norm(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], relevance)

    skipped, branch = rules.add(block.middle, block.out, relevance)
    branch = through(f"{name}.mlp.fc2", block.activated, branch)
    branch = through(f"{name}.mlp.fc1", block.normed2, branch)
    branch = before_norm(f"{name}.norm2", block.middle, branch)
    relevance = joined(block.middle, skipped, branch)

    skipped, branch = rules.add(block.x, block.attended, relevance)
    branch = through(f"{name}.attn.proj", block.joined, branch)
    matrices, queries, keys, values = [], [], [], []
    for head, part in zip(block.heads, np.split(branch, len(block.heads), axis=1), strict=True):
        matrix, of_v = rules.matmul(head.attention, head.v, part)
        of_q, of_k = rules.matmul(head.q, head.k.T, rules.softmax(head.logits, matrix))
        matrices.append(matrix)
        queries.append(of_q)
        keys.append(of_k.T)
        values.append(of_v)
    branch = through(f"{name}.attn.qkv", block.normed1, np.concatenate(queries + keys + values, axis=1))
    branch = before_norm(f"{name}.norm1", block.x, branch)
    return np.array(matrices), joined(block.x, skipped, branch)


def propagate(
    weights: Weights,
    config: Mapping[str, int],
    image: Array,
    target: int,
    rules: Rules = CHEFER,
    *,
    round_trips: bool = False,
) -> Propagated:
    """Relevance of one image (3, height, width) for one class, from the head to the first block's input.

    It starts with 1 at the class's logit. With `round_trips`, relevance is divided by the activation and
    multiplied with it again where the class token is selected and where a residual branches off, as the
    original does; that changes it by the stabiliser alone.
    """
    blocks, normed, logits = forward(weights, config, image)
    start = np.zeros((1, len(logits)))
    start[0, target] = 1.0
    selected = rules.linear(normed[:1], weights["head.weight"], weights["head.bias"], start)
    relevance = np.zeros_like(normed)
    relevance[0] = normed[0] * stabilised_division(selected[0], normed[0]) if round_trips else selected[0]
    last = blocks[-1].middle + blocks[-1].out
    relevance = rules.norm(last, weights["norm.weight"], weights["norm.bias"], relevance)
    matrices = []
    for b in reversed(range(len(blocks))):
        matrix, relevance = block_relevance(weights, f"blocks.{b}", blocks[b], relevance, rules, round_trips)
        matrices.insert(0, matrix)
    return Propagated(np.array(matrices), relevance)


def vit_relevance(
    weights: Weights, config: Mapping[str, int], image: Array, target: int, *, round_trips: bool = False
) -> Array:
    """Relevance of every softmax, (K, H, N, N), by Chefer et al.'s rules."""
    return propagate(weights, config, image, target, round_trips=round_trips).matrices


# Maps.


def lrp_map(relevance: Array, gradient: Array) -> Array:
    """Eqs. 9-10 without row normalisation: (K, H, N, N) each to the class token's row over patches, (N - 1,)."""
    product = np.eye(relevance.shape[-1])
    for r, g in zip(relevance, gradient, strict=True):
        product = (np.eye(len(product)) + np.maximum(r * g, 0.0).mean(axis=0)) @ product
    return product[0, 1:]


def class_attention(attention: Array) -> Array:
    """How the class token attends to patches in one block (H, N, N), mean over heads, (N - 1,)."""
    heads, count, _ = attention.shape
    return np.array([sum(attention[h, 0, j] for h in range(heads)) / heads for j in range(1, count)])


def grad_cam(activations: Array, gradients: Array) -> Array:
    """Grad-CAM on tokens (N, D): relu(sum_d w_d a_d), w the patches' mean gradient, (N - 1,).

    Selvaraju et al. (ICCV 2017), patches in place of pixels and the width in place of channels.
    """
    count, width = activations.shape
    w = [sum(gradients[n, d] for n in range(1, count)) / (count - 1) for d in range(width)]
    return np.array([max(sum(w[d] * activations[n, d] for d in range(width)), 0.0) for n in range(1, count)])


def legrad_layer(gradient: Array) -> Array:
    """One layer of LeGrad (Bousselham et al., ICCV 2025): gradient (H, N, N) of the layer's own score.

    Mean over heads and query tokens of its positive part, over patches, (N - 1,).
    """
    heads, count, _ = gradient.shape
    return np.array(
        [
            sum(max(gradient[h, i, j], 0.0) for h in range(heads) for i in range(count)) / (heads * count)
            for j in range(1, count)
        ]
    )
