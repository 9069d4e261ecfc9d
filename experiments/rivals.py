"""Write experiments/results/rivals.md: the rivals of Tables 1 and 2 as measured here, beside the borrowed numbers.

    python -m experiments.rivals

Every number on the page comes from a committed CSV of a run with rivals, or from the paper's tables.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.differences import CHALLENGERS
from experiments.names import MODELS, named
from experiments.params import read_params
from experiments.stage import console
from experiments.summary import markdown, signed
from experiments.tabulate import COMMITTED
from vitol.atomic import atomic_file
from vitol.cams.about import RIVALS
from vitol.measurements import ENDS, FLOORS, GAUSSIAN, mean_over_seeds, read_scores
from vitol.paper import read_published
from vitol.readings import ORACLE_PER_IOU, VALIDATION
from vitol.tables import NOT_RUN, PAPER_DATASETS, PRESET

PAGE = COMMITTED / "rivals.md"
HEADLINE = "MaxBoxAccV2"
OURS = ("baseline", "mmp")  # what rivals stand beside
KEYS = ["subset", "backbone", "variant", "position", "map", "metric", "policy"]

INTRODUCTION = """\
# The rivals of Tables 1 and 2, measured

The paper borrows its rivals' numbers from other papers, with other networks and protocols. Here they are trained and
measured on the same images as AR, GAR and LRP, by the same code and under the same threshold policies (`make rivals`;
this page by `python -m experiments.rivals` from the committed CSVs). Convolutional rivals train the network that
stands beside the backbone in `params.yaml`. All have one recipe and, but for the widths of layers of their own, their
authors' hyperparameters, none of them tuned on these images. Reference [8] searches for each method's on validation
images; so this compares methods as they come, not the best that each can do.

