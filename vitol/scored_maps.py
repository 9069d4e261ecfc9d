"""The maps of several methods on one split: from folders to localizations, all faults collected on the way.

n images, H x W score map. Only images that every method has maps of are scored, so that all numbers are of the same
images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from vitol.accuracy import Localizations
from vitol.boxes import SIZE, IouCurves, best_ious_of_maps, boxes_at, score_map
from vitol.datasets.faults import Fault
from vitol.datasets.splits import Split
from vitol.floors import centred_gaussian, full_image_ious, gaussian_ious
from vitol.logits import label_ranks, read_logits
from vitol.map_folder import MapFolder, MapReader
from vitol.map_traps import Traps
from vitol.masks import Masks
from vitol.measurements import FLOORS, FULL_IMAGE
from vitol.threads import threads

MAPS, PREDICTED = "maps", "predicted maps"

Progress = Callable[[str, int, int], object]
"""Called with what is being done, how many images are done and how many there are."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Files:
    """Where one method's output on one split lies.

    Attributes:
        maps: Folder of the maps of the label's class, see `vitol.map_folder`.
        predicted: Folder of the maps of the predicted class.
        logits: The classifier's logits, see `vitol.logits`.
    """

    maps: Path
    predicted: Path | None = None
    logits: Path | None = None


@dataclass(frozen=True)
class Options:
    """How maps are scored.

    Attributes:
        floors: Whether the two baselines that never look at the image stand beside.
        reference_nan: Score maps that are not finite as zeros, as the reference does, and count them.
        allow_missing: Leave out images that lack a map, and files that belong to no image.
        workers: Threads; None takes one a core, as `vitol.threads`.
        progress: Told what is done.
    """

    floors: bool = True
    reference_nan: bool = False
    allow_missing: bool = False
    workers: int | None = None
    progress: Progress = lambda *_: None

    def each(self, activity: str, work: Callable[[int], Result], count: int) -> Iterator[Result]:
        """Results of `work` for 0 to count - 1, in this order, from several threads."""
        self.progress(activity, 0, count)
        with ThreadPoolExecutor(threads(self.workers)) as pool:
            try:
                for done, result in enumerate(pool.map(work, range(count)), 1):
                    yield result
                    self.progress(activity, done, count)
            except BaseException:  # whoever interrupts does not wait for the rest
                pool.shutdown(cancel_futures=True)
                raise


@dataclass(eq=False)
class ScoredMaps:
    """What the methods' maps of one split say.

    Attributes:
        split: The images that every method has maps of.
        members: Which of the split asked for these are, bool, (N,).
        readers: Maps by method and kind, `MAPS` or `PREDICTED`; none of the floors.
        found: By method, the floors last; empty if there are faults, or nothing was scored by boxes.
        faults: Everything wrong with the maps.
        options: As asked for.
    """

    split: Split
    members: np.ndarray
    readers: Mapping[tuple[str, str], MapReader]
    options: Options
    found: dict[str, Localizations] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def traps(self, name: str) -> dict[str, Traps]:
        """What of the protocol's traps applied to a method's maps, by their kind."""
        return {kind: reader.traps() for (method, kind), reader in self.readers.items() if method == name}

    def score_of(self, name: str, image: int) -> np.ndarray:
        """Score map of an image by a method or floor, read again; float32 in [0, 1], (H, W)."""
        if (name, MAPS) in self.readers:
            return score_map(self.readers[name, MAPS][image], reference_nan=True)
        return _floor_score(name)

    def largest_boxes(self, name: str, threshold: float, images: np.ndarray) -> np.ndarray:
        """Boxes of the largest contours at a threshold, of some images, (m, 4), in pixels of the score map."""
        if (name, MAPS) not in self.readers:  # a floor: the same box in every image
            return np.repeat(boxes_at(self.score_of(name, 0), threshold, "largest"), len(images), axis=0)

        def box(row: int) -> np.ndarray:
            return boxes_at(self.score_of(name, images[row]), threshold, "largest")[0]

        return np.stack(list(self.options.each(f"Boxes of {name}", box, len(images))))


@cache
def _floor_score(name: str) -> np.ndarray:
    """Score map of a floor, the same for every image; not to be written to."""
    whole = np.ones((SIZE, SIZE), np.float32)
    score = whole if name == FULL_IMAGE else score_map(centred_gaussian(SIZE, SIZE))
    score.flags.writeable = False
    return score


