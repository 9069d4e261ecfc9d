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
from experiments.names import MAP_FILES, MODELS, OF_CLASS, PREDICTED
from experiments.params import Params, is_registered
from experiments.stage import RESULTS, data_folder, maps_folder, scores_folder
from vitol.boxes import boxes_at, score_map
from vitol.datasets.splits import Split, read_split
from vitol.failures import Failures, failures, predicted_boxes
from vitol.measurements import read_scores
from vitol.overlays import NO_BOXES, Overlay
from vitol.rectangles import scaled_truths
from vitol.tables import POLICY, PRESET, headline

BOX_METRIC = "GTKnownLocV1"  # boxes are drawn at this metric's threshold: the largest contour's box, IoU 0.5
TITLE = 28  # characters above an image


@dataclass(frozen=True)
class Examples:
    """A data set and backbone of the grid, with the maps that one seed's models made of its test images.

    Attributes:
        dataset: Its name in the grid.
        backbone: Likewise.
        seed: Of the training.
        root: The folder of the images.
    """

    dataset: str
    backbone: str
    seed: int
    root: Path

    @classmethod
    def of(cls, params: Params, dataset: str, backbone: str) -> Examples:
        """Those of the grid's first seed."""
        root = images_root(dataset, params.grid.datasets[dataset])
        return cls(dataset, backbone, params.seeds[0], root)

    @classmethod
    def for_notebooks(cls, params: Params) -> Examples:
        """Those of the grid's first registered data set, or of its first data set where none is registered."""
        sources = params.grid.datasets
        dataset = next((name for name in sources if is_registered(sources[name])), next(iter(sources)))
        return cls.of(params, dataset, params.grid.backbones[0])

    @cached_property
    def split(self) -> Split:
        """The test split."""
        return read_split(data_folder(self.dataset) / "test")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return classes(self.dataset)

    def spread(self, count: int) -> list[int]:
        """So many images at least, equally many of every subset, spread over it; chosen without looking."""
        names = np.array(self.split.subsets or ("all",) * len(self.split))
        groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
        each = -(-count // len(groups))
        return [int(group[len(group) * (2 * k + 1) // (2 * each)]) for group in groups for k in range(each)]

    def pixels(self, index: int) -> np.ndarray:
        """An image as RGB, (H, W, 3) uint8."""
        with Image.open(self.root / self.split.ids[index]) as image:
            return np.asarray(image.convert("RGB"))

    def maps(self, model: str, name: str, predicted: bool = False) -> np.ndarray:
        """Maps of a model for the labels, or for the predicted classes, read as they are asked for, (n, h, w)."""
        file = MAP_FILES[name, PRESET]
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
        score = score_map(self.maps(model, name)[index])
        scale = self.split.sizes[index][[0, 1, 0, 1]] / score.shape[0]
        box = boxes_at(score, self.threshold(model, name), "largest") * scale
        title = title or f"{MODELS[model].title}: {name}"
        return Overlay(self.pixels(index), title, score, self.split.boxes[index], box)

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
        """A sentence on the difference of two (model, map) over all seeds, from results/differences.csv.

        Raises:
            ValueError: If the grid did not compare them.
        """
        frame = read_scores(RESULTS / "differences.csv").query(
            "dataset == @self.dataset and backbone == @self.backbone and subset == 'all' and metric == @metric "
            "and policy == @POLICY"
        )
        for (a, b), sign in (((ours, theirs), 1), ((theirs, ours), -1)):
            sides = ["model_a", "map_a", "model_b", "map_b"]
            found = frame[(frame[sides] == [*a, *b]).all(axis=1)]
            if len(found):
                row = found.iloc[0]
                low, high = sorted(sign * row[["ci_low", "ci_high"]].to_numpy(dtype=float))
                verdict = "is better than" if low > 0 else "is worse than" if high < 0 else "is not told from"
                names = [f"{MODELS[model].title} {name}" for model, name in (ours, theirs)]
                return (
                    f"{names[0]} {verdict} {names[1]}: {sign * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] "
                    f"points of {metric} (n={row['n_images']}, seeds: {row['seeds']})"
                )
        raise ValueError(f"{ours} and {theirs} are not compared in {RESULTS / 'differences.csv'} by {metric}")

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
