"""The list of displayed numbers that differ between two built sites."""

import subprocess
import sys
from collections import Counter

import pytest
from building import Site as Source
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from _kit.changes import Site, report
from _kit.differing import difference, numbers
from _kit.shown import read

NONE = "No displayed number changed."


def article(html):
    """Return a page with this content, below a heading."""
    return f'<article><h2 id="part">A part<a class="headerlink" href="#part">#</a></h2>{html}</article>'


def listed(before, after, **options):
    """Return what is listed when the content of a page changes."""
    sites = [Site({"a/page.html": article(html)}, {}, {}) for html in (before, after)]
    return report(*sites, **options)


def lines(before, after):
    """Return the lines of the list."""
    return [line for line in listed(before, after).splitlines() if line.startswith("- ")]


PAGE = """# A page {{ #a-page }}

```python exec="on"
import matplotlib.pyplot as plt
import numpy as np

a = {a}
print("first", a)
```

A sentence says {{{{ 2 * a }}}}.

## Other kinds {{ #others }}

In $x = {{{{ 3 * a }}}}$.

[It is below a bound.]{{claim="below"}}

```python exec="on"
assert a < 100  # claim below: exact
```

```python exec="on" result="markdown"
print(f"| name | value |\\n|---|---|\\n| a row | {{4 * a}} |")
```

```python exec="on" result="figure" id="fig"
fig, ax = plt.subplots()
ax.text(0.5, 0.5, f"{{5 * a}}")
ax.set_xticks([0, 1], [0, f"at {{6 * a}}"])
title, caption, alt = f"Title {{7 * a}}", f"Caption {{8 * a}}.", f"Description {{9 * a}}."
```

```python exec="on" result="slider" id="moving"
def frame(n):
    fig, ax = plt.subplots()
    ax.text(0.5, 0.5, f"frame {{10 * a + n}}")
    return fig, {{"read": f"{{11 * a + n}}"}}

inputs = {{"n": {{"values": [0, 1], "format": lambda n: f"{{12 * a + n}}"}}}}
title, caption, alt = "T", "C.", "A."
```
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return two built sites that differ in one number, of which all others come."""
    folders = []
    for a in (2, 3):
        source = Source(tmp_path_factory.mktemp("changes"))
        source.write(PAGE.format(a=a))
        done = source.build("--strict")
        assert done.returncode == 0, done.stderr
        folders.append(source.folder / "site")
    return folders


@pytest.mark.parametrize(
    "line",
    [
        "[code](index.html#a-page): a = **2 → 3**",
        "[output](index.html#a-page): first **2 → 3**",
        "[sentence](index.html#a-page): A sentence says **4 → 6**.",
        "[sentence](index.html#others): In x=**6 → 9**.",
        "[claim below](index.html#check-below): **2 → 3** &lt; 100",
        "[table](index.html#check-below), a row: value: **8 → 12**",
        "[figure fig-fig](index.html#fig-fig): Title **14 → 21**; Description **18 → 27**.; 0 · at "
        "**12 → 18** · 0.0 · 0.2 · 0.4 · 0.6 · 0.8 · 1.0 · **10 → 15**; "
        "Title **14 → 21**. Caption **16 → 24**.",
        "[slider fig-moving](index.html#fig-moving): … · 0.4 · 0.6 · 0.8 · 1.0 · frame **20 → 30** · "
        "frame **21 → 31** · frame **21 → 31**; **24 → 36** · **25 → 37**; n: **24 → 36**; "
        "n: **25 → 37**",
        "[slider fig-moving](index.html#fig-moving), 36: read: **22 → 33**",
    ],
)
def test_each_kind_of_number_is_listed(built, line):
    """Where it stands, what it was and what it is, for what is computed in any place of a page."""
    assert f"- {line}" in report(*map(Site.of, built)).splitlines()


def test_the_first_line_counts(built):
    """It says how many numbers changed, and on how many pages."""
    assert report(*map(Site.of, built)).startswith("**21 displayed numbers changed on 1 page**.\n")


