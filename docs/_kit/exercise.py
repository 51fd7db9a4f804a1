"""Exercises: code to complete, the check that it must pass, and a solution that is folded away.

    /// exercise | Write a test that notices an epsilon outside the root.
    Text.

    ```python exec="starter"
    def layer(x, eps):
        ...  # your code
    ```

    ```python exec="check"
    assert layer(2, 1) == 3
    ```

    ```python exec="solution"
    def layer(x, eps):
        return x + eps
    ```

    What is to be said about the solution; it is folded away with it.
    ///

First the starter and the check run, and must fail for want of the reader's code; what they did is
undone. Then the solution and the check run in the page, as any other block, and must pass.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown

from _kit.observed import Observations, observe
from _kit.page import Block, Page, PageError, executors, results
from _kit.slashes import (
    Declared,
    Outline,
    Slashes,
    SlashesExtension,
    outline_of,
)

PARTS = ["starter", "check", "solution"]
_EMPTY = re.compile("NoneType|ellipsis")  # what a function without a body, or `...`, gives


class Exercise(Slashes):
    """An exercise."""

    NAME = "exercise"

    @staticmethod
    def check(outline: Outline, block: Declared) -> None:
        """Raise a PageError for an exercise without one of its parts, or with parts in disorder."""
        parts = [fence.executes for fence in block.fences]
        found = [part for part in parts if part in PARTS]
        for part in PARTS:
            if found.count(part) != 1:
                what = f"an exercise must have one block {part}; it has {', '.join(parts)}."
                raise outline.error(block, what, f'Write one ```python exec="{part}".')
        first = parts.index(found[0])
        if parts[first : first + len(PARTS)] != PARTS:
            what = f"the blocks must follow as starter, check, solution; got {', '.join(parts)}."
            raise outline.error(block, what, "Put them into this order, with only text between.")

    def build(self, parent: Element) -> Element:
        """Return the element."""
        return self.headed(parent, "Exercise", "make the check pass.", self.argument)

    def finish(self, element: Element) -> None:
        """Fold away all that stands behind the check."""
        children = list(element)
        check = next(i for i, child in enumerate(children) if self._is_check(child))
        details = SubElement(element, "details", {"class": "solution"})
        SubElement(details, "summary").text = "Solution"
        for child in children[check + 1 :]:
            element.remove(child)
            details.append(child)

    def _is_check(self, child: Element) -> bool:
        return any(html.startswith('<div class="check">') for html in self.stashed(child))


def _starter(md: Markdown, page: Page, block: Block, code: str) -> str:
    """Show the code to complete. It runs with the check."""
    _part(md, page, block, "starter")
    return f'<div class="starter"><p class="label">Start from this:</p>{code}</div>'


def _check(md: Markdown, page: Page, block: Block, code: str) -> str:
    """Show the check, and see that the starter fails it."""
    starter = _part(md, page, block, "starter")
    failure = _failure(page, starter, block)
    note = {"line": starter.line, "starter": failure}
    page.record.setdefault("exercises", []).append(note)
    _ran(page, starter, failure)
    ran = f"Both were run: the starter fails with <code>{failure}</code>, the solution passes."
    label = '<p class="label">The check:</p>'
    return f'<div class="check">{label}{code}<p class="label ran">{ran}</p></div>'


def _solution(md: Markdown, page: Page, block: Block, code: str) -> str:
    """Show the solution, see that it passes the check, and show what both print."""
    check = _part(md, page, block, "check")
    run = page.run(block)
    page.rewriters.append(partial(_observed, page))
    try:
        checked = page.run(check)
    except PageError as error:
        what = f"the solution must pass the check of line {check.line}, but\n{error.message}"
        remedy = "Find out which is wrong, the solution or its check."
        raise PageError(page.where(block), what.partition("\n  To do: ")[0], remedy) from error
    finally:
        page.rewriters.pop()
    _ran(page, check)
    _ran(page, block)
    show = results["text"]
    shown = show(md, page, block, {}, run) + show(md, page, check, {}, checked)
    return f'<div class="run">{code}{shown}</div>'


def _observed(page: Page, block: Block, tree: ast.Module) -> ast.Module:
    """Let the assertions of a check say what they compared, if they fail."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            name = f"__check_{block.number}_{node.lineno}_{node.col_offset}__"
            page.namespace[name] = Observations()
            observe(node, name)
    return ast.fix_missing_locations(tree)


