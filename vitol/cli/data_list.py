"""`vitol data list`: the data sets that are registered, and the layouts that one can be registered in."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitol.cli.console import examples, print_json

EXAMPLES = examples("vitol data list", "vitol data list --json")


def list_datasets(
    folder: Annotated[Path, typer.Option(help="Where manifests are kept.")] = Path("registered"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List the data sets that are registered, and the layouts to register one in.

    A root that is "gone" is not there at the moment: nothing of that data
    set can be read until it is, or until VITOL_<NAME>_ROOT says where it is.
    """
    from vitol.datasets.layouts import LAYOUTS
    from vitol.datasets.registered import registered_names

    found = [describe(name, folder) for name in registered_names(folder)]
    layouts = [{"layout": name, "expects": reader.expects} for name, reader in LAYOUTS.items()]
    if json:
        print_json({"datasets": found, "layouts": layouts})
        return
    console = Console()
    if found:
        console.print(datasets_table(found))
    else:
        console.print(
            f"No data set is registered in {folder}.", soft_wrap=True, highlight=False, markup=False
        )
    table = Table(title="vitol data register LAYOUT ROOT", title_justify="left")
    table.add_column("layout", no_wrap=True)
    table.add_column("expects under its root", overflow="fold")
    for entry in layouts:
        table.add_row(Text(entry["layout"]), Text(entry["expects"]))
    console.print(table)


def describe(name: str, folder: Path) -> dict[str, Any]:
    """What is known of a registered data set without opening it; `error` says why something is not."""
    from vitol.datasets.registered import read_manifest, stated_root

    known: dict[str, Any] = {"name": name, "layout": None, "classes": None, "splits": {}, "fingerprint": None}
    known |= {"root": None, "root_found": False, "error": None}
    try:
        manifest = read_manifest(name, folder)
        said = {key: manifest[key] for key in ("layout", "classes", "splits", "fingerprint")}
        for of_split in said["splits"].values():
            counts(of_split)  # whether they are there
        known |= said
        _, root = stated_root(name, folder)
        known |= {"root": str(root), "root_found": root.is_dir()}
    except ValueError as error:
        known["error"] = str(error)
    except KeyError as error:
        known["error"] = f"its manifest does not say {error}: register it again"
    except (TypeError, AttributeError):
        known["error"] = "its manifest is not as `vitol data register` writes it: register it again"
    return known


def datasets_table(found: list[dict[str, Any]]) -> Table:
    """A row a data set."""
    table = Table(title="registered", title_justify="left")
    for column in ("name", "layout", "splits"):
        table.add_column(column, no_wrap=True)
    table.add_column("root", overflow="fold")
    for entry in found:
        splits = "\n".join(f"{name} {counts(of_split)}" for name, of_split in entry["splits"].items())
        if entry["error"]:
            root = Text(entry["error"], style="red")
        elif entry["root_found"]:
            root = Text(entry["root"])
        else:
            root = Text(f"{entry['root']} (gone)", style="red")
        table.add_row(Text(entry["name"]), Text(entry["layout"] or "?"), Text(splits), root)
    return table


def counts(of_split: dict[str, Any]) -> str:
    """Images of a split, with their boxes or masks.

    >>> counts({"images": 3000, "boxes": 3000}), counts({"images": 40, "boxes": 0, "masks": 80})
    ('3,000 (3,000 boxes)', '40 (80 masks)')
    """
    inside = [f"{of_split[kind]:,} {kind}" for kind in ("boxes", "masks") if of_split.get(kind)]
    return f"{of_split['images']:,}" + (f" ({', '.join(inside)})" if inside else "")
