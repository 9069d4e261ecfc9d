"""Stage rival: train a rival of Tables 1 and 2, on the backbone or on the convolutional network beside it."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from experiments.fit import fit
from experiments.inputs import classes, images_root
from experiments.params import Params, read_params
from experiments.resume import resuming
from experiments.sections import Backbone
from experiments.stage import checkpoint_path, data_folder, options, provenance
from vitol.batches import SharedBatches
from vitol.cams.about import RIVALS
from vitol.cams.few_shot import BoxImages
from vitol.cams.registry import start_localizer
from vitol.datasets.images import TrainImages
from vitol.datasets.splits import read_split
from vitol.processes import start
from vitol.recipe import Recipe
from vitol.training import own_objective


def few_shot_images(dataset: str, params: Params, network: Backbone, seed: int) -> TrainImages:
    """The validation split with its boxes, for what is trained on boxes.

    Raises:
        ValueError: If the data set has no validation split.
    """
    folder = data_folder(dataset) / "val"
    if not folder.is_dir():
        raise ValueError(
            f"{dataset} has no validation split, from whose boxes the few-shot localizer learns; take few-shot off "
            "grid.rivals"
        )
    root = images_root(dataset, params.grid.datasets[dataset])
    return BoxImages(read_split(folder), root, network.image_size, network.resize, seed)


def with_as_many_steps(recipe: Recipe, images: int, of: int) -> Recipe:
    """The recipe for fewer images, with as many steps: its epochs, warm-up and decay are that much longer.

    To the nearest epoch: an epoch leaves an incomplete last batch out, of few images a larger part than of many.

    Args:
        recipe: For `of` images.
        images: How many there are.
        of: How many it is for.
    """
    own, wanted = (len(SharedBatches(count, recipe.batch_size, torch.Generator())) for count in (images, of))
    longer = wanted / own
    return replace(
        recipe,
        epochs=max(1, round(recipe.epochs * longer)),
        decay_every=max(1, round(recipe.decay_every * longer)),
        warmup_epochs=recipe.warmup_epochs * longer,
    )


def main(dataset: str, backbone: str, rival: str) -> None:
    """Train a rival for every seed; all rivals have one recipe."""
    params = read_params()
    name = params.network(backbone, rival)
    network, recipe = params.backbones[name], params.datasets[dataset].rivals
    settings = params.rivals.settings.get(name, {}).get(rival, {})
    assert recipe is not None, "params.py lets no grid with rivals through without a recipe"
    config = {"network": network, "recipe": recipe, "seeds": params.seeds, "settings": settings}
    with provenance(f"rival-{dataset}-{backbone}-{rival}", **config) as facts, resuming() as resume:
        for seed in params.seeds:
            torch.manual_seed(seed)
            model, record = start_localizer(
                rival,
                network.architecture,
                dataset,
                classes(dataset),
                pretrained=network.pretrained,
                options=network.options,
                stage=network.stage,
                settings={**({"neck": network.neck} if network.neck else {}), **settings},
            )
            images, schedule = None, recipe
            if RIVALS[rival].with_boxes:
                images = few_shot_images(dataset, params, network, seed)
                train = read_split(data_folder(dataset) / "train")
                schedule = with_as_many_steps(recipe, len(images), len(train))
            facts[f"seed{seed}"] = fit(
                model,
                checkpoint_path(dataset, backbone, rival, seed),
                record,
                schedule,
                params=params,
                dataset=dataset,
                backbone=name,
                seed=seed,
                draws=seed,
                resume=resume,
                instead=images,
                objective=own_objective,
            )


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone", "rival")
    start("experiments.rival", sys.argv[1:], read_params().processes)
    main(*arguments)
