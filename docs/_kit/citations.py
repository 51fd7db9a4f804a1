"""Citations: whoever is cited stands in the bibliography, and the reader gets there.

    [Training gets faster.]{cited="Ioffe and Szegedy, 2015"}

leads to the heading of the bibliography that reads the same,

    ### Ioffe and Szegedy, 2015 { #ioffe-and-szegedy-2015 }

"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from _kit.page import Page, PageError, page_of

_HEADING = re.compile(r"^#+ (.+?) \{ #([\w-]+) \}$", re.MULTILINE)


class CitationsExtension(Extension):
    """Binds citations to the bibliography."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {"bibliography": ["", "The page whose headings are what may be cited"]}
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Follow the marks of claims.py, before the builder follows links."""
        leads = _Leads(md, Path(self.getConfig("bibliography")))
        md.treeprocessors.register(leads, "citations", 9)  # inline marks: 20


class _Leads(Treeprocessor):
    """Makes a link of what a sentence cites."""

    def __init__(self, md: Markdown, bibliography: Path) -> None:
        super().__init__(md)
        self.bibliography = bibliography

    def run(self, root: Element) -> None:
        page = page_of(self.md)
        labels = root.findall(".//span[@class='cited']/small")
        known = self._known() if labels else {}
        for label in labels:
            cited = (label.text or "")[2:-1]  # within " (" and ")"
            if cited not in known:
                what = f"{cited!r} is cited, and is no heading of {self.bibliography.as_posix()}."
                raise PageError(_where(page, cited), what, self._remedy(cited, known))
            to = os.path.relpath(self.bibliography, Path(page.name).parent)
            label.text = " ("
            link = SubElement(label, "a", {"href": f"{Path(to).as_posix()}#{known[cited]}"})
            link.text, link.tail = cited, ")"

    def _remedy(self, cited: str, known: dict[str, str]) -> str:
        if close := difflib.get_close_matches(cited, known, n=1):
            return f"Did you mean {close[0]!r}?"
        heading = f"### {cited} {{ #{'-'.join(re.findall('[a-z0-9]+', cited.lower()))} }}"
        return f"Write into {self.bibliography.as_posix()}: {heading}"

    def _known(self) -> dict[str, str]:
        """Return the ids of the entries by what they are cited as."""
        if not self.bibliography.exists():
            return {}
        return dict(_HEADING.findall(self.bibliography.read_text(encoding="utf-8")))


def _where(page: Page, cited: str) -> str:
    """Return file and line of what a page cites."""
    offset = page.prose.find(f'cited="{cited}"')
    return f"{page.name}:{page.line_of(max(offset, 0))}"


def makeExtension(**kwargs: Any) -> CitationsExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return CitationsExtension(**kwargs)
