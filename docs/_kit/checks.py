"""The assertions of a block that hold claims: which they are, and why their tolerance is right.

assert y.var() < 1  # claim below-one: rounding of ten operations

# claims below-one, half: with room for a longer reason,
# above the assertion
np.testing.assert_allclose(y.var(), 0.5, rtol=1e-12)
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

ID = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_COMMENT = re.compile(rf"#\s*claims?\s+({ID}(?:\s*,\s*{ID})*)\s*(?::\s*(.+))?$")
_MISSPELT = re.compile(r"#\s*claims?(?:\s*[:=]|\s+\S*[-_]|\s+\S+\s*:)", re.IGNORECASE)
REMEDY = "Write behind an assertion of the page: # claim short-name: reason for the tolerance."


class CheckError(Exception):
    """A check that cannot be read: its line in the block, what is wrong, what to do."""


@dataclass
class Check:
    """An assertion that holds one or more claims."""

    names: list[str]
    line: int  # of the assertion in its block, from 1
    reason: str


def read_checks(code: str) -> Iterator[Check]:
    """Yield the checks in a piece of code.

    Args:
        code: What stands in a block; what Python cannot read holds none, which running it tells.

    Raises:
        CheckError: If a comment names a claim and belongs to no assertion, or names none.
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    assertions = [node for node in ast.walk(tree) if is_assertion(node)]
    for first, last, text, alone in _comments(code):
        found = _COMMENT.match(text)
        if not found:
            if _MISSPELT.match(text):
                raise CheckError(first, f"{text!r} names no claim.", REMEDY)
            continue
        held = [
            node.lineno
            for node in assertions
            if (node.lineno == last + 1 if alone else node.lineno <= last <= (node.end_lineno or 0))
        ]
        if not held:
            what = f"{text!r} must stand behind or above an assert or an assert_allclose."
            raise CheckError(first, what, "Put it behind the assertion that is the check.")
        yield Check(re.split(r"\s*,\s*", found[1]), held[0], found[2] or "")


def is_assertion(node: ast.AST) -> TypeGuard[ast.Assert | ast.Expr]:
    """Return whether a statement can be a check."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func).rpartition(".")[2] == "assert_allclose"
    return isinstance(node, ast.Assert)


def _comments(code: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield first line, last line and text of each comment, and whether it has lines of its own."""
    first, text, previous = 0, "", 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, alone = token.start[0], not token.line[: token.start[1]].strip()
        goes_on = alone and text and line == previous + 1 and not _COMMENT.match(token.string)
        if text and not goes_on:
            yield first, previous, text, True
            text = ""
        if not alone:
            yield line, line, token.string, False
        elif goes_on:
            text += " " + token.string.lstrip("# ")
        else:
            first, text = line, token.string
        previous = line
    if text:
        yield first, previous, text, True
