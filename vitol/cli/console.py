"""What all commands share: exit codes, bars, errors and interruptions in words, JSON, examples below the help."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
from typer.core import TyperGroup

from vitol.wording import images_a_second

# What every command ends with; 2, wrong usage, is Typer's own.
FAULT, INTERRUPTED = 1, 130
EXIT_CODES = "Exit codes: 0 done, 1 the input has faults, 2 wrong usage, 130 interrupted (Ctrl-C)."
KEPT = "nothing was kept, and no file is half-written; run the same command again"


class Commands(TyperGroup):
    """The commands; an interruption is told in words also while a command's libraries are being loaded."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is asked for."""
        with interruptions_in_words(KEPT):
            return super().invoke(ctx)


def examples(*commands: str) -> str:
    """Text below a command's help; Typer keeps the line ends that are doubled."""
    return "\n\n".join(("Examples:", *commands))


class Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """The mean rate so far; of a bar that is full, until then."""
        seconds = task.finished_time or task.elapsed
        done = task.completed - task.fields["before"]
        rate = done / seconds if seconds else 0
        return Text(images_a_second(rate), style="progress.data.speed")


class Bars:
    """Shows a bar with rate and time left for every activity that it is told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, activity: str, done: int, total: int, before: int = 0) -> None:
        """Show how far an activity is; `before` were done by an earlier run, and do not count for the rate."""
        if activity not in self._tasks:
            self._tasks[activity] = self._progress.add_task(activity, before=before)
        self._progress.update(self._tasks[activity], completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Bars on stderr, until the `with` is left."""
    # A description names methods, which may hold brackets: no markup.
    activity_column = TextColumn("{task.description}", markup=False)
    columns = (activity_column, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)


@contextmanager
def errors_in_words(kept: str | Callable[[], str] = KEPT) -> Iterator[None]:
    """Show an error that the user can mend as red text, without a traceback, and exit with 1.

    An interruption is told as in `interruptions_in_words`.
    """
    with interruptions_in_words(kept):
        try:
            yield
        except (ValueError, OSError) as error:
            Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
            raise typer.Exit(FAULT) from error


@contextmanager
def interruptions_in_words(kept: str | Callable[[], str]) -> Iterator[None]:
    """Say after Ctrl-C what was kept and how to go on, in one line without a traceback, and exit with 130.

    Args:
        kept: That, to be read after "Interrupted: ".
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        text = kept if isinstance(kept, str) else kept()
        Console(stderr=True).print(Text(f"Interrupted: {text}", style="yellow"), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from interruption


def print_facts(*facts: tuple[str, object]) -> None:
    """Print what came out, a line a fact, the labels in a column."""
    width = 2 + max(len(label) for label, _ in facts)
    for label, value in facts:
        Console().print(f"{label:<{width}}{value}", soft_wrap=True, highlight=False, markup=False)


def print_json(content: Any) -> None:
    """Print JSON on stdout and nothing else, as it is: Rich would read emoji in it."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
