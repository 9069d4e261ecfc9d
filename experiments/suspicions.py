"""Why AR is above GAR on CUB-20: the suspicions that `experiments.inquire` measures, and its part of real.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from experiments.summary import markdown, signed
from experiments.tabulate import COMMITTED

FOLDER = COMMITTED / "inquiry"
# Points: about a quarter of the gap between GAR - AR on ImageNet images (some +10) and on fine-tuned CUB-20 (some -10).
MARGIN = 5.0

# Which way a suspicion should move GAR - AR: a condition that takes the suspect away should move it towards GAR.
Expected = Literal["up", "down", "none"]
Outcome = Literal["for", "against", "undecided"]


class Suspicion(NamedTuple):
    """What may be to blame, what would then be seen, and what its changes are measured against."""

    title: str
    expects: str


IMAGES = Suspicion(
    "The images",
    "before any fine-tuning GAR - AR is higher on ImageNet images than on CUB-20's, animals or not",
)
TRAINING = Suspicion(
    "Fine-tuning",
    "GAR - AR is higher after fewer epochs than after the last, highest with the backbone frozen",
)
CLASSES = Suspicion(
    "Few classes",
    "on a frozen backbone, asked for its own prediction, a head of fewer classes lowers GAR - AR",
)
SATURATION = Suspicion("Saturation", "differentiating something else than the logit raises GAR - AR")
NORMALISATION = Suspicion(
    "Normalisation", "not normalising rows, or gradients of another size, raise GAR - AR"
)
COVERAGE = Suspicion("Levels and blocks", "ranks instead of values, or late blocks alone, raise GAR - AR")
SIZE = Suspicion(
    "Object size", "of objects of equal size, GAR - AR is the same on both data sets before fine-tuning"
)
SUSPICIONS = (IMAGES, SIZE, CLASSES, TRAINING, SATURATION, NORMALISATION, COVERAGE)


def outcome(expected: Expected, change_low: float, change_high: float) -> Outcome:
    """Whether a condition's change speaks for the suspicion.

    Args:
        expected: The way that the suspicion says the difference moves.
        change_low: Lower end of the change's 95% interval, in points.
        change_high: Its upper end.

    Returns:
        Where a movement is expected: "for" if the interval lies on that side of 0, "against" if it leaves out a change
        of MARGIN that way. Where none is: "for" if it lies within MARGIN of 0, "against" if it leaves out 0. Else
        "undecided".
    """
    if expected == "none":
        if change_low > 0 or change_high < 0:
            return "against"
        return "for" if -MARGIN < change_low and change_high < MARGIN else "undecided"
    low, high = (change_low, change_high) if expected == "up" else (-change_high, -change_low)
    if low > 0:
        return "for"
    return "against" if high < MARGIN else "undecided"


def section(folder: Path) -> str:
    """The inquiry as Markdown; empty if it was not made."""
    if not (folder / "inquiry.csv").is_file():
        return ""
    found = pd.read_csv(folder / "inquiry.csv")
    lines: list[tuple[str, ...]] = [
        ("suspicion, condition", "images", "AR", "GAR", "GAR - AR", "change", "speaks")
    ]
    lines.append(("---",) * len(lines[0]))
    for suspicion in SUSPICIONS:
        rows = found[found["suspicion"] == suspicion.title]
        lines.append((f"**{suspicion.title}**: {suspicion.expects}", *("",) * 6))
        for row in rows.to_dict("records"):
            change = "reference"
            if pd.notna(row["change"]):
                change = signed(row["change"], row["change_low"], row["change_high"])
            lines.append(
                (
                    *(row["condition"], str(row["n_images"]), f"{row['ar']:.1f}", f"{row['gar']:.1f}"),
                    signed(row["difference"], row["ci_low"], row["ci_high"]),
                    *(change, "" if pd.isna(row["change"]) else row["outcome"]),
                )
            )
    return markdown(lines)
