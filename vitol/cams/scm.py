r"""SCM: TS-CAM trained through a module that spreads activation over neighbours that look alike.

Bai et al., ECCV 2022, "Weakly supervised object localization via transformer with implicit spatial calibration". Its
equations are here as their code computes them, `hbai98/SCM@be5bdfa` (`lib/models/deit.py`, class `SCM`) with
`lib/models/graphFusion.py`.

B images, C classes, K classes asked for an image, D width, h x w patch grid, M = h w patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitol.attention import attention_modules
from vitol.cams.skeleton import rescaled
from vitol.cams.transformer import TransformerFeatures
from vitol.cams.tscam import TSCAM, attention_map, class_token_row
from vitol.models import unfused_attention
from vitol.precision import wide_type
from vitol.tokens import prefix_tokens

START = 0.002
"""What the transpose is scaled with where the approximation of an inverse begins."""


class SCM(TSCAM):
    r"""TS-CAM whose training sends semantic maps S and attention map F through diffusion blocks first.

    F is TS-CAM's attention map, stretched to [0, 1]. Every block makes S + S o F' and F + F' of them, see `Diffusion`;
    the mean of the last S is the score in training, with cross-entropy. Gradients reach the transformer through its
    attention too, so that the attention learns to fill objects. In eval mode, and in `localize`, the blocks are left
    out: the score is the mean of the head's own S, and the map F o S. It differs from TS-CAM's by the stretching of F,
    which moves the map's zero to where attention is least.

    Without labels (`forward(images)`) the blocks are left out in training mode too: trained that way it is TS-CAM.
    Their code trains ImageNet weights on at a rate of 5e-5 on CUB and 1e-6 on ImageNet.

    Args:
        features: A transformer with a class token.
        num_classes: C.
        iterations: Steps to the inverse, for every block: so many blocks. Those of the released code, in which the
            first block has another number than the three after it.
        flow: lambda of every block before training.
        threshold: beta of every block before training.

    Raises:
        ValueError: If the transformer has no class token, or a number of iterations is below 1.
    """

    def __init__(
        self,
        features: TransformerFeatures,
        num_classes: int,
        *,
        iterations: Sequence[int] = (16, 4, 4, 4),
        flow: float = 1.0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(features, num_classes)
        self.diffusion = nn.ModuleList(Diffusion(steps, flow, threshold) for steps in iterations)

    def step(self, images: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the scores behind the diffusion blocks, and those scores, (B, C)."""
        body = self.features.body
        with class_token_rows(body) as rows:
            semantic = self.class_maps(images)
        height, width = semantic.shape[2:]
        # Rounded to bfloat16, the steps to an inverse lead elsewhere.
        with torch.autocast(images.device.type, enabled=False):
            semantic = semantic.to(wide_type(semantic))
            foreground = rescaled(attention_map(rows, prefix_tokens(body), height, width)[:, 0])
            for block in self.diffusion:
                semantic, foreground = block(semantic, foreground)
            logits = semantic.mean(dim=(2, 3))
            return F.cross_entropy(logits, labels, label_smoothing=smoothing), logits

    def couple(self, attention: Tensor, semantic: Tensor) -> Tensor:
        """Multiply an attention map (B, 1, h, w), stretched to [0, 1], into semantic maps (B, K, h, w)."""
        return rescaled(attention) * semantic


class Diffusion(nn.Module):
    r"""One activation diffusion block.

    With E_ij the cosine of the semantic vectors of patches i and j (over classes), A the adjacency of the grid's four
    neighbours and D its degrees:

        X = (D - A) o (lambda E - 1)
        F' = stretch(tanhshrink(X^-1 F / (beta max F)))

    X^-1 by a few steps of Newton and Schulz from 0.002 X^T, through which gradients flow but not into that start;
    tanhshrink(x) = x - tanh(x) leaves little of what is below the threshold; "stretch" is to [0, 1] by minimum and
    maximum. lambda and beta are learned, and nothing keeps beta from 0.

    E of a patch with itself is 1, so at lambda = 1 the diagonal of X is 0 and X the adjacency weighted with how much
    neighbours differ. Few steps from a small start reach no inverse then, but a multiple of X with a bit of its cube;
    that is so in the released code as well.

    Args:
        iterations: Steps to the inverse.
        flow: lambda before training.
        threshold: beta before training.

    Raises:
        ValueError: If there is no step to take.
    """

    def __init__(self, iterations: int, flow: float = 1.0, threshold: float = 0.5) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"{iterations} iterations come to no inverse; give 1 at least for every block")
        self.iterations = iterations
        self.flow = nn.Parameter(torch.tensor([flow]))
        self.threshold = nn.Parameter(torch.tensor([threshold]))

    def forward(self, semantic: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
        """Spread a foreground map, and strengthen the semantic maps where it goes.

        Args:
            semantic: S, (B, C, h, w).
            foreground: F, (B, h, w).

        Returns:
            S + S o F' and F + F', of the same shapes.
        """
        height, width = foreground.shape[1:]
        vectors = F.normalize(semantic.flatten(2), dim=1)
        similarity = vectors.transpose(1, 2) @ vectors
        operator = grid_laplacian(height, width).to(similarity) * (self.flow * similarity - 1)
        spread = inverse(operator, self.iterations) @ foreground.flatten(1)[:, :, None]
        scaled = spread[:, :, 0] / (self.threshold * foreground.flatten(1).amax(dim=1, keepdim=True))
        gain = rescaled(F.tanhshrink(scaled).unflatten(1, (height, width)))
        return semantic + semantic * gain[:, None], foreground + gain


@cache
def grid_laplacian(height: int, width: int) -> Tensor:
    """D - A of the patches of a grid, each joined to the four beside it: (M, M), rows and columns summing to 0."""
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).flatten(1)
    apart = (places[:, :, None] - places[:, None, :]).abs().sum(dim=0)
    adjacency = (apart == 1).double()
    return adjacency.sum(dim=0).diag() - adjacency


def inverse(matrices: Tensor, iterations: int, start: float = START) -> Tensor:
    """Come near the inverses of matrices by Newton's and Schulz's steps, Y <- Y (2 I - X Y), from a multiple of X^T.

    Args:
        matrices: X, (B, M, M).
        iterations: How many steps.
        start: The multiple; 2 over the square of the largest singular value is where steps begin to diverge.

    Returns:
        (B, M, M). No gradient flows through the start.
    """
    found = start * matrices.detach().transpose(-2, -1)
    twice = 2 * torch.eye(matrices.shape[-1], device=matrices.device, dtype=matrices.dtype)
    for _ in range(iterations):
        found = found @ (twice - matrices @ found)
    return found


@contextmanager
def class_token_rows(model: nn.Module) -> Iterator[list[Tensor]]:
    """See the class token's attention in a forward pass inside the `with`, as a part of the graph.

    `vitol.attention.capture_attention` freezes parameters, and so has no place in training. What is seen here comes
    before dropout, as in the released code.

    Yields:
        A list that the blocks' rows are put in by the pass, (B, N) each, mean over heads, first block first.
    """
    rows: list[Tensor] = []

    def see(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        rows.append(class_token_row(arguments[0]))

    with ExitStack() as undo:
        for module in attention_modules(model).values():
            after_softmax: nn.Module = module.attn_drop  # type: ignore[assignment]
            undo.callback(after_softmax.register_forward_pre_hook(see).remove)
        undo.enter_context(unfused_attention(model))
        yield rows
