import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol.accuracy import (
    DELTAS,
    PARTS,
    POLICIES,
    Difference,
    Localizations,
    Measurement,
    gt_known_loc,
    hits,
    max_box_acc,
    max_box_acc_v2,
    measure,
    paired_difference,
    top_loc,
)
from vitol.boxes import DISTINCT_THRESHOLDS, THRESHOLDS

LOCALIZATION = [
    "MaxBoxAccV2",
    "IoU30",
    "IoU50",
    "IoU70",
    "GTKnownLoc",
    "GTKnownLocV1",
    "PredictedLoc",
    "Top1Loc",
    "Top5Loc",
]
ORDER = [*LOCALIZATION, "Top1Cls", "Top5Cls"]

# Four images, three thresholds. Right at IoU 0.3: 3, 4, 2 images; at 0.5: 2, 3, 2; at 0.7: 0, 1, 2.
HAND = np.array([[0.5, 0.6, 0.1], [0.3, 0.5, 0.2], [0.6, 0.4, 0.7], [0.1, 0.7, 0.9]])
HAND_THRESHOLDS = np.array([0.2, 0.4, 0.6])
# Four other images. Right at IoU 0.3: 4, 3, 2 images; at 0.5: 3, 2, 2; at 0.7: 2, 1, 2.
OTHERS = np.array([[0.9, 0.8, 0.1], [0.8, 0.6, 0.2], [0.6, 0.3, 0.7], [0.4, 0.2, 0.9]])

# Values, ends of intervals and thresholds from before there were other policies.
BEFORE = [
    ("MaxBoxAccV2", 37.5, 28.333333333333332, 50.0, None),
    ("IoU30", 57.5, 42.5, 72.5, 0.28),
    ("IoU50", 37.5, 27.4375, 52.5, 0.52),
    ("IoU70", 17.5, 10.0, 30.0, 0.2),
    ("GTKnownLoc", 37.5, 27.4375, 52.5, 0.52),
    ("Top1Loc", 22.5, 12.437500000000002, 37.5, 0.12),
    ("Top1Cls", 65.0, 50.0, 77.5, None),
]


def some_images(n: int = 30, length: int = 40, seed: int = 0) -> Localizations:
    rng = np.random.default_rng(seed)
    best = rng.random((n, 1)) * 1.4 - np.abs(np.linspace(0, 1, length) - rng.random((n, 1)))
    best = np.clip(best, 0, 1)
    top1 = rng.random(n) < 0.6
    predicted = np.where(top1[:, None], best, best * 0.5)
    return Localizations(best, best * rng.random((n, 1)), predicted, top1, top1 | (rng.random(n) < 0.5))


def measured(found: Localizations, **options: object) -> dict[str, Measurement]:
    """Measurements by metric, under a single policy."""
    grid = np.linspace(0, 1, found.ious.shape[1])
    return {m.metric: m for m in measure(found, **{"thresholds": grid, "replicates": 50, **options})}


def by_hand(found: Localizations, **options: object) -> list[tuple[str, float, float | None]]:
    entries = measure(found, **{"replicates": 10, "thresholds": HAND_THRESHOLDS, **options})
    return [(m.metric, m.value, m.threshold) for m in entries]


# Values -------------------------------------------------------------------------------------------


def test_max_box_acc_counted_by_hand() -> None:
    assert [max_box_acc(HAND, delta) for delta in DELTAS] == [100.0, 75.0, 50.0]
    assert max_box_acc_v2(HAND) == 75.0


