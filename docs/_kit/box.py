"""Boxes: `!!! warning "Title"`, and `??? note "Title"` for one that is folded away.

Markdown takes any word for the kind of a box, and a line that it cannot read for text. Here the
line must be whole, and the kind one of the site's.
"""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from _kit.page import PageError, choice, page_of

_MARKED = re.compile(r"^[\s>]*(!!|\?\?)")  # two are a slip as well
_BOX = re.compile(r'^[\s>]*(?:!!!|\?\?\?\+?) ([\w-]+)(?: "[^"]+")?$')


class BoxExtension(Extension):
    """Refuses what Markdown would take for a box that is none of the site's, or for text."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {"kinds": [["note", "warning"], "Kinds of boxes that the style sheet knows"]}
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Look at the page's lines before a block of it runs."""
        md.preprocessors.register(_Boxes(md, self.getConfig("kinds")), "boxes", 27)


class _Boxes(Preprocessor):
    """Looks at the lines that begin a box."""

    def __init__(self, md: Markdown, kinds: list[str]) -> None:
        super().__init__(md)
        self.kinds = kinds

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        for number, line in enumerate(page.prose.split("\n"), page.first_line):
            if _MARKED.match(line):
                self._check(f"{page.name}:{number}", line.rstrip())
        return lines

    def _check(self, where: str, line: str) -> None:
        """Raise a PageError for a line that is no box, or a box of no known kind."""
        box = _BOX.match(line)
        if not box:
            what = f"a box must begin with its marks, a kind and a title; got {line.strip()!r}."
            raise PageError(where, what, 'Write !!! or ???, and for example note "Title".')
        if box[1] not in self.kinds:
            raise PageError(where, f"there is no box {box[1]!r}.", choice(box[1], self.kinds))


def makeExtension(**kwargs: Any) -> BoxExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return BoxExtension(**kwargs)
