"""The notebooks, executed on the toy results of `project`, and what executes them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode

from experiments import notebooks
from experiments.notebooks import NotebookFailed, execute, page

SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
NAMES = [path.stem for path in SOURCES]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def pages(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage writes, without weights at hand and without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.delenv("VITOL_WEIGHTS", raising=False)
        notebooks.main()
    return project / "results" / "notebooks"


def test_every_notebook_becomes_an_ipynb_and_a_page(pages):
    assert len(NAMES) == 7
    assert sorted(path.name for path in pages.iterdir()) == sorted(
        f"{name}.{end}" for name in NAMES for end in ("ipynb", "html")
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_a_notebook_ran_and_it_shows_a_picture(name, pages):
    notebook = nbformat.read(pages / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_notebook_opens_with_the_papers_figure_and_ours_trains_nothing_and_ends_with_an_assertion(path):
    cells = jupytext.read(path).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.index("**The paper**") < cells[0].source.index("**Here**")
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cells[-1].source)))
    assert not {"vitol/training.py", "experiments/fit.py"} & set(re.findall(r"\S+\.py", modules(path)))


def modules(path: Path) -> str:
    """The modules that a notebook imports, as files."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return " ".join(f"{(node.module or '').replace('.', '/')}.py" for node in nodes)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asks_for_nothing_outside_itself_and_knows_no_time_and_no_place(name, pages, project):
    html = (pages / f"{name}.html").read_text()
    assert "<script" not in html and "@import" not in html
    asked = re.findall(r"<(?:img|link|iframe|source|video)\b[^>]*?(?:src|href)=[\"']([^\"']*)", html)
    assert asked and all(link.startswith("data:") for link in asked)
    assert not re.findall(r"url\([\"']?(?!data:|#)[^)]", html)
    text = (pages / f"{name}.ipynb").read_text()
    for written in (html, text):
        assert str(project) not in written and str(ROOT) not in written
    notebook = nbformat.reads(text, as_version=4)
    assert all(not cell.metadata for cell in notebook.cells)
    assert [cell.id for cell in notebook.cells] == [f"{name}-{at}" for at in range(len(notebook.cells))]


def test_a_notebook_executed_again_is_the_same_bytes(pages, project, tmp_path, monkeypatch):
    name = "figure3_drop_mask"  # it runs a model, too
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    again = execute(Path("notebooks") / f"{name}.py")
    nbformat.write(again, tmp_path / "again.ipynb")
    assert (tmp_path / "again.ipynb").read_bytes() == (pages / f"{name}.ipynb").read_bytes()
    assert page(again, name) == (pages / f"{name}.html").read_text()


def test_without_weights_your_own_model_is_the_pipelines(pages):
    notebook = nbformat.read(pages / "your_own_model.ipynb", as_version=4)
    printed = "".join(output.get("text", "") for cell in code(notebook) for output in cell.outputs)
    assert printed.startswith(
        "Without deit_tiny_patch16_224, since its weights are not at hand (CheckpointError)"
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with the pages of an earlier run; it is the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "results" / "notebooks").mkdir(parents=True)
    (tmp_path / "results" / "notebooks" / "old.html").write_text("old")
    return tmp_path


@pytest.mark.parametrize(
    ("cell", "seconds", "reason"),
    [
        ("print(1)\n1 / 0", 600, r"cell 1 \('print\(1\)'\): ZeroDivisionError: division by zero"),
        ("import os; os._exit(1)", 600, r"cell 1 \('import os; os\._exit\(1\)'\): the kernel died"),
        ("import time; time.sleep(60)", 2, r"cell 1 \('import time; .*'\): it took longer than 2 s"),
    ],
    ids=["error", "death", "timeout"],
)
def test_a_notebook_that_fails_is_named_with_its_cell_and_leaves_the_old_pages(
    cell, seconds, reason, folder, monkeypatch
):
    monkeypatch.setattr(notebooks, "SECONDS", seconds)
    if seconds == 600:
        (folder / "notebooks" / "a.py").write_text("# %%\n1 + 1\n")
    (folder / "notebooks" / "b.py").write_text(f"# %% [markdown]\n# # b\n\n# %%\n{cell}\n")
    with pytest.raises(NotebookFailed, match=rf"notebooks/b\.py, {reason}.*\n.*run that first"):
        notebooks.main()
    assert [path.name for path in (folder / "results").iterdir()] == ["notebooks"]
    assert [path.name for path in (folder / "results" / "notebooks").iterdir()] == ["old.html"]


def test_without_notebooks_or_code_nothing_is_replaced(folder):
    with pytest.raises(
        NotebookFailed, match="there is no notebook in notebooks; run from the project's root"
    ):
        notebooks.main()
    (folder / "notebooks" / "empty.py").write_text("# %% [markdown]\n# # Nothing\n")
    with pytest.raises(NotebookFailed, match=r"notebooks/empty\.py has no cell of code"):
        notebooks.main()
    assert (folder / "results" / "notebooks" / "old.html").read_text() == "old"
