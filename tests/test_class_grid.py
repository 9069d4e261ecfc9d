"""The grid pointing game: which images stand together, and how much of a map lies in its cell."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from vitol.class_grid import cell_scores, class_correlation, compose, draw_mosaics, without_mass
from vitol.maps import localization_maps


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def four_times(rows: list[list[float]]) -> torch.Tensor:
    """One map for all four classes of one mosaic."""
    return torch.tensor([rows]).expand(1, 4, -1, -1)


# The mosaics


@pytest.mark.parametrize("seed", range(20))
def test_a_mosaic_has_four_different_labels_and_no_image_is_used_twice(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, rng.integers(6, 30), rng.integers(30, 200)) * 3
    mosaics = draw_mosaics(labels, seed)
    assert mosaics.dtype == np.int64 and mosaics.shape[1] == 4
    assert all(len(set(labels[row])) == 4 for row in mosaics)
    assert len(set(mosaics.ravel())) == mosaics.size
    assert len(set(np.delete(labels, mosaics.ravel()))) < 4


@pytest.mark.parametrize("seed", range(20))
def test_there_are_as_many_mosaics_as_the_classes_allow(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 15, rng.integers(4, 9))
    # m mosaics need 4m images, to which no class can give more than m.
    possible = max(m for m in range(counts.sum()) if np.minimum(counts, m).sum() >= 4 * m)
    assert len(draw_mosaics(np.repeat(np.arange(len(counts)), counts), seed)) == possible


def test_one_seed_gives_one_draw_and_another_another():
    labels = np.arange(60) % 7
    one, again, other = (draw_mosaics(labels, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_every_image_comes_to_every_cell_as_often():
    labels = np.array([0, 0, 1, 2, 3, 3, 4])
    cells = np.zeros((len(labels), 4))
    for seed in range(600):
        for mosaic in draw_mosaics(labels, seed):
            cells[mosaic, np.arange(4)] += 1
    shares = cells / cells.sum(axis=1, keepdims=True)
    # Four standard deviations of a share of at least 200 draws.
    assert cells.sum(axis=1).min() > 200 and np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 200)


def test_labels_that_fill_no_mosaic_are_refused():
    with pytest.raises(
        ValueError, match="the 5 images have 3 different labels; a mosaic takes 4: give images"
    ):
        draw_mosaics(np.array([1, 1, 2, 8, 8]), 0)
    with pytest.raises(ValueError, match="the 0 images have 0 different labels"):
        draw_mosaics(np.zeros(0, dtype=np.int64), 0)
    with pytest.raises(ValueError, match=r"labels have shape \(2, 4\); give one an image, \(n,\)"):
        draw_mosaics(np.zeros((2, 4)), 0)


def test_cells_stand_row_by_row():
    cells = torch.arange(2 * 4 * 3 * 2 * 2, dtype=torch.uint8).reshape(2, 4, 3, 2, 2)
    mosaics = compose(cells)
    assert mosaics.shape == (2, 3, 4, 4) and mosaics.dtype == torch.uint8
    for cell, (top, left) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        assert torch.equal(mosaics[:, :, top : top + 2, left : left + 2], cells[:, cell])
    assert torch.equal(compose(cells[0]), mosaics[0])


def test_other_than_four_images_are_refused():
    for shape in ((3, 3, 2, 2), (4, 2, 2)):
        with pytest.raises(ValueError, match=r"cells have shape \(.*, 2, 2\), not \(\.\.\., 4, 3, s, s\)"):
            compose(torch.zeros(shape))


# The scores


def test_the_score_is_the_share_of_the_mass_in_the_own_cell():
    maps = torch.zeros(1, 4, 4, 4)
    maps[0, 0, 0, 1], maps[0, 0, 3, 3] = 3, 1  # top left holds 3 of 4
    maps[0, 1, 1, 2], maps[0, 1, 1, 1] = 1, 1  # top right 1 of 2
    maps[0, 2, 2, 0] = 5  # bottom left all
    maps[0, 3, 0, 0] = 2  # bottom right none
    torch.testing.assert_close(cell_scores(maps), torch.tensor([[0.75, 0.5, 1, 0]], dtype=torch.float64))


def test_a_patch_that_a_border_cuts_counts_to_each_side_by_area():
    maps = four_times([[1.0, 0, 0], [0, 4, 0], [0, 2, 1]])
    # The middle patch lies in all four cells, the one below it in both lower ones.
    expected = torch.tensor([[2, 1, 2, 3]], dtype=torch.float64) / 8
    torch.testing.assert_close(cell_scores(maps), expected)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 4), (5, 5), (7, 12), (14, 14), (37, 37)])
def test_scores_equal_those_of_counting_pixels(grid):
    maps = random_maps(3, 4, *grid)
    maps[..., 0, 0] = 1  # so that every map has mass
    expected = []
    for mosaic in maps.clamp(min=0).numpy():
        for cell, one in enumerate(mosaic):
            pixels = np.kron(one, np.ones((2, 2)))  # so fine that no border cuts one
            row, column = divmod(cell, 2)
            half = pixels[row * grid[0] :, column * grid[1] :][: grid[0], : grid[1]]
            expected.append(half.sum() / pixels.sum())
    np.testing.assert_allclose(cell_scores(maps).numpy().ravel(), expected, rtol=1e-12)


@pytest.mark.parametrize("grid", [(2, 2), (5, 5), (7, 12), (14, 14)])
def test_a_map_without_a_class_gets_a_quarter_in_the_mean_and_a_constant_one_in_every_cell(grid):
    agnostic = random_maps(6, 1, *grid).float().expand(-1, 4, -1, -1)
    scores = cell_scores(agnostic)
    torch.testing.assert_close(scores.mean(dim=1), torch.full((6,), 0.25).double(), rtol=0, atol=1e-15)
    assert scores.std() > 0.01
    assert (cell_scores(torch.full((2, 4, *grid), 0.3)) - 0.25).abs().max() < 1e-15


def test_a_map_without_mass_says_nothing_of_the_class_and_gets_chance():
    maps = random_maps(2, 4, 6, 6)
    maps[0, 1], maps[1, 2] = 0, -maps[1, 2].abs()
    scores, without = cell_scores(maps), without_mass(maps)
    assert without.nonzero().tolist() == [[0, 1], [1, 2]]
    assert scores[without].tolist() == [0.25, 0.25] and (scores[~without] != 0.25).all()


def test_scores_ask_for_the_positive_part_and_not_for_the_scale():
    maps = random_maps(3, 4, 5, 6)
    torch.testing.assert_close(cell_scores(maps), cell_scores(maps.clamp(min=0)))
    torch.testing.assert_close(cell_scores(maps), cell_scores(1e-30 * maps))


def test_a_mirrored_mosaic_has_the_scores_of_the_mirrored_cells():
    maps = random_maps(3, 4, 5, 7)
    torch.testing.assert_close(
        cell_scores(maps.flip(-1)), cell_scores(maps[:, [1, 0, 3, 2]])[:, [1, 0, 3, 2]]
    )
    torch.testing.assert_close(
        cell_scores(maps.flip(-2)), cell_scores(maps[:, [2, 3, 0, 1]])[:, [2, 3, 0, 1]]
    )


def test_a_map_that_shows_the_image_of_its_class_gets_1_wherever_it_stands():
    shown = torch.stack(
        [compose(torch.eye(4)[cell][:, None, None, None].expand(4, 3, 3, 3)) for cell in range(4)]
    )
    assert cell_scores(shown[None, :, 0]).tolist() == [[1, 1, 1, 1]]


def test_maps_of_a_model_have_scores_and_ar_gets_chance(vit, images):
    targets = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1], [1, 0, 4, 2], [0, 2, 3, 4]])
    agnostic, of_class = (localization_maps(vit, images, targets, method) for method in ("ar", "gar"))
    torch.testing.assert_close(cell_scores(agnostic).mean(dim=1), torch.full((4,), 0.25).double())
    assert (class_correlation(agnostic) == 1).all() and (class_correlation(of_class) < 1).all()
    assert cell_scores(of_class).mean(dim=1).std() > 0


@pytest.mark.parametrize("measure", [cell_scores, without_mass, class_correlation])
def test_maps_that_are_no_scores_of_four_classes_are_refused_by_mosaic_and_cell(measure):
    maps = random_maps(3, 4, 2, 3)
    maps[2, 1, 0] = torch.tensor([np.nan, np.inf, 1])
    with pytest.raises(
        ValueError, match="mosaic 2, the map of cell 1: 2 of 6 scores are not finite; look at"
    ):
        measure(maps)
    for shape in ((3, 3, 2, 2), (4, 2, 2), (0, 4, 2, 2), (1, 4, 0, 2)):
        with pytest.raises(
            ValueError, match=r"maps have shape .*, not \(B, 4, h, w\): one map for the class"
        ):
            measure(torch.zeros(shape))


# How much the maps of the classes are alike


def test_correlation_is_the_mean_of_pearsons_over_pairs():
    maps = random_maps(5, 4, 3, 4).float()
    expected = [
        np.mean(
            [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in combinations(mosaic.numpy(), 2)]
        )
        for mosaic in maps.double()
    ]
    np.testing.assert_allclose(class_correlation(maps).numpy(), expected, atol=1e-12)


def test_equal_maps_correlate_at_1_and_a_constant_one_with_no_other():
    maps = random_maps(1, 1, 3, 3).float()
    assert class_correlation(maps.expand(1, 4, 3, 3)).tolist() == [1]
    constant = torch.full((1, 1, 3, 3), 0.3)
    assert class_correlation(constant.expand(1, 4, 3, 3)).tolist() == [1]
    # Of six pairs one is of the two constant maps, one of the two others.
    mixed = torch.cat([constant, maps, constant, maps], dim=1)
    assert class_correlation(mixed).tolist() == pytest.approx([2 / 6])
    assert class_correlation(
        torch.cat([constant, constant + 1, maps, -maps], dim=1)
    ).tolist() == pytest.approx([-1 / 6])
