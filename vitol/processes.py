"""The processes that share a piece of work: one, or several started by torchrun, on CPUs or one a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from vitol.threads import threads

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other, at most: for the last chunk of maps, or a snapshot on a slow disk."""
PLAIN = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


@cache
def team() -> Accelerator:
    """This process and those it works with, as accelerate knows them.

    Alone unless a launcher (`start`, torchrun, `accelerate launch`) has said otherwise in the environment. Mixed
    precision stays off here: `vitol.precision.autocast` is the one place for it.

    Raises:
        ValueError: If the launcher asks for anything but plain data parallelism, such as DeepSpeed or FSDP.
    """
    waiting = InitProcessGroupKwargs(timeout=PATIENCE)
    found = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[waiting])
    if found.distributed_type not in PLAIN:
        raise ValueError(
            f"the launcher asks for {found.distributed_type.value}; vitol shares batches between copies of the model "
            "and nothing else: start it with torchrun, or `accelerate launch --multi_gpu`"
        )
    return found


def shared_gradients(model: nn.Module) -> nn.Module:
    """A model of the same parameters, whose backward pass averages gradients over the processes.

    Alone, the model itself. On GPUs batch statistics are those of the whole batch, too: BatchNorm modules of the given
    model are replaced in place by ones that share them, with the same parameters, buffers and names.

    Raises:
        ValueError: If the model has BatchNorm, and the processes are on the CPU, where they cannot share statistics.
    """
    processes = team()
    if processes.num_processes == 1:
        return model
    device = processes.device
    layers = {name: part for name, part in model.named_modules() if isinstance(part, _BatchNorm)}
    if layers and device.type == "cpu":
        raise ValueError(
            f"{type(model).__name__} normalises by the statistics of a batch (BatchNorm in {next(iter(layers))}), "
            "which processes on the CPU cannot share, so that each would train on those of its part; train in one "
            "process (`processes: 1`)"
        )
    # Those that are converted already would lose timm's activations.
    if not all(isinstance(part, nn.SyncBatchNorm) for part in layers.values()):
        convert_sync_batchnorm(model)
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def is_launched() -> bool:
    """Whether a launcher has started this process as one of a team, be it the only one."""
    return "LOCAL_RANK" in os.environ


def start(module: str, arguments: Sequence[str], processes: int) -> None:
    """Replace this process by a launcher that runs a module in several; come back where one process is enough.

    Comes back, too, in a process that a launcher has started. On the CPU the processes divide the cores.

    Args:
        module: What `python -m` would run.
        arguments: Its command line.
        processes: How many; on a machine with GPUs every one takes its own.

    Raises:
        ValueError: If there are GPUs, but fewer than processes.
    """
    if processes == 1 or is_launched():
        return
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ValueError(
            f"{processes} processes need a GPU each and this machine has {gpus}; ask for at most {gpus}"
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads() // processes)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [*command, "--module", module, *arguments])