def test_every_metric_counted_by_hand() -> None:
    largest = HAND * [[1], [1], [0], [0]]
    top1 = np.array([True, True, True, False])
    predicted = np.array([[0.0, 0.6, 0.5], [0.0, 0.0, 0.5], [0.5, 0.0, 0.5], [1.0, 1.0, 1.0]])
    found = measure(
        Localizations(HAND, largest, predicted, top1, np.ones(4, bool)),
        replicates=10,
        thresholds=HAND_THRESHOLDS,
    )
    assert [(m.metric, m.value, m.threshold) for m in found] == [
        ("MaxBoxAccV2", 75.0, None),
        ("IoU30", 100.0, 0.4),
        ("IoU50", 75.0, 0.4),
        ("IoU70", 50.0, 0.6),
        ("GTKnownLoc", 75.0, 0.4),
        ("GTKnownLocV1", 50.0, 0.4),
        ("PredictedLoc", 100.0, 0.6),
        ("Top1Loc", 50.0, 0.2),  # 0.4 gives as many: the lower threshold is named
        ("Top5Loc", 75.0, 0.4),
        ("Top1Cls", 75.0, None),
        ("Top5Cls", 100.0, None),
    ]
    assert {m.policy for m in found[:-2]} == {"oracle-per-iou"}
    assert {m.policy for m in found[-2:]} == {""}
    assert {m.n_images for m in found} == {4}


def test_one_threshold_for_all_is_the_one_with_the_highest_mean_counted_by_hand() -> None:
    # Together 5, 8 and 6 right: 0.4, although IoU70 alone is better at 0.6.
    assert by_hand(Localizations(HAND), policies=("oracle-single",)) == [
        ("MaxBoxAccV2", pytest.approx(200 / 3), 0.4),
        ("IoU30", 100.0, 0.4),
        ("IoU50", 75.0, 0.4),
        ("IoU70", 25.0, 0.4),
        ("GTKnownLoc", 75.0, 0.4),
    ]


def test_thresholds_of_the_validation_images_counted_by_hand() -> None:
    # IoU70 is equally good there at 0.2 and 0.6: the lower one is taken.
    assert by_hand(Localizations(HAND), policies=("validation",), validation=Localizations(OTHERS)) == [
        ("MaxBoxAccV2", pytest.approx((75 + 50 + 0) / 3), None),
        ("IoU30", 75.0, 0.2),
        ("IoU50", 50.0, 0.2),
        ("IoU70", 0.0, 0.2),
        ("GTKnownLoc", 50.0, 0.2),
    ]


def test_a_fixed_threshold_counted_by_hand() -> None:
    top = {"top1": np.array([True, False, True, True]), "top5": np.ones(4, bool)}
    found = by_hand(Localizations(HAND, HAND * 0.9, **top), policies=("fixed",), fixed=0.6)
    assert found == [
        ("MaxBoxAccV2", 50.0, 0.6),
        ("IoU30", 50.0, 0.6),
        ("IoU50", 50.0, 0.6),
        ("IoU70", 50.0, 0.6),
        ("GTKnownLoc", 50.0, 0.6),
        ("GTKnownLocV1", 50.0, 0.6),
        ("Top1Loc", 50.0, 0.6),
        ("Top5Loc", 50.0, 0.6),
        ("Top1Cls", 75.0, None),
        ("Top5Cls", 100.0, None),
    ]


def test_an_iou_equal_to_delta_is_right() -> None:
    for delta, iou in ((0.3, 3 / 10), (0.5, 1 / 2), (0.7, 7 / 10)):
        assert max_box_acc(np.array([[iou]]), delta) == 100
        assert max_box_acc(np.array([[np.nextafter(iou, 0)]]), delta) == 0
    at_once = hits(Localizations(np.array([[3 / 10, 1 / 2, 7 / 10]])))
    assert [at_once[part].sum() for part in PARTS] == [3, 2, 1]


def test_metrics_are_shares_of_the_images_that_they_name() -> None:
    found = some_images()
    right = hits(found)
    at_half = found.ious >= 0.5
    assert (right["GTKnownLoc"] == at_half).all()
    assert (right["GTKnownLocV1"] == (found.largest >= 0.5)).all()
    assert (right["PredictedLoc"] == (found.predicted >= 0.5)).all()
    for k, flags in (("1", found.top1), ("5", found.top5)):
        assert (right[f"Top{k}Loc"] == at_half & flags[:, None]).all()
        assert (right[f"Top{k}Cls"] == flags[:, None]).all()


