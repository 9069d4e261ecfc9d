"""Scoring methods on a split whose objects are masks: PxAP, with intervals and paired differences, and nothing else.

A split like that (OpenImages-30k) has no boxes, so there is no MaxBoxAcc, no threshold and no policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vitol.datasets.faults import Fault
from vitol.datasets.splits import Split
from vitol.masks import Masks
from vitol.measurements import FLOORS
from vitol.pxap import BINS, measure_pxap, pixel_counts, scale_mask
from vitol.rectangles import SIZE
from vitol.scored_maps import MAPS, Options, ScoredMaps, look_through, open_maps
from vitol.scores import MethodScores, Scores, comparisons
from vitol.split_masks import SplitMaskReader
from vitol.views import COLUMNS

if TYPE_CHECKING:
    from vitol.scoring import Method


def score_by_masks(
    methods: Sequence[Method], split: Split, root: Path, options: Options, replicates: int, seed: int
) -> tuple[Scores | None, list[Fault]]:
    """Score methods on a split that lists masks.

    Args:
        methods: With the maps of their labels; other files of theirs are not looked at.
        split: The images to score; every one needs a mask.
        root: The folder that the masks' paths start from.
        options: How.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The scores, or None and everything wrong with maps and masks.
    """
    test = open_maps({m.name: replace(m.files, predicted=None) for m in methods}, split, options)
    faults = list(test.faults)
    reader = SplitMaskReader(split if faults else test.split, root)
    names = [*(method.name for method in methods), *(FLOORS if options.floors else ())]
    pixels: dict[str, np.ndarray] = {}
    if faults:  # maps and masks are only looked at, for theirs
        for maps in test.readers.values():
            look_through(f"Checking {maps.source.name}", maps, options)
        look_through("Checking masks", reader, options)
    else:
        pixels = count_pixels(test, names, reader, np.arange(len(test.split)))
    for maps in test.readers.values():
        faults += maps.faults
    if faults := [*faults, *reader.faults]:
        return None, faults
    results = []
    for name in names:
        maps_of_method = test.readers.get((name, MAPS))
        results.append(
            MethodScores(
                name=name,
                files=next((method.files for method in methods if method.name == name), None),
                naming="" if maps_of_method is None else maps_of_method.source.naming,
                found=None,
                measurements=(measure_pxap(pixels[name], replicates, seed),),
                traps=test.traps(name),
                views=pd.DataFrame(columns=COLUMNS),
            )
        )
    scores = Scores(
        methods=tuple(results),
        comparisons=tuple(comparisons(results)),
        split=test.split,
        left_out=tuple(split.ids[row] for row in np.flatnonzero(~test.members)),
        policies=(),
        validation=0,
        val_cut=False,
        fixed=None,
        replicates=replicates,
        seed=seed,
    )
    return scores, []


def count_pixels(
    test: ScoredMaps, names: Sequence[str], masks: Masks, images: np.ndarray
) -> dict[str, np.ndarray]:
    """By method every image's counts that PxAP is made of, uint16 (n, 2, bins).

    Args:
        test: The maps.
        names: The methods, and floors.
        masks: Of n images.
        images: Which images of `test` these are, (n,).
    """

    def counts(row: int) -> list[np.ndarray]:
        mask = scale_mask(masks[row], (SIZE, SIZE))  # once for all methods
        return [pixel_counts(test.score_of(name, images[row]), mask) for name in names]

    # Less than 2**16: a score map has 224 x 224 pixels.
    found = {name: np.empty((len(images), 2, BINS), np.uint16) for name in names}
    for row, of_image in enumerate(test.options.each("Counting pixels", counts, len(images))):
        for name, of_method in zip(found, of_image, strict=True):
            found[name][row] = of_method
    return found
