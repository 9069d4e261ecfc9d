r"""Relevance rules: how an operation hands the relevance of its output on to its inputs.

R is the relevance of an output, Z what the inputs contribute to it. Every rule acts on each image alone. B images,
I inputs and O outputs of a linear layer. Two sets of rules have one shape: `CHEFER`, the layer relevance
propagation (LRP) of Chefer et al., CVPR 2021, which is reference [7] of the paper and feeds its Eq. 9; and
`attn_lrp`, AttnLRP of Achtibat et al., ICML 2024.

Both agree on the rest. Activations pass relevance on as it is; so does a factor that does not depend on the image.
Of a product of two factors that do, matrix or elementwise, each gets half. Reshaping, indexing and joining move
relevance with its entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STABILISER = 1e-9  # of the released code of [7]


@dataclass(frozen=True)
class Rules:
    """What sets of rules differ in.

    Attributes:
        linear: (x, weight, bias or None, output, R) to R of x.
        add: (a, b, R) to R of a and R of b.
        softmax: (x, output, dimension, R) to R of x.
        norm: (x, weight or None, eps, number of normalised axes, whether centred, output, R) to R of x.
        constants_get_nothing: Whether a summand that does not depend on the image, such as a bias of positions,
            gets no relevance, so that x gets all of it; else it keeps its contribution.
    """

    linear: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor], Tensor]
    add: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    softmax: Callable[[Tensor, Tensor, int, Tensor], Tensor]
    norm: Callable[[Tensor, Tensor | None, float, int, bool, Tensor, Tensor], Tensor]
    constants_get_nothing: bool


def stabilised_ratio(relevance: Tensor, z: Tensor, stabiliser: float = STABILISER) -> Tensor:
    """S = R / (Z + stabiliser), and 0 where Z is 0: the division of the released code of [7].

    Args:
        relevance: R of an output.
        z: Z, what its inputs contributed, same shape or broadcast to it.
        stabiliser: What keeps Z from 0.

    Returns:
        S, the shape of R.
    """
    return relevance / (z + stabiliser).masked_fill_(z == 0, torch.inf)


def linear_alpha1(
    x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor
) -> Tensor:
    r"""Relevance by positive contributions: the alpha-beta rule with alpha = 1, beta = 0, as in [7].

    Z = x^+ W^+T + x^- W^-T without the bias, S = R / Z, R_in = x^+ o (S W^+) + x^- o (S W^-). Two identities save a
    quarter of the matrix products: 2Z = x W^T + |x| |W|^T, whose first term the forward pass knows, and
    2 R_in = x o (S W) + |x| o (S |W|).

    Args:
        x: The layer's input, (..., I).
        weight: W, (O, I).
        bias: Its bias, (O,), or None.
        output: What the layer returned, (..., O).
        relevance: R of the output, (..., O).

    Returns:
        R of the input, (..., I).
    """
    sizes, absolute = x.abs(), weight.abs()
    size = F.linear(sizes, absolute)
    twice_z = size + (output if bias is None else output - bias)
    # Where every contribution is negative Z is 0, of which the sum above leaves its rounding error.
    twice_z.masked_fill_(twice_z <= weight.shape[1] * torch.finfo(size.dtype).eps * size, torch.inf)
    half_ratio = relevance / twice_z.add_(2 * STABILISER)
    return (half_ratio @ weight).mul_(x).addcmul_(sizes, half_ratio @ absolute)


def add_by_sums(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    r"""Relevance of the summands of a residual connection, rescaled by their sums: Add of [7].

    a o S and b o S, with S = R / (a + b), are each rescaled so that their sums over the image's entries share the sum
    of R as |sum(a o S)| to |sum(b o S)|. The released code takes these sums over the whole batch, which is right for
    one image only; here they are taken per image.

    Args:
        a: A summand, (B, ...).
        b: The other, same shape.
        relevance: R of a + b, same shape.

    Returns:
        R of a and R of b, same shapes.
    """
    ratio = stabilised_ratio(relevance, a + b)
    parts = [a * ratio, b * ratio]
    sums = [_image_sums(part) for part in parts]
    both, total = sums[0].abs() + sums[1].abs(), _image_sums(relevance)
    scales = [stabilised_ratio(stabilised_ratio(own.abs(), both) * total, own) for own in sums]
    return parts[0].mul_(scales[0]), parts[1].mul_(scales[1])


def softmax_unchanged(x: Tensor, output: Tensor, dimension: int, relevance: Tensor) -> Tensor:
    """Relevance of the output, as it is: softmax in [7]."""
    return relevance


def norm_unchanged(
    x: Tensor, weight: Tensor | None, eps: float, axes: int, centred: bool, output: Tensor, relevance: Tensor
) -> Tensor:
    """Relevance of the output, as it is: LayerNorm in [7]."""
    return relevance


CHEFER = Rules(
    linear=linear_alpha1,
    add=add_by_sums,
    softmax=softmax_unchanged,
    norm=norm_unchanged,
    constants_get_nothing=True,
)


def product_parts(factors: list[Tensor], shares: list[Tensor], portion: float) -> list[Tensor]:
    r"""Relevance of factors by their contributions: of two, each gets half; of one beside a constant, it gets all.

    Z = a b, S = R / Z; R_a = portion a o (S b^T), and likewise for b: the matrix product of [7], whose relevance is
    taken after halving, and the uniform rule of AttnLRP.

    Args:
        factors: The factors that depend on the image.
        shares: S pulled back to each of them, such as S b^T, same shapes.
        portion: The part of all relevance that each gets.

    Returns:
        R of each factor.
    """
    return [share.mul(portion).mul_(factor) for factor, share in zip(factors, shares, strict=True)]


def attn_lrp(gamma: float = 0.05) -> Rules:
    r"""Make the rules of AttnLRP (Achtibat et al., ICML 2024).

    Softmax by its Taylor expansion; norms by the epsilon rule with their deviation as a constant; sums by
    contributions; linear layers by the generalised gamma rule, which they found vision transformers to need against
    noise. A constant or a bias keeps the relevance that it contributed. With gamma = 0 the relevance of any tensor is
    the tensor times a gradient in which deviations and the ratios of activations to their inputs are held
    constant and products of two tensors count half.

    Args:
        gamma: How much more contributions of the output's own sign count, at least 0; at 0 linear layers
            follow the plain epsilon rule. They tune it for every model. It does not act on the bias.

    Returns:
        The rules.
    """

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor) -> Tensor:
        # With s the sign of the output, (xW)^s = (xW + s |x||W|) / 2.
        sizes, absolute, sign = x.abs(), weight.abs(), output.sign()
        plain = output if bias is None else output - bias
        z = output + gamma / 2 * (plain + sign * F.linear(sizes, absolute))
        ratio = relevance / (z + STABILISER * torch.where(output < 0, -1, 1))
        own_sign = gamma / 2 * sizes * ((ratio * sign) @ absolute)
        return (1 + gamma / 2) * x * (ratio @ weight) + own_sign

    def add(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
        ratio = stabilised_ratio(relevance, a + b)
        return a * ratio, b * ratio

    def softmax(x: Tensor, output: Tensor, dimension: int, relevance: Tensor) -> Tensor:
        return x * (relevance - output * relevance.sum(dim=dimension, keepdim=True))

    def norm(
        x: Tensor,
        weight: Tensor | None,
        eps: float,
        axes: int,
        centred: bool,
        output: Tensor,
        relevance: Tensor,
    ) -> Tensor:
        over = tuple(range(-axes, 0))
        mean = x.mean(dim=over, keepdim=True) if centred else 0
        scale = ((x - mean).square().mean(dim=over, keepdim=True) + eps).rsqrt()
        share = stabilised_ratio(relevance, output) * scale * (1 if weight is None else weight)
        return x * (share - share.mean(dim=over, keepdim=True) if centred else share)

    return Rules(linear=linear, add=add, softmax=softmax, norm=norm, constants_get_nothing=False)


def _image_sums(values: Tensor) -> Tensor:
    """Sum over everything but the images, with the axes kept."""
    return values.sum(dim=tuple(range(1, values.ndim)), keepdim=True)
