"""How many threads there are to work with."""

import os

import numpy as np
import pytest
from gallery_data import small_gallery

from vitol.boxes import best_ious_of_maps
from vitol.report.packing import packed_gallery
from vitol.scored_maps import Options
from vitol.threads import threads


def test_a_number_that_is_asked_for_is_taken():
    assert threads(3) == 3


def test_none_takes_one_for_each_core_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    assert threads() == 3


@pytest.mark.parametrize(("cores", "count"), [(64, 64), (None, 1)])
def test_a_platform_that_does_not_tell_has_all_its_cores(monkeypatch, cores, count):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads() == count


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_is_refused(workers):
    with pytest.raises(ValueError, match=f"workers is {workers}; give at least 1, or None for one a core"):
        threads(workers)


@pytest.mark.parametrize(
    "work",
    [
        lambda: list(Options(workers=0).each("Counting", int, 1)),
        lambda: packed_gallery(small_gallery(1), workers=0),
        lambda: best_ious_of_maps(np.ones((1, 2, 2)), np.array([[9, 9]]), [np.array([[0.0, 0, 5, 5]])], 0),
    ],
)
def test_all_that_works_in_threads_counts_them_alike(work):
    with pytest.raises(ValueError, match="workers is 0; give at least 1"):
        work()
