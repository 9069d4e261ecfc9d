"""`vitol report`: anyone's maps as a page."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from score_files import small_split, write_logits, write_masks, write_two_methods
from typer.testing import CliRunner, Result

from vitol.cli import app
from vitol.datasets.splits import Split
from vitol.report.packing import read_records
from vitol.scored_maps import Files
from vitol.scoring import Method, read_scored_split, score_methods

N = 12
FEW = ("--replicates", 20)


@pytest.fixture
def split() -> Split:
    return small_split(N)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods, `good` and `poor`, the metadata `test` and its images, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_two_methods(split)
    for name, size in zip(split.ids, split.sizes.tolist(), strict=True):
        Path("images", name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(Path("images", name))


def run(*arguments: object, images: str = "images") -> Result:
    fixed = ("--metadata", "test", "--images", images, "--out", "report.html", *FEW)
    given = [str(argument) for argument in (*arguments, *fixed)]
    return CliRunner().invoke(app, ["report", *given], env={"COLUMNS": "160"})


def gallery() -> dict:
    text = Path("report.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    (only,) = json.loads(found[1])["galleries"]
    return only


def test_maps_become_a_page_with_the_scores_of_vitol_score(split):
    logits = write_logits(Path("logits.npy"), split)
    result = run("--maps", "GAR=good", "--maps", "poor", "--logits", logits, "--predicted-maps", "GAR=poor")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "page report.html"
    packed = gallery()
    assert [(one["method"], one["of"]) for one in packed["layers"]] == [
        ("GAR", "label"),
        ("GAR", "predicted"),
        ("poor", "label"),
    ]
    assert [one["name"] for one in packed["photos"]] == list(split.ids)
    predicted = np.load(logits).argmax(axis=1).tolist()
    assert all(one["predicted"] == predicted for one in packed["layers"])
    good, poor = Files(Path("good"), Path("poor"), logits), Files(Path("poor"), None, logits)
    scores = score_methods(
        [Method("GAR", good), Method("poor", poor)], read_scored_split(Path("test")), replicates=20
    )
    text = Path("report.html").read_text()
    for method, layer in (("GAR", packed["layers"][0]), ("poor", packed["layers"][2])):
        entry = scores[method].measurement("MaxBoxAccV2")
        assert (
            f'data-value="{entry.value!r}">{entry.value:.1f}<small>[{entry.ci_low:.1f}, {entry.ci_high:.1f}]'
            in text
        )
        start = scores[method].measurement("GTKnownLocV1").threshold
        assert layer["threshold"] / 1000 == pytest.approx(start)
        assert max(layer["curve"]["accuracy"][1]) == round(scores[method].measurement("IoU50").value, 2)
    assert "Who beats whom" in text and str(Path.cwd()) not in text


def test_the_same_maps_give_the_same_bytes():
    assert run("--maps", "good").exit_code == 0
    once = Path("report.html").read_bytes()
    assert run("--maps", "good", "--force", "--workers", 1).exit_code == 0
    assert Path("report.html").read_bytes() == once


def test_the_gallery_shows_as_many_images_as_asked_for_and_all_are_scored():
    assert run("--maps", "good", "--count", 5).exit_code == 0
    packed = gallery()
    assert len(packed["photos"]) == 5 and packed["layers"][0]["curve"]["n"] == N
    assert packed["note"].startswith("5 of the 12 images scored")


def test_images_without_a_map_are_left_out_if_asked_for(split):
    logits = write_logits(Path("logits.npy"), split)
    Path("good", f"{split.ids[3]}.npy").unlink()
    result = run("--maps", "good")
    assert result.exit_code == 1 and "1 fault; no page was made" in result.stderr
    assert not Path("report.html").exists()
    assert run("--maps", "good", "--logits", logits, "--allow-missing").exit_code == 0
    packed = gallery()
    left = [at for at in range(N) if at != 3]
    assert [one["name"] for one in packed["photos"]] == [split.ids[at] for at in left]
    assert packed["layers"][0]["predicted"] == np.load(logits).argmax(axis=1)[left].tolist()


def test_maps_with_nan_are_refused_or_shown_as_they_are_scored(split):
    np.save(Path("good", f"{split.ids[0]}.npy"), np.full((14, 14), np.nan, np.float32))
    result = run("--maps", "good")
    assert result.exit_code == 1 and "196 of 196 values are NaN" in result.stderr
    assert run("--maps", "good", "--reference-nan").exit_code == 0
    packed = gallery()
    records = read_records(zlib.decompress(base64.b64decode(packed["records"])))
    assert not records[packed["layers"][0]["records"][0]].steps.best.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--count", 0), "--count 0 shows no image; give at least 1"),
        (("--logits", "none.npy"), "none.npy cannot be read"),
        (("--maps", "good"), "two methods are called 'good'"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_page(arguments, said):
    result = run("--maps", "good", *arguments)
    assert result.exit_code == 1 and said in result.stderr
    assert not Path("report.html").exists()


def test_a_page_that_is_there_is_kept_unless_forced():
    Path("report.html").write_text("mine")
    result = run("--maps", "good")
    assert result.exit_code == 1 and "report.html exists already" in result.stderr
    assert Path("report.html").read_text() == "mine"


def test_missing_images_are_named(split):
    result = run("--maps", "good", images="elsewhere")
    assert result.exit_code == 1
    assert f"image {split.ids[0]}: elsewhere/{split.ids[0]} does not exist" in result.stderr


def test_objects_that_are_masks_have_no_boxes_to_show(split):
    masks = write_masks(Path("masks"), split)
    lines = [f"{name},{Path(name).with_suffix('.png')}," for name in split.ids]
    Path("test", "localization.txt").write_text("\n".join(lines))
    result = run("--maps", "good")
    assert result.exit_code == 1 and masks.is_dir()
    assert "test lists masks, and the page shows boxes; score masks with `vitol score`" in result.stderr
