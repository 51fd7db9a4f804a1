"""Blocks between lines of slashes, as in `/// question | What is it?`, read strictly.

The blocks of pymdownx take what they can read, and publish the rest as text without a word. So the
lines of the page are read here first: each line of slashes must open a known block or end the one
that is open. Then every block that Markdown opens or ends is struck off that list, in its order.
What comes in otherwise, or not at all, stops the build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from pymdownx.blocks import BlocksExtension
from pymdownx.blocks.block import Block

from _kit.page import Block as Fence
from _kit.page import Page, PageError, choice, page_of

_SLASHES = re.compile(r"^[\s>]*//")  # two are a slip as well
_OPENS = re.compile(r"^(/{3,}) *([\w-]+) *(?:\| *(.*?))? *$")
_ENDS = re.compile(r"^(/{3,}) *$")
STASHED = re.compile(r"\x02wzxhzdk:(\d+)\x03")  # how Markdown keeps the place of a fence


@dataclass(eq=False)
class Declared:
    """A block between lines of slashes, as it stands in the source."""

    name: str
    title: str
    line: int
    slashes: int
    outer: Declared | None
    inner: list[Declared] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)  # that stand in it and in no inner one
    prose: list[int] = field(default_factory=list)  # lines of text, likewise
    end: int = 0

    def __str__(self) -> str:
        """Return how it is called in messages."""
        return f"the {self.name} of line {self.line}"


class Outline:
    """The blocks of a page, and which of them Markdown has opened and ended."""

    def __init__(self, page: Page, kinds: dict[str, type[Slashes]]) -> None:
        """Read the page.

        Args:
            page: The page.
            kinds: The blocks that there are, by their names.
        """
        self.page, self.kinds = page, kinds
        self.declared: list[Declared] = []
        self.steps: list[tuple[str, Declared]] = []  # "opens" and "ends", in order
        self.taken = 0
        block: Declared | None = None
        for number, line in enumerate(page.prose.split("\n"), page.first_line):
            block = self._read(number, line, block)
        if block:
            raise self.error(
                block, "the block is never ended.", f"Write {_ending(block)} behind it."
            )
        for fence in page.blocks:
            if owner := self.around(fence.line):
                owner.fences.append(fence)
        for block in self.declared:
            kinds[block.name].check(self, block)

    def error(self, block: Declared, what: str, remedy: str) -> PageError:
        """Return the error for a block."""
        return PageError(f"{self.page.name}:{block.line}: {block.name}", what, remedy)

    def around(self, line: int) -> Declared | None:
        """Return the innermost block that a line stands in."""
        blocks = [block for block in self.declared if block.line < line < block.end]
        return blocks[-1] if blocks else None

    def strike_off(self, step: str, name: str) -> Declared:
        """Return the block that Markdown opens or ends, and note that it does.

        Args:
            step: "opens" or "ends".
            name: Name of the block.

        Raises:
            PageError: If something else was due.
        """
        due = self.steps[self.taken] if self.taken < len(self.steps) else None
        if due is None or due[0] != step or due[1].name != name:
            raise self._misread(due)
        self.taken += 1
        return due[1]

    def close(self) -> None:
        """Check that every block was opened and ended.

        Raises:
            PageError: For the first that was not.
        """
        if self.taken < len(self.steps):
            raise self._misread(self.steps[self.taken])

    def _misread(self, due: tuple[str, Declared] | None) -> PageError:
        """Return the error for lines of slashes that Markdown took for something else."""
        where = f"{self.page.name}:{due[1].line}: {due[1].name}" if due else self.page.name
        what = "Markdown does not read the lines of slashes as they stand there."
        remedy = (
            "Let no list, quotation, comment or HTML reach into a block, nor options follow it."
        )
        return PageError(where, what, remedy)

    def _read(self, number: int, line: str, block: Declared | None) -> Declared | None:
        """Read a line of text, and return the block that is open behind it."""
        if not _SLASHES.match(line):
            if block and line.strip():
                block.prose.append(number)
            return block
        if opens := _OPENS.match(line):
            return self._open(number, opens, block)
        if (ends := _ENDS.match(line)) and block and len(ends[1]) == block.slashes:
            block.end = number
            self.steps.append(("ends", block))
            return block.outer
        what = f"a line of slashes must open a block or end the one that is open; got {line!r}."
        remedy = "Write /// at the margin, and behind it a name, a bar and a title."
        if block:
            remedy = f"Open is {block}: end it with {_ending(block)}, at the margin."
        raise PageError(f"{self.page.name}:{number}", what, remedy)

    def _open(self, number: int, opens: re.Match[str], outer: Declared | None) -> Declared:
        """Return the block that a line opens."""
        block = Declared(opens[2], opens[3] or "", number, len(opens[1]), outer)
        if block.name not in self.kinds:
            remedy = choice(block.name, sorted(self.kinds))
            raise self.error(block, f"there is no block {block.name!r}.", remedy)
        if not block.title:
            remedy = f"Write {'/' * block.slashes} {block.name} | and the title."
            raise self.error(block, "the block must have a title.", remedy)
        inside, holder = self.kinds[block.name].INSIDE, outer
        while holder and self.kinds[holder.name].OPEN:
            holder = holder.outer
        if (holder.name if holder else None) != inside:
            must = f"stand in a block {inside!r}" if inside else "not stand in another block"
            what = f"the block must {must}; it stands in {outer or 'none'}."
            remedy = f"End {outer} before, with {_ending(outer)}." if outer else "Put it into one."
            raise self.error(block, what, remedy)
        if outer and block.slashes <= outer.slashes:
            what = f"a block in a block must have more slashes; {outer} has {outer.slashes}."
            raise self.error(block, what, f"Write /{_ending(outer)} {block.name}.")
        if outer:
            outer.inner.append(block)
        self.declared.append(block)
        self.steps.append(("opens", block))
        return block


def _ending(block: Declared) -> str:
    return "/" * block.slashes


class Slashes(Block):  # type: ignore[misc] # pymdownx has no types
    """A kind of block. Subclasses say what it must hold, and how it looks."""

    ARGUMENT = True
    INSIDE: ClassVar[str | None] = None  # name of the block that it must stand in
    OPEN: ClassVar[bool] = False  # whether what stands in it stands as if outside of it

    @staticmethod
    def check(outline: Outline, block: Declared) -> None:
        """Raise a PageError if a block, as it stands in the source, is not whole."""

    def on_create(self, parent: Element) -> Element:
        """Return the element of a block that Markdown opens."""
        self.declared = outline_of(self.md).strike_off("opens", self.NAME)
        return self.build(parent)

    def on_end(self, element: Element) -> None:
        """Note that Markdown ends the block."""
        outline_of(self.md).strike_off("ends", self.NAME)
        for paragraph in element.iter("p"):
            text = (paragraph.text or "").strip()
            if STASHED.search(text) and not STASHED.fullmatch(text):
                what = "a fence in the block must stand apart; one has text or a fence beside it."
                raise self.error(what, "Put an empty line before and behind each fence.")
        self.finish(element)

    def error(self, what: str, remedy: str) -> PageError:
        """Return the error for this block."""
        return outline_of(self.md).error(self.declared, what, remedy)

    def build(self, parent: Element) -> Element:
        """Return the element, put behind what its parent has."""
        raise NotImplementedError

    def finish(self, element: Element) -> None:
        """Complete the element when all is in it."""

    def headed(self, parent: Element, kind: str, hint: str, title: str) -> Element:
        """Return a group that begins with what it is, and with its title, which names it.

        Args:
            parent: Where to put it.
            kind: What it is, in a word.
            hint: What to do with it.
            title: Its title.
        """
        group = self.group(parent, title)
        above = Element("p", {"class": "kind"})
        strong = SubElement(above, "strong")
        strong.text, strong.tail = kind, f": {hint}"
        group.insert(0, above)
        return group

    def group(self, parent: Element, title: str) -> Element:
        """Return a group that begins with its title, which names it."""
        number = outline_of(self.md).declared.index(self.declared) + 1
        name = f"{self.NAME}-{number}"
        attributes = {"class": self.NAME, "role": "group", "aria-labelledby": name}
        group = SubElement(parent, "div", attributes)
        SubElement(group, "p", {"class": "ask", "id": name}).text = title
        return group

    def stashed(self, element: Element) -> list[str]:
        """Return the HTML of the fences in an element."""
        keys = STASHED.findall("".join(element.itertext()))
        return [str(self.md.htmlStash.rawHtmlBlocks[int(key)]) for key in keys]


_outlines: WeakKeyDictionary[Markdown, Outline] = WeakKeyDictionary()


def outline_of(md: Markdown) -> Outline:
    """Return the outline of the page that a Markdown instance is converting."""
    return _outlines[md]


class SlashesExtension(BlocksExtension):  # type: ignore[misc] # pymdownx has no types
    """Makes kinds of blocks known, and watches over all lines of slashes."""

    KINDS: ClassVar[list[type[Slashes]]] = []

    def extendMarkdownBlocks(self, md: Markdown, manager: Any) -> None:  # noqa: N802 (pymdownx's)
        """Register the kinds, and once for all of them the two ends of the watch."""
        for kind in self.KINDS:
            manager.register(kind, {})
        if "slashes-open" not in md.preprocessors:
            md.preprocessors.register(_Open(md), "slashes-open", 27)  # before a fence runs
            md.treeprocessors.register(_Close(md), "slashes-close", 1000)


class _Open(Preprocessor):
    """Reads the page's lines of slashes."""

    def run(self, lines: list[str]) -> list[str]:
        kinds: Any = self.md.parser.blockprocessors["blocks"]
        _outlines[self.md] = Outline(page_of(self.md), kinds.blocks)
        return lines


class _Close(Treeprocessor):
    """Checks that all of them were read by Markdown too."""

    def run(self, root: Element) -> None:  # noqa: ARG002 (Python-Markdown's signature)
        outline_of(self.md).close()
