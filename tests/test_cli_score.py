import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from score_files import small_split, write_logits, write_maps, write_masks, write_metadata, write_two_methods
from typer.testing import CliRunner, Result

import vitol.score_report
from vitol.accuracy import POLICIES
from vitol.cli import app
from vitol.cli.score_options import Policy, assign, read_named
from vitol.datasets.splits import Split
from vitol.score_report import FILES, REPORT

N = 12
FEW = ("--replicates", 20)


@pytest.fixture
def split() -> Split:
    return small_split(N)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods, `good` and `poor`, and the metadata `test`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_two_methods(split)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        app, ["score", *(str(argument) for argument in arguments)], env={"COLUMNS": "160"}
    )


def both(*arguments: object) -> Result:
    return run("--maps", "good", "--maps", "Poor one=poor", "--metadata", "test", *FEW, *arguments)


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name not in ("test", "good", "poor"))


def cells(result: Result) -> dict[str, list[str]]:
    """Rows of the printed table, by their first cell; of repeated ones the first."""
    rows: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        if line.startswith("│"):
            label, *values = (cell.strip() for cell in line.strip("│").split("│"))
            rows.setdefault(label, values)
    return rows


def test_a_folder_of_maps_is_scored_end_to_end(split: Split) -> None:
    write_masks(Path("masks"), split)
    write_logits(Path("logits.npy"), split)
    options = ("--masks", "masks", "--logits", "logits.npy", "--predicted-maps", "good=good")
    result = both(*options, "--out", "scores", "--report", "all.json")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("scores").iterdir()) == sorted(FILES)
    report = json.loads(Path("all.json").read_text())
    assert {**report, "command": ""} == {**json.loads(Path("scores", REPORT).read_text()), "command": ""}
    names = ["good", "Poor one", "Gaussian", "Full image"]
    assert [method["name"] for method in report["methods"]] == names
    good = {entry["metric"]: entry for entry in report["methods"][0]["measurements"]}
    expected = "MaxBoxAccV2 IoU30 IoU50 IoU70 GTKnownLoc GTKnownLocV1 PredictedLoc Top1Loc Top5Loc Top1Cls Top5Cls PxAP"
    assert list(good) == expected.split()
    rows = cells(result)
    for metric, label in (("MaxBoxAccV2", "MaxBoxAccV2"), ("Top5Loc", "Top-5 Loc"), ("PxAP", "PxAP")):
        entry = good[metric]
        assert rows[label][0] == f"{entry['value']:.1f} [{entry['ci_low']:.1f}, {entry['ci_high']:.1f}]"
    assert rows["Predicted Loc"][1] == ""
    assert result.stdout.startswith("12 images of test: percent, 95% intervals over images\n")
    assert "  good beats Poor one by " in result.stdout
    assert "\ngood, Poor one, maps named <image id>.npy\n" in result.stdout
    assert (
        "\ngood, Poor one, maps: no map runs from 0 to 1: stretched, as the protocol says\n" in result.stdout
    )
    assert "scores  scores/*.csv, score.png, report.json\nreport  all.json\n" in result.stdout
    for word in ("Scoring good", "Counting pixels", "12/12", "images/s"):
        assert word in result.stderr
    frame = pd.read_csv("scores/scores.csv", keep_default_na=False)
    assert list(frame) == "method metric policy value ci_low ci_high n_images threshold seed".split()
    assert list(dict.fromkeys(frame["method"])) == names
    assert float(frame["value"][0]) == good["MaxBoxAccV2"]["value"]
    with Image.open("scores/score.png") as picture:
        assert picture.width == 1600


def test_without_a_place_to_write_to_nothing_is_written() -> None:
    result = both("--no-floors")
    assert result.exit_code == 0, result.output
    assert left() == []
    assert "Gaussian" not in result.stdout


