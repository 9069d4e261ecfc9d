from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vitol.boxes import boxes_at, score_map
from vitol.failures import CATEGORIES, FAILURES, failures, overlaps_with, predicted_boxes
from vitol.rectangles import iou_matrix
from vitol.views import COLUMNS

SIDE = 24  # of the images of these tests, in pixels


def boxes_in(x0: int, y0: int, x1: int, y1: int) -> st.SearchStrategy[list[int]]:
    """Boxes of whole corners inside another one."""

    def ends(low: int, high: int) -> st.SearchStrategy[list[int]]:
        return st.lists(st.integers(low, high), min_size=2, max_size=2).map(sorted)

    return st.tuples(ends(x0, x1), ends(y0, y1)).map(lambda b: [b[0][0], b[1][0], b[0][1], b[1][1]])


BOXES = boxes_in(0, 0, SIDE - 1, SIDE - 1)


def pixels(box: list[int]) -> set[tuple[int, int]]:
    """The pixels of a box of inclusive corners."""
    return {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}


def category_by_pixels(box: list[int], truth: list[list[int]]) -> str:
    """The definitions word by word, counting pixels, in exact fractions."""
    predicted, objects = pixels(box), [pixels(each) for each in truth]
    ious = [Fraction(len(predicted & each), len(predicted | each)) for each in objects]
    nearest = objects[ious.index(max(ious))]
    if max(ious) >= Fraction(1, 2):
        return "right"
    if sum(Fraction(len(predicted & each), len(each)) > Fraction(3, 10) for each in objects) >= 2:
        return "multi"
    if Fraction(len(predicted & nearest), len(predicted)) > Fraction(1, 2):
        return "part"
    if Fraction(len(predicted & nearest), len(nearest)) >= Fraction(7, 10):
        return "more"
    return "other"


def category(box: list[int], *truth: list[int]) -> str:
    return failures(np.array([box]), [np.array(truth)]).categories[0]


def meets(box: list[int], *truth: list[int]) -> list[str]:
    found = failures(np.array([box]), [np.array(truth)]).meets[0]
    return [name for name, met in zip(FAILURES, found, strict=True) if met]


@given(BOXES, st.lists(BOXES, min_size=1, max_size=4))
def test_categories_equal_those_counted_pixel_by_pixel(box, truth):
    assert category(box, *truth) == category_by_pixels(box, truth)


@given(BOXES, st.lists(BOXES, min_size=1, max_size=4))
def test_overlaps_equal_those_counted_pixel_by_pixel_and_the_scorers_iou(box, truth):
    overlaps = overlaps_with(np.array(box), np.array(truth))
    predicted = pixels(box)
    for at, each in enumerate(map(pixels, truth)):
        shared = len(predicted & each)
        assert overlaps.iou[at] == shared / len(predicted | each)
        assert overlaps.iog[at] == shared / len(each) and overlaps.iop[at] == shared / len(predicted)
    assert np.array_equal(overlaps.iou, iou_matrix([box], truth)[0])


@given(st.data())
def test_a_box_inside_the_only_object_is_right_or_part(data):
    truth = data.draw(BOXES)
    box = data.draw(boxes_in(*truth))
    found = category(box, truth)
    assert found in ("right", "part")
    assert meets(box, truth) == (["part"] if found == "part" else [])


@given(st.data())
def test_a_box_around_the_only_object_is_right_or_more(data):
    box = data.draw(BOXES)
    truth = data.draw(boxes_in(*box))
    found = category(box, truth)
    assert found in ("right", "more")
    assert meets(box, truth) == (["more"] if found == "more" else [])


@given(BOXES, BOXES)
def test_one_object_is_never_multi(box, truth):
    assert category(box, truth) != "multi" and "multi" not in meets(box, truth)


@given(st.lists(st.tuples(BOXES, st.lists(BOXES, min_size=1, max_size=3)), min_size=1, max_size=8))
def test_shares_sum_to_the_whole_and_meeting_a_definition_is_never_rarer_than_its_category(cases):
    found = failures(np.array([box for box, _ in cases]), [np.array(truth) for _, truth in cases])
    shares = found.shares()
    assert tuple(shares) == CATEGORIES and np.isclose(sum(shares.values()), 100)
    for name, met in zip(FAILURES, found.meets.T, strict=True):
        assert 100 * met.mean() >= shares[name] - 1e-9
    # What is right fails in no way, and what fails in no way is right or other.
    assert [not any(row) for row in found.meets] == [c in ("right", "other") for c in found.categories]


