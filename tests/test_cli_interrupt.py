"""Ctrl-C in the long commands: one line that says how to go on, exit code 130, no half-written file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from conftest import ROOT
from fakes import fake_cub, write_image
from interrupting import LISTENING, interrupted
from score_files import small_split, write_maps, write_metadata
from typer.testing import CliRunner

from vitol.checkpoints import save_checkpoint
from vitol.cli import app
from vitol.cli.console import KEPT


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def everything() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*"))


def ends_in_words(ended: "subprocess.CompletedProcess[str]", text: str) -> None:
    """Whether a command was interrupted as it should be."""
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == f"Interrupted: {text}"


def test_scoring_that_is_interrupted_writes_nothing_and_runs_again() -> None:
    split = small_split(12)
    write_metadata(Path("test"), split)
    write_maps(Path("good"), split)
    before = everything()
    command = ["score", "--maps", "good", "--metadata", "test", "--replicates", "20", "--out", "scores"]
    ends_in_words(interrupted(command, after=6), KEPT)
    assert everything() == before
    ended = interrupted(command)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(Path("scores/report.json").read_text())["n_images"] == 12


def test_explaining_that_is_interrupted_while_it_draws_writes_nothing_and_runs_again() -> None:
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **options)
    record = {"architecture": "vit_tiny_patch16_224", "options": options, "num_classes": 3}
    save_checkpoint(Path("tiny.safetensors"), model, record)
    for number in range(3):
        write_image(Path(f"photos/{number}.jpg"), seed=number)
    before = everything()
    command = ["explain", "photos", "--model", "tiny.safetensors"]
    # Photos are looked at (0 to 3), maps made (0 and 3), and one of three is drawn.
    ends_in_words(interrupted(command, after=7), KEPT)
    assert everything() == before
    assert interrupted(command).returncode == 0
    assert len(list(Path("explained").glob("*.npy"))) == 3


def test_registering_that_is_interrupted_registers_nothing_and_runs_again() -> None:
    fake_cub(Path("CUB_200_2011"))
    before = everything()
    command = ["data", "register", "cub", "CUB_200_2011"]
    ends_in_words(interrupted(command, after=3), "nothing was registered; run the same command again")
    assert everything() == before
    assert interrupted(command).returncode == 0
    assert Path("registered/cub.json").exists()


def test_an_interruption_while_libraries_are_loaded_is_told_in_words_too() -> None:
    code = LISTENING + (
        "import os, sys\n"
        "from vitol.cli import app\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'vitol.checkup':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "app(['doctor'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert ended.returncode == 130 and "Traceback" not in ended.stderr
    assert ended.stderr.replace("\n", " ").rstrip() == f"Interrupted: {KEPT}"


def test_an_interruption_of_a_command_in_a_group_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitol.datasets.registered.registered_names", interrupt)
    result = CliRunner().invoke(app, ["data", "list"])
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.count("Interrupted: ") == 1
