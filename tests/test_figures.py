from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vitol import figures
from vitol.cams.about import RIVALS
from vitol.figures import RIVALS_NOTE, line_name, map_order, subset_figure, table_figure
from vitol.measurements import COLUMNS, FLOORS
from vitol.paper import read_published
from vitol.tables import Table, build_table

LOCALIZATION = (
    "MaxBoxAccV2",
    "IoU30",
    "IoU50",
    "IoU70",
    "Top1Loc",
    "GTKnownLoc",
    "GTKnownLocV1",
    "PredictedLoc",
)


def measured(dataset: str, backbone: str, n_images: int, subset: str = "all", seeds: int = 1) -> list[tuple]:
    """Made-up scores of every map and training, each a little different."""
    rows = []
    for seed in range(seeds):
        for at, (variant, position) in enumerate(
            [("baseline", ""), ("control", ""), ("padl", "MMp"), ("padl", "MpM")]
        ):
            place = (dataset, "test", subset, backbone, variant, position)
            for start, name in zip((50, 40, 46, 44, 12), ("AR", "GAR", "LRP", *FLOORS), strict=True):
                for step, metric in enumerate(LOCALIZATION):
                    value = start + 3.0 * step + (0 if name in FLOORS else at + 0.5 * seed)
                    preset = "" if name in FLOORS else "release"
                    numbers = (value, value - 2, value + 3, n_images, seed)
                    rows.append((*place, name, preset, metric, "oracle-per-iou", *numbers))
            rows.append((*place, "", "", "Top1Cls", "", 90.0, 88.0, 92.0, n_images, seed))
    return rows


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    rows = measured("mini", "small", 400, seeds=2) + measured("cub", "deit_base", 5794)
    for subset in ("plain", "part", "clutter"):
        rows += measured("mini", "small", 100, subset)
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture(scope="module")
def with_rivals(measurements: pd.DataFrame) -> pd.DataFrame:
    """The scores on mini, of every rival on its network, too; the rivals' floors differ, as no real ones do."""
    mini = measurements[measurements["dataset"] == "mini"]
    ours = mini[(mini["variant"] == "baseline") & mini["map"].isin(["GAR", *FLOORS])]
    frames = [mini]
    for number, (key, rival) in enumerate(RIVALS.items()):
        backbone = "small" if rival.transformer else "resnet_small"
        of = ours.assign(
            variant=key, backbone=backbone, preset="", map=ours["map"].replace("GAR", rival.title)
        )
        shift = number + 1.0
        frames.append(of.assign(**{end: of[end] + shift for end in ("value", "ci_low", "ci_high")}))
    return pd.concat(frames, ignore_index=True)


def table(number: int, measurements: pd.DataFrame) -> Table:
    return build_table(number, measurements, read_published(number))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    kept: list[Figure] = []
    monkeypatch.setattr(figures, "save_png", lambda figure, path: kept.append(figure))
    return kept


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def test_the_same_table_gives_the_same_bytes_and_another_gives_others(tmp_path, measurements):
    one, again, other = (tmp_path / name for name in ("one.png", "again.png", "deeper/other.png"))
    table_figure(table(4, measurements), one)
    table_figure(table(4, measurements), again)
    table_figure(table(4, measurements[measurements["dataset"] == "mini"]), other)
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()
    assert one.read_bytes().startswith(b"\x89PNG") and b"matplotlib" not in one.read_bytes()


