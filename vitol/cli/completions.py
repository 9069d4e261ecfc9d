"""What the shell offers for values that are no fixed choice of a command's own."""

from pathlib import Path


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Map methods, with where they come from."""
    from vitol.methods import ABOUT

    return [(name, about.source) for name, about in ABOUT.items() if name.startswith(incomplete)]


def presets(incomplete: str) -> list[str]:
    """Presets of the methods."""
    from vitol.methods import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def datasets(incomplete: str) -> list[str]:
    """Data sets that are registered in the usual folder."""
    from vitol.datasets.registered import registered_names

    return [name for name in registered_names() if name.startswith(incomplete)]


def dataset_or_folder(incomplete: str) -> list[str]:
    """Registered data sets, and folders."""
    parent = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    folders = sorted(path for path in parent.glob("*") if path.is_dir()) if parent.is_dir() else []
    return datasets(incomplete) + [f"{path}/" for path in folders if str(path).startswith(incomplete)]
