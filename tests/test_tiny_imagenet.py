import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes import edit, fake_tiny_imagenet, truncate, write_image

from vitol.datasets.faults import DatasetFaults
from vitol.datasets.layout import needs_validation_cut, with_validation_cut
from vitol.datasets.register import load, register
from vitol.datasets.tiny_imagenet import read_tiny_imagenet


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_tiny_imagenet(tmp_path / "tiny-imagenet-200")


def faults_of(root: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        read_tiny_imagenet(root)
    return [str(fault) for fault in error.value.faults]


def test_labels_follow_the_order_of_wnids_and_names_come_from_words(root: Path) -> None:
    layout = read_tiny_imagenet(root)
    assert layout.classes == ("crane", "tench, Tinca tinca")
    assert layout.images == root
    assert list(layout.splits) == ["train", "test"]
    assert layout.splits["train"].labels.tolist() == [0, 0, 1, 1]
    assert layout.splits["test"].labels.tolist() == [0, 0, 1]


def test_the_official_validation_images_are_the_test_split(root: Path) -> None:
    test = read_tiny_imagenet(root).splits["test"]
    assert test.ids == ("val/images/val_0.JPEG", "val/images/val_1.JPEG", "val/images/val_2.JPEG")
    assert [boxes.tolist() for boxes in test.boxes] == [[[0, 0, 63, 63]], [[3, 3, 9, 9]], [[1, 2, 33, 44]]]
    assert test.sizes.tolist() == [[64, 64]] * 3


def test_every_train_image_has_the_box_of_its_class_s_file(root: Path) -> None:
    train = read_tiny_imagenet(root).splits["train"]
    assert train.ids[2:] == ("train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG")
    assert np.concatenate(train.boxes)[2:].tolist() == [[0, 1, 42, 38], [5, 5, 63, 64]]


def test_unlabelled_test_images_are_not_read(root: Path) -> None:
    truncate(root / "test/images/test_0.JPEG")
    assert len(read_tiny_imagenet(root).splits["test"]) == 3


def test_a_folder_without_the_layout_is_told_all_it_lacks(tmp_path: Path) -> None:
    assert [line.split(";")[0] for line in faults_of(tmp_path)] == [
        "wnids.txt: no such file or directory",
        "words.txt: no such file or directory",
        "train: no such folder",
        "val/images: no such folder",
        "val/val_annotations.txt: no such file",
    ]


def test_all_faults_come_in_one_error(root: Path) -> None:
    (root / "wnids.txt").write_text("n02\nn01\nn02\nn04\n")
    edit(root / "train/n01/n01_boxes.txt", "n01_0.JPEG\t0\t1\t42\t38", "n01_0.JPEG\t0\t1\t42")
    edit(root / "train/n02/n02_boxes.txt", "n02_0.JPEG\t0\t0\t64\t64", "n02_0.JPEG\t0\t0\t65\t64")
    edit(root / "train/n02/n02_boxes.txt", "n02_1.JPEG\t9\t8\t20\t21", "n02_1.JPEG\t9\t8\t20\tx")
    write_image(root / "train/n02/images/n02_7.JPEG", (64, 64))
    (root / "train/n77").mkdir()
    annotations = root / "val/val_annotations.txt"
    edit(annotations, "val_0.JPEG\tn02", "val_0.JPEG\tn03")
    edit(
        annotations, "val_1.JPEG\tn02\t3\t3\t9\t9", "val_1.JPEG\tn02\t3\t3\t9\t9\nval_1.JPEG\tn02\t0\t0\t9\t9"
    )
    with annotations.open("a") as file:
        file.write("val_9.JPEG\tn01\t0\t0\t9\t9\n")
    box = "box as four numbers x0 y0 x1 y1"
    boxes = "train/n02/n02_boxes.txt"
    assert faults_of(root) == [
        "wnids.txt:3: n02 a second time; copy the official file",
        "wnids.txt:4: n04 has no name in words.txt; add its line to words.txt",
        "train/n77: no synset of wnids.txt; every train image lies in its synset's folder",
        f"{boxes}:2: '9 8 20 x' for train/n02/images/n02_1.JPEG; give the {box}",
        f"train/n02/images/n02_7.JPEG: no line in {boxes}; add one with the {box}",
        "train/n01/n01_boxes.txt:1: 4 fields in 'n01_0.JPEG\\t0\\t1\\t42'; a line is 'image x0 y0 x1 y1'",
        f"train/n01/images/n01_0.JPEG: no line in train/n01/n01_boxes.txt; add one with the {box}",
        "train/n04: no such folder; wnids.txt lists this class: restore its images",
        "val/val_annotations.txt:2: 'n03 0 0 63 63' for val/images/val_0.JPEG; "
        f"give the synset, one of wnids.txt, and the {box}",
        "val/val_annotations.txt:4: second line of val/images/val_1.JPEG; keep one of them",
        "val/images/val_9.JPEG: no such image file; restore the file, or leave the image out",
        "train/n02/images/n02_0.JPEG: boxes[0] = (0, 0, 65, 64) leaves its image of 64x64; "
        "correct it or have it clipped",
    ]


def test_a_class_without_its_file_of_boxes_and_a_split_without_images_are_reported(root: Path) -> None:
    (root / "train/n01/n01_boxes.txt").unlink()
    (root / "val/val_annotations.txt").write_text("")
    reports = [line.split(";")[0] for line in faults_of(root)]
    assert "train/n01/n01_boxes.txt: no such file or directory" in reports
    assert "val: no image that can be used" in reports


def test_a_changed_file_of_boxes_is_noticed(root: Path, tmp_path: Path) -> None:
    register("tiny-imagenet", root, "tiny", tmp_path / "registered")
    edit(root / "train/n01/n01_boxes.txt", "42\t38", "42\t37")
    with pytest.raises(ValueError, match=r"train/\*/\*_boxes.txt has changed since 'tiny' was registered"):
        load("tiny", tmp_path / "registered")


def test_the_real_images_are_read_as_they_are(shared: Path, tmp_path: Path) -> None:
    archive = shared / "data/tiny-imagenet-12.zip"
    if not archive.exists():
        pytest.skip(f"no {archive.name} in the shared folder")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    layout = read_tiny_imagenet(tmp_path / "tiny-imagenet-200")
    train, test = layout.splits["train"], layout.splits["test"]
    assert (len(train), len(test), len(layout.classes)) == (3000, 600, 12)
    assert np.bincount(train.labels).tolist() == [250] * 12
    assert np.bincount(test.labels).tolist() == [50] * 12
    assert layout.classes[:2] == ("slug", "dugong, Dugong dugon")
    assert {len(boxes) for split in (train, test) for boxes in split.boxes} == {1}
    assert (train.sizes == 64).all() and (test.sizes == 64).all()
    # The first line of val_annotations.txt, looked up by hand.
    at = test.ids.index("val/images/val_79.JPEG")
    assert (test.labels[at], test.boxes[at].tolist()) == (0, [[16, 11, 63, 55]])
    assert needs_validation_cut(layout)
    assert len(with_validation_cut(layout).splits["val"]) == 300


@pytest.mark.parametrize("path", ["/etc/x.JPEG", "../../../x.JPEG"])
def test_an_image_outside_the_data_set_is_not_opened_and_cannot_be_dropped(
    root: Path, tmp_path: Path, path: str
) -> None:
    with (root / "val/val_annotations.txt").open("a") as file:
        file.write(f"{path}\tn01\t1\t2\t3\t4\n../y.JPEG\tn99\t1\t2\t3\t4\n")
    with pytest.raises(DatasetFaults) as error:
        register("tiny-imagenet", root, "tiny", tmp_path / "registered", faults="drop")
    stopping = [(fault.where, fault.seen) for fault in error.value.faults if "relative" in fault.seen]
    assert ("val/val_annotations.txt:5", "'val/images/../y.JPEG' is no relative path") in stopping
    if ".." in path:
        assert ("test, image 1", f"'val/images/{path}' is no relative path") in stopping
    assert not (tmp_path / "registered").exists()