def test_many_methods_are_printed_in_several_tables_on_a_narrow_screen() -> None:
    maps = [word for name in "abcdef" for word in ("--maps", f"{name}=good")]
    result = CliRunner().invoke(
        app, ["score", *maps, "--metadata", "test", *map(str, FEW)], env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("┏") == 4
    assert max(len(line) for line in result.stdout.splitlines() if line.startswith("│")) <= 80
    assert "  a and b cannot be told apart: 0.0 [0.0, 0.0]" in result.stdout
    assert "  ... and 15 more pairs" in result.stdout


def test_policies_are_those_the_options_are_for_unless_said() -> None:
    def policies(*options: object) -> list[str]:
        result = both("--report", "scores.json", "--force", *options)
        assert result.exit_code == 0, result.output
        return json.loads(Path("scores.json").read_text())["policies"]

    assert policies() == ["oracle-per-iou"]
    assert policies("--threshold", 0.2) == ["oracle-per-iou", "fixed"]
    assert policies("--val-cut") == ["oracle-per-iou", "oracle-single", "validation"]
    asked = ("--policy", "fixed", "--policy", "validation", "--threshold", 0, "--val-cut")
    assert policies(*asked) == ["fixed", "validation"]
    assert json.loads(Path("scores.json").read_text())["validation"] == {"n_images": 4, "cut": True}


def test_every_policy_can_be_asked_for() -> None:
    assert tuple(policy.value for policy in Policy) == POLICIES


def test_thresholds_are_chosen_on_other_images() -> None:
    other = small_split(8, "val", seed=5)
    write_metadata(Path("val"), other)
    write_logits(Path("val.npy"), other)
    write_logits(Path("logits.npy"), small_split(N))
    for name in ("good", "poor"):
        write_maps(Path(name), other, seed=9)
    options = ("--val-maps", "good", "--val-maps", "poor", "--val-metadata", "val", "--logits", "logits.npy")
    refused = both(*options)
    assert refused.exit_code == 1
    assert (
        "good has logits of the split to score, but not of the validation split (--val-logits)"
        in refused.stderr
    )
    result = both(*options, "--val-logits", "val.npy")
    assert result.exit_code == 0, result.output
    assert "validation: thresholds chosen on 8 images of the validation split" in result.stdout


def test_a_floor_does_not_borrow_answers_that_the_validation_split_does_not_share() -> None:
    other = small_split(8, "val", seed=5)
    write_metadata(Path("val"), other)
    write_logits(Path("logits.npy"), small_split(N))
    for name in ("good", "poor"):
        write_maps(Path(name), other, seed=9)
        write_logits(Path(f"{name}.npy"), other, seed=len(name))
    Path("own.npy").write_bytes(Path("good.npy").read_bytes())
    vals = ("--val-maps", "good", "--val-maps", "poor", "--val-metadata", "val")
    result = both(*vals, "--logits", "logits.npy", "--val-logits", "good.npy", "--val-logits", "own.npy")
    assert result.exit_code == 0, result.output
    assert cells(result)["Top-1 Loc"][2:] == ["", ""]


def test_faults_are_listed_all_of_them_in_a_file_and_there_is_no_result(split: Split) -> None:
    for image in split.ids:
        np.save(f"good/{image}.npy", np.zeros(3))
        np.save(f"poor/{image}.npy", np.array([{}]), allow_pickle=True)
    result = both("--out", "scores", "--report", "scores.json")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = [line for line in result.stderr.splitlines() if "━" not in line]
    assert lines[0] == "nothing was scored (faults: 24)"
    assert lines[1] == "  good/test/00.jpg.npy: has shape (3,); a map is (height, width), one file an image"
    assert lines[20] == (
        "  Poor one/test/07.jpg.npy: holds pickled Python objects; they are never loaded: save a plain array"
    )
    assert lines[21:] == [
        "  ... and 4 more",
        "  all of them: scores.faults.csv",
        "24 faults; nothing was scored",
    ]
    assert "Traceback" not in result.stderr
    assert left() == ["scores.faults.csv"]
    frame = pd.read_csv("scores.faults.csv")
    assert list(frame) == ["where", "seen", "remedy", "image"]
    assert (len(frame), frame["image"][23]) == (24, split.ids[-1])


def test_a_list_of_faults_goes_when_they_are_mended(split: Split) -> None:
    path = Path(f"good/{split.ids[0]}.npy")
    content = path.read_bytes()
    path.write_bytes(b"")
    assert both("--report", "scores.json").exit_code == 1
    assert left() == ["scores.json.faults.csv"]
    path.write_bytes(content)
    assert both("--report", "scores.json").exit_code == 0
    assert left() == ["scores.json"]


def test_faults_are_said_where_nothing_is_written(split: Split) -> None:
    Path(f"good/{split.ids[0]}.npy").unlink()
    result = both()
    assert result.exit_code == 1
    assert "nothing was scored (faults: 1)" in result.stderr
    assert "all of them" not in result.stderr
    assert result.stderr.splitlines()[-1] == "1 fault; nothing was scored"
    assert left() == []


def test_all_faults_are_printed_where_no_file_lists_them(split: Split) -> None:
    for image in split.ids:
        np.save(f"good/{image}.npy", np.zeros(3))
        np.save(f"poor/{image}.npy", np.zeros(3))
    result = both()
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if "━" not in line]
    assert lines[0] == "nothing was scored (faults: 24)"
    assert lines[24].startswith("  Poor one/test/11.jpg.npy: has shape (3,)")
    assert lines[25:] == ["24 faults; nothing was scored"]


