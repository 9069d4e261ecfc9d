"""What a committed run is called, and what made it, read from its provenance.json, for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from experiments.select import ALL, VARIANTS
from experiments.stage import checkpoint_path
from vitol.cams.about import RIVALS
from vitol.weight_files import file_digest

# What data sets are called here, and whether their images are photographs.
DATASETS = {
    "cub20": ("CUB-20", True),
    "ilsvrc300": ("ILSVRC-300", True),
    "tinyimagenet12": ("Tiny-ImageNet-12", True),
    "mini": ("mini", False),
}


def run_name(dataset: str, backbone: str) -> str:
    """What the run of a data set and a backbone is called; that of `make repro` has the data set's name alone."""
    return "mini" if (dataset, backbone) == ("mini", "small") else f"{dataset}-{backbone}"


def checkpoint_digests(
    dataset: str, backbone: str, models: Sequence[str], seeds: Sequence[int]
) -> dict[str, str]:
    """SHA-256 of the weights below results/models, as records keep them: by model and seed."""
    return {
        f"{model}-seed{seed}": file_digest(checkpoint_path(dataset, backbone, model, seed))
        for model, seed in product(models, seeds)
    }


def same_checkpoints(record: dict[str, Any], other: dict[str, Any]) -> bool | None:
    """Whether checkpoints that two records both have are the same weights; None if they have none in common."""
    ours, theirs = (of.get("checkpoints", {}) for of in (record, other))
    shared = ours.keys() & theirs.keys()
    return all(ours[name] == theirs[name] for name in shared) if shared else None


def read_record(folder: Path, run: str) -> dict[str, Any]:
    """The provenance.json of a committed run.

    Raises:
        ValueError: If there is none.
    """
    path = folder / run / "provenance.json"
    if not path.is_file():
        raise ValueError(
            f"params.yaml names the committed run {run!r}, but {path} does not exist; make it with "
            f"`python -m experiments.publish {run}`, or take the run off the list"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def cell_of(run: str, record: dict[str, Any]) -> tuple[str, str]:
    """The data set and the backbone of a run, from its provenance.json.

    Raises:
        ValueError: If it is of several, or of a data set without a name for people.
    """
    grid = record["params"]["grid"]
    cells = [(dataset, backbone) for dataset in grid["datasets"] for backbone in grid["backbones"]]
    if len(cells) != 1 or cells[0][0] not in DATASETS:
        raise ValueError(
            f"run {run!r} is of {cells}; needed: one data set with one backbone, of {', '.join(DATASETS)} "
            "(experiments/run_facts.py names them)"
        )
    return cells[0]


def run_facts(record: dict[str, Any]) -> tuple[str, ...]:
    """What made a run, from its provenance.json."""
    params = record["params"]
    (dataset,) = params["grid"]["datasets"]
    counts = record.get("images", {}).get(dataset, {})
    images = " / ".join(str(counts.get(name, "-")) for name in ("train", "val", "test"))
    recipes = params["datasets"][dataset]
    training = "; ".join(
        f"{recipe['epochs']} x {recipe['batch_size']}" if recipe else "none"
        for recipe in (recipes["baseline"], recipes["finetune"])
    )
    seeds = " ".join(map(str, params["seeds"]))
    again = f"`{command_of(params)}`"
    return images, seeds, training, *made_on(list(record["stages"].values())), again


def made_on(stages: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """The devices, hours and commits of some stages' records, each in words."""
    devices = sorted({device for stage in stages for device in devices_of(stage)})
    hours = sum(stage["wall_seconds"] for stage in stages) / 3600
    commits = sorted({stage["commit"][:7] for stage in stages})
    return "; ".join(devices), f"{hours:.1f}", " ".join(commits)


def command_of(params: dict[str, Any]) -> str:
    """The shell command that runs the grid of some recorded params again."""
    grid, seeds = params["grid"], " ".join(map(str, params["seeds"]))
    (dataset,), (backbone,) = grid["datasets"], grid["backbones"]
    variants, rivals = grid["variants"], grid.get("rivals", [])
    asked = []
    if variants != (list(VARIANTS) if params["datasets"][dataset]["finetune"] else []):
        asked += ["--variants", *variants]
    if rivals:
        asked += ["--rivals", *([ALL] if rivals == list(RIVALS) else rivals)]
        if any(not RIVALS[rival].transformer for rival in rivals):
            asked += ["--network", params["rivals"]["networks"][backbone]]
    if asked:
        words = ["python -m experiments.select", dataset, backbone, *asked, "--seeds", seeds, "&& dvc repro"]
        return " ".join(words)
    if (dataset, backbone, seeds) == ("mini", "small", "0"):
        return "make repro"
    return f'make run DATASET={dataset} BACKBONE={backbone} SEEDS="{seeds}"'


def devices_of(stage: dict[str, Any]) -> list[str]:
    """The devices that a stage recorded, for itself or for each seed."""
    own = [stage["device"]] if "device" in stage else []
    return own + [
        of["device"] for key, of in stage.items() if key.startswith("seed") and isinstance(of, dict)
    ]
