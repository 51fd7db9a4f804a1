"""A page as the cells of a script or a notebook."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions

from _kit.download.marks import for_students
from _kit.download.source import Fence, Text
from _kit.page import Page, PageError


@dataclass(frozen=True, slots=True)
class Cell:
    """Text or code; code that runs knows its fence."""

    source: str
    is_code: bool = False
    fence: Fence | None = None


def cells(page: Page, pieces: Iterable[Text | Fence]) -> list[Cell]:
    """Return the cells of a page.

    Code that does not run is text. A heading begins a cell, so that notebooks can fold sections.
    The check of an exercise waits for the solution, that all cells can be run in their order; a
    reader who completes the starter leaves the solution out.
    """
    made: list[Cell] = []
    texts: list[str] = []
    check: list[Cell] = []
    for piece in pieces:
        if isinstance(piece, Text):
            texts.append(for_students(piece.text))
        elif piece.runs or piece.block.executes == "starter":
            made += _split("\n\n".join(texts))
            texts = []
            if piece.block.executes == "check":
                check = [_code(page, piece)]
            elif piece.block.executes == "solution":
                made += [_code(page, piece), *check]
            else:
                made.append(_code(page, piece))
        else:
            texts.append(shown(piece))
    return [*made, *_split("\n\n".join(texts))]


LABELS = {
    "starter": "Your turn: uncomment this, complete it, and leave out the solution below.",
    "solution": "The solution",
    "check": "The check",
}


def _code(page: Page, fence: Fence) -> Cell:
    code = runnable(page, fence)
    if fence.block.executes == "starter":
        lines = [f"# {line}".rstrip() for line in (LABELS["starter"], *code.split("\n"))]
        return Cell("\n".join(lines), is_code=True)
    label = f"# {LABELS[fence.block.executes]}\n" if fence.block.executes in LABELS else ""
    return Cell(label + code, is_code=True, fence=fence)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a page needs where it is run: versions of Python, and distributions."""

    python: str
    packages: list[str]


def needs(made: Iterable[Cell], python: str) -> Needs:
    """Return what cells need: all that they import from beyond the standard library."""
    known = packages_distributions()
    nodes = (node for cell in made if cell.is_code for node in ast.walk(ast.parse(cell.source)))
    names = {name.split(".")[0] for node in nodes for name in _imported(node)}
    found = {min(known.get(name, [name])) for name in names - sys.stdlib_module_names}
    return Needs(python, sorted(found))


def fenced(text: str, language: str) -> str:
    """Return a text as a fence of Markdown."""
    marks = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return f"{marks}{language}\n{text}\n{marks}"


def shown(fence: Fence) -> str:
    """Return a fence as Markdown, and say of Python that it does not run."""
    text = fenced(fence.block.code, fence.language)
    return f"Not run:\n\n{text}" if fence.block.options.get("exec") == "off" else text


def last_statement(page: Page, fence: Fence) -> tuple[str, str]:
    """Return what stands before the last statement of a block, and the statement, indented once.

    Raises:
        PageError: If the statement is another one when it is indented.
    """
    lines = fence.block.code.split("\n")
    last = ast.parse(fence.block.code).body[-1]
    first = min([last.lineno, *(node.lineno for node in getattr(last, "decorator_list", []))]) - 1
    before = "".join(line + "\n" for line in lines[:first])
    indented = textwrap.indent("\n".join(lines[first:]), "    ")
    if ast.dump(ast.parse(f"if 1:\n{indented}").body[0].body[0]) != ast.dump(last):  # type: ignore[attr-defined] # the `if`
        raise PageError(
            page.where(fence.block),
            "the statement that must raise is indented in downloads; its string would change.",
            "Give the string of several lines a name, in a statement before it.",
        )
    return before, indented


def is_warning(fence: Fence) -> bool:
    """Return whether the declared error is a warning: it ends nothing unless one says so."""
    return fence.block.options.get("raises", "").endswith("Warning")


def runnable(page: Page, fence: Fence) -> str:
    """Return the code of a block.

    Raises:
        PageError: If it cannot stand behind other code.
    """
    nodes = ast.parse(fence.block.code).body
    if any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in nodes):
        what = "a script can import from __future__ only at its start, not in the midst of a page."
        raise PageError(page.where(fence.block), what, "Do without the import.")
    return fence.block.code


def _split(text: str) -> Iterator[Cell]:
    """Yield text in cells, one for each section; `#` inside a fence begins none."""
    current: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r"`{3,}", line)
        if mark:
            fence = "" if mark[0] == fence else fence or mark[0]
        if not fence and re.match(r"#+ ", line):
            yield from _cell(current)
            current = []
        current.append(line)
    yield from _cell(current)


def _cell(lines: list[str]) -> Iterator[Cell]:
    if text := "\n".join(lines).strip("\n"):
        yield Cell(text)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
