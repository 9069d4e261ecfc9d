"""`vitol train`, and what it is made of: a data set, a model, a training that goes on."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
import yaml
from conftest import ROOT
from fakes import fake_cub
from interrupting import interrupted
from safetensors.torch import load_file
from toy import OPTIONS, toy_split
from typer.testing import CliRunner, Result

from vitol.checkpoints import load_checkpoint, save_checkpoint
from vitol.classifier import resume_folder
from vitol.cli import app
from vitol.cli.train import Place, ScheduleName
from vitol.datasets.register import register
from vitol.datasets.splits import write_split
from vitol.fitting import OWN_DRAWS, fit, split_digest
from vitol.padl import POSITIONS
from vitol.recipe import Recipe
from vitol.schedules import SCHEDULES
from vitol.training_inputs import read_training_data
from vitol.weight_files import file_digest

TINY = ["--model", "vit_tiny_patch16_224", "--scratch"]
TINY += [word for key, value in OPTIONS.items() for word in ("--option", f"{key}={value}")]
QUICK = ["--epochs", "3", "--batch-size", "8", "--lr", "3e-3", "--precision", "fp32", "--workers", "0"]


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty-two images of two classes in the WSOL split format, four of them to validate on."""
    monkeypatch.chdir(tmp_path)
    root = Path("toy")
    (root / "images").mkdir(parents=True)
    split = toy_split(root / "images")
    validating = [index < 4 for index in range(len(split))]
    boxed = split.select(torch.tensor(validating).numpy())
    boxes = tuple(torch.tensor([[1.0, 1.0, 20.0, 18.0]]).numpy() for _ in boxed.ids)
    write_split(split.select(~torch.tensor(validating).numpy()), root / "train")
    write_split(type(boxed)(boxed.ids, boxed.labels, boxed.sizes, boxes), root / "val")
    (root / "classes.txt").write_text("dark\nbright\n")
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_training_leaves_a_checkpoint_that_explain_and_export_take_with_its_record_and_log(toy: Path) -> None:
    result = run(toy, *TINY, *QUICK, "--out", "made/toy.safetensors")
    assert result.exit_code == 0, result.output
    made = Path("made/toy.safetensors")
    assert sorted(path.name for path in made.parent.iterdir()) == ["toy.csv", "toy.json", "toy.safetensors"]
    record = load_checkpoint(made)[1]
    assert json.loads(made.with_suffix(".json").read_text()) == record
    assert (record["classes"], record["dataset"], record["variant"]) == (["dark", "bright"], "toy", "mmp")
    padl = {"position": "MMp", "drop_rate": 0.75, "drop_threshold": 0.9}
    assert record["padl"] == {**padl, "per_image": False, "class_token": True}
    assert record["recipe"]["epochs"] == 3 and record["recipe"]["decay_every"] == 3
    assert (record["weights"], record["seed"], record["options"]) == ("random", 0, OPTIONS)
    assert (record["data"], record["val_cut"]) == (read_training_data(str(toy)).fingerprint, False)
    with made.with_suffix(".csv").open() as file:
        log = list(csv.DictReader(file))
    assert [row["epoch"] for row in log] == ["1", "2", "3"] and all(row["val_top1"] for row in log)
    assert float(log[-1]["train_top1"]) == pytest.approx(record["final"]["train_top1"], rel=1e-5)
    assert "28 images of toy, 2 classes" in result.stderr
    assert "epoch 3/3" in result.stderr and "images/s" in result.stderr
    assert f"use         vitol explain photo.jpg --model {made}" in result.stdout
    command = ["explain", "toy/images/1.png", "--model", str(made), "--class", "bright", "--json"]
    assert json.loads(CliRunner().invoke(app, command).stdout)["maps"][0]["class_name"] == "bright"
    assert CliRunner().invoke(app, ["export", str(made), "exported"]).exit_code == 0
    assert "mmp" in Path("exported/README.md").read_text()


