"""What a built page shows its reader, place by place: sentences, lines, cells, texts of figures.

Left out is what is shown twice (the page of all claims, the table of what was run), the marks of
headings and claims, and the source of the package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
INLINE = re.compile(  # tags that do not end a piece of text: those of words, and of formulas
    "a|abbr|b|br|cite|code|del|em|i|ins|kbd|label|q|s|semantics|small|span|strong|su[bp]|tspan|u|"
    "var|wbr|m(?!ain|enu|eta|eter)[a-z]+"
)
HEADING = re.compile("h[1-6]")
KINDS = {"output": "output", "checks": "claim", "highlight": "code"}
FIGURES = {"figure", "slider"}
SKIPPED = {"headerlink", "claim-mark", "mkdocstrings-source", "linenos"}
SKIPPED |= {"claims", "status"}  # the tables of the two pages that repeat what the others show
SIGNS = {"mfrac": "/", "msup": "^", "msub": "_", "msubsup": "_", "munder": "_"}
APART = "\u2063"  # MathML's invisible separator: x2 is a name, x times 2 holds a number


class Place(NamedTuple):
    """The smallest piece of text that stands by itself."""

    kind: str  # text, code, output, claim, table, figure or slider
    name: str  # of the claim, the figure or the slider
    row: str  # of a table: what stands at its beginning
    column: str  # of a table: its head
    text: str
    anchor: str  # the last id before it
    section: str  # id of the heading above it
    heading: str
    number: int  # of the place on its page


@dataclass
class Shown:
    """What a page shows."""

    places: list[Place] = field(default_factory=list)
    drawings: dict[str, list[str]] = field(default_factory=dict)  # markup by id of the figure


def _kind(tag: str, classes: set[str], above: str) -> str:
    """Return the kind of the text in an element."""
    if tag == "figure":
        return "slider" if "slider" in classes else "figure"
    if tag in {"td", "th"} and above == "text":
        return "table"
    return next((kind for name, kind in KINDS.items() if name in classes), above)


def _is_skipped(tag: str, classes: set[str], above: _Open) -> bool:
    """Return whether what an element holds is left out."""
    names_claim = tag == "a" and above.tag == "li" and above.kind == "claim"
    passed = tag in {"script", "style", "output"}  # an output repeats names of readouts
    return above.skipped or names_claim or passed or bool(classes & SKIPPED)


def read(html: str) -> Shown:
    """Return what a page shows.

    Args:
        html: Its content, without what frames it.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.flush()
    return reader.shown


@dataclass
class _Open:
    """An element that is open: what it says of the text in it."""

    tag: str
    kind: str = "text"
    skipped: bool = False
    children: int = 0


@dataclass
class _Table:
    """Where in a table the reading is."""

    heads: dict[int, str] = field(default_factory=dict)
    covered: dict[int, int] = field(default_factory=dict)  # rows, by column, that a cell still has
    column: int = -1
    row: str = ""
    is_head: bool = False

    def begin_row(self) -> None:
        self.column, self.row = -1, ""

    def begin_cell(self, tag: str, attrs: dict[str, str]) -> None:
        self.column += 1
        while self.covered.get(self.column):
            self.covered[self.column] -= 1
            self.column += 1
        self.is_head = tag == "th" and attrs.get("scope") != "row"
        first, width = self.column, int(attrs.get("colspan", 1))
        self.column += width - 1
        for column in range(first, first + width):
            self.covered[column] = int(attrs.get("rowspan", 1)) - 1

    def note(self, tag: str, text: str) -> None:
        """Note the text of a cell if it names its column or its row."""
        if self.is_head:
            self.heads[self.column] = text
        elif tag == "th" or not self.row:
            self.row = f"{self.row}, {text}".removeprefix(", ")


