"""Stage prepare: a data set as WSOL splits under results/data."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.params import read_params
from experiments.sections import is_registered
from experiments.stage import console, data_folder, options, provenance
from vitol.datasets import mini
from vitol.datasets.layout import needs_validation_cut, with_validation_cut
from vitol.datasets.register import load
from vitol.datasets.registered import read_manifest
from vitol.datasets.splits import read_split
from vitol.datasets.wsol import write_wsol

ARCHIVE = "mini.zip"


def main(dataset: str) -> None:
    """Unpack the embedded data set, or write a registered one's splits, a validation split cut where it has none."""
    source = read_params().grid.datasets[dataset]
    folder = data_folder(dataset)
    with provenance(f"prepare-{dataset}", source=source) as facts:
        if is_registered(source):
            layout, manifest = load(dataset), read_manifest(dataset)
            if any(split.masks for split in layout.splits.values()):
                raise ValueError(
                    f"the objects of {dataset!r} are masks, and the tables are of boxes; score maps of it with "
                    "`vitol score --masks`"
                )
            write_wsol(with_validation_cut(layout) if needs_validation_cut(layout) else layout, folder)
            # Its fingerprint holds the images' contents: whatever depends on the splits depends on them.
            facts["manifest"] = manifest
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        else:
            mini.unpack(Path(source) / ARCHIVE, folder)
    counts = {
        path.parent.name: len(read_split(path.parent)) for path in sorted(folder.glob("*/image_ids.txt"))
    }
    console.print(f"{dataset}: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + " images")


if __name__ == "__main__":
    main(*options(__doc__, "dataset"))
