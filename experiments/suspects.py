r"""What `experiments.inquire` measures with: GAR in other ways, heads on a frozen backbone, changes of differences.

B images, C classes, N tokens, h x w patch grid, n images of a split, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from experiments.suspicions import Expected, outcome
from vitol.accuracy import Measurement, measure
from vitol.attention import capture_attention
from vitol.bootstrap import interval
from vitol.boxes import best_ious_of_maps
from vitol.chunks import Chunks
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.splits import Split
from vitol.localizations import Localizations
from vitol.rollout import Rollout, attention_rollout, gar_transition
from vitol.tokens import patch_grid, prefix_tokens, readout_row

V2 = "MaxBoxAccV2"


def of_logit(logits: Tensor, classes: Tensor) -> Tensor:
    """The gradient of each image's own logit: Eq. 7 and the released code. (B, C) and (B,) to (B, C)."""
    return torch.zeros_like(logits).scatter_(1, classes[:, None], 1)


def of_contrast(logits: Tensor, classes: Tensor) -> Tensor:
    """That of the logit minus the mean of all logits."""
    return of_logit(logits, classes) - 1 / logits.shape[1]


def of_log_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """That of the log-probability: it vanishes where the classifier is sure."""
    return of_logit(logits, classes) - logits.softmax(dim=1)


def of_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """That of the probability: it vanishes where the classifier is sure, or sure of another class."""
    own = logits.softmax(dim=1).gather(1, classes[:, None])
    return own * of_log_probability(logits, classes)


@dataclass(frozen=True)
class Variant:
    """One way to make GAR.

    Attributes:
        name: For people.
        signal: What is differentiated: logits (B, C) and classes (B,) to what is sent back, (B, C).
        scale: Factor on every block's transition, before the identity is added.
        normalize_rows: Whether rows of I + T are divided by their sums.
        start_block: The first block that takes part.
    """

    name: str
    signal: Callable[[Tensor, Tensor], Tensor] = of_logit
    scale: float = 1.0
    normalize_rows: bool = True
    start_block: int = 0


AS_RELEASED = Variant("as released")


def rollouts(
    model: nn.Module, images: Tensor, classes: Tensor | None, variants: Sequence[Variant]
) -> dict[str, Tensor]:
    """AR, and GAR in several ways, from one forward pass.

    Args:
        model: A timm vision transformer in eval mode.
        images: Normalised, (B, 3, H, W).
        classes: (B,); None for the predicted ones.
        variants: How GAR is made.

    Returns:
        "AR" and the variants' names to maps (B, h, w), and "predicted" to the predicted classes (B,).
    """
    height, width = patch_grid(model, images)
    prefix = prefix_tokens(model)
    tokens = prefix + height * width
    row = readout_row(model, tokens)
    with capture_attention(model) as capture, torch.enable_grad():
        logits = model(images)
        attention = [matrix.detach() for matrix in capture.matrices(len(images), tokens)]
        known = logits.detach()
        explained = known.argmax(dim=1) if classes is None else classes
        made = {"AR": attention_rollout(attention, row, normalize_rows=True)}
        signals = list(dict.fromkeys(variant.signal for variant in variants))
        for signal in signals:
            members = [variant for variant in variants if variant.signal is signal]
            rolling = {
                v.name: Rollout(row, normalize_rows=v.normalize_rows, start_block=v.start_block)
                for v in members
            }

            def visit(
                block: int,
                gradient: Tensor,
                members: Sequence[Variant] = members,
                rolling: Mapping[str, Rollout] = rolling,
            ) -> None:
                transition = gar_transition(attention[block], gradient)
                for variant in members:
                    rolling[variant.name].multiply(block, variant.scale * transition)

            capture.pull_back(logits, signal(known, explained), visit, keep_graph=signal is not signals[-1])
            made |= {name: rollout.row for name, rollout in rolling.items()}
    maps = {name: rows[:, prefix:].unflatten(-1, (height, width)) for name, rows in made.items()}
    return maps | {"predicted": known.argmax(dim=1)}


def maps_of(
    model: nn.Module,
    images: SplitImages,
    chunks: Chunks,
    variants: Sequence[Variant],
    *,
    of_label: bool,
    workers: int,
    progress: Callable[[int], object],
) -> dict[str, np.ndarray]:
    """What `rollouts` makes of all images of a split, chunk by chunk; chunks that are there are not made again.

    Args:
        model: In eval mode, on the device to work on.
        images: Of the split.
        chunks: Where results are kept; a chunk is a batch.
        variants: How GAR is made.
        of_label: Explain the label; else the predicted class (where the head knows other classes).
        workers: Processes that decode images.
        progress: Called with the number of images done.
    """
    device = next(model.parameters()).device
    batches = {chunk: list(chunks.images(chunk)) for chunk in chunks.waiting()}
    progress(len(images) - sum(map(len, batches.values())))
    loader = DataLoader(images, batch_sampler=list(batches.values()), num_workers=workers)
    for chunk, (batch, labels) in zip(batches, loader, strict=True):
        classes = labels.to(device) if of_label else None
        made = rollouts(model, normalise(batch.to(device)), classes, variants)
        chunks.write(chunk, {name: tensor.cpu().numpy() for name, tensor in made.items()})
        progress(len(batch))
    return chunks.merged()


