"""`vitol explain`: maps and boxes of photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitol.cli import completions
from vitol.cli.console import errors_in_words, examples, print_json, progress_bars

if TYPE_CHECKING:
    from vitol.photo_maps import PhotoMaps

SHOWN = 40  # rows of a result table at most
EXAMPLES = examples(
    'vitol explain photo.jpg --model deit_tiny_patch16_224 --class "bow tie"',
    "vitol explain photos/ --model deit_small_patch16_224 --method gar --method lrp",
    "vitol explain bird.jpg --model cub-mmp.safetensors --json > boxes.json",
)


def explain(
    images: Annotated[list[Path], typer.Argument(help="Images, and folders of images (at any depth).")],
    model: Annotated[
        str,
        typer.Option(
            help="A timm model name, local-dir:FOLDER, hf-hub:ORG/NAME, or a vitol checkpoint (.safetensors)."
        ),
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
            autocompletion=completions.methods,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("explained"),
    preset: Annotated[
        str,
        typer.Option(
            help="release (the paper's code, which made its numbers) or paper (its equations).",
            autocompletion=completions.presets,
        ),
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
    json: Annotated[
        bool, typer.Option("--json", help="Print boxes.json; everything else goes to stderr.")
    ] = False,
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
    if json:
        print_json(results.record())
    show_results(results, out, Console(stderr=json))


def show_results(results: "PhotoMaps", out: Path, console: Console) -> None:
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
    console.print(table)
    if len(results) > SHOWN:
        console.print(f"and {len(results) - SHOWN} more, in {BOXES}")
    for label, value in (
        ("boxes", out / BOXES),
        ("overview", out / OVERVIEW),
        ("maps", out / "*.npy, *.png"),
    ):
        console.print(f"{label:<10}{value}", soft_wrap=True, highlight=False, markup=False)
