"""A folder of localization maps, one `.npy` an image, read one at a time while they are scored.

n images, h x w map grid. The layout is the reference evaluator's, `<image id>.npy`, the id with its
sub-folders and its extension, which is where it writes and reads maps (`test/0001.jpg.npy`). Its text promises
files without the extension (`test/0001.npy`): a folder of those is read too. One folder follows one rule.

Sources: `clovaai/wsolevaluation@96f4b88`, `evaluation.py` and `inference.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np

from vitol.datasets.faults import Fault
from vitol.map_file import BadMap, read_map
from vitol.map_traps import Traps
from vitol.wording import counted

NAMINGS = ("<image id>.npy", "<image id without extension>.npy")
HIGHEST = 1e37  # of a map's values: beyond it `vitol.boxes.score_map` would overflow
NO_MAP: np.ndarray = np.zeros((1, 1), np.float32)  # stands in for a map at fault until all faults are known
UNREAD = -1


@dataclass(eq=False)
class MapFolder:
    """Which files of a folder are the maps of which images.

    Attributes:
        name: What faults call it.
        folder: Where it lies.
        ids: The n image ids.
        naming: Which of `NAMINGS` the folder follows.
        files: Path of every image's map below the folder, n strings; of missing ones what it would be.
        missing: Ids of the images without a map.
        extra: Paths of `.npy` files that belong to no image.
    """

    name: str
    folder: Path
    ids: tuple[str, ...]
    naming: str
    files: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @classmethod
    def open(cls, name: str, folder: Path, ids: Sequence[str], others: Iterable[str] = ()) -> MapFolder:
        """Find the maps of images in a folder.

        The rule of names is the one that finds more of them.

        Args:
            name: What faults call it.
            folder: With the maps, in sub-folders as the ids have them.
            ids: Of the images, n different ones.
            others: Ids of more images that may have maps there, such as another split's.

        Raises:
            ValueError: If the folder is none, holds no map, or none with the name of an image, or two images
                would share a file.
        """
        if not folder.is_dir():
            raise ValueError(f"{name}: {folder} is not a folder; give the one that holds the maps")
        there = set(_npy_files(folder))
        if not there:
            raise ValueError(f"{name}: no .npy file in {folder}; maps are files {' or '.join(NAMINGS)}")
        rules = {naming: [_file(image, naming) for image in ids] for naming in NAMINGS}
        naming, files = max(rules.items(), key=lambda rule: len(there.intersection(rule[1])))
        if not there.intersection(files):
            raise ValueError(
                f"{name}: none of the {counted(len(there), '.npy file')} in {folder} is named after an image: there is "
                f"{min(there)}, looked for were {' and '.join(rule[0] for rule in rules.values())}, and so "
                "on; give the folder from which the image ids start, and the metadata of the same images"
            )
        shared = [file for file, count in Counter(files).items() if count > 1]
        if shared:
            first, second = [image for image, file in zip(ids, files, strict=True) if file == shared[0]][:2]
            raise ValueError(
                f"{name}: {first} and {second} would share the map {shared[0]} in {folder}; name maps {NAMINGS[0]}"
            )
        missing = tuple(image for image, file in zip(ids, files, strict=True) if file not in there)
        extra = there - set(files) - {_file(image, naming) for image in others}
        return cls(name, folder, tuple(ids), naming, tuple(files), missing, tuple(sorted(extra)))

    def faults(self) -> list[Fault]:
        """Missing and extra maps."""
        expected = dict(zip(self.ids, self.files, strict=True))
        missing = [
            Fault(
                f"{self.name}/{expected[image]}",
                f"no map of {image}",
                "make it, or score the other images (--allow-missing)",
                image,
            )
            for image in self.missing
        ]
        remedy = "move it elsewhere, or leave it out (--allow-missing)"
        return missing + [
            Fault(f"{self.name}/{file}", "no image has this name", remedy) for file in self.extra
        ]

    def reader(self, ids: Sequence[str], reference_nan: bool = False) -> MapReader:
        """The maps of some of the images, in the order of their ids."""
        expected = dict(zip(self.ids, self.files, strict=True))
        return MapReader(self, tuple(expected[image] for image in ids), tuple(ids), reference_nan)


@dataclass(eq=False)
class MapReader(Sequence[np.ndarray]):
    """Maps that are read when they are asked for, by any thread; faults are kept, not raised.

    In place of a map at fault there is one of zeros, so that those after it are looked at too: a result is one
    only if `faults` is empty when every map has been read.

    Attributes:
        source: The folder.
        files: Of the maps, m paths below the folder.
        ids: Of their images, m.
        reference_nan: Whether a map that is not finite is no fault, but handed out as it is.
    """

    source: MapFolder
    files: tuple[str, ...]
    ids: tuple[str, ...]
    reference_nan: bool = False
    _faults: dict[int, Fault] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Make room for what will be seen of each map."""
        self._sizes = np.full((len(self.files), 2), UNREAD)
        self._ends = np.full((len(self.files), 2), np.nan, np.float32)

    def __len__(self) -> int:
        """Number of maps."""
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """Read a map, (h, w); several for a slice."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        try:
            values = read_map(self.source.folder / self.files[index])
            self._look(index, values)
        except BadMap as error:
            return self._fault(index, str(error), error.remedy)
        except (OSError, MemoryError) as error:
            seen = getattr(error, "strerror", None) or "does not fit into memory"
            return self._fault(index, f"cannot be read ({seen.lower()})", "check the file")
        return values

    def _look(self, index: int, values: np.ndarray) -> None:
        """Note the size and the range of a map; refuse one that is not finite."""
        self._sizes[index] = values.shape
        low, high = float(values.min()), float(values.max())  # NaN where any value is
        if -HIGHEST < low <= high < HIGHEST:
            self._ends[index] = low, high
        elif not self.reference_nan:
            bad = ~(np.abs(values.astype(np.float64)) < HIGHEST)
            raise BadMap(
                f"{np.count_nonzero(bad)} of {values.size} values are NaN, infinite or beyond {HIGHEST:g}, "
                f"the first at {np.argwhere(bad)[0].tolist()}",
                "repair the map, or score it as zeros, as the reference does (--reference-nan)",
            )

    def _fault(self, index: int, seen: str, remedy: str) -> np.ndarray:
        where = f"{self.source.name}/{self.files[index]}"
        self._faults[index] = Fault(where, seen, remedy, self.ids[index])
        return NO_MAP

    @property
    def faults(self) -> list[Fault]:
        """Of the maps read so far, in the order of the images."""
        return [self._faults[index] for index in sorted(self._faults)]

    def traps(self) -> Traps:
        """What of the protocol's traps applied to the maps, once all of them have been read."""
        low, high = self._ends.T
        finite = ~np.isnan(low)
        sizes = Counter(map(tuple, self._sizes[self._sizes[:, 0] != UNREAD].tolist()))
        return Traps(
            n_maps=len(self),
            constant=int((finite & (low == high)).sum()),
            not_finite=int((~finite).sum()),
            unstretched=int((finite & (low != high) & ((low != 0) | (high != 1))).sum()),
            sizes=dict(sizes.most_common()),
            missing=self.source.missing,
            extra=self.source.extra,
        )


def _file(image: str, naming: str) -> str:
    """Path of an image's map below the folder."""
    path = PurePosixPath(image)
    return f"{path if naming == NAMINGS[0] else path.with_suffix('')}.npy"


def _npy_files(folder: Path) -> Iterator[str]:
    """Paths of all `.npy` files below a folder, hidden ones apart, with forward slashes."""
    for root, _, names in os.walk(folder, followlinks=True):
        inside = Path(root).relative_to(folder)
        for name in names:
            if name.endswith(".npy") and not name.startswith("."):
                yield (inside / name).as_posix()
