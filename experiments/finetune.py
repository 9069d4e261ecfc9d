"""Stage finetune: more epochs from the baseline, with p-ADL at MMp or MpM or without (the control)."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from experiments.fit import fit
from experiments.inputs import classes, images_root
from experiments.names import MODELS
from experiments.params import read_params
from experiments.stage import checkpoint_path, provenance
from vitol.models import load_checkpoint
from vitol.padl import insert_padl


def main(dataset: str, backbone_name: str, variant: str) -> None:
    """Fine-tune every seed's baseline; variants differ in p-ADL and in nothing else."""
    params = read_params()
    backbone, recipe = params.backbones[backbone_name], params.datasets[dataset].finetune
    assert recipe is not None, "params.py lets no grid with variants through without a recipe"
    position = MODELS[variant].position
    config = {
        "backbone": backbone,
        "recipe": recipe,
        "seeds": params.seeds,
        "padl": params.padl,
        "position": position,
    }
    with provenance(f"finetune-{dataset}-{backbone_name}-{variant}", **config) as facts:
        for seed in params.seeds:
            start = checkpoint_path(dataset, backbone_name, "baseline", seed)
            model, record = load_checkpoint(start, num_classes=len(classes(dataset)))
            settings = params.padl.model_dump()
            inserted = insert_padl(model, position, **settings) if position else nullcontext()
            with inserted:
                facts[f"seed{seed}"] = fit(
                    model,
                    checkpoint_path(dataset, backbone_name, variant, seed),
                    {
                        **{key: record[key] for key in ("architecture", "options", "num_classes", "weights")},
                        "variant": variant,
                        "padl": {"position": position, **settings} if position else None,
                        "from": record,
                    },
                    dataset=dataset,
                    root=images_root(dataset, params.grid.datasets[dataset]),
                    backbone=backbone,
                    recipe=recipe,
                    seed=seed,
                    workers=params.workers,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--variant", required=True)
    arguments = parser.parse_args()
    main(arguments.dataset, arguments.backbone, arguments.variant)
