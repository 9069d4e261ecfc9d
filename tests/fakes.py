"""Tiny data sets in the official layouts, written to a temporary folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CUB_IMAGES = (  # number, class, train, path, box as x y width height; every image is 40x30
    (1, 4, 1, "004.Ani/a.jpg", "1.5 2 10.5 20"),
    (2, 4, 0, "004.Ani/b.jpg", "0 0 40 30"),
    (3, 17, 1, "017.Cardinal/c.jpg", "5 5 30 20"),
    (4, 17, 0, "017.Cardinal/d.jpg", "5 5 30 20"),
    (5, 4, 1, "004.Ani/e.jpg", "10 10 20 20"),
)


def write_image(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    """Write a JPEG of noise, which is never small enough to survive being cut in half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG")


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fake_cub(root: Path, images: Sequence[tuple[int, int, int, str, str]] = CUB_IMAGES) -> Path:
    """Two classes, 4 and 17, with three train and two test images, unless others are given."""
    names = dict.fromkeys((label, path.split("/")[0]) for _, label, _, path, _ in images)
    tables = {
        "classes.txt": [f"{label} {name}" for label, name in names],
        "images.txt": [f"{n} {path}" for n, _, _, path, _ in images],
        "image_class_labels.txt": [f"{n} {label}" for n, label, _, _, _ in images],
        "train_test_split.txt": [f"{n} {train}" for n, _, train, _, _ in images],
        "bounding_boxes.txt": [f"{n} {box}" for n, _, _, _, box in images],
    }
    root.mkdir(parents=True)
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines))
    for number, _, _, path, _ in images:
        write_image(root / "images" / path, seed=number)
    return root


