"""Where interrupted work waits to be gone on with: a folder named after all that its result depends on.

Nothing here is an output that DVC knows: DVC removes those before a stage runs.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from experiments.params import is_registered
from experiments.stage import RESULTS, console, data_folder
from vitol.snapshots import differing

RESUME = RESULTS / "resume"
SETTINGS = "settings.json"
PROJECT = ("vitol", "experiments")


def resume_folder(name: str, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The folder of a piece of work under these settings; settings that changed lead to another one.

    Says on the console what other settings work of the same name was interrupted under, so that it is no surprise
    that it starts anew.

    Args:
        name: Such as "finetune-mini-small-mmp-seed0".
        settings: All that the result depends on.

    Returns:
        The folder, which may not exist yet, and the settings as plain values.
    """
    plain = TypeAdapter(dict[str, Any]).dump_python(dict(settings), mode="json")
    text = json.dumps(plain, indent=2, sort_keys=True)
    folder = RESUME / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        for other in sorted(RESUME.glob(f"{name}-{'[0-9a-f]' * 12}")):
            kept = json.loads((other / SETTINGS).read_text(encoding="utf-8"))
            console.print(
                f"{name} starts anew: {other} is of a run with other settings, and waits for them "
                f"({'; '.join(differing(kept, plain))})"
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")
    return folder, plain


def data_digest(dataset: str, source: str) -> str:
    """Hash of a prepared data set: of its manifest, which knows every image, or of what it was unpacked from."""
    if is_registered(source):
        return digest((data_folder(dataset) / "manifest.json").read_bytes())
    files = sorted(path for path in Path(source).rglob("*") if path.is_file())
    return digest(*(path.read_bytes() for path in files))


def weights_digest(model: nn.Module) -> str:
    """Hash of a model's weights and buffers."""
    return digest(*(tensor.numpy(force=True).tobytes() for tensor in model.state_dict().values()))


def code_digest() -> str:
    """Hash of the project's modules that this process has imported: those that dvc.yaml lists for its stage."""
    names = sorted(name for name in sys.modules if name.partition(".")[0] in PROJECT)
    files = [file for name in names if (file := getattr(sys.modules[name], "__file__", None))]
    return digest(*(Path(file).read_bytes() for file in files))


def digest(*parts: bytes) -> str:
    """SHA-256 of some bytes, each part led by its length, in hex."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()
