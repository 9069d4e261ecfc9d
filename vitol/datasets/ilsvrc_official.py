"""ILSVRC as image-net.org's archives have it: one XML file a validation image, with its size, class and boxes.

Two downloads are known: `ILSVRC2017_CLS-LOC.tar.gz`, which holds everything, and the archives of 2012, each
unpacked into a folder of its own name. The files are PASCAL VOC's: `<size>` with `<width>` and `<height>`, and an
`<object>` a box with the image's synset as its `<name>` and a `<bndbox>` of `<xmin>`, `<ymin>`, `<xmax>`, `<ymax>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

from vitol.datasets.faults import Box, Fault
from vitol.datasets.imagenet import (
    SYNSETS,
    Classes,
    Labelled,
    boxed_split,
    folder_split,
    listed_classes,
    packaged_classes,
)
from vitol.datasets.layout import Layout, Scan
from vitol.datasets.splits import TRAIN, Split
from vitol.datasets.textfiles import parse_box, parse_whole

CORNERS = ("xmin", "ymin", "xmax", "ymax")
COPY = "copy the official file"
VAL_2012, TRAIN_2012, BOXES_2012 = "ILSVRC2012_img_val", "ILSVRC2012_img_train", "ILSVRC2012_bbox_val_v3"
ARCHIVES = (".tar", ".tgz", ".tar.gz")
UNPACK_TRAIN = (
    f'(cd {TRAIN_2012} && for f in n*.tar; do mkdir -p "${{f%.tar}}" && '
    'tar -xf "$f" -C "${f%.tar}" && rm "$f"; done)'
)


@dataclass(frozen=True)
class Place:
    """Where a download keeps what.

    Attributes:
        images: The folder that ids start from, below the data set's root.
        val: The folder of the validation images, below `images`.
        train: The folder of the train images, below `images`.
        boxes: The folder of the XML files, below the root.
    """

    images: Path
    val: str
    train: str
    boxes: Path


def place_of_2017(below: Path) -> Place:
    """Where `ILSVRC2017_CLS-LOC.tar.gz` keeps what, its folders being `below` the root."""
    return Place(below / "Data/CLS-LOC", "val", TRAIN, below / "Annotations/CLS-LOC/val")


def place_of_2012(root: Path) -> Place:
    """Where the archives of 2012 keep what, the XML files with or without their folder `val`."""
    inner = Path(BOXES_2012, "val")
    boxes = inner if (root / inner).is_dir() else Path(BOXES_2012)
    return Place(Path(), VAL_2012, TRAIN_2012, boxes)


def packed_2017(root: Path) -> list[Fault]:
    """The archive of 2017 while it is packed, with the command that unpacks it."""
    return [
        Fault(path.name, "still packed", f"run `tar -xzf {path.name}` in its folder")
        for path in sorted(root.glob("*CLS-LOC*.tar.gz"))
    ]


def packed_2012(root: Path) -> dict[str, Fault]:
    """Archives of 2012 that are still packed, with the commands that unpack them, under their folders' names."""
    faults = {}
    for folder in (VAL_2012, BOXES_2012, TRAIN_2012):
        archives = (f"{folder}{ending}" for ending in ARCHIVES)
        archive = next((name for name in archives if (root / name).is_file()), None)
        if archive is not None and not any((root / folder).glob("*")):
            command = f"mkdir -p {folder} && tar -xf {archive} -C {folder}"
            remedy = f"run `{command}` in its folder"
            if folder == TRAIN_2012:
                remedy = f"run `{command} && {UNPACK_TRAIN}` in its folder, or move it away to do without train images"
            faults[folder] = Fault(archive, "still packed", remedy)
    if inner := sorted((root / TRAIN_2012).glob("n*.tar")):
        seen = f"{len(inner)} archives still packed, the first {inner[0].name}"
        faults[TRAIN_2012] = Fault(TRAIN_2012, seen, f"run `{UNPACK_TRAIN}` in the folder above it")
    return faults


