"""What scripts and shells want of `vitol`: JSON alone on stdout, completions, exit codes."""

import json
from pathlib import Path

import pytest
import timm
from fakes import edit, fake_cub, write_image
from rich.progress import Progress
from score_files import small_split, write_maps, write_metadata
from typer.testing import CliRunner, Result

from vitol.checkpoints import save_checkpoint
from vitol.cli import app
from vitol.cli.console import EXIT_CODES, Bars, Rate, print_json
from vitol.datasets.layouts import LAYOUTS
from vitol.datasets.register import register
from vitol.methods import METHODS, PRESETS

COMMANDS = [*app.registered_commands, *app.registered_groups[0].typer_instance.registered_commands]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "100", **environment})


# JSON


def test_score_prints_its_report_and_everything_else_on_stderr() -> None:
    split = small_split(12)
    write_metadata(Path("test"), split)
    write_maps(Path("good"), split)
    result = run(
        "score", "--maps", "good", "--metadata", "test", "--replicates", 20, "--json", "--out", "scores"
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert {**said, "command": ""} == {**json.loads(Path("scores/report.json").read_text()), "command": ""}
    assert "MaxBoxAccV2" in result.stderr and "scores  scores/*.csv" in result.stderr
    (Path("good") / f"{split.ids[0]}.npy").unlink()
    faulty = run("score", "--maps", "good", "--metadata", "test", "--json")
    assert (faulty.exit_code, faulty.stdout) == (1, "")


def test_explain_prints_what_boxes_json_holds() -> None:
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **options)
    record = {"architecture": "vit_tiny_patch16_224", "options": options, "num_classes": 2}
    save_checkpoint(Path("tiny.safetensors"), model, {**record, "classes": [":bow: tie", "[red] crane"]})
    write_image(Path("a.jpg"))
    result = run("explain", "a.jpg", "--model", "tiny.safetensors", "--class", 0, "--class", 1, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said == json.loads(Path("explained/boxes.json").read_text())
    assert [found["class_name"] for found in said["maps"]] == [":bow: tie", "[red] crane"]
    assert "explained/boxes.json" in result.stderr


def test_data_check_says_whether_all_is_well_and_lists_the_faults_if_it_is_not(tmp_path: Path) -> None:
    root = fake_cub(tmp_path / "CUB_200_2011")
    register("cub", root, "cub")
    result = run("data", "check", "cub", "--json")
    assert result.exit_code == 0
    sound = {"name": "cub", "sound": True, "faults": [], "images": {"train": 3, "test": 2}, "masks": 0}
    assert json.loads(result.stdout) == {**sound, "files": 5, "root": str(root)}
    assert "cub is what was registered" in result.stderr
    edit(root / "classes.txt", "004.Ani", "004.Jay")
    result = run("data", "check", "cub", "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["name"], said["sound"]) == ("cub", False)
    assert [fault["where"] for fault in said["faults"]] == ["classes.txt"]
    assert "classes.txt: has changed" in result.stderr
    unknown = run("data", "check", "jays", "--json")
    assert (unknown.exit_code, unknown.stdout) == (1, "")


def test_data_list_is_json_alone_whatever_the_width(tmp_path: Path) -> None:
    register("cub", fake_cub(tmp_path / "a folder with a [long] name" / "CUB_200_2011"), "cub")
    result = run("data", "list", "--json", COLUMNS="20")
    assert result.stderr == ""
    assert json.loads(result.stdout)["datasets"][0]["root"].endswith("a [long] name/CUB_200_2011")


def test_json_with_a_number_that_json_lacks_is_an_error_and_no_text() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"value": float("nan")})


# Completions


def completed(text: str) -> list[str]:
    """What bash offers for the last word of a command line."""
    words = text.split(" ")
    environment = {"_VITOL_COMPLETE": "complete_bash", "COMP_WORDS": text, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], prog_name="vitol", env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return list(filter(None, result.stdout.splitlines()))


