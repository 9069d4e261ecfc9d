"""The section on ablations of `experiments.real`'s page, from what `experiments.ablate` kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.ablation import BY_NAME, FIGURE, RECORD, TABLE, read_ablation
from experiments.run_facts import made_on, same_checkpoints
from experiments.summary import markdown, signed
from vitol.bootstrap import side_of_zero

INTRODUCTION = """\
## Ablations of p-ADL

Settings of p-ADL at MMp unless the name says otherwise, each fine-tuned like the others from the same baseline.
Differences to the control in points, of the maps in MaxBoxAccV2 (`oracle-per-iou`), with 95%
intervals over images; bold where the interval leaves out 0, as one in twenty does by chance. A setting and the
control are two trainings, and the interval does not say what others would change: with one seed bold is no verdict.
"""
# By whether the control that settings were compared with is that of the run.
OTHER_CONTROL = {
    True: "",
    False: "**These settings were compared with another training of the control than that of the run above.**",
    None: "Whether these settings were compared with the run's own training of the control is not on record.",
}


def ablation_parts(
    folder: Path,
    cells: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
    records: Mapping[str, dict[str, Any]],
) -> list[str]:
    """Of every run that has ablations a heading, a table of differences to the control, and the picture.

    Args:
        folder: experiments/results.
        cells: Data set and backbone of every run, in the order of the page.
        names: What each run is called.
        records: The runs' provenance.json.
    """
    parts = []
    for run, cell in cells.items():
        name = "-".join(("ablation", *cell))
        if not (folder / name / TABLE).is_file():
            continue
        made = json.loads((folder / name / RECORD).read_text(encoding="utf-8"))
        parts += [
            f"### {names[run]}",
            ablation_table(read_ablation(folder / name / TABLE)),
            origin(cell, made),
        ]
        if note := OTHER_CONTROL[same_checkpoints(made, records[run])]:
            parts.append(note)
        if (folder / name / FIGURE).is_file():  # drawn when all settings are done
            parts.append(f"![Ablations]({name}/{FIGURE})")
    return parts


def origin(cell: tuple[str, str], made: dict[str, Any]) -> str:
    """What made the settings of a record, and the command that makes them again."""
    stages = [stage for setting in made["settings"].values() for stage in setting["stages"].values()]
    device, hours, commits = made_on(stages)
    settings = [name for name in BY_NAME if name in made["settings"]]
    command = f"make ablation DATASET={cell[0]} BACKBONE={cell[1]}"
    if len(settings) < len(BY_NAME):
        command = f"python -m experiments.ablate {' '.join(cell)} --settings {' '.join(settings)}"
    return f"{device}; {hours} hours; commit {commits}; again by `{command}`."


def ablation_table(frame: pd.DataFrame) -> str:
    """A line a setting: its seeds, and the difference to the control in every map and metric."""
    columns = list(frame[["map", "metric"]].drop_duplicates().itertuples(index=False, name=None))
    lines: list[tuple[str, ...]] = [("setting", "seeds", *(name or metric for name, metric in columns))]
    lines.append(("---",) * len(lines[0]))
    for setting, rows in frame.groupby("setting", sort=False):
        of_map = rows.set_index(["map", "metric"])
        cells = (ablation_cell(of_map.loc[column]) for column in columns)
        lines.append((f"`{setting}`", str(rows["seeds"].iloc[0]), *cells))
    return markdown(lines)


def ablation_cell(row: pd.Series) -> str:
    """A setting's difference to the control, bold where its interval leaves out 0."""
    low, high = row["difference_low"], row["difference_high"]
    text = signed(row["difference"], low, high)
    return f"**{text}**" if side_of_zero(low, high) else text
