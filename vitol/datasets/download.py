"""Fetching data sets from their official addresses: resumed, checked, and unpacked without leaving the folder.

Nothing is unpacked before the archive's checksum is right, and a data set's folder is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from vitol import __version__
from vitol.datasets.unpacking import CHUNK, FetchError, Progress, unpack

TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
WAITS = (1.0, 2.0, 4.0)  # seconds before each further attempt; begun anew whenever bytes arrived
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP states that may be over soon."""
BROKEN = (
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    http.client.HTTPException,
)
"""How a connection fails; other errors are this machine's, such as a full disk."""


@dataclass(frozen=True)
class Archive:
    """A data set as its authors publish it.

    Attributes:
        layout: What `vitol data register` calls its layout.
        title: Its name, for people.
        url: The archive's official address.
        md5: The archive's checksum.
        file: The archive's name.
        folder: The folder in the archive that is the data set.
        page: The official page, with the terms.
        terms: What the user is asked to accept, in our words.
    """

    layout: str
    title: str
    url: str
    md5: str
    file: str
    folder: str
    page: str
    terms: str


ARCHIVES = {
    "cub": Archive(
        layout="cub",
        title="CUB-200-2011 (Caltech-UCSD Birds, 1.1 GB)",
        url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
        md5="97eceeb196236b17998738112f37df78",
        file="CUB_200_2011.tgz",
        folder="CUB_200_2011",
        page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        terms="The photos are other people's, found on Flickr: their rights stay with their authors. Take the data "
        "to be for research and teaching that is not commercial, do not pass the photos on, and cite the technical "
        "report CNS-TR-2011-001. The official page has the last word.",
    ),
    "tiny-imagenet": Archive(
        layout="tiny-imagenet",
        title="Tiny-ImageNet (200 classes, 64 x 64 pixels, 248 MB)",
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        file="tiny-imagenet-200.zip",
        folder="tiny-imagenet-200",
        page="https://www.image-net.org/download.php",
        terms="Its photos are ImageNet's, so ImageNet's terms of access are taken to hold: research and teaching that "
        "is not commercial, no passing on, and no claim against ImageNet's team. The archive has no licence of its "
        "own. ImageNet's page has the last word.",
    ),
}


def fetch(archive: Archive, folder: Path, progress: Progress | None = None) -> Path:
    """Download a data set, check it, and unpack it.

    An archive that is in the folder already, such as one that was downloaded elsewhere, is checked and unpacked.
    It stays there; files of it beside the data set's own folder are left out.

    Args:
        archive: Which data set.
        folder: Where archive and data set go.
        progress: Told what is done.

    Returns:
        The data set's folder.

    Raises:
        FetchError: If the data set is there already, cannot be reached, or does not have the checksum; the text says
            what to do by hand.
        OSError: If files cannot be written.
    """
    say = progress or (lambda *_: None)
    target, file = folder / archive.folder, folder / archive.file
    if target.exists():
        raise FetchError(
            f"{target} exists already; register it ({register_command(archive, folder)}), or move it away"
        )
    try:
        if not file.exists():
            download(archive.url, file, archive.md5, say)
        elif (seen := file_md5(file, say)) != archive.md5:
            raise FetchError(f"{file} has the MD5 {seen}, not {archive.md5}; remove it, and fetch again")
    except FetchError as error:
        raise FetchError(f"{error}\n{by_hand(archive, folder)}") from error
    unpack(file, archive.folder, folder, say)
    return target


def register_command(archive: Archive, folder: Path) -> str:
    """What makes a data set that was fetched known to vitol."""
    return f"vitol data register {archive.layout} {folder / archive.folder}"


def by_hand(archive: Archive, folder: Path) -> str:
    """How somebody gets the data set without this command."""
    packer = "unzip -q" if archive.file.endswith(".zip") else "tar -xzf"
    where = "-d" if archive.file.endswith(".zip") else "-C"
    return "\n".join(
        (
            "By hand:",
            f"  1. download {archive.url}",
            f"  2. its MD5 (md5sum {archive.file}) must be {archive.md5}",
            f"  3. put it at {folder / archive.file} and run this command again, or unpack it yourself:",
            f"     {packer} {folder / archive.file} {where} {folder}",
            f"  4. {register_command(archive, folder)}",
        )
    )


