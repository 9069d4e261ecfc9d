"""A training step from bytes to new weights, one change at a time: p-ADL, fused kernels, memory layout, precision.

    python -m experiments.benchmarks.training_step                                  # mini's small model
    python -m experiments.benchmarks.training_step --backbone deit_base --batch-size 16

Run on a quiet machine. Rows are timed in turn, round after round, so that a slow moment hits them all; a ratio is the
median over rounds of the row's time to the first row's in the same round. From the first row's rate follows how long
the paper's recipes would train here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import timm.optim
import torch
from rich.table import Table
from torch.nn import functional as F

from experiments.params import Params, read_params
from experiments.sections import Backbone
from experiments.stage import console, progress_bar
from vitol.datasets.images import normalise
from vitol.models import create_model, describe_device, find_device, unfused_attention
from vitol.padl import Position, insert_padl
from vitol.precision import attention_for, autocast
from vitol.training import FUSED

WARM_UP = 2
# Images that an epoch of the paper's recipes sees: CUB's train split without the validation cut, ImageNet-1K's.
EPOCH = {"cub": 5994 - 599, "ilsvrc": 1_281_167}


@dataclass(frozen=True)
class Row:
    """How a step is made; by default as `vitol.training` does, but for clipping and for the sums of the log."""

    name: str
    precision: str = "bf16"
    attention: str = "default"
    padl: Position | None = None
    channels_last: bool = False
    fused: bool | None = None


ROWS = (
    Row("as trained, without p-ADL"),
    Row("p-ADL at MMp", padl="MMp"),
    Row("p-ADL at MpM", padl="MpM"),
    Row("attention fused", attention="fused"),
    Row("attention unfused", attention="unfused"),
    Row("float32", precision="fp32"),
    Row("channels last", channels_last=True),
    Row("optimizer fused", fused=True),
    Row("optimizer not fused", fused=False),
)


def make_step(row: Row, backbone: Backbone, params: Params, batch: int) -> Callable[[], None]:
    """A function that trains a model of its own for one step, and waits until the device has done it."""
    device = find_device()
    torch.manual_seed(0)
    model = create_model(backbone.architecture, 200, options=backbone.options).to(device).train()
    images = torch.randint(256, (batch, 3, backbone.image_size, backbone.image_size), dtype=torch.uint8)
    images = images.to(device)
    labels = torch.randint(200, (batch,), device=device)
    layout = torch.channels_last if row.channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    images = images.to(memory_format=layout)
    if row.padl:
        insert_padl(model, row.padl, **params.padl.model_dump())
    fused = device.type == "cuda" if row.fused is None else row.fused
    optimizer = timm.optim.create_optimizer_v2(model, opt=FUSED[1], lr=1e-4, weight_decay=0.0, fused=fused)
    attention = {
        "default": lambda: attention_for(model, device, row.precision),
        "fused": nullcontext,
        "unfused": lambda: unfused_attention(model),
    }[row.attention]

    def step() -> None:
        with autocast(device, row.precision), attention():
            logits = model(normalise(images))
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def main(arguments: list[str] | None = None) -> None:
    """Time the rows and print the tables."""
    params = read_params()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", choices=params.backbones, default="small")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=len(ROWS), help="only the first so many")
    options = parser.parse_args(arguments)
    backbone = params.backbones[options.backbone]
    rows = ROWS[: options.rows]
    steps = {row.name: make_step(row, backbone, params, options.batch_size) for row in rows}
    times: dict[str, list[float]] = {name: [] for name in steps}
    with progress_bar() as bar:
        task = bar.add_task("steps", total=len(steps) * (WARM_UP + options.rounds))
        for round_ in range(WARM_UP + options.rounds):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if round_ >= WARM_UP:
                    times[name].append(time.perf_counter() - start)
                bar.advance(task)

    first = times[rows[0].name]
    table = Table(
        "step",
        "ms",
        "images/s",
        "x time of the first row",
        title=f"{options.backbone}, batch {options.batch_size}",
    )
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratio = statistics.median(mine / base for mine, base in zip(seconds, first, strict=True))
        table.add_row(name, f"{1000 * median:.0f}", f"{options.batch_size / median:.1f}", f"{ratio:.3f}")
    console.print(f"{describe_device()}; median of {options.rounds} rounds")
    console.print(table)
    if not backbone.pretrained:
        return  # the paper's recipes start from pretrained models
    rate = options.batch_size / statistics.median(first)
    hours = Table(
        "recipe", "epochs", "images an epoch", "hours here", title="Training at the first row's rate"
    )
    for name, images in EPOCH.items():
        for kind in ("baseline", "finetune"):
            if recipe := getattr(params.datasets[name], kind):
                hours.add_row(
                    f"{name} {kind}",
                    str(recipe.epochs),
                    f"{images:,}",
                    f"{recipe.epochs * images / rate / 3600:.1f}",
                )
    console.print(hours)


if __name__ == "__main__":
    main()
