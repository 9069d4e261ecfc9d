"""What the picture of `vitol score` shows of a method: which metrics, read at which threshold."""

from __future__ import annotations

from vitol.accuracy import Measurement
from vitol.pxap import PXAP
from vitol.score_figure import MethodView
from vitol.scores import HEADLINE, MethodScores
from vitol.scoring import VIEWED
from vitol.views import DELTAS, accuracy_over_threshold, iou_histogram, ious_at

DRAWN = (HEADLINE, "IoU30", VIEWED, "IoU70", "GTKnownLocV1", "PredictedLoc", "Top1Loc", "Top5Loc", PXAP)


def method_view(method: MethodScores, policy: str) -> MethodView:
    """What the picture shows of a method that has boxes."""
    assert method.found is not None
    shown = _shown(method, policy)
    thresholds = {delta: shown[f"IoU{round(100 * delta)}"].threshold for delta in DELTAS}
    chosen = thresholds[0.5]
    assert chosen is not None  # those of a single delta always have one
    at = ious_at(method.found.ious, chosen)
    failed = method.views[method.views["view"] == "failure"]
    return MethodView(
        n_images=len(method.found),
        headlines=method_headlines(method, policy),
        curves=accuracy_over_threshold(method.found.ious),
        thresholds={delta: at for delta, at in thresholds.items() if at is not None},
        histogram=iou_histogram(at),
        failures=dict(zip(failed["group"], failed["value"], strict=True)),
        groups=method.views,
    )


def _shown(method: MethodScores, policy: str) -> dict[str, Measurement]:
    """The measurements that are drawn, by metric."""
    return {
        metric: entry
        for metric in DRAWN
        for entry in method.measurements
        if entry.metric == metric and entry.policy in (policy, "")
    }


def method_headlines(method: MethodScores, policy: str) -> dict[str, tuple[float, float, float]]:
    """Percent and the ends of its interval of every metric that is drawn."""
    return {
        metric: (entry.value, entry.ci_low, entry.ci_high) for metric, entry in _shown(method, policy).items()
    }
