import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from fakes import edit, fake_cub, truncate
from typer.testing import CliRunner, Result

from vitol.cli import Handling, LayoutName, app
from vitol.datasets import mini
from vitol.datasets.register import HANDLINGS, LAYOUTS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return fake_cub(tmp_path / "CUB_200_2011")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_vitol_alone_shows_its_help() -> None:
    result = run()
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    assert "vitol data register cub ~/data/CUB_200_2011" in result.stdout


def test_the_version_is_the_package_s() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"vitol {version('vitol')}\n")


@pytest.mark.parametrize("command", ["register", "draw-mini"])
def test_help_shows_examples(command: str) -> None:
    result = run("data", command, "--help")
    assert result.exit_code == 0
    assert f"vitol data {command}" in result.stdout.split("Examples:")[1]


def test_every_layout_and_handling_can_be_chosen() -> None:
    assert [layout.value for layout in LayoutName] == list(LAYOUTS)
    assert [handling.value for handling in Handling] == list(HANDLINGS)


def test_registering_prints_a_summary_and_the_manifest_s_place(root: Path) -> None:
    result = run("data", "register", "cub", root)
    assert result.exit_code == 0, result.output
    manifest = json.loads(Path("registered/cub.json").read_text())
    lines = [line.split() for line in result.stdout.replace("│", " ").splitlines()]
    assert ["train", "3", "3", "40", "30"] in lines
    assert ["test", "2", "2", "40", "30"] in lines
    assert ["classes", "2"] in lines
    assert ["faults", "none"] in lines
    assert ["fingerprint", manifest["fingerprint"]] in lines
    assert lines[-1] == ["manifest", "registered/cub.json"]
    assert "5/5" in result.stderr
    assert "images/s" in result.stderr


def test_a_name_and_a_folder_can_be_given(root: Path, tmp_path: Path) -> None:
    assert (
        run("data", "register", "cub", root, "--name", "birds", "--folder", tmp_path / "kept").exit_code == 0
    )
    assert (tmp_path / "kept/birds.json").exists()


def test_faults_are_red_text_on_stderr_without_a_traceback(root: Path) -> None:
    truncate(root / "images/004.Ani/a.jpg")
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 0 0 41 30")
    result = run("data", "register", "cub", root)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "004.Ani/a.jpg: cannot be decoded" in result.stderr
    assert "boxes[0] = (0, 0, 41, 30) leaves its image of 40x30" in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("registered").exists()


def test_handled_faults_are_counted(root: Path) -> None:
    edit(root / "bounding_boxes.txt", "2 0 0 40 30", "2 0 0 41 30")
    result = run("data", "register", "cub", root, "--faults", "clip")
    assert result.exit_code == 0, result.output
    assert "faults      1 (clip)" in result.stdout


def test_errors_are_red_where_there_is_colour(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = CliRunner().invoke(app, ["data", "register", "cub", "nowhere"], color=True)
    assert "\x1b[31m" in result.stderr
    assert "nowhere is not a folder; give the one that holds the cub data set" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("register", "coco", "."), ("register", "cub"), ("register", "cub", ".", "--faults", "ignore")],
)
def test_wrong_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    assert run("data", *arguments).exit_code == 2


def test_mini_is_drawn_but_never_over_an_existing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini, "write_archive", lambda path: path.write_bytes(b"drawn"))
    out = tmp_path / "mini.zip"
    assert run("data", "draw-mini", out).exit_code == 0
    out.write_text("mine")
    refused = run("data", "draw-mini", out)
    assert refused.exit_code == 1
    assert f"{out} exists already; give another name, or --force to overwrite it" in refused.stderr
    assert out.read_text() == "mine"
    assert run("data", "draw-mini", out, "--force").exit_code == 0
    assert out.read_text() == "drawn"


def test_an_archive_that_cannot_be_written_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini, "write_archive", lambda path: path.write_bytes(b"drawn"))
    result = run("data", "draw-mini", tmp_path / "nowhere/mini.zip")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_showing_help_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, vitol.cli; print(sorted({'torch', 'numpy', 'PIL', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
