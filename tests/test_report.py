"""The report as text and bytes: what is packed comes back, boxes are the scorer's, and nothing leaks out of it."""

from __future__ import annotations

import io
import json
import re
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from gallery_data import HOSTILE, blobs, noise, photo, small_contents, small_gallery, small_sheet, true_boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from score_files import small_split

from vitol.boxes import DISTINCT_THRESHOLDS, THRESHOLDS, best_ious, boxes_at, largest_boxes, score_map
from vitol.measurements import read_scores
from vitol.paper import read_published
from vitol.rectangles import iou_matrix
from vitol.report.choice import spread
from vitol.report.contents import Cell, Column, Curve, Gallery, Layer, Row, Sheet
from vitol.report.packing import CUTS, Record, read_records, record_bytes
from vitol.report.page import page, write_page
from vitol.report.photos import read_photos
from vitol.report.pictures import GRID, SIDE, heat_bytes, photo_bytes, plot_bytes
from vitol.report.sheets import sheets_html, table_sheets
from vitol.report.steps import Steps, step_starts, steps_of, threshold_index
from vitol.tables import build_table

TRUTHS = true_boxes(np.random.default_rng(3), 2)


def data_of(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def different_maps(gallery: Gallery) -> int:
    """Maps that are not the same as another one of their image."""
    return len({(at, one.tobytes()) for layer in gallery.layers for at, one in enumerate(layer.maps)})


@pytest.mark.parametrize("make", [blobs, noise])
@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_are_the_scorers_at_every_level(make, seed):
    score = score_map(make(np.random.default_rng(seed)))
    steps, curves = steps_of(score, TRUTHS), best_ious(score, TRUTHS)
    for at, threshold in enumerate(DISTINCT_THRESHOLDS):
        every = boxes_at(score, threshold)
        assert np.array_equal(steps.largest[at], boxes_at(score, threshold, "largest")[0])
        assert (every == steps.best[at]).all(axis=1).any()
        assert iou_matrix(steps.best[at][None], TRUTHS).max() == iou_matrix(every, TRUTHS).max()
    of_threshold = np.searchsorted(step_starts(), np.arange(len(THRESHOLDS)), side="right") - 1
    for boxes, curve in zip(steps, (curves.largest, curves.all), strict=True):
        assert np.array_equal(iou_matrix(boxes, TRUTHS).max(axis=1)[of_threshold], curve)


@given(arrays(np.uint8, (12, 12), elements=st.integers(0, 6)))
@settings(max_examples=40, deadline=None)
def test_the_largest_contours_boxes_are_those_of_one_threshold_at_a_time(levels):
    score = levels / max(levels.max(), 1)
    found = largest_boxes(score)
    for at in range(0, CUTS, 20):
        assert np.array_equal(found[at], boxes_at(score, DISTINCT_THRESHOLDS[at], "largest")[0])


def test_a_constant_map_has_the_box_of_no_foreground_everywhere():
    steps = steps_of(score_map(np.ones((14, 14))), TRUTHS)
    assert not steps.largest.any() and not steps.best.any()


def test_each_of_the_thresholds_belongs_to_the_step_that_python_cuts_at():
    starts = step_starts()
    assert len(starts) == CUTS and starts[0] == 0
    of_threshold = np.searchsorted(starts, np.arange(len(THRESHOLDS)), side="right") - 1
    assert np.array_equal(of_threshold, (THRESHOLDS * 255).astype(int))
    assert [threshold_index(value) for value in (0, 0.004, 0.9990000001)] == [0, 4, 999]


def test_a_score_map_beyond_a_byte_and_a_threshold_beyond_one_are_refused():
    with pytest.raises(ValueError, match=r"shape \(300, 20\); its corners are packed into a byte each"):
        steps_of(np.zeros((300, 20)), TRUTHS)
    with pytest.raises(ValueError, match=r"threshold 1 is outside \[0, 1\)"):
        threshold_index(1)


@given(
    st.lists(
        st.tuples(
            arrays(np.uint8, st.tuples(st.integers(1, GRID), st.integers(1, GRID))),
            arrays(np.uint8, (2, CUTS, 4)),
        ),
        max_size=3,
    )
)
@settings(max_examples=30, deadline=None)
def test_records_come_back_as_they_were(given_records):
    records = [Record(heat, Steps(*boxes)) for heat, boxes in given_records]
    back = read_records(b"".join(map(record_bytes, records)))
    assert len(back) == len(records)
    for one, other in zip(records, back, strict=True):
        assert np.array_equal(one.heat, other.heat)
        assert all(map(np.array_equal, one.steps, other.steps))


def test_records_that_are_cut_off_are_refused():
    whole = record_bytes(Record(np.zeros((2, 3), np.uint8), Steps(*np.zeros((2, CUTS, 4), np.uint8))))
    for length in (1, 7, len(whole) - 1):
        with pytest.raises(ValueError, match=f"record 0 ends at byte .* the data at {length}: it is cut off"):
            read_records(whole[:length])


def test_the_page_holds_every_map_once_and_its_boxes():
    contents = small_contents()
    data = data_of(page(contents))
    for gallery, packed in zip(contents.galleries, data["galleries"], strict=True):
        records = read_records(zlib.decompress(b64decode(packed["records"])))
        assert len(records) == different_maps(gallery) < len(gallery.layers) * len(gallery.photos)
        for layer, of_layer in zip(gallery.layers, packed["layers"], strict=True):
            for at, one in enumerate(layer.maps):
                record = records[of_layer["records"][at]]
                expected = steps_of(score_map(one), gallery.photos[at].truths)
                assert np.array_equal(record.heat, heat_bytes(one))
                assert all(map(np.array_equal, record.steps, expected))


def test_the_same_contents_give_the_same_bytes_whatever_the_threads(tmp_path: Path):
    write_page(small_contents(), tmp_path / "one.html", workers=1)
    write_page(small_contents(), tmp_path / "two.html", workers=3)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_progress_counts_every_map_that_is_looked_at():
    seen: list[tuple[str, int, int]] = []
    gallery = small_gallery(4)
    page(small_contents(galleries=(gallery,)), progress=lambda *told: seen.append(told))
    total = different_maps(gallery)
    assert seen == [("Boxes for the page", done, total) for done in range(1, total + 1)]


def test_two_hundred_images_of_four_models_stay_below_fifteen_megabytes():
    rng = np.random.default_rng(0)
    grain = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(200)]
    photos = tuple(
        replace(photo(rng, at), pixels=np.asarray(Image.fromarray(one).resize((500, 375))))
        for at, one in enumerate(grain)
    )
    # Records cost the same whatever the model: those of one are measured, and stand for four.
    layers = [Layer("one", "LRP", of, [blobs(rng) for _ in photos], 0.2, "") for of in ("label", "predicted")]
    packed = data_of(page(small_contents(galleries=(Gallery("many", "", (), photos, tuple(layers)),))))
    (gallery,) = packed["galleries"]
    records = len(gallery["records"]) / len(layers) * 4 * 5  # models; AR once, GAR and LRP twice
    assert (
        records + sum(len(one["jpeg"]) for one in gallery["photos"]) < 12e6
    )  # leaves room for plots and tables


