from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from vitol import score_figure as module
from vitol.failures import CATEGORIES
from vitol.figures import MAP_COLOURS
from vitol.localizations import DELTAS
from vitol.score_figure import MethodView, score_figure, threshold_figure
from vitol.views import accuracy_over_threshold, iou_histogram, ious_at, views_frame

LONG = [
    "AR",
    "GAR",
    "/data/experiments/2026-11/vit-small-patch16-224-augreg/gar-release-with-predicted-classes",
    "A METHOD OF OUR OWN: A RATHER LONG NAME THAT SAYS WHICH LAYERS ARE TAKEN AND HOW THEY ARE WEIGHTED",
    "it costs $5, not $6",
    "x" * 300,
]
METRICS = "MaxBoxAccV2 IoU30 IoU50 IoU70 GTKnownLocV1 PredictedLoc Top1Loc Top5Loc PxAP".split()


def made_up(seed: int = 0, boxes: int = 3, n: int = 80) -> MethodView:
    """Views of random IoU curves; images have 1 to `boxes` boxes."""
    rng = np.random.default_rng(seed)
    ious = rng.beta(2, 2, (n, 1)) * np.sin(np.linspace(0.1, 3, 255))
    curves = accuracy_over_threshold(ious)
    chosen = {delta: float(curve.argmax() / 255 + 1e-6) for delta, curve in zip(DELTAS, curves, strict=True)}
    at = ious_at(ious, chosen[0.5])
    truths = [np.array([[0, 0, *rng.uniform(1, 10, 2)]] * (1 + image % boxes)) for image in range(n)]
    shares = 100 * rng.dirichlet(np.ones(5))
    return MethodView(
        n_images=n,
        headlines={
            metric: (90.0 - 9 * at - seed, 86.0 - 9 * at, 94.0 - 9 * at) for at, metric in enumerate(METRICS)
        },
        curves=curves,
        thresholds=chosen,
        histogram=iou_histogram(at),
        failures=dict(zip(CATEGORIES, shares.tolist(), strict=True)),
        groups=views_frame(at, truths, np.full((n, 2), 10)),
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn in a test, which are then not written."""
    kept: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, path: kept.append(figure))
    return kept


def draw(drawn: list[Figure], methods: dict[str, MethodView], note: str = "") -> Figure:
    score_figure("Localization scores", methods, Path("unused.png"), note)
    return drawn[-1]


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def test_the_same_views_give_the_same_bytes_and_others_give_others(tmp_path):
    paths = [tmp_path / name for name in ("one.png", "again.png", "deeper/other.png")]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        score_figure("scores", {"AR": made_up(seed)}, path)
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again != other
    assert one.startswith(b"\x89PNG") and b"matplotlib" not in one


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("boxes", [1, 3])
@pytest.mark.parametrize("names", [LONG, ["AR", "GAR", "LRP", "Gaussian", "mine", "theirs"]])
def test_no_two_texts_overlap_or_leave_the_figure(count, boxes, names, drawn):
    figure = draw(
        drawn, {name: made_up(seed, boxes) for seed, name in enumerate(names[:count])}, "A note. " * 40
    )
    figure.draw_without_rendering()
    # Half a pixel is left out: lines that follow each other touch.
    found = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in texts(figure)]
    assert len(found) > 50
    assert not [(a, b) for (a, one), (b, other) in combinations(found, 2) if one.overlaps(other)]
    width, height = figure.bbox.size
    assert not [t for t, box in found if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def test_a_figure_is_1600_pixels_wide(tmp_path):
    for count in (1, 6):
        path = tmp_path / f"{count}.png"
        score_figure("scores", {name: made_up() for name in LONG[:count]}, path)
        assert cv2.imread(str(path)).shape[1] == 1600


def test_bars_and_intervals_lie_at_the_measurements(drawn):
    views = {"AR": made_up(0), "GAR": made_up(1)}
    axes = panel(draw(drawn, views), "Measurements")
    bars = [bar.get_height() for bar in axes.patches]
    expected = [value for view in views.values() for value, _, _ in view.headlines.values()]
    assert bars == expected
    assert [line.get_ydata()[0] for line in axes.lines] == [86.0 - 9 * at for at in range(9)] * 2
    assert [text.get_text() for text in axes.texts] == [f"{value:.1f}" for value in expected]
    assert [label.get_text() for label in axes.get_xticklabels()] == METRICS


def test_a_measurement_without_interval_or_of_one_method_only_is_drawn(drawn):
    one, two = (
        made_up(0),
        replace(made_up(1), headlines={"PxAP": (40.0, np.nan, np.nan), "mine": (3.0, 1.0, 5.0)}),
    )
    axes = panel(draw(drawn, {"AR": one, "mine": two}), "Measurements")
    assert [label.get_text() for label in axes.get_xticklabels()] == [*METRICS, "mine"]
    placed = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches[9:]}
    assert placed == {8: 40.0, 9: 3.0}


def test_curves_carry_a_mark_at_each_chosen_threshold(drawn):
    view = made_up()
    axes = panel(draw(drawn, {"AR": view}), "Accuracy over threshold")
    curves = [line for line in axes.lines if len(line.get_xdata()) > 1]
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert np.array_equal([line.get_ydata() for line in curves], view.curves)
    assert [mark.get_ydata()[0] for mark in marks] == [curve.max() for curve in view.curves]
    for mark, threshold in zip(marks, view.thresholds.values(), strict=True):
        assert abs(mark.get_xdata()[0] - threshold) < 1 / 255
    widths = [line.get_linewidth() for line in curves]
    assert widths[1] > max(widths[0], widths[2]) and curves[1].get_linestyle() == "-"


def test_a_delta_without_a_threshold_has_no_mark(drawn):
    view = replace(made_up(), thresholds={0.5: 0.25})
    axes = panel(draw(drawn, {"AR": view}), "Accuracy over threshold")
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [mark.get_xdata()[0] for mark in marks] == [63 / 255]


def test_the_histogram_is_in_percent_of_the_images(drawn):
    view = made_up(n=50)
    (steps,) = panel(draw(drawn, {"AR": view}), "Histogram").patches
    assert np.allclose(steps.get_data().values, view.histogram * 2)


def test_failures_are_stacked_to_the_whole_under_each_name(drawn):
    views = {"AR": made_up(0), LONG[2]: made_up(1)}
    axes = panel(draw(drawn, views), "How localization fails")
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(2, 5)
    assert np.allclose(widths, [list(view.failures.values()) for view in views.values()])
    assert np.allclose(widths.sum(axis=1), 100)
    words = [text.get_text().replace("\n", "") for text in axes.texts]
    assert "AR" in words and LONG[2] in words
    assert [text.get_text() for text in axes.get_legend().get_texts()][1] == "part: too small"


def test_groups_lie_at_their_accuracy_with_their_number_of_images(drawn):
    view = made_up()
    figure = draw(drawn, {"AR": view})
    for title, name in (("By object size", "object size"), ("By number of boxes", "boxes")):
        axes, rows = panel(figure, title), view.of(name)
        intervals, points = axes.lines[::2], axes.lines[1::2]
        assert [point.get_ydata()[0] for point in points] == rows["value"].tolist()
        assert [tuple(line.get_ydata()) for line in intervals] == list(
            zip(rows["ci_low"], rows["ci_high"], strict=True)
        )
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == [f"{group}\nn={n}" for group, n in rows["n_images"].items()]


def test_methods_of_different_numbers_of_images_show_the_span(drawn):
    figure = draw(drawn, {"AR": made_up(n=90), "GAR": made_up(n=60)})
    labels = [label.get_text() for label in panel(figure, "By number of boxes").get_xticklabels()]
    assert labels == ["1\nn=20-30", "2\nn=20-30", "3+\nn=20-30"]


def test_the_number_of_boxes_is_left_out_where_every_image_has_one(drawn):
    assert len(titles(draw(drawn, {"AR": made_up(boxes=3)}))) == 6
    assert len(titles(draw(drawn, {"AR": made_up(boxes=1)}))) == 5
    assert "By number of boxes" not in titles(drawn[-1])
    # One method with several boxes is enough.
    assert len(titles(draw(drawn, {"AR": made_up(boxes=1), "GAR": made_up(boxes=2)}))) == 6


def test_known_maps_have_their_colours_and_no_two_methods_look_alike(drawn):
    names = ["mine", "GAR", "ar", "Gaussian", "theirs", "LRP"]
    figure = draw(drawn, {name: made_up() for name in names})
    lines = figure.legends[0].get_lines()
    shown = dict(zip((text.get_text() for text in figure.legends[0].get_texts()), lines, strict=True))
    assert set(shown) == set(names)
    for name in ("GAR", "ar", "LRP"):
        assert to_hex(shown[name].get_color()).upper() == MAP_COLOURS[name.upper()]
    colours = [to_rgb(line.get_color()) for line in lines]
    assert min(np.linalg.norm(np.subtract(a, b)) for a, b in combinations(colours, 2)) > 0.15
    assert len({line.get_marker() for line in lines}) == 6


def test_two_methods_named_like_one_map_do_not_share_its_colour(drawn):
    lines = draw(drawn, {"GAR": made_up(), "gar": made_up()}).legends[0].get_lines()
    assert to_hex(lines[0].get_color()).upper() == MAP_COLOURS["GAR"] != to_hex(lines[1].get_color()).upper()


def test_a_legend_of_several_rows_reads_row_by_row(drawn):
    names = [f"a name of middling length, number {number}" for number in range(5)]
    figure = draw(drawn, {name: made_up() for name in names})
    figure.draw_without_rendering()
    places = [(text.get_window_extent(), text.get_text()) for text in figure.legends[0].get_texts()]
    read = [name for _, name in sorted(places, key=lambda place: (-round(place[0].y0), place[0].x0))]
    assert read == names and len({round(box.y0) for box, _ in places}) > 1


def test_the_title_the_note_and_long_names_are_all_there(drawn):
    figure = draw(drawn, {name: made_up() for name in LONG}, "Policy fixed, 80 images.")
    words = " ".join(" ".join(text.get_text().split()) for text in texts(figure))
    for wanted in ("Localization scores", "Policy fixed, 80 images. Measurements:", "Wilson's", LONG[4]):
        assert wanted in words
    shortened = f"{'x' * 60} ... {'x' * 75}"
    assert shortened in [text.get_text() for text in figure.legends[0].get_texts()]


def test_no_method_or_too_many_are_an_error(tmp_path):
    for count in (0, 7):
        methods = {str(number): made_up() for number in range(count)}
        with pytest.raises(ValueError, match=f"{count} methods; the figure shows 1 to 6, so draw several"):
            score_figure("scores", methods, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"headlines": {}}, "headlines is empty; needed: at least one metric"),
        ({"curves": np.zeros((2, 255))}, r"curves is \(2, 255\); needed: \(3, L\)"),
        ({"curves": np.zeros((3, 0))}, r"curves is \(3, 0\)"),
        ({"curves": np.zeros(255)}, r"curves is \(255,\)"),
        ({"thresholds": {0.4: 0.1}}, r"thresholds is \{0.4: 0.1\}; needed: fractions in \[0, 1\) by delta"),
        ({"thresholds": {0.5: 1.0}}, r"thresholds is \{0.5: 1.0\}"),
        ({"histogram": np.full(10, 8)}, r"histogram is \[8 8 .*; needed: \(20,\) with the 80 images"),
        ({"histogram": np.zeros(20, int)}, r"histogram is \[0 0 .*; needed: \(20,\) with the 80 images"),
        ({"n_images": 81}, r"histogram is \[.*; needed: \(20,\) with the 81 images"),
        ({"failures": {"right": 100.0}}, r"failures is \{'right'\}; needed: \('right', 'part'"),
    ],
)
def test_a_view_that_does_not_fit_is_refused_by_name(changes, text, tmp_path):
    with pytest.raises(ValueError, match=f"method 'GAR': {text}"):
        score_figure("scores", {"AR": made_up(), "GAR": replace(made_up(), **changes)}, tmp_path / "no.png")
    assert not list(tmp_path.iterdir())


def test_a_frame_of_other_columns_is_refused(tmp_path):
    view = made_up()
    with pytest.raises(
        ValueError, match=r"method 'AR': groups is \['view', 'value'\]; needed: \['view', 'group'"
    ):
        score_figure(
            "scores", {"AR": replace(view, groups=view.groups[["view", "value"]])}, tmp_path / "no.png"
        )


def test_threshold_curves_alone_have_the_methods_colours_and_a_mark_at_each_chosen_threshold(drawn):
    methods = {name: made_up(seed) for seed, name in enumerate(("AR", "GAR"))}
    threshold_figure(
        "mini, small: maps of the baseline", methods, Path("unused.png"), "n=80, oracle-per-iou."
    )
    (axes,) = drawn[0].axes
    for name, view in methods.items():
        of_method = [line for line in axes.lines if to_hex(line.get_color()) == MAP_COLOURS[name].lower()]
        curves = [line.get_ydata() for line in of_method if len(line.get_ydata()) > 1]
        np.testing.assert_array_equal(curves, view.curves)
        marks = [
            (line.get_xdata()[0], line.get_ydata()[0]) for line in of_method if len(line.get_ydata()) == 1
        ]
        at = [int(view.thresholds[delta] * 255) for delta in DELTAS]
        assert marks == [(place / 255, curve[place]) for place, curve in zip(at, view.curves, strict=True)]
    words = " ".join(text.get_text() for text in texts(drawn[0]))
    assert "mini, small: maps of the baseline" in words and "n=80, oracle-per-iou." in words
    figure = drawn[0]
    figure.draw_without_rendering()
    found = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in texts(figure)]
    assert not [(a, b) for (a, one), (b, other) in combinations(found, 2) if one.overlaps(other)]


def test_threshold_curves_alone_are_the_same_bytes_twice(tmp_path):
    for name in ("one.png", "again.png"):
        threshold_figure("scores", {"AR": made_up()}, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_threshold_curves_of_too_many_methods_or_of_a_broken_view_are_refused():
    with pytest.raises(ValueError, match="0 methods; the figure shows 1 to 6"):
        threshold_figure("none", {}, Path("unused.png"))
    with pytest.raises(ValueError, match="method 'AR': curves is"):
        threshold_figure("broken", {"AR": replace(made_up(), curves=np.zeros((2, 255)))}, Path("unused.png"))
