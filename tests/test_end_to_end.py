"""All stages in order, on sixteen test images and models of one block."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from pipeline import run_all

from experiments import (
    baseline,
    compare,
    explain,
    finetune,
    localize,
    publish,
    randomize,
    report,
    tabulate,
)
from experiments.names import MAP_FILES
from vitol.accuracy import POLICIES, Localizations, measure
from vitol.boxes import best_ious_of_maps, score_map
from vitol.chunks import Chunks
from vitol.datasets.images import MEAN, STD
from vitol.datasets.splits import make_split, read_split
from vitol.floors import full_image_ious, gaussian_ious
from vitol.measurements import COLUMNS, read_scores
from vitol.pxap import pixel_counts, pxap, scale_mask
from vitol.rectangles import iou_matrix, scaled_truths
from vitol.report.packing import read_records
from vitol.snapshots import Snapshots
from vitol.weight_files import file_digest


def test_every_stage_leaves_its_outputs(project):
    results = project / "results"
    assert sorted(path.name for path in (results / "models/mini/small").iterdir()) == [
        "baseline",
        "control",
        "mmp",
        "mpm",
    ]
    for number in (1, 2, 3, 4):
        assert (results / f"table{number}.csv").stat().st_size > 500
        assert (results / f"figures/table{number}.png").stat().st_size > 5000
    assert "ViTOL, reproduced" in (results / "report.html").read_text()
    assert not list(project.rglob("*.partial"))


def test_measurements_cover_the_grid(project):
    frame = read_scores(project / "results" / "measurements.csv")
    assert list(frame.columns) == COLUMNS
    assert set(frame["subset"]) == {"all", "plain", "part", "multi", "clutter"}
    assert set(zip(frame["variant"], frame["position"], strict=True)) == {
        ("baseline", ""),
        ("control", ""),
        ("padl", "MMp"),
        ("padl", "MpM"),
    }
    assert set(frame["map"]) == {"", "AR", "GAR", "LRP", "Gaussian", "Full image"}
    assert set(frame["seed"]) == {0, 1}
    assert (frame.loc[frame["subset"] == "all", "n_images"] == 16).all()
    assert (frame.loc[frame["subset"] != "all", "n_images"] == 4).all()


def test_the_plain_baselines_do_not_depend_on_the_model(project):
    frame = read_scores(project / "results" / "measurements.csv")
    floors = frame[frame["map"].isin(["Gaussian", "Full image"]) & (frame["metric"] == "MaxBoxAccV2")]
    assert (floors.groupby(["subset", "map", "policy"])["value"].nunique() == 1).all()


def test_maps_of_the_predicted_class_are_those_of_the_label_where_it_is_right(project):
    folder = project / "results/maps/mini/small/mmp/seed0/test"
    labels = np.array(
        [
            int(line.rsplit(",", 1)[1])
            for line in (project / "results/data/mini/test/class_labels.txt").read_text().split()
        ]
    )
    right = np.load(folder / "logits.npy").argmax(axis=1) == labels
    of_label, of_predicted = (np.load(folder / f"gar-release{end}.npy") for end in ("", "-predicted"))
    assert 0 < right.sum() < 16
    np.testing.assert_array_equal(of_label[right], of_predicted[right])
    assert all(not np.array_equal(a, b) for a, b in zip(of_label[~right], of_predicted[~right], strict=True))


def test_only_maps_of_a_class_have_files_for_the_predicted_class(project):
    names = {path.name for path in (project / "results/maps/mini/small/mmp/seed0/test").iterdir()}
    of_label = {"ar-release.npy", "gar-release.npy", "gar-paper.npy", "lrp-release.npy"}
    of_predicted = {"gar-release-predicted.npy", "gar-paper-predicted.npy", "lrp-release-predicted.npy"}
    assert names == {"logits.npy"} | of_label | of_predicted


def scored_one_by_one(folder, split) -> dict[tuple[str, str], Localizations]:
    """Every map of every preset scored by itself, all maps of the predicted class anew."""
    logits = np.load(folder / "logits.npy")
    order = np.argsort(-logits, axis=1, kind="stable")
    classes = {
        "top1": order[:, 0] == split.labels,
        "top5": (order[:, :5] == split.labels[:, None]).any(axis=1),
    }
    found = {}
    for (name, preset), file in MAP_FILES.items():
        of_label, of_predicted = (
            best_ious_of_maps(np.load(folder / f"{file}{end}.npy"), split.sizes, split.boxes)
            for end in ("", "" if name == "AR" else "-predicted")
        )
        found[name, preset] = Localizations(of_label.all, of_label.largest, of_predicted.all, **classes)
    for name, ious in (("Gaussian", gaussian_ious), ("Full image", full_image_ious)):
        of_floor = ious(split.sizes, split.boxes)
        found[name, ""] = Localizations(of_floor.all, of_floor.largest, of_floor.all, **classes)
    return found


def test_measurements_are_those_of_every_map_scored_by_itself_under_every_policy(project):
    data, folder = project / "results/data/mini", project / "results/maps/mini/small/mmp/seed1"
    split, val = read_split(data / "test"), read_split(data / "val")
    scored, held = scored_one_by_one(folder / "test", split), scored_one_by_one(folder / "val", val)
    rows = []
    for subset in ("all", *dict.fromkeys(split.subsets)):
        members = np.array([subset in ("all", own) for own in split.subsets])
        for (name, preset), found in scored.items():
            fixed = {"GAR": 0.165, "LRP": 0.15}.get(name)
            policies = [policy for policy in POLICIES if policy != "fixed" or fixed]
            measured = measure(found.select(members), policies, held[name, preset], fixed, 20)
            rows += [(subset, name, preset, m) for m in measured if not m.metric.endswith("Cls")]
        rows += [(subset, "", "", m) for m in measured if m.metric.endswith("Cls")]
    expected = pd.DataFrame(
        [(*key, m.metric, m.policy, m.value, m.ci_low, m.ci_high, m.n_images) for *key, m in rows],
        columns=["subset", "map", "preset", "metric", "policy", "value", "ci_low", "ci_high", "n_images"],
    )
    made = read_scores(project / "results/scores/mini/small/mmp/measurements.csv")
    made = made[(made["seed"] == 1) & (made["metric"] != "PxAP")].reset_index(drop=True)
    pd.testing.assert_frame_equal(made[expected.columns], expected.round(2))


def test_pixels_are_scored_against_the_masks(project):
    data, folder = project / "results/data/mini", project / "results/maps/mini/small/mmp/seed0/test"
    split = read_split(data / "test")
    total = 0
    for index, image in enumerate(split.ids):
        mask = np.asarray(Image.open(data / "masks" / Path(image).with_suffix(".png"))) > 0
        score = score_map(np.load(folder / "gar-release.npy")[index])
        total = total + pixel_counts(score, scale_mask(mask, score.shape))
    made = read_scores(project / "results/scores/mini/small/mmp/measurements.csv")
    of_map = made[(made["metric"] == "PxAP") & (made["map"] == "GAR") & (made["seed"] == 0)]
    assert of_map["preset"].tolist() == ["release", "paper"]
    assert of_map["value"].iloc[0] == round(pxap(total), 2)


def test_differences_are_paired_over_the_seeds(project):
    frame = read_scores(project / "results/differences.csv")
    row = frame.query(
        "metric == 'GTKnownLoc' and policy == 'oracle-per-iou' and model_a == 'mmp' "
        "and model_b == 'control' and map_a == 'GAR'"
    ).iloc[0]
    values = read_scores(project / "results/measurements.csv").query(
        "metric == 'GTKnownLoc' and policy == 'oracle-per-iou' and map == 'GAR' and preset == 'release' "
        "and subset == 'all'"
    )
    of = values.set_index(["variant", "position", "seed"])["value"]
    each = [of["padl", "MMp", seed] - of["control", "", seed] for seed in (0, 1)]
    assert row["difference"] == pytest.approx(np.mean(each), abs=0.01)
    assert row["seed_sd"] == pytest.approx(np.std(each, ddof=1), abs=0.01)
    assert row["ci_low"] <= row["difference"] <= row["ci_high"]
    assert (frame["seeds"] == 2).all() and set(frame["policy"]) == {*POLICIES, ""}


def test_policies_stand_side_by_side(project):
    table = pd.read_csv(
        project / "results/policies.csv", keep_default_na=False, na_values={"fixed value": [""]}
    )
    assert set(table["map"]) == {"AR", "GAR", "LRP", "Gaussian", "Full image"}
    assert (table["oracle-per-iou value"] >= table["oracle-single value"]).all()
    assert (table["oracle-per-iou value"] >= table["validation value"]).all()
    assert (table["fixed value"].isna() == ~table["map"].isin(["GAR", "LRP"])).all()


def test_without_a_val_split_one_part_of_the_test_split_is_measured_at_thresholds_of_the_other():
    names = [f"{number}.jpg" for number in range(5)]
    subsets = ["test-cut", "val-cut", "test-cut", "test-cut", "val-cut"]
    split = make_split(names, [0] * 5, [(224, 224)] * 5, [[(0, 0, 9, 9)]] * 5, subsets)
    curves = np.random.default_rng(0).random((5, 255))
    scored = {"floor": Localizations(curves)}
    whole, measured, chosen_on = localize.samples(split, scored, None)
    assert whole.subset == "all" and whole.members.all() and whole.validation is None
    assert measured.subset == "test-cut" and measured.members.tolist() == [True, False, True, True, False]
    assert np.array_equal(measured.validation["floor"].ious, curves[[1, 4]])
    assert chosen_on.subset == "val-cut" and chosen_on.validation is None
    assert all(sample.validation is scored for sample in localize.samples(split, scored, scored))


def test_the_report_shows_test_images_of_every_subset_with_all_maps(project):
    text = (project / "results/report.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    (gallery,) = json.loads(found[1])["galleries"]
    split = read_split(project / "results/data/mini/test")
    photos = {photo["name"]: photo for photo in gallery["photos"]}
    assert sorted(photo["subset"] for photo in photos.values()) == sorted([*dict.fromkeys(split.subsets)] * 2)
    kinds = [("AR", "any"), ("GAR", "label"), ("GAR", "predicted"), ("LRP", "label"), ("LRP", "predicted")]
    assert [(layer["method"], layer["of"]) for layer in gallery["layers"]] == kinds * 4
    folder = project / "results/maps/mini/small/mmp/seed0/test"
    rows = [split.ids.index(name) for name in photos]
    layer = gallery["layers"][11]
    assert layer["model"] == "p-ADL MMp"
    assert layer["predicted"] == np.load(folder / "logits.npy")[rows].argmax(axis=1).tolist()
    records = read_records(zlib.decompress(base64.b64decode(gallery["records"])))
    maps = np.load(folder / "gar-release.npy")
    found = best_ious_of_maps(maps, split.sizes, split.boxes)
    truths = scaled_truths(split.boxes, split.sizes, len(split))
    for row, record in zip(rows, layer["records"], strict=True):
        ious = [iou_matrix(boxes, truths[row]).max(axis=1) for boxes in records[record].steps]
        np.testing.assert_array_equal(ious, [found.largest[row], found.all[row]])
    accuracy = [100 * (found.all >= delta).mean(axis=0) for delta in (0.3, 0.5, 0.7)]
    np.testing.assert_allclose(layer["curve"]["accuracy"], accuracy, atol=0.006)


def test_a_verdict_is_given_where_the_interval_leaves_zero_out():
    frame = read_scores(ROOT / "experiments/results/mini/differences.csv")
    sheet = report.differences_sheet(frame)
    shown = frame.query("metric == 'MaxBoxAccV2' and policy == 'oracle-per-iou' and subset == 'all'")
    assert len(sheet.rows) == len(shown) > 10
    for row, (low, high) in zip(sheet.rows, shown[["ci_low", "ci_high"]].to_numpy(), strict=True):
        texts = dict(zip((column.name for column in sheet.columns), row.cells, strict=True))
        assert texts["verdict"].text == (
            "better" if low > 0 else "worse" if high < 0 else "cannot be told apart"
        )
        assert texts["difference"].note.startswith(f"[{low:+.1f}, {high:+.1f}]")


def test_tables_show_the_grid_beside_the_paper(project):
    table = pd.read_csv(project / "results" / "table1.csv", keep_default_na=False)
    ours = next(name for name in table.columns if name.startswith("mini small") and name.endswith("ours"))
    by_method = table.set_index("method")[ours]
    assert by_method["CAM"] == "not run"
    assert 0 <= float(by_method["Ours-GAR"]) <= 100 and 0 <= float(by_method["Ours-LRP"]) <= 100


def test_checkpoints_record_what_made_them(project):
    folder = project / "results/models/mini/small/mpm"
    record = json.loads((folder / "seed1.json").read_text())
    assert record["padl"] == {
        "position": "MpM",
        "drop_rate": 0.75,
        "drop_threshold": 0.9,
        "per_image": False,
        "class_token": True,
    }
    assert record["seed"] == 1 and record["from"]["variant"] == "baseline" and record["recipe"]["epochs"] == 1
    control = json.loads((folder.parent / "control" / "seed1.json").read_text())
    differs = {key for key in record if record[key] != control[key]}
    assert differs <= {"variant", "padl", "final"}
    for made in (record, record["from"]):
        assert made["classes"] == (project / "results/data/mini/classes.txt").read_text().splitlines()
        assert (made["mean"], made["std"]) == (list(MEAN), list(STD))
    provenance = json.loads((project / "results/provenance/finetune-mini-small-mpm.json").read_text())
    assert provenance["config"]["padl"]["drop_rate"] == 0.75 and provenance["wall_seconds"] > 0


def test_fine_tuning_draws_anew_and_alike_for_all_variants(project, training_draws):
    drawn = training_draws
    names = ("baseline", "control", "mmp", "mpm")
    assert len(drawn) == 4 * 2 * 32  # models, seeds, training images
    runs = {name: drawn[64 * at : 64 * (at + 1)] for at, name in enumerate(names)}
    assert runs["control"] == runs["mmp"] == runs["mpm"]
    seen = [runs[name][start : start + 32] for name in ("baseline", "control") for start in (0, 32)]
    for at, one in enumerate(seen):
        assert sorted(index for _, index, _ in one) == list(range(32))
        for other in seen[at + 1 :]:
            assert [index for _, index, _ in one] != [index for _, index, _ in other]
            crops = [{index: crop for _, index, crop in run} for run in (one, other)]
            assert sum(crops[0][index] == crops[1][index] for index in range(32)) < 16
    records = [
        json.loads((project / f"results/models/mini/small/{name}/seed1.json").read_text())
        for name in ("baseline", "control", "mmp")
    ]
    assert [record["seed"] for record in records] == [1, 1, 1]
    assert [record["draws"] for record in records] == [1, 1_000_001, 1_000_001]


def test_the_sanity_check_leaves_maps_ids_similarities_and_a_picture(project):
    folder = project / "results/sanity/mini/small"
    assert {path.name for path in folder.iterdir()} == {"ar.npy", "gar.npy", "images.txt", "similarity.csv"}
    ids = (folder / "images.txt").read_text().splitlines()
    assert ids == [f"test/{index:05d}.jpg" for index in (0, 2, 5, 8, 10, 13)]
    frame = pd.read_csv(folder / "similarity.csv")
    assert frame["part"].tolist() == ["none", "head", "block 1", "embedding"] * 2
    assert (frame["n_images"] == 6).all() and (frame.loc[frame["part"] == "none", "similarity"] == 1).all()
    maps = np.load(folder / "gar.npy")
    assert maps.shape == (4, 6, 12, 12)
    predicted = np.load(project / "results/maps/mini/small/baseline/seed0/test/gar-release-predicted.npy")
    np.testing.assert_allclose(maps[0], predicted[[0, 2, 5, 8, 10, 13]], rtol=1e-3, atol=1e-6)
    assert (project / "results/figures/sanity-mini-small.png").stat().st_size > 5000


def test_images_of_the_sanity_check_are_spread_over_the_split():
    assert randomize.spread(4, 10) == [0, 2, 5, 7] and randomize.spread(64, 3) == [0, 1, 2]


def test_running_again_gives_the_same_bytes(project, monkeypatch):
    monkeypatch.chdir(project)
    results = project / "results"
    watched = [
        path
        for pattern in ("*.csv", "*.safetensors", "*.npy", "*.png", "*.html", "metrics.json")
        for path in sorted(results.rglob(pattern))
        if "data" not in path.relative_to(results).parts
    ]
    before = {path: file_digest(path) for path in watched}
    shutil.rmtree(results / "data")
    run_all(yaml.safe_load((project / "params.yaml").read_text()))
    assert len(watched) > 40
    assert {path: file_digest(path) for path in watched} == before


def test_a_published_run_holds_measurements_provenance_logs_and_pictures_and_no_path_of_this_machine(
    project, monkeypatch
):
    monkeypatch.chdir(project)
    publish.main("mini")
    folder = project / "experiments" / "results" / "mini"
    names = {path.name for path in folder.iterdir()}
    assert {"measurements.csv", "provenance.json", "log-mini-small-mpm-seed1.csv"} <= names
    assert {"examples-mini-small.png", "subsets-mini-small.png", "sanity-mini-small.png"} <= names
    assert {
        "differences.csv",
        "sanity-mini-small.csv",
        "policies-mini-small.png",
        "views-mini-small.png",
    } <= names
    kept = json.loads((folder / "provenance.json").read_text())
    assert set(kept["params"]["datasets"]) == {"mini"} and set(kept["params"]["backbones"]) == {"small"}
    assert {"baseline-mini-small", "randomize-mini-small", "explain-mini-small-control"} <= set(
        kept["stages"]
    )
    assert kept["images"] == {"mini": {"train": 32, "val": 8, "test": 16}}
    assert kept["checkpoints"] == {
        f"{path.parent.name}-{path.stem}": file_digest(path)
        for path in (project / "results/models/mini/small").rglob("*.safetensors")
    }
    assert str(project) not in (folder / "provenance.json").read_text()
    assert list(folder.parent.glob("mini*")) == [folder]
    pd.testing.assert_frame_equal(
        read_scores(folder / "measurements.csv"), read_scores(project / "results" / "measurements.csv")
    )


def test_comparison_tells_identical_close_and_lost_measurements_apart(project):
    frame = read_scores(project / "results" / "measurements.csv")
    moved = frame.copy()
    moved.loc[3, "value"] += 7
    moved.loc[5, "value"] += 2
    moved.loc[8, "n_images"] += 1
    compared = compare.differences(moved.drop(index=11), frame, tolerance=5.0)
    verdicts = compared["verdict"].value_counts().to_dict()
    assert verdicts == {
        "identical": len(frame) - 4,
        "close": 1,
        "beyond": 1,
        "only ours": 1,
        "only committed": 2,
    }
    assert compared["difference"].iloc[0] == pytest.approx(7)
    assert compare.differences(moved.assign(dataset="other"), frame, 5.0).empty
    assert set(compare.differences(frame, frame[frame["variant"] != "padl"], 5.0)["variant"]) == {
        "baseline",
        "control",
    }


def test_a_run_is_compared_with_every_committed_one_of_its_models(project, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(project)
    monkeypatch.setattr(compare, "COMMITTED", tmp_path)
    monkeypatch.setattr(compare, "FILE", tmp_path / "compared.csv")
    params = tabulate.read_params().model_copy(update={"committed": ["moved", "other"]})
    monkeypatch.setattr(compare, "read_params", lambda: params)
    frame = tabulate.grid_measurements(params)
    runs = {"moved": frame.assign(value=(frame["value"] + 7) % 100), "other": frame.assign(dataset="other")}
    for name, committed in runs.items():
        (tmp_path / name).mkdir()
        committed.to_csv(tmp_path / name / "measurements.csv", index=False)
    compare.main()
    shown = capsys.readouterr().out
    assert f"{len(frame)} beyond" in shown and "other" not in shown
    assert f"The furthest 20 of {len(frame)}" in " ".join(shown.split())
    assert len(read_scores(tmp_path / "compared.csv")) == len(frame)

    monkeypatch.setattr(compare, "read_params", lambda: params.model_copy(update={"committed": ["other"]}))
    compare.main()
    assert "no committed run (other) has a model of this grid" in capsys.readouterr().out


def test_a_committed_run_that_does_not_exist_is_named(project, monkeypatch):
    monkeypatch.chdir(project)
    params = tabulate.read_params().model_copy(update={"committed": ["nowhere"]})
    with pytest.raises(ValueError, match="committed run 'nowhere', but experiments/results/nowhere"):
        tabulate.with_committed(params, tabulate.grid_measurements(params), "measurements.csv")


def test_a_null_recipe_needs_weights_with_a_fitting_head(project, monkeypatch):
    monkeypatch.chdir(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["datasets"]["mini"]["baseline"] = None
    checked = tabulate.read_params().model_validate(params)
    monkeypatch.setattr(baseline, "read_params", lambda: checked)
    before = file_digest(project / "results/models/mini/small/baseline/seed0.safetensors")
    with pytest.raises(
        ValueError, match="'small' has no weights with a head of its 8 classes; give it a base"
    ):
        baseline.main("mini", "small")
    assert file_digest(project / "results/models/mini/small/baseline/seed0.safetensors") == before


def test_a_bad_map_is_reported_with_its_image_and_file(project, monkeypatch):
    monkeypatch.chdir(project)
    file = project / "results/maps/mini/small/mpm/seed0/test/gar-paper.npy"
    content = file.read_bytes()
    maps = np.load(file)
    maps[4, 0, 0] = np.nan
    np.save(file, maps)
    with pytest.raises(
        ValueError, match=r"image test/00004\.jpg, gar-paper\.npy: 1 of the localization map's"
    ):
        localize.main("mini", "small", "mpm")
    file.write_bytes(content)


def test_publishing_a_grid_that_was_not_run_is_refused_and_keeps_what_is_there(project, monkeypatch):
    monkeypatch.chdir(project)
    kept = project / "results/provenance/explain-mini-small-mmp.json"
    content = kept.read_text()
    kept.unlink()
    target = project / "experiments/results/mini/measurements.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("as it was")
    with pytest.raises(ValueError, match=r"explain-mini-small-mmp\.json is missing; run `dvc repro`"):
        publish.main("mini")
    kept.write_text(content)
    log = project / "results/models/mini/small/mpm/seed1.csv"
    log.rename("elsewhere")
    with pytest.raises(ValueError, match=r"mpm/seed1\.csv is missing; run `dvc repro` for this grid"):
        publish.main("mini")
    Path("elsewhere").rename(log)
    assert target.read_text() == "as it was"


def test_a_run_is_published_under_its_own_name_alone(project, monkeypatch):
    monkeypatch.chdir(project)
    other = project / "experiments/results/cub20-deit_tiny/measurements.csv"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("as it was")
    with pytest.raises(
        ValueError, match=r"is of mini with small, whose run is called 'mini', not 'cub20-deit_tiny'; give"
    ):
        publish.main("cub20-deit_tiny")
    assert other.read_text() == "as it was"
    params = tabulate.read_params()
    grid = params.grid.model_copy(update={"backbones": ["small", "base"]})
    two = params.model_copy(update={"grid": grid})
    with pytest.raises(ValueError, match=r"\('mini', 'base'\)\], and a run is kept of one data set with one"):
        publish.cell_of_grid(two, "mini")
    grid = params.grid.model_copy(update={"datasets": {"cub20": "registered/cub20.json"}})
    assert publish.cell_of_grid(params.model_copy(update={"grid": grid}), "cub20-small") == ("cub20", "small")


def test_every_setting_that_a_stage_recorded_must_be_that_of_params(project, monkeypatch):
    monkeypatch.chdir(project)
    params = tabulate.read_params()
    records = publish.read_stages(params, "mini", "small")
    assert len(records) == 1 + 2 + 3 + 4 + 4
    for name, record in records.items():
        path = project / "results/provenance" / f"{name}.json"
        content = path.read_text()
        item = name.replace("-", "@", 1)
        for key in record["config"]:
            path.write_text(json.dumps(record | {"config": record["config"] | {key: "other"}}))
            with pytest.raises(
                ValueError, match=rf"{name}\.json is of another {key} than .* --single-item {item}`"
            ):
                publish.read_stages(params, "mini", "small")
        path.write_text(content)


def test_measurements_of_other_seeds_are_not_published(project, monkeypatch):
    monkeypatch.chdir(project)
    frame = tabulate.grid_measurements(tabulate.read_params())
    publish.check_seeds(frame, [1, 0])
    for seeds in ([0], [0, 1, 2]):
        with pytest.raises(
            ValueError, match=r"of baseline are of seeds \[0, 1\], params\.yaml has \[0.*run `dvc repro`"
        ):
            publish.check_seeds(frame, seeds)
    lacking = frame[(frame["position"] != "MpM") | (frame["seed"] == 0)]
    with pytest.raises(ValueError, match=r"of padl MpM are of seeds \[0\]"):
        publish.check_seeds(lacking, [0, 1])


def test_a_run_whose_publishing_breaks_off_is_the_one_of_before(project, monkeypatch):
    monkeypatch.chdir(project)
    folder = project / "experiments/results/mini"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "measurements.csv").write_text("as it was")

    def full(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(publish.shutil, "copy", full)
    with pytest.raises(OSError, match="disk full"):
        publish.main("mini")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"measurements.csv": "as it was"}


def test_stages_that_are_broken_off_go_on_from_there_and_end_as_they_would_have(project, monkeypatch):
    monkeypatch.chdir(project)
    models, maps = project / "results/models/mini/small/mmp", project / "results/maps/mini/small/mmp"
    resume = project / "results/resume"
    before = {
        path: path.read_bytes() for folder in (models, maps) for path in folder.rglob("*") if path.is_file()
    }
    assert not list(resume.iterdir())
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"snapshots": {"every_seconds": 0}}))
    calls = count()
    save = Snapshots.save

    def break_off(*arguments):
        save(*arguments)
        if next(calls) == 1:  # each seed takes one, at the end of its only epoch
            raise KeyboardInterrupt

    monkeypatch.setattr(Snapshots, "save", break_off)
    with pytest.raises(KeyboardInterrupt):
        finetune.main("mini", "small", "mmp")
    left = sorted(resume.iterdir())
    assert [folder.name[:-12] for folder in left] == ["mini-small-mmp-seed0-", "mini-small-mmp-seed1-"]
    for folder in left:
        assert {path.name for path in folder.iterdir()} == {"lock", "settings.json", "snapshot.safetensors"}
    shutil.rmtree(models)  # as DVC does before it runs a stage again
    finetune.main("mini", "small", "mmp")
    facts = json.loads((project / "results/provenance/finetune-mini-small-mmp.json").read_text())
    for seed in ("seed0", "seed1"):  # the finished one, too
        assert facts[seed]["went_on_after"] == {"epochs": 1, "steps": 0}

    write, written = Chunks.write, []

    def break_off_after_the_first(chunks, chunk, arrays):
        write(chunks, chunk, arrays)
        written.append(chunks.path(chunk))
        if len(written) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Chunks, "write", break_off_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        explain.main("mini", "small", "mmp")
    explain.main("mini", "small", "mmp")
    assert len(written) == len(set(written)) == 4  # test and val of two seeds, none of them twice
    assert not list(resume.iterdir())
    assert {path: path.read_bytes() for path in before} == before