def test_nothing_in_the_data_can_leave_its_place_on_the_page():
    gallery = small_gallery(2)
    photos = tuple(replace(one, name=HOSTILE, subset=HOSTILE) for one in gallery.photos)
    layers = tuple(replace(one, model=HOSTILE, chosen=HOSTILE) for one in gallery.layers[:1])
    hostile = replace(gallery, title=HOSTILE, note=HOSTILE, classes=(HOSTILE,), photos=photos, layers=layers)
    cells = (Cell(HOSTILE, None, HOSTILE),)
    sheet = Sheet(HOSTILE, HOSTILE, HOSTILE, (Column(HOSTILE, HOSTILE),), (Row(cells),))
    plain = small_contents()
    picture = replace(plain.pictures[0], title=HOSTILE, caption=HOSTILE)
    text = page(
        small_contents(
            title=HOSTILE,
            lead=HOSTILE,
            sheets=(sheet, replace(sheet, part="b")),
            pictures=(picture,),
            galleries=(hostile,),
        )
    )
    assert text.count("</script>") == page(plain).count("</script>")
    assert "<script>alert" not in text and "<b>&" not in text
    assert data_of(text)["galleries"][0]["photos"][0]["name"] == HOSTILE


def test_the_page_asks_for_nothing_from_elsewhere():
    text = page(small_contents())
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    outside = set(re.findall(r"https?://[^\"' )]+", text))
    assert outside == {"http://www.w3.org/2000/svg"}  # a name, not an address to fetch
    assert "@import" not in text and "fetch(" not in text


