from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitol.boxes import THRESHOLDS
from vitol.localizations import DELTAS
from vitol.views import (
    BINS,
    BOX_COUNTS,
    COLUMNS,
    SIZES,
    accuracy_over_threshold,
    iou_histogram,
    ious_at,
    object_sizes,
    views_frame,
    wilson_interval,
)

RNG = np.random.default_rng(7)


def curves(n: int = 40) -> np.ndarray:
    return RNG.random((n, 255))


def box(width: float, height: float) -> np.ndarray:
    return np.array([[0, 0, width, height]], dtype=float)


def frame(at: np.ndarray, **changes) -> pd.DataFrame:
    """Views of images of 10 x 10 pixels with one box of 30% of the image."""
    n = len(at)
    given = {"boxes": [box(5, 6)] * n, "image_sizes": np.full((n, 2), 10), **changes}
    return views_frame(at, **given)


def groups(views: pd.DataFrame, view: str) -> pd.DataFrame:
    return views[views["view"] == view].set_index("group")


def test_a_threshold_reads_the_column_of_the_foreground_it_gives():
    ious = curves(3)
    levels = np.arange(256)  # a score map that reaches 1 holds any of these levels
    for threshold in (*THRESHOLDS[::37], 0.999, 1 / 255, 0.2, 0.21):
        cut = int(np.flatnonzero(levels > int(threshold * 255))[0]) - 1
        assert np.array_equal(ious_at(ious, threshold), ious[:, cut])


def test_accuracy_over_threshold_counts_images_that_reach_delta():
    ious = np.array([[0.3, 0.7], [0.5, 0.1], [0.29, 0.69], [1.0, 0.0]])
    expected = [[75, 50], [50, 50], [25, 25]]
    assert accuracy_over_threshold(ious).tolist() == expected


def test_accuracy_never_rises_with_delta():
    accuracy = accuracy_over_threshold(curves())
    assert accuracy.shape == (3, 255)
    assert (np.diff(accuracy, axis=0) <= 0).all() and (accuracy >= 0).all() and (accuracy <= 100).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_histogram_holds_every_image_once(values):
    counts = iou_histogram(np.array(values))
    assert counts.shape == (BINS,) and counts.sum() == len(values)
    assert np.array_equal(counts, np.histogram(values, bins=np.arange(BINS + 1) / BINS)[0])


def test_a_bin_holds_its_lower_edge_and_the_last_its_upper_one_too():
    for number in range(BINS):
        assert iou_histogram(np.array([number / BINS]))[number] == 1
    assert iou_histogram(np.array([1.0]))[BINS - 1] == 1


def test_the_wilson_interval_equals_the_roots_of_the_score_test():
    z = 1.959963984540054
    for hits, n in ((1, 5), (3, 10), (7, 9), (50, 300)):
        ends = np.array(wilson_interval(hits, n)) / 100
        # At either end the standardised distance of the observed share is exactly z.
        assert np.allclose(np.abs(hits / n - ends) / np.sqrt(ends * (1 - ends) / n), z, rtol=1e-9)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_the_share_and_is_never_empty(case):
    hits, n = case
    low, high = wilson_interval(hits, n)
    assert 0 <= low <= 100 * hits / n <= high <= 100 and low < high
    mirrored = wilson_interval(n - hits, n)
    assert np.allclose(mirrored, (100 - high, 100 - low), atol=1e-9)


def test_the_wilson_interval_covers_about_95_percent():
    for n, share in ((20, 0.5), (50, 0.2), (300, 0.6)):
        hits = np.random.default_rng(n).binomial(n, share, 4000)
        ends = np.array([wilson_interval(int(count), n) for count in hits]) / 100
        assert 0.925 < ((ends[:, 0] <= share) & (share <= ends[:, 1])).mean() < 0.975


def test_a_share_of_nothing_is_an_error():
    for hits, n in ((1, 0), (4, 3), (-1, 3)):
        with pytest.raises(ValueError, match=f"{hits} of {n} images is no share; give 0 <= hits"):
            wilson_interval(hits, n)


def test_sizes_are_of_the_largest_box_as_a_fraction_of_the_image():
    sizes = np.array([[10, 10]] * 6 + [[20, 5]])
    boxes = [
        box(3, 3),
        box(1, 10),
        box(5, 5),
        box(5, 10),
        box(10, 10),
        np.array([[0.0, 0, 1, 1], [0, 0, 5, 6]]),
    ]
    boxes.append(box(20, 1))
    expected = ["0-10%", "10-25%", "25-50%", "50-100%", "50-100%", "25-50%", "10-25%"]
    assert object_sizes(boxes, sizes) == expected
    assert SIZES == ("0-10%", "10-25%", "25-50%", "50-100%")


