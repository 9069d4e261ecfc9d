r"""Do maps follow the class? The grid pointing game: the map of a class, against where its image stands.

n images, M mosaics, B mosaics of a batch, s pixels a side of a cell, h x w patch grid. A mosaic has 4 cells.

Four images of different classes stand beside each other in a mosaic of 2 x 2 cells, and every class gets a map of
it. The score of a class is the part of its map's positive mass that lies in its own cell. A map that does not depend
on the class gets 1/4, the mean over the four cells, whatever it shows.

Source: Böhle et al., "Convolutional Dynamic Alignment Networks for Interpretable Classifications", CVPR 2021, and
"B-cos Networks", CVPR 2022, which play it on 3 x 3 cells of each image's full size. A vision transformer has one
size, so here the whole mosaic has it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CELLS = 4
CHANCE = 1 / CELLS


def draw_mosaics(labels: np.ndarray, seed: int) -> np.ndarray:
    """Choose the images of each mosaic: four of different classes, no image twice, as many mosaics as can be.

    Each mosaic takes an image of the four classes that have most of them left, of equals at random; which image
    of a class, and which class in which cell, is random too. This order leaves as few images over as possible.

    Args:
        labels: The class of each image, (n,).
        seed: Of the draw, not negative.

    Returns:
        Indices of images, int64 (M, 4), the cells row by row; no other mosaic of four classes could be made of
        what is left.

    Raises:
        ValueError: If there are not four different labels.

    >>> draw_mosaics(np.array([7, 7, 5, 2, 9]), seed=0).shape
    (1, 4)
    """
    if labels.ndim != 1:
        raise ValueError(f"labels have shape {labels.shape}; give one an image, (n,)")
    known, of_image = np.unique(labels, return_inverse=True)
    if len(known) < CELLS:
        raise ValueError(
            f"the {len(labels)} images have {len(known)} different labels; a mosaic takes {CELLS}: "
            "give images of more classes"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    waiting = [list(order[of_image[order] == label]) for label in range(len(known))]
    left = np.bincount(of_image)
    mosaics = []
    while (left > 0).sum() >= CELLS:
        most = np.lexsort((rng.random(len(left)), -left))[:CELLS]
        left[most] -= 1
        mosaics.append([waiting[label].pop() for label in rng.permutation(most)])
    return np.array(mosaics, dtype=np.int64)


def compose(cells: Tensor) -> Tensor:
    """Put four images beside each other.

    Args:
        cells: The images of each mosaic, row by row, (..., 4, 3, s, s), of any type.

    Returns:
        The mosaics, (..., 3, 2s, 2s), of the same type.

    Raises:
        ValueError: If they are not four.
    """
    if cells.ndim < 4 or cells.shape[-4] != CELLS:
        raise ValueError(f"cells have shape {tuple(cells.shape)}, not (..., {CELLS}, 3, s, s)")
    top_left, top_right, bottom_left, bottom_right = cells.unbind(-4)
    top, bottom = torch.cat([top_left, top_right], dim=-1), torch.cat([bottom_left, bottom_right], dim=-1)
    return torch.cat([top, bottom], dim=-2)


def cell_scores(maps: Tensor) -> Tensor:
    """The part of each map's positive mass that lies in the cell of its class.

    Where a border between cells cuts through a patch (an odd number of rows or columns), the patch's mass counts to
    each side by area: a patch is as fine as a map can tell, and so a constant map gets exactly 1/4. A map without
    any positive mass is constant and gets 1/4 as well (the sources' code: 0), so that the four scores of a map
    always add up to 1; `without_mass` finds such maps.

    Args:
        maps: For each mosaic the map of each cell's class, the cells row by row, (B, 4, h, w); negative scores
            count as 0.

    Returns:
        Scores in [0, 1], float64, (B, 4).

    Raises:
        ValueError: If the shape is another one, or a score is not finite.

    >>> maps = torch.tensor([[[[3.0, 1.0], [0.0, 0.0]]]]).expand(1, 4, 2, 2)
    >>> cell_scores(maps)
    tensor([[0.7500, 0.2500, 0.0000, 0.0000]], dtype=torch.float64)
    """
    mass = _positive(maps)
    inside = (mass * _cells(*maps.shape[-2:]).to(mass)).sum(dim=(-2, -1))
    total = mass.sum(dim=(-2, -1))
    return torch.where(total > 0, inside / total, CHANCE).clamp(max=1)


def without_mass(maps: Tensor) -> Tensor:
    """Whether a map has no positive score at all, and so says nothing of the class.

    Args:
        maps: As `cell_scores` takes them, (B, 4, h, w).

    Returns:
        bool, (B, 4).

    Raises:
        ValueError: As `cell_scores`.
    """
    return (_positive(maps) == 0).all(dim=-1).all(dim=-1)


def class_correlation(maps: Tensor) -> Tensor:
    """How much the maps of a mosaic's classes are alike: the mean of Pearson's correlation over pairs of classes.

    1 for maps that do not depend on the class. Two equal maps count as 1, constant ones too; a constant map and
    one that is not count as 0.

    Args:
        maps: As `cell_scores` takes them, (B, 4, h, w); negative scores count as they are.

    Returns:
        In [-1, 1], float64, (B,).

    Raises:
        ValueError: As `cell_scores`.

    >>> ramp = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> class_correlation(torch.stack([ramp, ramp, ramp, -ramp])[None]).round(decimals=6)
    tensor([0.], dtype=torch.float64)
    """
    _check(maps)
    scores = maps.double().flatten(2)
    constant = (scores == scores[..., :1]).all(dim=-1, keepdim=True)
    centred = (scores - scores.mean(dim=-1, keepdim=True)).masked_fill(constant, 0)
    norms = centred.norm(dim=-1)
    scale = norms[:, :, None] * norms[:, None, :]
    correlation = torch.where(scale > 0, centred @ centred.mT / scale, 0).clamp(-1, 1)
    equal = (scores[:, :, None] == scores[:, None, :]).all(dim=-1)
    one, other = torch.triu_indices(CELLS, CELLS, offset=1)
    return correlation.masked_fill(equal, 1)[:, one, other].mean(dim=1)


def _cells(height: int, width: int) -> Tensor:
    """Which part of each patch's area lies in each cell, the cells row by row, float64 (4, h, w)."""
    of_axis = []
    for patches in (height, width):
        first = (patches / 2 - torch.arange(patches, dtype=torch.float64)).clamp(0, 1)
        of_axis.append(torch.stack([first, 1 - first]))
    rows, columns = of_axis
    return (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)


def _positive(maps: Tensor) -> Tensor:
    """The positive part of maps that are what they should be, float64."""
    _check(maps)
    return maps.double().clamp(min=0)


def _check(maps: Tensor) -> None:
    """Refuse maps of another shape, and those that are not finite."""
    if maps.ndim != 4 or maps.shape[1] != CELLS or maps.numel() == 0:
        raise ValueError(
            f"maps have shape {tuple(maps.shape)}, not (B, {CELLS}, h, w): one map for the class of each cell"
        )
    broken = (~maps.isfinite()).flatten(2).sum(dim=-1)
    if broken.any():
        mosaic, cell = broken.nonzero()[0].tolist()
        raise ValueError(
            f"mosaic {mosaic}, the map of cell {cell}: {broken[mosaic, cell]} of {maps[0, 0].numel()} scores are "
            "not finite; look at the weights, or leave this map out"
        )
