"""ILSVRC 2012 localization (ImageNet-1K) in the layout of its Kaggle download.

Under the root: `LOC_synset_mapping.txt` (synset and class name a line, in the order of the labels, all 1000),
`LOC_val_solution.csv` (ImageId,PredictionString: groups of synset x0 y0 x1 y1), the validation images
`Data/CLS-LOC/val/*.JPEG` and, if there is something to train on, `Data/CLS-LOC/train/<synset>/*.JPEG`.
"""

from pathlib import Path

import numpy as np

from vitol.datasets.faults import Box, Fault
from vitol.datasets.inspection import inspect_images
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.splits import TEST_CUT, TRAIN, VAL_CUT, Split, cut_by_hash, make_split
from vitol.datasets.textfiles import Table, parse_box, read_table

IMAGES = Path("Data", "CLS-LOC")
SYNSETS = "LOC_synset_mapping.txt"
SOLUTION = "LOC_val_solution.csv"
HEADER = "ImageId,PredictionString"


def read_ilsvrc(root: Path) -> Layout:
    """Read ILSVRC, whole or any selection of its validation images.

    The official validation images are the paper's (and the protocol's) *test* split. The layout has no
    validation split of its own, so each test image belongs to one of two subsets: "val-cut", a third of the
    images, rounded down, chosen by `cut_by_hash` over the ids, and "test-cut", the rest. The threshold policy
    `validation` chooses on the first and is measured on the second; the other policies use all images.

    Args:
        root: The folder `ILSVRC`.

    Returns:
        Split "test" and, where there are train images, split "train", with labels and without boxes. Ids
        start from `Data/CLS-LOC`: "val/ILSVRC2012_val_00000001.JPEG", "train/n01440764/n01440764_10026.JPEG".

    Raises:
        DatasetFaults: A ValueError with every fault of the text files, and images that cannot be opened.
    """
    return sound(inspect_images(scan_ilsvrc(root), decode=False)[0])


def scan_ilsvrc(root: Path) -> Scan:
    """What the text files and the train folders say, sizes left open, and all that is wrong with them."""
    faults: list[Fault] = []
    metadata = (SYNSETS, SOLUTION)
    images = root / IMAGES
    classes = _classes(root, faults)
    solution = read_table(root / SOLUTION, SOLUTION, HEADER, faults, header=True)
    if not (images / "val").is_dir():
        where = (IMAGES / "val").as_posix()
        faults.append(Fault(where, "no such folder", "the data set keeps its validation images there"))
    if classes is None or solution is None or not (images / "val").is_dir():
        return Scan(Layout((), {}, images), tuple(faults), metadata)
    labels = {synset: label for label, synset in enumerate(classes)}
    splits = {}
    if (images / TRAIN).is_dir():
        splits[TRAIN] = _train(images, labels, faults)
    splits["test"] = _test(solution, images, labels)
    return Scan(Layout(tuple(classes.values()), splits, images), tuple(faults), metadata)


def _classes(root: Path, faults: list[Fault]) -> dict[str, str] | None:
    """Class names under their synsets, in the order of the labels."""
    table = read_table(root / SYNSETS, SYNSETS, "synset name", faults)
    if table is None:
        return None
    names: dict[str, str] = {}
    for line, (synset, name) in table.rows():
        if synset in names:
            table.fault(line, f"{synset} a second time", "copy the official file")
        names[synset] = name
    return names


def _train(images: Path, labels: dict[str, int], faults: list[Fault]) -> Split:
    """Every image of every class folder; the folder's name is its label."""
    ids = []
    for folder in sorted(path for path in (images / TRAIN).iterdir() if path.is_dir()):
        if folder.name in labels:
            ids += sorted(f"{TRAIN}/{folder.name}/{path.name}" for path in folder.glob("*.JPEG"))
        else:
            where = (IMAGES / TRAIN / folder.name).as_posix()
            faults.append(
                Fault(where, f"no synset of {SYNSETS}", "every train image lies in its synset's folder")
            )
    if not ids:
        remedy = "unpack the train images, or remove the empty folder"
        faults.append(Fault((IMAGES / TRAIN).as_posix(), "no image in it", remedy))
    by_folder = [labels[image.split("/")[1]] for image in ids]
    return make_split(ids, by_folder, [(0, 0)] * len(ids), ([] for _ in ids))


def _test(solution: Table, images: Path, labels: dict[str, int]) -> Split:
    """The images of the solution file with their label and boxes, in the order of their ids."""
    listed = {line.partition(",")[0] for line in solution.lines[1:] if "," in line}
    names = listed.union(path.stem for path in (images / "val").glob("*.JPEG"))

    def parse(fields: list[str]) -> tuple[int, list[Box]] | None:
        """Label and boxes from groups of five, all with the same known synset."""
        texts = fields[0].split()
        groups = [texts[start : start + 5] for start in range(0, len(texts), 5)]
        boxes = [box for group in groups if (box := parse_box(group[1:])) is not None]
        synsets = {group[0] for group in groups}
        if len(synsets) != 1 or len(boxes) < len(groups) or not synsets <= labels.keys():
            return None
        return labels[synsets.pop()], boxes

    holds = f"boxes as groups of synset x0 y0 x1 y1, all with one synset of {SYNSETS}"
    found = solution.by_image(holds, {name: f"val/{name}.JPEG" for name in sorted(names)}, parse)
    ids = sorted(found)
    if not ids:
        solution.fault(1, "no image that can be used", "list the images of Data/CLS-LOC/val")
    for_validation = cut_by_hash(ids, len(ids) // 3)
    return make_split(
        ids=ids,
        labels=[found[image][0] for image in ids],
        sizes=[(0, 0)] * len(ids),
        boxes=(found[image][1] for image in ids),
        subsets=np.where(for_validation, VAL_CUT, TEST_CUT).tolist(),
    )