def test_the_threshold_is_chosen_for_each_iou_by_itself() -> None:
    one_for_all = max(np.mean([(HAND[:, t] >= delta).mean() for delta in DELTAS]) for t in range(3))
    assert max_box_acc_v2(HAND) > 100 * one_for_all
    single = measure(Localizations(HAND), ("oracle-single",), replicates=1, thresholds=HAND_THRESHOLDS)[0]
    assert single.value == pytest.approx(100 * one_for_all)


def test_top1_loc_chooses_its_own_threshold() -> None:
    ious = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    found = measured(Localizations(ious, top1=np.array([True, False, False])))
    assert found["GTKnownLoc"].threshold == 1.0
    assert (found["Top1Loc"].value, found["Top1Loc"].threshold) == (pytest.approx(100 / 3), 0.0)


def test_metrics_come_as_far_as_what_is_known() -> None:
    whole = some_images()

    def names(*known: str) -> list[str]:
        parts = {name: getattr(whole, name) for name in ("ious", *known)}
        return list(measured(Localizations(**parts), replicates=2))

    assert names() == ORDER[:5]
    assert names("largest") == ORDER[:6]
    assert names("largest", "predicted") == ORDER[:7]
    assert names("top1") == [*ORDER[:5], "Top1Loc", "Top1Cls"]
    assert names("top5") == [*ORDER[:5], "Top5Loc", "Top5Cls"]
    assert names("largest", "predicted", "top1", "top5") == ORDER


def test_policies_follow_one_another_and_classification_comes_once_at_the_end() -> None:
    found = some_images()
    policies = ("fixed", "oracle-per-iou", "validation", "oracle-single")
    grid = np.linspace(0, 1, 40)
    entries = measure(found, policies, found, 0.0, replicates=3, thresholds=grid)
    expected = [(metric, policy) for policy in policies for metric in LOCALIZATION]
    assert [(m.metric, m.policy) for m in entries] == [*expected, ("Top1Cls", ""), ("Top5Cls", "")]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_the_order_and_the_repetition_of_images_change_no_value(n: int, seed: int) -> None:
    found = some_images(n, seed=seed)
    parts = {part.name: getattr(found, part.name) for part in fields(found)}
    order = np.random.default_rng(seed).permutation(n)
    for policy in POLICIES:
        options = {"policies": (policy,), "validation": found, "fixed": 20 / 39, "replicates": 1}
        values = {name: m.value for name, m in measured(found, **options).items()}
        for rows in (order, np.repeat(order, 3)):
            again = Localizations(**{name: part[rows] for name, part in parts.items()})
            assert {name: m.value for name, m in measured(again, **options).items()} == pytest.approx(
                values, rel=1e-14
            )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000), st.sampled_from(POLICIES))
def test_metrics_stand_in_their_order(n: int, seed: int, policy: str) -> None:
    images = some_images(n, seed=seed)
    options = {"validation": some_images(9, seed=seed + 1), "fixed": 20 / 39}
    found = measured(images, policies=(policy,), replicates=20, **options)
    rounding = 1e-12  # a mean of three equal numbers may round
    for pick in (lambda m: m.value, lambda m: m.ci_low, lambda m: m.ci_high):
        assert pick(found["GTKnownLoc"]) == pick(found["IoU50"])
        if policy != "validation":  # there each metric has a threshold that need not be its best
            assert pick(found["IoU30"]) >= pick(found["IoU50"]) >= pick(found["IoU70"])
            assert pick(found["Top1Loc"]) <= pick(found["Top5Loc"]) <= pick(found["GTKnownLoc"])
            assert pick(found["GTKnownLocV1"]) <= pick(found["GTKnownLoc"])  # its curves lie below
        assert pick(found["Top1Loc"]) <= pick(found["Top1Cls"])
        assert pick(found["Top5Loc"]) <= pick(found["Top5Cls"])
    parts = [found[part].value for part in PARTS]
    assert min(parts) - rounding <= found["MaxBoxAccV2"].value <= max(parts) + rounding
    if policy == "oracle-per-iou":
        assert found["MaxBoxAccV2"].value == max_box_acc_v2(images.ious)
        assert found["GTKnownLocV1"].value == max_box_acc(images.largest)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_no_policy_beats_the_oracle_in_any_resample(n: int, seed: int) -> None:
    found = some_images(n, seed=seed)
    options = {"validation": some_images(9, seed=seed + 1), "fixed": 20 / 39, "replicates": 20}
    by_policy = {policy: measured(found, policies=(policy,), **options) for policy in POLICIES}
    for name in LOCALIZATION:
        best = by_policy["oracle-per-iou"][name]
        for policy in POLICIES[1:]:
            assert by_policy[policy][name].value <= best.value + 1e-12
            assert (by_policy[policy][name].replicates <= best.replicates + 1e-12).all()
    single, fixed = (by_policy[policy]["MaxBoxAccV2"] for policy in ("oracle-single", "fixed"))
    assert fixed.value <= single.value + 1e-12
    assert (fixed.replicates <= single.replicates + 1e-12).all()


