"""Why AR is above GAR on CUB-20: the suspicions that `experiments.inquire` measures, and its part of real.md."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.summary import markdown
from experiments.tabulate import COMMITTED

FOLDER = COMMITTED / "inquiry"


class Suspicion(NamedTuple):
    """What may be to blame, and what its conditions would look like if it were not."""

    title: str
    refuted_if: str


IMAGES = Suspicion(
    "The images", "GAR is as far above AR on CUB-20 as on ImageNet images before any fine-tuning"
)
TRAINING = Suspicion("Fine-tuning", "the difference stays as it was over the epochs")
CLASSES = Suspicion(
    "Few classes", "heads of 5, 10 and 20 classes on the same frozen backbone agree with each other"
)
SATURATION = Suspicion("Saturation", "what is differentiated makes no difference")
NORMALISATION = Suspicion("Normalisation", "neither rows nor the size of gradients make a difference")
COVERAGE = Suspicion("Levels and blocks", "ranks instead of values, or late blocks alone, make no difference")
SIZE = Suspicion("Object size", "the difference is the same for small and large objects")
SUSPICIONS = (IMAGES, TRAINING, CLASSES, SATURATION, NORMALISATION, COVERAGE, SIZE)


def change_of(row: pd.Series) -> str:
    """Whether a condition moves GAR against AR, by the interval of the change."""
    if row["change_low"] > 0:
        return "towards GAR"
    return "towards AR" if row["change_high"] < 0 else "no change to be told"


def section(folder: Path = FOLDER) -> str:
    """The inquiry as Markdown; empty if it was not made."""
    if not (folder / "inquiry.csv").is_file():
        return ""
    found = pd.read_csv(folder / "inquiry.csv")
    lines: list[tuple[str, ...]] = [("suspicion, condition", "images", "AR", "GAR", "GAR - AR", "change", "")]
    lines.append(("---",) * len(lines[0]))
    for suspicion in SUSPICIONS:
        rows = found[found["suspicion"] == suspicion.title]
        lines.append((f"**{suspicion.title}**; refuted if {suspicion.refuted_if}", *("",) * 6))
        for _, row in rows.iterrows():
            change, verdict = "", ""
            if pd.notna(row["change"]):
                change = f"{row['change']:+.1f} [{row['change_low']:+.1f}, {row['change_high']:+.1f}]"
                verdict = change_of(row)
            lines.append(
                (
                    *(row["condition"], str(row["n_images"]), f"{row['ar']:.1f}", f"{row['gar']:.1f}"),
                    f"{row['difference']:+.1f} [{row['ci_low']:+.1f}, {row['ci_high']:+.1f}]",
                    *(change, verdict),
                )
            )
    return markdown(lines)
