"""A folder of pixel masks, one picture an image.

H x W image. `test/0001.jpg` has its mask in `test/0001.png`, or else in `test/0001.jpg.png`. A mask is as large
as its image; values above 0.5 are the object. What neither counts as object nor as background may stand in
`test/0001_ignore.png` (`test/0001.jpg_ignore.png`): nonzero pixels outside the object are left out.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from vitol.datasets.faults import Fault
from vitol.pxap import IGNORED

PLAIN_MODES = ("1", "L", "I", "I;16", "F")  # one number a pixel, taken as it is


class BadMask(ValueError):
    """A mask that cannot be used; it carries the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_mask(folder: Path, image: str, size: Sequence[int]) -> np.ndarray:
    """Mask of an image.

    Args:
        folder: With the masks.
        image: The image's id.
        size: Its width and height, in pixels.

    Returns:
        1 object, 0 background, 255 left out, uint8 (H, W).

    Raises:
        BadMask: If it is missing, cannot be decoded, or has another size than the image.
    """
    path = PurePosixPath(image)
    stems = dict.fromkeys((str(path.with_suffix("")), image))
    found = next((stem for stem in stems if (folder / f"{stem}.png").is_file()), None)
    if found is None:
        looked = " and ".join(f"{stem}.png" for stem in stems)
        raise BadMask(Fault(f"masks/{image}", "no mask", f"looked for {looked}", image))
    mask = (_pixels(folder, f"{found}.png", image, size) > 0.5).astype(np.uint8)
    if (folder / f"{found}_ignore.png").is_file():
        ignored = _pixels(folder, f"{found}_ignore.png", image, size) != 0
        mask[ignored & (mask == 0)] = IGNORED
    return mask


def _pixels(folder: Path, file: str, image: str, size: Sequence[int]) -> np.ndarray:
    where = f"masks/{file}"
    try:
        with Image.open(folder / file) as picture:
            plain = picture if picture.mode in PLAIN_MODES else picture.convert("L")
            pixels = np.asarray(plain)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadMask(Fault(where, "cannot be decoded", "write it again as PNG", image)) from error
    if pixels.shape != (size[1], size[0]):
        seen = f"is {pixels.shape[1]}x{pixels.shape[0]}, its image {size[0]}x{size[1]}"
        raise BadMask(Fault(where, seen, "a mask is as large as its image", image))
    return pixels


class MaskReader:
    """Masks of images, read when they are asked for, by any thread; faults are kept, not raised.

    In place of a mask at fault there is one that leaves out everything, so that those after it are looked at too.

    Attributes:
        folder: With the masks.
        ids: Of the images, n.
        sizes: Their widths and heights in pixels, (n, 2).
    """

    def __init__(self, folder: Path, ids: Sequence[str], sizes: np.ndarray) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the one that holds the masks")
        self.folder, self.ids, self.sizes = folder, tuple(ids), sizes
        self._faults: dict[int, Fault] = {}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> np.ndarray:
        """Mask of an image, see `read_mask`."""
        size = self.sizes[index].tolist()
        try:
            return read_mask(self.folder, self.ids[index], size)
        except BadMask as error:
            self._faults[index] = error.fault
            return np.full(size[::-1], IGNORED, np.uint8)

    @property
    def faults(self) -> list[Fault]:
        """Of the masks read so far, in the order of the images."""
        return [self._faults[index] for index in sorted(self._faults)]
