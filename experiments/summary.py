"""The README's tables of the committed runs, as Markdown; a test compares the two."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.names import MODELS
from experiments.stage import console
from experiments.tabulate import COMMITTED
from vitol.measurements import read_scores
from vitol.tables import NOT_RUN

RUNS = ("mini", "cub20-deit_tiny", "ilsvrc300-deit_tiny")
MAPS = ("AR", "GAR", "LRP", "Gaussian", "Full image")


def summary(folder: Path = COMMITTED) -> str:
    """MaxBoxAccV2 of every map, and the classifier's Top-1, of every model in the committed runs."""
    header = ("data set, backbone", "model", "Top-1 Cls", *MAPS)
    lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]
    for run in RUNS:
        frame = read_scores(folder / run / "measurements.csv")
        frame = frame[(frame["subset"] == "all") & frame["preset"].isin(["", "release"])]
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


def markdown(lines: list[tuple[str, ...]]) -> str:
    """A table, a tuple a line."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(rows: pd.DataFrame) -> str:
    """A value with its interval, over seeds their means."""
    if rows.empty:
        return NOT_RUN
    value, low, high = rows[["value", "ci_low", "ci_high"]].mean()
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    console.print(summary(), top1_by_subset(), sep="\n\n", markup=False, soft_wrap=True)
