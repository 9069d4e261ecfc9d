"""The images that a training starts from, by a data set's name or from a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vitol.datasets.layout import Layout, with_validation_cut
from vitol.datasets.register import load
from vitol.datasets.registered import REGISTERED, read_manifest, registered_names
from vitol.datasets.splits import TRAIN, Split
from vitol.datasets.wsol import read_wsol
from vitol.resumption import files_digest


@dataclass(frozen=True)
class TrainingData:
    """Images to train on.

    Attributes:
        name: What the data set is called.
        layout: With a split to train on, and perhaps one to validate on.
        fingerprint: Hash of what is known of its images; of their contents too, where the data set is registered.
            The same with and without a validation cut.
        val_cut: Whether a tenth of its train images was taken for validation.
    """

    name: str
    layout: Layout
    fingerprint: str
    val_cut: bool = False

    @property
    def train(self) -> Split:
        """The images to train on."""
        return self.layout.splits[TRAIN]

    @property
    def validation(self) -> Split | None:
        """Those to report top-1 on, where there are any."""
        return self.layout.splits.get("val")


def read_training_data(source: str, folder: Path = REGISTERED, *, val_cut: bool = False) -> TrainingData:
    """Read a data set by its registered name, or from a folder of splits in the WSOL format.

    A name comes before a folder of the same name, which "./NAME" stands for. Images are not opened.

    Args:
        source: The name or the folder.
        folder: Where data sets are registered.
        val_cut: Take a tenth of the train images for validation, by the protocol's rule.

    Raises:
        DatasetFaults: A ValueError with every fault of the splits.
        ValueError: If it is neither, has no split to train on, or no tenth can be cut off.
    """
    names = registered_names(folder)
    if source in names:
        found = TrainingData(source, load(source, folder), read_manifest(source, folder)["fingerprint"])
    elif Path(source).is_dir():
        root = Path(source)
        texts = [path for path in root.glob("*/*") if path.suffix in (".txt", ".csv")]
        found = TrainingData(root.resolve().name, read_wsol(root), files_digest(root, texts))
    else:
        raise ValueError(
            f"{source!r} is neither a registered data set ({', '.join(names) or 'there is none'}) nor a folder; "
            "register it (`vitol data register`), or give a folder of splits in the WSOL format"
        )
    if TRAIN not in found.layout.splits:
        there = ", ".join(found.layout.splits) or "none"
        raise ValueError(f"{source} has no split {TRAIN!r} (there are: {there}); give a data set with one")
    layout = with_validation_cut(found.layout) if val_cut else found.layout
    return replace(found, layout=layout, val_cut=val_cut)
