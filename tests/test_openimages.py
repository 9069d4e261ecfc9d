from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import edit, fake_openimages, truncate, write_image, write_mask
from PIL import Image

from vitol.datasets.checking import check
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.layout import needs_validation_cut
from vitol.datasets.openimages import read_openimages
from vitol.datasets.register import load, register
from vitol.datasets.splits import make_split, read_split, write_split
from vitol.datasets.wsol import read_wsol
from vitol.pxap import IGNORED
from vitol.split_masks import SplitMaskReader, joined_mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_openimages(tmp_path / "OpenImages")


def faults_of(root: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        read_openimages(root)
    return [str(fault) for fault in error.value.faults]


def test_masks_are_listed_with_what_is_left_out(root: Path) -> None:
    layout = read_openimages(root)
    assert list(layout.splits) == ["train", "val", "test"]
    train, test = layout.splits["train"], layout.splits["test"]
    assert test.ids == ("test/0a/t1.jpg", "test/0b/t2.jpg")
    assert test.masks == (("test/0a/t1_m0.png", "test/0a/t1_m1.png"), ("test/0b/t2_m0.png",))
    assert test.ignores == ("test/0a/t1_ignore.png", "")
    assert (train.masks, train.ignores) == ((), ())
    assert test.sizes.tolist() == [[40, 30]] * 2
    assert [len(boxes) for boxes in test.boxes] == [0, 0]
    assert not needs_validation_cut(layout)


def test_images_and_masks_may_lie_in_a_folder_of_their_own(root: Path) -> None:
    before = read_openimages(root).splits
    for split in ("train", "val", "test"):
        for folder in (path for path in (root / split).iterdir() if path.is_dir()):
            (root / "images" / split).mkdir(parents=True, exist_ok=True)
            folder.rename(root / "images" / split / folder.name)
    after = read_openimages(root)
    assert (after.splits, after.images) == (before, root / "images")


def test_classes_are_called_by_their_folder_where_they_have_one_of_their_own(root: Path) -> None:
    assert read_openimages(root).classes == ("0a", "0b")
    for file in ("image_ids", "class_labels"):
        edit(root / f"train/{file}.txt", "train/0b/b.jpg", "train/0a/b.jpg")
    (root / "train/0b/b.jpg").rename(root / "train/0a/b.jpg")
    assert read_openimages(root).classes == ("0a", "1")
    (root / "classes.txt").write_text("ant\nbee\n")
    assert read_openimages(root).classes == ("ant", "bee")


def test_all_faults_come_in_one_error(root: Path) -> None:
    listed = root / "test/localization.txt"
    edit(
        listed, "test/0a/t1.jpg,test/0a/t1_m1.png,", "test/0a/t1.jpg,test/0a/t1_m1.png,test/0a/t1_ignore.png"
    )
    edit(listed, "test/0b/t2.jpg,test/0b/t2_m0.png,", "test/0b/t2.jpg,,")
    with listed.open("a") as file:
        file.write("test/0a/t9.jpg,test/0a/t9_m0.png,\ntest/0a/t1.jpg\n")
    edit(root / "test/class_labels.txt", "test/0a/t1.jpg,0", "test/0a/t1.jpg,x")
    edit(root / "val/localization.txt", "val/0a/v1_m0.png", "../v1_m0.png")
    truncate(root / "val/0a/v1_ignore.png")
    (root / "train/0a/a.jpg").unlink()
    restore = "restore the file, or leave the image out"
    reports = faults_of(root)
    assert reports[:5] == [
        "test/class_labels.txt:1: 'x' for test/0a/t1.jpg; give the label, a whole number from 0",
        "test/localization.txt:2: a second ignore file for test/0a/t1.jpg: test/0a/t1_ignore.png; "
        "only an image's first line names one: join them in one file",
        "test/localization.txt:3: no mask for test/0b/t2.jpg; give the path of its mask",
        "test/localization.txt:4: unknown image test/0a/t9.jpg; add it to image_ids.txt or take the line out",
        "test/localization.txt:5: 1 fields in 'test/0a/t1.jpg'; a line is 'path,mask,ignore'",
    ]
    assert f"train/0a/a.jpg: no such image file; {restore}" in reports
    assert not any(report.startswith("../v1_m0.png") for report in reports)  # it is not looked for
    assert (
        "val/0a/v1.jpg: mask '../v1_m0.png' is no relative path; "
        "masks are paths below the image root, with forward slashes"
    ) in reports


def test_a_damaged_mask_is_noticed_when_the_set_is_registered_and_its_image_can_be_dropped(
    root: Path, tmp_path: Path
) -> None:
    truncate(root / "test/0a/t1_m1.png")
    with pytest.raises(DatasetFaults) as error:
        register("openimages", root, "open", tmp_path / "registered")
    (fault,) = error.value.faults
    assert (fault.where, fault.image) == ("test/0a/t1_m1.png", "test/0a/t1.jpg")
    assert fault.seen.startswith("cannot be decoded")
    register("openimages", root, "open", tmp_path / "registered", faults="drop")
    assert load("open", tmp_path / "registered").splits["test"].ids == ("test/0b/t2.jpg",)


def test_an_image_that_is_scored_needs_a_mask(root: Path) -> None:
    edit(root / "test/localization.txt", "test/0b/t2.jpg,test/0b/t2_m0.png,\n", "")
    assert faults_of(root) == ["test/0b/t2.jpg: no mask; images that are scored need at least one"]


def test_boxes_in_place_of_masks_are_refused(root: Path) -> None:
    (root / "test/localization.txt").write_text("test/0a/t1.jpg,0,0,9,9\ntest/0b/t2.jpg,0,0,9,9\n")
    assert faults_of(root) == [
        "test/localization.txt: most lines have no three fields; "
        "a line is 'path,mask,ignore'; boxes are layout wsol"
    ]


def test_an_empty_list_of_masks_is_one_fault(root: Path) -> None:
    (root / "test/localization.txt").write_text("")
    assert faults_of(root) == ["test/localization.txt: lists no mask; a line is 'path,mask,ignore'"]


@pytest.mark.parametrize("path", ["/etc/mask.png", "../mask.png"])
def test_a_mask_outside_the_data_set_is_not_opened_and_cannot_be_dropped(
    root: Path, tmp_path: Path, path: str
) -> None:
    write_mask(root.parent / "mask.png", (0, 0, 9, 9))
    edit(root / "val/localization.txt", "val/0a/v1_m0.png", path)
    edit(root / "test/localization.txt", "t1_m1.png,", f"t1_m1.png,{path}")
    with pytest.raises(DatasetFaults) as error:
        register("openimages", root, "open", tmp_path / "registered", faults="drop")
    assert [fault.seen for fault in error.value.faults] == [
        f"a second ignore file for test/0a/t1.jpg: {path}",
        f"mask '{path}' is no relative path",
    ]
    assert not (tmp_path / "registered").exists()


def test_a_path_may_be_an_image_and_a_mask(root: Path, tmp_path: Path) -> None:
    listed = root / "test/localization.txt"
    edit(listed, "test/0b/t2.jpg,test/0b/t2_m0.png,", "test/0b/t2.jpg,test/0b/t2.jpg,\n" * 2)
    listed.write_text(listed.read_text().replace("\n\n", "\n"))
    register("openimages", root, "open", tmp_path / "registered")
    assert check("open", tmp_path / "registered").images == {"train": 2, "val": 1, "test": 2}


def test_a_registered_set_is_loaded_with_its_masks(root: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    register("openimages", root, "open", tmp_path / "registered", progress=lambda *done: calls.append(done))
    assert load("open", tmp_path / "registered") == read_openimages(root)
    assert calls[-1] == (11, 11)  # five images, four masks, two ignore files


def test_a_split_with_masks_is_read_as_it_was_written_with_and_without_sizes(tmp_path: Path) -> None:
    masks, ignores = [("a1.png", "a2.png"), ("b.png",)], ["", "b_ignore.png"]
    for sizes in ([(40, 30), (20, 10)], [(0, 0), (0, 0)]):
        split = make_split(["a.jpg", "b.jpg"], [0, 1], sizes, [[], []], masks=masks, ignores=ignores)
        write_split(split, tmp_path / "test")
        assert read_split(tmp_path / "test") == split
        assert (tmp_path / "test/image_sizes.txt").exists() == bool(sizes[0][0])
    assert (
        tmp_path / "test/localization.txt"
    ).read_text() == "a.jpg,a1.png,\na.jpg,a2.png,\nb.jpg,b.png,b_ignore.png\n"
    other = make_split(["a.jpg", "b.jpg"], [0, 1], sizes, [[], []], masks=masks, ignores=["", ""])
    assert other != split
    assert split.select(np.array([False, True])).masks == (("b.png",),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": [("a.png",), ()]}, "b.jpg: no mask; images that are scored need at least one"),
        ({"masks": [("a.png",), ("/b.png",)]}, "b.jpg: mask '/b.png' is no relative path"),
        (
            {"masks": [("a,1.png",), ("b.png",)]},
            "a.jpg: mask 'a,1.png' holds a character that the format cannot",
        ),
        ({"boxes": [[(0, 0, 9, 9)], []]}, "a.jpg: boxes beside masks; localization.txt holds boxes or masks"),
        ({"sizes": [(40, 30), (0, 0)]}, "b.jpg: size 0x0; sizes are pixels from 1"),
        (
            {"masks": [("a.png",), ()], "ignores": ["", "b_ignore.png"]},
            "b.jpg: ignore file b_ignore.png without a mask",
        ),
    ],
)
def test_a_split_with_masks_that_could_not_be_read_back_is_not_written(
    tmp_path: Path, changes: dict, message: str
) -> None:
    fields = {
        "sizes": [(40, 30)] * 2,
        "boxes": [[], []],
        "masks": [("a.png",), ("b.png",)],
        "ignores": ["", ""],
    }
    split = make_split(["a.jpg", "b.jpg"], [0, 1], **(fields | changes))
    with pytest.raises(DatasetFaults) as error:
        write_split(split, tmp_path / "test")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("masks", "ignores"), [([("a.png",)], [""]), ([("a.png",), ("b.png",)], [])])
