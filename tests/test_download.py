import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import full_disk

from vitol.cli.fetch import FetchName
from vitol.datasets import download as module
from vitol.datasets.download import ARCHIVES, Archive, FetchError, download, fetch, file_md5
from vitol.datasets.layouts import LAYOUTS
from vitol.datasets.unpacking import unpack

DATA = bytes(range(256)) * 9000  # longer than two chunks
MD5 = hashlib.md5(DATA).hexdigest()


@dataclass
class Server:
    """A file server on this machine, with what it was asked and how it misbehaves.

    Attributes:
        content: The file that every address has.
        tag: Its ETag.
        ranges: Whether parts of it are given.
        broken: Bytes after which each of the next connections ends.
        states: HTTP states of the next answers.
        asked: The Range of every request, "" for none.
        url: Its address.
    """

    content: bytes = DATA
    tag: str = '"one"'
    ranges: bool = True
    broken: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server; attempts follow one another without waiting."""
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(module, "TIMEOUT", 5.0)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            state.asked.append(span)
            if state.states:
                self.send_error(state.states.pop(0))
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and state.ranges else 0
            if start and start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("ETag", state.tag)
            self.send_header("Content-Length", str(len(body)))
            if start:
                last = len(state.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.content)}")
            self.end_headers()
            self.wfile.write(body[: state.broken.pop(0)] if state.broken else body)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # the client may hang up
            pass

    with Quiet(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/file"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Downloading


def test_a_file_is_downloaded_and_its_progress_told(server, tmp_path):
    told: list[tuple[str, int, int]] = []
    download(server.url, tmp_path / "deep/file", MD5, lambda *what: told.append(what))
    assert (tmp_path / "deep/file").read_bytes() == DATA
    assert names(tmp_path / "deep") == ["file"]
    got = [done for activity, done, _ in told if activity == "Downloading"]
    assert got == sorted(got) and (got[0], got[-1]) == (0, len(DATA))
    assert {total for _, _, total in told} == {len(DATA)}


def test_a_connection_that_breaks_is_gone_on_from(server, tmp_path):
    server.broken = [1_000_000, 500_000]
    download(server.url, tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == DATA
    assert server.asked == ["", "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_where_the_first_one_gave_up(server, tmp_path):
    server.broken = [1_000_000, 0, 0]
    with pytest.raises(FetchError, match=r"tried 3 times; 1,000,000 bytes are kept in .*partial, run again"):
        download(server.url, tmp_path / "file", MD5)
    assert names(tmp_path) == ["file.partial", "file.partial.json"]
    server.asked.clear()
    download(server.url, tmp_path / "file", MD5)
    assert server.asked == ["bytes=1000000-"]
    assert (tmp_path / "file").read_bytes() == DATA
    assert names(tmp_path) == ["file"]


def test_without_parts_of_files_it_starts_anew(server, tmp_path):
    server.ranges, server.broken = False, [1_000_000]
    download(server.url, tmp_path / "file", MD5)
    assert server.asked == ["", "bytes=1000000-"]
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_server_that_always_breaks_at_one_byte_is_given_up(server, tmp_path):
    server.ranges, server.broken = False, [1_000_000] * 10
    with pytest.raises(
        FetchError, match="could not be fetched .the connection ended after 1,000,000 of 2,304,000"
    ):
        download(server.url, tmp_path / "file", MD5)
    assert len(server.asked) == 3  # the one that got further, and two more


@pytest.mark.parametrize("change", ["tag", "size", "shorter"])
def test_a_file_that_changed_on_the_server_is_started_anew(server, tmp_path, change):
    server.broken = [1_000_000, 0, 0]
    with pytest.raises(FetchError):
        download(server.url, tmp_path / "file", MD5)
    server.content = {"tag": DATA[::-1], "size": DATA[::-1] + b"x", "shorter": DATA[:900_000]}[change]
    server.tag = '"two"' if change == "tag" else server.tag
    server.asked.clear()
    download(server.url, tmp_path / "file", hashlib.md5(server.content).hexdigest())
    assert server.asked == ["bytes=1000000-", ""]
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_part_of_unknown_origin_is_not_gone_on_from(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(b"other")
    for note in (None, "{", '{"size": 3}'):
        if note:
            (tmp_path / "file.partial.json").write_text(note)
        download(server.url, tmp_path / "file", MD5)
        assert server.asked.pop() == ""
        (tmp_path / "file").rename(tmp_path / "file.partial")


def test_wrong_bytes_are_removed_and_said(server, tmp_path):
    with pytest.raises(FetchError, match=f"sent a file with the MD5 {MD5}, not {'0' * 32}; it was removed"):
        download(server.url, tmp_path / "file", "0" * 32)
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(server, tmp_path):
    server.states = [503, 429]
    download(server.url, tmp_path / "file", MD5)
    assert len(server.asked) == 3
    server.states = [404]
    with pytest.raises(FetchError, match="answers 404 Not Found"):
        download(server.url, tmp_path / "other", MD5)
    assert len(server.asked) == 4


def test_attempts_wait_longer_and_longer(monkeypatch, tmp_path):
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    with pytest.raises(FetchError, match=r"http://127.0.0.1:1/ could not be fetched .*, tried 4 times$"):
        download("http://127.0.0.1:1/", tmp_path / "file", MD5)
    assert waited == [1, 2, 4]
    assert names(tmp_path) == []


def test_a_full_disk_is_not_taken_for_a_broken_connection(server, tmp_path):
    with full_disk(len(DATA) // 2), pytest.raises(OSError, match="File too large"):
        download(server.url, tmp_path / "file", MD5)


def test_a_file_s_md5_is_the_one_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(DATA)
    assert file_md5(tmp_path / "file") == MD5


# Unpacking


def tarball(path: Path, *entries: tuple[str, bytes | None], **changes: Any) -> Path:
    """A .tgz with files (bytes) and folders (None); changes go to the last entry."""
    with tarfile.open(path, "w:gz") as packed:
        for at, (name, content) in enumerate(entries, 1):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            for key, value in changes.items() if at == len(entries) else ():
                setattr(entry, key, value)
            packed.addfile(entry, io.BytesIO(content or b""))
    return path


def zipped(path: Path, *entries: tuple[str, bytes | None], mode: int = 0) -> Path:
    """A .zip with files (bytes) and folders (None); the mode is the last entry's."""
    with zipfile.ZipFile(path, "w") as packed:
        for at, (name, content) in enumerate(entries, 1):
            entry = zipfile.ZipInfo(name if content is not None else f"{name}/")
            entry.external_attr = (mode if at == len(entries) else 0o644) << 16
            packed.writestr(entry, content or b"")
    return path


