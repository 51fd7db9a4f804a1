"""Numbers inside sentences: computed at their place, and none of them typed."""

import pytest
from bs4 import BeautifulSoup
from building import Site

START = '```python exec="on"\nimport numpy as np\nx = np.array([0.25, 0.5])\n```\n\n'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return a built page with values in all kinds of places."""
    site = Site(tmp_path_factory.mktemp("values"))
    site.write(
        "# Page { #page }\n\nBefore: {{ 1 + 1 }}.\n\n"
        f"{START}"
        "Here {{ x.sum():.3f }}, small {{ x[0] * 1e-7:.1e }}, large {{ x.size * 1e20:.0e }}, "
        'negative {{ -x[0]:.2f }}, **bold {{ f"{x[1]:.1f}" }}**, code `{{ x }}`, '
        "over {{ x.size\n+ 1 }} lines.\n\n"
        "## At {{ x[1]:.1f }} { #heading }\n\n"
        "In $x = {{ -x[0]:.2f }} + {{ x[1] * 6e-6:.0e }}$.\n\n$$\ny = {{ x[1]:.1f }}\n$$\n\n"
        "| a | b |\n|---|---|\n| {{ x[0]:.2f }} | `x` |\n\n"
        '??? note "What is {{ x[1]:.1f }}?"\n\n    Half.\n\n'
        '```python exec="on"\nx *= 2\n```\n\nNow {{ x[0]:.2f }}.\n\n'
        "Typed {{ definition: 1e-5 }}, {{ version: 2.13.0 }} and {{ cited: 90 % }}.\n"
    )
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    return BeautifulSoup(site.html(), "html.parser").article


def test_a_value_is_written_as_in_an_f_string(page):
    """What stands behind the colon is Python's format; the exponent and the minus are those of books."""
    text = page.get_text()
    assert "Here 0.750, small 2.5e-8, large 2e20, negative −0.25, bold 0.5," in text
    assert "over 3 lines" in " ".join(text.split())


def test_a_value_is_computed_where_it_stands(page):
    """It sees what the blocks above it left, before a later block changes that."""
    text = page.get_text()
    assert "Before: 2." in text
    assert "Now 0.50." in text


def test_values_work_wherever_text_stands(page):
    """Headings, formulas, tables and titles of boxes hold values; code does not."""
    assert page.find(id="heading").get_text().startswith("At 0.5")
    inline, display = page.find_all("math")
    assert inline.get_text() == "x=−0.25+3⋅10−6"
    assert display.get_text() == "y=0.5"
    assert page.find("td").get_text() == "0.25"
    assert page.find("summary").get_text() == "What is 0.5?"
    assert "code {{ x }}" in page.get_text()


def test_a_number_typed_on_purpose_says_what_it_is(page):
    """Definitions, versions and citations stand as they were typed."""
    assert "Typed 1e-5, 2.13.0 and 90 %." in page.get_text()


