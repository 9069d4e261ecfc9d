"""`vitol data`: fetch and register data sets, list, check and show them, draw the embedded one."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vitol.cli import data_check, data_list, data_sample, data_show, fetch
from vitol.cli.console import errors_in_words, examples, progress_bars
from vitol.cli.data_faults import faults_listed

commands = typer.Typer(
    no_args_is_help=True,
    help="Fetch and register data sets; list, check and show them; draw the embedded one.",
)


class LayoutName(StrEnum):
    """Layouts of data sets that can be registered."""

    CUB = "cub"
    ILSVRC = "ilsvrc"
    TINY_IMAGENET = "tiny-imagenet"
    OPENIMAGES = "openimages"
    WSOL = "wsol"


class Handling(StrEnum):
    """What is done about a data set's faults."""

    STOP = "stop"
    CLIP = "clip"
    DROP = "drop"


@commands.command(
    epilog=examples(
        "vitol data register cub ~/data/CUB_200_2011",
        "vitol data register ilsvrc ~/data/ILSVRC --faults clip",
        "vitol data register wsol ~/data/birds --name birds",
    )
)
def register(
    layout: Annotated[LayoutName, typer.Argument(help="How the data set is laid out.")],
    root: Annotated[Path, typer.Argument(help="Its folder; images stay there and are not copied.")],
    name: Annotated[str, typer.Option(help="What to call it; the layout's name if not given.")] = "",
    faults: Annotated[
        Handling,
        typer.Option(help="Stop at any fault, clip boxes that leave their image, or drop images at fault."),
    ] = Handling.STOP,
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
) -> None:
    """Check a data set and make it known under a name.

    Every image is decoded, every box and label checked; all faults are
    listed in one go, those of more than 50 in FOLDER/NAME.faults.csv. The
    manifest FOLDER/NAME.json says what the data set is
    and what was done about its faults. Where it lies stands in
    FOLDER/NAME.root; the variable VITOL_<NAME>_ROOT comes before that.

    Layouts: cub (CUB-200-2011), ilsvrc (ImageNet-1K, from Kaggle or from
    image-net.org), tiny-imagenet, openimages (OpenImages-30k, with masks),
    wsol (folders train, val and test in the WSOL split format). `vitol data
    list` says what each expects.
    """
    from vitol.datasets.register import register as check_and_register

    name = name or layout.value
    with (
        errors_in_words("nothing was registered; run the same command again"),
        faults_listed(name, folder, "nothing was registered"),
        progress_bars() as show,
    ):
        manifest = check_and_register(
            layout.value,
            root,
            name,
            folder=folder,
            faults=faults.value,
            progress=lambda done, total: show("Checking images", done, total),
        )
    show_manifest(manifest, folder / f"{manifest['name']}.json")


commands.command(epilog=fetch.EXAMPLES)(fetch.fetch)
commands.command("list", epilog=data_list.EXAMPLES)(data_list.list_datasets)
commands.command(epilog=data_check.EXAMPLES)(data_check.check)
commands.command(epilog=data_show.EXAMPLES)(data_show.show)
commands.command(epilog=data_sample.EXAMPLES)(data_sample.sample)


def show_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Print what was registered, in a table and a few lines."""
    table = Table(title=f"{manifest['name']} ({manifest['layout']} layout)", title_justify="left")
    table.add_column("split")
    masked = any("masks" in found for found in manifest["splits"].values())
    counts = ("images", "boxes", "masks") if masked else ("images", "boxes")
    for column in (*counts, "width", "height"):
        table.add_column(column, justify="right")
    for split, found in manifest["splits"].items():
        ranges = ["-".join(map(str, sorted(set(found[side])))) for side in ("width", "height")]
        table.add_row(split, *(f"{found.get(count, 0):,}" for count in counts), *ranges)
    handled = f"{len(manifest['faults'])} ({manifest['handling']})" if manifest["faults"] else "none"
    console = Console()
    console.print(table)
    for label, value in (
        ("classes", manifest["classes"]),
        ("faults", handled),
        ("fingerprint", manifest["fingerprint"]),
        ("manifest", path),
    ):
        console.print(f"{label:<12}{value}", soft_wrap=True, highlight=False, markup=False)


@commands.command(epilog=examples("vitol data draw-mini mini.zip", "vitol data draw-mini mini.zip --force"))
def draw_mini(
    out: Annotated[Path, typer.Argument(help="The archive to write, such as mini.zip.")],
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an archive that is there already.")
    ] = False,
) -> None:
    """Draw the embedded data set mini anew and write its archive.

    The same library versions draw the same bytes; others the same pictures within JPEG's tolerance.
    """
    from vitol.datasets import mini

    with errors_in_words():
        if out.exists() and not force:
            raise ValueError(f"{out} exists already; give another name, or --force to overwrite it")
        with progress_bars() as show:
            mini.write_archive(out, progress=lambda done, total: show("Drawing", done, total))
        size = f"{out.stat().st_size / 1e6:.1f} MB"
        Console().print(f"{out}: {size}", soft_wrap=True, highlight=False, markup=False)
