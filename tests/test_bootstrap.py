import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vitol import bootstrap
from vitol.bootstrap import interval, resampled_counts, resamples


def counts_of(hits: dict[str, np.ndarray], **options: int) -> dict[str, np.ndarray]:
    pieces = list(resampled_counts(hits, **options))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in hits}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1000))
def test_counts_equal_a_loop_over_the_same_resamples(n: int, t: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = {"a": rng.random((n, t)) < 0.5, "b": rng.random((n, 1)) < 0.5}
    hits["a"][:, t // 2 :] = hits["a"][:, [t // 2]]  # thresholds that repeat the one before
    found = counts_of(hits, replicates=15, seed=seed)
    for name, right in hits.items():
        drawn = reference.drawn(n, 15, seed)
        assert found[name].tolist() == [
            [sum(column[i] for i in images) for column in right.T] for images in drawn
        ]
        assert found[name].max(axis=1).tolist() == reference.highest_counts(right, 15, seed)


def test_every_resample_holds_as_many_images_as_there_are() -> None:
    weights = np.concatenate(list(resamples(7, 400, 0)))
    assert weights.shape == (400, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)


def test_another_stream_draws_something_else_and_is_just_as_fixed() -> None:
    first, second, again = (next(resamples(50, 4, 3, stream)) for stream in (0, 1, 1))
    assert (first != second).any()
    assert (second == again).all()
    drawn = reference.drawn(50, 4, np.random.SeedSequence(3, spawn_key=(1,)))
    assert [np.bincount(images, minlength=50).tolist() for images in drawn] == second.tolist()


def test_the_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = {"a": np.random.default_rng(0).random((30, 5)) < 0.5}
    whole = counts_of(hits, replicates=23, seed=1)["a"]
    for draws in (1, 100):  # one resample of 30 images at a time, and three
        monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", draws)
        assert (counts_of(hits, replicates=23, seed=1)["a"] == whole).all()


def test_what_is_kept_of_a_resample_bounds_how_many_are_drawn_at_once() -> None:
    assert len(next(resamples(1, 10**6, 0, width=1000))) == bootstrap.DRAWS_AT_ONCE // 1000
    assert len(next(resamples(2**20, 100, 0))) == 4


def test_an_interval_has_its_two_and_a_half_percent_on_each_side() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)


def test_a_bootstrap_without_replicates_is_refused() -> None:
    for replicates in (0, -1):
        with pytest.raises(ValueError, match=f"replicates is {replicates}; an interval needs at least 1"):
            next(resamples(3, replicates, 0))


def test_more_images_than_can_be_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="16777217 images are more than the 16777216 that can be counted"):
        next(resamples(2**24 + 1, 1, 0))
