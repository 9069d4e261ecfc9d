"""The ablations: their settings, what is collected of them, their figure, and that the project stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from matplotlib.figure import Figure
from rich.console import Console
from test_figures import check_texts, written

from experiments import ablate, ablation, project_copy
from experiments.ablation import BY_NAME, COLUMNS, MEASURED, SETTINGS, Ablation, Cell, Setting, rows_of
from experiments.params import read_params
from experiments.replicates import write_replicates
from experiments.sections import Padl
from experiments.stage import checkpoint_path
from vitol import ablation_figure as figure_module
from vitol.ablation_figure import PANELS, PAPER, SINGLE, ablation_figure
from vitol.accuracy import Measurement, paired_difference
from vitol.measurements import COLUMNS as MEASUREMENTS

MINI = Cell("mini", "small")
CONTROL = (54.0, 33.0, 44.0, 95.0)


# Settings


def test_the_settings_are_the_grid_of_lambda_and_alpha_and_one_change_each():
    grid = {(s.drop_threshold, s.drop_rate) for s in SETTINGS if s[1] == "MMp" and s[4:] == (False, True)}
    assert grid == {*product((0.7, 0.9, 1.0), (0.5, 0.75, 1.0)), (0.9, 0.0)}
    others = [s for s in SETTINGS if s[1] != "MMp" or s[4:] != (False, True)]
    assert [s.name for s in others] == ["mpm", "draw-per-image", "class-token-spared"]
    paper = BY_NAME["lambda0.9-alpha0.75"]
    for setting in others:
        assert sum(a != b for a, b in zip(setting[1:], paper[1:], strict=True)) == 1
    assert len(SETTINGS) == len(BY_NAME) == 13


def test_a_setting_is_the_papers_unless_it_says_otherwise():
    default = Setting("default")
    assert default.padl == read_params(ROOT / "params.yaml").padl
    assert default._asdict() == {"name": "default"} | PAPER


def test_a_setting_gives_every_value_of_padl_so_that_none_is_left_from_the_one_before():
    assert set(Padl.model_fields) < set(get_type_hints(Setting))


def test_the_figure_has_a_place_for_every_setting():
    drawn = [PAPER | values for values in SINGLE.values()]
    drawn += [PAPER | place.values for place in figure_module._places()]
    assert all({k: v for k, v in s._asdict().items() if k != "name"} in drawn for s in SETTINGS)
    assert len(drawn) == len(SETTINGS) + 1  # the paper's stands in both halves


def test_the_command_line_sets_all_of_padl_and_runs_the_model_of_the_position():
    command = project_copy.experiment_command(
        "ablate-x", {"padl.drop_rate": "0.5", "padl.per_image": "true"}, "s"
    )
    assert command[:5] == [sys.executable, "-m", "dvc", "exp", "run"]
    assert command[5:] == ["--name", "ablate-x", "-S", "padl.drop_rate=0.5", "-S", "padl.per_image=true", "s"]


# What is collected


def measured(value: float, metric: str, policy: str, seed: int, spread: float = 0.5) -> Measurement:
    draws = value + np.random.default_rng(seed).normal(0, spread, 100)
    return Measurement(metric, policy, value, value - 1, value + 1, 400, None, draws)


def write_scores(
    folder: Path, values: tuple[float, ...], seeds: tuple[int, ...] = (0, 1)
) -> list[list[Measurement]]:
    """A folder as stage localize leaves it; seed s has s points more than `values`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, kept = [], []
    for (name, metric, policy), value in zip(MEASURED, values, strict=True):
        kept.append([measured(value + seed, metric, policy, seed) for seed in seeds])
        for seed, of in zip(seeds, kept[-1], strict=True):
            place = {"subset": "all", "map": name, "preset": "release" if name else "", "seed": seed}
            rows.append({**vars(of), **place})
            rows.append({**vars(of), **place, "subset": "part", "value": 1.0})  # another subset stays out
    frame = pd.DataFrame(rows).assign(
        dataset="mini", split="test", backbone="small", variant="control", position=""
    )
    write_replicates(frame, folder)
    frame[MEASUREMENTS].to_csv(folder / "measurements.csv", index=False)
    return kept


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with params.yaml for two seeds, and scores of the control."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"seeds": [0, 1]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_scores(MINI.scores("control"), CONTROL)
    for seed in (0, 1):
        weights = checkpoint_path("mini", "small", "control", seed)
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_text(f"weights of seed {seed}")
    return tmp_path


