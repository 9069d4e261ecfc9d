"""The embedded data set `mini`: packing it into its archive, and unpacking that into a prepared data set.

`vitol/datasets/pictures.py` says what the images show. Nothing in the archive is compressed but the JPEG
images themselves, so that its bytes depend on no compressor; masks are run lengths instead.
"""

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from vitol.atomic import atomic_file, atomic_folder
from vitol.datasets.drawing import CLASSES, SIZE
from vitol.datasets.pictures import COUNTS, SEED, SPLITS, draw_image, image_order
from vitol.datasets.splits import read_split

JPEG = {"quality": 78, "subsampling": 0, "optimize": True}  # below 9.7 MB in all, and small heads stay sharp

TABLES = ("image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt", "subsets.csv")
ENTRY = re.compile(
    r"README\.txt|metadata/classes\.txt|images/(train|val|test)/[0-9]+\.jpg|masks/(train|val|test)\.npy"
    r"|metadata/(train|val|test)/(image_ids|class_labels|image_sizes|localization)\.txt"
    r"|metadata/(train|val|test)/subsets\.csv"
)

# What zipfile raises on bytes that it cannot make sense of.
DAMAGE = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error)

README = """mini: a controlled benchmark of weakly supervised object localization

{images}, {side}x{side} pixels, {classes} classes of birds.
Part of vitol and under its licence (MIT). Drawn by vitol.datasets.mini.write_archive with seed {seed};
vitol.datasets.mini.unpack makes a data set of it.

images/SPLIT/NUMBER.jpg     the images
metadata/classes.txt        the classes' names in label order
metadata/SPLIT/*.txt        the WSOL split format: paths below images/, labels, sizes, boxes (x1 = x0 + width)
metadata/SPLIT/subsets.csv  the subset of each image
masks/SPLIT.npy             the masks of a split's images in their order, row by row, as run lengths (uint8)
                            of background and object in turn; a run over 255 goes on after a run of 0
"""


def write_archive(
    path: Path,
    seed: int = SEED,
    counts: Mapping[str, Mapping[str, int]] = COUNTS,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> None:
    """Draw the whole data set into one archive; an older one is replaced once the new one is complete.

    Args:
        path: The archive, a zip file.
        seed: Of all images, from 0.
        counts: Images of each subset of each split; multiples of 8 balance the classes.
        progress: Told the images drawn and in all.

    Raises:
        ValueError: Unknown split or subset, or a split without images.
    """
    entries = {"metadata/classes.txt": _text(CLASSES)}
    total, done = sum(sum(sizes.values()) for sizes in counts.values()), count(1)
    for split, sizes in counts.items():
        entries |= _drawn(split, sizes, seed, lambda: progress(next(done), total))
    images = ", ".join(f"{sum(sizes.values())} {split} images" for split, sizes in counts.items())
    entries["README.txt"] = README.format(images=images, side=SIZE, classes=len(CLASSES), seed=seed).encode()
    with atomic_file(path) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            # Both have defaults that differ between operating systems.
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, entries[name])


