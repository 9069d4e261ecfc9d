"""The WSOL split format: one folder a split, one line an image or a box.

Section 1 ("Data") of the evaluation protocol; the layout of `clovaai/wsolevaluation`'s metadata. A split is
`image_ids.txt` (path), `class_labels.txt` (path,label), `image_sizes.txt` (path,width,height) and
`localization.txt` (path,x0,y0,x1,y1; several lines for several boxes; a train split may do without it).
Ours may add `subsets.csv` (a header, then path,subset). A box is valid when 0 <= x0 <= x1 <= width, and so
for y and the height.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from vitol.datasets.faults import Box, DatasetFaults, Fault, box_faults
from vitol.datasets.textfiles import Table, parse_box, parse_whole, read_table

TRAIN = "train"
"""The one split whose images may lack boxes: everything else is there to be scored."""

VAL_CUT, TEST_CUT = "val-cut", "test-cut"
"""Subsets of a test split that stands for a validation split, too: to choose thresholds on, and to be measured."""

FILES = {
    "image_ids.txt": "path",
    "class_labels.txt": "path,label",
    "image_sizes.txt": "path,width,height",
    "localization.txt": "path,x0,y0,x1,y1",
    "subsets.csv": "path,subset",
}

NO_BOXES = np.empty((0, 4))
UNWRITABLE = re.compile("[,\r\n\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split with what is known of each.

    Attributes:
        ids: n image paths relative to the image root, with forward slashes.
        labels: Class of each image from 0, (n,) int64.
        sizes: Width and height in pixels, (n, 2) int64.
        boxes: n arrays (k_i, 4) float64 of x0, y0, x1, y1 in pixels; (0, 4) where a train image has none.
        subsets: () or n names, one an image.

    Raises:
        ValueError: The fields disagree on the number of images.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    sizes: np.ndarray
    boxes: tuple[np.ndarray, ...]
    subsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse fields of different lengths."""
        n = len(self.ids)
        seen = f"labels {self.labels.shape}, sizes {self.sizes.shape}, {len(self.boxes)} arrays of boxes"
        if self.labels.shape != (n,) or self.sizes.shape != (n, 2) or len(self.boxes) != n:
            raise ValueError(
                f"{n} ids need labels ({n},), sizes ({n}, 2) and {n} arrays of boxes, not {seen}"
            )
        if self.subsets and len(self.subsets) != n:
            raise ValueError(f"{n} ids need {n} subsets or none, not {len(self.subsets)}")
        for image, boxes in zip(self.ids, self.boxes, strict=True):
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise ValueError(f"boxes of {image} are an array {boxes.shape}; an image's boxes are (k, 4)")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        """Equal when every field is, arrays compared element by element."""
        if not isinstance(other, Split):
            return NotImplemented
        return (
            (self.ids, self.subsets) == (other.ids, other.subsets)
            and np.array_equal(self.labels, other.labels)
            and np.array_equal(self.sizes, other.sizes)
            and all(map(np.array_equal, self.boxes, other.boxes))
        )

    __hash__ = None  # type: ignore[assignment]

    def select(self, keep: np.ndarray) -> "Split":
        """The images where `keep`, (n,) bool, is true, in their order."""
        rows = np.flatnonzero(keep)
        return Split(
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            sizes=self.sizes[rows],
            boxes=tuple(self.boxes[row] for row in rows),
            subsets=tuple(self.subsets[row] for row in rows) if self.subsets else (),
        )


