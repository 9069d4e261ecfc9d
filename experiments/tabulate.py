"""Stage tabulate: measurements of the grid and of committed runs, and the paper's numbers, to tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from experiments.differences import grid_differences
from experiments.params import Params, read_params
from experiments.stage import RESULTS, provenance, scores_folder
from vitol.cams.about import RIVALS
from vitol.measurements import COLUMNS, read_scores, validate_measurements
from vitol.paper import TABLES, read_published
from vitol.policy_table import policy_table
from vitol.tables import build_table, headline

COMMITTED = Path("experiments/results")


def grid_measurements(params: Params) -> pd.DataFrame:
    """Measurements of everything in the grid; the grid and no glob, since DVC leaves old folders behind."""
    frames = [
        read_scores(scores_folder(dataset, backbone, model) / "measurements.csv")
        for dataset in params.grid.datasets
        for backbone in params.grid.backbones
        for model in params.grid.scored
    ]
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def cells_of(frame: pd.DataFrame) -> list[set[tuple[str, str, str]]]:
    """Of every row of measurements or differences what it is of, a difference of two: data set, backbone, and rival.

    The rival is "" for all models of our own: a run that has one of them has them all.
    """
    columns = [column for column in ("variant", "model_a", "model_b") if column in frame]
    rows = frame[["dataset", "backbone", *columns]].itertuples(index=False, name=None)
    return [
        {(dataset, backbone, name if name in RIVALS else "") for name in names}
        for dataset, backbone, *names in rows
    ]


def with_committed(params: Params, grid: pd.DataFrame, file: str) -> pd.DataFrame:
    """The grid's rows, and those of committed runs of what neither the grid nor a run before them on the list has.

    A committed difference of two models, of which one was measured anew, is of other checkpoints: it is left out.
    """
    frames = [grid]
    had = set().union(*cells_of(grid))
    for name in params.committed:
        path = COMMITTED / name / file
        if not path.is_file():
            raise ValueError(f"params.yaml names the committed run {name!r}, but {path} does not exist")
        frame = read_scores(path)
        cells = cells_of(frame)
        frames.append(frame[[had.isdisjoint(cell) for cell in cells]])
        had.update(*cells)
    return pd.concat(frames, ignore_index=True)[list(grid.columns)]


def metrics_of(grid: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """The headline numbers for `dvc metrics show`: run, then map, then metric."""
    shown = grid[headline(grid)]
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for row in shown.to_dict("records"):
        run = "-".join(filter(None, (row["dataset"], row["backbone"], row["variant"], row["position"])))
        run += f"-seed{row['seed']}"
        nested.setdefault(run, {}).setdefault(row["map"] or "classifier", {})[row["metric"]] = row["value"]
    return nested


def bars_of(measurements: pd.DataFrame) -> pd.DataFrame:
    """MaxBoxAccV2 of every model and map for `dvc plots`, a bar a row."""
    shown = measurements[headline(measurements) & (measurements["metric"] == "MaxBoxAccV2")]
    parts = [shown[name] for name in ("dataset", "backbone", "variant", "position", "map")]
    names = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]
    return pd.DataFrame({"MaxBoxAccV2": shown["value"].to_numpy(), "model": names})


def main() -> None:
    """Write measurements, differences, policies, metrics.json, the four tables and the bars for `dvc plots`."""
    params = read_params()
    with provenance("tabulate", committed=params.committed):
        grid = grid_measurements(params)
        validate_measurements(grid)
        measurements = with_committed(params, grid, "measurements.csv")
        RESULTS.mkdir(exist_ok=True)
        measurements.to_csv(RESULTS / "measurements.csv", index=False, lineterminator="\n")
        differences = with_committed(params, grid_differences(params), "differences.csv")
        differences.to_csv(RESULTS / "differences.csv", index=False, lineterminator="\n")
        policies = policy_table(measurements)
        policies.to_csv(RESULTS / "policies.csv", index=False, lineterminator="\n")
        text = json.dumps(metrics_of(grid), indent=2, sort_keys=True) + "\n"
        (RESULTS / "metrics.json").write_text(text, encoding="utf-8")
        bars_of(measurements).to_csv(RESULTS / "bars.csv", index=False, lineterminator="\n")
        for number in TABLES:
            table = build_table(number, measurements, read_published(number))
            (RESULTS / f"table{number}.csv").write_text(table.csv(), encoding="utf-8")


if __name__ == "__main__":
    main()
