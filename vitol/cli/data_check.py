"""`vitol data check`: whether a registered data set is still what it was."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli import completions
from vitol.cli.console import errors_in_words, examples, print_json, progress_bars
from vitol.cli.data_faults import faults_listed

EXAMPLES = examples("vitol data check cub", "vitol data check cub --json")


def check(
    name: Annotated[
        str, typer.Argument(help="What the data set is called.", autocompletion=completions.datasets)
    ],
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON; everything else goes to stderr.")] = False,
) -> None:
    """Check whether a registered data set is still what was registered.

    Its text files are compared, every image and mask is decoded, and its
    content compared. Everything that differs is listed (more than 50 faults in
    FOLDER/NAME.faults.csv), and the exit code is 1. Nothing else is written.
    """
    from vitol.datasets.checking import check as compare
    from vitol.datasets.faults import DatasetFaults
    from vitol.wording import counted

    with (
        errors_in_words(),
        faults_listed(name, folder, "it is not what was registered"),
        progress_bars() as show,
    ):
        try:
            found = compare(name, folder, lambda done, total: show("Checking images", done, total))
        except DatasetFaults as error:
            if json:
                print_json({"name": name, "sound": False, "faults": [asdict(each) for each in error.faults]})
            raise
    if json:
        counts = {"images": found.images, "masks": found.masks, "files": found.files}
        print_json({"name": name, "sound": True, "faults": [], **counts, "root": str(found.root)})
    images = ", ".join(f"{split} {counted(count, 'image')}" for split, count in found.images.items())
    masks = f", {counted(found.masks, 'mask file')}" if found.masks else ""
    Console(stderr=json).print(
        f"{name} is what was registered: {images}{masks}, {counted(found.files, 'text file')} in {found.root}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
