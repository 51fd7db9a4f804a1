"""Formulas become MathML when the site is built, or the build ends."""

import shutil

import pytest

# what the author wrote; where the message points; what it says; what it advises
SLIPS = {
    "an unknown command": (
        "# T\n\nText $\\sigmma$.\n",
        "docs/index.md:3: formula '\\sigmma'",
        'LaTeX cannot be read at character 1: Unknown command "\\sigmma".\n',
        "Mend the formula",
    ),
    "an unbalanced brace": (
        "# T\n\n$$\n\\frac{1}{2\n$$\n",
        "docs/index.md:3: formula '\\frac{1}{2'",
        "LaTeX cannot be read at character 10: Expected closing",
        "Mend the formula",
    ),
    "a formula that other pages and other places show": (
        "# T\n\nThe formula `$\\foo$`.\n\n```text\n$\\foo$\n```\n\nHere is $\\foo$.\n",
        "docs/index.md:9: formula '\\foo'",
        "LaTeX cannot be read at character 1: ",
        "Mend the formula",
    ),
    "a formula over two lines": (
        "# T\n\nText.\n\n$$\na +\n\\foo + b\n$$\n",
        "docs/index.md:5: formula 'a + \\foo + b'",
        "LaTeX cannot be read at character 5: ",
        "Mend the formula",
    ),
    "a comment": ("50 $b % a$\n", "docs/index.md:1: formula", "% begins a comment", "Write \\%."),
    "a formula that is never closed, above a value": (
        "# T\n\n$$\nx = 1\n\nIt is {{ 1 + 1 }}.\n\n$$\ny = {{ 1 + 1 }}\n$$\n",
        "docs/index.md:3: ",
        "the formula that $$ opens is not closed.",
        "Write $$ behind the formula, and no empty line in it.",
    ),
    "an empty formula": ("# T\n\n$$ $$\n", "docs/index.md:3", "it is empty", "Write it"),
    "a lone dollar": (
        "# T\n\nIt costs 5 $ or so.\n",
        "docs/index.md:3: there is a dollar that encloses no formula",
        "'It costs 5 $ or so.'",
        "Write \\$ for a plain dollar",
    ),
    "a lone dollar behind a mark": (
        "# T\n\nIt **costs** 5 $ or so.\n",
        "docs/index.md:3: there is a dollar",
        "'5 $ or so.'",
        "Write \\$ for a plain dollar",
    ),
    "a display formula inside a paragraph": (
        "# T\n\nText before\n$$x$$\nand after.\n",
        "docs/index.md:3: there is a dollar that encloses no formula",
        "Text before",
        "put $$ .. $$ in a paragraph of its own",
    ),
    "a wrong formula that a block prints": (
        '# T\n\n```python exec="on" result="markdown"\nprint("$\\\\frac{1}$")\n```\n',
        "formula '\\frac{1}'",
        "LaTeX cannot be read at character 8: ",
        "Mend the formula",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_wrong_formula_ends_the_build(site, slip):
    """A formula that cannot be read, or is none, ends the build with its place and remedy."""
    text, where, what, remedy = SLIPS[slip]
    site.write("# Another\n\n````text\n$\\foo$ and 5 $ or so.\n````\n", "another.md")
    site.write(text)
    said = site.refusal()
    found, _, to_do = said.partition("  To do: ")
    assert where in found
    assert what in found
    assert remedy in to_do


@pytest.mark.parametrize(
    ("docstring", "what", "remedy"),
    [
        ('r"""Return $\\frac{1}$."""', "LaTeX cannot be read", "Mend the formula"),
        ('"""Return $\\beta$."""', "it holds a control character", "Make the docstring raw"),
    ],
)
def test_a_wrong_formula_in_a_docstring_ends_the_build(site, docstring, what, remedy):
    """A formula of the API reference is held to the same rules, and found in its source."""
    package = site.folder / "refbn"
    original = package.resolve()
    package.unlink()
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "running.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef wrong():\n    {docstring}\n")
    site.write("::: refbn.running.wrong\n")
    said = site.refusal()
    assert what in said
    assert remedy in said
    if "control" not in what:  # Python has already turned the backslash into something else
        assert "refbn/running.py:" in said


def test_every_formula_is_published_as_mathml(site):
    """Inline and display formulas, in text, tables, lists and boxes, each become one element."""
    site.write(
        "# T\n\nText $a$, \\$5 and `$HOME`.\n\n$$\na < b\n$$\n\n- item $c$\n\n| h |\n|---|\n| $d$ |\n\n"
        "!!! note\n\n    $$\n    \\begin{aligned} k &= j \\\\ g &= h \\end{aligned}\n    $$\n"
    )
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    html = site.html()
    assert html.count("<math") == html.count("</math>") == 5
    assert html.count('display="block"') == 2
    assert "$5 and <code>$HOME</code>" in html
    assert "<mo>&lt;</mo>" in html


def test_what_latex_escapes_is_no_slip(site):
    """An escaped per cent sign, and less and greater in a sentence, are set as they are."""
    site.write("# T\n\nText $n\\%$ and $a<b>c$.\n")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    assert "%" in site.html()
    assert "<mo>&lt;</mo>" in site.html()


def test_what_follows_a_formula_stays_what_it_is(site):
    """An escape, an entity or HTML directly behind a formula is not taken apart."""
    site.write("# T\n\n$w$\\$5, $x$<sub>2</sub>, $n$\\*, $y$&nbsp;c\n")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    html = site.html()
    for part in ("</span>$5,", "</span><sub>2</sub>", "</span>*,", "</span>&nbsp;c"):
        assert part in html
    assert "wzxhzdk" not in html


def test_a_full_stop_stays_with_the_formula_before_it(site):
    """Punctuation after an inline formula cannot go to the next line alone."""
    site.write("# T\n\nText ($x$), $y$-axis and $z$.\n")
    assert site.build("--strict").returncode == 0
    html = site.html()
    assert "</math>),</span>" in html
    assert "</math>-</span>axis" in html
    assert "</math>.</span>" in html
