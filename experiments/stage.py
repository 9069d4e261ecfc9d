"""What every stage shares: its paths, its progress bar, and a record of what made its outputs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

RESULTS = Path("results")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pandas", "pillow")

# Of the processes that share a stage, the first one speaks and writes; torch, which knows it too, is not needed here.
MAIN = "LOCAL_RANK" not in os.environ or os.environ.get("RANK", "0") == "0"

# Seen as a terminal or not, lines are as wide as the tables need.
console = Console(width=None if sys.stdout.isatty() else 160, quiet=not MAIN)


def data_folder(dataset: str) -> Path:
    """The prepared data set."""
    return RESULTS / "data" / dataset


def mapped_splits(dataset: str) -> tuple[str, ...]:
    """The splits that maps are made of: test, and val, where the data set has one, to choose thresholds on."""
    return ("test", "val") if (data_folder(dataset) / "val").is_dir() else ("test",)


def models_folder(dataset: str, backbone: str, model: str) -> Path:
    """Checkpoints of a model, one a seed."""
    return RESULTS / "models" / dataset / backbone / model


def maps_folder(dataset: str, backbone: str, model: str, seed: int) -> Path:
    """Localization maps of a model, a folder a split."""
    return RESULTS / "maps" / dataset / backbone / model / f"seed{seed}"


def scores_folder(dataset: str, backbone: str, model: str) -> Path:
    """Measurements of a model."""
    return RESULTS / "scores" / dataset / backbone / model


def sanity_folder(dataset: str, backbone: str) -> Path:
    """Maps of the baseline under randomised weights, and how similar they stay."""
    return RESULTS / "sanity" / dataset / backbone


def checkpoint_path(dataset: str, backbone: str, model: str, seed: int) -> Path:
    """The weights of a model."""
    return models_folder(dataset, backbone, model) / f"seed{seed}.safetensors"


def options(description: str | None, *names: str) -> list[str]:
    """Values of the command line's options --NAME, all of them required, in the order of the names."""
    parser = argparse.ArgumentParser(description=description)
    for name in names:
        parser.add_argument(f"--{name}", required=True)
    return list(vars(parser.parse_args()).values())


class RateColumn(ProgressColumn):
    """Work done a second."""

    def render(self, task: Task) -> Text:
        """Show the rate once there is one."""
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


def progress_bar() -> Progress:
    """A progress bar with count, rate and ETA; shown on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


@contextmanager
def provenance(name: str, **config: Any) -> Iterator[dict[str, Any]]:
    """Write `results/provenance/<name>.json` when the stage's work is done: what made its outputs.

    Of several processes that share the stage, the first one does.

    The file is no output that DVC tracks: it holds times, and reruns of equal code must give equal outputs.

    Args:
        name: The stage with its matrix values, such as "finetune-mini-small-mmp".
        **config: The resolved settings.

    Yields:
        A dictionary for what the stage measures about itself.
    """
    start = time.perf_counter()
    extra: dict[str, Any] = {}
    yield extra
    if not MAIN:
        return
    record = {
        "stage": name,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "wall_seconds": round(time.perf_counter() - start, 1),
        "config": TypeAdapter(dict[str, Any]).dump_python(config, mode="json"),
        **extra,
    }
    folder = RESULTS / "provenance"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {package: version(package) for package in PACKAGES}


def _commit() -> str:
    """The commit of the code, "-dirty" when code has changes, "unknown" without git.

    params.yaml and dvc.lock do not count: a run may well change them, and the settings are recorded anyway.
    """
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "vitol", "experiments/*.py", "dvc.yaml")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
