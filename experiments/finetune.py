"""Stage finetune: more epochs from the baseline, with p-ADL at MMp or MpM or without (the control)."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from experiments.fit import fit
from experiments.inputs import classes
from experiments.names import MODELS
from experiments.params import read_params
from experiments.resume import resuming
from experiments.stage import checkpoint_path, options, provenance
from vitol.checkpoints import load_checkpoint
from vitol.fitting import OWN_DRAWS
from vitol.padl import insert_padl
from vitol.processes import start

# Of the baseline's record, what holds for the fine-tuned model too.
KEPT = ("architecture", "options", "num_classes", "dataset", "weights", "license", "classes", "mean", "std")


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
    with provenance(f"finetune-{dataset}-{backbone_name}-{variant}", **config) as facts, resuming() as resume:
        for seed in params.seeds:
            before = checkpoint_path(dataset, backbone_name, "baseline", seed)
            model, record = load_checkpoint(before, num_classes=len(classes(dataset)))
            settings = params.padl.model_dump()
            made = {
                **{key: record[key] for key in KEPT if key in record},
                "variant": variant,
                "padl": {"position": position, **settings} if position else None,
                "from": record,
            }
            checkpoint = checkpoint_path(dataset, backbone_name, variant, seed)
            with insert_padl(model, position, **settings) if position else nullcontext():
                facts[f"seed{seed}"] = fit(
                    model,
                    checkpoint,
                    made,
                    recipe,
                    params=params,
                    dataset=dataset,
                    backbone=backbone_name,
                    seed=seed,
                    draws=seed + OWN_DRAWS,
                    resume=resume,
                )


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone", "variant")
    start("experiments.finetune", sys.argv[1:], read_params().processes)
    main(*arguments)
