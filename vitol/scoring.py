"""Scoring methods from the files of their maps: every metric, policy and interval, and who beats whom.

    split = read_scored_split(Path("metadata/test"))
    scores = score_methods([Method("GAR", Files(Path("maps/gar"))), Method("AR", Files(Path("maps/ar")))], split)
    scores["GAR"].measurement("MaxBoxAccV2").value

n images. All methods are scored on the same images, so that differences are paired. Maps are read one at a time
(`vitol.map_folder`): memory holds IoU curves, not maps: 4 KB an image and method, 6 KB with maps of the
predicted class, and another 4 KB with masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vitol.accuracy import Localizations, Measurement, measure
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.splits import Split, cut_by_hash, scan_split, split_faults
from vitol.map_views import map_views
from vitol.mask_folder import MaskReader
from vitol.mask_scoring import count_pixels, score_by_masks
from vitol.pxap import measure_pxap
from vitol.readings import VALIDATION
from vitol.score_checks import check_masked, check_methods, check_numbers, check_other_images, check_policies
from vitol.scored_maps import MAPS, Files, Options, Progress, ScoredMaps, look_through, score_maps
from vitol.scores import MethodScores, Scores, comparisons
from vitol.views import ious_at
from vitol.wording import counted

VIEWED = "IoU50"  # views are read at the threshold of this metric, under the first policy
SHOWN_FAULTS = 20
CUT = 3  # one in so many images is held out by `val_cut`


class MapFaults(DatasetFaults):
    """Everything wrong with the maps and masks that were to be scored."""


@dataclass(frozen=True)
class Method:
    """A method to score: its name, its output, and that on the validation split."""

    name: str
    files: Files
    validation: Files | None = None


def read_scored_split(folder: Path) -> Split:
    """Read a split that is to be scored: as `vitol.datasets.splits.read_split`, but every image needs a box or mask.

    Raises:
        DatasetFaults: A ValueError with everything wrong with it, the first 20 faults in its text.
    """
    split, faults = scan_split(folder)
    faults = faults if split is None else [*faults, *split_faults(split, boxed=True)]
    if split is None or faults:
        raise DatasetFaults(f"{folder} cannot be scored against", faults, shown=SHOWN_FAULTS)
    return split


def score_methods(
    methods: Sequence[Method],
    split: Split,
    validation: Split | None = None,
    val_cut: bool = False,
    masks: Path | None = None,
    policies: Sequence[str] = ("oracle-per-iou",),
    fixed: float | None = None,
    floors: bool = True,
    reference_nan: bool = False,
    allow_missing: bool = False,
    replicates: int = 2000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score methods on a split, each with every metric that its files allow, and compare them.

    Maps give MaxBoxAccV2, its parts and GT-known Loc; logits Top-1 and Top-5 Loc and Cls; maps of the predicted
    class PredictedLoc; masks PxAP. The floors get the logits too if all methods share them. A split that lists masks
    in place of boxes gives PxAP alone.

    Args:
        methods: At least one, with different names.
        split: The images to score; every one needs a box or mask.
        validation: The images to choose thresholds on, for the policy `validation`.
        val_cut: Choose them instead on a third of the split, cut by a hash of the ids
            (`vitol.datasets.splits.cut_by_hash`), and score the rest, under every policy.
        masks: Folder of the images' masks, see `vitol.mask_folder`; of a split that lists masks the folder that
            their paths start from, see `vitol.split_masks`.
        policies: Some of `vitol.accuracy.POLICIES`; the first is the headline's, and the views'.
        fixed: The threshold of the policy `fixed`, a fraction in [0, 1).
        floors: Whether the two baselines that never look at the image stand beside.
        reference_nan: Score maps that are not finite as zeros, as the reference does, and count them.
        allow_missing: Leave out images that lack a map, of any method, and files that belong to no image.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.
        workers: Threads; None takes one a core.
        progress: Told what is done.

    Returns:
        The scores; the same for the same files, whatever the workers.

    Raises:
        MapFaults: A ValueError with everything wrong with maps and masks, the first 20 faults in its text.
        ValueError: If an argument is wrong, or one contradicts another.
    """
    check_methods(methods, floors)
    check_numbers(replicates, seed, workers)
    options = Options(floors, reference_nan, allow_missing, workers, progress or (lambda *_: None))
    if split.masks:
        root = check_masked(methods, masks, validation, val_cut, policies, fixed)
        scores, wrong = score_by_masks(methods, split, root, options, replicates, seed)
        if scores is None:
            raise MapFaults("nothing was scored", wrong, shown=SHOWN_FAULTS)
        return scores
    check_policies(methods, validation, val_cut, policies, fixed)
    if validation is not None:
        check_other_images(split, validation)
    if masks is not None:
        MaskReader(masks, (), split.sizes)  # no folder of masks: said before the maps are read
    others = () if validation is None else validation.ids
    test = score_maps({method.name: method.files for method in methods}, split, options, others)
    faults, held_out = list(test.faults), None
    if validation is not None and VALIDATION in policies:
        files = {method.name: method.validation or method.files for method in methods}
        held_out = score_maps(files, validation, options, split.ids, note=" (validation)")
        faults += held_out.faults

    # The cut depends on the ids alone, not on which maps are missing.
    cut = cut_by_hash(split.ids, len(split) // CUT if val_cut else 0)[test.members]
    images = np.flatnonzero(~cut)
    scored = test.split.select(~cut)
    if val_cut and (not cut.any() or not len(scored)):
        few = f"{counted(len(test.split), 'image')} with maps"
        raise ValueError(f"{few}: too few to cut a third off; give a validation split of its own")
    pixels: dict[str, np.ndarray] = {}
    if masks is not None:
        reader = MaskReader(masks, scored.ids, scored.sizes)
        if faults:  # the masks are only looked at, for theirs
            look_through("Checking masks", reader, options)
        else:
            pixels = count_pixels(test, list(test.found), reader, images)
        faults += reader.faults
    if faults:
        raise MapFaults("nothing was scored", faults, shown=SHOWN_FAULTS)

    results = []
    for number, (name, whole) in enumerate(test.found.items()):
        options.progress("Intervals and views", number * len(scored), len(test.found) * len(scored))
        found, chosen_on = whole, None if held_out is None else held_out.found[name]
        if val_cut:
            found, chosen_on = whole.select(~cut), whole.select(cut)
        if chosen_on is not None and chosen_on.top1 is None:
            # A floor that borrowed the classifier's answers, but could not on the validation split.
            found = replace(found, top1=None, top5=None)
        measurements = measure(
            found, policies, chosen_on if VALIDATION in policies else None, fixed, replicates, seed
        )
        if name in pixels:
            measurements.append(measure_pxap(pixels[name], replicates, seed))
        of_maps = test.readers.get((name, MAPS))
        traps = test.traps(name)
        if held_out is not None:
            traps |= {f"{kind} (validation)": of_kind for kind, of_kind in held_out.traps(name).items()}
        results.append(
            MethodScores(
                name=name,
                files=next((method.files for method in methods if method.name == name), None),
                naming="" if of_maps is None else of_maps.source.naming,
                found=found,
                measurements=tuple(measurements),
                traps=traps,
                views=_views(test, name, found, measurements, images, scored),
            )
        )
    options.progress("Intervals and views", len(results) * len(scored), len(results) * len(scored))
    if gone := [fault for reader in test.readers.values() for fault in reader.faults]:
        raise MapFaults("maps changed while they were scored", gone, shown=SHOWN_FAULTS)
    chosen = int(cut.sum()) if val_cut else len(held_out.split) if held_out else 0
    return Scores(
        methods=tuple(results),
        comparisons=tuple(comparisons(results)),
        split=scored,
        left_out=tuple(split.ids[row] for row in np.flatnonzero(~test.members)),
        policies=tuple(policies),
        validation=chosen,
        val_cut=val_cut,
        fixed=fixed,
        replicates=replicates,
        seed=seed,
    )


def _views(
    test: ScoredMaps,
    name: str,
    found: Localizations,
    measurements: Sequence[Measurement],
    images: np.ndarray,
    split: Split,
) -> pd.DataFrame:
    """A method's results by size, boxes, class and subset, and how its boxes fail, at one threshold."""
    threshold = next(entry.threshold for entry in measurements if entry.metric == VIEWED)
    assert threshold is not None  # IoU50 has a single one
    predicted = test.largest_boxes(name, threshold, images)
    return map_views(ious_at(found.ious, threshold), predicted, split)
