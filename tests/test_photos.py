import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from conftest import ROOT
from fakes import truncate, write_image
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms.v2.functional import pil_to_tensor

from vitol import photo_maps, photos
from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.datasets.images import MEAN, STD, normalise
from vitol.maps import Explanation, Method, explain
from vitol.methods import ABOUT, METHODS
from vitol.photo_input import Preparation, find_photos, photo_sizes, read_photo
from vitol.photo_maps import BOXES, OVERVIEW, PhotoMap, PhotoMaps
from vitol.photos import LONGEST, THRESHOLDS, Explainer
from vitol.rectangles import iou_matrix
from vitol.weight_files import CheckpointError

CLASSES = ["tench, Tinca tinca", "bow tie", "Windsor tie", "crane", "espresso"]
SIZE = (48, 32)  # height and width of the model's input


def write_checkpoint(path: Path, **record: Any) -> Path:
    """A small vision transformer with a 6 x 4 grid and uneven attention."""
    options = {"img_size": SIZE, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(CLASSES), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    made = {"architecture": "vit_tiny_patch16_224", "options": options, "num_classes": len(CLASSES)}
    save_checkpoint(path, model, {**made, "classes": CLASSES, **record})
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def explainer(checkpoint: Path) -> Explainer:
    return Explainer(checkpoint)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, two of them with one name, and a file that is none; it is the current folder."""
    monkeypatch.chdir(tmp_path)
    write_image(Path("photos/b/cat.jpg"), (40, 30), seed=1)
    write_image(Path("photos/a/Cat.JPEG"), (30, 50), seed=2)
    write_image(Path("photos/dog.jpg"), (60, 60), seed=3)
    Path("photos/notes.txt").write_text("no photo")
    return tmp_path


def entry(
    map_: np.ndarray, threshold: float = 0.5, size: tuple[int, int] = (300, 100), **changes: Any
) -> PhotoMap:
    """A map of a photo that is not read."""
    fields: dict[str, Any] = dict(
        path=Path("photo.jpg"), index=7, label="crane", probability=0.5, predicted=False
    )
    fields |= {"method": "gar", "preset": "release", "stem": "photo.7-crane.gar", **changes}
    return PhotoMap(map=map_.astype(np.float32), threshold=threshold, size=size, **fields)


def files(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


# What is asked


def test_maps_are_those_of_the_library_for_the_classes_asked_for(explainer, checkpoint, folder):
    results = explainer.explain(["photos"], classes=["crane", 0], method=["gar", "ar"], batch_size=2)
    model, _ = load_checkpoint(checkpoint)
    inputs = [
        read_photo(path).resize((32, 48), Image.Resampling.BILINEAR) for path in find_photos(["photos"])
    ]
    images = normalise(torch.stack([pil_to_tensor(image) for image in inputs]))
    targets = torch.tensor([[3, 0]] * 3)
    expected = explain(model, images, targets, [Method.of("gar"), Method.of("ar")])
    twin = torch.stack(expected.maps, dim=2).flatten(0, 2).numpy()
    np.testing.assert_allclose(np.stack([found.map for found in results]), twin, rtol=1e-4, atol=1e-6)
    assert [found.map.dtype for found in results] == [np.float32] * 12
    assert [found.map.shape for found in results] == [(6, 4)] * 12
    names = [("a/Cat.JPEG", (30, 50)), ("b/cat.jpg", (40, 30)), ("dog.jpg", (60, 60))]
    assert [(found.path, found.size, found.index, found.label, found.method) for found in results] == [
        (Path("photos") / name, size, index, label, method)
        for name, size in names
        for index, label in ((3, "crane"), (0, "tench"))
        for method in ("gar", "ar")
    ]
    probabilities = expected.logits.softmax(dim=1).gather(1, targets).flatten().repeat_interleave(2)
    assert [found.probability for found in results] == pytest.approx(probabilities.tolist(), rel=1e-4)
    assert not any(found.predicted for found in results)


def test_without_a_class_it_is_the_predicted_one(explainer, folder):
    results = explainer.explain(["photos"])
    assert len(results) == 3
    for found in results:
        ones = explainer.explain([found.path], classes=range(len(CLASSES)))
        best = max(ones, key=lambda one: one.probability)
        assert found.predicted
        assert (found.index, found.label) == (best.index, best.label)
        assert found.probability == pytest.approx(best.probability, rel=1e-5)
        assert sum(one.probability for one in ones) == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(found.map, best.map, rtol=1e-4, atol=1e-6)


def test_two_classes_have_two_maps(explainer, folder):
    one, other = explainer.explain(["photos/dog.jpg"], classes=["crane", "espresso"])
    assert np.abs(one.map - other.map).max() > 0.1 * one.map.max()


def test_the_batch_size_changes_nothing(explainer, folder):
    one, other = (explainer.explain(["photos"], ["bow tie"], batch_size=size) for size in (1, 3))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left.map, right.map, rtol=1e-4, atol=1e-6)


def test_a_photo_a_class_or_a_method_named_twice_counts_once(explainer, folder):
    again = ["photos/dog.jpg", folder / "photos/dog.jpg", "photos/b/../dog.jpg"]
    assert len(explainer.explain(again, classes=["crane", "3", 3], method=["gar", "gar"])) == 1


def test_the_preset_reaches_the_method(explainer, folder):
    one, other = (
        explainer.explain(["photos/dog.jpg"], ["crane"], preset=name)[0] for name in ("release", "paper")
    )
    assert (one.preset, other.preset) == ("release", "paper")
    assert not np.allclose(one.map, other.map)


def test_the_threshold_is_the_method_s_unless_it_is_given(explainer, folder):
    found = explainer.explain(["photos/dog.jpg"], ["crane"], method=["gar", "ar"])
    assert [one.threshold for one in found] == [THRESHOLDS["gar"], THRESHOLDS["ar"]]
    assert explainer.explain(["photos/dog.jpg"], ["crane"], threshold=0.0)[0].threshold == 0


def test_every_method_has_a_threshold():
    assert tuple(THRESHOLDS) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_finite_maps_of_the_classes_asked_for(explainer, folder, method):
    one, other = explainer.explain(["photos/dog.jpg"], classes=["crane", 0], method=method)
    assert np.isfinite(one.map).all() and (one.map >= 0).all() and one.map.max() > 0
    assert np.allclose(one.map, other.map) != ABOUT[method].of_class


def test_progress_is_told_from_0_to_all(explainer, folder):
    told: list[tuple[str, int, int]] = []
    explainer.explain(
        ["photos"], ["crane"], out="out", batch_size=2, progress=lambda *what: told.append(what)
    )
    assert told == [
        *(("Checking photos", done, 3) for done in range(4)),
        *(("Making maps", done, 3) for done in (0, 2, 3)),
        *(("Drawing", done, 3) for done in range(4)),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"photos": []}, "no image was given; give at least one file or folder"),
        ({"photos": ["nowhere.jpg"]}, "nowhere.jpg is neither a file nor a folder"),
        ({"photos": ["empty"]}, r"empty holds no image; looked for \*.bmp, .*\*.webp at any depth"),
        ({"photos": ["photos/notes.txt"]}, "notes.txt is not an image that Pillow knows"),
        ({"classes": ["tie"]}, r"class 'tie' could be 'bow tie' \(1\), 'Windsor tie' \(2\)"),
        ({"classes": ["crane", "tensh"]}, r"no class is called 'tensh'; near it: 'tench, Tinca tinca' \(0\)"),
        ({"classes": [5]}, r"class 5 is out of range: the model's classes are 0\.\.4"),
        ({"method": "gra"}, "map method 'gra' is unknown; choose one of ar, gar"),
        ({"method": ()}, "no method was given; give at least one"),
        ({"preset": "papers"}, "preset 'papers' is unknown; choose one of release, paper"),
        ({"threshold": 1.5}, r"threshold 1.5 is outside \[0, 1\]"),
        ({"threshold": float("nan")}, r"threshold nan is outside \[0, 1\]"),
        ({"batch_size": 0}, "batch size 0 is below 1"),
        ({"out": "photos/notes.txt"}, "notes.txt is a file; give a folder to write to"),
    ],
)
def test_a_wrong_argument_is_an_error_before_the_model_runs(explainer, folder, monkeypatch, arguments, text):
    Path("empty").mkdir()
    before = files(folder)
    monkeypatch.setattr(photos, "explain_batch", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(ValueError, match=text):
        explainer.explain(**{"photos": ["photos"], "out": "out", **arguments})
    assert files(folder) == before
    assert not Path("out").exists()


def test_all_photos_that_do_not_decode_are_named_before_the_model_runs(explainer, folder, monkeypatch):
    truncate(Path("photos/dog.jpg"))
    Path("photos/a/empty.png").touch()
    monkeypatch.setattr(photos, "explain_batch", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(ValueError) as error:
        explainer.explain(["photos"], out="out")
    first, second = str(error.value).split("\n")
    assert first == "photos/a/empty.png is not an image that Pillow knows"
    assert second.startswith("photos/dog.jpg cannot be read as an image: ")
    assert not Path("out").exists()


def test_a_map_that_is_not_finite_is_an_error(explainer, folder, monkeypatch):
    maps = torch.full((1, 1, 6, 4), torch.nan)
    broken = Explanation(torch.zeros(1, 5), (maps,), torch.tensor([[3]]))
    monkeypatch.setattr(photos, "explain_batch", lambda *_: broken)
    with pytest.raises(ValueError, match="dog.jpg: the gar map of class 3 is not finite"):
        explainer.explain(["photos/dog.jpg"], classes=[3], out="out")
    assert not Path("out").exists()


def test_the_class_that_is_told_is_the_one_whose_map_was_made(explainer, folder, monkeypatch):
    # Of two equal probabilities the pass that made the map may have seen the other as the larger logit.
    tied = Explanation(torch.zeros(1, 5), (torch.ones(1, 6, 4),), torch.tensor([4]))
    monkeypatch.setattr(photos, "explain_batch", lambda *_: tied)
    assert [found.index for found in explainer.explain(["photos/dog.jpg"])] == [4]


def test_a_model_whose_attention_cannot_be_captured_is_an_error(tmp_path, folder):
    model = timm.create_model("test_resnet", num_classes=5)
    record = {"architecture": "test_resnet", "options": {}, "num_classes": 5}
    save_checkpoint(tmp_path / "resnet.safetensors", model, record)
    with pytest.raises(ValueError, match="ResNet"):
        Explainer(tmp_path / "resnet.safetensors").explain(["photos/dog.jpg"], out="out")
    assert not Path("out").exists()


# Boxes


@pytest.mark.parametrize("row", range(0, 6, 5))
@pytest.mark.parametrize("column", range(4))
def test_the_box_of_one_bright_patch_surrounds_it(row, column):
    values = np.zeros((6, 4))
    values[row, column] = 1
    x0, y0, x1, y1 = entry(values).box
    # A patch is 75 x 16.7 pixels of the photo; above half its height a cubic bump is about one patch wide.
    assert x0 <= 75 * column + 37.5 <= x1 and y0 <= 100 / 6 * (row + 0.5) <= y1
    assert 45 < x1 - x0 < 115 and 10 < y1 - y0 < 26


def test_boxes_lie_in_the_photo_and_the_largest_is_one_of_them():
    for seed in range(20):
        values = np.random.default_rng(seed).random((6, 4))
        found = entry(values, threshold=seed / 20, size=(37, 91))
        assert (found.boxes >= 0).all() and (found.boxes <= [37, 91, 37, 91]).all()
        assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
        assert (found.boxes == found.box).all(axis=1).any()


def test_at_threshold_0_the_box_of_a_map_without_zeros_is_nearly_the_whole_photo():
    values = 1 + np.random.default_rng(0).random((6, 4))
    values[5, 3] = 0  # only this corner is at the minimum
    x0, y0, x1, y1 = entry(values, threshold=0.0).box
    # The protocol's far corner is at most pixel 223 of 224.
    assert (x0, y0, x1, y1) == pytest.approx((0, 0, 300 * 223 / 224, 100 * 223 / 224))


def test_two_bright_patches_give_two_boxes():
    values = np.zeros((6, 6))
    values[1, 1], values[4, 4] = 1, 0.9
    found = entry(values)
    assert len(found.boxes) == 2
    assert found.box[2] < 150


@pytest.mark.parametrize(
    ("values", "threshold"), [(np.ones((6, 4)), 0.2), (np.zeros((6, 4)), 0.0), (np.eye(6)[:, :4], 1.0)]
)
def test_where_nothing_lies_above_the_threshold_there_is_no_box(values, threshold):
    found = entry(values, threshold)
    assert found.box is None
    assert found.boxes.shape == (0, 4)
    assert (found.record()["box"], found.record()["boxes"]) == (None, [])


# What is written


def test_every_map_is_written_with_its_picture_and_its_boxes(explainer, folder):
    results = explainer.explain(["photos"], classes=["crane", 0], method=["gar", "ar"], out="out/maps")
    stems = [f"{name}.{of}" for name in ("Cat", "cat-2", "dog") for of in ("3-crane", "0-tench")]
    names = [f"{stem}.{method}" for stem in stems for method in ("gar", "ar")]
    assert [found.stem for found in results] == names
    assert files(Path("out/maps")) == sorted(
        [BOXES, OVERVIEW, *(f"{name}{end}" for name in names for end in (".npy", ".png"))]
    )
    record = json.loads(Path("out/maps", BOXES).read_text(encoding="utf-8"))
    assert record["model"] == explainer.name
    assert "x1 = x0 + width" in record["corners"]
    for found, said in zip(results, record["maps"], strict=True):
        np.testing.assert_array_equal(np.load(Path("out/maps", said["map"]), allow_pickle=False), found.map)
        assert cv2.imread(str(Path("out/maps", said["overlay"]))) is not None
        assert said == {
            "image": found.path.as_posix(),
            "width": found.size[0],
            "height": found.size[1],
            "class_index": found.index,
            "class_name": found.label,
            "probability": found.probability,
            "predicted": False,
            "method": found.method,
            "preset": "release",
            "threshold": found.threshold,
            "box": pytest.approx(found.box, abs=0.006),
            "boxes": [pytest.approx(box, abs=0.006) for box in found.boxes],
            "map": f"{found.stem}.npy",
            "overlay": f"{found.stem}.png",
        }


def test_saving_later_writes_the_same_bytes(explainer, folder):
    explainer.explain(["photos"], classes=["crane"], out="one").save("other")
    assert files(Path("one")) == files(Path("other"))
    for name in files(Path("one")):
        assert Path("one", name).read_bytes() == Path("other", name).read_bytes()


def test_names_tell_photos_of_one_name_apart(explainer, folder):
    paths = [*(Path(f"in/{n}/x.png") for n in range(3)), Path("in/x-2.png"), Path(f"in/{'l' * 200}.png")]
    for path in paths:
        write_image(path)
    results = explainer.explain(paths, classes=["crane"], out="out")
    labels = ["x", "x-3", "x-4", "x-2", "l" * LONGEST]
    assert [found.stem for found in results] == [f"{label}.3-crane.gar" for label in labels]


def test_files_of_predicted_classes_have_a_name_that_is_known_before(explainer, folder):
    explainer.explain(["photos/dog.jpg"], out="out")
    assert files(Path("out")) == [BOXES, "dog.predicted.gar.npy", "dog.predicted.gar.png", OVERVIEW]
    assert json.loads(Path("out", BOXES).read_text())["maps"][0]["predicted"] is True


def test_classes_of_one_name_and_names_beyond_ascii_have_files_of_their_own(tmp_path, folder):
    write_checkpoint(Path("odd.safetensors"), classes=["crane", "crane", "Häher/$x$", "鶴", "a" * 99])
    results = Explainer("odd.safetensors").explain(["photos/dog.jpg"], classes=range(5), out="out")
    middles = [found.stem.split(".")[1] for found in results]
    assert middles == ["0-crane", "1-crane", "2-h-her-x", "3", f"4-{'a' * 40}"]
    assert len(files(Path("out"))) == 12


def test_files_of_an_earlier_run_are_kept_unless_forced(explainer, folder, monkeypatch):
    explainer.explain(["photos/dog.jpg"], classes=["crane"], out="out")
    Path("out/mine.txt").write_text("mine")
    before = {name: Path("out", name).read_bytes() for name in files(Path("out"))}
    with monkeypatch.context() as patch:
        patch.setattr(photos, "explain_batch", lambda *_: pytest.fail("the model ran"))
        with pytest.raises(ValueError) as error:
            explainer.explain(["photos/dog.jpg"], classes=["crane"], out="out")
    assert str(error.value) == (
        "out/boxes.json exists already (and 3 more of the files to write); give another folder, or force (--force)"
    )
    assert {name: Path("out", name).read_bytes() for name in files(Path("out"))} == before
    results = explainer.explain(["photos/dog.jpg"], classes=["crane"], threshold=0.9, out="out", force=True)
    with pytest.raises(ValueError, match="boxes.json exists already"):
        results.save("out")
    assert json.loads(Path("out", BOXES).read_text())["maps"][0]["threshold"] == 0.9
    assert files(Path("out")) == list(before)


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_breaks_while_it_writes_leaves_nothing(explainer, folder, monkeypatch, there):
    if there:
        Path("out").mkdir()
        Path("out/mine.txt").write_text("mine")
    draw = photo_maps.overlay_figure

    def draw_once(overlays, path, **options):
        if "0-tench" in path.name:
            raise OSError("disk full")
        draw(overlays, path, **options)

    monkeypatch.setattr(photo_maps, "overlay_figure", draw_once)
    with pytest.raises(OSError, match="disk full"):
        explainer.explain(["photos"], classes=["crane", "tench"], out="out")
    assert Path("out").exists() == there
    assert [name for name in files(folder) if "photos" not in name] == (["out/mine.txt"] if there else [])


def test_a_folder_s_own_results_are_not_taken_for_photos(explainer, folder):
    for force in (False, True):
        assert len(explainer.explain(["photos"], classes=["crane"], out="photos/out", force=force)) == 3


def test_a_photo_that_is_gone_when_it_is_drawn_is_an_error(explainer, folder):
    results = explainer.explain(["photos/dog.jpg"])
    Path("photos/dog.jpg").unlink()
    with pytest.raises(ValueError, match="dog.jpg cannot be read as an image: No such file"):
        results.save("out")
    assert not Path("out").exists()


def test_an_overlay_has_the_photo_its_map_and_the_red_box(explainer, folder):
    found = explainer.explain(["photos/dog.jpg"], classes=["crane"])[0]
    overlay = found.overlay()
    np.testing.assert_array_equal(overlay.image, np.asarray(read_photo(Path("photos/dog.jpg"))))
    assert overlay.title == f"crane {found.probability:.1%} GAR"
    assert (overlay.localization_map.min(), overlay.localization_map.max()) == (0, 1)
    np.testing.assert_array_equal(overlay.predicted_boxes, [found.box])
    assert len(overlay.gt_boxes) == 0


def test_a_long_name_is_cut_in_the_title():
    title = entry(np.eye(4), label="sulphur-crested cockatoo", probability=0.0001, method="attention").title
    assert title == "sulphur-crest… <0.1% Attention"
    assert entry(np.eye(4)).title == "crane 50.0% GAR"


def test_a_large_photo_is_drawn_smaller_with_its_box_in_place(explainer, tmp_path):
    write_image(tmp_path / "large.jpg", (3 * photo_maps.DRAWN, 30))
    found = explainer.explain([tmp_path / "large.jpg"])[0]
    overlay = found.overlay()
    assert overlay.image.shape == (10, photo_maps.DRAWN, 3)
    np.testing.assert_allclose(overlay.predicted_boxes[0], found.box / 3)


@pytest.mark.parametrize(
    ("methods", "classes", "rows"),
    [
        (["gar"], ["crane", 0], [["dog", "crane", "tench"], ["cat", "crane", "tench"]]),
        (["gar", "ar"], ["crane"], [["dog", "crane", "crane"], ["cat", "crane", "crane"]]),
        (["gar"], [], [["dog", "*"], ["cat", "*"]]),
    ],
)
def test_the_overview_shows_each_photo_beside_its_maps(
    explainer, folder, monkeypatch, methods, classes, rows
):
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        photo_maps,
        "overlay_figure",
        lambda overlays, path, columns, **_: (path.touch(), drawn.update({path.name: (overlays, columns)})),
    )
    explainer.explain(["photos/dog.jpg", "photos/b/cat.jpg"], classes, method=methods, out="out")
    overlays, columns = drawn[OVERVIEW]
    titles = [overlay.title.split(" ")[0] for overlay in overlays]
    shown = [title if title in ("dog", "cat") or classes else "*" for title in titles]
    assert columns == len(rows[0])
    assert shown == [title for row in rows for title in row]
    bare = [overlay.localization_map is None for overlay in overlays]
    assert bare == [at % columns == 0 for at in range(len(overlays))]


def test_the_overview_of_many_photos_shows_the_first(folder, monkeypatch):
    monkeypatch.setattr(photo_maps, "OVERVIEW_PHOTOS", 2)
    drawn: list[int] = []
    monkeypatch.setattr(
        photo_maps,
        "overlay_figure",
        lambda overlays, path, columns, **_: (path.touch(), drawn.append(len(overlays))),
    )
    maps = [entry(np.eye(4), path=path, stem=path.stem) for path in find_photos(["photos"])]
    PhotoMaps("model", tuple(maps)).save("out")
    assert drawn == [1, 1, 1, 4]


# Image files


def test_a_grey_a_transparent_and_a_palette_image_are_read_as_rgb(tmp_path):
    grey = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    grey.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "grey.png"), np.asarray(grey)[..., None].repeat(3, 2))

    colours = np.zeros((2, 2, 4), np.uint8)
    colours[0] = (200, 10, 10, 255)
    Image.fromarray(colours).save(tmp_path / "clear.png")
    expected = np.array([[[200, 10, 10]] * 2, [[255] * 3] * 2], np.uint8)
    np.testing.assert_array_equal(read_photo(tmp_path / "clear.png"), expected)
    Image.fromarray(colours).convert("LA").save(tmp_path / "grey-clear.png")
    assert np.asarray(read_photo(tmp_path / "grey-clear.png"))[1].tolist() == [[255] * 3] * 2

    palette = Image.fromarray(expected).quantize(4)
    palette.save(tmp_path / "palette.gif")
    np.testing.assert_array_equal(read_photo(tmp_path / "palette.gif"), expected)
    clear = palette.getpixel((0, 0))
    palette.save(tmp_path / "palette.png", transparency=clear)
    assert np.asarray(read_photo(tmp_path / "palette.png")).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(explainer, tmp_path, orientation):
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    upright.save(tmp_path / "upright.png")
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "turned.png"), np.asarray(upright))
    one, other = explainer.explain(
        [tmp_path / "upright.png", tmp_path / "turned.png"], ["crane"], batch_size=1
    )
    assert one.size == other.size == (30, 20)
    np.testing.assert_array_equal(one.map, other.map)


def test_more_than_8_bits_a_channel_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(
        ValueError, match="deep.png cannot be read as an image: mode 'I;16' has more than 8 bits"
    ):
        read_photo(tmp_path / "deep.png")


def test_sizes_are_those_of_the_photos_in_their_order(folder):
    assert photo_sizes(find_photos(["photos/dog.jpg", "photos"])) == [(60, 60), (30, 50), (40, 30)]


def test_a_file_with_any_name_is_a_photo_if_it_is_named(folder):
    Path("photos/dog.jpg").rename("photos/dog.raw")
    assert find_photos(["photos/dog.raw"]) == [Path("photos/dog.raw")]
    assert find_photos(["photos"]) == [Path("photos/a/Cat.JPEG"), Path("photos/b/cat.jpg")]


# Models


def test_a_checkpoint_s_photos_are_prepared_as_in_its_training(tmp_path, folder):
    photo = read_photo(Path("photos/dog.jpg"))
    plain = Explainer(write_checkpoint(tmp_path / "plain.safetensors")).prepare
    assert plain == Preparation(SIZE, MEAN, STD, "bilinear")
    expected = normalise(pil_to_tensor(photo.resize(SIZE[::-1], Image.Resampling.BILINEAR)))
    assert torch.equal(plain(photo), expected)
    other = Explainer(
        write_checkpoint(tmp_path / "own.safetensors", mean=[0.5, 0.5, 0], std=[1, 0.5, 2])
    ).prepare
    pixels = expected * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    mean, std = torch.tensor([0.5, 0.5, 0])[:, None, None], torch.tensor([1, 0.5, 2])[:, None, None]
    torch.testing.assert_close(other(photo), (pixels - mean) / std)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"mean": [0.5, 0.5]}, r"'mean': \[0.5, 0.5\]; needed: three numbers, one a channel"),
        ({"mean": "abc"}, "'mean': 'abc'; needed: three numbers"),
        ({"mean": None}, "'mean': None; needed: three numbers"),
        ({"std": [0.5, 0, 0.5]}, r"'std': \[0.5, 0, 0.5\]; needed: three numbers, one a channel, above 0"),
        ({"classes": ["a", "b"]}, "there are 2 class names, but the model has 5 classes"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(tmp_path, record, text):
    with pytest.raises(ValueError, match=text):
        Explainer(write_checkpoint(tmp_path / "odd.safetensors", **record))


def test_a_checkpoint_without_names_is_asked_by_index_or_with_a_file_of_names(tmp_path, folder):
    write_checkpoint(Path("nameless.safetensors"), classes=None)
    nameless = Explainer("nameless.safetensors")
    assert nameless.explain(["photos/dog.jpg"], classes=[3])[0].label == "class 3"
    with pytest.raises(
        ValueError, match="class 'crane' cannot be looked up: .* 5 classes have no names here"
    ):
        nameless.explain(["photos/dog.jpg"], classes=["crane"])
    Path("names.txt").write_text("one\ntwo\nthree\nfour\nfive")
    for names in ("names.txt", ["one", "two", "three", "four", "five"]):
        named = Explainer("nameless.safetensors", names).explain(["photos/dog.jpg"], classes=["four"])[0]
        assert (named.index, named.label) == (3, "four")
    Path("names.txt").write_text("one\ntwo")
    with pytest.raises(ValueError, match="there are 2 class names, but the model has 5 classes"):
        Explainer("nameless.safetensors", "names.txt")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A writer of random weights of timm's test_vit, with a number of classes, to the folder VITOL_WEIGHTS."""
    monkeypatch.setenv("VITOL_WEIGHTS", str(tmp_path))

    def write(classes: int) -> Path:
        model = timm.create_model("test_vit", num_classes=classes)
        save_file(model.state_dict(), tmp_path / "test_vit.safetensors")
        return tmp_path / "test_vit.safetensors"

    return write


def test_a_timm_model_has_its_own_preparation_and_imagenet_s_names(weights, folder):
    weights(1000)
    pretrained = Explainer("test_vit")
    own = timm.data.resolve_model_data_config(pretrained.model)
    assert pretrained.prepare == Preparation(
        own["input_size"][1:], tuple(own["mean"]), tuple(own["std"]), own["interpolation"]
    )
    assert pretrained.prepare.interpolation == "bicubic"
    found = pretrained.explain(["photos/dog.jpg"], classes=["bow tie"])[0]
    assert (found.index, found.map.shape) == (457, (10, 10))


def test_the_head_is_the_weights_own_whatever_its_size(weights, folder):
    file = weights(7)
    pretrained = Explainer("test_vit")
    own, given = pretrained.model.state_dict(), load_file(file)
    assert own.keys() == given.keys()
    assert all(torch.equal(own[name].cpu(), given[name]) for name in own)
    assert pretrained.explain(["photos/dog.jpg"], classes=[6])[0].label == "class 6"


def test_weights_without_a_classifier_are_refused(weights):
    weights(0)
    with pytest.raises(ValueError, match="test_vit has no classifier, so there is no class to ask for"):
        Explainer("test_vit")


def test_weights_that_are_not_safetensors_are_refused(weights):
    weights(7).write_bytes(b"not these")
    with pytest.raises(CheckpointError, match="test_vit.safetensors is not a safetensors file"):
        Explainer("test_vit")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_vitt", "timm knows no model 'test_vitt'; near it: test_"),
        ("test_vit.nobody", "timm knows no weights 'test_vit.nobody'; it knows test_vit.r160_in1k"),
        ("test_vit2", "VITOL_WEIGHTS is set, but there is no .*test_vit2.safetensors"),
        ("nowhere/model.safetensors", "model.safetensors is missing; give a safetensors"),
    ],
)
def test_a_model_that_is_not_there_is_an_error_that_says_what_is(weights, name, text):
    weights(7)
    with pytest.raises(ValueError, match=text):
        Explainer(name)


