"""The tidy frame of measurements: what every score is of, in one row a score.

Numbers that the paper published are kept in the same columns, with their source beside them. Percentages are
in percent.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from vitol.cams.about import RIVALS

TEXT_COLUMNS = "dataset split subset backbone variant position map preset metric policy".split()
COLUMNS = [*TEXT_COLUMNS, "value", "ci_low", "ci_high", "n_images", "seed"]
BOX_METRICS = ["MaxBoxAccV2", "IoU30", "IoU50", "IoU70"]
TOP1_METRICS = ["Top1Loc", "GTKnownLoc", "GTKnownLocV1", "PredictedLoc", "Top1Cls"]
MORE_METRICS = ["Top5Loc", "Top5Cls", "PxAP"]
# Maps that never look at the image, and their titles.
GAUSSIAN, FULL_IMAGE = "Gaussian", "Full image"
FLOORS = {GAUSSIAN: "Centred Gaussian", FULL_IMAGE: "Full image"}
_KNOWN = {
    "variant": ["", "baseline", "control", "padl", *RIVALS],
    "position": ["", "MMp", "MpM"],
    "preset": ["", "release", "paper"],
    "policy": ["", "oracle-per-iou", "oracle-single", "validation", "fixed"],
    "metric": BOX_METRICS + TOP1_METRICS + MORE_METRICS,
}
ENDS = ["ours", "ci_low", "ci_high"]


def read_scores(path: Path) -> pd.DataFrame:
    """Read measurements, differences or published numbers from CSV; empty text stays "", and is no NaN."""
    numbers = {"value", "ci_low", "ci_high", "n_images", "seed", "row", "difference", "seed_sd", "seeds"}
    text = {name: "str" for name in pd.read_csv(path, nrows=0).columns if name not in numbers}
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={key: [""] for key in numbers})


def validate_measurements(frame: pd.DataFrame) -> None:
    """Refuse a frame that would make a wrong, or a silently empty, table.

    Args:
        frame: One row a score, with `COLUMNS`; may have no rows.

    Raises:
        ValueError: Columns are missing, a name is unknown or contradicts another, a percentage is not in
            0..100, an interval is upside down, or a score occurs twice; the text names the row, from 0.
    """
    need_columns(frame, COLUMNS, "measurements")
    percent, whole = ["value", "ci_low", "ci_high"], ["n_images", "seed"]
    for column in [] if frame.empty else percent + whole:
        kinds, need = ("iu", "whole numbers") if column in whole else ("iuf", "numbers")
        if frame[column].dtype.kind not in kinds:
            raise ValueError(f"measurements: {column} is of type {frame[column].dtype}; it needs {need}")
    of_class = frame["metric"].isin(["Top1Cls", "Top5Cls"])
    no_preset = frame["map"].isin(["", *FLOORS]) | frame["variant"].isin(list(RIVALS))
    need_preset = frame["map"].isin(["AR", "GAR", "LRP"]) & ~no_preset
    wrong_preset = (no_preset & (frame["preset"] != "")) | (need_preset & (frame["preset"] == ""))
    without = of_class | (frame["metric"] == "PxAP")
    in_place = (frame["variant"] == "padl") == (frame["position"] != "")
    repeated = frame.duplicated([*TEXT_COLUMNS, "n_images", "seed"])
    faults = [(~frame[c].map(lambda s: isinstance(s, str)), c, "text, '' when empty") for c in TEXT_COLUMNS]
    faults += [(~frame[c].isin(known), c, f"one of {known}") for c, known in _KNOWN.items()]
    faults += [(~frame[c].between(0, 100), c, "0 to 100 percent, in every row") for c in percent]
    faults += [
        (~in_place, "position", "a place for padl, '' for others"),
        (
            of_class != (frame["map"] == ""),
            "map",
            "'' for Top1Cls and Top5Cls, a map's name for other metrics",
        ),
        (
            without != (frame["policy"] == ""),
            "policy",
            "'' for Top1Cls, Top5Cls and PxAP, a policy for others",
        ),
        (wrong_preset, "preset", "a preset for AR, GAR and LRP, '' for floors and rivals"),
        (frame["ci_low"] > frame["ci_high"], "ci_low", "at most ci_high"),
        (frame["n_images"] < 1, "n_images", "at least 1"),
        (repeated, "value", "one row a score, but an earlier row has this one"),
    ]
    for fault, column, need in faults:
        if fault.any():
            at = int(np.argmax(fault))
            score = "/".join(str(text) for text in frame[[*TEXT_COLUMNS, "seed"]].iloc[at])
            seen = f"row {at} ({score}): {column} is {frame[column].iloc[at]!r}"
            raise ValueError(f"measurements: {seen}; needed: {need}")


def mean_over_seeds(measurements: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Average what agrees in `keys`, all but the seed, to ours, ci_low, ci_high; seeds counts the rows.

    `seed_sd` is the standard deviation of the seeds' values, NaN for a single one: what a new training changes,
    where the interval says what other images would.
    """
    groups = measurements.sort_values("seed").rename(columns={"value": "ours"}).groupby(keys)
    means = groups[ENDS].mean().assign(seed_sd=groups["ours"].std()).round(2)
    return means.assign(seeds=groups.size()).reset_index()


