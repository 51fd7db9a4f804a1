r"""The notation as data: every symbol of the site's formulas stands in one file.

    [[batch]]                  # a group; the page of the notation shows it as a table
    latex = '\hat{x}'
    code = "x_hat"             # its name in the code, or ""
    shape = "as x"             # of the array, or ""
    spoken = "x hat"           # how it is read aloud; of a function it ends with "of"
    meaning = "normalised batch"
    role = "batch"             # its colour: a `--role-..` of the style sheet, or "none"

Letters that a page introduces where they stand have only `latex`, `spoken` and `meaning`; they are
the group `letters`. The group `operators` says how signs are read; `a` and `b` in them stand for
anything. What is wrong in the file stops the build, since no reader would notice it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from math_core import LatexError, LatexToMathML

from _kit.mathml import unreadable
from _kit.page import PageError, choice
from _kit.spoken import Reader, UnreadableError

FIELDS = ("latex", "spoken", "meaning", "code", "shape", "role")
SHORT = FIELDS[:3]
LETTERS, OPERATORS = "letters", "operators"


@dataclass(frozen=True, slots=True)
class Symbol:
    """An entry of the file."""

    group: str
    latex: str
    spoken: str
    meaning: str
    code: str = ""
    shape: str = ""
    role: str = "none"

    @property
    def id(self) -> str:
        """Return its anchor on the page of the notation."""
        return "-".join(re.findall(r"[a-z0-9]+", self.spoken.lower()))

    @property
    def hover(self) -> str:
        """Return what it is, in one line."""
        return "; ".join(filter(None, [f"{self.spoken}: {self.meaning}", self.code, self.shape]))


@dataclass(frozen=True)
class Notation:
    """All symbols of a site."""

    file: str
    symbols: list[Symbol] = field(default_factory=list)
    known: dict[str, Symbol] = field(default_factory=dict)  # by the key of their MathML
    long: list[list[str]] = field(default_factory=list)  # keys of several elements, as of dx

    def group(self, name: str) -> list[Symbol]:
        """Return the symbols of a group, in the order of the file."""
        return [symbol for symbol in self.symbols if symbol.group == name]

    def nearest(self, element: Element) -> Symbol | None:
        """Return the symbol of the same name in another look, or the word most like this one."""
        names = {sound(mathml(symbol.latex)): symbol for symbol in self.symbols[::-1]}
        names |= {symbol.spoken.lower(): symbol for symbol in self.symbols[::-1]}
        text = "".join(element.itertext())
        alike = 0.6 if text.isascii() and len(text) > 1 else 1.0  # theta is no misspelt beta
        close = difflib.get_close_matches(sound(element), list(names), n=1, cutoff=alike)
        return names[close[0]] if close else None


def mathml(latex: str) -> Element:
    """Return the MathML of the LaTeX of an entry."""
    text = LatexToMathML(fancy_error=False).convert_with_local_state(latex, displaystyle=False)
    return ET.fromstring(text.replace("&ApplyFunction;", ""))  # noqa: S314 (made by math-core)


def key(element: Element) -> str:
    """Return what makes an element look as it does, without spaces and grouping."""
    inner = [part for part in element if part.tag != "mspace"]
    if element.tag in {"mrow", "math"} and len(inner) == 1:
        return key(inner[0])
    tag = "mrow" if element.tag == "math" else element.tag
    look = f"{tag}{element.get('mathvariant', '')}:{element.text or ''}"
    return f"{look}({','.join(map(key, inner))})"


def sound(element: Element) -> str:
    """Return the names of the letters and accents of an element, to find one that is like it."""
    noise = {"greek", "small", "capital", "letter", "symbol", "lunate", "mathematical", "modifier"}
    words = []
    for text in "".join(element.itertext()).split():
        plain = text if text.isascii() else " ".join(unicodedata.name(c, c) for c in text)
        words += [word for word in plain.lower().split() if word not in noise]
    return " ".join(words).removeprefix("latin ")


def read_notation(file: str, text: str, roles: set[str]) -> Notation:
    """Return the notation that a file holds.

    Args:
        file: Its path, for messages.
        text: Its content.
        roles: The roles that the style sheet has colours for.

    Raises:
        PageError: If it cannot be read; for the first entry that lacks something, has something
            that does not exist, or is like another.
    """
    try:
        groups = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = f"TOML cannot be read: {error}."
        raise PageError(file, what, "Mend it; write LaTeX in single quotes.") from error
    notation = Notation(file)
    lines = _lines(text)
    for group, entries in groups.items():
        if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            what = f"{group} must be a list of entries."
            raise PageError(file, what, f"Write [[{group}]] over each entry.")
        for i, entry in enumerate(entries):
            where = f"{file}:{lines[group][i]}: {group} {i + 1}"
            _add(notation, where, _checked(where, group, entry, roles))
    return notation


def _lines(text: str) -> dict[str, list[int]]:
    """Return in which lines the entries of each group begin."""
    lines: dict[str, list[int]] = {}
    group = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*(\[\[)?\s*(\w+)\s*(?:\]\]|=\s*\[)", line):
            group = header[2]
        if (header and header[1]) or line.lstrip().startswith("{"):
            lines.setdefault(group, []).append(number)
    return lines


def _checked(where: str, group: str, entry: dict[str, Any], roles: set[str]) -> Symbol:
    """Return an entry as a symbol, if it has all its fields and nothing else."""
    fields = SHORT if group in {LETTERS, OPERATORS} else FIELDS
    for name in fields:
        if name not in entry:
            raise PageError(where, f"{name} is missing.", f"Write all of {', '.join(fields)}.")
    for name, value in entry.items():
        if name not in fields:
            raise PageError(where, f"there is no field {name!r}.", choice(name, fields))
        if not isinstance(value, str) or not (value or name in {"code", "shape"}):
            what = f"{name} must be a text, and not empty; found {value!r}."
            raise PageError(where, what, "Write it in quotes.")
    role = entry.get("role", "none")
    if role not in {*roles, "none"}:
        raise PageError(
            where, f"there is no role {role!r}.", choice(role, [*sorted(roles), "none"])
        )
    return Symbol(group, **entry)


def _add(notation: Notation, where: str, symbol: Symbol) -> None:
    """Put a symbol to the others, if it differs from each of them."""
    try:
        math = mathml(symbol.latex)
    except LatexError as error:
        raise PageError(where, unreadable(error, symbol.latex), "Mend latex.") from error
    for other in notation.symbols:
        for name in ("latex", "code", "spoken", "id"):
            mine, its = getattr(symbol, name), getattr(other, name)
            if mine and mine.casefold() == its.casefold() and (name != "latex" or mine == its):
                what = f"{name} {mine!r} stands twice; {other.meaning!r} has it too."
                raise PageError(where, what, "Take one out, or let them differ.")
    notation.symbols.append(symbol)
    if symbol.group == OPERATORS:
        _add_operator(where, symbol, math)
    elif (look := key(math)) in notation.known:
        what = f"it looks like {notation.known[look].latex}, which has an entry."
        raise PageError(where, what, "Take one out.")
    else:
        notation.known[look] = symbol
        if len(math) > 1:
            notation.long.append([key(part) for part in math])


def _add_operator(where: str, symbol: Symbol, math: Element) -> None:
    """Check that a sign is read as the entry says."""
    names = {part: str(part.text) for part in math.iter("mi") if part.text in {"a", "b"}}
    try:
        read = Reader(names).sentence(math)
    except UnreadableError as error:
        read = f"nothing, because of {error}"
    if read != symbol.spoken:
        what = f"spoken is {symbol.spoken!r}, but it is read as {read!r}."
        raise PageError(where, what, "Write it as it is read, or change spoken.py.")
