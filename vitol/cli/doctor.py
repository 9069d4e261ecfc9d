"""`vitol doctor`: what is there, what is broken, how to fix it."""

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitol.cli.console import FAULT, errors_in_words, examples, print_json

if TYPE_CHECKING:
    from vitol.checkup import Finding

EXAMPLES = examples("vitol doctor", "vitol doctor --json")
STYLES = {"ok": "green", "note": "yellow", "fault": "bold red"}


def doctor(
    folder: Annotated[Path, typer.Option(help="Where data sets are registered.")] = Path("registered"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check this machine: versions, devices, data sets, weights, tools; say how to fix what is broken.

    A fault is something that is there and does not work: the exit code is 1.
    A note is something optional that is missing, and does no harm.

    Of a registered data set only the first image of each split is looked for;
    `vitol data check` looks at all of them.
    """
    from vitol.checkup import checkup

    with errors_in_words(), Console(stderr=True).status("Looking around"):
        findings = list(checkup(folder))
    faults = sum(finding.status == "fault" for finding in findings)
    if json:
        print_json({"healthy": not faults, "findings": [asdict(finding) for finding in findings]})
    else:
        show_findings(findings)
    if faults:
        raise typer.Exit(FAULT)


def show_findings(findings: "list[Finding]") -> None:
    """Print the findings by area, and how many there are to act on."""
    from vitol.wording import counted

    console = Console()
    for area, of_area in groupby(findings, key=lambda finding: finding.area):
        table = Table(title=area, title_justify="left", box=None, show_header=False, title_style="bold")
        table.add_column(width=5)
        table.add_column(min_width=24, overflow="fold")
        table.add_column(overflow="fold")
        for finding in of_area:
            seen = Text(finding.seen)
            if finding.remedy:
                seen.append(f"\n-> {finding.remedy}", style="italic")
            table.add_row(Text(finding.status, style=STYLES[finding.status]), Text(finding.name), seen)
        console.print(table)
    count = {status: sum(finding.status == status for finding in findings) for status in STYLES}
    said = "Nothing is broken" if not count["fault"] else f"{counted(count['fault'], 'fault')} to fix"
    console.print(Text(f"{said}, {counted(count['note'], 'note')}.", style="bold"))
