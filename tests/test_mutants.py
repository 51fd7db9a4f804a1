"""The list of the mutants that survive: how it is read, and what it is compared with."""

import pytest
from mutants import FILES, TESTS, compare, described, listed

SOURCE = "def f(a):\n    return max(\n        a, 1\n    )\n"


# Worked example by hand


def test_a_mutant_is_told_by_its_lines():
    """What tells a mutant is the text of the lines that change, not their number."""
    assert described(SOURCE, SOURCE.replace("1", "2")) == "a, 1 → a, 2"
    assert described("\n" + SOURCE, "\n" + SOURCE.replace("1", "2")) == "a, 1 → a, 2"
    other = "def f(a):\n    return None\n"
    assert described(SOURCE, other) == "return max( a, 1 ) → return None"


def test_a_list_and_a_run_are_compared_both_ways(tmp_path):
    """What survives must be listed, and what is listed must survive; other modules do not count."""
    file = tmp_path / "survivors.toml"
    file.write_text(
        "[[axes]]\nwhy = 'same'\nmutants = ['a → b', 'c → d']\n"
        "[[axes]]\nwhy = 'more'\nmutants = ['e → f']\n"
        "[[running]]\nwhy = 'slow'\nmutants = ['g → h']\n",
        encoding="utf-8",
    )
    known = listed(file, ["axes", "blocks"])
    assert known == {("axes", "a → b"), ("axes", "c → d"), ("axes", "e → f")}
    survivors = {("axes", "a → b"), ("axes", "e → f"), ("axes", "x → y")}
    assert compare(survivors, known) == ([("axes", "x → y")], [("axes", "c → d")])
    assert compare(known, known) == ([], [])


# Laws


@pytest.mark.parametrize("module", FILES)
def test_a_survivor_is_a_line_of_its_module(module):
    """Each survivor is listed once, and the line that it changes still stands in its module."""
    source = (TESTS.parent / "refbn" / f"{module}.py").read_text(encoding="utf-8")
    lines = " ".join(line.strip() for line in source.splitlines())
    for _, mutant in listed(TESTS / "survivors.toml", [module]):
        assert mutant.partition(" → ")[0] in lines
