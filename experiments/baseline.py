"""Stage baseline: the classifier that every variant starts from (section 4.3)."""

from __future__ import annotations

import sys

import torch

from experiments.fit import fit
from experiments.inputs import classes
from experiments.params import read_params
from experiments.resume import resuming
from experiments.stage import checkpoint_path, options, provenance
from vitol.checkpoints import save_checkpoint
from vitol.models import start_model
from vitol.processes import start, team


def main(dataset: str, backbone_name: str) -> None:
    """Train a baseline for every seed, or save the pretrained model as it is where no recipe is given."""
    params = read_params()
    backbone, recipe = params.backbones[backbone_name], params.datasets[dataset].baseline
    config = {"backbone": backbone, "recipe": recipe, "seeds": params.seeds}
    with provenance(f"baseline-{dataset}-{backbone_name}", **config) as facts, resuming() as resume:
        for seed in params.seeds:
            torch.manual_seed(seed)
            names = classes(dataset)
            model, record = start_model(
                backbone.architecture,
                dataset,
                names,
                pretrained=backbone.pretrained,
                options=backbone.options,
            )
            record["variant"] = "baseline"
            checkpoint = checkpoint_path(dataset, backbone_name, "baseline", seed)
            if recipe is None:
                if not backbone.pretrained or model.pretrained_cfg["num_classes"] != len(names):  # type: ignore[index]
                    raise ValueError(
                        f"params.yaml trains nothing for the baseline of {dataset!r}, but {backbone_name!r} has no "
                        f"weights with a head of its {len(names)} classes; give it a baseline recipe"
                    )
                if team().is_main_process:
                    save_checkpoint(checkpoint, model, {**record, "seed": seed})
                continue
            facts[f"seed{seed}"] = fit(
                model,
                checkpoint,
                record,
                recipe,
                params=params,
                dataset=dataset,
                backbone=backbone_name,
                seed=seed,
                draws=seed,
                resume=resume,
            )


if __name__ == "__main__":
    arguments = options(__doc__, "dataset", "backbone")
    start("experiments.baseline", sys.argv[1:], read_params().processes)
    main(*arguments)
