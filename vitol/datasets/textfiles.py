"""Text tables of data sets, read line by line: what is wrong becomes a fault, the rest is still read."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vitol.datasets.faults import Box, Fault

Value = TypeVar("Value")


def read_lines(path: Path, where: str, faults: list[Fault]) -> list[str] | None:
    """Lines of a text file without their ends; the last may lack its own.

    Returns:
        None where the file is missing or no text, with a fault added for `where`.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        faults.append(Fault(where, f"not UTF-8 at byte {error.start}", "save it as UTF-8 text"))
    except OSError as error:
        faults.append(
            Fault(where, (error.strerror or "unreadable").lower(), "the data set needs this text file")
        )
    else:
        return lines if lines[-1] else lines[:-1]
    return None


@dataclass(frozen=True)
class Table:
    """A text table with an image, or a class, a line.

    Attributes:
        lines: Its lines.
        where: Its name in faults.
        columns: The columns' names, joined by commas or by spaces as the fields are. The last field of a
            table with spaces may hold spaces.
        faults: Gets what is wrong with the lines while they are read; read each table once.
        header: Whether the first line is `columns`.
    """

    lines: list[str]
    where: str
    columns: str
    faults: list[Fault]
    header: bool = False

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number (from 1) and fields of each line that has as many fields as there are columns."""
        commas = "," in self.columns or " " not in self.columns
        count = len(self.columns.replace(",", " ").split())
        if self.header and self.lines[:1] != [self.columns]:
            self.fault(1, "no header", f"the first line is {self.columns!r}")
        start = 1 if self.header else 0
        for number, line in enumerate(self.lines[start:], start + 1):
            fields = line.split(",") if commas else line.strip().split(None, count - 1)
            if len(fields) == count and line:
                yield number, fields
            else:
                seen = f"{len(fields) if line else 0} fields in {line[:80]!r}"
                self.fault(number, seen, f"a line is {self.columns!r}")

    def fault(self, number: int, seen: str, remedy: str, image: str = "") -> None:
        """Note what is wrong with a line."""
        self.faults.append(Fault(f"{self.where}:{number}", seen, remedy, image))

    def by_image(
        self, holds: str, images: Mapping[str, str], parse: Callable[[list[str]], Value | None]
    ) -> dict[str, Value]:
        """What a table with one line an image says of each.

        Args:
            holds: What the columns after the first are, for faults.
            images: The id of every image that needs a line, under the key of its line (the first column).
            parse: From the other columns to the value; None where they are wrong.

        Returns:
            The value of each image id for which there is a right one. Faults are lines of unknown images,
            second lines, wrong values and missing lines.
        """
        values: dict[str, Value] = {}
        seen = set()
        for number, (key, *fields) in self.rows():
            image = images.get(key)
            if image is None:
                self.fault(number, f"unknown image {key}", "list it among the images or take the line out")
            elif key in seen:
                self.fault(number, f"second line of {image}", "keep one of them", image)
                values.pop(image, None)
            elif (value := parse(fields)) is None:
                self.fault(
                    number, f"{' '.join(fields).strip()[:80]!r} for {image}", f"give the {holds}", image
                )
            else:
                values[image] = value
            seen.add(key)
        for key, image in images.items():
            if key not in seen:
                self.faults.append(
                    Fault(image, f"no line in {self.where}", f"add one with the {holds}", image)
                )
        return values


def read_table(
    path: Path, where: str, columns: str, faults: list[Fault], header: bool = False
) -> Table | None:
    """A table from a file; None, with a fault, where it cannot be read."""
    lines = read_lines(path, where, faults)
    return None if lines is None else Table(lines, where, columns, faults, header)


def parse_whole(texts: Sequence[str], lowest: int) -> tuple[int, ...] | None:
    """Whole decimal numbers from `lowest`, or None.

    >>> parse_whole(["0", "17"], lowest=0), parse_whole(["0"], lowest=1), parse_whole(["1.5"], lowest=0)
    ((0, 17), None, None)
    """
    numbers = tuple(int(text) for text in texts if text.isdecimal() and text.isascii() and len(text) < 10)
    return numbers if len(numbers) == len(texts) and min(numbers) >= lowest else None


def parse_box(texts: Sequence[str]) -> Box | None:
    """Four finite numbers, or None.

    >>> parse_box(["0", "1.5", "20", "30"]), parse_box(["0", "nan", "20", "30"]), parse_box(["0", "1"])
    ((0.0, 1.5, 20.0, 30.0), None, None)
    """
    try:
        x0, y0, x1, y1 = map(float, texts)
    except ValueError:
        return None
    return (x0, y0, x1, y1) if all(map(math.isfinite, (x0, y0, x1, y1))) else None
