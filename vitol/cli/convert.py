"""`vitol convert`: the ViTOL authors' checkpoints as safetensors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vitol.cli.console import errors_in_words, examples

if TYPE_CHECKING:
    from vitol.released import Released

EXAMPLES = examples(
    "vitol convert ViTOL-DeiT-B_IMAGENET_last.pth.tar vitol-base.safetensors",
    "vitol convert checkpoint.pth out.safetensors --classes 200",
    "vitol explain photo.jpg --model vitol-base.safetensors",
)


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="What torch.save wrote: the release's .pth.tar, or one like it.")
    ],
    out: Annotated[
        Path, typer.Argument(help="The .safetensors file to write; its record goes beside it as .json.")
    ],
    architecture: Annotated[
        str,
        typer.Option(
            help="Its timm model; told from width and number of blocks if not given.", show_default=False
        ),
    ] = "",
    classes: Annotated[
        int | None, typer.Option(help="The number of classes it must have; any if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite them.")] = False,
) -> None:
    """Convert a checkpoint of the ViTOL authors' release.

    Nothing in CHECKPOINT is executed: one that asks for more than tensors and
    plain containers is refused. Every tensor's name, shape and values are
    checked. OUT is a vitol checkpoint, for vitol explain and vitol export,
    and has timm's parameter names.
    """
    from vitol.released import convert as read_and_check
    from vitol.released import save_released
    from vitol.weight_files import file_digest

    with errors_in_words():
        if out.suffix != ".safetensors":
            raise ValueError(f"{out} does not end in .safetensors; give a name that does")
        for path in (out, out.with_suffix(".json")):
            if not force and path.exists():
                raise ValueError(f"{path} exists already; give another name, or --force to overwrite it")
        with Console(stderr=True).status(f"Converting {checkpoint}"):
            released = read_and_check(checkpoint, architecture or None, classes)
            save_released(released, checkpoint, out)
            digests = file_digest(checkpoint), file_digest(out)
    show_released(released, inferred=not architecture, digests=digests, out=out)


def show_released(released: "Released", *, inferred: bool, digests: tuple[str, str], out: Path) -> None:
    """Print what was converted, a line a fact."""
    said = f"{released.architecture} ({'told from its size' if inferred else 'as given'})"
    for label, value in (
        ("tensors", f"{len(released.tensors):,}"),
        ("parameters", f"{released.parameters:,}"),
        ("architecture", said),
        ("classes", f"{released.num_classes:,}"),
        ("sha256 before", digests[0]),
        ("sha256 after", digests[1]),
        ("written", out),
    ):
        Console().print(f"{label:<15}{value}", soft_wrap=True, highlight=False, markup=False)
