import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol.boxes import DISTINCT_THRESHOLDS, THRESHOLDS, best_ious, best_ious_of_maps, boxes_at, score_map
from vitol.floors import full_image_ious, gaussian_ious
from vitol.rectangles import SIZE, iou_matrix, scale_boxes

GOLDEN = Path(__file__).parent / "data" / "boxes.npz"
KINDS = ["smooth", "noise", "levels", "rings", "whiskers", "diagonals", "frame", "line", "column", "constant"]


def picture(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    """A score map of one kind, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    if kind == "smooth":
        return score_map(rng.random((3, 3)), (width, height))
    if kind == "noise":
        values = rng.random((height, width))
    elif kind == "levels":
        values = rng.integers(0, rng.integers(2, 5), (height, width)) / 4
    elif kind == "rings":
        centre = rng.random(2) * (height, width)
        values = np.hypot(y - centre[0], x - centre[1]).astype(int) % rng.integers(2, 5) / 4
    elif kind == "whiskers":  # holes and borders of equal area, some with lines sticking out of them
        values = np.where(np.minimum(y % 4, x % 4) == 0, rng.integers(1, 4, (height, width)), 0) / 4
        values = values * (rng.random((height, width)) < 0.9)
    elif kind == "diagonals":
        values = ((x + rng.choice([-1, 1]) * y) % rng.integers(2, 5) == 0) * rng.random()
    elif kind == "frame":
        values = (np.minimum.reduce([y, x, height - 1 - y, width - 1 - x]) % 3 == rng.integers(3)) * 0.7
    elif kind == "line":
        values = rng.random((height, width))[:1]
    elif kind == "column":
        values = rng.random((height, width))[:, :1]
    else:
        values = np.full((height, width), rng.choice([0.0, 0.4, 1.0]))
    return values.astype(np.float32)


pictures = st.builds(
    picture, st.sampled_from(KINDS), st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6)
)
corners = st.lists(st.tuples(*[st.integers(0, 24)] * 4), min_size=1, max_size=3).map(
    lambda boxes: [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes]
)


def check_against_the_evaluator(golden: np.lib.npyio.NpzFile) -> None:
    assert np.array_equal(golden["thresholds"], THRESHOLDS)
    arrays = {name: golden[name] for name in golden.files}
    for case, name in enumerate(arrays["names"]):
        truth = arrays["boxes"][case, : arrays["num_boxes"][case]]
        curves = best_ious(arrays["scoremaps"][case], truth)
        np.testing.assert_allclose(
            curves.all, arrays["iou_all_contours"][case], rtol=0, atol=1e-12, err_msg=name
        )
        np.testing.assert_allclose(
            curves.largest, arrays["iou_largest_contour"][case], rtol=0, atol=1e-12, err_msg=name
        )


def test_every_iou_equals_the_reference_evaluators() -> None:
    with np.load(GOLDEN, allow_pickle=False) as golden:
        check_against_the_evaluator(golden)


def test_every_iou_equals_the_reference_evaluators_on_all_its_maps(shared: Path) -> None:
    with np.load(shared / "golden" / "boxes.npz", allow_pickle=False) as golden:
        check_against_the_evaluator(golden)


@settings(max_examples=150, deadline=None)
@given(pictures, corners)
def test_both_curves_equal_a_thousand_separate_thresholds(score: np.ndarray, truth: list) -> None:
    curves = best_ious(score, np.array(truth))
    assert curves.all.tolist() == reference.best_ious(score, truth, largest=False)
    assert curves.largest.tolist() == reference.best_ious(score, truth, largest=True)


@settings(max_examples=100, deadline=None)
@given(pictures, st.floats(0, 1))
def test_contours_are_components_and_holes(score: np.ndarray, threshold: float) -> None:
    levels = (score * 255).astype(np.uint8)
    expected = reference.flooded_boxes(levels > int(threshold * levels.max()))
    assert sorted(map(tuple, boxes_at(score, threshold).tolist())) == sorted(expected)


@settings(max_examples=30, deadline=None)
@given(pictures, corners, st.integers(0, 999))
def test_the_curves_are_the_best_over_the_boxes_of_their_threshold(
    score: np.ndarray, truth: list, index: int
) -> None:
    curves = best_ious(score, np.array(truth))
    for contours, curve in (("all", curves.all), ("largest", curves.largest)):
        found = boxes_at(score, THRESHOLDS[index], contours)
        assert curve[index] == iou_matrix(found, np.array(truth)).max()


def test_a_rectangle_gives_a_box_one_pixel_larger_on_the_far_side() -> None:
    score = np.zeros((20, 30), np.float32)
    score[4:8, 10:15] = 1
    assert boxes_at(score, 0.5).tolist() == [[10, 4, 15, 8]]
    curve = best_ious(score, np.array([[10, 4, 14, 7]])).all
    assert (curve == 5 * 4 / (6 * 5)).all()


def test_a_box_is_clamped_to_the_map() -> None:
    score = np.zeros((20, 30), np.float32)
    score[15:, 25:] = 1
    assert boxes_at(score, 0.5).tolist() == [[25, 15, 29, 19]]


def test_a_hole_gives_the_box_of_the_pixels_around_it() -> None:
    score = np.zeros((30, 30), np.float32)
    score[5:20, 5:20] = 1
    score[10:12, 8:13] = 0
    assert sorted(boxes_at(score, 0.5).tolist()) == [[5, 5, 20, 20], [7, 9, 14, 13]]
    assert boxes_at(score, 0.5, "largest").tolist() == [[5, 5, 20, 20]]
    curves = best_ious(score, np.array([[7, 9, 14, 13]]))
    assert (curves.all == 1).all()
    assert (curves.largest == 8 * 5 / (16 * 16)).all()


def test_the_largest_contour_is_the_one_of_the_largest_enclosed_area() -> None:
    score = np.zeros((30, 30), np.float32)
    np.fill_diagonal(score[:20, :20], 1)  # the widest box, but no area
    score[22:26, 2:6] = 1
    assert boxes_at(score, 0.5, "largest").tolist() == [[2, 22, 6, 26]]


def test_foreground_lies_strictly_above_the_truncated_threshold() -> None:
    score = (np.array([[100, 101, 200]]) / 255 + 1e-4).astype(np.float32)
    assert boxes_at(score, 0.5).tolist() == [[1, 0, 2, 0]]  # int(0.5 * 200) = 100 leaves 101 in
    assert boxes_at(score, 0.506).tolist() == [[2, 0, 2, 0]]  # int(0.506 * 200) = 101 does not


def test_a_map_without_foreground_gives_the_corner_pixel() -> None:
    score = np.zeros((SIZE, SIZE), np.float32)
    assert boxes_at(score, 0.0).tolist() == [[0, 0, 0, 0]]
    assert (best_ious(score, np.array([[0, 0, 3, 3]])).all == 1 / 16).all()


@given(corners, corners)
def test_iou_of_every_pair_equals_the_literal_one(a: list, b: list) -> None:
    expected = [[reference.iou(left, right) for right in b] for left in a]
    assert iou_matrix(np.array(a), np.array(b)).tolist() == expected


def test_iou_counts_both_corners() -> None:
    assert iou_matrix([[0, 0, 9, 9]], [[5, 5, 14, 14], [10, 0, 19, 9], [3, 3, 3, 3]]).tolist() == [
        [25 / 175, 0.0, 0.01]
    ]


@given(
    st.lists(st.tuples(*[st.floats(0, 500)] * 4), min_size=1, max_size=4),
    st.integers(500, 700),
    st.integers(500, 700),
)
def test_ground_truth_is_multiplied_then_divided_then_truncated(boxes: list, width: int, height: int) -> None:
    ordered = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes]
    expected = [list(reference.scaled(box, width, height, SIZE)) for box in ordered]
    assert scale_boxes(np.array(ordered), (width, height)).tolist() == expected


def test_scaling_by_a_rounded_factor_would_give_another_box() -> None:
    x, width = next(
        (x, w) for w in range(50, 300) for x in range(w) if int(x * (SIZE / w)) != int(x * SIZE / w)
    )
    assert scale_boxes(np.array([[x, x, x, x]]), (width, width)).tolist() == [[x * SIZE // width] * 4]


def test_a_box_may_end_at_its_images_width() -> None:
    assert scale_boxes(np.array([[0, 0, 500, 375]]), (500, 375)).tolist() == [[0, 0, SIZE, SIZE]]
    assert scale_boxes(np.zeros((0, 4)), (500, 375)).shape == (0, 4)


def test_a_score_map_spans_zero_to_one_whatever_the_maps_scale_and_offset() -> None:
    values = np.random.default_rng(0).random((14, 14)).astype(np.float32)
    score = score_map(values)
    assert (score.dtype, score.shape, score.min(), score.max()) == (np.float32, (SIZE, SIZE), 0, 1)
    np.testing.assert_allclose(score_map(8 * values - 3), score, atol=1e-5)
    assert score_map(values, (30, 20)).shape == (20, 30)


def test_a_score_map_is_interpolated_with_the_cubic_of_the_protocol() -> None:
    values = np.random.default_rng(0).random((7, 4))
    expected = reference.bicubic(values, width=30, height=40)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(score_map(values, (30, 40)), expected, atol=1e-5)


def test_a_map_on_the_score_maps_grid_is_only_stretched() -> None:
    values = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32)
    stretched = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(score_map(values), stretched, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e-30, 1 + 1e-12])
def test_a_constant_map_becomes_all_zeros(value: float) -> None:
    values = np.full((14, 14), value)
    values[0, 0] = np.float32(value)  # equal in float32, the precision of the protocol
    assert not score_map(values).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_map_that_is_not_finite_is_refused_unless_the_references_zeros_are_asked_for(value: float) -> None:
    values = np.random.default_rng(0).random((14, 14))
    values[3, 5] = values[7, 7] = value
    with pytest.raises(
        ValueError, match=r"2 of the localization map's 196 values are NaN.*\[3, 5\].*reference_nan"
    ):
        score_map(values)
    assert not score_map(values, reference_nan=True).any()
    good = np.arange(4.0).reshape(2, 2)
    assert np.array_equal(score_map(good, reference_nan=True), score_map(good))


@pytest.mark.parametrize("shape", [(196,), (1, 14, 14), (0, 14)])
def test_a_map_of_another_rank_is_reported_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"shape {re.escape(str(shape))}; pass one map"):
        score_map(np.zeros(shape))


def test_an_upside_down_box_is_reported_with_what_was_probably_meant() -> None:
    message = (
        r"boxes\[1\] = \(9, 9, 2, 2\) ends before it starts; boxes are \(x0, y0, x1, y1\) with inclusive "
        r"corners, not \(x, y, width, height\)"
    )
    with pytest.raises(ValueError, match=message):
        scale_boxes(np.array([[0, 0, 5, 5], [9, 9, 2, 2]]), (10, 10))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 1, 1], [0, np.nan, 5, 5]], r"boxes\[1\] = \(0, nan, 5, 5\) is not finite"),
        ([[0, 0, 5, np.inf]], r"boxes\[0\] = \(0, 0, 5, inf\) is not finite"),
        ([[0, 0, 10.5, 5]], r"boxes\[0\] = \(0, 0, 10.5, 5\) leaves its image of 10 x 8 pixels"),
        ([[0, -1, 5, 5]], r"boxes\[0\] = \(0, -1, 5, 5\) leaves its image"),
        ([1, 2, 3, 4], r"boxes has shape \(4,\); expected \(k, 4\)"),
        ([[1, 2, 3]], r"boxes has shape \(1, 3\)"),
    ],
)
def test_a_bad_box_is_reported_with_its_index_and_values(boxes: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scale_boxes(np.array(boxes), (10, 8))


@pytest.mark.parametrize("image_size", [(0, 10), (10,), (np.nan, 10), (-5, 5)])
def test_an_image_size_that_is_none_is_reported(image_size: tuple) -> None:
    with pytest.raises(ValueError, match=r"is not a \(width, height\) of positive pixel counts"):
        scale_boxes(np.array([[0, 0, 1, 1]]), image_size)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (np.full((4, 5), 2.0), r"shape \(4, 5\) and values from 2.0 to 2.0; pass \(H, W\) in \[0, 1\]"),
        (np.array([[0.5, np.nan]]), r"shape \(1, 2\) and values from nan to nan"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\); pass"),
    ],
)
def test_what_is_no_score_map_is_refused(score: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_ious(score, np.array([[0, 0, 1, 1]]))
    with pytest.raises(ValueError, match=message):
        boxes_at(score, 0.5)


def test_a_threshold_or_a_choice_of_contours_that_does_not_exist_is_refused() -> None:
    score = np.zeros((4, 4), np.float32)
    for threshold in (50, -0.1, np.nan):
        with pytest.raises(ValueError, match=rf"threshold {threshold} is outside \[0, 1\]"):
            boxes_at(score, threshold)
    with pytest.raises(ValueError, match="contours is 'biggest'; choose 'all'"):
        boxes_at(score, 0.5, "biggest")  # type: ignore[arg-type]


def test_ground_truth_must_exist_and_be_boxes() -> None:
    score = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="there is no ground-truth box; leave images without boxes out"):
        best_ious(score, np.zeros((0, 4)))
    with pytest.raises(ValueError, match=r"gt_boxes\[0\] = \(3, 3, 2, 2\) ends before it starts"):
        best_ious(score, np.array([[3, 3, 2, 2]]))
    with pytest.raises(ValueError, match=r"gt_boxes\[1\] = \(0, 0.5, 2, 2\) is not in whole pixels"):
        best_ious(score, np.array([[0, 0, 1, 1], [0, 0.5, 2, 2]]))


def some_images(n: int = 6) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(100, 400, (n, 2))
    boxes = [np.sort(rng.random((1 + i % 3, 2, 2)), axis=1).reshape(-1, 4) for i in range(n)]
    return (
        rng.random((n, 5, 5)),
        sizes,
        [box * np.tile(size, 2) for box, size in zip(boxes, sizes, strict=True)],
    )


def test_curves_of_a_set_are_the_curves_of_its_images_with_any_number_of_workers() -> None:
    maps, sizes, boxes = some_images()
    calls: list[int] = []
    one = best_ious_of_maps(maps, sizes, boxes, workers=1, progress=lambda: calls.append(1))
    for i in range(len(maps)):
        alone = best_ious(score_map(maps[i]), scale_boxes(boxes[i], sizes[i]))
        cuts = (THRESHOLDS * 255).astype(int)  # a map's distinct thresholds hold all of the thousand
        assert np.array_equal(one.all[i, cuts], alone.all)
        assert np.array_equal(one.largest[i, cuts], alone.largest)
    assert len(calls) == len(maps)
    assert one.all.shape == one.largest.shape == (len(maps), 255)
    for workers in (3, None):
        many = best_ious_of_maps(list(maps), sizes, boxes, workers=workers)
        assert np.array_equal(many.all, one.all)
        assert np.array_equal(many.largest, one.largest)
    without = best_ious_of_maps(maps, sizes, boxes, largest=False)
    assert np.array_equal(without.all, one.all)
    assert np.isnan(without.largest).all()


def test_distinct_thresholds_are_the_lowest_of_each_cut_of_a_full_range() -> None:
    cuts = (THRESHOLDS * 255).astype(int)
    assert DISTINCT_THRESHOLDS.tolist() == [THRESHOLDS[np.flatnonzero(cuts == cut)[0]] for cut in range(255)]
    assert (DISTINCT_THRESHOLDS * 255).astype(int).tolist() == list(range(255))


def test_an_error_in_a_set_names_the_image() -> None:
    maps, sizes, boxes = some_images()
    maps[4, 0, 0] = np.nan
    with pytest.raises(ValueError, match="image 4: 1 of the localization map's 25 values"):
        best_ious_of_maps(maps, sizes, boxes)
    assert best_ious_of_maps(maps, sizes, boxes, reference_nan=True).all[4].std() == 0
    boxes[3] = np.array([[9, 9, 2, 2]])
    with pytest.raises(ValueError, match=r"image 3: boxes\[0\] = \(9, 9, 2, 2\) ends before it starts"):
        best_ious_of_maps(maps, sizes, boxes)
    boxes[2] = np.zeros((0, 4))
    for score in (partial(best_ious_of_maps, maps), full_image_ious, gaussian_ious):
        with pytest.raises(ValueError, match="image 2: there is no ground-truth box"):
            score(sizes, boxes)


def test_a_set_whose_parts_differ_in_length_is_refused() -> None:
    maps, sizes, boxes = some_images()
    with pytest.raises(ValueError, match=r"5 images, but boxes of 6 and image_sizes of shape \(6, 2\)"):
        best_ious_of_maps(maps[:5], sizes, boxes)
    with pytest.raises(ValueError, match=r"6 images, but boxes of 6 and image_sizes of shape \(5, 2\)"):
        full_image_ious(sizes[:5], boxes)
    with pytest.raises(ValueError, match=r"0 images, .*; give at least one image"):
        best_ious_of_maps(maps[:0], sizes[:0], [])
    with pytest.raises(ValueError, match="workers is 0; give at least 1"):
        best_ious_of_maps(maps, sizes, boxes, workers=0)
