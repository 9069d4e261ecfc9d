"""ILSVRC 2012-2017 localization (ImageNet-1K), from Kaggle or from image-net.org: whichever is found is read.

- Kaggle: `LOC_synset_mapping.txt` (synset and class name a line, in the order of the labels, all 1000),
  `LOC_val_solution.csv` (ImageId,PredictionString: groups of synset x0 y0 x1 y1), `Data/CLS-LOC/val/*.JPEG`.
- `ILSVRC2017_CLS-LOC.tar.gz`: `Annotations/CLS-LOC/val/*.xml` and `Data/CLS-LOC/val/*.JPEG`.
- The archives of 2012, each unpacked into a folder of its own name: `ILSVRC2012_img_val/*.JPEG` and
  `ILSVRC2012_bbox_val_v3/val/*.xml`.

If there is something to train on, its images lie under `Data/CLS-LOC/train/<synset>/`, or
`ILSVRC2012_img_train/<synset>/`. `Data` and `Annotations` may lie in a folder `ILSVRC`, as archives have it.
"""

from pathlib import Path

from vitol.datasets.faults import Fault
from vitol.datasets.ilsvrc_kaggle import IMAGES, SOLUTION, scan_kaggle
from vitol.datasets.ilsvrc_official import (
    BOXES_2012,
    VAL_2012,
    packed_2012,
    packed_2017,
    place_of_2012,
    place_of_2017,
    scan_official,
)
from vitol.datasets.imagenet import SYNSETS
from vitol.datasets.inspection import inspect_images
from vitol.datasets.layout import Layout, Scan, sound

PLACES = (Path(), Path("ILSVRC"))  # where Data and Annotations may lie


def read_ilsvrc(root: Path) -> Layout:
    """Read ILSVRC, whole or any selection of its validation images.

    The official validation images are the paper's (and the protocol's) *test* split. The layout has no
    validation split of its own, so each test image belongs to one of two subsets: "val-cut", a third of the
    images, rounded down, chosen by `cut_by_hash` over Kaggle's ids, and "test-cut", the rest. The threshold policy
    `validation` chooses on the first and is measured on the second; the other policies use all images.

    Args:
        root: The folder `ILSVRC`, or the one that the archives were unpacked in.

    Returns:
        Split "test" and, where there are train images, split "train", with labels and without boxes. Ids
        start from `Data/CLS-LOC`: "val/ILSVRC2012_val_00000001.JPEG", "train/n01440764/n01440764_10026.JPEG"; of the
        archives of 2012 from the root. Labels and boxes are those of the same images in every layout. Sizes are those
        of the images: an XML file states one, too, and one that differs from its image's is a fault.

    Raises:
        DatasetFaults: A ValueError with every fault of the text files, and images that cannot be opened.
    """
    return sound(inspect_images(scan_ilsvrc(root), decode=False)[0])


def scan_ilsvrc(root: Path) -> Scan:
    """What the text files and the train folders say, and all that is wrong with them."""
    below = next((place for place in PLACES if (root / place / IMAGES).is_dir()), PLACES[0])
    if (root / SOLUTION).exists():
        return scan_kaggle(root, root / below)
    for place in PLACES:
        if (root / place_of_2017(place).boxes).is_dir():
            return scan_official(root, place_of_2017(place))
    packed = packed_2012(root)
    if packed or (root / VAL_2012).exists() or (root / BOXES_2012).exists():
        return scan_official(root, place_of_2012(root), packed)
    if archives := packed_2017(root):
        return Scan(Layout((), {}, root), tuple(archives), ())
    of_2017, of_2012 = place_of_2017(below), place_of_2012(root)
    images = (below / IMAGES / "val").as_posix()
    needed = {
        "Kaggle's download": (SYNSETS, SOLUTION, images),
        "an unpacked ILSVRC2017_CLS-LOC.tar.gz": (of_2017.boxes.as_posix(), images),
        "unpacked archives of ILSVRC2012": (of_2012.boxes.as_posix(), VAL_2012),
    }
    faults = [
        Fault(".", f"not {name}: no {', '.join(gone)}", "add it, or give the folder that holds all of it")
        for name, paths in needed.items()
        if (gone := [path for path in paths if not (root / path).exists()])
    ]
    return Scan(Layout((), {}, root), tuple(faults), ())
