"""The metrics as `torchmetrics.Metric`: updated batch by batch, synced across processes, merged across shards.

b images of a batch, L thresholds. Curves are what `vitol.boxes.best_ious_of_maps` gives. Results are in percent,
float64, and equal those of `vitol.accuracy` and `vitol.pxap` under the policy `oracle-per-iou`. A state is
counts, of the same size whatever the number of images, so it holds no bootstrap: intervals need the curves.

    metrics = MetricCollection([MaxBoxAcc(), GTKnownLoc(), Top1Loc(), Top5Loc()])
    metrics.update(ious=curves.all, largest=curves.largest, correct=top1, correct5=top5)
    metrics.compute()

A collection lets metrics whose states agree after the first update share them from then on. So every state here
bears the name of what it counts: GT-known Loc and Top-1 Loc agree as long as every class is right.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics import Metric

from vitol.accuracy import DELTAS, checked_delta
from vitol.boxes import DISTINCT_THRESHOLDS
from vitol.localizations import checked_curves, checked_flags
from vitol.pxap import BINS, PXAP, pixel_counts, pxap


class _Percentage(Metric):
    """A percentage of counts."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 100.0

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add another metric's counts, or the states of one that was saved, to this metric's."""
        super().merge_state(incoming_state)
        # torchmetrics would warn that nothing was counted, and return what was computed before.
        self._update_count += 1
        self._computed = None


class _Localization(_Percentage):
    """Shares of images that are right, each at the threshold where it is highest."""

    n_images: Tensor

    def __init__(self, criteria: Sequence[str], n_thresholds: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_thresholds = n_thresholds
        for criterion in criteria:
            self.add_state(criterion, torch.zeros(n_thresholds, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("n_images", torch.tensor(0), dist_reduce_fx="sum")

    def _curves(self, name: str, ious: ArrayLike | Tensor | None) -> np.ndarray:
        if ious is None:
            raise ValueError(
                f"{type(self).__name__} needs {name}: pass update({name}=...), IoU curves (b, L)"
            )
        curves = checked_curves(name, _array(ious))
        if curves.shape[1] != self.n_thresholds:
            raise ValueError(
                f"{name} has {curves.shape[1]} thresholds, {type(self).__name__} was made for {self.n_thresholds}; "
                "pass curves as best_ious_of_maps gives them, or set n_thresholds"
            )
        return curves

    def _count(self, right: dict[str, np.ndarray]) -> None:
        """Add the batch's images and, for every criterion, how many are right at which threshold."""
        for criterion, images in right.items():
            counts = getattr(self, criterion)
            setattr(self, criterion, counts + torch.from_numpy(images.sum(axis=0)).to(counts.device))
        self.n_images = self.n_images + len(images)

    def _highest(self, criterion: str) -> Tensor:
        if not self.n_images:
            raise ValueError(f"{type(self).__name__} has seen no image; update it before compute")
        return 100 * getattr(self, criterion).max().double() / self.n_images


class MaxBoxAcc(_Localization):
    """MaxBoxAcc of [8], for one or several IoUs.

    Made without arguments it is MaxBoxAccV2; with `deltas=(0.5,), contours="largest"` it is V1.

    Args:
        deltas: The IoUs from which a box is right, in (0, 1], each once.
        contours: Whether to count the best of "all" contours, or the "largest".
        n_thresholds: L.
        kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: If an argument is not as above.

    >>> metric = MaxBoxAcc(n_thresholds=2)
    >>> metric.update(ious=[[0.6, 0.1], [0.5, 0.9], [0.2, 0.7], [0.2, 0.5]])
    >>> {name: value.item() for name, value in metric.compute().items()}
    {'MaxBoxAcc': 66.66666666666667, 'IoU30': 75.0, 'IoU50': 75.0, 'IoU70': 50.0}
    """

    def __init__(
        self,
        deltas: Sequence[float] = DELTAS,
        contours: Literal["all", "largest"] = "all",
        n_thresholds: int = len(DISTINCT_THRESHOLDS),
        **kwargs: Any,
    ) -> None:
        if contours not in ("all", "largest"):
            raise ValueError(f"contours is {contours!r}; choose 'all' (MaxBoxAccV2) or 'largest' (MaxBoxAcc)")
        self.deltas = {f"IoU{100 * checked_delta(delta):g}": delta for delta in deltas}
        if not self.deltas or len(self.deltas) < len(deltas):
            raise ValueError(f"deltas are {tuple(deltas)}; give at least one, and each once")
        self.contours = contours
        self._states = {name: f"{name}_{contours}".replace(".", "_") for name in self.deltas}
        super().__init__(list(self._states.values()), n_thresholds, **kwargs)

    def update(
        self, ious: ArrayLike | Tensor | None = None, largest: ArrayLike | Tensor | None = None
    ) -> None:
        """Count a batch.

        Args:
            ious: Curves of all contours, in [0, 1], (b, L); needed for `contours="all"`.
            largest: Curves of the largest contour; needed for `contours="largest"`.
        """
        name, given = ("ious", ious) if self.contours == "all" else ("largest", largest)
        curves = self._curves(name, given)
        self._count({self._states[label]: curves >= delta for label, delta in self.deltas.items()})

    def compute(self) -> dict[str, Tensor]:
        """Accuracy at every delta, `IoU50` and so on, and their mean, `MaxBoxAcc`."""
        parts = {label: self._highest(state) for label, state in self._states.items()}
        return {"MaxBoxAcc": torch.stack(list(parts.values())).sum() / len(parts), **parts}