def test_a_page_without_a_part_has_no_heading_for_it():
    text = page(small_contents(sheets=(), pictures=(), galleries=()))
    assert not re.findall(r'id="(tables|plots|gallery|table-1)"', text)


def test_sheets_of_one_title_share_a_choice_and_the_first_shows():
    html = sheets_html((small_sheet(part="IoU30"), small_sheet(part="IoU50"), small_sheet("Other")))
    assert html.count("<article") == 2 and html.count("<select") == 1
    assert html.count(" hidden>") == 1 and "<option>IoU30</option><option>IoU50</option>" in html
    assert '<th colspan="2" scope="colgroup">CUB</th>' in html
    assert '<td class="number" data-value="63.7">63.7<small>[1, 2]</small></td>' in html


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_sheet_of_a_table_has_its_numbers(number):
    measurements = read_scores(ROOT / "experiments/results/mini/measurements.csv")
    table = build_table(number, measurements, read_published(number))
    sheets = table_sheets(table)
    assert [sheet.part for sheet in sheets] == list(table.cells["metric"].unique())
    for sheet in sheets:
        cells = table.cells[table.cells["metric"] == sheet.part]
        shown = {column.name: set() for column in sheet.columns if column.numeric}
        for row in sheet.rows:
            for column, cell in zip(sheet.columns, row.cells, strict=True):
                if column.numeric and cell.value is not None:
                    shown[column.name].add(cell.value)
        assert shown["ours"] == set(cells["ours"].dropna())
        assert shown.get("paper", set()) == set(cells["paper"].dropna())
        lines = cells if cells["paper"].notna().any() else cells[cells["variant"] != ""]
        assert len(sheet.rows) == lines["line"].nunique()
        assert sum(row.aside for row in sheet.rows) == lines[lines["row"] == 0]["line"].nunique()


def test_a_difference_to_the_paper_is_shown_where_there_is_one():
    published = read_published(1)
    row = published.query("dataset == 'cub' and map == 'GAR'").iloc[0]
    measured = pd.DataFrame(
        [
            {
                "dataset": "cub",
                "split": "test",
                "subset": "all",
                "backbone": "deit_base",
                "variant": "padl",
                "position": row["position"],
                "map": "GAR",
                "preset": "release",
                "metric": "MaxBoxAccV2",
                "policy": "oracle-per-iou",
                "value": row["value"] - 1.25,
                "ci_low": 70.0,
                "ci_high": 73.0,
                "n_images": 5794,
                "seed": 0,
            }
        ]
    )
    (sheet,) = table_sheets(build_table(1, measured, published))
    names = [f"{column.group.partition(',')[0]} {column.name}" for column in sheet.columns]
    line = next(entry for entry in sheet.rows if entry.cells[0].text == row["method"])
    texts = dict(zip(names, line.cells, strict=True))
    assert texts["CUB difference"].text == "-1.25" and texts["CUB paper"].text == f"{row['value']:.2f}"
    assert texts["CUB ours"].note == "[70.0, 73.0]"
    rival = next(entry for entry in sheet.rows if entry.cells[0].text == "CAM")
    assert dict(zip(names, rival.cells, strict=True))["CUB ours"].text == "not run"


def test_images_are_spread_over_every_subset_as_far_as_they_go():
    split = replace(small_split(20), subsets=("a",) * 2 + ("b",) * 9 + ("c",) * 9)
    rows = spread(split, 8)
    assert rows == sorted(set(rows)) and len(rows) == 8
    assert [sum(split.subsets[row] == name for row in rows) for name in "abc"] == [2, 3, 3]
    assert spread(replace(split, subsets=()), 4) == [2, 7, 12, 17]
    assert spread(split, 20) == spread(split, 500) == list(range(20))
    with pytest.raises(ValueError, match="0 images cannot be chosen; give at least 1"):
        spread(split, 0)


