"""params.yaml, checked: what every stage reads its settings from, and what its sections must agree in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from experiments.sections import (
    Backbone,
    Bootstrap,
    Dataset,
    Explain,
    FixedThresholds,
    Grid,
    Padl,
    Randomize,
    Report,
    Rivals,
    SnapshotSettings,
    Strict,
    differ,
)
from vitol.cams.about import RIVALS

# What pydantic calls a key that a model, or a dataclass, does not have.
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


class Params(Strict):
    """The whole file."""

    grid: Grid
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    padl: Padl
    backbones: dict[str, Backbone]
    datasets: dict[str, Dataset]
    rivals: Rivals
    workers: int = Field(ge=0)
    processes: int = Field(gt=0)
    snapshots: SnapshotSettings
    explain: Explain
    randomize: Randomize
    report: Report
    bootstrap: Bootstrap
    fixed_thresholds: FixedThresholds
    committed: list[str]
    tolerance: float = Field(gt=0)

    _seeds_differ = field_validator("seeds")(differ)

    @model_validator(mode="after")
    def _grid_is_described(self) -> Params:
        for kind, wanted, known in (
            ("data set", self.grid.datasets, self.datasets),
            ("backbone", self.grid.backbones, self.backbones),
        ):
            for name in wanted:
                if name not in known:
                    raise ValueError(
                        f"the grid asks for {kind} {name!r}, which is not described; "
                        f"known: {', '.join(known)}"
                    )
        return self

    @model_validator(mode="after")
    def _variants_have_recipes(self) -> Params:
        for name in self.grid.datasets:
            if self.grid.variants and self.datasets[name].finetune is None:
                raise ValueError(
                    f"data set {name!r} has no finetune recipe; set grid.variants to [] and grid.models to "
                    "[baseline], or add a recipe"
                )
        return self

    @model_validator(mode="after")
    def _networks_stand_beside_backbones(self) -> Params:
        networks, settings = self.rivals.networks, self.rivals.settings
        for key, names in (("networks", [*networks, *networks.values()]), ("settings", list(settings))):
            if unknown := [name for name in names if name not in self.backbones]:
                raise ValueError(
                    f"rivals.{key} names {', '.join(unknown)}, not described; known: {', '.join(self.backbones)}"
                )
        for backbone, network in networks.items():
            if network in networks:
                raise ValueError(
                    f"rivals.networks puts {network!r} beside {backbone!r}, but it is itself a backbone that has a "
                    "network beside it; the rivals need a convolutional one"
                )
        for network, of_rivals in settings.items():
            for rival in of_rivals:
                if RIVALS[rival].transformer == self.is_convolutional(network):
                    needed = "a transformer" if RIVALS[rival].transformer else "a convolutional network"
                    raise ValueError(
                        f"rivals.settings has {rival} on {network!r}, where they would not be used: it trains {needed}"
                    )
        return self

    @model_validator(mode="after")
    def _rivals_can_be_trained(self) -> Params:
        for name in self.grid.datasets if self.grid.rivals else ():
            if self.datasets[name].rivals is None:
                raise ValueError(
                    f"data set {name!r} has no recipe for rivals; add one, or set grid.rivals to []"
                )
        for backbone in self.grid.backbones if self.convolutional_rivals else ():
            if backbone not in self.rivals.networks:
                raise ValueError(
                    f"rivals.networks names no network beside {backbone!r} to train "
                    f"{', '.join(self.convolutional_rivals)} on; name a convolutional one of backbones"
                )
        return self

    @model_validator(mode="after")
    def _grid_is_of_transformers(self) -> Params:
        for backbone in self.grid.backbones:
            if self.is_convolutional(backbone):
                raise ValueError(
                    f"the grid asks for backbone {backbone!r}, a convolutional network for rivals; maps are made of "
                    "transformers: ask for one, and rivals.networks puts it beside"
                )
        return self

    @model_validator(mode="after")
    def _rivals_measurements_differ(self) -> Params:
        shared = self.convolutional_rivals
        beside: dict[str, list[str]] = {}
        for backbone in self.grid.backbones if shared else ():
            beside.setdefault(self.rivals.networks[backbone], []).append(backbone)
        for network, backbones in beside.items():
            if len(backbones) > 1:
                raise ValueError(
                    f"backbones {', '.join(backbones)} of the grid share the network {network!r} of rivals.networks, "
                    f"so measurements of {', '.join(shared)} could not be told apart; run one backbone after the other "
                    "(`python -m experiments.select`), or describe a network for each"
                )
        return self

    @property
    def convolutional_rivals(self) -> list[str]:
        """The grid's rivals that train the network beside the backbone."""
        return [rival for rival in self.grid.rivals if not RIVALS[rival].transformer]

    def is_convolutional(self, name: str) -> bool:
        """Whether a described network is one for rivals: beside a backbone, or with settings that only those have."""
        described = self.backbones[name]
        return name in self.rivals.networks.values() or described.stage != -1 or described.neck > 0

    def network(self, backbone: str, model: str) -> str:
        """The name of the network that a model of the grid is trained on: the backbone, or the one beside it."""
        return self.rivals.networks[backbone] if model in self.convolutional_rivals else backbone


class ParamsError(ValueError):
    """params.yaml has a fault; the text lists all of them with their keys."""


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: If it is missing, no YAML, has unknown or missing keys, or values out of range.
    """
    try:
        return check_params(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ParamsError(f"{path} cannot be read ({error}); run from the project's root") from error


def check_params(text: str, path: Path) -> Params:
    """Check the text of params.yaml.

    Args:
        text: The text.
        path: What errors call it.

    Raises:
        ParamsError: As `read_params`.
    """
    try:
        return Params.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no YAML: {error}") from error
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"]) or "the file"
            text = (
                "unknown key; remove it or correct its name" if fault["type"] in UNKNOWN_KEY else fault["msg"]
            )
            faults.append(f"  {key}: {text} (seen: {fault['input']!r:.80})")
        raise ParamsError(f"{path} has {len(faults)} fault(s):\n" + "\n".join(faults)) from error
