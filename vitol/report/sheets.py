"""Sheets: the paper's tables and others, and how a sheet is written as HTML.

A sheet has one metric; a table that shows several becomes several sheets under one title.
"""

from __future__ import annotations

from collections.abc import Hashable
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from vitol.measurements import ENDS
from vitol.report.contents import Cell, Column, Row, Sheet
from vitol.tables import Table


def number_cell(
    value: float, low: float = np.nan, high: float = np.nan, sd: float = np.nan, signed: bool = False
) -> Cell:
    """A number in percent with its interval and, over seeds, the standard deviation; empty if there is none."""
    if np.isnan(value):
        return Cell("")
    form = "+.1f" if signed else ".1f"
    interval = "" if np.isnan(low) else f"[{low:{form}}, {high:{form}}]"
    spread = "" if np.isnan(sd) else f"±{sd:.1f}"
    return Cell(f"{value:{form}}", float(value), " ".join(filter(None, (interval, spread))))


def table_sheets(table: Table) -> list[Sheet]:
    """A table of the paper as sheets, a metric each.

    The paper's data sets have the paper's number and, where they were measured, ours and the difference; every other
    run has ours. Rows that the paper lacks are set apart.
    """
    sheets = []
    labels = ["method", "architecture", *(["position"] if table.number == 4 else [])]
    for metric, block in table.cells.groupby("metric", sort=False):
        # A rival has no line under a metric that the paper does not give.
        shown = block if block["paper"].notna().any() else block[block["variant"] != ""]
        columns = [Column(name) for name in labels]
        parts: list[tuple[str, str]] = []
        for group, entries in shown.groupby("group", sort=False):
            of_paper, header = entries[["of_paper", "header"]].iloc[0]
            printed = of_paper and (entries["paper"].notna() | entries["dash"]).any()
            run = (entries["seeds"] > 0).any()
            of_group = (
                ["paper"] * bool(printed) + ["ours"] * bool(run) + ["difference"] * bool(printed and run)
            )
            parts += [(str(group), part) for part in of_group]
            columns += [Column(part, header.replace("\n", ", "), True) for part in of_group]
        rows = []
        for _, line in shown.groupby("line"):
            of = {entry["group"]: entry for entry in line.to_dict("records")}
            texts = [Cell(str(line[name].iloc[0])) for name in labels]
            numbers = [_entry(of[group], part) for group, part in parts]
            rows.append(Row((*texts, *numbers), aside=bool(line["row"].iloc[0] == 0)))
        sheets.append(Sheet(table.title, str(metric), table.note, tuple(columns), tuple(rows)))
    return sheets


def _entry(entry: dict[Hashable, Any], part: str) -> Cell:
    """One number of a table."""
    if part == "paper":
        if entry["dash"]:
            return Cell("-")
        return Cell("") if np.isnan(entry["paper"]) else Cell(f"{entry['paper']:.2f}", float(entry["paper"]))
    if part == "difference":
        gap = entry["difference"]
        return Cell("") if np.isnan(gap) else Cell(f"{gap:+.2f}", float(gap))
    if entry["absent"]:
        return Cell(entry["absent"])
    return number_cell(*(entry[name] for name in (*ENDS, "seed_sd")))


def sheets_html(sheets: tuple[Sheet, ...]) -> str:
    """All sheets as HTML; each can be sorted by any column."""
    blocks = []
    for number, (title, group) in enumerate(groupby(sheets, key=lambda sheet: sheet.title), 1):
        parts = list(group)
        choice = ""
        if len(parts) > 1:
            options = "".join(f"<option>{escape(sheet.part)}</option>" for sheet in parts)
            choice = f'<label class="choice">Metric <select data-parts>{options}</select></label>'
        tables = "".join(_table(sheet, bool(at)) for at, sheet in enumerate(parts))
        note = f'<p class="note">{escape(parts[0].note)}</p>' if parts[0].note else ""
        blocks.append(
            f'<article class="sheet" id="table-{number}"><h3>{escape(title)}</h3>{choice}{tables}{note}</article>'
        )
    return "\n".join(blocks)


def sheet_titles(sheets: tuple[Sheet, ...]) -> list[str]:
    """The titles in the order of their ids, `table-1` and so on."""
    return [title for title, _ in groupby(sheets, key=lambda sheet: sheet.title)]


def _table(sheet: Sheet, hidden: bool) -> str:
    name = escape(f"{sheet.title}, {sheet.part}")
    groups = "".join(
        f'<th colspan="{len(list(of))}" scope="colgroup">{escape(group)}</th>'
        for group, of in groupby(column.group for column in sheet.columns)
    )
    top = f"<tr>{groups}</tr>" if any(column.group for column in sheet.columns) else ""
    names = "".join(
        f'<th scope="col"{_number(column)} aria-sort="none"><button type="button">{escape(column.name)}</button></th>'
        for column in sheet.columns
    )
    rows = "".join(_line(row, sheet) for row in sheet.rows)
    state = " hidden" if hidden else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"{state}>'
        f"<table><thead>{top}<tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _line(row: Row, sheet: Sheet) -> str:
    entries = []
    for at, (cell, column) in enumerate(zip(row.cells, sheet.columns, strict=True)):
        value = "" if cell.value is None else f' data-value="{cell.value!r}"'
        note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
        tag = 'th scope="row"' if at == 0 else "td"
        entries.append(f"<{tag}{_number(column)}{value}>{escape(cell.text)}{note}</{tag[:2]}>")
    aside = ' class="aside"' if row.aside else ""
    return f"<tr{aside}>{''.join(entries)}</tr>"


def _number(column: Column) -> str:
    return ' class="number"' if column.numeric else ""
