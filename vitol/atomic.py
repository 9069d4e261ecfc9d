"""Files and folders that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import glob
import os
import shutil
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


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write to, which takes `folder`'s place when the `with` is left without an error.

    Until then a folder that was at `folder` stays as it was, and it is removed only when the new one has its place.
    What an error leaves is removed; what a killed process left is put back, or removed, by the next that writes to
    `folder`. Unlike `atomic_file`, a power cut may leave files of the new folder empty.

    Args:
        folder: The folder to write; those above it are made.
    """
    folder = folder.absolute()  # "." has no name
    beside = folder.with_name(f".{folder.name}.partial")
    new, old = beside / "new", beside / "old"
    _put_back(old, folder)
    shutil.rmtree(beside, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _put_back(old, folder)
        shutil.rmtree(beside, ignore_errors=True)


def _put_back(old: Path, folder: Path) -> None:
    """Return a folder to its place if nothing else has taken it."""
    if old.exists() and not folder.exists():
        old.rename(folder)
