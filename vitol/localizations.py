"""What is known of every image of a set, and which images count as right at which threshold.

n images, L thresholds. An IoU curve is an image's best IoU at every threshold (see `vitol.boxes`). An IoU equal
to delta is right, as in [8] and in the paper's released code.

Sources: reference [8] of the paper for MaxBoxAcc and MaxBoxAccV2; Sec. 4 of the paper for GT-known Loc and
Top-1 Loc.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

DELTAS = (0.3, 0.5, 0.7)  # the IoUs that MaxBoxAccV2 asks for
PARTS = tuple(f"IoU{round(100 * delta)}" for delta in DELTAS)
CLASSIFICATION = ("Top1Cls", "Top5Cls")  # have no threshold, hence no policy


@dataclass(frozen=True, eq=False)
class Localizations:
    """What is known of every image of a set, of which every metric is a function.

    IoUs are in [0, 1], curves (n, L).

    Attributes:
        ious: Curves of all contours of the label's map, float64.
        largest: Those of the largest contour.
        predicted: Those of all contours of the predicted class's map.
        top1: Whether the predicted class is the label, bool (n,).
        top5: Whether the label is among the five first classes, bool (n,).

    Raises:
        ValueError: If there is no image, shapes differ, an IoU is NaN or outside [0, 1], or `top1` or `top5` is
            not boolean or contradicts the other.
    """

    ious: np.ndarray
    largest: np.ndarray | None = None
    predicted: np.ndarray | None = None
    top1: np.ndarray | None = None
    top5: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check all parts, and that they are of the same images."""
        curves = checked_curves("ious", self.ious)
        object.__setattr__(self, "ious", curves)
        for name in ("largest", "predicted"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_curves(name, getattr(self, name), curves.shape))
        for name in ("top1", "top5"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_flags(name, getattr(self, name), len(curves)))
        if self.top1 is not None and self.top5 is not None and (self.top1 & ~self.top5).any():
            image = int((self.top1 & ~self.top5).argmax())
            raise ValueError(
                f"top1[{image}] is True and top5[{image}] False; the first class is among the five first: take "
                "both from the same logits, in the same order of images"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ious)

    def select(self, members: np.ndarray) -> "Localizations":
        """Some of the images.

        Args:
            members: Which, bool, (n,), at least one.
        """
        kept = checked_flags("members", members, len(self))
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{name: part[kept] for name, part in parts.items() if part is not None})


def hits(found: Localizations) -> dict[str, np.ndarray]:
    """Which images are right at which threshold, for every metric that is a share of images.

    GTKnownLoc is IoU50 under the paper's name, GTKnownLocV1 that of the largest contour. Top1Loc asks for the
    predicted class to be right and an IoU >= 0.5; it is the same for the maps of the label and of the predicted
    class, since it counts only images where those are one class. Top5Loc asks for the label among the five first
    classes and an IoU >= 0.5 with the label's map. What a user without labels gets is PredictedLoc: IoU >= 0.5
    with the predicted class's map, the class right or wrong.

    Returns:
        By metric, as far as `found` goes, bool (n, L); (n, 1) for Top1Cls and Top5Cls.
    """
    right = {part: found.ious >= delta for part, delta in zip(PARTS, DELTAS, strict=True)}
    right["GTKnownLoc"] = right["IoU50"]
    if found.largest is not None:
        right["GTKnownLocV1"] = found.largest >= 0.5
    if found.predicted is not None:
        right["PredictedLoc"] = found.predicted >= 0.5
    classes = {"Top1": found.top1, "Top5": found.top5}
    known = {name: flags[:, None] for name, flags in classes.items() if flags is not None}
    right |= {f"{name}Loc": right["IoU50"] & flags for name, flags in known.items()}
    return right | {f"{name}Cls": flags for name, flags in known.items()}


def checked_curves(name: str, ious: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """IoU curves as float64 (n, L), of the shape given; ValueError names the first value that is no IoU."""
    if np.asarray(ious).dtype in (np.float16, np.float32):
        raise ValueError(
            f"{name} is {np.asarray(ious).dtype}, in which an IoU of 0.7 lies below 0.7; pass float64, as "
            "best_ious_of_maps gives it"
        )
    curves = np.asarray(ious, dtype=np.float64)
    if curves.ndim != 2 or curves.size == 0:
        raise ValueError(f"{name} has shape {curves.shape}; pass (n, L), an IoU curve for at least one image")
    if shape is not None and curves.shape != shape:
        raise ValueError(f"{name} has shape {curves.shape}, ious {shape}; pass curves of the same images")
    bad = np.argwhere(~((curves >= 0) & (curves <= 1)))
    if len(bad):
        image, threshold = bad[0]
        raise ValueError(
            f"{name}[{image}, {threshold}] = {curves[image, threshold]:g} is no IoU in [0, 1] ({len(bad)} of "
            f"{curves.size} values are not); recompute or drop the image, and pass fractions, not percent"
        )
    return curves


def checked_flags(name: str, flags: np.ndarray, n_images: int) -> np.ndarray:
    """One bool an image, (n,)."""
    array = np.asarray(flags)
    if array.dtype != bool or array.shape != (n_images,):
        raise ValueError(
            f"{name} has shape {array.shape} and type {array.dtype}; pass one bool for each of the "
            f"{n_images} images"
        )
    return array
