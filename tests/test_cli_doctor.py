"""`vitol doctor`, and the checkup behind it."""

import json
import re
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from fakes import fake_cub
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from vitol import checkup
from vitol.checkup import data_sets, devices, loading, packages, required, tools, weights
from vitol.cli import app
from vitol.datasets.register import register


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VITOL_WEIGHTS", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    """A registered data set."""
    root = fake_cub(tmp_path / "CUB_200_2011")
    register("cub", root, "cub")
    return root


def test_the_packages_are_those_that_the_project_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(required().values()) == sorted(project["dependencies"])
    seen = {finding.name: finding.seen for finding in packages()}
    assert list(seen)[:2] == ["python", "vitol"]
    assert {name: seen[name] for name in required()} == {name: version(name) for name in required()}


def test_every_requirement_is_of_the_form_that_versions_are_compared_by() -> None:
    for requirement in required().values():
        assert re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", requirement), requirement


def test_a_package_that_is_missing_or_too_old_is_a_fault_with_the_command_that_mends_it(monkeypatch) -> None:
    def installed(name: str) -> str:
        if name == "numba":
            raise PackageNotFoundError(name)
        return "1.9.9" if name == "torch" else version(name)

    monkeypatch.setattr(checkup, "version", installed)
    faults = {finding.name: finding for finding in packages() if finding.status == "fault"}
    assert set(faults) == {"numba", "torch"}
    assert (faults["numba"].seen, faults["numba"].remedy) == (
        "not installed",
        f"pip install '{required()['numba']}'",
    )
    least = required()["torch"].split(">=")[1]
    assert faults["torch"].seen == f"1.9.9, and {least} is needed at least"


def test_a_library_that_cannot_be_loaded_is_a_fault_and_the_devices_are_not_looked_at(monkeypatch) -> None:
    def broken(name: str) -> None:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does\nnot exist")

    monkeypatch.setattr(checkup, "import_module", broken)
    findings = {finding.name: finding for finding in checkup.checkup()}
    assert findings["import torchvision"].status == "fault"
    assert findings["import torchvision"].seen == "RuntimeError: operator torchvision::nms does not exist"
    assert "CPU" not in findings and "dvc" in findings


def test_what_is_computed_on_is_said_as_training_decides_it(monkeypatch) -> None:
    for supported, said in ((True, "bfloat16 in hardware"), (False, "so training is in float32")):
        precision = "bf16" if supported else "fp32"
        monkeypatch.setattr("vitol.precision.precision_on", lambda *_, precision=precision: precision)
        assert said in next(finding.seen for finding in devices() if finding.name == "CPU")


def test_the_libraries_of_this_environment_can_be_loaded() -> None:
    assert {finding.status for finding in loading()} == {"ok"}


def test_without_data_sets_and_weights_nothing_is_broken() -> None:
    assert [(f.status, f.seen) for f in data_sets()] == [("note", "none in registered")]
    assert [(f.name, f.status) for f in weights()] == [("$VITOL_WEIGHTS", "note")]


def test_a_registered_data_set_is_well_while_its_first_images_are_there(cub: Path) -> None:
    (found,) = data_sets()
    assert (found.name, found.status) == ("cub", "ok")
    assert found.seen == f"train 3, test 2 images in {cub / 'images'}"
    first = cub / "images" / Path("registered/cub.splits/test/image_ids.txt").read_text().splitlines()[0]
    first.unlink()
    (found,) = data_sets()
    assert (found.status, found.seen) == ("fault", f"there is no {first}")
    assert "vitol data check cub" in found.remedy


def test_a_data_set_that_is_gone_or_whose_manifest_is_odd_is_a_fault(cub: Path) -> None:
    Path("registered/odd.json").write_text("{}")
    Path("registered/odd.root").write_text(f"{cub}\n")
    Path("registered/broken.json").write_text("{")
    shutil.rmtree(cub)
    found = {finding.name: finding for finding in data_sets()}
    assert {finding.status for finding in found.values()} == {"fault"}
    assert "which is not a folder" in found["cub"].seen and "VITOL_CUB_ROOT" in found["cub"].remedy
    assert found["broken"].seen.startswith("registered/broken.json is no manifest")
    shutil.copytree("registered/cub.splits", cub)
    odd = next(finding for finding in data_sets() if finding.name == "odd")
    assert odd.seen == "registered/odd.json is not as `vitol data register` writes it"


def test_weights_are_opened_and_their_names_looked_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VITOL_WEIGHTS", str(tmp_path / "weights"))
    (found,) = weights()
    assert found.status == "fault" and found.seen.endswith("is not a folder")
    (tmp_path / "weights").mkdir()
    assert next(weights()).seen.endswith("has no .safetensors file")
    for name in ("deit_tiny_patch16_224", "mine"):
        save_file({"a": np.zeros(3)}, tmp_path / f"weights/{name}.safetensors")
    (tmp_path / "weights/torn.safetensors").write_bytes(b"torn")
    found = {finding.name: finding for finding in weights()}
    assert (found["deit_tiny_patch16_224"].status, found["mine"].status) == ("ok", "note")
    assert found["deit_tiny_patch16_224"].seen == "1 tensor, 0.0 MB"
    assert "timm knows no model of this name" in found["mine"].remedy
    assert found["torn"].status == "fault" and "is not a safetensors file" in found["torn"].seen


def test_a_tool_that_is_missing_is_a_note(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/dvc" if name == "dvc" else None)
    found = {finding.name: finding for finding in tools()}
    assert (found["dvc"].status, found["jupytext"].status, found["chromium"].status) == ("ok", "note", "note")
    assert found["jupytext"].seen == "not found; only `make notebooks` needs it"


def test_doctor_prints_every_finding_and_ends_with_0_while_nothing_is_broken(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run()
    assert result.exit_code == 0, result.output
    for name in ("python", *required(), "CPU", "$VITOL_WEIGHTS", "registered", "dvc"):
        assert re.search(rf"^ (ok|note) +{re.escape(name)} ", result.stdout, re.M), name
    assert "-> vitol data register --help" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Nothing is broken, ")
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_doctor_ends_with_1_and_says_the_remedy_where_something_is_broken(cub: Path) -> None:
    shutil.rmtree(cub)
    result = run()
    assert result.exit_code == 1
    assert "1 fault to fix" in result.stdout and "VITOL_CUB_ROOT" in result.stdout
    said = run("--json")
    assert said.exit_code == 1
    content = json.loads(said.stdout)
    assert content["healthy"] is False
    (fault,) = [finding for finding in content["findings"] if finding["status"] == "fault"]
    assert (fault["area"], fault["name"]) == ("data sets", "cub") and fault["remedy"]
