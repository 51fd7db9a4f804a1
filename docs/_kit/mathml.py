r"""Formulas become MathML when the site is built: no script, no picture, readable by machines.

Arithmatex of pymdownx finds the formulas, `$..$` inside a sentence and `$$..$$` in a paragraph of
their own; math-core translates them, and refuses what it cannot read. What slips through both, such
as a dollar left over or an empty formula, is looked for here. All of it stops the build.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from math_core import LatexError, LatexToMathML

from _kit.page import PageError, Refuse, annotators, find_line, page_of
from _kit.prose import CODE, SAME_PARAGRAPH, blank

_WRAPPED = re.compile(r"\\([(\[])(.*)\\[)\]]", re.DOTALL)  # how arithmatex marks a formula
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\t]")
_DISPLAY = re.compile(
    rf"^[ \t>]*\$\$(?P<end>(?:{SAME_PARAGRAPH}.)*?\$\$)?", re.MULTILINE | re.DOTALL
)
_ENTITY = re.compile(r"&(?!(?:lt|gt|amp|quot|#\w+);)\w+;")  # those that XML does not know

# A strict policy for styles drops those that stand in the page, so the style sheet has them.
_CLASSES = {
    "text-align: right;justify-items: end;padding-right: 0;": "right",  # aligned, before the &
    "text-align: left;justify-items: start;padding-left: 0;": "left",  # and behind it
    "text-align: left;justify-items: start;padding-right: 0;": "case",  # cases, before the &
    "text-align: left;justify-items: start;padding-right: 0;padding-left:1em;": "when",
}


class MathMLExtension(Extension):
    """Translates every formula of a page or a docstring."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {
            "sources": [["docs"], "Folders whose files are searched for a formula's line"],
            "macros": [{}, "LaTeX commands of the site: name without backslash, and body"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Let arithmatex find the formulas, and translate them when all inline marks are done."""
        md.registerExtensions(["pymdownx.arithmatex"], {"pymdownx.arithmatex": {"generic": True}})
        sources = [Path(folder) for folder in self.getConfig("sources")]
        translator = Translator(md, sources, self.getConfig("macros"))
        md.preprocessors.register(_Open(md), "mathml-open", 999.5)  # values, which read them: 999
        md.treeprocessors.register(_Formulas(md, translator), "mathml", 15)  # inline marks: 20


class Translator:
    """LaTeX to MathML, strictly."""

    def __init__(self, md: Markdown, sources: list[Path], macros: dict[str, str]) -> None:
        """Keep the macros, and where to look for the line of a formula that is wrong."""
        self._md = md
        self._sources = sources
        self._converter = LatexToMathML(macros=macros, fancy_error=False)

    def __call__(self, latex: str, *, display: bool) -> Element:
        """Translate one formula, and do to it what other extensions want done.

        Args:
            latex: The formula without its dollars.
            display: Whether it stands in a paragraph of its own.

        Returns:
            A `<math>` element.

        Raises:
            PageError: If it is empty, holds a control character or a comment, or does not parse; or
                if one of the others refuses it.
        """

        def refuse(what: str, remedy: str) -> PageError:
            return self._error(latex, display, what, remedy)

        math = self._parsed(latex, refuse, display=display)
        for annotate in annotators.values():
            math = annotate(math, refuse)
        return math

    def _parsed(self, latex: str, refuse: Refuse, *, display: bool) -> Element:
        if not latex.strip():
            raise refuse("it is empty.", "Write it, or a plain dollar as \\$.")
        if _CONTROL.search(latex):
            remedy = 'Make the docstring raw: r"""...""".'
            raise refuse("it holds a control character.", remedy)
        if re.search(r"(?<!\\)%", latex):
            raise refuse("% begins a comment in LaTeX.", "Write \\%.")
        try:
            text = self._converter.convert_with_local_state(latex, displaystyle=display)
        except LatexError as error:
            what = unreadable(error, latex)
            remedy = "Mend the formula; math-core's documentation lists the commands that it knows."
            raise refuse(what, remedy) from error
        math = ET.fromstring(_ENTITY.sub(lambda entity: unescape(entity[0]), text))  # noqa: S314 (made by math-core)
        for element in math.iter():
            _tidy(element, refuse)
        return math

    def _error(self, latex: str, display: bool, what: str, remedy: str) -> PageError:  # noqa: FBT001
        marks = [("$$ ", " $$"), ("\\[ ", " \\]")] if display else [("$", "$"), ("\\(", "\\)")]
        page, texts = page_of(self._md), [f"{before}{latex}{after}" for before, after in marks]
        places = [page.place_of(text) for text in texts]
        if not any(places):
            places = [find_line(self._sources, text) for text in texts]
        where = next((place for place in places if ":" in place), page.where())
        formula = repr(" ".join(latex.strip().split("\n"))).replace(r"\\", "\\")
        return PageError(f"{where}: formula {formula}", what, remedy)

    def leftover(self, text: str) -> PageError:
        """Return the error for a dollar that is not part of a formula."""
        return PageError(
            page_of(self._md).place_of(text) or find_line(self._sources, text.strip()),
            f"there is a dollar that encloses no formula, in {text.strip()!r}.",
            "Write \\$ for a plain dollar; put $$ .. $$ in a paragraph of its own.",
        )


def unreadable(error: LatexError, latex: str) -> str:
    """Return what is wrong with a formula, and where; its characters count from 1.

    Where math-core reached the end, its own place lies behind the last character.
    """
    place, _, said = str(error).partition(": ")
    before = len(latex) - len(latex.lstrip())
    character = min(int(place) - before + 1, len(latex.strip()))
    return f"LaTeX cannot be read at character {character}: {said}"


def _tidy(element: Element, refuse: Refuse) -> None:
    """Take out of an element what HTML or a strict policy for styles does not allow."""
    if element.get("scriptlevel") == "0":  # as it is by itself
        del element.attrib["scriptlevel"]
    if style := element.attrib.pop("style", None):
        if style not in _CLASSES:
            what = f"it needs the style {style!r}, and no page can have styles of its own."
            raise refuse(what, "Write it otherwise; of the environments, aligned and cases work.")
        element.set("class", _CLASSES[style])


class _Open(Preprocessor):
    """Looks, before anybody reads what stands in formulas, that each in its own paragraph ends."""

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        for formula in _DISPLAY.finditer(blank(CODE, page.prose)):
            if page.is_file and not formula["end"]:
                where = f"{page.name}:{page.line_of(formula.start())}"
                remedy = "Write $$ behind the formula, and no empty line in it."
                raise PageError(where, "the formula that $$ opens is not closed.", remedy)
        return lines


class _Formulas(Treeprocessor):
    """Puts the MathML where arithmatex left the LaTeX."""

    def __init__(self, md: Markdown, translate: Translator) -> None:
        super().__init__(md)
        self.translate = translate

    def run(self, root: Element) -> None:
        heads = {element for head in root.iter("th") for element in head.iter()}
        for element in root.iter():
            if element.get("class") == "arithmatex":
                self._replace(element, named=element in heads)
            elif element.tag not in {"code", "pre", "script"} and "$" in (element.text or ""):
                raise self.translate.leftover(element.text or "")
            if "$" in (element.tail or ""):
                raise self.translate.leftover(element.tail or "")

    def _replace(self, element: Element, *, named: bool) -> None:
        """Put the MathML. In a sentence its parts are read, in the head of a table its name."""
        wrapped = _WRAPPED.fullmatch((element.text or "").strip())
        if wrapped is None:
            raise self.translate.leftover(element.text or "")
        display = wrapped[1] == "["
        latex = unescape(wrapped[2]) if display else wrapped[2]  # arithmatex escapes only these
        element.set("class", "formula" if display else "symbol")
        math = self.translate(latex, display=display)
        if not display and not named:
            math.attrib.pop("aria-label", None)
        if title := math.attrib.pop("title", None):  # HTML allows none inside a formula
            element.set("title", title)
        html = ET.tostring(math, encoding="unicode").replace(" />", "/>")
        element.text = self.md.htmlStash.store(html)
        if not display:  # keep a full stop on the line of the formula before it
            mark = re.match(r"[^\s\w\x02]*", element.tail or "")[0]  # type: ignore[index] # it matches always
            element.text += mark
            element.tail = (element.tail or "").removeprefix(mark)


def makeExtension(**kwargs: Any) -> MathMLExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return MathMLExtension(**kwargs)
