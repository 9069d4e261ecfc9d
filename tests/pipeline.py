"""All stages in order, on sixteen test images and models of one block: a folder in which everything has run."""

import shutil
from pathlib import Path

import yaml

from experiments import baseline, explain, finetune, localize, plot, prepare, randomize, report, tabulate
from vitol.datasets import mini

COUNTS = {
    "train": {"plain": 24, "clutter": 8},
    "val": {"plain": 8},
    "test": {"plain": 4, "part": 4, "multi": 4, "clutter": 4},
}


def lay_out(folder: Path, root: Path) -> dict:
    """A tiny data set and params.yaml in the folder, and what else of the project at `root` stages read; the params."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["grid"]["datasets"] = {"mini": "data/mini"}
    params["backbones"]["small"]["options"] |= {"embed_dim": 16, "depth": 1, "num_heads": 2}
    for recipe in params["datasets"]["mini"].values():
        recipe |= {"epochs": 1, "decay_every": 1, "batch_size": 16}
    params |= {"committed": [], "workers": 0, "seeds": [0, 1], "bootstrap": {"replicates": 20, "seed": 0}}
    params["report"] = {"images": 8}
    params["randomize"] |= {"images": 6, "batch_size": 4, "methods": ["ar", "gar"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for part in ("notebooks", "docs/photos"):
        shutil.copytree(root / part, folder / part)
    (folder / "data" / "mini").mkdir(parents=True)
    mini.write_archive(folder / "data" / "mini" / "mini.zip", counts=COUNTS)
    return params


def run_all(params: dict) -> None:
    """Run every stage but the notebooks, in the current folder."""
    prepare.main("mini")
    baseline.main("mini", "small")
    for variant in params["grid"]["variants"]:
        finetune.main("mini", "small", variant)
    for model in params["grid"]["models"]:
        explain.main("mini", "small", model)
        localize.main("mini", "small", model)
    randomize.main("mini", "small")
    tabulate.main()
    plot.main()
    report.main()
