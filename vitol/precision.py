"""What precision comes to on a device, and how a model then computes in it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from vitol.models import unfused_attention


def precision_on(device: torch.device, precision: str) -> str:
    """The precision that a recipe's comes to on a device: "bf16" only where that is computed in hardware.

    Elsewhere bfloat16 is emulated: on a CPU with AVX2 and no AVX-512 a step of `mini`'s model then takes 14 times as
    long as in float32, which is used instead.

    Returns:
        "bf16" or "fp32".
    """
    if precision == "fp32":
        return precision
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Builds of torch without oneDNN lack the operator, too.
        supported = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return precision if supported else "fp32"


def attention_for(model: nn.Module, device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Unfused attention in bfloat16 on the CPU, where the fused kernel's backward pass is slow.

    `experiments/benchmarks/training_step.py` measures it: 1.8 times slower a step on two cores of a Zen 4.
    """
    slow = device.type == "cpu" and precision_on(device, precision) == "bf16"
    return unfused_attention(model) if slow else nullcontext()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Autocast to bfloat16 for precision "bf16" where the device has it, none for "fp32"."""
    enabled = precision_on(device, precision) == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
