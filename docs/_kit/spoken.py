"""A formula as one line of English, for those who hear the page: MathML in, a sentence out.

The sentence says what a teacher would say at the board, with the end of each fraction and root in
words where it could be in doubt. It knows the signs of mathematics, not the symbols of a site: how
these are called is given. What it does not know it refuses, for a sentence read wrongly is worse
than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

# A term takes "times" between it and the next; a prefix and a function take a term behind them.
TERM, INFIX, PREFIX, FUNCTION, GROUP, WORD, STOP = range(7)

INFIXES = {
    "=": "equals",
    "≠": "does not equal",
    "≈": "is approximately",
    "<": "is less than",
    ">": "is greater than",
    "≤": "is at most",
    "≥": "is at least",
    "∈": "in",
    "→": "tends to",
    "+": "plus",
    "−": "minus",
    "±": "plus or minus",
    "⋅": "times",
    "×": "times",
    "/": "over",
}
SUMMANDS, FACTORS = {"plus", "minus"}, {"times", "over"}  # a sum ends before the first
PREFIXES = {"∑": "sum", "∏": "product"}
SUFFIXES = {"2": "squared", "3": "cubed", "′": "prime", "𝖳": "transposed"}
BRACKETS = {"(": "bracket", "[": "square bracket"}
ENCLOSED = {
    "|": "the absolute value of",
    "‖": "the norm of",
    "⌊": "the floor of",
    "⟨": "the inner product of",
}
CLOSING = {"(": ")]", "[": "])", "|": "|", "‖": "‖", "⌊": "⌋", "⟨": "⟩"}
BRACES = {"⏟", "⏞"}
DOTS, APPLY, PARTIAL = ".", "\u2061", "∂"


class UnreadableError(ValueError):
    """Something in a formula for which there are no words here."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Some words of the sentence, and how they go with their neighbours."""

    text: str
    kind: int = TERM
    simple: bool = True  # needs no "end" behind it inside something else
    inner: str = ""  # of a group, what stands in its brackets
    end: str = ""  # of a sum, what is said where it ends before a plus or a minus


