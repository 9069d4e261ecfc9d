"""Opening every image of a data set: sizes, contents, and the files that cannot be decoded."""

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vitol.datasets.faults import Fault
from vitol.datasets.layout import Scan
from vitol.datasets.splits import Split

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""

BATCH = 4096  # images handed to the threads at once: a million waiting tasks would fill the memory


def inspect_images(scan: Scan, decode: bool, progress: Progress | None = None) -> tuple[Scan, dict[str, str]]:
    """Open every image of a scan, in as many threads as there are processors.

    Args:
        scan: What the text files say.
        decode: Decode each image fully, so that a truncated file is noticed, and hash its bytes; otherwise
            only its header is read.
        progress: Told after every image.

    Returns:
        The scan with sizes filled in, without the images that could not be opened, and with a fault for each
        of those and for each image whose size is not the one that the text files give; and the SHA-256 of
        every decoded file under its id. Images that text faults keep out of the splits are opened too.
    """
    splits = scan.layout.splits
    listed = list(dict.fromkeys(image for split in splits.values() for image in split.ids))
    ids = [*listed, *sorted({fault.image for fault in scan.faults} - {""} - set(listed))] if splits else []
    faults = list(scan.faults)
    sizes: dict[str, tuple[int, int]] = {}
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            results = pool.map(partial(_inspect, decode=decode), (scan.layout.images / i for i in batch))
            for done, (image, result) in enumerate(zip(batch, results, strict=True), start + 1):
                if isinstance(result, str):
                    faults.append(Fault(image, result, "restore the file, or leave the image out", image))
                else:
                    sizes[image], digests[image] = result
                if progress:
                    progress(done, len(ids))
    measured = {name: _measured(split, sizes, faults) for name, split in splits.items()}
    return replace(scan, layout=replace(scan.layout, splits=measured), faults=tuple(faults)), digests


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
            return "no such image file"
        known = error.strerror if isinstance(error, OSError) else None
        return f"cannot be decoded: {known or error or type(error).__name__}"
