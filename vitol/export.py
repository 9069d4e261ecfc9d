"""A vitol checkpoint as a folder that timm loads: config, weights, and a model card.

    timm.create_model("local-dir:FOLDER", pretrained=True)

The card says what is in the checkpoint's record, and leaves out what is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from timm.models import save_for_hf
from torch import nn

from vitol.atomic import atomic_folder
from vitol.checkpoints import load_checkpoint
from vitol.photo_input import Preparation
from vitol.sources import CONFIG, TENSORS
from vitol.weight_files import writing
from vitol.wording import counted

CARD = "README.md"
SHOWN = 10  # names of classes in the card
FILES = (CONFIG, TENSORS, CARD)
ARCHITECTURAL = ("architecture", "first_conv", "classifier", "pool_size", "fixed_input_size")
"""What timm's config says of a model whatever its weights are; the rest is about timm's own weights."""
TAGS = ("image-classification", "timm", "vitol", "weakly-supervised-object-localization")
UNKNOWN_LICENSE = (
    "license: # not in the checkpoint's record: that of the weights it started from, and its data's terms"
)

INTRODUCTION = """\
A classifier whose attention localizes what it classifies, exported from a vitol checkpoint.

Everything below is from the record in that checkpoint; what the record does not hold is said to be missing. Nothing
was measured for this card."""
USAGE = """\
## Loading it

```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
```

Images are resized straight to {width} x {height} (width x height), bilinear, without a crop:
`timm.data.create_transform(**timm.data.resolve_model_data_config(model))` does that.

## Maps and boxes

```
vitol explain photo.jpg --model local-dir:FOLDER
```"""


def export(checkpoint: Path, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write a checkpoint as a folder for timm: all of it or nothing.

    It is written beside its place and takes it at the end.

    Args:
        checkpoint: A file of `vitol.checkpoints.save_checkpoint`.
        out: The folder to write.
        force: Replace a folder of an earlier export.

    Returns:
        The checkpoint's record.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged, or the folder cannot be written.
        ValueError: If the folder is there already (with `force`: if anything but an export is in it).
    """
    check_replaceable(out, force)
    model, record = load_checkpoint(checkpoint)
    prepare = Preparation.of_record(model, record)
    with writing(out.absolute()), atomic_folder(out) as new:
        _write_model(model, record, prepare, new)
        (new / CARD).write_text(card(record, prepare), encoding="utf-8")
        for name in FILES:
            with (new / name).open("rb+") as handle:
                os.fsync(handle.fileno())
    return record


def check_replaceable(out: Path, force: bool) -> None:
    """Refuse a folder that is there, or, with `force`, one that holds anything but an export.

    Raises:
        ValueError: If the folder may not be written.
    """
    if not out.exists():
        return
    if not force:
        raise ValueError(f"{out} exists already; give another name, or --force to replace it")
    if not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder to write")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in FILES)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ValueError(
            f"{out} holds {foreign[0]}{more}, which no export wrote; give another folder, or move that away"
        )


def card(record: Mapping[str, Any], prepare: Preparation) -> str:
    """The model card, Markdown below a YAML header: what the record says, and how to use the model.

    Args:
        record: Of the checkpoint. Known keys beside those needed for loading: classes, variant, dataset, weights,
            license, recipe, padl, seed, draws, final, from.
        prepare: What photos must go through.
    """
    header = {"library_name": "timm", "pipeline_tag": "image-classification", "tags": list(TAGS)}
    license_ = _inherited(record, "license")
    stated = yaml.safe_dump({"license": license_}).strip() if license_ else UNKNOWN_LICENSE
    height, width = prepare.size
    sections = {
        "What it is": _facts(record, prepare),
        **{f"Training: {variant}": _training(made) for variant, made in _stages(record)},
        "Classes": _classes(record.get("classes") or ()),
    }
    parts = [f"---\n{yaml.safe_dump(header, sort_keys=False)}{stated}\n---"]
    parts += [f"# {record['architecture']}, {record.get('variant', 'variant not recorded')}", INTRODUCTION]
    parts += [
        f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in sections.items()
    ]
    parts += [USAGE.format(width=width, height=height)]
    return "\n\n".join(parts) + "\n"


def _write_model(model: nn.Module, record: Mapping[str, Any], prepare: Preparation, folder: Path) -> None:
    """Write timm's config and the weights.

    timm's own facts about its weights (tag, licence, paper) are not those of this checkpoint and are left out.
    """
    known: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    stated = {
        "num_classes": record["num_classes"],
        "input_size": [3, *prepare.size],
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        "interpolation": prepare.interpolation,
        "crop_pct": 1.0,
        "crop_mode": "squash",
    }
    license_ = _inherited(record, "license")
    if license_:
        stated["license"] = license_
    model.pretrained_cfg = {key: known[key] for key in ARCHITECTURAL if key in known} | stated  # type: ignore[assignment]
    config: dict[str, Any] = {"pretrained_cfg": stated}
    if record.get("classes"):
        config["label_names"] = list(record["classes"])
    save_for_hf(model, str(folder), config, model_args=dict(record["options"]), safe_serialization=True)


def _inherited(record: Mapping[str, Any], key: str) -> Any:
    """A record's value, or that of the record it started from; None where neither has one."""
    while key not in record and isinstance(record.get("from"), Mapping):
        record = record["from"]
    return record.get(key)


def _facts(record: Mapping[str, Any], prepare: Preparation) -> Iterator[str]:
    """What the model is, a line each."""
    yield f"Architecture: `{record['architecture']}` of timm"
    if record["options"]:
        yield f"Its options: {_inline(record['options'])}"
    yield f"Classes: {record['num_classes']:,}"
    yield f"Mean and deviation of the input: {_inline(prepare.mean)}, {_inline(prepare.std)}"
    yield f"Data set: {_inherited(record, 'dataset') or 'not in the record'}"
    weights = _inherited(record, "weights")
    known = {"random": "random", "hub": "those of timm's hub", None: "not in the record"}
    yield f"Base weights, which training started from: {known.get(weights, f'`{weights}`')}"


def _stages(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The variants that were trained one from another, with their records, the first one first."""
    started = record.get("from")
    if isinstance(started, Mapping):
        yield from _stages(started)
    yield record.get("variant", "variant not recorded"), record


def _training(made: Mapping[str, Any]) -> Iterator[str]:
    """p-ADL, recipe and final figures of one training, a line each."""
    if "padl" in made:
        yield f"p-ADL: {_inline(made['padl']) if made['padl'] else 'none'}"
    yield f"Recipe: {_inline(made['recipe']) if made.get('recipe') else 'not in the record'}"
    for key, said in (("seed", "Seed"), ("draws", "Seed of order, crops and dropout")):
        if key in made:
            yield f"{said}: {made[key]}"
    if made.get("final"):
        yield f"Last epoch (top-1 in percent): {_inline(made['final'])}"


def _classes(names: Sequence[str]) -> Iterator[str]:
    """How many names there are, and the first ones."""
    if names:
        shown = "; ".join(names[:SHOWN]) + ("; ..." if len(names) > SHOWN else "")
        yield f"{counted(len(names), 'name')}, all of them in `{CONFIG}` (`label_names`): {shown}"
    else:
        yield "without names in the record"


def _inline(value: Any) -> str:
    """A value of the record in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inline(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_inline, value))
    return "not measured" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
