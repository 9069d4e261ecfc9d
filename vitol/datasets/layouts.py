"""The layouts that a data set can be registered in: how each is read, and what it expects to find."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vitol.datasets.cub import scan_cub
from vitol.datasets.ilsvrc import scan_ilsvrc
from vitol.datasets.layout import Scan
from vitol.datasets.openimages import scan_openimages
from vitol.datasets.tiny_imagenet import scan_tiny_imagenet
from vitol.datasets.wsol import scan_wsol


@dataclass(frozen=True)
class LayoutReader:
    """How a layout is read.

    Attributes:
        scan: From a data set's root to what its text files say.
        expects: What is to be found under the root, in one line.
    """

    scan: Callable[[Path], Scan]
    expects: str


LAYOUTS = {
    "cub": LayoutReader(
        scan_cub,
        "CUB-200-2011: images.txt, bounding_boxes.txt and the other official text files, and images/",
    ),
    "ilsvrc": LayoutReader(
        scan_ilsvrc,
        "ImageNet-1K: Kaggle's LOC_*.csv and Data/, or image-net.org's archives unpacked, with boxes as XML",
    ),
    "tiny-imagenet": LayoutReader(
        scan_tiny_imagenet, "Tiny-ImageNet: wnids.txt, words.txt, train/ and val/ of tiny-imagenet-200"
    ),
    "openimages": LayoutReader(
        scan_openimages,
        "OpenImages-30k: train/, val/ and test/ of wsolevaluation's metadata; images and masks there too, or in "
        "images/, which may be a link",
    ),
    "wsol": LayoutReader(
        scan_wsol,
        "anything else: train/, val/ and test/ in the WSOL split format; images there too, or in images/, which "
        "may be a link",
    ),
}