def test_the_images_as_their_own_validation_images_give_the_oracles_values() -> None:
    found = some_images()
    oracle, own = measured(found), measured(found, policies=("validation",), validation=found)
    assert [(m.value, m.threshold) for m in oracle.values()] == [(m.value, m.threshold) for m in own.values()]
    assert own["IoU50"].ci_low < oracle["IoU50"].ci_low  # but the resamples are not the same


def test_a_fixed_threshold_at_the_oracles_gives_the_oracles_value() -> None:
    found = some_images(length=255)
    single = measured(found, policies=("oracle-single",), thresholds=DISTINCT_THRESHOLDS)
    at = single["MaxBoxAccV2"].threshold
    fixed = measured(found, policies=("fixed",), fixed=at, thresholds=DISTINCT_THRESHOLDS)
    assert [(m.value, m.threshold) for m in fixed.values()] == [
        (m.value, m.threshold) for m in single.values()
    ]


def test_top1_loc_is_the_same_for_maps_of_the_ground_truth_and_of_the_predicted_class() -> None:
    found = some_images()
    of_predicted = np.where(found.top1[:, None], found.ious, 1 - found.ious)
    ours = measured(replace(found, predicted=of_predicted))
    theirs = measured(replace(found, ious=of_predicted, predicted=of_predicted))
    assert ours["Top1Loc"] == theirs["Top1Loc"]
    assert ours["PredictedLoc"].value != ours["GTKnownLoc"].value
    assert theirs["PredictedLoc"].value == theirs["GTKnownLoc"].value


# Thresholds ---------------------------------------------------------------------------------------


def test_a_fixed_threshold_is_read_where_its_foreground_is() -> None:
    steps = np.arange(255) / 255  # the IoU tells the level
    found = Localizations(np.ones((1, 255)) * steps)
    options = {"policies": ("fixed",), "replicates": 1, "thresholds": DISTINCT_THRESHOLDS}
    for threshold in (0.0, 0.00395, 0.165, 0.208, 0.3, 0.5, 127.5 / 255, 0.999, 0.9999):
        entry = measured(found, fixed=threshold, **options)["IoU50"]
        assert entry.value == 100 * (int(threshold * 255) / 255 >= 0.5)
        assert entry.threshold == threshold


def test_nominal_and_distinct_thresholds_give_the_same_measurements() -> None:
    found, others = some_images(length=255), some_images(n=17, length=255, seed=1)
    levels = (THRESHOLDS * 255).astype(int)

    def nominal(images: Localizations) -> Localizations:
        curves = {name: getattr(images, name)[:, levels] for name in ("ious", "largest", "predicted")}
        return replace(images, **curves)

    options = {"policies": POLICIES, "fixed": 0.208, "replicates": 30}
    distinct = measure(found, validation=others, **options)
    assert distinct == measure(nominal(found), validation=nominal(others), thresholds=THRESHOLDS, **options)


