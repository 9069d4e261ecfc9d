"""The rivals' stages, on the toy project: trained, mapped, scored, tabled, compared, shown and published."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from toy import RECIPE

from experiments import (
    differences,
    localize,
    plot,
    publish,
    real,
    report,
    rival,
    rival_maps,
    rivals,
    tabulate,
)
from experiments.differences import Side, challengers
from experiments.params import ParamsError, read_params
from experiments.rival import with_as_many_steps
from experiments.rival_run import Run, runs_with_rivals
from vitol.datasets.splits import read_split
from vitol.measurements import read_scores, validate_measurements
from vitol.paper import read_published
from vitol.recipe import Recipe
from vitol.report.packing import read_records
from vitol.report.pictures import heat_bytes
from vitol.tables import build_table

RIVALS = ["cam", "ts-cam", "few-shot"]


def rewritten(folder: Path, **grid: object) -> dict:
    """The params.yaml of a folder with another grid."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["grid"] |= grid
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return params


@pytest.fixture(scope="module")
def ran(project, tmp_path_factory) -> Path:
    """A copy of the project in which three rivals have run, too."""
    folder = tmp_path_factory.mktemp("rivals") / "project"
    shutil.copytree(project, folder)
    scored = ["baseline", "control", "mmp", "mpm", *RIVALS]
    params = rewritten(folder, rivals=RIVALS, scored=scored)
    params["backbones"]["resnet_small"]["options"] = {"channels": [4, 8, 8, 8], "output_stride": 8}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in RIVALS:
            rival.main("mini", "small", name)
            rival_maps.main("mini", "small", name)
            localize.main("mini", "small", name)
        tabulate.main()
        plot.main()
        report.main()
        publish.main("mini")
    return folder


@pytest.fixture
def run(ran) -> Run:
    """The published run."""
    return Run(ran / "experiments/results/mini")


def test_rivals_leave_checkpoints_and_maps_beside_ours(ran):
    for name in RIVALS:
        assert {path.name for path in (ran / "results/models/mini/small" / name).glob("*.safetensors")} == {
            "seed0.safetensors",
            "seed1.safetensors",
        }
        predicted = {f"{name}-predicted.npy"} if name != "few-shot" else set()
        found = {path.name for path in (ran / "results/maps/mini/small" / name / "seed0/test").iterdir()}
        assert found == {"logits.npy", f"{name}.npy"} | predicted


def test_maps_of_the_predicted_class_are_those_of_the_label_where_it_is_right(ran):
    folder = ran / "results/maps/mini/small/cam/seed0/test"
    lines = (ran / "results/data/mini/test/class_labels.txt").read_text().split()
    right = np.load(folder / "logits.npy").argmax(axis=1) == [int(line.rsplit(",", 1)[1]) for line in lines]
    label, predicted = (np.load(folder / f"cam{end}.npy") for end in ("", "-predicted"))
    np.testing.assert_array_equal(label[right], predicted[right])
    assert not right.all() and all(
        (a != b).any() for a, b in zip(label[~right], predicted[~right], strict=True)
    )


def test_measurements_name_the_network_that_a_rival_was_trained_on(ran):
    frame = read_scores(ran / "results/measurements.csv")
    networks = frame.groupby("variant")["backbone"].agg(set).to_dict()
    assert networks["cam"] == networks["few-shot"] == {"resnet_small"}
    assert networks["ts-cam"] == networks["baseline"] == {"small"}
    of_cam = frame[frame["variant"] == "cam"]
    assert set(of_cam["map"]) == {"CAM", "", "Gaussian", "Full image"} and set(of_cam["preset"]) == {""}
    assert set(of_cam["policy"]) == {"oracle-per-iou", "oracle-single", "validation", ""}


def test_what_is_trained_on_boxes_has_no_classification(ran):
    frame = read_scores(ran / "results/measurements.csv")
    metrics = set(frame.loc[frame["variant"] == "few-shot", "metric"])
    assert {"MaxBoxAccV2", "GTKnownLoc", "PxAP"} <= metrics
    assert not metrics & {"Top1Loc", "Top5Loc", "PredictedLoc", "Top1Cls", "Top5Cls"}


