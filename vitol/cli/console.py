"""What all commands share: bars, errors in words, examples below the help."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def examples(*commands: str) -> str:
    """Text below a command's help; Typer keeps the line ends that are doubled."""
    return "\n\n".join(("Examples:", *commands))


class Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """The mean rate so far; of a bar that is full, until then."""
        seconds = task.finished_time or task.elapsed
        rate = task.completed / seconds if seconds else 0
        return Text(f"{rate:,.{0 if rate >= 10 else 1}f} images/s", style="progress.data.speed")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with rate and time left for every activity that the yielded function is told of."""
    # A description names methods, which may hold brackets: no markup.
    activity_column = TextColumn("{task.description}", markup=False)
    columns = (activity_column, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def show(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                tasks[activity] = bars.add_task(activity)
            bars.update(tasks[activity], completed=done, total=total)

        yield show


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Show an error that the user can mend as red text, without a traceback, and exit with 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        raise typer.Exit(1) from error
