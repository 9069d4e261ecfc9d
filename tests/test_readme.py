"""What README.md says is so, and what was moved from it to docs/results.md."""

import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from experiments.params import read_params
from experiments.summary import by_policy, cell, differences, renewed, summary, top1_by_subset
from vitol.measurements import read_scores
from vitol.tables import headline

README, RESULTS = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/results.md"))


def test_the_tables_of_results_are_those_of_the_committed_runs():
    folder, runs = ROOT / "experiments" / "results", read_params(ROOT / "params.yaml").committed
    overview = summary(runs, folder)
    for table in (overview, top1_by_subset(folder), by_policy(runs, folder), differences(runs, folder)):
        assert table in RESULTS
    assert overview in README


def test_what_a_head_is_worth_is_what_was_measured():
    def scores(run, rival):
        frame = read_scores(ROOT / "experiments" / "results" / run / "measurements.csv")
        own = (frame["variant"] == rival.lower()) & (frame["map"] == rival)
        return frame[headline(frame) & own & (frame["metric"] == "MaxBoxAccV2")].set_index("seed")

    head, whole, cam = scores("i2c-head", "I2C"), scores("mini", "I2C"), scores("mini", "CAM")
    text = " ".join((ROOT / "docs" / "rivals.md").read_text(encoding="utf-8").split())
    assert f"comes on `mini` to {cell(head)}, between CAM's {cell(cam)} and I2C's {cell(whole)}" in text
    losses = whole["value"] - head["value"]
    assert f"the rest, {losses.min():.1f} to {losses.max():.1f} with each seed" in text
    gains = [side["value"].mean() - cam["value"].mean() for side in (whole, head)]
    assert f"of {gains[0]:.1f} points the head gives {gains[1]:.1f}" in text


def test_a_table_takes_the_place_of_those_of_its_header_and_nothing_else_moves():
    old = "# A\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nText | with bars |.\n\n| c |\n| --- |\n| 3 |\n"
    new = "| a | b |\n| --- | --- |\n| 8 | 9 |\n| 10 | 11 |"
    assert renewed([old, "no table"], [new]) == [
        old.replace("| 1 | 2 |", "| 8 | 9 |\n| 10 | 11 |"),
        "no table",
    ]
    with pytest.raises(ValueError, match=r"no page has a table that begins with '\| d \|'; write that line"):
        renewed([old], ["| d |\n| --- |\n| 4 |"])


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
