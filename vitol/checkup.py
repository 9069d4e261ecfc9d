"""What vitol finds on a machine: packages, devices, data sets, weights, tools; what is broken, and how to fix it.

A finding is a fault where something that is there does not work, and a note where something optional is missing.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from itertools import chain
from pathlib import Path
from typing import Literal

from vitol.datasets.registered import (
    REGISTERED,
    dataset_root,
    read_manifest,
    registered_names,
    root_variable,
)
from vitol.wording import counted

LOADED = ("torch", "torchvision", "timm", "cv2")
"""Modules that are loaded to see whether they can be: compiled ones, whose builds have to go together."""

TOOLS = {
    "dvc": (("dvc",), "`make repro`", "pip install dvc"),
    "jupytext": (("jupytext",), "`make notebooks`", "pip install jupytext"),
    "chromium": (
        ("chromium", "chromium-browser", "google-chrome"),
        "the browser test",
        "install chromium with the system's package manager",
    ),
}
"""Optional tools: the commands that they go by, what needs them, how to get them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "packages", "devices", "data sets", "weights" or "tools".
        name: What was looked at.
        status: "ok"; "note", of what is missing and not needed by everyone; or "fault".
        seen: What was found.
        remedy: What to do about it; "" where there is nothing to do.
    """

    area: str
    name: str
    status: Literal["ok", "note", "fault"]
    seen: str
    remedy: str = ""


def checkup(folder: Path = REGISTERED) -> Iterator[Finding]:
    """Look at everything; a matter of seconds, most of them for loading torch.

    Args:
        folder: Where data sets are registered.
    """
    loaded = list(loading())
    looked = [packages(), loaded]
    if all(finding.status == "ok" for finding in loaded):
        looked += [devices(), weights()]
    yield from chain(*looked, data_sets(folder), tools())


def packages() -> Iterator[Finding]:
    """Versions of Python, of vitol and of all that its metadata requires, and whether they are recent enough."""
    wanted = metadata("vitol")["Requires-Python"]
    python = platform.python_version()
    yield _compared("python", python, wanted, f"install Python {wanted}")
    yield Finding("packages", "vitol", "ok", version("vitol"))
    for name, wanted in required().items():
        remedy = f"pip install '{wanted}'"
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("packages", name, "fault", "not installed", remedy)
        else:
            yield _compared(name, found, wanted, remedy)


def required() -> dict[str, str]:
    """What vitol's metadata requires, without its extras: the requirement by the package's name.

    >>> required()["numpy"].startswith("numpy>=")
    True
    """
    wanted = [requirement.partition(";") for requirement in requires("vitol") or ()]
    plain = [text.strip() for text, _, marker in wanted if "extra" not in marker]
    return {re.split(r"[^A-Za-z0-9._-]", text)[0]: text for text in plain}


def _compared(name: str, found: str, wanted: str, remedy: str) -> Finding:
    """A version, a fault if it is below the one that `wanted` names after ">="."""
    least = re.search(r">=\s*([0-9.]+)", wanted)
    if least and release(found) < release(least.group(1)):
        return Finding("packages", name, "fault", f"{found}, and {least.group(1)} is needed at least", remedy)
    return Finding("packages", name, "ok", found)


def release(text: str) -> tuple[int, ...]:
    """The numbers that a version starts with, without zeros at the end.

    >>> release("2.15.0+cpu"), release("0.12") > release("0.9.5"), release("10") == release("10.0")
    ((2, 15), True, True)
    """
    numbers = [int(part) for part in re.findall(r"\d+", re.match(r"[0-9.]*", text).group())]  # type: ignore[union-attr]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def loading() -> Iterator[Finding]:
    """Whether the compiled libraries can be loaded."""
    for name in LOADED:
        try:
            import_module(name)
        except Exception as error:  # a library that does not fit another raises what it likes
            said = " ".join(str(error).split())
            remedy = "install torch and torchvision of one release and build, and the others anew"
            yield Finding("packages", f"import {name}", "fault", f"{type(error).__name__}: {said}", remedy)
        else:
            yield Finding("packages", f"import {name}", "ok", "works")


def devices() -> Iterator[Finding]:
    """What can be computed on, and whether in bfloat16."""
    import torch

    from vitol.precision import precision_on

    def precision(device: str) -> str:
        in_hardware = precision_on(torch.device(device), "bf16") == "bf16"
        return "bfloat16 in hardware" if in_hardware else "bfloat16 emulated, so training is in float32"

    capability = torch.backends.cpu.get_cpu_capability()
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} threads"
    yield Finding("devices", "CPU", "ok", f"{threads}, {capability}, {precision('cpu')}")
    for index in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(index)
        seen = f"{of.name}, {of.total_memory / 2**30:.0f} GiB, {precision('cuda')}"
        yield Finding("devices", f"CUDA {index}", "ok", seen)
    if not torch.cuda.is_available():
        built = (
            f"torch is built for CUDA {torch.version.cuda}"
            if torch.version.cuda
            else "torch is built without"
        )
        remedy = "nothing, if there is no GPU; else check its driver, and that torch is built for it"
        yield Finding("devices", "CUDA", "note", f"no GPU is seen; {built}", remedy)
    if torch.backends.mps.is_available():
        yield Finding("devices", "MPS", "note", "there, and not used: vitol computes on CUDA or the CPU")


def data_sets(folder: Path = REGISTERED) -> Iterator[Finding]:
    """Whether registered data sets are where they should be: of each split, the first image.

    `vitol data check` looks at every image.
    """
    names = registered_names(folder)
    if not names:
        yield Finding("data sets", "registered", "note", f"none in {folder}", "vitol data register --help")
    for name in names:
        try:
            manifest = read_manifest(name, folder)
            images = dataset_root(name, folder) / manifest["images"]
            lists = [folder / f"{name}.splits" / split / "image_ids.txt" for split in manifest["splits"]]
            firsts = [images / path.read_text(encoding="utf-8").partition("\n")[0] for path in lists]
            missing = [path for path in firsts if not path.is_file()]
            counts = ", ".join(f"{split} {of['images']:,}" for split, of in manifest["splits"].items())
        except (ValueError, OSError) as error:
            remedy = f"register it again, or set {root_variable(name)} to where it lies"
            yield Finding("data sets", name, "fault", str(error), remedy)
        except (KeyError, TypeError, AttributeError):
            seen = f"{folder / name}.json is not as `vitol data register` writes it"
            yield Finding("data sets", name, "fault", seen, "register it again")
        else:
            if missing:
                remedy = f"vitol data check {name} lists all that are gone"
                yield Finding("data sets", name, "fault", f"there is no {missing[0]}", remedy)
            else:
                yield Finding("data sets", name, "ok", f"{counts} images in {images}")


def weights() -> Iterator[Finding]:
    """Where pretrained weights come from, and whether the files there can be read."""
    import timm

    from vitol.sources import WEIGHTS_VARIABLE
    from vitol.weight_files import CheckpointError, opened

    named = os.environ.get(WEIGHTS_VARIABLE)
    name = f"${WEIGHTS_VARIABLE}"
    if not named:
        remedy = f"set {WEIGHTS_VARIABLE} to a folder of .safetensors files to work without a network"
        yield Finding("weights", name, "note", "not set: weights are taken from timm's hub", remedy)
        return
    files = sorted(Path(named).glob("*.safetensors"))
    if not files:
        remedy = "put weights there, such as deit_tiny_patch16_224.safetensors, or unset the variable"
        what = "has no .safetensors file" if Path(named).is_dir() else "is not a folder"
        yield Finding("weights", name, "fault", f"{named} {what}", remedy)
        return
    yield Finding("weights", name, "ok", named)
    for path in files:
        try:
            with opened(path) as file:
                seen = f"{counted(len(file.keys()), 'tensor')}, {path.stat().st_size / 1e6:.1f} MB"
        except (CheckpointError, OSError) as error:
            yield Finding("weights", path.stem, "fault", str(error), "fetch it again, or remove it")
        else:
            known = timm.is_model(path.stem)
            remedy = (
                "" if known else "timm knows no model of this name: rename it, or give its path as --model"
            )
            yield Finding("weights", path.stem, "ok" if known else "note", seen, remedy)


def tools() -> Iterator[Finding]:
    """Optional tools."""
    for name, (commands, purpose, remedy) in TOOLS.items():
        found = next(filter(None, map(shutil.which, commands)), None)
        if found:
            yield Finding("tools", name, "ok", found)
        else:
            yield Finding("tools", name, "note", f"not found; only {purpose} needs it", remedy)
