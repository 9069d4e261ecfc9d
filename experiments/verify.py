"""Does a checkpoint of the ViTOL release give the paper's numbers? One command, from the file to the verdict.

    python -m experiments.verify ViTOL_base.pth.tar                 # on the registered data set `ilsvrc`
    python -m experiments.verify ViTOL_small.pth.tar --dataset ilsvrc300 --limit 50

Converts the checkpoint (`vitol.released`: nothing is unpickled), makes AR, GAR and LRP maps of the test images with the
release's settings, scores them, and prints each number beside the paper's. It goes on where it was broken off, and
shares the work between `processes` of params.yaml. The paper's numbers are those of the 50,000 validation images of
ImageNet-1K; on others it says so and compares nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from experiments.explain import make
from experiments.localize import Sample, measurements_of_sample, score_maps
from experiments.mapping import CHUNK, make_maps
from experiments.names import MAP_FILES
from experiments.params import read_params
from experiments.resume import code_digest, resuming
from experiments.stage import RESULTS, console, package_versions, progress_bar
from vitol.atomic import atomic_folder
from vitol.checkpoints import load_checkpoint
from vitol.chunks import Chunks
from vitol.datasets.images import SplitImages
from vitol.datasets.register import load
from vitol.datasets.registered import read_manifest
from vitol.measurements import BOX_METRICS
from vitol.models import describe_device
from vitol.paper import read_all_published
from vitol.processes import start, team
from vitol.released import convert, save_released
from vitol.resumption import digest
from vitol.tables import PAPER_BACKBONES, PAPER_DATASETS
from vitol.weight_files import file_digest

PUBLISHED = "mmp"  # the authors' models have p-ADL behind the MLP
VERIFIED = RESULTS / "verify"
METRICS = (*BOX_METRICS, "GTKnownLoc", "Top1Loc", "Top1Cls")
PAPERS_IMAGES = PAPER_DATASETS["ilsvrc"][1]


def expected(backbone: str) -> dict[tuple[str, str], float]:
    """The paper's numbers of ImageNet for a backbone with p-ADL at MMp, by map and metric."""
    published = read_all_published()
    rows = published.query(
        "dataset == 'ilsvrc' and backbone == @backbone and variant == 'padl' and position == 'MMp'"
    )
    return {(row["map"], row["metric"]): row["value"] for row in rows.to_dict("records")}


def main(checkpoint: Path, dataset: str, architecture: str | None, limit: int | None) -> pd.DataFrame:
    """Convert, make maps, score, print; returns and writes the measurements."""
    params = read_params()
    processes = team()
    layout = load(dataset)
    released = convert(checkpoint, architecture, num_classes=len(layout.classes))
    known = {sides.architecture: name for name, sides in params.backbones.items() if sides.pretrained}
    if released.architecture not in known:
        raise ValueError(
            f"{released.architecture} is no backbone with pretrained weights of params.yaml "
            f"({', '.join(known)}); add it there"
        )
    backbone = known[released.architecture]
    title = {name: title for title, name in PAPER_BACKBONES.items()}.get(backbone, backbone)
    split = layout.splits["test"]
    if limit is not None:
        split = split.select(np.arange(len(split)) < limit)
    console.print(
        f"{checkpoint.name}: {released.architecture}, {released.parameters:,} parameters, every tensor as timm's; "
        f"{len(split):,} images of {dataset}, {describe_device()}"
    )
    source, side = file_digest(checkpoint), params.backbones[backbone].image_size
    settings = {
        "checkpoint": source,
        "architecture": released.architecture,
        "data": read_manifest(dataset)["fingerprint"],
        "images": digest("\n".join(split.ids).encode()),
        "image_size": side,
        "batch_size": params.explain.batch_size,
        "code": code_digest(),
        "packages": package_versions(),
        "device": describe_device(),
    }
    with resuming() as resume:
        kept, _ = resume.folder(f"verify-{dataset}-{backbone}", settings)
        converted = VERIFIED / f"{backbone}-{source[:12]}.safetensors"
        if processes.is_main_process:
            save_released(released, checkpoint, converted)
        processes.wait_for_everyone()
        model, _ = load_checkpoint(converted)
        images = SplitImages(split, layout.images, side)
        chunks = Chunks(kept / "test", len(images), CHUNK * params.explain.batch_size)
        make_maps(
            make, model.to(processes.device), images, chunks, params.explain.batch_size, params.workers, title
        )
        processes.wait_for_everyone()
        if not processes.is_main_process:
            return pd.DataFrame()
        with atomic_folder(VERIFIED / f"maps-{dataset}-{backbone}") as folder:
            for file, array in chunks.merged().items():
                np.save(folder / f"{file}.npy", array, allow_pickle=False)
            with progress_bar() as bar:
                task = bar.add_task("boxes", total=len(set(MAP_FILES.values())) * len(split))
                scored = score_maps(folder, PUBLISHED, split, lambda: bar.advance(task))
    everything = Sample("all", np.ones(len(split), dtype=bool), None)
    fixed = params.fixed_thresholds.of(backbone)
    frame = pd.DataFrame(measurements_of_sample(everything, PUBLISHED, scored, fixed, params)).drop(
        columns="replicates"
    )
    frame = frame[frame["preset"].isin(["release", ""]) & frame["metric"].isin(METRICS)]
    frame.to_csv(VERIFIED / f"measurements-{dataset}-{backbone}.csv", index=False, lineterminator="\n")
    console.print(render(frame, expected(title), title, dataset, len(split)))
    return frame


def render(
    frame: pd.DataFrame, papers: dict[tuple[str, str], float], title: str, dataset: str, images: int
) -> Table:
    """Ours under two policies beside the paper's, and the difference where the images are the paper's."""
    same = (dataset, images) == ("ilsvrc", PAPERS_IMAGES)
    table = Table("map", "metric", "oracle-per-iou", "fixed", "paper", "difference", title_justify="left")
    table.title = f"{title} as released, {dataset}, n={images:,}, 95% intervals over images"
    if not same:
        table.caption = f"Not the paper's {PAPERS_IMAGES:,} images (data set ilsvrc): nothing is compared."
    for (name, metric), rows in frame.groupby(["map", "metric"], sort=False):
        cells = {
            row["policy"]: f"{row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
            for row in rows.to_dict("records")
        }
        paper = papers.get((str(name), str(metric)))
        ours = rows.loc[rows["policy"].isin(["oracle-per-iou", ""]), "value"].iloc[0]
        difference = "" if paper is None or not same else f"{ours - paper:+.2f}"
        oracle = cells.get("oracle-per-iou", cells.get("", ""))
        table.add_row(
            str(name),
            str(metric),
            oracle,
            cells.get("fixed", ""),
            "" if paper is None else f"{paper:.2f}",
            difference,
        )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a file of the release (.pth, .pth.tar)")
    parser.add_argument(
        "--dataset", default="ilsvrc", help="a registered data set of the checkpoint's classes"
    )
    parser.add_argument("--architecture", help="timm's name, if it cannot be told from the tensors")
    parser.add_argument("--limit", type=int, help="only the first so many images")
    given = parser.parse_args()
    start("experiments.verify", sys.argv[1:], read_params().processes)
    main(given.checkpoint, given.dataset, given.architecture, given.limit)
