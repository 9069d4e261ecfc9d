r"""The rivals' classes, and how one is started, saved and loaded.

A rival's checkpoint is written by `vitol.checkpoints.save_checkpoint` like any other; its record has `method`,
`settings` and `stage` besides.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitol.cams.acol import ACoL
from vitol.cams.adl import ADL
from vitol.cams.cam import CAM
from vitol.cams.cutmix import CutMix
from vitol.cams.few_shot import FewShot
from vitol.cams.has import HaS
from vitol.cams.i2c import I2C
from vitol.cams.meil import MEIL
from vitol.cams.scm import SCM
from vitol.cams.skeleton import Localizer
from vitol.cams.spg import SPG
from vitol.cams.tscam import TSCAM
from vitol.checkpoints import load_into
from vitol.models import start_record
from vitol.sources import find_source, find_weights
from vitol.weight_files import METHOD, CheckpointError, read_record

METHODS: dict[str, type[Localizer]] = {
    "cam": CAM,
    "has": HaS,
    "acol": ACoL,
    "spg": SPG,
    "adl": ADL,
    "cutmix": CutMix,
    "meil": MEIL,
    "i2c": I2C,
    "ts-cam": TSCAM,
    "scm": SCM,
    "few-shot": FewShot,
}
"""The class of every rival; `vitol.cams.about` has their names and sources."""


def find_rival(method: str) -> type[Localizer]:
    """The class of a rival.

    Raises:
        ValueError: If there is no such method; the text lists those there are.
    """
    if method not in METHODS:
        raise ValueError(f"there is no rival {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method]


def default_settings(method: str) -> dict[str, Any]:
    """A method's hyperparameters with their defaults: the keyword arguments of its class.

    Raises:
        ValueError: If there is no such method.
    """
    found: dict[str, Any] = {}
    for part in find_rival(method).__mro__:
        if "__init__" not in vars(part):
            continue
        parameters = inspect.signature(part).parameters.values()
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY:
                found.setdefault(parameter.name, parameter.default)
        # Where a class hands further arguments on, they are those of the next.
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return found


def all_settings(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given hyperparameters, and the defaults of the others.

    Raises:
        ValueError: If there is no such method or setting; the text lists those there are.
    """
    known = default_settings(method)
    foreign = [name for name in given if name not in known]
    if foreign:
        listed = ", ".join(f"{name} ({value})" for name, value in known.items())
        raise ValueError(
            f"{', '.join(foreign)}: no setting of {method}, which has {listed}"
            if listed
            else f"{', '.join(foreign)}: no setting of {method}, which has none"
        )
    return {**known, **given}


def start_localizer(
    method: str,
    architecture: str,
    dataset: str,
    classes: Sequence[str],
    *,
    pretrained: bool = True,
    stage: int = -1,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Localizer, dict[str, Any]]:
    """A rival for a data set's classes to train, and the start of its checkpoint's record: what it was made of.

    Args:
        method: A key of `METHODS`.
        architecture: Of the network, a name as `vitol.sources.find_source` takes it.
        dataset: What the data set is called.
        classes: Names in label order.
        pretrained: Take the network's weights that go by the name, not random ones; those of the head are random.
        stage: Of the network, the last one wanted; -1 for all of it.
        options: Further arguments of the timm model.
        settings: The method's hyperparameters, where they are not to be the defaults.

    Returns:
        The model, on the CPU, and what a record says of method, settings, architecture, data set, weights and
        normalisation. Settings are there with their defaults filled in.

    Raises:
        ValueError: If there is no such method or setting, or the method does not go with the network.
        CheckpointError: As `find_source` and `find_weights`, or if weights do not fit.
    """
    chosen = all_settings(method, settings or {})
    source = find_source(architecture, options)
    weights = find_weights(architecture) if pretrained else None
    model = find_rival(method).on(
        source.architecture, len(classes), weights=weights, stage=stage, options=source.options, **chosen
    )
    record = start_record(source, weights, dataset, classes)
    return model, {**record, METHOD: method, "settings": chosen, "stage": stage}


def load_localizer(path: Path, num_classes: int | None = None) -> tuple[Localizer, dict[str, Any]]:
    """Read a rival's checkpoint written by `vitol.checkpoints.save_checkpoint`.

    Args:
        path: The safetensors file.
        num_classes: The number of classes it must have; None to accept any.

    Returns:
        The model in eval mode, on the CPU, and the record.

    Raises:
        CheckpointError: If the file is missing, damaged or no rival's checkpoint, its method or a setting is not one
            of `METHODS`, tensors do not fit, or the class count differs.
    """
    record = read_record(path)
    if METHOD not in record:
        raise CheckpointError(
            f"{path} is a checkpoint of a timm classifier ({record['architecture']}), not of a rival; read it with "
            "vitol.checkpoints.load_checkpoint"
        )
    try:
        method = str(record[METHOD])
        stage, settings = int(record["stage"]), all_settings(method, dict(record["settings"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is a checkpoint of the rival {record[METHOD]}, but its record is not one that this vitol can "
            f"build it from ({error}); read it with the version of vitol that wrote it"
        ) from error

    def build(count: int) -> Localizer:
        return find_rival(method).on(
            record["architecture"], count, stage=stage, options=record["options"], **settings
        )

    return load_into(build, path, record, num_classes=num_classes), record
