"""Numbers of stages, for the methods that reach into the middle of a network."""

from __future__ import annotations

from collections.abc import Sequence

from vitol.cams.skeleton import Features


def from_the_front(features: Features, stages: Sequence[int]) -> list[int]:
    """Stages counted from 0, whichever end they were counted from.

    Args:
        features: The network.
        stages: As for `Features.end_of`.

    Raises:
        ValueError: If the features have no such stage.
    """
    count = len(features.stages)
    for stage in stages:
        if not -count <= stage < count:
            raise ValueError(
                f"stage {stage} does not exist; the stages of these features are 0..{count - 1}, or -{count}..-1 "
                "from the end"
            )
    return [stage % count for stage in stages]
