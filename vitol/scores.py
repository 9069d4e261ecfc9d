"""What `vitol.scoring` found of every method, and who beats whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from vitol.accuracy import Difference, Localizations, Measurement, paired_difference
from vitol.datasets.splits import Split
from vitol.map_traps import Traps
from vitol.pxap import PXAP
from vitol.scored_maps import Files

HEADLINE = "MaxBoxAccV2"


@dataclass(frozen=True, eq=False)
class MethodScores:
    """What was measured of one method.

    Attributes:
        name: The method's.
        files: Its output; None for the floors, which have none.
        naming: Which rule its maps' names follow; "" for the floors.
        found: What every metric is a function of; None where objects are masks, not boxes.
        measurements: Policy by policy.
        traps: What of the protocol's traps applied, by the kind of map.
        views: Rows of `vitol.views.COLUMNS`, failures included.
    """

    name: str
    files: Files | None
    naming: str
    found: Localizations | None
    measurements: tuple[Measurement, ...]
    traps: dict[str, Traps]
    views: pd.DataFrame

    def measurement(self, metric: str, policy: str | None = None) -> Measurement:
        """One measurement; of the first policy that has it if none is named.

        Raises:
            KeyError: If it was not measured.
        """
        for found in self.measurements:
            if found.metric == metric and policy in (None, found.policy):
                return found
        raise KeyError(f"{self.name} has no {metric}" + (f" under {policy}" if policy else ""))


@dataclass(frozen=True)
class Comparison:
    """A metric of method `a` minus that of method `b`, on the same resamples of the same images."""

    a: str
    b: str
    metric: str
    policy: str
    difference: Difference


@dataclass(frozen=True, eq=False)
class Scores:
    """All that was measured.

    Attributes:
        methods: In the order asked for, the floors last.
        comparisons: Every pair of methods, the earlier minus the later, in every measurement that both have.
        split: The images scored.
        left_out: Ids of images that lack a map, of any method (`allow_missing`).
        policies: As asked for; the first is the headline's, and the views'. None where objects are masks.
        validation: Number of images held out to choose thresholds on, which only the policy `validation` does; 0
            if there are none.
        val_cut: Whether they were cut from the split.
        fixed: Threshold of the policy `fixed`.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """

    methods: tuple[MethodScores, ...]
    comparisons: tuple[Comparison, ...]
    split: Split
    left_out: tuple[str, ...]
    policies: tuple[str, ...]
    validation: int
    val_cut: bool
    fixed: float | None
    replicates: int
    seed: int

    @property
    def headline(self) -> tuple[str, str]:
        """The metric that methods are ranked by, and its policy."""
        return (HEADLINE, self.policies[0]) if self.policies else (PXAP, "")

    def __getitem__(self, name: str) -> MethodScores:
        """A method's scores by its name."""
        try:
            return next(method for method in self.methods if method.name == name)
        except StopIteration:
            names = ", ".join(method.name for method in self.methods)
            raise KeyError(f"no method is called {name!r}; there are {names}") from None


def comparisons(methods: Sequence[MethodScores]) -> Iterator[Comparison]:
    """Every pair of methods in every measurement of both."""
    for a, b in combinations(methods, 2):
        of_b = {(entry.metric, entry.policy): entry for entry in b.measurements}
        for entry in a.measurements:
            other = of_b.get((entry.metric, entry.policy))
            if other is not None:
                difference = paired_difference(entry, other)
                yield Comparison(a.name, b.name, entry.metric, entry.policy, difference)
