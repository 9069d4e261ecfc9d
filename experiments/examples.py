"""Test images with the maps and boxes that the grid's models made of them: what pictures and notebooks show.

n images of the test split, k true boxes of an image, h x w map grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from PIL import Image

from experiments.inputs import classes, images_root
from experiments.names import OF_CLASS, PREDICTED, named, shown_file
from experiments.params import Params
from experiments.sections import is_registered
from experiments.stage import RESULTS, checkpoint_path, data_folder, maps_folder, scores_folder
from vitol.bootstrap import side_of_zero
from vitol.boxes import boxes_at, score_map
from vitol.datasets.splits import Split, read_split
from vitol.failures import Failures, failures, predicted_boxes
from vitol.measurements import read_scores
from vitol.overlays import NO_BOXES, Overlay
from vitol.rectangles import scaled_truths
from vitol.tables import POLICY, headline

BOX_METRIC = "GTKnownLocV1"  # boxes are drawn at this metric's threshold: the largest contour's box, IoU 0.5
TITLE = 28  # characters above an image


@dataclass(frozen=True)
class Examples:
    """A data set and backbone of the grid, with the maps that one seed's models made of its test images.

    Attributes:
        dataset: Its name in the grid.
        backbone: Likewise.
        models: Of the grid.
        seed: Of the training.
        root: The folder of the images.
    """

    dataset: str
    backbone: str
    models: tuple[str, ...]
    seed: int
    root: Path

    @classmethod
    def of(cls, params: Params, dataset: str, backbone: str) -> Examples:
        """Those of the grid's first seed."""
        root = images_root(dataset, params.grid.datasets[dataset])
        return cls(dataset, backbone, tuple(params.grid.models), params.seeds[0], root)

    @classmethod
    def for_notebooks(cls, params: Params) -> Examples:
        """Those of the grid's first registered data set, or of its first data set where none is registered."""
        sources = params.grid.datasets
        dataset = next((name for name in sources if is_registered(sources[name])), next(iter(sources)))
        return cls.of(params, dataset, params.grid.backbones[0])

    @property
    def padl(self) -> str:
        """The model with p-ADL that the paper's figures are of, or the last one of a grid without it."""
        return "mmp" if "mmp" in self.models else self.models[-1]

    @property
    def checkpoint(self) -> dict[str, Path]:
        """The weights of every model."""
        return {
            model: checkpoint_path(self.dataset, self.backbone, model, self.seed) for model in self.models
        }

    @cached_property
    def split(self) -> Split:
        """The test split."""
        return read_split(data_folder(self.dataset) / "test")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return classes(self.dataset)

    def spread(self, count: int) -> list[int]:
        """So many images or a few more, equally many of every subset, spread over it; chosen without looking."""
        names = np.array(self.split.subsets or ("all",) * len(self.split))
        groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
        each = -(-count // len(groups))
        places = ((group, len(group) * (2 * k + 1) // (2 * each)) for group in groups for k in range(each))
        return list(dict.fromkeys(int(group[at]) for group, at in places))

    def pixels(self, index: int) -> np.ndarray:
        """An image as RGB, (H, W, 3) uint8."""
        with Image.open(self.root / self.split.ids[index]) as image:
            return np.asarray(image.convert("RGB"))

    def maps(self, model: str, name: str, predicted: bool = False) -> np.ndarray:
        """Maps of a model for the labels, or for the predicted classes, read as they are asked for, (n, h, w)."""
        file = shown_file(model, name)
        return self._of_model(model, file + PREDICTED if predicted and file in OF_CLASS else file)

    def logits(self, model: str) -> np.ndarray:
        """What a model says of every image, (n, classes)."""
        return self._of_model(model, "logits")

    def threshold(self, model: str, name: str) -> float:
        """The threshold at which most boxes of the largest contour are right, over the whole split."""
        return float(self._headline("thresholds.csv", model, name, BOX_METRIC)["threshold"].item())

    def measured(self, model: str, name: str, metric: str) -> float:
        """A measurement of this seed under the policy of the tables, percent."""
        return float(self._headline("measurements.csv", model, name, metric)["value"].item())

    def failures(self, model: str, name: str) -> Failures:
        """What became of every image's box of the largest contour, drawn anew from the maps."""
        boxes = predicted_boxes(self.maps(model, name), self.threshold(model, name), names=self.split.ids)
        truths = scaled_truths(self.split.boxes, self.split.sizes, len(self.split), self.split.ids)
        return failures(boxes, truths, self.split.ids)

    def bare(self, index: int, title: str = "") -> Overlay:
        """An image with its true boxes, named after its subset and class."""
        split = self.split
        subset = f"{split.subsets[index]}: " if split.subsets else ""
        named = f"{subset}{self.class_names[split.labels[index]].partition(',')[0]}"
        return Overlay(self.pixels(index), (title or named)[:TITLE], None, split.boxes[index], NO_BOXES)

    def overlay(self, index: int, model: str, name: str, title: str = "") -> Overlay:
        """An image with its true boxes, a model's map for the label, and the box of the map's largest contour."""
        title = title or f"{named(model).title}: {name}"
        return self.over(index, self.maps(model, name)[index], title, self.threshold(model, name))

    def over(
        self, index: int, localization_map: np.ndarray, title: str, threshold: float | None = None
    ) -> Overlay:
        """An image with its true boxes, a map (h, w) of it, and the largest contour's box above a threshold, if any."""
        score, boxes = score_map(localization_map), NO_BOXES
        if threshold is not None:
            scale = self.split.sizes[index][[0, 1, 0, 1]] / score.shape[0]
            boxes = boxes_at(score, threshold, "largest") * scale
        return Overlay(self.pixels(index), title[:TITLE], score, self.split.boxes[index], boxes)

    @property
    def origin(self) -> str:
        """Data set, n, backbone and seed, for captions."""
        return f"{self.dataset} (test, n={len(self.split)}), {self.backbone}, seed {self.seed}"

    def caption(self, what: str) -> str:
        """What stands below images with maps: what they show, of which data set, models and policy, and n."""
        return (
            f"{self.origin}. {what} Green: the true "
            f"boxes; red: the box of the map's largest contour, at the threshold where most of them are right (IoU "
            f"0.5) on these n images ({POLICY}). Heat: the map, from 0 (dark) to its maximum (bright)."
        )

    def says(self, ours: tuple[str, str], theirs: tuple[str, str], metric: str = "MaxBoxAccV2") -> str:
        """What results/differences.csv says of two (model, map), over all seeds, in a sentence."""
        names = [f"{named(model).title} {name}" for model, name in (ours, theirs)]
        found = self.differences(metric)
        sides = found[["model_a", "map_a", "model_b", "map_b"]].to_numpy().tolist()
        if [*ours, *theirs] not in sides:
            return f"{names[0]} against {names[1]}: not run"
        row = found.iloc[sides.index([*ours, *theirs])]
        low, high = row["ci_low"], row["ci_high"]
        verdict = {1: "is better than", -1: "is worse than", 0: "cannot be told from"}[
            side_of_zero(low, high)
        ]
        return (
            f"{names[0]} {verdict} {names[1]}: {row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] points of {metric} "
            f"(n={row['n_images']}, seeds: {row['seeds']})"
        )

    def differences(self, metric: str) -> pd.DataFrame:
        """The rows of results/differences.csv on all images, under the policy of the tables."""
        frame = read_scores(RESULTS / "differences.csv")
        known = {"dataset": self.dataset, "backbone": self.backbone, "subset": "all", "policy": POLICY}
        known["metric"] = metric
        return frame[(frame[list(known)] == list(known.values())).all(axis=1)]

    def _of_model(self, model: str, file: str) -> np.ndarray:
        folder = maps_folder(self.dataset, self.backbone, model, self.seed) / "test"
        return np.load(folder / f"{file}.npy", mmap_mode="r", allow_pickle=False)

    def _headline(self, file: str, model: str, name: str, metric: str) -> pd.DataFrame:
        """The row of a model's map in a file of its scores: all images, the preset and policy of the tables."""
        folder = scores_folder(self.dataset, self.backbone, model)
        frame = pd.read_csv(folder / file, keep_default_na=False)
        rows = frame[headline(frame) & (frame["map"] == name) & (frame["metric"] == metric)]
        return rows[rows["seed"] == self.seed]


def png(draw: Callable[[Path], None]) -> bytes:
    """The PNG that a figure of the library writes to the path it is given, for showing it in a notebook."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        draw(path)
        return path.read_bytes()
