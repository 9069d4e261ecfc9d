"""`vitol tables`: the paper's Tables 1-4, its numbers beside those of a file of measurements."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from vitol.cli.console import errors_in_words, examples, print_json

if TYPE_CHECKING:
    from vitol.tables import Table

EXAMPLES = examples(
    "vitol tables",
    "vitol tables results/measurements.csv --table 3 --table 4",
    "vitol tables --out tables --json > tables.json",
)


def tables(
    measurements: Annotated[
        Path,
        typer.Argument(metavar="MEASUREMENTS", help="A measurements.csv, as `make repro` writes it."),
    ] = Path("results/measurements.csv"),
    number: Annotated[
        list[int] | None,
        typer.Option("--table", min=1, max=4, help="Which table; repeat for more. All four if not given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write table1.csv to table4.csv, too.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of an earlier run.")] = False,
) -> None:
    """Show Tables 1-4 of the paper: its numbers beside yours.

    MEASUREMENTS has one row a score; its columns are those of the file that
    the pipeline writes, and of its committed runs. A wrong row is an error,
    never an empty cell.

    The paper's columns take only what was measured as the paper did: its data
    set, number of images, backbone, map, preset and threshold policy. Every
    other data set and backbone gets a column of its own.
    """
    from vitol.atomic import atomic_file
    from vitol.measurements import read_scores
    from vitol.paper import TABLES, read_published
    from vitol.tables import build_table

    with errors_in_words():
        numbers = sorted(set(number or TABLES))
        files = {} if out is None else {each: out / f"table{each}.csv" for each in numbers}
        for path in files.values():
            if path.exists() and not force:
                raise ValueError(f"{path} exists already; give another folder, or --force to overwrite it")
        if not measurements.is_file():
            raise ValueError(
                f"{measurements} is missing; run `make repro` in the project's folder first, or give the "
                "measurements.csv of another run"
            )
        frame = read_scores(measurements)
        made = [build_table(each, frame, read_published(each)) for each in numbers]
        for table in made:
            if out is not None:
                with atomic_file(files[table.number]) as partial:
                    partial.write_text(table.csv(), encoding="utf-8")
        if json:
            print_json({"measurements": str(measurements), "tables": [as_json(table) for table in made]})
        else:
            for table in made:
                show_table(table, Console())
    if out is not None:
        line = f"tables  {', '.join(str(path) for path in files.values())}"
        Console(stderr=json).print(line, soft_wrap=True, highlight=False, markup=False)


def show_table(table: "Table", console: Console) -> None:
    """Print a table, in several parts where its groups of columns do not fit beside each other."""
    from vitol.table_print import render

    groups = list(dict.fromkeys(table.cells["group"]))
    title = table.title
    while groups:
        shown = len(groups)
        while shown > 1 and natural_width(only(table, groups[:shown])) > console.width:
            shown -= 1
        grid = render(only(table, groups[:shown]))
        # The note stands below all parts, as wide as the screen is.
        grid.title, grid.title_justify, grid.caption = title, "left", None
        console.print(grid)
        groups, title = groups[shown:], f"{table.title} (continued)"
    console.print(Text(table.note, style="italic"))
    console.print()


def only(table: "Table", groups: list[str]) -> "Table":
    """The table with some of its groups of columns."""
    return replace(table, cells=table.cells[table.cells["group"].isin(groups)])


def natural_width(table: "Table") -> int:
    """Characters that a table's columns need, title and note left aside."""
    from vitol.table_print import render

    grid = render(table)
    grid.title = grid.caption = None
    return Console(width=1000).measure(grid).maximum


def as_json(table: "Table") -> dict[str, Any]:
    """A table as JSON: a row a line, in it a cell an entry; null where there is no number."""
    labels = ["row", "method", "architecture", "position"]
    numbers = ["paper", "ours", "ci_low", "ci_high", "seed_sd", "difference"]
    rows = []
    for _, line in table.cells.groupby("line"):
        cells = []
        for entry in line.to_dict("records"):
            said = {name: None if entry[name] != entry[name] else float(entry[name]) for name in numbers}
            cells.append(
                {"group": entry["group"], "metric": entry["metric"], **said, "seeds": entry["seeds"]}
            )
        rows.append({**{name: line[name].tolist()[0] for name in labels}, "cells": cells})
    return {"number": table.number, "title": table.title, "note": table.note, "rows": rows}
