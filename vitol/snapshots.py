"""Snapshots of a training run: all it needs to go on after an interruption as if there had been none.

One safetensors file: tensors as they are, everything else as JSON in its header. Nothing is pickled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from vitol.atomic import atomic_file

FILE = "snapshot.safetensors"
HEADER = "vitol-snapshot"
RARELY = 50
"""A snapshot is due after this many times as long as the last one took, so that they cost 2% at most."""


SHOWN = 40
"""Characters of a long setting that are shown where it differs."""


class Absent:
    """Stands for a setting that is not there."""

    def __repr__(self) -> str:
        """Such as it reads in a sentence."""
        return "not there"


ABSENT = Absent()


class SnapshotError(ValueError):
    """A snapshot that cannot be written or gone on from; the text says why and what to do."""


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: Epochs that are done.
        step: Steps that are done in the epoch after them.
        loss_sum: Sum over those steps' images of the loss.
        right: How many of those images were classified right; of an image whose pixels are, the share of them.
        seen: How many those images are.
        log: A record of each epoch that is done, as plain values.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    seen: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)


class Snapshots:
    """Where one run keeps its latest snapshot, and whether the next one is due.

    Args:
        folder: For this run alone. With several processes it is one that all of them see.
        settings: All that the run depends on, JSON-able. A snapshot made under others is refused.
        every_seconds: How long to wait after one, at least; 0 takes a snapshot at every opportunity. Longer where
            writing one takes more than 2% of that. The run is asked when it looks at its losses.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], every_seconds: float = 60.0) -> None:
        self.path = folder / FILE
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, sort_keys=True))
        self.every_seconds = every_seconds
        self._due = time.monotonic() + every_seconds

    def due(self) -> bool:
        """Whether it is time for another one."""
        return time.monotonic() >= self._due

    def position(self) -> Position:
        """How far the run has come; the very start where there is no snapshot.

        Raises:
            SnapshotError: If the file is damaged, or was made under other settings.
        """
        return Position(**self._header()["position"]) if self.path.exists() else Position()

    def save(
        self, position: Position, model: nn.Module, optimizer: Optimizer, order: Tensor, device: torch.device
    ) -> None:
        """Take a snapshot; the one before it stays until this one is whole on the disk.

        Args:
            position: How far the run has come.
            model: Its weights and buffers.
            optimizer: Its state.
            order: State of the generator that draws the order of the images, as the position's epoch began.
            device: Where the model is: the state of torch's generator there is kept, and of that of the CPU.

        Raises:
            SnapshotError: If it cannot be written; the one before it is still there.
        """
        start = time.monotonic()
        packed = optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        values: dict[str, Any] = {}
        for kind, of_each in (
            ("state", packed["state"].items()),
            ("group", enumerate(packed["param_groups"])),
        ):
            for number, entries in of_each:
                for name, value in entries.items():
                    (tensors if isinstance(value, Tensor) else values)[f"{kind}.{number}.{name}"] = value
        tensors |= {"order": order, "random.cpu": torch.get_rng_state()}
        if device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(device)
        header = {"settings": self.settings, "position": asdict(position), "optimizer": values}
        try:
            text = json.dumps(header)
        except TypeError as error:
            raise SnapshotError(
                f"{type(optimizer).__name__} keeps a state that is neither tensors nor plain values ({error}); "
                "train with another optimizer, or without snapshots"
            ) from error
        try:
            with atomic_file(self.path) as partial:
                save_file(
                    {name: _plain(tensor) for name, tensor in tensors.items()}, str(partial), {HEADER: text}
                )
        except (OSError, SafetensorError) as error:
            raise SnapshotError(
                f"{self.path} could not be written ({error}); the snapshot before it is intact: make room, and run "
                "again to go on from there"
            ) from error
        wait = max(self.every_seconds, RARELY * (time.monotonic() - start)) if self.every_seconds else 0
        self._due = time.monotonic() + wait

    def restore(
        self, model: nn.Module, optimizer: Optimizer, order: torch.Generator, device: torch.device
    ) -> Position:
        """Bring a run back to its latest snapshot: model, optimizer, generators. Does nothing without one.

        Args:
            model: The run's model as it was before the first step.
            optimizer: Its optimizer, as new.
            order: Gets the state that the position's epoch began with.
            device: Where the model is.

        Returns:
            How far the run had come; the very start where there is no snapshot.

        Raises:
            SnapshotError: If the file is damaged, was made under other settings, or does not fit the model.
        """
        if not self.path.exists():
            return Position()
        header = self._header()
        try:
            with safe_open(str(self.path), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            model.load_state_dict(_under(tensors, "model"))
            known = {**tensors, **header["optimizer"]}
            state, groups = _numbered(known, "state"), _numbered(known, "group")
            optimizer.load_state_dict({"state": state, "param_groups": [groups[i] for i in sorted(groups)]})
            order.set_state(tensors["order"])
            torch.set_rng_state(tensors["random.cpu"])
            if device.type == "cuda":
                torch.cuda.set_rng_state(tensors["random.cuda"], device)
            return Position(**header["position"])
        except (KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
            raise SnapshotError(
                f"{self.path} does not fit this run ({' '.join(str(error).split())}); remove it to start anew"
            ) from error

    def _header(self) -> dict[str, Any]:
        """The header of the snapshot that is there, of this run's settings."""
        header = read_header(self.path)
        if differences := list(differing(header["settings"], self.settings)):
            raise SnapshotError(
                f"{self.path} is of a run with other settings: {'; '.join(differences)}; "
                "restore them to go on with it, or remove the file to start anew"
            )
        return header


def read_header(path: Path) -> dict[str, Any]:
    """Settings and position of a snapshot, without its tensors.

    Raises:
        SnapshotError: If the file is none.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[HEADER])
            return {key: header[key] for key in ("settings", "position", "optimizer")}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise SnapshotError(f"{path} is no snapshot ({error!r}); remove it to start anew") from error


def differing(kept: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """What differs between two settings, a line a value.

    >>> list(differing({"lr": 1e-4, "padl": {"rate": 0.75}}, {"lr": 1e-3, "padl": {"rate": 0.75}}))
    ['lr was 0.0001 and is 0.001']
    """
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for key in sorted(kept.keys() | wanted.keys()):
            below = f"{name}.{key}".removeprefix(".")
            yield from differing(kept.get(key, ABSENT), wanted.get(key, ABSENT), below)
    elif kept != wanted:
        before, after = (
            text if len(text) <= SHOWN else f"...{text[-SHOWN:]}" for text in map(repr, (kept, wanted))
        )
        yield f"{name} was {before} and is {after}"


def _plain(tensor: Tensor) -> Tensor:
    """A copy as the format has them: on the CPU, in rows, sharing no memory (as tied weights do)."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _numbered(values: Mapping[str, Any], prefix: str) -> dict[int, dict[str, Any]]:
    """The entries under a prefix and a number, by number and name."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in _under(values, prefix).items():
        number, _, key = name.partition(".")
        found.setdefault(int(number), {})[key] = value
    return found


def _under(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The entries under a prefix, without it."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in values.items()
        if name.startswith(f"{prefix}.")
    }
