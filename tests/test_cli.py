import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import timm
import torch
import typer
from fakes import edit, fake_cub, truncate, write_image
from typer.testing import CliRunner, Result

from vitol.checkpoints import save_checkpoint
from vitol.cli import app
from vitol.cli.data import Handling, LayoutName
from vitol.cli.fetch import fetch
from vitol.datasets import download, mini
from vitol.datasets.register import HANDLINGS, LAYOUTS
from vitol.methods import ABOUT, METHODS
from vitol.photos import THRESHOLDS
from vitol.weight_files import file_digest


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
    monkeypatch.setattr(mini, "write_archive", lambda path, progress: path.write_bytes(b"drawn"))
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
    monkeypatch.setattr(mini, "write_archive", lambda path, progress: path.write_bytes(b"drawn"))
    result = run("data", "draw-mini", tmp_path / "nowhere/mini.zip")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


def test_showing_help_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, vitol.cli; print(sorted({'torch', 'numpy', 'PIL', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos in a folder, and beside it a small checkpoint, `tiny.safetensors`; it is the current folder."""
    monkeypatch.chdir(tmp_path)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **options)
    record = {"architecture": "vit_tiny_patch16_224", "options": options, "num_classes": 3}
    save_checkpoint(Path("tiny.safetensors"), model, {**record, "classes": ["bow tie", "crane", "[red] tie"]})
    write_image(Path("photos/a.jpg"))
    write_image(Path("photos/b.jpg"), seed=1)
    return Path("photos")


def test_explain_writes_maps_and_says_what_it_saw_and_where(photos: Path) -> None:
    asked = ("--class", "crane", "--class", 2, "--method", "gar", "--method", "ar", "--out", "seen")
    result = run("explain", photos, "--model", "tiny.safetensors", *asked)
    assert result.exit_code == 0, result.output
    record = json.loads(Path("seen/boxes.json").read_text())
    assert len(record["maps"]) == 8
    rows = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    for row, said in zip(rows, record["maps"], strict=True):
        image, label, probability, method, box = (cell.strip() for cell in row)
        assert image == said["image"]
        assert label == f"{said['class_name']} ({said['class_index']})"
        assert probability == f"{said['probability']:.1%}"
        assert method == said["method"]
        assert box == ("none" if said["box"] is None else ", ".join(f"{side:.0f}" for side in said["box"]))
    assert [line.split() for line in result.stdout.splitlines()[-3:]] == [
        ["boxes", "seen/boxes.json"],
        ["overview", "seen/overview.png"],
        ["maps", "seen/*.npy,", "*.png"],
    ]
    for word in ("Checking photos", "Making maps", "Drawing", "2/2", "8/8", "images/s"):
        assert word in result.stderr
    assert "0.0 images/s" not in result.stderr


def test_explain_says_which_class_was_predicted(photos: Path) -> None:
    result = run("explain", photos / "a.jpg", "--model", "tiny.safetensors", "--threshold", 1)
    assert result.exit_code == 0, result.output
    (said,) = json.loads(Path("explained/boxes.json").read_text())["maps"]
    assert said["predicted"] and said["threshold"] == 1 and said["box"] is None
    assert "predicted" in result.stdout
    assert f"{said['probability']:.1%}" in result.stdout
    assert "none" in result.stdout


def test_explain_keeps_files_of_an_earlier_run_unless_forced(photos: Path) -> None:
    command = ("explain", photos, "--model", "tiny.safetensors")
    assert run(*command, "--preset", "paper").exit_code == 0
    refused = run(*command)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "explained/boxes.json exists already" in refused.stderr
    assert json.loads(Path("explained/boxes.json").read_text())["maps"][0]["preset"] == "paper"
    assert run(*command, "--force").exit_code == 0
    assert json.loads(Path("explained/boxes.json").read_text())["maps"][0]["preset"] == "release"


def test_explain_takes_a_file_of_class_names(photos: Path) -> None:
    Path("names.txt").write_text("one\ntwo\nthree\n")
    options = ("--model", "tiny.safetensors", "--classes", "names.txt")
    result = run("explain", photos, *options, "--class", "two")
    assert result.exit_code == 0, result.output
    assert "two (1)" in result.stdout
    wrong = run("explain", photos, *options, "--class", "crane", "--out", "other")
    assert wrong.exit_code == 1
    assert "no class is called 'crane'" in wrong.stderr


def test_explain_shows_the_first_rows_of_a_long_table(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitol.cli.explain.SHOWN", 1)
    result = run("explain", photos, "--model", "tiny.safetensors")
    assert "photos/a.jpg" in result.stdout
    assert "photos/b.jpg" not in result.stdout
    assert "and 1 more, in boxes.json" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--class", "tie"), "class 'tie' could be 'bow tie' (0), '[red] tie' (2)"),
        (("--class", "crone"), "no class is called 'crone'; near it: 'crane' (1)"),
        (("--class", "3"), "class 3 is out of range: the model's classes are 0..2"),
        (("--method", "gra"), "map method 'gra' is unknown; choose one of ar, gar"),
        (("--preset", "papers"), "preset 'papers' is unknown"),
        (("--threshold", "2"), "threshold 2.0 is outside [0, 1]"),
        (("--batch-size", "0"), "batch size 0 is below 1"),
        (("--classes", "nowhere.txt"), "nowhere.txt cannot be read as class names"),
        (("nowhere.jpg",), "nowhere.jpg is neither a file nor a folder"),
        (("tiny.json",), "tiny.json is not an image that Pillow knows"),
        (("--model", "tiny.json"), "tiny.json is not a safetensors file"),
        (("--model", "no_such_model"), "timm knows no model 'no_such_model'"),
    ],
)
def test_explain_says_in_red_what_is_wrong_and_writes_nothing(
    photos: Path, arguments: tuple[str, ...], text: str
) -> None:
    model = () if "--model" in arguments else ("--model", "tiny.safetensors")
    result = run("explain", photos, *model, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr.replace("\n", "")
    assert "Traceback" not in result.stderr
    assert not Path("explained").exists()


def test_explain_s_help_names_every_method_and_says_which_do_not_depend_on_the_class() -> None:
    words = " ".join(run("explain", "--help").stdout.replace("│", " ").split())
    assert f"repeat for more: {', '.join(METHODS)}." in words
    agnostic = [name for name in METHODS if not ABOUT[name].of_class]
    assert f"{' and '.join(agnostic)} do not depend on the class" in words
    for name in ("gar", "lrp"):
        assert f"{THRESHOLDS[name]} for {name}" in words
    assert "vitol explain photo.jpg" in words


@pytest.mark.parametrize("arguments", [(), ("photos",), ("--model", "tiny.safetensors")])
def test_explain_without_images_or_a_model_is_wrong_usage(photos: Path, arguments: tuple[str, ...]) -> None:
    assert run("explain", *arguments).exit_code == 2


# Export and convert


def test_export_writes_a_folder_that_explain_takes_with_the_class_names(photos: Path) -> None:
    result = run("export", "tiny.safetensors", "out")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert (lines["architecture"], lines["classes"], lines["written"]) == ("vit_tiny_patch16_224", "3", "out")
    assert lines["use"] == "vitol explain photo.jpg --model local-dir:out"
    seen = []
    for model in ("tiny.safetensors", "local-dir:out"):
        shown = run(
            "explain", photos / "a.jpg", "--model", model, "--class", "crane", "--out", "seen", "--force"
        )
        assert shown.exit_code == 0, shown.output
        seen.append(json.loads(Path("seen/boxes.json").read_text())["maps"])
    assert seen[0] == seen[1]
    assert seen[0][0]["class_name"] == "crane"


def test_export_keeps_what_is_there_unless_forced(photos: Path) -> None:
    assert run("export", "tiny.safetensors", "out").exit_code == 0
    refused = run("export", "tiny.safetensors", "out")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "out exists already; give another name, or --force to replace it" in refused.stderr
    assert run("export", "tiny.safetensors", "out", "--force").exit_code == 0
    missing = run("export", "none.safetensors", "other")
    assert missing.exit_code == 1 and "none.safetensors is missing" in missing.stderr
    assert "Traceback" not in missing.stderr


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint as torch.save writes it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    model = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, "release.pth.tar")
    return Path("release.pth.tar")


def test_convert_says_what_it_converted_and_explain_takes_it(release: Path) -> None:
    result = run("convert", release, "out.safetensors")
    assert result.exit_code == 0, result.output
    lines = {line[:15].strip(): line[15:] for line in result.stdout.splitlines()}
    assert lines == {
        "tensors": "152",
        "parameters": "5,524,995",
        "architecture": "deit_tiny_patch16_224 (told from its size)",
        "classes": "3",
        "sha256 before": file_digest(release),
        "sha256 after": file_digest(Path("out.safetensors")),
        "written": "out.safetensors",
    }
    write_image(Path("a.jpg"))
    assert run("explain", "a.jpg", "--model", "out.safetensors", "--class", 2).exit_code == 0
    given = run("convert", release, "given.safetensors", "--architecture", "deit_tiny_patch16_224")
    assert "deit_tiny_patch16_224 (as given)" in given.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("release.pth.tar", "out.bin"), "out.bin does not end in .safetensors"),
        (("release.pth.tar", "there.safetensors"), "there.safetensors exists already; give another name"),
        (("none.pth", "out.safetensors"), "none.pth is missing"),
        (("release.pth.tar", "out.safetensors", "--classes", "1000"), "3 classes, 1000 are asked for"),
        (
            ("release.pth.tar", "out.safetensors", "--architecture", "deit_huge"),
            "timm knows no model 'deit_huge'",
        ),
    ],
)
def test_convert_says_in_red_what_is_wrong_and_writes_nothing(
    release: Path, arguments: tuple[str, ...], text: str
) -> None:
    Path("there.safetensors").write_text("mine")
    result = run("convert", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["release.pth.tar", "there.safetensors"]


@pytest.mark.parametrize("command", ["export", "convert", "explain"])
def test_help_of_commands_on_models_shows_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"vitol {command}" in result.stdout.split("Examples:")[1]


# Fetching


def run_fetch(*arguments: object, answer: str | None = None) -> Result:
    """`vitol data fetch` alone."""
    alone = typer.Typer()
    alone.command()(fetch)
    return CliRunner().invoke(alone, [str(argument) for argument in arguments], input=answer)


def test_fetch_shows_the_terms_and_fetches_once_they_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = []
    monkeypatch.setattr(download, "fetch", lambda archive, folder, _: got.append(archive) or folder / "set")
    for options, answer in ((("--accept-terms",), None), ((), "y\n")):
        result = run_fetch("cub", tmp_path, *options, answer=answer)
        assert result.exit_code == 0, result.output
        words = " ".join(result.stdout.split())
        assert "research and teaching that is not commercial" in words
        assert "https://www.vision.caltech.edu/datasets/cub_200_2011/" in words
        assert f"next vitol data register cub {tmp_path}/CUB_200_2011" in words
    assert got == [download.ARCHIVES["cub"]] * 2


@pytest.mark.parametrize("answer", ["n\n", "", None])
def test_fetch_does_nothing_unless_the_terms_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("it was fetched"))
    result = run_fetch("tiny-imagenet", tmp_path, answer=answer)
    assert result.exit_code == 1
    assert "the terms were not accepted, so nothing was fetched (--accept-terms)" in result.stderr


def test_fetch_without_a_network_says_what_to_do_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WAITS", ())
    unreachable = replace(download.ARCHIVES["tiny-imagenet"], url="http://127.0.0.1:1/tiny.zip")
    monkeypatch.setitem(download.ARCHIVES, "tiny-imagenet", unreachable)
    result = run_fetch("tiny-imagenet", tmp_path, "--accept-terms")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1/tiny.zip could not be fetched" in result.stderr
    assert (
        "2. its MD5 (md5sum tiny-imagenet-200.zip) must be 90528d7ca1a48142e341f4ef8d21d0de" in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