def test_maxboxaccv2_has_one_threshold_only_where_its_parts_share_it() -> None:
    found = some_images()
    options = {"validation": found, "fixed": 20 / 39}
    at = {
        policy: measured(found, policies=(policy,), **options)["MaxBoxAccV2"].threshold for policy in POLICIES
    }
    assert at["oracle-per-iou"] is at["validation"] is None
    assert at["fixed"] == 20 / 39
    assert at["oracle-single"] in np.linspace(0, 1, 40)


# Bootstrap ----------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 7), st.integers(1, 6), st.integers(0, 100), st.sampled_from(POLICIES)
)
def test_values_and_replicates_equal_a_loop_over_images(
    n: int, m: int, length: int, seed: int, policy: str
) -> None:
    found, others = some_images(n, length, seed), some_images(m, length, seed + 1)
    grid = np.linspace(0, 0.9, length)
    options = {"validation": others, "fixed": float(grid[-1]), "replicates": 6, "seed": seed}
    ours = measured(found, policies=(policy,), thresholds=grid, **options)
    right, elsewhere = hits(found), hits(others)
    names = [name for name in right if not name.endswith("Cls")]
    samples = [list(range(n)), *reference.drawn(n, 6, seed)]
    of_others = [list(range(m)), *reference.drawn(m, 6, np.random.SeedSequence(seed, spawn_key=(1,)))]
    twins = [
        reference.read_by_policy({name: right[name] for name in names}, a, policy, elsewhere, b, length - 1)
        for a, b in zip(samples, of_others, strict=True)
    ]
    for name in [*names, "MaxBoxAccV2"]:
        value, *replicates = (accuracy[name] for accuracy, _ in twins)
        assert ours[name].value == pytest.approx(value, rel=1e-14)
        assert ours[name].replicates == pytest.approx(replicates, rel=1e-14)
    assert [ours[name].threshold for name in names] == [grid[twins[0][1][name]] for name in names]
    for name in ("Top1Cls", "Top5Cls"):
        shares = [100 * right[name][images].mean() for images in samples[1:]]
        assert ours[name].replicates == pytest.approx(shares, rel=1e-14)


def test_intervals_are_percentiles_of_replicates_with_the_threshold_chosen_again() -> None:
    found = some_images(n=12, length=6)
    ours = measured(found, replicates=40, seed=7)
    right = hits(found)
    twin = {name: 100 * np.array(reference.highest_counts(of, 40, 7)) / 12 for name, of in right.items()}
    twin["MaxBoxAccV2"] = np.mean([twin[part] for part in PARTS], axis=0)
    for name, replicates in twin.items():
        interval = (ours[name].ci_low, ours[name].ci_high)
        assert interval == pytest.approx(np.percentile(replicates, [2.5, 97.5]), rel=1e-14)


def test_reported_numbers_stay_what_they_were() -> None:
    rows, columns = np.arange(40)[:, None], np.arange(25)
    ious = (rows * 7 % 11) / 11 - (np.abs(columns - rows % 25) / 50)
    found = Localizations(np.clip(ious, 0, 1), top1=np.arange(40) % 3 > 0)
    entries = measure(found, replicates=200, seed=3, thresholds=np.arange(25) / 25)
    assert [(m.metric, m.value, m.ci_low, m.ci_high, m.threshold) for m in entries] == BEFORE


def test_seeds_give_other_intervals_and_the_same_values() -> None:
    found = some_images()
    for policy in POLICIES:
        options = {"policies": (policy,), "validation": found, "fixed": 20 / 39}
        a, b = measured(found, seed=0, **options), measured(found, seed=1, **options)
        assert a == measured(found, seed=0, **options)
        assert {name: m.value for name, m in a.items()} == {name: m.value for name, m in b.items()}
        assert a["MaxBoxAccV2"].ci_low != b["MaxBoxAccV2"].ci_low


