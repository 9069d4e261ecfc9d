"""Tiny-ImageNet in its official layout.

Under the root: `wnids.txt` (a synset a line: label 0, 1, ... in this order), `words.txt` (synset and name),
`train/<synset>/images/*.JPEG` with `train/<synset>/<synset>_boxes.txt` (image x0 y0 x1 y1), `val/images/*.JPEG` with
`val/val_annotations.txt` (image synset x0 y0 x1 y1). Fields are separated by tabs. `test/` has no labels: it is not
read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vitol.datasets.faults import Box, Fault
from vitol.datasets.inspection import inspect_images
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.splits import TRAIN, Split, make_split
from vitol.datasets.textfiles import parse_box, read_table

SYNSETS, WORDS = "wnids.txt", "words.txt"
ANNOTATIONS = "val/val_annotations.txt"
METADATA = (SYNSETS, WORDS, ANNOTATIONS, "train/*/*_boxes.txt")
BOX = "box as four numbers x0 y0 x1 y1"

Record = tuple[int, Box]
"""Label and box of an image."""


def read_tiny_imagenet(root: Path) -> Layout:
    """Read Tiny-ImageNet, or a selection of its classes.

    Labels follow the order of `wnids.txt`, which is not sorted; class names are those of `words.txt`, synonyms and
    all. The official validation images, which have labels, are split "test"; the train split stays whole, and all
    its images have boxes: see `vitol.datasets.layout.with_validation_cut`.

    Args:
        root: The folder `tiny-imagenet-200`.

    Returns:
        Splits "train" and "test", both with a box an image. Ids start from the root:
        "train/n01443537/images/n01443537_0.JPEG", "val/images/val_0.JPEG".

    Raises:
        DatasetFaults: A ValueError with every fault of the text files, and images that cannot be opened.
    """
    return sound(inspect_images(scan_tiny_imagenet(root), decode=False)[0])


def scan_tiny_imagenet(root: Path) -> Scan:
    """What the text files say, sizes left open, and all that is wrong with them."""
    faults: list[Fault] = []
    classes = _classes(root, faults)
    for folder in (TRAIN, "val/images"):
        if not (root / folder).is_dir():
            faults.append(Fault(folder, "no such folder", "the data set keeps its images there"))
    if not (root / ANNOTATIONS).is_file():
        faults.append(Fault(ANNOTATIONS, "no such file", "the data set needs this text file"))
    there = (root / TRAIN).is_dir() and (root / "val/images").is_dir() and (root / ANNOTATIONS).is_file()
    if classes is None or not there:
        return Scan(Layout((), {}, root), tuple(faults), METADATA)
    labels = {synset: label for label, synset in enumerate(classes)}
    splits = {TRAIN: _train(root, labels, faults), "test": _test(root, labels, faults)}
    return Scan(Layout(tuple(classes.values()), splits, root), tuple(faults), METADATA)


def _classes(root: Path, faults: list[Fault]) -> dict[str, str] | None:
    """Class names under their synsets, in the order of the labels."""
    synsets = read_table(root / SYNSETS, SYNSETS, "synset", faults)
    words = read_table(root / WORDS, WORDS, "synset name", faults)
    if synsets is None or words is None:
        return None
    names = {synset: name for _, (synset, name) in words.rows()}
    classes: dict[str, str] = {}
    for line, (text,) in synsets.rows():
        synset = text.strip()
        if synset in classes:
            synsets.fault(line, f"{synset} a second time", "copy the official file")
        elif synset not in names:
            synsets.fault(line, f"{synset} has no name in {WORDS}", f"add its line to {WORDS}")
        classes.setdefault(synset, names.get(synset, synset))
    return classes


def _train(root: Path, labels: dict[str, int], faults: list[Fault]) -> Split:
    """The images of every class's folder, in the order of the labels."""
    for folder in sorted(path.name for path in (root / TRAIN).iterdir() if path.is_dir()):
        if folder not in labels:
            remedy = "every train image lies in its synset's folder"
            faults.append(Fault(f"{TRAIN}/{folder}", f"no synset of {SYNSETS}", remedy))
    found: dict[str, Record] = {}
    for synset, label in labels.items():
        folder = f"{TRAIN}/{synset}"
        if not (root / folder).is_dir():
            faults.append(Fault(folder, "no such folder", f"{SYNSETS} lists this class: restore its images"))
            continue
        file = f"{folder}/{synset}_boxes.txt"

        def parse(fields: list[str], label: int = label) -> Record | None:
            box = parse_box(" ".join(fields).split())
            return None if box is None else (label, box)

        found |= _records(root, file, "image x0 y0 x1 y1", f"{folder}/images", BOX, parse, faults)
    return _split(found, TRAIN, faults)


def _test(root: Path, labels: dict[str, int], faults: list[Fault]) -> Split:
    """The official validation images, sorted by name."""

    def parse(fields: list[str]) -> Record | None:
        synset, *numbers = " ".join(fields).split()
        box = parse_box(numbers)
        return None if box is None or synset not in labels else (labels[synset], box)

    holds = f"synset, one of {SYNSETS}, and the {BOX}"
    columns = "image synset x0 y0 x1 y1"
    found = _records(root, ANNOTATIONS, columns, "val/images", holds, parse, faults)
    return _split(found, "val", faults)


def _records(
    root: Path,
    file: str,
    columns: str,
    folder: str,
    holds: str,
    parse: Callable[[list[str]], Record | None],
    faults: list[Fault],
) -> dict[str, Record]:
    """What a text file says of the images that it lists and of those that lie in a folder, under their ids."""
    table = read_table(root / file, file, columns, faults)
    if table is None:
        return {}
    listed = {line.split()[0] for line in table.lines if line.strip()}
    names = listed | {path.name for path in (root / folder).glob("*.JPEG")}
    found = table.by_image(holds, {name: f"{folder}/{name}" for name in sorted(names)}, parse)
    return {image: found[image] for image in sorted(found)}


def _split(found: dict[str, Record], folder: str, faults: list[Fault]) -> Split:
    if not found:
        faults.append(Fault(folder, "no image that can be used", "unpack the official archive again"))
    records = found.values()
    labels, boxes = [label for label, _ in records], [[box] for _, box in records]
    return make_split(list(found), labels, [(0, 0)] * len(found), boxes)
