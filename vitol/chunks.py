"""Work on many images, cut into chunks that any number of processes do in any order, and not twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vitol.atomic import atomic_file


class ChunkError(ValueError):
    """A chunk that cannot be written or read; the text says which, why and what to do."""


class Chunks:
    """Results of `count` images in a folder, `size` images a file, each written whole or not at all.

    A chunk's images are the same for any number of processes, and so are the batches that it is computed in: with
    equally many threads, the results of all chunks together are those of one process, to the bit. What is done stays
    done: a chunk that is there is not computed again.

    Args:
        folder: For this work alone, such as one named after all that the results depend on. Several processes see
            the same folder.
        count: How many images there are.
        size: Images a chunk; a multiple of the batch.

    Raises:
        ValueError: If count or size is below 1.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        if count < 1 or size < 1:
            raise ValueError(f"{count} images in chunks of {size}; both are at least 1")
        self.folder, self.count, self.size = folder, count, size

    def __len__(self) -> int:
        """Number of chunks."""
        return -(-self.count // self.size)

    def images(self, chunk: int) -> range:
        """Indices of a chunk's images."""
        return range(chunk * self.size, min((chunk + 1) * self.size, self.count))

    def path(self, chunk: int) -> Path:
        """Where a chunk's results are, or will be."""
        return self.folder / f"{chunk:06d}.safetensors"

    def waiting(self, process: int = 0, processes: int = 1) -> list[int]:
        """Chunks that are not done yet, dealt out to several processes; all must ask before any of them writes."""
        missing = [chunk for chunk in range(len(self)) if not self.path(chunk).exists()]
        return missing[process::processes]

    def write(self, chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the results of a chunk.

        Args:
            chunk: Which.
            arrays: Under their names, one row an image each.

        Raises:
            ChunkError: If an array has not a row an image, or the file cannot be written.
        """
        rows = len(self.images(chunk))
        for name, array in arrays.items():
            if len(array) != rows:
                raise ChunkError(
                    f"{name} of chunk {chunk} has {len(array)} rows for {rows} images; give one an image"
                )
        try:
            with atomic_file(self.path(chunk)) as partial:
                save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, str(partial))
        except (OSError, SafetensorError) as error:
            raise ChunkError(
                f"{self.path(chunk)} could not be written ({error}); the chunks before it are intact: make room, and "
                "run again to go on from there"
            ) from error

    def merged(self) -> dict[str, np.ndarray]:
        """Results of all images under their names, in the order of the images.

        Raises:
            ChunkError: If a chunk is missing or damaged.
        """
        parts: dict[str, list[np.ndarray]] = {}
        for chunk in range(len(self)):
            path = self.path(chunk)
            try:
                arrays = load_file(str(path))
            except (OSError, SafetensorError) as error:
                raise ChunkError(
                    f"{path} is missing or damaged ({error}); remove it and run again"
                ) from error
            for name, array in arrays.items():
                parts.setdefault(name, []).append(array)
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
