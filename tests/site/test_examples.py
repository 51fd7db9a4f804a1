"""Examples of how pages are written: the source that is shown is what became of itself."""

import json
import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup
from building import Site, convert, environment

BLOCK = """```python exec="on"
import numpy as np
import matplotlib.pyplot as plt

runs = []
y = np.array([3.0, -3.0])
```
"""

CLAIM = """[The variance is {{ y.var():.1f }}.]{claim="nine"}

```python exec="on" source="fold"
runs.append(1)
assert y.var() == 9  # claim nine: exact
```
"""

QUESTION = """//// question | Predict: what is $x^2$?
Of a *number*.

///// option | Six
```python exec="on"
print(6)
```
/////
///// right | Nine
```python exec="on"
# //// no end of anything
print(9)
```
/////
////
"""

EXERCISE = """//// exercise | Write `double`.
```python exec="starter"
def double(x): ...
```

```python exec="check"
assert double(2) == 4
```

```python exec="solution"
def double(x):
    return 2 * x
print("doubled")
```
////
"""

FIGURE = """```python exec="on" result="figure" id="line" source="none"
fig, ax = plt.subplots()
ax.plot(y)
title, caption, alt = "A line", f"It falls to {y[1]:.0f}.", "A line that falls."
```
"""

TEXT = """- one
- two `{{ y }}` <b>three</b> &amp;

!!! note "Mind"

    > quoted

| a | b |
|---|---|
| 1 | {{ y[0] }} |

////// example | An inner one
*Word*
//////
"""

EXAMPLES = {
    "a claim": CLAIM,
    "a question": QUESTION,
    "an exercise": EXERCISE,
    "a figure": FIGURE,
    "some text": TEXT,
}


def example(title, lines):
    """Return an example, as Markdown."""
    return f"/// example | {title}\n{lines}///\n"