def test_rows_hold_values_and_paired_differences_over_all_seeds(project):
    setting = BY_NAME["lambda0.7-alpha0.5"]
    values = (56.5, 33.0, 40.0, 94.0)
    ours = write_scores(project / "ours", values)
    control = write_scores(MINI.scores("control"), CONTROL)
    frame = rows_of(setting, [0, 1], project / "ours", MINI.scores("control"))
    assert list(frame.columns) == COLUMNS and len(frame) == 4
    assert (frame[COLUMNS[:6]].to_numpy() == np.array(setting, dtype=object)).all()
    assert list(zip(frame["map"], frame["metric"], strict=True)) == [key[:2] for key in MEASURED]
    assert frame["value"].tolist() == [57.0, 33.5, 40.5, 94.5]
    assert frame["ci_low"].tolist() == [56.0, 32.5, 39.5, 93.5]
    for row, one, other in zip(frame.to_dict("records"), ours, control, strict=True):
        found = paired_difference(one, other)
        expected = [found.value, found.ci_low, found.ci_high]
        assert [row[name] for name in ablation.ENDS] == pytest.approx(expected, abs=0.011)
    assert frame["difference"].tolist() == [2.5, 0.0, -4.0, -1.0]
    assert (frame["seed_sd"] == 0).all() and (frame["n_images"] == 400).all() and (frame["seeds"] == 2).all()


def test_one_seed_has_no_spread(project):
    frame = rows_of(SETTINGS[0], [0], MINI.scores("control"), MINI.scores("control"))
    assert frame["seed_sd"].isna().all() and (frame["seeds"] == 1).all() and (frame["difference"] == 0).all()


def test_a_measurement_that_a_seed_lacks_is_named(project):
    with pytest.raises(
        ValueError, match=r"control lacks MaxBoxAccV2 AR oracle-per-iou of all images .*\[0, 2\]"
    ):
        rows_of(SETTINGS[0], [0, 2], MINI.scores("control"), MINI.scores("control"))


def record(project: Path, setting: Setting, folder: Path, seconds: float) -> None:
    """Records as the stages of a setting leave them in a folder of results."""
    params = read_params()
    config = {
        "padl": setting.padl.model_dump(),
        "position": setting.position,
        "seeds": params.seeds,
        "recipe": vars(params.datasets["mini"].finetune),
        "backbone": params.backbones["small"].model_dump(),
    }
    for stage in ablation.STAGES:
        path = folder / "provenance" / f"{stage}-mini-small-{setting.model}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {"config": config if stage == "finetune" else {}, "wall_seconds": seconds, "commit": "abc"}
        path.write_text(json.dumps(made))


def keep(of: Ablation, name: str, shift: float, results: Path) -> None:
    write_scores(Path("ours"), tuple(value + shift for value in CONTROL))
    of.keep(BY_NAME[name], rows_of(BY_NAME[name], [0, 1], Path("ours"), MINI.scores("control")), results)


def test_every_setting_is_on_the_disk_before_the_next_one_in_the_order_of_the_settings(project):
    of = Ablation(MINI, read_params())
    for names in (["mpm"], ["alpha0", "mpm"]):
        keep(of, names[0], 1.0, project / "copy")
        frame = ablation.read_ablation(MINI.kept / ablation.TABLE)
        assert list(frame["setting"].unique()) == names
        kept = json.loads((MINI.kept / ablation.RECORD).read_text())
        assert set(kept["settings"]) == set(names)
        digests = {
            f"control-seed{seed}": sha256(f"weights of seed {seed}".encode()).hexdigest() for seed in (0, 1)
        }
        assert kept["checkpoints"] == digests
    again = Ablation(MINI, read_params())
    keep(again, "mpm", 2.0, project / "copy")
    frame = ablation.read_ablation(MINI.kept / ablation.TABLE)
    assert frame["difference"].tolist() == [1.0] * 4 + [2.0] * 4
    assert frame["map"].tolist() == ["AR", "GAR", "LRP", ""] * 2
    assert not list(MINI.kept.glob("*.partial"))


