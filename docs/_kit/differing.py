"""Which displayed numbers of a page differ, by aligning two versions of what it shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache
from itertools import chain, takewhile
from typing import NamedTuple

from _kit.shown import Place

# Its sign belongs to a number where nothing stands before it to subtract from. What a block prints
# may end with a dot, as NumPy's 2. does; the dot behind a number in a sentence ends the sentence.
_PATTERN = (
    r"(?P<number>(?:(?<![\w)\]}}])[-−+])?(?:0x[\da-f.]+(?:p[-+]?\d+)?"
    r"|(?:\d+(?:[.,_]\d+)*{dot}|\.\d+)(?:[eE][-−+]?\d+)?"
    r"|(?:nan|NaN|inf|Inf|True|False)\b|∞|½|[⁺⁻]?[⁰¹²³⁴-⁹]+))"
    r"|(?P<word>[^\W\d]\w*)|\S"
)
_WRITTEN = re.compile(_PATTERN.format(dot=""))
_PRINTED = re.compile(_PATTERN.format(dot=r"\.?"))
_FEW = 2  # as many words around a number make a text the same text


class Token(NamedTuple):
    """A number, a word or a sign, and where it stands."""

    text: str
    kind: str | None  # number, word, or none
    start: int
    end: int
    place: Place


_Pairs = list[tuple[Token, Token]]


@dataclass
class Difference:
    """How the numbers of two versions of a page differ."""

    changed: _Pairs = field(default_factory=list)
    removed: list[Token] = field(default_factory=list)
    added: list[Token] = field(default_factory=list)
    reworded: list[Place] = field(default_factory=list)  # output with other words, and no number


def difference(before: list[Place], after: list[Place]) -> Difference:
    """Return how the numbers of two versions of a page differ.

    A section is compared with that of the same id, wherever it stands; what then is left, with
    what is left.

    Args:
        before: What the page showed.
        after: What it shows.
    """
    found, old, new = Difference(), _by_section(before), _by_section(after)
    both = [section for section in new if section in old]
    runs = [(old.pop(section), new.pop(section)) for section in both]
    runs.append(([*chain(*old.values())], [*chain(*new.values())]))
    for run in runs:
        for pair in _aligned(*run, [_exactly, _with_its_words, _by_its_words]):
            _compare(found, *pair)
    moved = Counter(map(_sentence, found.removed)) & Counter(map(_sentence, found.added))
    found.removed = list(_without_moved(found.removed, moved.copy()))
    found.added = list(_without_moved(found.added, moved))
    return found


def _by_section(places: list[Place]) -> dict[str, list[Place]]:
    sections: dict[str, list[Place]] = {}
    for place in places:
        sections.setdefault(place.section, []).append(place)
    return sections


@cache
def tokens(place: Place) -> list[Token]:
    """Return the numbers, words and signs of a place.

    Args:
        place: The place.
    """
    pattern = _PRINTED if place.kind in {"output", "code"} else _WRITTEN
    found = pattern.finditer(place.text)
    return [Token(t[0], t.lastgroup, t.start(), t.end(), place) for t in found]


def numbers(places: list[Place]) -> list[Token]:
    """Return the numbers in places.

    Args:
        places: The places.
    """
    return [token for place in places for token in tokens(place) if token.kind == "number"]


@cache
def _words(place: Place) -> tuple[str, ...]:
    """Return a place without its numbers."""
    return tuple("#" if token.kind == "number" else token.text for token in tokens(place))


def _exactly(place: Place) -> Hashable:
    return place.kind, place.name, place.row, place.column, place.text


def _with_its_words(place: Place) -> Hashable:
    return place.kind, place.name, place.row, place.column, _words(place)


def _by_its_words(place: Place) -> Hashable:
    return place.kind, place.name, _words(place)


def _aligned(
    before: list[Place], after: list[Place], keys: list[Callable[[Place], Hashable]]
) -> Iterator[tuple[list[Place], list[Place]]]:
    """Yield the places that belong together, one by one, and the runs between them.

    Runs with the same words go together as they stand. Of others, the first key aligns what it can,
    and what lies between is left to the next.
    """
    if [*map(_with_its_words, before)] == [*map(_with_its_words, after)]:
        yield from (([old], [new]) for old, new in zip(before, after, strict=True))
    elif not (keys and before and after):
        yield before, after
    else:
        key, *others = keys
        matcher = SequenceMatcher(None, [*map(key, before)], [*map(key, after)], autojunk=False)
        for kind, i, i_end, j, j_end in matcher.get_opcodes():
            pairs = zip(before[i:i_end], after[j:j_end], strict=False)
            if kind == "equal":
                yield from (([old], [new]) for old, new in pairs)
            else:
                yield from _aligned(before[i:i_end], after[j:j_end], others)


def _compare(found: Difference, before: list[Place], after: list[Place]) -> None:
    """Note how the numbers of places that belong together differ."""
    pairs, gone, come = _paired(before, after)
    changed = [(old, new) for old, new in pairs if old.text != new.text]
    found.changed += changed
    found.removed += gone
    found.added += come
    old, new = ([p for p in places if p.kind == "output"] for places in (before, after))
    if not (changed or gone or come) and [*map(_words, old)] != [*map(_words, new)]:
        found.reworded.append((new or old)[0])


def _paired(before: list[Place], after: list[Place]) -> tuple[_Pairs, list[Token], list[Token]]:
    """Return the numbers around which some words stayed, in pairs, and the others of both."""
    if [*map(_words, before)] == [*map(_words, after)]:
        return list(zip(numbers(before), numbers(after), strict=True)), [], []
    old, new = ([token for p in places for token in tokens(p)] for places in (before, after))
    pairs = [pair for run in _apart(old, new) for pair in _with_words_in_common(*run)]
    gone = _without(numbers(before), [token for token, _ in pairs])
    come = _without(numbers(after), [token for _, token in pairs])
    stayed = [pair for block in _common(gone, come, _as_it_is) for pair in block]
    gone = _without(gone, [token for token, _ in stayed])
    return pairs, gone, _without(come, [token for _, token in stayed])


def _apart(old: list[Token], new: list[Token]) -> Iterator[tuple[list[Token], list[Token]]]:
    """Yield the runs of tokens that differ, with the words around them, which do not."""
    keys = [*map(_as_it_is, old)], [*map(_as_it_is, new)]
    matcher = SequenceMatcher(None, *keys, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "replace":
            before = _words_alike(old[:i][::-1], new[:j][::-1])
            behind = _words_alike(old[i_end:], new[j_end:])
            yield old[i - before : i_end + behind], new[j - before : j_end + behind]


def _words_alike(old: list[Token], new: list[Token]) -> int:
    """Return how many tokens at the beginning of both are the same, and no number."""
    pairs = zip(old, new, strict=False)
    alike = (one.text == other.text and one.kind != "number" for one, other in pairs)
    return sum(takewhile(bool, alike))


def _with_words_in_common(old: list[Token], new: list[Token]) -> Iterator[tuple[Token, Token]]:
    """Yield the numbers around which some words stayed."""
    for block in _common(old, new, _masked):
        if sum(token.kind == "word" for token, _ in block) >= _FEW:
            yield from (pair for pair in block if pair[0].kind == "number")


def _common(
    old: list[Token], new: list[Token], key: Callable[[Token], Hashable]
) -> Iterator[_Pairs]:
    """Yield the runs of tokens that both have."""
    matcher = SequenceMatcher(None, [*map(key, old)], [*map(key, new)], autojunk=False)
    for i, j, size in matcher.get_matching_blocks():
        yield list(zip(old[i : i + size], new[j : j + size], strict=True))


def _masked(token: Token) -> Hashable:
    return token.place.kind, "#" if token.kind == "number" else token.text


def _as_it_is(token: Token) -> Hashable:
    return token.place.kind, token.text


def _without(those: list[Token], these: list[Token]) -> list[Token]:
    left_out = {id(token) for token in these}
    return [token for token in those if id(token) not in left_out]


def _sentence(token: Token) -> Hashable:
    """Return the same for numbers that stand in the same place of the same sentence."""
    return token.place.kind, token.place.text, token.start


def _without_moved(those: list[Token], moved: Counter[Hashable]) -> Iterator[Token]:
    """Yield the numbers that did not only move with their sentence or line of code."""
    for token in those:
        if token.place.kind in {"text", "code"} and moved[_sentence(token)]:
            moved[_sentence(token)] -= 1
        else:
            yield token
