"""What is wrong with a data set: collected while reading, reported in one go."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Box = tuple[float, float, float, float]
UNWRITABLE = re.compile("[,\r\n\ud800-\udfff]")
"""Characters that no text file of a split can hold inside a field."""


NO_RELATIVE_PATH = "is no relative path"


def is_below(path: str) -> bool:
    """Whether a path, with forward slashes, stays below the folder that it starts from.

    >>> is_below("test/a.jpg"), is_below("/etc/a.jpg"), is_below("test/../../a.jpg"), is_below("")
    (True, False, False, False)
    """
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data set.

    Attributes:
        where: The image's id, or a text file (with the line's number) relative to the data set's root.
        seen: What was seen there. Holds no absolute path: faults are written to manifests.
        remedy: What to do about it.
        image: Id of the image that is at fault; "" where the fault is not one image's.
        clipped: The box cut off at the image's border, (x0, y0, x1, y1), where that is all the box needs.

    >>> print(Fault("a.jpg", "no label", "add it to class_labels.txt", image="a.jpg"))
    a.jpg: no label; add it to class_labels.txt
    """

    where: str
    seen: str
    remedy: str
    image: str = ""
    clipped: Box | None = None

    def __str__(self) -> str:
        """One line: where, what was seen, what to do."""
        return f"{self.where}: {self.seen}; {self.remedy}"


class DatasetFaults(ValueError):
    """All the faults of a data set.

    Args:
        headline: What was being read, and what its reader can do about faults of this kind.
        faults: At least one fault, in the order found.
        shown: How many faults the text lists, one of each kind (by its remedy) before the others; it always gives
            their total.
    """

    def __init__(self, headline: str, faults: Sequence[Fault], shown: int = 50) -> None:
        self.faults, self.shown = tuple(faults), shown
        remedies = [fault.remedy for fault in self.faults]
        first = {remedy: row for row, remedy in reversed(list(enumerate(remedies)))}
        rows = sorted(range(len(remedies)), key=lambda row: first[remedies[row]] != row)[:shown]
        lines = [
            f"{headline} (faults: {len(self.faults)})",
            *(f"  {self.faults[row]}" for row in sorted(rows)),
        ]
        if len(self.faults) > shown:
            lines.append(f"  ... and {len(self.faults) - shown} more")
        super().__init__("\n".join(lines))


def box_faults(
    ids: Sequence[str], sizes: np.ndarray, boxes: Sequence[np.ndarray], boxed: bool
) -> list[Fault]:
    """Boxes that end before they start, or that leave their image.

    Args:
        ids: n image ids.
        sizes: Widths and heights in pixels, (n, 2).
        boxes: n arrays (k_i, 4) of x0, y0, x1, y1 in pixels.
        boxed: Whether every image needs a box.

    Returns:
        One fault a box, or an image without one, in the order of the images. A box that lies partly inside
        its image comes with what remains of it.
    """
    counts = np.array([len(rows) for rows in boxes], dtype=np.int64)
    owner = np.repeat(np.arange(len(ids)), counts)
    flat = np.concatenate([np.empty((0, 4)), *boxes])
    limits = np.tile(sizes[owner], 2)
    starts, ends = flat[:, :2], flat[:, 2:]
    valid = ((flat >= 0) & (flat <= limits)).all(axis=1) & (starts <= ends).all(axis=1)
    first = np.cumsum(counts) - counts
    found = []
    if boxed:
        for row in np.flatnonzero(counts == 0).tolist():
            found.append(
                (row, Fault(ids[row], "no box", "images that are scored need at least one", ids[row]))
            )
    for at in np.flatnonzero(~valid):
        row, box, limit = int(owner[at]), flat[at], limits[at]
        name = f"boxes[{at - first[row]}] = ({', '.join(f'{x:.10g}' for x in box)})"
        size = "{}x{}".format(*sizes[row])
        clipped = None
        if not np.isfinite(box).all():
            seen, remedy = f"{name} is not finite", "give four finite numbers"
        elif (box[:2] > box[2:]).any():
            seen = f"{name} ends before it starts"
            remedy = "boxes are (x0, y0, x1, y1) with inclusive corners, not (x, y, width, height)"
        elif (box[:2] < limit[:2]).all() and (box[2:] > 0).all():
            x0, y0, x1, y1 = np.clip(box, 0, limit).tolist()
            clipped = (x0, y0, x1, y1)
            seen = f"{name} leaves its image of {size}"
            remedy = "correct it or have it clipped"
        else:
            seen = f"{name} lies outside its image of {size}"
            remedy = "correct it: clipped, it would be empty"
        found.append((row, Fault(ids[row], seen, remedy, ids[row], clipped)))
    return [fault for _, fault in sorted(found, key=lambda entry: entry[0])]
