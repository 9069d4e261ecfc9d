"""What the benchmark of maps runs, ready to be called, and the peak memory of one such call.

A pass is a map method of vitol, the same method as the per-image loop, a bare forward pass, or a forward
pass with the cheapest backward pass that attention gradients can be had from.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from experiments.benchmarks.release_loop import LOOP_METHODS, loop_maps
from vitol.maps import localization_maps
from vitol.methods import Method, Precision
from vitol.models import create_model

Kind = Literal["forward", "backward", "loop", "vitol"]
CLASSES = 1000
LOOP_IMAGES = 4
MEBIBYTE = 2**20
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """A model with random weights and a batch of random images; depth None is the architecture's own."""

    architecture: str
    batch: int
    device: str
    depth: int | None = None


@dataclass(frozen=True)
class Pass:
    """What is run: for "loop" and "vitol" with a method and options of it, by name."""

    kind: Kind
    method: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """Its name in tables."""
        if self.kind == "forward":
            return "forward, fused attention"
        if self.kind == "backward":
            return "forward + cheapest backward"
        name = self.method.upper() if self.method in LOOP_METHODS else self.method
        if self.kind == "loop":
            return f"{name}, per-image loop{' as released' if self.options else ''}"
        return ", ".join([name, *(str(value) for _, value in self.options)])

    def images(self, batch: int) -> int:
        """How many images of a batch it takes: the loop's time an image does not depend on the batch."""
        return min(batch, LOOP_IMAGES) if self.kind == "loop" else batch


FORWARD, BACKWARD = Pass("forward"), Pass("backward")
AS_RELEASED = (("as_released", True),)


def passes_of(methods: Sequence[str]) -> list[Pass]:
    """The bare passes, and for every method the loop at its best and as released, if it has it, and vitol.

    LRP is run in each of its precisions, that of its default first.
    """
    passes = [FORWARD, BACKWARD]
    for method in methods:
        if method in LOOP_METHODS:
            passes += [Pass("loop", method), Pass("loop", method, AS_RELEASED)]
        if method != "lrp":
            passes.append(Pass("vitol", method))
            continue
        for precision in dict.fromkeys((Method.of("lrp").precision, *get_args(Precision))):
            passes.append(Pass("vitol", method, (("precision", precision),)))
    return passes


def prepare(case: Case, what: Pass) -> Callable[[], object]:
    """Make a model and images and return the call to be measured; what is found beforehand is done here."""
    torch.manual_seed(0)
    options = {} if case.depth is None else {"depth": case.depth}
    model = create_model(case.architecture, CLASSES, options=options).to(case.device).eval()
    settings: Any = model.pretrained_cfg
    count = what.images(case.batch)
    images = torch.randn(count, *settings["input_size"], device=case.device)
    targets = torch.randint(CLASSES, (count,), device=case.device)
    method: Any = what.method
    if what.kind == "forward":
        return torch.no_grad()(lambda: model(images))
    if what.kind == "backward":
        return _cheapest_backward(model, images, targets)
    if what.kind == "loop":
        return lambda: loop_maps(model, images, targets, method, **dict(what.options))
    return lambda: localization_maps(model, images, targets, method, **dict(what.options))


def _cheapest_backward(model: nn.Module, images: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """Forward, and the gradient of the first block's matrix; that of every other passes by on the way."""
    model.requires_grad_(False)
    matrices: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        # With frozen parameters the first matrix is outside the graph; as its leaf, it begins it.
        matrices.append(output if output.requires_grad else output.detach().requires_grad_())
        return matrices[-1]

    transformer: Any = model
    for block in transformer.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(keep)

    def run() -> Tensor:
        matrices.clear()
        score = model(images).gather(1, targets[:, None]).sum()
        return torch.autograd.grad(score, matrices[0])[0]

    return run


def peak_memory(case: Case, what: Pass) -> float:
    """Most memory that one call holds beyond its model and images, in MiB; NaN where it cannot be seen.

    On a GPU what PyTorch allocated. On the CPU the growth of the resident memory of a fresh process, as Linux
    counts it, in which the C library hands every freed tensor back at once, so that it is the tensors alive.

    Raises:
        RuntimeError: If the process fails, for want of memory perhaps; with what it said.
    """
    if case.device == "cuda":
        return _peak_on_gpu(case, what) / MEBIBYTE
    result = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import print_peak; print_peak()"],
        input=json.dumps([asdict(case), asdict(what)]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    if result.returncode:
        raise RuntimeError(
            f"{what.label} of {case} ended with {result.returncode} when its memory was measured; "
            f"it said: {result.stderr.strip()[-500:] or 'nothing'}"
        )
    return float(result.stdout) / MEBIBYTE


def _peak_on_gpu(case: Case, what: Pass) -> int:
    """Bytes. A call before it, on a model of its own, loads kernels and makes their workspaces."""
    prepare(case, what)()
    gc.collect()
    run = prepare(case, what)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


def print_peak() -> None:
    """Measure in this process what standard input says, and print bytes."""
    case, what = json.load(sys.stdin)
    what["options"] = tuple(tuple(option) for option in what["options"])
    run = prepare(Case(**case), Pass(**what))
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is now what is resident now
        before = _high_water()
    except OSError:
        print("nan")
        return
    run()
    print(_high_water() - before)


def _high_water() -> int:
    """Most bytes this program has had resident; `ru_maxrss` would begin at that of the program before it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