Percent, with 95% intervals over images; over several seeds means of values and of interval ends, ± the seeds' standard
deviation. Ranks are among methods that learn from image labels alone: Few-shot is trained on boxes, and the floors
are not trained at all.
"""
MEASURED = """\
MaxBoxAccV2 with thresholds chosen on these very images (`oracle-per-iou`, the field's definition), and on the images of
the validation split (`validation`), which is what a user can do.
"""
BORROWED = """\
Ranks of the methods that both the paper's Table 1 and this run have. The paper's numbers are of other networks on other
images, so ranks can be compared, numbers cannot.
"""
PAIRED = """\
Paired differences in MaxBoxAccV2, points: ours minus the rival, on the same images and resamples; **bold** where the
interval leaves out 0. The last column is the rival minus the centred Gaussian, which sees no image.
"""
SUBSETS = "MaxBoxAccV2 (`oracle-per-iou`) on each subset of the test split.\n"


class Run:
    """A committed run, and the rows of it that the page shows.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        frame = read_scores(folder / "measurements.csv")
        frame = frame[frame["preset"].isin(["", PRESET])]
        self.name = folder.name
        self.dataset = str(frame["dataset"].iloc[0])
        self.differences = read_scores(folder / "differences.csv")
        self.n_images = int(frame.loc[frame["subset"] == "all", "n_images"].iloc[0])
        self.subsets = tuple(frame["subset"].unique())
        self.seeds = frame["seed"].nunique()
        self.scores = mean_over_seeds(frame, KEYS)
        self.rivals = [key for key in RIVALS if (frame["variant"] == key).any()]

    @property
    def entries(self) -> dict[str, tuple[str, str]]:
        """(model, map) of every line, by its name."""
        titles = {"baseline": "", "mmp": " + p-ADL"}
        ours = {f"{name}{titles[model]}": (model, name) for model in OURS for name in ("AR", "GAR", "LRP")}
        theirs = {RIVALS[key].title: (key, RIVALS[key].title) for key in self.rivals}
        floors = {title: ("mmp", key) for key, title in FLOORS.items()}
        return {**ours, **theirs, **floors}

    @property
    def ranked(self) -> list[str]:
        """The entries that learn from image labels alone."""
        unranked = {*FLOORS.values(), *(rival.title for rival in RIVALS.values() if rival.with_boxes)}
        return [title for title in self.entries if title not in unranked]

    def score(
        self, entry: tuple[str, str], metric: str, policy: str, subset: str = "all"
    ) -> pd.Series | None:
        """The measurement of a (model, map): ours, ci_low, ci_high, seed_sd, backbone; None where there is none."""
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

    def measured(self) -> str:
        """A line a method, the best first: its numbers under two policies, and its ranks."""
        oracle, validation = self.ranks(ORACLE_PER_IOU), self.ranks(VALIDATION)
        header: tuple[str, ...] = ("method", "network", HEADLINE, "rank", f"{HEADLINE}, {VALIDATION}", "rank")
        header += ("GT-known Loc", "Top-1 Loc", "Top-1 Cls")
        lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]

        def height(title: str) -> float:
            row = self.score(self.entries[title], HEADLINE, ORACLE_PER_IOU)
            return float("-inf") if row is None else float(row["ours"])

        for title in sorted(self.entries, key=height, reverse=True):
            entry = self.entries[title]
            row = self.score(entry, HEADLINE, ORACLE_PER_IOU)
            if row is None:
                continue
            more = (("GTKnownLoc", ORACLE_PER_IOU), ("Top1Loc", ORACLE_PER_IOU), ("Top1Cls", ""))
            unclassified = title in FLOORS.values() or (entry[0] in RIVALS and RIVALS[entry[0]].with_boxes)
            cells = [
                ""
                if unclassified and metric.startswith("Top1")
                else number(self.score(entry, metric, policy))
                for metric, policy in more
            ]
            lines.append(
                (
                    title,
                    "" if title in FLOORS.values() else str(row["backbone"]),
                    number(row),
                    str(oracle.get(title, "")),
                    number(self.score(entry, HEADLINE, VALIDATION)),
                    str(validation.get(title, "")),
                    *cells,
                )
            )
        return markdown(lines)

    def borrowed(self) -> str:
        """A line a method of Table 1: what the paper prints, its rank there, and ours."""
        printed = read_published(1)
        own = {row["method"]: ("mmp", row["map"]) for _, row in printed[printed["variant"] != ""].iterrows()}
        titles = {rival.title: (key, rival.title) for key, rival in RIVALS.items() if key in self.rivals}
        entries = {name: entry for name, entry in (titles | own).items() if name in set(printed["method"])}
        scores = {name: self.score(entry, HEADLINE, ORACLE_PER_IOU) for name, entry in entries.items()}
        ours = pd.Series({name: row["ours"] for name, row in scores.items() if row is not None}, dtype=float)
        header: tuple[str, ...] = ("method",)
        columns = []
        for dataset, (title, _) in PAPER_DATASETS.items():
            values = printed[printed["dataset"] == dataset].set_index("method")["value"].reindex(ours.index)
            columns.append((values, values.rank(ascending=False, method="min")))
            header += (f"paper, {title}", "rank")
        header += (f"ours, {self.dataset}", "rank")
        columns.append((ours, ours.rank(ascending=False, method="min")))
        lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]
        for name in ours.sort_values(ascending=False).index:
            cells = [
                text for values, ranks in columns for text in (f"{values[name]:.1f}", f"{ranks[name]:.0f}")
            ]
            lines.append((str(name), *cells))
        return markdown(lines)

    def paired(self) -> str:
        """A line a rival and policy: ours minus it, with paired intervals."""
        header = ("rival", "thresholds", *(f"{name}, {MODELS[model].title}" for model, name in CHALLENGERS))
        lines: list[tuple[str, ...]] = [(*header, "rival - Gaussian"), ("---",) * (len(header) + 1)]
        for key in self.rivals:
            own = (key, RIVALS[key].title)
            for policy in (ORACLE_PER_IOU, VALIDATION):
                against = [(challenger, own) for challenger in CHALLENGERS]
                cells = (self.difference(a, b, policy) for a, b in [*against, (own, (key, GAUSSIAN))])
                lines.append((own[1], policy, *cells))
        return markdown(lines)

    def difference(self, a: tuple[str, str], b: tuple[str, str], policy: str) -> str:
        """A - b in MaxBoxAccV2 on all images, bold where its interval leaves out 0."""
        known = {"subset": "all", "metric": HEADLINE, "policy": policy}
        known |= dict(zip(("model_a", "map_a", "model_b", "map_b"), (*a, *b), strict=True))
        frame = self.differences
        rows = frame[(frame[list(known)] == list(known.values())).all(axis=1)]
        if rows.empty:
            return NOT_RUN
        value, low, high = rows.iloc[0][["difference", "ci_low", "ci_high"]]
        text = signed(value, low, high)
        return f"**{text}**" if low > 0 or high < 0 else text

    def by_subset(self) -> str:
        """A line a method: MaxBoxAccV2 on every subset."""
        lines: list[tuple[str, ...]] = [("method", *self.subsets), ("---",) * (1 + len(self.subsets))]
        for title, entry in self.entries.items():
            found = [self.score(entry, HEADLINE, ORACLE_PER_IOU, subset) for subset in self.subsets]
            if found[0] is not None:
                lines.append((title, *map(number, found)))
        return markdown(lines)

    def section(self) -> str:
        """All of the run."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        parts = [f"## {self.name}: {self.n_images} test images, {seeds}", MEASURED, self.measured()]
        parts += ["### Against the borrowed numbers", BORROWED, self.borrowed()]
        parts += ["### Who beats whom", PAIRED, self.paired()]
        if len(self.subsets) > 1:
            parts += ["### By subset", SUBSETS, self.by_subset()]
        return "\n\n".join(part.rstrip("\n") for part in parts)


def number(row: pd.Series | None) -> str:
    """A measurement with its interval, and the seeds' spread where there are several."""
    if row is None:
        return NOT_RUN
    value, low, high = row[ENDS]
    spread = "" if pd.isna(row["seed_sd"]) else f" ±{row['seed_sd']:.1f}"
    return f"{value:.1f} [{low:.1f}, {high:.1f}]{spread}"


def page(folder: Path, runs: list[str]) -> str:
    """The page of the committed runs that have rivals.

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
    return "\n\n".join([INTRODUCTION.rstrip("\n"), *(run.section() for run in found)]) + "\n"


def main() -> None:
    """Write the page."""
    text = page(COMMITTED, read_params().committed)
    with atomic_file(PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    console.print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
