"""Options of `vitol score` and `vitol report`: those of both, whose file is which, which policies are asked for."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitol.wording import counted

if TYPE_CHECKING:
    from vitol.scoring import Method


OF_PREDICTED = "Maps of the predicted class"

Maps = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]FOLDER",
        help="Maps of a method, <image id>.npy; repeat to compare methods. The folder's name if none is given.",
    ),
]
Metadata = Annotated[
    Path, typer.Option(metavar="METADATA", help="Folder of the split's text files, in the WSOL format.")
]
Logits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]FILE",
        help="Logits, .npy (images, classes) in the order of image_ids.txt; one file for all methods, or one "
        "each. Gives Top-1 and Top-5.",
    ),
]
PredictedMaps = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]FOLDER", help=f"{OF_PREDICTED}. Gives Predicted Loc."),
]
ReferenceNan = Annotated[
    bool,
    typer.Option("--reference-nan", help="Score maps with NaN as zeros, as the reference evaluator does."),
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="Leave out images without a map, and maps without an image."),
]
Replicates = Annotated[int, typer.Option(metavar="COUNT", help="Of the bootstrap, for the intervals.")]
Seed = Annotated[int, typer.Option(metavar="NUMBER", help="Of the bootstrap.")]
Workers = Annotated[int | None, typer.Option(metavar="COUNT", help="Threads; one a core if not given.")]


class Policy(StrEnum):
    """How thresholds are chosen."""

    ORACLE_PER_IOU = "oracle-per-iou"
    ORACLE_SINGLE = "oracle-single"
    VALIDATION = "validation"
    FIXED = "fixed"


def read_methods(
    maps: Sequence[str],
    logits: Sequence[str],
    predicted: Sequence[str],
    val_maps: Sequence[str],
    val_logits: Sequence[str],
    val_predicted: Sequence[str],
) -> "list[Method]":
    """The methods that the options speak of.

    Raises:
        ValueError: If it is not clear which option is for which method.
    """
    from vitol.scoring import Files, Method

    named = [read_named(text) for text in maps]
    names = [name or path.resolve().name for name, path in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"two methods are called {twice!r}; give each a name of its own, such as --maps {twice}-2=FOLDER"
        )
    if (val_logits or val_predicted) and not val_maps:
        raise ValueError("--val-logits and --val-predicted-maps go with --val-maps, which is missing")
    of_logits = assign("--logits", logits, names, shared=True)
    of_predicted = assign("--predicted-maps", predicted, names)
    of_val = assign("--val-maps", val_maps, names)
    of_val_logits = assign("--val-logits", val_logits, names, shared=True)
    of_val_predicted = assign("--val-predicted-maps", val_predicted, names)
    return [
        Method(
            name,
            Files(path, of_predicted.get(name), of_logits.get(name)),
            Files(of_val[name], of_val_predicted.get(name), of_val_logits.get(name))
            if name in of_val
            else None,
        )
        for name, (_, path) in zip(names, named, strict=True)
    ]


def read_named(text: str) -> tuple[str, Path]:
    """Name, "" if there is none, and path of `[NAME=]PATH`; a path that exists may hold an equals sign."""
    name, sign, path = text.partition("=")
    if not sign or Path(text).exists():
        return "", Path(text)
    if not name or not path:
        raise ValueError(f"{text!r} is neither a path nor NAME=PATH")
    return name, Path(path)


def assign(option: str, texts: Sequence[str], names: Sequence[str], shared: bool = False) -> dict[str, Path]:
    """Which method each value of an option is for: as named, or in the order of the methods.

    Args:
        option: Its name, for errors.
        texts: Its values.
        names: The methods'.
        shared: Whether one value without a name is for all methods.

    Raises:
        ValueError: If a name is unknown or repeated, or it is not clear which method a value is for.
    """
    values = [read_named(text) for text in texts]
    if values and not any(name for name, _ in values):
        paths = [path for _, path in values]
        if shared and len(paths) == 1:
            paths *= len(names)
        if len(paths) != len(names):
            raise ValueError(
                f"{option} is given {counted(len(paths), 'time')} for {counted(len(names), 'method')}; say which it "
                "is for: "
                f"{option} {names[0]}={paths[0]}"
            )
        return dict(zip(names, paths, strict=True))
    given = [name for name, _ in values]
    for name, path in values:
        if name not in names:
            called = f"{name!r} in {option} {name}={path}" if name else f"{option} {path}, without a name,"
            raise ValueError(f"{called} is none of the methods: {', '.join(names)}")
        if given.count(name) > 1:
            raise ValueError(f"{option} is given twice for {name}; keep one")
    return dict(values)


def chosen_policies(
    asked: Sequence[Policy] | None,
    threshold: float | None,
    val_maps: Sequence[str] | None,
    val_metadata: Path | None,
    val_cut: bool,
) -> list[str]:
    """The policies asked for; without any, the usual one and those that the other options are for.

    Raises:
        ValueError: If the maps of other images come without their metadata, or nobody needs them.
    """
    if bool(val_maps) != (val_metadata is not None):
        raise ValueError(
            "--val-maps and --val-metadata go together: maps of other images, and their text files"
        )
    if asked:
        policies = [policy.value for policy in asked]
        if (val_maps or val_cut) and "validation" not in policies:
            option = "--val-maps" if val_maps else "--val-cut"
            raise ValueError(
                f"{option} is for the policy validation: add --policy validation, or leave it out"
            )
        return policies
    policies = ["oracle-per-iou"]
    if val_maps or val_cut:
        policies += ["oracle-single", "validation"]
    return [*policies, "fixed"] if threshold is not None else policies
