import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from fakes import edit
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol.datasets.faults import DatasetFaults, Fault, box_faults
from vitol.datasets.splits import Split, cut_by_hash, make_split, read_split, write_split

# Control characters other than the two line ends are nobody's file name, but they must survive all the same.
characters = st.characters(exclude_characters=",\r\n", exclude_categories=["Cs"])
names = st.text(characters, min_size=1, max_size=8).filter(lambda t: t[0] != "/" and ".." not in t.split("/"))


@st.composite
def splits(draw: st.DrawFn) -> Split:
    ids = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    sizes = [draw(st.tuples(st.integers(1, 9999), st.integers(1, 9999))) for _ in ids]
    boxes: list[list[tuple[float, float, float, float]]] = []
    for width, height in sizes:
        rows = []
        for _ in range(draw(st.integers(0, 3))):
            xs = sorted(draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
            ys = sorted(draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
            rows.append((xs[0], ys[0], xs[1], ys[1]))
        boxes.append(rows)
    labels = draw(st.lists(st.integers(0, 10**9 - 1), min_size=len(ids), max_size=len(ids)))
    subsets = draw(st.lists(names, min_size=len(ids), max_size=len(ids))) if draw(st.booleans()) else []
    return make_split(ids, labels, sizes, boxes, subsets)


def a_split(**changes: object) -> Split:
    fields = {
        "ids": ("a.jpg", "b/c.jpg"),
        "labels": np.array([0, 3]),
        "sizes": np.array([[40, 30], [20, 10]]),
        "boxes": (np.array([[0.0, 0, 40, 30], [1.5, 2, 3, 4.25]]), np.array([[5.0, 5, 20, 10]])),
    }
    return Split(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_split(a_split(), tmp_path / "test")
    return tmp_path / "test"


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(DatasetFaults) as error:
        read_split(folder)
    return [str(fault) for fault in error.value.faults]


@settings(max_examples=60, deadline=None)
@given(splits())
def test_what_is_written_is_read_back(split: Split) -> None:
    with TemporaryDirectory() as temporary:
        write_split(split, Path(temporary, "train"))
        assert read_split(Path(temporary, "train")) == split


def test_the_four_files_look_as_published(folder: Path) -> None:
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "image_ids.txt": "a.jpg\nb/c.jpg\n",
        "class_labels.txt": "a.jpg,0\nb/c.jpg,3\n",
        "image_sizes.txt": "a.jpg,40,30\nb/c.jpg,20,10\n",
        "localization.txt": "a.jpg,0,0,40,30\na.jpg,1.5,2,3,4.25\nb/c.jpg,5,5,20,10\n",
    }


def test_splits_that_differ_in_any_field_are_not_equal() -> None:
    others = [
        a_split(ids=("a.jpg", "c.jpg")),
        a_split(labels=np.array([0, 2])),
        a_split(sizes=np.array([[40, 30], [20, 11]])),
        a_split(boxes=(np.array([[0.0, 0, 40, 30]]), np.array([[5.0, 5, 20, 10]]))),
        a_split(subsets=("plain", "part")),
    ]
    assert a_split() == a_split()
    assert all(other != a_split() for other in others)


def test_the_last_newline_may_be_missing_and_lines_may_end_as_on_windows(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n"))
    assert read_split(folder) == a_split()


def test_boxes_may_be_listed_in_any_order_of_images(folder: Path) -> None:
    (folder / "localization.txt").write_text("b/c.jpg,5,5,20,10\na.jpg,0,0,40,30\na.jpg,1.5,2,3,4.25")
    assert read_split(folder) == a_split()


def test_only_a_train_split_may_lack_its_boxes(folder: Path) -> None:
    (folder / "localization.txt").unlink()
    assert faults_of(folder) == [
        "test/localization.txt: no such file or directory; the data set needs this text file"
    ]
    train = folder.rename(folder.with_name("train"))
    assert [boxes.shape for boxes in read_split(train).boxes] == [(0, 4), (0, 4)]


def test_an_image_to_be_scored_without_a_box_is_reported(folder: Path) -> None:
    edit(folder / "localization.txt", "b/c.jpg,5,5,20,10\n", "")
    assert faults_of(folder) == ["b/c.jpg: no box; images that are scored need at least one"]


def test_all_faults_of_a_folder_come_in_one_error(folder: Path) -> None:
    (folder / "image_ids.txt").write_text("a.jpg\nb/c.jpg\na.jpg\nd.jpg\ne.jpg\nf.jpg\ng.jpg,1\n../h.jpg\n")
    (folder / "class_labels.txt").write_text("a.jpg,0\nb/c.jpg,-1\nd.jpg\ne.jpg,1\nf.jpg,1.0\n../h.jpg,1\n")
    (folder / "image_sizes.txt").write_text("a.jpg,40,30\nb/c.jpg,20,10\nd.jpg,0,5\nf.jpg,9,9\n../h.jpg,9,9")
    (folder / "localization.txt").write_text(
        "a.jpg,9,9,2,2\na.jpg,0,0,41,30\na.jpg,50,0,60,5\nzzz.jpg,0,0,1,1\nf.jpg,0,0,nan,1\n"
        "b/c.jpg,1,2,3\n../h.jpg,0,0,1,1\n\n"
    )
    corners = "boxes are (x0, y0, x1, y1) with inclusive corners, not (x, y, width, height)"
    label, size = "give the label, a whole number from 0", "give the width and height in whole pixels, from 1"
    assert faults_of(folder) == [
        "test/image_ids.txt:3: a.jpg a second time; list every image once",
        "test/image_ids.txt:7: 2 fields in 'g.jpg,1'; a line is 'path'",
        "test/image_ids.txt:8: '../h.jpg' is no relative path; "
        "ids are paths below the image root, with forward slashes",
        f"test/class_labels.txt:2: '-1' for b/c.jpg; {label}",
        "test/class_labels.txt:3: 1 fields in 'd.jpg'; a line is 'path,label'",
        f"test/class_labels.txt:5: '1.0' for f.jpg; {label}",
        f"d.jpg: no line in test/class_labels.txt; {label.replace('give', 'add one with')}",
        f"test/image_sizes.txt:3: '0 5' for d.jpg; {size}",
        f"e.jpg: no line in test/image_sizes.txt; {size.replace('give', 'add one with')}",
        "test/localization.txt:4: unknown image zzz.jpg; add it to image_ids.txt or take the line out",
        "test/localization.txt:5: '0 0 nan 1' for f.jpg; give four finite numbers",
        "test/localization.txt:6: 4 fields in 'b/c.jpg,1,2,3'; a line is 'path,x0,y0,x1,y1'",
        "test/localization.txt:8: 0 fields in ''; a line is 'path,x0,y0,x1,y1'",
        f"a.jpg: boxes[0] = (9, 9, 2, 2) ends before it starts; {corners}",
        "a.jpg: boxes[1] = (0, 0, 41, 30) leaves its image of 40x30; correct it or have it clipped",
        "a.jpg: boxes[2] = (50, 0, 60, 5) lies outside its image of 40x30; "
        "correct it: clipped, it would be empty",
    ]


@pytest.mark.parametrize(
    ("box", "remains"),
    [
        ((-5, -5, 1, 1), (0, 0, 1, 1)),
        ((39, 29, 50, 31), (39, 29, 40, 30)),
        ((-9, 5, 0, 9), None),
        ((5, -9, 9, 0), None),
        ((40, 5, 41, 9), None),
        ((5, 30, 9, 31), None),
    ],
)
def test_only_a_box_that_lies_partly_inside_can_be_clipped(box: tuple, remains: tuple | None) -> None:
    (fault,) = box_faults(["a.jpg"], np.array([[40, 30]]), [np.array([box], dtype=float)], boxed=True)
    assert fault.clipped == remains


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (40, 30, 40, 30), (0, 0, 0, 0), (1.5, 2.5, 1.5, 2.5)])
def test_a_box_may_touch_the_border_and_may_be_a_point(box: tuple) -> None:
    assert not box_faults(["a.jpg"], np.array([[40, 30]]), [np.array([box], dtype=float)], boxed=True)


def test_the_error_lists_twenty_faults_and_says_how_many_there_are(tmp_path: Path) -> None:
    ids = [f"{i}.jpg" for i in range(30)]
    write_split(make_split(ids, [0] * 30, [(9, 9)] * 30, [[(0, 0, 9, 9)]] * 30), tmp_path / "val")
    (tmp_path / "val/class_labels.txt").write_text("")
    with pytest.raises(ValueError, match=r"no valid split \(faults: 30\)") as error:
        read_split(tmp_path / "val")
    lines = str(error.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 10 more"


def test_a_folder_that_is_not_there_is_reported_file_by_file(tmp_path: Path) -> None:
    assert [line.split(":")[0] for line in faults_of(tmp_path / "val")] == [
        "val/image_ids.txt",
        "val/class_labels.txt",
        "val/image_sizes.txt",
        "val/localization.txt",
    ]


def test_a_file_that_is_no_text_is_reported(folder: Path) -> None:
    (folder / "class_labels.txt").write_bytes(b"a.jpg,0\n\xff\xfe")
    assert faults_of(folder) == ["test/class_labels.txt: not UTF-8 at byte 8; save it as UTF-8 text"]


def test_an_empty_split_is_neither_read_nor_written(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text("")
    assert faults_of(folder) == ["test/image_ids.txt: no image in it; list at least one"]
    with pytest.raises(ValueError, match="has no image; a split is at least one"):
        write_split(a_split().select(np.array([False, False])), folder)


def test_subsets_need_their_header_and_every_image(folder: Path) -> None:
    (folder / "subsets.csv").write_text("a.jpg,plain\nb/c.jpg,part\n")
    assert faults_of(folder)[0] == "test/subsets.csv:1: no header; the first line is 'path,subset'"
    (folder / "subsets.csv").write_text("path,subset\na.jpg,plain\n")
    assert faults_of(folder) == ["b/c.jpg: no line in test/subsets.csv; add one with the subset's name"]
    (folder / "subsets.csv").write_text("path,subset\nb/c.jpg,part\na.jpg,plain\n")
    assert read_split(folder) == a_split(subsets=("plain", "part"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("a,b.jpg", "c.jpg")}, "the id holds a character that the format cannot; rename the image"),
        ({"ids": ("a\nb.jpg", "c.jpg")}, "the id holds a character that the format cannot; rename the image"),
        (
            {"ids": ("a\udc80.jpg", "c.jpg")},
            "the id holds a character that the format cannot; rename the image",
        ),
        ({"ids": ("/a.jpg", "c.jpg")}, "'/a.jpg' is no relative path; ids are paths below the image root"),
        ({"ids": ("a.jpg", "a.jpg")}, "a.jpg: the id stands twice; list every image once"),
        ({"labels": np.array([0, -1])}, "b/c.jpg: label -1; labels are whole numbers from 0"),
        ({"sizes": np.array([[40, 30], [20, 0]])}, "b/c.jpg: size 20x0; sizes are pixels from 1"),
        ({"subsets": ("plain", "a,b")}, "b/c.jpg: subset 'a,b'; leave commas and line ends out of its name"),
        ({"boxes": (np.array([[0.0, 0, 40, 30]]), np.empty((0, 4)))}, "b/c.jpg: no box"),
        (
            {"boxes": (np.array([[0.0, 0, np.nan, 30]]), np.array([[5.0, 5, 20, 10]]))},
            "(0, 0, nan, 30) is not finite; give four finite numbers",
        ),
    ],
)
def test_a_split_that_could_not_be_read_back_is_not_written(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetFaults) as error:
        write_split(a_split(**changes), tmp_path / "test")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_split_replaces_an_older_one_as_a_whole(folder: Path) -> None:
    write_split(a_split(subsets=("plain", "part")), folder)
    write_split(a_split(), folder)
    assert read_split(folder) == a_split()
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/thesis.tex").write_text("years of work")
    with pytest.raises(
        ValueError, match=r"holds thesis.tex, which is no part of a split; give another folder"
    ):
        write_split(a_split(), tmp_path / "test")
    assert (tmp_path / "test/thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0])}, r"2 ids need labels \(2,\)"),
        ({"subsets": ("plain",)}, "2 ids need 2 subsets or none, not 1"),
        ({"boxes": (np.zeros(4), np.zeros((1, 4)))}, r"boxes of a.jpg are an array \(4,\)"),
    ],
)
def test_fields_of_different_lengths_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_split(**changes)


