"""ILSVRC as Kaggle's download has it: one CSV file with the validation images' classes and boxes."""

from pathlib import Path

from vitol.datasets.faults import Box, Fault
from vitol.datasets.imagenet import SYNSETS, Classes, Labelled, boxed_split, folder_split, listed_classes
from vitol.datasets.layout import Layout, Scan
from vitol.datasets.splits import TRAIN, Split
from vitol.datasets.textfiles import Table, parse_box, read_table

IMAGES = Path("Data", "CLS-LOC")
SOLUTION = "LOC_val_solution.csv"
HEADER = "ImageId,PredictionString"


def scan_kaggle(root: Path, place: Path) -> Scan:
    """What the text files and the train folders say, sizes left open, and all that is wrong with them.

    Args:
        root: The folder of the text files.
        place: The folder that holds `Data`, below the root or the root itself.
    """
    faults: list[Fault] = []
    metadata = (SYNSETS, SOLUTION)
    images = place / IMAGES
    where = images.relative_to(root).as_posix()
    classes = listed_classes(root, faults)
    solution = read_table(root / SOLUTION, SOLUTION, HEADER, faults, header=True)
    if not (images / "val").is_dir():
        remedy = "the data set keeps its validation images there"
        faults.append(Fault(f"{where}/val", "no such folder", remedy))
    if classes is None or solution is None or not (images / "val").is_dir():
        return Scan(Layout((), {}, images), tuple(faults), metadata)
    splits = {}
    if (images / TRAIN).is_dir():
        splits[TRAIN] = folder_split(images, TRAIN, f"{where}/{TRAIN}", classes, faults)
    splits["test"] = _test(solution, images, classes)
    return Scan(Layout(tuple(classes.names.values()), splits, images), tuple(faults), metadata)


def _test(solution: Table, images: Path, classes: Classes) -> Split:
    """The images of the solution file with their label and boxes, in the order of their ids."""
    listed = {line.partition(",")[0] for line in solution.lines[1:] if "," in line}
    names = listed.union(path.stem for path in (images / "val").glob("*.JPEG"))
    labels = classes.labels

    def parse(fields: list[str]) -> Labelled | None:
        """Label and boxes from groups of five, all with the same known synset."""
        texts = fields[0].split()
        groups = [texts[start : start + 5] for start in range(0, len(texts), 5)]
        boxes: list[Box] = [box for group in groups if (box := parse_box(group[1:])) is not None]
        synsets = {group[0] for group in groups}
        if len(synsets) != 1 or len(boxes) < len(groups) or not synsets <= labels.keys():
            return None
        return Labelled(labels[synsets.pop()], boxes)

    holds = f"boxes as groups of synset x0 y0 x1 y1, all with one synset of {SYNSETS}"
    name_of = {f"val/{name}.JPEG": name for name in names}
    found = solution.by_image(holds, {name_of[image]: image for image in sorted(name_of)}, parse)
    if not found:
        solution.fault(1, "no image that can be used", "list the images of Data/CLS-LOC/val")
    return boxed_split({name_of[image]: of_image for image, of_image in found.items()}, "val")
