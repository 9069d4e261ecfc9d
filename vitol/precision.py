"""What precision comes to on a device, and how a model then computes in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

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


@contextmanager
def no_tf32() -> Iterator[None]:
    """No TF32 until the `with` is left: by default torch lets convolutions on GPUs round float32 to its ten bits."""
    cuda, cudnn, cpu = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
    backends: list[Any] = [cuda, getattr(cudnn, "conv", None), getattr(cpu, "matmul", None)]
    with ExitStack() as undo:
        for backend in backends:
            if hasattr(backend, "fp32_precision"):
                undo.callback(setattr, backend, "fp32_precision", backend.fp32_precision)
                backend.fp32_precision = "ieee"
        if not hasattr(cuda, "fp32_precision"):  # torch before 2.9
            undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
            undo.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
            cudnn.allow_tf32 = False
        yield


def wide_type(tensor: Tensor) -> torch.dtype:
    """The tensor's type, but no half precision: what is summed or compared is in float32 at least."""
    return torch.promote_types(tensor.dtype, torch.float32)