def beside_transformers(scores: pd.DataFrame) -> pd.DataFrame:
    """File a convolutional rival's scores under the transformers measured on the same images, if it has one network.

    Args:
        scores: Of measurements, any columns with those that name images, backbone and variant.

    Returns:
        The other rows as they were, then the rival's, once for each transformer there.
    """
    images = ["dataset", "split", "subset", "n_images"]
    of_rivals = scores["variant"].isin([key for key, rival in RIVALS.items() if not rival.transformer])
    transformers = scores.loc[~of_rivals, [*images, "backbone"]].drop_duplicates()
    networks = scores[of_rivals].groupby([*images, "variant"])["backbone"].transform("nunique")
    moved = scores[of_rivals][networks == 1].merge(transformers, on=images, suffixes=("_own", ""))
    own = [*images, "variant", "backbone"]
    gone = moved.rename(columns={"backbone_own": "backbone", "backbone": "beside"})[own].drop_duplicates()
    stay = scores.merge(gone, how="left", on=own, indicator=True)["_merge"].eq("left_only").to_numpy()
    return pd.concat([scores[stay], moved[scores.columns]], ignore_index=True)


def floors_of_any_model(scores: pd.DataFrame) -> pd.DataFrame:
    """File the class-free scores of a map that sees no image under p-ADL: any model's are the same.

    Those beside a rival are left out: our models have them on the same images. Those that ask for a class stay with
    their model.

    Args:
        scores: Of measurements, any columns with those that name map, metric, variant and position.
    """
    scores = scores[~(scores["map"].isin(FLOORS) & scores["variant"].isin(list(RIVALS)))]
    free = scores["map"].isin(FLOORS) & ~scores["metric"].str.startswith("Top")
    first = scores[free].sort_values(["variant", "position"], ascending=[False, True])
    same = [
        key
        for key in (*TEXT_COLUMNS, "n_images", "seed")
        if key in scores and key not in ("variant", "position")
    ]
    first = first.drop_duplicates(same)
    return pd.concat([scores[~free], first.assign(variant="padl", position="MMp")])


def span(seeds: pd.Series) -> str:
    """How many seeds were run, as "3" or "1-3"; "" where none was."""
    run = sorted(set(seeds) - {0})
    return "-".join(str(count) for count in dict.fromkeys(run[:1] + run[-1:]))


def need_columns(frame: pd.DataFrame, columns: list[str], name: str) -> None:
    """Refuse a frame that lacks columns; the text names it, them, and the columns that are there."""
    missing = ", ".join(column for column in columns if column not in frame)
    if missing:
        raise ValueError(f"{name}: columns missing: {missing}; there are: {', '.join(map(str, frame))}")
