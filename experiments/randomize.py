"""Stage randomize: the sanity check. Do the baseline's maps follow its weights, or only the image?"""

from __future__ import annotations

import numpy as np
import torch

from experiments.inputs import classes, images_root
from experiments.params import read_params
from experiments.stage import (
    checkpoint_path,
    data_folder,
    options,
    progress_bar,
    provenance,
    sanity_folder,
)
from vitol.atomic import atomic_folder
from vitol.checkpoints import load_checkpoint
from vitol.datasets.images import SplitImages, normalise
from vitol.datasets.splits import read_split
from vitol.maps import Method
from vitol.models import describe_device, find_device
from vitol.sanity import parts_of, randomization_cascade, similarity_frame


def spread(count: int, among: int) -> list[int]:
    """Indices of `count` of `among` images at even distances; of all where there are fewer."""
    count = min(count, among)
    return [index * among // count for index in range(count)]


def main(dataset: str, backbone_name: str) -> None:
    """Randomise the first seed's baseline; write the maps, the images' ids, and similarity.csv."""
    params = read_params()
    settings, seed = params.randomize, params.seeds[0]
    config = {"seed": seed, "randomize": settings, "bootstrap": params.bootstrap}
    with provenance(f"randomize-{dataset}-{backbone_name}", **config) as facts:
        facts["device"] = describe_device()
        methods: dict[str, Method] = {name: Method.of(name) for name in settings.methods}
        split = read_split(data_folder(dataset) / "test")
        root = images_root(dataset, params.grid.datasets[dataset])
        images = SplitImages(split, root, params.backbones[backbone_name].image_size)
        chosen = spread(settings.images, len(split))
        checkpoint = checkpoint_path(dataset, backbone_name, "baseline", seed)
        model, _ = load_checkpoint(checkpoint, num_classes=len(classes(dataset)))
        device = find_device()
        with progress_bar() as bar:
            task = bar.add_task("depths of randomisation", total=1 + len(parts_of(model)))
            cascade = randomization_cascade(
                model.to(device),
                normalise(torch.stack([images[index][0] for index in chosen]).to(device)),
                None,
                methods,
                seed=settings.seed,
                batch_size=settings.batch_size,
                progress=lambda: bar.advance(task),
            )
        frame = similarity_frame(cascade, params.bootstrap.replicates, params.bootstrap.seed)
        with atomic_folder(sanity_folder(dataset, backbone_name)) as folder:
            for name, maps in cascade.maps.items():
                np.save(folder / f"{name}.npy", maps.float().numpy(), allow_pickle=False)
            ids = "".join(f"{split.ids[index]}\n" for index in chosen)
            (folder / "images.txt").write_text(ids, encoding="utf-8")
            frame.round(4).to_csv(folder / "similarity.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main(*options(__doc__, "dataset", "backbone"))