def scan_official(root: Path, place: Place, packed: Mapping[str, Fault] = MappingProxyType({})) -> Scan:
    """What the XML files and the train folders say, and all that is wrong with them.

    The class names are those of `LOC_synset_mapping.txt` if Kaggle's file lies in the root, else timm's.

    Args:
        root: The data set's.
        place: Where it keeps what.
        packed: Archives that are still packed, under their folders; what they hold is not looked for.
    """
    faults = list(packed.values())
    metadata = (SYNSETS, (place.boxes / "*.xml").as_posix())
    images = root / place.images
    classes = listed_classes(root, faults) if (root / SYNSETS).exists() else packaged_classes(faults)
    folders = {
        (place.images / place.val).as_posix(): "the data set keeps its validation images there",
        place.boxes.as_posix(): "the data set keeps the boxes of its validation images there, an XML file each",
    }
    for folder, remedy in folders.items():
        if not (root / folder).is_dir() and folder not in packed:
            faults.append(Fault(folder, "no such folder", remedy))
    if (
        classes is None
        or packed.keys() & folders.keys()
        or not all((root / folder).is_dir() for folder in folders)
    ):
        return Scan(Layout((), {}, images), tuple(faults), metadata)
    splits = {}
    if (images / place.train).is_dir() and place.train not in packed:
        where = (place.images / place.train).as_posix()
        splits[TRAIN] = folder_split(images, place.train, where, classes, faults)
    splits["test"] = _test(root, place, classes, faults)
    return Scan(Layout(tuple(classes.names.values()), splits, images), tuple(faults), metadata)


def _test(root: Path, place: Place, classes: Classes, faults: list[Fault]) -> Split:
    """The images of the XML files with their label, size and boxes, in the order of their ids."""
    boxed = {path.stem for path in (root / place.boxes).glob("*.xml")}
    names = boxed | {path.stem for path in (root / place.images / place.val).glob("*.JPEG")}
    found = {}
    for name in sorted(names):
        image, where = f"{place.val}/{name}.JPEG", (place.boxes / f"{name}.xml").as_posix()
        if name not in boxed:
            faults.append(Fault(image, f"no file {where}", "restore it, or leave the image out", image))
        elif (annotation := read_annotation(root / where, where, image, classes, faults)) is not None:
            found[name] = annotation
    if not found:
        remedy = f"unpack the images and their XML files, as {place.boxes.as_posix()} has them"
        faults.append(Fault((place.images / place.val).as_posix(), "no image that can be used", remedy))
    return boxed_split(found, place.val)


def read_annotation(
    path: Path, where: str, image: str, classes: Classes, faults: list[Fault]
) -> Labelled | None:
    """Label, size and boxes of one image from its XML file.

    Args:
        path: The file.
        where: It below the data set's root, for faults.
        image: The image's id.
        classes: The classes.
        faults: Gets all that is wrong with the file.

    Returns:
        None where something is wrong.
    """
    before = len(faults)

    def fault(seen: str, remedy: str) -> None:
        faults.append(Fault(where, seen, remedy, image))

    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        fault(f"not well-formed XML: {error}", COPY)
        return None
    except OSError as error:
        fault((error.strerror or "unreadable").lower(), COPY)
        return None
    size = parse_whole(_texts(tree, "size", ("width", "height")), lowest=1)
    if size is None:
        fault("no size of whole pixels from 1", "give <size> with <width> and <height>")
    synsets: dict[str, None] = {}
    boxes: list[Box] = []
    for number, entry in enumerate(tree.findall("object")):
        synsets[(entry.findtext("name") or "").strip()] = None
        texts = _texts(entry, "bndbox", CORNERS)
        if (box := parse_box(texts)) is None:
            fault(
                f"object {number} has the box {' '.join(texts).split()}",
                f"give numbers as {', '.join(CORNERS)}",
            )
        else:
            boxes.append(box)
    if not synsets:
        fault("no object", "give an <object> with the class and a box")
    elif len(synsets) > 1:
        fault(f"objects of several classes: {', '.join(synsets)}", "an image has one: correct their <name>")
    for synset in synsets:
        if synset not in classes.names:
            fault(f"{synset!r} is no synset of {classes.source}", "correct the <name>")
    if len(faults) > before or size is None:
        return None
    return Labelled(classes.labels[next(iter(synsets))], boxes, (size[0], size[1]))


def _texts(parent: ElementTree.Element, child: str, names: tuple[str, ...]) -> list[str]:
    return [(parent.findtext(f"{child}/{name}") or "").strip() for name in names]
