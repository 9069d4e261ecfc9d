"""Stage report: the tables, the plots and a gallery of test images as one page, `results/report.html`."""

from __future__ import annotations

import pandas as pd

from experiments.differences import SHOWN
from experiments.examples import Examples
from experiments.names import OF_CLASS, classifies, map_names, named, shown_file
from experiments.params import Params, read_params
from experiments.plot import FIGURES
from experiments.stage import (
    RESULTS,
    console,
    data_folder,
    progress_bar,
    provenance,
    scores_folder,
)
from experiments.views import CURVES
from vitol.datasets.splits import read_split
from vitol.measurements import read_scores
from vitol.paper import TABLES, read_published
from vitol.report.choice import spread
from vitol.report.contents import Cell, Column, Contents, Curve, Gallery, Layer, Of, Picture, Row, Sheet
from vitol.report.page import write_page
from vitol.report.photos import read_photos
from vitol.report.sheets import number_cell, table_sheets
from vitol.tables import POLICY, PRESET, Table, build_table
from vitol.views import DELTAS

REPORT = RESULTS / "report.html"
TITLE = "ViTOL, reproduced"
LEAD = (
    "Where a vision transformer looks, and how well that boxes its object: the four tables of the ViTOL paper beside "
    "our numbers, the plots, and test images whose boxes follow the threshold."
)
# Plots of each data set and backbone, by the start of their file's name: title, and what the reader has to know.
PLOTS = {
    "subsets": (
        "MaxBoxAccV2 on every subset of the test split",
        f"Threshold policy {POLICY}, preset {PRESET}.",
    ),
    "policies": (
        "What the threshold's policy makes of it",
        "Every policy side by side, on the images that it names.",
    ),
    "views": (
        "The baseline's maps beside each other",
        "Accuracy over threshold, how boxes fail, results by size; thresholds chosen on these images.",
    ),
    "examples": (
        "Test images, maps and boxes",
        "Green: true box; red: box of the largest contour. Images chosen by their place in the split.",
    ),
    "sanity": (
        "Do maps follow the model's weights?",
        "The baseline's maps while its weights are randomised, from the head down.",
    ),
}


def differences_sheet(differences: pd.DataFrame) -> Sheet:
    """Who beats whom in MaxBoxAccV2, and whether the interval leaves zero out."""
    columns = [Column(name) for name in ("run", "model", "map", "against model", "against map")]
    columns += [Column("difference", numeric=True), Column("verdict"), Column("images", numeric=True)]
    rows = []
    for entry in differences.query(SHOWN).to_dict("records"):
        low, high = entry["ci_low"], entry["ci_high"]
        verdict = "better" if low > 0 else "worse" if high < 0 else "cannot be told apart"
        sides = [
            Cell(named(entry[f"model_{side}"]).title if kind == "model" else entry[f"map_{side}"])
            for side in "ab"
            for kind in ("model", "map")
        ]
        number = number_cell(entry["difference"], low, high, entry["seed_sd"], signed=True)
        images = Cell(str(entry["n_images"]), float(entry["n_images"]))
        run = Cell(f"{entry['dataset']}, {entry['backbone']}")
        rows.append(Row((run, *sides, number, Cell(verdict), images)))
    note = (
        "MaxBoxAccV2 in percentage points, on the same images and resamples, with the paired 95% interval; threshold "
        f"policy {POLICY}, preset {PRESET}. Better or worse where the interval leaves zero out; over several seeds, "
        "the mean over them and ± the standard deviation of their differences."
    )
    return Sheet("Who beats whom", "MaxBoxAccV2", note, tuple(columns), tuple(rows))


def pictures(params: Params, tables: list[Table]) -> list[Picture]:
    """What stage plot drew of the tables and of every run."""
    found = [
        Picture(f"{table.title} (plot)", table.note, (FIGURES / f"table{table.number}.png").read_bytes())
        for table in tables
    ]
    for dataset in params.grid.datasets:
        n_images = len(read_split(data_folder(dataset) / "test"))
        for backbone in params.grid.backbones:
            for name, (title, caption) in PLOTS.items():
                png = (FIGURES / f"{name}-{dataset}-{backbone}.png").read_bytes()
                about = f"{dataset}, {backbone}, n={n_images} test images. {caption}"
                found.append(Picture(f"{dataset}, {backbone}: {title}", about, png))
    return found


def gallery(params: Params, dataset: str, backbone: str) -> Gallery:
    """Test images of a data set with the maps of every model of the grid, first seed, preset `release`."""
    examples = Examples.of(params, dataset, backbone)
    split = examples.split
    rows = spread(split, params.report.images)
    layers = [
        layer
        for model in params.grid.scored
        for name in map_names(model)
        for layer in layers_of(examples, model, name, rows)
    ]
    note = (
        f"{len(rows)} of the {len(split)} test images, spread over the split"
        f"{' and its subsets' if split.subsets else ''} by their place alone; models of training seed {examples.seed}, "
        f"maps of the preset {PRESET}."
    )
    photos = read_photos(split, rows, examples.root)
    return Gallery(f"{dataset}, {backbone}", note, examples.class_names, photos, tuple(layers))


def layers_of(examples: Examples, model: str, name: str, rows: list[int]) -> list[Layer]:
    """Maps of a model by one method: of the label and, if it asks for a class, the predicted one.

    Curves are of the label's maps, over the whole split; those of the predicted class have none.

    Args:
        examples: Of the data set and backbone.
        model: Its name in the grid.
        name: Of the map.
        rows: Which images of the test split.
    """
    n_images = len(examples.split)
    scores = scores_folder(examples.dataset, examples.backbone, model)
    of_map = pd.read_csv(scores / CURVES).query("map == @name and seed == @examples.seed")
    curve = Curve(of_map[[str(delta) for delta in DELTAS]].to_numpy().T, n_images)
    chosen = f"The slider starts where most largest-contour boxes of all {n_images} test images are right"
    kinds: list[tuple[Of, Curve | None]] = [("any", curve)]
    if shown_file(model, name) in OF_CLASS:
        kinds = [("label", curve), ("predicted", None)]
    threshold = examples.threshold(model, name)
    predicted = examples.logits(model)[rows].argmax(axis=1) if classifies(model) else None
    layers = []
    for of, own_curve in kinds:
        maps = examples.maps(model, name, predicted=of == "predicted")[rows]
        how = f"{chosen}{', with the label maps' if of == 'predicted' else ''}."
        layers.append(Layer(named(model).title, name, of, list(maps), threshold, how, own_curve, predicted))
    return layers


def main() -> None:
    """Write the page."""
    params = read_params()
    with provenance("report", report=params.report):
        measurements = read_scores(RESULTS / "measurements.csv")
        tables = [build_table(number, measurements, read_published(number)) for number in TABLES]
        sheets = [sheet for table in tables for sheet in table_sheets(table)]
        sheets.append(differences_sheet(read_scores(RESULTS / "differences.csv")))
        galleries = tuple(
            gallery(params, dataset, backbone)
            for dataset in params.grid.datasets
            for backbone in params.grid.backbones
        )
        contents = Contents(TITLE, LEAD, tuple(sheets), tuple(pictures(params, tables)), galleries)
        with progress_bar() as bar:
            task = bar.add_task("report", total=None)
            write_page(
                contents,
                REPORT,
                progress=lambda name, done, total: bar.update(task, completed=done, total=total),
            )
    console.print(f"{REPORT}: {REPORT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
