"""The processes that share a piece of work: one, or several started by torchrun, on CPUs or one a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache

import torch
from accelerate import Accelerator


@cache
def team() -> Accelerator:
    """This process and those it works with, as accelerate knows them.

    Alone unless a launcher (`start`, torchrun, `accelerate launch`) has said otherwise in the environment. Mixed
    precision stays off here: `vitol.training.autocast` is the one place for it.
    """
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")


def is_launched() -> bool:
    """Whether a launcher has started this process as one of several, or as the only one of a team."""
    return "WORLD_SIZE" in os.environ


def start(module: str, arguments: Sequence[str], processes: int) -> None:
    """Replace this process by a launcher that runs a module in several; come back where one process is enough.

    Comes back, too, in a process that a launcher has started.

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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [*command, "--module", module, *arguments])
