import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import (
    annotation,
    edit,
    fake_cub,
    fake_ilsvrc,
    fake_openimages,
    fake_tiny_imagenet,
    official_from_kaggle,
    truncate,
    write_image,
    write_mask,
)

from vitol.datasets.cub import read_cub
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.ilsvrc import read_ilsvrc
from vitol.datasets.openimages import read_openimages
from vitol.datasets.register import load, register
from vitol.datasets.registered import dataset_root, read_manifest
from vitol.datasets.splits import make_split, write_split
from vitol.datasets.tiny_imagenet import read_tiny_imagenet
from vitol.datasets.wsol import read_wsol


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_cub(tmp_path / "CUB_200_2011")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registered"


def faults_of(layout: str, root: Path, folder: Path, faults: str = "stop") -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        register(layout, root, "birds", folder, faults)  # type: ignore[arg-type]
    assert not folder.exists()
    return [str(fault) for fault in error.value.faults]


def test_a_registered_data_set_is_loaded_as_its_reader_reads_it(
    root: Path, folder: Path, tmp_path: Path
) -> None:
    for layout, place, expected in (
        ("cub", root, read_cub(root)),
        ("ilsvrc", fake_ilsvrc(tmp_path / "ILSVRC"), read_ilsvrc(tmp_path / "ILSVRC")),
        ("tiny-imagenet", fake_tiny_imagenet(tmp_path / "tiny"), read_tiny_imagenet(tmp_path / "tiny")),
        ("openimages", fake_openimages(tmp_path / "open"), read_openimages(tmp_path / "open")),
    ):
        register(layout, place, layout, folder)
        assert load(layout, folder) == expected


def test_a_data_set_in_the_split_format_is_registered(tmp_path: Path, folder: Path) -> None:
    sizes = [(40, 30), (20, 10)]
    split = make_split(
        ["a.jpg", "b/c.jpg"], [1, 0], sizes, [[(0, 0, 9, 9)], [(1, 2, 3, 4.5)]], ["plain", "part"]
    )
    write_split(split, tmp_path / "set/test")
    for image, size in zip(split.ids, sizes, strict=True):
        write_image(tmp_path / "set/images" / image, size)
    manifest = register("wsol", tmp_path / "set", "mine", folder)
    assert load("mine", folder) == read_wsol(tmp_path / "set")
    assert load("mine", folder).splits["test"] == split
    assert manifest["images"] == "images"


def test_the_manifest_counts_what_is_there(root: Path, folder: Path) -> None:
    write_image(root / "images/004.Ani/a.jpg", (50, 35))
    manifest = register("cub", root, "birds", folder)
    assert manifest == json.loads((folder / "birds.json").read_text()) == read_manifest("birds", folder)
    assert manifest["layout"] == "cub"
    assert manifest["classes"] == 2
    assert manifest["splits"] == {
        "train": {"images": 3, "boxes": 3, "width": [40, 50], "height": [30, 35]},
        "test": {"images": 2, "boxes": 2, "width": [40, 40], "height": [30, 30]},
    }
    assert (manifest["handling"], manifest["faults"]) == ("stop", [])


def test_no_file_but_the_root_file_holds_a_path_of_this_machine(
    root: Path, folder: Path, tmp_path: Path
) -> None:
    truncate(root / "images/004.Ani/a.jpg")
    (root / "images/017.Cardinal/c.jpg").unlink()
    (root / "images/017.Cardinal/c.jpg").mkdir()
    manifest = register("cub", root, "birds", folder, faults="drop")
    assert len(manifest["faults"]) == 2
    holding = [p.name for p in folder.rglob("*") if p.is_file() and str(tmp_path) in p.read_text()]
    assert holding == ["birds.root"]
    assert (folder / "birds.root").read_text() == f"{root}\n"


def test_the_fingerprint_stays_when_the_data_set_moves(root: Path, folder: Path, tmp_path: Path) -> None:
    before = register("cub", root, "birds", folder)
    moved = root.rename(tmp_path / "elsewhere")
    after = register("cub", moved, "birds", folder)
    assert before == after


