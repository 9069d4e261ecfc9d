"""The paper's claims against our runs: verdicts, the paper's own differences, and the page of both."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from experiments import claims, real, run_facts, select
from experiments.ablation import BY_NAME
from experiments.claims import CLAIMS, FOLLOWS, V2, claim_table, paper_difference, read_run
from experiments.differences import COLUMNS, pairs
from experiments.params import ParamsError, read_params
from experiments.verdicts import verdict_of
from vitol.cams.about import RIVALS
from vitol.claims_figure import curves_figure
from vitol.paper import TABLES, read_published

COMMITTED = ROOT / "experiments" / "results"
RUN = "cub20-deit_tiny"


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return pd.concat([read_published(number) for number in TABLES], ignore_index=True)


def comparison(claim: str, title: str) -> tuple[claims.Claim, claims.Comparison]:
    of = next(one for one in CLAIMS if one.title == claim)
    return of, next(one for one in of.comparisons if one.title == title)


@pytest.mark.parametrize(
    ("numbers", "sign", "options", "expected"),
    [
        ((1.0, 0.1, 2.0), 1, {}, "holds"),
        ((1.0, 0.1, 2.0), -1, {}, "reversed"),
        ((-1.0, -2.0, -0.1), -1, {}, "holds"),
        ((-1.0, -2.0, -0.1), 1, {}, "reversed"),
        ((1.0, 0.0, 2.0), 1, {}, "open"),  # the interval holds 0
        ((-1.0, -2.0, 0.0), 1, {}, "open"),
        ((-0.5, 0.1, 2.0), 1, {}, "open"),  # interval and value disagree: thresholds were chosen again
        ((1.0, 0.1, 2.0), 1, {"trained": True}, "one training"),
        ((1.0, -0.1, 2.0), 1, {"trained": True}, "open"),
        # 4.303 x sd / sqrt(3), with 0.6 below by images: sqrt(0.36 + (2.484 sd)^2) < 1 up to sd = 0.322
        ((1.0, 0.4, 2.0), 1, {"seed_sd": 0.32, "seeds": 3, "trained": True}, "holds"),
        ((1.0, 0.4, 2.0), 1, {"seed_sd": 0.33, "seeds": 3, "trained": True}, "open"),
        (
            (1.0, 0.4, 2.0),
            1,
            {"seed_sd": 0.08, "seeds": 2, "trained": True},
            "holds",
        ),  # 12.706 / sqrt(2) x 0.08 = 0.72
        ((1.0, 0.4, 2.0), 1, {"seed_sd": 0.10, "seeds": 2, "trained": True}, "open"),
    ],
)
def test_a_verdict_needs_the_images_and_the_seeds(numbers, sign, options, expected):
    assert verdict_of(*numbers, sign=sign, **options) == expected


@pytest.mark.parametrize(
    ("claim", "title", "ilsvrc", "cub"),
    [
        ("p-ADL localizes better", "p-ADL MMp - control, AR", 0.57, 7.67),  # the gains of section 4.4.2
        ("p-ADL localizes better", "p-ADL MMp - control, GAR", 6.35, 1.63),
        ("p-ADL localizes better", "p-ADL MMp - control, LRP", None, None),
        ("p-ADL costs classification", "p-ADL MMp - control, top-1", None, None),
        ("GAR beats AR", "GAR - AR, baseline", 16.88, 21.04),
        ("GAR beats AR", "GAR - AR, p-ADL MMp", 22.66, 15.0),
        ("LRP beats GAR", "LRP - GAR, p-ADL MMp", 1.3, 0.75),
        ("MMp beats MpM", "p-ADL MMp - p-ADL MpM, LRP", 0.06, 1.18),
        ("Maps follow the class", "GAR - AR, baseline", None, None),
    ],
)
def test_the_papers_differences_are_those_of_its_tables(published, claim, title, ilsvrc, cub):
    of, compared = comparison(claim, title)
    for name, expected in (("ilsvrc", ilsvrc), ("cub", cub)):
        found = paper_difference(published, compared, of.metric, name)
        assert math.isnan(found) if expected is None else found == pytest.approx(expected)


def test_every_claim_is_about_pairs_that_the_pipeline_measures():
    known = set(pairs(["baseline", "control", "mmp", "mpm"]))
    for claim in CLAIMS:
        assert claim.metric in (V2, "Top1Cls", FOLLOWS) and claim.sign in (1, -1)
        titles = [compared.title for compared in claim.comparisons]
        assert len(set(titles)) == len(titles)
        assert {(compared.a, compared.b) for compared in claim.comparisons} <= known


def difference(model_a: str, map_a: str, model_b: str, map_b: str, **other: object) -> dict:
    row = dict.fromkeys(COLUMNS, "")
    row |= {"dataset": "cub20", "backbone": "deit_tiny", "subset": "all", "metric": V2}
    row |= {"policy": "oracle-per-iou", "difference": 1.0, "ci_low": 0.5, "ci_high": 1.5, "seed_sd": 0.1}
    row |= {"n_images": 585, "seeds": 3}
    return row | {"model_a": model_a, "map_a": map_a, "model_b": model_b, "map_b": map_b} | other


def write_run(folder: Path, rows: list[dict], run: str = RUN) -> None:
    (folder / run).mkdir(parents=True)
    pd.DataFrame(rows)[COLUMNS].to_csv(folder / run / "differences.csv", index=False)
    (folder / run / "provenance.json").write_text(json.dumps({"params": {"seeds": [0, 1, 2]}}))


def test_a_claims_rows_come_from_the_runs_differences(tmp_path, published):
    rows = [
        difference("baseline", "GAR", "baseline", "AR", difference=-3.0, ci_low=-4.0, ci_high=-2.0),
        difference(
            "mmp", "", "control", "", metric="Top1Cls", policy="", difference=-2.0, ci_low=-3, ci_high=-1
        ),
        difference("baseline", "GAR", "baseline", "AR", policy="validation", subset="test-cut", n_images=200),
        difference("baseline", "GAR", "baseline", "AR", policy="validation", subset="green", n_images=9),
    ]
    write_run(tmp_path, rows)
    table = claim_table(tmp_path, published, [RUN], "oracle-per-iou").set_index("comparison")
    assert list(table.index) == ["p-ADL MMp - control, top-1", "GAR - AR, baseline"]
    assert list(table["verdict"]) == ["holds", "reversed"]  # a loss in classification is what the claim says
    assert table.loc["GAR - AR, baseline", "paper cub"] == pytest.approx(21.04)
    other = claim_table(tmp_path, published, [RUN], "validation").set_index("comparison")
    assert other.loc["GAR - AR, baseline", ["n_images", "verdict"]].tolist() == [200, "holds"]


@pytest.mark.parametrize(
    ("run", "dataset", "backbone"), [(RUN, "cub20", "deit_tiny"), ("mini", "mini", "small")]
)
def test_the_grid_pointing_game_enters_where_it_was_played(tmp_path, published, run, dataset, backbone):
    cell = {"dataset": dataset, "backbone": backbone}
    write_run(tmp_path, [difference("baseline", "GAR", "baseline", "AR", **cell)], run)
    assert (read_run(tmp_path, run)["metric"] == V2).all()
    game = {**cell, "model": "baseline", "map_a": "GAR", "map_b": "AR"}
    game |= {"difference": 6.0, "ci_low": 5.0, "ci_high": 7.0, "seed_sd": 0.1, "n_mosaics": 50, "seeds": 3}
    folder = tmp_path / f"follow-{dataset}-{backbone}"
    folder.mkdir()
    pd.DataFrame([game]).to_csv(folder / "differences.csv", index=False)
    (folder / "provenance.json").write_text(json.dumps({"config": {"seeds": [0, 1, 2]}}))
    table = claim_table(tmp_path, published, [run], "oracle-per-iou")
    row = table[table["claim"] == "Maps follow the class"].iloc[0]
    assert (row["metric"], row["difference"], row["n_images"], row["verdict"]) == (FOLLOWS, 6.0, 200, "holds")
    (folder / "provenance.json").write_text(json.dumps({"config": {"seeds": [0]}}))
    with pytest.raises(
        ValueError, match=rf"was played with seeds \[0\], .*{run} is of seeds \[0, 1, 2\]; play"
    ):
        read_run(tmp_path, run)


def test_a_game_of_other_checkpoints_than_the_runs_is_refused(tmp_path):
    write_run(tmp_path, [difference("baseline", "GAR", "baseline", "AR")])
    game = tmp_path / f"follow-{RUN}"
    game.mkdir()
    columns = ["dataset", "backbone", "model", "map_a", "map_b", "difference", "ci_low", "ci_high"]
    pd.DataFrame(columns=[*columns, "seed_sd", "n_mosaics", "seeds"]).to_csv(game / "differences.csv")

    def write(folder: Path, record: dict, checkpoints: dict) -> None:
        (folder / "provenance.json").write_text(json.dumps(record | {"checkpoints": checkpoints}))

    ours = {"baseline-seed0": "a", "mmp-seed0": "b"}
    write(tmp_path / RUN, {"params": {"seeds": [0]}}, ours)
    for played in ({}, {"baseline-seed0": "a"}, {"control-seed0": "c"}):
        write(game, {"config": {"seeds": [0]}}, played)
        read_run(tmp_path, RUN)
    write(game, {"config": {"seeds": [0]}}, ours | {"mmp-seed0": "c"})
    with pytest.raises(
        ValueError, match=rf"with other checkpoints than those of .*{RUN}; play it again with"
    ):
        read_run(tmp_path, RUN)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({"mmp-seed0": "a", "mmp-seed1": "b"}, {"mmp-seed1": "b"}, True),
        ({"mmp-seed0": "a", "mmp-seed1": "b"}, {"mmp-seed0": "a", "mmp-seed1": "c"}, False),
        ({"mmp-seed0": "a"}, {"control-seed0": "a"}, None),
        (None, {"mmp-seed0": "a"}, None),
    ],
)
def test_checkpoints_are_the_same_where_both_records_have_them(ours, theirs, same):
    one, other = ({} if of is None else {"checkpoints": of} for of in (ours, theirs))
    assert run_facts.same_checkpoints(one, other) is run_facts.same_checkpoints(other, one) is same


def test_the_committed_page_is_what_the_committed_numbers_make():
    page = real.Page(COMMITTED, read_params(ROOT / "params.yaml").committed)
    assert (COMMITTED / "real.md").read_text(encoding="utf-8") == page.text()


def test_the_reading_of_the_page_has_no_number_that_its_tables_lack() -> None:
    page = real.Page(COMMITTED, read_params(ROOT / "params.yaml").committed)
    reading = (ROOT / real.READING).read_text(encoding="utf-8")
    assert reading.strip() in page.text()
    numbers = re.findall(r"(?<![\w.-])[-+]?\d+(?:\.\d+)?(?:e-\d+)?(?![\w.])", reading)
    tables = page.text().replace(reading.strip(), "")
    tables += (ROOT / "params.yaml").read_text(encoding="utf-8")  # rates
    missing = [n for n in numbers if not re.search(rf"(?<![\d.]){re.escape(n)}(?![\d.])", tables)]
    assert numbers and missing == []


def test_ablations_stand_on_the_page_of_the_run_that_they_are_of(tmp_path):
    shutil.copytree(COMMITTED / RUN, tmp_path / RUN)
    page = real.Page(tmp_path, [RUN])
    assert page.ablations() == [] and "Ablations" not in page.text()
    rows = [
        {"setting": setting, "map": name, "metric": metric, "difference": at, "difference_low": at - 1.5,
         "difference_high": at + 1.5, "seeds": 3}
        for setting, at in (("alpha0", 1.0), ("mpm", 2.0)) for name, metric in (("AR", V2), ("", "Top1Cls"))
    ]  # fmt: skip
    (tmp_path / f"ablation-{RUN}").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / f"ablation-{RUN}" / "ablation.csv", index=False)
    record = tmp_path / f"ablation-{RUN}" / "provenance.json"
    stage = {"commit": "0123456789ab", "wall_seconds": 1800, "device": "an abacus"}
    setting = {"stages": {"finetune": stage, "explain": stage}}
    made = {"settings": {"mpm": setting, "alpha0": setting}}
    record.write_text(json.dumps(made))
    assert len(page.ablations()) == 4  # the picture comes when all settings are done
    (tmp_path / f"ablation-{RUN}" / "ablation.png").touch()
    heading, table, origin, note, picture = page.ablations()
    assert heading == "### CUB-20, deit_tiny" and f"ablation-{RUN}/ablation.png" in picture
    assert table.splitlines()[0] == "| setting | seeds | AR | Top1Cls |"
    plain, bold = "+1.0 [-0.5, +2.5]", "**+2.0 [+0.5, +3.5]**"
    assert table.splitlines()[2:] == [
        f"| `alpha0` | 3 | {plain} | {plain} |",
        f"| `mpm` | 3 | {bold} | {bold} |",
    ]
    assert origin == (
        "an abacus; 2.0 hours; commit 0123456; again by "
        "`python -m experiments.ablate cub20 deit_tiny --settings alpha0 mpm`."
    )
    assert all(part in page.text() for part in (heading, table, origin, note, picture))
    assert note.startswith("Whether these settings were compared with the run's own training")
    record.write_text(json.dumps(made | {"checkpoints": {"control-seed0": "a"}}))
    page.records[RUN]["checkpoints"] = {"control-seed0": "b", "mmp-seed0": "c"}
    assert "**These settings were compared with another training of the control" in page.ablations()[3]
    page.records[RUN]["checkpoints"]["control-seed0"] = "a"
    assert page.ablations() == [heading, table, origin, picture]
    record.write_text(json.dumps(made | {"settings": {name: setting for name in BY_NAME}}))
    assert page.ablations()[2].endswith("again by `make ablation DATASET=cub20 BACKBONE=deit_tiny`.")


def test_the_page_says_of_which_games_the_checkpoints_are_not_on_record(tmp_path):
    for name in (RUN, f"follow-{RUN}"):
        shutil.copytree(COMMITTED / name, tmp_path / name)
    page = real.Page(tmp_path, [RUN])
    (sentence,) = page.unrecorded()
    assert f"tell checkpoints by their seeds alone: `{RUN}`." in sentence and sentence in page.text()
    path = tmp_path / f"follow-{RUN}" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoints": {"mmp-seed0": "a"}}))
    page.records[RUN]["checkpoints"] = {"mmp-seed0": "a"}
    assert page.unrecorded() == []


def test_a_run_of_an_unknown_data_set_or_of_several_is_refused_by_name(tmp_path):
    def record(datasets: dict) -> dict:
        return {"params": {"grid": {"datasets": datasets, "backbones": ["small"]}}}

    assert run_facts.cell_of("mini", record({"mini": "data/mini"})) == ("mini", "small")
    with pytest.raises(
        ValueError, match=r"run 'cars-small' is of \[\('cars', 'small'\)\]; needed: one data set"
    ):
        run_facts.cell_of("cars-small", record({"cars": "registered/cars.json"}))
    with pytest.raises(ValueError, match="needed: one data set with one backbone"):
        run_facts.cell_of("two", record({"mini": "data/mini", "cub20": "registered/cub20.json"}))
    with pytest.raises(
        ValueError, match="names the committed run 'gone', but .* does not exist; make it with"
    ):
        run_facts.read_record(tmp_path, "gone")


def test_what_made_a_run_is_read_from_its_record():
    seconds = {"commit": "0123456789ab", "wall_seconds": 1800.0}
    record = {
        "params": {
            "seeds": [0, 1],
            "grid": {
                "datasets": {"cub20": "registered/cub20.json"},
                "backbones": ["deit_tiny"],
                "variants": [],
            },
            "datasets": {"cub20": {"baseline": {"epochs": 12, "batch_size": 32}, "finetune": None}},
        },
        "images": {"cub20": {"train": 540, "test": 585}},
        "stages": {
            "baseline": {**seconds, "seed0": {"device": "CPU"}, "seed1": {"device": "CPU"}},
            "explain": {**seconds, "device": "GPU", "commit": "fedcba987654"},
        },
    }
    again = '`make run DATASET=cub20 BACKBONE=deit_tiny SEEDS="0 1"`'
    expected = ("540 / - / 585", "0 1", "12 x 32; none", "CPU; GPU", "1.0", "0123456 fedcba9", again)
    assert run_facts.run_facts(record) == expected


ALL = ["control", "mmp", "mpm"]


@pytest.mark.parametrize(
    ("cell", "variants", "rivals", "seeds", "command"),
    [
        (("mini", "small"), ALL, [], [0], "make repro"),
        (("mini", "small"), ALL, [], [0, 1, 2], 'make run DATASET=mini BACKBONE=small SEEDS="0 1 2"'),
        (("mini", "base"), ALL, [], [0], 'make run DATASET=mini BACKBONE=base SEEDS="0"'),
        (("ilsvrc300", "deit_tiny"), [], [], [0], 'make run DATASET=ilsvrc300 BACKBONE=deit_tiny SEEDS="0"'),
        (
            ("mini", "small"),
            ALL,
            list(RIVALS),
            [0, 1, 2],
            "python -m experiments.select mini small --rivals all --network resnet_small --seeds 0 1 2 && dvc repro",
        ),
        (
            ("tinyimagenet12", "tiny64"),
            ["control", "mmp"],
            ["ts-cam", "cam"],
            [3],
            "python -m experiments.select tinyimagenet12 tiny64 --variants control mmp --rivals ts-cam cam "
            "--network resnet_tiny64 --seeds 3 && dvc repro",
        ),
        (
            ("cub20", "deit_tiny"),
            [],
            [],
            [0],
            "python -m experiments.select cub20 deit_tiny --variants --seeds 0 && dvc repro",
        ),
    ],
)
def test_the_command_that_makes_a_run_again_asks_for_its_grid(
    tmp_path, monkeypatch, cell, variants, rivals, seeds, command
):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = [*cell, "--variants", *variants, "--rivals", *rivals, "--seeds", *map(str, seeds)]
    select.main(arguments)
    recorded = read_params().model_dump(mode="json")
    assert run_facts.command_of(recorded) == command
    if command.startswith("python"):
        told = shlex.split(command.removesuffix(" && dvc repro"))[3:]
        shutil.copy(ROOT / "params.yaml", tmp_path)
        select.main(told)
        assert read_params().model_dump(mode="json") == recorded


def test_another_network_is_put_beside_the_backbone_alone(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = read_params()
    select.main(["cub", "deit_base", "--rivals", "cam", "--network", "vgg16"])
    after = read_params()
    assert after.network("deit_base", "cam") == "vgg16"
    assert after.rivals.networks == before.rivals.networks | {"deit_base": "vgg16"}
    command = run_facts.command_of(after.model_dump(mode="json"))
    assert command.endswith("cub deit_base --rivals cam --network vgg16 --seeds 0 && dvc repro")


def test_a_grid_of_rivals_with_a_setting_that_one_lacks_is_not_selected(tmp_path, monkeypatch):
    text = (ROOT / "params.yaml").read_text().replace("acol: {neck: 192}", "acol: {neckk: 192}")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ParamsError, match=r"settings\.resnet_small\.acol: neckk: no setting of acol, which has"
    ):
        select.main(["mini", "small", "--rivals", "acol"])
    assert (tmp_path / "params.yaml").read_text() == text
    select.main(["mini", "small", "--rivals", "cam"])


def test_a_run_recorded_before_there_were_rivals_has_a_command():
    grid = {"datasets": {"mini": "data/mini"}, "backbones": ["small"], "variants": ALL}
    params = {"grid": grid, "seeds": [0], "datasets": {"mini": {"finetune": {"epochs": 3}}}}
    assert run_facts.command_of(params) == "make repro"


def test_a_run_is_called_after_its_data_set_and_backbone():
    assert run_facts.run_name("mini", "base") == "mini-base"
    committed = read_params(ROOT / "params.yaml").committed
    cells = real.Page(COMMITTED, committed).cells
    assert {run_facts.run_name(*cell) for cell in cells.values()} == set(committed)


def test_a_claims_line_counts_the_papers_comparisons_on_photographs():
    page = real.Page(COMMITTED, [RUN, "mini"])
    rows = pd.DataFrame(
        {
            "dataset": ["cub20", "cub20", "cub20", "mini"],
            "stated": [True, True, False, True],
            "verdict": ["holds", "open", "reversed", "reversed"],
        }
    )
    assert page.overall(rows) == "on photographs holds 1x, open 1x"
    assert page.overall(rows[3:]) == page.overall(rows[:0]) == "not run on photographs"


def test_the_second_table_counts_the_verdicts_that_other_thresholds_change(tmp_path):
    shutil.copytree(COMMITTED / "mini", tmp_path / "mini")
    sides = ("baseline", "GAR", "baseline", "AR")
    other = {"dataset": "mini", "backbone": "small", "seeds": 1}
    rows = [
        difference(*sides, **other),
        difference(
            *sides, policy="validation", difference=0.1, ci_low=-1.0, ci_high=1.0, n_images=7, **other
        ),
    ]
    pd.DataFrame(rows)[COLUMNS].to_csv(tmp_path / "mini" / "differences.csv", index=False)
    text = real.Page(tmp_path, ["mini"]).by_policy()
    assert text.startswith("1 of 1 verdicts change.")
    line = "| GAR - AR, baseline | mini, small | +1.0 [+0.5, +1.5] holds | +0.1 [-1.0, +1.0] open | 7 |"
    assert text.splitlines()[-1] == line


def test_the_figures_are_drawn_alike_every_time(tmp_path):
    page = real.Page(COMMITTED, [RUN, "mini"])
    for name in ("one", "two"):
        real.claims_figure(page.claims, page.names, tmp_path / name)
        curves_figure(
            page.logs(), page.names, {"baseline": "baseline", "mmp": "p-ADL"}, tmp_path / f"{name}.curves"
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one.curves").read_bytes() == (tmp_path / "two.curves").read_bytes()


def test_figures_of_nothing_are_refused(tmp_path):
    page = real.Page(COMMITTED, [RUN])
    with pytest.raises(ValueError, match="0 differences of 1 runs and 2 others to plot; needed: 1 or"):
        real.claims_figure(page.claims[:0], page.names, tmp_path / "claims.png")
    with pytest.raises(ValueError, match="of at most 5 runs"):
        real.claims_figure(page.claims, dict.fromkeys("abcdef", ""), tmp_path / "claims.png")
    with pytest.raises(ValueError, match="no epochs to plot"):
        curves_figure(pd.DataFrame(), page.names, {}, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
