"""Scores of anyone's maps (`vitol.scoring`) as a page: their measurements, who beats whom, and a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitol.datasets.faults import DatasetFaults
from vitol.datasets.splits import Split
from vitol.logits import read_logits
from vitol.map_folder import HIGHEST, MapFolder
from vitol.report.choice import spread
from vitol.report.contents import Cell, Column, Contents, Curve, Gallery, Layer, Of, Row, Sheet
from vitol.report.photos import read_photos
from vitol.report.sheets import number_cell
from vitol.scores import MethodScores, Scores
from vitol.views import accuracy_over_threshold
from vitol.wording import counted

TITLE = "Localization maps, scored"
LEAD = "How well these maps box their objects, and test images whose boxes follow the threshold."
STARTS_AT = "GTKnownLocV1"  # the slider, at this metric's threshold


def scored_contents(scores: Scores, split: Split, images: Path, count: int) -> Contents:
    """The page of some scores.

    Args:
        scores: Of at least one method's maps, by boxes, under a policy that chooses on these images.
        split: The images that were asked for, in the order of the logits.
        images: The folder that their ids start from.
        count: How many of them the gallery shows at most.

    Raises:
        DatasetFaults: If a map that was scored cannot be read any more.
        ValueError: If an image is missing, damaged or of another size.
    """
    rows = spread(scores.split, count)
    layers = [
        layer
        for method in scores.methods
        if method.files is not None
        for layer in _layers(method, scores, split, rows)
    ]
    total = counted(len(scores.split), "image")
    note = f"{len(rows)} of the {total} scored, spread over them by their place alone."
    photos = read_photos(scores.split, rows, images)
    return Contents(
        TITLE, LEAD, tuple(_sheets(scores)), (), (Gallery("Maps", note, (), photos, tuple(layers)),)
    )


def _layers(method: MethodScores, scores: Scores, split: Split, rows: Sequence[int]) -> list[Layer]:
    """A method's maps of the label and, if there are some, of the predicted class."""
    assert method.files is not None and method.found is not None  # neither a floor nor scored by masks
    n_images = len(scores.split)
    threshold = method.measurement(STARTS_AT).threshold
    assert threshold is not None  # this metric has a single one
    predicted = None
    if method.files.logits is not None:
        at = {image: row for row, image in enumerate(split.ids)}
        logits = read_logits(method.files.logits, split.labels)
        predicted = logits[[at[scores.split.ids[row]] for row in rows]].argmax(axis=1)
    chosen = f"The slider starts where most largest-contour boxes of all {n_images} images are right."
    layers = []
    kinds: list[tuple[Of, Path | None, np.ndarray | None]] = [
        ("label", method.files.maps, method.found.ious),
        ("predicted", method.files.predicted, method.found.predicted),
    ]
    for of, folder, ious in kinds:
        if folder is not None and ious is not None:
            maps = _maps(method.name, folder, scores.split, rows)
            curve = Curve(accuracy_over_threshold(ious), n_images)
            layers.append(Layer("", method.name, of, maps, threshold, chosen, curve, predicted))
    return layers


def _maps(name: str, folder: Path, split: Split, rows: Sequence[int]) -> list[np.ndarray]:
    """A folder's maps of some images; those that are not finite were scored as zeros, and are zeros here."""
    names = [split.ids[row] for row in rows]
    reader = MapFolder.open(name, folder, split.ids).reader(names, reference_nan=True)
    maps = [_finite(one) for one in reader]
    if reader.faults:
        raise DatasetFaults("maps changed while they were scored", reader.faults, shown=20)
    return maps


def _finite(one: np.ndarray) -> np.ndarray:
    return one if (np.abs(one.astype(np.float64)) < HIGHEST).all() else np.zeros(one.shape, np.float32)


def _sheets(scores: Scores) -> list[Sheet]:
    """Measurements of every method under every policy, and their differences."""
    shared = (
        f"Percent of {counted(len(scores.split), 'image')}, with the 95% interval of a bootstrap over images "
        f"({scores.replicates} replicates, seed {scores.seed})"
    )
    metrics = dict.fromkeys(
        (entry.metric, entry.policy) for method in scores.methods for entry in method.measurements
    )
    columns = [Column("method"), *(Column(metric, policy, True) for metric, policy in metrics)]
    rows = []
    for method in scores.methods:
        of = {(entry.metric, entry.policy): entry for entry in method.measurements}
        numbers = [
            number_cell(of[key].value, of[key].ci_low, of[key].ci_high) if key in of else Cell("")
            for key in metrics
        ]
        rows.append(Row((Cell(method.name), *numbers), aside=method.files is None))
    note = f"{shared}. Shaded methods never look at an image: what does not beat them is not localizing."
    sheets = [Sheet("Measurements", "all", note, tuple(columns), tuple(rows))]
    lines = []
    for pair in scores.comparisons:
        gap = pair.difference
        verdict = "better" if gap.ci_low > 0 else "worse" if gap.ci_high < 0 else "cannot be told apart"
        number = number_cell(gap.value, gap.ci_low, gap.ci_high, signed=True)
        lines.append(Row((Cell(pair.a), Cell(pair.b), Cell(pair.metric), number, Cell(verdict))))
    if lines:
        columns = [Column(name) for name in ("method", "against", "metric")]
        columns += [Column("difference", numeric=True), Column("verdict")]
        note = f"{shared}, paired: the same resamples on both sides."
        sheets.append(Sheet("Who beats whom", "all", note, tuple(columns), tuple(lines)))
    return sheets
