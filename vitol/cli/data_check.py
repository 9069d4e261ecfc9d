"""`vitol data check`: whether a registered data set is still what it was."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli.console import errors_in_words, examples, progress_bars
from vitol.cli.data_faults import faults_listed

EXAMPLES = examples("vitol data check cub")


def check(
    name: Annotated[str, typer.Argument(help="What the data set is called.")],
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
) -> None:
    """Check whether a registered data set is still what was registered.

    Its text files are compared, every image and mask is decoded, and its
    content compared. Everything that differs is listed (more than 50 faults in
    FOLDER/NAME.faults.csv), and the exit code is 1. Nothing else is written.
    """
    from vitol.datasets.checking import check as compare
    from vitol.wording import counted

    with (
        errors_in_words(),
        faults_listed(name, folder, "it is not what was registered"),
        progress_bars() as show,
    ):
        found = compare(name, folder, lambda done, total: show("Checking images", done, total))
    images = ", ".join(f"{split} {counted(count, 'image')}" for split, count in found.images.items())
    masks = f", {counted(found.masks, 'mask file')}" if found.masks else ""
    Console().print(
        f"{name} is what was registered: {images}{masks}, {counted(found.files, 'text file')} in {found.root}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