def test_no_threshold_is_chosen_on_the_images_that_a_model_was_trained_on(ran):
    frame = read_scores(ran / "results/measurements.csv")
    policies = frame[frame["variant"] == "few-shot"].groupby("map")["policy"].agg(set)
    assert policies["Few-shot"] == {"oracle-per-iou", "oracle-single", ""}  # PxAP has no policy
    assert policies["Gaussian"] == {"oracle-per-iou", "oracle-single"}
    compared = read_scores(ran / "results/differences.csv").query("model_b == 'few-shot'")
    assert "oracle-per-iou" in set(compared["policy"]) and "validation" not in set(compared["policy"])
    policies = pd.read_csv(ran / "results/policies.csv").query("variant == 'few-shot'")
    assert len(policies) and policies["validation value"].isna().all()


def test_tables_have_the_rivals_beside_ours(ran):
    table = build_table(1, read_scores(ran / "results/measurements.csv"), read_published(1)).frame
    column = next(name for name in table if name.startswith("mini small") and name.endswith(" ours"))
    of = table.set_index("method")[column]
    assert of["CAM"] != "not run" and of["TS-CAM"] != "not run" and of["HaS"] == "not run"
    assert not [name for name in table if "resnet_small" in name]


def test_ours_and_rivals_are_compared_in_pairs(ran):
    frame = read_scores(ran / "results/differences.csv")
    sides = set(frame[["model_a", "map_a", "model_b", "map_b"]].itertuples(index=False, name=None))
    assert ("cam", "CAM", "cam", "Gaussian") in sides
    assert ("ts-cam", "TS-CAM", "cam", "CAM") in sides and ("cam", "CAM", "cam", "CAM") not in sides
    ours = {(model, name) for model, name, *rival in sides if rival == ["ts-cam", "TS-CAM"]}
    assert ours == {(model, name) for model in ("mmp", "control") for name in ("AR", "GAR", "LRP")}
    (lines,) = (list(column.cells) for column in differences.render_differences(frame).columns[:1])
    assert "TS-CAM - CAM" in lines and "LRP (p-ADL MMp) - TS-CAM" in lines and "CAM - Gaussian" in lines
    assert ("mmp", "", "ts-cam", "") in sides and ("mmp", "", "few-shot", "") not in sides
    row = frame.query("model_a == 'mmp' and map_a == 'LRP' and model_b == 'cam'").query(differences.SHOWN)
    values = read_scores(ran / "results/measurements.csv").query(
        "metric == 'MaxBoxAccV2' and policy == 'oracle-per-iou' and subset == 'all' and preset != 'paper'"
    )
    ours = values.query("variant == 'padl' and position == 'MMp' and map == 'LRP'")["value"].mean()
    theirs = values.query("variant == 'cam' and map == 'CAM'")["value"].mean()
    assert row["difference"].item() == pytest.approx(ours - theirs, abs=0.02)


def test_rivals_stand_against_what_was_trained_for_as_long_without_padl():
    names = ("AR", "GAR", "LRP")
    assert challengers(["baseline", "control", "mpm"]) == [("control", name) for name in names]
    assert challengers(["baseline", "mmp"])[3:] == challengers(["baseline"])
    assert challengers(["baseline"]) == [("baseline", name) for name in names]


