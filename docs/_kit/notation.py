"""Formulas with known symbols: each is checked, coloured, explained and can be read aloud.

A symbol that is not in the notation (see symbols.py) ends the build. The known ones get a text to
show when a pointer is over them, and in display formulas the colour of their role; a display
formula as a whole gets its spoken form (see spoken.py). In a page

    /// notation | batch
    ///

becomes the table of a group of symbols.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown

from _kit.page import Refuse, annotators, page_of
from _kit.slashes import Slashes, SlashesExtension
from _kit.spoken import BRACES, SIGNS, Reader, UnreadableError
from _kit.symbols import LETTERS, Notation, Symbol, key, read_notation

SCRIPTS = {"msub", "msup", "msubsup"}
COLUMNS = {"Meaning": "meaning", "In code": "code", "Shape": "shape", "Read as": "spoken"}


def annotate(math: Element, notation: Notation, refuse: Refuse) -> Element:
    """Check the symbols of a formula, and put to it what is known of them.

    Args:
        math: A `<math>` element.
        notation: What is known.
        refuse: Makes the error for this formula.

    Returns:
        The element. Its `title` is meant for the HTML element around it.

    Raises:
        PageError: If a symbol is unknown, or something in the formula cannot be read aloud.
    """
    marking = _Marking(notation, refuse)
    marking.visit(math)
    try:
        sentence = Reader(marking.names).sentence(math)
    except UnreadableError as error:
        what = f"it has no spoken form, because of {error}."
        raise refuse(what, "Write it otherwise, or teach spoken.py to read it.") from error
    marks = {m: symbol for m, symbol in marking.marks.items() if symbol.group != LETTERS}
    math.set("aria-label", sentence)
    if math.get("display") == "block":
        for element, symbol in marks.items():
            if symbol.role != "none":
                element.set("class", f"role-{symbol.role}")
    for element, symbol in marks.items():
        alone = math.get("display") != "block" and [element] == list(math)
        (math if alone else element).set("title" if alone else "data-says", symbol.hover)
    return math


class _Marking:
    """Finds the symbols of one formula."""

    def __init__(self, notation: Notation, refuse: Refuse) -> None:
        self.notation = notation
        self.refuse = refuse
        self.names: dict[Element, str] = {}  # of elements, for the spoken form
        self.marks: dict[Element, Symbol] = {}  # by the element to colour and explain

    def visit(self, element: Element, *, words: bool = False) -> None:
        """Name and mark an element, or what is in it; words may stand at a brace."""
        symbol = self.notation.known.get(key(element))
        if symbol and element.tag != "math":
            self.names[element] = symbol.spoken
            self.marks[element] = symbol
        elif _is_unknown(element) and not (words and element.tag == "mtext"):
            near = self.notation.nearest(element)
            hint = f"Did you mean {near.latex} ({near.spoken})? " if near else ""
            what = f"there is no symbol {''.join(element.itertext())!r} in the notation."
            raise self.refuse(what, f"{hint}A new symbol needs an entry in {self.notation.file}.")
        else:
            for keys in self.notation.long:
                _fuse(element, keys)
            braced = len(element) > 0 and _is_brace(element[0])
            for i, part in enumerate(element):
                self.visit(part, words=words or (braced and i > 0))
            if element.tag in {"msub", "msubsup"}:
                self._mark_with_scripts(element)

    def _mark_with_scripts(self, element: Element) -> None:
        """Let a symbol and its index be one mark; with a power it may be another symbol."""
        if symbol := self.marks.pop(element[0], None):
            power = Element("msup")
            power.extend([element[0], element[-1]])
            self.marks[element] = self.notation.known.get(key(power), symbol)


def _is_unknown(element: Element) -> bool:
    """Tell whether an element is a letter, a word or an accent that should be a symbol."""
    if element.tag == "mover" and element.get("accent") == "true":
        return element[1].text not in BRACES
    return element.tag in {"mi", "mtext"} and element.text not in SIGNS


def _is_brace(element: Element) -> bool:
    return len(element) == 2 and element[1].text in BRACES  # noqa: PLR2004 (what is braced, brace)


def _fuse(parent: Element, keys: list[str]) -> None:
    """Make one element of those that are one symbol, such as d and x; the x may carry an index."""
    for i in range(len(parent) - len(keys), -1, -1):
        run = list(parent[i : i + len(keys)])
        scripted = run[-1] if run[-1].tag in SCRIPTS else None
        if scripted is not None:
            run[-1] = scripted[0]
        if [key(part) for part in run] != keys:
            continue
        whole = Element("mrow")
        whole.extend(run)
        if scripted is None:
            parent[i : i + len(keys)] = [whole]
        else:
            scripted[0] = whole
            parent[i : i + len(keys)] = [scripted]


class _Table(Slashes):
    """The table of a group of symbols."""

    NAME = "notation"

    def build(self, parent: Element) -> Element:
        """Return the table."""
        notation: Notation = self.config["notation"]()
        symbols = notation.group(self.argument)
        if not symbols:
            groups = ", ".join(dict.fromkeys(symbol.group for symbol in notation.symbols))
            what = f"the notation has no group {self.argument!r}."
            raise self.error(what, f"Choose one of {groups}.")
        columns = {
            title: name
            for title, name in COLUMNS.items()
            if any(getattr(symbol, name) for symbol in symbols)
        }
        page_of(self.md).made[f"notation | {self.argument}"] = _markdown(symbols, columns)
        table = SubElement(SubElement(parent, "div", {"class": "notation"}), "table")
        head = SubElement(SubElement(table, "thead"), "tr")
        for title in ("Symbol", *columns):
            SubElement(head, "th", {"scope": "col"}).text = title
        body = SubElement(table, "tbody")
        for symbol in symbols:
            _row(body, symbol, list(columns.values()))
        return table


def _markdown(symbols: list[Symbol], columns: dict[str, str]) -> str:
    """Return the table as Markdown, for the downloads."""
    rows = [["Symbol", *columns], ["---"] * (len(columns) + 1)]
    for symbol in symbols:
        given = {name: getattr(symbol, name) for name in columns.values()}
        if given.get("code"):
            given["code"] = f"`{given['code']}`"
        rows.append([f"${symbol.latex}$", *given.values()])
    return "\n".join(
        "| " + " | ".join(c.replace("|", r"\vert ") for c in row) + " |" for row in rows
    )


def _row(body: Element, symbol: Symbol, columns: list[str]) -> None:
    """Put the row of a symbol to a table."""
    row = SubElement(body, "tr", {"id": symbol.id})
    cell = SubElement(row, "td", {"class": f"role-{symbol.role}"})
    cell.text = f"${symbol.latex}$"
    link = {"class": "headerlink", "href": f"#{symbol.id}", "title": "Link to this symbol"}
    SubElement(cell, "a", link).text = "#"
    for name in columns:
        cell = SubElement(row, "td")
        text = getattr(symbol, name)
        if name == "code" and text:
            cell = SubElement(cell, "code")
        cell.text = text


class NotationExtension(SlashesExtension):
    """Checks and explains every formula of a page or of docstrings; makes the tables of symbols."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {
            "file": ["docs/_kit/notation.toml", "The symbols"],
            "css": ["docs/assets/site.css", "Style sheet that defines the roles"],
        }
        super().__init__(**kwargs)

    def extendMarkdownBlocks(self, md: Markdown, manager: Any) -> None:  # noqa: N802 (pymdownx's)
        """Read the notation, and put it to work."""
        super().extendMarkdownBlocks(md, manager)
        notation = self._notation()

        def annotated(math: Element, refuse: Refuse) -> Element:
            return annotate(math, notation, refuse)

        annotators["notation"] = annotated
        manager.register(_Table, {"notation": self._notation})

    def _notation(self) -> Notation:
        file, css = self.getConfig("file"), Path(self.getConfig("css"))
        return _read(file, Path(file).read_text("utf-8"), css.read_text("utf-8"))


@cache
def _read(file: str, text: str, css: str) -> Notation:
    return read_notation(file, text, set(re.findall(r"--role-([a-z]+):", css)))


def makeExtension(**kwargs: Any) -> NotationExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return NotationExtension(**kwargs)