@given(BOXES, st.lists(BOXES, min_size=2, max_size=4), st.randoms())
def test_the_order_of_the_true_boxes_does_not_matter(box, truth, random):
    # Where two true boxes are equally near, the first decides: left out.
    ious = iou_matrix([box], truth)[0]
    assume(np.count_nonzero(ious == ious.max()) == 1)
    shuffled = random.sample(truth, len(truth))
    assert category(box, *truth) == category(box, *shuffled)


def test_hand_made_cases_of_every_category():
    objects = ([0, 0, 9, 9], [10, 0, 19, 9])  # 10 x 10 pixels each, side by side
    assert category([0, 0, 9, 9], *objects) == "right"
    assert category([2, 2, 5, 5], *objects) == "part"
    assert category([0, 0, 19, 19], objects[0]) == "more"
    assert category([0, 0, 23, 9], *objects) == "multi"
    assert category([0, 12, 9, 19], *objects) == "other"  # beside both
    assert category([5, 5, 14, 14], objects[0]) == "other"  # across the edge: a quarter of each is the other


def test_thresholds_are_met_as_the_sources_have_them():
    truth = [0, 0, 9, 9]
    # IoU of exactly 1/2 is right.
    assert category([0, 0, 9, 4], truth) == "right"
    # IoP of exactly 1/2 is not a part (10 of 20 pixels); one more pixel row of the object makes it one.
    assert category([5, 0, 14, 1], truth) == "other"
    assert category([4, 0, 13, 1], truth) == "part"
    # IoG of exactly 7/10 is more: 70 of 100 pixels, of a box of 210; 69 of 100 are not.
    assert category([0, 3, 9, 23], truth) == "more"
    wide = [0, 0, 99, 0]
    assert (category([0, 0, 69, 2], wide), category([0, 0, 68, 2], wide)) == ("more", "other")
    # IoG of exactly 3/10 of the second object is not multi: 30 of its 100 pixels; 31 are.
    pair = ([0, 0, 9, 9], [100, 0, 199, 0])
    assert meets([0, 0, 129, 9], *pair) == ["more"]
    assert meets([0, 0, 130, 9], *pair) == ["more", "multi"]


def test_an_image_that_meets_several_definitions_is_counted_once_in_the_order_multi_part_more():
    # 70 of 100 pixels covered, 70 of 139 of the box inside.
    assert meets([0, 0, 0, 138], [0, 69, 0, 168]) == ["part", "more"]
    assert category([0, 0, 0, 138], [0, 69, 0, 168]) == "part"
    # A box on two objects that overlap each other.
    nested = ([0, 0, 0, 99], [0, 0, 0, 129])
    assert meets([0, 0, 0, 41], *nested) == ["part", "multi"]
    assert category([0, 0, 0, 41], *nested) == "multi"


def test_the_nearest_object_decides_between_part_and_more():
    # Inside the large object, of which it covers little, and around the small one, which is nearer.
    large, small = [0, 0, 99, 99], [0, 0, 2, 2]
    assert category([0, 0, 4, 4], large, small) == "more"
    assert category([0, 0, 4, 4], large) == "part"


def test_a_box_without_foreground_is_judged_as_the_pixel_that_the_protocol_makes_of_it():
    assert category([0, 0, 0, 0], [5, 5, 9, 9]) == "other"
    assert category([0, 0, 0, 0], [0, 0, 9, 9]) == "part"


def test_the_frame_holds_the_shares_and_the_overlapping_counts():
    predicted = np.array([[0, 0, 9, 9], [2, 2, 5, 5], [0, 0, 0, 138], [0, 0, 19, 19]])
    truths = [np.array([[0, 0, 9, 9]])] * 2 + [np.array([[0, 69, 0, 168]]), np.array([[0, 0, 9, 9]])]
    found = failures(predicted, truths)
    assert found.categories == ("right", "part", "part", "more") and len(found) == 4
    frame = found.frame()
    assert list(frame) == COLUMNS
    one, overlapping = (rows.set_index("group") for _, rows in frame.groupby("view", sort=False))
    assert one["value"].to_dict() == found.shares() == dict(zip(CATEGORIES, [25, 50, 25, 0, 0], strict=True))
    assert overlapping["value"].to_dict() == {"part": 50, "more": 50, "multi": 0}
    assert (frame["n_images"] == 4).all()
    assert np.allclose(frame["mean_iou"], (1 + 0.16 + 70 / 169 + 0.25) / 4)


