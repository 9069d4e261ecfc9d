"""Keep a run: copy what the grid measured, and what made it, to experiments/results/NAME."""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from experiments.differences import grid_differences
from experiments.names import MAP_FILES, MODELS
from experiments.params import Params, read_params
from experiments.run_facts import checkpoint_digests, run_name
from experiments.sections import is_registered
from experiments.stage import (
    RESULTS,
    checkpoint_path,
    console,
    data_folder,
    sanity_folder,
    scores_folder,
)
from experiments.tabulate import COMMITTED, grid_measurements
from vitol.atomic import atomic_folder
from vitol.datasets.splits import read_split

NO_IMAGES = ("subsets", "policies", "views")  # pictures of numbers


def cell_of_grid(params: Params, name: str) -> tuple[str, str]:
    """The data set and the backbone of the grid, whose run goes by this name.

    Raises:
        ValueError: If there are several, or their run has another name.
    """
    cells = list(product(params.grid.datasets, params.grid.backbones))
    if len(cells) > 1:
        raise ValueError(
            f"the grid is of {cells}, and a run is kept of one data set with one backbone; point the grid to one "
            "with `python -m experiments.select`, and publish each"
        )
    (cell,) = cells
    if name != run_name(*cell):
        raise ValueError(
            f"the grid is of {cell[0]} with {cell[1]}, whose run is called {run_name(*cell)!r}, not {name!r}; give "
            "that name, or point the grid elsewhere with `python -m experiments.select`"
        )
    return cell


def configs(params: Params, dataset: str, backbone: str) -> dict[str, dict[str, Any]]:
    """Of every stage of a data set and backbone, as its record is called, the settings that it records."""
    grid, recipes, cell = params.grid, params.datasets[dataset], f"{dataset}-{backbone}"
    trained = {"backbone": params.backbones[backbone], "seeds": params.seeds}
    mapped = {"seeds": params.seeds, "batch_size": params.explain.batch_size}
    scored = {"seeds": params.seeds, "bootstrap": params.bootstrap}
    randomized = {"seed": params.seeds[0], "randomize": params.randomize, "bootstrap": params.bootstrap}
    found: dict[str, dict[str, Any]] = {
        f"prepare-{dataset}": {"source": grid.datasets[dataset]},
        f"baseline-{cell}": {**trained, "recipe": recipes.baseline},
        f"randomize-{cell}": randomized,
    }
    for variant in grid.variants:
        padl = {"padl": params.padl, "position": MODELS[variant].position}
        found[f"finetune-{cell}-{variant}"] = {**trained, "recipe": recipes.finetune, **padl}
    for model in grid.models:
        found[f"explain-{cell}-{model}"] = {
            **mapped,
            "maps": list(dict.fromkeys(reversed(MAP_FILES.values()))),
        }
    for rival in grid.rivals:
        network = params.network(backbone, rival)
        found[f"rival-{cell}-{rival}"] = {
            "network": params.backbones[network],
            "recipe": recipes.rivals,
            "seeds": params.seeds,
            "settings": params.rivals.settings.get(network, {}).get(rival, {}),
        }
        found[f"rival_maps-{cell}-{rival}"] = {**mapped, "maps": [rival]}
    for model in grid.scored:
        found[f"localize-{cell}-{model}"] = {
            **scored,
            "fixed_thresholds": params.fixed_thresholds.of(backbone),
        }
    return TypeAdapter(dict[str, dict[str, Any]]).dump_python(found, mode="json")


def read_stages(params: Params, dataset: str, backbone: str) -> dict[str, Any]:
    """The records of the stages of a data set and backbone, by their names.

    Raises:
        ValueError: If one is missing, or is of other settings than those of params.yaml.
    """
    stages = {}
    for name, config in configs(params, dataset, backbone).items():
        path, (stage, _, item) = RESULTS / "provenance" / f"{name}.json", name.partition("-")
        # What DVC takes from its cache leaves no record, and the one of the run before stays.
        todo = (
            "run `dvc repro` for this grid first, and where DVC calls the stage up to date or cached, "
            f"`dvc repro --force --single-item {stage}@{item}`"
        )
        if not path.is_file():
            raise ValueError(f"{path} is missing; {todo}")
        stages[name] = json.loads(path.read_text(encoding="utf-8"))
        seen = stages[name]["config"]
        if apart := sorted(key for key in seen.keys() | config.keys() if seen.get(key) != config.get(key)):
            raise ValueError(f"{path} is of another {', '.join(apart)} than params.yaml has; {todo}")
    return stages