def test_the_hub_gives_a_model_the_classes_it_was_trained_with(monkeypatch):
    monkeypatch.delenv("VITOL_WEIGHTS", raising=False)
    asked: list[tuple] = []

    def create(name: str, classes: int, weights: Any) -> torch.nn.Module:
        asked.append((name, classes, weights))
        return timm.create_model(name, num_classes=classes)

    monkeypatch.setattr(photos, "create_model", create)
    assert Explainer("test_vit").names.find("bow tie") == 457
    assert asked == [("test_vit", 1000, "hub")]
    with pytest.raises(ValueError, match="vit_small_patch14_dinov2 has no classifier"):
        Explainer("vit_small_patch14_dinov2")


def test_two_objects_in_the_readme_s_photo_have_a_box_each(shared, monkeypatch):
    monkeypatch.setenv("VITOL_WEIGHTS", str(shared / "data/weights"))
    shuttle, helmet = Explainer("deit_tiny_patch16_224").explain(
        [ROOT / "docs/photos/astronaut.jpg"], classes=["space shuttle", "crash helmet"]
    )
    by_hand = [[355, 0, 472, 285], [278, 344, 512, 512]]
    overlaps = iou_matrix([shuttle.box, helmet.box], by_hand)
    assert (overlaps.diagonal() > 0.5).all(), overlaps
    assert overlaps[0, 1] == overlaps[1, 0] == 0


