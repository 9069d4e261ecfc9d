"""Maps and their boxes as bytes, which the page's script reads back.

A record is one map: h, w (a byte each); its heat, h * w bytes; then the steps of its two boxes (`vitol.report.steps`),
largest contour before best of all, x0 of all 255 thresholds before y0, x1 and y1, each the difference to the one
before, modulo 256. Most differences are 0 or 1, so the records, one after another, deflate to a sixth. A map that
comes twice, as that of the predicted class where it is the label, is one record.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from vitol.boxes import DISTINCT_THRESHOLDS, score_map
from vitol.report.contents import Gallery, Layer, Photo
from vitol.report.pictures import heat_bytes, photo_bytes, text_of
from vitol.report.steps import Steps, steps_of, threshold_index
from vitol.threads import threads

CUTS = len(DISTINCT_THRESHOLDS)
_STEPS = 2 * 4 * CUTS  # bytes
Progress = Callable[[], object]


class Record(NamedTuple):
    """A map as it is drawn, uint8 (h, w), and its boxes."""

    heat: np.ndarray
    steps: Steps


def record_bytes(record: Record) -> bytes:
    """A record as bytes; see the head of this module."""
    boxes = np.stack(record.steps).transpose(0, 2, 1)  # box, corner, threshold
    steps = np.diff(boxes, axis=2, prepend=np.uint8(0))
    return bytes(record.heat.shape) + record.heat.tobytes() + steps.tobytes()


def read_records(data: bytes) -> list[Record]:
    """Records from their bytes, one after another: the inverse of `record_bytes`.

    Raises:
        ValueError: If the bytes end within a record.
    """
    records: list[Record] = []
    at = 0
    while at < len(data):
        cells = data[at] * data[at + 1] if at + 2 <= len(data) else 0
        middle, end = at + 2 + cells, at + 2 + cells + _STEPS
        if end > len(data):
            raise ValueError(
                f"record {len(records)} ends at byte {end}, the data at {len(data)}: it is cut off"
            )
        heat = np.frombuffer(data[at + 2 : middle], np.uint8).reshape(data[at], data[at + 1])
        steps = np.frombuffer(data[middle:end], np.uint8).reshape(2, 4, CUTS)
        boxes = np.cumsum(steps, axis=2, dtype=np.uint8).transpose(0, 2, 1)
        records.append(Record(heat, Steps(*boxes)))
        at = end
    return records


def packed_gallery(
    gallery: Gallery, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """A gallery, JSON-able: text and numbers as they are, photos and records as base64.

    Args:
        gallery: What to pack.
        workers: Threads; None takes one a core. The result is the same.
        progress: Called once a map, from the calling thread.

    Raises:
        ValueError: If a map or an image is bad: then with the image's name; or if workers is below 1.
    """
    pool, rows = _pooled(gallery)

    def record(key: tuple[int, int]) -> bytes:
        layer, at = gallery.layers[key[0]], key[1]
        return record_bytes(_record(layer, gallery.photos[at], at))

    with ThreadPoolExecutor(threads(workers)) as executor:
        try:
            records = []
            for made in executor.map(record, pool):
                records.append(made)
                if progress is not None:
                    progress()
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return {
        "title": gallery.title,
        "note": gallery.note,
        "classes": list(gallery.classes),
        "photos": [_photo(photo) for photo in gallery.photos],
        "layers": [_layer(layer, of) for layer, of in zip(gallery.layers, rows, strict=True)],
        "records": text_of(zlib.compress(b"".join(records), 9)),
    }


def count_maps(gallery: Gallery) -> int:
    """How many maps `packed_gallery` will look at."""
    return len(_pooled(gallery)[0])


def _pooled(gallery: Gallery) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """Layer and image of each map that differs from those of its image before it, and each layer's records."""
    pool: list[tuple[int, int]] = []
    seen: dict[tuple[object, ...], int] = {}
    rows = []
    for number, layer in enumerate(gallery.layers):
        of_layer = []
        for at, one in enumerate(layer.maps):
            values = np.ascontiguousarray(one)
            key = (at, values.shape, values.dtype.str, values.tobytes())
            if key not in seen:
                seen[key] = len(pool)
                pool.append((number, at))
            of_layer.append(seen[key])
        rows.append(of_layer)
    return pool, rows


def _record(layer: Layer, photo: Photo, at: int) -> Record:
    """One map as it is drawn, and its boxes."""
    try:
        steps = steps_of(score_map(layer.maps[at]), photo.truths)
    except ValueError as error:
        raise ValueError(f"{layer.model} {layer.method}, image {photo.name}: {error}") from error
    return Record(heat_bytes(layer.maps[at]), steps)


def _photo(photo: Photo) -> dict[str, Any]:
    try:
        jpeg = photo_bytes(photo.pixels)
    except ValueError as error:
        raise ValueError(f"image {photo.name}: {error}") from error
    height, width = photo.pixels.shape[:2]
    return {
        "name": photo.name,
        "subset": photo.subset,
        "label": int(photo.label),
        "size": [width, height],
        "truths": np.asarray(photo.truths).astype(int).tolist(),
        "jpeg": text_of(jpeg),
    }


def _layer(layer: Layer, records: Sequence[int]) -> dict[str, Any]:
    curve = None
    if layer.curve is not None:
        curve = {"n": layer.curve.n_images, "accuracy": layer.curve.accuracy.round(2).tolist()}
    return {
        "model": layer.model,
        "method": layer.method,
        "of": layer.of,
        "threshold": threshold_index(layer.threshold),
        "chosen": layer.chosen,
        "curve": curve,
        "predicted": None if layer.predicted is None else np.asarray(layer.predicted).tolist(),
        "records": list(records),
    }
