from pathlib import Path

import numpy as np
import pytest
from fakes import edit, fake_ilsvrc, write_image

from vitol.datasets.faults import DatasetFaults
from vitol.datasets.ilsvrc import read_ilsvrc
from vitol.datasets.splits import cut_by_hash, make_split, write_split
from vitol.datasets.wsol import read_wsol


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_ilsvrc(tmp_path / "ILSVRC")


def faults_of(root: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        read_ilsvrc(root)
    return [str(fault) for fault in error.value.faults]


def test_the_validation_images_are_the_test_split(root: Path) -> None:
    layout = read_ilsvrc(root)
    test = layout.splits["test"]
    assert list(layout.splits) == ["test"]
    assert layout.classes == ("great white shark", "tench, Tinca", "crane")
    assert layout.images == root / "Data/CLS-LOC"
    assert test.ids == tuple(f"val/val_{i:03d}.JPEG" for i in range(1, 8))
    assert test.labels.tolist() == [1, 2, 0, 1, 2, 0, 1]
    assert [len(boxes) for boxes in test.boxes] == [1, 2, 1, 2, 1, 2, 1]
    assert test.boxes[1].tolist() == [[1, 2, 12, 20], [0, 0, 40, 30]]
    assert test.sizes.tolist() == [[40, 30]] * 7


def test_a_third_of_the_test_images_is_cut_for_validation_by_hash(tmp_path: Path) -> None:
    test = read_ilsvrc(fake_ilsvrc(tmp_path / "ILSVRC", images=8)).splits["test"]
    assert [subset == "val-cut" for subset in test.subsets] == cut_by_hash(test.ids, 2).tolist()
    assert sorted(test.subsets) == ["test-cut"] * 6 + ["val-cut"] * 2


def test_train_images_take_their_label_from_their_folder(root: Path) -> None:
    write_image(root / "Data/CLS-LOC/train/n02/n02_2.JPEG", size=(20, 10))
    write_image(root / "Data/CLS-LOC/train/n02/n02_1.JPEG")
    write_image(root / "Data/CLS-LOC/train/n01/n01_7.JPEG")
    train = read_ilsvrc(root).splits["train"]
    assert train.ids == ("train/n01/n01_7.JPEG", "train/n02/n02_1.JPEG", "train/n02/n02_2.JPEG")
    assert train.labels.tolist() == [1, 2, 2]
    assert train.sizes.tolist() == [[40, 30], [40, 30], [20, 10]]
    assert [boxes.shape for boxes in train.boxes] == [(0, 4)] * 3


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert [report.split(";")[0] for report in faults_of(tmp_path)] == [
        "LOC_synset_mapping.txt: no such file or directory",
        "LOC_val_solution.csv: no such file or directory",
        "Data/CLS-LOC/val: no such folder",
    ]


def test_all_faults_come_in_one_error(root: Path) -> None:
    solution = root / "LOC_val_solution.csv"
    edit(solution, "val_001,n01 1 2 11 20", "val_001,n01 11 2 1 20")
    edit(solution, "val_002,n02 1 2 12 20 n02", "val_002,n02 1 2 12 20 n01")
    edit(solution, "val_003,n03 1 2 13 20", "val_003,n99 1 2 13 20")
    edit(solution, "val_004,n01 1 2 14 20 n01 0 0 40 30", "val_004,n01 1 2 14")
    edit(solution, "val_005,n02 1 2 15 20 \n", "")
    edit(solution, "val_006,n03 1 2 16 20", "val_006,n03 1 2 16 31")
    edit(solution, "val_007,n01 1 2 17 20", "val_007,")
    with solution.open("a") as file:
        file.write("val_006,n03 1 2 16 20\nval_008,n03 1 2 16 20\nnonsense\n")
    (root / "LOC_synset_mapping.txt").write_text("n03 shark\nn01 tench\nn02 crane\nn02 crane")
    (root / "Data/CLS-LOC/train/n77").mkdir(parents=True)
    holds = "boxes as groups of synset x0 y0 x1 y1, all with one synset of LOC_synset_mapping.txt"
    restore = "restore the file, or leave the image out"
    assert faults_of(root) == [
        "LOC_synset_mapping.txt:4: n02 a second time; copy the official file",
        "Data/CLS-LOC/train/n77: no synset of LOC_synset_mapping.txt; "
        "every train image lies in its synset's folder",
        "Data/CLS-LOC/train: no image in it; unpack the train images, or remove the empty folder",
        f"LOC_val_solution.csv:2: '' for val/val_007.JPEG; give the {holds}",
        f"LOC_val_solution.csv:4: 'n01 1 2 14' for val/val_004.JPEG; give the {holds}",
        f"LOC_val_solution.csv:5: 'n99 1 2 13 20' for val/val_003.JPEG; give the {holds}",
        f"LOC_val_solution.csv:6: 'n02 1 2 12 20 n01 0 0 40 30' for val/val_002.JPEG; give the {holds}",
        "LOC_val_solution.csv:8: second line of val/val_006.JPEG; keep one of them",
        "LOC_val_solution.csv:10: 1 fields in 'nonsense'; a line is 'ImageId,PredictionString'",
        f"val/val_005.JPEG: no line in LOC_val_solution.csv; add one with the {holds}",
        f"val/val_008.JPEG: no such image file; {restore}",
        "val/val_001.JPEG: boxes[0] = (11, 2, 1, 20) ends before it starts; "
        "boxes are (x0, y0, x1, y1) with inclusive corners, not (x, y, width, height)",
    ]


def test_a_solution_without_header_is_reported(root: Path) -> None:
    edit(root / "LOC_val_solution.csv", "ImageId,PredictionString\n", "")
    assert faults_of(root)[0] == (
        "LOC_val_solution.csv:1: no header; the first line is 'ImageId,PredictionString'"
    )


def test_the_real_images_are_read_as_they_are(shared: Path) -> None:
    layout = read_ilsvrc(shared / "data/ILSVRC")
    test = layout.splits["test"]
    assert (len(test), sum(map(len, test.boxes)), len(layout.classes)) == (300, 446, 1000)
    assert test.subsets.count("val-cut") == 100
    assert layout.classes[:3] == ("tench", "goldfish", "great white shark")
    # The first line of the solution file, looked up by hand: n02165105 is line 301 of the mapping.
    assert test.ids[0] == "val/ILSVRC2012_val_00000361.JPEG"
    assert test.boxes[0].tolist() == [[38, 53, 190, 202]]
    assert test.labels[0] == 300
    assert (test.sizes == 227).all()


def test_a_data_set_in_the_split_format_is_read(tmp_path: Path) -> None:
    split = make_split(["a/b.jpg"], [1], [(40, 30)], [[(0, 0, 9, 9)]], ["plain"])
    write_split(split, tmp_path / "test")
    (tmp_path / "classes.txt").write_text("tench\ncrane, grey")
    layout = read_wsol(tmp_path)
    assert layout.splits == {"test": split}
    assert layout.classes == ("tench", "crane, grey")


def test_the_split_format_finds_images_under_the_root_or_its_image_folder(tmp_path: Path) -> None:
    write_split(make_split(["images/a.jpg"], [1], [(40, 30)], [[(0, 0, 9, 9)]]), tmp_path / "test")
    assert read_wsol(tmp_path).images == tmp_path
    write_image(tmp_path / "images/a.jpg")
    assert read_wsol(tmp_path).images == tmp_path
    (tmp_path / "images/images").mkdir()
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/images/a.jpg")
    assert read_wsol(tmp_path).images == tmp_path / "images"


def test_classes_without_names_are_called_by_their_number(tmp_path: Path) -> None:
    split = make_split(["a.jpg", "b.jpg"], [2, 0], [(40, 30)] * 2, [[(0, 0, 9, 9)]] * 2)
    write_split(split, tmp_path / "val")
    assert read_wsol(tmp_path).classes == ("0", "1", "2")


def test_faults_between_the_splits_of_one_data_set_are_reported(tmp_path: Path) -> None:
    split = make_split(["a.jpg", "b.jpg"], [0, 2], [(40, 30)] * 2, [[(0, 0, 9, 9)]] * 2)
    write_split(split, tmp_path / "train")
    write_split(split.select(np.array([True, False])), tmp_path / "test")
    (tmp_path / "classes.txt").write_text("tench\ncrane\n")
    with pytest.raises(DatasetFaults) as error:
        read_wsol(tmp_path)
    assert [str(fault) for fault in error.value.faults] == [
        "b.jpg: label 2 of 2 classes, which are counted from 0; correct the label or the classes",
        "a.jpg: stands in train and in test; splits share no image: take it out of one",
    ]


def test_a_folder_without_splits_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetFaults, match="no folder train, val, test; a data set has at least one"):
        read_wsol(tmp_path)