@dataclass(frozen=True)
class Remote:
    """What tells one version of a file on a server from another.

    Attributes:
        size: Bytes; 0 where the server does not say.
        tag: Its ETag, "" if there is none.
        modified: Its Last-Modified, "" if there is none.
    """

    size: int
    tag: str
    modified: str


def download(url: str, path: Path, md5: str, progress: Progress | None = None) -> None:
    """Download a file; what an earlier call has got of it is kept and gone on from.

    It grows as PATH.partial, with what the server said of it in PATH.partial.json, and gets its name once its
    checksum is right. It starts anew where the server gives no parts of files, or the file there has changed.

    Args:
        url: An http or https address.
        path: The file to write; its folder is made.
        md5: Its checksum.
        progress: Told the bytes that are there.

    Raises:
        FetchError: If the server refuses, cannot be reached after a few attempts, or sends other bytes. Wrong bytes
            are removed, parts are kept.
    """
    say = progress or (lambda *_: None)
    partial, note = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.partial.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    longest, attempt = partial.stat().st_size if partial.exists() else 0, 0
    while True:
        try:
            _go_on(url, partial, note, say)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in PASSING:
                raise FetchError(f"{url} answers {error.code} {error.reason}") from error
            if not isinstance(error, BROKEN):
                raise
            got = partial.stat().st_size if partial.exists() else 0
            attempt, longest = (0, got) if got > longest else (attempt, longest)
            if attempt == len(WAITS):
                reason = getattr(error, "reason", None) or error
                kept = f"; {got:,} bytes are kept in {partial}, run again to go on" if got else ""
                raise FetchError(
                    f"{url} could not be fetched ({reason}), tried {attempt + 1} times{kept}"
                ) from error
            time.sleep(WAITS[attempt])
            attempt += 1
    seen = file_md5(partial, say)
    if seen != md5:
        partial.unlink()
        note.unlink(missing_ok=True)
        raise FetchError(f"{url} sent a file with the MD5 {seen}, not {md5}; it was removed")
    with partial.open("rb+") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)
    note.unlink(missing_ok=True)


def file_md5(path: Path, progress: Progress | None = None) -> str:
    """MD5 of a file, in hex: what data sets are published with; not to be trusted against an attacker."""
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress("Checking", done, total)
    return digest.hexdigest()


def _go_on(url: str, partial: Path, note: Path, say: Progress) -> None:
    """Get what is missing of a file, or all of it, in one connection."""
    known = _read_note(note) if partial.exists() else None
    start = partial.stat().st_size if known else 0
    if known and start and start == known.size:
        return
    headers = {"User-Agent": f"vitol/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        partial.unlink()  # longer than the file that is there now
        return _go_on(url, partial, note, say)
    with response:
        remote, first = _describe(response)
        if (
            start
            and response.status == http.HTTPStatus.PARTIAL_CONTENT
            and (remote != known or first != start)
        ):
            partial.unlink()
            return _go_on(url, partial, note, say)
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
            partial.unlink(missing_ok=True)
            note.write_text(json.dumps(asdict(remote)), encoding="utf-8")
        with partial.open("ab") as handle:
            say("Downloading", start, remote.size)
            while chunk := response.read(CHUNK):
                handle.write(chunk)
                start += len(chunk)
                say("Downloading", start, remote.size)
    if start < remote.size:
        raise ConnectionError(f"the connection ended after {start:,} of {remote.size:,} bytes")


def _describe(response: http.client.HTTPResponse) -> tuple[Remote, int]:
    """The file that an answer is about, and the first byte that it has of it."""
    first, size = 0, response.headers.get("Content-Length", "0")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:  # Content-Range: bytes 100-199/200
        span, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = int(start) if (start := span.partition("-")[0].strip()).isdecimal() else -1
    tag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    return Remote(int(size) if size.strip().isdecimal() else 0, tag, modified), first


def _read_note(note: Path) -> Remote | None:
    """What the server said of a file when its download began; None if that is not known."""
    try:
        return Remote(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
