"""Claims: sentences that a check holds to the truth, and sentences that say that none does.

    [The variance of the output is below one.]{claim="below-one"}
    [Larger epsilons regularise.]{hunch}
    [Training gets faster.]{cited="Ioffe and Szegedy, 2015"}

    ```python exec="on" source="fold"
    assert y.var() < 1  # claim below-one: rounding of ten operations
    ```

The check is an assertion in a block of the same page, `assert` or NumPy's `assert_allclose`, with
the id of the claim in the comment behind it and, after a colon, the reason for its tolerance. What
it compared is noted as it runs: the reader sees it below the block and on the page of all claims.
The mark behind the sentence leads to the check, the id below the check back to the sentence.

A sentence that the check of a claim on another page settles leads there:

    [It is below one.]{settled="below-one"}
"""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import LinkInlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

from _kit.checks import ID, Check, CheckError, is_assertion, read_checks
from _kit.observed import Observations, observe
from _kit.page import Block, Page, PageError, outside_fences, page_of
from _kit.prose import PLACES, blank

_MARK = re.compile(r'\]\{(\w+)(?:="([^"]*)")?\}')
KINDS = {
    "claim": 'Write {claim="short-name"}: small letters, digits, hyphens.',
    "settled": 'Write {settled="short-name"}, the id of a claim of another page.',
    "cited": 'Write {cited="Author, year"}.',
    "hunch": "Write {hunch} alone.",
}


@dataclass
class Claim:
    """A sentence of the page, and its checks."""

    id: str
    line: int
    checks: list[tuple[Block, Check]] = field(default_factory=list)


class ClaimsExtension(Extension):
    """Binds sentences to checks."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Match claims and checks when the page opens; look at the end that every check ran."""
        opened = _Open(md)
        md.preprocessors.register(opened, "claims-open", 997)
        md.preprocessors.register(_Close(md, opened), "claims-close", 24.3)
        sentence = _Sentence(r"\[", md)
        md.inlinePatterns.register(sentence, "claims", 175)  # links: 170 and below
        md.treeprocessors.register(_Unread(md, sentence), "claims-unread", 10)  # inline marks: 20


class _Open(Preprocessor):
    """Finds the claims of a page and their checks, and lets the checks be observed."""

    def __init__(self, md: Markdown) -> None:
        super().__init__(md)
        self.claims: dict[str, Claim] = {}

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        self.claims = claims = dict(_claims(page))
        checks: dict[int, dict[int, Check]] = {}  # by block and line
        for block in page.blocks:
            if block.executes != "off":
                checks[block.number] = dict(_checks(page, block, claims))
        for claim in claims.values():
            if not claim.checks:
                _look_readable(page)
                remedy = f"Write behind an assert of the page: # claim {claim.id}: and the reason."
                raise _error(page, claim.line, f"the claim {claim.id!r} has no check.", remedy)

        def rewrite(block: Block, tree: ast.Module) -> ast.Module:
            return _observed(page, block, tree, checks.get(block.number, {}))

        page.rewriters.append(rewrite)
        page.notes.append(lambda block: _note(page, claims, block))
        return lines


MARK = (  # as raw HTML: the builder, which looks for the target of a link, knows no ids of blocks
    '<a class="claim-mark" href="#{}" title="Checked: see the check"'
    ' aria-label="Checked: see the check">✓</a>'
)


def _error(page: Page, line: int, what: str, remedy: str) -> PageError:
    return PageError(f"{page.name}:{line}", what, remedy)


def _look_readable(page: Page) -> None:
    """Look that Python can read all that is to run: in what it cannot, no check is found."""
    for block in page.blocks:
        if block.executes != "off":
            page.parsed(block)


def _claims(page: Page) -> Iterator[tuple[str, Claim]]:
    """Yield the claims in the prose of a page."""
    seen: dict[str, int] = {}
    for mark, line in _marks(page):
        kind, name = mark.groups()
        if not page.is_file:
            raise PageError(page.name, f"only a page can hold {mark[0]!r}.", "Put it into a page.")
        if kind not in KINDS:
            raise _error(page, line, f"there is no mark {mark[0][1:]}.", " ".join(KINDS.values()))
        is_id = bool(re.fullmatch(ID, name or ""))
        if bool(name) == (kind == "hunch") or (kind in {"claim", "settled"} and not is_id):
            raise _error(page, line, f"the mark {mark[0][1:]} cannot be read.", KINDS[kind])
        if kind == "claim" and name in seen:
            what = f"the claim {name!r} stands twice, first in line {seen[name]}."
            raise _error(page, line, what, "Give one of them another id.")
        if kind == "claim":
            seen[name] = line
            yield name, Claim(name, line)


def declared(source: str) -> list[str]:
    """Return the ids of the claims that a source declares."""
    marks = _MARK.finditer(blank(PLACES, outside_fences(source)))
    return [mark[2] for mark in marks if mark[1] == "claim"]


def _marks(page: Page) -> Iterator[tuple[re.Match[str], int]]:
    """Yield the marks in the prose of a page, and their lines."""
    for mark in _MARK.finditer(blank(PLACES, page.prose)):
        yield mark, page.line_of(mark.start())


