"""How many threads to work with."""

from __future__ import annotations

import os


def threads(workers: int | None = None) -> int:
    """As many as are asked for, or one for each core that this process may use.

    Containers and batch systems often allow a process fewer cores than the machine has.

    Args:
        workers: At least 1, or None.

    Raises:
        ValueError: If fewer than 1 are asked for.
    """
    if workers is None:
        allowed = getattr(os, "sched_getaffinity", None)  # not there on macOS and Windows
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1, or None for one a core")
    return workers
