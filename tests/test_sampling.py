"""A handful of a data set."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitol.datasets.layout import Layout
from vitol.datasets.sampling import sample
from vitol.datasets.splits import Split, make_split
from vitol.datasets.wsol import read_wsol, write_wsol


def a_split(name: str, labels: list[int]) -> Split:
    ids = [f"{name}/{at}.jpg" for at in range(len(labels))]
    boxes = [[(at, 0, at + 1, 9)] for at in range(len(labels))]
    return make_split(ids, labels, [(50, 10)] * len(labels), boxes, [f"kind {label}" for label in labels])


def a_layout(**splits: list[int]) -> Layout:
    return Layout(
        tuple("abcdef"), {name: a_split(name, labels) for name, labels in splits.items()}, Path("pictures")
    )


LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@given(LABELS, LABELS, st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_every_split_has_the_classes_that_were_drawn_and_no_more_images_than_asked_for(
    train: list[int], test: list[int], classes: int, images: int, seed: int
) -> None:
    whole = a_layout(train=train, test=test)
    shared = set(train) & set(test)
    if len(shared) < classes:
        with pytest.raises(ValueError, match=rf"{classes} classes are asked for, and {len(shared)} have"):
            sample(whole, classes, images, seed)
        return
    drawn = sample(whole, classes, images, seed)
    assert drawn.classes == tuple(sorted(drawn.classes)) and len(drawn.classes) == classes
    for name, labels in (("train", train), ("test", test)):
        split, rows = drawn.splits[name], {image: row for row, image in enumerate(whole.splits[name].ids)}
        there = [labels.count("abcdef".index(of)) for of in drawn.classes]
        assert np.bincount(split.labels).tolist() == [min(images, count) for count in there]
        found = [rows[image] for image in split.ids]
        assert found == sorted(found)
        # Each image keeps its class by name, its box and its subset.
        assert [drawn.classes[label] for label in split.labels] == ["abcdef"[labels[row]] for row in found]
        assert [boxes[0, 0] for boxes in split.boxes] == found
        assert split.subsets == tuple(f"kind {labels[row]}" for row in found)


def test_the_same_seed_draws_the_same_images_and_another_one_others() -> None:
    whole = a_layout(train=[0, 1, 2, 3, 4, 5] * 20, test=[5, 4, 3, 2, 1, 0] * 20)
    assert sample(whole, 3, 2, seed=1) == sample(whole, 3, 2, seed=1) != sample(whole, 3, 2, seed=2)


@pytest.mark.parametrize(("classes", "images", "seed"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_numbers_out_of_range_are_refused(classes: int, images: int, seed: int) -> None:
    with pytest.raises(
        ValueError, match=f"{classes} classes, {images} images of each and seed {seed} cannot"
    ):
        sample(a_layout(train=[0]), classes, images, seed)


def test_a_written_data_set_is_read_back(tmp_path: Path) -> None:
    whole = a_layout(train=[0, 1, 2], test=[3, 4])
    write_wsol(whole, tmp_path)
    (tmp_path / "images").mkdir()
    assert read_wsol(tmp_path) == Layout(whole.classes, whole.splits, tmp_path / "images")
