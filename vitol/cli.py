"""The `vitol` command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vitol import __version__

if TYPE_CHECKING:
    from vitol.photo_maps import PhotoMaps

SHOWN = 40  # rows of a result table at most


def examples(*commands: str) -> str:
    """Text below a command's help; Typer keeps the line ends that are doubled."""
    return "\n\n".join(("Examples:", *commands))


app = typer.Typer(pretty_exceptions_show_locals=False)
data = typer.Typer(no_args_is_help=True, help="Register data sets; draw the embedded one.")
app.add_typer(data, name="data")


class LayoutName(StrEnum):
    """Layouts of data sets that can be registered."""

    CUB = "cub"
    ILSVRC = "ilsvrc"
    WSOL = "wsol"


class Handling(StrEnum):
    """What is done about a data set's faults."""

    STOP = "stop"
    CLIP = "clip"
    DROP = "drop"


class Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """The mean rate so far."""
        rate = task.completed / task.elapsed if task.elapsed else 0
        return Text(f"{rate:,.{0 if rate >= 10 else 1}f} images/s", style="progress.data.speed")


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with rate and time left for every activity that the yielded function is told of."""
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def show(activity: str, done: int, total: int) -> None:
            if activity not in tasks:
                tasks[activity] = bars.add_task(activity)
            bars.update(tasks[activity], completed=done, total=total)

        yield show


def show_version(wanted: bool) -> None:
    """Print the version and end, if asked to."""
    if wanted:
        Console().print(f"vitol {__version__}", highlight=False)
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        'vitol explain photo.jpg --model deit_tiny_patch16_224 --class "bow tie"',
        "vitol data register cub ~/data/CUB_200_2011",
        "vitol data register --help",
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


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Show an error that the user can mend as red text, without a traceback, and exit with 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        raise typer.Exit(1) from error


@data.command(
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
    listed in one go. The manifest FOLDER/NAME.json says what the data set is
    and what was done about its faults. Where it lies stands in
    FOLDER/NAME.root; the variable VITOL_<NAME>_ROOT comes before that.

    Layouts: cub (CUB-200-2011), ilsvrc (ImageNet-1K as on Kaggle), wsol
    (folders train, val and test in the WSOL split format).
    """
    from vitol.datasets.register import register as check_and_register

    with errors_in_words(), progress_bars() as show:
        manifest = check_and_register(
            layout.value,
            root,
            name or layout.value,
            folder=folder,
            faults=faults.value,
            progress=lambda done, total: show("Checking images", done, total),
        )
    show_manifest(manifest, folder / f"{manifest['name']}.json")


def show_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Print what was registered, in a table and a few lines."""
    table = Table(title=f"{manifest['name']} ({manifest['layout']} layout)", title_justify="left")
    table.add_column("split")
    for column in ("images", "boxes", "width", "height"):
        table.add_column(column, justify="right")
    for split, found in manifest["splits"].items():
        ranges = ["-".join(map(str, sorted(set(found[side])))) for side in ("width", "height")]
        table.add_row(split, f"{found['images']:,}", f"{found['boxes']:,}", *ranges)
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


@data.command(epilog=examples("vitol data draw-mini mini.zip", "vitol data draw-mini mini.zip --force"))
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
        with Console(stderr=True).status("Drawing"):
            mini.write_archive(out)
        size = f"{out.stat().st_size / 1e6:.1f} MB"
        Console().print(f"{out}: {size}", soft_wrap=True, highlight=False, markup=False)


@app.command(
    epilog=examples(
        'vitol explain photo.jpg --model deit_tiny_patch16_224 --class "bow tie" --class 812',
        "vitol explain photos/ --model deit_small_patch16_224 --method gar --method lrp --out maps",
        "vitol explain bird.jpg --model results/models/cub/deit_tiny/mmp/seed0.safetensors",
    )
)
def explain(
    images: Annotated[list[Path], typer.Argument(help="Images, and folders of images (at any depth).")],
    model: Annotated[
        str, typer.Option(help="A timm model name, or the .safetensors file of a vitol checkpoint.")
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Name or index; repeat for more. The predicted class if not given."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How maps are made, gar if not given; repeat for more: ar, gar, lrp, relevance, full-lrp, "
            "attention, gradcam, legrad, attnlrp. ar and attention do not depend on the class.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("explained"),
    preset: Annotated[
        str, typer.Option(help="release (the paper's code, which made its numbers) or paper (its equations).")
    ] = "release",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Boxes are drawn where a map is above this fraction of its maximum. Without it the method's own, "
            "chosen for DeiT-Tiny on 100 ImageNet images: 0.14 for gar, 0.112 for lrp.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images a forward pass.")] = 16,
    names: Annotated[
        Path | None,
        typer.Option("--classes", help="Text file with the model's class names, one a line, in label order."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of an earlier run.")] = False,
) -> None:
    """Show where a vision transformer sees a class in photos.

    For every image, class and method, OUT gets the map (.npy, float32, raw)
    and a picture of it with the box of its largest contour (.png).
    boxes.json has all boxes, in pixels of the image, and what was asked;
    overview.png shows the first images beside their maps.

    A map says where the model would see the class, not whether it is there:
    read its probability.

    Weights of a timm model come from the folder $VITOL_WEIGHTS, or from
    timm's hub.
    """
    from vitol.photos import Explainer

    with errors_in_words():
        with Console(stderr=True).status(f"Loading {model}"):
            explainer = Explainer(model, names)
        with progress_bars() as show:
            results = explainer.explain(
                images,
                classes or (),
                method or "gar",
                preset,
                threshold,
                batch_size,
                out=out,
                force=force,
                progress=show,
            )
    show_results(results, out)


def show_results(results: "PhotoMaps", out: Path) -> None:
    """Print what was found, and where it was written."""
    from vitol.photo_maps import BOXES, OVERVIEW, percent

    table = Table(title=results.model, title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("class")
    table.add_column("probability", justify="right")
    table.add_column("method")
    table.add_column("box x0, y0, x1, y1", no_wrap=True)
    for found in results.maps[:SHOWN]:
        box = "none" if found.box is None else ", ".join(f"{value:.0f}" for value in found.box)
        label = f"{found.label} ({found.index}{', predicted' if found.predicted else ''})"
        table.add_row(
            *(Text(cell) for cell in (str(found.path), label, percent(found.probability), found.method, box))
        )
    console = Console()
    console.print(table)
    if len(results) > SHOWN:
        console.print(f"and {len(results) - SHOWN} more, in {BOXES}")
    for label, value in (
        ("boxes", out / BOXES),
        ("overview", out / OVERVIEW),
        ("maps", out / "*.npy, *.png"),
    ):
        console.print(f"{label:<10}{value}", soft_wrap=True, highlight=False, markup=False)