def test_the_subset_figure_gives_the_same_bytes_twice(tmp_path, measurements):
    paths = [tmp_path / name for name in ("one.png", "again.png")]
    for path in paths:
        subset_figure(measurements, "mini", "small", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_two_texts_of_a_table_figure_overlap_or_leave_it(number, measurements, drawn):
    table_figure(table(number, measurements), Path("unused.png"))
    check_texts(drawn[0])


def test_no_two_texts_of_the_subset_figure_overlap_or_leave_it(measurements, drawn):
    subset_figure(measurements, "mini", "small", Path("unused.png"))
    check_texts(drawn[0])


def test_no_two_texts_of_figures_with_rivals_overlap_or_leave_them(with_rivals, drawn):
    table_figure(table(1, with_rivals), Path("unused.png"))
    table_figure(table(2, with_rivals), Path("unused.png"))  # the narrowest, with the longest legend
    subset_figure(with_rivals, "mini", "small", Path("unused.png"))
    for figure in drawn:
        check_texts(figure)


def check_texts(figure: Figure) -> None:
    figure.draw_without_rendering()
    # Half a pixel is left out: lines that follow each other touch.
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in texts(figure)]
    assert len(boxes) > 20
    overlaps = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert not overlaps
    width, height = figure.bbox.size
    outside = [t for t, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert not outside


def test_a_table_figure_tells_every_number_data_set_and_count(measurements, drawn):
    result = table(1, measurements)
    table_figure(result, Path("unused.png"))
    words = written(drawn[0])
    # Ours with p-ADL: mini is the mean of 42 and 42.5 over two seeds, cub has one seed.
    for text in ("69.17", "70.47", "72.42", "66.5", "42.2", "42.0", "44.0", "12.0"):
        assert text in words, text
    # 16 rows on ImageNet; 6 on CUB and on mini, where only the six rivals were not run.
    assert words.count("not run") == 16 + 6 + 6
    headers = ["ImageNet\npaper's backbone\nn=50000, not run", "CUB\npaper's backbone\nn=5794, 1 seed"]
    for text in (*headers, "mini\nsmall\nn=400, 2 seeds", result.title, "Ours-GAR   DeiT-B+p-ADL"):
        assert text in words, text
    assert " ".join(result.note.split()) in " ".join(" ".join(words).split())


def test_marks_of_a_panel_lie_at_the_tables_values(measurements, drawn):
    result = table(3, measurements)
    table_figure(result, Path("unused.png"))
    assert len(drawn[0].axes) == 4 * 3  # metrics x groups
    cub = drawn[0].axes[1]
    diamonds = [line.get_xdata()[0] for line in cub.lines if line.get_marker() == "D"]
    assert diamonds[:4] == [49.75, 57.42, 70.79, 72.42] and np.isnan(diamonds[4:]).all()
    ours = {
        line.get_ydata()[0]: line.get_xdata()[0] for line in cub.lines if line.get_marker() in tuple("os^|")
    }
    shown = result.cells.query("group == 'CUB' and metric == 'MaxBoxAccV2'").set_index("line")["ours"]
    assert ours == shown.to_dict()


def test_figures_of_tables_with_the_same_groups_have_the_same_width(measurements, drawn):
    for number in (1, 3, 4):
        table_figure(table(number, measurements), Path("unused.png"))
    assert len({figure.get_figwidth() for figure in drawn}) == 1


def test_a_table_without_measurements_can_be_drawn(measurements, drawn):
    table_figure(table(1, measurements.iloc[:0]), Path("unused.png"))
    assert written(drawn[0]).count("not run") == 32


def test_the_subset_figure_puts_each_name_beside_its_own_scores(measurements, drawn):
    subset_figure(measurements.sample(frac=1, random_state=1), "mini", "small", Path("unused.png"))
    axes = drawn[0].axes
    assert {panel.get_title() for panel in axes} == {
        "all\nn=400, 2 seeds",
        *(f"{subset}\nn=100, 1 seed" for subset in ("plain", "part", "clutter")),
    }
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    trainings = ["baseline", "control", "p-ADL MMp", "p-ADL MpM"]
    assert names == [*(f"{m}   {t}" for m in ("AR", "GAR", "LRP") for t in trainings), *FLOORS.values()]
    for panel in axes:
        more = 0.25 if panel.get_title().startswith("all") else 0
        marks = {
            line.get_ydata()[0]: line.get_xdata()[0]
            for line in panel.lines
            if line.get_marker() in tuple("os^|")
        }
        assert [marks[y] for y in range(14)] == [
            *(start + at + more for start in (50, 40, 46) for at in range(4)),
            44,
            12,
        ]


def test_rivals_stand_in_the_subset_figure_once_each_with_a_mark_of_their_own(with_rivals, drawn):
    subset_figure(with_rivals, "mini", "small", Path("unused.png"))
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    titles = [rival.title + "   with boxes" * rival.with_boxes for rival in RIVALS.values()]
    assert names[12:] == [*titles, *FLOORS.values()]
    for panel in drawn[0].axes:
        more = 0.25 if panel.get_title().startswith("all") else 0
        marks = {line.get_ydata()[0]: line.get_xdata()[0] for line in panel.lines if line.get_marker() == "v"}
        assert marks == {12 + at: 41 + at + more for at in range(len(RIVALS))}
        floors = [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "|"]
        assert sorted(floors) == [12, 44]
    assert written(drawn[0]).count("other methods") == 1
    assert RIVALS_NOTE in " ".join(" ".join(written(drawn[0])).split())


def test_lines_are_named_after_map_and_model():
    assert line_name("GAR", "padl", "MMp") == "GAR   p-ADL MMp"
    assert line_name("LRP", "control", "") == "LRP   control"
    assert line_name("Gaussian", "", "") == "Centred Gaussian"
    assert (
        line_name("CAM", "cam", "") == "CAM"
        and line_name("Few-shot", "few-shot", "") == "Few-shot   with boxes"
    )


def test_maps_stand_in_the_order_of_the_tables():
    order = map_order(["mine", "Gaussian", "SCM", "a map", "CAM", "AR"])
    assert [*order[:6], *order[-3:]] == [
        *("AR", "GAR", "LRP", "a map", "mine", "CAM"),
        *("Few-shot", "Gaussian", "Full image"),
    ]
    assert order.index("CAM") < order.index("SCM")


def test_the_subset_figure_says_when_lines_have_different_numbers_of_seeds(measurements, drawn):
    fewer = measurements[(measurements["seed"] == 0) | (measurements["map"] == "AR")]
    subset_figure(fewer, "mini", "small", Path("unused.png"))
    assert drawn[0].axes[0].get_title() == "all\nn=400, 1-2 seeds"


def test_subsets_that_nobody_measured_are_an_error(measurements):
    with pytest.raises(ValueError, match="no MaxBoxAccV2 of mini base; measured: mini small, cub deit_base"):
        subset_figure(measurements, "mini", "base", Path("unused.png"))
    with pytest.raises(ValueError, match="row 0 .*: value"):
        subset_figure(measurements.assign(value=101.0), "mini", "small", Path("unused.png"))
