"""dvc.yaml and params.yaml: what the pipeline says of itself is so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from experiments.params import ParamsError, read_params

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def body(stage: str) -> dict:
    return STAGES[stage].get("do", STAGES[stage])


def imported(path: Path) -> set[Path]:
    """The project's modules that a file imports, packages' __init__ included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] not in ("vitol", "experiments"):
                continue
            for end in range(1, len(parts) + 1):
                stem = ROOT.joinpath(*parts[:end])
                found |= {file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()}
    return found


def closure(path: Path) -> set[str]:
    """A file and all of the project that it needs, as dvc.yaml writes it."""
    seen, waiting = set(), [path, path.parent / "__init__.py"]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += imported(file)
    return {file.relative_to(ROOT).as_posix() for file in seen}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_it_imports(stage):
    stated = {path for path in body(stage)["deps"] if path.endswith(".py")}
    needed = closure(ROOT / "experiments" / f"{stage}.py")
    assert stated == needed, f"missing: {sorted(needed - stated)}; too many: {sorted(stated - needed)}"


def test_stage_script_and_main_share_a_name():
    for stage in STAGES:
        assert body(stage)["cmd"].startswith(f"python -m experiments.{stage}")
        tree = ast.parse((ROOT / "experiments" / f"{stage}.py").read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


@pytest.mark.parametrize("stage", ["tabulate", "plot", "prepare", "localize", "compare", "publish"])
def test_stages_without_a_model_do_not_import_torch(stage):
    for name in closure(ROOT / "experiments" / f"{stage}.py"):
        assert "import torch" not in (ROOT / name).read_text(), name


def changed(tmp_path: Path, change) -> Path:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(content)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_committed_params_are_valid_and_default_to_mini():
    params = read_params(ROOT / "params.yaml")
    assert params.grid.datasets == {"mini": "data/mini"}
    assert params.grid.backbones == ["small"]
    assert params.grid.variants == ["control", "mmp", "mpm"]


def test_the_papers_schedules_are_those_of_section_4_3():
    datasets = read_params(ROOT / "params.yaml").datasets
    assert datasets["ilsvrc"].baseline is None
    for recipe, expected in (
        (datasets["ilsvrc"].finetune, (10, 1e-4, 3)),
        (datasets["cub"].baseline, (50, 1e-4, 10)),
        (datasets["cub"].finetune, (15, 1e-5, 5)),
    ):
        assert (recipe.epochs, recipe.lr, recipe.decay_every) == expected
        assert (recipe.decay_factor, recipe.weight_decay, recipe.warmup_epochs) == (0.1, 0, 0)


def test_all_faults_of_params_are_reported_together_by_key(tmp_path):
    def change(content):
        content["datasets"]["mini"]["baseline"]["epoch"] = 3
        content["padl"]["drop_rate"] = 2
        content["sedes"] = [1]
        del content["explain"]

    with pytest.raises(ParamsError) as error:
        read_params(changed(tmp_path, change))
    text = str(error.value)
    assert "4 fault(s)" in text
    assert "datasets.mini.baseline.epoch: unknown key; remove it or correct its name (seen: 3)" in text
    assert "sedes: unknown key" in text
    assert "padl.drop_rate: Input should be less than or equal to 1 (seen: 2)" in text
    assert "explain: Field required" in text


def test_a_grid_of_something_undescribed_is_refused(tmp_path):
    with pytest.raises(
        ParamsError, match="the grid asks for backbone 'huge', which is not described; known: .*small"
    ):
        read_params(changed(tmp_path, lambda content: content["grid"].update(backbones=["huge"])))
    with pytest.raises(ParamsError, match="the grid asks for data set 'imagenet'"):
        read_params(changed(tmp_path, lambda content: content["grid"].update(datasets={"imagenet": "x"})))


def test_a_grid_whose_models_are_not_its_variants_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="models = .* must be baseline and the variants"):
        read_params(changed(tmp_path, lambda content: content["grid"].update(variants=["mmp"])))


def test_a_recipe_out_of_range_is_refused_by_key(tmp_path):
    with pytest.raises(ParamsError, match="lr = -1.0 in a training recipe; it must be above 0"):
        read_params(changed(tmp_path, lambda content: content["datasets"]["mini"]["finetune"].update(lr=-1)))


def test_missing_and_broken_params_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"none\.yaml cannot be read .*run from the project's root"):
        read_params(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ParamsError, match="is no YAML"):
        read_params(broken)
