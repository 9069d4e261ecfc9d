"""`vitol data fetch`: download a data set from its official address."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from vitol.cli.console import errors_in_words, examples

EXAMPLES = examples(
    "vitol data fetch cub ~/data",
    "vitol data fetch tiny-imagenet ~/data --accept-terms",
)


class FetchName(StrEnum):
    """Data sets that can be fetched."""

    CUB = "cub"
    TINY_IMAGENET = "tiny-imagenet"


def fetch(
    name: Annotated[FetchName, typer.Argument(help="Which data set.")],
    folder: Annotated[Path, typer.Argument(help="Where archive and data set go.")] = Path(),
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Accept the data set's terms without being asked.")
    ] = False,
) -> None:
    """Download a data set, check it, and unpack it.

    An interrupted download goes on where it was. The archive's checksum must
    be right before anything is unpacked. Where there is no network, what to
    do by hand is printed; an archive that lies in FOLDER is not downloaded.
    """
    from vitol.datasets.download import ARCHIVES, register_command
    from vitol.datasets.download import fetch as download_and_unpack

    archive, folder = ARCHIVES[name.value], folder.expanduser()
    for line in (archive.title, archive.terms, f"Official page: {archive.page}"):
        Console().print(line, highlight=False, markup=False)
    with errors_in_words("what was downloaded is kept; run the same command again to go on from there"):
        if not accept_terms:
            try:
                agreed = typer.confirm("Do you accept these terms?")
            except typer.Abort:
                agreed = False  # nobody there to answer
            if not agreed:
                raise ValueError("the terms were not accepted, so nothing was fetched (--accept-terms)")
        with byte_bars() as show:
            made = download_and_unpack(archive, folder, show)
    for label, value in (
        ("archive", folder / archive.file),
        ("data set", made),
        ("next", register_command(archive, folder)),
    ):
        Console().print(f"{label:<10}{value}", soft_wrap=True, highlight=False, markup=False)


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with bytes, rate and time left for every activity that the yielded function is told of."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def show(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                # What an earlier run has got was not got at this one's rate.
                tasks[activity] = bars.add_task(activity, completed=done, total=total or None)
            bars.update(tasks[activity], completed=done, total=total or None)

        yield show
