"""`localization.txt`: where the objects of a split's images are, by boxes or by pixel masks, never by both.

With boxes a line is path,x0,y0,x1,y1; with masks path,mask,ignore: files below the image root. Several lines of an
image are several boxes, or masks whose union is the object. Only an image's first line may name the file of what is
left out, and it may do without one. Source: `clovaai/wsolevaluation`, `data_loaders.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitol.datasets.faults import NO_RELATIVE_PATH, UNWRITABLE, Box, Fault, is_below
from vitol.datasets.textfiles import Table, parse_box, read_lines

BOX_COLUMNS = "path,x0,y0,x1,y1"
MASK_COLUMNS = "path,mask,ignore"


@dataclass(frozen=True)
class Localization:
    """What a localization file says of each image.

    Attributes:
        masked: Whether it lists masks and not boxes.
        boxes: Under their image's id.
        masks: Paths of masks under their image's id.
        ignores: Paths of what is left out under their image's id, "" where there is none.
        broken: Ids of images with a line that cannot be read.
    """

    masked: bool = False
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)
    ignores: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


def columns_of(path: Path) -> str:
    """Columns of a localization file: of masks where most of its lines have three fields, else of boxes."""
    commas = [line.count(",") for line in read_lines(path, "", []) or ()]
    masked = commas.count(MASK_COLUMNS.count(",")) > commas.count(BOX_COLUMNS.count(","))
    return MASK_COLUMNS if masked else BOX_COLUMNS


def read_localization(table: Table | None, images: Mapping[str, str]) -> Localization:
    """Read the lines of a localization file; what is wrong with them becomes the table's faults.

    Args:
        table: Its table, None where there is no such file.
        images: The split's images.
    """
    if table is None:
        return Localization()
    found = Localization(masked=table.columns == MASK_COLUMNS)
    for number, (image, *texts) in table.rows():
        if image not in images:
            table.fault(number, f"unknown image {image}", "add it to image_ids.txt or take the line out")
        elif found.masked:
            _read_mask(table, number, image, texts, found)
        elif (box := parse_box(texts)) is None:
            table.fault(number, f"{' '.join(texts)!r} for {image}", "give four finite numbers", image)
            found.broken.add(image)
        else:
            found.boxes.setdefault(image, []).append(box)
    return found


def _read_mask(table: Table, number: int, image: str, texts: Sequence[str], found: Localization) -> None:
    mask, ignore = texts
    if not mask:
        table.fault(number, f"no mask for {image}", "give the path of its mask", image)
        found.broken.add(image)
    elif image in found.masks and ignore:
        seen = f"a second ignore file for {image}: {ignore}"
        remedy = "only an image's first line names one: join them in one file"
        table.fault(number, seen, remedy, image if is_below(ignore) else "")
        found.broken.add(image)
    else:
        found.masks.setdefault(image, []).append(mask)
        found.ignores.setdefault(image, ignore)


def mask_faults(
    ids: Sequence[str],
    boxes: Sequence[np.ndarray],
    masks: Sequence[Sequence[str]],
    ignores: Sequence[str],
    located: bool,
) -> list[Fault]:
    """Masks that are no paths below the image root, and images with boxes beside masks or with neither.

    Args:
        ids: n image ids.
        boxes: Their boxes, n arrays.
        masks: Paths of their masks, n sequences.
        ignores: Paths of what is left out, n; "" for none.
        located: Whether every image needs a mask.
    """
    faults = []
    for image, rows, files, ignore in zip(ids, boxes, masks, ignores, strict=True):
        if len(rows):
            remedy = "localization.txt holds boxes or masks: keep one kind"
            faults.append(Fault(image, "boxes beside masks", remedy, image))
        if located and not files:
            faults.append(Fault(image, "no mask", "images that are scored need at least one", image))
        if ignore and not files:
            remedy = "give the mask, or leave the ignore file out"
            faults.append(Fault(image, f"ignore file {ignore} without a mask", remedy, image))
        for file in (*files, *filter(None, (ignore,))):
            if not is_below(file):  # not the image's: no such path gets into a manifest
                remedy = "masks are paths below the image root, with forward slashes"
                faults.append(Fault(image, f"mask {file!r} {NO_RELATIVE_PATH}", remedy))
            if UNWRITABLE.search(file):
                remedy = "rename it: commas and line ends separate fields"
                faults.append(
                    Fault(image, f"mask {file!r} holds a character that the format cannot", remedy, image)
                )
    return faults