def test_masks_and_ignores_come_for_every_image_or_for_none(masks: list, ignores: list) -> None:
    with pytest.raises(ValueError, match="2 ids need 2 tuples of masks and 2 ignore files, or none, not"):
        make_split(["a.jpg", "b.jpg"], [0, 1], [(9, 9)] * 2, [[], []], masks=masks, ignores=ignores)


def test_a_set_in_the_split_format_may_have_masks(root: Path, tmp_path: Path) -> None:
    layout = read_openimages(root)
    for name in ("val", "test"):
        write_split(layout.splits[name], tmp_path / "set" / name)
    again = read_wsol(tmp_path / "set").splits
    assert again == {name: layout.splits[name] for name in ("val", "test")}


def by_the_reference(root: Path, masks: tuple[str, ...], ignore: str, side: int) -> np.ndarray:
    """What the reference evaluator makes of mask files, written down anew."""

    def scaled(file: str) -> np.ndarray:
        grey = np.float32(cv2.imread(str(root / file), cv2.IMREAD_GRAYSCALE))
        return cv2.resize(grey, (side, side), interpolation=cv2.INTER_NEAREST) > 0.5

    found = np.stack([scaled(file) for file in masks]).any(axis=0)
    left_out = scaled(ignore) & ~found if ignore else np.zeros_like(found)
    return found.astype(np.uint8) + IGNORED * left_out.astype(np.uint8)


