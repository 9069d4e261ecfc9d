"""Registering a data set that lies somewhere on this machine: checked once, then read by its name.

`register` leaves three things in a folder that git ignores: the manifest `NAME.json` (what the data set is
and what was wrong with it, the same wherever the images lie: pipeline stages depend on it), the splits in the
WSOL format with the hash of every image, `NAME.splits/`, and where the images lie on this machine, `NAME.root`.
The images stay there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitol.atomic import atomic_file, atomic_folder
from vitol.datasets.faults import DatasetFaults, Fault
from vitol.datasets.inspection import Progress, inspect_images, mask_owners
from vitol.datasets.layout import Layout, layout_faults
from vitol.datasets.layouts import LAYOUTS
from vitol.datasets.registered import REGISTERED, check_name, dataset_root, read_manifest
from vitol.datasets.splits import Split, read_split
from vitol.datasets.textfiles import read_lines
from vitol.datasets.wsol import CLASSES, write_wsol

HANDLINGS = ("stop", "clip", "drop")
CONTENTS = "contents.txt"  # beside the splits: path,sha256 of every image and mask


def register(
    layout_name: str,
    root: Path,
    name: str,
    folder: Path = REGISTERED,
    faults: Literal["stop", "clip", "drop"] = "stop",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check a data set and write its manifest; an earlier registration under the name is replaced.

    Checked are the text files of the layout, that every image file and mask is there and decodes to its last byte,
    that every image has a label and a size, that every box lies in its image with its corners in order, that
    every image outside "train" has a box or mask, and that no image stands in two splits. All faults are reported at
    once; only a missing text file, or line, hides what could have been checked with it.

    Args:
        layout_name: One of `vitol.datasets.layouts.LAYOUTS`, such as "cub".
        root: The data set's folder in that layout.
        name: What to call it from now on.
        folder: Where registered data sets are kept.
        faults: "stop" at any fault; "clip" boxes at the border of their image (other faults still stop); or
            "drop" the images at fault (faults that are not an image's still stop).
        progress: Told the images done and in all.

    Returns:
        The manifest.

    Raises:
        DatasetFaults: A ValueError with every fault that stops. Nothing is written.
        ValueError: Another word for layout, name or faults than those above.
    """
    for value, allowed in ((layout_name, tuple(LAYOUTS)), (faults, HANDLINGS)):
        if value not in allowed:
            raise ValueError(f"{value!r} is not known here; give one of {', '.join(allowed)}")
    check_name(name)
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; give the one that holds the {layout_name} data set")
    scan, digests = inspect_images(LAYOUTS[layout_name].scan(root), decode=True, progress=progress)
    found = [*scan.faults, *layout_faults(scan.layout)]
    layout = _handled(
        scan.layout, found, faults, f"{root} is no sound {layout_name} data set, so nothing was written"
    )
    contents = {file: digests[file] for file in image_files(layout)}
    records = records_hash(layout)
    manifest = {
        "name": name,
        "layout": layout_name,
        "images": layout.images.relative_to(root).as_posix(),
        "classes": len(layout.classes),
        "splits": {split_name: _summary(split) for split_name, split in layout.splits.items()},
        "fingerprint": fingerprint(records, contents),
        "records": records,
        "metadata": {file: hash_files(root, file) for file in scan.metadata},
        "handling": faults,
        "faults": [{"where": f.where, "seen": f.seen, "done": _done(f, faults)} for f in found],
    }
    with (
        # They get their names in the opposite order, the manifest last.
        atomic_file(folder / f"{name}.json") as manifest_file,
        atomic_file(folder / f"{name}.root") as root_file,
        atomic_folder(folder / f"{name}.splits") as fresh,
    ):
        write_wsol(layout, fresh)
        (fresh / CONTENTS).write_text(
            "".join(f"{file},{digest}\n" for file, digest in contents.items()), encoding="utf-8", newline="\n"
        )
        root_file.write_text(f"{root}\n", encoding="utf-8")
        manifest_file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def load(name: str, folder: Path = REGISTERED) -> Layout:
    """Read a registered data set as it was registered, its faults handled as they were then.

    The images are not opened again. The text files are read and hashed: 50,000 XML files take about 2 s.

    Raises:
        ValueError: It is not registered, its root is unknown, or a text file of it is not what it was when it
            was registered.
    """
    manifest = read_manifest(name, folder)
    root = dataset_root(name, folder)
    for file, digest in manifest["metadata"].items():
        if hash_files(root, file) != digest:
            again = register_again(name, manifest, root)
            raise ValueError(f"{root / file} has changed since {name!r} was registered; {again}")
    return load_splits(name, folder)


