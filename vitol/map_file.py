"""One array of real numbers from a `.npy` file: nothing is unpickled, and what is wrong is said in words."""

import os
import threading
from pathlib import Path

import numpy as np

# numpy reads headers with `ast`, which in Python 3.11 fails now and then when several threads use it at once
# ("AST constructor recursion depth mismatch"): sound files would be called damaged.
PARSING = threading.Lock()


class BadMap(ValueError):
    """A map file that cannot be scored; the text is what was seen, `remedy` what to do about it."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.remedy = remedy


def read_map(path: Path) -> np.ndarray:
    """Read one map from a `.npy` file; nothing is unpickled.

    Returns:
        Real numbers of any type, finite or not, (h, w), h and w at least 1.

    Raises:
        BadMap: If the file is damaged or no `.npy`, or holds anything but one such map.
        OSError: If it cannot be opened.
    """
    form = np.lib.format
    with path.open("rb") as file:
        try:
            major, _ = form.read_magic(file)
            header = form.read_array_header_1_0 if major == 1 else form.read_array_header_2_0
            with PARSING:
                shape, fortran, dtype = header(file)
        except Exception as error:  # on damaged headers numpy raises TokenError and TypeError, too
            raise BadMap("no .npy file, or a damaged one", "write the map with numpy.save") from error
        if dtype.hasobject:
            raise BadMap("holds pickled Python objects", "they are never loaded: save a plain array")
        if dtype.kind not in "buif":
            raise BadMap(f"holds values of type {dtype}", "a map is of real numbers")
        if len(shape) != 2 or min(shape) < 1:
            raise BadMap(f"has shape {shape}", "a map is (height, width), one file an image")
        there = os.fstat(file.fileno()).st_size - file.tell()
        needed = shape[0] * shape[1] * dtype.itemsize
        if there != needed:
            raise BadMap(f"damaged: {there} bytes of values, not {needed}", "write it again")
        values = np.frombuffer(file.read(needed), dtype)
    return values.reshape(shape, order="F" if fortran else "C")