def fake_ilsvrc(root: Path, images: int = 7) -> Path:
    """Three classes; validation image i, from 1, is of class i modulo 3 and has two boxes if i is even."""
    (root / "Data/CLS-LOC").mkdir(parents=True)
    (root / "LOC_synset_mapping.txt").write_text("n03 great white shark\nn01 tench, Tinca\nn02 crane")
    lines = ["ImageId,PredictionString"]
    for i in range(images, 0, -1):
        synset = ("n03", "n01", "n02")[i % 3]
        groups = [f"{synset} 1 2 {10 + i} 20", f"{synset} 0 0 40 30"]
        lines.append(f"val_{i:03d},{' '.join(groups[: 1 + (i % 2 == 0)])} ")
        write_image(root / f"Data/CLS-LOC/val/val_{i:03d}.JPEG", seed=i)
    (root / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")
    return root


def annotation(synsets: Sequence[str], boxes: Sequence[str], size: tuple[int, int] = (40, 30)) -> str:
    """An XML file as image-net.org has it; a box is "x0 y0 x1 y1"."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = [
        f"<object><name>{synset}</name><bndbox>"
        + "".join(f"<{corner}>{x}</{corner}>" for corner, x in zip(corners, box.split(), strict=True))
        + "</bndbox></object>"
        for synset, box in zip(synsets, boxes, strict=True)
    ]
    width, height = size
    size_text = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return "\n".join(["<annotation>", f"<folder>val</folder>{size_text}", *objects, "</annotation>"])


def official_from_kaggle(kaggle: Path, root: Path, archives_of_2012: bool = False) -> Path:
    """The same data set as image-net.org's archives have it; the synset mapping, which they lack, is copied too."""
    boxes, data = root / "Annotations/CLS-LOC/val", kaggle / "Data/CLS-LOC"
    places = {"val": root / "Data/CLS-LOC/val", "train": root / "Data/CLS-LOC/train"}
    if archives_of_2012:
        boxes = root / "ILSVRC2012_bbox_val_v3/val"
        places = {"val": root / "ILSVRC2012_img_val", "train": root / "ILSVRC2012_img_train"}
    for name, place in places.items():
        if (data / name).exists():
            shutil.copytree(data / name, place)
    shutil.copy(kaggle / "LOC_synset_mapping.txt", root)
    boxes.mkdir(parents=True)
    for line in (kaggle / "LOC_val_solution.csv").read_text().splitlines()[1:]:
        name, _, text = line.partition(",")
        words = text.split()
        groups = [words[at : at + 5] for at in range(0, len(words), 5)]
        with Image.open(data / f"val/{name}.JPEG") as image:
            size = image.size
        found = annotation([group[0] for group in groups], [" ".join(group[1:]) for group in groups], size)
        (boxes / f"{name}.xml").write_text(found)
    return root


def fake_tiny_imagenet(root: Path) -> Path:
    """Two classes, n02 before n01, with two train images each, and three validation images of 64x64."""
    tables = {
        "wnids.txt": ["n02", "n01"],
        "words.txt": ["n00\tentity", "n01\ttench, Tinca tinca", "n02\tcrane"],
        "train/n01/n01_boxes.txt": ["n01_0.JPEG\t0\t1\t42\t38", "n01_1.JPEG\t5\t5\t63\t64"],
        "train/n02/n02_boxes.txt": ["n02_0.JPEG\t0\t0\t64\t64", "n02_1.JPEG\t9\t8\t20\t21"],
        "val/val_annotations.txt": [
            "val_2.JPEG\tn01\t1\t2\t33\t44",
            "val_0.JPEG\tn02\t0\t0\t63\t63",
            "val_1.JPEG\tn02\t3\t3\t9\t9",
        ],
    }
    for number, (name, lines) in enumerate(tables.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n")
        if "/" in name:
            for line in lines:
                image = line.split("\t")[0]
                write_image((root / name).parent / "images" / image, (64, 64), seed=number)
    write_image(root / "test/images/test_0.JPEG", (64, 64))
    return root


def write_mask(path: Path, box: tuple[int, int, int, int], size: tuple[int, int] = (40, 30)) -> None:
    """Write a PNG that is 255 inside a box, x1 and y1 one past it, and 0 elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(path, format="PNG")


OPENIMAGES_MASKS = {  # of each image that is scored: the boxes that its masks are, and the box of what is left out
    "val/0a/v1.jpg": ([(0, 0, 20, 15)], (0, 0, 30, 20)),
    "test/0a/t1.jpg": ([(0, 0, 10, 10), (30, 20, 40, 30)], (5, 5, 15, 15)),
    "test/0b/t2.jpg": ([(10, 10, 20, 20)], None),
}


def fake_openimages(root: Path) -> Path:
    """Two classes, 0a and 0b, with two train images, one validation image and two test images of 40x30.

    The first test image has two masks and leaves something out, the second has a mask of 80x60.
    """
    images = {"train": ["train/0a/a.jpg", "train/0b/b.jpg"], "val": ["val/0a/v1.jpg"]}
    images["test"] = ["test/0a/t1.jpg", "test/0b/t2.jpg"]
    for split, ids in images.items():
        (root / split).mkdir(parents=True)
        (root / split / "image_ids.txt").write_text("".join(f"{image}\n" for image in ids))
        labels = "".join(f"{image},{0 if '/0a/' in image else 1}\n" for image in ids)
        (root / split / "class_labels.txt").write_text(labels)
        lines = []
        for number, image in enumerate(ids):
            write_image(root / image, seed=number)
            stem = image.removesuffix(".jpg")
            boxes, left_out = OPENIMAGES_MASKS.get(image, ([], None))
            for at, box in enumerate(boxes):
                size, scale = ((80, 60), 2) if image == "test/0b/t2.jpg" else ((40, 30), 1)
                x0, y0, x1, y1 = (scale * x for x in box)
                write_mask(root / f"{stem}_m{at}.png", (x0, y0, x1, y1), size)
                ignore = f"{stem}_ignore.png" if left_out and at == 0 else ""
                lines.append(f"{image},{stem}_m{at}.png,{ignore}\n")
            if left_out:
                write_mask(root / f"{stem}_ignore.png", left_out)
        if split != "train":
            (root / split / "localization.txt").write_text("".join(lines))
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace a piece of a text file that occurs in it once."""
    text = path.read_text()
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new))