def test_the_same_command_gives_the_same_bytes_and_another_place_of_padl_other_weights(toy: Path) -> None:
    for name, options in (("a", ()), ("b", ()), ("between", ("--padl", "mpm")), ("none", ("--padl", "none"))):
        assert run(toy, *TINY, *QUICK, *options, "--out", f"{name}.safetensors").exit_code == 0
    digests = {name: file_digest(Path(f"{name}.safetensors")) for name in ("a", "b", "between", "none")}
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3
    records = {name: load_checkpoint(Path(f"{name}.safetensors"))[1] for name in ("between", "none")}
    assert (records["between"]["variant"], records["between"]["padl"]["position"]) == ("mpm", "MpM")
    assert (records["none"]["variant"], records["none"]["padl"]) == ("baseline", None)


def test_a_checkpoint_is_trained_on_with_its_own_head_and_other_draws(toy: Path) -> None:
    assert run(toy, *TINY, *QUICK, "--padl", "none", "--out", "first.safetensors").exit_code == 0
    step = ("--epochs", 1, "--lr", 1e-9, "--workers", 0, "--precision", "fp32")
    result = run(toy, "--model", "first.safetensors", *step, "--padl", "none", "--out", "second.safetensors")
    assert result.exit_code == 0, result.output
    first, second = load_file("first.safetensors"), load_file("second.safetensors")
    assert all(torch.allclose(first[name], second[name], atol=1e-7) for name in first)
    record = load_checkpoint(Path("second.safetensors"))[1]
    assert record["from"] == load_checkpoint(Path("first.safetensors"))[1]
    assert (record["variant"], record["seed"], record["draws"]) == ("control", 0, OWN_DRAWS)
    assert record["weights"] == f"sha256:{file_digest(Path('first.safetensors'))}"


def test_weights_for_other_classes_get_a_new_head(toy: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **OPTIONS)
    save_checkpoint(
        Path("five.safetensors"),
        model,
        {"architecture": "vit_tiny_patch16_224", "options": OPTIONS, "num_classes": 5},
    )
    assert run(toy, "--model", "five.safetensors", *QUICK, "--out", "two.safetensors").exit_code == 0
    assert load_file("two.safetensors")["head.weight"].shape == (2, OPTIONS["embed_dim"])


def test_a_registered_data_set_is_trained_on_by_its_name(tmp_path: Path) -> None:
    register("cub", fake_cub(tmp_path / "CUB_200_2011"), "cub")
    result = run("cub", *TINY, "--epochs", 1, "--workers", 0, "--out", "cub.safetensors")
    assert result.exit_code == 0, result.output
    record = load_checkpoint(Path("cub.safetensors"))[1]
    assert (record["dataset"], record["num_classes"]) == ("cub", 2)


