"""A data set that is in the WSOL split format already.

Under the root: a folder for each of the splits `train`, `val` and `test` (see `vitol.datasets.splits`), the
images under `images/` or under the root itself, and, where the classes have names, `classes.txt` with one
name a line in the order of the labels.
"""

from pathlib import Path

from vitol.datasets.faults import Fault
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.splits import FILES, TRAIN, scan_split
from vitol.datasets.textfiles import read_lines

CLASSES = "classes.txt"
SPLITS = (TRAIN, "val", "test")


def read_wsol(root: Path) -> Layout:
    """Read a data set in the WSOL split format; its images are not opened.

    Ids start from `root/images`, or from `root` if the first image is found there or `root/images` does not
    exist. Without `classes.txt` the classes are called "0", "1", ... up to the largest label.

    Raises:
        DatasetFaults: A ValueError with every fault of all splits.
    """
    return sound(scan_wsol(root))


def scan_wsol(root: Path, sized: bool = True) -> Scan:
    """What the text files say and all that is wrong with them; with `sized` there has to be a file of sizes."""
    faults: list[Fault] = []
    splits = {}
    for name in SPLITS:
        if (root / name).is_dir():
            split, found = scan_split(root / name, sized)
            faults += found
            if split is not None:
                splits[name] = split
    if not splits and not faults:
        faults.append(
            Fault(".", f"no folder {', '.join(SPLITS)}", "a data set has at least one of these splits")
        )
    first = next((image for split in splits.values() for image in split.ids), "")
    images = root if (root / first).is_file() or not (root / "images").is_dir() else root / "images"
    classes: list[str] | None = None
    if (root / CLASSES).exists():
        classes = read_lines(root / CLASSES, CLASSES, faults)
    if classes is None:
        count = max((int(split.labels.max()) + 1 for split in splits.values() if len(split)), default=0)
        classes = [str(label) for label in range(count)]
    metadata = (CLASSES, *(f"{name}/{file}" for name in SPLITS for file in FILES))
    return Scan(Layout(tuple(classes), splits, images), tuple(faults), metadata)
