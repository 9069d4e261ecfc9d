"""Scores as files: JSON with everything, tidy CSVs, a picture.

`report.json` (`report`), percentages in percent, thresholds fractions, null where there is none:

    command, versions     what was asked for, and of what vitol, python, numpy, ... it was made
    n_images, left_out    images scored; ids of images left out because a map is missing
    policies, threshold   the policies; the threshold of `fixed`
    validation            n_images held out to choose thresholds on; cut: whether from the same split
    bootstrap             replicates, seed, level
    methods               one object a method, floors last:
        name, floor, maps, predicted_maps, logits, naming
        measurements      metric, policy, value, ci_low, ci_high, n_images, threshold
        traps             by kind of map: n_maps, constant, not_finite, unstretched, sizes, missing, extra, and in
                          words: said
        curves            thresholds (255), and at each the share of images with an IoU of at least 0.3, 0.5, 0.7;
                          null where objects are masks
        views             view, group, n_images, value, ci_low, ci_high, mean_iou (`vitol.views`, `vitol.failures`)
    differences           a, b, metric, policy, value (a - b), ci_low, ci_high, n_images

`scores.csv`, `differences.csv` and `views.csv` hold the same rows, `score.png` is the picture.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import pandas as pd

from vitol import __version__
from vitol.accuracy import Localizations
from vitol.atomic import atomic_file
from vitol.boxes import DISTINCT_THRESHOLDS
from vitol.datasets.faults import Fault
from vitol.score_figure import MOST, headline_figure, score_figure
from vitol.score_picture import method_headlines, method_view
from vitol.scores import MethodScores, Scores
from vitol.views import DELTAS, accuracy_over_threshold
from vitol.wording import counted

REPORT, PICTURE = "report.json", "score.png"
TABLES = ("scores.csv", "differences.csv", "views.csv")
FILES = (REPORT, *TABLES, PICTURE)
FAULT_COLUMNS = ["where", "seen", "remedy", "image"]
DIGITS = 6  # after the point: far more than an interval means, far fewer than processors differ in


def scores_frame(scores: Scores) -> pd.DataFrame:
    """One row a method, metric and policy: value and interval in percent, images, threshold, seed."""
    rows = [
        {"method": method.name, **_measured(entry), "seed": scores.seed}
        for method in scores.methods
        for entry in method.measurements
    ]
    return pd.DataFrame(rows)


def differences_frame(scores: Scores) -> pd.DataFrame:
    """One row a pair of methods, metric and policy: a - b with its paired interval, in percent."""
    columns = ["a", "b", "metric", "policy", "value", "ci_low", "ci_high", "n_images"]
    return pd.DataFrame(_differences(scores), columns=columns).assign(seed=scores.seed)


def views_frame(scores: Scores) -> pd.DataFrame:
    """The views of all methods under each other, the method's name in front."""
    frames = [method.views.assign(method=method.name) for method in scores.methods]
    frame = pd.concat(frames, ignore_index=True)
    return frame[["method", *frame.columns.drop("method")]].round(DIGITS)


def report(scores: Scores, command: str = "") -> dict[str, Any]:
    """Everything about the scores, JSON-able; the module's head describes it."""
    return {
        "command": command,
        "versions": {
            "vitol": __version__,
            "python": platform.python_version(),
            **{library.__name__: library.__version__ for library in (np, cv2, numba, pd)},
        },
        "n_images": len(scores.split),
        "left_out": list(scores.left_out),
        "policies": list(scores.policies),
        "threshold": scores.fixed,
        "validation": {"n_images": scores.validation, "cut": scores.val_cut},
        "bootstrap": {"replicates": scores.replicates, "seed": scores.seed, "level": 95},
        "methods": [_method(method) for method in scores.methods],
        "differences": _differences(scores),
    }


