"""`vitol train`: a classifier with p-ADL, or without."""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from vitol.cli import completions
from vitol.cli.console import errors_in_words, examples, print_facts, progress_bars
from vitol.wording import percent

EXAMPLES = examples(
    "vitol train cub --model deit_tiny_patch16_224 --out cub-mmp.safetensors",
    "vitol train cub --model cub-mmp.safetensors --lr 1e-5 --out more.safetensors",
    "vitol explain bird.jpg --model cub-mmp.safetensors",
)
# Groups of options in the help.
PADL, CHANGES, RUN = "p-ADL", "Instead of what the schedule says", "How it is computed"


class Place(StrEnum):
    """Where p-ADL is put."""

    MMP = "MMp"
    MPM = "MpM"
    NONE = "none"


POSITIONS: dict[Place, Literal["MMp", "MpM"] | None] = {
    Place.MMP: "MMp",
    Place.MPM: "MpM",
    Place.NONE: None,
}


class ScheduleName(StrEnum):
    """Schedules of the paper."""

    IMAGENET = "imagenet"
    CUB_BASELINE = "cub-baseline"
    CUB_PADL = "cub-padl"


class PrecisionName(StrEnum):
    """Precisions of training."""

    BF16 = "bf16"
    FP32 = "fp32"


def of_schedule(metavar: str, help_text: str) -> Any:
    """An option that takes the schedule's value if it is not given."""
    return typer.Option(metavar=metavar, help=help_text, rich_help_panel=CHANGES, show_default=False)


