"""What interrupted work is known by, and that only one process goes on with it: hashes and a lock."""

from __future__ import annotations

import fcntl
import hashlib
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TextIO

from torch import nn

from vitol.processes import team

LOCK = "lock"


def lock(folder: Path) -> TextIO:
    """Keep other runs out of a folder, until the file that is returned is closed or the process ends.

    Raises:
        ValueError: If another run is in it.
    """
    held = (folder / LOCK).open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise ValueError(
            f"another run is at the same work ({folder} is locked); wait for it, or end it: a launcher that was "
            "killed may have left its processes behind (`pgrep -af 'vitol|experiments'`)"
        ) from error
    return held


def team_lock(folder: Path) -> AbstractContextManager[object]:
    """As `lock`, for this process and those it shares the work with: the first one holds the lock, the others wait.

    Args:
        folder: Made if it is not there.
    """
    processes = team()
    held: AbstractContextManager[object] = nullcontext()
    if processes.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        held = lock(folder)
    processes.wait_for_everyone()
    return held


def digest(*parts: bytes) -> str:
    """SHA-256 of some bytes, each part led by its length, in hex."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


def files_digest(folder: Path, files: list[Path]) -> str:
    """Hash of files below a folder: their names and contents, sorted by name."""
    named = ((path.relative_to(folder).as_posix().encode(), path.read_bytes()) for path in sorted(files))
    return digest(*(part for pair in named for part in pair))


def weights_digest(model: nn.Module) -> str:
    """Hash of a model's weights and buffers."""
    return digest(*(tensor.numpy(force=True).tobytes() for tensor in model.state_dict().values()))


def code_digest(*packages: str) -> str:
    """Hash of the modules of some packages that this process runs."""
    return digest(*(path.read_bytes() for path in sorted(module_files(*packages))))


def module_files(*packages: str) -> set[Path]:
    """Files of those modules of some packages that have been imported, the one Python was started with included."""
    files = set()
    for name, module in list(sys.modules.items()):
        # Under `python -m` a module goes by another name.
        known = module.__spec__.name if name == "__main__" and module.__spec__ else name
        if known.partition(".")[0] in packages and getattr(module, "__file__", None):
            files.add(Path(str(module.__file__)).resolve())
    return files
