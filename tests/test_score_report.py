import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from score_files import small_split, write_maps

import vitol.score_report
from vitol.accuracy import DELTAS, Difference, Measurement
from vitol.datasets.faults import Fault
from vitol.score_report import (
    FILES,
    REPORT,
    check_faults_file,
    check_free,
    check_free_file,
    differences_frame,
    draw,
    report,
    save,
    save_faults,
    save_report,
    scores_frame,
    views_frame,
)
from vitol.scored_maps import Files
from vitol.scores import Comparison, Scores
from vitol.scoring import Method, score_methods

N = 8


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    root = tmp_path_factory.mktemp("maps")
    split = small_split(N)
    methods = [
        Method("good", Files(write_maps(root / "good", split))),
        Method("poor", Files(write_maps(root / "poor", split, noise=3))),
    ]
    return score_methods(
        methods, split, policies=["oracle-per-iou", "oracle-single"], floors=False, replicates=30, seed=3
    )


def test_the_tables_hold_every_number_once(scores: Scores) -> None:
    frame = scores_frame(scores)
    assert not frame.duplicated(["method", "metric", "policy"]).any()
    assert len(frame) == sum(len(method.measurements) for method in scores.methods)
    for row in frame.itertuples():
        entry = scores[row.method].measurement(row.metric, row.policy)
        assert row.value == pytest.approx(entry.value, abs=1e-6)
        assert row.ci_low == pytest.approx(entry.ci_low, abs=1e-6)
        assert (row.n_images, row.seed) == (N, 3)
    differences = differences_frame(scores)
    assert len(differences) == len(scores.comparisons)
    values = frame.set_index(["method", "metric", "policy"])["value"]
    for row in differences.itertuples():
        expected = values[row.a, row.metric, row.policy] - values[row.b, row.metric, row.policy]
        assert row.value == pytest.approx(expected, abs=2e-6)
    views = views_frame(scores)
    assert views.columns[0] == "method"
    assert len(views) == sum(len(method.views) for method in scores.methods)


def test_the_report_says_how_it_was_made(scores: Scores) -> None:
    found = report(scores, "vitol score --maps good")
    assert found["command"] == "vitol score --maps good"
    assert set(found["versions"]) == {"vitol", "python", "numpy", "cv2", "numba", "pandas"}
    assert found["bootstrap"] == {"replicates": 30, "seed": 3, "level": 95}
    assert found["policies"] == ["oracle-per-iou", "oracle-single"]
    assert found["validation"] == {"n_images": 0, "cut": False}
    assert (found["n_images"], found["left_out"], found["threshold"]) == (N, [], None)


def test_the_report_s_curves_have_their_maxima_at_the_oracle_s_values(scores: Scores) -> None:
    for method, said in zip(scores.methods, report(scores)["methods"], strict=True):
        assert (said["name"], said["floor"], said["naming"]) == (method.name, False, "<image id>.npy")
        assert said["maps"].endswith(method.name)
        curves = said["curves"]
        assert len(curves["thresholds"]) == 255
        for delta in DELTAS:
            part = f"IoU{round(100 * delta)}"
            entry = method.measurement(part, "oracle-per-iou")
            assert max(curves[part]) == pytest.approx(entry.value, abs=1e-6)
            best = curves["thresholds"][int(np.argmax(curves[part]))]
            assert best == pytest.approx(entry.threshold, abs=1e-6)
        assert said["traps"]["maps"]["sizes"] == {"14x14": N}
        assert said["traps"]["maps"]["said"]


