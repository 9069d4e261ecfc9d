"""What every layout of ILSVRC shares: the classes in the order of the labels, the train folders, and the splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vitol.datasets.faults import Box, Fault
from vitol.datasets.splits import TEST_CUT, VAL_CUT, Split, cut_by_hash, make_split
from vitol.datasets.textfiles import Table, read_table

SYNSETS = "LOC_synset_mapping.txt"
INFO = Path("data", "_info")  # below timm's package
SYNSETS_OF_TIMM, NAMES_OF_TIMM = "imagenet_synsets.txt", "imagenet_synset_to_lemma.txt"


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: Under their synsets, in the order of the labels.
        source: The file that says so, for faults.
    """

    names: dict[str, str]
    source: str

    @cached_property
    def labels(self) -> dict[str, int]:
        """Labels under their synsets."""
        return {synset: label for label, synset in enumerate(self.names)}


@dataclass(frozen=True)
class Labelled:
    """What is known of one validation image; a size of (0, 0) is left to its header."""

    label: int
    boxes: list[Box]
    size: tuple[int, int] = (0, 0)


def listed_classes(root: Path, faults: list[Fault]) -> Classes | None:
    """The classes of `LOC_synset_mapping.txt`: a synset and its name a line, in the order of the labels."""
    table = read_table(root / SYNSETS, SYNSETS, "synset name", faults)
    return None if table is None else Classes(_names(table), SYNSETS)


def packaged_classes(faults: list[Fault]) -> Classes | None:
    """The 1000 classes as timm packages them: synsets in sorted order, which is that of every ImageNet-1K head.

    timm is looked up, not imported: that would take seconds.
    """
    spec = find_spec("timm")
    assert spec is not None and spec.submodule_search_locations  # vitol requires it
    folder = Path(spec.submodule_search_locations[0], INFO)
    remedy = f"copy Kaggle's {SYNSETS} to the data set"
    unread: list[Fault] = []
    synsets = read_table(folder / SYNSETS_OF_TIMM, SYNSETS_OF_TIMM, "synset", unread)
    names = read_table(folder / NAMES_OF_TIMM, NAMES_OF_TIMM, "synset name", unread)
    if synsets is None or names is None:
        faults.append(Fault(SYNSETS, f"not there, and timm has no {SYNSETS_OF_TIMM}", remedy))
        return None
    name_of = _names(names)
    chosen = {synset: name_of.get(synset, synset) for _, (synset,) in synsets.rows()}
    return Classes(chosen, f"timm's {SYNSETS_OF_TIMM}")


def _names(table: Table) -> dict[str, str]:
    names: dict[str, str] = {}
    for line, (synset, name) in table.rows():
        if synset in names:
            table.fault(line, f"{synset} a second time", "copy the official file")
        names[synset] = name
    return names


def folder_split(images: Path, folder: str, where: str, classes: Classes, faults: list[Fault]) -> Split:
    """Every image of every synset's folder, without boxes; the folder's name is its label.

    Args:
        images: The folder that ids start from.
        folder: That of the train images below it.
        where: That folder below the data set's root, for faults.
        classes: The classes.
        faults: Gets what is wrong with the folders.
    """
    ids: list[str] = []
    for synset in sorted(path for path in (images / folder).iterdir() if path.is_dir()):
        if synset.name in classes.names:
            ids += sorted(f"{folder}/{synset.name}/{path.name}" for path in synset.glob("*.JPEG"))
        else:
            remedy = "every train image lies in its synset's folder"
            faults.append(Fault(f"{where}/{synset.name}", f"no synset of {classes.source}", remedy))
    if not ids:
        remedy = "unpack the train images, or remove the empty folder"
        faults.append(Fault(where, "no image in it", remedy))
    labels = classes.labels
    return make_split(
        ids, [labels[image.split("/")[-2]] for image in ids], [(0, 0)] * len(ids), ([] for _ in ids)
    )


def boxed_split(found: Mapping[str, Labelled], folder: str) -> Split:
    """The validation images with their label and boxes, cut in two for the policy `validation`.

    The cut is that of Kaggle's ids, `val/NAME.JPEG`, in every layout.

    Args:
        found: What is known of each image, under its file's name without ".JPEG".
        folder: That of the images below the one that ids start from.
    """
    kaggle = {f"val/{name}.JPEG": name for name in found}
    order = sorted(kaggle)
    images = [found[kaggle[image]] for image in order]
    for_validation = cut_by_hash(order, len(order) // 3)
    return make_split(
        ids=[f"{folder}/{kaggle[image]}.JPEG" for image in order],
        labels=[image.label for image in images],
        sizes=[image.size for image in images],
        boxes=(image.boxes for image in images),
        subsets=np.where(for_validation, VAL_CUT, TEST_CUT).tolist(),
    )