def test_a_map_is_drawn_from_few_bytes_that_run_from_0_to_255():
    assert heat_bytes(np.array([[-1.0, 0.0, 1.0]])).tolist() == [[0, 128, 255]]
    assert not heat_bytes(np.full((3, 3), 7.0)).any()
    large = heat_bytes(np.random.default_rng(0).random((224, 112)))
    assert large.shape == (GRID, GRID // 2) and (large.min(), large.max()) == (0, 255)


def test_photos_and_plots_are_small_and_of_the_same_shape():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(photo_bytes(pixels))) as image:
        assert (image.format, image.size) == ("JPEG", (SIDE, SIDE // 2))
    buffer = io.BytesIO()
    Image.new("RGBA", (30, 20), "white").save(buffer, "PNG")
    with Image.open(io.BytesIO(plot_bytes(buffer.getvalue()))) as image:
        assert (image.format, image.size) == ("WEBP", (30, 20))
    with pytest.raises(ValueError, match=r"the image is \(3, 3\) float64; needed: \(H, W, 3\) uint8"):
        photo_bytes(np.zeros((3, 3)))


def test_photos_are_read_with_their_boxes_in_pixels_of_the_score_map(tmp_path: Path):
    split = small_split(4)
    for name, size in zip(split.ids, split.sizes.tolist(), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", size, 90).save(tmp_path / name)
    photos = read_photos(split, [1, 3], tmp_path)
    assert [one.name for one in photos] == ["test/01.jpg", "test/03.jpg"]
    assert photos[0].pixels.shape == (50, 30, 3) and photos[1].label == split.labels[3]
    x0 = split.boxes[1][0, 0]
    assert photos[0].truths[0, 0] == int(x0 * 224 / 30)
    (tmp_path / "test/01.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"image test/01\.jpg: .* cannot be decoded"):
        read_photos(split, [1], tmp_path)
    Image.new("L", (9, 9)).save(tmp_path / "test/01.jpg")
    with pytest.raises(ValueError, match=r"has 9 x 9 pixels, but image_sizes\.txt says 30 x 50"):
        read_photos(split, [1], tmp_path)
    (tmp_path / "test/01.jpg").unlink()
    with pytest.raises(ValueError, match="does not exist; give the folder that the image ids start from"):
        read_photos(split, [1], tmp_path)


def test_a_bad_map_or_image_is_named():
    gallery = small_gallery(2)
    maps = [gallery.layers[0].maps[0], np.full((2, 2), np.nan)]
    bad = replace(gallery, layers=(replace(gallery.layers[0], maps=maps),))
    with pytest.raises(ValueError, match=r"baseline AR, image test/001\.jpg: 4 of the localization map's 4"):
        page(small_contents(galleries=(bad,)))
    photos = (gallery.photos[0], replace(gallery.photos[1], pixels=np.zeros((2, 2), np.uint8)))
    with pytest.raises(ValueError, match=r"image test/001\.jpg: the image is \(2, 2\) uint8"):
        page(small_contents(galleries=(replace(gallery, photos=photos),)))


def test_parts_that_do_not_fit_each_other_are_refused():
    gallery = small_gallery(2)
    first, *rest = gallery.layers
    with pytest.raises(ValueError, match="has 0 images and 6 layers of maps; give at least one of each"):
        replace(gallery, photos=())
    with pytest.raises(ValueError, match="two layers of baseline AR any; keep one"):
        replace(gallery, layers=(first, first, *rest))
    with pytest.raises(ValueError, match="baseline AR any: 1 maps for 2 images"):
        replace(gallery, layers=(replace(first, maps=first.maps[:1]),))
    with pytest.raises(ValueError, match="baseline AR any: 3 predicted classes for 2 images"):
        replace(gallery, layers=(replace(first, predicted=[0, 1, 2]),))
    with pytest.raises(ValueError, match=r"the curve has shape \(3, 4\); needed: \(3, 255\)"):
        replace(gallery, layers=(replace(first, curve=Curve(np.zeros((3, 4)), 2)),))
    with pytest.raises(ValueError, match="Table 1. Numbers, IoU30: row 0 has 1 cells; needed: 3"):
        replace(small_sheet(part="IoU30"), rows=(Row((Cell("CAM"),)),))
