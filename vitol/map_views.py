"""All views of one method's maps at one threshold: the accuracy of groups of images, and how boxes fail."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vitol.datasets.splits import Split
from vitol.failures import failures
from vitol.rectangles import scaled_truths
from vitol.views import views_frame


def map_views(
    at: np.ndarray, predicted: np.ndarray, split: Split, class_names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Put the views of `vitol.views.views_frame` and of `vitol.failures.Failures` into one frame.

    Args:
        at: Best IoU of every image over all contours, in [0, 1], (n,).
        predicted: Box of every image's largest contour, in pixels of the score map, (n, 4).
        split: The images.
        class_names: Names of the classes by label; None takes the labels.

    Returns:
        Rows of `vitol.views.COLUMNS`.
    """
    groups = views_frame(at, split.boxes, split.sizes, split.labels, class_names, split.subsets)
    truths = scaled_truths(split.boxes, split.sizes, len(split), split.ids)
    return pd.concat([groups, failures(predicted, truths, split.ids).frame()], ignore_index=True)