def test_a_file_that_is_no_list_of_faults_is_neither_overwritten_nor_removed(split: Split) -> None:
    Path("scores.faults.csv").write_text("mine")
    for force in ((), ("--force",)):
        result = both("--out", "scores", *force)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "scores.faults.csv, where faults would be listed, is there and no such list" in result.stderr
    assert left() == ["scores.faults.csv"]
    assert Path("scores.faults.csv").read_text() == "mine"


def test_the_table_is_printed_though_files_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(vitol.score_report, "save", full)
    result = both("--out", "scores")
    assert (result.exit_code, "disk full" in result.stderr) == (1, True)
    assert cells(result)["MaxBoxAccV2"]
    assert left() == []


def test_a_method_may_be_called_anything() -> None:
    result = run("--maps", "x[/b]=good", "--metadata", "test", *FEW)
    assert result.exit_code == 0, result.output
    assert "Scoring x[/b]" in result.stderr


def test_one_image_is_said_in_the_singular() -> None:
    write_metadata(Path("one"), small_split(1))
    result = run("--maps", "good", "--metadata", "one", "--allow-missing", *FEW)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 image of one: percent")


@pytest.mark.parametrize("methods", [1, 2, 3, 5])
def test_no_cell_of_the_table_is_wrapped_at_80_columns(methods: int) -> None:
    maps = [word for number in range(methods) for word in ("--maps", f"m{number}=good")]
    result = CliRunner().invoke(
        app, ["score", *maps, "--metadata", "test", *map(str, FEW)], env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert max(map(len, rows)) <= 80
    full = [line for line in rows if "100.0 [100.0, 100.0]" in line]
    assert full
    assert all(line.count("[") == line.count("]") for line in rows)


def test_the_rest_is_scored_if_maps_may_be_missing(split: Split) -> None:
    for image in split.ids[:4]:
        Path(f"good/{image}.npy").unlink()
    Path("poor/other.npy").write_bytes(Path(f"poor/{split.ids[5]}.npy").read_bytes())
    result = both("--allow-missing", "--report", "scores.json")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("scores.json").read_text())
    assert (report["n_images"], report["left_out"]) == (8, list(split.ids[:4]))
    assert report["methods"][0]["traps"]["maps"]["missing"] == list(split.ids[:4])
    assert report["methods"][1]["traps"]["maps"]["extra"] == ["other.npy"]
    assert "left out: 4 images without a map: test/00.jpg, test/01.jpg, test/02.jpg, ..." in result.stdout
    said = "Poor one, maps: no map runs from 0 to 1: stretched, as the protocol says; 1 file of no image, left out"
    assert said in result.stdout
    assert result.stdout.startswith("8 images of test")


def test_maps_with_nan_are_counted() -> None:
    np.save("good/test/03.jpg.npy", np.full((4, 4), np.nan))
    assert both().exit_code == 1
    result = both("--reference-nan", "--report", "scores.json")
    assert result.exit_code == 0, result.output
    assert "1 map with NaN or infinity, scored as zeros" in result.stdout
    assert json.loads(Path("scores.json").read_text())["methods"][0]["traps"]["maps"]["not_finite"] == 1


def test_metadata_at_fault_is_reported_with_a_list(split: Split) -> None:
    with Path("test/localization.txt").open("a") as file:
        file.write("test/00.jpg,9,9,2,2\ntest/99.jpg,0,0,1,1\n")
    result = both("--out", "scores")
    assert result.exit_code == 1
    assert "test cannot be scored against (faults: 2)" in result.stderr
    assert "(9, 9, 2, 2) ends before it starts; boxes are (x0, y0, x1, y1)" in result.stderr
    assert len(pd.read_csv("scores.faults.csv")) == 2


