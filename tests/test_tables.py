from __future__ import annotations

import io
import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from rich.console import Console

from vitol.measurements import COLUMNS, TOP1_METRICS, read_scores, validate_measurements
from vitol.paper import PUBLISHED, TABLES, read_all_published, read_published
from vitol.report.sheets import table_sheets
from vitol.table_print import render
from vitol.tables import Table, build_table


@pytest.fixture(scope="module")
def published() -> dict[int, pd.DataFrame]:
    return {number: read_published(number) for number in TABLES}


def score(value: float = 50.0, **changes) -> dict:
    """One measurement: GAR of p-ADL on mini, unless told otherwise; its interval is 2 below to 3 above."""
    row = {
        "dataset": "mini",
        "split": "test",
        "subset": "all",
        "backbone": "small",
        "variant": "padl",
        "map": "GAR",
        "metric": "MaxBoxAccV2",
        "policy": "oracle-per-iou",
        "value": value,
        "ci_low": value - 2,
        "ci_high": value + 3,
        "n_images": 400,
        "seed": 0,
    } | changes
    row.setdefault("position", "MMp" if row["variant"] == "padl" else "")
    row.setdefault("preset", "release" if row["map"] in ("AR", "GAR", "LRP") else "")
    return row


def frame(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


MINI = "mini small oracle-per-iou n=400 seeds=1"
IMAGENET = {"dataset": "ilsvrc", "backbone": "deit_base", "n_images": 50_000}
CUB = {"dataset": "cub", "backbone": "deit_base", "n_images": 5_794}


def line(table: Table, method: str, architecture: str) -> pd.Series:
    found = table.frame[(table.frame["method"] == method) & (table.frame["architecture"] == architecture)]
    assert len(found) == 1
    return found.iloc[0]


# The paper's numbers


def number_of(rows: pd.DataFrame, **wanted: object) -> float:
    found = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1, wanted
    return float(found["value"].iloc[0])


def test_every_number_of_the_paper_is_there_once(published):
    # Table 1: 8 rows x 2 data sets; 2: 15 x 3; 3: 4 x 2 x 4; 4: 2 x 2. Table 2 prints 35 numbers.
    assert {number: len(rows) for number, rows in published.items()} == {1: 16, 2: 45, 3: 32, 4: 4}
    assert {number: rows["value"].count() for number, rows in published.items()} == {
        1: 16,
        2: 35,
        3: 32,
        4: 4,
    }
    for number, rows in published.items():
        assert not rows.duplicated(["row", "dataset", "metric"]).any()
        assert rows["locator"].is_unique and rows["locator"].str.startswith(f"Table {number}, ").all()
        assert sorted(rows["row"].unique()) == list(range(1, rows["row"].max() + 1))
        assert rows[["ci_low", "ci_high", "n_images", "seed"]].isna().all(axis=None)
        assert rows["source"].str.contains("ViTOL").all()


def test_the_gains_that_the_text_states_are_those_of_table_3(published):
    rows = published[3][published[3]["metric"] == "MaxBoxAccV2"]

    def gain(dataset: str, better: tuple[str, str], worse: tuple[str, str]) -> float:
        one, other = (number_of(rows, dataset=dataset, map=m, variant=v) for m, v in (better, worse))
        return round(one - other, 2)

    assert gain("ilsvrc", ("AR", "padl"), ("AR", "baseline")) == 0.57
    assert gain("cub", ("AR", "padl"), ("AR", "baseline")) == 7.67
    assert gain("ilsvrc", ("GAR", "padl"), ("GAR", "baseline")) == 6.35
    assert gain("cub", ("GAR", "padl"), ("GAR", "baseline")) == 1.63
    assert gain("ilsvrc", ("GAR", "padl"), ("AR", "padl")) == 22.66
    assert gain("cub", ("GAR", "padl"), ("AR", "padl")) == 15.00


@pytest.mark.parametrize(("dataset", "margin"), [("ilsvrc", 6.57), ("cub", 6.67)])
def test_the_margin_over_the_best_rival_in_table_1_is_the_one_the_text_states(published, dataset, margin):
    rows = published[1][published[1]["dataset"] == dataset]
    ours = rows["variant"] == "padl"
    assert round(rows[ours]["value"].max() - rows[~ours]["value"].max(), 2) == margin


def test_the_top_1_margin_over_the_best_rival_in_table_2_is_the_one_the_text_states(published):
    rows = published[2][published[2]["metric"] == "Top1Loc"]
    ours = rows["variant"] == "padl"
    assert round(rows[ours]["value"].max() - rows[~ours]["value"].max(), 2) == 5.24


def test_maxboxaccv2_is_the_mean_over_the_three_ious_in_every_row_of_table_3(published):
    wide = published[3].pivot(index=["dataset", "row"], columns="metric", values="value")
    means = wide[["IoU30", "IoU50", "IoU70"]].mean(axis=1)
    assert len(wide) == 8
    # Each number is rounded to 0.005, so the mean and the printed mean differ by 0.01 at most.
    assert (wide["MaxBoxAccV2"] - means).abs().max() <= 0.01


def test_tables_agree_where_they_print_the_same_measurement(published):
    ours = {"variant": "padl", "position": "MMp", "backbone": "DeiT-B"}
    for dataset in ("ilsvrc", "cub"):
        same = {"dataset": dataset, "metric": "MaxBoxAccV2", **ours}
        assert number_of(published[1], map="LRP", **same) == number_of(published[4], map="LRP", **same)
        assert number_of(published[1], map="GAR", **same) == number_of(published[3], map="GAR", **same)
    known = number_of(published[2], map="GAR", metric="GTKnownLoc", **ours)
    assert known == number_of(published[3], map="GAR", metric="IoU50", dataset="ilsvrc", **ours)


def test_top_1_localization_is_never_above_what_it_needs(published):
    wide = published[2].pivot(index="row", columns="metric", values="value")
    assert not (wide["Top1Loc"] > wide["GTKnownLoc"]).any()
    assert not (wide["Top1Loc"] > wide["Top1Cls"]).any()


# The tables


def test_rows_stand_in_the_papers_order_and_extra_rows_below(published):
    rows = build_table(1, frame(), published[1]).frame[["method", "architecture"]]
    assert " ".join(rows["method"]) == (
        "CAM HaS ACoL SPG ADL CutMix Ours-GAR Ours-LRP AR GAR LRP AR GAR LRP Centred Gaussian Full image"
    )
    assert rows["architecture"].tolist()[1] == "Inception/ResNet"
    rows = build_table(2, frame(), published[2]).frame
    assert rows["method"].tolist()[:7] == ["CAM", "ACoL", "SPG", "ADL", "CutMix", "MEIL", "GC-Net"]
    assert rows["architecture"].tolist()[10:] == [
        *("DeiT-S", "DeiT-S+p-ADL", "DeiT-S+p-ADL", "DeiT-B+p-ADL", "DeiT-B+p-ADL"),
        *(["DeiT-B"] * 3 + ["DeiT-B control"] * 3 + ["DeiT-B+p-ADL"] * 2),
    ]
    rows = build_table(3, frame(), published[3]).frame
    assert (rows["method"] + " " + rows["architecture"]).tolist()[:6] == [
        *("AR DeiT-B", "AR DeiT-B+p-ADL", "GAR DeiT-B", "GAR DeiT-B+p-ADL"),
        *("AR DeiT-B control", "GAR DeiT-B control"),
    ]
    rows = build_table(4, frame(), published[4]).frame
    assert rows["method"].tolist() == ["LRP", "LRP", "LRP", "GAR", "GAR", "GAR"]
    assert rows["position"].tolist() == ["MpM", "MMp", "", "MpM", "MMp", ""]


def test_without_measurements_a_table_holds_the_papers_numbers_and_not_run(published):
    table = build_table(3, frame(), published[3])
    assert {column.split()[0] for column in table.frame.columns[2:]} == {"ImageNet", "CUB"}
    row = line(table, "GAR", "DeiT-B")
    assert row["ImageNet IoU70 paper"] == "40.00" and row["CUB IoU50 paper"] == "78.20"
    assert (table.frame.filter(regex=" ours$") == "not run").all(axis=None)
    assert (table.frame.filter(regex="(difference|ci_low|ci_high|seeds)$") == "").all(axis=None)
    assert line(table, "AR", "DeiT-B control")["ImageNet IoU70 paper"] == ""


def test_the_papers_own_setting_gives_a_difference(published):
    table = build_table(1, frame(score(70.0, **IMAGENET), score(72.4, **CUB)), published[1])
    row = line(table, "Ours-GAR", "DeiT-B+p-ADL")
    assert row.filter(like="ImageNet").tolist() == ["69.17", "70.00", "68.00", "73.00", "+0.83", "1"]
    assert row.filter(like="CUB").tolist() == ["72.42", "72.40", "70.40", "75.40", "-0.02", "1"]
    row = line(table, "Ours-LRP", "DeiT-B+p-ADL")
    assert row["ImageNet MaxBoxAccV2 ours"] == "not run" and row["ImageNet MaxBoxAccV2 difference"] == ""
    assert not [column for column in table.frame if "oracle" in column]


@pytest.mark.parametrize(
    ("setting", "prefix"),
    [
        ({}, MINI),
        ({**CUB, "n_images": 585}, "cub deit_base oracle-per-iou n=585 seeds=1"),
        ({**CUB, "backbone": "deit_tiny"}, "cub deit_tiny oracle-per-iou n=5794 seeds=1"),
        ({**IMAGENET, "backbone": "deit_small"}, "ilsvrc deit_small oracle-per-iou n=50000 seeds=1"),
        ({**IMAGENET, "dataset": "ilsvrc300"}, "ilsvrc300 deit_base oracle-per-iou n=50000 seeds=1"),
    ],
)
def test_any_other_setting_is_a_group_of_its_own_without_a_difference(published, setting, prefix):
    table = build_table(1, frame(score(61.0, **setting)), published[1])
    row = line(table, "Ours-GAR", "DeiT-B+p-ADL")
    names = [f"{prefix} MaxBoxAccV2 {part}" for part in ("ours", "ci_low", "ci_high")]
    assert list(table.frame.columns[-3:]) == names and row[names].tolist() == ["61.00", "59.00", "64.00"]
    assert (table.frame.filter(regex="^(ImageNet|CUB).*ours") == "not run").all(axis=None)
    assert (table.frame.filter(regex="difference") == "").all(axis=None)
    assert line(table, "CAM", "ResNet/VGG")[names].tolist() == ["not run", "", ""]


@pytest.mark.parametrize(
    "other",
    [
        {"map": "LRP", "preset": "paper"},
        {"policy": "validation"},
        {"split": "val"},
        {"subset": "clutter"},
        {"variant": "padl", "position": "MpM"},
        {"variant": "baseline"},
    ],
)
def test_another_preset_policy_split_subset_or_training_is_not_shown_as_the_papers(published, other):
    table = build_table(1, frame(score(**IMAGENET, **other)), published[1])
    of_paper = table.frame.iloc[:8]
    assert of_paper["method"].iloc[-1] == "Ours-LRP"
    assert (of_paper.filter(regex="^ImageNet.*ours") == "not run").all(axis=None)
    assert (table.frame["ImageNet MaxBoxAccV2 difference"] == "").all()


def test_a_group_that_measured_nothing_the_table_shows_is_left_out(published):
    table = build_table(
        1, frame(score(metric="IoU30"), score(map="mine"), score(position="MpM")), published[1]
    )
    assert not [column for column in table.frame if column.startswith("mini")]
    table = build_table(
        1, frame(score(metric="IoU30"), score(map="mine"), score(variant="control")), published[1]
    )
    assert [column for column in table.frame if column.startswith("mini")]


def test_table_2_takes_each_row_from_its_own_backbone_and_others_share(published):
    rows = [
        score(57.0, **IMAGENET, metric="Top1Loc"),
        score(54.0, **{**IMAGENET, "backbone": "deit_small"}, metric="Top1Loc"),
        score(90.0, **IMAGENET, metric="Top1Cls", map="", policy=""),
        score(30.0, metric="Top1Loc"),
        score(29.5, metric="PredictedLoc"),
        score(33.0, metric="GTKnownLoc"),
        score(32.0, metric="GTKnownLocV1"),
    ]
    table = build_table(2, frame(*rows), published[2])
    base, small = (line(table, "Ours-GAR", name) for name in ("DeiT-B+p-ADL", "DeiT-S+p-ADL"))
    assert base["ImageNet Top1Loc ours"] == "57.00" and base["ImageNet Top1Loc difference"] == "-0.62"
    assert small["ImageNet Top1Loc ours"] == "54.00" and small["ImageNet Top1Loc difference"] == "-0.74"
    assert base["ImageNet Top1Cls difference"] == "+12.92" and small["ImageNet Top1Cls ours"] == "not run"
    assert line(table, "Ours-LRP", "DeiT-B+p-ADL")["ImageNet Top1Cls ours"] == "90.00"
    for row in (base, small):
        metrics = ("Top1Loc", "GTKnownLoc", "GTKnownLocV1", "PredictedLoc", "Top1Cls")
        ours = [row[f"{MINI} {metric} ours"] for metric in metrics]
        assert ours == ["30.00", "33.00", "32.00", "29.50", "not run"]
    assert "ImageNet GTKnownLocV1 ours" in table.frame and "ImageNet GTKnownLocV1 paper" not in table.frame
    assert "share a value" in table.note


def rival(
    value: float, key: str = "cam", title: str = "CAM", backbone: str = "resnet_small", **changes
) -> dict:
    return score(value, **{"variant": key, "map": title, "backbone": backbone} | changes)


def test_a_rival_stands_beside_the_transformers_measured_on_the_same_images(published):
    table = build_table(1, frame(score(61.0), rival(42.0), score(backbone="base")), published[1])
    groups = {column.partition(" oracle")[0] for column in table.frame if " oracle" in column}
    assert groups == {"mini small", "mini base"}
    for group in (MINI, MINI.replace("small", "base")):
        assert line(table, "CAM", "ResNet/VGG")[f"{group} MaxBoxAccV2 ours"] == "42.00"
        assert line(table, "HaS", "Inception/ResNet")[f"{group} MaxBoxAccV2 ours"] == "not run"


def test_a_rival_on_other_images_or_on_two_networks_has_columns_of_its_own(published):
    for rows in (
        [score(61.0), rival(42.0, n_images=200)],
        [score(61.0), rival(42.0), rival(43.0, backbone="vgg_small")],
    ):
        table = build_table(1, frame(*rows), published[1])
        own = f"mini resnet_small oracle-per-iou n={rows[1]['n_images']} seeds=1 MaxBoxAccV2 ours"
        assert line(table, "CAM", "ResNet/VGG")[own] == "42.00"
        assert line(table, "CAM", "ResNet/VGG")[f"{MINI} MaxBoxAccV2 ours"] == "not run"
        assert line(table, "Ours-GAR", "DeiT-B+p-ADL")[own] == "not run"


def test_a_rival_of_transformers_stays_with_its_own(published):
    rows = [score(61.0), score(62.0, backbone="base"), rival(50.0, "ts-cam", "TS-CAM", "small")]
    row = line(
        build_table(2, frame(*[r | {"metric": "Top1Loc"} for r in rows]), published[2]), "TS-CAM", "DeiT-S"
    )
    assert row[f"{MINI} Top1Loc ours"] == "50.00"
    assert row[f"{MINI.replace('small', 'base')} Top1Loc ours"] == "not run"


@pytest.mark.parametrize("transformer", ["deit_base", "deit_tiny"])
def test_the_papers_rivals_are_compared_network_by_network(published, transformer):
    ours = [score(62.0, **{**images, "backbone": transformer}) for images in (IMAGENET, CUB)]
    rows = [rival(64.0, **{**IMAGENET, "backbone": "resnet50"})]
    rows += [rival(60.0, **{**CUB, "backbone": "vgg16"}), rival(61.0, **{**CUB, "backbone": "resnet50"})]
    table = build_table(1, frame(*ours, *rows), published[1])
    row = line(table, "CAM", "ResNet/VGG")
    assert row[["ImageNet MaxBoxAccV2 ours", "CUB MaxBoxAccV2 ours"]].tolist() == ["64.00", "60.00"]
    assert row["cub resnet50 oracle-per-iou n=5794 seeds=1 MaxBoxAccV2 ours"] == "61.00"
    top1 = rival(70.0, metric="Top1Cls", map="", policy="", **{**IMAGENET, "backbone": "inception_v3"})
    row = line(build_table(2, frame(*ours, top1), published[2]), "CAM", "InceptionV3")
    assert row["ImageNet Top1Cls difference"] == "-0.60"


def test_rivals_of_the_papers_images_on_networks_it_does_not_print_have_columns_of_their_own(published):
    rows = [score(62.0, **CUB), rival(61.0, **{**CUB, "backbone": "resnet50"})]
    table = build_table(1, frame(*rows), published[1])
    own = "cub resnet50 oracle-per-iou n=5794 seeds=1 MaxBoxAccV2 ours"
    assert line(table, "CAM", "ResNet/VGG")[own] == "61.00"
    assert line(table, "Ours-GAR", "DeiT-B+p-ADL")["CUB MaxBoxAccV2 ours"] == "62.00"
    # Table 2 is of ImageNet alone: CUB is a data set like any other there.
    rows = [row | {"metric": "Top1Loc"} for row in rows]
    row = line(build_table(2, frame(*rows), published[2]), "CAM", "InceptionV3")
    assert row["cub deit_base oracle-per-iou n=5794 seeds=1 Top1Loc ours"] == "61.00"


def test_rivals_that_a_table_of_the_paper_lacks_get_a_row_once_they_are_measured(published):
    rows = [rival(40.0, "i2c", "I2C"), rival(55.0, "few-shot", "Few-shot"), score()]
    frame_of = build_table(1, frame(*rows), published[1]).frame
    assert frame_of["method"].tolist()[8:10] == ["I2C", "Few-shot"]
    assert frame_of["architecture"].tolist()[8:10] == ["resnet_small", "resnet_small, with boxes"]
    assert frame_of[f"{MINI} MaxBoxAccV2 ours"].tolist()[8:10] == ["40.00", "55.00"]
    assert "I2C" not in build_table(3, frame(*rows), published[3]).frame["method"].tolist()


def test_a_rival_that_names_no_class_has_none_rather_than_not_been_run(published):
    rows = [rival(55.0, "few-shot", "Few-shot", metric=name) for name in ("GTKnownLoc", "GTKnownLocV1")]
    table = build_table(
        2, frame(*rows, *(score(30.0, metric=name) for name in TOP1_METRICS[:-1])), published[2]
    )
    ours = {
        name: line(table, "Few-shot", "resnet_small, with boxes")[f"{MINI} {name} ours"]
        for name in TOP1_METRICS
    }
    classless = dict.fromkeys(("Top1Loc", "PredictedLoc", "Top1Cls"), "no class")
    assert ours == {"GTKnownLoc": "55.00", "GTKnownLocV1": "55.00", **classless}
    assert "no class" in printed(table, 160)
    [sheet] = [sheet for sheet in table_sheets(table) if sheet.part == "Top1Loc"]
    assert "no class" in {cell.text for row in sheet.rows for cell in row.cells}


def test_rivals_that_were_run_are_drawn_under_every_metric(published):
    console = Console(record=True, width=160, file=io.StringIO())
    rows = [score(metric="GTKnownLocV1"), rival(33.0, metric="GTKnownLocV1")]
    console.print(render(build_table(2, frame(*rows), published[2])))
    block = console.export_text().partition("GTKnownLocV1")[2].partition("PredictedLoc")[0]
    assert "CAM" in block and "33.0 [31.0, 36.0]" in block and "ACoL" not in block


def test_a_dash_of_the_paper_and_a_number_missing_from_our_text_are_told_apart(published):
    table = build_table(2, frame(), published[2])
    row = line(table, "MEIL", "InceptionV3")
    assert row["ImageNet GTKnownLoc paper"] == "-" and row["ImageNet Top1Loc paper"] == ""
    assert "MEIL is not in our text" in table.note


def test_a_measurement_is_compared_only_with_a_number_of_the_same_policy(published):
    other = published[1].assign(
        policy=published[1]["policy"].mask(published[1]["variant"] == "padl", "fixed")
    )
    table = build_table(1, frame(score(70.0, **IMAGENET)), other)
    row = line(table, "Ours-GAR", "DeiT-B+p-ADL")
    assert row.filter(like="ImageNet").tolist() == ["69.17", "70.00", "68.00", "73.00", "", "1"]


def test_table_4_finds_each_position(published):
    rows = [score(40.0, position="MpM"), score(41.0), score(39.0, variant="control")]
    rows += [score(45.0, position="MpM", map="LRP"), score(44.0, variant="control", map="LRP")]
    table = build_table(4, frame(*rows), published[4])
    ours = table.frame[f"{MINI} MaxBoxAccV2 ours"].tolist()
    assert ours == ["45.00", "not run", "44.00", "40.00", "41.00", "39.00"]


def test_lrp_fills_its_rows_in_tables_1_2_and_4(published):
    trainings = [("baseline", "", 70.0), ("control", "", 71.0), ("padl", "MMp", 72.0), ("padl", "MpM", 73.0)]
    rows = [
        score(value, **IMAGENET, map="LRP", variant=variant, position=position, metric=metric)
        for variant, position, value in trainings
        for metric in ("MaxBoxAccV2", "GTKnownLoc")
    ]
    for number, metric in ((1, "MaxBoxAccV2"), (2, "GTKnownLoc")):
        table, ours = build_table(number, frame(*rows), published[number]), f"ImageNet {metric} ours"
        assert line(table, "LRP", "DeiT-B")[ours] == "70.00"
        assert line(table, "LRP", "DeiT-B control")[ours] == "71.00"
        assert line(table, "Ours-LRP", "DeiT-B+p-ADL")[ours] == "72.00"
    assert line(table, "Ours-LRP", "DeiT-B+p-ADL")["ImageNet GTKnownLoc difference"] == "-0.51"
    table = build_table(4, frame(*rows), published[4]).frame
    assert table["ImageNet MaxBoxAccV2 ours"].tolist()[:3] == ["73.00", "72.00", "71.00"]
    assert table["ImageNet MaxBoxAccV2 difference"].tolist()[:3] == ["+2.59", "+1.53", ""]


def test_lrp_of_the_paper_preset_does_not_double_that_of_the_release(published):
    rows = [score(50.0, map="LRP"), score(50.0, map="LRP", preset="paper")]
    row = line(build_table(1, frame(*rows), published[1]), "Ours-LRP", "DeiT-B+p-ADL")
    assert row[f"{MINI} MaxBoxAccV2 ours"] == "50.00"


def test_seeds_are_averaged_and_counted(published):
    rows = [score(50.0), score(53.0, seed=1), score(51.0, seed=2, ci_low=50.5, ci_high=51.0)]
    rows += [score(30.0, variant="control")]
    table = build_table(1, frame(*rows), published[1])
    ours = table.frame.filter(regex="^mini small oracle-per-iou n=400 seeds=1-3 MaxBoxAccV2 (ours|ci)")
    row = ours[table.frame["method"] == "Ours-GAR"].iloc[0]
    # Of 50, 53, 51, of the lower ends 48, 51, 50.5 and of the upper ends 53, 56, 51.
    assert row.tolist() == ["51.33", "49.83", "53.33"]
    rows = [{**row, **IMAGENET} for row in rows]
    table = build_table(1, frame(*rows), published[1])
    assert table.frame["ImageNet seeds"].tolist()[6:13] == ["3", "", "", "", "", "", "1"]
    assert line(table, "Ours-GAR", "DeiT-B+p-ADL")["ImageNet MaxBoxAccV2 difference"] == "-17.84"


@pytest.mark.parametrize("variant", ["padl", "baseline", "control", ""])
def test_a_map_that_sees_no_image_counts_whichever_model_it_stood_beside(published, variant):
    rows = frame(score(44.0, variant=variant, map="Gaussian"), score(12.0, variant=variant, map="Full image"))
    table = build_table(3, rows, published[3])
    assert table.frame[f"{MINI} MaxBoxAccV2 ours"].tolist()[-2:] == ["44.00", "12.00"]


def test_top_1_of_a_map_that_sees_no_image_is_that_of_the_padl_model_only(published):
    rows = [
        score(20.0 + at, map="Gaussian", variant=v, metric="Top1Loc")
        for at, v in enumerate(("baseline", "padl"))
    ]
    ours = f"{MINI} Top1Loc ours"
    assert build_table(2, frame(*rows), published[2]).frame[ours].tolist()[-2:] == ["21.00", "not run"]
    table = build_table(2, frame(rows[0], score()), published[2])
    assert ours not in table.frame


def test_the_csv_is_the_same_bytes_in_any_order_of_the_measurements(published):
    rows = [
        score(40 + at, map=m, variant=v, seed=s)
        for at, (m, v, s) in enumerate(
            [("GAR", "padl", 0), ("GAR", "padl", 1), ("AR", "control", 0), ("Gaussian", "control", 1)]
        )
    ]
    rows += [score(60.1, dataset="cub20", backbone="deit_tiny"), score(70.0, **CUB)]
    measurements = frame(*rows)
    text = build_table(1, measurements, published[1]).csv()
    shuffled = measurements.sample(frac=1, random_state=3)
    assert build_table(1, shuffled, published[1]).csv() == text
    assert text.count("\n") == 17 and "\r" not in text


def test_scores_survive_the_way_through_a_file(tmp_path, published):
    measurements = frame(
        score(41.0, variant="baseline"), score(42.5), score(90, metric="Top1Cls", map="", policy="")
    )
    measurements.to_csv(tmp_path / "measurements.csv", index=False)
    again = read_scores(tmp_path / "measurements.csv")
    validate_measurements(again)
    assert again["position"].tolist() == ["", "MMp", "MMp"] and again["map"].tolist() == ["GAR", "GAR", ""]
    assert build_table(3, again, published[3]).csv() == build_table(3, measurements, published[3]).csv()


# Refusals


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metric": "MaxBoxAcc"}, r"row 1 .*: metric is 'MaxBoxAcc'; needed: one of \['MaxBoxAccV2'"),
        ({"variant": "p-adl", "position": ""}, "row 1 .*: variant is 'p-adl'"),
        ({"position": "MPM"}, "row 1 .*: position is 'MPM'"),
        ({"preset": "code"}, "row 1 .*: preset is 'code'"),
        ({"policy": "oracle"}, "row 1 .*: policy is 'oracle'"),
        ({"position": np.nan}, "row 1 .*: position is nan; needed: text, '' when empty"),
        ({"position": ""}, "row 1 .*: position is ''; needed: a place for padl"),
        ({"variant": "control", "position": "MMp"}, "row 1 .*: position is 'MMp'"),
        ({"preset": ""}, "row 1 .*: preset is ''; needed: a preset for AR, GAR and LRP"),
        ({"map": "Gaussian", "preset": "release"}, "row 1 .*: preset is 'release'"),
        (
            {"variant": "cam", "position": "", "map": "CAM"},
            "row 1 .*: preset is 'release'; needed: .* rivals",
        ),
        ({"map": "", "preset": ""}, "row 1 .*: map is ''; needed: '' for Top1Cls and Top5Cls, a map's"),
        ({"metric": "Top5Cls", "policy": ""}, "row 1 .*: map is 'GAR'; needed: '' for Top1Cls and Top5Cls"),
        (
            {"metric": "PxAP"},
            "row 1 .*: policy is 'oracle-per-iou'; needed: '' for Top1Cls, Top5Cls and PxAP",
        ),
        ({"metric": "Top1Cls", "policy": ""}, "row 1 .*: map is 'GAR'; needed: '' for Top1Cls"),
        ({"metric": "Top1Cls", "map": ""}, "row 1 .*: policy is 'oracle-per-iou'; needed: '' for Top1Cls"),
        ({"policy": ""}, "row 1 .*: policy is ''"),
        ({"value": 100.5}, "row 1 .*: value is .*100.5.*; needed: 0 to 100 percent"),
        ({"value": np.nan}, "row 1 .*: value is .*nan"),
        ({"ci_low": -0.5}, "row 1 .*: ci_low is .*-0.5"),
        ({"ci_low": 60.0, "ci_high": 55.0}, "row 1 .*: ci_low is .*60.0.*; needed: at most ci_high"),
        ({"ci_high": np.nan}, "row 1 .*: ci_high is .*nan"),
        ({"n_images": 0}, "row 1 .*: n_images is .*0.*; needed: at least 1"),
        (
            {"seed": 0},
            "row 1 .*mini/test/all/small/padl/MMp/GAR/release/MaxBoxAccV2.*an earlier row has this",
        ),
        ({"value": "fifty"}, "measurements: value is of type object; it needs numbers"),
        ({"seed": 0.5}, "seed is of type float64; it needs whole numbers"),
    ],
)
def test_a_wrong_measurement_is_refused_with_its_row(published, changes, text):
    rows = frame(score(), score() | {"seed": 1} | changes)
    with pytest.raises(ValueError, match=text):
        validate_measurements(rows)
    with pytest.raises(ValueError, match=text):
        build_table(1, rows, published[1])


