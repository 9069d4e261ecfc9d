"""The `vitol` command: one module a sub-command, and what they share in `console`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vitol import __version__
from vitol.cli import convert, data, explain, export, report, score
from vitol.cli.console import examples

app = typer.Typer(pretty_exceptions_show_locals=False)
app.add_typer(data.commands, name="data")
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=score.EXAMPLES)(score.score)
app.command(epilog=report.EXAMPLES)(report.report)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=convert.EXAMPLES)(convert.convert)


def show_version(wanted: bool) -> None:
    """Print the version and end, if asked to."""
    if wanted:
        Console().print(f"vitol {__version__}", highlight=False)
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        'vitol explain photo.jpg --model deit_tiny_patch16_224 --class "bow tie"',
        "vitol score --maps GAR=maps/gar --maps AR=maps/ar --metadata metadata/test",
        "vitol data register cub ~/data/CUB_200_2011",
        "vitol data register --help",
        "vitol export results/models/cub/deit_tiny/mmp/seed0.safetensors exported/cub-mmp",
    ),
)
def vitol(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Weakly supervised object localization with vision transformers: the ViTOL paper, reproducible."""
    if context.invoked_subcommand is None:
        Console().print(Text.from_ansi(context.get_help()))