def test_a_policy_is_measured_the_same_alone_and_beside_others() -> None:
    found, options = some_images(), {"validation": some_images(11, seed=2), "fixed": 20 / 39}
    together = measure(found, POLICIES, replicates=20, thresholds=np.linspace(0, 1, 40), **options)
    for policy in POLICIES:
        alone = measured(found, policies=(policy,), replicates=20, **options)
        assert [m for m in together if m.policy in (policy, "")] == list(alone.values())


def test_replicates_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, others = some_images(), some_images(11, seed=2)
    options = {"validation": others, "fixed": 20 / 39, "replicates": 23}
    whole = {policy: measured(found, policies=(policy,), **options) for policy in POLICIES}
    for draws in (1, 130):  # one resample at a time, and three of the 40 thresholds
        monkeypatch.setattr("vitol.bootstrap.DRAWS_AT_ONCE", draws)
        for policy in POLICIES:
            again = measured(found, policies=(policy,), **options)
            assert again == whole[policy]
            for name, entry in again.items():
                assert (entry.replicates == whole[policy][name].replicates).all()


def test_images_that_are_all_alike_leave_no_interval() -> None:
    ious = np.repeat(np.array([[0.2, 0.6, 0.4]]), 9, axis=0)
    yes = np.ones(9, bool)
    found = measured(Localizations(ious, ious, ious, yes, yes))
    assert all(m.ci_low == m.value == m.ci_high for m in found.values())
    assert found["MaxBoxAccV2"].value == pytest.approx(200 / 3)


def test_the_interval_covers_a_known_rate_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        ious = (rng.random((200, 1)) < 0.6).astype(float)
        interval = measured(Localizations(ious), replicates=200, seed=seed)["GTKnownLoc"]
        covered += interval.ci_low <= 60 <= interval.ci_high
    assert 0.88 <= covered / 200 <= 0.99


def test_few_validation_images_make_the_interval_wider() -> None:
    found, many = some_images(400, seed=1), some_images(400, seed=2)
    few = many.select(np.arange(400) < 10)

    def width(validation: Localizations) -> float:
        entry = measured(found, policies=("validation",), validation=validation, replicates=300)["IoU50"]
        return entry.ci_high - entry.ci_low

    assert width(few) > width(many)


def test_all_policies_of_a_thousand_images_are_measured_within_seconds() -> None:
    found = some_images(1000, 255)
    start = time.perf_counter()
    measure(found, POLICIES, found, 0.2, replicates=2000)
    assert time.perf_counter() - start < 8  # 0.2 s on one quiet core


# Differences --------------------------------------------------------------------------------------


def test_a_difference_is_that_of_paired_replicates() -> None:
    a, b = (measured(some_images(seed=seed))["MaxBoxAccV2"] for seed in (1, 2))
    found = paired_difference(a, b)
    assert found.value == a.value - b.value
    ends = np.percentile(a.replicates - b.replicates, [2.5, 97.5])
    assert (found.ci_low, found.ci_high) == tuple(ends)
    other = paired_difference(b, a)
    assert (other.value, other.ci_low, other.ci_high) == pytest.approx(
        (-found.value, -found.ci_high, -found.ci_low)
    )


def test_pairing_narrows_the_interval_of_methods_that_fail_alike() -> None:
    found = some_images(200)
    better = measured(found)["GTKnownLoc"]
    worse = measured(replace(found, ious=found.ious * 0.95))["GTKnownLoc"]
    difference = paired_difference(better, worse)
    assert difference.ci_low <= difference.value <= difference.ci_high
    assert difference.ci_high - difference.ci_low < (better.ci_high - better.ci_low) / 2
    assert paired_difference(better, better) == Difference(0, 0, 0)


def test_seeds_of_training_are_averaged_replicate_by_replicate() -> None:
    a, b, c = (measured(some_images(seed=seed))["Top1Loc"] for seed in (1, 2, 3))
    found = paired_difference([a, b], c)
    assert found.value == (a.value + b.value) / 2 - c.value
    ends = np.percentile((a.replicates + b.replicates) / 2 - c.replicates, [2.5, 97.5])
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(ends), rel=1e-14)
    assert paired_difference([a], [c]) == paired_difference(a, c)