def test_the_share_of_right_is_the_accuracy_of_the_largest_contour_at_that_threshold():
    rng = np.random.default_rng(3)
    maps = rng.random((20, 7, 7)) ** 3
    truths = [np.array([[40, 40, 180, 170], [0, 0, 90, 90]]) for _ in maps]
    predicted = predicted_boxes(maps, 0.3)
    best = [iou_matrix(box[None], truth).max() for box, truth in zip(predicted, truths, strict=True)]
    found = failures(predicted, truths)
    assert np.array_equal(found.ious, best)
    assert found.shares()["right"] == 100 * np.mean(np.array(best) >= 0.5)


def test_predicted_boxes_are_those_of_the_largest_contour_of_maps_of_any_size():
    rng = np.random.default_rng(5)
    maps = [rng.random((14, 14)), rng.random((7, 9)), np.zeros((4, 4))]
    found = predicted_boxes(maps, 0.6)
    assert found.dtype == np.int64
    for image, box in enumerate(found):
        assert np.array_equal(box, boxes_at(score_map(maps[image]), 0.6, "largest")[0])
    assert found[2].tolist() == [0, 0, 0, 0]


def test_maps_may_be_read_one_by_one():
    class Lazy:
        """Counts how many maps are held at once."""

        def __len__(self) -> int:
            return 3

        def __getitem__(self, image: int) -> np.ndarray:
            if not 0 <= image < 3:
                raise AssertionError(f"map {image} asked for")
            return np.eye(5) * (image + 1)

    assert np.array_equal(predicted_boxes(Lazy(), 0.5), predicted_boxes([np.eye(5)] * 3, 0.5))


def test_a_map_with_nan_is_refused_by_name_or_scored_as_the_reference_does():
    maps = [np.eye(3), np.full((3, 3), np.nan)]
    with pytest.raises(ValueError, match="image b.jpg: 9 of the localization map's 9 values are NaN"):
        predicted_boxes(maps, 0.5, names=["a.jpg", "b.jpg"])
    with pytest.raises(ValueError, match="image 1: 9 of"):
        predicted_boxes(maps, 0.5)
    assert predicted_boxes(maps, 0.5, reference_nan=True)[1].tolist() == [0, 0, 0, 0]


def test_every_bad_argument_is_refused_in_words():
    box, truth = np.array([[0, 0, 5, 5]]), np.array([[0, 0, 5, 5]])
    with pytest.raises(ValueError, match="0 maps; give at least one map"):
        predicted_boxes([], 0.5)
    with pytest.raises(ValueError, match="1 maps and 2 names; give at least one map"):
        predicted_boxes([np.eye(3)], 0.5, names=["a", "b"])
    with pytest.raises(ValueError, match=r"threshold 1.5 is outside \[0, 1\]"):
        predicted_boxes([np.eye(3)], 1.5)
    with pytest.raises(ValueError, match=r"predicted has shape \(0,\), for ground truth of 0 images;"):
        failures(np.array([]), [])
    with pytest.raises(ValueError, match=r"predicted has shape \(1, 4\), for ground truth of 2 images;"):
        failures(box, [truth, truth])
    with pytest.raises(ValueError, match=r"ground truth of 1 images and 2 names; give one box"):
        failures(box, [truth], names=["a", "b"])
    with pytest.raises(
        ValueError, match=r"image a.jpg: the true boxes have shape \(0, 4\); needed: \(k, 4\)"
    ):
        failures(box, [np.empty((0, 4))], names=["a.jpg"])
    with pytest.raises(ValueError, match=r"image 0: the true boxes have shape \(4,\)"):
        failures(box, [truth[0]])
    with pytest.raises(ValueError, match=r"image 0: a true box is \(9, 9, 2, 2\); boxes are finite .* start"):
        failures(box, [np.array([[0, 0, 5, 5], [9, 9, 2, 2]])])
    with pytest.raises(ValueError, match=r"image 0: the predicted box is \(0, 0, nan, 5\); boxes are finite"):
        failures(np.array([[0, 0, np.nan, 5]]), [truth])