def _checks(page: Page, block: Block, claims: dict[str, Claim]) -> Iterator[tuple[int, Check]]:
    """Yield the checks of a block by their line in the page; note them with their claims."""
    try:
        checks = list(read_checks(block.code))
    except CheckError as error:
        line, what, remedy = error.args
        raise _error(page, block.line + line, what, remedy) from error
    for check in checks:
        line = block.line + check.line
        if block.options.get("source") == "none":
            what = "a check must be shown; its block is hidden."
            raise _error(page, line, what, 'Write source="fold" instead of source="none".')
        for name in check.names:
            if name not in claims:
                what = f"the check of {name!r} belongs to no claim of this page."
                remedy = f'Write [Sentence.]{{claim="{name}"}} in the text.'
                if close := difflib.get_close_matches(name, claims, n=1):
                    remedy = f"Did you mean {close[0]!r}?"
                raise _error(page, line, what, remedy)
            if not claims[name].checks:  # the mark leads to the first
                page.anchors.setdefault(block.number, []).append(f"check-{name}")
            claims[name].checks.append((block, check))
        yield line, check


def _observed(page: Page, block: Block, tree: ast.Module, checks: dict[int, Check]) -> ast.Module:
    """Let the checks of a block note what they compare."""
    for node in ast.walk(tree):
        check = checks.get(getattr(node, "lineno", -1))
        if check and is_assertion(node):
            name = _noted_as(block, check)
            page.namespace[name] = Observations()
            observe(node, name)
    return ast.fix_missing_locations(tree)


def _noted_as(block: Block, check: Check) -> str:
    """Return the name under which the observations of a check stand in the page's namespace."""
    return f"__check_{block.number}_{check.line}__"


def _observations(page: Page, block: Block, check: Check) -> Observations:
    """Return what a check has compared so far."""
    observations: Observations = page.namespace.get(_noted_as(block, check), Observations())
    return observations


class _Close(Preprocessor):
    """Looks, when all blocks have run, that every check did; and leaves the record."""

    def __init__(self, md: Markdown, opened: _Open) -> None:
        super().__init__(md)
        self.opened = opened

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        for claim in self.opened.claims.values():
            for block, check in claim.checks:
                observations = _observations(page, block, check)
                if not observations:
                    what = f"the check of the claim {claim.id!r} did not run."
                    remedy = "Let the block reach it: no branch or function may pass it by."
                    raise _error(page, block.line + check.line, what, remedy)
                if observations.failed:
                    what = f"the check of the claim {claim.id!r} failed, and its block went on."
                    remedy = "Let nothing catch or declare the failure of a check."
                    raise _error(page, block.line + check.line, what, remedy)
        if self.opened.claims:
            page.record["claims"] = {
                claim.id: [
                    {"observed": o, "required": r, "reason": check.reason}
                    for block, check in claim.checks
                    for o, r in _observations(page, block, check).rows()
                ]
                for claim in self.opened.claims.values()
            }
        return lines


def _note(page: Page, claims: dict[str, Claim], block: Block) -> str:
    """Return what the checks of a block found, as HTML."""
    notes = []
    for claim in claims.values():
        checks = [check for b, check in claim.checks if b is block]
        rows = [row for check in checks for row in _observations(page, block, check).rows()]
        if rows:
            found = "; ".join(escape(" ".join(part for part in row if part)) for row in rows)
            notes.append(f'<li><a href="#claim-{claim.id}">{claim.id}</a>: {found}</li>')
    return f'<ul class="checks">{"".join(notes)}</ul>' if notes else ""


class _Unread(Treeprocessor):
    """Looks that every mark was read as one."""

    def __init__(self, md: Markdown, sentence: _Sentence) -> None:
        super().__init__(md)
        self.sentence = sentence

    def run(self, root: Element) -> None:  # noqa: ARG002 (Python-Markdown's signature)
        page = page_of(self.md)
        left = Counter(self.sentence.read)
        self.sentence.read.clear()
        for mark, line in _marks(page):
            left[mark[0]] -= 1
            if left[mark[0]] < 0:
                remedy = (
                    "Open the sentence with a [, in the same paragraph, and close others in it."
                )
                raise _error(page, line, f"no sentence ends with {mark[0]}.", remedy)


class _Sentence(LinkInlineProcessor):
    """Marks a sentence that is checked, cited, or a hunch."""

    def __init__(self, pattern: str, md: Markdown) -> None:
        super().__init__(pattern, md)
        self.read: list[str] = []  # the marks that were read

    def handleMatch(  # type: ignore[override] # noqa: N802 (Python-Markdown's name)
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        """Return the sentence as an element, with its mark."""
        text, index, handled = self.getText(data, m.end(0))
        mark = _MARK.match(data, index - 1) if handled else None
        if mark is None:
            return None, None, None
        self.read.append(mark[0])
        element = Element("span", {"class": mark[1]})
        element.text = text
        if mark[1] == "claim":
            element.set("id", f"claim-{mark[2]}")
            element.text += self.md.htmlStash.store(MARK.format(f"check-{mark[2]}"))
        elif mark[1] == "settled":  # the step over the whole site puts in the page
            element.text += self.md.htmlStash.store(MARK.format(f"settled-{mark[2]}"))
        else:
            label = f"({mark[2]})" if mark[2] else "(hunch)"
            SubElement(element, "small").text = f" {label}"
        return element, m.start(0), mark.end(0)


def makeExtension(**kwargs: object) -> ClaimsExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return ClaimsExtension(**kwargs)
