"""The lint for typed numbers: what a page measures must not be typed in.

A decimal, a power of ten or a percentage in the prose, in a caption, an alt text or in Markdown
that a block prints was typed by somebody, and nobody would notice once it is wrong. Numbers come
from the page's own run (see values.py), or say what they are. A page whose numbers come from
elsewhere as a whole says so in a comment: `<!-- numbers: written by make bench -->`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from _kit.page import Block, Page, PageError, page_of
from _kit.prose import CODE, FIELD, blank

CAPTIONS = {"title", "caption", "alt"}

NUMBER = re.compile(
    r"(?<![^\W_])(?<![.,\-/])[-−+]?"
    r"(?:\d+(?:\.\d+)+(?:e[-+]?\d+)?|\.\d+(?!\w)"  # with its unit: 2.5x, 1.5ms
    r"|\d+e[-+]?\d+(?!\w)|\d[\d.,]*[ \u00a0]?(?:\\?%|per ?cent\b))"
)
_ELSEWHERE = re.compile(r"<!-- numbers: \S.* -->")
_NO_TEXT = re.compile(
    r"<!--.*?-->|</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>|<https?:[^>\s]*>"  # HTML
    r"|\]\([^)\s]*\)|\]\[[\w.]*\]|\barXiv:\d+\.\d+"  # where links lead, and the name of a paper
    r'|\{[^{}\n]*="[^"\n]*"[^{}\n]*\}|\{\s*[#.][^{}\n]*\}',  # attributes
    re.DOTALL,
)
REMEDY = (
    "Compute it: {{ expression:.3f }} in a sentence, {expression:.3f} in an f-string. "
    "Typed on purpose, it says what it is: {{ cited: 0.2 }}, {{ version: 2.0 }}, "
    "{{ definition: 1e-5 }}."
)


class TypedExtension(Extension):
    """Lets no page pass that types its results."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Look at the prose when the page opens, and at each block before it runs."""
        md.preprocessors.register(_Lint(md), "typed", 998)


class _Lint(Preprocessor):
    """Looks for typed numbers."""

    def run(self, lines: list[str]) -> list[str]:
        page = page_of(self.md)
        if page.is_file and not _ELSEWHERE.search(page.prose):
            if number := NUMBER.search(_plain(page.prose)):
                raise _typed(f"{page.name}:{page.line_of(number.start())}", number[0])
            page.rewriters.append(lambda block, tree: _look(page, block, tree))
        return lines


def _plain(prose: str) -> str:
    """Return the words of a page alone; a code span that holds a bare number is one of them."""

    def put_out(code: re.Match[str]) -> str:
        return code[0] if NUMBER.fullmatch(code[0].strip("` ")) else re.sub(r"[^\n]", " ", code[0])

    return CODE.sub(put_out, blank(_NO_TEXT, blank(FIELD, prose)))


def _look(page: Page, block: Block, tree: ast.Module) -> ast.Module:
    """Look at the words that a block writes for the page; return it as it is."""
    for line, words in _words(block, tree):
        if number := NUMBER.search(words):
            raise _typed(f"{page.name}:{line}", number[0])
    return tree


def _words(block: Block, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts in a block that readers will see as prose."""
    kind = block.options.get("result")
    if kind == "markdown":
        yield from _constants(tree)
    elif kind:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = (n for target in targets for n in ast.walk(target))
                if any(isinstance(n, ast.Name) and n.id in CAPTIONS for n in names):
                    yield from _constants(node.value or node)


def _constants(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of the words in code, but not how f-strings write their numbers."""
    formats = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.format_spec
        for part in ast.walk(node.format_spec)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in formats:
            yield from [(node.lineno, node.value)] if isinstance(node.value, str) else []


def _typed(where: str, number: str) -> PageError:
    what = f"a number in prose, caption or alt text must be computed; {number.strip()!r} is typed."
    return PageError(where, what, REMEDY)


def makeExtension(**kwargs: object) -> TypedExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return TypedExtension(**kwargs)
