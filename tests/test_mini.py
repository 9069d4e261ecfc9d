import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import pytest
import yaml
from PIL import Image

from vitol.datasets import drawing, mini, pictures
from vitol.datasets.pictures import SPLITS, SUBSETS, draw_image
from vitol.datasets.splits import read_split

REPOSITORY = Path(__file__).parents[1]
PINNED = REPOSITORY / "data" / "mini"
SMALL = {"train": {"plain": 16, "clutter": 8}, "val": {"plain": 8}, "test": dict.fromkeys(SUBSETS, 8)}
HEADS = np.array(list(drawing.HEADS.values()), dtype=float)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "mini.zip"
    mini.write_archive(path, counts=SMALL)
    return path


@pytest.fixture(scope="module")
def drawn():
    return {subset: [draw_image("test", subset, index) for index in range(120)] for subset in SUBSETS}


def nearest_head(colours):
    """Index of the head colour whose direction in RGB is nearest; brightness does not matter."""
    unit = HEADS / np.linalg.norm(HEADS, axis=1, keepdims=True)
    return np.argmax(np.asarray(colours, dtype=float) @ unit.T, axis=-1)


def repacked(source, target, change):
    """Copy an archive, its entries as `change` leaves them, all checksums right."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def directory_digest(folder):
    """What DVC writes into a .dvc file for a directory (compared with DVC 3.67)."""
    rows = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.relative_to(folder).as_posix()}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    rows.sort(key=lambda row: row["relpath"])
    return hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest() + ".dir"


# The pinned archive


@pytest.fixture(scope="module")
def pinned():
    if not (PINNED / "mini.zip").exists():
        pytest.skip("data/mini/mini.zip is not there")
    return PINNED / "mini.zip"


def test_drawing_everything_again_gives_the_pinned_archive(pinned, tmp_path):
    mini.write_archive(tmp_path / "mini.zip")
    locked = (REPOSITORY / "requirements.txt").read_text()
    if all(
        re.search(rf"^{name}=={re.escape(version)}\b", locked, re.MULTILINE)
        for name, version in (("pillow", PIL.__version__), ("numpy", np.__version__))
    ):
        digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (pinned, tmp_path / "mini.zip")]
        assert digests[0] == digests[1]
        return
    with zipfile.ZipFile(pinned) as old, zipfile.ZipFile(tmp_path / "mini.zip") as new:
        assert old.namelist() == new.namelist()
        for name in old.namelist():
            if name.endswith(".jpg"):
                images = [np.asarray(Image.open(io.BytesIO(z.read(name))), dtype=float) for z in (old, new)]
                assert np.abs(images[0] - images[1]).mean() < 2, name
            elif not name.endswith(".npy"):
                assert old.read(name) == new.read(name), name


def test_the_pinned_archive_is_below_its_size_and_has_all_counts(pinned):
    assert pinned.stat().st_size < 9_700_000
    with zipfile.ZipFile(pinned) as archive:
        for split, counts in pictures.COUNTS.items():
            rows = archive.read(f"metadata/{split}/subsets.csv").decode().splitlines()[1:]
            seen = [row.split(",")[1] for row in rows]
            assert {subset: seen.count(subset) for subset in set(seen)} == counts


def test_the_pinned_folder_is_the_one_in_data_dvc_and_an_edit_shows(tmp_path):
    if not (REPOSITORY / "data.dvc").exists():
        pytest.skip("data.dvc is not there")
    out = yaml.safe_load((REPOSITORY / "data.dvc").read_text())["outs"][0]
    assert directory_digest(REPOSITORY / out["path"]) == out["md5"]
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY / out["path"], copy)
    assert directory_digest(copy) == out["md5"]
    edited = copy / "mini.zip"
    content = bytearray(edited.read_bytes())
    content[len(content) // 2] ^= 1
    edited.write_bytes(content)
    assert directory_digest(copy) != out["md5"]


# Laws of the images


def test_an_image_follows_from_its_arguments_alone():
    first = draw_image("test", "multi", 5)
    others = [
        draw_image(*place) for place in (("val", "multi", 5), ("test", "part", 5), ("test", "multi", 13))
    ]
    others.append(draw_image("test", "multi", 5, seed=pictures.SEED + 1))
    again = draw_image("test", "multi", 5)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert first.birds == again.birds
    assert not any(np.array_equal(first.pixels, other.pixels) for other in others)
    assert {other.label for other in others} == {first.label}


@pytest.mark.parametrize("subset", SUBSETS)
def test_boxes_are_tight_around_the_visible_pixels_of_each_asked_bird(drawn, subset):
    for picture in drawn[subset]:
        inside = np.zeros_like(picture.mask)
        for x0, y0, x1, y1 in picture.boxes:
            assert 0 <= x0 < x1 <= 64
            assert 0 <= y0 < y1 <= 64
            part = picture.mask[y0:y1, x0:x1]
            assert part[0].any()
            assert part[-1].any()
            assert part[:, 0].any()
            assert part[:, -1].any()
            inside[y0:y1, x0:x1] = True
        assert not (picture.mask & ~inside).any()
        assert len(picture.boxes) == len(picture.asked)


def visible_masks(birds):
    """Twin: where a bird covers the canvas, a black ground and a white one look the same."""
    visible = []
    for bird in birds:
        black, white = (Image.new("RGB", (256, 256), (level,) * 3) for level in (0, 255))
        drawing.paint(black, [bird])
        drawing.paint(white, [bird])
        covered = (np.asarray(black) == np.asarray(white)).all(axis=2)
        visible = [*(earlier & ~covered for earlier in visible), covered]
    return [fine.reshape(64, 4, 64, 4).mean(axis=(1, 3)) >= 0.5 for fine in visible]


@pytest.mark.parametrize("subset", SUBSETS)
def test_masks_and_boxes_are_what_the_painting_covers(drawn, subset):
    for picture in drawn[subset][:40]:
        masks = visible_masks(picture.birds)
        assert np.array_equal(picture.mask, np.any([masks[number] for number in picture.asked], axis=0))
        for number, box in zip(picture.asked, picture.boxes.tolist(), strict=True):
            rows, columns = np.nonzero(masks[number])
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_bird_loses_the_pixels_that_a_nearer_one_covers():
    rng = np.random.default_rng(0)
    far, near = (replace(drawing.flock(rng, [k], 1.0)[0], centre=(32.0, 32.0)) for k in (0, 7))
    masks = drawing.paint(Image.new("RGB", (256, 256)), [far, near])
    assert np.array_equal(masks, visible_masks([far, near]))
    assert masks[0].sum() < drawing.paint(Image.new("RGB", (256, 256)), [far])[0].sum()


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_head_in_the_image_has_the_colour_of_the_class(drawn, subset):
    for picture in drawn[subset]:
        for bird in picture.birds:
            x, y, r = drawing.head_circle(bird)
            back = x + (0.7 if bird.mirror else -0.7) * r
            assert nearest_head(picture.pixels[round(y - 0.5), round(back - 0.5)]) == bird.label // 2
        assert {picture.birds[number].label for number in picture.asked} == {picture.label}


def test_crests_and_eye_rings_tell_the_two_classes_of_a_head_colour_apart():
    for label in range(8):
        canvas = Image.new("RGB", (256, 256), (0, 0, 0))
        bird = drawing.flock(np.random.default_rng(label), [label], 1.0)[0]
        bird = replace(bird, length=40.0, centre=(32.0, 36.0), tilt=0.0, wing=0.0, mirror=False)
        drawing.paint(canvas, [bird])
        pixels = np.asarray(canvas, dtype=float)
        x, y, r = (4 * value for value in drawing.head_circle(bird))
        above = pixels[: round(y - 1.2 * r)]
        near_eye = pixels[round(y - r / 2) : round(y + r / 2), round(x) : round(x + r)]
        assert above.any() == (label % 2 == 0)
        assert (near_eye.min(axis=2) > 230).any() == (label % 2 == 1)


def test_in_part_neither_body_nor_tail_is_the_class_s(drawn):
    birds = [bird for picture in drawn["part"] for bird in picture.birds]
    assert all(bird.body != bird.label != bird.tail for bird in birds)


def test_elsewhere_body_and_tail_agree_85_percent_of_the_time():
    rng = np.random.default_rng(0)
    birds = [drawing.flock(rng, [k % 8], pictures.AGREEMENT)[0] for k in range(1500)]
    for part in ("body", "tail"):
        share = np.mean([getattr(bird, part) == bird.label for bird in birds])
        assert abs(share - 0.85) < 0.03


def test_no_class_has_the_plumage_of_another_on_the_same_part():
    assert len(set(drawing.PLUMAGE)) == len(set(drawing.TAIL_OF)) == len(drawing.CLASSES) == 8


def test_in_multi_two_birds_differ_in_head_colour_and_one_of_them_at_random_is_asked_for(drawn):
    for picture in drawn["multi"]:
        one, two = picture.birds
        assert one.label // 2 != two.label // 2
        assert len(picture.boxes) == 1
    assert 0.35 < np.mean([picture.asked == (0,) for picture in drawn["multi"]]) < 0.65


def test_two_birds_overlap_a_little_at_most(drawn):
    pairs = [p.birds for p in [*drawn["multi"], *drawn["plain"]] if len(p.birds) == 2]
    for birds in pairs:
        alone = [drawing.paint(Image.new("RGB", (256, 256)), [bird])[0] for bird in birds]
        assert (alone[0] & alone[1]).sum() <= 0.1 * min(mask.sum() for mask in alone)


def test_about_a_tenth_of_the_plain_images_hold_two_birds_of_one_class_and_two_boxes():
    drawn = [draw_image("train", "plain", index) for index in range(300)]
    assert 0.06 < np.mean([len(picture.boxes) == 2 for picture in drawn]) < 0.18
    assert all(bird.label == picture.label for picture in drawn for bird in picture.birds)


def test_a_cluttered_image_has_more_edges_outside_its_bird_than_a_plain_one(drawn):
    def edges(picture):
        grey = picture.pixels.astype(float).mean(axis=2)
        return np.abs(np.diff(grey, axis=1))[~picture.mask[:, 1:]].mean()

    plain, clutter = (np.median([edges(p) for p in drawn[subset]]) for subset in ("plain", "clutter"))
    assert clutter > 1.5 * plain


def test_nothing_but_heads_has_the_colour_of_a_head(drawn):
    """Saturation tells: outside the birds next to no pixel is as saturated as heads are."""
    for picture in drawn["clutter"]:
        pixels = picture.pixels.astype(float)
        chroma = pixels.max(axis=2) - pixels.min(axis=2)
        assert (chroma[~picture.mask] > 140).mean() < 0.01


def test_boxes_vary_in_size_and_a_centred_square_is_a_poor_answer(drawn):
    boxes = np.concatenate([picture.boxes for picture in drawn["plain"]])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / 64**2
    assert area.min() < 0.1
    assert area.max() > 0.35
    for side in range(16, 64, 4):
        low, high = 32 - side / 2, 32 + side / 2
        inner = np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)
        shared = inner.clip(min=0).prod(axis=1)
        assert (shared / (side**2 + area * 64**2 - shared)).mean() < 0.45


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("training", "plain", 0), "mini has no 'training'; choose one of train, val, test"),
        (("test", "full", 0), "mini has no 'full'; choose one of plain, part, multi, clutter"),
        (("test", "plain", -1), "index -1 and seed 20 of test/plain must be 0 or more"),
    ],
)
def test_an_image_that_does_not_exist_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        draw_image(*arguments)


# Packing


def test_packing_twice_gives_the_same_bytes_and_another_seed_others(small, tmp_path):
    mini.write_archive(tmp_path / "again.zip", counts=SMALL)
    mini.write_archive(tmp_path / "other.zip", counts={"val": {"plain": 8}}, seed=1)
    assert (tmp_path / "again.zip").read_bytes() == small.read_bytes()
    with zipfile.ZipFile(small) as one, zipfile.ZipFile(tmp_path / "other.zip") as two:
        assert one.read("images/val/00000.jpg") != two.read("images/val/00000.jpg")
        assert "seed 1;" in two.read("README.txt").decode()


def test_an_image_does_not_depend_on_how_many_there_are(small, tmp_path):
    more = {"train": {"plain": 24, "clutter": 8}}
    mini.write_archive(tmp_path / "more.zip", counts=more)
    numbers = {place: k for k, place in enumerate(pictures.image_order(more["train"]))}
    with zipfile.ZipFile(small) as few, zipfile.ZipFile(tmp_path / "more.zip") as many:
        for number, place in enumerate(pictures.image_order(SMALL["train"])):
            names = (f"images/train/{number:05d}.jpg", f"images/train/{numbers[place]:05d}.jpg")
            assert few.read(names[0]) == many.read(names[1])


def test_labels_and_subsets_are_balanced(small, tmp_path):
    mini.unpack(small, tmp_path / "mini")
    for split in SPLITS:
        table = read_split(tmp_path / "mini" / split)
        for subset, count in SMALL[split].items():
            labels = table.labels[np.array(table.subsets) == subset]
            assert np.bincount(labels, minlength=8).tolist() == [count // 8] * 8
    for counts in pictures.COUNTS.values():
        assert all(count % 8 == 0 for count in counts.values())


def test_an_interrupted_drawing_leaves_the_old_archive(small, tmp_path, monkeypatch):
    old = tmp_path / "mini.zip"
    shutil.copy(small, old)

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(KeyboardInterrupt):
        mini.write_archive(old, counts={"val": {"plain": 8}})
    assert old.read_bytes() == small.read_bytes()
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"val": {}}, "val cannot have {} images"),
        ({"val": {"plain": 0}}, "val cannot have {'plain': 0} images"),
        ({"val": {"plain": 8, "part": -8}}, "val cannot have {'plain': 8, 'part': -8} images"),
        ({"val": {"plian": 8}}, "mini has no 'plian'"),
        ({"vall": {"plain": 8}}, "mini has no 'vall'"),
    ],
)
def test_counts_that_make_no_split_are_refused(counts, complaint, tmp_path):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        mini.write_archive(tmp_path / "mini.zip", counts=counts)
    assert not list(tmp_path.iterdir())


def test_run_lengths_give_the_mask_back():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.001, 0.5, 0.999, 1.0):
        mask = rng.random((3, 50, 41)) < density
        runs = mini.run_lengths(mask)
        back = [bit for k, run in enumerate(runs.tolist()) for bit in [k % 2] * run]
        assert back == mask.ravel().tolist()


def test_drawing_and_unpacking_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; import vitol.datasets.mini"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


# Unpacking


def test_an_unpacked_data_set_holds_what_was_drawn(small, tmp_path):
    folder = tmp_path / "deep" / "mini"
    mini.unpack(small, folder)
    assert (folder / "classes.txt").read_text().split() == list(drawing.CLASSES)
    assert {path.name for path in folder.iterdir()} == {"images", "masks", "classes.txt", *SPLITS}
    for split in SPLITS:
        table = read_split(folder / split)
        for number, (subset, index) in enumerate(pictures.image_order(SMALL[split])):
            picture = draw_image(split, subset, index)
            assert table.ids[number] == f"{split}/{number:05d}.jpg"
            assert table.labels[number] == picture.label
            assert table.sizes[number].tolist() == [64, 64]
            assert table.boxes[number].tolist() == picture.boxes.tolist()
            assert table.subsets[number] == subset
            image = np.asarray(Image.open(folder / "images" / table.ids[number]), dtype=float)
            assert np.abs(image - picture.pixels).mean() < 10
            mask = np.asarray(Image.open(folder / "masks" / split / f"{number:05d}.png"))
            assert np.array_equal(mask, picture.mask * np.uint8(255))


def test_an_empty_folder_is_filled_and_a_full_one_left_alone(small, tmp_path):
    (tmp_path / "empty").mkdir()
    mini.unpack(small, tmp_path / "empty")
    with pytest.raises(ValueError, match="is there already; remove it, or unpack to another folder"):
        mini.unpack(small, tmp_path / "empty")


def test_an_edited_image_is_noticed_and_named(small, tmp_path):
    content = bytearray(small.read_bytes())
    with zipfile.ZipFile(small) as archive:
        info = archive.getinfo("images/test/00003.jpg")
    content[info.header_offset + 30 + len(info.filename) + info.file_size // 2] ^= 1
    edited = tmp_path / "edited.zip"
    edited.write_bytes(content)
    with pytest.raises(ValueError, match=r"entry 'images/test/00003.jpg' is damaged \(Bad CRC-32"):
        mini.unpack(edited, tmp_path / "mini")
    assert list(tmp_path.iterdir()) == [edited]


def test_any_edited_byte_is_noticed_or_changes_nothing(tmp_path):
    archive = tmp_path / "mini.zip"
    mini.write_archive(archive, counts={"val": {"plain": 3}})
    mini.unpack(archive, tmp_path / "mini")
    expected = directory_digest(tmp_path / "mini")
    content = archive.read_bytes()
    edited = tmp_path / "edited.zip"
    noticed = 0
    for place in np.linspace(0, len(content) - 1, 400).astype(int):
        edited.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            mini.unpack(edited, tmp_path / "unpacked")
        except ValueError as error:
            assert "edited.zip" in str(error)
            assert not (tmp_path / "unpacked").exists()
            noticed += 1
        else:
            assert directory_digest(tmp_path / "unpacked") == expected
            shutil.rmtree(tmp_path / "unpacked")
    assert noticed > 300


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    other = tmp_path / "mini.zip"
    with pytest.raises(ValueError, match="cannot be opened as a zip archive"):
        mini.unpack(other, tmp_path / "mini")
    other.write_bytes(b"not a zip archive")
    with pytest.raises(ValueError, match=r"cannot be opened as a zip archive \(File is not a zip file\)"):
        mini.unpack(other, tmp_path / "mini")


def jpeg(side):
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG")
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda e: e.update({"../images/val/00000.jpg": b""}), "'../images/val/00000.jpg' is foreign"),
        (lambda e: e.update({"/etc/passwd": b""}), "'/etc/passwd' is foreign"),
        (lambda e: e.update({"images/val/..": b""}), "'images/val/..' is foreign"),
        (lambda e: e.pop("masks/val.npy"), "entry 'masks/val.npy' is missing"),
        (lambda e: e.pop("metadata/val/subsets.csv"), "entry 'metadata/val/subsets.csv' is missing"),
        (lambda e: e.pop("images/val/00002.jpg"), "'images/val/00002.jpg' is missing"),
        (lambda e: e.update({"images/val/00099.jpg": jpeg(64)}), "image_ids.txt' does not list it"),
        (lambda e: e.update({"images/val/00001.jpg": b"GIF"}), "'images/val/00001.jpg' is no image"),
        (lambda e: e.update({"images/val/00001.jpg": jpeg(8)}), "'images/val/00001.jpg' has 8x8 pixels"),
        (lambda e: e.update({"metadata/classes.txt": b"cat\n"}), "other classes in 'metadata/classes.txt'"),
        (lambda e: e.update({"masks/val.npy": npy(np.uint8([9]))}), "'masks/val.npy' does not hold runs"),
        (lambda e: e.update({"masks/val.npy": npy(np.array([None]))}), "Object arrays cannot be loaded"),
        (
            lambda e: e.update(
                {"metadata/val/class_labels.txt": e["metadata/val/class_labels.txt"].replace(b",3", b",8")}
            ),
            "labels from 8",
        ),
        (
            lambda e: e.update(
                {"metadata/val/localization.txt": e["metadata/val/localization.txt"].replace(b"\n", b"0\n")}
            ),
            "leaves its image",
        ),
    ],
)
def test_a_foreign_archive_is_refused_by_entry_and_leaves_nothing(small, change, complaint, tmp_path):
    foreign = repacked(small, tmp_path / "foreign.zip", change)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        mini.unpack(foreign, tmp_path / "mini")
    assert "foreign.zip" in str(caught.value)
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_compressed_entry_is_refused_before_it_is_unpacked(small, tmp_path):
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("masks/val.npy", bytes(10_000))
    with pytest.raises(ValueError, match=r"entry 'masks/val.npy' is foreign"):
        mini.unpack(foreign, tmp_path / "mini")


def test_an_archive_without_any_split_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(ValueError, match=r"entry 'README.txt' is missing"):
        mini.unpack(tmp_path / "empty.zip", tmp_path / "mini")


def test_drawing_tells_of_every_image(tmp_path):
    told = []
    counts = {"val": {"plain": 2}, "test": {"plain": 1}}
    mini.write_archive(tmp_path / "few.zip", counts=counts, progress=lambda *told_of: told.append(told_of))
    assert told == [(1, 3), (2, 3), (3, 3)]
