"""The sections of params.yaml, each checked by itself; `experiments.params` has what they must agree in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from vitol.cams.about import RIVALS
from vitol.datasets.registered import REGISTERED
from vitol.methods import MethodName
from vitol.recipe import Recipe

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
