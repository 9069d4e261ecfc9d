"""`vitol score`: anyone's maps, as the field scores them."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli.console import errors_in_words, examples, print_json, progress_bars
from vitol.cli.score_options import (
    OF_PREDICTED,
    AllowMissing,
    Logits,
    Maps,
    Metadata,
    Policy,
    PredictedMaps,
    ReferenceNan,
    Replicates,
    Seed,
    Workers,
    chosen_policies,
    read_methods,
)
from vitol.cli.score_outputs import check_outputs, faults_file, faults_text
from vitol.cli.score_table import show_scores

EXAMPLES = examples(
    "vitol score --maps maps/gar --metadata metadata/test",
    "vitol score --maps GAR=maps/gar --maps AR=maps/ar --metadata test --out scores",
    "vitol score --maps maps/gar --metadata test --val-cut --json > scores.json",
    "vitol score --maps gar --metadata test --val-maps gar-val --val-metadata val",
)

CHOICE, RESULT = "How thresholds are chosen", "What is written"  # groups of options in the help


def score(
    maps: Maps,
    metadata: Metadata,
    logits: Logits = None,
    predicted_maps: PredictedMaps = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pixel masks, <image id without extension>.png, one for every image that is scored: a missing one is "
            "a fault, also with --allow-missing. Gives PxAP. Where METADATA lists masks and no boxes, as OpenImages' "
            "does: the folder that their paths start from.",
        ),
    ] = None,
    policy: Annotated[
        list[Policy] | None,
        typer.Option(
            metavar="POLICY",
            help="oracle-per-iou (the best on these images, for each IoU), oracle-single (the best on these images, "
            "one for all), validation (chosen on other images) or fixed (given); repeat for more. Without it "
            "oracle-per-iou and those that the other options are for.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION", help="Of the policy fixed, from 0 to below 1.", rich_help_panel=CHOICE
        ),
    ] = None,
    val_cut: Annotated[
        bool,
        typer.Option(
            "--val-cut",
            help="Choose thresholds on a third of the images, cut by a hash of their ids, and score the rest.",
            rich_help_panel=CHOICE,
        ),
    ] = False,
    val_maps: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FOLDER",
            help="Maps of other images, to choose thresholds on.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    val_metadata: Annotated[
        Path | None,
        typer.Option(metavar="METADATA", help="The text files of those images.", rich_help_panel=CHOICE),
    ] = None,
    val_logits: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="Logits of those images.", rich_help_panel=CHOICE),
    ] = None,
    val_predicted_maps: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FOLDER", help=f"{OF_PREDICTED}, of those images.", rich_help_panel=CHOICE
        ),
    ] = None,
    reference_nan: ReferenceNan = False,
    allow_missing: AllowMissing = False,
    floors: Annotated[
        bool,
        typer.Option(
            "--floors/--no-floors",
            help="Whether the centred Gaussian and the full image stand beside; they never look at an image.",
        ),
    ] = True,
    replicates: Replicates = 2000,
    seed: Seed = 0,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For report.json, scores.csv, differences.csv, views.csv and score.png.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For report.json alone.", rich_help_panel=RESULT)
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the report as JSON; everything else goes to stderr.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files of an earlier run.", rich_help_panel=RESULT)
    ] = False,
) -> None:
    """Score localization maps as the field does: MaxBoxAccV2 and its kin, with 95% intervals.

    Maps are .npy files, one an image, (h, w), of any size and any range of
    values: FOLDER/test/0001.jpg.npy for the image test/0001.jpg, as the
    reference evaluator (clovaai/wsolevaluation) writes them; without .jpg is
    fine, too. METADATA is a split in its format: image_ids.txt,
    class_labels.txt, image_sizes.txt and localization.txt. With masks in
    localization.txt, as of OpenImages, it gives PxAP alone.

    All methods are scored on the same images, and compared in pairs. Every
    fault of the files is listed, and nothing is scored while there is one.
    """
    from vitol.datasets.faults import DatasetFaults
    from vitol.score_report import report as report_of
    from vitol.score_report import save, save_faults, save_report
    from vitol.scoring import read_scored_split, score_methods

    command = shlex.join(["vitol", *sys.argv[1:]])
    list_of_faults = faults_file(out or report)
    with errors_in_words():
        check_outputs(out, report, list_of_faults, force)
        given = (logits, predicted_maps, val_maps, val_logits, val_predicted_maps)
        methods = read_methods(maps, *(values or [] for values in given))
        chosen = chosen_policies(policy, threshold, val_maps, val_metadata, val_cut)
        try:
            split = read_scored_split(metadata)
            validation = None if val_metadata is None else read_scored_split(val_metadata)
            with progress_bars() as show:
                scores = score_methods(
                    methods,
                    split,
                    validation=validation,
                    val_cut=val_cut,
                    masks=masks,
                    policies=chosen,
                    fixed=threshold,
                    floors=floors,
                    reference_nan=reference_nan,
                    allow_missing=allow_missing,
                    replicates=replicates,
                    seed=seed,
                    workers=workers,
                    progress=show,
                )
        except DatasetFaults as error:
            if list_of_faults is not None:
                save_faults(error.faults, list_of_faults)
            raise ValueError(faults_text(error, list_of_faults)) from error
        # Before files are written, which may fail: what was waited for is not lost.
        show_scores(scores, metadata, Console(stderr=json))
        if json:
            print_json(report_of(scores, command))
        if out is not None:
            save(scores, out, force, command)
        if report is not None:
            save_report(scores, report, force, command)
        if list_of_faults is not None:
            list_of_faults.unlink(missing_ok=True)  # of an earlier run: they are mended
    for label, path in (("scores", out and out / "*.csv, score.png, report.json"), ("report", report)):
        if path is not None:
            Console(stderr=json).print(f"{label:<8}{path}", soft_wrap=True, highlight=False, markup=False)