def test_settings_that_were_compared_with_another_control_are_left_out(project, capsys, monkeypatch):
    monkeypatch.setattr(ablation, "console", Console(width=200))
    keep(Ablation(MINI, read_params()), "mpm", 1.0, project / "copy")
    write_scores(MINI.scores("control"), tuple(value + 3 for value in CONTROL))
    of = Ablation(MINI, read_params())
    assert of.frame.empty
    assert "ablation.csv compares with another control; it is written anew" in capsys.readouterr().out
    keep(of, "alpha0", 1.0, project / "copy")
    assert list(ablation.read_ablation(MINI.kept / ablation.TABLE)["setting"].unique()) == ["alpha0"]


def test_the_record_of_a_setting_is_of_when_it_ran_wherever_that_was(project):
    copy, mpm, paper = project / "copy", BY_NAME["mpm"], BY_NAME["lambda0.9-alpha0.75"]

    def seconds(name: str) -> float | None:
        kept = json.loads((MINI.kept / ablation.RECORD).read_text())
        assert kept["params"]["seeds"] == [0, 1] and set(kept["params"]["datasets"]) == {"mini"}
        return kept["settings"][name]["wall_seconds"]

    of = Ablation(MINI, read_params())
    record(project, paper, project / "results", 5.0)
    keep(of, paper.name, 1.0, copy)
    assert seconds(paper.name) == 15.0  # the grid's own
    record(project, mpm, copy, 7.0)
    keep(of, "mpm", 1.0, copy)
    assert seconds("mpm") == 21.0  # now
    shutil.rmtree(copy)
    keep(Ablation(MINI, read_params()), "mpm", 1.0, copy)
    assert seconds("mpm") == 21.0  # by an earlier call
    record(project, BY_NAME["alpha0"], copy, 9.0)
    keep(of, "lambda0.7-alpha0.5", 1.0, copy)
    assert seconds("lambda0.7-alpha0.5") is None  # that of another setting does not count


def test_the_table_shows_every_setting_and_what_leaves_out_zero_in_bold(project):
    of = Ablation(MINI, read_params())
    keep(of, "alpha0", 0.0, project / "copy")
    keep(of, "mpm", 2.0, project / "copy")
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(ablation.render_ablation(of.frame, MINI))
    lines = capture.get().splitlines()
    (zero,), (more,) = ([line for line in lines if name in line] for name in ("alpha0", "mpm"))
    assert zero.count("+0.0 [") == 4 and "\x1b[1m+" not in zero
    assert more.count("\x1b[1m+2.0 [") == 4


# The base grid


def test_what_the_grid_lacks_is_named(project):
    params = read_params()
    with pytest.raises(
        ValueError, match=r"no data set cub and no backbone deit_base; .*`make run DATASET=cub"
    ):
        ablate.check_base(params, Cell("cub", "deit_base"))
    grid = params.grid.model_copy(update={"variants": ["mmp"]})
    with pytest.raises(ValueError, match=r"has no model control; settings are compared with the control"):
        ablate.check_base(params.model_copy(update={"grid": grid}), MINI)


def test_a_control_that_dvc_would_run_again_is_refused(project, monkeypatch):
    stages = {"finetune@mini-small-control": [], "localize@mini-small-control": []}
    monkeypatch.setattr(ablate, "dvc", lambda *arguments, folder: json.dumps(stages))
    with pytest.raises(
        ValueError, match=r"to be run: finetune@mini-small-control, localize@.* `dvc repro localize@"
    ):
        ablate.check_base(read_params(), MINI)
    monkeypatch.setattr(ablate, "dvc", lambda *arguments, folder: "{}")
    ablate.check_base(read_params(), MINI)


def test_unknown_settings_are_refused_with_those_there_are(project, capsys):
    with pytest.raises(SystemExit):
        ablate.main(["--settings", "lambda2"])
    assert "invalid choice: 'lambda2'" in capsys.readouterr().err


