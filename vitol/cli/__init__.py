"""The `vitol` command: one module a sub-command, and what they share in `console`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vitol import __version__
from vitol.cli import convert, data, doctor, explain, export, report, score, tables, train
from vitol.cli.console import EXIT_CODES, Commands, examples

# Groups of commands in the help, in this order.
FIRST, DATA, RESULTS, FILES = "Start here", "Data and training", "Results", "Checkpoints"

app = typer.Typer(cls=Commands, pretty_exceptions_show_locals=False)
app.command(epilog=doctor.EXAMPLES, rich_help_panel=FIRST)(doctor.doctor)
app.command(epilog=explain.EXAMPLES, rich_help_panel=FIRST)(explain.explain)
app.command(epilog=score.EXAMPLES, rich_help_panel=FIRST)(score.score)
app.command(epilog=train.EXAMPLES, rich_help_panel=DATA)(train.train)
app.add_typer(data.commands, name="data", rich_help_panel=DATA)
app.command(epilog=tables.EXAMPLES, rich_help_panel=RESULTS)(tables.tables)
app.command(epilog=report.EXAMPLES, rich_help_panel=RESULTS)(report.report)
app.command(epilog=export.EXAMPLES, rich_help_panel=FILES)(export.export)
app.command(epilog=convert.EXAMPLES, rich_help_panel=FILES)(convert.convert)


def show_version(wanted: bool) -> None:
    """Print the version and end, if asked to."""
    if wanted:
        Console().print(f"vitol {__version__}", highlight=False)
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "vitol doctor",
        'vitol explain photo.jpg --model deit_tiny_patch16_224 --class "bow tie"',
        "vitol score --maps GAR=maps/gar --maps AR=maps/ar --metadata metadata/test",
        "vitol data register cub ~/data/CUB_200_2011",
        EXIT_CODES,
    ),
)
def vitol(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Weakly supervised object localization with vision transformers: the ViTOL paper, reproducible.

    Where does a model look, and how well does that box its object? Ask it about
    a photo (explain), score anyone's maps (score), train with p-ADL (train),
    rebuild the paper's tables (tables). `vitol COMMAND --help` tells more.
    """
    if context.invoked_subcommand is None:
        Console().print(Text.from_ansi(context.get_help()))
