"""Writes the tables of the committed runs into README.md and docs/results.md; a test compares them.

A page says which tables it has: a Markdown table is replaced by that of equal header, all else of the page stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.differences import MAP_PAIRS, MODEL_PAIRS, SHOWN
from experiments.names import METHODS, MODELS
from experiments.params import read_params
from experiments.stage import console
from experiments.tabulate import COMMITTED
from vitol.accuracy import POLICIES
from vitol.atomic import atomic_file
from vitol.datasets.splits import TEST_CUT
from vitol.measurements import FLOORS, read_scores
from vitol.tables import NOT_RUN, headline

MAPS = ("AR", "GAR", "LRP", *FLOORS)
PAGES = (Path("README.md"), Path("docs/results.md"))
TABLE = re.compile(r"^\|.*\|(?:\n\|.*\|)*$", re.M)


def summary(runs: Sequence[str], folder: Path = COMMITTED) -> str:
    """MaxBoxAccV2 of every map, and the classifier's Top-1, of every model in the committed runs."""
    header = ("data set, backbone", "model", "Top-1 Cls", *MAPS)
    lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]
    for run in runs:
        frame = read_scores(folder / run / "measurements.csv")
        frame = frame[headline(frame)]
        for variant, position, title in MODELS.values():
            of_model = frame[(frame["variant"] == variant) & (frame["position"] == position)]
            if of_model.empty:
                continue
            dataset, backbone = of_model[["dataset", "backbone"]].iloc[0]
            top1 = of_model.loc[of_model["metric"] == "Top1Cls", "value"].mean()
            boxes = of_model[of_model["metric"] == "MaxBoxAccV2"]
            cells = (cell(boxes[boxes["map"] == name_of_map]) for name_of_map in MAPS)
            lines.append((f"{dataset}, {backbone}", title, f"{top1:.1f}", *cells))
    return markdown(lines)


def top1_by_subset(folder: Path = COMMITTED) -> str:
    """Top-1 classification of mini's models per challenge subset."""
    frame = read_scores(folder / "mini" / "measurements.csv")
    frame = frame[frame["metric"] == "Top1Cls"]
    subsets = tuple(frame["subset"].unique())
    lines: list[tuple[str, ...]] = [("model", *subsets), ("---",) * (1 + len(subsets))]
    for variant, position, title in MODELS.values():
        of_model = frame[(frame["variant"] == variant) & (frame["position"] == position)]
        lines.append((title, *(cell(of_model[of_model["subset"] == subset]) for subset in subsets)))
    return markdown(lines)


def by_policy(runs: Sequence[str], folder: Path = COMMITTED) -> str:
    """MaxBoxAccV2 of the baselines' maps under every threshold policy, on images that all of them can be read on."""
    lines: list[tuple[str, ...]] = [("data set, images", "map", *POLICIES), ("---",) * (2 + len(POLICIES))]
    for run in runs:
        frame = read_scores(folder / run / "measurements.csv")
        frame = frame[frame["preset"].isin(["", "release"]) & (frame["variant"] == "baseline")]
        subset = TEST_CUT if TEST_CUT in set(frame["subset"]) else "all"
        frame = frame[(frame["subset"] == subset) & (frame["metric"] == "MaxBoxAccV2")]
        for name in MAPS[:-1]:
            of_map = frame[frame["map"] == name]
            cells = (cell(of_map[of_map["policy"] == policy]).replace(NOT_RUN, "") for policy in POLICIES)
            lines.append((f"{of_map['dataset'].iloc[0]}, {of_map['n_images'].iloc[0]}", name, *cells))
    return markdown(lines)


def differences(runs: Sequence[str], folder: Path = COMMITTED) -> str:
    """Paired differences in MaxBoxAccV2 of maps of the baseline, and of fine-tuned models."""
    frames = [read_scores(folder / run / "differences.csv").query(SHOWN) for run in runs]
    names = [str(frame["dataset"].iloc[0]) for frame in frames]
    lines: list[tuple[str, ...]] = [("MaxBoxAccV2, points", *names), ("---",) * (1 + len(names))]
    pairs = [(("baseline", a), ("baseline", b), f"{a} - {b}, baseline") for a, b in MAP_PAIRS]
    pairs += [
        ((a, name), (b, name), f"{MODELS[a].title} - {MODELS[b].title}, {name}")
        for a, b in MODEL_PAIRS
        for name in METHODS
    ]
    for a, b, title in pairs:
        cells = []
        for frame in frames:
            sides = frame[["model_a", "map_a", "model_b", "map_b"]] == [*a, *b]
            rows = frame.loc[sides.all(axis=1), ["difference", "ci_low", "ci_high"]]
            cells.append(signed(*rows.iloc[0]) if len(rows) else NOT_RUN)
        lines.append((title, *cells))
    return markdown(lines)


def markdown(lines: list[tuple[str, ...]]) -> str:
    """A table, a tuple a line."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def signed(value: float, low: float, high: float, seed_sd: float = float("nan")) -> str:
    """A difference with its interval, and the standard deviation of the seeds' where there are several."""
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" + ("" if pd.isna(seed_sd) else f" ±{seed_sd:.1f}")


def cell(rows: pd.DataFrame) -> str:
    """A value with its interval, over seeds their means."""
    if rows.empty:
        return NOT_RUN
    value, low, high = rows[["value", "ci_low", "ci_high"]].mean()
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def header(table: str) -> str:
    """A table's first line, by which its place in a page is known."""
    return table.partition("\n")[0]


def renewed(pages: Sequence[str], tables: Sequence[str]) -> list[str]:
    """The pages' texts with every table in the place of those of equal header.

    Raises:
        ValueError: No page has a table of this header, as after a data set was added to a table whose columns they are.
    """
    by_header = {header(table): table for table in tables}
    for missing in by_header.keys() - {header(old) for page in pages for old in TABLE.findall(page)}:
        raise ValueError(
            f"no page has a table that begins with '{missing}'; write that line where it belongs"
        )
    return [TABLE.sub(lambda old: by_header.get(header(old[0]), old[0]), page) for page in pages]


def main() -> None:
    """The tables of the committed CSVs, into the pages that have them."""
    runs = read_params().committed
    tables = (summary(runs), top1_by_subset(), by_policy(runs), differences(runs))
    before = [page.read_text(encoding="utf-8") for page in PAGES]
    for page, was, now in zip(PAGES, before, renewed(before, tables), strict=True):
        with atomic_file(page) as partial:
            partial.write_text(now, encoding="utf-8")
        console.print(f"{page}: {'as it was' if now == was else 'its tables renewed'}")


if __name__ == "__main__":
    main()