def test_results_are_kept_unless_forced() -> None:
    assert both("--out", "scores", "--report", "one.json").exit_code == 0
    kept = Path("scores/scores.csv").read_bytes()
    refused = both("--out", "scores", "--seed", 1)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "scores/report.json exists already; give another folder, or force (--force)" in refused.stderr
    assert Path("scores/scores.csv").read_bytes() == kept
    refused = both("--report", "one.json")
    assert "one.json exists already; give another file, or force (--force)" in refused.stderr
    Path("scores/mine.txt").write_text("mine")
    assert both("--out", "scores", "--seed", 1, "--force").exit_code == 0
    assert Path("scores/scores.csv").read_bytes() != kept
    assert Path("scores/mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--out", "test/image_ids.txt"), "test/image_ids.txt is a file; give a folder to write to"),
        (("--report", "test"), "test is a folder; give a file to write to"),
        (
            ("--maps", "good"),
            "two methods are called 'good'; give each a name of its own, such as --maps good-2=",
        ),
        (("--maps", "=good"), "'=good' is neither a path nor NAME=PATH"),
        (("--maps", "Gaussian=good"), "two methods are called 'Gaussian'"),
        (("--maps", "nowhere"), "nowhere: nowhere is not a folder; give the one that holds the maps"),
        (("--metadata", "good"), "good cannot be scored against (faults: "),
        (("--masks", "nowhere"), "nowhere is not a folder; give the one that holds the masks"),
        (("--logits", "nowhere.npy"), "nowhere.npy cannot be read (no such file or directory); logits are"),
        (("--logits", "best=a.npy"), "'best' in --logits best=a.npy is none of the methods: good, Poor one"),
        (
            ("--predicted-maps", "good"),
            "--predicted-maps is given 1 time for 2 methods; say which it is for: --predicted-maps good=good",
        ),
        (
            ("--predicted-maps", "good=good", "--predicted-maps", "poor"),
            "--predicted-maps poor, without a name, is none of the methods: good, Poor one",
        ),
        (("--logits", "good=a.npy", "--logits", "good=b.npy"), "--logits is given twice for good; keep one"),
        (
            ("--val-logits", "a.npy"),
            "--val-logits and --val-predicted-maps go with --val-maps, which is missing",
        ),
        (("--val-metadata", "test"), "--val-maps and --val-metadata go together: maps of other images, and"),
        (
            ("--policy", "validation"),
            "policy validation needs other images to choose thresholds on: give their",
        ),
        (
            ("--policy", "oracle-single", "--val-cut"),
            "--val-cut is for the policy validation: add --policy validation, or leave it out",
        ),
        (
            ("--policy", "fixed"),
            "policy fixed is asked for without a threshold; add one, such as --threshold 0.2",
        ),
        (
            ("--policy", "oracle-single", "--threshold", "0.2"),
            "a threshold is given, but not the policy that reads at it; add --policy fixed, or leave --threshold",
        ),
        (
            ("--threshold", "1"),
            "threshold 1.0 is outside [0, 1); thresholds are fractions of a map's maximum",
        ),
        (
            ("--replicates", "0"),
            "replicates is 0; intervals need at least 1, and 2000 are usual (--replicates)",
        ),
        (("--seed", "-1"), "seed is -1; give a whole number from 0 (--seed)"),
        (("--report", "test/image_ids.txt/a.json"), "test/image_ids.txt is no folder; give another place"),
        (
            ("--out", "s", "--report", "s/report.json"),
            "--report s/report.json is what --out s writes, or in its way",
        ),
        (("--out", "s", "--report", "s/../s"), "--report s/../s is what --out s writes, or in its way"),
        (("--out", "s/t", "--report", "s"), "--report s is what --out s/t writes, or in its way"),
        (
            ("--out", "s", "--report", "s.faults.csv"),
            "--report s.faults.csv is where faults are listed; give the",
        ),
        (
            ("--val-maps", "good", "--val-maps", "poor", "--val-metadata", "test"),
            "12 images of the 12 to choose thresholds on would be scored, too, the first test/00.jpg; give other",
        ),
        (
            ("--val-maps", "good=good", "--val-metadata", "test"),
            "Poor one has no maps of the validation split",
        ),
    ],
)
def test_wrong_options_are_refused_in_words_and_nothing_is_written(
    arguments: tuple[str, ...], text: str
) -> None:
    result = both(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert [name for name in left() if not name.endswith(".faults.csv")] == []


@pytest.mark.parametrize("arguments", [(), ("--maps", "good"), ("--metadata", "test"), ("--policy", "best")])
def test_wrong_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_says_how_maps_are_named_and_shows_examples() -> None:
    words = " ".join(run("--help").stdout.replace("│", " ").split())
    for said in (
        "(the best on these images, for each IoU)",
        "--val-predicted-maps",
        "a fault, also with --allow-missing.",
    ):
        assert said in words
    assert "FOLDER/test/0001.jpg.npy for the image test/0001.jpg" in words
    assert "vitol score --maps maps/gar --metadata metadata/test" in words.split("Examples:")[1]


def test_a_path_may_hold_an_equals_sign() -> None:
    Path("good").rename("lr=0.1")
    assert read_named("lr=0.1") == ("", Path("lr=0.1"))
    assert read_named("GAR=lr=0.1") == ("GAR", Path("lr=0.1"))


def test_values_without_names_go_to_the_methods_in_their_order() -> None:
    assert assign("--x", ["a", "b"], ["one", "two"]) == {"one": Path("a"), "two": Path("b")}
    assert assign("--x", ["a"], ["one", "two"], shared=True) == {"one": Path("a"), "two": Path("a")}
    assert assign("--x", ["two=a"], ["one", "two"]) == {"two": Path("a")}
    assert assign("--x", [], ["one"]) == {}