def test_the_explorer_shows_the_rivals_maps(ran):
    text = (ran / "results/report.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    (gallery,) = json.loads(found[1])["galleries"]
    layers = [layer for layer in gallery["layers"] if layer["method"] not in ("AR", "GAR", "LRP")]
    assert [(layer["model"], layer["method"], layer["of"]) for layer in layers] == [
        *(("CAM", "CAM", "label"), ("CAM", "CAM", "predicted")),
        *(("TS-CAM", "TS-CAM", "label"), ("TS-CAM", "TS-CAM", "predicted")),
        ("Few-shot", "Few-shot", "any"),
    ]
    split = read_split(ran / "results/data/mini/test")
    rows = [split.ids.index(photo["name"]) for photo in gallery["photos"]]
    logits = np.load(ran / "results/maps/mini/small/ts-cam/seed0/test/logits.npy")
    assert layers[2]["predicted"] == layers[3]["predicted"] == logits[rows].argmax(axis=1).tolist()
    assert layers[4]["predicted"] is None  # trained on boxes: no class scores
    records = read_records(zlib.decompress(base64.b64decode(gallery["records"])))
    maps = np.load(ran / "results/maps/mini/small/few-shot/seed0/test/few-shot.npy")[rows]
    for one, record in zip(maps, layers[4]["records"], strict=True):
        np.testing.assert_array_equal(records[record].heat, heat_bytes(one))


def test_a_published_run_stands_in_for_rivals_that_the_grid_does_not_run(ran, monkeypatch):
    monkeypatch.chdir(ran)
    plain = read_params().model_copy(update={"committed": ["mini"]})
    grid = plain.grid.model_copy(update={"rivals": [], "scored": plain.grid.models})
    plain = plain.model_copy(update={"grid": grid})
    own = tabulate.grid_measurements(plain)
    assert "cam" not in set(own["variant"])
    both = tabulate.with_committed(plain, own, "measurements.csv")
    assert {"cam", "ts-cam", "few-shot"} <= set(both["variant"])
    assert not both.duplicated([*both.columns[:10], "n_images", "seed"]).any()
    compared = tabulate.with_committed(plain, differences.grid_differences(plain), "differences.csv")
    assert not compared.duplicated(list(compared.columns[:9])).any()
    of_rivals = compared[compared[["model_a", "model_b"]].isin(RIVALS).any(axis=1)]
    # The grid measured our models itself: a committed difference to them is of other checkpoints.
    assert set(of_rivals["model_a"]) == set(of_rivals["model_b"]) == set(RIVALS)


def test_a_published_run_of_a_grid_that_is_not_this_one_stands_in_whole(ran, monkeypatch):
    monkeypatch.chdir(ran)
    params = read_params().model_copy(update={"committed": ["mini"]})
    for file in ("measurements.csv", "differences.csv"):
        committed = read_scores(ran / "experiments/results/mini" / file)
        grid = committed.assign(dataset="other")
        pd.testing.assert_frame_equal(
            tabulate.with_committed(params, grid, file), pd.concat([grid, committed], ignore_index=True)
        )


def test_what_two_committed_runs_share_stands_in_once(ran, monkeypatch):
    monkeypatch.chdir(ran)
    results = ran / "experiments/results"
    # A run of another backbone, with the same network beside it.
    for file in ("measurements.csv", "differences.csv"):
        frame = read_scores(results / "mini" / file)
        (results / "mini-base").mkdir(exist_ok=True)
        frame.replace({"backbone": {"small": "base"}}).to_csv(results / "mini-base" / file, index=False)
    params = read_params().model_copy(update={"committed": ["mini", "mini-base"]})
    grid = read_scores(results / "mini/measurements.csv").assign(dataset="other")
    both = tabulate.with_committed(params, grid, "measurements.csv").query("dataset == 'mini'")
    validate_measurements(both)
    counts = both.groupby(["variant", "backbone"]).size()
    assert counts["cam"].index.tolist() == ["resnet_small"]
    assert counts["ts-cam", "small"] == counts["ts-cam", "base"] > 0
    shutil.rmtree(results / "mini-base")


def test_the_page_of_rivals_says_what_the_csv_says(ran):
    text = rivals.page(runs_with_rivals(ran / "experiments/results", ["mini"]))
    frame = read_scores(ran / "experiments/results/mini/measurements.csv").query(
        "subset == 'all' and metric == 'MaxBoxAccV2' and variant == 'cam' and map == 'CAM'"
    )
    for policy in ("oracle-per-iou", "validation"):
        value = frame[frame["policy"] == policy]["value"].mean()
        (line,) = [line for line in text.splitlines() if line.startswith("| CAM | resnet_small")]
        assert f"{value:.1f} [" in line
    borrowed = text.partition("### Against the borrowed numbers")[2].partition("###")[0]
    assert re.search(r"\| CAM \| 63.7 \| \d \| 63.7 \| \d \|", borrowed)
    assert "| Few-shot | resnet_small |" in text and "## mini: 16 test images, 2 seeds" in text
    few = next(line for line in text.splitlines() if line.startswith("| Few-shot | resnet_small"))
    cells = [cell.strip() for cell in few.split("|")[1:-1]]
    assert cells[3:6] == ["", "", ""] and cells[7:] == ["", ""] and "" not in cells[:3]
    assert "| GAR, control | small |" in text and "| GAR, p-ADL MMp | small |" in text
    assert "baseline" not in text.partition("## mini")[2]


def test_the_picture_has_what_the_first_table_has(ran, run, monkeypatch):
    frames = []
    monkeypatch.setattr(rivals, "ranking_figure", lambda scores, *others, **texts: frames.append(scores))
    rivals.picture(run, Path("unused.png"))
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in rivals.measured(run).splitlines()[2:]
    ]
    assert list(dict.fromkeys(frames[0]["line"])) == [line[0] for line in cells]
    drawn = frames[0].set_index(["line", "policy"])
    for line, _, oracle, rank, validation, validation_rank, *_ in cells:
        pairs = [("oracle-per-iou", oracle, rank), ("validation", validation, validation_rank)]
        for policy, number, place in (pair for pair in pairs if pair[1]):
            mark = drawn.loc[line, policy]
            assert number.startswith(f"{mark['value']:.1f} [{mark['ci_low']:.1f}, {mark['ci_high']:.1f}]")
            assert place == ("" if np.isnan(mark["rank"]) else f"{mark['rank']:.0f}")
    kinds = frames[0].drop_duplicates("line").set_index("line")["kind"]
    assert kinds["GAR, control"] == "ours, control" and kinds["CAM"] == "convolutional"
    assert kinds["TS-CAM"] == "transformer" and kinds["Few-shot"] == "trained on boxes"
    assert kinds["Full image"] == "sees no image"