# The copy


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file below a folder, but for those of git, of DVC's cache and of the ablations."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", "cache", "ablation"} & set(path.parts)
    }


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A project in git whose stages are one line each, with changes that are not committed; git knows no one."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (tmp_path / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (tmp_path / ".gitignore").write_text("/results/\n__pycache__/\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": TOY}, sort_keys=False))
    (tmp_path / "README.md").write_text("as committed\n")
    git("init", "--quiet")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "first")
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / "staged.txt").write_text("staged\n")
    git("add", "staged.txt")
    (tmp_path / "experiments/new.py").write_text("NEW = 1\n")
    return tmp_path


TOY = {
    stage: {
        "matrix": {
            "dataset": "${grid.datasets}",
            "backbone": "${grid.backbones}",
            "model": "${grid.variants}",
        },
        "cmd": f"python experiments/stage.py {folder} ${{item.model}}",
        "deps": ["experiments/stage.py", *needs],
        "params": ["seeds", *more],
        "outs": [f"results/{folder}/${{item.dataset}}/${{item.backbone}}/${{item.model}}"],
    }
    for stage, folder, needs, more in (
        ("finetune", "models", [], ["padl"]),
        ("localize", "scores", ["results/models/${item.dataset}/${item.backbone}/${item.model}"], []),
    )
}
STAGE = """
import sys
from pathlib import Path
kind, model = sys.argv[1:]
text = Path("params.yaml").read_text()
Path("results").mkdir(exist_ok=True)
with Path("results/ran.txt").open("a") as log:
    log.write(f"{kind} {model}\\n")
folder = Path("results", kind, "mini/small", model)
folder.mkdir(parents=True, exist_ok=True)
(folder / "padl.txt").write_text(next(line for line in text.splitlines() if line.startswith("padl:")))
"""


def values(setting: Setting) -> dict[str, str]:
    return {f"padl.{name}": str(value).lower() for name, value in setting.padl.model_dump().items()}


def test_experiments_run_in_a_copy_and_touch_nothing_of_the_project(repository):
    project_copy.dvc("repro", "localize@mini-small-mmp", folder=repository)
    before, index = state(repository), git("status", "--porcelain")
    ablate.prepare_copy(MINI, "data/mini")
    copy = MINI.copy
    assert (copy / "README.md").read_text() == "mine\n" and (copy / "staged.txt").read_text() == "staged\n"
    assert (copy / "experiments/new.py").is_file()

    name, target = "ablate-mini-small-draw-per-image", "localize@mini-small-mmp"
    project_copy.run_experiment(copy, name, values(BY_NAME["draw-per-image"]), target, {})
    assert (copy / "results/ran.txt").read_text() == "models mmp\nscores mmp\n"
    made = (copy / "results/scores/mini/small/mmp/padl.txt").read_text()
    assert yaml.safe_load(made)["padl"] == BY_NAME["draw-per-image"].padl.model_dump()

    # The grid's own setting is in the project's cache.
    project_copy.run_experiment(copy, "ablate-mini-small-paper", values(Setting("paper")), target, {})
    assert (copy / "results/ran.txt").read_text() == "models mmp\nscores mmp\n"
    made = (copy / "results/scores/mini/small/mmp/padl.txt").read_text()
    assert yaml.safe_load(made)["padl"] == Setting("paper").padl.model_dump()

    assert state(repository) == before and git("status", "--porcelain") == index
    assert git("symbolic-ref", "HEAD").strip() in ("refs/heads/main", "refs/heads/master")
    names = {
        ref.rpartition("/")[2] for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    }
    assert names == {name, "ablate-mini-small-paper"} and not git("stash", "list")
    commit = git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").strip()
    assert yaml.safe_load(git("show", f"{commit}:params.yaml"))["padl"]["per_image"] is True


def test_an_experiment_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(project_copy, "experiment_command", lambda *_: [sys.executable, "-c", "exit(3)"])
    with pytest.raises(
        ValueError, match=r"ablate-x: `dvc exp run` ended with code 3; its output stands above\. Remove"
    ):
        project_copy.run_experiment(tmp_path, "ablate-x", {}, "localize@mini-small-mmp", {})


