"""`vitol data sample`: a handful of a registered data set, to rehearse on."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli import completions
from vitol.cli.console import errors_in_words, examples

EXAMPLES = examples(
    "vitol data sample cub ~/data/handful",
    "vitol data register wsol ~/data/handful --name handful",
    "vitol data sample ilsvrc ~/data/ilsvrc-100 --classes 100 --images 50",
)


def sample(
    name: Annotated[
        str, typer.Argument(help="What the data set is called.", autocompletion=completions.datasets)
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write; its images/ is a link.")],
    classes: Annotated[int, typer.Option(help="How many classes.")] = 4,
    images: Annotated[int, typer.Option(help="How many images of each class in each split.")] = 4,
    seed: Annotated[int, typer.Option(help="Which ones; the same number draws the same ones.")] = 0,
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
) -> None:
    """Draw a few classes and images of a registered data set: a small one in the WSOL split format.

    Images are not copied: OUT/images is a link to their folder. Where the
    pipeline would hold out train images for validation, the sample has a
    validation split of them. Register it as any data set, layout wsol.
    """
    from vitol.atomic import atomic_folder
    from vitol.datasets.layout import needs_validation_cut, with_validation_cut
    from vitol.datasets.register import load
    from vitol.datasets.sampling import sample as draw
    from vitol.datasets.wsol import write_wsol

    with errors_in_words("nothing was written"):
        layout = load(name, folder)
        if out.exists():
            raise ValueError(f"{out} exists already; give another folder, or remove it")
        if needs_validation_cut(layout):
            layout = with_validation_cut(layout)
        drawn = draw(layout, classes, images, seed)
        with atomic_folder(out) as fresh:
            write_wsol(drawn, fresh)
            (fresh / "images").symlink_to(layout.images.absolute(), target_is_directory=True)
    counts = ", ".join(f"{len(split):,} {split_name}" for split_name, split in drawn.splits.items())
    Console().print(
        f"{out}: {len(drawn.classes):,} of {len(layout.classes):,} classes, images {counts}; "
        f"next: vitol data register wsol {out} --name NAME",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
