"""The source of a page in pieces, in order: text in plain Markdown, and fences with what they left.

Boxes and blocks of the site (`??? question "..."`, `/// exercise | ...`) become a bold line, with
their content behind it: a notebook and a script have no boxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from _kit.page import Block, Page, PageError
from _kit.prose import FIELD, PLACES

_BOX = re.compile(r'^(?:!!!|\?\?\?\+?)\s+([\w-]+)[^"]*(?:"(.*)")?\s*$')
_BLOCK = re.compile(r"^/{3,}\s*([\w-]+)\s*(?:\|\s*(.*))?$")
_BLOCK_END = re.compile(r"^/{3,}\s*$")
_TAGS = re.compile(r"^\s*(?:</?[a-z][^>]*>\s*)+$|^<!--(?! [\w-]+ -->).*-->$")  # and remarks
_SPOKEN = {
    "example": "Example: ",
    "exercise": "Exercise: ",
    "option": "Not this: ",
    "right": "Right: ",
}


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of Markdown, without indentation of the boxes that they stand in."""

    text: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence, and what it left if it ran."""

    block: Block
    left: dict[str, str]

    @property
    def language(self) -> str:
        """Return its language."""
        word = re.search(r"[\w+#-]+", self.block.header)
        return word[0] if word else "text"

    @property
    def runs(self) -> bool:
        """Return whether the downloads run it: all but what is only shown or left incomplete."""
        return self.block.executes not in {"off", "starter"}

    @property
    def result(self) -> str:
        """Return how the page shows what it left."""
        return self.block.options.get("result", "text")


def pieces(page: Page, left: dict[int, dict[str, str]]) -> list[Text | Fence]:
    """Return the pieces of a page.

    Args:
        page: The page.
        left: What the blocks that ran left behind, by number.
    """
    found: list[Text | Fence] = []
    boxes, values = _Boxes(page.made), _Values(page)
    lines, at = page.prose.split("\n"), 0
    for block in sorted([*page.quotes, *page.blocks], key=lambda block: block.line):
        start = block.line - page.first_line
        found += _text(boxes, values, lines[at:start])
        found.append(Fence(block, left.get(block.number, {})))
        boxes.behind_fence = True
        at = start
    found += _text(boxes, values, lines[at:])
    values.close()
    return found


def _text(boxes: _Boxes, values: _Values, lines: list[str]) -> Iterator[Text]:
    text = "\n".join(boxes.open(lines)).strip("\n")
    if text:
        yield Text(re.sub(r"\n{3,}", "\n\n", values.insert(text)))


class _Boxes:
    """The boxes that are open, while lines come in one after the other."""

    def __init__(self, made: dict[str, str]) -> None:
        self.made = made
        self.indents = [0]  # of what stands in them
        self.behind_fence = False

    def open(self, lines: list[str]) -> Iterator[str]:
        """Yield the lines as they read outside of boxes."""
        header = False
        for given in lines:
            line = given.expandtabs(4)
            if not line.strip():
                header = False
                yield ""
                continue
            self._leave(_indent(line))
            if self.behind_fence and _indent(line) > self.indents[-1]:
                self.indents.append(_indent(line))  # the fence stands in an item of a list
            self.behind_fence = False
            plain = line[self.indents[-1] :]
            if header and plain.startswith("    "):
                continue  # an option of a block stands below its header
            header = bool(_BLOCK.match(plain))
            yield from self._line(plain)

    def _line(self, plain: str) -> Iterator[str]:
        if box := _BOX.match(plain):
            self.indents.append(self.indents[-1] + 4)
            yield from ("", f"**{box[2] or box[1].capitalize()}**", "")
        elif block := _BLOCK.match(plain):
            title = block[2] or block[1].capitalize()
            said = f"**{_SPOKEN.get(block[1], '')}{title}**"
            yield from ("", self.made.get(f"{block[1]} | {title}", said), "")
        elif _BLOCK_END.match(plain) or _TAGS.match(plain):
            yield ""
        else:
            yield plain

    def _leave(self, indent: int) -> None:
        while self.indents[-1] > indent:
            self.indents.pop()


def _indent(line: str) -> int:
    return len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())


class _Values:
    """The computed values of a page's text, which stand in its record in their order."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.texts: list[str] = page.record.get("values", [])
        self.seen = 0

    def insert(self, text: str) -> str:
        """Return text with its values instead of the expressions for them."""
        return PLACES.sub(lambda place: place[0] if place["code"] else self._put(place[0]), text)

    def close(self) -> None:
        """Check that there were as many places as values.

        Raises:
            PageError: If not: then some stand in the wrong place.
        """
        if self.seen != len(self.texts):
            what = f"{len(self.texts)} values were computed, and the text has {self.seen} places."
            raise PageError(self.page.name, what, "Write {{ .. }} in plain text only.")

    def _put(self, place: str) -> str:
        return FIELD.sub(self._next, place)

    def _next(self, match: re.Match[str]) -> str:
        self.seen += 1
        return self.texts[self.seen - 1] if self.seen <= len(self.texts) else match[0]
