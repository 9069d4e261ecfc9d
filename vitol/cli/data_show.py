"""`vitol data show`: a contact sheet of a registered data set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli import completions
from vitol.cli.console import errors_in_words, examples

EXAMPLES = examples(
    "vitol data show cub", "vitol data show ilsvrc --split test --count 60 --seed 1 --out images.png"
)


def show(
    name: Annotated[
        str, typer.Argument(help="What the data set is called.", autocompletion=completions.datasets)
    ],
    split: Annotated[str, typer.Option(help="Which of its splits.")] = "test",
    count: Annotated[int, typer.Option(help="How many images, spread over the classes.")] = 24,
    seed: Annotated[int, typer.Option(help="Which images; the same number shows the same ones.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The picture; NAME-SPLIT.png if not given.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a picture that is there already.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
) -> None:
    """Draw images of a registered data set with their boxes or masks: a contact sheet.

    Boxes and outlines of masks are green. What masks leave out has a white,
    dashed outline.
    """
    from vitol.atomic import atomic_file
    from vitol.contact_sheet import contact_sheet
    from vitol.datasets.register import load
    from vitol.wording import counted

    path = Path(f"{name}-{split}.png") if out is None else out
    with errors_in_words():
        layout = load(name, folder)
        if path.suffix != ".png":
            raise ValueError(f"{path} is no name of a PNG; give one that ends with .png")
        if path.exists() and not force:
            raise ValueError(f"{path} exists already; give another name (--out), or --force to overwrite it")
        with Console(stderr=True).status("Drawing"), atomic_file(path) as partial:
            drawn = contact_sheet(layout, split, partial, f"{name}, {split}", count, seed)
    Console().print(f"{path}: {counted(drawn, 'image')}", soft_wrap=True, highlight=False, markup=False)