def test_an_interval_that_leaves_out_its_value_is_not_refused():
    validate_measurements(frame(score(50.0, ci_low=50.2, ci_high=51.0)))


def test_missing_columns_are_named(published):
    with pytest.raises(
        ValueError, match="measurements: columns missing: policy, seed; there are: dataset, split"
    ):
        build_table(1, frame(score()).drop(columns=["policy", "seed"]), published[1])
    with pytest.raises(ValueError, match="published: columns missing: locator"):
        build_table(1, frame(), published[1].drop(columns="locator"))


def test_numbers_of_another_table_are_refused(published):
    with pytest.raises(
        ValueError, match="'Table 1, CAM ResNet, ImageNet MaxBoxAccV2' is not a number of Table 4"
    ):
        build_table(4, frame(), published[1])
    with pytest.raises(ValueError, match="published: 'no rows'"):
        build_table(4, frame(), published[4].iloc[:0])
    with pytest.raises(ValueError, match="there is no table 5; the paper has 1, 2, 3, 4"):
        build_table(5, frame(), published[1])
    twice = pd.concat([published[4], published[4].iloc[:1]])
    with pytest.raises(
        ValueError, match="MpM, ImageNet MaxBoxAccV2' is not a number of Table 4, or is there twice"
    ):
        build_table(4, frame(), twice)


