"""`vitol report`: anyone's maps as a page to explore in the browser."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vitol.cli.console import errors_in_words, examples, progress_bars
from vitol.cli.score_options import (
    AllowMissing,
    Logits,
    Maps,
    Metadata,
    PredictedMaps,
    ReferenceNan,
    Replicates,
    Seed,
    Workers,
    read_methods,
)
from vitol.cli.score_outputs import faults_text

EXAMPLES = examples(
    "vitol report --maps gar --metadata test --images images --out report.html",
    "vitol report --maps GAR=gar --maps AR=ar --metadata m --images . --out a.html",
)


def report(
    maps: Maps,
    metadata: Metadata,
    images: Annotated[
        Path, typer.Option(metavar="ROOT", help="Folder that the image ids of the split start from.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, .html.")],
    logits: Logits = None,
    predicted_maps: PredictedMaps = None,
    count: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Images in the gallery at most, spread over the split; all of them are scored.",
        ),
    ] = 200,
    reference_nan: ReferenceNan = False,
    allow_missing: AllowMissing = False,
    replicates: Replicates = 2000,
    seed: Seed = 0,
    workers: Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the page of an earlier run.")] = False,
) -> None:
    """Make a page of localization maps: scores, and a gallery whose boxes follow a slider.

    Maps and METADATA are those of `vitol score`; the page is one HTML file
    that asks nothing of the network. It shows the measurements under
    oracle-per-iou, who beats whom, and images with their maps, boxes and IoU
    at every threshold, to be filtered by how their boxes fail.
    """
    from vitol.datasets.faults import DatasetFaults
    from vitol.report.page import write_page
    from vitol.report.scored import scored_contents
    from vitol.score_report import check_free_file
    from vitol.scoring import read_scored_split, score_methods

    with errors_in_words():
        check_free_file(out, force)
        if count < 1:
            raise ValueError(f"--count {count} shows no image; give at least 1")
        methods = read_methods(maps, logits or [], predicted_maps or [], [], [], [])
        try:
            split = read_scored_split(metadata)
            if split.masks:
                raise ValueError(
                    f"{metadata} lists masks, and the page shows boxes; score masks with `vitol score`"
                )
            with progress_bars() as show:
                scores = score_methods(
                    methods,
                    split,
                    reference_nan=reference_nan,
                    allow_missing=allow_missing,
                    replicates=replicates,
                    seed=seed,
                    workers=workers,
                    progress=show,
                )
                contents = scored_contents(scores, split, images, count)
                write_page(contents, out, workers, show)
        except DatasetFaults as error:
            raise ValueError(faults_text(error, None, "no page was made")) from error
    Console().print(f"page {out}", soft_wrap=True, highlight=False, markup=False)
