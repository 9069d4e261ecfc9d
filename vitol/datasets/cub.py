"""CUB-200-2011 in its official layout.

Under the root: `images.txt`, `image_class_labels.txt`, `bounding_boxes.txt` (x, y, width, height),
`train_test_split.txt` (1 for train) and `classes.txt`, each line led by the number of an image or a class.
The images lie under `images/`.
"""

import re
from pathlib import Path

from vitol.datasets.faults import Fault, is_below
from vitol.datasets.inspection import inspect_images
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.split_faults import path_fault
from vitol.datasets.splits import TRAIN, make_split
from vitol.datasets.textfiles import Table, parse_box, parse_whole, read_table

FILES = {
    "classes.txt": "class name",
    "images.txt": "image path",
    "image_class_labels.txt": "image class",
    "train_test_split.txt": "image is_train",
    "bounding_boxes.txt": "image x y width height",
}


def read_cub(root: Path) -> Layout:
    """Read CUB-200-2011, or a selection of its classes.

    Labels are contiguous in the order of the class numbers, which may have gaps; class names lose their
    number ("004."). Sizes come from the images' headers. The official train split stays whole: see
    `vitol.datasets.layout.with_validation_cut`.

    Args:
        root: The folder `CUB_200_2011`.

    Returns:
        Splits "train" and "test", both with a box an image, and the image folder `root/images`.

    Raises:
        DatasetFaults: A ValueError with every fault of the text files, and images that cannot be opened.
    """
    return sound(inspect_images(scan_cub(root), decode=False)[0])


def scan_cub(root: Path) -> Scan:
    """What the text files say, sizes left open, and all that is wrong with them."""
    faults: list[Fault] = []
    tables: dict[str, Table] = {}
    for name, columns in FILES.items():
        if (table := read_table(root / name, name, columns, faults)) is not None:
            tables[name] = table
    if not (root / "images").is_dir():
        faults.append(Fault("images", "no such folder", "the data set keeps its images there"))
    if len(tables) < len(FILES) or not (root / "images").is_dir():
        return Scan(Layout((), {}, root / "images"), tuple(faults), tuple(FILES))

    names = _class_names(tables["classes.txt"])
    label_of = {number: label for label, number in enumerate(sorted(names))}
    images = _image_ids(tables["images.txt"])

    def parse_class(texts: list[str]) -> int | None:
        number = parse_whole(texts, lowest=0)
        return label_of.get(number[0]) if number else None

    def parse_flag(texts: list[str]) -> bool | None:
        return {"1": True, "0": False}.get(texts[0])

    holds = "number of a class in classes.txt"
    labels = tables["image_class_labels.txt"].by_image(holds, images, parse_class)
    holds = "split, 1 for train and 0 for test"
    is_train = tables["train_test_split.txt"].by_image(holds, images, parse_flag)
    holds = "box as four numbers x y width height"
    boxes = tables["bounding_boxes.txt"].by_image(holds, images, parse_box)
    usable = {image for image in labels.keys() & is_train.keys() & boxes.keys() if is_below(image)}
    splits = {}
    for name, flag in ((TRAIN, True), ("test", False)):
        ids = [image for image in images.values() if image in usable and is_train[image] is flag]
        if not ids:
            remedy = f"CUB has a {name} split: copy the official file"
            faults.append(Fault("train_test_split.txt", f"no {name} image that can be used", remedy))
        corners = ((x, y, x + width, y + height) for x, y, width, height in map(boxes.__getitem__, ids))
        splits[name] = make_split(
            ids=ids,
            labels=[labels[image] for image in ids],
            sizes=[(0, 0)] * len(ids),
            boxes=([box] for box in corners),
        )
    classes = tuple(names[number] for number in sorted(names))
    return Scan(Layout(classes, splits, root / "images"), tuple(faults), tuple(FILES))


def _class_names(table: Table) -> dict[int, str]:
    """Class names under their official numbers."""
    names: dict[int, str] = {}
    for line, (key, name) in table.rows():
        number = parse_whole([key], lowest=0)
        if number is None or number[0] in names:
            seen = f"class {key} a second time" if number else f"{key!r} for a class"
            table.fault(line, seen, "give each class one line that starts with its whole number")
        else:
            names[number[0]] = re.sub(r"^\d+\.", "", name)
    return names


def _image_ids(table: Table) -> dict[str, str]:
    """Image paths under their numbers."""
    images: dict[str, str] = {}
    paths = set()
    for line, (key, path) in table.rows():
        if key in images or path in paths:
            table.fault(line, f"{key} {path} a second time", "keep one of them", path)
        else:
            if not is_below(path):
                table.faults.append(path_fault(f"{table.where}:{line}", path))
            images[key] = path
        paths.add(path)
    return images