def test_an_object_is_the_union_of_its_masks_and_wins_over_what_is_left_out(root: Path) -> None:
    layout = read_openimages(root)
    test = layout.splits["test"]
    reader = SplitMaskReader(test, layout.images)
    assert len(reader) == 2
    for row in range(2):
        expected = by_the_reference(root, test.masks[row], test.ignores[row], 224)
        np.testing.assert_array_equal(reader[row], expected)
    mask = joined_mask(layout.images, test.masks[0], test.ignores[0], (40, 30))
    assert (mask[:10, :10] == 1).all() and (mask[20:, 30:] == 1).all()
    assert (mask[10:15, 5:15] == IGNORED).all() and (mask[5:15, 10:15] == IGNORED).all()
    assert (mask == 1).sum() == 200 and (mask == IGNORED).sum() == 75
    assert reader.faults == []


def test_masks_of_any_size_are_joined_after_they_are_scaled(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", (0, 0, 20, 30), (40, 30))
    write_mask(tmp_path / "b.png", (3, 0, 4, 3), (4, 3))
    mask = joined_mask(tmp_path, ("a.png", "b.png"), "", (8, 6))
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0, 1, 1]] * 6


def test_any_value_of_a_mask_of_16_bits_is_object_where_the_reference_cuts_8_bits_off(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255, 256]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert joined_mask(tmp_path, ("a.png",), "", (4, 1)).tolist() == [[0, 1, 1, 1]]
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_GRAYSCALE).tolist() == [[0, 0, 0, 1]]


def test_a_mask_that_cannot_be_read_is_left_out_and_reported(root: Path) -> None:
    layout = read_openimages(root)
    truncate(root / "test/0a/t1_m1.png")
    (root / "test/0b/t2_m0.png").unlink()
    reader = SplitMaskReader(layout.splits["test"], layout.images, size=(8, 6))
    assert (reader[1] == IGNORED).all() and reader[0].shape == (6, 8)
    assert [str(fault) for fault in reader.faults] == [
        "test/0a/t1_m1.png: cannot be decoded; write it again as PNG",
        "test/0b/t2_m0.png: no such file; restore the mask",
    ]


def test_a_reader_needs_masks_and_their_folder(root: Path) -> None:
    layout = read_openimages(root)
    with pytest.raises(
        ValueError, match="the split lists no masks in its localization.txt; give one that does"
    ):
        SplitMaskReader(layout.splits["train"], root)
    with pytest.raises(ValueError, match="nowhere is not a folder; give the one that the masks' paths start"):
        SplitMaskReader(layout.splits["test"], root / "nowhere")


def test_a_mask_of_another_size_than_its_image_is_no_fault(root: Path) -> None:
    write_image(root / "test/0b/t2.jpg", (41, 31))
    assert read_openimages(root).splits["test"].sizes.tolist() == [[40, 30], [41, 31]]
