"""A whole data set: what its official files say, what is wrong with it, and the validation cut."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitol.datasets.faults import DatasetFaults, Fault
from vitol.datasets.splits import TRAIN, Split, cut_by_hash, split_faults

LEAST = 10  # train images that a tenth can be cut off


@dataclass(frozen=True)
class Layout:
    """A data set in the WSOL split format, its images left where they are.

    Attributes:
        classes: Class names in the order of the labels.
        splits: The splits under their names, "train", "val" and "test".
        images: The folder that all ids start from.
    """

    classes: tuple[str, ...]
    splits: dict[str, Split]
    images: Path

    def without(self, ids: Iterable[str]) -> "Layout":
        """The data set with some images left out of every split."""
        gone = frozenset(ids)
        kept = {
            name: split.select(np.array([image not in gone for image in split.ids], dtype=bool))
            for name, split in self.splits.items()
        }
        return replace(self, splits=kept)


@dataclass(frozen=True)
class Scan:
    """What a reader got out of a data set's text files, before any image is opened.

    Attributes:
        layout: The images of which every line could be read. Sizes are (0, 0) where the text gives none:
            `vitol.datasets.inspection` fills them in.
        faults: What is wrong with the text files. Where one is missing, only such faults are known.
        metadata: The text files that belong to the layout, relative to its root, the optional ones too. An entry
            with an asterisk stands for all files that match it, such as "Annotations/*.xml".
    """

    layout: Layout
    faults: tuple[Fault, ...]
    metadata: tuple[str, ...]


def layout_faults(layout: Layout) -> list[Fault]:
    """What is wrong with the values: labels beyond the classes, bad boxes, images in two splits.

    Only a train image may be without a box, or mask.
    """
    faults = []
    owner: dict[str, str] = {}
    for name, split in layout.splits.items():
        faults += split_faults(split, boxed=name != TRAIN)
        for row in np.flatnonzero(split.labels >= len(layout.classes)):
            seen = f"label {split.labels[row]} of {len(layout.classes)} classes, which are counted from 0"
            faults.append(Fault(split.ids[row], seen, "correct the label or the classes", split.ids[row]))
        for image in split.ids:
            if owner.setdefault(image, name) != name:
                seen = f"stands in {owner[image]} and in {name}"
                faults.append(Fault(image, seen, "splits share no image: take it out of one", image))
    return faults


def sound(scan: Scan) -> Layout:
    """The layout of a scan without faults.

    Raises:
        DatasetFaults: A ValueError with every fault of the text files and of the values.
    """
    if faults := [*scan.faults, *layout_faults(scan.layout)]:
        raise DatasetFaults(f"the data set with images under {scan.layout.images} has faults", faults)
    return scan.layout


def needs_validation_cut(layout: Layout) -> bool:
    """Whether thresholds have to be chosen on a part of the train images.

    So it is where there is no split "val", and all train images have boxes: in CUB and Tiny-ImageNet, but not in
    ILSVRC, whose train images have none. Where they are too few to be cut, `with_validation_cut` says so.
    """
    train = layout.splits.get(TRAIN)
    return "val" not in layout.splits and train is not None and len(train) > 0 and all(map(len, train.boxes))


def with_validation_cut(layout: Layout) -> Layout:
    """Move a tenth of the train images, rounded down, to a new split "val".

    Section 3 of the protocol: the images of `cut_by_hash`. It serves data sets whose train images have boxes
    (see `needs_validation_cut`); ILSVRC's test split is divided instead (see `vitol.datasets.ilsvrc`).

    Raises:
        ValueError: There is a validation split already, no train split of ten images or more, or an image of
            the cut has no box.
    """
    if "val" in layout.splits:
        raise ValueError(f"{layout.images} has a split val of its own: use it, nothing has to be cut")
    train = layout.splits.get(TRAIN)
    if train is None or len(train) < LEAST:
        count = 0 if train is None else len(train)
        raise ValueError(f"{layout.images} has {count} train images; a tenth for validation needs {LEAST}")
    cut = cut_by_hash(train.ids, len(train) // 10)
    val = train.select(cut)
    for image, boxes in zip(val.ids, val.boxes, strict=True):
        if not len(boxes):
            raise ValueError(
                f"{image} has no box, so it cannot serve for validation; cut where images have boxes"
            )
    splits = {**layout.splits, TRAIN: train.select(~cut), "val": val}
    return replace(layout, splits={name: splits[name] for name in (TRAIN, "val", "test") if name in splits})
