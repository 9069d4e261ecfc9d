import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vitol.map_file import BadMap, read_map
from vitol.map_folder import NAMINGS, NO_MAP, MapFolder

IDS = ("test/a.jpg", "test/b.jpg", "c.v2.png")
WITH, WITHOUT = NAMINGS


def some_map(seed: int = 0, shape: tuple[int, int] = (3, 4)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def write(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Maps of IDS, named as the reference evaluator names them."""
    for seed, image in enumerate(IDS):
        write(tmp_path / "maps" / f"{image}.npy", some_map(seed))
    return tmp_path / "maps"


def opened(folder: Path, ids: tuple[str, ...] = IDS) -> MapFolder:
    return MapFolder.open("GAR", folder, ids)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", np.uint8, np.int64, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_map_is_read_as_it_was_saved(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.asarray(some_map() * 9, dtype=dtype, order=order)
    np.save(tmp_path / "map.npy", values)
    found = read_map(tmp_path / "map.npy")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        (np.array([[{"a": 1}]]), "holds pickled Python objects"),
        (np.array([[1j]]), "holds values of type complex128"),
        (np.array([["a"]]), "holds values of type <U1"),
        (np.zeros((2, 2), "f4,f4"), "holds values of type"),
        (np.zeros(3), "has shape (3,)"),
        (np.zeros((1, 2, 3)), "has shape (1, 2, 3)"),
        (np.zeros(()), "has shape ()"),
        (np.zeros((0, 5)), "has shape (0, 5)"),
    ],
)
def test_an_array_that_is_no_map_is_refused(tmp_path: Path, values: np.ndarray, seen: str) -> None:
    write(tmp_path / "map.npy", values)
    with pytest.raises(BadMap) as caught:
        read_map(tmp_path / "map.npy")
    assert str(caught.value).startswith(seen)


@pytest.mark.parametrize("shape", [(-2, -2), (-1, 4), (2, -2)])
def test_a_header_with_a_negative_side_is_a_named_fault(tmp_path: Path, shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (tmp_path / "map.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(16))
    with pytest.raises(BadMap) as caught:
        read_map(tmp_path / "map.npy")
    assert str(caught.value) == f"has shape {shape}"


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (tmp_path.joinpath("loaded").touch, ())

    write(tmp_path / "map.npy", np.array([[Bomb()]], dtype=object))
    with pytest.raises(BadMap, match="holds pickled Python objects"):
        read_map(tmp_path / "map.npy")
    assert not (tmp_path / "loaded").exists()


def test_damaged_files_are_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    np.save(path, some_map())
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(BadMap, match="damaged"):
            read_map(path)
    for _ in range(2000):
        damaged = bytearray(good)
        damaged[rng.integers(0, 80)] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert read_map(path).ndim == 2  # damage may leave another valid header
        except BadMap:
            pass
    path.write_bytes(good + b"\0")
    with pytest.raises(BadMap, match="damaged: 49 bytes of values, not 48"):
        read_map(path)


def test_an_archive_of_arrays_under_the_name_of_a_map_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "map.npy").open("wb") as file:
        np.savez(file, some_map())
    with pytest.raises(BadMap, match="no .npy file, or a damaged one"):
        read_map(tmp_path / "map.npy")


def test_maps_are_found_as_the_reference_evaluator_names_them(folder: Path) -> None:
    found = opened(folder)
    assert found.naming == WITH == "<image id>.npy"
    assert found.files == ("test/a.jpg.npy", "test/b.jpg.npy", "c.v2.png.npy")
    assert (found.missing, found.extra, found.faults()) == ((), (), [])
    for seed, values in enumerate(found.reader(IDS)):
        np.testing.assert_array_equal(values, some_map(seed))


def test_maps_without_the_images_extension_are_found(tmp_path: Path) -> None:
    for seed, image in enumerate(("test/a", "test/b", "c.v2")):
        write(tmp_path / f"{image}.npy", some_map(seed))
    found = opened(tmp_path)
    assert found.naming == WITHOUT == "<image id without extension>.npy"
    assert (found.missing, found.extra) == ((), ())


def test_a_folder_follows_the_rule_that_finds_more_and_no_other(folder: Path) -> None:
    (folder / "test/a.jpg.npy").rename(folder / "test/a.npy")
    found = opened(folder)
    assert (found.naming, found.missing, found.extra) == (WITH, ("test/a.jpg",), ("test/a.npy",))


def test_missing_and_extra_maps_are_faults_with_their_names(folder: Path) -> None:
    (folder / "test/b.jpg.npy").unlink()
    write(folder / "test/z.jpg.npy", some_map())
    (folder / "notes.txt").touch()
    (folder / ".hidden.npy").touch()
    assert [str(fault) for fault in opened(folder).faults()] == [
        "GAR/test/b.jpg.npy: no map of test/b.jpg; make it, or score the other images (--allow-missing)",
        "GAR/test/z.jpg.npy: no image has this name; move it elsewhere, or leave it out (--allow-missing)",
    ]


def test_maps_of_another_known_split_are_not_extra(folder: Path) -> None:
    write(folder / "val/z.jpg.npy", some_map())
    assert MapFolder.open("GAR", folder, IDS, others=["val/z.jpg"]).extra == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere", "GAR: {}/nowhere is not a folder; give the one that holds the maps"),
        ("empty", "GAR: no .npy file in {}/empty; maps are files <image id>.npy or <image id without ext"),
        (
            "maps/test",
            "GAR: none of the 2 .npy files in {}/maps/test is named after an image: there is a.jpg.npy, looked "
            "for were test/a.jpg.npy and test/a.npy, and so on; give the folder from which the image ids start",
        ),
    ],
)
def test_a_folder_without_the_maps_says_what_was_looked_for(folder: Path, name: str, text: str) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(ValueError) as caught:
        opened(folder.parent / name)
    assert str(caught.value).startswith(text.format(folder.parent))


def test_two_images_cannot_share_a_map(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", some_map())
    with pytest.raises(
        ValueError, match=r"GAR: a\.jpg and a\.png would share the map a\.npy in .*; name maps <"
    ):
        opened(tmp_path, ("a.jpg", "b.jpg", "a.png"))


def test_faults_of_maps_are_collected_in_the_order_of_the_images(folder: Path) -> None:
    values = some_map()
    values[1, 2] = np.nan
    values[2, 0] = -np.inf
    write(folder / "c.v2.png.npy", values)
    write(folder / "test/a.jpg.npy", np.zeros(3))
    (folder / "test/b.jpg.npy").unlink()
    (folder / "test/b.jpg.npy").mkdir()
    found = MapFolder("GAR", folder, IDS, WITH, tuple(f"{image}.npy" for image in IDS), (), ())
    reader = found.reader(IDS)
    with ThreadPoolExecutor(3) as pool:
        maps = list(pool.map(reader.__getitem__, (2, 1, 0)))
    assert all(values is NO_MAP for values in maps)
    assert [str(fault) for fault in reader.faults] == [
        "GAR/test/a.jpg.npy: has shape (3,); a map is (height, width), one file an image",
        "GAR/test/b.jpg.npy: cannot be read (is a directory); check the file",
        "GAR/c.v2.png.npy: 2 of 12 values are NaN, infinite or beyond 1e+37, the first at [1, 2]; repair the map, "
        "or score it as zeros, as the reference does (--reference-nan)",
    ]
    assert [fault.image for fault in reader.faults] == list(IDS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e37, -2e37])
def test_maps_that_are_not_finite_are_handed_out_if_asked_for_and_counted(folder: Path, bad: float) -> None:
    values = some_map().astype(np.float64)
    values[0, 1] = bad
    write(folder / "test/a.jpg.npy", values)
    reader = opened(folder).reader(IDS, reference_nan=True)
    np.testing.assert_array_equal(reader[0], values)
    assert len(list(reader)) == 3
    assert reader.faults == []
    assert (reader.traps().not_finite, reader.traps().unstretched) == (1, 2)


def test_a_reader_is_a_sequence_of_the_images_asked_for(folder: Path) -> None:
    reader = opened(folder).reader(("c.v2.png", "test/a.jpg"))
    assert len(reader) == 2
    np.testing.assert_array_equal(reader[0], some_map(2))
    np.testing.assert_array_equal(reader[-1], some_map(0))
    np.testing.assert_array_equal(reader[:1][0], some_map(2))
    with pytest.raises(IndexError):
        reader[2]


def test_traps_are_counted_and_said(folder: Path) -> None:
    write(folder / "test/a.jpg.npy", np.full((3, 4), 7))
    write(folder / "test/b.jpg.npy", np.array([[0.0, 0.5, 1.0]]))
    traps = opened(folder).reader(IDS)
    list(traps)
    found = traps.traps()
    assert (found.n_maps, found.constant, found.not_finite, found.unstretched) == (3, 1, 0, 1)
    assert found.sizes == {(3, 4): 2, (1, 3): 1}
    assert found.sentences() == [
        "1 constant map, scored as zeros",
        "1 map not running from 0 to 1: stretched, as the protocol says",
        "maps of 2 sizes, 2 of them 3 x 4",
    ]


def test_maps_that_the_reference_evaluator_would_take_set_off_no_trap(tmp_path: Path) -> None:
    for image in IDS:
        write(tmp_path / f"{image}.npy", np.eye(4))
    reader = opened(tmp_path).reader(IDS)
    list(reader)
    assert reader.traps().sentences() == []


def test_left_out_maps_are_said(folder: Path) -> None:
    (folder / "test/b.jpg.npy").unlink()
    for name in ("y", "z"):
        write(folder / f"{name}.npy", some_map())
    found = opened(folder)
    reader = found.reader(("test/a.jpg", "c.v2.png"))
    list(reader)
    assert reader.traps().missing == ("test/b.jpg",)
    assert reader.traps().extra == ("y.npy", "z.npy")
    assert reader.traps().sentences() == [
        "no map runs from 0 to 1: stretched, as the protocol says",
        "1 image without a map, left out",
        "2 files of no image, left out",
    ]


def test_sound_maps_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    np.save(path, np.eye(3))
    until = time.monotonic() + 3

    class Collected:
        """Lets another thread run when it is collected, such as in the middle of a header."""

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            for _ in range(3):
                pass

    def read(depth: int) -> int:
        if depth:
            return read(depth - 1)
        count = 0
        while time.monotonic() < until:
            Collected()
            assert np.array_equal(read_map(path), np.eye(3))
            count += 1
        return count

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(10)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert min(pool.map(read, (0, 50, 300, 100))) > 0
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