def test_interrupted_training_says_what_it_kept_and_the_same_command_ends_with_the_same_weights(
    toy: Path,
) -> None:
    command = ["train", "toy", *TINY, *QUICK, "--snapshot-every", "0"]
    assert CliRunner().invoke(app, [*command, "--out", "whole.safetensors"]).exit_code == 0
    # 28 images in batches of 8 are three steps an epoch: the fifth is in the second one.
    ended = interrupted([*command, "--out", "cut.safetensors"], after=5)
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        "Interrupted: 1 epoch and 0 steps are kept in cut.resume; give the same command again to go on from there, "
        "or remove the folder to start anew"
    )
    assert [path.name for path in Path().glob("cut*")] == ["cut.resume"]
    assert sorted(path.name for path in Path("cut.resume").iterdir()) == ["lock", "snapshot.safetensors"]

    other = run("toy", *TINY, *QUICK, "--lr", "1", "--out", "cut.safetensors")
    assert (other.exit_code, other.stdout) == (1, "")
    assert (
        "is of a run with other settings: " in other.stderr
        and "recipe.lr was 0.003 and is 1.0" in other.stderr
    )

    ended = interrupted([*command, "--out", "cut.safetensors"])
    assert ended.returncode == 0, ended.stderr
    assert "goes on after 1 epoch and 0 steps" in ended.stderr
    assert "epoch 1/3" not in ended.stderr and "epoch 3/3" in ended.stderr
    assert file_digest(Path("cut.safetensors")) == file_digest(Path("whole.safetensors"))
    assert Path("cut.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert not resume_folder(Path("cut.safetensors")).exists()


def stopped_after_an_epoch(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Begin a training, in this process, and interrupt it when its first epoch is told of."""

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vitol.fitting.epoch_in_words", interrupt)
        assert run(*arguments, "--snapshot-every", "0").exit_code == 130


def test_training_goes_on_only_with_the_same_images_and_says_what_they_were(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = toy_split(toy / "images")
    box = torch.tensor([[1.0, 1.0, 20.0, 18.0]]).numpy()
    write_split(type(split)(split.ids, split.labels, split.sizes, (box,) * len(split)), toy / "train")
    shutil.rmtree(toy / "val")
    whole, cut = (read_training_data("toy", val_cut=val_cut) for val_cut in (False, True))
    assert (whole.fingerprint, whole.val_cut, cut.val_cut) == (cut.fingerprint, False, True)
    assert (len(whole.train), len(cut.train)) == (32, 29)
    turned = replace(whole.train, labels=1 - whole.train.labels)
    digests = [split_digest(each) for each in (whole.train, whole.train, cut.train, turned)]
    assert digests[0] == digests[1] and len(set(digests)) == 3

    command = ("toy", *TINY, *QUICK, "--out", "made.safetensors")
    stopped_after_an_epoch(monkeypatch, *command)
    other = run(*command, "--val-cut")
    assert other.exit_code == 1
    assert "images was" in other.stderr and "val_cut was False and is True" in other.stderr
    assert run(*command).exit_code == 0
    assert run(*command[:-1], "cut.safetensors", "--val-cut").exit_code == 0
    records = [load_checkpoint(Path(name))[1] for name in ("made.safetensors", "cut.safetensors")]
    assert [record["val_cut"] for record in records] == [False, True]
    assert records[0]["data"] == records[1]["data"] == whole.fingerprint


def test_what_else_a_process_has_imported_does_not_matter_and_the_code_does(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("toy", *TINY, *QUICK, "--out", "made.safetensors")
    stopped_after_an_epoch(monkeypatch, *command)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/other.py").write_text("other = 1")
    with monkeypatch.context() as patch:
        patch.setattr("vitol.classifier.LIBRARY", tmp_path / "code")
        result = run(*command)
        assert result.exit_code == 1 and "with other settings: code was" in result.stderr
    other = ModuleType("vitol.other")
    other.__file__ = str(tmp_path / "code/other.py")
    monkeypatch.setitem(sys.modules, "vitol.other", other)
    result = run(*command)
    assert result.exit_code == 0 and "goes on after 1 epoch" in result.stderr, result.stderr


def test_a_training_cut_off_after_its_checkpoint_was_written_ends_when_it_is_asked_for_again(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("toy", *TINY, *QUICK, "--out", "made.safetensors")

    def cut_off(*arguments: Any, **further: Any) -> None:
        fit(*arguments, **further)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vitol.classifier.fit", cut_off)
        assert run(*command).exit_code == 130
    made = Path("made.safetensors")
    whole = file_digest(made)
    assert resume_folder(made).exists()
    result = run(*command)
    assert result.exit_code == 0 and "goes on after 3 epochs" in result.stderr, result.stderr
    assert file_digest(made) == whole and not resume_folder(made).exists()
    result = run(*command)
    assert result.exit_code == 1 and "made.safetensors exists already" in result.stderr


def test_a_log_that_cannot_be_written_is_told_in_words_before_there_is_a_checkpoint(toy: Path) -> None:
    Path("made.csv").mkdir()
    result = run("toy", *TINY, *QUICK, "--epochs", "1", "--out", "made.safetensors")
    assert result.exit_code == 1 and "made.csv could not be written" in result.stderr
    assert not Path("made.safetensors").exists()


def test_training_interrupted_before_a_snapshot_leaves_nothing(toy: Path) -> None:
    ended = interrupted(["train", "toy", *TINY, *QUICK, "--out", "cut.safetensors"], after=1)
    assert ended.returncode == 130
    assert ended.stderr.splitlines()[-1] == (
        "Interrupted: no snapshot was due yet, so nothing was kept; give the same command again"
    )
    assert list(Path().glob("cut*")) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("jays",), "'jays' is neither a registered data set (there is none) nor a folder"),
        (("toy/val",), "no folder train, val, test; a data set has at least one of these splits"),
        (("toy", "--out", "a.pt"), "a.pt does not end in .safetensors; give a name that does"),
        (("toy", "--out", "there.safetensors"), "there.safetensors exists already; give another name"),
        (("toy", "--lr", "-1"), "lr = -1.0 in a training recipe; it must be above 0"),
        (("toy", "--option", "depth"), "--option depth is not KEY=VALUE"),
        (("toy", "--option", "pretrained=true"), "not an option of a model, but of timm.create_model"),
        (("toy", "--resize", "8"), "images resized to 8 have no crop of 16"),
        (("toy", "--option", "img_size=[16,32]"), "the model takes images of 32x16; training crops squares"),
        (("toy", "--val-cut"), "has a split val of its own: use it, nothing has to be cut"),
    ],
)
def test_train_says_in_red_what_is_wrong_and_writes_nothing(arguments: tuple[str, ...], text: str) -> None:
    Path("there.safetensors").write_text("mine")
    out = () if "--out" in arguments else ("--out", "made.safetensors")
    result = run(arguments[0], *TINY, *arguments[1:], *out)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr and "Traceback" not in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["there.safetensors", "toy"]


@pytest.mark.parametrize("options", [("--padl", "MMm"), ("--schedule", "fast"), ("--drop-rate", "2"), ()])
def test_wrong_usage_of_train_exits_with_two(options: tuple[str, ...]) -> None:
    out = ("--out", "made.safetensors") if options else ()
    assert run("toy", *TINY, *out, *options).exit_code == 2


def test_a_data_set_without_a_split_to_train_on_is_refused(toy: Path) -> None:
    shutil.rmtree(toy / "train")
    with pytest.raises(
        ValueError, match=r"toy has no split 'train' \(there are: val\); give a data set with"
    ):
        read_training_data("toy")


def test_the_fingerprint_of_a_folder_follows_its_text_files(toy: Path) -> None:
    before = read_training_data("toy").fingerprint
    assert read_training_data("toy").fingerprint == before
    labels = toy / "train/class_labels.txt"
    labels.write_text(labels.read_text().replace("4.png,0", "4.png,1", 1))
    assert read_training_data("toy").fingerprint != before


def test_choices_are_those_of_the_library() -> None:
    assert [place.value for place in Place] == [*POSITIONS, "none"]
    assert [name.value for name in ScheduleName] == list(SCHEDULES)


def test_the_schedules_are_the_pipeline_s_of_section_4_3() -> None:
    datasets = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]
    of_pipeline = {
        "imagenet": datasets["ilsvrc"]["finetune"],
        "cub-baseline": datasets["cub"]["baseline"],
        "cub-padl": datasets["cub"]["finetune"],
    }
    assert {name: Recipe(**recipe) for name, recipe in of_pipeline.items()} == SCHEDULES


def test_the_help_of_train_states_the_schedules_as_they_are() -> None:
    words = " ".join(CliRunner().invoke(app, ["train", "--help"]).stdout.replace("│", " ").split())
    for name, schedule in SCHEDULES.items():
        rate = f"{schedule.lr:.0e}".replace("e-0", "e-")
        assert f"{name}: {schedule.epochs}" in words and rate in words
        assert f"every {schedule.decay_every}" in words