def ranks(maps: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) by the ranks of their patches in each image, equal ones equal, so that levels are used evenly."""
    flat = maps.reshape(len(maps), -1)
    places = np.stack([np.unique(row, return_inverse=True)[1] for row in flat])
    return places.reshape(maps.shape).astype(np.float32)


def curves_of(maps: np.ndarray, split: Split) -> np.ndarray:
    """Best IoU of any contour at every threshold, (n, L)."""
    return best_ious_of_maps(maps, split.sizes, split.boxes, names=split.ids, largest=False).all


class Compared(NamedTuple):
    """AR and GAR on the same images, in MaxBoxAccV2 (`oracle-per-iou`), percent, with replicates."""

    ar: Measurement
    gar: Measurement

    @property
    def difference(self) -> float:
        """GAR minus AR."""
        return self.gar.value - self.ar.value

    @property
    def replicates(self) -> np.ndarray:
        """The difference in every resample, (R,)."""
        return self.gar.replicates - self.ar.replicates


def compare(ar: np.ndarray, gar: np.ndarray, members: np.ndarray, replicates: int, seed: int) -> Compared:
    """Measure both on some of the images.

    Args:
        ar: Curves of AR's maps, (n, L).
        gar: Those of GAR's.
        members: Which images, bool (n,).
        replicates: R.
        seed: Of the resamples.
    """
    found = []
    for curves in (ar, gar):
        measured = measure(Localizations(curves[members]), replicates=replicates, seed=seed)
        found.append(next(one for one in measured if one.metric == V2))
    return Compared(*found)


def row_of(condition: str, of: Compared, reference: Compared | None, expected: Expected) -> dict[str, object]:
    """A condition as a line: AR, GAR, their difference, and how far that is from the reference's difference.

    Args:
        condition: For people.
        of: What was measured under it.
        reference: What it is compared with: on the same images and resamples, so that the change is paired, or on
            images that have none in common. None for a reference itself.
        expected: Which way the suspicion says that the difference moves.
    """
    low, high = interval(of.replicates)
    line = {
        "condition": condition,
        "ar": of.ar.value,
        "gar": of.gar.value,
        "difference": of.difference,
        "ci_low": low,
        "ci_high": high,
        "change": np.nan,
        "change_low": np.nan,
        "change_high": np.nan,
        "outcome": "",
        "n_images": of.ar.n_images,
    }
    if reference is not None:
        low, high = interval(of.replicates - reference.replicates)
        line |= {
            "change": of.difference - reference.difference,
            "change_low": low,
            "change_high": high,
            "outcome": outcome(expected, low, high),
        }
    return line


def fit_head(model: nn.Module, images: SplitImages, labels: Sequence[int], workers: int) -> None:
    """Give a model a head for some classes, fitted on the features of its frozen backbone (a linear probe).

    Logistic regression by full batches, from zero weights, with a weight decay of 1e-3: no draw, no schedule.

    Args:
        model: A timm vision transformer in eval mode; its head is replaced.
        images: Train images, by the test transform.
        labels: The classes that the head knows, in the order of its outputs; images of others are left out.
        workers: Processes that decode images.

    Raises:
        ValueError: If the regression did not converge.
    """
    device = next(model.parameters()).device
    known = list(labels)
    members = np.flatnonzero(np.isin(images.split.labels, known)).tolist()
    features, targets = [], []
    with torch.no_grad():
        for batch, of_batch in DataLoader(Subset(images, members), batch_size=32, num_workers=workers):
            tokens = model.forward_features(normalise(batch.to(device)))  # type: ignore[operator]
            features.append(model.forward_head(tokens, pre_logits=True))  # type: ignore[operator]
            targets += [known.index(int(label)) for label in of_batch]
    inputs, wanted = torch.cat(features), torch.tensor(targets, device=device)
    head = nn.Linear(inputs.shape[1], len(known)).to(device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        decay = 1e-3 * head.weight.square().sum()
        value = nn.functional.cross_entropy(head(inputs), wanted) + decay
        value.backward()
        return value

    optimizer.step(loss)
    steepest = max(
        float(parameter.grad.abs().max()) for parameter in head.parameters() if parameter.grad is not None
    )
    if not steepest < 1e-2:
        raise ValueError(
            f"the head for {len(known)} classes is not fitted: its loss still has a slope of {steepest:.2g}; look at "
            "the features, are they finite?"
        )
    model.head = head.requires_grad_(False)