unique_ids = st.lists(st.text(characters, max_size=6), min_size=1, max_size=20, unique=True)


@given(unique_ids, st.data())
def test_a_cut_holds_the_smallest_hashes_whatever_the_order(ids: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(ids)))
    smallest = sorted(ids, key=lambda image: hashlib.sha256(image.encode("utf-8")).hexdigest())[:count]
    shuffled = data.draw(st.permutations(ids))
    cut = cut_by_hash(shuffled, count)
    assert cut.dtype == bool
    assert {image for image, chosen in zip(shuffled, cut, strict=True) if chosen} == set(smallest)


@given(unique_ids, st.data())
def test_added_images_bring_no_old_image_into_a_cut(ids: list[str], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(ids)))
    count = data.draw(st.integers(0, old))
    before, after = cut_by_hash(ids[:old], count), cut_by_hash(ids, count)[:old]
    assert not (after & ~before).any()


@pytest.mark.parametrize("count", [-1, 3])
def test_a_cut_larger_than_the_split_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"cannot cut {count} of 2 images; count must lie between 0 and 2"):
        cut_by_hash(["a", "b"], count)


def test_the_faults_that_are_shown_hold_one_of_each_kind() -> None:
    many = [Fault(f"{number}.jpg", "no such file", "restore it") for number in range(30)]
    error = DatasetFaults("bad", [*many, Fault("z.jpg", "no label", "label it")], shown=20)
    lines = str(error).splitlines()
    assert lines[1] == "  0.jpg: no such file; restore it"
    assert lines[19:] == [
        "  18.jpg: no such file; restore it",
        "  z.jpg: no label; label it",
        "  ... and 11 more",
    ]
