import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fakes import edit, fake_cub, fake_ilsvrc, fake_openimages, fake_tiny_imagenet, truncate, write_image
from typer.testing import CliRunner, Result

from vitol.cli import app
from vitol.datasets.layout import Layout
from vitol.datasets.layouts import LAYOUTS
from vitol.datasets.splits import make_split
from vitol.datasets.wsol import write_wsol


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered CUB; its parent is the current folder."""
    monkeypatch.chdir(tmp_path)
    root = fake_cub(tmp_path / "CUB_200_2011")
    assert run("register", "cub", root).exit_code == 0
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])


def rows(result: Result) -> list[list[str]]:
    """Cells of the tables that were printed."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


@pytest.mark.parametrize("command", ["list", "check", "show", "sample"])
def test_help_shows_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"vitol data {command}" in result.stdout.split("Examples:")[1]


def test_list_shows_what_is_registered_and_what_could_be(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    result = run("list")
    assert result.exit_code == 0, result.output
    found = rows(result)
    assert found[0] == ["cub", "cub", "train 3 (3 boxes)", str(root)]
    assert found[1][2] == "test 2 (2 boxes)"
    assert found[2:] == [[name, reader.expects] for name, reader in LAYOUTS.items()]


def test_list_says_when_nothing_is_registered(tmp_path: Path) -> None:
    result = run("list", "--folder", tmp_path / "none")
    assert result.exit_code == 0
    assert f"No data set is registered in {tmp_path / 'none'}." in result.stdout
    assert "tiny-imagenet" in result.stdout


def test_list_goes_on_where_a_root_is_gone_or_a_manifest_is_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shutil.rmtree(root)
    Path("registered/broken.json").write_text("{")
    Path("registered/old.json").write_text("{}")
    Path("registered/array.json").write_text("[]")
    for name, splits in (("odd", {"test": {}}), ("flat", [1]), ("bare", {"test": 1})):
        odd = {"layout": "cub", "classes": 2, "splits": splits, "fingerprint": ""}
        Path(f"registered/{name}.json").write_text(json.dumps(odd))
    Path("registered/moved.json").write_text(Path("registered/cub.json").read_text())
    found = {row[0]: row[3] for row in rows(run("list")) if len(row) == 4}
    assert found["cub"] == f"{root} (gone)"
    assert found["broken"].startswith("registered/broken.json is no manifest")
    assert found["old"] == "its manifest does not say 'layout': register it again"
    assert found["array"].startswith(
        "registered/array.json is no manifest (it holds list, not an object); run"
    )
    assert found["odd"] == "its manifest does not say 'images': register it again"
    assert found["flat"] == found["bare"]
    assert found["flat"] == "its manifest is not as `vitol data register` writes it: register it again"
    assert found["moved"].startswith("data set 'moved' has no root: VITOL_MOVED_ROOT is not set")


def test_list_as_json_holds_everything(root: Path) -> None:
    manifest = json.loads(Path("registered/cub.json").read_text())
    result = run("list", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["datasets"] == [
        {
            "name": "cub",
            "layout": "cub",
            "classes": 2,
            "splits": manifest["splits"],
            "fingerprint": manifest["fingerprint"],
            "root": str(root),
            "root_found": True,
            "error": None,
        }
    ]
    assert [entry["layout"] for entry in said["layouts"]] == list(LAYOUTS)


def test_check_says_that_all_is_well(root: Path) -> None:
    result = run("check", "cub")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"cub is what was registered: train 3 images, test 2 images, 5 text files in {root}\n"
    )
    assert "5/5" in result.stderr


def test_check_lists_what_differs_and_exits_with_one(root: Path) -> None:
    edit(root / "classes.txt", "004.Ani", "004.Jay")
    write_image(root / "images/004.Ani/a.jpg", seed=99)
    truncate(root / "images/004.Ani/b.jpg")
    result = run("check", "cub")
    assert (result.exit_code, result.stdout) == (1, "")
    for text in (
        "(faults: 3)",
        "classes.txt: has changed since the data set was registered",
        "004.Ani/a.jpg: its content is not what was registered",
        "004.Ani/b.jpg: cannot be decoded",
        f"vitol data register cub {root} --name cub",
    ):
        assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_check_of_an_older_registration_says_to_register_again(root: Path) -> None:
    Path("registered/cub.splits/contents.txt").unlink()
    result = run("check", "cub")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"run `vitol data register cub {root} --name cub --faults stop`" in result.stderr
    assert "contents.txt is not there, so no image can be compared" in result.stderr
    assert "data set 'jays' is not registered" in run("check", "jays").stderr


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"layout": "cub", "splits": [], "metadata": 1}'])
def test_check_refuses_an_odd_manifest_in_words(root: Path, text: str) -> None:
    Path("registered/cub.json").write_text(text)
    result = run("check", "cub")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "vitol data register" in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_all_faults_are_listed_in_a_file_that_goes_when_they_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = fake_ilsvrc(tmp_path / "ILSVRC", images=60)
    solution = (root / "LOC_val_solution.csv").read_text()
    (root / "Data/CLS-LOC/val").rename(tmp_path / "val")
    (root / "Data/CLS-LOC/val").mkdir()
    edit(root / "LOC_val_solution.csv", "val_060,n03 1 2 70 20", "val_060,n03 1 2 x 20")
    file = Path("registered/ilsvrc.faults.csv")
    for command in (("register", "ilsvrc", root, "--faults", "clip"), ("check", "ilsvrc")):
        result = run(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        said = [line for line in result.stderr.splitlines() if "━" not in line]
        listed = pd.read_csv(file)
        assert list(listed)[:3] == ["where", "seen", "remedy"]
        assert f"(faults: {len(listed)})" in said[0] and len(listed) > 60
        assert said[-3:-1] == [f"  ... and {len(listed) - 50} more", f"  all of them: {file}"]
        assert len(said) == 54
        (root / "Data/CLS-LOC/val").rmdir()
        (tmp_path / "val").rename(root / "Data/CLS-LOC/val")
        (root / "LOC_val_solution.csv").write_text(solution)
        assert run(*command).exit_code == 0
        assert not file.exists()
        (root / "Data/CLS-LOC/val").rename(tmp_path / "val")
        (root / "Data/CLS-LOC/val").mkdir()
        (root / "LOC_val_solution.csv").write_text(solution.replace("val_060,", "val_061,"))


def test_a_list_of_faults_goes_when_those_that_are_left_are_all_shown(root: Path) -> None:
    file = Path("registered/cub.faults.csv")
    file.write_text("where,seen,remedy,image\n")
    truncate(root / "images/004.Ani/b.jpg")
    for command, outcome in (
        ("register", "nothing was registered"),
        ("check", "it is not what was registered"),
    ):
        result = run(command, "cub", *((root,) if command == "register" else ()))
        assert result.exit_code == 1 and "all of them" not in result.stderr
        assert result.stderr.splitlines()[-1] == f"1 fault; {outcome}"
        assert not file.exists()


def test_a_file_that_is_no_list_of_faults_is_left_alone(root: Path) -> None:
    file = Path("registered/cub.faults.csv")
    file.write_text("mine")
    for command in (("register", "cub", root), ("check", "cub")):
        result = run(*command)
        assert (result.exit_code, file.read_text()) == (1, "mine")
        assert "cub.faults.csv, where faults would be listed, is there and no such list" in result.stderr


def test_all_faults_are_printed_where_they_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = fake_ilsvrc(tmp_path / "ILSVRC", images=60)
    for path in (root / "Data").rglob("*.JPEG"):
        path.unlink()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("vitol.score_report.save_faults", full)
    result = run("register", "ilsvrc", root)
    assert result.exit_code == 1
    assert result.stderr.count("no such image file") == 60
    assert "registered/ilsvrc.faults.csv could not be written: disk full" in result.stderr


def test_masks_are_counted(root: Path, tmp_path: Path) -> None:
    result = run("register", "openimages", fake_openimages(tmp_path / "open"))
    assert ["test", "2", "0", "3", "40", "30"] in rows(result)
    assert "test 2 images, 6 mask files, 8 text files in" in run("check", "openimages").stdout


def test_tiny_imagenet_is_registered_by_its_name(root: Path, tmp_path: Path) -> None:
    result = run("register", "tiny-imagenet", fake_tiny_imagenet(tmp_path / "tiny"))
    assert result.exit_code == 0, result.output
    assert Path("registered/tiny-imagenet.json").exists()


def test_a_sample_is_a_data_set_that_can_be_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root, out = tmp_path / "wrens", tmp_path / "far" / "handful"
    splits = {}
    for name, count in (("train", 40), ("test", 6)):
        ids = [f"{name}/{at}.jpg" for at in range(count)]
        for at, image in enumerate(ids):
            write_image(root / "images" / image, seed=at)
        splits[name] = make_split(
            ids, [at % 2 for at in range(count)], [(40, 30)] * count, [[(0, 0, 5, 5)]] * count
        )
    write_wsol(Layout(("house wren", "winter wren"), splits, root / "images"), root)
    assert run("register", "wsol", root, "--name", "wrens").exit_code == 0

    result = run("sample", "wrens", out, "--classes", 1, "--images", 1)
    assert result.exit_code == 0, result.output
    assert "handful: 1 of 2 classes, images 1 train, 1 val, 1 test" in result.stdout
    assert (out / "images").is_symlink()
    assert run("register", "wsol", out, "--name", "handful").exit_code == 0
    manifest = json.loads(Path("registered/handful.json").read_text())
    counts = {name: found["images"] for name, found in manifest["splits"].items()}
    assert counts == {"train": 1, "val": 1, "test": 1} and manifest["classes"] == 1


def test_a_sample_never_takes_the_place_of_another_nor_leaves_half_of_one(root: Path, tmp_path: Path) -> None:
    again = run("sample", "cub", root)
    assert again.exit_code == 1 and "exists already; give another folder, or remove it" in again.stderr
    result = run("sample", "cub", tmp_path / "handful")
    assert result.exit_code == 1 and "3 train images; a tenth for validation needs 10" in result.stderr
    assert not (tmp_path / "handful").exists()


def test_show_writes_a_picture_named_after_the_split_and_never_over_another(root: Path) -> None:
    result = run("show", "cub")
    assert (result.exit_code, result.stdout) == (0, "cub-test.png: 2 images\n"), result.output
    first = Path("cub-test.png").read_bytes()
    refused = run("show", "cub", "--count", 1)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "cub-test.png exists already; give another name (--out), or --force" in refused.stderr
    assert run("show", "cub", "--force").exit_code == 0
    assert Path("cub-test.png").read_bytes() == first


def test_show_takes_split_count_seed_and_file(root: Path) -> None:
    result = run("show", "cub", "--split", "train", "--count", 2, "--seed", 3, "--out", "seen/train.png")
    assert result.stdout == "seen/train.png: 2 images\n"
    assert Path("seen/train.png").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("cub", "--split", "val"), "there is no split 'val'; choose one of train, test"),
        (("cub", "--count", "0"), "count is 0 and seed 0; give at least 1 image"),
        (("cub", "--out", "birds.jpg"), "birds.jpg is no name of a PNG; give one that ends with .png"),
        (("jays",), "data set 'jays' is not registered"),
    ],
)
def test_show_says_in_red_what_is_wrong_and_writes_nothing(
    root: Path, arguments: tuple[str, ...], text: str
) -> None:
    result = run("show", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert not [path for path in Path().iterdir() if path.is_file()]


def test_the_real_data_sets_are_registered_checked_and_shown(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for layout, folder, said in (
        ("cub", "CUB_200_2011", "train 600 images, test 585 images, 5 text files"),
        ("ilsvrc", "ILSVRC", "test 300 images, 2 text files"),
    ):
        assert run("register", layout, shared / "data" / folder).exit_code == 0
        assert f"{layout} is what was registered: {said}" in run("check", layout).stdout
        assert run("show", layout).stdout == f"{layout}-test.png: 24 images\n"
