"""OpenImages-30k, the data set of pixel masks of `clovaai/wsolevaluation`.

Under the root: the folders `train`, `val` and `test` with the text files of the WSOL split format, as
`metadata/OpenImages` has them: without `image_sizes.txt`, and with masks instead of boxes in `localization.txt` of
`val` and `test` (see `vitol.datasets.localization`). Images and masks lie below the root, or below its folder
`images`, by the paths in these files, such as `test/01226z/7af766bd43da900b.jpg`.
"""

from dataclasses import replace
from pathlib import Path

from vitol.datasets.faults import Fault
from vitol.datasets.inspection import inspect_images
from vitol.datasets.layout import Layout, Scan, sound
from vitol.datasets.splits import TRAIN
from vitol.datasets.wsol import CLASSES, scan_wsol


def read_openimages(root: Path) -> Layout:
    """Read OpenImages-30k, or a selection of its images.

    Sizes come from the images' headers. A mask may have another size than its image: both are scaled to the score
    map. A class is called by the folder that all its images lie in (a Freebase id, such as "01226z"), unless
    `classes.txt` has names.

    Args:
        root: The folder of the splits' folders.

    Returns:
        Splits "train", "val" and "test", those of them that are there; all but "train" have masks.

    Raises:
        DatasetFaults: A ValueError with every fault of the text files, and images and masks that cannot be opened.
    """
    return sound(inspect_images(scan_openimages(root), decode=False)[0])


def scan_openimages(root: Path) -> Scan:
    """What the text files say, sizes left open, and all that is wrong with them."""
    scan = scan_wsol(root, sized=())
    faults, splits = list(scan.faults), dict(scan.layout.splits)
    for name, split in scan.layout.splits.items():
        if name != TRAIN and len(split) and not split.masks:
            seen, remedy = "lists no mask", "a line is 'path,mask,ignore'"
            if any(map(len, split.boxes)):
                seen, remedy = "most lines have no three fields", f"{remedy}; boxes are layout wsol"
            else:
                del splits[name]  # that each of its images has none is no news
            faults.append(Fault(f"{name}/localization.txt", seen, remedy))
    layout = replace(scan.layout, splits=splits)
    if not (root / CLASSES).exists():
        layout = Layout(_folders(layout), layout.splits, layout.images)
    return Scan(layout, tuple(faults), scan.metadata)


def _folders(layout: Layout) -> tuple[str, ...]:
    """The folder of each label's images; the label itself where they have several, or share one with another label."""
    seen: dict[int, set[str]] = {}
    for split in layout.splits.values():
        for image, label in zip(split.ids, split.labels.tolist(), strict=True):
            seen.setdefault(label, set()).add(image.rpartition("/")[0].rpartition("/")[2])
    only = {label: folders.pop() for label, folders in seen.items() if len(folders) == 1}
    names = list(only.values())
    return tuple(
        only[label] if label in only and only[label] and names.count(only[label]) == 1 else name
        for label, name in enumerate(layout.classes)
    )