SAID = {  # the signs that are read by themselves
    **{sign: Phrase(words, INFIX) for sign, words in INFIXES.items()},
    **{sign: Phrase(f"the {name} of", PREFIX, end=name) for sign, name in PREFIXES.items()},
    **dict.fromkeys([",", DOTS], Phrase(",", STOP)),
    PARTIAL: Phrase("partial", PREFIX),
    "∞": Phrase("infinity"),
    "%": Phrase("per cent", WORD),
}
SIGNS = {*SAID, *SUFFIXES}  # what is no symbol of the site, even where MathML takes it for a letter


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads formulas aloud."""

    names: Mapping[Element, str]  # what symbols are called; of functions it ends with "of"

    def sentence(self, math: Element) -> str:
        """Return a formula as a sentence, without the full stop.

        Args:
            math: A `<math>` element.

        Raises:
            UnreadableError: If it holds what has no words here.
        """
        text = re.sub(r"\s+([,;])", r"\1", self._text(list(math)))
        text = re.sub(r",(?=[,;])", "", text)
        return text.rstrip(" ,;.")

    def _text(self, elements: list[Element]) -> str:
        return _join(self._row(elements))

    def _row(self, elements: list[Element]) -> list[Phrase]:
        row = list(self._flat(elements))
        phrases, _ = self._until(row, "")
        if not phrases:
            raise UnreadableError("a place with nothing in it")
        return phrases

    def _flat(self, elements: list[Element]) -> list[Element]:
        """Return the elements of a row, without grouping and without small spaces."""
        flat: list[Element] = []
        for element in elements:
            if element.tag == "mrow" and element not in self.names:
                flat += self._flat(list(element))
            elif not (_is_small_space(element) or element.text == APPLY):
                flat.append(element)
        return flat

    def _until(self, row: list[Element], closing: str) -> tuple[list[Phrase], Element | None]:
        """Return the phrases before a closing sign, and the element that is or carries it.

        Args:
            row: Elements; what is read is taken out of it.
            closing: The signs that close what was opened; empty at the outermost level.
        """
        phrases: list[Phrase] = []
        while row:
            element = row.pop(0)
            sign = _sign(element[0] if element.tag in {"msup", "msub", "msubsup"} else element)
            begins = not phrases or phrases[-1].kind in {INFIX, STOP}  # so a bar opens here
            if sign and sign in closing and not (begins and sign in CLOSING):
                return phrases, element
            if sign in CLOSING:
                phrases.append(self._enclosed(row, sign))
            elif sign == DOTS and [_sign(other) for other in row[:2]] == [DOTS, DOTS]:
                del row[:2]
                phrases.append(Phrase("and so on", WORD))
            else:
                phrases.append(self._phrase(element))
        if closing:
            raise UnreadableError(f"a bracket without its {' or '.join(closing)}")
        return phrases, None

    def _enclosed(self, row: list[Element], sign: str) -> Phrase:
        """Read on to the closing bracket, with the power or the index that it carries."""
        inner, closer = self._until(row, CLOSING[sign])
        text, simple = _join(inner), _is_simple(inner)
        if sign in BRACKETS:
            name = BRACKETS[sign]
            phrase = Phrase(f"open {name} {text} close {name}", GROUP, simple, text)
        else:
            words = text.replace(" , ", " and ") if sign == "⟨" else text
            parts = [p for p in inner if p.kind != STOP]
            fine = len(parts) == 2 if sign == "⟨" else simple  # noqa: PLR2004 (a product of two)
            phrase = _about(ENCLOSED[sign], words, fine)
        return phrase if closer is None else self._scripts(phrase, closer)

    def _phrase(self, element: Element) -> Phrase:
        """Return the phrase for one element."""
        if name := self.names.get(element):
            return Phrase(name, FUNCTION if name.endswith(" of") else TERM)
        read = {
            "mfrac": self._fraction,
            "msqrt": self._root,
            "mtable": self._lines,
            "msub": self._scripted,
            "msup": self._scripted,
            "msubsup": self._scripted,
            "munder": self._limits,
            "munderover": self._limits,
        }.get(element.tag, _leaf)
        return read(element)

    def _fraction(self, element: Element) -> Phrase:
        if element.get("linethickness"):
            raise UnreadableError("a fraction without its line")
        above, below = (self._row([part]) for part in element)
        if above[0] == below[0] == SAID[PARTIAL] and len(above) > 1 and len(below) == 2:  # noqa: PLR2004 (∂ and x)
            to = below[1].inner or below[1].text
            return Phrase(f"the partial derivative of {_join(above[1:])} with respect to {to}")
        text = f"{_join(above)} over {_join(below)}"
        if _is_simple(above) and _is_simple(below):
            return Phrase(text, simple=False)
        return Phrase(f"the fraction {text}, end fraction,", simple=False)

    def _root(self, element: Element) -> Phrase:
        inner = self._row(list(element))
        return _about("the square root of", _join(inner), _is_simple(inner), "root")

    def _lines(self, table: Element) -> Phrase:
        """Read the rows of aligned formulas; the cells of a matrix are no formula together."""
        if table.get("displaystyle") != "true" or any(len(row) > 2 for row in table):  # noqa: PLR2004 (before and behind the &)
            raise UnreadableError("<mtable> with other columns than those before and behind one &")
        rows = [self._text([part for cell in row for part in cell]) for row in table]
        lines = [f"line {number}: {row}" for number, row in enumerate(rows, 1)]
        return Phrase(" ; ".join(lines), simple=False)

    def _scripted(self, element: Element) -> Phrase:
        if _sign(element[0]) in PREFIXES:
            return self._limits(element)
        return self._scripts(self._phrase_of(element[0]), element)

    def _phrase_of(self, element: Element) -> Phrase:
        phrases = self._row([element])
        if len(phrases) != 1 or phrases[0].kind not in {TERM, GROUP, WORD}:
            raise UnreadableError(f"a power or an index of {_join(phrases)!r}")
        return phrases[0]

    def _scripts(self, base: Phrase, element: Element) -> Phrase:
        """Return a phrase with the index and the power that an element puts to it."""
        if element.tag not in {"msub", "msup", "msubsup"}:
            return base
        text = base.text
        if element.tag != "msup":
            index = self._row([element[1]])
            words = " ".join(phrase.text for phrase in index if phrase.kind != STOP)
            end = "" if all(phrase.kind in {TERM, STOP, WORD} for phrase in index) else ", end sub,"
            text += f" sub {words}{end}"
        if element.tag != "msub":
            text += self._power(element[-1])
        return Phrase(text, TERM, base.simple)

    def _power(self, element: Element) -> str:
        if element.text in SUFFIXES:
            return f" {SUFFIXES[element.text]}"
        power = self._row([element])
        end = "" if _is_simple(power) else ", end power,"
        return f" to the power {_join(power)}{end}"

    def _limits(self, element: Element) -> Phrase:
        """Read a sum with what it runs over, or a brace with its label."""
        base = element[0]
        if len(base) and _sign(base[-1]) in BRACES:
            return Phrase(f"{self._text([base[0]])}, {self._text([element[1]])},", simple=False)
        if _sign(base) not in PREFIXES:
            raise UnreadableError(f"<{element.tag}> of something else than a sum or a brace")
        limits = self._text([element[1]]).replace(" , ", " and ")
        upper = [self._text([part]) for part in element[2:]]
        reach = f"from {limits} to {upper[0]}" if upper else f"over {limits}"
        name = PREFIXES[_sign(base)]
        return Phrase(f"the {name} {reach} of", PREFIX, end=name)


def _leaf(element: Element) -> Phrase:
    """Return the phrase for a number, a word or a sign."""
    text = (element.text or "").strip()
    if element.tag == "mspace":
        return Phrase(";", STOP)
    if element.tag in {"mn", "mtext"}:
        return Phrase(text, TERM if element.tag == "mn" else WORD)
    if text not in SAID:
        raise UnreadableError(f"<{element.tag}>{text}" if text else f"<{element.tag}>")
    return SAID[text]


def _sign(element: Element) -> str:
    return (element.text or "") if element.tag in {"mo", "mi"} else ""


def _is_small_space(element: Element) -> bool:
    width = re.match(r"-?[\d.]+(?=em$)", element.get("width", "0em"))
    return element.tag == "mspace" and width is not None and float(width[0]) < 1


def _about(words: str, text: str, simple: bool, end: str = "") -> Phrase:  # noqa: FBT001
    """Return `the norm of v`, or `the norm of v plus w, end norm,`."""
    end = end or words.removeprefix("the ").removesuffix(" of")
    end = end.removeprefix("inner ")
    return Phrase(f"{words} {text}" if simple else f"{words} {text}, end {end},", simple=simple)


def _is_simple(phrases: list[Phrase]) -> bool:
    """Tell whether it is plain where a phrase ends: one term, its negative, or a ratio of two."""
    texts = [phrase.text for phrase in phrases]
    if texts and texts[0] == "minus":
        phrases, texts = phrases[1:], texts[1:]
    ratio = len(texts) == 3 and texts[1] == "over"  # noqa: PLR2004 (one, over, other)
    return (len(texts) == 1 or ratio) and all(phrase.simple for phrase in phrases)


def _join(phrases: list[Phrase]) -> str:
    """Put phrases together, with "times" between what is multiplied, and the ends of sums."""
    words: list[str] = []
    last, ending = Phrase("", STOP), ""
    for phrase, following in pairwise([*phrases, Phrase("", STOP)]):
        text = phrase.text
        if last.kind == FUNCTION and phrase.kind == GROUP and phrase.simple:
            text = phrase.inner
        elif last.kind in {TERM, GROUP} and phrase.kind in {TERM, GROUP, PREFIX, FUNCTION}:
            words.append("times")
        if phrase.kind == FUNCTION and following.kind in {STOP, INFIX, WORD}:
            text = text.removesuffix(" of")
        if ending and text in SUMMANDS and last.kind != PREFIX:
            words.append(ending)
        if phrase.kind == PREFIX or not (phrase.kind in {TERM, GROUP, FUNCTION} or text in FACTORS):
            ending = f", end {phrase.end}," if phrase.end else ""
        words.append(text)
        last = phrase
    return " ".join(words)