def test_a_copy_that_is_laid_out_again_keeps_what_interrupted_stages_left_and_nothing_else(repository):
    ablate.prepare_copy(MINI, "data/mini")
    snapshot = MINI.copy / "results/resume/snapshot"
    snapshot.parent.mkdir(parents=True)
    snapshot.write_text("half-way")
    (MINI.copy / ".dvc/tmp").mkdir(exist_ok=True)
    (MINI.copy / ".dvc/tmp/rwlock").write_text("of a process that was killed")
    (MINI.copy / "params.yaml").write_text("of another setting")
    (repository / "README.md").unlink()
    ablate.prepare_copy(MINI, "data/mini")
    assert snapshot.read_text() == "half-way"
    assert not (MINI.copy / ".dvc/tmp/rwlock").exists() and not (MINI.copy / "README.md").exists()
    grid = yaml.safe_load((MINI.copy / "params.yaml").read_text())["grid"]
    assert grid["models"] == ["baseline", "control", "mmp", "mpm"]


def test_a_registered_data_set_is_found_from_the_copy(repository):
    images = repository / "images"
    images.mkdir()
    (repository / "registered").mkdir()
    (repository / "registered/cub.json").write_text("{}")
    (repository / "registered/cub.root").write_text("images\n")
    cell = Cell("cub", "small")
    project_copy.lay_out(cell.copy, "registered/cub.json")
    assert (cell.copy / "registered/cub.json").read_text() == "{}"
    assert project_copy.image_roots("cub", "registered/cub.json") == {"VITOL_CUB_ROOT": str(images)}
    assert project_copy.image_roots("mini", "data/mini") == {}


def test_a_folder_without_git_is_refused_with_what_git_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(
        ValueError, match=r"(?s)`git fetch .*failed with code 128.*need a project in git, with one"
    ):
        project_copy.lay_out(MINI.copy, "data/mini")


# A whole run, without DVC


@pytest.fixture
def without_dvc(project, monkeypatch) -> list[str]:
    """`ablate` with settings that only leave scores; the names of those that ran."""
    ran: list[str] = []

    def run_experiment(copy, name, given, target, roots):
        ran.append(name)
        model = target.rpartition("-")[2]
        rate = float(given["padl.drop_rate"])
        write_scores(copy / MINI.scores(model), tuple(value + rate for value in CONTROL))
        record(project, BY_NAME[name.removeprefix("ablate-mini-small-")], copy / "results", 2.0)

    monkeypatch.setattr(ablate, "dvc", lambda *arguments, folder: "{}")
    monkeypatch.setattr(ablate, "prepare_copy", lambda cell, source: cell.copy.mkdir(exist_ok=True))
    monkeypatch.setattr(ablate, "run_experiment", run_experiment)
    return ran


def test_a_run_leaves_table_figure_and_record_and_no_copy(without_dvc):
    before = state(Path("results"))
    ablate.main([])
    assert without_dvc == [f"ablate-mini-small-{name}" for name in BY_NAME]
    frame = ablation.read_ablation(MINI.kept / ablation.TABLE)
    assert list(frame["setting"].unique()) == list(BY_NAME)
    assert frame["difference"].to_numpy() == pytest.approx(frame["drop_rate"].to_numpy())
    assert (MINI.kept / ablate.FIGURE).stat().st_size > 5000
    kept = json.loads((MINI.kept / ablation.RECORD).read_text())["settings"]
    assert {of["wall_seconds"] for of in kept.values()} == {6.0} and set(kept) == set(BY_NAME)
    assert state(Path("results")) == before and not MINI.copy.parent.exists()