PAGE = "\n".join(["# Page\n", BLOCK, *(example(*given) for given in EXAMPLES.items())])
PAGE += '\n```python exec="on"\nprint(len(runs))\n```\n'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the folder of a built site with one page of examples."""
    site = Site(tmp_path_factory.mktemp("examples"))
    site.write(PAGE)
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    return site


@pytest.fixture(scope="module")
def shown(page):
    """Return the examples of the page by their titles."""
    article = BeautifulSoup(page.html(), "html.parser").select_one("article")
    outer = [e for e in article.select(".example") if not e.find_parent(class_="example")]
    return {e.select_one(".ask").get_text(): e for e in outer}


def source(shown_example):
    """Return what the copy button of an example copies."""
    return shown_example.select_one(":scope > .highlight pre > code").get_text()


def plain(html):
    """Return HTML without what tells how many blocks stand above it."""
    return re.sub(r"(?<=-)\d+|\s+", " ", str(html)).strip()


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_source_in_a_page_of_its_own_becomes_what_stands_below_it(shown, title, tmp_path):
    """Pasted as it was copied, the source gives what the example shows."""
    site = Site(tmp_path)
    site.write(BLOCK + "\n" + source(shown[title]))
    (html,) = convert(site, "docs/index.md")
    alone = BeautifulSoup(html.partition('<script type="application/json"')[0], "html.parser")
    alone.select_one(".run").decompose()
    becomes = BeautifulSoup(shown[title].select_one(".becomes").decode_contents(), "html.parser")
    for tag in [*alone.select(".headerlink, p:empty"), *becomes.select("p:empty")]:
        tag.decompose()
    assert plain(becomes.get_text()) == plain(alone.get_text())
    assert [e.name for e in becomes.find_all(True)] == [e.name for e in alone.find_all(True)]


def test_the_source_is_shown_letter_by_letter_with_a_slash_less(shown):
    """Nothing is computed, taken out or put in; code that looks like slashes is code."""
    assert source(shown["a claim"]) == CLAIM
    less = re.sub(r"^/(?=///)", "", QUESTION, flags=re.MULTILINE)
    assert source(shown["a question"]) == less
    assert "# //// no end of anything\n" in less
    assert source(shown["some text"]).endswith("///// example | An inner one\n*Word*\n/////\n")


def test_what_is_shown_as_source_counts_once(page):
    """Blocks, claims, values, questions and exercises are in the record as often as they ran."""
    found = re.search(r'class="page-record">(.*?)</script>', converted(page), re.DOTALL)
    record = json.loads(found[1])
    assert len(record["blocks"]) == 9  # of an exercise, three
    assert list(record["claims"]) == ["nine"]
    assert record["values"] == ["9.0", "3.0"]
    assert len(record["questions"]) == len(record["exercises"]) == 1


def converted(page):
    """Return the HTML of the page before the last step over the site."""
    return convert(page, "docs/index.md")[0]


def test_the_page_runs_each_example_once(page):
    """A block behind the examples sees what they left."""
    outputs = BeautifulSoup(page.html(), "html.parser").select(".run > .output")
    assert outputs[-1].get_text().strip() == "1"


def test_no_id_stands_twice(page):
    """The source that is shown brings no ids."""
    ids = [e["id"] for e in BeautifulSoup(page.html(), "html.parser").select("[id]")]
    assert len(ids) == len(set(ids))


def test_an_example_is_a_group_with_a_name(shown):
    """A screen reader reads the title as the name, and meets source and result under labels."""
    for title, given in shown.items():
        assert given["role"] == "group"
        assert given.find(id=given["aria-labelledby"]).get_text() == title
        labels = [label.get_text() for label in given.select(":scope > .label")]
        assert labels == ["You write", "It becomes"]


def test_marks_and_values_are_told_apart_from_words(shown):
    """Slashes are keywords; marks and values are strings; Python in a fence is Python."""
    code = shown["a claim"].select_one(":scope > .highlight")
    assert [e.get_text() for e in code.select(".s")] == ["{{ y.var():.1f }}", ']{claim="nine"}']
    assert code.select_one(".k").get_text() == "assert"
    slashes = shown["a question"].select(":scope > .highlight .k")
    assert slashes[0].get_text() == "/// question | Predict: what is $x^2$?"


def test_the_downloads_have_the_source_once_as_text_and_run_it_once(page):
    """A page with examples can be read as Markdown, and run as a script."""
    folder = page.folder / "site"
    text = (folder / "index.md").read_text(encoding="utf-8")
    assert (
        "**Example: a claim**\n\n````markdown\n" + CLAIM + "````\n\nThe variance is 9.0. (checked)"
        in text
    )
    assert text.count("{{ y[0] }}") == 1
    run = subprocess.run(
        [sys.executable, folder / "index.py"],
        env=environment(page.folder) | {"MPLBACKEND": "svg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[:4] == ["6", "9", "doubled", "A line. It falls to -3."]
    assert "# [The variance is {{ y.var():.1f }}.]{claim" in (folder / "index.py").read_text()


# what the author did: the page; place; what it says; what it advises
SLIPS = {
    "an example of nothing": (
        "/// example | Empty\n\n///\n", ":1: example: ",
        "an example must hold lines that become something; it holds none.", "Write between",
    ),
    "an example without a title": (
        "/// example\nText.\n///\n", ":1: example: ", "the block must have a title.", "/// example |",
    ),
    "a block with as many slashes": (
        "/// example | One\n/// question | Which?\n///\n///\n", ":2: question: ",
        "a block in a block must have more slashes; the example of line 1 has 3.", "Write //// question",
    ),
    "an example that is not ended": (
        "/// example | One\nText.\n", ":1: example: ", "the block is never ended.", "Write /// behind it.",
    ),
    "an option in an example alone": (
        "/// example | One\n//// option | A\n////\n///\n", ":2: option: ",
        "the block must stand in a block 'question'; it stands in the example of line 1.", "End the example",
    ),
    "an example in a question": (
        "/// question | Which?\n//// example | One\n////\n///\n", ":2: example: ",
        "the block must not stand in another block; it stands in the question of line 1.", "End",
    ),
    "a question in a question in an example": (
        "/// example | One\n//// question | A?\n///// question | B?\n/////\n////\n///\n", ":3: question: ",
        "the block must not stand in another block; it stands in the question of line 2.", "End",
    ),
    "a claim of an example without its check": (
        '/// example | One\n[It holds.]{claim="one"}\n///\n', ":2: ", "the claim 'one' has no check.", "# claim one",
    ),
    "a typed number in an example": (
        "/// example | One\nIt is 0.25.\n///\n", ":2: ", "'0.25' is typed.", "Compute it",
    ),
    "a failing block of an example": (
        '/// example | One\n```python exec="on"\n1 / 0\n```\n///\n', ":2: block 1 (",
        "line 3 raised ZeroDivisionError", "Mend the code",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what each slip is told."""
    site = Site(tmp_path_factory.mktemp("slips"))
    for number, (text, *_) in enumerate(SLIPS.values()):
        site.write(text, f"{number}.md")
    names = [f"docs/{number}.md" for number in range(len(SLIPS))]
    return dict(zip(SLIPS, convert(site, *names), strict=True))


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_an_example_is_told_with_its_place_and_what_to_do(told, slip):
    """An example is held to what its page is held to, and to having both parts."""
    _, where, what, remedy = SLIPS[slip]
    found, _, to_do = told[slip].partition("\n  To do: ")
    assert f"{list(SLIPS).index(slip)}.md{where}" in found
    assert what in found
    assert remedy in to_do


def test_a_slip_in_an_example_ends_the_build(site):
    """The error reaches the builder in the mode that swallows most."""
    site.write(SLIPS["an example of nothing"][0])
    assert "it holds none." in site.refusal()
