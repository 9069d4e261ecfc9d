from pathlib import Path

import numpy as np
import pytest
from fakes import edit, fake_cub, fake_ilsvrc, truncate, write_image
from PIL import Image

from vitol.datasets.cub import read_cub
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.ilsvrc import read_ilsvrc
from vitol.datasets.layout import Layout, needs_validation_cut, with_validation_cut
from vitol.datasets.register import register
from vitol.datasets.splits import cut_by_hash, make_split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_cub(tmp_path / "CUB_200_2011")


def faults_of(root: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        read_cub(root)
    return [str(fault) for fault in error.value.faults]


def test_labels_are_contiguous_in_the_order_of_class_numbers(root: Path) -> None:
    layout = read_cub(root)
    assert layout.classes == ("Ani", "Cardinal")
    assert layout.images == root / "images"
    assert list(layout.splits) == ["train", "test"]
    assert layout.splits["train"].ids == ("004.Ani/a.jpg", "017.Cardinal/c.jpg", "004.Ani/e.jpg")
    assert layout.splits["test"].ids == ("004.Ani/b.jpg", "017.Cardinal/d.jpg")
    assert layout.splits["train"].labels.tolist() == [0, 1, 0]
    assert layout.splits["test"].labels.tolist() == [0, 1]


def test_class_numbers_are_ordered_as_numbers_not_as_text(root: Path) -> None:
    edit(root / "classes.txt", "4 004.Ani", "100 100.Ani")
    text = (root / "image_class_labels.txt").read_text()
    (root / "image_class_labels.txt").write_text(text.replace(" 4", " 100"))
    assert read_cub(root).classes == ("Cardinal", "Ani")
    assert read_cub(root).splits["train"].labels.tolist() == [1, 0, 1]


def test_boxes_reach_from_x_to_x_plus_width_and_sizes_come_from_the_images(root: Path) -> None:
    train = read_cub(root).splits["train"]
    assert train.boxes[0].tolist() == [[1.5, 2, 12, 22]]
    assert train.sizes.tolist() == [[40, 30]] * 3


@pytest.mark.parametrize(
    "name",
    ["classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"],
)
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    assert faults_of(root) == [f"{name}: no such file or directory; the data set needs this text file"]


def test_a_folder_without_the_layout_is_told_all_it_lacks(tmp_path: Path) -> None:
    assert [line.split(":")[0] for line in faults_of(tmp_path)] == [
        "classes.txt",
        "images.txt",
        "image_class_labels.txt",
        "train_test_split.txt",
        "bounding_boxes.txt",
        "images",
    ]


def test_all_faults_come_in_one_error(root: Path) -> None:
    edit(root / "image_class_labels.txt", "1 4\n", "")
    edit(root / "train_test_split.txt", "2 0", "2 2")
    edit(root / "bounding_boxes.txt", "3 5 5 30 20", "3 5 5 30 26\n9 0 0 1 1")
    edit(root / "bounding_boxes.txt", "1 1.5 2 10.5 20", "1 1.5 2 10.5")
    (root / "images/017.Cardinal/d.jpg").unlink()
    with (root / "classes.txt").open("a") as file:
        file.write("\nx 018.Jay\n17 018.Jay")
    box, one = (
        "box as four numbers x y width height",
        "give each class one line that starts with its whole number",
    )
    clip = "correct it or have it clipped"
    assert faults_of(root) == [
        f"classes.txt:3: 'x' for a class; {one}",
        f"classes.txt:4: class 17 a second time; {one}",
        "004.Ani/a.jpg: no line in image_class_labels.txt; add one with the number of a class in classes.txt",
        "train_test_split.txt:2: '2' for 004.Ani/b.jpg; give the split, 1 for train and 0 for test",
        "bounding_boxes.txt:1: 4 fields in '1 1.5 2 10.5'; a line is 'image x y width height'",
        "bounding_boxes.txt:4: unknown image 9; list it among the images or take the line out",
        f"004.Ani/a.jpg: no line in bounding_boxes.txt; add one with the {box}",
        "017.Cardinal/d.jpg: no such image file; restore the file, or leave the image out",
        f"017.Cardinal/c.jpg: boxes[0] = (5, 5, 35, 31) leaves its image of 40x30; {clip}",
    ]


def test_a_class_that_is_not_listed_is_reported(root: Path) -> None:
    edit(root / "classes.txt", "\n17 017.Cardinal", "")
    reports = faults_of(root)
    assert reports[:2] == [
        "image_class_labels.txt:3: '17' for 017.Cardinal/c.jpg; give the number of a class in classes.txt",
        "image_class_labels.txt:4: '17' for 017.Cardinal/d.jpg; give the number of a class in classes.txt",
    ]


def test_an_image_listed_twice_is_reported(root: Path) -> None:
    edit(root / "images.txt", "2 004.Ani/b.jpg", "2 004.Ani/b.jpg\n6 004.Ani/b.jpg\n2 f.jpg")
    assert [report.split(";")[0] for report in faults_of(root)] == [
        "images.txt:3: 6 004.Ani/b.jpg a second time",
        "images.txt:4: 2 f.jpg a second time",
        "f.jpg: no such image file",
    ]


def test_a_data_set_without_test_images_is_reported(root: Path) -> None:
    (root / "train_test_split.txt").write_text("1 1\n2 1\n3 1\n4 1\n5 1\n")
    assert faults_of(root) == [
        "train_test_split.txt: no test image that can be used; CUB has a test split: copy the official file"
    ]


def test_headers_are_enough_to_read(root: Path) -> None:
    truncate(root / "images/004.Ani/a.jpg")
    assert len(read_cub(root).splits["train"]) == 3


def forty(boxed: bool = True) -> Layout:
    ids = [f"{i}.jpg" for i in range(45)]
    train = make_split(
        ids, range(45), [(9, 9)] * 45, [[(0, 0, i / 5, 9)] if boxed else [] for i in range(45)]
    )
    test = make_split(["t.jpg"], [0], [(9, 9)], [[(0, 0, 9, 9)]])
    return Layout(tuple(map(str, range(45))), {"train": train, "test": test}, Path("birds"))


def test_the_validation_cut_moves_a_tenth_of_the_train_images_by_their_hash() -> None:
    before, after = forty(), with_validation_cut(forty())
    train, val = after.splits["train"], after.splits["val"]
    cut = cut_by_hash(before.splits["train"].ids, 4)
    assert list(after.splits) == ["train", "val", "test"]
    assert val == before.splits["train"].select(cut)
    assert len(val) == 4
    assert set(train.ids) | set(val.ids) == set(before.splits["train"].ids)
    assert not set(train.ids) & set(val.ids)
    assert after.splits["test"] == before.splits["test"]
    assert [boxes[0, 2] for boxes in val.boxes] == [label / 5 for label in val.labels]


def test_a_validation_split_is_cut_only_where_one_is_missing_and_can_be_had() -> None:
    with pytest.raises(ValueError, match="birds has a split val of its own: use it, nothing has to be cut"):
        with_validation_cut(with_validation_cut(forty()))
    with pytest.raises(ValueError, match="has no box, so it cannot serve for validation"):
        with_validation_cut(forty(boxed=False))
    few = Layout(("a",), {"test": forty().splits["test"]}, Path("birds"))
    with pytest.raises(ValueError, match="birds has 0 train images; a tenth for validation needs 10"):
        with_validation_cut(few)


def test_a_cut_is_needed_where_train_images_have_boxes_and_there_is_no_validation_split(
    tmp_path: Path,
) -> None:
    whole = forty()
    assert needs_validation_cut(whole)
    assert not needs_validation_cut(with_validation_cut(whole))
    assert not needs_validation_cut(forty(boxed=False))
    assert not needs_validation_cut(Layout(("a",), {"test": whole.splits["test"]}, Path("birds")))
    few = read_cub(fake_cub(tmp_path / "cub"))
    assert needs_validation_cut(few)  # and cannot be had: that is said, not passed over
    with pytest.raises(ValueError, match="has 3 train images; a tenth for validation needs 10"):
        with_validation_cut(few)
    assert not needs_validation_cut(read_ilsvrc(fake_ilsvrc(tmp_path / "ilsvrc")))


def test_the_real_images_are_read_as_they_are(shared: Path) -> None:
    root = shared / "data/CUB_200_2011"
    layout = read_cub(root)
    train, test = layout.splits["train"], layout.splits["test"]
    assert (len(train), len(test), len(layout.classes)) == (600, 585, 20)
    assert layout.classes[:2] == ("Groove_billed_Ani", "Brewer_Blackbird")
    assert np.bincount(train.labels).tolist() == [30] * 20
    assert {len(boxes) for split in (train, test) for boxes in split.boxes} == {1}
    # Image 2 of images.txt, looked up by hand.
    at = train.ids.index("004.Groove_billed_Ani/Groove_Billed_Ani_0004_1528.jpg")
    assert train.boxes[at].tolist() == [[148.5, 49.7, 148.5 + 74.2, 49.7 + 72.7]]
    with Image.open(layout.images / train.ids[at]) as image:
        assert tuple(train.sizes[at]) == image.size
    assert needs_validation_cut(layout)
    assert len(with_validation_cut(layout).splits["val"]) == 60


@pytest.mark.parametrize("path", ["/etc/x.jpg", "../../x.jpg"])
def test_an_image_outside_the_data_set_is_not_opened_and_cannot_be_dropped(
    root: Path, tmp_path: Path, path: str
) -> None:
    edit(root / "images.txt", "1 004.Ani/a.jpg", f"1 {path}")
    edit(root / "images.txt", "4 017.Cardinal/d.jpg", f"4 {path}.jpg")
    edit(root / "image_class_labels.txt", "\n4 17", "")
    write_image(tmp_path / "x.jpg")
    with pytest.raises(DatasetFaults) as error:
        register("cub", root, "birds", tmp_path / "registered", faults="drop")
    remedy = "ids are paths below the image root, with forward slashes"
    assert [str(fault) for fault in error.value.faults] == [
        f"images.txt:1: '{path}' is no relative path; {remedy}",
        f"images.txt:4: '{path}.jpg' is no relative path; {remedy}",
    ]
    assert not (tmp_path / "registered").exists()
