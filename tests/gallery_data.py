"""A small page with maps of every kind, for the tests of the report."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from vitol.report.contents import Cell, Column, Contents, Curve, Gallery, Layer, Photo, Picture, Row, Sheet

HOSTILE = '</script><script>alert(1)</script><b>&"'


def blobs(rng: np.random.Generator, grid: int = 14) -> np.ndarray:
    """A map with some smooth peaks, as of a real model, float32 (grid, grid)."""
    values = rng.random((grid, grid), dtype=np.float32) ** 4
    return cv2.GaussianBlur(values, (5, 5), 0)


def noise(rng: np.random.Generator, grid: int = 14) -> np.ndarray:
    """A map without any structure: many contours and holes."""
    return rng.random((grid, grid), dtype=np.float32)


def bump(box: np.ndarray, grid: int = 14) -> np.ndarray:
    """A map that falls from the middle of a box, as wide as it, float32 (grid, grid)."""
    places = (np.arange(grid) + 0.5) * 224 / grid
    x, y = (
        np.exp(-3 * ((places - (box[at] + box[at + 2]) / 2) / (box[at + 2] - box[at] + 1)) ** 2)
        for at in (0, 1)
    )
    return (y[:, None] * x).astype(np.float32)


def true_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes in pixels of the score map, int64 (count, 4)."""
    near = rng.integers(0, 140, (count, 2))
    return np.hstack([near, near + rng.integers(10, 84, (count, 2))])


def photo(rng: np.random.Generator, index: int, subset: str = "", side: int = 64) -> Photo:
    """An image of colours that vary smoothly, with one to three true boxes."""
    pixels = cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (side + 7 * (index % 3), side))
    return Photo(f"test/{index:03}.jpg", pixels, index % 3, true_boxes(rng, 1 + index % 3), subset)


def small_gallery(images: int = 9, title: str = "birds, tiny") -> Gallery:
    """Two models, a method without a class and one with; half of the predictions are right."""
    rng = np.random.default_rng(5)
    photos = tuple(photo(rng, index, ("plain", "clutter")[index % 2]) for index in range(images))
    predicted = [one.label if index % 2 else (one.label + 1) % 3 for index, one in enumerate(photos)]
    layers = []
    for model in ("baseline", "p-ADL"):
        label = [blobs(rng) if at % 4 == 3 else bump(one.truths[0]) for at, one in enumerate(photos)]
        other = [one if index % 2 else noise(rng) for index, one in enumerate(label)]
        curve = Curve(np.linspace([90, 60, 30], [0, 0, 0], 255).T, 40)
        layers += [
            Layer(model, "AR", "any", [noise(rng) for _ in photos], 0.306, "Chosen.", curve, predicted),
            Layer(model, "GAR", "label", label, 0.165, "Chosen.", curve, predicted),
            Layer(model, "GAR", "predicted", other, 0.165, "Chosen.", None, predicted),
        ]
    return Gallery(title, "A note.", ("ani", "wren", "tern_of_the_sea"), photos, tuple(layers))


def small_sheet(title: str = "Table 1. Numbers", part: str = "MaxBoxAccV2") -> Sheet:
    """Words, numbers and gaps."""
    columns = (Column("method"), Column("paper", "CUB", True), Column("ours", "CUB", True))
    entries = [("CAM", 63.7, None), ("GAR", 70.79, 9.5), ("AR", 49.75, 70.4), ("LRP", None, 55.0)]
    rows = [
        Row(
            (
                Cell(name),
                *(Cell("") if value is None else Cell(f"{value:.1f}", value, "[1, 2]") for value in of),
            )
        )
        for name, *of in entries
    ]
    return Sheet(title, part, "Percent.", columns, tuple(rows))


def small_contents(**changes: object) -> Contents:
    """A page with all that there is."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "white").save(buffer, "PNG")
    given = {
        "title": "Test page",
        "lead": "A sentence.",
        "sheets": (small_sheet(), small_sheet(part="IoU50"), small_sheet("Who beats whom")),
        "pictures": (Picture("A plot", "What it shows.", buffer.getvalue()),),
        "galleries": (small_gallery(), small_gallery(4, "fish, tiny")),
    }
    return Contents(**{**given, **changes})  # type: ignore[arg-type]
