from pathlib import Path

import numpy as np
import pytest

from vitol.accuracy import max_box_acc_v2
from vitol.boxes import DISTINCT_THRESHOLDS, best_ious_of_maps
from vitol.floors import centred_gaussian, full_image_ious, gaussian_ious
from vitol.rectangles import SIZE


def test_the_full_image_is_one_box_at_every_threshold() -> None:
    boxes = [np.array([[0, 0, 111.9, 223.9]]), np.array([[0, 0, 10, 10], [0, 0, 223, 223]])]
    curves = full_image_ious(np.full((2, 2), 224), boxes)
    assert curves.all.shape == (2, len(DISTINCT_THRESHOLDS))
    assert (curves.all == [[0.5], [1.0]]).all()
    assert np.array_equal(curves.all, curves.largest)


@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (5, 9)])
def test_the_gaussian_is_centred_and_isotropic(shape: tuple[int, int]) -> None:
    values = centred_gaussian(*shape)
    assert values.shape == shape
    assert np.array_equal(values, values[::-1, ::-1])
    assert values.max() == values[shape[0] // 2, shape[1] // 2]
    square = centred_gaussian(max(shape), max(shape), sigma=0.25 * min(shape) / max(shape))
    rows, columns = ((max(shape) - side) // 2 for side in shape)
    np.testing.assert_allclose(square[rows : rows + shape[0], columns : columns + shape[1]], values)


def test_the_gaussian_falls_with_the_squared_distance_from_the_centre() -> None:
    values = centred_gaussian(9, 21)  # sigma = 9 / 4 pixels, centre at (4, 10)
    assert values[4, 10] == 1
    np.testing.assert_allclose(values[1, 6], np.exp(-(3**2 + 4**2) / (2 * 2.25**2)), rtol=1e-12)


def test_a_gaussian_of_no_extent_is_refused() -> None:
    for height, width, sigma in ((0, 5, 1.0), (5, -1, 1.0), (5, 5, 0.0)):
        with pytest.raises(ValueError, match=f"height {height}, width {width} and sigma {sigma} must all be"):
            centred_gaussian(height, width, sigma)


def test_one_gaussian_for_all_images_scores_as_if_it_were_each_images_map() -> None:
    sizes = np.array([[224, 224], [300, 200], [64, 96]])
    boxes = [
        np.array([[50, 40, 170, 180]]),
        np.array([[0, 0, 90, 90], [100, 20, 290, 190]]),
        np.array([[9, 9, 60, 90]]),
    ]
    maps = np.repeat(centred_gaussian(SIZE, SIZE)[None], 3, axis=0)
    for ours, expected in zip(
        gaussian_ious(sizes, boxes), best_ious_of_maps(maps, sizes, boxes), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_the_floors_score_what_was_measured_on_the_300_real_images(shared: Path) -> None:
    lines = (shared / "data" / "ILSVRC" / "LOC_val_solution.csv").read_text().splitlines()[1:]
    words = [line.split(",")[1].split() for line in lines]
    boxes = [np.array(word).reshape(-1, 5)[:, 1:].astype(float) for word in words]
    sizes = np.full((len(boxes), 2), 227)
    assert max_box_acc_v2(gaussian_ious(sizes, boxes).all) == pytest.approx(60.1, abs=0.5)
