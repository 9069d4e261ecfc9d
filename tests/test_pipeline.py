"""dvc.yaml and params.yaml: what the pipeline says of itself is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
import yaml
from conftest import ROOT

from experiments import names, select
from experiments.names import MAP_FILES
from experiments.params import ParamsError, read_params
from experiments.summary import cell
from vitol.methods import ABOUT, METHODS, Method
from vitol.models import create_model
from vitol.paper import TABLES, read_published
from vitol.tokens import patch_grid

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
    seen, waiting = set(), [path, *path.parent.glob("__init__.py")]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += imported(file)
    return {file.relative_to(ROOT).as_posix() for file in seen}


def needed(stage: str) -> set[str]:
    """The code of a stage: its script and all that it imports; of stage notebooks the notebooks, too."""
    return set().union(*(closure(script) for script in scripts(stage)))


def scripts(stage: str) -> list[Path]:
    notebooks = sorted((ROOT / "notebooks").glob("*.py")) if stage == "notebooks" else []
    return [ROOT / "experiments" / f"{stage}.py", *notebooks]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_it_imports(stage):
    stated, wanted = {path for path in body(stage)["deps"] if path.endswith(".py")}, needed(stage)
    assert stated == wanted, f"missing: {sorted(wanted - stated)}; too many: {sorted(stated - wanted)}"


def test_stage_script_and_main_share_a_name():
    for stage in STAGES:
        assert body(stage)["cmd"].startswith(f"python -m experiments.{stage}")
        tree = ast.parse((ROOT / "experiments" / f"{stage}.py").read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


@pytest.mark.parametrize(
    "stage", ["prepare", "localize", "tabulate", "plot", "report", "compare", "publish", "notebooks"]
)
def test_stages_without_a_model_do_not_import_torch(stage):
    code = f"import sys, experiments.{stage}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


DATA, CELL = "results/data/${item.dataset}", "${item.dataset}/${item.backbone}"
NEEDED = {
    "prepare": ({"${item}"}, {"grid.datasets.${key}"}),
    "baseline": ({DATA}, {"seeds", "backbones.${item.backbone}", "datasets.${item.dataset}.baseline"}),
    "finetune": (
        {DATA, f"results/models/{CELL}/baseline"},
        {"seeds", "padl", "backbones.${item.backbone}", "datasets.${item.dataset}.finetune"},
    ),
    "explain": (
        {DATA, f"results/models/{CELL}/${{item.model}}"},
        {"seeds", "explain", "backbones.${item.backbone}"},
    ),
    "rival": ({DATA}, {"seeds", "rivals", "backbones", "datasets.${item.dataset}.rivals"}),
    "rival_maps": (
        {DATA, f"results/models/{CELL}/${{item.rival}}"},
        {"seeds", "explain", "backbones", "rivals.networks"},
    ),
    "localize": (
        {DATA, f"results/maps/{CELL}/${{item.model}}"},
        {"seeds", "bootstrap", "fixed_thresholds", "rivals.networks"},
    ),
    "randomize": (
        {DATA, f"results/models/{CELL}/baseline"},
        {"seeds", "randomize", "bootstrap", "backbones.${item.backbone}"},
    ),
    "tabulate": (
        {"results/scores", "experiments/results", "vitol/published"},
        {"grid", "seeds", "committed"},
    ),
    "plot": (
        {
            "results/measurements.csv",
            "results/differences.csv",
            "results/data",
            "results/maps",
            "results/sanity",
            "results/scores",
            "vitol/published",
        },
        {"grid", "seeds"},
    ),
    "report": (
        {
            "results/measurements.csv",
            "results/differences.csv",
            "results/data",
            "results/figures",
            "results/maps",
            "results/scores",
            "vitol/published",
            "vitol/report/assets",
        },
        {"grid", "seeds", "report"},
    ),
    "notebooks": (
        {
            "results/measurements.csv",
            "results/differences.csv",
            "results/data",
            "results/maps",
            "results/models",
            "results/sanity",
            "results/scores",
            "results/figures",
            "vitol/published",
            "docs/photos",
        },
        {"grid", "seeds", "padl", "backbones", "randomize"},
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_data_and_settings_it_reads(stage):
    data = {path for path in body(stage)["deps"] if not path.endswith(".py")}
    assert (data, set(body(stage)["params"])) == NEEDED[stage]


def test_a_map_that_a_committed_run_lacks_is_shown_as_not_run():
    columns = ["value", "ci_low", "ci_high"]
    assert cell(pd.DataFrame([[50.04, 48.0, 52.0]], columns=columns)) == "50.0 [48.0, 52.0]"
    assert cell(pd.DataFrame([], columns=columns)) == "not run"


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


def test_the_sanity_check_asks_for_maps_that_exist():
    methods = read_params(ROOT / "params.yaml").randomize.methods
    assert set(methods) == set(METHODS) and len(set(methods)) == len(methods)


def test_maps_of_the_tables_are_called_as_their_methods_are():
    assert {name: ABOUT[method].title for name, method in names.METHODS.items()} == {
        name: name for name in names.METHODS
    }


def test_presets_share_a_file_of_maps_where_they_are_the_same_method_and_only_there():
    methods = {key: Method.of(names.METHODS[key[0]], key[1]) for key in MAP_FILES}
    for one, other in combinations(MAP_FILES, 2):
        assert (MAP_FILES[one] == MAP_FILES[other]) == (methods[one] == methods[other])


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


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.update(seeds=[0, 0]), r"seeds: .*seeds = \[0, 0\] has one twice"),
        (lambda c: c["randomize"].update(images=0), r"randomize\.images: Input should be greater than 0"),
        (lambda c: c["randomize"].update(methods=[]), r"randomize\.methods: List should have at least 1"),
        (lambda c: c.update(seeds=[-1]), r"seeds\.0: Input should be greater than or equal to 0"),
        (lambda c: c["backbones"]["small"].update(resize=32), "images resized to 32 have no crop of 60"),
        (lambda c: c["grid"].update(backbones=[]), r"grid\.backbones: List should have at least 1 item"),
        (
            lambda c: c["grid"].update(datasets={"cub": "registered/cub20.json"}),
            r"'cub' comes from registered/cub20\.json; its manifest is registered/cub\.json",
        ),
        (
            lambda c: c["grid"].update(datasets={"ilsvrc300": "registered/ilsvrc300.json"}),
            r"'ilsvrc300' has no finetune recipe; set grid.variants to \[\]",
        ),
        (
            lambda c: c["grid"].update(backbones=["small"] * 2),
            r"backbones = \['small', 'small'\] has one twice",
        ),
        (lambda c: c["grid"].update(rivals=["cam", "cam"]), r"rivals = \['cam', 'cam'\] has one twice"),
        (
            lambda c: c["rivals"]["settings"].update(resnet50={"hass": {"grid": 8}}),
            r"rivals\.settings: .*resnet50 has settings of hass, unknown rivals; there are cam, has",
        ),
        (
            lambda c: c["rivals"]["settings"].update(resnet5={"has": {"grid": 8}}),
            r"rivals\.settings names resnet5, not described; known: base, deit_base",
        ),
        (
            lambda c: c["rivals"]["settings"].update(small={"has": {"grid": 8}}),
            r"settings has has on 'small', where they would not be used: it trains a convolutional network",
        ),
        (
            lambda c: c["rivals"]["settings"].update(vgg16={"scm": {"flow": 8}}),
            r"settings has scm on 'vgg16', where they would not be used: it trains a transformer",
        ),
        (
            lambda c: c["rivals"]["networks"].update(small="resnet"),
            r"rivals\.networks names resnet, not described; known: base, deit_base",
        ),
        (
            lambda c: c["rivals"]["networks"].update(smal="resnet50"),
            r"rivals\.networks names smal, not described",
        ),
        (
            lambda c: c["rivals"]["networks"].update(small="small"),
            r"puts 'small' beside 'small', but it is itself a backbone that has a network beside it",
        ),
        *(
            (
                lambda c, name=name: c["grid"].update(backbones=[name]),
                f"asks for backbone '{name}', a convolutional network for rivals; maps are made of transformers",
            )
            for name in ("resnet50", "resnet_small", "vgg16", "inception_v3")
        ),
        (
            lambda c: c["grid"].update(
                backbones=["small", "base"],
                rivals=["ts-cam", "cam"],
                scored=[*c["grid"]["models"], "ts-cam", "cam"],
            ),
            r"backbones small, base of the grid share the network 'resnet_small' .* measurements of cam could not",
        ),
    ],
)
def test_settings_that_would_fail_after_hours_are_refused_at_once(tmp_path, change, fault):
    with pytest.raises(ParamsError, match=fault):
        read_params(changed(tmp_path, change))


@pytest.mark.parametrize("rivals", [[], ["ts-cam", "scm"]])
def test_backbones_may_share_a_network_that_nothing_is_trained_on(tmp_path, rivals):
    def change(content):
        models = content["grid"]["models"]
        content["grid"].update(backbones=["small", "base"], rivals=rivals, scored=[*models, *rivals])

    assert read_params(changed(tmp_path, change)).grid.backbones == ["small", "base"]


def test_settings_of_rivals_are_taken_on_the_networks_that_they_train(tmp_path):
    given = {"resnet50": {"has": {"grid": 8}}, "deit_tiny": {"scm": {"flow": 1.0}}}
    path = changed(tmp_path, lambda content: content["rivals"].update(settings=given))
    assert read_params(path).rivals.settings == given


def test_missing_and_broken_params_are_named(tmp_path):
    with pytest.raises(ParamsError, match=r"none\.yaml cannot be read .*run from the project's root"):
        read_params(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(ParamsError, match="is no YAML"):
        read_params(broken)


@pytest.mark.parametrize("name", ["small", "base"])
def test_minis_backbones_have_a_grid_of_at_least_eight_by_eight(name):
    backbone = read_params(ROOT / "params.yaml").backbones[name]
    model = create_model(backbone.architecture, 8, options=backbone.options).eval()
    images = torch.zeros(1, 3, backbone.image_size, backbone.image_size)
    assert model(images).shape == (1, 8)
    assert min(patch_grid(model, images)) >= 8


@pytest.mark.parametrize("name", ["deit_tiny", "deit_small", "deit_base"])
def test_backbones_for_real_data_are_timm_models_with_pretrained_weights(name):
    backbone = read_params(ROOT / "params.yaml").backbones[name]
    assert backbone.pretrained and timm.is_model_pretrained(backbone.architecture)
    assert (backbone.image_size, backbone.resize) == (224, 256)


def test_the_headers_of_the_papers_recipes_state_the_papers_numbers():
    published = pd.concat(map(read_published, TABLES))
    text = (ROOT / "params.yaml").read_text()
    for dataset in ("cub", "ilsvrc"):
        header = text[
            text.index("# Expect", text.index(f"DATASET={dataset} ")) : text.index(f"\n  {dataset}:\n")
        ]
        stated = {float(number) for number in re.findall(r"\b\d\d\.\d\d\b", header.split("# Cost")[0])}
        values = set(published.loc[published["dataset"] == dataset, "value"])
        assert len(stated) >= 6 and stated <= values, stated - values
        main = published.query("dataset == @dataset and metric == 'MaxBoxAccV2' and backbone == 'DeiT-B'")
        assert stated >= set(main["value"])


def test_the_grid_is_pointed_elsewhere_and_back_without_another_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text)
    select.main(["ilsvrc", "deit_base", "--variants", "mmp", "--seeds", "0", "1", "--processes", "8"])
    params = read_params()
    assert params.grid.datasets == {"ilsvrc": "registered/ilsvrc.json"}
    assert (params.grid.backbones, params.grid.models) == (["deit_base"], ["baseline", "mmp"])
    assert (params.seeds, params.processes) == ([0, 1], 8)
    select.main(["ilsvrc300", "deit_tiny"])
    assert read_params().grid.models == ["baseline"]
    select.main(["mini", "small"])
    assert Path("params.yaml").read_text() == text
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def test_a_selection_that_params_refuse_leaves_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"seeds = \[1, 1\] has one twice"):
        select.main(["cub", "deit_base", "--seeds", "1", "1"])
    with pytest.raises(ParamsError, match="backbone 'resnet50', a convolutional network for rivals"):
        select.main(["cub", "resnet50"])
    assert Path("params.yaml").read_text() == text
    Path("params.yaml").write_text(text.replace("  models: [", "  models:\n    ["))
    with pytest.raises(
        ParamsError, match=r"no line with grid\.models and its whole value; write it on one line"
    ):
        select.main(["cub", "deit_base"])