def make_split(
    ids: Sequence[str],
    labels: Sequence[int],
    sizes: Sequence[Sequence[int]],
    boxes: Iterable[Sequence[Box]],
    subsets: Sequence[str] = (),
) -> Split:
    """A split from lists of n entries each, `boxes` holding one list of boxes an image."""
    return Split(
        ids=tuple(ids),
        labels=np.array(labels, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        boxes=tuple(np.array(rows, dtype=np.float64) if rows else NO_BOXES for rows in boxes),
        subsets=tuple(subsets),
    )


def cut_by_hash(ids: Sequence[str], count: int) -> np.ndarray:
    """Choose `count` images by their ids alone: those whose SHA-256 is smallest.

    The hash is the hexadecimal one of the UTF-8 id. No seed and no order enters, and a chosen image can only
    leave the cut for one that was added: of the images that were there before, no other one comes in.

    Args:
        ids: n different ids.
        count: How many to choose, 0 to n.

    Returns:
        True where an image is chosen, (n,) bool.

    >>> cut_by_hash(["a.jpg", "b.jpg", "c.jpg"], 1).tolist()
    [True, False, False]
    """
    if not 0 <= count <= len(ids):
        raise ValueError(f"cannot cut {count} of {len(ids)} images; count must lie between 0 and {len(ids)}")
    digests = [hashlib.sha256(image.encode()).hexdigest() for image in ids]
    cut = np.zeros(len(ids), dtype=bool)
    cut[sorted(range(len(ids)), key=digests.__getitem__)[:count]] = True
    return cut


def read_split(folder: Path) -> Split:
    """Read a split; `localization.txt` may be absent when the folder is called "train".

    Raises:
        DatasetFaults: A ValueError with every fault of the folder, the first 20 of them in its text.
    """
    split, faults = scan_split(folder)
    faults = faults if split is None else [*faults, *split_faults(split, boxed=folder.name != TRAIN)]
    if split is None or faults:
        raise DatasetFaults(f"{folder} is no valid split", faults, shown=20)
    return split


def write_split(split: Split, folder: Path) -> None:
    """Write a split so that `read_split` gives it back; an older split in `folder` is replaced as a whole.

    Raises:
        DatasetFaults: A ValueError: the split is one that `read_split` would refuse, or has ids that the
            format cannot hold. Nothing is written.
        ValueError: The split is empty, or `folder` holds something that is not part of a split.
    """
    if not len(split):
        raise ValueError(f"the split for {folder} has no image; a split is at least one")
    if faults := split_faults(split, boxed=folder.name != TRAIN):
        raise DatasetFaults(f"this split cannot be written to {folder}", faults, shown=20)
    foreign = [path.name for path in folder.iterdir() if path.name not in FILES] if folder.exists() else []
    if foreign:
        raise ValueError(f"{folder} holds {min(foreign)}, which is no part of a split; give another folder")
    tables: dict[str, Iterable[Sequence[object]]] = {
        "image_ids.txt": ((image,) for image in split.ids),
        "class_labels.txt": zip(split.ids, split.labels.tolist(), strict=True),
        "image_sizes.txt": (
            (image, *size) for image, size in zip(split.ids, split.sizes.tolist(), strict=True)
        ),
        "localization.txt": (
            (image, *(repr(value).removesuffix(".0") for value in box))
            for image, boxes in zip(split.ids, split.boxes, strict=True)
            for box in boxes.tolist()
        ),
    }
    if split.subsets:
        tables["subsets.csv"] = [FILES["subsets.csv"].split(","), *zip(split.ids, split.subsets, strict=True)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        fresh = Path(temporary, "new")
        fresh.mkdir()
        for name, rows in tables.items():
            text = "".join(",".join(map(str, row)) + "\n" for row in rows)
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
        if folder.exists():
            folder.rename(Path(temporary, "old"))
        fresh.rename(folder)


def split_faults(split: Split, boxed: bool) -> list[Fault]:
    """Everything wrong with a split as it stands; with `boxed`, an image without a box is wrong too."""
    faults = []
    seen = set()
    for image in split.ids:
        if not image or image.startswith("/") or ".." in image.split("/"):
            remedy = "ids are paths below the image root, with forward slashes"
            faults.append(Fault(image, f"{image!r} is no relative path", remedy, image))
        if UNWRITABLE.search(image):
            remedy = "rename the image: commas and line ends separate fields, and ids are Unicode"
            faults.append(
                Fault(repr(image), "the id holds a character that the format cannot", remedy, image)
            )
        if image in seen:
            faults.append(Fault(image, "the id stands twice", "list every image once", image))
        seen.add(image)
    for row in np.flatnonzero(split.labels < 0):
        image = split.ids[row]
        faults.append(Fault(image, f"label {split.labels[row]}", "labels are whole numbers from 0", image))
    for row in np.flatnonzero((split.sizes < 1).any(axis=1)):
        seen_size = "{}x{}".format(*split.sizes[row])
        faults.append(Fault(split.ids[row], f"size {seen_size}", "sizes are pixels from 1", split.ids[row]))
    for image, subset in zip(split.ids, split.subsets, strict=False):
        if UNWRITABLE.search(subset):
            faults.append(
                Fault(image, f"subset {subset!r}", "leave commas and line ends out of its name", image)
            )
    return faults + box_faults(split.ids, split.sizes, split.boxes, boxed)


def scan_split(folder: Path) -> tuple[Split | None, list[Fault]]:
    """Read what can be read of a split, with the faults of its text files.

    Returns:
        The images of which every line could be read, or None where a file is missing, and all that is wrong
        with the text; `split_faults` tells what is wrong with the values.
    """
    faults: list[Fault] = []
    tables: dict[str, Table] = {}
    optional = {"subsets.csv", "localization.txt"} if folder.name == TRAIN else {"subsets.csv"}
    for name, columns in FILES.items():
        if name not in optional or (folder / name).exists():
            header = name == "subsets.csv"
            table = read_table(folder / name, f"{folder.name}/{name}", columns, faults, header)
            if table is not None:
                tables[name] = table
    if not tables.keys() >= FILES.keys() - optional:
        return None, faults

    images: dict[str, str] = {}
    for number, (image,) in tables["image_ids.txt"].rows():
        if image in images:
            tables["image_ids.txt"].fault(number, f"{image} a second time", "list every image once", image)
        images[image] = image
    if not images:
        faults.append(Fault(f"{folder.name}/image_ids.txt", "no image in it", "list at least one"))

    holds = "label, a whole number from 0"
    labels = tables["class_labels.txt"].by_image(holds, images, partial(parse_whole, lowest=0))
    holds = "width and height in whole pixels, from 1"
    sizes = tables["image_sizes.txt"].by_image(holds, images, partial(parse_whole, lowest=1))
    usable = labels.keys() & sizes.keys()
    subsets: dict[str, str] = {}
    if table := tables.get("subsets.csv"):
        subsets = table.by_image("subset's name", images, itemgetter(0))
        usable &= subsets.keys()

    boxes: dict[str, list[Box]] = {image: [] for image in images}
    if table := tables.get("localization.txt"):
        for number, (image, *texts) in table.rows():
            if image not in images:
                table.fault(number, f"unknown image {image}", "add it to image_ids.txt or take the line out")
            elif (box := parse_box(texts)) is None:
                table.fault(number, f"{' '.join(texts)!r} for {image}", "give four finite numbers", image)
                usable.discard(image)
            else:
                boxes[image].append(box)

    ids = [image for image in images if image in usable]
    split = make_split(
        ids=ids,
        labels=[labels[image][0] for image in ids],
        sizes=[sizes[image] for image in ids],
        boxes=(boxes[image] for image in ids),
        subsets=[subsets[image] for image in ids] if subsets else (),
    )
    return split, faults