def test_identical_sites_differ_in_nothing(built):
    """A site beside itself gives one line."""
    assert report(Site.of(built[0]), Site.of(built[0])) == NONE


def test_the_program_prints_the_list(built):
    """It takes the folders of two sites, and may leave out lines, which it counts."""
    command = [sys.executable, "-m", "_kit.changes", *map(str, built)]
    whole = subprocess.run(command, capture_output=True, check=True)
    assert whole.stdout.decode() == report(*map(Site.of, built)) + "\n"
    short = subprocess.run([*command, "--most", "2"], capture_output=True, check=True)
    assert "A sentence" not in short.stdout.decode()
    assert "- … and 1 more here" in short.stdout.decode()
    assert "- … and 16 more here" in short.stdout.decode()


def test_a_folder_without_a_site_is_refused(tmp_path, built):
    """The message names it, and says what to do."""
    command = [sys.executable, "-m", "_kit.changes", str(built[0]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    what = f"A built site must hold index.html; {tmp_path} does not."
    assert done.stderr == f"{what} Build the site, and give its folder.\n"


WORDS = "We drew it with much care"
SAME = {
    "a sentence in other words": (f"<p>{WORDS}, 0.5 wide.</p>", "<p>0.5 is how wide it is.</p>"),
    "a sentence before it": ("<p>It is 0.5 wide.</p>", f"<p>{WORDS}. It is 0.5 wide.</p>"),
    "a paragraph that moved": (
        f"<p>{WORDS}, 0.5 wide.</p><p>One.</p><p>Two.</p>",
        f"<p>One.</p><p>Two.</p><p>{WORDS}, 0.5 wide.</p>",
    ),
    "a section that moved": (
        "<h2 id=a>A</h2><p>So:</p><div class=output>0.5</div><h2 id=b>B</h2><p>And so.</p><p>On.</p><p>And on.</p>",
        "<h2 id=b>B</h2><p>And so.</p><p>On.</p><p>And on.</p><h2 id=a>A</h2><p>So:</p><div class=output>0.5</div>",
    ),
    "a name that holds a digit": ("<p>The type float32 of x2.</p>", "<p>The type int64 of x3.</p>"),
    "the number of a line": (
        "<table><tr><td class=linenos>7</td><td>x</td></tr></table>",
        "<table><tr><td class=linenos>9</td><td>x</td></tr></table>",
    ),
    "the source of the package": (
        "<details class=mkdocstrings-source><pre>a = 1</pre></details>",
        "<details class=mkdocstrings-source><pre>a = 2</pre></details>",
    ),
    "the page of all claims": (
        "<table class=claims><tr><td>1</td></tr></table>",
        "<table class=claims><tr><td>2</td></tr></table>",
    ),
    "columns of a print": (
        "<div class=output><pre>a   1\nb  10</pre></div>",
        "<div class=output><pre>a  1\nb 10</pre></div>",
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_displays_the_same_numbers_is_not_listed(case):
    """Who edits words, or moves them, reads nothing of numbers."""
    assert listed(*SAME[case]) == NONE


CHANGED = {
    "in a sentence that was edited": (
        "<p>It is drawn 0.5 wide.</p>",
        "<p>As was said, it is drawn 0.25 wide.</p>",
        "**0.5 → 0.25**",
    ),
    "the last digit": ("<p>0.123456</p>", "<p>0.123457</p>", "**0.123456 → 0.123457**"),
    "the sign of zero": ("<p>It is 0.0.</p>", "<p>It is −0.0.</p>", "**0.0 → −0.0**."),
    "not a number": ("<p>It is nan.</p>", "<p>It is 1.</p>", "**nan → 1**"),
    "a difference": ("<p>It is n-1.</p>", "<p>It is n-2.</p>", "n-**1 → 2**."),
    "an exponent": ("<p>It is 1e-5.</p>", "<p>It is 1e-4.</p>", "**1e-5 → 1e-4**"),
    "a digit that NumPy left out": (
        "<div class=output><pre>[1. 2.5]</pre></div>",
        "<div class=output><pre>[1.5 2.5]</pre></div>",
        "**1. → 1.5**",
    ),
    "one of two lines that are alike": (
        "<div class=output><pre>a 1\na 1</pre></div>",
        "<div class=output><pre>a 1\na 2</pre></div>",
        "a **1 → 2**",
    ),
    "two outputs that changed places": (
        "<div class=output><pre>1</pre></div><p>Then.</p><div class=output><pre>2</pre></div>",
        "<div class=output><pre>2</pre></div><p>Then.</p><div class=output><pre>1</pre></div>",
        "**1 → 2**",
    ),
    "a power in a formula": (
        "<p><math><mi>x</mi><mo>=</mo><msup><mn>10</mn><mrow><mo>−</mo><mn>6</mn></mrow></msup></math></p>",
        "<p><math><mi>x</mi><mo>=</mo><msup><mn>10</mn><mrow><mo>−</mo><mn>5</mn></mrow></msup></math></p>",
        "x=10^**−6 → −5**",
    ),
    "a factor in a formula": (
        "<p><math><mi>x</mi><mn>2</mn></math></p>",
        "<p><math><mi>x</mi><mn>3</mn></math></p>",
        "x**2 → 3**",
    ),
    "in a cell below two heads": (
        "<table><tr><th rowspan=2>n</th><th colspan=2>size</th></tr><tr><th>1</th><th>2</th></tr>"
        "<tr><th scope=row>7</th><td>0.1</td><td>0.2</td></tr></table>",
        "<table><tr><th rowspan=2>n</th><th colspan=2>size</th></tr><tr><th>1</th><th>2</th></tr>"
        "<tr><th scope=row>7</th><td>0.1</td><td>0.3</td></tr></table>",
        ", 7: 2: **0.2 → 0.3**",
    ),
    "the text for who sees no picture": ("<img alt='up to 1'>", "<img alt='up to 2'>", "**1 → 2**"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_every_character_of_a_number_counts(case):
    """What is displayed counts, not the value, and the words around it say which number it is."""
    before, after, said = CHANGED[case]
    assert any(said in line for line in lines(before, after))
    assert "added" not in listed(before, after)


def test_what_comes_with_its_sentence_is_apart():
    """Numbers without words in common are added and removed, in one short line each."""
    old = "<p>It is 0.5.</p><p>Formerly everybody said that 7 or 8 suffice.</p>"
    new = "<p>It is 0.5.</p><p>Nine tenths, 0.9, take part in this.</p>"
    assert lines(old, new) == [
        "- removed, sentence: **7**, **8**",
        "- added, [sentence](a/page.html#part): **0.9**",
    ]
    assert listed(old, new).startswith(f"{NONE[:-1]}; 1 number added, 2 numbers removed.\n")


def test_a_number_that_was_put_between_others_moves_none():
    """A list that grows in its middle tells of the new number only."""
    old, new = "The widths are 0.1, 0.3, 0.4.", "The widths are 0.1, 0.2, 0.3, 0.4."
    assert lines(f"<p>{old}</p>", f"<p>{new}</p>") == [
        "- added, [sentence](a/page.html#part): **0.2**"
    ]


def test_lines_that_are_alike_are_told_of_one_by_one():
    """What stands twice and changes twice is listed twice."""
    old, new = (f"<div class=output><pre>a {n}\na {n}</pre></div>" for n in (1, 2))
    assert lines(old, new) == ["- [output](a/page.html#part): a **1 → 2**"] * 2


def test_a_few_words_do_not_make_a_number_another():
    """Which number became which is said only where two words beside it stayed."""
    assert lines("<p>It took 5 days.</p>", "<p>She had 7 days off.</p>") == [
        "- removed, sentence: **5**",
        "- added, [sentence](a/page.html#part): **7**",
    ]


def test_a_row_that_was_put_between_others_moves_none():
    """A table that grows in its middle tells of the new row only."""
    rows = [f"<tr><td>{n}</td><td>{n / 8}</td></tr>" for n in range(9)]
    old, new = rows[:4] + rows[5:], rows
    assert lines(f"<table>{''.join(old)}</table>", f"<table>{''.join(new)}</table>") == [
        "- added, [table](a/page.html#part): **4**, **0.5**"
    ]


def figure(path, text):
    """Return a figure."""
    return f'<figure id="f"><svg><path d="{path}"/><text>{text}</text></svg></figure>'


def test_a_drawing_is_told_of_where_no_number_tells():
    """Coordinates are no numbers for a reader; but a figure that looks otherwise is named."""
    assert lines(figure("M0 1", "at 1"), figure("M0 2", "at 1")) == [
        "- [figure f](a/page.html#f): the drawing changed, its texts did not"
    ]
    assert lines(figure("M0 1", "at 1"), figure("M0 2", "at 2")) == [
        "- [figure f](a/page.html#f): at **1 → 2**"
    ]


def test_other_words_of_an_output_are_told_of():
    """What a block prints is a result, also where it holds no number."""
    old, new = (f"<div class=output><pre>{w} it is</pre></div>" for w in ("float32", "float64"))
    assert lines(old, new) == ["- [output](a/page.html#part): other words, from “float64 it is” on"]


def test_what_came_and_went_is_named(tmp_path):
    """Pages, claims and versions are facts of the whole site; the commit is none of them."""
    facts = '<footer class="page-facts"><p>2 blocks ran · numpy {} · source: <code>x</code> at {}</p></footer>'
    claim = '<p><span class="claim" id="claim-{}">It is.</span></p>'
    for name, page, id_, version, commit in (
        ("old", "gone", "was", "2.3.1", "1a"),
        ("new", "come", "is", "2.4.0", "2b"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        home = f"<article>{claim.format(id_)}{facts.format(version, commit)}</article>"
        (folder / "index.html").write_text(home, encoding="utf-8")
        (folder / f"{page}.html").write_text("<article>7</article>", encoding="utf-8")
    assert report(Site.of(tmp_path / "old"), Site.of(tmp_path / "new")).splitlines() == [
        NONE,
        "",
        "- Pages removed: gone.html",
        "- Claims removed: was",
        "- Pages added: [come.html](come.html)",
        "- Claims added: [is](index.html#claim-is)",
        "- Versions: numpy 2.3.1 → 2.4.0",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "`code` and *stars* __x__",
        "x &lt; y &amp;amp; z",
        "[link](to)",
        "<b>1</b> ~~x~~",
        "# \\*",
    ],
)
def test_the_list_shows_every_sign_as_it_is(text):
    """What Markdown or HTML would read as a mark is shown, around the number and in the heading."""
    pages = [f'<h2 id="x">{text}</h2><p>{text} is {n} {text}</p>' for n in (1, 2)]
    html = MarkdownIt("gfm-like", {"linkify": False}).render(listed(*pages))
    shown = [place.text for place in read(html).places]
    plain = read(f"<p>{text}</p>").places[0].text
    assert f"sentence: {plain} is 1 → 2 {plain}" in shown
    assert plain in shown


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["<p>{}</p>", "<div class=output><pre>{}</pre></div>", "<h2 id=b>{}</h2>"]),
        st.lists(st.sampled_from(["it", "is", "wide", "0.5", "-1", "2.", "nan", "."]), min_size=1),
    )
).map(lambda parts: "".join(tag.format(" ".join(words)) for tag, words in parts))


@given(TEXTS, TEXTS)
def test_no_number_is_lost(before, after):
    """The numbers before, less what changed and went, with what came of it, are those after."""
    old, new = read(before).places, read(after).places
    found = difference(old, new)
    left = Counter(token.text for token in numbers(old))
    left.subtract(token.text for token in found.removed)
    left.subtract(one.text for one, _ in found.changed)
    left.update(other.text for _, other in found.changed)
    left.update(token.text for token in found.added)
    assert {text: n for text, n in left.items() if n} == Counter(t.text for t in numbers(new))