SLIPS = {
    "a name that does not exist": (
        f"{START}Here {{{{ z }}}}.\n",
        "docs/index.md:6: {{ z }}: it raised NameError: name 'z' is not defined.",
        "A value sees what the blocks above it left",
    ),
    "a name that comes only later": (
        f"Too early: {{{{ x }}}}.\n\n{START}",
        "docs/index.md:1: {{ x }}: it raised NameError",
        "A value sees what the blocks above it left",
    ),
    "no Python": (
        f"{START}Here {{{{ 1 + }}}}.\n",
        "docs/index.md:6: {{ 1 + }}: Python cannot read it",
        "Write it as in the braces of an f-string.",
    ),
    "no spaces": (
        f"{START}Here {{{{x}}}}.\n",
        "docs/index.md:6: {{ holds no value.",
        "Write {{ expression }}, with spaces.",
    ),
    "a misspelt mark": (
        "Here {{ defintion: 1e-5 }}.\n",
        "docs/index.md:1: {{ defintion: 1e-5 }}: it raised",
        "Typed numbers are marked with one of cited, version, definition.",
    ),
    "a number that computes nothing": (
        "Here {{ 0.83 }}.\n",
        "docs/index.md:1: {{ 0.83 }}: it computes nothing.",
        "A typed number is marked with one of cited, version, definition",
    ),
    "a warning": (
        f"{START}Here {{{{ np.log(x[0] * 0) }}}}.\n",
        "docs/index.md:6: {{ np.log(x[0] * 0) }}: it raised RuntimeWarning",
        "may neither warn nor print",
    ),
    "a print": (
        f"{START}Here {{{{ print(1) }}}}.\n",
        "it printed something",
        "may neither warn nor print",
    ),
    "a value in what a block prints": (
        '```python exec="on" result="markdown"\nprint("It is {{ 1 + 1 }}.")\n```\n',
        "a value can only stand in the text of a page; got '{{ 1 + 1 }}'.",
        "Let the block that prints this text print the number.",
    ),
    "a decimal in prose": (
        f"{START}It is `x` and\nabout 0.83.\n",
        "docs/index.md:7: a number in prose, caption or alt text must be computed; '0.83' is typed.",
        "{{ expression:.3f }}",
    ),
    "a power of ten in a table": (
        "| a |\n|---|\n| 1e-5 |\n",
        "docs/index.md:3: a number in prose, caption or alt text must be computed; '1e-5' is typed.",
        "{{ definition: 1e-5 }}",
    ),
    "a percentage": ("Some 99 % of it.\n", "docs/index.md:1: ", "'99 %' is typed."),
    "a number dressed as code": ("It is `0.83`.\n", "docs/index.md:1: ", "'0.83' is typed."),
    "a number in a formula": ("It is $x = 0.83$.\n", "docs/index.md:1: ", "'0.83' is typed."),
    "a number with a unit": ("It is 2.5x faster.\n", "docs/index.md:1: ", "'2.5' is typed."),
    "a number between formulas": (
        "Where $a<b$ it is 0.53, and where $c>d$.\n",
        "docs/index.md:1: ",
        "'0.53' is typed.",
    ),
    "a number among several captions": (
        '```python exec="on" result="figure" id="f"\nimport matplotlib.pyplot as plt\n'
        'fig, ax = plt.subplots()\ntitle, caption, alt = "T", "It is 0.53.", "A"\n```\n',
        "docs/index.md:4: ",
        "'0.53' is typed.",
    ),
    "a number in Markdown that a block prints": (
        '```python exec="on" result="markdown"\nn = 2\nprint(f"It is {n:.2f}, not 3.14.")\n```\n',
        "docs/index.md:3: a number in prose, caption or alt text must be computed; '3.14' is typed.",
        "{expression:.3f} in an f-string",
    ),
    "a number in an alt text": (
        '```python exec="on" result="figure" id="f"\nimport matplotlib.pyplot as plt\n'
        'fig, ax = plt.subplots()\nax.text(0, 0, "1.5")\ntitle = "T"\ncaption = "C."\n'
        'alt = "A line "\nalt += "up to 2.5"\n```\n',
        "docs/index.md:8: a number in prose, caption or alt text must be computed; '2.5' is typed.",
        "{expression:.3f} in an f-string",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_ends_the_build(site, slip):
    """A value that cannot be computed and a number that was typed are named with page and line."""
    page, what, remedy = SLIPS[slip]
    site.write(page)
    said = site.refusal()
    assert what in said
    assert remedy in said


def test_numbers_that_are_no_results_pass(site):
    """Whole numbers, dates, sections, code, links, ids and formats of f-strings are not results."""
    site.write(
        "# Four numbers: 1, 7, 9 and 15 { #v1.5 }\n\n"
        "By Author (2015), with 10,000 samples, `eps=1e-5`, [here](#v1.5), arXiv:1502.03167, $x^2 / 99$.\n\n"
        '```python exec="on" result="markdown"\nprint(f"It is {0.5:.2f} and {7:5.0f}.")\n```\n'
    )
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr


def test_a_page_may_say_that_its_numbers_come_from_elsewhere(site):
    """A page that a program wrote as a whole names that program, and is left alone."""
    site.write("<!-- numbers: written by make bench -->\n\n| time |\n|---|\n| 0.83 |\n")
    assert site.build("--strict").returncode == 0
    site.write("<!-- numbers: -->\n\n| time |\n|---|\n| 0.83 |\n")
    assert site.build("--no-strict").returncode == 1