def test_the_fingerprint_does_not_depend_on_the_order_of_the_images(root: Path, folder: Path) -> None:
    before = register("cub", root, "birds", folder)
    lines = (root / "images.txt").read_text().split("\n")
    (root / "images.txt").write_text("\n".join(reversed(lines)))
    after = register("cub", root, "birds", folder)
    assert load("birds", folder).splits["test"].ids == ("017.Cardinal/d.jpg", "004.Ani/b.jpg")
    assert before["fingerprint"] == after["fingerprint"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("bounding_boxes.txt", "2 0 0 40 30", "2 0 0 40 29.5"),
        ("image_class_labels.txt", "1 4", "1 17"),
        ("train_test_split.txt", "1 1\n2 0", "1 0\n2 1"),
        ("classes.txt", "004.Ani", "004.Jay"),
        ("images/004.Ani/a.jpg", "", ""),
    ],
)
def test_the_fingerprint_changes_with_the_data(
    root: Path, folder: Path, file: str, old: str, new: str
) -> None:
    before = register("cub", root, "birds", folder)
    if old:
        edit(root / file, old, new)
    else:
        write_image(root / file, seed=99)
    assert register("cub", root, "birds", folder)["fingerprint"] != before["fingerprint"]


def test_a_truncated_image_is_noticed(root: Path, folder: Path) -> None:
    truncate(root / "images/004.Ani/b.jpg")
    (report,) = faults_of("cub", root, folder)
    assert report.startswith("004.Ani/b.jpg: cannot be decoded: image file is truncated")
    assert report.endswith("; restore the file, or leave the image out")


def test_a_file_that_is_no_image_is_noticed(root: Path, folder: Path) -> None:
    (root / "images/004.Ani/b.jpg").write_text("<html>404</html>")
    assert faults_of("cub", root, folder) == [
        "004.Ani/b.jpg: not an image that Pillow knows; restore the file, or leave the image out"
    ]


def test_an_image_of_another_size_than_its_text_file_says_is_noticed(tmp_path: Path, folder: Path) -> None:
    write_split(make_split(["a.jpg"], [0], [(30, 40)], [[(0, 0, 9, 9)]]), tmp_path / "set/test")
    write_image(tmp_path / "set/a.jpg", (40, 30))
    assert faults_of("wsol", tmp_path / "set", folder) == [
        "a.jpg: 40x30 and not 30x40, as its text file says; "
        "boxes are measured by the size in the text file: correct it"
    ]


def spoil(root: Path) -> None:
    """One of each: a truncated image, a box outside, an upside-down box, an image without file and label."""
    truncate(root / "images/004.Ani/a.jpg")
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 0 0 41 30")
    edit(root / "bounding_boxes.txt", "3 5 5 30 20", "3 35 5 -30 20")
    edit(root / "image_class_labels.txt", "\n4 17", "")
    (root / "images/017.Cardinal/d.jpg").unlink()


def test_all_faults_come_in_one_report_and_nothing_is_written(root: Path, folder: Path) -> None:
    spoil(root)
    starts = [
        "017.Cardinal/d.jpg: no line in image_class_labels.txt; add one",
        "004.Ani/a.jpg: cannot be decoded: image file is truncated",
        "017.Cardinal/d.jpg: no such image file; restore the file",
        "017.Cardinal/c.jpg: boxes[0] = (35, 5, 5, 25) ends before it starts; boxes are (x0, y0, x1, y1)",
        "004.Ani/b.jpg: boxes[0] = (0, 0, 41, 30) leaves its image of 40x30; correct it or have it clipped",
    ]
    reports = faults_of("cub", root, folder)
    assert [report[: len(start)] for report, start in zip(reports, starts, strict=True)] == starts


def test_the_report_says_where_how_many_and_what_could_be_done(root: Path, folder: Path) -> None:
    spoil(root)
    with pytest.raises(DatasetFaults) as error:
        register("cub", root, "birds", folder)
    assert str(error.value).splitlines()[0] == (
        f"{root} is no sound cub data set, so nothing was written; boxes that --faults clip would clip: 1; "
        "images that --faults drop would leave out: 4 (faults: 5)"
    )