def _ran(page: Page, block: Block, error: str | None = None) -> None:
    """Note that a block was run."""
    page.record.setdefault("blocks", []).append({"line": block.line, "error": error})


def _part(md: Markdown, page: Page, block: Block, part: str) -> Block:
    """Return a part of the exercise that a block stands in.

    Raises:
        PageError: If it stands in none, or checks a claim of the page.
    """
    if page.anchors.get(block.number):
        what = "a block of an exercise cannot hold the check of a claim: it is the reader's."
        raise PageError(page.where(block), what, 'Put the check into a block with exec="on".')
    exercise = outline_of(md).around(block.line)
    if exercise is None or exercise.name != Exercise.NAME:
        what = f'a block with exec="{block.executes}" must stand in an exercise.'
        raise PageError(page.where(block), what, "Put /// exercise | and its title before it.")
    return next(fence for fence in exercise.fences if fence.executes == part)


def _failure(page: Page, starter: Block, check: Block) -> str:
    """Return the name of the exception with which a starter fails its check.

    Raises:
        PageError: If it passes, or fails for another reason than that it is not complete.
    """
    try:
        with _trial(page):
            page.run(starter)
            page.run(check)
    except PageError as error:
        raised = error.__cause__
        if _is_incomplete(raised):
            return type(raised).__name__
        what = f"the starter must fail because it is not complete, but\n{error.message}"
        remedy = "Let it fail with an assertion of the check, or raise NotImplementedError in it."
        where = page.where(starter)
        raise PageError(where, what.partition("\n  To do: ")[0], remedy) from error
    what = f"the starter passes the check of line {check.line}: nothing is left to do."
    raise PageError(page.where(starter), what, "Leave more to the reader, or check more.")


def _is_incomplete(raised: BaseException | None) -> bool:
    """Tell whether an exception is what code gives that waits for more code.

    That is one which speaks of values, or of a missing one. A misspelt name, a wrong number of
    arguments or a warning would be a slip of the author's.
    """
    if isinstance(raised, TypeError | AttributeError):
        return bool(_EMPTY.search(str(raised)))
    kinds = (AssertionError, NotImplementedError, ValueError, ArithmeticError)
    return isinstance(raised, kinds) and not isinstance(raised, UnicodeError)


@contextlib.contextmanager
def _trial(page: Page) -> Iterator[None]:
    """Run blocks of which nothing stays: not their names, nor what they do to the page's objects.

    They run in the page's own namespace, since that is where its functions look up names. Nobody
    is told of their code: a check counts when the solution passes it.
    """
    namespace, rewriters, runs = page.namespace, page.rewriters, dict(page.runs)
    before = dict(namespace)
    namespace.update(_copied(before))
    page.rewriters = []
    try:
        yield
    finally:
        page.namespace, page.rewriters, page.runs = namespace, rewriters, runs
        namespace.clear()
        namespace.update(before)


def _copied(names: dict[str, Any]) -> dict[str, Any]:
    """Return copies of all that can be copied; what cannot stays itself."""
    memo: dict[int, Any] = {id(m): m for m in names.values() if isinstance(m, ModuleType)}
    copies = {}
    for name, value in names.items():
        with contextlib.suppress(Exception):
            copies[name] = copy.deepcopy(value, memo)
    return copies


class ExerciseExtension(SlashesExtension):
    """Makes exercises known, and their three kinds of blocks."""

    KINDS: ClassVar[list[type[Slashes]]] = [Exercise]

    def extendMarkdownBlocks(self, md: Markdown, manager: Any) -> None:  # noqa: N802 (pymdownx's)
        """Register them."""
        super().extendMarkdownBlocks(md, manager)
        executors.update({"starter": _starter, "check": _check, "solution": _solution})


def makeExtension(**kwargs: Any) -> ExerciseExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return ExerciseExtension(**kwargs)
