r"""Does a map depend on what the model learned? Maps under weights randomised from the head down.

B images, K blocks, D = K + 3 depths of randomisation, h x w patch grid.

A map that stays the same when the weights are random shows edges, or where the centre is, but nothing that
the model has learned. Source: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, the cascading
randomisation of section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vitol.maps import Method, explain


@dataclass(frozen=True)
class Cascade:
    """Maps at every depth of randomisation.

    Attributes:
        parts: What was randomised last at each depth, on top of all before it: "none", "head", "block K", ...,
            "block 1", "embedding".
        maps: For each method by its name, (D, B, h, w) on the CPU.
    """

    parts: tuple[str, ...]
    maps: dict[str, Tensor]


def randomization_cascade(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    methods: Mapping[str, Method],
    *,
    seed: int = 0,
    batch_size: int = 32,
    progress: Callable[[], object] | None = None,
) -> Cascade:
    """Maps of a model whose weights are randomised part by part, from the head down to the embedding.

    See `parts_of` for the parts and `redraw` for what randomising is. The class stays the same at all depths. The
    weights are put back bit for bit, also after an exception.

    Args:
        model: A timm vision transformer in eval mode.
        images: Normalised images, (B, 3, H, W).
        targets: Class indices (B,); None for the classes that the model predicts before it is randomised.
        methods: The maps to make, by names of your choice.
        seed: Of the random weights, which are the same on every device up to rounding.
        batch_size: Images at a time.
        progress: Called once a depth.

    Raises:
        CaptureError: If the model's attention cannot be captured.
        ValueError: If an argument is wrong, as in `vitol.maps.explain`, or a map is not finite.
    """
    if not methods or batch_size < 1:
        raise ValueError(f"{len(methods)} methods and batch_size {batch_size}; give at least 1 of each")
    if targets is not None and targets.ndim != 1:
        raise ValueError(f"targets have shape {tuple(targets.shape)}; one class an image is followed, (B,)")
    parts = parts_of(model)
    generator = torch.Generator().manual_seed(seed)
    depths: dict[str, list[Tensor]] = {name: [] for name in methods}
    with restored(model):
        for part, parameters in {"none": [], **parts}.items():
            redraw(parameters, generator)
            made, logits = _maps(model, images, targets, methods, batch_size)
            targets = logits.argmax(dim=1) if targets is None else targets
            for name, maps in made.items():
                if not maps.isfinite().all():
                    image = int((~maps.isfinite()).flatten(1).any(dim=1).nonzero()[0])
                    raise ValueError(
                        f"the {name!r} map of image {image} is not finite with the weights randomised down to "
                        f"{part!r}; try another seed, or leave {name!r} out"
                    )
                depths[name].append(maps)
            if progress:
                progress()
    return Cascade(("none", *parts), {name: torch.stack(maps) for name, maps in depths.items()})


def parts_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """A vision transformer's parameters by part, from the head down.

    Of the model's own modules, those registered after `blocks` are its head (final norm and classifier), those
    before it and the model's own parameters (class token, positions) its embedding: timm's order throughout.
    A parameter that parts share belongs to the one nearest the head.

    Raises:
        ValueError: If the model has no `blocks`.
    """
    children = dict(model.named_children())
    if "blocks" not in children:
        raise ValueError(
            f"{type(model).__name__} has no `blocks` to randomise one by one; "
            "take a timm vision transformer such as deit_tiny_patch16_224"
        )
    at = list(children).index("blocks")
    blocks = list(children["blocks"].children())
    modules = {"head": list(children.values())[at + 1 :]}
    modules |= {f"block {index + 1}": [blocks[index]] for index in reversed(range(len(blocks)))}
    seen: set[int] = set()
    parts = {}
    for part, of_part in {**modules, "embedding": [model]}.items():
        own = [p for module in of_part for p in module.parameters() if id(p) not in seen]
        seen |= {id(parameter) for parameter in own}
        parts[part] = own
    return parts


@torch.no_grad()
def redraw(parameters: list[nn.Parameter], generator: torch.Generator) -> None:
    """Replace every parameter by normal noise of its own mean and standard deviation, in place.

    So scales stay and any architecture will do; what was learned beyond them is lost. A constant parameter (a
    bias of zeros) stays as it is; so do buffers. The noise is drawn on the CPU, the same for every device.
    """
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        std, mean = torch.std_mean(parameter, correction=0)
        parameter.copy_(mean + std * noise)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Put all parameters back bit for bit when the `with` is left, also after an exception."""
    kept = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every image's two maps; equal values share their mean rank.

    Two equal maps count as 1, constant ones too: nothing changed. A constant map and one that is not count
    as 0, since a map without any order keeps nothing of the other's.

    Args:
        a: Finite maps, (B, h, w).
        b: Finite maps, (B, h, w).

    Returns:
        float64 in [-1, 1], (B,).

    >>> rank_correlation(np.array([[[1, 2, 3]], [[1, 2, 3]]]), np.array([[[1, 4, 9]], [[0, 0, 0]]]))
    array([1., 0.])
    """
    ranks = [pd.DataFrame(maps.reshape(len(maps), -1)).rank(axis=1).to_numpy() for maps in (a, b)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    norms = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    correlation = np.divide((x * y).sum(axis=1), norms, out=np.zeros(len(x)), where=norms > 0)
    return np.where((a == b).all(axis=(1, 2)), 1.0, correlation.clip(-1, 1))


def similarity_frame(cascade: Cascade, replicates: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How similar the maps stay to those of the model as it was, in one row a method and depth.

    Args:
        cascade: What `randomization_cascade` made.
        replicates: Resamples of the images for the interval; every row sees the same ones.
        seed: Of the resamples.

    Returns:
        A frame of method; depth, the number of parts randomised, and part, the last of them; similarity, the
        mean over images of `rank_correlation` with depth 0; ci_low, ci_high, its 95% percentile bootstrap
        interval over images; n_images.
    """
    rows = []
    for method, maps in cascade.maps.items():
        original, *_ = values = maps.double().numpy()
        draws = np.random.default_rng(seed).integers(0, len(original), (replicates, len(original)))
        for depth, (part, randomised) in enumerate(zip(cascade.parts, values, strict=True)):
            similarity = rank_correlation(original, randomised)
            low, high = np.percentile(similarity[draws].mean(axis=1), [2.5, 97.5])
            rows.append((method, depth, part, similarity.mean(), low, high, len(original)))
    columns = ["method", "depth", "part", "similarity", "ci_low", "ci_high", "n_images"]
    return pd.DataFrame(rows, columns=columns)


def _maps(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    methods: Mapping[str, Method],
    batch_size: int,
) -> tuple[dict[str, Tensor], Tensor]:
    """Every method's maps (B, h, w) on the CPU, and logits (B, C)."""
    starts = range(0, max(len(images), 1), batch_size)
    found = [
        explain(
            model,
            images[start : start + batch_size],
            None if targets is None else targets[start : start + batch_size],
            list(methods.values()),
        )
        for start in starts
    ]
    of_methods = zip(*(explanation.maps for explanation in found), strict=True)
    maps = {name: torch.cat(parts).cpu() for name, parts in zip(methods, of_methods, strict=True)}
    return maps, torch.cat([explanation.logits for explanation in found])
