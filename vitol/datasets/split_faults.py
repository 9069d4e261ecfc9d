"""What is wrong with the values of a split, wherever it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitol.datasets.faults import NO_RELATIVE_PATH, UNWRITABLE, Fault, box_faults, is_below
from vitol.datasets.localization import mask_faults

if TYPE_CHECKING:
    from vitol.datasets.splits import Split


def split_faults(split: Split, boxed: bool) -> list[Fault]:
    """Everything wrong with a split as it stands; with `boxed`, an image without a box, or mask, is wrong too."""
    faults = []
    seen = set()
    for number, image in enumerate(split.ids, 1):
        if not is_below(image):
            faults.append(path_fault(f"image {number}", image))
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
    unsized = bool(split.masks) and not split.sizes.any()  # no sizes are listed
    for row in () if unsized else np.flatnonzero((split.sizes < 1).any(axis=1)):
        seen_size = "{}x{}".format(*split.sizes[row])
        faults.append(Fault(split.ids[row], f"size {seen_size}", "sizes are pixels from 1", split.ids[row]))
    for image, subset in zip(split.ids, split.subsets, strict=False):
        if UNWRITABLE.search(subset):
            faults.append(
                Fault(image, f"subset {subset!r}", "leave commas and line ends out of its name", image)
            )
    if split.masks:
        return faults + mask_faults(split.ids, split.boxes, split.masks, split.ignores, located=boxed)
    return faults + box_faults(split.ids, split.sizes, split.boxes, boxed)


def path_fault(where: str, image: str) -> Fault:
    """An id that is no path below the image root. It is not the image's, so that no such path gets into a manifest."""
    remedy = "ids are paths below the image root, with forward slashes"
    return Fault(where, f"{image!r} {NO_RELATIVE_PATH}", remedy)