# The terminal


def printed(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(render(table))
    return console.file.getvalue()


def test_a_rendered_table_shows_value_interval_and_the_papers_number_in_one_line(published):
    table = build_table(1, frame(score(54.9), score(70.0, **CUB)), published[1])
    text = printed(table, 150)
    [ours] = [row for row in text.splitlines() if "Ours-GAR" in row]
    assert "69.17" in ours and "72.42" in ours
    assert "54.9 [52.9, 57.9]" in ours and "70.0 [68.0, 73.0] (-2.42)" in ours
    assert "paper; ours" in text and "n=400, 1 seed" in text
    [rival] = [row for row in text.splitlines() if " CAM " in row]
    assert rival.count("not run") == 2


def test_a_rendered_table_2_leaves_rivals_out_of_metrics_the_paper_does_not_give(published):
    text = printed(build_table(2, frame(score(30.0, metric="GTKnownLocV1")), published[2]), 120)
    # CAM and TS-CAM stand under Top1Loc, GTKnownLoc and Top1Cls, but not under PredictedLoc and GTKnownLocV1.
    assert text.count("CAM ") == 6 and text.count("Ours-LRP") == 10
    assert max(map(len, text.splitlines())) <= 120


def test_tables_and_figures_do_not_load_torch():
    code = "import sys, vitol.tables, vitol.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_wheel_ships_the_papers_numbers():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["vitol"]
    shipped = {path for pattern in data for path in (ROOT / "vitol").glob(pattern)}
    files = sorted(PUBLISHED.iterdir())
    assert [path.name for path in files] == ["release.csv", *(f"table{number}.csv" for number in TABLES)]
    assert set(files) <= shipped


def test_all_published_numbers_are_those_of_the_tables_and_the_release(published):
    frame = read_all_published()
    release = read_scores(PUBLISHED / "release.csv")
    assert len(frame) == len(release) + sum(len(rows) for rows in published.values())
    assert set(release["locator"]) <= set(frame["locator"])