BOTH = pytest.mark.parametrize("pack", [tarball, zipped])


@BOTH
def test_one_folder_of_an_archive_is_unpacked(tmp_path, pack):
    file = pack(
        tmp_path / "a", ("top.txt", b"top"), ("set", None), ("set/x/y.txt", b"y"), ("set/z.txt", DATA)
    )
    told: list[tuple[str, int, int]] = []
    unpack(file, "set", tmp_path, lambda *what: told.append(what))
    assert (tmp_path / "set/x/y.txt").read_bytes() == b"y"
    assert (tmp_path / "set/z.txt").read_bytes() == DATA
    assert names(tmp_path) == ["a", "set"]
    assert told[-1] == ("Unpacking", file.stat().st_size, file.stat().st_size)


@BOTH
@pytest.mark.parametrize(
    "name", ["../evil.txt", "/tmp/evil.txt", "set/../../evil.txt", "C:/evil.txt", "..\\evil.txt"]
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_left(tmp_path, pack, name):
    folder = tmp_path / "deep/folder"
    folder.mkdir(parents=True)
    file = pack(tmp_path / "a", ("set/x.txt", b"x"), (name, b"evil"))
    with pytest.raises(FetchError, match="which leads out of its folder; nothing was unpacked"):
        unpack(file, "set", folder)
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil.txt").exists()
    assert names(folder) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    file = tarball(tmp_path / "a", ("set/x.txt", b"x"), ("set/link", b""), type=kind, linkname="/etc")
    with pytest.raises(FetchError, match="'set/link', which is a link or a device; nothing was unpacked"):
        unpack(file, "set", tmp_path)
    assert names(tmp_path) == ["a"]


def test_links_in_a_zip_are_refused(tmp_path):
    file = zipped(tmp_path / "a", ("set/x.txt", b"x"), ("set/link", b"/etc"), mode=0o120777)
    with pytest.raises(FetchError, match="'set/link', which is a link; nothing was unpacked"):
        unpack(file, "set", tmp_path)
    assert names(tmp_path) == ["a"]


@BOTH
def test_a_damaged_or_another_archive_leaves_nothing(tmp_path, pack):
    file = pack(tmp_path / "a", ("set/x.txt", DATA))
    with pytest.raises(FetchError, match="holds no folder other; it is another archive than was meant"):
        unpack(file, "other", tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(FetchError, match="a cannot be unpacked .*; remove it, and fetch it again"):
        unpack(file, "set", tmp_path)
    assert names(tmp_path) == ["a"]


# Fetching


@pytest.fixture
def small(server: Server, tmp_path: Path) -> Callable[[], Archive]:
    """A writer of a small data set that the server has."""

    def make() -> Archive:
        file = tarball(tmp_path / "made", ("set/images.txt", b"1 a.jpg"))
        server.content = file.read_bytes()
        file.unlink()
        md5 = hashlib.md5(server.content).hexdigest()
        return Archive("cub", "Small", server.url, md5, "set.tgz", "set", "page", "terms")

    return make


def test_a_data_set_is_fetched_checked_and_unpacked(small, tmp_path):
    archive = small()
    assert fetch(archive, tmp_path / "data") == tmp_path / "data/set"
    assert (tmp_path / "data/set/images.txt").read_bytes() == b"1 a.jpg"
    assert names(tmp_path / "data") == ["set", "set.tgz"]
    with pytest.raises(
        FetchError, match=r"data/set exists already; register it \(vitol data register cub .*set\)"
    ):
        fetch(archive, tmp_path / "data")


def test_an_archive_that_is_there_is_not_downloaded(small, server, tmp_path):
    archive = small()
    (tmp_path / "set.tgz").write_bytes(server.content)
    fetch(archive, tmp_path)
    assert server.asked == []
    (tmp_path / "set/images.txt").unlink()
    (tmp_path / "set").rmdir()
    (tmp_path / "set.tgz").write_bytes(b"another")
    with pytest.raises(FetchError, match=r"set.tgz has the MD5 .*, not .*; remove it, and fetch again"):
        fetch(archive, tmp_path)


def test_nothing_is_unpacked_before_the_checksum_is_right(small, tmp_path):
    with pytest.raises(FetchError, match="sent a file with the MD5"):
        fetch(replace(small(), md5="0" * 32), tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_without_a_network_the_steps_by_hand_are_given(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "WAITS", ())
    archive = replace(ARCHIVES["cub"], url="http://127.0.0.1:1/cub.tgz")
    with pytest.raises(FetchError) as error:
        fetch(archive, tmp_path)
    text = str(error.value)
    for step in (
        "1. download http://127.0.0.1:1/cub.tgz",
        "2. its MD5 (md5sum CUB_200_2011.tgz) must be 97eceeb196236b17998738112f37df78",
        f"3. put it at {tmp_path}/CUB_200_2011.tgz and run this command again",
        f"tar -xzf {tmp_path}/CUB_200_2011.tgz -C {tmp_path}",
        f"4. vitol data register cub {tmp_path}/CUB_200_2011",
    ):
        assert step in text


def test_every_data_set_that_is_fetched_can_be_registered():
    assert [name.value for name in FetchName] == list(ARCHIVES)
    for archive in ARCHIVES.values():
        assert archive.layout in LAYOUTS
        assert archive.page.startswith("https://")
        assert len(bytes.fromhex(archive.md5)) == 16