def test_the_frame_gives_hand_counted_groups():
    at = np.array([0.2, 0.6, 0.5, 0.9])
    boxes = [box(1, 1), box(5, 6), np.repeat(box(5, 6), 2, axis=0), np.repeat(box(5, 6), 5, axis=0)]
    views = frame(
        at, boxes=boxes, labels=np.array([2, 0, 0, 2]), class_names=["cat", "dog", "fox"], subsets="baab"
    )
    assert list(views) == COLUMNS
    order = ["iou at least", "iou histogram", "object size", "boxes", "class", "subset"]
    assert list(views["view"].unique()) == order
    assert groups(views, "iou at least")["value"].tolist() == [75, 75, 25]
    assert groups(views, "iou histogram")["value"].sum() == 100
    assert groups(views, "iou histogram").loc["0.90-0.95", "value"] == 25
    assert groups(views, "iou histogram").loc["0.60-0.65", "value"] == 25
    sizes = groups(views, "object size")
    assert sizes.index.tolist() == ["0-10%", "25-50%"]
    assert sizes["n_images"].tolist() == [1, 3] and sizes["value"].tolist() == [0, 100]
    assert np.allclose(sizes["mean_iou"], [0.2, 2 / 3])
    counts = groups(views, "boxes")
    assert counts.index.tolist() == list(BOX_COUNTS) and counts["n_images"].tolist() == [2, 1, 1]
    assert counts["value"].tolist() == [50, 100, 100]
    classes = groups(views, "class")
    assert classes.index.tolist() == ["cat", "fox"] and classes["value"].tolist() == [100, 50]
    assert groups(views, "subset").index.tolist() == ["b", "a"]
    low, high = wilson_interval(1, 2)
    assert classes.loc["fox", ["ci_low", "ci_high"]].tolist() == [low, high]


def test_groups_of_a_view_are_a_partition_of_the_images():
    n = 60
    rng = np.random.default_rng(1)
    boxes = [
        np.concatenate([box(*rng.uniform(1, 10, 2)) for _ in range(rng.integers(1, 5))]) for _ in range(n)
    ]
    at = rng.random(n)
    subsets = rng.choice(["part", "multi"], n).tolist()
    views = frame(at, boxes=boxes, labels=rng.integers(0, 4, n), subsets=subsets)
    for view in ("object size", "boxes", "class", "subset"):
        rows = groups(views, view)
        assert rows["n_images"].sum() == n
        assert np.isclose((rows["n_images"] * rows["value"]).sum() / n, 100 * (at >= 0.5).mean())
        assert np.isclose((rows["n_images"] * rows["mean_iou"]).sum() / n, at.mean())
    assert (views["ci_low"] <= views["value"]).all() and (views["value"] <= views["ci_high"]).all()


def test_views_of_the_whole_split_agree_with_the_histogram_and_the_curves():
    ious = curves()
    at = ious_at(ious, 0.4)
    views = frame(at)
    assert np.allclose(groups(views, "iou histogram")["value"], 100 * iou_histogram(at) / len(at))
    column = accuracy_over_threshold(ious)[:, int(0.4 * 255)]
    assert np.allclose(groups(views, "iou at least")["value"], column)
    assert groups(views, "iou at least").index.tolist() == [str(delta) for delta in DELTAS]


def test_views_that_nothing_is_known_for_are_left_out():
    assert not {"class", "subset"} & set(frame(np.array([0.5]))["view"])


def test_classes_of_the_same_name_stay_apart():
    views = frame(np.array([0.1, 0.9]), labels=[0, 2], class_names=["crane", "dog", "crane"])
    classes = groups(views, "class")
    assert classes.index.tolist() == ["crane (0)", "crane (2)"] and classes["value"].tolist() == [0, 100]


def test_classes_without_names_are_called_by_their_label_and_sorted_as_numbers():
    views = frame(np.array([0.1, 0.9, 0.9]), labels=np.array([10, 9, 10]))
    assert groups(views, "class").index.tolist() == ["9", "10"]


def test_every_bad_argument_is_refused_in_words():
    good = np.array([0.5, 0.6])
    with pytest.raises(ValueError, match=r"ious has shape \(2, 1000\); needed: \(n, 255\)"):
        ious_at(np.zeros((2, 1000)), 0.1)
    for threshold in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"is outside \[0, 1\); thresholds are fractions"):
            ious_at(np.zeros((2, 255)), threshold)
    with pytest.raises(ValueError, match=r"IoUs have shape \(2,\); needed: \(n, L\), a curve"):
        accuracy_over_threshold(good)
    with pytest.raises(ValueError, match=r"IoUs have shape \(0,\); needed: \(n,\), one an image"):
        iou_histogram(np.array([]))
    for wrong in (1.1, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"image 1 has an IoU outside \[0, 1\]"):
            iou_histogram(np.array([0.5, wrong]))
    with pytest.raises(ValueError, match=r"2 images, but 1 arrays of boxes, image_sizes \(2, 2\); every"):
        frame(good, boxes=[box(5, 5)])
    with pytest.raises(ValueError, match=r"2 images, but 2 arrays of boxes, image_sizes \(3, 2\)"):
        frame(good, image_sizes=np.ones((3, 2)))
    with pytest.raises(ValueError, match="1 labels, 3 subsets; every image needs one of each"):
        frame(good, labels=[0], subsets=["a", "b", "c"])
    with pytest.raises(ValueError, match="image 1 has no box; leave images without boxes out"):
        frame(good, boxes=[box(5, 5), np.empty((0, 4))])
    with pytest.raises(
        ValueError, match="labels from 0 to 3, but 2 class names; give the name of every class"
    ):
        frame(good, labels=[0, 3], class_names=["cat", "dog"])
