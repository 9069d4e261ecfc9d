"""The WSOL split format: one folder a split, one line an image or a box.

Section 1 ("Data") of the evaluation protocol; the layout of `clovaai/wsolevaluation`'s metadata. A split is
`image_ids.txt` (path), `class_labels.txt` (path,label), `image_sizes.txt` (path,width,height) and
`localization.txt` (path,x0,y0,x1,y1; several lines for several boxes; a train split may do without it).
Ours may add `subsets.csv` (a header, then path,subset). A box is valid when 0 <= x0 <= x1 <= width, and so
for y and the height. Where objects are pixel masks, `localization.txt` lists their files instead of boxes (see
`vitol.datasets.localization`), and sizes may be left out.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from vitol.atomic import atomic_folder
from vitol.datasets.faults import Box, DatasetFaults, Fault, is_below
from vitol.datasets.localization import BOX_COLUMNS, MASK_COLUMNS, columns_of, read_localization
from vitol.datasets.split_faults import path_fault, split_faults
from vitol.datasets.textfiles import Table, parse_whole, read_table

TRAIN = "train"
"""The one split whose images may lack boxes: everything else is there to be scored."""

VAL_CUT, TEST_CUT = "val-cut", "test-cut"
"""Subsets of a test split that stands for a validation split, too: to choose thresholds on, and to be measured."""

FILES = {
    "image_ids.txt": "path",
    "class_labels.txt": "path,label",
    "image_sizes.txt": "path,width,height",
    "localization.txt": BOX_COLUMNS,
    "subsets.csv": "path,subset",
}

NO_BOXES = np.empty((0, 4))


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split with what is known of each.

    Attributes:
        ids: n image paths relative to the image root, with forward slashes.
        labels: Class of each image from 0, (n,) int64.
        sizes: Width and height in pixels, (n, 2) int64; all 0 where masks are listed and sizes are not.
        boxes: n arrays (k_i, 4) float64 of x0, y0, x1, y1 in pixels; (0, 4) where a train image has none.
        subsets: () or n names, one an image.
        masks: () or n tuples of paths below the image root; an image's object is the union of its masks.
        ignores: () or, with masks, n paths of what is left out of each image, "" for nothing.

    Raises:
        ValueError: The fields disagree on the number of images.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    sizes: np.ndarray
    boxes: tuple[np.ndarray, ...]
    subsets: tuple[str, ...] = ()
    masks: tuple[tuple[str, ...], ...] = ()
    ignores: tuple[str, ...] = ()

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
        if (self.masks and len(self.masks) != n) or len(self.masks) != len(self.ignores):
            seen = f"{len(self.masks)} and {len(self.ignores)}"
            raise ValueError(f"{n} ids need {n} tuples of masks and {n} ignore files, or none, not {seen}")
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
            (self.ids, self.subsets, self.masks, self.ignores)
            == (other.ids, other.subsets, other.masks, other.ignores)
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
            masks=tuple(self.masks[row] for row in rows) if self.masks else (),
            ignores=tuple(self.ignores[row] for row in rows) if self.ignores else (),
        )


def make_split(
    ids: Sequence[str],
    labels: Sequence[int],
    sizes: Sequence[Sequence[int]],
    boxes: Iterable[Sequence[Box]],
    subsets: Sequence[str] = (),
    masks: Iterable[Sequence[str]] = (),
    ignores: Sequence[str] = (),
) -> Split:
    """A split from lists of n entries each, `boxes` and `masks` holding one list an image."""
    return Split(
        ids=tuple(ids),
        labels=np.array(labels, dtype=np.int64),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        boxes=tuple(np.array(rows, dtype=np.float64) if rows else NO_BOXES for rows in boxes),
        subsets=tuple(subsets),
        masks=tuple(map(tuple, masks)),
        ignores=tuple(ignores),
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
    if split.masks:
        files = zip(split.ids, split.masks, split.ignores, strict=True)
        tables["localization.txt"] = (
            (image, mask, "" if at else ignore)
            for image, masks, ignore in files
            for at, mask in enumerate(masks)
        )
        if not split.sizes.any():
            del tables["image_sizes.txt"]
    if split.subsets:
        tables["subsets.csv"] = [FILES["subsets.csv"].split(","), *zip(split.ids, split.subsets, strict=True)]
    with atomic_folder(folder) as fresh:
        for name, rows in tables.items():
            text = "".join(",".join(map(str, row)) + "\n" for row in rows)
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")


def scan_split(folder: Path, sized: bool = True) -> tuple[Split | None, list[Fault]]:
    """Read what can be read of a split, with the faults of its text files.

    Args:
        folder: Of the split.
        sized: Whether `image_sizes.txt` has to be there; where masks are listed it never has to.

    Returns:
        The images of which every line could be read, or None where a file is missing, and all that is wrong
        with the text; `split_faults` tells what is wrong with the values. Sizes are (0, 0) without their file.
    """
    faults: list[Fault] = []
    tables: dict[str, Table] = {}
    optional = {"subsets.csv", "localization.txt"} if folder.name == TRAIN else {"subsets.csv"}
    files = FILES | {"localization.txt": columns_of(folder / "localization.txt")}
    if not sized or files["localization.txt"] == MASK_COLUMNS:
        optional.add("image_sizes.txt")
    for name, columns in files.items():
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
        elif not is_below(image):
            faults.append(path_fault(f"{folder.name}/image_ids.txt:{number}", image))
        images[image] = image
    if not images:
        faults.append(Fault(f"{folder.name}/image_ids.txt", "no image in it", "list at least one"))

    holds = "label, a whole number from 0"
    labels = tables["class_labels.txt"].by_image(holds, images, partial(parse_whole, lowest=0))
    usable = set(labels)
    sizes: dict[str, tuple[int, ...]] = {}
    if table := tables.get("image_sizes.txt"):
        holds = "width and height in whole pixels, from 1"
        sizes = table.by_image(holds, images, partial(parse_whole, lowest=1))
        usable &= sizes.keys()
    subsets: dict[str, str] = {}
    if table := tables.get("subsets.csv"):
        subsets = table.by_image("subset's name", images, itemgetter(0))
        usable &= subsets.keys()
    found = read_localization(tables.get("localization.txt"), images)

    usable -= found.broken
    ids = [image for image in images if image in usable and is_below(image)]
    split = make_split(
        ids=ids,
        labels=[labels[image][0] for image in ids],
        sizes=[sizes.get(image, (0, 0)) for image in ids],
        boxes=(found.boxes.get(image, ()) for image in ids),
        subsets=[subsets[image] for image in ids] if subsets else (),
        masks=(found.masks.get(image, ()) for image in ids) if found.masked else (),
        ignores=[found.ignores.get(image, "") for image in ids] if found.masked else (),
    )
    return split, faults
