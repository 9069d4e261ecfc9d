"""Opening every image of a data set: sizes, contents, and the files that cannot be decoded."""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vitol.datasets.faults import Fault, is_below
from vitol.datasets.layout import Scan
from vitol.datasets.split_faults import path_fault
from vitol.datasets.splits import Split
from vitol.threads import threads

Progress = Callable[[int, int], None]
"""Called with the images (masks included) done and in all."""

NO_FILE = "no such image file"
RESTORE = "restore the file, or leave the image out"
BATCH = 4096  # images handed to the threads at once: a million waiting tasks would fill the memory


@dataclass(frozen=True)
class Opened:
    """What was found in image files, under their paths: each is in `sizes` and `digests`, or in `wrong`.

    Attributes:
        sizes: Width and height in pixels.
        digests: SHA-256 of the file, "" where it was not decoded.
        wrong: Why it could not be opened, in words without its path.
    """

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def inspect_images(scan: Scan, decode: bool, progress: Progress | None = None) -> tuple[Scan, dict[str, str]]:
    """Open every image and mask of a scan, in as many threads as there are processors.

    Args:
        scan: What the text files say.
        decode: Decode each image fully, so that a truncated file is noticed, and hash its bytes; otherwise
            only its header is read.
        progress: Told after every image.

    Returns:
        The scan with sizes filled in, without the images that could not be opened, and with a fault for each
        of those, for each image whose size is not the one that the text files give, and for each mask that
        could not be opened; and the SHA-256 of every decoded file under its path below the image folder, an
        image's id. Images that text faults keep out of the splits are opened too. Paths that leave the image
        folder are not opened; of images, they are faults.
    """
    splits = scan.layout.splits
    listed = list(dict.fromkeys(image for split in splits.values() for image in split.ids))
    ids = [*listed, *sorted({fault.image for fault in scan.faults} - {""} - set(listed))] if splits else []
    faults = list(scan.faults)
    faults += _path_faults(splits, scan.faults)
    ids = [image for image in ids if is_below(image)]
    owners = {file: images for file, images in mask_owners(splits.values()).items() if is_below(file)}
    opened = open_images(scan.layout.images, [*ids, *owners], decode, progress)
    for image in ids:
        if image in opened.wrong:
            faults.append(Fault(image, opened.wrong[image], RESTORE, image))
    faults += mask_faults_of(opened, owners)
    measured = {name: _measured(split, opened.sizes, faults) for name, split in splits.items()}
    scan = replace(scan, layout=replace(scan.layout, splits=measured), faults=tuple(faults))
    return scan, opened.digests


def _path_faults(splits: Mapping[str, Split], faults: Sequence[Fault]) -> list[Fault]:
    """A fault for each id without one that is no path below the image folder, in a split or kept out of it."""
    found = {
        image: path_fault(f"{name}, image {number}", image)
        for name, split in splits.items()
        for number, image in enumerate(split.ids, 1)
        if not is_below(image)
    }
    for fault in faults:
        if fault.image and not is_below(fault.image):
            found.setdefault(fault.image, path_fault(fault.where, fault.image))
    told = {fault.seen for fault in faults}
    return [fault for fault in found.values() if fault.seen not in told]


def open_images(folder: Path, files: Sequence[str], decode: bool, progress: Progress | None = None) -> Opened:
    """Open image files below a folder, in a thread a core; see `inspect_images`."""
    opened = Opened()
    with ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            results = pool.map(partial(_inspect, decode=decode), (folder / file for file in batch))
            for done, (file, result) in enumerate(zip(batch, results, strict=True), start + 1):
                if isinstance(result, str):
                    opened.wrong[file] = result
                else:
                    opened.sizes[file], opened.digests[file] = result
                if progress:
                    progress(done, len(files))
    return opened


def mask_owners(splits: Iterable[Split]) -> dict[str, list[str]]:
    """Ids of the images that a mask or ignore file belongs to, under its path, in the order of the splits."""
    owners: dict[str, list[str]] = {}
    for split in splits:
        for image, masks, ignore in zip(split.ids, split.masks, split.ignores, strict=False):
            for file in (*masks, *filter(None, (ignore,))):
                owners.setdefault(file, []).append(image)
    return owners


def mask_faults_of(opened: Opened, owners: Mapping[str, Sequence[str]]) -> list[Fault]:
    """A fault for each image whose mask could not be opened."""
    return [
        Fault(file, in_words_of_masks(opened.wrong[file]), RESTORE, image)
        for file, images in owners.items()
        if file in opened.wrong
        for image in images
    ]


def in_words_of_masks(wrong: str) -> str:
    """What is wrong with a file that is a mask and no image."""
    return "no such mask file" if wrong == NO_FILE else wrong


def _measured(split: Split, sizes: Mapping[str, tuple[int, int]], faults: list[Fault]) -> Split:
    """The opened images of a split with their sizes; one that its text file gives otherwise is a fault."""
    opened = split.select(np.array([image in sizes for image in split.ids], dtype=bool))
    actual = np.array([sizes[image] for image in opened.ids], dtype=np.int64).reshape(-1, 2)
    stated = np.any(opened.sizes, axis=1, keepdims=True)
    for row in np.flatnonzero((stated & (opened.sizes != actual)).any(axis=1)).tolist():
        seen = "{}x{} and not {}x{}, as its text file says".format(*actual[row], *opened.sizes[row])
        remedy = "boxes are measured by the size in the text file: correct it"
        faults.append(Fault(opened.ids[row], seen, remedy, opened.ids[row]))
    return replace(opened, sizes=np.where(stated, opened.sizes, actual))


def _inspect(path: Path, decode: bool) -> tuple[tuple[int, int], str] | str:
    """Width and height, and the hash of a decoded file; or what is wrong, in words without the path."""
    try:
        if not decode:
            with Image.open(path) as image:
                return image.size, ""
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.size, hashlib.sha256(content).hexdigest()
    except UnidentifiedImageError:
        return "not an image that Pillow knows"
    # Pillow's decoders raise many types on damaged files (SyntaxError, struct.error, EOFError, ...).
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            return NO_FILE
        known = error.strerror if isinstance(error, OSError) else None
        return f"cannot be decoded: {known or error or type(error).__name__}"
