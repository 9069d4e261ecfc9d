"""README.md and docs/: every block and command does what it says, every name and link leads somewhere."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import yaml
from conftest import ROOT
from doc_commands import check, check_dvc, check_make, known_to_vitol, run
from doc_pages import PAGES, Block, apply_diff, page_blocks, page_spans, read_page
from doc_world import with_weights, write_weights, write_world

from experiments.params import read_params

EXTEND = "docs/extend.md"  # changes the project, so in a copy of it
COPIED = ("vitol", "experiments", "notebooks", "tests", "dvc.yaml", "params.yaml", "pyproject.toml")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("docs") / "weights")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def world(prepared: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder and the home folder of one page's reader."""
    folder = shutil.copytree(prepared, tmp_path / "world")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("VITOL_WEIGHTS", str(weights))
    monkeypatch.setattr(timm, "create_model", with_weights(timm.create_model, weights))
    return folder


def run_python(block: Block, namespace: dict[str, object]) -> None:
    exec(compile(block.text, block.where, "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if page != EXTEND])
def test_every_block_of_a_page_does_what_it_says(page: str, world: Path) -> None:
    namespace: dict[str, object] = {}
    for block in page_blocks(page):
        assert not block.title, f"{block.where}: only {EXTEND} changes files of the project"
        if block.kind == "python":
            run_python(block, namespace)
        for line in block.commands if block.kind == "shell" else ():
            run(line)


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the project; compiled code comes along."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in COPIED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, folder / name)
    return folder


def test_every_step_of_the_page_on_extending_works_in_a_copy_of_the_project(world: Path, copy: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(copy)}

    def run_here(*words: str, cwd: Path = world) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"

    vitol = f"import vitol, vitol.cli; assert vitol.__file__.startswith({str(copy)!r}); vitol.cli.app()"
    for block in page_blocks(EXTEND):
        path = copy / block.title
        if block.kind == "diff":
            apply_diff(path, block.text)
        elif block.kind == "yaml":
            known = yaml.safe_load(path.read_text())
            for section, entries in yaml.safe_load(block.text).items():
                known[section] |= entries
            path.write_text(yaml.safe_dump(known))
            read_params(path)
        elif block.kind == "python" and block.title:
            assert not path.exists()
            path.write_text(block.text)
        elif block.kind == "python":
            run_python(block, {})
        for line in block.commands if block.kind == "shell" else ():
            program, *words = shlex.split(line, comments=True)
            if program == "vitol" and words[0] == "score":  # as it is: compiling once more would take longer
                run(line)
            elif program == "vitol":
                run_here("-c", vitol, *(str(Path(word).expanduser()) for word in words))
            elif program == "pytest":
                run_here("-m", "pytest", "-p", "no:cacheprovider", *words, cwd=copy)
            elif (
                program == "python"
            ):  # of the grid, which is set back: this process knows no rival of the page
                params = (copy / "params.yaml").read_text()
                run_here(*words, cwd=copy)
                assert (copy / "params.yaml").read_text() != params
                (copy / "params.yaml").write_text(params)
            elif program == "dvc":
                check_dvc(words)
            else:
                check_make(words, copy / "params.yaml", recipe=False)


# Commands and names in the text


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_are_sound(page: str) -> None:
    for span in page_spans(page):
        program, *words = span.split(" ", 1)
        if program == "vitol" and words:
            known_to_vitol(shlex.split(words[0]))
        elif program == "make" and words:
            check_make(shlex.split(words[0]), recipe=False)
        elif (program == "dvc" and words) or span.startswith("python -m "):
            check(span)


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_library_in_the_text_exist(page: str) -> None:
    names = [span for span in page_spans(page) if re.fullmatch(r"vitol(\.\w+)+", span)]
    for name in names:
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                continue
            for part in parts[end:]:
                found = getattr(found, part)
            break


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    folder = (ROOT / page).parent
    assert [link for link in links if "://" not in link and not (folder / link).is_file()] == []


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_asks_nothing_of_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for path in pages:
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"?([^\"\s>]+)", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"?([^\"\s>]+)", text)
        assert loaded and [place for place in loaded if "//" in place] == [], path.name
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(\"?(https?:)?//|@import", text), path.name


def test_the_site_has_the_committed_results_and_their_pictures(site: Path) -> None:
    page = (site / "results/real.html").read_text(encoding="utf-8")
    assert "Does the paper hold on real images?" in page
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', page)
    assert pictures and all((site / "results" / picture).is_file() for picture in pictures)


def test_names_of_the_library_lead_to_the_api(site: Path) -> None:
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert text.count("<code>vitol.") == len(re.findall(r"<a [^>]*><code>vitol\.", text)), path.name
    page = (site / "protocol.html").read_text(encoding="utf-8")
    assert re.search(
        r'href="api/boxes\.html#vitol\.boxes\.score_map"[^>]*><code>vitol\.boxes\.score_map', page
    )


def test_doctests_are_shown_as_code(site: Path) -> None:
    page = (site / "api/boxes.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in page
    assert 'class="language-pycon' in page


def test_every_public_module_stands_on_one_page_of_the_api() -> None:
    named = re.findall(
        r"^::: (vitol\S+)", "\n".join(path.read_text() for path in (ROOT / "docs/api").glob("*.md")), re.M
    )
    modules = set()
    for path in (ROOT / "vitol").rglob("*.py"):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        if path.name != "__init__.py" and not name.startswith("vitol.cli."):
            assert ast.get_docstring(ast.parse(path.read_text())), path
            modules.add(name)
    assert sorted(named) == sorted(modules)


# What the tests above would say


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```\nls\n```", "the block says '', not what it is"),
        ("```console\nls\n```", "the block says 'console', not what it is"),
        ("```shell\nls\n", "the block has no end"),
        ("```diff\n-a\n```", 'a diff block needs a title="FILE"'),
        ('```shell title="a.sh"\nls\n```', "a shell block has no title"),
    ],
)
def test_a_block_that_does_not_say_what_it_is_is_an_error(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        read_page(text, "page.md")


@pytest.mark.parametrize(
    "line",
    [
        "curl example.org",
        "make no-such-target",
        "make run DATASET=no-such-data",
        "python -m experiments.select",
        "python -m experiments.real now",
        "python -m http.server",
        "dvc repro no-such-stage",
        "dvc no-such-command",
        "source elsewhere/bin/activate",
    ],
)
def test_a_command_that_is_not_sound_is_an_error(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line)


def test_a_command_that_vitol_does_not_have_is_an_error() -> None:
    with pytest.raises(Exception, match="No such option"):
        check("vitol data fetch cub folder --no-such-option")
    for words in (["no-such-command"], ["score", "--no-such-option"]):
        with pytest.raises(AssertionError, match="no"):
            known_to_vitol(words)


def test_a_diff_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    apply_diff(tmp_path / "a.py", " one\n+and\n@@\n+end\n")
    assert (tmp_path / "a.py").read_text() == "one\nand\ntwo\ntwo\nend\n"
    for diff in ("-three\n+four\n", "-two\n"):
        with pytest.raises(ValueError, match="not once"):
            apply_diff(tmp_path / "a.py", diff)
