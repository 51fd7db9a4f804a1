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
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import LinkInlineProcessor
from markdown.preprocessors import Preprocessor

from _kit.observed import Observations, observe
from _kit.page import Block, Page, PageError, page_of
from _kit.prose import PLACES, blank

ID = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_COMMENT = re.compile(rf"#\s*claims?\s+({ID}(?:\s*,\s*{ID})*)\s*(?::\s*(.+))?$")
_MARK = re.compile(r'\]\{(claim|cited|hunch)(?:="([^"]*)")?\}')


@dataclass
class Check:
    """An assertion that holds a claim."""

    block: Block
    line: int  # of the page
    reason: str  # for the tolerance
    observations: Observations = field(default_factory=Observations)


@dataclass
class Claim:
    """A sentence of the page, and its checks."""

    id: str
    line: int
    checks: list[Check] = field(default_factory=list)


class ClaimsExtension(Extension):
    """Binds sentences to checks."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Match claims and checks when the page opens; look at the end that every check ran."""
        opened = _Open(md)
        md.preprocessors.register(opened, "claims-open", 997)
        md.preprocessors.register(_Close(md, opened), "claims-close", 24.3)
        md.inlinePatterns.register(_Sentence(r"\[", md), "claims", 175)  # links: 170 and below


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
            if re.search(r'\bexec="(?!off)', block.header):
                checks[block.number] = dict(_checks(page, block, claims))
        for claim in claims.values():
            if not claim.checks:
                raise _error(page, claim.line, f"the claim {claim.id!r} has no check.", CHECK)

        def rewrite(block: Block, tree: ast.Module) -> ast.Module:
            return _observed(page, tree, checks.get(block.number, {}))

        page.rewriters.append(rewrite)
        page.notes.append(lambda block: _note(claims, block))
        return lines


MARK = (  # as raw HTML: the builder, which looks for the target of a link, knows no ids of blocks
    '<a class="claim-mark" href="#check-{}" title="Checked: see the check"'
    ' aria-label="Checked: see the check">✓</a>'
)
CHECK = "Write behind an assert of the page: # claim {id}: reason for the tolerance."


def _error(page: Page, line: int, what: str, remedy: str) -> PageError:
    return PageError(f"{page.name}:{line}", what, remedy)


def _claims(page: Page) -> Iterator[tuple[str, Claim]]:
    """Yield the claims in the prose of a page."""
    seen: dict[str, int] = {}
    for mark in _MARK.finditer(blank(PLACES, page.prose)):
        line, (kind, name) = page.line_of(mark.start()), mark.groups()
        if not page.is_file:
            raise PageError(page.name, f"only a page can hold {mark[0]!r}.", "Put it into a page.")
        if kind == "claim":
            if not re.fullmatch(ID, name or ""):
                remedy = 'Write {claim="short-name"}: small letters, digits, hyphens.'
                raise _error(page, line, f"a claim needs an id; got {name!r}.", remedy)
            if name in seen:
                what = f"the claim {name!r} stands twice, first in line {seen[name]}."
                raise _error(page, line, what, "Give one of them another id.")
            seen[name] = line
            yield name, Claim(name, line)
        elif (kind == "cited") != bool(name):
            remedy = 'Write {cited="Author, year"}, and {hunch} alone.'
            raise _error(page, line, f"{mark[0][1:]} cannot be read.", remedy)


