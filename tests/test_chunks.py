import numpy as np
import pytest
from conftest import full_disk

from vitol.chunks import ChunkError, Chunks


def arrays(images: range) -> dict[str, np.ndarray]:
    rows = np.array(images, dtype=np.float32)
    return {
        "maps": rows[:, None, None] * np.ones((1, 2, 3), np.float32),
        "logits": np.stack([rows, -rows], 1)[:, ::-1],
    }


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_chunks_of_any_number_of_processes_together_are_all_images(tmp_path, processes):
    chunks = Chunks(tmp_path, 23, 5)
    assert len(chunks) == 5
    dealt = [chunks.waiting(process, processes) for process in range(processes)]
    for chunk in (chunk for of_one in dealt for chunk in of_one):
        chunks.write(chunk, arrays(chunks.images(chunk)))
    merged, whole = chunks.merged(), arrays(range(23))
    assert merged.keys() == whole.keys()
    assert all(np.array_equal(merged[name], whole[name]) for name in whole)


def test_what_is_left_is_dealt_out_evenly(tmp_path):
    chunks = Chunks(tmp_path, 24, 4)
    assert chunks.waiting() == [0, 1, 2, 3, 4, 5]
    for chunk in (1, 3, 5):
        chunks.write(chunk, arrays(chunks.images(chunk)))
    assert chunks.waiting() == [0, 2, 4]
    assert [chunks.waiting(process, 2) for process in range(2)] == [[0, 4], [2]]


def test_a_chunk_that_is_missing_or_damaged_is_named(tmp_path):
    chunks = Chunks(tmp_path, 10, 5)
    chunks.write(0, arrays(chunks.images(0)))
    with pytest.raises(
        ChunkError, match=r"000001\.safetensors is missing or damaged .*; remove it and run again"
    ):
        chunks.merged()
    chunks.path(1).write_bytes(chunks.path(0).read_bytes()[:-1])
    with pytest.raises(ChunkError, match=r"000001\.safetensors is missing or damaged"):
        chunks.merged()


def test_rows_must_be_images(tmp_path):
    with pytest.raises(ChunkError, match="maps of chunk 1 has 4 rows for 5 images"):
        Chunks(tmp_path, 10, 5).write(1, {"maps": np.zeros((4, 2, 2))})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "size"), [(0, 5), (5, 0)])
def test_no_images_make_no_chunks(tmp_path, count, size):
    with pytest.raises(ValueError, match=f"{count} images in chunks of {size}; both are at least 1"):
        Chunks(tmp_path, count, size)


def test_a_full_disk_leaves_the_chunks_before(tmp_path):
    chunks = Chunks(tmp_path, 10, 5)
    chunks.write(0, arrays(chunks.images(0)))
    with (
        full_disk(100),
        pytest.raises(ChunkError, match="could not be written .* the chunks before it are intact"),
    ):
        chunks.write(1, arrays(chunks.images(1)))
    assert [path.name for path in tmp_path.iterdir()] == ["000000.safetensors"]
