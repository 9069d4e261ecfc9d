"""The ablations of section 4.4.2: p-ADL's lambda x alpha, position, draw and class token, each a DVC experiment.

    python -m experiments.ablate                                    # mini small, every setting
    python -m experiments.ablate cub deit_base --settings mpm       # some of them
    dvc exp show --only-changed                                     # afterwards; `dvc get . results/... --rev NAME`

Needs the grid's results for that data set and backbone, the control at least (`make repro`, or `make run`). A setting
fine-tunes, makes maps and measures one model; one that DVC has in its cache costs seconds, so that the same command
goes on where it was broken off. It runs in a copy of the project (see `experiments.project_copy`): params.yaml,
dvc.lock and results/ stay as they are. Writes experiments/results/ablation-DATASET-BACKBONE: table and record after
every setting, the figure at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.ablation import (
    BY_NAME,
    FIGURE,
    RECORD,
    STAGES,
    TABLE,
    Ablation,
    Cell,
    Setting,
    records_in,
    render_ablation,
    rows_of,
)
from experiments.params import Params, read_params
from experiments.project_copy import dvc, image_roots, lay_out, run_experiment
from experiments.select import with_values
from experiments.stage import RESULTS, console
from vitol.ablation_figure import ablation_figure
from vitol.resumption import lock


def check_base(params: Params, cell: Cell) -> None:
    """Refuse to compare with a control that was not run, or not with the project as it is now.

    Raises:
        ValueError: If the grid lacks the data set, the backbone or the control, or DVC would run their stages.
    """
    grid = params.grid
    lacking = [
        what
        for what, there in (
            (f"data set {cell.dataset}", cell.dataset in grid.datasets),
            (f"backbone {cell.backbone}", cell.backbone in grid.backbones),
            ("model control", "control" in grid.variants),
        )
        if not there
    ]
    if lacking:
        raise ValueError(
            f"the grid of params.yaml has no {' and no '.join(lacking)}; settings are compared with the control of "
            f"the same data set and backbone: run `make run DATASET={cell.dataset} BACKBONE={cell.backbone}` first"
        )
    stage = f"localize@{cell}-control"
    if changed := json.loads(dvc("status", "--json", "--with-deps", stage, folder=Path())):
        raise ValueError(
            f"{stage}, which settings are compared with, is not what the project as it is now would make; to be run: "
            f"{', '.join(changed)}. Run `dvc repro {stage}` first (or `make repro`, for the whole grid)"
        )


def prepare_copy(cell: Cell, source: str) -> None:
    """Lay out the copy, with p-ADL at both positions in its grid whether or not the project's has them."""
    lay_out(cell.copy, source)
    file, variants = cell.copy / "params.yaml", "control, mmp, mpm"
    values = {"grid.variants": f"[{variants}]", "grid.rivals": "[]"}
    values |= dict.fromkeys(("grid.models", "grid.scored"), f"[baseline, {variants}]")
    file.write_text(with_values(file.read_text(encoding="utf-8"), values), encoding="utf-8")


def run_setting(setting: Setting, ablation: Ablation) -> None:
    """Run a setting's stages, as far as DVC does not have their results, and keep what they measured."""
    cell, params = ablation.cell, ablation.params
    results = cell.copy / RESULTS
    if not records_in(results, cell, setting, params):
        # Left by another setting; where DVC has this one's results, its stages would leave none of their own.
        for stage in STAGES:
            (results / "provenance" / f"{stage}-{cell}-{setting.model}.json").unlink(missing_ok=True)
    run_experiment(
        cell.copy,
        f"ablate-{cell}-{setting.name}",
        {f"padl.{name}": str(value).lower() for name, value in setting.padl.model_dump().items()},
        f"localize@{cell}-{setting.model}",
        image_roots(cell.dataset, params.grid.datasets[cell.dataset]),
    )
    rows = rows_of(setting, params.seeds, cell.copy / cell.scores(setting.model), cell.scores("control"))
    ablation.keep(setting, rows, results)


def ablate(cell: Cell, names: Sequence[str]) -> None:
    """Run the settings of these names one after another, then draw the figure and print the table.

    The copy is removed at the end. What breaks off before leaves it, with the snapshots of the setting it was at.
    """
    params = read_params()
    check_base(params, cell)
    folder = cell.copy.parent
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        ablation = Ablation(cell, params)
        prepare_copy(cell, params.grid.datasets[cell.dataset])
        for count, name in enumerate(names, start=1):
            console.print(f"Setting {count} of {len(names)}: {name}")
            run_setting(BY_NAME[name], ablation)
        ablation_figure(ablation.frame, cell.dataset, cell.backbone, cell.kept / FIGURE)
        shutil.rmtree(folder)
    console.print(render_ablation(ablation.frame, cell))
    console.print(f"{cell.kept}: {TABLE}, {FIGURE}, {RECORD}")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="mini")
    parser.add_argument("backbone", nargs="?", default="small")
    parser.add_argument("--settings", nargs="+", choices=BY_NAME, metavar="NAME", help=", ".join(BY_NAME))
    given = parser.parse_args(arguments)
    cell = Cell(given.dataset, given.backbone)
    try:
        ablate(cell, list(dict.fromkeys(given.settings or BY_NAME)))
    except KeyboardInterrupt:
        sys.exit(
            f"Interrupted. Settings that were done stand in {cell.kept}; the same command goes on from here."
        )


if __name__ == "__main__":
    main()
