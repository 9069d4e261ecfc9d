from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import drawn_by
from matplotlib.figure import Figure

from vitol import overlays
from vitol.overlays import Overlay, overlay_figure


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return drawn_by(overlays, monkeypatch)


def picture(**changes) -> Overlay:
    heat = np.zeros((14, 14))
    heat[3:6, 8:11] = 1
    parts = {
        "image": np.full((60, 80, 3), 128, np.uint8),
        "title": "a bird",
        "localization_map": heat,
        "gt_boxes": np.array([[40, 10, 70, 30]]),
        "predicted_boxes": np.array([[5, 35, 30, 55]]),
    }
    return Overlay(**(parts | changes))


def test_an_overlay_shows_ground_truth_green_and_prediction_red_where_they_are(drawn):
    overlay_figure([picture(), picture(localization_map=None)], Path("unused.png"), columns=2)
    axes, bare = drawn[0].axes
    green, red = axes.patches
    assert green.get_bbox().extents.tolist() == [40, 10, 70, 30] and green.get_edgecolor()[1] > 0.8
    assert red.get_bbox().extents.tolist() == [5, 35, 30, 55] and red.get_edgecolor()[:3] == (1, 0, 0)
    heat = axes.images[1].get_array()
    assert heat.shape == (60, 80) and heat.min() >= 0 and heat.max() <= 1
    y, x = np.unravel_index(np.argmax(heat), heat.shape)
    assert 13 <= y <= 26 and 45 <= x <= 63  # the hot cells stretched over the image
    assert len(bare.images) == 1 and axes.get_title() == "a bird"


def test_overlays_of_any_shape_are_laid_out_row_by_row(tmp_path):
    shown = [picture(title=str(at), image=np.zeros((40 + 10 * at, 50, 3), np.uint8)) for at in range(5)]
    overlay_figure(shown, tmp_path / "overlay.png", columns=2)
    image = cv2.imread(str(tmp_path / "overlay.png"))
    assert image.shape[0] > image.shape[1]  # three rows of two


def test_a_row_of_overlays_is_as_high_as_its_highest_image_and_no_higher_than_wide(drawn):
    shapes = [(20, 80), (40, 80), (80, 80), (300, 80)]
    shown = [picture(image=np.zeros((*shape, 3), np.uint8)) for shape in shapes]
    overlay_figure(shown, Path("unused.png"), columns=2, column_width=3)
    np.testing.assert_allclose(drawn[0].get_size_inches(), (6, 1.38 + 2.76 + 2 * 0.4))
    sizes = [axes.get_position().size * drawn[0].get_size_inches() for axes in drawn[0].axes]
    np.testing.assert_allclose(sizes, [(2.76, 0.69), (2.76, 1.38), (2.76, 2.76), (0.736, 2.76)])


def test_a_dollar_in_a_name_is_no_formula(tmp_path):
    overlay_figure([picture(title=r"$\nonsense{$ 50%")], tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").is_file()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"image": np.zeros((60, 80), np.uint8)}, r"overlays\[1\].image is \(60, 80\) uint8; needed"),
        ({"image": np.zeros((60, 80, 3))}, r"overlays\[1\].image is \(60, 80, 3\) float64"),
        ({"image": np.zeros((0, 80, 3), np.uint8)}, r"overlays\[1\].image is \(0, 80, 3\) uint8; needed"),
        (
            {"localization_map": np.full((14, 14), 1.5)},
            r"overlays\[1\].localization_map is not a \(h, w\) map",
        ),
        ({"localization_map": np.full((14, 14), np.nan)}, r"overlays\[1\].localization_map is not"),
        ({"localization_map": np.zeros(196)}, r"overlays\[1\].localization_map is not"),
    ],
)
def test_a_wrong_overlay_is_refused_with_its_place(changes, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        overlay_figure([picture(), picture(**changes)], tmp_path / "overlay.png")


def test_no_overlay_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no overlay to show"):
        overlay_figure([], tmp_path / "overlay.png")


def test_the_same_overlays_give_the_same_bytes_and_another_caption_gives_others(tmp_path):
    one, again, other = (tmp_path / name for name in ("one.png", "again.png", "other.png"))
    for path in (one, again):
        overlay_figure([picture()], path, caption="n=1")
    overlay_figure([picture()], other, caption="n=2")
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("width", [1.5, 1.9, 5.0])
def test_a_caption_stands_below_the_images_and_inside_the_figure(width, drawn):
    caption = "mini (test, n=1000), small, seed 0, $50% of MAXIMUM WIDTH LETTERS WWWW. " * 4
    overlay_figure([picture(), picture()], Path("unused.png"), columns=2, column_width=width, caption=caption)
    figure = drawn[0]
    figure.draw_without_rendering()
    (text,) = figure.texts
    assert " ".join(text.get_text().split()) == caption.strip()
    box = text.get_window_extent()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width
    assert all(box.y1 <= axes.get_window_extent().y0 for axes in figure.axes)


@pytest.mark.parametrize("width", [1.1, 1.9])
def test_a_title_keeps_to_its_column_and_a_short_one_is_not_made_smaller(width, drawn):
    titles = ["AR", "Relevance rollout", "Yellow_breasted_Chat 97.3% LRP", ""]
    shown = [picture(title=title) for title in titles]
    overlay_figure(shown, Path("unused.png"), columns=4, column_width=width)
    figure = drawn[0]
    figure.draw_without_rendering()
    for at, axes in enumerate(figure.axes):
        box = axes.title.get_window_extent()
        column = figure.bbox.width / 4
        assert at * column - 1 <= box.x0 and box.x1 <= (at + 1) * column + 1
    assert figure.axes[0].title.get_fontsize() == 8
