"""Computed numbers inside sentences.

    The output has the variance {{ y.var():.4f }}.         a number of the page's own run
    PyTorch {{ version: 2.13.0 }} has another default.      a typed number, and why it is typed
    Half is left at {{ definition: 1e-5 }}.

Between `{{ ` and ` }}` stands what may stand in the braces of an f-string: an expression, and after
a colon how to write it. It sees what the blocks above it left, at that very place: it is evaluated
as soon as the block above has run. It works wherever text stands, in tables, headings and formulas
too. A number that is typed on purpose says what it is: a citation, a version or a definition.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from _kit.page import Block, Page, PageError, page_of
from _kit.prose import FIELD, PLACES, blank

MARKS = ("cited", "version", "definition")

_EXPONENT = re.compile(r"(?<=\d)e([+-]?)0*(\d+)")


@dataclass
class Value:
    """An expression in the prose of a page."""

    field: str
    line: int
    after: int  # number of the block above it; 0 for none
    in_formula: bool


class ValuesExtension(Extension):
    """Puts computed numbers into sentences."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Note the values when the page opens; put them in when all its blocks have run."""
        opened = _Open(md)
        md.preprocessors.register(opened, "values-open", 999)
        md.preprocessors.register(_Insert(md, opened), "values", 24.4)


class _Open(Preprocessor):
    """Finds the values of a page, and lets each be computed when the block above it has run."""

    def __init__(self, md: Markdown) -> None:
        super().__init__(md)
        self.values: list[Value] = []

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        self.values = values = list(_find(page))

        def compute(block: Block | None) -> None:
            above = block.number if block else 0
            page.evaluated[above] = [_written(page, v) for v in values if v.after == above]

        page.listeners.append(compute)
        return lines


class _Insert(Preprocessor):
    """Puts the values where they belong; the fences have been taken out of the text by now."""

    def __init__(self, md: Markdown, opened: _Open) -> None:
        super().__init__(md)
        self.opened = opened

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        texts = [text for above in sorted(page.evaluated) for text in page.evaluated[above]]
        left = iter(texts)

        def insert(place: re.Match[str]) -> str:
            if place["code"]:
                return place[0]
            if place["formula"]:
                return FIELD.sub(lambda _: next(left), place[0])
            return next(left)

        text = PLACES.sub(insert, "\n".join(lines))
        if self.opened.values:
            page.record["values"] = texts
            fields = (value.field.partition(":")[0] for value in self.opened.values)
            page.record["computed"] = [field for field in fields if field not in MARKS]
        return text.split("\n")


def _find(page: Page) -> Iterator[Value]:
    """Yield the values in the prose of a page."""
    if slip := re.search(r"\{\{|\}\}", blank(PLACES, page.prose)):
        where = f"{page.name}:{page.line_of(slip.start())}"
        raise PageError(where, f"{slip[0]} holds no value.", "Write {{ expression }}, with spaces.")
    for place in PLACES.finditer(page.prose):
        if place["code"]:
            continue
        fields = FIELD.finditer(place[0])
        for field in fields:
            line = page.line_of(place.start() + field.start())
            if not page.is_file:
                raise PageError(
                    page.name,
                    f"a value can only stand in the text of a page; got {field[0]!r}.",
                    "Let the block that prints this text print the number.",
                )
            above = sum(block.line < line for block in page.blocks)
            yield Value(field["field"], line, above, bool(place["formula"]))


def _written(page: Page, value: Value) -> str:
    """Return a value as it is to stand in the text."""
    mark, _, typed = value.field.partition(":")
    if mark in MARKS:
        return typed.strip()
    where = f"{page.name}:{value.line}: {{{{ {value.field} }}}}"
    try:
        expression = ast.parse(f'f"""{{{value.field}}}"""', mode="eval")
    except SyntaxError as error:
        what = f"Python cannot read it: {error.msg}."
        raise PageError(where, what, "Write it as in the braces of an f-string.") from error
    fields = expression.body.values if isinstance(expression.body, ast.JoinedStr) else []
    if [type(field) for field in fields] != [ast.FormattedValue] or _is_typed(fields[0]):
        remedy = f"A typed number is marked with one of {', '.join(MARKS)}, and a colon."
        raise PageError(where, "it computes nothing.", remedy)
    try:
        text: Any = page.evaluate(expression)
    except Exception as error:
        what = f"it raised {type(error).__name__}: {error}."
        remedy = "A value sees what the blocks above it left, and may neither warn nor print."
        if difflib.get_close_matches(mark, MARKS, n=1):
            remedy = f"Typed numbers are marked with one of {', '.join(MARKS)}."
        raise PageError(where, what, remedy) from error
    return _typeset(str(text), in_formula=value.in_formula)


def _is_typed(field: ast.expr) -> bool:
    return isinstance(field, ast.FormattedValue) and isinstance(field.value, ast.Constant)


def _typeset(text: str, *, in_formula: bool) -> str:
    """Return a number as it is printed in books: 1e-05 as 1e-5, and a real minus."""
    if in_formula:
        return _EXPONENT.sub(lambda e: rf" \cdot 10^{{{e[1].strip('+')}{e[2]}}}", text)
    text = _EXPONENT.sub(lambda e: f"e{e[1].strip('+')}{e[2]}", text)
    return re.sub(r"(?<![\w.])-(?=\d|inf)", "−", text)


def makeExtension(**kwargs: Any) -> ValuesExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return ValuesExtension(**kwargs)