def train(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A registered data set, or a folder with train/ (and val/) in the WSOL split format.",
            autocompletion=completions.dataset_or_folder,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="A timm model name, local-dir:FOLDER, hf-hub:ORG/NAME, or a vitol checkpoint (.safetensors)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.safetensors", help="The checkpoint; its record and log go beside it."),
    ],
    padl: Annotated[
        Place,
        typer.Option(
            help="After the MLP (MMp), between attention and MLP (MpM), or not at all.",
            metavar="MMp|MpM|none",
            case_sensitive=False,
            rich_help_panel=PADL,
        ),
    ] = Place.MMP,
    drop_rate: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", min=0, max=1, help="Alpha, how often the mask is drawn.", rich_help_panel=PADL
        ),
    ] = 0.75,
    drop_threshold: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            min=0,
            max=1,
            help="Lambda, the fraction of the maximum from which a token drops.",
            rich_help_panel=PADL,
        ),
    ] = 0.9,
    per_image: Annotated[
        bool,
        typer.Option("--per-image", help="Draw for each image, not for the batch.", rich_help_panel=PADL),
    ] = False,
    schedule: Annotated[
        ScheduleName,
        typer.Option(
            metavar="NAME",
            help="Of section 4.3 of the paper. imagenet: 10 epochs, rate 1e-4, a tenth of it every 3; cub-baseline: "
            "50, 1e-4, every 10; cub-padl: 15, 1e-5, every 5.",
        ),
    ] = ScheduleName.IMAGENET,
    epochs: Annotated[int | None, of_schedule("COUNT", "Passes over the images.")] = None,
    lr: Annotated[float | None, of_schedule("RATE", "Learning rate at the start.")] = None,
    decay_every: Annotated[int | None, of_schedule("EPOCHS", "After how many the rate decays.")] = None,
    decay_factor: Annotated[float | None, of_schedule("FACTOR", "By which it decays.")] = None,
    warmup_epochs: Annotated[float | None, of_schedule("EPOCHS", "Over which the rate rises.")] = None,
    weight_decay: Annotated[float | None, of_schedule("NUMBER", "Weight decay.")] = None,
    batch_size: Annotated[int | None, of_schedule("COUNT", "Images a step.")] = None,
    optimizer: Annotated[str | None, of_schedule("NAME", "Of timm's factory.")] = None,
    precision: Annotated[PrecisionName | None, of_schedule("bf16|fp32", "What is computed in.")] = None,
    label_smoothing: Annotated[float | None, of_schedule("NUMBER", "Of the cross-entropy.")] = None,
    clip_norm: Annotated[float | None, of_schedule("NORM", "Largest gradient norm; 0: any.")] = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Start from random weights, not from the model's.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Of the timm model, such as img_size=64 or depth=6; repeat for more."
        ),
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the images before the random crop to the model's input; 256 for 224 (8/7) if not given.",
            show_default=False,
        ),
    ] = None,
    val_cut: Annotated[
        bool,
        typer.Option(
            "--val-cut", help="Take a tenth of the train images for validation, as the pipeline does."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Of everything that is drawn.")] = 0,
    workers: Annotated[
        int,
        typer.Option(min=0, metavar="COUNT", help="Processes that decode images.", rich_help_panel=RUN),
    ] = 2,
    snapshot_every: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="How often what is done is kept, at most.", rich_help_panel=RUN
        ),
    ] = 60,
    folder: Annotated[Path, typer.Option(help="Where data sets are registered.", rich_help_panel=RUN)] = Path(
        "registered"
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an earlier checkpoint.", rich_help_panel=RUN)
    ] = False,
) -> None:
    """Train a classifier on class labels alone, with p-ADL in every block.

    The model's head is made anew for the data set's classes. Images are
    resized, cropped at random and flipped, as section 4.3 of the paper says;
    the last epoch's weights are the result. val/ only reports: it chooses
    nothing.

    OUT is a vitol checkpoint, for vitol explain and vitol export; its record
    (.json) and its log (.csv, an epoch a row) go beside it.

    Interrupted training goes on: give the same command again. Its state waits
    in a folder beside OUT, with .resume instead of .safetensors.
    """
    with errors_in_words(lambda: left_by(out)):
        if out.suffix != ".safetensors":
            raise ValueError(f"{out} does not end in .safetensors; give a name that does")
        if out.exists() and not force and not left_for(out):
            raise ValueError(f"{out} exists already; give another name, or --force to overwrite it")
        given: dict[str, Any] = {
            "epochs": epochs,
            "lr": lr,
            "decay_every": decay_every,
            "decay_factor": decay_factor,
            "warmup_epochs": warmup_epochs,
            "weight_decay": weight_decay,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "precision": precision and precision.value,
            "label_smoothing": label_smoothing,
            "clip_norm": clip_norm,
        }
        options = dict(map(read_option, option or ()))
        with Console(stderr=True).status("Loading libraries and data"):
            from vitol.classifier import train_classifier
            from vitol.fitting import epoch_in_words
            from vitol.processes import team
            from vitol.schedules import SCHEDULES
            from vitol.training_inputs import read_training_data

            recipe = replace(
                SCHEDULES[schedule.value], **{key: value for key, value in given.items() if value is not None}
            )
            data = read_training_data(dataset, folder, val_cut=val_cut)
        with progress_bars() as bars:
            before: list[int] = []

            def show(done: int, total: int) -> None:
                before.append(done)
                bars("Training", done, total, before[0])

            final = train_classifier(
                model,
                data,
                out,
                recipe,
                position=POSITIONS[padl],
                padl={
                    "drop_rate": drop_rate,
                    "drop_threshold": drop_threshold,
                    "per_image": per_image,
                    "class_token": True,
                },
                scratch=scratch,
                options=options,
                resize=resize,
                seed=seed,
                workers=workers,
                every_seconds=snapshot_every,
                progress=show,
                told=lambda epoch, rate: bars.say(epoch_in_words(epoch, recipe.epochs, rate)),
                said=bars.say,
            ).log[-1]
    if not team().is_main_process:
        return
    print_facts(
        ("checkpoint", out),
        ("beside it", f"{out.with_suffix('.json').name}, {out.with_suffix('.csv').name}"),
        ("top-1", f"train {percent(final.train_top1)}, validation {percent(final.val_top1)}"),
        ("use", f"vitol explain photo.jpg --model {out}"),
    )


def read_option(text: str) -> tuple[str, Any]:
    """Key and value of `KEY=VALUE`; the value is JSON, or text if it is none.

    >>> read_option("img_size=64"), read_option("global_pool=avg")
    (('img_size', 64), ('global_pool', 'avg'))
    """
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ValueError(f"--option {text} is not KEY=VALUE; give one such as --option img_size=64")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def left_for(out: Path) -> bool:
    """Whether an interrupted training of this very checkpoint waits: its end may have been cut off."""
    from vitol.classifier import goes_on

    return goes_on(out)


def left_by(out: Path) -> str:
    """What an interrupted training has left."""
    from vitol.classifier import kept_in_words

    return kept_in_words(out)
