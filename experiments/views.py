"""Views of a model's maps beyond the tables, as files: stage localize writes them, stage plot draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.names import map_files
from vitol.accuracy import Localizations
from vitol.boxes import DISTINCT_THRESHOLDS
from vitol.datasets.splits import Split
from vitol.failures import predicted_boxes
from vitol.map_views import map_views
from vitol.score_figure import MethodView
from vitol.tables import headline
from vitol.views import COLUMNS, DELTAS, accuracy_over_threshold, ious_at

VIEWS, CURVES = "views.csv", "curves.csv"
SHOWN_PRESETS = ("release", "")  # rivals have no presets
VIEWED = "IoU50"  # views are read at this metric's threshold
DRAWN = ("MaxBoxAccV2", "IoU30", VIEWED, "IoU70", "GTKnownLocV1", "PredictedLoc", "Top1Loc", "PxAP")


def views_of_seed(
    maps: Path,
    model: str,
    measured: pd.DataFrame,
    scored: dict[str, Localizations],
    split: Split,
    class_names: tuple[str, ...],
) -> pd.DataFrame:
    """Views of every map of a model, preset release: `vitol.views.COLUMNS` after the map's name.

    Args:
        maps: Folder of the test split's maps.
        model: What made them.
        measured: Their measurements, of one seed.
        scored: What they say of each image, by file.
        split: The test split.
        class_names: Of the data set.
    """
    frames = []
    for (name, preset), file in map_files(model).items():
        if preset in SHOWN_PRESETS:
            rows = measured[headline(measured) & (measured["map"] == name)]
            threshold = float(rows.loc[rows["metric"] == VIEWED, "threshold"].item())
            boxes = predicted_boxes(
                np.load(maps / f"{file}.npy", allow_pickle=False), threshold, names=split.ids
            )
            frame = map_views(ious_at(scored[file].ious, threshold), boxes, split, class_names)
            frames.append(frame.assign(map=name))
    return pd.concat(frames, ignore_index=True)[["map", *COLUMNS]]


def curves_of_seed(model: str, scored: dict[str, Localizations]) -> pd.DataFrame:
    """Accuracy over threshold of every map of a model, preset release: map, threshold, a column a delta."""
    frames = []
    for (name, preset), file in map_files(model).items():
        if preset in SHOWN_PRESETS:
            accuracy = accuracy_over_threshold(scored[file].ious)
            columns = dict(zip(map(str, DELTAS), accuracy, strict=True))
            frames.append(pd.DataFrame({"map": name, "threshold": DISTINCT_THRESHOLDS, **columns}))
    return pd.concat(frames, ignore_index=True)


def method_view(folder: Path, name: str, seed: int) -> MethodView:
    """What the picture shows of one map of a model, from what stage localize wrote of it.

    Args:
        folder: Scores of the model.
        name: Of the map.
        seed: Of the training.
    """
    of = {}
    for file in ("measurements.csv", "thresholds.csv", VIEWS, CURVES):
        frame = pd.read_csv(folder / file, keep_default_na=False, dtype={"group": "str"})
        of[file] = frame[(frame["map"] == name) & (frame["seed"] == seed)]
    of = {file: frame[headline(frame)] if "policy" in frame else frame for file, frame in of.items()}
    rows = of["measurements.csv"].to_dict("records")
    chosen = of["thresholds.csv"].set_index("metric")["threshold"]
    views = of[VIEWS].astype({column: "float" for column in ("value", "ci_low", "ci_high", "mean_iou")})
    n_images = rows[0]["n_images"]
    part = {view: of_view.set_index("group")["value"] for view, of_view in views.groupby("view", sort=False)}
    headlines = {row["metric"]: (row["value"], row["ci_low"], row["ci_high"]) for row in rows}
    return MethodView(
        n_images=n_images,
        headlines={metric: headlines[metric] for metric in DRAWN if metric in headlines},
        curves=of[CURVES][[str(delta) for delta in DELTAS]].to_numpy(dtype=float).T,
        thresholds={delta: float(chosen[f"IoU{round(100 * delta)}"]) for delta in DELTAS},
        histogram=(part["iou histogram"] * n_images / 100).round().astype(int).to_numpy(),
        failures={str(category): value for category, value in part["failure"].items()},
        groups=views[COLUMNS],
    )
