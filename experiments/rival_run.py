"""A committed run with rivals: what was measured of its maps and of ours, as the page of rivals shows it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.differences import Side, challengers
from experiments.names import METHODS, MODELS, named, with_boxes
from experiments.run_facts import cell_of, read_record
from vitol.cams.about import RIVALS
from vitol.measurements import FLOORS, mean_over_seeds, read_scores
from vitol.readings import ORACLE_PER_IOU
from vitol.tables import PRESET

HEADLINE = "MaxBoxAccV2"
KEYS = ["subset", "backbone", "variant", "position", "map", "metric", "policy"]
# Kinds of methods; ours are called by their model.
CONVOLUTIONAL, TRANSFORMER, ON_BOXES, BLIND = (
    "convolutional",
    "transformer",
    "trained on boxes",
    "sees no image",
)


def kind_of_ours(model: str) -> str:
    """The kind of method that a model of ours is.

    >>> kind_of_ours("mmp")
    'ours, p-ADL MMp'
    """
    return f"ours, {MODELS[model].title}"


class Run:
    """A committed run: its entries, which are a model's map each, their measurements and ranks.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        frame = read_scores(folder / "measurements.csv")
        frame = frame[frame["preset"].isin(["", PRESET])]
        record = read_record(folder.parent, folder.name)
        grid = record["params"]["grid"]
        self.name = folder.name
        self.dataset, _ = cell_of(self.name, record)
        self.differences = read_scores(folder / "differences.csv")
        self.n_images = int(frame.loc[frame["subset"] == "all", "n_images"].iloc[0])
        self.subsets = tuple(frame["subset"].unique())
        self.seeds = frame["seed"].nunique()
        self.scores = mean_over_seeds(frame, KEYS)
        self.challengers = challengers(grid["models"])
        self.rivals = [key for key in RIVALS if key in grid.get("rivals", [])]

    @property
    def entries(self) -> dict[str, Side]:
        """The model and the map of every line, by its name."""
        models = dict.fromkeys(side.model for side in self.challengers)
        own = {f"{name}, {MODELS[model].title}": Side(model, name) for model in models for name in METHODS}
        theirs = {RIVALS[key].title: Side(key, RIVALS[key].title) for key in self.rivals}
        # They are the same beside every model, and every run has a baseline.
        floors = {title: Side("baseline", key) for key, title in FLOORS.items()}
        return {**own, **theirs, **floors}

    @property
    def ranked(self) -> list[str]:
        """The entries that learn from image labels alone."""
        return [
            title
            for title, entry in self.entries.items()
            if title not in FLOORS.values() and not with_boxes(entry.model)
        ]

    def score(self, entry: Side, metric: str, policy: str, subset: str = "all") -> pd.Series | None:
        """The measurement of a model's map: ours, ci_low, ci_high, seed_sd, backbone; None where there is none."""
        model, name = entry
        variant, position, _ = named(model)
        known = {"subset": subset, "variant": variant, "position": position, "map": name}
        known |= {"metric": metric, "policy": policy}
        if metric == "Top1Cls":  # of the model, whatever its map
            known |= {"map": "", "policy": ""}
        rows = self.scores[(self.scores[list(known)] == list(known.values())).all(axis=1)]
        return None if rows.empty else rows.iloc[0]

    def ranks(self, policy: str) -> dict[str, int]:
        """Places by MaxBoxAccV2, the best first."""
        found = {title: self.score(self.entries[title], HEADLINE, policy) for title in self.ranked}
        values = pd.Series(
            {title: row["ours"] for title, row in found.items() if row is not None}, dtype=float
        )
        return {str(title): int(rank) for title, rank in values.rank(ascending=False, method="min").items()}

    def difference(self, a: Side, b: Side, policy: str) -> pd.Series | None:
        """The headline of a minus that of b on all images: a row of differences.csv; None where there is none."""
        known = {"subset": "all", "metric": HEADLINE, "policy": policy}
        known |= dict(zip(("model_a", "map_a", "model_b", "map_b"), (*a, *b), strict=True))
        rows = self.differences[(self.differences[list(known)] == list(known.values())).all(axis=1)]
        return None if rows.empty else rows.iloc[0]

    def best_first(self) -> dict[str, pd.Series]:
        """The headline measurement of every entry that has one, the best first."""
        found = {title: self.score(entry, HEADLINE, ORACLE_PER_IOU) for title, entry in self.entries.items()}
        there = {title: row for title, row in found.items() if row is not None}
        return dict(sorted(there.items(), key=lambda item: float(item[1]["ours"]), reverse=True))

    def kind(self, title: str) -> str:
        """What kind of method an entry is: "ours, " and its model, or one of the constants above."""
        model = self.entries[title].model
        if title in FLOORS.values():
            return BLIND
        if model in MODELS:
            return kind_of_ours(model)
        return ON_BOXES if with_boxes(model) else TRANSFORMER if RIVALS[model].transformer else CONVOLUTIONAL

    def counts(self) -> str:
        """How many images and seeds."""
        return f"{self.n_images} test images, {self.seeds} seed{'s' * (self.seeds != 1)}"


def runs_with_rivals(folder: Path, runs: list[str]) -> list[Run]:
    """Those of the committed runs that have rivals.

    Args:
        folder: experiments/results.
        runs: Committed runs.

    Raises:
        ValueError: If none of them has any.
    """
    found = [run for run in (Run(folder / name) for name in runs) if run.rivals]
    if not found:
        raise ValueError(
            f"none of the committed runs {', '.join(runs)} has rivals; run `make rivals` and "
            "`python -m experiments.publish mini` first"
        )
    return found
