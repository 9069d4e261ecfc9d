import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fakes import annotation, edit, fake_ilsvrc, official_from_kaggle, write_image

import vitol.datasets.imagenet
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.ilsvrc import read_ilsvrc
from vitol.datasets.register import load, register
from vitol.datasets.splits import cut_by_hash, make_split, write_split
from vitol.datasets.wsol import read_wsol, scan_wsol


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


def test_every_form_is_named_with_what_it_lacks_where_none_is_found(tmp_path: Path) -> None:
    add = "add it, or give the folder that holds all of it"
    assert faults_of(tmp_path) == [
        f".: not Kaggle's download: no LOC_synset_mapping.txt, LOC_val_solution.csv, Data/CLS-LOC/val; {add}",
        ".: not an unpacked ILSVRC2017_CLS-LOC.tar.gz: no Annotations/CLS-LOC/val, Data/CLS-LOC/val; " + add,
        ".: not unpacked archives of ILSVRC2012: no ILSVRC2012_bbox_val_v3, ILSVRC2012_img_val; " + add,
    ]
    (tmp_path / "ILSVRC/Data/CLS-LOC/val").mkdir(parents=True)
    assert [report.split(";")[0] for report in faults_of(tmp_path)][:2] == [
        ".: not Kaggle's download: no LOC_synset_mapping.txt, LOC_val_solution.csv",
        ".: not an unpacked ILSVRC2017_CLS-LOC.tar.gz: no ILSVRC/Annotations/CLS-LOC/val",
    ]


def test_what_kaggle_s_download_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
    assert [report.split(";")[0] for report in faults_of(tmp_path)] == [
        "LOC_synset_mapping.txt: no such file or directory",
        "Data/CLS-LOC/val: no such folder",
    ]


def test_kaggle_s_download_may_keep_its_images_in_a_folder_ilsvrc(root: Path) -> None:
    before = read_ilsvrc(root)
    (root / "ILSVRC").mkdir()
    (root / "Data").rename(root / "ILSVRC/Data")
    after = read_ilsvrc(root)
    assert after.splits == before.splits
    assert after.images == root / "ILSVRC/Data/CLS-LOC"


def with_train_images(root: Path) -> Path:
    write_image(root / "Data/CLS-LOC/train/n02/n02_2.JPEG", size=(20, 10))
    write_image(root / "Data/CLS-LOC/train/n01/n01_7.JPEG")
    return root


@pytest.mark.parametrize("nested", [False, True])
def test_the_archive_of_2017_gives_the_splits_of_kaggle_s(root: Path, tmp_path: Path, nested: bool) -> None:
    place = tmp_path / "official" / ("ILSVRC" if nested else "")
    official_from_kaggle(with_train_images(root), place)
    if nested:
        (place / "LOC_synset_mapping.txt").rename(place.parent / "LOC_synset_mapping.txt")
    kaggle, official = read_ilsvrc(root), read_ilsvrc(tmp_path / "official")
    assert official.splits == kaggle.splits
    assert official.classes == kaggle.classes
    assert official.images == place / "Data/CLS-LOC"


@pytest.mark.parametrize("flat", [False, True])
def test_the_archives_of_2012_give_the_splits_of_kaggle_s_but_for_the_folder_in_their_ids(
    root: Path, tmp_path: Path, flat: bool
) -> None:
    place = official_from_kaggle(with_train_images(root), tmp_path / "official", archives_of_2012=True)
    if flat:
        for file in (place / "ILSVRC2012_bbox_val_v3/val").iterdir():
            file.rename(place / "ILSVRC2012_bbox_val_v3" / file.name)
        (place / "ILSVRC2012_bbox_val_v3/val").rmdir()
    kaggle, official = read_ilsvrc(root).splits, read_ilsvrc(place).splits
    for name, folder in (("train", "train"), ("test", "val")):
        expected = [image.replace(f"{folder}/", f"ILSVRC2012_img_{folder}/", 1) for image in kaggle[name].ids]
        assert official[name].ids == tuple(expected)
        assert official[name].subsets == kaggle[name].subsets
        assert (official[name].labels == kaggle[name].labels).all()
        assert (official[name].sizes == kaggle[name].sizes).all()
        assert all(map(np.array_equal, official[name].boxes, kaggle[name].boxes))


