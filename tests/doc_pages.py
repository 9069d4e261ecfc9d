"""The Markdown of the project as blocks and commands, each of which says what it is."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

PAGES = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")))
KINDS = ("python", "shell", "text", "diff", "yaml")  # run, run, shown, applied to a copy, checked
TITLED = ("diff", "yaml")  # say which file of the project they are of; python may, and is then that file
_FENCE = re.compile(r"^[ ]*(`{3,}|~{3,})(.*)$")
_INFO = re.compile(r'(\w+)(?: title="([^"]+)")?')
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        where: Page and line of its first line, for errors.
        kind: One of `KINDS`.
        title: The file that it is of, or "".
        text: What stands between the fences.
    """

    where: str
    kind: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its command lines, continued ones joined, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if shlex.split(line, comments=True)]


def read_page(text: str, where: str) -> tuple[list[Block], str]:
    """The blocks of a page, and its text without them.

    Raises:
        ValueError: If a block does not say what it is, says something unknown, or has no end.
    """
    blocks, prose = [], []
    fence, info, start, inside = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if fence and match and match[1] == fence and not match[2].strip():
            blocks.append(
                Block(f"{where}:{start}", *_kind(info, f"{where}:{start}"), "\n".join(inside) + "\n")
            )
            fence, inside = "", []
        elif fence:
            inside.append(line)
        elif match:
            fence, info, start = match[1], match[2].strip(), number
        else:
            prose.append(line)
    if fence:
        raise ValueError(f"{where}:{start}: the block has no end; close it with {fence}")
    return blocks, "\n".join(prose)


def _kind(info: str, where: str) -> tuple[str, str]:
    match = _INFO.fullmatch(info)
    if match is None or match[1] not in KINDS:
        raise ValueError(f"{where}: the block says {info!r}, not what it is: one of {', '.join(KINDS)}")
    kind, title = match[1], match[2] or ""
    if bool(title) != (kind in TITLED) and kind != "python":
        raise ValueError(f'{where}: a {kind} block {"needs a" if kind in TITLED else "has no"} title="FILE"')
    return kind, title


def page_blocks(page: str) -> list[Block]:
    """The blocks of one of `PAGES`."""
    return read_page((ROOT / page).read_text(encoding="utf-8"), page)[0]


def page_spans(page: str) -> list[str]:
    """What stands in back quotes in the text of one of `PAGES`, line ends as spaces."""
    prose = read_page((ROOT / page).read_text(encoding="utf-8"), page)[1]
    return [" ".join(span.split()) for span in _SPAN.findall(prose)]


def apply_diff(path: Path, diff: str) -> None:
    """Change a file as a block of hunks says, `@@` between them; lines that are only added go to its end.

    Raises:
        ValueError: If what a hunk changes does not stand in the file exactly once.
    """
    text = path.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@\n", diff, flags=re.M):
        lines = hunk.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        if old and text.count(old) != 1:
            raise ValueError(f"{path.name} has {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new) if old else text + new
    path.write_text(text, encoding="utf-8")