def score_maps(
    files: Mapping[str, Files], split: Split, options: Options, others: Iterable[str] = (), note: str = ""
) -> ScoredMaps:
    """Score every method's maps of a split.

    Args:
        files: Of the methods, by name.
        split: The images.
        options: How.
        others: Ids of more images that may have maps in the same folders.
        note: Follows the methods' names in faults and activities, to tell splits apart.

    Returns:
        What was found; if there are faults, these alone.

    Raises:
        ValueError: If a folder holds none of the maps, logits do not fit, or no image has all maps.
    """
    ranks = {
        name: label_ranks(read_logits(of.logits, split.labels), split.labels)
        for name, of in files.items()
        if of.logits
    }
    scored = open_maps(files, split, options, others, note)
    kept, readers, members = scored.split, scored.readers, scored.members
    curves = {}
    for key, reader in readers.items():
        curves[key] = _curves(reader, kept, options, key[1] == MAPS, only_check=bool(scored.faults))
        scored.faults += reader.faults
    if scored.faults:
        return scored
    for name in files:
        rank = ranks[name][members] if name in ranks else None
        scored.found[name] = _localizations(curves[name, MAPS], curves.get((name, PREDICTED)), rank)
    if options.floors:
        # The floors are no classifiers; with one classifier for all methods they can borrow its answers.
        shared = len(ranks) == len(files) and len({of.logits for of in files.values()}) == 1
        rank = next(iter(ranks.values()))[members] if shared else None
        for name, floor in zip(FLOORS, (gaussian_ious, full_image_ious), strict=True):
            of_floor = floor(kept.sizes, kept.boxes)
            predicted = of_floor if any(kind == PREDICTED for _, kind in readers) else None
            scored.found[name] = _localizations(of_floor, predicted, rank)
    return scored


def open_maps(
    files: Mapping[str, Files], split: Split, options: Options, others: Iterable[str] = (), note: str = ""
) -> ScoredMaps:
    """Open every method's maps of a split, without reading one; arguments and errors as of `score_maps`.

    Returns:
        The readers; faults are those of the folders: maps that are missing, and files that are no image's. With
        faults, a reader has all maps of its folder, to look through; else those that are scored.
    """
    folders = {}
    for name, of in files.items():
        for kind, folder in ((MAPS, of.maps), (PREDICTED, of.predicted)):
            if folder is not None:
                called = f"{name}{note}" + (", predicted class" if kind == PREDICTED else "")
                folders[name, kind] = MapFolder.open(called, folder, split.ids, others)
    missing = {image for folder in folders.values() for image in folder.missing}
    members = np.array([image not in missing for image in split.ids])
    if not members.any():
        raise ValueError(
            f"no image has maps in all of {', '.join(folder.name for folder in folders.values())}"
        )
    kept = split.select(members)
    readers = {key: folder.reader(kept.ids, options.reference_nan) for key, folder in folders.items()}
    scored = ScoredMaps(kept, members, readers, options)
    if not options.allow_missing:
        scored.faults = [fault for folder in folders.values() for fault in folder.faults()]
    if scored.faults:
        gone = {key: set(folder.missing) for key, folder in folders.items()}
        there = {key: [image for image in split.ids if image not in gone[key]] for key in folders}
        readers |= {key: folder.reader(there[key], options.reference_nan) for key, folder in folders.items()}
    return scored


def look_through(activity: str, files: MapReader | Masks, options: Options) -> None:
    """Read maps or masks for their faults alone, which their reader keeps."""
    for _ in options.each(activity, lambda row: files[row].size, len(files)):
        pass


def _curves(reader: MapReader, split: Split, options: Options, largest: bool, only_check: bool) -> IouCurves:
    """IoU curves of all maps; without them the maps are only looked at, for their faults."""
    name, count = reader.source.name, len(reader)
    if only_check:
        look_through(f"Checking {name}", reader, options)
        return IouCurves(np.empty((0, 0)), np.empty((0, 0)))
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        options.progress(f"Scoring {name}", done, count)

    options.progress(f"Scoring {name}", 0, count)
    return best_ious_of_maps(
        reader, split.sizes, split.boxes, options.workers, advance, True, split.ids, largest
    )


def _localizations(curves: IouCurves, predicted: IouCurves | None, rank: np.ndarray | None) -> Localizations:
    return Localizations(
        ious=curves.all,
        largest=curves.largest,
        predicted=None if predicted is None else predicted.all,
        top1=None if rank is None else rank == 0,
        top5=None if rank is None else rank < 5,
    )
