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
from toy import RECIPE

from experiments import differences, localize, plot, publish, report, rival, rival_maps, rivals, tabulate
from experiments.params import ParamsError, read_params
from experiments.rival import with_as_many_steps
from vitol.datasets.splits import read_split
from vitol.measurements import read_scores
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


def test_tables_have_the_rivals_beside_ours(ran):
    table = build_table(1, read_scores(ran / "results/measurements.csv"), read_published(1)).frame
    column = next(name for name in table if name.startswith("mini small") and name.endswith(" ours"))
    of = table.set_index("method")[column]
    assert of["CAM"] != "not run" and of["TS-CAM"] != "not run" and of["HaS"] == "not run"
    assert not [name for name in table if "resnet_small" in name]


def test_ours_and_rivals_are_compared_in_pairs(ran):
    frame = read_scores(ran / "results/differences.csv")
    sides = set(frame[["model_a", "map_a", "model_b", "map_b"]].itertuples(index=False, name=None))
    assert ("mmp", "GAR", "cam", "CAM") in sides and ("cam", "CAM", "cam", "Gaussian") in sides
    assert ("mmp", "", "ts-cam", "") in sides and ("mmp", "", "few-shot", "") not in sides
    row = frame.query("model_a == 'mmp' and map_a == 'LRP' and model_b == 'cam'").query(differences.SHOWN)
    values = read_scores(ran / "results/measurements.csv").query(
        "metric == 'MaxBoxAccV2' and policy == 'oracle-per-iou' and subset == 'all' and preset != 'paper'"
    )
    ours = values.query("variant == 'padl' and position == 'MMp' and map == 'LRP'")["value"].mean()
    theirs = values.query("variant == 'cam' and map == 'CAM'")["value"].mean()
    assert row["difference"].item() == pytest.approx(ours - theirs, abs=0.02)


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
    assert "cam" in set(compared["model_b"]) and not compared.duplicated(list(compared.columns[:9])).any()


def test_the_page_of_rivals_says_what_the_csv_says(ran):
    text = rivals.page(ran / "experiments/results", ["mini"])
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
    assert few.split("|")[4].strip() == "" and few.rstrip().endswith("|  |  |")


def test_ranks_are_among_what_learns_from_labels_alone(ran):
    run = rivals.Run(ran / "experiments/results/mini")
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
    with pytest.raises(ValueError, match=r"none of the committed runs none has rivals; run `make rivals`"):
        rivals.page(tmp_path, ["none"])


def test_fewer_images_get_as_many_steps():
    recipe = replace(Recipe(**RECIPE), epochs=9, decay_every=7, warmup_epochs=1)
    longer = with_as_many_steps(recipe, 200, 4000)
    assert (longer.epochs, longer.decay_every, longer.warmup_epochs) == (180, 140, 20)
    assert with_as_many_steps(recipe, 4000, 4000) == recipe


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
            r"rivals.networks names no described network beside 'small'",
        ),
        (
            {"datasets": {"mini": {"baseline": None, "finetune": params["datasets"]["mini"]["finetune"]}}},
            "no recipe",
        ),
    ):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({**params, **change}))
        with pytest.raises(ParamsError, match=text):
            read_params()
