"""Where interrupted work waits to be gone on with: a folder named after all that its result depends on.

Nothing here is an output that DVC knows: DVC removes those before a stage runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from experiments.stage import MAIN, RESULTS, console, data_folder
from vitol import resumption
from vitol.atomic import atomic_file
from vitol.processes import team
from vitol.resumption import files_digest, team_lock
from vitol.snapshots import differing

RESUME = RESULTS / "resume"
SETTINGS = "settings.json"
PROJECT = ("vitol", "experiments")


class Resume:
    """The folders of a stage's pieces of work, kept until the whole stage is done.

    DVC removes what a stage wrote before it runs it again, finished seeds too; from here they come back.
    """

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._locks = ExitStack()

    def folder(self, name: str, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
        """The folder of a piece of work under these settings; settings that changed lead to another one.

        Says on the console what other settings work of the same name was interrupted under, so that it is no
        surprise that it starts anew.

        Args:
            name: Such as "finetune-mini-small-mmp-seed0".
            settings: All that the result depends on.

        Returns:
            The folder, and the settings as plain values.

        Raises:
            ValueError: If another run is at the same work.
        """
        plain = TypeAdapter(dict[str, Any]).dump_python(dict(settings), mode="json")
        text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
        folder = RESUME / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if MAIN and not folder.is_dir():
            for line in others(name, plain):
                console.print(line)
        self._locks.enter_context(team_lock(folder))
        if MAIN:
            with atomic_file(folder / SETTINGS) as partial:
                partial.write_text(text, encoding="utf-8")
        self._folders.append(folder)
        return folder, plain

    def remove(self) -> None:
        """Remove the folders: the work is done, and its results are where they belong."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def release(self) -> None:
        """Let other runs at the work."""
        self._locks.close()


@contextmanager
def resuming() -> Iterator[Resume]:
    """What a stage goes on from, removed at its end; what is interrupted leaves it for the next time."""
    resume = Resume()
    try:
        yield resume
        team().wait_for_everyone()
        if MAIN:
            resume.remove()
    finally:
        resume.release()


def others(name: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """A line for every folder that work of this name left under other settings."""
    for folder in sorted(RESUME.glob(f"{name}-{'[0-9a-f]' * 12}")):
        try:
            kept = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            what = "; ".join(differing(kept, settings))
        except (OSError, ValueError):
            what = "unknown ones"
        yield f"{name} starts anew: {folder} waits for other settings ({what}); remove it if they will not come back"


def data_digest(dataset: str) -> str:
    """Hash of a prepared data set: its splits, and its images, or the manifest that knows them."""
    folder = data_folder(dataset)
    return files_digest(folder, [path for path in folder.rglob("*") if path.is_file()])


def code_digest() -> str:
    """Hash of the project's modules that this process runs: those that dvc.yaml lists for its stage."""
    return resumption.code_digest(*PROJECT)