def test_a_folder_s_own_names_and_preparation_are_taken(tmp_path, folder):
    model = timm.create_model("test_vit", num_classes=3)
    Path("mine").mkdir()
    save_file(model.state_dict(), "mine/model.safetensors")
    stated = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1], "interpolation": "bilinear", "num_classes": 3}
    config = {"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": stated}
    for labels, names in (
        (["a", "b", "c"], ["a", "b", "c"]),
        ({"2": "c", "0": "a", "1": "b"}, ["a", "b", "c"]),
        (["n01", "n02", "n03"], ["tench", "n02", "crane"]),
        (None, ["class 0", "class 1", "class 2"]),
    ):
        described = {"n01": "tench", "n03": "crane"}
        Path("mine/config.json").write_text(
            json.dumps({**config, "label_names": labels, "label_descriptions": described})
        )
        asked = Explainer("local-dir:mine")
        assert [asked.names.full(index) for index in range(3)] == names
        assert asked.prepare == Preparation((160, 160), (0.5, 0.5, 0.5), (0.25, 0.5, 1), "bilinear")
    assert all(torch.equal(asked.model.state_dict()[n].cpu(), t) for n, t in model.state_dict().items())
    found = Explainer("local-dir:mine", ["x", "y", "z"]).explain(["photos/dog.jpg"], classes=["y"])[0]
    assert (found.index, found.label) == (1, "y")
    assert Explainer("local-dir:mine").explain(["photos/dog.jpg"]).model == "local-dir:mine"


def test_a_folder_that_is_not_there_is_an_error_in_words(folder):
    with pytest.raises(CheckpointError, match="nowhere is not a folder; give one with config.json and model"):
        Explainer("local-dir:nowhere")
