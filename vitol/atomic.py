"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a partial file, which takes `path`'s place when the `with` is left without an error.

    Until then a file that was at `path` stays as it was; afterwards it is the new one, also for whoever reads it
    while it is replaced. The bytes are on the disk before the name points to them, so that a power cut leaves the
    old file or the new one, too. The partial file is removed when an error ends the `with`, such as that of a full
    disk; one that a killed process left behind is removed by the next that writes to `path`.

    Args:
        path: The file to write; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        left.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
