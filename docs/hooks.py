"""What MkDocs does not do by itself: pages and pictures that live elsewhere, links to the API, doctests as code."""

from __future__ import annotations

import re
from pathlib import Path

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

RESULTS = "experiments/results"  # of the repository: the committed runs
SHOWN = (".md", ".png", ".csv")
_FENCE = re.compile(r"^(```.*?^```$)", re.M | re.S)
# The API has no constants: their names lead to the module.
_NAME = re.compile(r"`(vitol(?:\.[a-z]\w*)+(?:\.[A-Z]\w*[a-z]\w*(?:\.\w+)?)?)(\.[A-Z_]+)?`")
_INTERVAL = re.compile(r"(?<=\d) (\[[-+\d.]+,) ([-+\d.]+\])")


class Doctests(Preprocessor):
    """Lines from `>>>` to the next empty one become code; Markdown would nest three quotes for them."""

    def run(self, lines: list[str]) -> list[str]:
        """Fence every doctest."""
        shown, inside = [], False
        for line in [*lines, ""]:
            if not inside and line.startswith(">>> "):
                shown.append("```pycon")
                inside = True
            elif inside and not line.strip():
                shown.append("```")
                inside = False
            shown.append(line)
        return shown


class DoctestExtension(Extension):
    """Puts `Doctests` before fences are looked for."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register it."""
        md.preprocessors.register(Doctests(md), "doctests", 28)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let docstrings show their doctests."""
    config.markdown_extensions.append(DoctestExtension())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the committed results' page and pictures under `results/`, so that they have one home."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / RESULTS).rglob("*")):
        if path.suffix in SHOWN:
            place = f"results/{path.relative_to(root / RESULTS).as_posix()}"
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to the results become the site's, names of the library links to the API; an interval stays on one line."""
    up = "../" * page.file.src_uri.count("/")
    markdown = markdown.replace(f"](../{RESULTS}/", f"]({up}results/")
    pieces = _FENCE.split(markdown)
    for at in range(0, len(pieces), 2):  # between the fences
        named = _NAME.sub(r"[`\1\2`][\1]", pieces[at])
        pieces[at] = _INTERVAL.sub("\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}\\2", named)
    return "".join(pieces)