def load_splits(name: str, folder: Path = REGISTERED) -> Layout:
    """As `load`, whether or not the text files under the root are still what they were."""
    manifest = read_manifest(name, folder)
    root = dataset_root(name, folder)
    again = register_again(name, manifest, root)
    prepared = folder / f"{name}.splits"
    try:
        layout = Layout(
            classes=tuple(read_lines(prepared / CLASSES, CLASSES, []) or ()),
            splits={split: read_split(prepared / split) for split in manifest["splits"]},
            images=root / manifest["images"],
        )
    except DatasetFaults as error:
        raise ValueError(f"{prepared} has been damaged; {again}") from error
    if records_hash(layout) != manifest["records"]:
        raise ValueError(f"{prepared} is not what {folder / name}.json describes; {again}")
    return layout


def register_again(name: str, manifest: Mapping[str, Any], root: Path) -> str:
    """What to do about a registration that does not hold any more."""
    layout, handling = manifest["layout"], manifest["handling"]
    return f"run `vitol data register {layout} {root} --name {name} --faults {handling}`"


def _handled(layout: Layout, found: Sequence[Fault], handling: str, headline: str) -> Layout:
    """The layout with its faults handled, or an error with those that stop."""
    stopping = list(found)
    if handling == "clip":
        stopping = [fault for fault in found if fault.clipped is None]
        layout = replace(layout, splits={name: _clipped(split) for name, split in layout.splits.items()})
    elif handling == "drop":
        stopping = [fault for fault in found if not fault.image]
        layout = layout.without(fault.image for fault in found)
    if stopping:
        clips = sum(fault.clipped is not None for fault in stopping)
        images = len({fault.image for fault in stopping if fault.image})
        hints = [f"boxes that --faults clip would clip: {clips}"] if clips else []
        hints += [f"images that --faults drop would leave out: {images}"] if images else []
        raise DatasetFaults("; ".join([headline, *hints]), stopping)
    for name, split in layout.splits.items():
        if not len(split):
            raise ValueError(
                f"{headline}: every image of {name} is at fault; correct them or take {name} away"
            )
    return layout


def _clipped(split: Split) -> Split:
    limits = np.tile(split.sizes, 2)
    return replace(
        split, boxes=tuple(np.clip(b, 0, limit) for b, limit in zip(split.boxes, limits, strict=True))
    )


def _done(fault: Fault, handling: str) -> str:
    if handling == "clip" and fault.clipped:
        return f"clipped to ({', '.join(f'{x:.10g}' for x in fault.clipped)})"
    return "image left out"


def _summary(split: Split) -> dict[str, Any]:
    """Numbers of images, boxes and, where there are any, masks, and the smallest and largest width and height."""
    low, high = split.sizes.min(axis=0).tolist(), split.sizes.max(axis=0).tolist()
    return {
        "images": len(split),
        "boxes": sum(map(len, split.boxes)),
        **({"masks": sum(map(len, split.masks))} if split.masks else {}),
        "width": [low[0], high[0]],
        "height": [low[1], high[1]],
    }


def image_files(layout: Layout) -> list[str]:
    """Paths of all images, sorted, then of all masks that are no images, too, below the image folder."""
    splits = layout.splits.values()
    images = sorted(image for split in splits for image in split.ids)
    return list(dict.fromkeys([*images, *sorted(mask_owners(splits))]))


def fingerprint(records: str, contents: Mapping[str, str]) -> str:
    """Hash of all that a data set is: its `records_hash`, and the hash of every image and mask."""
    return _hash_lines([records, *(f"{file},{digest}" for file, digest in contents.items())])


def records_hash(layout: Layout) -> str:
    """Hash of all that is known of the images but their contents; the order of the images does not enter."""
    lines = []
    for name, split in layout.splits.items():
        subsets = split.subsets or ("",) * len(split)
        rows = zip(split.ids, split.labels.tolist(), split.sizes.tolist(), split.boxes, subsets, strict=True)
        of_split = [
            f"{name},{i},{label},{size},{boxes.tolist()},{subset}" for i, label, size, boxes, subset in rows
        ]
        if split.masks:
            files = zip(of_split, split.masks, split.ignores, strict=True)
            of_split = [f"{line},{list(masks)},{ignore}" for line, masks, ignore in files]
        lines += of_split
    return _hash_lines([*layout.classes, *sorted(lines)])


def hash_files(root: Path, file: str) -> str | None:
    """SHA-256 of a text file, or of the names and contents of all files that match it if it has an asterisk.

    None where there is none: an optional file that appears later is a change.
    """
    if "*" in file:
        names = sorted(path.relative_to(root).as_posix() for path in root.glob(file))
        return _hash_lines([f"{name},{_hash_file(root / name)}" for name in names]) if names else None
    return _hash_file(root / file) if (root / file).exists() else None


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash_lines(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
