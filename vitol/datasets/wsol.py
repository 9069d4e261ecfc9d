"""A data set that is in the WSOL split format already.

Under the root: a folder for each of the splits `train`, `val` and `test` (see `vitol.datasets.splits`), the
images under `images/` (which may be a link) or under the root itself, and, where the classes have names,
`classes.txt` with one name a line in the order of the labels.
"""

from collections.abc import Collection
from pathlib import Path

from vitol.datasets.faults import Fault, is_below
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.splits import FILES, TRAIN, scan_split, write_split
from vitol.datasets.textfiles import read_lines

CLASSES = "classes.txt"
SCORED = ("val", "test")
SPLITS = (TRAIN, *SCORED)


def read_wsol(root: Path) -> Layout:
    """Read a data set in the WSOL split format; its images are not opened.

    Ids start from `root/images`, or from `root` if the first image that is found lies there or `root/images` does
    not exist. Without `classes.txt` the classes are called "0", "1", ... up to the largest label.

    Raises:
        DatasetFaults: A ValueError with every fault of all splits.
    """
    return sound(scan_wsol(root, sized=SPLITS, opened=False))


def write_wsol(layout: Layout, folder: Path) -> None:
    """Write a data set's splits and class names, so that `read_wsol` gives them back; the images stay where they are.

    Args:
        layout: The data set.
        folder: Where; it is made.

    Raises:
        ValueError: As `vitol.datasets.splits.write_split`.
    """
    for name, split in layout.splits.items():
        write_split(split, folder / name)
    (folder / CLASSES).write_text("".join(f"{name}\n" for name in layout.classes), encoding="utf-8")


def scan_wsol(root: Path, sized: Collection[str] = SCORED, opened: bool = True) -> Scan:
    """What the text files say, and all that is wrong with them.

    Args:
        root: The data set's.
        sized: Splits that need a file of sizes; of the others, sizes are left open where there is none.
        opened: Whether the images will be opened: that none is found is a fault, one alone.
    """
    faults: list[Fault] = []
    splits = {}
    for name in SPLITS:
        if (root / name).is_dir():
            split, wrong = scan_split(root / name, name in sized)
            faults += wrong
            if split is not None:
                splits[name] = split
    if not splits and not faults:
        faults.append(
            Fault(".", f"no folder {', '.join(SPLITS)}", "a data set has at least one of these splits")
        )
    ids = [image for split in splits.values() for image in split.ids if is_below(image)]
    places = (root, root / "images")
    found = next((place for image in ids for place in places if (place / image).is_file()), None)
    images = found or (root / "images" if (root / "images").is_dir() else root)
    if opened and ids and found is None:
        seen = f"no image is found: there is no {ids[0]} and no images/{ids[0]}, nor any other one"
        remedy = "put the folder that ids start from here as images/, or link it: ln -s FOLDER images"
        faults.append(Fault(".", seen, remedy))
        splits = {}
    classes: list[str] | None = None
    if (root / CLASSES).exists():
        classes = read_lines(root / CLASSES, CLASSES, faults)
    if classes is None:
        count = max((int(split.labels.max()) + 1 for split in splits.values() if len(split)), default=0)
        classes = [str(label) for label in range(count)]
    metadata = (CLASSES, *(f"{name}/{file}" for name in SPLITS for file in FILES))
    return Scan(Layout(tuple(classes), splits, images), tuple(faults), metadata)
