"""params.yaml, checked: what every stage reads its settings from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vitol.cams.about import RIVALS
from vitol.datasets.registered import REGISTERED
from vitol.methods import MethodName
from vitol.recipe import Recipe

# What pydantic calls a key that a model, or a dataclass, does not have.
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")

Variant = Literal["control", "mmp", "mpm"]
Threshold = Annotated[float, Field(ge=0, lt=1)]


def is_registered(source: str) -> bool:
    """Whether the grid takes a data set from a manifest of `vitol data register`."""
    return Path(source).parts[:1] == REGISTERED.parts


class Strict(BaseModel):
    """A section of params.yaml; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def differ(names: list[Any], info: ValidationInfo) -> list[Any]:
    """A list whose members differ.

    Raises:
        ValueError: If one is there twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"{info.field_name} = {names} has one twice")
    return names


class Grid(Strict):
    """What the pipeline runs."""

    datasets: dict[str, str] = Field(min_length=1)
    backbones: list[str] = Field(min_length=1)
    variants: list[Variant]
    models: list[str]
    rivals: list[str]
    scored: list[str]

    _names_differ = field_validator("backbones", "variants", "rivals")(differ)

    @field_validator("datasets")
    @classmethod
    def _manifests_have_their_names(cls, datasets: dict[str, str]) -> dict[str, str]:
        for name, source in datasets.items():
            if is_registered(source) and Path(source) != REGISTERED / f"{name}.json":
                raise ValueError(
                    f"data set {name!r} comes from {source}; its manifest is {REGISTERED / name}.json"
                )
        return datasets

    @model_validator(mode="after")
    def _models_are_baseline_and_variants(self) -> Grid:
        if self.models != ["baseline", *self.variants]:
            raise ValueError(
                f"models = {self.models} must be baseline and the variants: {['baseline', *self.variants]}"
            )
        return self

    @model_validator(mode="after")
    def _scored_are_models_and_rivals(self) -> Grid:
        unknown = [name for name in self.rivals if name not in RIVALS]
        if unknown:
            raise ValueError(f"rivals {', '.join(unknown)} are unknown; there are {', '.join(RIVALS)}")
        if self.scored != [*self.models, *self.rivals]:
            raise ValueError(
                f"scored = {self.scored} must be the models and the rivals: {[*self.models, *self.rivals]}"
            )
        return self


class Padl(Strict):
    """Settings of p-ADL, Eqs. 3-6."""

    drop_rate: float = Field(ge=0, le=1)
    drop_threshold: float = Field(ge=0, le=1)
    per_image: bool
    class_token: bool


class Backbone(Strict):
    """A model and the sides of its images.

    `architecture` is timm's name, "hf-hub:ORG/NAME", "local-dir:FOLDER" or a vitol checkpoint (see `vitol.sources`).
    `stage` and `neck` are of convolutional networks: see `vitol.cams.skeleton`.
    """

    architecture: str
    options: dict[str, Any]
    image_size: int = Field(gt=0)
    resize: int = Field(gt=0)
    pretrained: bool
    stage: int = -1
    neck: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _crops_fit(self) -> Backbone:
        if self.resize < self.image_size:
            raise ValueError(f"images resized to {self.resize} have no crop of {self.image_size}")
        return self


class Dataset(Strict):
    """How models are trained on a data set; null where nothing is."""

    baseline: Recipe | None
    finetune: Recipe | None
    rivals: Recipe | None = None


class Rivals(Strict):
    """The convolutional network beside each backbone, and by network and rival, settings that are not the default."""

    networks: dict[str, str]
    settings: dict[str, dict[str, dict[str, Any]]]

    @field_validator("settings")
    @classmethod
    def _settings_are_of_rivals(
        cls, settings: dict[str, dict[str, dict[str, Any]]]
    ) -> dict[str, dict[str, dict[str, Any]]]:
        for network, of_rivals in settings.items():
            if unknown := [name for name in of_rivals if name not in RIVALS]:
                raise ValueError(
                    f"{network} has settings of {', '.join(unknown)}, unknown rivals; there are {', '.join(RIVALS)}"
                )
        return settings


class SnapshotSettings(Strict):
    """How often training leaves a state to go on from after an interruption."""

    every_seconds: float = Field(ge=0)


class Explain(Strict):
    """Settings of map generation."""

    batch_size: int = Field(gt=0)


class Randomize(Strict):
    """Settings of the sanity check: which maps of how many test images, and the seed of the random weights."""

    images: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    seed: int = Field(ge=0)
    methods: list[MethodName] = Field(min_length=1)


class Report(Strict):
    """Settings of the page: how many test images of a data set its gallery shows at most."""

    images: int = Field(gt=0)


class Bootstrap(Strict):
    """Settings of the intervals."""

    replicates: int = Field(gt=0)
    seed: int = Field(ge=0)


class FixedThresholds(Strict):
    """Thresholds of the policy `fixed`, a map's name each; those of `backbones` come before the default."""

    default: dict[str, Threshold]
    backbones: dict[str, dict[str, Threshold]]

    def of(self, backbone: str) -> dict[str, float]:
        """The thresholds for a backbone's maps."""
        return {**self.default, **self.backbones.get(backbone, {})}


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
    def _rivals_can_be_trained(self) -> Params:
        for name in self.grid.datasets if self.grid.rivals else ():
            if self.datasets[name].rivals is None:
                raise ValueError(
                    f"data set {name!r} has no recipe for rivals; add one, or set grid.rivals to []"
                )
        for backbone in self.grid.backbones if self.grid.rivals else ():
            network = self.rivals.networks.get(backbone)
            if network not in self.backbones:
                raise ValueError(
                    f"rivals.networks names no described network beside {backbone!r} (seen: {network!r}); the "
                    "rivals need a convolutional one of backbones"
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
        shared = [rival for rival in self.grid.rivals if not RIVALS[rival].transformer]
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

    def is_convolutional(self, name: str) -> bool:
        """Whether a described network is one for rivals: beside a backbone, or with settings that only those have."""
        described = self.backbones[name]
        return name in self.rivals.networks.values() or described.stage != -1 or described.neck > 0

    def network(self, backbone: str, model: str) -> str:
        """The name of the network that a model of the grid is trained on: the backbone, or the one beside it."""
        convolutional = model in self.grid.rivals and not RIVALS[model].transformer
        return self.rivals.networks[backbone] if convolutional else backbone


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
