"""What README.md says is so."""

import re
import tomllib
from pathlib import Path

from conftest import ROOT

from experiments.summary import by_policy, differences, summary, top1_by_subset

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_of_results_are_those_of_the_committed_runs():
    for table in (summary, top1_by_subset, by_policy, differences):
        assert table(ROOT / "experiments" / "results") in README


def test_linked_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_make_targets_that_it_names_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets


def test_the_lock_names_no_index_and_pins_every_requirement():
    lock = (ROOT / "requirements.txt").read_text()
    assert "://" not in lock and "--" not in lock
    pinned = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(name for extra in extras.values() for name in extra)]:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name and name.group().lower().replace("_", "-") in pinned, requirement


def test_the_package_imports_nothing_of_the_experiments():
    for path in (ROOT / "vitol").rglob("*.py"):
        assert not re.search(
            r"^\s*(from|import) (experiments|notebooks|tests)\b", Path(path).read_text(), re.M
        )
