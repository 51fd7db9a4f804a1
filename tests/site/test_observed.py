"""What an assertion compared is noted, and the assertion means what it meant."""

import ast

import numpy as np
import pytest

from _kit.observed import Observations, observe

NAMES = {"np": np, "x": np.array([0.25, -3e-5, 2.0]), "one": np.ones(4), "word": "a" * 60}

# the assertion; what it shows as observed and required
SHOWN = {
    "assert x.sum() < 3": [("2.25", "< 3")],
    "assert 3 > x.sum()": [("2.25", "< 3")],
    "assert x.sum() >= 2.2": [("2.25", "≥ 2.2")],
    "assert 0 < x[0] <= 1": [("0.25", "> 0 and ≤ 1")],
    "assert x.size == 3 and x[0] != 0": [("3", "= 3"), ("0.25", "≠ 0")],
    "assert x[0] + 1e-6 > x[0]": [("0.250001", "> 0.25")],
    "assert x.size < 10_000_000": [("3", "< 1e7")],
    "assert np.all(x < 2.5)": [("2", "< 2.5")],
    "assert np.all(x > [0, -1, 1])": [("0.25", "> 0")],
    "assert all(v < 3 for v in (2, 1, 0))": [("2", "< 3")],
    "assert all(v > 0 for v in (2, 1, 3))": [("1", "> 0")],
    "assert all([v > 0 for v in (2, 1, 3)])": [("1", "> 0")],
    "assert any(v > 2 for v in (2, 1, 3))": [("true", "")],
    "assert np.all(one == 1)": [("4 × 1", "= 1")],
    "assert one.tolist() == [1, 1, 1, 1]": [("[1.0, 1.0, 1.0, 1.0]", "= [1, 1, 1, 1]")],
    "assert word > ''": [("'" + "a" * 38 + "…", "> ''")],
    "assert abs(x[1]) < 1e-04": [("3e-5", "< 0.0001")],
    "assert x.any()": [("true", "")],
    "assert np.isfinite(x).all() or x": [("true", "")],
    "assert np.array_equal(x, x)": [("true", "")],
    "assert np.allclose(x, x + 1e-9, rtol=0, atol=1e-8)": [
        ("difference 1e-9", "≤ rtol 0, atol 1e-8")
    ],
    "np.testing.assert_allclose(x, x * (1 + 1e-9), rtol=1e-8)": [
        ("relative difference 1e-9", "≤ rtol 1e-8")
    ],
    "np.testing.assert_allclose(x, x)": [("relative difference 0", "≤ rtol 1e-7")],
    "assert np.allclose(x, x, 0.5)": [("difference 0", "≤ rtol 0.5, atol 1e-8")],
    "assert all(0 < v < 1 for v in (0.5, 0.99, 0.5))": [("0.99", "> 0 and < 1")],
}

FALSE = [
    "assert x.sum() < 2",
    "assert 0 < x[0] < 0.1",
    "assert 0 > x[0] < 1",
    "assert x.size == 3 and x[0] == 0",
    "assert np.all(x < 2)",
    "assert all(v < 2 for v in (2, 1, 0))",
    "assert any(v > 3 for v in (2, 1, 3))",
    "assert not x.any()",
    "assert np.allclose(x, x + 1, rtol=0, atol=1e-8)",
    "np.testing.assert_allclose(x, x + 1)",
]
EMPTY = ["assert np.all(x[:0] > 5)", "np.testing.assert_allclose(x[:0], 5)"]


def run(source):
    """Run an observed statement; return what was observed."""
    tree, seen = ast.parse(source), Observations()
    observe(tree.body[0], "seen")
    exec(compile(ast.fix_missing_locations(tree), "page", "exec"), {**NAMES, "seen": seen})
    return seen


@pytest.mark.parametrize("source", SHOWN)
def test_both_sides_are_shown_in_a_few_characters(source):
    """Of an array or of many runs it is the one that comes closest to failing."""
    assert run(source).rows() == SHOWN[source]


@pytest.mark.parametrize("source", FALSE)
def test_an_observed_assertion_fails_as_before(source):
    """What is false without being observed is false with it."""
    with pytest.raises(AssertionError):
        exec(source, dict(NAMES))
    with pytest.raises(AssertionError):
        run(source)


@pytest.mark.parametrize("source", EMPTY)
def test_a_comparison_of_nothing_fails(source):
    """It would hold whatever the values should be."""
    with pytest.raises(AssertionError, match="nothing was compared"):
        run(source)


def test_a_failure_tells_what_was_observed():
    """The message is made of what was compared, unless the assertion has one of its own."""
    with pytest.raises(AssertionError, match=r"^observed 2.25, required < 2$"):
        run("assert x.sum() < 2")
    with pytest.raises(AssertionError, match=r"^too large$"):
        run('assert x.sum() < 2, "too large"')


def test_an_assertion_that_never_ran_has_seen_nothing():
    """That is how it is found out."""
    assert not Observations()
    assert run("assert 1 < 2")