def test_without_kaggle_s_mapping_the_classes_are_those_of_imagenet_s_heads(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = official_from_kaggle(root, tmp_path / "official")
    (place / "LOC_synset_mapping.txt").unlink()
    for file in (place / "Annotations/CLS-LOC/val").iterdir():
        text = file.read_text()
        for short, synset in (("n01", "n01440764"), ("n02", "n15075141"), ("n03", "n01484850")):
            text = text.replace(f"<name>{short}</name>", f"<name>{synset}</name>")
        file.write_text(text)
    layout = read_ilsvrc(place)
    assert len(layout.classes) == 1000
    assert layout.classes[0] == "tench, Tinca tinca"
    assert layout.splits["test"].labels.tolist() == [0, 999, 2, 0, 999, 2, 0]
    monkeypatch.setattr(vitol.datasets.imagenet, "INFO", Path("nowhere"))
    assert faults_of(place) == [
        "LOC_synset_mapping.txt: not there, and timm has no imagenet_synsets.txt; "
        "copy Kaggle's LOC_synset_mapping.txt to the data set"
    ]


def test_all_faults_of_the_xml_files_come_in_one_error(root: Path, tmp_path: Path) -> None:
    place = official_from_kaggle(fake_ilsvrc(tmp_path / "ten", images=10), tmp_path / "official")
    boxes = place / "Annotations/CLS-LOC/val"
    (boxes / "val_001.xml").write_text("<annotation><object></annotation>")
    (boxes / "val_002.xml").write_text(annotation(["n02", "n01"], ["1 2 3 4", "1 2 3 4"]))
    (boxes / "val_003.xml").write_text(annotation(["n99"], ["1 2 3 4"]))
    (boxes / "val_004.xml").write_text(annotation([], []))
    (boxes / "val_005.xml").write_text(annotation(["n02"], ["1 2 3 x"]).replace("<width>40</width>", ""))
    (boxes / "val_006.xml").write_text(annotation(["n03"], ["1 2 3 4"], size=(30, 40)))
    (boxes / "val_007.xml").unlink()
    (place / "Data/CLS-LOC/val/val_008.JPEG").unlink()
    (boxes / "val_009.xml").write_text(annotation(["n01"], ["1 2 50 4"]))
    (boxes / "val_010.xml").write_text(annotation(["n01"], ["50 2 1 4"]))
    (place / "Data/CLS-LOC/train").mkdir()
    where, restore = "Annotations/CLS-LOC/val/val_00", "restore the file, or leave the image out"
    assert faults_of(place) == [
        "Data/CLS-LOC/train: no image in it; unpack the train images, or remove the empty folder",
        f"{where}1.xml: not well-formed XML: mismatched tag: line 1, column 22; copy the official file",
        f"{where}2.xml: objects of several classes: n02, n01; an image has one: correct their <name>",
        f"{where}3.xml: 'n99' is no synset of LOC_synset_mapping.txt; correct the <name>",
        f"{where}4.xml: no object; give an <object> with the class and a box",
        f"{where}5.xml: no size of whole pixels from 1; give <size> with <width> and <height>",
        f"{where}5.xml: object 0 has the box ['1', '2', '3', 'x']; give numbers as xmin, ymin, xmax, ymax",
        f"val/val_007.JPEG: no file {where}7.xml; restore it, or leave the image out",
        f"val/val_008.JPEG: no such image file; {restore}",
        "val/val_006.JPEG: 40x30 and not 30x40, as its text file says; "
        "boxes are measured by the size in the text file: correct it",
        "val/val_009.JPEG: boxes[0] = (1, 2, 50, 4) leaves its image of 40x30; correct it or have it clipped",
        "val/val_010.JPEG: boxes[0] = (50, 2, 1, 4) ends before it starts; "
        "boxes are (x0, y0, x1, y1) with inclusive corners, not (x, y, width, height)",
    ]


def test_what_an_official_download_lacks_is_named(root: Path, tmp_path: Path) -> None:
    place = official_from_kaggle(root, tmp_path / "official", archives_of_2012=True)
    shutil.rmtree(place / "ILSVRC2012_bbox_val_v3")
    assert [report.split(";")[0] for report in faults_of(place)] == ["ILSVRC2012_bbox_val_v3: no such folder"]
    (place / "ILSVRC2012_bbox_val_v3").mkdir()
    shutil.rmtree(place / "ILSVRC2012_img_val")
    assert [report.split(";")[0] for report in faults_of(place)] == ["ILSVRC2012_img_val: no such folder"]
    (place / "ILSVRC2012_img_val").mkdir()
    assert [report.split(";")[0] for report in faults_of(place)] == [
        "ILSVRC2012_img_val: no image that can be used"
    ]


def pack(archive: Path, folder: Path) -> None:
    """Pack what a folder holds, and remove the folder."""
    with tarfile.open(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)
    shutil.rmtree(folder)


def test_the_commands_that_a_fault_gives_unpack_the_archives(root: Path, tmp_path: Path) -> None:
    place = official_from_kaggle(with_train_images(root), tmp_path / "official", archives_of_2012=True)
    before = read_ilsvrc(place)
    train = place / "ILSVRC2012_img_train"
    for folder in sorted(train.iterdir()):
        pack(train / f"{folder.name}.tar", folder)
    (inner,) = faults_of(place)
    assert inner.startswith(
        "ILSVRC2012_img_train: 2 archives still packed, the first n01.tar; run `(cd ILSVRC2012_img_train && for f"
    )
    pack(place / "ILSVRC2012_img_train.tar", train)
    pack(place / "ILSVRC2012_img_val.tar", place / "ILSVRC2012_img_val")
    pack(place / "ILSVRC2012_bbox_val_v3.tgz", place / "ILSVRC2012_bbox_val_v3")
    reports = faults_of(place)
    name = "ILSVRC2012_img_val"
    assert reports[0] == (
        f"{name}.tar: still packed; run `mkdir -p {name} && tar -xf {name}.tar -C {name}` in its folder"
    )
    assert len(reports) == 3
    for report in reports:
        command = report.split("`")[1]
        subprocess.run(command, shell=True, cwd=place, check=True)
    assert read_ilsvrc(place) == before
    assert sorted(path.name for path in train.iterdir()) == ["n01", "n02"]


def test_the_archive_of_2017_is_found_while_it_is_packed(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "official"
    official_from_kaggle(root, place / "ILSVRC")
    (place / "ILSVRC/LOC_synset_mapping.txt").rename(place / "LOC_synset_mapping.txt")
    before = read_ilsvrc(place)
    with tarfile.open(place / "ILSVRC2017_CLS-LOC.tar.gz", "w:gz") as file:
        file.add(place / "ILSVRC", "ILSVRC")
    shutil.rmtree(place / "ILSVRC")
    (report,) = faults_of(place)
    name = "ILSVRC2017_CLS-LOC.tar.gz"
    assert report == f"{name}: still packed; run `tar -xzf {name}` in its folder"
    subprocess.run(report.split("`")[1], shell=True, cwd=place, check=True)
    assert read_ilsvrc(place) == before
    assert before.splits["test"].ids[0] == "val/val_001.JPEG"


def test_what_only_begins_like_an_archive_is_none(root: Path, tmp_path: Path) -> None:
    place = official_from_kaggle(root, tmp_path / "official", archives_of_2012=True)
    shutil.rmtree(place / "ILSVRC2012_img_val")
    for ending in ("torrent", "txt", "tar.part"):
        (place / f"ILSVRC2012_img_val.{ending}").write_text("no archive")
    assert [report.split(";")[0] for report in faults_of(place)] == ["ILSVRC2012_img_val: no such folder"]


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


def test_where_no_image_is_found_one_fault_says_where_they_were_looked_for(tmp_path: Path) -> None:
    ids = ["birds/a.jpg", "birds/b.jpg"]
    split = make_split(ids, [0, 0], [(40, 30)] * 2, [[(0, 0, 9, 9)]] * 2)
    write_split(split, tmp_path / "set/test")
    (fault,) = scan_wsol(tmp_path / "set").faults
    assert str(fault) == (
        ".: no image is found: there is no birds/a.jpg and no images/birds/a.jpg, nor any other one; "
        "put the folder that ids start from here as images/, or link it: ln -s FOLDER images"
    )
    write_image(tmp_path / "elsewhere/birds/b.jpg")
    (tmp_path / "set/images").symlink_to(tmp_path / "elsewhere")
    scan = scan_wsol(tmp_path / "set")  # that one image is missing is found when they are opened
    assert (scan.faults, scan.layout.images) == ((), tmp_path / "set/images")


def test_train_images_take_their_sizes_from_their_headers_where_no_file_has_them(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_split(make_split([f"{name}.jpg"], [0], [(40, 30)], [[(0, 0, 9, 9)]]), tmp_path / "set" / name)
        write_image(tmp_path / f"set/{name}.jpg")
    (tmp_path / "set/train/image_sizes.txt").unlink()
    register("wsol", tmp_path / "set", "mine", tmp_path / "registered")
    assert load("mine", tmp_path / "registered").splits["train"].sizes.tolist() == [[40, 30]]
    (tmp_path / "set/test/image_sizes.txt").unlink()
    with pytest.raises(DatasetFaults, match="test/image_sizes.txt: no such file"):
        register("wsol", tmp_path / "set", "mine", tmp_path / "registered")


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