def test_a_number_that_is_not_there_is_null_and_never_nan(scores: Scores, tmp_path: Path) -> None:
    nothing = Measurement("PxAP", "", 12.0, np.nan, np.nan, N, None, np.full(3, np.nan))
    first = replace(scores.methods[0], measurements=(*scores.methods[0].measurements, nothing))
    save_report(replace(scores, methods=(first,)), tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text
    said = json.loads(text)["methods"][0]["measurements"][-1]
    assert (said["value"], said["ci_low"], said["ci_high"], said["threshold"]) == (12.0, None, None, None)


def test_a_difference_or_a_view_without_an_interval_is_null_too(scores: Scores, tmp_path: Path) -> None:
    no_interval = Comparison("good", "poor", "PxAP", "", Difference(1.0, np.nan, np.nan))
    views = scores.methods[0].views.copy()
    views.loc[0, "mean_iou"] = np.nan
    some = replace(
        scores,
        methods=(replace(scores.methods[0], views=views),),
        comparisons=(scores.comparisons[0], no_interval),
    )
    save_report(some, tmp_path / "a.json")
    report = json.loads((tmp_path / "a.json").read_text())
    assert [entry["ci_low"] is None for entry in report["differences"]] == [False, True]
    assert report["methods"][0]["views"][0]["mean_iou"] is None
    assert report["methods"][0]["views"][1]["mean_iou"] is not None


def test_a_place_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for check in (check_free, check_free_file):
        check(tmp_path / "new/er/place", False)
        with pytest.raises(ValueError, match=r"cannot be written: .*file is no folder; give another"):
            check(tmp_path / "file/new/place", False)
    monkeypatch.setattr(vitol.score_report.os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="cannot be written: .*folder may not be written to; give another"):
        check_free(tmp_path / "folder", False)
    with pytest.raises(ValueError, match="a.json cannot be written: .* may not be written to; give another"):
        check_free_file(tmp_path / "new/a.json", False)


def test_only_a_list_of_faults_gives_way_to_another(tmp_path: Path) -> None:
    path = tmp_path / "s.faults.csv"
    check_faults_file(path)
    save_faults([Fault("a", "b", "c")], path)
    check_faults_file(path)
    for content in ("where,seen,remedy,image,more\n", "mine", ""):
        path.write_text(content)
        with pytest.raises(
            ValueError, match=r"s\.faults\.csv, where faults would be listed, is there and no"
        ):
            check_faults_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="move it, or write elsewhere"):
        check_faults_file(path)


def test_the_same_scores_give_the_same_files(scores: Scores, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(scores, tmp_path / name, command="x")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_error_while_writing_leaves_nothing_behind(
    scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(vitol.score_report, "draw", fail)
    with pytest.raises(OSError, match="disk full"):
        save(scores, tmp_path / "out")

    def half(_: object, path: Path) -> None:
        path.write_text("{")
        raise OSError("disk full")

    monkeypatch.setattr(vitol.score_report, "_write_json", half)
    with pytest.raises(OSError, match="disk full"):
        save_report(scores, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_an_older_result_stays_whole_while_another_is_written(
    scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(scores, tmp_path / "out", command="first")
    with pytest.raises(ValueError, match=r"out/report\.json exists already; give another folder, or force"):
        save(scores, tmp_path / "out")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(vitol.score_report, "draw", fail)
    with pytest.raises(OSError, match="disk full"):
        save(scores, tmp_path / "out", force=True, command="second")
    assert json.loads((tmp_path / "out" / REPORT).read_text())["command"] == "first"


def test_an_empty_folder_is_written_into_and_parents_are_made(scores: Scores, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(scores, tmp_path / "empty")
    save(scores, tmp_path / "deep/er")
    assert sorted(path.name for path in (tmp_path / "deep/er").iterdir()) == sorted(FILES)


def test_the_picture_shows_the_six_best_of_more_methods(
    scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, poor = scores.methods
    many = tuple(replace(poor, name=f"p{number}") for number in range(4)) + tuple(
        replace(good, name=f"g{number}") for number in range(4)
    )
    drawn = {}
    monkeypatch.setattr(
        vitol.score_report, "score_figure", lambda title, views, path, note: drawn.update({note: list(views)})
    )
    draw(replace(scores, methods=many), tmp_path / "score.png")
    assert drawn == {
        "8 images, policy oracle-per-iou. The 6 of 8 methods with the highest MaxBoxAccV2.": [
            "p0",
            "p1",
            "g0",
            "g1",
            "g2",
            "g3",
        ]
    }


def test_all_faults_are_listed_with_what_to_do(tmp_path: Path) -> None:
    faults = [Fault("GAR/a.npy", "no map of a", "make it, or not", "a"), Fault("x,y", 'a "b"', "c")]
    save_faults(faults, tmp_path / "new/list.csv")
    frame = pd.read_csv(tmp_path / "new/list.csv", keep_default_na=False)
    assert frame.to_numpy().tolist() == [
        ["GAR/a.npy", "no map of a", "make it, or not", "a"],
        ["x,y", 'a "b"', "c", ""],
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["list.csv"]
