"""Where a model's name leads: to timm, to a folder here or on the hub, or to a checkpoint.

A model's name is timm's, with or without the tag of its weights ("deit_tiny_patch16_224.fb_in1k"); "local-dir:FOLDER"
or "hf-hub:ORG/NAME" for a folder, here or on the Hugging Face hub, with timm's `config.json` and `model.safetensors`
(such as `vitol export` writes); or the path of a vitol checkpoint, `.safetensors`.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from vitol.weight_files import CheckpointError, read_classifier_record

WEIGHTS_VARIABLE = "VITOL_WEIGHTS"
LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIG, TENSORS = "config.json", "model.safetensors"
KEPT = (
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "label_names",
    "label_descriptions",
    "license",
)
"""What a folder's config says of its weights and the model's `pretrained_cfg` takes over."""


@dataclass(frozen=True)
class Source:
    """What a model's name stands for.

    Attributes:
        architecture: timm's name, from which the model can be built again without the folder or the hub.
        options: All further arguments of that timm model.
        config: What a folder's config says of its weights: those of `KEPT` that it has. Empty for other names.
        license: Of the weights that go by the name, as timm or the folder states it; "" where it is not stated.
    """

    architecture: str
    options: dict[str, Any]
    config: dict[str, Any]
    license: str


def find_source(name: str, options: Mapping[str, Any] | None = None) -> Source:
    """Look up what a model's name stands for; no weights are read.

    Args:
        name: timm's name, "local-dir:FOLDER", "hf-hub:ORG/NAME", or the path of a vitol checkpoint.
        options: Further arguments of the model; they come before those of the folder or the checkpoint.

    Raises:
        CheckpointError: If a folder, its config, or a checkpoint is missing or damaged, the checkpoint is none of a
            classifier, or the hub cannot be reached.
        ValueError: If timm does not know the architecture, or an option is not the model's own.
    """
    architecture, arguments, config = name, dict[str, Any](), dict[str, Any]()
    stated: Mapping[str, Any]  # of the weights
    if name.startswith((LOCAL, HUB)):
        architecture, arguments, config = _read_config(_folder_file(name, CONFIG))
        stated = config
    elif name.endswith(".safetensors"):
        stated = read_classifier_record(Path(name).expanduser())
        architecture, arguments = stated["architecture"], dict(stated["options"])
    else:
        stated = _timm_config(name)
    arguments |= options or {}
    if not timm.is_model(architecture):
        near = ", ".join(timm.list_models(f"*{architecture.split('_')[0]}*")[:5]) or "timm.list_models()"
        raise ValueError(f"timm knows no model {architecture!r}; near it: {near}")
    # Through some of these timm would read weights, pickled ones too.
    foreign = sorted(arguments.keys() & set(inspect.signature(timm.create_model).parameters))
    if foreign:
        raise ValueError(
            f"{', '.join(foreign)} of {name}: not an option of a model, but of timm.create_model; leave it out"
        )
    return Source(architecture, arguments, config, str(stated.get("license") or ""))


def find_weights(name: str) -> str | Path:
    """Where a model's pretrained weights come from.

    Args:
        name: What `find_source` takes.

    Returns:
        For a timm name a file of the folder `$VITOL_WEIGHTS` if that is set (the tag of timm's default weights may
        be left out, in the name or in the file's), else "hub". Otherwise the file of the folder (the hub's is
        fetched, and kept where its other files are), or the checkpoint itself.

    Raises:
        CheckpointError: If there is no such file, or the hub cannot be reached.
    """
    if name.startswith((LOCAL, HUB)):
        return _folder_file(name, TENSORS)
    if name.endswith(".safetensors"):
        return Path(name).expanduser()
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if not folder:
        return "hub"
    paths = [Path(folder) / f"{each}.safetensors" for each in _spellings(name)]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise CheckpointError(
            f"{WEIGHTS_VARIABLE} is set, but there is no {paths[0]}; put the weights there, or unset the variable "
            "to take those of timm's hub"
        )
    return found


def _folder_file(name: str, wanted: str) -> Path:
    """A file of a model's folder, here or on the hub; a model whose weights are only pickled is refused."""
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL)).expanduser()
        path = folder / wanted
        if path.is_file() and (wanted == TENSORS or (folder / TENSORS).is_file()):
            return path
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is not a folder; give one with {CONFIG} and {TENSORS}")
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pth", ".pt"))
        if pickled and not (folder / TENSORS).is_file():
            raise CheckpointError(
                f"{folder} has {', '.join(pickled)} but no {TENSORS}; pickled weights can run code and are not "
                "read: save them as safetensors"
            )
        missing = path.name if not path.is_file() else TENSORS
        raise CheckpointError(f"{folder / missing} is missing; a model's folder has {CONFIG} and {TENSORS}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        return Path(hf_hub_download(repository, wanted, revision=revision or None))
    except (OSError, ValueError, EntryNotFoundError) as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(
                f"{name} has no {wanted}; pickled weights can run code and are not read: take a model with "
                f"{CONFIG} and {TENSORS}"
            ) from error
        raise CheckpointError(
            f"{name} is not there, or the hub cannot be reached ({error}); fetch {CONFIG} and {TENSORS} of it into "
            f"a folder elsewhere and give {LOCAL}FOLDER"
        ) from error


def _read_config(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Architecture, its options, and those of `KEPT` that a folder's config has."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # Old files have all that is said of the weights at the top; new ones the names of the classes.
        stated = {**content.get("pretrained_cfg", {}), **content}
        architecture, options = str(content["architecture"]), dict(content.get("model_args") or {})
        options.pop("num_classes", None)
        if stated.get("fixed_input_size"):
            options.setdefault("img_size", list(stated["input_size"][1:]))
        for key in {"mean", "std"} & stated.keys():
            stated[key] = tuple(map(float, stated[key]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is no config of a timm model ({error!r}); needed: JSON with architecture and pretrained_cfg, "
            "as timm and `vitol export` write it"
        ) from error
    return architecture, options, {key: stated[key] for key in KEPT if stated.get(key) is not None}


def _timm_config(name: str) -> dict[str, Any]:
    """What timm knows of the weights of a model name; nothing where it has none."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a tag that it does not know
        return {}
    return {} if config is None else config.to_dict()


def _spellings(name: str) -> list[str]:
    """A timm name, and its other one, without or with the tag, where the tag is that of the default weights."""
    base, _, tag = name.partition(".")
    default = _timm_config(base).get("tag")
    if not default or tag not in ("", default):
        return [name]
    return [name, base if tag else f"{base}.{default}"]
