"""Tables 1-4 for a terminal."""

import numpy as np
import rich.box
import rich.table

from vitol.cams.about import RIVALS
from vitol.measurements import ENDS
from vitol.tables import NOT_RUN, SHOWN_METRICS, Table


def render(table: Table) -> rich.table.Table:
    """Lay the table out for a terminal of 120 to 160 columns, one block of lines a metric."""
    grid = rich.table.Table("method", "architecture", title=table.title, caption=table.note)
    grid.box, grid.padding = rich.box.SIMPLE_HEAD, (0, 1, 0, 0)
    run = set(table.cells.loc[table.cells["seeds"] > 0, "group"])
    for group, entries in table.cells.groupby("group", sort=False):
        of_paper, header = entries[["of_paper", "header"]].iloc[0]
        names = [f"{group}\npaper; ours\n{NOT_RUN}", *(["paper"] if of_paper else []), header]
        for name in names[1:] if group in run else names[:1]:
            grid.add_column(name, justify="right")
    for metric, block in table.cells.groupby("metric", sort=False):
        if len(SHOWN_METRICS[table.number]) > 1:
            grid.add_row(f"[bold]{metric}[/bold]")
        # A rival that was not run has no line under a metric that the paper does not give.
        shown = block
        if block["paper"].isna().all():
            measured = block["seeds"].groupby(block["line"]).transform("max") > 0
            shown = block[measured | ~block["variant"].isin(["", *RIVALS])]
        for _, line in shown.groupby("line"):
            method, architecture, position = line[["method", "architecture", "position"]].iloc[0]
            texts = [method, f"{architecture} {position}" if table.number == 4 else architecture]
            for entry in line.to_dict("records"):
                if entry["of_paper"]:
                    texts.append("-" if entry["dash"] else _format("{:.2f}", entry["paper"]))
                if entry["group"] in run:
                    ours = _format("{:.1f} [{:.1f}, {:.1f}]", *(entry[end] for end in ENDS))
                    ours += _format(" ±{:.1f}", entry["seed_sd"])
                    ours += _format(" ({:+.2f})", entry["difference"])
                    texts.append(ours or f"[dim]{entry['absent']}[/dim]")
            grid.add_row(*texts)
        grid.add_section()
    return grid


def _format(form: str, *numbers: float) -> str:
    return "" if np.isnan(numbers).any() else form.format(*numbers)
