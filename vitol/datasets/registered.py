"""A registered data set, without opening it: its manifest, and where it lies on this machine."""

import json
import os
import re
from pathlib import Path
from typing import Any

REGISTERED = Path("registered")


def registered_names(folder: Path = REGISTERED) -> list[str]:
    """Names of all registered data sets, sorted."""
    return sorted(path.stem for path in folder.glob("*.json"))


def stated_root(name: str, folder: Path = REGISTERED) -> tuple[str, Path]:
    """Where a data set is said to lie, whether or not it does, after what says so.

    The environment variable `VITOL_<NAME>_ROOT` (upper case, anything but letters and digits as `_`) comes
    before the file that `register` wrote.

    Raises:
        ValueError: Nothing says so.
    """
    check_name(name)
    variable = root_variable(name)
    file = folder / f"{name}.root"
    if source := os.environ.get(variable):
        return variable, Path(source).expanduser()
    if file.exists():
        return str(file), Path(file.read_text(encoding="utf-8").rstrip("\n"))
    raise ValueError(
        f"data set {name!r} has no root: {variable} is not set and there is no {file}; "
        f"run `vitol data register LAYOUT ROOT --name {name}`"
    )


def root_variable(name: str) -> str:
    """The environment variable that says where a data set lies."""
    return f"VITOL_{re.sub('[^A-Za-z0-9]', '_', name).upper()}_ROOT"


def dataset_root(name: str, folder: Path = REGISTERED) -> Path:
    """Where a registered data set lies on this machine, see `stated_root`.

    Raises:
        ValueError: Neither is there, or what they name is not a folder.
    """
    origin, root = stated_root(name, folder)
    if not root.is_dir():
        raise ValueError(
            f"{origin} says that data set {name!r} lies in {root}, which is not a folder; "
            f"set {root_variable(name)}, or "
            f"run `vitol data register LAYOUT ROOT --name {name}`"
        )
    return root


def read_manifest(name: str, folder: Path = REGISTERED) -> dict[str, Any]:
    """What `register` wrote about a data set.

    Raises:
        ValueError: There is no such manifest, or it is not a JSON object.
    """
    check_name(name)
    file = folder / f"{name}.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError(f"it holds {type(manifest).__name__}, not an object")
    except FileNotFoundError:
        raise ValueError(
            f"data set {name!r} is not registered: there is no {file}; "
            f"run `vitol data register LAYOUT ROOT --name {name}`"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{file} is no manifest ({error}); run `vitol data register LAYOUT ROOT --name {name}` again"
        ) from error
    return manifest


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file's and a variable's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"{name!r} cannot name a data set; use letters, digits, '.', '_' and '-'")
