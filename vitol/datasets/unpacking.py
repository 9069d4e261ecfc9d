"""Unpacking a data set's archive: one folder of it, whole or not at all, and nothing outside."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

CHUNK = 1 << 20  # bytes read at a time
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
"""How archives fail."""
Progress = Callable[[str, int, int], object]
"""Told an activity, the bytes done, and those in all (0 where the server does not say)."""


class FetchError(ValueError):
    """A data set that was not fetched; the text says why and what to do."""


def unpack(file: Path, wanted: str, folder: Path, progress: Progress | None = None) -> None:
    """Unpack one folder of an archive, whole or not at all.

    Args:
        file: A zip or tar archive.
        wanted: The folder in it.
        folder: Where it goes.
        progress: Told the bytes done.

    Raises:
        FetchError: If a name in the archive leads out of it, an entry is a link or a device, the archive is damaged,
            or the folder is not in it. Then nothing is left.
    """
    say = progress or (lambda *_: None)
    with TemporaryDirectory(prefix=f".{wanted}-", dir=folder) as beside:
        try:
            with _entries(file) as (entries, done):
                total = file.stat().st_size
                for name, content in entries:
                    path = Path(beside, *_inside(name, file).parts)
                    if content is None:
                        path.mkdir(parents=True, exist_ok=True)
                        continue
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with content, path.open("xb") as handle:
                        shutil.copyfileobj(content, handle, CHUNK)
                    say("Unpacking", done(), total)
                say("Unpacking", total, total)
        except (*DAMAGED, FileExistsError, NotADirectoryError) as error:
            raise FetchError(f"{file} cannot be unpacked ({error}); remove it, and fetch it again") from error
        made = Path(beside, wanted)
        if not made.is_dir():
            raise FetchError(f"{file} holds no folder {wanted}; it is another archive than was meant")
        made.rename(folder / wanted)


def _inside(name: str, file: Path) -> PurePosixPath:
    """A name in an archive as a path below where it is unpacked."""
    path = PurePosixPath(name)
    # On Windows a drive or a backslash would lead elsewhere, too.
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\\" in name:
        raise FetchError(f"{file} has an entry {name!r}, which leads out of its folder; nothing was unpacked")
    return path


@contextmanager
def _entries(file: Path) -> Iterator[tuple[Iterator[tuple[str, BinaryIO | None]], Callable[[], int]]]:
    """Names and contents in an archive (None for a folder), and how far into the file that is."""
    with file.open("rb") as raw:
        if zipfile.is_zipfile(raw):
            with zipfile.ZipFile(raw) as packed:
                yield _zip_entries(packed, file), raw.tell
        else:
            raw.seek(0)
            with tarfile.open(fileobj=raw, mode="r|*") as taped:
                yield _tar_entries(taped, file), raw.tell


def _zip_entries(packed: zipfile.ZipFile, file: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    """Entries of a zip archive; links are refused."""
    for entry in packed.infolist():
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise FetchError(f"{file} has an entry {entry.filename!r}, which is a link; nothing was unpacked")
        yield entry.filename, None if entry.is_dir() else packed.open(entry)  # type: ignore[misc]


def _tar_entries(taped: tarfile.TarFile, file: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    """Entries of a tar archive; links and devices are refused."""
    for entry in taped:
        content = taped.extractfile(entry) if entry.isfile() else None
        if content is None and not entry.isdir():
            raise FetchError(
                f"{file} has an entry {entry.name!r}, which is a link or a device; nothing was unpacked"
            )
        yield entry.name, content  # type: ignore[misc]