def save(scores: Scores, folder: Path, force: bool = False, command: str = "") -> None:
    """Write `FILES` into a folder; they get their names when all of them are written.

    Args:
        scores: What to write.
        folder: Made if it is not there.
        force: Overwrite files of the same names.
        command: What was asked for, as it is to stand in the report.

    Raises:
        ValueError: If such files are there already, or the folder is a file.
        OSError: If it cannot be written to.
    """
    check_free(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.", suffix=".partial") as name:
        partial = Path(name)
        _write_json(report(scores, command), partial / REPORT)
        frames = (scores_frame(scores), differences_frame(scores), views_frame(scores))
        for file, frame in zip(TABLES, frames, strict=True):
            frame.to_csv(partial / file, index=False, lineterminator="\n")
        draw(scores, partial / PICTURE)
        folder.mkdir(exist_ok=True)
        for file in FILES:
            (partial / file).replace(folder / file)


def save_report(scores: Scores, path: Path, force: bool = False, command: str = "") -> None:
    """Write the report alone, as JSON; errors as in `save`."""
    check_free_file(path, force)
    with atomic_file(path) as partial:
        _write_json(report(scores, command), partial)


def save_faults(faults: Sequence[Fault], path: Path) -> None:
    """Write all faults as CSV: where, what was seen there, what to do about it; an older list is replaced."""
    rows = [(fault.where, fault.seen, fault.remedy, fault.image) for fault in faults]
    frame = pd.DataFrame(rows, columns=FAULT_COLUMNS)
    with atomic_file(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n")


def check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that is none, or that holds files that would be written, unless forced."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder to write to")
    for place in (folder / REPORT, folder):  # files are written beside the folder, then moved into it
        check_writable(place)
    taken = [name for name in FILES if (folder / name).exists()]
    if taken and not force:
        raise ValueError(f"{folder / taken[0]} exists already; give another folder, or force (--force)")


def check_free_file(path: Path, force: bool) -> None:
    """Refuse a file that is a folder, or that is there already, unless forced."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file to write to")
    check_writable(path)
    if path.exists() and not force:
        raise ValueError(f"{path} exists already; give another file, or force (--force)")


def check_writable(path: Path) -> None:
    """Refuse a path that could not be made: the nearest parent that is there must be a folder to write to."""
    parent = next(place for place in path.absolute().parents if os.path.lexists(place))
    if not parent.is_dir():
        raise ValueError(f"{path} cannot be written: {parent} is no folder; give another place")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{path} cannot be written: {parent} may not be written to; give another place")


def check_faults_file(path: Path) -> None:
    """Refuse a list of faults that would take the place of a file that is none."""
    check_writable(path)
    ours = ",".join(FAULT_COLUMNS).encode()
    if path.exists() and not (path.is_file() and path.read_bytes()[: len(ours) + 1].rstrip() == ours):
        raise ValueError(
            f"{path}, where faults would be listed, is there and no such list; move it, or write elsewhere"
        )


def draw(scores: Scores, path: Path) -> None:
    """Draw the scores under the first policy; of more than six methods those with the highest headline."""
    metric, policy = scores.headline
    ranked = sorted(scores.methods, key=lambda method: -method.measurement(metric).value)
    drawn = [method for method in scores.methods if method in ranked[:MOST]]
    images = counted(len(scores.split), "image")
    note = f"{images}, policy {policy}." if policy else f"{images} with masks."
    if len(drawn) < len(scores.methods):
        note += f" The {MOST} of {len(scores.methods)} methods with the highest {metric}."
    if not policy:
        headlines = {method.name: method_headlines(method, policy) for method in drawn}
        headline_figure(f"Localization scores of {images}", headlines, path, note)
        return
    views = {method.name: method_view(method, policy) for method in drawn}
    score_figure(f"Localization scores of {images}", views, path, note)


def _method(method: MethodScores) -> dict[str, Any]:
    files = method.files
    paths = (None,) * 3 if files is None else (files.maps, files.predicted, files.logits)
    named = zip(("maps", "predicted_maps", "logits"), paths, strict=True)
    return {
        "name": method.name,
        "floor": files is None,
        **{key: None if path is None else path.as_posix() for key, path in named},
        "naming": method.naming or None,
        "measurements": [_measured(entry) for entry in method.measurements],
        "traps": {
            kind: {
                **asdict(traps),
                "sizes": {f"{height}x{width}": count for (height, width), count in traps.sizes.items()},
                "said": traps.sentences(),
            }
            for kind, traps in method.traps.items()
        },
        "curves": None if method.found is None else _curves(method.found),
        "views": [
            {key: None if cell != cell else cell for key, cell in row.items()}
            for row in method.views.round(DIGITS).to_dict("records")
        ],
    }


def _curves(found: Localizations) -> dict[str, list[float]]:
    curves = accuracy_over_threshold(found.ious).round(DIGITS)
    return {
        "thresholds": DISTINCT_THRESHOLDS.round(DIGITS).tolist(),
        **{f"IoU{round(100 * d)}": curve.tolist() for d, curve in zip(DELTAS, curves, strict=True)},
    }


def _differences(scores: Scores) -> list[dict[str, Any]]:
    """Not made from a frame, which would turn None into NaN."""
    rows = []
    for c in scores.comparisons:
        value, low, high = _ends(c.difference)
        ends = {"value": value, "ci_low": low, "ci_high": high, "n_images": len(scores.split)}
        rows.append({"a": c.a, "b": c.b, "metric": c.metric, "policy": c.policy, **ends})
    return rows


def _measured(entry: Any) -> dict[str, Any]:
    value, low, high = _ends(entry)
    threshold = None if entry.threshold is None else round(entry.threshold, DIGITS)
    return {
        "metric": entry.metric,
        "policy": entry.policy,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n_images": entry.n_images,
        "threshold": threshold,
    }


def _ends(entry: Any) -> list[float | None]:
    """Value and interval, rounded; None where there is none."""
    return [
        None if end != end else round(float(end), DIGITS)
        for end in (entry.value, entry.ci_low, entry.ci_high)
    ]


def _write_json(content: dict[str, Any], path: Path) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