class GTKnownLoc(_Localization):
    """GT-known Loc as the paper has it: an IoU >= 0.5 of the best of all contours, the class being given.

    Args:
        n_thresholds: L.
        kwargs: Those of `torchmetrics.Metric`.
    """

    def __init__(self, n_thresholds: int = len(DISTINCT_THRESHOLDS), **kwargs: Any) -> None:
        super().__init__(["gt_known"], n_thresholds, **kwargs)

    def update(self, ious: ArrayLike | Tensor) -> None:
        """Count a batch of curves of all contours, in [0, 1], (b, L)."""
        self._count({"gt_known": self._curves("ious", ious) >= 0.5})

    def compute(self) -> Tensor:
        """Percentage of images that are right."""
        return self._highest("gt_known")


class Top1Loc(_Localization):
    """Top-1 Loc: the predicted class right and an IoU >= 0.5.

    Args:
        n_thresholds: L.
        kwargs: Those of `torchmetrics.Metric`.
    """

    def __init__(self, n_thresholds: int = len(DISTINCT_THRESHOLDS), **kwargs: Any) -> None:
        super().__init__(["top1"], n_thresholds, **kwargs)

    def update(self, ious: ArrayLike | Tensor, correct: ArrayLike | Tensor) -> None:
        """Count a batch.

        Args:
            ious: Curves of all contours, in [0, 1], (b, L).
            correct: Whether the predicted class is the label, bool (b,).
        """
        right = self._curves("ious", ious) >= 0.5
        self._count({"top1": right & checked_flags("correct", _array(correct), len(right))[:, None]})

    def compute(self) -> Tensor:
        """Percentage of images that are right."""
        return self._highest("top1")


class Top5Loc(_Localization):
    """Top-5 Loc: the label among the five first classes and an IoU >= 0.5.

    Args:
        n_thresholds: L.
        kwargs: Those of `torchmetrics.Metric`.
    """

    def __init__(self, n_thresholds: int = len(DISTINCT_THRESHOLDS), **kwargs: Any) -> None:
        super().__init__(["top5"], n_thresholds, **kwargs)

    def update(self, ious: ArrayLike | Tensor, correct5: ArrayLike | Tensor) -> None:
        """Count a batch.

        Args:
            ious: Curves of all contours, in [0, 1], (b, L).
            correct5: Whether the label is among the five first classes, bool (b,).
        """
        right = self._curves("ious", ious) >= 0.5
        self._count({"top5": right & checked_flags("correct5", _array(correct5), len(right))[:, None]})

    def compute(self) -> Tensor:
        """Percentage of images that are right."""
        return self._highest("top5")


class PxAP(_Percentage):
    """PxAP of [8]: area under the precision-recall curve of all pixels; see `vitol.pxap`.

    Args:
        kwargs: Those of `torchmetrics.Metric`.
    """

    pixels: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("pixels", torch.zeros(2, BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, score_maps: ArrayLike | Tensor, masks: ArrayLike | Tensor) -> None:
        """Count a batch's pixels.

        Args:
            score_maps: In [0, 1], (b, H, W).
            masks: 1 object, 0 background, 255 left out, (b, H, W).
        """
        scores, kinds = _array(score_maps), _array(masks)
        if scores.ndim != 3 or not len(scores) or len(scores) != len(kinds):
            raise ValueError(
                f"score_maps have shape {scores.shape}, masks {kinds.shape}; pass (b, H, W), as many of both"
            )
        counts = sum(pixel_counts(score, kind) for score, kind in zip(scores, kinds, strict=True))
        self.pixels = self.pixels + torch.from_numpy(counts).to(self.pixels.device)

    def compute(self) -> Tensor:
        """PxAP in percent."""
        if not self.pixels.any():
            raise ValueError(f"{PXAP} has seen no pixel; update it before compute")
        return torch.tensor(pxap(self.pixels.cpu().numpy()), dtype=torch.float64, device=self.pixels.device)


def _array(values: ArrayLike | Tensor) -> np.ndarray:
    """On the CPU, where curves and score maps come from; the same types, so that nothing is rounded."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
