"""Stage notebooks: execute the notebooks on what the grid left in results/; each as .ipynb and as HTML.

Outputs are the same bytes for the same results: cells have fixed ids, nothing is timed, the user's own IPython settings
are left out, and no page asks for anything outside itself. No network is used: weights that a notebook would like to
have come from $VITOL_WEIGHTS or the hub's cache, or it does without them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from experiments.stage import RESULTS, console, progress_bar, provenance
from vitol.atomic import atomic_folder

SOURCES = Path("notebooks")
PAGES = RESULTS / "notebooks"
SECONDS = 600  # that a cell may take
# nbconvert's own page without the scripts that it takes from elsewhere.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}"""


class NotebookFailed(ValueError):
    """A notebook could not be executed; the text names it, the cell, and what went wrong."""


def read_notebook(path: Path) -> NotebookNode:
    """A percent script as a notebook whose cells have ids that tell their place.

    Raises:
        NotebookFailed: If it has no cell of code.
    """
    notebook = jupytext.read(path)
    for at, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem}-{at}"
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        }
    )
    if not count_code(notebook):
        raise NotebookFailed(f"{path} has no cell of code; write it in jupytext's percent format")
    return notebook


def count_code(notebook: NotebookNode) -> int:
    """How many cells are executed."""
    return sum(cell.cell_type == "code" for cell in notebook.cells)


def execute(path: Path, done: Callable[[], object] | None = None) -> NotebookNode:
    """Execute a notebook in a fresh kernel, in the current folder.

    Args:
        path: The percent script.
        done: Called after each cell of code.

    Raises:
        NotebookFailed: If a cell raises, takes longer than `SECONDS`, or ends the kernel.
    """
    notebook = read_notebook(path)
    running: list[int] = []

    def finished(cell: NotebookNode, cell_index: int, execute_reply: object) -> None:
        if done is not None:
            done()

    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path.cwd())}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # it warns that it listens to this machine without a password
        on_cell_start=lambda cell, cell_index: running.append(cell_index),
        on_cell_executed=finished,
    )
    with TemporaryDirectory() as settings:
        try:
            client.execute(env=environment(settings))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise NotebookFailed(told(path, notebook, running, error)) from error
    for cell in notebook.cells:
        cell.metadata = NotebookNode()  # jupytext's
    return notebook


def environment(settings: str) -> dict[str, str]:
    """The environment of a kernel: no settings of the user's, no network, no order that changes from run to run.

    Nor a warning that tqdm would draw prettier bars with another package, which names a path of this machine.
    """
    own = {"IPYTHONDIR": settings, "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    return {**os.environ, **own, "PYTHONWARNINGS": "ignore:IProgress not found"}


def told(path: Path, notebook: NotebookNode, running: list[int], error: Exception) -> str:
    """What went wrong where."""
    at = running[-1] if running else 0
    first = next(iter(notebook.cells[at].source.splitlines()), "")
    if isinstance(error, CellExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        reason = f"it took longer than {SECONDS} s"
    else:
        reason = "the kernel died; the memory may have run out"
    return (
        f"{path}, cell {at} ({first!r}): {reason}\n"
        f"Nothing in {PAGES} was changed. The notebooks read what `dvc repro plot` writes; run that first"
    )


def page(notebook: NotebookNode, title: str) -> str:
    """The notebook as one HTML file that asks for nothing outside itself."""
    html, _ = HTMLExporter(raw_template=TEMPLATE).from_notebook_node(
        notebook, resources={"metadata": {"name": title}}
    )
    return html


def main() -> None:
    """Execute every notebook, and replace results/notebooks as a whole."""
    paths = sorted(SOURCES.glob("*.py"))
    if not paths:
        raise NotebookFailed(f"there is no notebook in {SOURCES}; run from the project's root")
    counts = [count_code(read_notebook(path)) for path in paths]
    with provenance("notebooks"):
        executed = {}
        with progress_bar() as bar:
            task = bar.add_task("notebooks", total=sum(counts))
            for path in paths:
                bar.update(task, description=path.stem)
                executed[path.stem] = execute(path, lambda: bar.advance(task))
        with atomic_folder(PAGES) as folder:
            for name, notebook in executed.items():
                nbformat.write(notebook, folder / f"{name}.ipynb")
                (folder / f"{name}.html").write_text(page(notebook, name), encoding="utf-8")
    console.print(f"{PAGES}: {', '.join(path.stem for path in paths)}")


if __name__ == "__main__":
    main()