def test_commands_and_options_complete() -> None:
    assert {"doctor", "explain", "score", "train", "data", "tables", "export"} <= set(completed("vitol "))
    assert completed("vitol tables --js") == ["--json"]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("vitol explain a.jpg --method ", list(METHODS)),
        ("vitol explain a.jpg --method g", [name for name in METHODS if name.startswith("g")]),
        ("vitol explain a.jpg --preset ", list(PRESETS)),
        ("vitol data register ", list(LAYOUTS)),
        ("vitol data register cub . --faults ", ["stop", "clip", "drop"]),
        ("vitol train cub --padl M", ["MMp", "MpM"]),
        ("vitol train cub --schedule cub", ["cub-baseline", "cub-padl"]),
        ("vitol score --policy oracle", ["oracle-per-iou", "oracle-single"]),
        ("vitol data fetch c", ["cub"]),
    ],
)
def test_choices_complete(text: str, offered: list[str]) -> None:
    assert completed(text) == offered


def test_registered_data_sets_complete_and_folders_to_train_on_too() -> None:
    Path("registered").mkdir()
    for name in ("cub", "cub20", "ilsvrc"):
        Path(f"registered/{name}.json").write_text("{}")
    Path("cubes/inner").mkdir(parents=True)
    Path("cube.txt").write_text("no folder")
    for command in ("check", "show"):
        assert completed(f"vitol data {command} cub") == ["cub", "cub20"]
    assert completed("vitol train cub") == ["cub", "cub20", "cubes/"]
    assert completed("vitol train cubes/") == ["cubes/inner/"]
    assert completed("vitol train nowhere/a") == []


def test_completions_can_be_installed() -> None:
    result = run("--help")
    assert "--install-completion" in result.stdout and "--show-completion" in result.stdout


# Help and exit codes


def test_vitol_alone_shows_every_command_in_its_group_and_where_to_start() -> None:
    result = run(COLUMNS="80")
    assert result.exit_code == 0
    groups = [
        line.strip("╭─╮ ")
        for line in result.stdout.splitlines()
        if line.startswith("╭") and "Options" not in line
    ]
    assert groups == ["Start here", "Data and training", "Results", "Checkpoints"]
    start = result.stdout.split("Start here")[1].split("╰")[0]
    assert [line.split()[1] for line in start.splitlines() if line[:2] == "│ " and line[2] != " "] == [
        "doctor",
        "explain",
        "score",
    ]
    assert "Exit codes: " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.callback.__name__)
def test_every_command_has_examples_that_fit_into_a_line_of_a_terminal(command) -> None:
    title, *shown = (command.epilog or "").split("\n\n")
    assert title == "Examples:" and 1 <= len(shown) <= 4
    assert all(line.startswith("vitol ") and len(line) <= 78 for line in shown), shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 0),
        (("--version",), 0),
        (("data",), 2),
        (("data", "list"), 0),
        (("data", "check", "jays"), 1),
        (("tables", "none.csv"), 1),
        (("export", "none.safetensors", "out"), 1),
        (("score", "--maps", "none", "--metadata", "none"), 1),
        (("scores",), 2),
        (("tables", "--table", "5"), 2),
        (("explain",), 2),
    ],
)
def test_exit_codes_are_those_that_the_help_states(arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments).exit_code == code
    assert EXIT_CODES.startswith("Exit codes: 0 done, 1 the input has faults, 2 wrong usage, 130 interrupted")


# Bars


def test_what_an_earlier_run_has_done_does_not_count_for_the_rate() -> None:
    clock = iter([0.0, 10.0, 10.0, 10.0])
    progress = Progress(get_time=lambda: next(clock, 10.0), disable=True)
    bars = Bars(progress)
    bars("Training", 100, 300, before=100)
    bars("Training", 200, 300, before=100)
    (task,) = progress.tasks
    assert (task.completed, task.elapsed) == (200, 10.0)
    assert Rate().render(task).plain == "10 images/s"
