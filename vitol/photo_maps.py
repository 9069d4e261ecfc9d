"""Maps of classes in photos: their boxes, their pictures, their files.

h x w patch grid.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vitol.boxes import boxes_at, score_map
from vitol.methods import ABOUT, MethodName
from vitol.overlays import NO_BOXES, Overlay, overlay_figure
from vitol.photo_input import read_photo

CORNERS = (
    "x0, y0, x1, y1 in pixels of the photo as it is shown (EXIF orientation applied), from its upper left corner; "
    "x1 = x0 + width, y1 = y0 + height"
)
BOXES, OVERVIEW = "boxes.json", "overview.png"
OVERVIEW_PHOTOS = 20  # the overview shows so many photos at most
DRAWN = 1024  # longest side of a photo in a picture, in pixels
SIDE = 5.0  # inches (150 pixels each) of the picture of one map
TITLE = 30  # characters above a picture

Progress = Callable[[str, int, int], object]
"""Called with what is being done, how many are done and how many there are."""


@dataclass(frozen=True, eq=False)
class PhotoMap:
    """Where one class is in one photo, by one method.

    Boxes are made as the protocol makes them (`vitol.boxes`: score map of 224 x 224, foreground strictly above
    the threshold), then scaled to the photo.

    Attributes:
        path: The photo's file.
        size: Its width and height as shown, in pixels.
        index: The class.
        label: The class's name.
        probability: Of the class, by softmax, in [0, 1].
        predicted: Whether the class was not asked for, but is the predicted one.
        method: How the map was made.
        preset: With which preset.
        threshold: From which fraction of the map's maximum boxes are drawn, in [0, 1].
        map: Raw localization map, finite, float32 (h, w).
        stem: Name of its files, without the suffix.
    """

    path: Path
    size: tuple[int, int]
    index: int
    label: str
    probability: float
    predicted: bool
    method: MethodName
    preset: str
    threshold: float
    map: np.ndarray
    stem: str

    @property
    def title(self) -> str:
        """Class, probability and method in one line, the class's name cut if need be."""
        rest = f" {percent(self.probability)} {ABOUT[self.method].title}"
        room = TITLE - len(rest)
        return (self.label if len(self.label) <= room else self.label[: room - 1] + "…") + rest

    @cached_property
    def score(self) -> np.ndarray:
        """The protocol's score map, float32 in [0, 1], (224, 224)."""
        return score_map(self.map)

    @cached_property
    def boxes(self) -> np.ndarray:
        """Boxes around all contours, in pixels of the photo (`CORNERS`), float64 (m, 4)."""
        return self._scaled(boxes_at(self.score, self.threshold))

    @cached_property
    def box(self) -> np.ndarray | None:
        """The box around the largest contour, (4,); None if nothing lies above the threshold."""
        return next(iter(self._scaled(boxes_at(self.score, self.threshold, "largest"))), None)

    def overlay(self) -> Overlay:
        """The photo, read again, with the map as heat and the largest contour's box in red."""
        pixels, scale = _pixels(self.path)
        box = NO_BOXES if self.box is None else self.box[None] * scale
        return Overlay(pixels, self.title, self.score, NO_BOXES, box)

    def record(self) -> dict[str, Any]:
        """Everything but the map, JSON-able."""
        return {
            "image": self.path.as_posix(),
            "width": self.size[0],
            "height": self.size[1],
            "class_index": self.index,
            "class_name": self.label,
            "probability": self.probability,
            "predicted": self.predicted,
            "method": self.method,
            "preset": self.preset,
            "threshold": self.threshold,
            "box": None if self.box is None else self.box.round(2).tolist(),
            "boxes": self.boxes.round(2).tolist(),
            "map": f"{self.stem}.npy",
            "overlay": f"{self.stem}.png",
        }

    def _scaled(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes in pixels of the score map to the photo's; the protocol's box [0, 0, 0, 0] means none."""
        height, width = self.score.shape
        return boxes[boxes.any(axis=1)] * (np.array(self.size * 2) / (width, height, width, height))


@dataclass(frozen=True)
class PhotoMaps:
    """All maps of a query, by photo, then class, then method.

    Attributes:
        model: The model's name, or its checkpoint.
        maps: The maps.
    """

    model: str
    maps: tuple[PhotoMap, ...]

    def __len__(self) -> int:
        """Return the number of maps."""
        return len(self.maps)

    def __iter__(self) -> Iterator[PhotoMap]:
        """Go through the maps."""
        return iter(self.maps)

    def __getitem__(self, index: int) -> PhotoMap:
        """Return one map."""
        return self.maps[index]

    def save(self, folder: str | Path, force: bool = False, progress: Progress | None = None) -> None:
        """Write every map (`.npy`) and its overlay (`.png`), `boxes.json` and `overview.png`.

        Files get their names when all of them are written; an error before that leaves nothing behind.

        Args:
            folder: Made if it is not there.
            force: Overwrite files of the same names.
            progress: Told what is done.

        Raises:
            ValueError: If such files are there already, the folder is a file, or a photo can no longer be read.
        """
        folder = Path(folder)
        check_free(folder, [entry.stem for entry in self], force)
        say = progress or (lambda *_: None)
        say("Drawing", 0, len(self))
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            hidden = tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".partial")
            with hidden as name, warnings.catch_warnings():
                # Letters of names that the font lacks are boxes in pictures; boxes.json has them.
                warnings.filterwarnings("ignore", "Glyph", UserWarning)
                partial = Path(name)
                for done, entry in enumerate(self, 1):
                    np.save(partial / f"{entry.stem}.npy", entry.map, allow_pickle=False)
                    overlay_figure(
                        [entry.overlay()], partial / f"{entry.stem}.png", columns=1, column_width=SIDE
                    )
                    say("Drawing", done, len(self))
                self._draw_overview(partial / OVERVIEW)
                text = json.dumps(self.record(), indent=1, ensure_ascii=False, allow_nan=False)
                (partial / BOXES).write_text(text + "\n", encoding="utf-8")
                for file in sorted(partial.iterdir()):
                    file.replace(folder / file.name)
        except BaseException:
            if made:
                with suppress(OSError):  # not empty: somebody put a file there meanwhile
                    folder.rmdir()
            raise

    def record(self) -> dict[str, Any]:
        """Everything but the maps, JSON-able: what `boxes.json` holds."""
        return {"model": self.model, "corners": CORNERS, "maps": [entry.record() for entry in self]}

    def _draw_overview(self, path: Path) -> None:
        """Draw the first photos, each beside its maps.

        A row is a photo and its classes; with several methods, a photo and one class by every method.
        """
        several = len({entry.method for entry in self}) > 1
        rows: dict[tuple[Path, int | None], list[PhotoMap]] = {}
        for entry in self:
            rows.setdefault((entry.path, entry.index if several else None), []).append(entry)
        shown = list(dict.fromkeys(photo for photo, _ in rows))[:OVERVIEW_PHOTOS]
        overlays = []
        for (photo, _), row in rows.items():
            if photo in shown:
                overlays.append(Overlay(_pixels(photo)[0], photo.stem[:TITLE], None, NO_BOXES, NO_BOXES))
                overlays += [entry.overlay() for entry in row]
        overlay_figure(overlays, path, columns=1 + len(row))


def check_free(folder: Path, stems: Sequence[str], force: bool) -> None:
    """Refuse a folder that is none, or has files that would be written, unless forced.

    Raises:
        ValueError: That; the text names the first such file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder to write to")
    names = [BOXES, OVERVIEW, *(stem + suffix for stem in stems for suffix in (".npy", ".png"))]
    taken = [name for name in names if (folder / name).exists()]
    if taken and not force:
        rest = f" (and {len(taken) - 1} more of the files to write)" if len(taken) > 1 else ""
        raise ValueError(f"{folder / taken[0]} exists already{rest}; give another folder, or force (--force)")


def percent(probability: float) -> str:
    """A probability in percent; a small one is not shown as 0.

    >>> percent(0.1234), percent(0.0001)
    ('12.3%', '<0.1%')
    """
    return f"{probability:.1%}" if probability >= 0.001 else "<0.1%"


def _pixels(path: Path) -> tuple[np.ndarray, float]:
    """A photo to draw on, (H, W, 3) uint8, and the factor by which it was made smaller."""
    image = read_photo(path)
    scale = min(1.0, DRAWN / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.resize((width, height))), scale