class _Reader(HTMLParser):
    """Collects the places of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = Shown()
        self.open = [_Open("")]
        self.text: list[str] = []
        self.drawn: list[str] = []  # the texts of a drawing
        self.tables: list[_Table] = []
        self.in_drawing = False
        self.name = self.anchor = self.section = self.heading = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        above, given = self.open[-1], {key: value or "" for key, value in attrs}
        above.children += 1
        if not (above.skipped or INLINE.fullmatch(tag)):
            self.flush()
        classes = set(given.get("class", "").split())
        element = _Open(tag, _kind(tag, classes, above.kind), _is_skipped(tag, classes, above))
        if not element.skipped and above.children == 2 and above.tag in SIGNS:  # noqa: PLR2004 (the second of two)
            self.text.append(SIGNS[above.tag])
        if not above.skipped:
            self._note(tag, given)
        if tag not in VOID:
            self.open.append(element)

    def _note(self, tag: str, given: dict[str, str]) -> None:
        """Note what an element says of the places in it."""
        if tag == "svg" or self.in_drawing:
            self.in_drawing = True
            if self.open[-1].kind in FIGURES:
                markup = self.shown.drawings.setdefault(self.name, [])
                markup.append(self.get_starttag_text() or "")
            self.drawn += given.get("data-text", "").split("\n")[1:]
            return
        if tag != "input":
            self.anchor = given.get("id") or self.anchor
        if tag == "figure":
            self.name = self.anchor
        elif tag == "a" and self.open[-1].kind == "claim":
            self.name = given.get("href", "").removeprefix("#claim-")
        elif HEADING.fullmatch(tag):
            self.section = self.anchor
        elif tag == "mn" and self.text and self.text[-1][-1:].isalnum():
            self.text.append(APART)
        self._note_table(tag, given)
        for key in ("alt", "data-texts"):
            self._put(" · ".join(given.get(key, "").split("\n")))

    def _note_table(self, tag: str, given: dict[str, str]) -> None:
        if tag == "table":
            self.tables.append(_Table())
        elif tag == "tr" and self.tables:
            self.tables[-1].begin_row()
        elif tag in {"td", "th"} and self.tables:
            self.tables[-1].begin_cell(tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or tag not in {element.tag for element in self.open}:
            return
        while True:
            if not INLINE.fullmatch(self.open[-1].tag):
                self.flush()
            ended = self.open.pop()
            if ended.tag == tag:
                break
        if self.open[-1].skipped:
            return
        if tag == "svg":
            self.in_drawing = False
            self._put(" · ".join(self.drawn))
            self.drawn = []
        elif tag == "table" and self.tables:
            self.tables.pop()
        elif tag == "figure":
            self.name = ""

    def handle_data(self, data: str) -> None:
        if not self.open[-1].skipped:
            self.text.append(data)

    def flush(self) -> None:
        """End a place, and begin another."""
        text, self.text = "".join(self.text), []
        tag = self.open[-1].tag
        if not text.strip():
            return
        if tag == "text":
            self.drawn.append(" ".join(text.split()))
            return
        if self.tables and tag in {"td", "th"}:
            self._put(text)
            self.tables[-1].note(tag, " ".join(text.split()))
            return
        if HEADING.fullmatch(tag):
            self.heading = " ".join(text.split())
        lines = text.split("\n") if self.open[-1].kind in {"output", "code"} else [text]
        for line in lines:
            self._put(line)

    def _put(self, text: str) -> None:
        text = " ".join(text.split())
        if self.open[-1].kind == "claim":
            text = text.removeprefix(": ")  # behind the name
        if not text:
            return
        kind, table = self.open[-1].kind, self.tables[-1] if self.tables else None
        row = table.row if table else ""
        column = table.heads.get(table.column, "") if table and not table.is_head else ""
        name = self.name if kind in {"claim", *FIGURES} else ""
        above = self.anchor, self.section, self.heading
        places = self.shown.places
        places.append(Place(kind, name, row, column, text, *above, len(places)))
