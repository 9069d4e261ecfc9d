import json
import shutil
from pathlib import Path

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

from vitol.datasets.checking import check
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.register import register


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registered"


@pytest.fixture
def root(tmp_path: Path, folder: Path) -> Path:
    """A registered CUB."""
    root = fake_cub(tmp_path / "CUB_200_2011")
    register("cub", root, "birds", folder)
    return root


def faults_of(name: str, folder: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        check(name, folder)
    return [str(fault) for fault in error.value.faults]


def test_what_has_not_changed_is_counted(root: Path, folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = check("birds", folder, lambda done, total: calls.append((done, total)))
    assert (found.images, found.masks, found.files) == ({"train": 3, "test": 2}, 0, 5)
    assert found.root == root
    assert calls == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize("layout", ["ilsvrc", "official", "tiny-imagenet", "openimages"])
def test_every_layout_can_be_checked(layout: str, tmp_path: Path, folder: Path) -> None:
    makers = {"ilsvrc": fake_ilsvrc, "tiny-imagenet": fake_tiny_imagenet, "openimages": fake_openimages}
    if layout == "official":
        root = official_from_kaggle(fake_ilsvrc(tmp_path / "kaggle"), tmp_path / "set")
    else:
        root = makers[layout](tmp_path / "set")
    register("ilsvrc" if layout == "official" else layout, root, "some", folder)
    found = check("some", folder)
    assert sum(found.images.values()) == {"tiny-imagenet": 7, "openimages": 5}.get(layout, 7)
    assert found.masks == (6 if layout == "openimages" else 0)


def test_everything_that_has_changed_comes_in_one_error(root: Path, folder: Path) -> None:
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 0 0 40 29")
    (root / "train_test_split.txt").unlink()
    write_image(root / "images/004.Ani/a.jpg", (50, 35))
    truncate(root / "images/004.Ani/b.jpg")
    (root / "images/017.Cardinal/c.jpg").unlink()
    restore = "restore it, or register again"
    before = sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    reports = faults_of("birds", folder)
    assert [report for report in reports if "b.jpg" not in report] == [
        f"train_test_split.txt: is gone since the data set was registered; {restore}",
        f"bounding_boxes.txt: has changed since the data set was registered; {restore}",
        f"004.Ani/a.jpg: its content is not what was registered; {restore}",
        f"017.Cardinal/c.jpg: no such image file; {restore}",
    ]
    (truncated,) = [report for report in reports if "b.jpg" in report]
    assert truncated.startswith("004.Ani/b.jpg: cannot be decoded: image file is truncated")
    assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == before


def test_the_error_says_where_and_how_to_register_again(root: Path, folder: Path) -> None:
    truncate(root / "images/004.Ani/b.jpg")
    with pytest.raises(DatasetFaults) as error:
        check("birds", folder)
    assert str(error.value).startswith(
        f"{root} is not what was registered as 'birds'; restore it, or run `vitol data register cub {root} "
        "--name birds --faults stop` (faults: 1)"
    )


def test_a_file_or_an_image_that_is_new_is_noticed(tmp_path: Path, folder: Path) -> None:
    kaggle = fake_ilsvrc(tmp_path / "kaggle")
    write_image(kaggle / "Data/CLS-LOC/train/n01/n01_1.JPEG")
    root = official_from_kaggle(kaggle, tmp_path / "set")
    register("ilsvrc", root, "some", folder)
    write_image(root / "Data/CLS-LOC/train/n01/n01_2.JPEG")
    assert faults_of("some", folder) == [
        "train/n01/n01_2.JPEG: was not there when it was registered; take it away, or register again"
    ]
    (root / "Annotations/CLS-LOC/val/val_009.xml").write_text(annotation(["n01"], ["1 2 3 4"]))
    changed, *new = faults_of("some", folder)
    assert changed.startswith("Annotations/CLS-LOC/val/*.xml: has changed since the data set was registered")
    assert [report.split(":")[0] for report in new] == ["train/n01/n01_2.JPEG", "val/val_009.JPEG"]


@pytest.mark.parametrize("handling", ["stop", "drop"])
def test_what_registering_would_refuse_is_not_what_was_registered(
    tmp_path: Path, folder: Path, handling: str
) -> None:
    kaggle, tiny = fake_ilsvrc(tmp_path / "kaggle"), fake_tiny_imagenet(tmp_path / "tiny")
    write_image(kaggle / "Data/CLS-LOC/train/n01/n01_1.JPEG")
    if handling == "drop":
        edit(kaggle / "LOC_val_solution.csv", "val_003,n03 1 2 13 20 \n", "")
        truncate(tiny / "train/n01/images/n01_1.JPEG")
    for layout, root in (("ilsvrc", kaggle), ("tiny-imagenet", tiny)):
        register(layout, root, layout, folder, faults=handling)  # type: ignore[arg-type]
        check(layout, folder)
    write_image(kaggle / "Data/CLS-LOC/val/val_009.JPEG")
    write_image(kaggle / "Data/CLS-LOC/train/n77/n77_1.JPEG")
    write_image(kaggle / "Data/CLS-LOC/train/n01/n01_2.JPEG")
    assert [report.split(";")[0] for report in faults_of("ilsvrc", folder)] == [
        "Data/CLS-LOC/train/n77: no synset of LOC_synset_mapping.txt",
        "val/val_009.JPEG: no line in LOC_val_solution.csv",
        "train/n01/n01_2.JPEG: was not there when it was registered",
    ]
    write_image(tiny / "val/images/val_9.JPEG", (64, 64))
    write_image(tiny / "train/n02/images/n02_9.JPEG", (64, 64))
    assert [report.split(";")[0] for report in faults_of("tiny-imagenet", folder)] == [
        "train/n02/images/n02_9.JPEG: no line in train/n02/n02_boxes.txt",
        "val/images/val_9.JPEG: no line in val/val_annotations.txt",
    ]


def test_an_image_that_was_left_out_for_its_mask_is_not_new(tmp_path: Path, folder: Path) -> None:
    root = fake_openimages(tmp_path / "set")
    truncate(root / "test/0a/t1_m1.png")
    register("openimages", root, "some", folder, faults="drop")
    assert check("some", folder).images["test"] == 1


def test_an_optional_file_that_is_new_is_noticed(tmp_path: Path, folder: Path) -> None:
    root = fake_openimages(tmp_path / "set")
    register("openimages", root, "some", folder)
    (root / "classes.txt").write_text("ant\nbee\n")
    assert faults_of("some", folder) == [
        "classes.txt: is new since the data set was registered; restore it, or register again"
    ]


def test_a_changed_mask_is_noticed(tmp_path: Path, folder: Path) -> None:
    root = fake_openimages(tmp_path / "set")
    register("openimages", root, "some", folder)
    write_mask(root / "test/0b/t2_m0.png", (0, 0, 1, 1), (80, 60))
    (root / "test/0a/t1_ignore.png").unlink()
    assert [report.split(";")[0] for report in faults_of("some", folder)] == [
        "test/0a/t1_ignore.png: no such mask file",
        "test/0b/t2_m0.png: its content is not what was registered",
    ]
    with pytest.raises(DatasetFaults) as error:
        check("some", folder)
    assert [fault.image for fault in error.value.faults] == ["test/0a/t1.jpg", "test/0b/t2.jpg"]


def test_images_that_were_left_out_are_not_asked_for(root: Path, folder: Path) -> None:
    truncate(root / "images/004.Ani/b.jpg")
    register("cub", root, "birds", folder, faults="drop")
    assert check("birds", folder).images == {"train": 3, "test": 1}


def test_a_copy_at_another_place_is_checked_there(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "copy")
    truncate(root / "images/004.Ani/b.jpg")
    monkeypatch.setenv("VITOL_BIRDS_ROOT", str(tmp_path / "copy"))
    assert check("birds", folder).root == tmp_path / "copy"


def test_a_registration_that_says_too_little_has_to_be_made_again(root: Path, folder: Path) -> None:
    contents, manifest = folder / "birds.splits/contents.txt", folder / "birds.json"
    again = f"run `vitol data register cub {root} --name birds"
    text = contents.read_text()
    contents.unlink()
    with pytest.raises(
        ValueError, match=f"contents.txt is not there, so no image can be compared.*; {again}"
    ):
        check("birds", folder)
    contents.write_text(text.replace("a.jpg,", "a.jpg,0"))
    with pytest.raises(ValueError, match=f"contents.txt is not what .*birds.json describes; {again}"):
        check("birds", folder)
    contents.write_text(text)
    said = json.loads(manifest.read_text())
    del said["fingerprint"], said["records"]
    manifest.write_text(json.dumps(said))
    with pytest.raises(
        ValueError,
        match=f"birds.json does not say fingerprint, records, so nothing can be compared .*; {again}",
    ):
        check("birds", folder)
