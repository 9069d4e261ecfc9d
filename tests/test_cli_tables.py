"""`vitol tables`: from a file of measurements to the paper's tables."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from typer.testing import CliRunner, Result

from vitol.cli import app
from vitol.measurements import read_scores
from vitol.paper import TABLES, read_published
from vitol.tables import build_table

RESULTS = ROOT / "experiments" / "results"
RUNS = ("mini", "cub20-deit_tiny", "ilsvrc300-deit_tiny")


@pytest.fixture
def measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those of the committed runs, in the place where the command looks for them; the current folder is its parent."""
    monkeypatch.chdir(tmp_path)
    path = Path("results/measurements.csv")
    path.parent.mkdir()
    frames = [read_scores(RESULTS / run / "measurements.csv") for run in RUNS]
    pd.concat(frames).to_csv(path, index=False)
    return path


def run(*arguments: object, width: int = 160) -> Result:
    words = ["tables", *map(str, arguments)]
    return CliRunner().invoke(app, words, env={"COLUMNS": str(width)})


def test_all_four_tables_are_shown_and_the_wanted_ones_if_any_are(measurements: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert all(f"Table {number}. " in result.stdout for number in TABLES)
    some = run(measurements, "--table", 4, "--table", 3, "--table", 3)
    assert [line.split(".")[0].strip() for line in some.stdout.splitlines() if "Table" in line[:60]] == [
        "Table 3",
        "Table 4",
    ]


def test_the_csv_files_are_those_of_the_pipeline(measurements: Path) -> None:
    result = run("--out", "made")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("tables  made/table1.csv, ")
    for number in TABLES:
        expected = build_table(number, read_scores(measurements), read_published(number)).csv()
        assert Path(f"made/table{number}.csv").read_text() == expected


def test_on_a_narrow_screen_columns_that_do_not_fit_stand_below(measurements: Path) -> None:
    wide, narrow = run("--table", 3), run("--table", 3, width=80)
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert wide.stdout.count("Table 3.") == 1 < narrow.stdout.count("Table 3.")
    assert "(continued)" in narrow.stdout and "(continued)" not in wide.stdout
    assert " ".join(narrow.stdout.split()).count("Control: trained on like p-ADL, without it.") == 1
    # Nothing is cut off: every cell of ours is there whole.
    (table,) = json.loads(run("--table", 3, "--json").stdout)["tables"]
    shown = [cell for row in table["rows"] for cell in row["cells"] if cell["ours"] is not None]
    assert len(shown) > 50
    for cell in shown:
        assert f"{cell['ours']:.1f} [{cell['ci_low']:.1f}, {cell['ci_high']:.1f}]" in narrow.stdout


def test_json_has_every_number_of_the_tables_and_stands_alone_on_stdout(measurements: Path) -> None:
    result = run("--json", "--out", "made")
    assert result.exit_code == 0, result.output
    assert "made/table1.csv" in result.stderr
    said = json.loads(result.stdout)
    assert said["measurements"] == str(measurements)
    assert [table["number"] for table in said["tables"]] == list(TABLES)
    row = next(row for row in said["tables"][2]["rows"] if (row["method"], row["row"]) == ("AR", 1))
    cells = {(cell["group"], cell["metric"]): cell for cell in row["cells"]}
    assert cells["ImageNet", "MaxBoxAccV2"]["paper"] == 45.94
    assert cells["ImageNet", "MaxBoxAccV2"]["ours"] is None
    ours = next(cell for (group, _), cell in cells.items() if group.startswith("mini"))
    seeds = read_scores(measurements).query("dataset == 'mini' and variant == 'baseline'")["seed"].nunique()
    assert (
        ours["seeds"] == seeds and ours["paper"] is None and ours["ci_low"] <= ours["ours"] <= ours["ci_high"]
    )


def test_files_of_an_earlier_run_are_kept_unless_forced(measurements: Path) -> None:
    Path("made").mkdir()
    Path("made/table2.csv").write_text("mine")
    refused = run("--out", "made")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "made/table2.csv exists already; give another folder, or --force to overwrite it" in refused.stderr
    assert [path.name for path in Path("made").iterdir()] == ["table2.csv"]
    assert run("--out", "made", "--force").exit_code == 0
    assert Path("made/table2.csv").read_text() != "mine"


def test_what_is_wrong_with_the_measurements_is_said_in_red_and_no_table_is_made(measurements: Path) -> None:
    missing = run("none.csv")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "none.csv is missing; run `make repro` in the project's folder first, or give" in missing.stderr
    read_scores(measurements).assign(policy="best").to_csv("odd.csv", index=False)
    odd = run("odd.csv", "--out", "made")
    assert (odd.exit_code, odd.stdout, Path("made").exists()) == (1, "", False)
    assert "policy is 'best'; needed: one of" in odd.stderr
    assert run("--table", 5).exit_code == 2
