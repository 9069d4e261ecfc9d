"""`vitol export`: a checkpoint as a folder that timm loads."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli.console import errors_in_words, examples

EXAMPLES = examples(
    "vitol export cub-mmp.safetensors exported/cub-mmp",
    "vitol explain bird.jpg --model local-dir:exported/cub-mmp",
)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="The .safetensors file of a vitol checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a folder of an earlier export.")] = False,
) -> None:
    """Write a checkpoint as a folder that timm loads, with a model card.

    OUT gets config.json, model.safetensors and README.md, whole or not at
    all. The card holds what the checkpoint's record says; its licence is
    yours to fill in where the record does not know it.

    timm.create_model("local-dir:OUT", pretrained=True) then has the
    checkpoint's logits.
    """
    from vitol.export import FILES
    from vitol.export import export as write

    with errors_in_words():
        with Console(stderr=True).status(f"Exporting {checkpoint}"):
            record = write(checkpoint, out, force=force)
    sizes = ", ".join(f"{name} ({(out / name).stat().st_size:,} bytes)" for name in FILES)
    for label, value in (
        ("architecture", record["architecture"]),
        ("classes", f"{record['num_classes']:,}"),
        ("written", out),
        ("files", sizes),
        ("use", f"vitol explain photo.jpg --model local-dir:{out}"),
    ):
        Console().print(f"{label:<14}{value}", soft_wrap=True, highlight=False, markup=False)