def _checks(page: Page, block: Block, claims: dict[str, Claim]) -> Iterator[tuple[int, Check]]:
    """Yield the checks of a block by the line of their statement; note them with their claims."""
    statements = list(_assertions(block))
    for line, comment in _comments(block.code):
        place = block.line + line
        found = _COMMENT.match(comment)
        if not found:
            if re.match(r"#\s*claims?\b.*-|#\s*claims?\s*[:=]", comment):
                raise _error(page, place, f"{comment!r} names no claim.", CHECK)
            continue
        holder = [s for s in statements if s.lineno <= line <= (s.end_lineno or 0)]
        if not holder:
            what = f"{comment!r} must stand behind an assert or an assert_allclose."
            raise _error(page, place, what, "Put it behind the assertion that is the check.")
        check = Check(block, block.line + holder[0].lineno, found[2] or "")
        for name in re.split(r"\s*,\s*", found[1]):
            if name not in claims:
                what = f"the check of {name!r} belongs to no claim of this page."
                raise _error(page, place, what, f'Write [Sentence.]{{claim="{name}"}} in the text.')
            claims[name].checks.append(check)
        if 'source="none"' in block.header:
            what = "a check must be shown; its block is hidden."
            raise _error(page, place, what, 'Write source="fold" instead of source="none".')
        names = re.split(r"\s*,\s*", found[1])
        anchors = page.anchors.setdefault(block.number, [])
        anchors += [a for a in (f"check-{name}" for name in names) if a not in anchors]
        yield check.line, check


def _comments(code: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the comments in a piece of code; nothing if Python cannot read it."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        return  # running the block tells it better


def _assertions(block: Block) -> Iterator[ast.stmt]:
    """Yield the statements of a block that can be checks."""
    try:
        tree = ast.parse(block.code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and _is_allclose(node)):
            yield node


def _is_allclose(node: ast.Expr) -> bool:
    call = node.value
    name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
    return name.rpartition(".")[2] == "assert_allclose"


def _observed(page: Page, tree: ast.Module, checks: dict[int, Check]) -> ast.Module:
    """Let the checks of a block note what they compare."""
    for node in ast.walk(tree):
        check = checks.get(getattr(node, "lineno", -1))
        if check and isinstance(node, ast.Assert | ast.Expr):
            name = f"__check_{check.line}__"
            page.namespace[name] = check.observations
            observe(node, name)
    return ast.fix_missing_locations(tree)


class _Close(Preprocessor):
    """Looks, when all blocks have run, that every check did; and leaves the record."""

    def __init__(self, md: Markdown, opened: _Open) -> None:
        super().__init__(md)
        self.opened = opened

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        for claim in self.opened.claims.values():
            for check in claim.checks:
                if not check.observations:
                    what = f"the check of the claim {claim.id!r} did not run."
                    remedy = "Let the block reach it: no branch or function may pass it by."
                    raise _error(page, check.line, what, remedy)
        if self.opened.claims:
            page.record["claims"] = {
                claim.id: [
                    {"observed": o, "required": r, "reason": check.reason}
                    for check in claim.checks
                    for o, r in check.observations.rows()
                ]
                for claim in self.opened.claims.values()
            }
        return lines


def _note(claims: dict[str, Claim], block: Block) -> str:
    """Return what the checks of a block found, as HTML."""
    notes = []
    for claim in claims.values():
        rows = [r for c in claim.checks if c.block is block for r in c.observations.rows()]
        if rows:
            found = "; ".join(escape(" ".join(part for part in row if part)) for row in rows)
            notes.append(f'<li><a href="#claim-{claim.id}">{claim.id}</a>: {found}</li>')
    return f'<ul class="checks">{"".join(notes)}</ul>' if notes else ""


class _Sentence(LinkInlineProcessor):
    """Marks a sentence that is checked, cited, or a hunch."""

    def handleMatch(  # type: ignore[override] # noqa: N802 (Python-Markdown's name)
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        """Return the sentence as an element, with its mark."""
        text, index, handled = self.getText(data, m.end(0))
        mark = _MARK.match(data, index - 1) if handled else None
        if mark is None:
            return None, None, None
        element = Element("span", {"class": mark[1]})
        element.text = text
        if mark[1] == "claim":
            element.set("id", f"claim-{mark[2]}")
            element.text += self.md.htmlStash.store(MARK.format(mark[2]))
        else:
            label = f"({mark[2]})" if mark[2] else "(hunch)"
            SubElement(element, "small").text = f" {label}"
        return element, m.start(0), mark.end(0)


def makeExtension(**kwargs: object) -> ClaimsExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return ClaimsExtension(**kwargs)