def test_measurements_of_different_things_have_no_difference() -> None:
    found = some_images()
    entry = measured(found)["IoU50"]
    others = [
        (measured(found)["IoU30"], "IoU30 .oracle-per-iou. on 30 images with 50 replicates"),
        (measured(found, policies=("oracle-single",))["IoU50"], "IoU50 .oracle-single. on 30"),
        (measured(some_images(29))["IoU50"], "IoU50 .oracle-per-iou. on 29 images"),
        (measured(found, replicates=49)["IoU50"], "with 49 replicates"),
        (measured(found)["Top1Cls"], "Top1Cls on 30 images"),
    ]
    for other, text in others:
        message = f"IoU50 .oracle-per-iou. on 30 images with 50 replicates and .*{text}.* are not paired"
        with pytest.raises(ValueError, match=message):
            paired_difference(entry, other)
        with pytest.raises(ValueError, match=text):
            paired_difference([entry, other], entry)
    with pytest.raises(ValueError, match="b has no measurement; pass one, or one for each seed of training"):
        paired_difference(entry, [])
    with pytest.raises(ValueError, match="0 replicates: a difference needs replicates"):
        paired_difference(*[replace(entry, replicates=np.empty(0))] * 2)


# Bad input ----------------------------------------------------------------------------------------


def test_a_measurement_is_frozen_and_shows_no_replicates() -> None:
    measurement = next(iter(measured(some_images()).values()))
    assert "replicates" not in repr(measurement)
    with pytest.raises(FrozenInstanceError):
        measurement.value = 100.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ious", "message"),
    [
        (np.zeros((0, 5)), r"ious has shape \(0, 5\); pass \(n, L\), an IoU curve for at least one image"),
        (np.zeros(5), r"ious has shape \(5,\)"),
        (np.array([[0.1, 0.2], [0.3, np.nan]]), r"ious\[1, 1\] = nan is no IoU in \[0, 1\] \(1 of 4 values"),
        (np.array([[0.1, 50.0], [-0.1, 1.0]]), r"ious\[0, 1\] = 50 is no IoU.*2 of 4.*not percent"),
    ],
)
def test_what_is_no_iou_is_reported_with_its_place(ious: np.ndarray, message: str) -> None:
    for function in (Localizations, max_box_acc, max_box_acc_v2):
        with pytest.raises(ValueError, match=message):
            function(ious)
    good = np.zeros(np.shape(ious) if np.size(ious) and np.ndim(ious) == 2 else (1, 5))
    for name in ("largest", "predicted"):
        with pytest.raises(ValueError, match=message.replace("ious", name, 1)):
            Localizations(good, **{name: ious})


def test_curves_of_different_shapes_are_refused() -> None:
    found = some_images()
    with pytest.raises(
        ValueError, match=r"largest has shape \(29, 40\), ious \(30, 40\); pass curves of the same"
    ):
        replace(found, largest=found.largest[1:])
    with pytest.raises(ValueError, match=r"predicted has shape \(30, 39\), ious \(30, 40\)"):
        replace(found, predicted=found.predicted[:, 1:])
    with pytest.raises(ValueError, match="the curves have 40 thresholds, but 255 are named"):
        measure(found)


@pytest.mark.parametrize("flags", [np.ones(29, bool), np.ones(30, int), np.ones((30, 1), bool)])
def test_classes_and_members_are_one_bool_an_image(flags: np.ndarray) -> None:
    message = "has shape .* and type .*; pass one bool for each of the 30 images"
    for name in ("top1", "top5"):
        with pytest.raises(ValueError, match=f"{name} {message}"):
            replace(some_images(), **{name: flags})
    with pytest.raises(ValueError, match=f"members {message}"):
        some_images().select(flags)


def test_a_first_class_that_is_not_among_the_five_first_is_refused() -> None:
    with pytest.raises(ValueError, match=r"top1\[2\] is True and top5\[2\] False; the first class is among"):
        Localizations(
            np.zeros((3, 1)), top1=np.array([False, True, True]), top5=np.array([True, True, False])
        )