def _text(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _drawn(split: str, counts: Mapping[str, int], seed: int, drawn: Callable[[], object]) -> dict[str, bytes]:
    """Every entry of one split; `drawn` is called after every image."""
    if not counts or min(counts.values()) < 0 or not sum(counts.values()):
        raise ValueError(
            f"{split} cannot have {dict(counts)} images; give at least one, or leave the split out"
        )
    entries: dict[str, bytes] = {}
    tables: dict[str, list[str]] = {name: [] for name in TABLES}
    tables["subsets.csv"].append("path,subset")
    masks = []
    for number, (subset, index) in enumerate(image_order(counts)):
        picture = draw_image(split, subset, index, seed)
        image = f"{split}/{number:05d}.jpg"
        file = io.BytesIO()
        Image.fromarray(picture.pixels).save(file, "JPEG", **JPEG)
        entries[f"images/{image}"] = file.getvalue()
        masks.append(picture.mask)
        tables["image_ids.txt"].append(image)
        tables["class_labels.txt"].append(f"{image},{picture.label}")
        tables["image_sizes.txt"].append(f"{image},{SIZE},{SIZE}")
        tables["localization.txt"] += [",".join([image, *map(str, box)]) for box in picture.boxes.tolist()]
        tables["subsets.csv"].append(f"{image},{subset}")
        drawn()
    file = io.BytesIO()
    np.save(file, run_lengths(np.array(masks)), allow_pickle=False)
    entries[f"masks/{split}.npy"] = file.getvalue()
    return entries | {f"metadata/{split}/{name}": _text(rows) for name, rows in tables.items()}


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of False and True in turn, False first, uint8; longer runs go on after a run of 0.

    >>> run_lengths(np.array([False] * 300 + [True] * 2)).tolist()
    [255, 0, 45, 2]
    """
    flat = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    runs = []
    for run in np.diff(edges, prepend=0, append=flat.size).tolist():
        full, rest = divmod(run, 255)
        runs += [255, 0] * full + [rest]
    return np.array(runs, dtype=np.uint8)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive of `write_archive` into a prepared data set.

    The folder gets `images/SPLIT/*.jpg`, `masks/SPLIT/*.png` (one channel, 0 or 255), `classes.txt`, and for
    each split of the archive a folder in the WSOL split format with `subsets.csv`. It appears complete or not
    at all.

    Args:
        archive: The archive.
        folder: The data set's folder; not there yet, or empty.

    Raises:
        ValueError: The archive is missing, damaged or not one of `mini` (the text names the entry), or the
            folder holds files already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; remove it, or unpack to another folder")
    entries = _read(archive)
    with atomic_folder(folder) as fresh:
        for name, content in entries.items():
            if name.startswith(("images/", "metadata/")):
                path = fresh / name.removeprefix("metadata/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        try:
            for split in SPLITS:
                if (fresh / split).exists():
                    _write_masks(fresh, split, entries)
        except ValueError as error:
            raise ValueError(f"{archive} is no archive of mini: {error}") from error


def _read(archive: Path) -> dict[str, bytes]:
    """Content of every entry, once none is damaged, foreign or missing."""
    remedy = "check data/mini out again, or draw it anew with write_archive"
    entries: dict[str, bytes] = {}
    try:
        opened = zipfile.ZipFile(archive)
    except DAMAGE as error:
        raise ValueError(f"{archive} cannot be opened as a zip archive ({error}); {remedy}") from error
    with opened:
        for info in opened.infolist():
            name = info.filename
            # Compressed entries are refused too: ours never are, and they could unpack to any size.
            if not ENTRY.fullmatch(name) or name in entries or info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(
                    f"{archive} is no archive of mini: entry {name!r} is foreign to it; {remedy}"
                )
            try:
                entries[name] = opened.read(info)
            except DAMAGE as error:
                raise ValueError(f"{archive}: entry {name!r} is damaged ({error}); {remedy}") from error
    splits = [split for split in SPLITS if any(f"/{split}" in name for name in entries)] or ["test"]
    needed = ["README.txt", "metadata/classes.txt", *(f"masks/{split}.npy" for split in splits)]
    needed += [f"metadata/{split}/{table}" for split in splits for table in TABLES]
    if missing := [name for name in needed if name not in entries]:
        raise ValueError(f"{archive} is no archive of mini: entry {missing[0]!r} is missing; {remedy}")
    if entries["metadata/classes.txt"] != _text(CLASSES):
        raise ValueError(f"{archive} has other classes in 'metadata/classes.txt' than this version; {remedy}")
    return entries


def _write_masks(folder: Path, split: str, entries: Mapping[str, bytes]) -> None:
    """Write the masks of a split whose text files and images are written, if they all fit each other."""
    table = read_split(folder / split)
    images = {name.removeprefix("images/") for name in entries if name.startswith(f"images/{split}/")}
    if odd := sorted(images.symmetric_difference(table.ids)):
        raise ValueError(
            f"'images/{odd[0]}' is missing, or 'metadata/{split}/image_ids.txt' does not list it"
        )
    for image in table.ids:
        try:
            with Image.open(folder / "images" / image) as opened:
                size = opened.size
        except OSError as error:
            raise ValueError(f"'images/{image}' is no image") from error
        if size != (SIZE, SIZE):
            raise ValueError(f"'images/{image}' has {size[0]}x{size[1]} pixels instead of {SIZE}x{SIZE}")
    if (table.sizes != SIZE).any() or table.labels.max() >= len(CLASSES):
        raise ValueError(
            f"'metadata/{split}' has sizes other than {SIZE}x{SIZE} or labels from {len(CLASSES)}"
        )
    runs = np.lib.format.read_array(io.BytesIO(entries[f"masks/{split}.npy"]), allow_pickle=False)
    pixels = len(table.ids) * SIZE * SIZE
    if runs.dtype != np.uint8 or runs.ndim != 1 or runs.sum(dtype=np.int64) != pixels:
        raise ValueError(f"'masks/{split}.npy' does not hold runs of {pixels} pixels in all")
    masks = np.repeat(np.arange(len(runs), dtype=np.int64) % 2 * 255, runs).astype(np.uint8)
    (folder / "masks" / split).mkdir(parents=True)
    for image, mask in zip(table.ids, masks.reshape(-1, SIZE, SIZE), strict=True):
        Image.fromarray(mask).save((folder / "masks" / image).with_suffix(".png"))