def test_the_committed_page_is_of_the_committed_runs():
    folder = ROOT / "experiments" / "results"
    runs = runs_with_rivals(folder, read_params(ROOT / "params.yaml").committed)
    assert (folder / "rivals.md").read_text(encoding="utf-8") == rivals.page(runs)
    assert all((folder / f"rivals-{run.name}.png").is_file() for run in runs)


def test_the_page_is_written_with_its_pictures(ran, monkeypatch):
    monkeypatch.chdir(ran)
    params = read_params().model_copy(update={"committed": ["mini"]})
    monkeypatch.setattr(rivals, "read_params", lambda: params)
    rivals.main()
    (picture,) = re.findall(r"!\[.*\]\((.*\.png)\)", rivals.PAGE.read_text(encoding="utf-8"))
    first = rivals.PAGE.with_name(picture).read_bytes()
    rivals.main()
    assert rivals.PAGE.with_name(picture).read_bytes() == first


def test_the_page_has_the_borrowed_numbers_of_both_tables(run):
    for table, metric, printed in (
        (1, "MaxBoxAccV2", "63.7"),
        (2, "GTKnownLoc", "62.7"),
        (2, "Top1Loc", "46.3"),
    ):
        block = rivals.section(run).partition(f"Table {table}, {metric}:")[2].split("\n\n")[1]
        (line,) = [line for line in block.splitlines() if line.startswith("| CAM |")]
        value = run.score(run.entries["CAM"], metric, "oracle-per-iou")["ours"]
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        assert cells[0] == printed and cells[-2] == f"{value:.1f}" and len(cells) == (6 if table == 1 else 4)
        ranks = [int(line.split("|")[-2]) for line in block.splitlines()[2:]]
        assert ranks == sorted(ranks) and ranks[0] == 1
        assert len([line for line in block.splitlines() if line.startswith("| Ours-GAR |")]) == 1
    assert "| TS-CAM | 67.6 |" in rivals.borrowed(run, 2, "GTKnownLoc") and "TS-CAM" not in rivals.borrowed(
        run, 1, "MaxBoxAccV2"
    )
    run.rivals = ["few-shot"]
    assert rivals.borrowed(
        run, 1, "MaxBoxAccV2"
    ) == "" and "### Against the borrowed numbers" not in rivals.section(run)


