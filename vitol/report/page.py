"""The page as one HTML file: contents, styles, scripts and data, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from vitol.atomic import atomic_file
from vitol.localizations import DELTAS
from vitol.rectangles import SIZE
from vitol.report.contents import Contents, Picture
from vitol.report.packing import count_maps, packed_gallery
from vitol.report.pictures import colour_table, plot_bytes, text_of
from vitol.report.sheets import sheet_titles, sheets_html
from vitol.report.steps import step_starts

SCRIPTS = ("theme.js", "tables.js", "boxes.js", "draw.js", "curve.js", "gallery.js")
Progress = Callable[[str, int, int], object]
"""Called with what is being done, how many maps are done and how many there are."""


def write_page(
    contents: Contents, path: Path, workers: int | None = None, progress: Progress | None = None
) -> None:
    """Write the page; the same contents give the same bytes.

    Args:
        contents: What stands on it.
        path: The HTML file.
        workers: Threads that look for boxes; None takes one a core.
        progress: Told what is done.

    Raises:
        ValueError: If a map or an image is bad: then with its name.
        OSError: If the file cannot be written.
    """
    text = page(contents, workers, progress)
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def page(contents: Contents, workers: int | None = None, progress: Progress | None = None) -> str:
    """The page's text; arguments and errors as in `write_page`."""
    total = sum(map(count_maps, contents.galleries))
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("Boxes for the page", done, total)

    galleries = [packed_gallery(gallery, workers, advance) for gallery in contents.galleries]
    data = {
        "size": SIZE,
        "deltas": DELTAS,
        "starts": step_starts(),
        "colours": text_of(colour_table()),
        "galleries": galleries,
    }
    # "<" never stands in it, so that no text of the data can end the element it is in.
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Template(_asset("report.html")).substitute(
        title=escape(contents.title),
        lead=escape(contents.lead),
        contents=_contents_html(contents),
        tables=_section("tables", "Tables", sheets_html(contents.sheets)),
        plots=_section("plots", "Plots", "".join(map(_picture, contents.pictures))),
        gallery=_asset("gallery.html") if galleries else "",
        style=_asset("report.css"),
        script="\n".join(map(_asset, SCRIPTS)),
        data=packed,
    )


def _asset(name: str) -> str:
    return files("vitol.report").joinpath("assets", name).read_text(encoding="utf-8")


def _contents_html(contents: Contents) -> str:
    """Links to all that is there."""
    entries = [
        f'<li><a href="#table-{number}">{escape(title)}</a></li>'
        for number, title in enumerate(sheet_titles(contents.sheets), 1)
    ]
    if contents.pictures:
        entries.append(f'<li><a href="#plots">Plots ({len(contents.pictures)})</a></li>')
    if contents.galleries:
        images = sum(len(gallery.photos) for gallery in contents.galleries)
        text = f"Gallery: {images:,} test images, their maps and boxes at every threshold"
        entries.append(f'<li><a href="#gallery">{text}</a></li>')
    return f"<ul>{''.join(entries)}</ul>"


def _section(name: str, title: str, inner: str) -> str:
    if not inner:
        return ""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{inner}</section>'


def _picture(picture: Picture) -> str:
    """A plot that is shown when it is asked for."""
    source = f"data:image/webp;base64,{text_of(plot_bytes(picture.png))}"
    title, caption = escape(picture.title), escape(picture.caption)
    return (
        f"<details><summary>{title}</summary><figure>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<img alt="{title}" src="{source}"></div>'
        f"<figcaption>{caption}</figcaption></figure></details>"
    )
