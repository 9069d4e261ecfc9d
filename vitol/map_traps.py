"""What of the protocol's traps applied to a method's maps."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Traps:
    """What of the protocol's traps applied to one method's maps; counts of maps.

    Attributes:
        n_maps: Maps scored.
        constant: Of one value everywhere: scored as all zeros, whose one box is a pixel in the corner.
        not_finite: With NaN, infinity or values beyond 1e37: scored as all zeros (`reference_nan`).
        unstretched: Whose values do not run from 0 to 1. They were stretched, as the protocol has it where maps are
            made; the reference evaluator, which stretches no file, refuses values outside [0, 1] and takes the
            others as they are.
        sizes: How many maps there are of each (h, w), most frequent first.
        missing: Ids of images without a map, which were left out (`allow_missing`).
        extra: Files that belong to no image of the metadata, which were left out (`allow_missing`).
    """

    n_maps: int
    constant: int
    not_finite: int
    unstretched: int
    sizes: Mapping[tuple[int, int], int]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def sentences(self) -> list[str]:
        """One for each trap that applied."""
        said = []
        if self.constant:
            said.append(f"{self.constant} constant {_maps(self.constant)}, scored as zeros")
        if self.not_finite:
            said.append(f"{self.not_finite} {_maps(self.not_finite)} with NaN or infinity, scored as zeros")
        if self.unstretched:
            of = (
                "no map"
                if self.unstretched == self.n_maps
                else f"{self.unstretched} {_maps(self.unstretched)}"
            )
            verb = "runs" if of == "no map" else "not running"
            said.append(f"{of} {verb} from 0 to 1: stretched, as the protocol says")
        if len(self.sizes) > 1:
            (height, width), count = next(iter(self.sizes.items()))
            said.append(f"maps of {len(self.sizes)} sizes, {count} of them {height} x {width}")
        if self.missing:
            images = "image" if len(self.missing) == 1 else "images"
            said.append(f"{len(self.missing)} {images} without a map, left out")
        if self.extra:
            said.append(
                f"{len(self.extra)} {'file' if len(self.extra) == 1 else 'files'} of no image, left out"
            )
        return said


def _maps(count: int) -> str:
    return "map" if count == 1 else "maps"
