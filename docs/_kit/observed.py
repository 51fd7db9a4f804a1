"""What an assertion compared: the observed value, and what was required of it.

`observe` rewrites `assert abs(y.mean()) < 1e-12` so that it also notes both sides as it runs. Its
meaning stays as it is. An assertion that runs many times keeps its worst run.
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_SIGNS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("≤", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: ("≥", operator.ge),
    ast.Eq: ("=", operator.eq),
    ast.NotEq: ("≠", operator.ne),
}
_OPERATORS = dict(_SIGNS.values())
_MIRRORED = {"<": ">", "≤": "≥", ">": "<", "≥": "≤", "=": "=", "≠": "≠"}
_CLOSE = {"allclose", "assert_allclose"}

Row = tuple[str, str]


class Observations:
    """What one assertion of a page compared, row by row."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[str, tuple[float, Row]] = {}
        self.failed = False

    def __bool__(self) -> bool:
        """Return whether the assertion ran."""
        return bool(self._seen)

    def rows(self) -> list[Row]:
        """Return what was observed and what was required, each in a few characters."""
        return [row for _, row in self._seen.values()]

    def __str__(self) -> str:
        """Return as the message of an assertion that failed what it compared, if it did."""
        return "; ".join(f"observed {o}, required {r}" for o, r in self.rows() if r)

    def _note(self, key: str, badness: float, row: Row) -> None:
        if key not in self._seen or not badness < self._seen[key][0]:
            self._seen[key] = badness, row

    def _refuse_nothing(self, sides: tuple[Any, ...]) -> None:
        """Let a comparison of no values fail: it would hold whatever they should be."""
        if any(isinstance(side, np.ndarray) and not side.size for side in sides):
            self.failed = True
            raise AssertionError("nothing was compared: an array is empty")

    def held(self, value: Any) -> Any:
        """Note whether the assertion holds, and return what it tests."""
        self.failed = self.failed or not value
        return value

    def truth(self, key: str, value: Any) -> Any:
        """Note the truth of a value, and return it."""
        self._note(key, -float(bool(value)), (str(bool(value)).lower(), ""))
        return value

    def compare(self, key: str, signs: str, *sides: Any) -> Any:
        """Note a comparison, and return what it says.

        Args:
            key: The comparison as it stands in the page.
            signs: Its signs, one character each.
            *sides: What stands before, between and behind them.
        """
        self._refuse_nothing(sides)
        badness, row = _row(signs, list(sides))
        self._note(key, badness, row)
        result = _OPERATORS[signs[0]](sides[0], sides[1])
        for sign, left, right in zip(signs[1:], sides[1:-1], sides[2:], strict=True):
            result = result and _OPERATORS[sign](left, right)
        return result

    def close(self, key: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Note by how much two arrays differ, and return what NumPy says about it."""
        actual, desired = (np.asarray(side, dtype=np.float64) for side in args[:2])
        self._refuse_nothing((actual, desired))
        gap = np.abs(actual - desired)
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        rtol, atol = bound.arguments["rtol"], bound.arguments["atol"]
        relative = not atol and bool(np.all(desired))
        worst = float(np.max(gap / np.abs(desired) if relative else gap, initial=0.0))
        limits = [
            f"{n} {_text(v)}" for n, v in (("rtol", rtol), ("atol", atol)) if v or n in kwargs
        ]
        kind = "relative difference" if relative else "difference"
        self._note(key, worst, (f"{kind} {_text(worst)}", f"≤ {', '.join(limits) or 0}"))
        try:
            return function(*args, **kwargs)
        except AssertionError:
            self.failed = True
            raise


def observe(statement: ast.Assert | ast.Expr, name: str) -> None:
    """Let an assertion note what it compares.

    Args:
        statement: An assert, or a call of `assert_allclose`; it is changed.
        name: Of the observations, in the namespace in which the statement will run.
    """
    if isinstance(statement, ast.Expr):
        statement.value = _noted(statement.value, name)
    else:
        statement.test = _call(name, "held", _noted(statement.test, name))
        said = ast.Call(ast.Name("str", ast.Load()), [ast.Name(name, ast.Load())], [])
        statement.msg = statement.msg or said


def _noted(test: ast.expr, name: str) -> ast.expr:
    """Return an expression that notes what it compares and has the same value."""
    key = ast.Constant(ast.unparse(test))
    called = ast.unparse(test.func).rpartition(".")[2] if isinstance(test, ast.Call) else ""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        test.values = [_noted(value, name) for value in test.values]
        return test
    if isinstance(test, ast.Compare) and all(type(op) in _SIGNS for op in test.ops):
        signs = "".join(_SIGNS[type(op)][0] for op in test.ops)
        sides = [test.left, *test.comparators]
        if len(signs) == 1 and isinstance(test.left, ast.Constant):  # 0 < x observes x
            signs, sides = _MIRRORED[signs], sides[::-1]
        return _call(name, "compare", key, ast.Constant(signs), *sides)
    if isinstance(test, ast.Call) and called == "all" and len(test.args) == 1:
        inner = test.args[0]
        if isinstance(inner, ast.GeneratorExp | ast.ListComp):
            inner.elt = _noted(inner.elt, name)
        else:
            test.args = [_noted(inner, name)]
        return test
    if isinstance(test, ast.Call) and called in _CLOSE:
        call = _call(name, "close", key, test.func, *test.args)
        call.keywords = test.keywords
        return call
    return _call(name, "truth", key, test)


def _call(name: str, method: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(name, ast.Load()), method, ast.Load()), list(args), [])


def _row(signs: str, sides: list[Any]) -> tuple[float, Row]:
    """Return how close a comparison is to failing (the greater, the closer), and how to show it."""
    if len(signs) == 2:  # noqa: PLR2004 (low < value < high)
        low, value, high = (_text(side) for side in sides)
        ends = (_MIRRORED[signs[0]], sides[1::-1]), (signs[1], sides[1:])
        badness = max(_row(sign, end)[0] for sign, end in ends)
        return badness, (value, f"{_MIRRORED[signs[0]]} {low} and {signs[1]} {high}")
    if len(signs) > 2 or signs in "=≠":  # noqa: PLR2004
        required = [f"{s} {_text(v)}" for s, v in zip(signs, sides[1:], strict=True)]
        return 0.0, (_text(sides[0]), " ".join(required))
    try:
        left, right = np.broadcast_arrays(*(np.asarray(s, dtype=np.float64) for s in sides))
        gaps = (left - right) * (1 if signs in "<≤" else -1)
        worst = np.unravel_index(np.argmax(gaps), gaps.shape)
        near, far = float(left[worst]), float(right[worst])
        digits = next((d for d in range(3, 17) if f"{near:.{d}g}" != f"{far:.{d}g}"), 3)
        return float(gaps[worst]), (_text(near, digits), f"{signs} {_text(far, digits)}")
    except (TypeError, ValueError):
        return 0.0, (_text(sides[0]), f"{signs} {_text(sides[1])}")


def _text(value: Any, digits: int = 3) -> str:
    """Return a value in a few characters."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        return re.sub(r"e([+-]?)0*(\d)", r"e\1\2", f"{float(value):.{digits}g}").replace("e+", "e")
    if isinstance(value, np.ndarray) and value.size == 1:
        return _text(value.item())
    if isinstance(value, np.ndarray):
        same = value.size and np.all(value == value.flat[0])
        return f"{value.size} × {_text(value.flat[0])}" if same else f"{value.size} values"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"  # noqa: PLR2004 (a line of a phone)
