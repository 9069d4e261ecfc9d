"""The batches of an epoch: drawn alike by every process, each of which takes its share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import BatchSampler, RandomSampler, Sampler


class SharedBatches(Sampler[list[int]]):
    """Indices of the images that one process takes of every batch of an epoch, in random order.

    The order is drawn for the whole batch, so it is the same for any number of processes. Process r of p takes the
    images r, r + p, r + 2p, ... of a batch: equally many, so that a mean over processes is a mean over the batch.
    An incomplete last batch is left out, unless it is the only one.

    Attributes:
        first: The batch to start with; those before it are drawn and not taken.

    Args:
        images: How many images there are.
        batch_size: How many make a batch, over all processes.
        order: What the order is drawn from. An epoch leaves it in the state that the next epoch starts from.
        process: r, from 0.
        processes: p.

    Raises:
        ValueError: If the processes cannot share a batch equally.
    """

    def __init__(
        self, images: int, batch_size: int, order: torch.Generator, process: int = 0, processes: int = 1
    ) -> None:
        whole = min(batch_size, images)
        if whole % processes:
            raise ValueError(
                f"{processes} processes cannot share a batch of {whole} images equally; "
                f"give a batch size that is a multiple of {processes}"
            )
        self.first = 0
        self._batches = BatchSampler(
            RandomSampler(range(images), generator=order), batch_size, drop_last=images > batch_size
        )
        self._process, self._processes = process, processes

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        """This process's share of each batch from `first` on."""
        for number, batch in enumerate(self._batches):
            if number >= self.first:
                yield batch[self._process :: self._processes]


def this_process() -> tuple[int, int]:
    """Number of this process, from 0, and of those that share every batch."""
    shared = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)


def own_draws(images: int, *shape: int) -> Tensor:
    """Uniform draws from [0, 1) for this process's images of a batch, (images, *shape), from torch's CPU generator.

    Every process draws for the whole batch and takes the rows of its own images, as `SharedBatches` deals them out, so
    that an image's draws are the same for any number of processes.
    """
    process, processes = this_process()
    return torch.rand(processes * images, *shape)[process::processes]
