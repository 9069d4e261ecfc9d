"""Which arguments of `vitol.scoring.score_methods` contradict each other: found before any map is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitol.datasets.splits import Split
from vitol.measurements import FLOORS
from vitol.readings import FIXED, POLICIES, VALIDATION
from vitol.wording import counted

if TYPE_CHECKING:
    from vitol.scoring import Method

USUAL_POLICIES = (POLICIES[0],)  # without being asked for


def check_methods(methods: Sequence[Method], floors: bool) -> None:
    """Refuse methods that cannot be told apart."""
    if not methods:
        raise ValueError("no method was given; give at least one folder of maps")
    names = [*(method.name for method in methods), *(FLOORS if floors else ())]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"two methods are called {twice!r}; give each a name of its own (--maps NAME=FOLDER)"
        )


def check_policies(
    methods: Sequence[Method],
    validation: Split | None,
    val_cut: bool,
    policies: Sequence[str],
    fixed: float | None,
) -> None:
    """Refuse policies that lack what they need, before any map is read."""
    if not policies or len(set(policies)) < len(policies):
        raise ValueError(f"policies are {list(policies)}; give at least one, and each once")
    unknown = next((policy for policy in policies if policy not in POLICIES), None)
    if unknown is not None:
        raise ValueError(f"policy {unknown!r} is unknown; choose from {', '.join(POLICIES)}")
    if FIXED in policies and fixed is None:
        raise ValueError("policy fixed is asked for without a threshold; add one, such as --threshold 0.2")
    if FIXED not in policies and fixed is not None:
        raise ValueError(
            "a threshold is given, but not the policy that reads at it; add --policy fixed, or leave --threshold out"
        )
    if fixed is not None and not 0 <= fixed < 1:
        raise ValueError(f"threshold {fixed} is outside [0, 1); thresholds are fractions of a map's maximum")
    if validation is not None and val_cut:
        raise ValueError("thresholds can be chosen on a validation split or on a cut, not on both")
    if VALIDATION not in policies or val_cut:
        return
    if validation is None:
        raise ValueError(
            "policy validation needs other images to choose thresholds on: give their maps and metadata "
            "(--val-maps, --val-metadata), or hold a third of the images out for that (--val-cut)"
        )
    for method in methods:
        if method.validation is None:
            raise ValueError(
                f"{method.name} has no maps of the validation split (--val-maps {method.name}=FOLDER)"
            )
        for what in ("logits", "predicted"):
            if getattr(method.files, what) and not getattr(method.validation, what):
                option = "--val-logits" if what == "logits" else "--val-predicted-maps"
                raise ValueError(
                    f"{method.name} has {what} of the split to score, but not of the validation split ({option}); "
                    "thresholds of what is measured with them are chosen there"
                )


def check_masked(
    methods: Sequence[Method],
    masks: Path | None,
    validation: Split | None,
    val_cut: bool,
    policies: Sequence[str],
    fixed: float | None,
) -> Path:
    """Refuse what has no meaning for a split that lists masks; returns the folder that their paths start from."""
    if masks is None:
        raise ValueError(
            "the split lists masks and no boxes: give the folder that their paths start from (--masks)"
        )
    if validation is not None or val_cut or fixed is not None or tuple(policies) != USUAL_POLICIES:
        raise ValueError(
            "objects of the split are masks, which are scored by PxAP: it has no threshold to choose or to give; "
            "leave --policy, --val-maps, --val-cut and --threshold out"
        )
    for method in methods:
        if method.files.logits or method.files.predicted:
            raise ValueError(
                f"{method.name} has logits or maps of the predicted class; PxAP, the metric of masks, has no use for "
                "them: leave --logits and --predicted-maps out"
            )
    return masks


def check_other_images(split: Split, validation: Split) -> None:
    """Refuse to choose thresholds on the images that are scored, or on images without boxes."""
    if validation.masks:
        raise ValueError(
            "the images to choose thresholds on have masks and no boxes (--val-metadata); give others"
        )
    scored = set(split.ids)
    shared = [image for image in validation.ids if image in scored]
    if shared:
        raise ValueError(
            f"{counted(len(shared), 'image')} of the {len(validation):,} to choose thresholds on would be scored, "
            f"too, the first {shared[0]}; give other images (--val-maps, --val-metadata), or hold a third of the "
            "images out (--val-cut)"
        )


def check_numbers(replicates: int, seed: int, workers: int | None) -> None:
    """Refuse numbers that nothing can be made of."""
    if replicates < 1:
        raise ValueError(
            f"replicates is {replicates}; intervals need at least 1, and 2000 are usual (--replicates)"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a whole number from 0 (--seed)")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1, or leave it out for one a core (--workers)")
