from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from fakes import fake_cub, fake_openimages, truncate
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vitol.contact_sheet
from vitol.contact_sheet import choose_images, contact_sheet, read_image
from vitol.datasets.cub import read_cub
from vitol.datasets.layout import Layout
from vitol.datasets.openimages import read_openimages

GREEN = (0, 224, 0)


@pytest.fixture
def birds(tmp_path: Path) -> Layout:
    return read_cub(fake_cub(tmp_path / "cub"))


def near(path: Path, colour: tuple[int, int, int], within: int = 40) -> int:
    """Number of pixels of a picture that have nearly a colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return int((abs(pixels - colour).max(axis=2) < within).sum())


def bounds(path: Path, colour: tuple[int, int, int], within: int = 40) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels of a picture that have nearly a colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    ys, xs = np.nonzero(abs(pixels - colour).max(axis=2) < within)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 3))
def test_images_are_spread_over_the_classes_as_evenly_as_they_come(
    labels: list[int], count: int, seed: int
) -> None:
    rows = choose_images(np.array(labels), count, seed)
    assert len(set(rows.tolist())) == len(rows) == min(count, len(labels))
    taken, there = np.bincount(np.array(labels)[rows], minlength=6), np.bincount(labels, minlength=6)
    # A class of which there are more images has at most one image less than any other.
    assert all(taken[more] >= taken.max() - 1 for more in np.flatnonzero(taken < there))
    assert (np.diff(np.array(labels)[rows]) >= 0).all()


def test_a_seed_chooses_the_same_images_and_another_one_others() -> None:
    labels = np.arange(100) % 10
    np.testing.assert_array_equal(choose_images(labels, 20, 0), choose_images(labels, 20, 0))
    assert choose_images(labels, 20, 0).tolist() != choose_images(labels, 20, 1).tolist()


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (3, -1)])
def test_numbers_that_mean_nothing_are_refused(count: int, seed: int) -> None:
    with pytest.raises(ValueError, match=f"count is {count} and seed {seed}; give at least 1 image"):
        choose_images(np.zeros(4, np.int64), count, seed)


def test_the_same_arguments_give_the_same_picture(birds: Layout, tmp_path: Path) -> None:
    one, two, other = (tmp_path / f"{name}.png" for name in ("one", "two", "other"))
    assert contact_sheet(birds, "train", one, "birds", 2) == 2
    contact_sheet(birds, "train", two, "birds", 2)
    contact_sheet(birds, "train", other, "birds", 2, seed=1)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != other.read_bytes()


def test_boxes_are_green_and_where_they_should_be(birds: Layout, tmp_path: Path) -> None:
    # One violet image of 40x30 alone, with a box off its centre.
    test = birds.splits["test"].select(np.array([True, False]))
    Image.new("RGB", (40, 30), (200, 0, 200)).save(birds.images / test.ids[0])
    box = np.array([[4.0, 12.0, 34.0, 21.0]])
    alone = Layout(birds.classes, {"test": replace(test, boxes=(box,))}, birds.images)
    path = tmp_path / "birds.png"
    contact_sheet(alone, "test", path, "birds")
    left, top, right, bottom = bounds(path, (200, 0, 200))
    scale = (right - left) / 40
    assert (bottom - top) / 30 == pytest.approx(scale, rel=0.02)
    expected = [left + 4 * scale, top + 12 * scale, left + 34 * scale, top + 21 * scale]
    np.testing.assert_allclose(bounds(path, GREEN), expected, atol=3)
    shown = read_image(birds, birds.splits["test"], 0)
    assert shown.boxes.tolist() == [[0, 0, 40, 30]] and shown.pixels.shape == (30, 40, 3)
    assert (shown.label, shown.image, shown.mask) == ("Ani", "004.Ani/b.jpg", None)


def test_an_object_given_by_masks_has_a_green_outline(tmp_path: Path) -> None:
    layout = read_openimages(fake_openimages(tmp_path / "open"))
    test = layout.splits["test"]
    assert contact_sheet(layout, "test", tmp_path / "open.png", "open") == 2
    contact_sheet(layout, "train", tmp_path / "train.png", "open")
    assert near(tmp_path / "open.png", GREEN) > 200
    assert near(tmp_path / "train.png", GREEN) < 20
    mask = read_image(layout, test, 1).mask
    assert mask is not None and mask.shape == (30, 40)
    assert (mask[10:20, 10:20] == 1).all() and mask.sum() == 100


def test_captions_that_are_too_long_keep_the_file_s_name() -> None:
    shortened = vitol.contact_sheet._shortened_path
    assert shortened("a/b.jpg", 10) == "a/b.jpg"
    assert shortened("a/long/folder/b.jpg", 10) == "…/b.jpg"
    assert shortened("a/very-long-name.jpg", 10) == "…-name.jpg"


def test_a_split_that_is_not_there_is_an_error(birds: Layout, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no split 'val'; choose one of train, test"):
        contact_sheet(birds, "val", tmp_path / "birds.png", "birds")


def test_images_and_masks_that_cannot_be_read_are_errors(
    birds: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate(birds.images / "004.Ani/b.jpg")
    with pytest.raises(
        ValueError, match=r"004.Ani/b.jpg cannot be read as an image \(.*truncated.*\); restore"
    ):
        contact_sheet(birds, "test", tmp_path / "birds.png", "birds")
    for error in (SyntaxError("broken PNG file"), ValueError("odd"), Image.DecompressionBombError("vast")):
        with monkeypatch.context() as patch:
            patch.setattr(Image, "open", Mock(side_effect=error))
            with pytest.raises(ValueError, match=rf"cannot be read as an image \({error}\); restore it"):
                read_image(birds, birds.splits["test"], 0)
    layout = read_openimages(fake_openimages(tmp_path / "open"))
    truncate(layout.images / "test/0a/t1_m0.png")
    with pytest.raises(ValueError, match=r"test/0a/t1_m0.png: cannot be decoded; write it again as PNG"):
        contact_sheet(layout, "test", tmp_path / "open.png", "open")
    assert not list(tmp_path.glob("*.png"))
