"""A folder of pixel masks, one picture an image.

H x W image. `test/0001.jpg` has its mask in `test/0001.png`, or else in `test/0001.jpg.png`. A mask is as large
as its image; values above 0.5 are the object. What neither counts as object nor as background may stand in
`test/0001_ignore.png` (`test/0001.jpg_ignore.png`): nonzero pixels outside the object are left out.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vitol.datasets.faults import Fault
from vitol.masks import BadMask, Masks, read_pixels
from vitol.pxap import IGNORED


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
    pixels = read_pixels(folder / file, where, image)
    if pixels.shape != (size[1], size[0]):
        seen = f"is {pixels.shape[1]}x{pixels.shape[0]}, its image {size[0]}x{size[1]}"
        raise BadMask(Fault(where, seen, "a mask is as large as its image", image))
    return pixels


class MaskReader(Masks):
    """Masks of images, from a folder, as large as the images.

    Attributes:
        folder: With the masks.
        ids: Of the images, n.
        sizes: Their widths and heights in pixels, (n, 2).
    """

    def __init__(self, folder: Path, ids: Sequence[str], sizes: np.ndarray) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the one that holds the masks")
        super().__init__(ids)
        self.folder, self.sizes = folder, sizes

    def read(self, index: int) -> np.ndarray:
        """Mask of an image, see `read_mask`."""
        return read_mask(self.folder, self.ids[index], self.size(index))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of an image."""
        width, height = self.sizes[index].tolist()
        return width, height
