"""Tiny data sets in the official layouts, written to a temporary folder."""

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


def fake_cub(root: Path) -> Path:
    """Two classes, 4 and 17, with three train and two test images."""
    tables = {
        "classes.txt": ["4 004.Ani", "17 017.Cardinal"],
        "images.txt": [f"{n} {path}" for n, _, _, path, _ in CUB_IMAGES],
        "image_class_labels.txt": [f"{n} {label}" for n, label, _, _, _ in CUB_IMAGES],
        "train_test_split.txt": [f"{n} {train}" for n, _, train, _, _ in CUB_IMAGES],
        "bounding_boxes.txt": [f"{n} {box}" for n, _, _, _, box in CUB_IMAGES],
    }
    root.mkdir(parents=True)
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines))
    for number, _, _, path, _ in CUB_IMAGES:
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


def edit(path: Path, old: str, new: str) -> None:
    """Replace a piece of a text file that occurs in it once."""
    text = path.read_text()
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new))
