"""A training step of mini's small model: fused against unfused attention, and what p-ADL costs.

Run on a quiet machine. Every row is the median over interleaved rounds, so that a slow moment hits all rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from experiments.params import read_params
from experiments.stage import console
from vitol.models import create_model, describe_device, find_device, unfused_attention
from vitol.padl import Position, insert_padl
from vitol.training import autocast

ROUNDS = 7
WARM_UP = 2


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, precision: str, fused: bool) -> None:
    """One forward and backward pass."""
    with autocast(images.device, precision), nullcontext() if fused else unfused_attention(model):
        logits = model(images)
    F.cross_entropy(logits.float(), labels).backward()
    if images.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Time the rows and print the table."""
    params = read_params()
    backbone, batch = params.backbones["small"], 64
    device = find_device()
    torch.manual_seed(0)
    images = torch.randn(batch, 3, backbone.image_size, backbone.image_size, device=device)
    labels = torch.randint(8, (batch,), device=device)

    def row(precision: str, fused: bool, position: Position | None = None) -> Callable[[], None]:
        model = create_model(backbone.architecture, 8, options=backbone.options).to(device).train()
        if position:
            insert_padl(model, position, **params.padl.model_dump())
        return lambda: step(model, images, labels, precision, fused)

    rows = {
        ("bf16", "fused", "none"): row("bf16", True),
        ("fp32", "fused", "none"): row("fp32", True),
        ("fp32", "unfused", "none"): row("fp32", False),
        ("bf16", "unfused", "none"): row("bf16", False),
        ("bf16", "unfused", "MMp"): row("bf16", False, "MMp"),
        ("bf16", "unfused", "MpM"): row("bf16", False, "MpM"),
    }
    times: dict[tuple[str, str, str], list[float]] = {name: [] for name in rows}
    for round_ in range(WARM_UP + ROUNDS):
        for name, run in rows.items():
            start = time.perf_counter()
            run()
            if round_ >= WARM_UP:
                times[name].append(time.perf_counter() - start)

    medians = {name: statistics.median(values) for name, values in times.items()}
    rival = medians["bf16", "unfused", "none"]
    table = Table("precision", "attention", "p-ADL", "ms a step", "relative to bf16 unfused without p-ADL")
    for name, seconds in medians.items():
        table.add_row(*name, f"{1000 * seconds:.0f}", f"{seconds / rival:.2f}")
    console.print(f"{describe_device()}; batch {batch}, median of {ROUNDS}")
    console.print(table)


if __name__ == "__main__":
    main()
