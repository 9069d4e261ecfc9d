"""Where `vitol data register` and `vitol data check` list the faults of a data set, however many there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitol.cli.score_outputs import faults_text


@contextmanager
def faults_listed(name: str, folder: Path, outcome: str) -> Iterator[None]:
    """List all faults that end the `with` in `folder/NAME.faults.csv`, if they are more than an error shows.

    If they are not, or there is none, the list of an earlier run goes.

    Args:
        name: What the data set is called.
        folder: Where manifests are kept.
        outcome: What faults lead to.

    Raises:
        ValueError: With the first faults and the list's path; with all of them, if the list cannot be written.
    """
    from vitol.datasets.faults import DatasetFaults

    file = folder / f"{name}.faults.csv"
    if file.exists():  # else nothing is in the way, and what the check imports takes a second
        from vitol.score_report import check_faults_file

        check_faults_file(file)
    try:
        yield
    except DatasetFaults as error:
        if len(error.faults) <= error.shown:
            file.unlink(missing_ok=True)
            raise ValueError(faults_text(error, None, outcome)) from error
        from vitol.score_report import save_faults

        try:
            save_faults(error.faults, file)
        except OSError as failed:
            text = f"{faults_text(error, None, outcome)}\n{file} could not be written: {failed}"
            raise ValueError(text) from error
        raise ValueError(faults_text(error, file, outcome)) from error
    file.unlink(missing_ok=True)
