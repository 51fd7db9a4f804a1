"""Examples of how pages are written: the source of some lines, and below it what they become.

    /// example | A value in a sentence
    Half of three is {{ 3 / 2 }}.
    ///

The lines stand in the page once. What is shown of them is read from the page's own source, by their
numbers, so it cannot differ from what becomes of them. An example may hold whatever a page may, a
question and an exercise too; a block in it has one more slash than outside, and is shown with one
less, so that the source can be copied to a page as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import inherit
from pygments.lexers import MarkdownLexer
from pygments.token import Keyword, String, Text

from _kit.page import Block, page_of
from _kit.slashes import Declared, Slashes, SlashesExtension


class Example(Slashes):
    """An example."""

    NAME = "example"
    OPEN = True

    def build(self, parent: Element) -> Element:
        """Return the element, with the source in it, and note for other renderings what it is."""
        source, block = self.source(), self.declared
        fence = Block(0, block.line + 1, block.line + 1, "```markdown", source)
        page_of(self.md).quotes.append(fence)
        group = self.group(parent, self.argument)
        SubElement(group, "p", {"class": "label"}).text = "You write"
        shown = highlight(source, PageLexer(), HtmlFormatter(wrapcode=True))
        SubElement(group, "p").text = self.md.htmlStash.store(shown)
        SubElement(group, "p", {"class": "label"}).text = "It becomes"
        SubElement(group, "div", {"class": "becomes"})
        return group

    def on_add(self, element: Element) -> Element:
        """Return where what the lines become goes to."""
        return element[-1]

    def finish(self, element: Element) -> None:
        """Raise a PageError for an example of nothing."""
        if not len(element[-1]):
            what = "an example must hold lines that become something; it holds none."
            raise self.error(what, "Write between its lines of slashes what the page is to show.")

    def source(self) -> str:
        """Return the lines between the slashes as they would be written outside of an example."""
        page, block = page_of(self.md), self.declared
        lines = dict(enumerate(page.source.split("\n"), page.first_line))
        for inner in _all_in(block):
            for line in (inner.line, inner.end):
                lines[line] = lines[line].removeprefix("/")
        return "\n".join(lines[line] for line in range(block.line + 1, block.end)).strip("\n")


def _all_in(block: Declared) -> Iterator[Declared]:
    """Yield the blocks that stand in a block, at any depth."""
    for inner in block.inner:
        yield inner
        yield from _all_in(inner)


class PageLexer(MarkdownLexer):  # type: ignore[misc] # Pygments has no types
    """Markdown as pages are written: with lines of slashes, marks of sentences, and values."""

    tokens: ClassVar[dict[str, list[Any]]] = {
        "root": [(r"^/{3,}.*$", Keyword), inherit],
        "inline": [
            (r"\{\{ .*? \}\}|\]\{\w+(?:=\"[^\"\n]*\")?\}", String),
            # words and signs end before a mark or a value
            (r"[^\W_][^\\\s{}\[\]`*]*|[).,:;?!%]+(?=\])|\[(?=\{)", Text),
            inherit,
        ],
    }


class ExampleExtension(SlashesExtension):
    """Makes examples known."""

    KINDS: ClassVar[list[type[Slashes]]] = [Example]


def makeExtension(**kwargs: Any) -> ExampleExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return ExampleExtension(**kwargs)