def check_seeds(measurements: pd.DataFrame, seeds: list[int]) -> None:
    """Refuse measurements of other seeds than params.yaml has.

    Raises:
        ValueError: If those of a model are.
    """
    for (variant, position), rows in measurements.groupby(["variant", "position"]):
        seen = sorted(int(seed) for seed in rows["seed"].unique())
        if seen != sorted(seeds):
            model = f"{variant} {position}".strip()
            raise ValueError(
                f"measurements of {model} are of seeds {seen}, params.yaml has {seeds}; run `dvc repro` first"
            )


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


def image_counts(dataset: str) -> dict[str, int]:
    """How many images every split of a data set has, a validation split that was cut included."""
    return {
        path.parent.name: len(read_split(path.parent))
        for path in sorted(data_folder(dataset).glob("*/image_ids.txt"))
    }


def files_of(params: Params, dataset: str, backbone: str) -> dict[str, Path]:
    """What is copied, by the name that it gets: sanity check, pictures of our own, and epoch logs.

    A baseline that nothing was trained for has no log.
    """
    grid, cell = params.grid, f"{dataset}-{backbone}"
    files = {f"sanity-{cell}.csv": sanity_folder(dataset, backbone) / "similarity.csv"}
    for kind in ("subsets", "policies", "views", "examples", "sanity"):
        # Pictures of registered images are not ours to hand on.
        if kind in NO_IMAGES or not is_registered(grid.datasets[dataset]):
            files[f"{kind}-{cell}.png"] = RESULTS / "figures" / f"{kind}-{cell}.png"
    trained = [model for model in grid.scored if model != "baseline" or params.datasets[dataset].baseline]
    for model, seed in product(trained, params.seeds):
        log = checkpoint_path(dataset, backbone, model, seed).with_suffix(".csv")
        files[f"log-{cell}-{model}-seed{seed}.csv"] = log
    return files


def main(name: str) -> None:
    """Write measurements, differences, provenance, sanity checks, epoch logs and our own pictures of the grid's run.

    Raises:
        ValueError: If the run is not the grid's, or not all there, or was made with other settings; what was kept
            before stays.
    """
    params = read_params()
    dataset, backbone = cell_of_grid(params, name)
    stages = read_stages(params, dataset, backbone)
    files, models = files_of(params, dataset, backbone), params.grid.scored
    needed = [
        *files.values(),
        *(scores_folder(dataset, backbone, model) / "measurements.csv" for model in models),
        *(checkpoint_path(dataset, backbone, *run) for run in product(models, params.seeds)),
    ]
    for path in needed:
        if not path.is_file():
            raise ValueError(f"{path} is missing; run `dvc repro` for this grid first")
    measurements = grid_measurements(params)
    check_seeds(measurements, params.seeds)
    differences = grid_differences(params)
    made = {
        "params": used(params),
        "images": {dataset: image_counts(dataset)},
        "checkpoints": checkpoint_digests(dataset, backbone, models, params.seeds),
        "stages": stages,
    }
    target = COMMITTED / name
    with atomic_folder(target) as folder:
        measurements.to_csv(folder / "measurements.csv", index=False, lineterminator="\n")
        differences.to_csv(folder / "differences.csv", index=False, lineterminator="\n")
        text = json.dumps(made, indent=1, sort_keys=True) + "\n"
        (folder / "provenance.json").write_text(text, encoding="utf-8")
        for file, path in files.items():
            shutil.copy(path, folder / file)
    console.print(f"{target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="such as cub20-deit_tiny: the data set and the backbone of the grid")
    main(parser.parse_args().name)