@pytest.mark.parametrize(
    ("numbers", "seeds", "against_a_model", "against_a_floor"),
    [
        ((1.0, 0.4, 2.0, float("nan")), 1, "+1.0 [+0.4, +2.0] *one training*", "**+1.0 [+0.4, +2.0]**"),
        ((-1.0, -2.0, 0.1, float("nan")), 1, "-1.0 [-2.0, +0.1]", "-1.0 [-2.0, +0.1]"),
        ((1.0, 0.4, 2.0, 0.2), 3, "**+1.0 [+0.4, +2.0] ±0.2**", "**+1.0 [+0.4, +2.0] ±0.2**"),
        ((1.0, 0.4, 2.0, 0.4), 3, "+1.0 [+0.4, +2.0] ±0.4", "+1.0 [+0.4, +2.0] ±0.4"),
    ],
)
def test_who_beats_whom_is_judged_as_the_papers_claims_are(
    run, numbers, seeds, against_a_model, against_a_floor
):
    sides = (Side("mmp", "GAR"), Side("cam", "CAM")), (Side("cam", "CAM"), Side("cam", "Gaussian"))
    rows = [("all", "MaxBoxAccV2", "validation", *a, *b, *numbers, seeds) for a, b in sides]
    names = ["subset", "metric", "policy", "model_a", "map_a", "model_b", "map_b"]
    names += ["difference", "ci_low", "ci_high", "seed_sd", "seeds"]
    run.differences = pd.DataFrame(rows, columns=names)
    texts = [rivals.difference(run, a, b, "validation") for a, b in sides]
    assert texts == [against_a_model, against_a_floor]
    assert rivals.difference(run, *sides[0], "oracle-per-iou") == "not run"
    assert rivals.difference(run, sides[1][0], sides[1][0], "validation") == ""


def test_cam_has_a_column_where_it_was_run(run):
    assert rivals.paired(run).splitlines()[0].endswith("| LRP, control | rival - CAM | rival - Gaussian |")
    run.rivals = ["ts-cam"]
    assert rivals.paired(run).splitlines()[0].endswith("| LRP, control | rival - Gaussian |")


def test_the_floors_stand_on_the_page_of_a_run_without_padl(ran, tmp_path):
    folder = shutil.copytree(ran / "experiments/results/mini", tmp_path / "mini")
    frame = read_scores(folder / "measurements.csv")
    gaussian = frame.query("variant == 'baseline' and map == 'Gaussian' and subset == 'all'")
    frame[~frame["variant"].isin(["control", "padl"])].to_csv(folder / "measurements.csv", index=False)
    record = json.loads((folder / "provenance.json").read_text())
    record["params"]["grid"] |= {"variants": [], "models": ["baseline"]}
    (folder / "provenance.json").write_text(json.dumps(record))
    value = gaussian.query("metric == 'MaxBoxAccV2' and policy == 'oracle-per-iou'")["value"].iloc[0]
    text = rivals.page(runs_with_rivals(tmp_path, ["mini"]))
    assert f"| Centred Gaussian |  | {value:.1f} [" in text and "| GAR, baseline | small |" in text


def test_a_run_of_several_data_sets_is_refused(ran, tmp_path):
    folder = shutil.copytree(ran / "experiments/results/mini", tmp_path / "mini")
    record = json.loads((folder / "provenance.json").read_text())
    record["params"]["grid"]["datasets"]["cub20"] = "registered/cub20.json"
    (folder / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="needed: one data set with one backbone"):
        rivals.page(runs_with_rivals(tmp_path, ["mini"]))


