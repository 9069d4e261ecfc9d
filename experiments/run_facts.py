"""What made a committed run, read from its provenance.json, for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.params import is_registered

# What data sets are called here, and whether their images are photographs.
DATASETS = {
    "cub20": ("CUB-20", True),
    "ilsvrc300": ("ILSVRC-300", True),
    "tinyimagenet12": ("Tiny-ImageNet-12", True),
    "mini": ("mini", False),
}


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
    params, stages = record["params"], record["stages"]
    ((dataset, source),), (backbone,) = params["grid"]["datasets"].items(), params["grid"]["backbones"]
    counts = record.get("images", {}).get(dataset, {})
    images = " / ".join(str(counts.get(name, "-")) for name in ("train", "val", "test"))
    recipes = params["datasets"][dataset]
    training = "; ".join(
        f"{recipe['epochs']} x {recipe['batch_size']}" if recipe else "none"
        for recipe in (recipes["baseline"], recipes["finetune"])
    )
    devices = sorted({device for stage in stages.values() for device in devices_of(stage)})
    hours = sum(stage["wall_seconds"] for stage in stages.values()) / 3600
    commits = sorted({stage["commit"][:7] for stage in stages.values()})
    seeds = " ".join(map(str, params["seeds"]))
    again = (
        f'`make run DATASET={dataset} BACKBONE={backbone} SEEDS="{seeds}"`'
        if is_registered(source)
        else "`make repro`"
    )
    return images, seeds, training, "; ".join(devices), f"{hours:.1f}", " ".join(commits), again


def devices_of(stage: dict[str, Any]) -> list[str]:
    """The devices that a stage recorded, for itself or for each seed."""
    own = [stage["device"]] if "device" in stage else []
    return own + [
        of["device"] for key, of in stage.items() if key.startswith("seed") and isinstance(of, dict)
    ]
