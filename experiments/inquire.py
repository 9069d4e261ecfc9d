"""Why is AR above GAR on CUB-20, when GAR is above AR on ImageNet images? Suspicions, each with what could refute it.

    vitol data register cub CUB --name cub20 && vitol data register ilsvrc ILSVRC --name ilsvrc300
    python -m experiments.inquire

DeiT-Tiny as ImageNet left it, and fine-tuned on CUB-20 by the recipe of params.yaml, epoch by epoch, with one seed. The
test images that are measured on choose the thresholds (policy `oracle-per-iou`), and nothing else. Goes on where it was
broken off; writes experiments/results/inquiry: inquiry.csv, inquiry.png, provenance.json.
"""

from __future__ import annotations

import argparse
import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from experiments.bench import Bench, fine_tuned
from experiments.params import read_params
from experiments.resume import resuming
from experiments.stage import RESULTS, console, provenance
from experiments.summary import signed
from experiments.suspects import (
    AS_RELEASED,
    Compared,
    Variant,
    fit_head,
    of_contrast,
    of_log_probability,
    of_probability,
    ranks,
    row_of,
)
from experiments.suspicions import (
    CLASSES,
    COVERAGE,
    FOLDER,
    IMAGES,
    NORMALISATION,
    SATURATION,
    SIZE,
    SUSPICIONS,
    TRAINING,
    Expected,
    Suspicion,
)
from vitol.atomic import atomic_folder
from vitol.claims_figure import differences_figure
from vitol.datasets.splits import Split
from vitol.models import describe_device
from vitol.views import SIZES, object_sizes
from vitol.weight_files import describe_weights

EPOCHS = (1, 2, 4, 8, 12)  # after which the fine-tuned model is looked at
HEADS = (5, 10)  # classes of smaller heads; all heads are compared on the images of the first few classes
IMAGENET = 1000  # classes
ANIMALS = range(398)  # of them, in the usual order
SEED = 0  # of the fine-tuning

SIGNALS = (
    Variant("log-probability", of_log_probability),
    Variant("probability", of_probability),
    Variant("logit minus mean logit", of_contrast),
)
ROWS = (
    Variant("rows not normalised (Eq. 7)", normalize_rows=False),
    *(Variant(f"gradient x {scale:g}", scale=scale) for scale in (0.01, 100)),
)


def lines_of(
    suspicion: Suspicion,
    reference: tuple[str, Compared],
    conditions: dict[str, Compared],
    expected: Expected = "up",
) -> Iterator[dict[str, object]]:
    """The lines of a suspicion: its reference, then every condition with its change."""
    name, of_reference = reference
    yield {"suspicion": suspicion.title, **row_of(name, of_reference, None, expected)}
    for condition, of in conditions.items():
        yield {"suspicion": suspicion.title, **row_of(condition, of, of_reference, expected)}


