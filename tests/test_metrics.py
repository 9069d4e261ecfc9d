import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol import metrics
from vitol.boxes import THRESHOLDS
from vitol.metrics import DELTAS, Measurement, bootstrap_maxima, max_box_acc, max_box_acc_v2, measure

ORDER = [
    "MaxBoxAccV2",
    "IoU30",
    "IoU50",
    "IoU70",
    "GTKnownLoc",
    "GTKnownLocV1",
    "PredictedLoc",
    "Top1Loc",
    "Top1Cls",
]

# Four images, three thresholds. Right at IoU 0.3: 3, 4, 2 images; at 0.5: 2, 3, 2; at 0.7: 0, 1, 2.
HAND = np.array([[0.5, 0.6, 0.1], [0.3, 0.5, 0.2], [0.6, 0.4, 0.7], [0.1, 0.7, 0.9]])
HAND_THRESHOLDS = np.array([0.2, 0.4, 0.6])


def some_curves(n: int = 30, t: int = 40, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Curves of all contours, of the largest, of the predicted class, and whether the class is right."""
    rng = np.random.default_rng(seed)
    best = np.clip(rng.random((n, 1)) * 1.4 - np.abs(np.linspace(0, 1, t) - rng.random((n, 1))), 0, 1)
    correct = rng.random(n) < 0.7
    predicted = np.where(correct[:, None], best, best * 0.5)
    return best, best * rng.random((n, 1)), predicted, correct


def measured(curves: tuple[np.ndarray, ...], **options: int) -> dict[str, Measurement]:
    grid = np.linspace(0, 1, curves[0].shape[1])
    return {m.metric: m for m in measure(*curves, thresholds=grid, **{"replicates": 50, **options})}


def test_max_box_acc_counted_by_hand() -> None:
    assert [max_box_acc(HAND, delta) for delta in DELTAS] == [100.0, 75.0, 50.0]
    assert max_box_acc_v2(HAND) == 75.0


def test_every_metric_counted_by_hand() -> None:
    largest = HAND * [[1], [1], [0], [0]]
    correct = np.array([True, True, True, False])
    predicted = np.array([[0.0, 0.6, 0.5], [0.0, 0.0, 0.5], [0.5, 0.0, 0.5], [1.0, 1.0, 1.0]])
    found = measure(HAND, largest, predicted, correct, replicates=10, thresholds=HAND_THRESHOLDS)
    assert [(m.metric, m.value, m.threshold) for m in found] == [
        ("MaxBoxAccV2", 75.0, None),
        ("IoU30", 100.0, 0.4),
        ("IoU50", 75.0, 0.4),
        ("IoU70", 50.0, 0.6),
        ("GTKnownLoc", 75.0, 0.4),
        ("GTKnownLocV1", 50.0, 0.4),
        ("PredictedLoc", 100.0, 0.6),
        ("Top1Loc", 50.0, 0.2),  # 0.4 gives as many: the lower threshold is named
        ("Top1Cls", 75.0, None),
    ]
    assert {m.policy for m in found[:-1]} == {"oracle-per-iou"}
    assert found[-1].policy == ""
    assert {m.n_images for m in found} == {4}


def test_an_iou_equal_to_delta_is_right() -> None:
    for delta, iou in ((0.3, 3 / 10), (0.5, 1 / 2), (0.7, 7 / 10)):
        assert max_box_acc(np.array([[iou]]), delta) == 100
        assert max_box_acc(np.array([[np.nextafter(iou, 0)]]), delta) == 0


def test_the_threshold_is_chosen_for_each_iou_by_itself() -> None:
    one_for_all = max(np.mean([(HAND[:, t] >= delta).mean() for delta in DELTAS]) for t in range(3))
    assert max_box_acc_v2(HAND) > 100 * one_for_all


def test_top1_loc_chooses_its_own_threshold() -> None:
    ious = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    found = measured((ious, ious, ious, np.array([True, False, False])))
    assert found["GTKnownLoc"].threshold == 1.0
    assert (found["Top1Loc"].value, found["Top1Loc"].threshold) == (pytest.approx(100 / 3), 0.0)


def test_metrics_come_as_far_as_their_inputs_go() -> None:
    best, largest, predicted, correct = some_curves()
    grid = {"thresholds": np.linspace(0, 1, best.shape[1]), "replicates": 5}
    assert [m.metric for m in measure(best, **grid)] == ORDER[:5]
    assert [m.metric for m in measure(best, largest, **grid)] == ORDER[:6]
    assert [m.metric for m in measure(best, largest, predicted, **grid)] == ORDER[:7]
    assert [m.metric for m in measure(best, correct=correct, **grid)] == [*ORDER[:5], "Top1Loc", "Top1Cls"]
    assert [m.metric for m in measure(best, largest, predicted, correct, **grid)] == ORDER


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_the_order_and_the_repetition_of_images_change_no_value(n: int, seed: int) -> None:
    curves = some_curves(n, seed=seed)
    values = {name: m.value for name, m in measured(curves, replicates=1).items()}
    order = np.random.default_rng(seed).permutation(n)
    for rows in (order, np.repeat(order, 3)):
        again = measured(tuple(curve[rows] for curve in curves), replicates=1)
        assert {name: m.value for name, m in again.items()} == pytest.approx(values, rel=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_metrics_stand_in_their_order(n: int, seed: int) -> None:
    curves = some_curves(n, seed=seed)
    found = measured(curves, replicates=20)
    for pick in (lambda m: m.value, lambda m: m.ci_low, lambda m: m.ci_high):
        assert pick(found["IoU30"]) >= pick(found["IoU50"]) >= pick(found["IoU70"])
        assert pick(found["Top1Loc"]) <= min(pick(found["GTKnownLoc"]), pick(found["Top1Cls"]))
        assert pick(found["GTKnownLoc"]) == pick(found["IoU50"])
        assert pick(found["GTKnownLocV1"]) <= pick(found["GTKnownLoc"])  # its curves lie below
    mean, rounding = found["MaxBoxAccV2"].value, 1e-12  # a mean of three equal numbers may round
    assert found["IoU30"].value + rounding >= mean >= found["IoU70"].value - rounding
    assert found["MaxBoxAccV2"].value == max_box_acc_v2(curves[0])
    assert found["GTKnownLocV1"].value == max_box_acc(curves[1])


def test_top1_loc_is_the_same_for_maps_of_the_ground_truth_and_of_the_predicted_class() -> None:
    best, largest, _, correct = some_curves()
    predicted = np.where(correct[:, None], best, 1 - best)  # one map where the classes are one
    grid = {"thresholds": np.linspace(0, 1, best.shape[1]), "replicates": 50}
    of_label, of_predicted = (
        {m.metric: m for m in measure(curves, largest, predicted, correct, **grid)}
        for curves in (best, predicted)
    )
    assert of_label["Top1Loc"] == of_predicted["Top1Loc"]
    assert of_label["PredictedLoc"] != of_label["GTKnownLoc"]
    assert of_predicted["PredictedLoc"].value == of_predicted["GTKnownLoc"].value


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1000))
def test_the_bootstrap_equals_a_loop_over_the_same_resamples(n: int, t: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = [rng.random((n, columns)) < 0.5 for columns in (t, 1)]
    found = bootstrap_maxima(hits, replicates=15, seed=seed)
    assert found.tolist() == [reference.highest_counts(right, 15, seed) for right in hits]


def test_intervals_are_percentiles_of_replicates_with_the_threshold_chosen_again() -> None:
    best, largest, predicted, correct = some_curves(n=12, t=6)
    found = measured((best, largest, predicted, correct), replicates=40, seed=7)
    right = {
        **{f"IoU{round(100 * delta)}": best >= delta for delta in DELTAS},
        "GTKnownLocV1": largest >= 0.5,
        "Top1Loc": (best >= 0.5) & correct[:, None],
        "Top1Cls": correct[:, None],
    }
    twin = {name: 100 * np.array(reference.highest_counts(hits, 40, 7)) / 12 for name, hits in right.items()}
    twin["MaxBoxAccV2"] = np.mean([twin["IoU30"], twin["IoU50"], twin["IoU70"]], axis=0)
    for name, replicates in twin.items():
        interval = (found[name].ci_low, found[name].ci_high)
        assert interval == pytest.approx(np.percentile(replicates, [2.5, 97.5]), rel=1e-14)


def test_the_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = some_curves()
    whole = measured(curves, replicates=23)
    for draws in (1, 100):  # one resample of 30 images at a time, and three
        monkeypatch.setattr(metrics, "DRAWS_AT_ONCE", draws)
        assert measured(curves, replicates=23) == whole


def test_seeds_give_other_intervals_and_the_same_values() -> None:
    curves = some_curves()
    a, b = measured(curves, seed=0), measured(curves, seed=1)
    assert a == measured(curves, seed=0)
    assert {name: m.value for name, m in a.items()} == {name: m.value for name, m in b.items()}
    assert a["MaxBoxAccV2"].ci_low != b["MaxBoxAccV2"].ci_low


def test_images_that_are_all_alike_leave_no_interval() -> None:
    ious = np.repeat(np.array([[0.2, 0.6, 0.4]]), 9, axis=0)
    found = measured((ious, ious, ious, np.ones(9, bool)))
    assert all(m.ci_low == m.value == m.ci_high for m in found.values())
    assert found["MaxBoxAccV2"].value == pytest.approx(200 / 3)


def test_the_interval_covers_a_known_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        ious = (rng.random((200, 1)) < 0.6).astype(float)
        interval = measured((ious,), replicates=200, seed=seed)["GTKnownLoc"]
        covered += interval.ci_low <= 60 <= interval.ci_high
    assert 0.88 <= covered / 200 <= 0.99


def test_thresholds_are_those_of_the_curves_by_default() -> None:
    ious = np.zeros((3, 1000))
    ious[:, 208:300] = 0.8
    found = {m.metric: m for m in measure(ious, replicates=3)}
    assert found["IoU70"].threshold == THRESHOLDS[208]


def test_a_measurement_is_frozen() -> None:
    measurement = next(iter(measured(some_curves()).values()))
    with pytest.raises(FrozenInstanceError):
        measurement.value = 100.0  # type: ignore[misc]


def test_a_thousand_images_are_measured_within_seconds() -> None:
    curves = some_curves(1000, 255)
    start = time.perf_counter()
    measured(curves, replicates=2000)
    assert time.perf_counter() - start < 8  # 0.3 s on two quiet cores for all nine metrics


@pytest.mark.parametrize(
    ("ious", "message"),
    [
        (
            np.zeros((0, 5)),
            r"ious_all has shape \(0, 5\); pass \(n, T\), an IoU curve for at least one image",
        ),
        (np.zeros(5), r"ious_all has shape \(5,\)"),
        (
            np.array([[0.1, 0.2], [0.3, np.nan]]),
            r"ious_all\[1, 1\] = nan is no IoU in \[0, 1\] \(1 of 4 values",
        ),
        (np.array([[0.1, 50.0], [-0.1, 1.0]]), r"ious_all\[0, 1\] = 50 is no IoU.*2 of 4.*not percent"),
    ],
)
def test_what_is_no_iou_is_reported_with_its_place(ious: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(ious)
    with pytest.raises(ValueError, match=message.replace("ious_all", "ious")):
        max_box_acc(ious)
    with pytest.raises(ValueError, match=message.replace("ious_all", "ious")):
        max_box_acc_v2(ious)


def test_curves_of_different_shapes_are_refused() -> None:
    best, largest, predicted, correct = some_curves()
    with pytest.raises(
        ValueError, match=r"ious_largest has shape \(29, 40\), ious_all \(30, 40\); pass curves"
    ):
        measure(best, largest[1:])
    with pytest.raises(ValueError, match=r"ious_predicted has shape \(30, 39\), ious_all \(30, 40\)"):
        measure(best, largest, predicted[:, 1:], correct)
    with pytest.raises(ValueError, match="the curves have 40 thresholds, but 1000 are named"):
        measure(best)


@pytest.mark.parametrize("correct", [np.ones(29, bool), np.ones(30, int), np.ones((30, 1), bool)])
def test_correct_is_one_bool_an_image(correct: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match=r"correct has shape .* and type .*; pass one bool for each of the 30"
    ):
        measured((*some_curves()[:3], correct))


def test_a_bootstrap_without_replicates_and_an_iou_in_percent_are_refused() -> None:
    with pytest.raises(ValueError, match="replicates is 0; an interval needs at least 1"):
        measured(some_curves(), replicates=0)
    for delta in (50, 0, np.nan):
        with pytest.raises(ValueError, match=rf"delta is {delta}; the IoU to ask for is a fraction"):
            max_box_acc(HAND, delta)
