"""What `vitol score` writes besides scores, and what it refuses to write."""

from pathlib import Path
from typing import TYPE_CHECKING

from vitol.wording import counted

if TYPE_CHECKING:
    from vitol.datasets.faults import DatasetFaults


def faults_file(result: Path | None) -> Path | None:
    """Where faults are listed: beside the result that there is not; None if none was asked for."""
    if result is None:
        return None
    return (result if result.name else result.resolve()).with_name(f"{result.resolve().name}.faults.csv")


def check_outputs(out: Path | None, report: Path | None, faults: Path | None, force: bool) -> None:
    """Refuse what could not be written, before anything is scored.

    Args:
        out: The folder to write to.
        report: The file of the report alone.
        faults: Where faults are listed.
        force: Whether to overwrite the results of an earlier run.

    Raises:
        ValueError: If one is there already, cannot be written, or would take the place of another.
    """
    from vitol.score_report import FILES, check_faults_file, check_free, check_free_file

    if out is not None:
        check_free(out, force)
    if report is not None:
        check_free_file(report, force)
    if out is not None and report is not None:
        folder, file = out.resolve(), report.resolve()
        if file in {folder, *folder.parents} or (file.parent == folder and file.name in FILES):
            raise ValueError(
                f"--report {report} is what --out {out} writes, or in its way; give the report another place"
            )
    if faults is not None:
        if report is not None and report.resolve() == faults.resolve():
            raise ValueError(f"--report {report} is where faults are listed; give the report another name")
        check_faults_file(faults)


def faults_text(error: "DatasetFaults", file: Path | None, outcome: str = "nothing was scored") -> str:
    """The faults as they are printed, their number at the end: all of them where no file lists them.

    Args:
        error: With all faults; its text has the first ones.
        file: That lists all, if there is one.
        outcome: What they led to.
    """
    lines = str(error).splitlines()
    if file is not None:
        lines.append(f"  all of them: {file}")
    else:
        lines = [lines[0], *(f"  {fault}" for fault in error.faults)]
    return "\n".join([*lines, f"{counted(len(error.faults), 'fault')}; {outcome}"])