def inquire(bench: Bench, birds: str, objects: str, facts: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Every condition of every suspicion, as lines.

    Args:
        bench: What measures.
        birds: The data set that is fine-tuned on.
        objects: ImageNet images.
        facts: What made the numbers is added.
    """
    if len(bench.layout(objects).classes) != IMAGENET:
        raise ValueError(
            f"{objects!r} has {len(bench.layout(objects).classes)} classes; give ImageNet images, with its {IMAGENET}"
        )
    splits = {name: bench.layout(name).splits["test"] for name in (birds, objects)}
    every = {name: np.ones(len(split), dtype=bool) for name, split in splits.items()}
    name, plain = AS_RELEASED.name, (AS_RELEASED,)

    as_it_is = bench.model(IMAGENET).eval()
    of_objects = bench.maps("ImageNet images", as_it_is, objects, plain, of_label=False)
    of_birds = bench.maps("birds, ImageNet's head", as_it_is, birds, plain, of_label=False)
    untouched = bench.compared(birds, of_birds, name, every[birds])
    animals = np.isin(splits[objects].labels, ANIMALS)
    others = {"all": every[objects], "animals": animals, "no animals": ~animals}
    yield from lines_of(
        IMAGES,
        (f"{birds}, before fine-tuning", untouched),
        {
            f"{objects}, {which}": bench.compared(objects, of_objects, name, members)
            for which, members in others.items()
        },
    )
    sizes = {key: np.array(object_sizes(split.boxes, split.sizes)) for key, split in splits.items()}
    for size in SIZES:
        members = {key: sizes[key] == size for key in splits}
        if all(of.any() for of in members.values()):
            yield from lines_of(
                SIZE,
                (f"{birds}, objects of {size}", bench.compared(birds, of_birds, name, members[birds])),
                {f"{objects}, of {size}": bench.compared(objects, of_objects, name, members[objects])},
                "none",
            )

    labels = range(len(bench.layout(birds).classes))
    few = np.isin(splits[birds].labels, labels[: HEADS[0]])
    heads = {f"{IMAGENET} classes (ImageNet's)": bench.compared(birds, of_birds, name, few)}
    train_images = bench.images(birds, "train")
    frozen = None
    for count in (len(labels), *HEADS[::-1]):
        probe = copy.deepcopy(as_it_is)
        fit_head(probe, train_images, labels[:count], bench.params.workers)
        maps = bench.maps(f"birds, head of {count}, own prediction", probe, birds, plain, of_label=False)
        heads[f"{count} classes"] = bench.compared(birds, maps, name, few)
        if count == len(labels):
            maps = bench.maps(f"birds, head of {count}", probe, birds, plain, of_label=True)
            frozen = bench.compared(birds, maps, name, every[birds])
            facts["top1, frozen backbone"] = top1(maps, splits[birds])
    (reference, of_many), *fewer = heads.items()
    yield from lines_of(CLASSES, (reference, of_many), dict(fewer), "down")

    assert frozen is not None, "the head of all classes is among the heads"
    epochs, model = {"0 epochs (new head on the frozen backbone)": frozen}, as_it_is
    for epoch, model in fine_tuned(bench, birds, EPOCHS, SEED, facts):
        maps = bench.maps(f"birds, epoch {epoch}", model, birds, plain, of_label=True)
        epochs[f"{epoch} epoch{'s' * (epoch > 1)}"] = bench.compared(birds, maps, name, every[birds])
        facts[f"top1, epoch {epoch}"] = top1(maps, splits[birds])
    *shorter, (longest, tuned) = epochs.items()
    yield from lines_of(TRAINING, (longest, tuned), dict(shorter))

    late = Variant("GAR of the last half of the blocks", start_block=len(model.blocks) // 2)  # type: ignore[arg-type]
    variants = (AS_RELEASED, *SIGNALS, *ROWS, late)
    maps = bench.maps("birds, variants of GAR", model, birds, variants, of_label=True)
    found = {v.name: bench.compared(birds, maps, v.name, every[birds]) for v in variants}
    released = (f"{longest}, GAR as released", found[name])
    yield from lines_of(SATURATION, released, {v.name: found[v.name] for v in SIGNALS})
    yield from lines_of(NORMALISATION, released, {v.name: found[v.name] for v in ROWS})
    ranked = {"AR": ranks(maps["AR"]), name: ranks(maps[name])}
    by_rank = {"ranks of patches instead of values": bench.compared(birds, ranked, name, every[birds])}
    yield from lines_of(COVERAGE, released, by_rank | {late.name: found[late.name]})


def top1(maps: dict[str, np.ndarray], split: Split) -> float:
    """Percent of images whose label is the predicted class."""
    return round(100 * float((maps["predicted"] == split.labels).mean()), 2)


def render(lines: pd.DataFrame) -> Table:
    """The lines for a terminal."""
    table = Table("", "images", "AR", "GAR", "GAR - AR", "change", "speaks", title_justify="left")
    table.title = "Why AR is above GAR on CUB-20: MaxBoxAccV2, 95% intervals; change against the first line"
    for suspicion in SUSPICIONS:
        table.add_section()
        table.add_row(f"[bold]{suspicion.title}[/bold]: {suspicion.expects}")
        for row in lines[lines["suspicion"] == suspicion.title].to_dict("records"):
            numbers = signed(row["difference"], row["ci_low"], row["ci_high"])
            change = signed(row["change"], row["change_low"], row["change_high"])
            table.add_row(
                f"  {row['condition']}",
                str(row["n_images"]),
                f"{row['ar']:.1f}",
                f"{row['gar']:.1f}",
                numbers,
                "" if np.isnan(row["change"]) else change,
                row["outcome"],
            )
    return table


def figure(lines: pd.DataFrame, path: Path) -> None:
    """Plot GAR - AR under every condition."""
    shown = lines.rename(columns={"suspicion": "group", "condition": "line"}).assign(run="")
    differences_figure(
        shown,
        {"": ""},
        path,
        title="Why is AR above GAR on CUB-20?",
        axis="GAR - AR, MaxBoxAccV2, percentage points",
        note="Left of 0 AR is the better map. 95% intervals of a paired bootstrap over test images; DeiT-Tiny, one "
        "seed of training; policy oracle-per-iou.",
    )


def main(birds: str, objects: str, backbone: str) -> None:
    """Measure, print, and write the numbers, their picture and what made them."""
    params = read_params()
    if backbone not in params.backbones or birds not in params.datasets:
        raise ValueError(
            f"params.yaml has no backbone {backbone!r} or no recipe for {birds!r}; it has "
            f"{', '.join(params.backbones)} and {', '.join(params.datasets)}"
        )
    config = {
        "birds": birds,
        "objects": objects,
        "backbone": params.backbones[backbone],
        "recipe": params.datasets[birds].baseline,
        "seeds": [SEED],
        "bootstrap": params.bootstrap,
        "batch_size": params.explain.batch_size,
    }
    with resuming() as resume:
        bench = Bench(params, backbone, resume)
        with provenance("inquire", **config) as facts:
            facts |= {"device": describe_device(), "weights": describe_weights(bench.weights)}
            lines = pd.DataFrame(inquire(bench, birds, objects, facts)).round(2)
        with atomic_folder(FOLDER) as folder:
            lines.to_csv(folder / "inquiry.csv", index=False, lineterminator="\n")
            figure(lines, folder / "inquiry.png")
            shutil.copy(RESULTS / "provenance" / "inquire.json", folder / "provenance.json")
    console.print(render(lines), f"The numbers are in {FOLDER}", sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--birds", default="cub20", help="the data set that is fine-tuned on")
    parser.add_argument("--objects", default="ilsvrc300", help="ImageNet images")
    parser.add_argument("--backbone", default="deit_tiny")
    given = parser.parse_args()
    main(given.birds, given.objects, given.backbone)
