import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fakes import fake_openimages, truncate
from score_files import small_split, write_logits, write_maps
from typer.testing import CliRunner, Result

from vitol.boxes import score_map
from vitol.cli import app
from vitol.datasets.openimages import read_openimages
from vitol.datasets.splits import Split
from vitol.pxap import BINS, pixel_counts, pxap
from vitol.score_report import report
from vitol.scored_maps import Files
from vitol.scores import Scores
from vitol.scoring import MapFaults, Method, read_scored_split, score_methods
from vitol.split_masks import SplitMaskReader

FEW = {"replicates": 50}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fake_openimages(tmp_path / "OpenImages")


@pytest.fixture
def split(root: Path) -> Split:
    return read_scored_split(root / "test")


@pytest.fixture
def methods(tmp_path: Path, root: Path) -> list[Method]:
    """Two methods; the maps of the first are the masks, those of the second noise."""
    split = read_openimages(root).splits["test"]
    reader, rng = SplitMaskReader(split, root), np.random.default_rng(0)
    for row, image in enumerate(split.ids):
        for name, values in (("good", reader[row] == 1), ("noise", rng.random((14, 14)))):
            path = tmp_path / name / f"{image}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values.astype(np.float32))
    return [Method(name, Files(tmp_path / name)) for name in ("good", "noise")]


def test_the_published_text_files_are_enough_to_score_against(root: Path, split: Split) -> None:
    assert not (root / "test/image_sizes.txt").exists()
    assert split == replace(read_openimages(root).splits["test"], sizes=np.zeros((2, 2), np.int64))


def test_pxap_is_that_of_all_pixels_that_are_not_left_out(
    root: Path, split: Split, methods: list[Method]
) -> None:
    scores = score_methods(methods, split, masks=root, **FEW)
    reader = SplitMaskReader(split, root)
    for method in methods:
        total = np.zeros((2, BINS), np.int64)
        for row, image in enumerate(split.ids):
            total += pixel_counts(score_map(np.load(method.files.maps / f"{image}.npy")), reader[row])
        (entry,) = scores[method.name].measurements
        assert (entry.metric, entry.policy, entry.value) == ("PxAP", "", pxap(total))
    # Cubic interpolation of a map that is as large as the score map changes nothing.
    assert scores["good"].measurement("PxAP").value == pytest.approx(100)
    assert scores["Full image"].measurement("PxAP").value == pytest.approx(
        100 * (total[1].sum() / total.sum())
    )


def test_methods_are_compared_by_pxap_and_there_is_nothing_of_boxes(
    root: Path, split: Split, methods: list[Method]
) -> None:
    scores = score_methods(methods, split, masks=root, **FEW)
    assert scores.headline == ("PxAP", "")
    assert {compared.metric for compared in scores.comparisons} == {"PxAP"}
    assert len(scores.comparisons) == 6
    said = report(scores)
    assert said["policies"] == []
    assert all(method["curves"] is None and method["views"] == [] for method in said["methods"])


def test_floors_can_be_left_out(root: Path, split: Split, methods: list[Method]) -> None:
    scores = score_methods(methods, split, masks=root, floors=False, **FEW)
    assert [method.name for method in scores.methods] == ["good", "noise"]


def test_faults_of_maps_and_masks_come_in_one_error(root: Path, split: Split, methods: list[Method]) -> None:
    truncate(root / "test/0a/t1_m1.png")
    for image in split.ids:
        np.save(methods[0].files.maps / f"{image}.npy", np.full((14, 14), np.nan, np.float32))
    (methods[1].files.maps / "test/0a/t1.jpg.npy").unlink()
    np.save(methods[1].files.maps / "test/0a/t9.jpg.npy", np.zeros((14, 14), np.float32))
    with pytest.raises(MapFaults) as error:
        score_methods(methods, split, masks=root, **FEW)
    assert [fault.where.partition(":")[0] for fault in error.value.faults] == [
        "noise/test/0a/t1.jpg.npy",
        "noise/test/0a/t9.jpg.npy",
        "good/test/0a/t1.jpg.npy",
        "good/test/0b/t2.jpg.npy",
        "test/0a/t1_m1.png",
    ]
    np.save(methods[0].files.maps / "test/0a/t1.jpg.npy", np.zeros((14, 14), np.float32))
    (methods[0].files.maps / "test/0b/t2.jpg.npy").write_bytes(
        (methods[1].files.maps / "test/0b/t2.jpg.npy").read_bytes()
    )
    with pytest.raises(MapFaults) as error:
        score_methods(methods[:1], split, masks=root, **FEW)
    assert [fault.where for fault in error.value.faults] == ["test/0a/t1_m1.png"]


