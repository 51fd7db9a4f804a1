"""A built site, as the steps after the build see it: its pages, their records, and new files."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

from _kit.page import RECORD_CLOSE, RECORD_OPEN

_ABSOLUTE = re.compile(r'<link rel="stylesheet" href="(/[^"]*?)assets/')
_RECORD = re.compile(re.escape(RECORD_OPEN) + r"(.*?)" + re.escape(RECORD_CLOSE))
_TITLE = re.compile(r"<h1[^>]*>(.*?)(?:<a [^>]*class=\"headerlink|</h1>)", re.DOTALL)
_CANONICAL = re.compile(r'<link rel="canonical" href="(https?:[^"]*)"')


@dataclass
class Built:
    """A page as it was built."""

    path: str  # below the site, for example learn/backward.html
    html: str
    record: dict[str, Any]  # what its run left behind; empty for pages that have no source

    @property
    def title(self) -> str:
        """Return the first heading of the page as plain text."""
        found = _TITLE.search(self.html)
        words = unescape(re.sub(r"<[^>]*>", "", found[1])) if found else self.path
        return " ".join(words.split())

    @property
    def address(self) -> str:
        """Return the public address of the page; nothing while the site has none."""
        found = _CANONICAL.search(self.html)
        return unescape(found[1]) if found else ""

    @property
    def root(self) -> str:
        """Return the way from the page to the root of the site, for example `../`.

        The page for what is not found is shown at any address, so its way begins at the host.
        """
        absolute = _ABSOLUTE.search(self.html)
        return absolute[1] if absolute else "../" * self.path.count("/")


@dataclass
class Site:
    """All that was built, and what is to be written beside it."""

    folder: Path
    pages: list[Built]
    files: dict[str, str | bytes] = field(default_factory=dict)  # new ones, by path below the site

    @classmethod
    def read(cls, folder: Path) -> Site:
        """Read a built site, and take the records out of its pages.

        The pages come in the order in which the start page links to them: that of the navigation.

        Args:
            folder: The folder of the built files.
        """
        pages = [_read(folder, path) for path in sorted(folder.rglob("*.html"))]
        start = next((page.html for page in pages if page.path == "index.html"), "")
        order = ["index.html", *map(posixpath.normpath, re.findall(r'href="([^"]*)"', start))]
        pages.sort(key=lambda page: order.index(page.path) if page.path in order else len(order))
        return cls(folder, pages)

    def write(self) -> None:
        """Write the pages back, and the new files."""
        for path, content in ({page.path: page.html for page in self.pages} | self.files).items():
            data = content.encode() if isinstance(content, str) else content
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)


def _read(folder: Path, path: Path) -> Built:
    html = path.read_text(encoding="utf-8")
    found = _RECORD.search(html)
    record = json.loads(found[1]) if found else {}
    return Built(path.relative_to(folder).as_posix(), _RECORD.sub("", html), record)