def test_selecting_keeps_what_is_known_and_nobody_is_no_selection() -> None:
    found = some_images()
    kept = found.select(np.arange(30) % 3 == 0)
    assert len(found) == 30
    assert len(kept) == 10
    for part in fields(found):
        assert (getattr(kept, part.name) == getattr(found, part.name)[::3]).all()
    assert Localizations(found.ious).select(np.ones(30, bool)).top1 is None
    with pytest.raises(ValueError, match="an IoU curve for at least one image"):
        found.select(np.zeros(30, bool))


@pytest.mark.parametrize("policies", [("oracle",), (), ("fixed", "fixed"), ("oracle-single", "best")])
def test_policies_that_do_not_exist_or_come_twice_are_refused(policies: tuple[str, ...]) -> None:
    message = r"policies are \[.*\]; give some of oracle-per-iou, oracle-single, validation, fixed, each once"
    with pytest.raises(ValueError, match=message):
        measured(some_images(), policies=policies, fixed=0.0)


def test_the_policy_validation_needs_images_like_those_to_be_measured() -> None:
    found, options = some_images(), {"policies": ("oracle-per-iou", "validation")}
    with pytest.raises(
        ValueError, match="the policy validation needs other images: pass their localizations"
    ):
        measured(found, **options)
    with pytest.raises(ValueError, match="curves of validation have 39 thresholds, those to be measured 40"):
        measured(found, validation=some_images(length=39), **options)
    for name in ("largest", "predicted", "top1", "top5"):
        with pytest.raises(
            ValueError, match=f"validation has no {name}, which the images to be measured have"
        ):
            measured(found, validation=replace(found, **{name: None}), **options)
    bare = Localizations(found.ious)
    assert list(measured(bare, validation=found, **options)) == ORDER[:5]  # more than needed is no fault


@pytest.mark.parametrize("fixed", [None, 1.0, -0.1, 20.8, np.nan])
def test_the_policy_fixed_needs_a_threshold_that_is_one(fixed: float | None) -> None:
    with pytest.raises(
        ValueError, match=rf"fixed is {fixed}; the policy fixed needs its threshold, a fraction"
    ):
        measured(some_images(), policies=("fixed",), fixed=fixed)


def test_a_fixed_threshold_that_the_curves_lack_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fixed is 0\.5, but the curves have no threshold with the foreground"
    ):
        measured(Localizations(HAND), policies=("fixed",), fixed=0.5, thresholds=HAND_THRESHOLDS)


def test_thresholds_that_do_not_ascend_are_refused() -> None:
    for grid in ([0.2, 0.2, 0.4], [0.4, 0.2, 0.6], [0.2, np.nan, 0.4]):
        with pytest.raises(ValueError, match="thresholds do not ascend"):
            measured(Localizations(HAND), thresholds=np.array(grid))


def test_a_bootstrap_without_replicates_and_an_iou_in_percent_are_refused() -> None:
    for replicates in (0, -3):
        with pytest.raises(ValueError, match=f"replicates is {replicates}; an interval needs at least 1"):
            measured(some_images(), replicates=replicates)
    for delta in (50, 0, np.nan):
        with pytest.raises(ValueError, match=rf"delta is {delta}; the IoU to ask for is a fraction"):
            max_box_acc(HAND, delta)


def test_measuring_needs_no_torch() -> None:
    program = "import sys, vitol.accuracy, vitol.pxap; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_localization_as_functions_equals_what_is_measured() -> None:
    found = Localizations(
        np.random.default_rng(0).random((40, 255)),
        top1=np.arange(40) % 3 == 0,
        top5=np.arange(40) % 3 <= 1,
    )
    values = {entry.metric: entry.value for entry in measure(found, replicates=1)}
    assert gt_known_loc(found.ious) == values["GTKnownLoc"]
    assert top_loc(found.ious, found.top1) == values["Top1Loc"]
    assert top_loc(found.ious, found.top5) == values["Top5Loc"]