def test_images_without_a_map_can_be_left_out(root: Path, split: Split, methods: list[Method]) -> None:
    (methods[1].files.maps / "test/0a/t1.jpg.npy").unlink()
    scores = score_methods(methods, split, masks=root, allow_missing=True, **FEW)
    assert scores.left_out == ("test/0a/t1.jpg",)
    assert scores.split.ids == ("test/0b/t2.jpg",)


def test_what_has_no_meaning_for_masks_is_refused(
    tmp_path: Path, root: Path, split: Split, methods: list[Method]
) -> None:
    with pytest.raises(
        ValueError, match=r"lists masks and no boxes: give the folder .* start from \(--masks\)"
    ):
        score_methods(methods, split, **FEW)
    for options in (
        {"val_cut": True, "policies": ["validation"]},
        {"fixed": 0.2, "policies": ["oracle-per-iou", "fixed"]},
        {"policies": ["validation"]},
        {"policies": ["oracle-single"]},
        {"validation": split},
    ):
        with pytest.raises(
            ValueError, match="are masks, .* it has no threshold .*; leave --policy, --val-maps"
        ):
            score_methods(methods, split, masks=root, **options, **FEW)
    logits = write_logits(tmp_path / "logits.npy", split)
    with_logits = [replace(method, files=replace(method.files, logits=logits)) for method in methods]
    with pytest.raises(
        ValueError, match="good has logits or maps of the predicted class; PxAP, the metric of"
    ):
        score_methods(with_logits, split, masks=root, **FEW)
    boxes = small_split(4)
    maps = Files(write_maps(tmp_path / "maps", boxes))
    method = Method("boxes", maps, Files(methods[0].files.maps))
    with pytest.raises(ValueError, match=r"choose thresholds on have masks and no boxes \(--val-metadata\)"):
        score_methods([method], boxes, validation=split, policies=["validation"], **FEW)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *(str(argument) for argument in arguments)])


def test_the_command_scores_masks_and_writes_all_its_files(
    tmp_path: Path, root: Path, methods: list[Method]
) -> None:
    maps = [option for method in methods for option in ("--maps", method.files.maps)]
    out = tmp_path / "scores"
    result = run(
        *maps,
        "--metadata",
        root / "test",
        "--masks",
        root,
        "--out",
        out,
        "--replicates",
        50,
        "--report",
        tmp_path / "r",
    )
    assert result.exit_code == 0, result.output
    assert "PxAP: area under the precision-recall curve" in result.stdout
    assert "PxAP, paired over the same images:" in result.stdout
    assert "MaxBoxAcc" not in result.stdout and "oracle" not in result.stdout
    frame = pd.read_csv(out / "scores.csv")
    assert list(frame["metric"].unique()) == ["PxAP"]
    assert len(pd.read_csv(out / "views.csv")) == 0
    assert (out / "score.png").stat().st_size > 1000
    assert json.loads((out / "report.json").read_text())["n_images"] == 2


def test_the_command_says_that_masks_are_needed(root: Path, methods: list[Method]) -> None:
    result = run("--maps", methods[0].files.maps, "--metadata", root / "test")
    assert result.exit_code == 1
    assert "the split lists masks and no boxes" in result.stderr


@pytest.mark.parametrize("policy", ["oracle-single", "validation", "fixed"])
def test_the_command_says_that_masks_have_no_policy(root: Path, methods: list[Method], policy: str) -> None:
    result = run(
        "--maps", methods[0].files.maps, "--metadata", root / "test", "--masks", root, "--policy", policy
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert "leave --policy, --val-maps, --val-cut and --threshold out" in result.stderr


def test_scores_of_boxes_keep_their_headline(tmp_path: Path) -> None:
    split = small_split(4)
    maps = Files(write_maps(tmp_path / "maps", split))
    scores: Scores = score_methods([Method("a", maps)], split, **FEW)
    assert scores.headline == ("MaxBoxAccV2", "oracle-per-iou")