def test_the_page_of_the_papers_claims_leaves_the_rivals_out(ran, monkeypatch):
    monkeypatch.chdir(ran)
    params = read_params().model_copy(update={"committed": ["mini"]})
    monkeypatch.setattr(real, "read_params", lambda: params)
    real.READING.write_text("Read.")
    assert (real.COMMITTED / "mini/log-mini-small-cam-seed1.csv").is_file()
    real.main()
    assert all((real.COMMITTED / name).is_file() for name in ("real.md", "claims.png", "curves.png"))
    logs = real.Page(real.COMMITTED, ["mini"]).logs()
    assert set(zip(logs["model"], logs["seed"], strict=True)) == {
        (model, seed) for model in ("baseline", "control", "mmp", "mpm") for seed in (0, 1)
    }


def test_ranks_are_among_what_learns_from_labels_alone(run):
    ranks = run.ranks("oracle-per-iou")
    assert set(ranks) == set(run.entries) - {"Few-shot", "Centred Gaussian", "Full image"}
    values = {
        title: run.score(run.entries[title], "MaxBoxAccV2", "oracle-per-iou")["ours"] for title in ranks
    }
    best = max(values, key=lambda title: values[title])
    assert ranks[best] == 1 and sorted(ranks.values())[0] == 1


def test_a_page_without_rivals_is_refused(tmp_path):
    folder = tmp_path / "none"
    folder.mkdir()
    columns = ["subset", "backbone", "variant", "position", "map", "preset", "metric", "policy", "value"]
    columns += ["ci_low", "ci_high", "n_images", "seed", "dataset"]
    row = [
        "all",
        "small",
        "baseline",
        "",
        "AR",
        "release",
        "MaxBoxAccV2",
        "validation",
        1.0,
        0,
        2,
        4,
        0,
        "mini",
    ]
    pd.DataFrame([row], columns=columns).to_csv(folder / "measurements.csv", index=False)
    pd.DataFrame(columns=["difference"]).to_csv(folder / "differences.csv", index=False)
    grid = {"datasets": {"mini": "data/mini"}, "backbones": ["small"], "models": ["baseline"]}
    (folder / "provenance.json").write_text(json.dumps({"params": {"grid": grid}}))
    with pytest.raises(ValueError, match=r"none of the committed runs none has rivals; run `make rivals`"):
        runs_with_rivals(tmp_path, ["none"])


def test_fewer_images_get_as_many_steps():
    recipe = replace(Recipe(**RECIPE), epochs=9, decay_every=7, warmup_epochs=1)
    longer = with_as_many_steps(recipe, 200, 4000)
    assert (longer.epochs, longer.decay_every, longer.warmup_epochs) == (180, 140, 20)
    assert with_as_many_steps(recipe, 4000, 4000) == recipe
    wide = replace(recipe, batch_size=64)
    for images in (40, 100, 200, 4000):
        steps = max(1, images // 64)  # of an epoch
        assert with_as_many_steps(wide, images, 4000).epochs * steps == pytest.approx(9 * 62, abs=steps / 2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rivals": ["camm"]}, r"rivals camm are unknown; there are cam, has"),
        ({"rivals": ["cam"]}, r"scored = \[.*\] must be the models and the rivals: \[.*'cam'\]"),
    ],
)
def test_a_grid_of_rivals_that_does_not_hold_is_refused(project, tmp_path, monkeypatch, changes, text):
    shutil.copy(project / "params.yaml", tmp_path)
    rewritten(tmp_path, **changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=text):
        read_params()


def test_rivals_without_a_recipe_or_a_network_are_refused(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(project / "params.yaml", tmp_path)
    params = rewritten(tmp_path, rivals=["cam"], scored=["baseline", "control", "mmp", "mpm", "cam"])
    for change, text in (
        (
            {"rivals": {"networks": {}, "settings": {}}},
            r"rivals.networks names no network beside 'small' to train cam on; name",
        ),
        (
            {"datasets": {"mini": {"baseline": None, "finetune": params["datasets"]["mini"]["finetune"]}}},
            "no recipe",
        ),
    ):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, **change}))
        with pytest.raises(ParamsError, match=text):
            read_params()
