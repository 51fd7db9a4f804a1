"""The numbers of a page that differ, as a list in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TypeVar

from _kit.differing import Difference, Token
from _kit.shown import APART, Place

_AROUND = 36  # characters of context on each side of a number
_NAMES = {"text": "sentence"}
_Item = TypeVar("_Item")


@dataclass
class Page:
    """A page that both sites have, and how it differs."""

    path: str
    numbers: Difference
    drawings: list[Place] = field(default_factory=list)  # figures with the same numbers, redrawn

    def __bool__(self) -> bool:
        """Return whether anything differs that is listed."""
        found = self.numbers
        return bool(
            found.changed or found.removed or found.added or found.reworded or self.drawings
        )


def plain(text: str) -> str:
    """Return a text so that Markdown shows it as it is.

    Args:
        text: Any text.
    """
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", escape(text.replace(APART, ""), quote=False))


def link(text: str, page: str, anchor: str = "") -> str:
    """Return a link.

    Args:
        text: What it says.
        page: The path of a page.
        anchor: A place of the page.
    """
    return f"[{plain(text)}]({page}{'#' * bool(anchor)}{anchor})"


def count(number: int, what: str) -> str:
    """Return a number of things in words.

    Args:
        number: How many.
        what: The name of one.
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def listed(page: Page, most: int | None) -> str:
    """Return the list of a page, by its sections.

    Args:
        page: The page.
        most: Lines to show of a section; None for all.
    """
    sections: dict[str, list[tuple[str, int]]] = {}
    for place, line, numbers in _lines(page):
        head = link(place.heading or page.path, page.path, place.section)
        sections.setdefault(head, []).append((f"- {line}", numbers))
    parts = [f"## {link(page.path, page.path)}{_counts(page.numbers)}"]
    for head, lines in sections.items():
        shown, hidden = (lines, []) if most is None else (lines[:most], lines[most:])
        left = sum(numbers for _, numbers in hidden)
        rest = [f"- … and {left:,} more here"] if hidden else []
        parts.append("\n".join([f"**{head}**\n", *(line for line, _ in shown), *rest]))
    return "\n\n".join(parts)


def _counts(found: Difference) -> str:
    counts = {
        "changed": len(found.changed),
        "added": len(found.added),
        "removed": len(found.removed),
    }
    said = ", ".join(f"{number:,} {verb}" for verb, number in counts.items() if number)
    return f": {said}" if said else ""


def _lines(page: Page) -> Iterator[tuple[Place, str, int]]:
    """Yield a place, what to say about it, and how many numbers that are."""
    found = page.numbers
    for pairs in _grouped(found.changed, lambda pair: _line(pair[1].place)):
        place = pairs[0][1].place
        pieces = _grouped(pairs, lambda pair: pair[1].place)
        yield place, f"{_where(page, place)}: {'; '.join(map(_piece, pieces))}", len(pairs)
    for verb, those in (("removed", found.removed), ("added", found.added)):
        for tokens in _grouped(those, lambda t: (t.place.section, t.place.kind, t.place.name)):
            place = tokens[0].place
            said = ", ".join(f"**{plain(token.text)}**" for token in tokens)
            where = _where(page, place._replace(row="")) if verb == "added" else _name(place)
            yield place, f"{verb}, {where}: {said}", len(tokens)
    for place in found.reworded:
        yield place, f"{_where(page, place)}: other words, from “{plain(place.text)}” on", 0
    for place in page.drawings:
        yield place, f"{_where(page, place)}: the drawing changed, its texts did not", 0


def _line(place: Place) -> Hashable:
    """Return the same for numbers that are told of in one line: those of a row, or of a figure."""
    if place.row or place.name:
        return place.section, place.kind, place.name, place.row
    return place


def _grouped(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _name(place: Place) -> str:
    return " ".join(filter(None, [_NAMES.get(place.kind, place.kind), place.name]))


def _where(page: Page, place: Place) -> str:
    row = f", {plain(place.row)}" if place.row else ""
    return f"{link(_name(place), page.path, place.anchor)}{row}"


def _piece(pairs: list[tuple[Token, Token]]) -> str:
    """Return the numbers of a place that changed, with some words around them."""
    place = pairs[0][1].place
    news = [new for _, new in pairs]
    before = _end_of(place.text[: news[0].start])
    between = [_gap(place.text[one.end : two.start]) for one, two in pairwise(news)]
    after = [*between, _start_of(place.text[news[-1].end :])]
    shown = [
        f"**{plain(old.text)} → {plain(new.text)}**{plain(text)}"
        for (old, new), text in zip(pairs, after, strict=True)
    ]
    head = f"{place.column}: " if place.column else ""
    return plain(head + before) + "".join(shown)


def _end_of(text: str) -> str:
    return text if len(text) <= _AROUND else f"… {text[-_AROUND:].partition(' ')[2]}"


def _start_of(text: str) -> str:
    return text if len(text) <= _AROUND else f"{text[:_AROUND].rpartition(' ')[0]} …"


def _gap(text: str) -> str:
    return text if len(text) <= 2 * _AROUND else f"{_start_of(text)[:-1]}{_end_of(text)}"