def test_the_report_lists_fifty_faults_of_many(tmp_path: Path, folder: Path) -> None:
    root = fake_ilsvrc(tmp_path / "ILSVRC", images=60)
    shutil.rmtree(root / "Data/CLS-LOC/val")
    (root / "Data/CLS-LOC/val").mkdir()
    with pytest.raises(DatasetFaults, match=r"\(faults: 60\)") as error:
        register("ilsvrc", root, "birds", folder)
    assert len(error.value.faults) == 60
    assert str(error.value).splitlines()[-1] == "  ... and 10 more"
    assert len(str(error.value).splitlines()) == 52


def test_boxes_that_leave_their_image_can_be_clipped(root: Path, folder: Path) -> None:
    sound = read_cub(root)
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 -3 0 44 30")
    manifest = register("cub", root, "birds", folder, faults="clip")
    assert manifest["handling"] == "clip"
    assert manifest["faults"] == [
        {
            "where": "004.Ani/b.jpg",
            "seen": "boxes[0] = (-3, 0, 41, 30) leaves its image of 40x30",
            "done": "clipped to (0, 0, 40, 30)",
        }
    ]
    assert load("birds", folder) == sound


def test_clipping_stops_at_faults_of_another_kind(root: Path, folder: Path) -> None:
    spoil(root)
    edit(root / "bounding_boxes.txt", "5 10 10 20 20", "5 40 10 20 20")
    reports = faults_of("cub", root, folder, faults="clip")
    assert len(reports) == 5
    assert not any("004.Ani/b.jpg" in report for report in reports)
    assert "boxes[0] = (40, 10, 60, 30) lies outside its image of 40x30" in "\n".join(reports)


def test_images_at_fault_can_be_left_out(root: Path, folder: Path) -> None:
    truncate(root / "images/004.Ani/a.jpg")
    edit(root / "image_class_labels.txt", "\n4 17", "")
    edit(root / "bounding_boxes.txt", "3 5 5 30 20", "3 35 5 -30 20")
    manifest = register("cub", root, "birds", folder, faults="drop")
    assert [(fault["where"], fault["done"]) for fault in manifest["faults"]] == [
        ("017.Cardinal/d.jpg", "image left out"),
        ("004.Ani/a.jpg", "image left out"),
        ("017.Cardinal/c.jpg", "image left out"),
    ]
    layout = load("birds", folder)
    assert {name: split.ids for name, split in layout.splits.items()} == {
        "train": ("004.Ani/e.jpg",),
        "test": ("004.Ani/b.jpg",),
    }
    assert layout.classes == ("Ani", "Cardinal")


def test_faults_that_are_no_image_s_cannot_be_dropped(root: Path, folder: Path) -> None:
    with (root / "bounding_boxes.txt").open("a") as file:
        file.write("\n9 0 0 1 1")
    assert faults_of("cub", root, folder, faults="drop") == [
        "bounding_boxes.txt:6: unknown image 9; list it among the images or take the line out"
    ]


def test_a_split_of_which_nothing_remains_is_refused(root: Path, folder: Path) -> None:
    truncate(root / "images/004.Ani/b.jpg")
    truncate(root / "images/017.Cardinal/d.jpg")
    with pytest.raises(ValueError, match="every image of test is at fault; correct them or take test away"):
        register("cub", root, "birds", folder, faults="drop")
    assert not folder.exists()


def test_an_image_to_be_scored_needs_a_box_but_a_train_image_does_not(tmp_path: Path, folder: Path) -> None:
    for name in ("train", "test"):
        split = make_split([f"{name}.jpg"], [0], [(40, 30)], [[(0, 0, 9, 9)]])
        write_split(split, tmp_path / "set" / name)
        (tmp_path / "set" / name / "localization.txt").write_text("")
        write_image(tmp_path / f"set/{name}.jpg")
    assert faults_of("wsol", tmp_path / "set", folder) == [
        "test.jpg: no box; images that are scored need at least one"
    ]


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is not a folder; give the one that holds the cub data set"):
        register("cub", tmp_path / "nowhere", "birds", folder)
    (tmp_path / "nowhere").write_text("a file")
    with pytest.raises(ValueError, match="nowhere is not a folder; give the one that holds the cub data set"):
        register("cub", tmp_path / "nowhere", "birds", folder)


