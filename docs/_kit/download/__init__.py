"""A page to take along: as a script, as a notebook, and as Markdown with its results.

All three are made while the page is converted, from the source that the page itself is made from,
and from what its blocks left when they ran for it. The page leaves them in its record, and the
last step of the build writes them beside it: `page.py`, `page.ipynb`, `page.md`. A page without
code that runs has only the Markdown; so has one whose code imports this kit, since that code runs
in the repository and nowhere else. `llms.txt` leads machines that read to all of it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

from _kit.built import Built, Site
from _kit.download.api import expand
from _kit.download.cells import cells, needs
from _kit.download.generated import fill
from _kit.download.marks import first_sentence, for_students
from _kit.download.notebook import notebook
from _kit.download.script import script
from _kit.download.source import Text, pieces
from _kit.download.text import text
from _kit.page import Block, Page, Run, page_of

KIT = __name__.partition(".")[0]


class DownloadExtension(Extension):
    """Makes the files of each page that a Markdown instance converts."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {
            "site": ["", "Name of the site"],
            "about": ["", "What the site is about, in a sentence"],
            "python": [">=3.11", "Versions of Python that the pages run with"],
            "paths": [["."], "Where the packages of the reference are"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Listen from the start, and make the files when all else is done but the record."""
        md.preprocessors.register(_Listen(md), "download-listen", 998)
        md.treeprocessors.register(_Files(md, self.getConfigs()), "download", -999)


class _Listen(Preprocessor):
    """Notes in the record of a page what each of its blocks leaves, when it has just left it."""

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        left: dict[int, dict[str, str]] = {}
        page.record["left"] = left

        def note(_: Block | None) -> None:
            for number, run in page.runs.items():  # an exercise runs several blocks at once
                if number not in left:
                    left[number] = _left(page.blocks[number - 1], run)

        page.listeners.append(note)
        return lines


def _left(block: Block, run: Run) -> dict[str, str]:
    """Return what a block left that other renderings than HTML need."""
    left = {"output": run.output, "error": run.error or ""}
    if block.options.get("result") in {"figure", "slider"}:
        left |= {name: run.namespace[name] for name in ("title", "caption", "alt")}
    if block.options.get("result") == "slider":
        left["call"] = _call(run.namespace["inputs"])
    return left


def _call(inputs: dict[str, Any]) -> str:
    """Return code that draws the frame with which a slider starts."""
    controls = (
        given if isinstance(given, dict) else {"values": given} for given in inputs.values()
    )
    values = ", ".join(map(_start, controls))
    labels = ", ".join(inputs)
    return f"# other values of {labels} draw other frames\nfig, readouts = frame({values})"


def _start(given: dict[str, Any]) -> str:
    """Return the value of a control at the start, as code, and of the type that frames get."""
    values = list(given["values"])
    start = given.get("start", values[len(values) // 2])
    value = next((value for value in values if value == start), start)
    return repr(value.item() if isinstance(value, np.generic) else value)


class _Files(Treeprocessor):
    """Makes the files, and leaves them in the page's record.

    It changes nothing in the tree. When the last of these processors runs, all blocks have run.
    """

    def __init__(self, md: Markdown, config: dict[str, Any]) -> None:
        super().__init__(md)
        self.given = config

    def run(self, root: Element) -> None:  # noqa: ARG002 (Python-Markdown's)
        page = page_of(self.md)
        left = page.record.pop("left")
        if page.is_file:
            page.record["site"] = {name: self.given[name] for name in ("site", "about")}
            page.record["downloads"] = _files(page, left, self.given)


def _files(page: Page, left: dict[int, dict[str, str]], given: dict[str, Any]) -> dict[str, Any]:
    """Return the files of a page by their endings, and what llms.txt says of it."""
    found = [
        Text(expand(piece.text, given["paths"])) if isinstance(piece, Text) else piece
        for piece in pieces(page, left)
    ]
    files = {".md": text(found)}
    if left:
        made = cells(page, found)
        needed = needs(made, given["python"])
        if KIT not in needed.packages:
            files[".py"] = script(page, made, needed, given["site"])
            files[".ipynb"] = notebook(page, made, needed, given["site"])
    prose = "\n\n".join(piece.text for piece in found if isinstance(piece, Text))
    title = re.search(r"^# (.*)$", prose, re.MULTILINE)
    about = re.search(
        r"^(?![#\s]).*", prose[title.end() if title else 0 :], re.MULTILINE | re.DOTALL
    )
    return {
        "files": files,
        "title": for_students(title[1]).strip("`") if title else page.name,
        "about": first_sentence(about[0]) if about else "",
    }


def write(site: Site) -> None:
    """Put the files of all pages beside them, tell machines in their heads, and list them.

    Args:
        site: The built site.
    """
    pages = [page for page in site.pages if "downloads" in page.record]
    for page in pages:
        for ending, content in page.record["downloads"]["files"].items():
            site.files[_beside(page, ending)] = fill(content, page.html)
        name = PurePosixPath(_beside(page, ".md")).name
        link = f'<link rel="alternate" type="text/markdown" href="{name}">'
        page.html = page.html.replace("</head>", f"{link}</head>", 1)
    if pages:
        site.files["llms.txt"] = _index(pages)


def _beside(page: Built, ending: str) -> str:
    return page.path.removesuffix(".html") + ending


_ABOUT_FILES = (
    "Each page is here as Markdown with its results. A page that runs code can also be had as a "
    "script and as a notebook, under the same name with .py and .ipynb, unless its code is about "
    "this repository and runs only there."
)


def _index(pages: list[Built]) -> str:
    """Return llms.txt: title, summary, and by section a link to the Markdown of each page."""
    site = pages[0].record["site"]
    parts = [
        f"# {site['site']}\n\n> {site['about']}\n",
        f"{_ABOUT_FILES}\n",
    ]
    sections: dict[str, list[str]] = {}
    for page in pages:
        about = page.record["downloads"]
        folder = page.path.split("/")[0] if "/" in page.path else "start"
        line = f"- [{about['title']}]({_beside(page, '.md')}): {about['about']}"
        sections.setdefault(folder.replace("-", " ").capitalize(), []).append(line)
    parts += [f"## {name}\n\n" + "\n".join(lines) + "\n" for name, lines in sections.items()]
    return "\n".join(parts)


def makeExtension(**kwargs: Any) -> DownloadExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return DownloadExtension(**kwargs)