def test_a_run_that_is_broken_off_keeps_what_is_done_and_the_copy(without_dvc, monkeypatch):
    run = ablate.run_experiment

    def break_off(copy, name, *arguments):
        if name.endswith("mpm"):
            raise KeyboardInterrupt
        run(copy, name, *arguments)

    monkeypatch.setattr(ablate, "run_experiment", break_off)
    before = state(Path("results"))
    with pytest.raises(
        SystemExit, match=r"Interrupted. Settings that were done stand in .*ablation-mini-small; the same"
    ):
        ablate.main(["mini", "small", "--settings", "alpha0", "mpm"])
    assert list(ablation.read_ablation(MINI.kept / ablation.TABLE)["setting"].unique()) == ["alpha0"]
    assert MINI.copy.is_dir() and state(Path("results")) == before
    monkeypatch.setattr(ablate, "run_experiment", run)
    ablate.main(["mini", "small", "--settings", "mpm", "mpm"])
    assert without_dvc == ["ablate-mini-small-alpha0", "ablate-mini-small-mpm"]
    assert list(ablation.read_ablation(MINI.kept / ablation.TABLE)["setting"].unique()) == ["alpha0", "mpm"]


# The figure


def shown(scale: float, leave_out: tuple[str, ...] = (), seeds: int = 3) -> pd.DataFrame:
    """Made-up differences."""
    rng, rows = np.random.default_rng(0), []
    for setting in SETTINGS:
        for (name, metric, _), control in zip(MEASURED, CONTROL, strict=True):
            difference = round(rng.normal(0, scale), 2)
            numbers = (
                control + difference,
                0.0,
                0.0,
                difference,
                difference - 1,
                difference + 1,
                0.1,
                400,
                seeds,
            )
            if setting.name not in leave_out:
                rows.append((*setting, name, metric, *numbers))
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    kept: list[Figure] = []
    monkeypatch.setattr(figure_module, "save_png", lambda figure, path: kept.append(figure))
    return kept


@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
@pytest.mark.parametrize("leave_out", [(), ("alpha0", "mpm", "lambda0.9-alpha0.75")])
def test_no_two_texts_overlap_or_leave_the_figure(drawn, scale, leave_out):
    ablation_figure(shown(scale, leave_out), "openimages30k", "deit_small", Path("unused"))
    check_texts(drawn[0])


def test_numbers_colours_and_dots_are_the_frames(drawn):
    frame = shown(3.0)
    ablation_figure(frame, "mini", "small", Path("unused"))
    limit = np.ceil(frame["difference"].abs().max())
    for at, (name, metric, _) in enumerate(PANELS):
        heat, dots = drawn[0].axes[2 * at : 2 * at + 2]
        of = frame[(frame["map"] == name) & (frame["metric"] == metric)].set_index("setting")
        texts = [text.get_text() for text in heat.texts]
        assert len(texts) == 10
        first = of.loc["alpha0"]
        mark = "*" if abs(first["difference"]) > 1 else ""
        assert texts[0] == f"{first['difference']:+.1f}".replace("-", "−") + mark
        expected = figure_module.mpl.colormaps["RdBu"](0.5 + first["difference"] / (2 * limit))
        assert heat.patches[0].get_facecolor() == pytest.approx(expected)
        singles = ["lambda0.9-alpha0.75", "mpm", "draw-per-image", "class-token-spared"]
        marks = [line.get_xdata()[0] for line in dots.lines if line.get_marker() == "o"]
        assert marks == of.loc[singles, "difference"].tolist()
    assert drawn[0].axes[0].get_title() == "AR, MaxBoxAccV2\ncontrol 54.0%"


def test_the_figure_names_what_was_measured_on_what(drawn):
    ablation_figure(shown(1.0, seeds=1), "cub", "deit_base", Path("unused"))
    ablation_figure(shown(1.0, ("mpm",)), "cub", "deit_base", Path("unused"))
    one, several = (" ".join(" ".join(written(figure)).split()) for figure in drawn)
    for text in (
        "cub, deit_base: ablations",
        "cub test split, all 400 images",
        "oracle-per-iou, preset release",
    ):
        assert text in one and text in several
    assert "400 images, 1 seed;" in one and "mean over 3 seeds;" in several
    assert "not run" not in one and several.count("not run") == 4


def test_the_same_frame_gives_the_same_bytes(tmp_path):
    for name in ("one.png", "again.png"):
        ablation_figure(shown(1.0), "mini", "small", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_a_figure_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no ablation of mini small to plot; run at least one setting"):
        ablation_figure(pd.DataFrame(columns=COLUMNS), "mini", "small", tmp_path / "unused.png")