def test_a_folder_in_another_layout_is_told_what_it_lacks(root: Path, folder: Path) -> None:
    reports = faults_of("ilsvrc", root, folder)
    assert [report.split(": no ")[0] for report in reports] == [
        ".: not Kaggle's download",
        ".: not an unpacked ILSVRC2017_CLS-LOC.tar.gz",
        ".: not unpacked archives of ILSVRC2012",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layout_name": "coco"},
            "'coco' is not known here; give one of cub, ilsvrc, tiny-imagenet, openimages, wsol",
        ),
        ({"faults": "ignore"}, "'ignore' is not known here; give one of stop, clip, drop"),
        ({"name": "../birds"}, r"'../birds' cannot name a data set; use letters, digits"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    root: Path, folder: Path, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        register(**{"layout_name": "cub", "root": root, "name": "birds", "folder": folder} | arguments)  # type: ignore[arg-type]


def test_registering_again_replaces_the_data_set_and_leaves_nothing_behind(root: Path, folder: Path) -> None:
    register("cub", root, "birds", folder)
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 1 1 9 9")
    register("cub", root, "birds", folder)
    assert load("birds", folder) == read_cub(root)
    assert sorted(path.name for path in folder.iterdir()) == ["birds.json", "birds.root", "birds.splits"]


def test_a_failed_registration_leaves_the_one_before_it(root: Path, folder: Path) -> None:
    before = register("cub", root, "birds", folder)
    truncate(root / "images/004.Ani/a.jpg")
    with pytest.raises(DatasetFaults):
        register("cub", root, "birds", folder)
    assert read_manifest("birds", folder) == before


def test_progress_counts_every_image_up_to_the_last(root: Path, folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    register("cub", root, "birds", folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_the_environment_comes_before_the_recorded_root(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("cub", root, "my-birds.2", folder)
    assert dataset_root("my-birds.2", folder) == root
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.setenv("VITOL_MY_BIRDS_2_ROOT", str(tmp_path / "copy"))
    assert dataset_root("my-birds.2", folder) == tmp_path / "copy"
    assert load("my-birds.2", folder).images == tmp_path / "copy/images"
    monkeypatch.setenv("VITOL_MY_BIRDS_2_ROOT", str(tmp_path / "gone"))
    with pytest.raises(
        ValueError, match="VITOL_MY_BIRDS_2_ROOT says that .* which is not a folder; set VITOL"
    ):
        dataset_root("my-birds.2", folder)


def test_a_data_set_that_is_not_registered_is_an_error_that_says_how(folder: Path) -> None:
    command = "run `vitol data register LAYOUT ROOT --name birds`"
    with pytest.raises(ValueError, match=f"VITOL_BIRDS_ROOT is not set and there is no .*; {command}"):
        dataset_root("birds", folder)
    with pytest.raises(ValueError, match=f"'birds' is not registered: there is no .*birds.json; {command}"):
        load("birds", folder)


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_a_text_file_that_has_changed_is_noticed(root: Path, folder: Path, change: str) -> None:
    register("cub", root, "birds", folder)
    if change == "edit":
        edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 0 0 40 29")
    else:
        (root / "bounding_boxes.txt").unlink()
    message = (
        "bounding_boxes.txt has changed since 'birds' was registered; run `vitol data register cub .* --name"
    )
    with pytest.raises(ValueError, match=message):
        load("birds", folder)


@pytest.mark.parametrize("change", ["edit", "remove", "add"])
def test_files_that_one_entry_of_the_manifest_stands_for_are_noticed_when_they_change(
    folder: Path, tmp_path: Path, change: str
) -> None:
    root = official_from_kaggle(fake_ilsvrc(tmp_path / "ILSVRC"), tmp_path / "official")
    manifest = register("ilsvrc", root, "birds", folder)
    boxes = root / "Annotations/CLS-LOC/val"
    assert list(manifest["metadata"]) == ["LOC_synset_mapping.txt", "Annotations/CLS-LOC/val/*.xml"]
    assert load("birds", folder).splits == read_ilsvrc(root).splits
    (boxes / "notes.txt").write_text("no annotation")
    load("birds", folder)
    if change == "remove":
        (boxes / "val_001.xml").unlink()
    else:
        name = "val_001.xml" if change == "edit" else "val_009.xml"
        (boxes / name).write_text(annotation(["n01"], ["1 2 3 4"]))
    with pytest.raises(ValueError, match=r"val/\*.xml has changed since 'birds' was registered; run `vitol"):
        load("birds", folder)


def test_an_official_set_has_kaggle_s_fingerprint(folder: Path, tmp_path: Path) -> None:
    kaggle = fake_ilsvrc(tmp_path / "ILSVRC")
    official = official_from_kaggle(kaggle, tmp_path / "official")
    before = register("ilsvrc", kaggle, "kaggle", folder)
    assert register("ilsvrc", official, "official", folder)["fingerprint"] == before["fingerprint"]


def test_a_manifest_of_boxes_says_nothing_of_masks(root: Path, folder: Path, tmp_path: Path) -> None:
    assert "masks" not in json.dumps(register("cub", root, "birds", folder))
    masked = register("openimages", fake_openimages(tmp_path / "open"), "open", folder)
    assert masked["splits"]["test"]["masks"] == 3
    assert "masks" not in masked["splits"]["train"]


def test_the_fingerprint_changes_with_a_mask(folder: Path, tmp_path: Path) -> None:
    root = fake_openimages(tmp_path / "open")
    before = register("openimages", root, "open", folder)
    write_mask(root / "test/0b/t2_m0.png", (0, 0, 1, 1), (80, 60))
    after = register("openimages", root, "open", folder)
    assert (before["records"], before["fingerprint"] == after["fingerprint"]) == (after["records"], False)
    edit(root / "test/localization.txt", "test/0a/t1_ignore.png", "")
    assert register("openimages", root, "open", folder)["records"] != after["records"]


def test_registered_splits_that_were_tampered_with_are_not_loaded(root: Path, folder: Path) -> None:
    register("cub", root, "birds", folder)
    edit(folder / "birds.splits/test/localization.txt", "004.Ani/b.jpg,0,0,40,30", "004.Ani/b.jpg,0,0,40,29")
    with pytest.raises(ValueError, match="birds.splits is not what .*birds.json describes; run `vitol data"):
        load("birds", folder)
    (folder / "birds.splits/test/localization.txt").unlink()
    with pytest.raises(ValueError, match="birds.splits has been damaged; run `vitol data register cub"):
        load("birds", folder)
    (folder / "birds.json").write_text("{")
    with pytest.raises(ValueError, match=r"birds.json is no manifest \(.*\); run `vitol data register"):
        load("birds", folder)


def test_the_real_data_sets_register_without_a_fault(shared: Path, folder: Path) -> None:
    cub = register("cub", shared / "data/CUB_200_2011", "cub", folder)
    assert cub["splits"] == {
        "train": {"images": 600, "boxes": 600, "width": [146, 256], "height": [124, 256]},
        "test": {"images": 585, "boxes": 585, "width": [96, 256], "height": [118, 256]},
    }
    ilsvrc = register("ilsvrc", shared / "data/ILSVRC", "ilsvrc", folder)
    assert ilsvrc["splits"] == {
        "test": {"images": 300, "boxes": 446, "width": [227, 227], "height": [227, 227]}
    }
    assert (cub["classes"], ilsvrc["classes"]) == (20, 1000)
    assert cub["faults"] == ilsvrc["faults"] == []
    assert load("ilsvrc", folder).splits["test"].subsets.count("val-cut") == 100
    assert np.concatenate(load("cub", folder).splits["train"].boxes).shape == (600, 4)
