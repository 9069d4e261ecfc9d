"""Whether a registered data set is still what was registered: its text files, and every image's content."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitol.datasets.faults import DatasetFaults, Fault
from vitol.datasets.inspection import Progress, in_words_of_masks, mask_owners, open_images
from vitol.datasets.layout import Layout
from vitol.datasets.layouts import LAYOUTS
from vitol.datasets.register import (
    CONTENTS,
    fingerprint,
    hash_files,
    image_files,
    load_splits,
    register_again,
)
from vitol.datasets.registered import REGISTERED, dataset_root, read_manifest
from vitol.datasets.textfiles import read_table

NEEDED = {"layout": str, "images": str, "splits": dict, "fingerprint": str, "records": str}
NEEDED |= {"metadata": dict, "handling": str, "faults": list}
REMEDY = "restore it, or register again"


@dataclass(frozen=True)
class Checked:
    """What was looked at, and found to be what was registered.

    Attributes:
        images: Number of images by split.
        masks: Number of mask and ignore files.
        files: Number of text files, or of patterns that stand for many.
        root: Where all of it lies.
    """

    images: dict[str, int]
    masks: int
    files: int
    root: Path


def check(name: str, folder: Path = REGISTERED, progress: Progress | None = None) -> Checked:
    """Compare a data set with its registration: text files, the list of images, and the content of each.

    Args:
        name: What it is called.
        folder: Where registered data sets are kept.
        progress: Told the images done and in all.

    Raises:
        DatasetFaults: A ValueError with everything that is not what was registered.
        ValueError: It is not registered, its root is unknown, or what was written about it then is damaged, or
            does not say enough: it has to be registered again.
    """
    manifest, root = read_manifest(name, folder), dataset_root(name, folder)
    if lacking := [key for key, kind in NEEDED.items() if not isinstance(manifest.get(key), kind)]:
        raise ValueError(
            f"{folder / name}.json does not say {', '.join(lacking)}, so nothing can be compared with it; "
            f"run `vitol data register {manifest.get('layout', 'LAYOUT')} {root} --name {name}` again"
        )
    again = register_again(name, manifest, root)
    layout = load_splits(name, folder)
    contents = _contents(name, folder, manifest, layout, again)
    faults = _text_faults(root, manifest["metadata"])
    faults += _scan_faults(root, manifest, layout, {fault.where for fault in faults})
    opened = open_images(layout.images, list(contents), decode=True, progress=progress)
    owners = mask_owners(layout.splits.values())
    for file, digest in contents.items():
        image = owners[file][0] if file in owners else file
        if file in opened.wrong:
            words = in_words_of_masks(opened.wrong[file]) if file in owners else opened.wrong[file]
            faults.append(Fault(file, words, REMEDY, image))
        elif opened.digests[file] != digest:
            faults.append(Fault(file, "its content is not what was registered", REMEDY, image))
    if faults:
        raise DatasetFaults(f"{root} is not what was registered as {name!r}; restore it, or {again}", faults)
    return Checked(
        images={split_name: len(split) for split_name, split in layout.splits.items()},
        masks=len(owners),
        files=sum(digest is not None for digest in manifest["metadata"].values()),
        root=root,
    )


def _contents(
    name: str, folder: Path, manifest: Mapping[str, Any], layout: Layout, again: str
) -> dict[str, str]:
    """The hash of every image and mask when it was registered, under its path below the image folder."""
    path = folder / f"{name}.splits" / CONTENTS
    if not path.exists():
        raise ValueError(f"{path} is not there, so no image can be compared with what it was; {again}")
    faults: list[Fault] = []
    table = read_table(path, CONTENTS, "path,sha256", faults)
    contents = {file: digest for _, (file, digest) in table.rows()} if table else {}
    same = fingerprint(manifest["records"], contents) == manifest["fingerprint"]
    if faults or not same or list(contents) != image_files(layout):
        raise ValueError(f"{path} is not what {folder / name}.json describes; {again}")
    return contents


def _text_faults(root: Path, metadata: Mapping[str, str | None]) -> list[Fault]:
    """Text files that are not what they were."""
    faults = []
    for file, before in metadata.items():
        now = hash_files(root, file)
        if now != before:
            kept = before is not None and now is not None
            seen = "has changed" if kept else "is gone" if now is None else "is new"
            faults.append(Fault(file, f"{seen} since the data set was registered", REMEDY))
    return faults


def _scan_faults(root: Path, manifest: Mapping[str, Any], layout: Layout, told: Set[str]) -> list[Fault]:
    """What reading the layout again finds and registering it did not: faults, and images in its folders or lists.

    Args:
        root: The data set's.
        manifest: What was registered.
        layout: The images that were registered.
        told: Text files that have changed; what is wrong in their lines is no news.
    """
    reader = LAYOUTS.get(manifest["layout"])
    if reader is None:
        return []
    scan = reader.scan(root)
    before = {
        (str(fault.get("where")), fault.get("seen"))
        for fault in manifest["faults"]
        if isinstance(fault, dict)
    }
    faults = [
        fault
        for fault in scan.faults
        if (fault.where, fault.seen) not in before and fault.where.partition(":")[0] not in told
    ]
    splits = scan.layout.splits.values()
    left_out = {where for where, _ in before} | {f.image for f in scan.faults if (f.where, f.seen) in before}
    for file, images in mask_owners(splits).items():
        left_out |= set(images) if file in left_out else set()  # the fault was its mask's
    known = left_out.union(image_files(layout), (fault.image for fault in faults))
    remedy = "take it away, or register again"
    faults += [
        Fault(image, "was not there when it was registered", remedy, image)
        for split in splits
        for image in split.ids
        if image not in known
    ]
    return faults
