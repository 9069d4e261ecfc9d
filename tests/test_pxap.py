import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol import bootstrap
from vitol.pxap import BINS, IGNORED, measure_pxap, pixel_counts, pxap, scale_mask


def some_images(n: int = 6, seed: int = 0, side: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Score maps with values on the edges of bins, 0 and 1 among them, and masks of all three kinds."""
    rng = np.random.default_rng(seed)
    scores = rng.random((n, side, side)).astype(np.float32)
    scores[:, 0] = rng.integers(0, 1001, side) / 1000
    scores[:, 1, 0], scores[:, 1, 1] = 0, 1
    masks = rng.choice([0, 1, IGNORED], (n, side, side))
    masks[:, 0, 0] = 1
    return scores, masks


def counts_of(scores: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.stack([pixel_counts(score, mask) for score, mask in zip(scores, masks, strict=True)])


def test_pxap_counted_by_hand() -> None:
    score = np.array([[0.9, 0.8, 0.7, 0.1]])
    mask = np.array([[1, 0, 1, 0]])
    # At 0.9 one of two objects is found, precision 1; at 0.7 the other, precision 2/3.
    assert pxap(pixel_counts(score, mask)) == pytest.approx(100 * (1 / 2 * 1 + 1 / 2 * 2 / 3))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_pxap_equals_a_loop_over_thresholds_and_pixels(n: int, seed: int) -> None:
    scores, masks = some_images(n, seed)
    found = pxap(counts_of(scores, masks).sum(axis=0))
    assert found == pytest.approx(reference.pxap(list(scores), list(masks)), rel=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_on_the_edge_of_a_bin_lie_where_the_reference_puts_them(kind: type) -> None:
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
    near = np.concatenate([np.nextafter(edges[:1001], 0), edges[:1001], np.nextafter(edges[:1000], 1)])
    score = np.concatenate([near.astype(kind), np.arange(1001).astype(kind) / kind(1000)])[None].clip(0, 1)
    counts = pixel_counts(score, np.ones(score.shape, np.uint8))
    assert counts[1].tolist() == np.histogram(score, bins=edges)[0][:BINS].tolist()
    assert counts[1].sum() == score.size


def test_bits_equal_the_references_arithmetic() -> None:
    background, found = counts_of(*some_images(20)).sum(axis=0)
    tp, fp = (np.append(counts, 0)[::-1].cumsum().astype(float) for counts in (found, background))
    with np.errstate(invalid="ignore"):
        precision, recall = tp / (tp + fp), tp / found.sum()
    assert pxap(np.stack([background, found])) == 100 * np.nansum(precision[1:] * np.diff(recall))


def test_what_is_left_out_counts_nowhere() -> None:
    scores, masks = some_images(1)
    counts = pixel_counts(scores[0], masks[0])
    assert counts.sum(axis=1).tolist() == [(masks == 0).sum(), (masks == 1).sum()]
    other = np.where(masks[0] == IGNORED, 0.5, scores[0])
    assert (pixel_counts(other, masks[0]) == counts).all()


def test_a_map_that_is_the_mask_is_perfect_and_a_constant_one_is_the_share_of_the_object() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    assert pxap(pixel_counts(mask.astype(float), mask)) == 100
    assert pxap(pixel_counts(np.zeros((8, 8)), mask)) == 100 * 18 / 64


def test_images_that_are_all_alike_leave_no_interval() -> None:
    scores, masks = some_images(1)
    counts = np.repeat(counts_of(scores, masks), 5, axis=0)
    found = measure_pxap(counts, replicates=20)
    assert found.value == pxap(counts[0])
    assert (found.ci_low, found.ci_high) == pytest.approx((found.value, found.value), rel=1e-12)


def test_replicates_are_pxap_of_the_resampled_images(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, masks = some_images(7)
    counts = counts_of(scores, masks)
    found = measure_pxap(counts.astype(np.uint16), replicates=30, seed=4)
    twin = [pxap(counts[images].sum(axis=0)) for images in reference.drawn(7, 30, 4)]
    assert found.replicates == pytest.approx(twin, rel=1e-12)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.percentile(twin, [2.5, 97.5])), rel=1e-12)
    assert (found.metric, found.policy, found.n_images, found.threshold) == ("PxAP", "", 7, None)
    assert found.value == pxap(counts.sum(axis=0))
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 1)
    monkeypatch.setattr("vitol.pxap.IMAGES_AT_ONCE", 3)
    assert (measure_pxap(counts, replicates=30, seed=4).replicates == found.replicates).all()


def test_the_interval_is_over_the_resamples_that_hold_an_object() -> None:
    score = np.array([[0.1, 0.9]])
    counts = counts_of(np.stack([score, score]), np.array([[[0, 1]], [[0, 0]]]))
    found = measure_pxap(counts, replicates=50)
    assert found.value == 50
    assert np.isnan(found.replicates).any()
    assert (found.ci_low, found.ci_high) == pytest.approx(
        tuple(np.nanpercentile(found.replicates, [2.5, 97.5]))
    )
    none = next(
        again
        for again in (measure_pxap(counts, replicates=1, seed=seed) for seed in range(50))
        if np.isnan(again.replicates).all()
    )
    assert none.value == 50
    assert np.isnan([none.ci_low, none.ci_high]).all()


@pytest.mark.parametrize("shape", [(5, 7), (224, 224), (333, 500), (1, 1), (30, 11)])
def test_masks_are_scaled_to_the_nearest_pixel(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, IGNORED], np.uint8), shape)
    for width, height in ((31, 13), (224, 224)):
        scaled = scale_mask(mask, (width, height))
        assert scaled.dtype == np.uint8
        assert (scaled == reference.nearest(mask, width, height)).all()


def test_masks_of_bool_and_of_larger_integers_are_the_same() -> None:
    scores, masks = some_images(1)
    plain = np.where(masks[0] == 1, 1, 0)
    for kind in (bool, np.uint8, np.int64, np.float32):
        assert (scale_mask(plain.astype(kind), (9, 9)) == plain).all()
        assert (pixel_counts(scores[0], plain.astype(kind)) == pixel_counts(scores[0], plain)).all()


def test_a_mask_of_another_size_than_its_score_map_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask has shape \(4, 5\), its score map \(5, 4\); scale the mask"):
        pixel_counts(np.zeros((5, 4)), np.zeros((4, 5)))


@pytest.mark.parametrize("value", [2, 128, -1, np.nan, 0.5])
def test_masks_of_other_values_are_refused(value: float) -> None:
    mask = np.zeros((3, 4))
    mask[1, 2] = value
    message = rf"mask\[1, 2\] = {value:g}; masks hold 1 for the object, 0 for the background and 255 for"
    with pytest.raises(ValueError, match=message):
        scale_mask(mask, (2, 2))
    with pytest.raises(ValueError, match=message):
        pixel_counts(np.zeros((3, 4)), mask)


@pytest.mark.parametrize("shape", [(3,), (1, 3, 3), (0, 3)])
def test_what_is_no_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the mask has shape .*; pass one mask \(H, W\) at a time"):
        scale_mask(np.zeros(shape), (3, 3))
    with pytest.raises(ValueError, match="the mask has shape"):
        pixel_counts(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.001, 255])
def test_what_is_no_score_is_refused_with_its_place(value: float) -> None:
    score = np.zeros((3, 4))
    score[2, 1] = value
    with pytest.raises(
        ValueError, match=r"1 of 12 scores are not in \[0, 1\], the first at \[2, 1\]; make the"
    ):
        pixel_counts(score, np.ones((3, 4)))


def test_masks_without_any_object_and_counts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixel of any mask is an object; PxAP needs some"):
        pxap(pixel_counts(np.zeros((2, 2)), np.zeros((2, 2))))
    for counts in (np.ones((2, 5)), -np.ones((2, BINS)), np.full((2, BINS), np.nan)):
        with pytest.raises(
            ValueError, match=r"counts have shape .*; pass the sum of pixel_counts, \(2, 1001\)"
        ):
            pxap(counts)
    for counts in (np.ones((2, BINS)), np.ones((0, 2, BINS)), np.ones((4, 2, 5))):
        with pytest.raises(ValueError, match=r"pass the pixel_counts of n images, \(n, 2, 1001\)"):
            measure_pxap(counts)
    with pytest.raises(ValueError, match="replicates is 0"):
        measure_pxap(np.ones((3, 2, BINS)), replicates=0)
