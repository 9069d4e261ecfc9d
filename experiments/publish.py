"""Keep a run: copy what the grid measured, and what made it, to experiments/results/NAME."""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import product
from typing import Any

from experiments.differences import grid_differences
from experiments.params import Params, is_registered, read_params
from experiments.stage import RESULTS, checkpoint_path, console, data_folder, sanity_folder
from experiments.tabulate import COMMITTED, grid_measurements
from vitol.datasets.splits import read_split

NO_IMAGES = ("subsets", "policies", "views")  # pictures of numbers


def stage_names(params: Params) -> list[str]:
    """The stages of the grid that left a record, as their records are called."""
    grid = params.grid
    cells = list(product(grid.datasets, grid.backbones))
    return [
        *(f"prepare-{dataset}" for dataset in grid.datasets),
        *(
            f"{stage}-{dataset}-{backbone}"
            for stage in ("baseline", "randomize")
            for dataset, backbone in cells
        ),
        *(
            f"finetune-{dataset}-{backbone}-{variant}"
            for dataset, backbone in cells
            for variant in grid.variants
        ),
        *(
            f"{stage}-{dataset}-{backbone}-{model}"
            for stage, models in (
                ("explain", grid.models),
                ("rival", grid.rivals),
                ("rival_maps", grid.rivals),
                ("localize", grid.scored),
            )
            for dataset, backbone in cells
            for model in models
        ),
    ]


def used(params: Params) -> dict[str, Any]:
    """The part of params.yaml that the grid used."""
    content = params.model_dump(mode="json")
    networks = {
        params.network(backbone, model)
        for backbone, model in product(params.grid.backbones, params.grid.scored)
    }
    for section, wanted in (("datasets", list(params.grid.datasets)), ("backbones", sorted(networks))):
        content[section] = {name: content[section][name] for name in wanted}
    return content


def image_counts(params: Params) -> dict[str, dict[str, int]]:
    """How many images every split of the grid's data sets has, a validation split that was cut included."""
    return {
        dataset: {
            path.parent.name: len(read_split(path.parent))
            for path in sorted(data_folder(dataset).glob("*/image_ids.txt"))
        }
        for dataset in params.grid.datasets
    }


def main(name: str) -> None:
    """Write measurements, differences, provenance, sanity checks, epoch logs and our own pictures of the grid's run."""
    params = read_params()
    measurements, differences = grid_measurements(params), grid_differences(params)
    grid = params.grid
    # Pictures of registered images are not ours to hand on.
    pictures = [
        RESULTS / "figures" / f"{kind}-{dataset}-{backbone}.png"
        for dataset, backbone in product(grid.datasets, grid.backbones)
        for kind in ("subsets", "policies", "views", "examples", "sanity")
        if kind in NO_IMAGES or not is_registered(grid.datasets[dataset])
    ]
    records = {stage: RESULTS / "provenance" / f"{stage}.json" for stage in stage_names(params)}
    checks = {
        f"sanity-{dataset}-{backbone}.csv": sanity_folder(dataset, backbone) / "similarity.csv"
        for dataset, backbone in product(grid.datasets, grid.backbones)
    }
    for path in (*records.values(), *pictures, *checks.values()):
        if not path.is_file():
            raise ValueError(f"{path} is missing; run `dvc repro` for this grid first")
    stages = {stage: json.loads(path.read_text(encoding="utf-8")) for stage, path in records.items()}
    made = {"params": used(params), "images": image_counts(params), "stages": stages}
    text = json.dumps(made, indent=1, sort_keys=True)
    folder = COMMITTED / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measurements.to_csv(folder / "measurements.csv", index=False, lineterminator="\n")
    differences.to_csv(folder / "differences.csv", index=False, lineterminator="\n")
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")
    for dataset, backbone, model, seed in product(grid.datasets, grid.backbones, grid.scored, params.seeds):
        log = checkpoint_path(dataset, backbone, model, seed).with_suffix(".csv")
        if log.is_file():
            shutil.copy(log, folder / f"log-{dataset}-{backbone}-{model}-seed{seed}.csv")
    for picture in pictures:
        shutil.copy(picture, folder)
    for name_of_check, check in checks.items():
        shutil.copy(check, folder / name_of_check)
    console.print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="such as cub20-deit_tiny")
    main(parser.parse_args().name)
