"""Figures stand inside the page, follow its colours, and say what they show."""

import re

import pytest
from bs4 import BeautifulSoup

BLOCK = """```python exec="on" result="figure" id="{name}" source="none"
import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot([0, 1, 2], [0, 1, 4], "C0", label="batch")
ax.fill_between([0, 1, 2], [0, 1, 4], color="C3", alpha=0.2)
ax.semilogy()
ax.legend()
title = "A parabola"
caption = f"It ends at **{{4}}**, $x^2$."
alt = "A curve from 0 to 4 <b>."
```
"""

SLIPS = {
    "no id": (' id="f"', "", "a figure must have an id."),
    "no alternative text": (
        "alt =",
        "unused =",
        "a figure block must leave 'alt', a str; got None.",
    ),
    "no caption": (
        "caption =",
        "unused =",
        "a figure block must leave 'caption', a str; got None.",
    ),
    "no figure": ("fig, ax", "fugue, ax", "a figure block must leave 'fig', a Figure; got None."),
    "a print": ("ax.legend()", "print('x')", "a figure block must not print; got 'x\\n'."),
    "a number for a title": ('title = "A parabola"', "title = 3", "'title', a str; got 3."),
    "an id that is none": ('id="f"', 'id="f g"', "the id 'f g' is taken or is none."),
    "pixels": (
        "ax.semilogy()",
        "ax.imshow([[1, 2], [3, 4]])",
        "a figure must be drawn in lines and areas; it holds pixels.",
    ),
    "a warning while it is drawn": (
        "ax.legend()",
        'ax.set_title("\u65e5\u672c")',
        "the block cannot be shown: UserWarning(",
    ),
    "a failing assertion while it is drawn": (
        "ax.semilogy()",
        "from matplotlib.ticker import FuncFormatter\n"
        "def tick(value, _):\n    assert value == -1\n    return ''\n"
        "ax.yaxis.set_major_formatter(FuncFormatter(tick))",
        "the block cannot be shown: AssertionError(",
    ),
    "a link in its caption": (
        "$x^2$",
        "[a page](other.md)",
        "Markdown that a block makes cannot link to a page; it links to 'other.md'.",
    ),
    "a foreign colour": (
        '"C0"',
        '"tomato"',
        "a figure must keep to the colours of the site; it uses #ff6347.",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_an_incomplete_figure_ends_the_build(site, slip):
    """A figure without text, or with colours that the dark cannot change, ends the build."""
    old, new, what = SLIPS[slip]
    page = BLOCK.format(name="f")
    assert old in page
    site.write(page.replace(old, new))
    said = site.refusal()
    assert "docs/index.md:1: block 1 (" in said
    assert what in said


def test_no_figure_inherits_the_words_of_the_one_before(site):
    """A second figure that forgets its caption does not get the first one's."""
    site.write(BLOCK.format(name="f") + "\n" + BLOCK.format(name="g").replace("caption =", "_ ="))
    built = site.build("--no-strict")
    assert built.returncode == 1
    assert "block 2 (" in built.stderr
    assert "got 'It ends at **4**, $x^2$.', which is from an earlier block." in built.stderr


def test_no_figure_takes_words_that_another_block_left(site):
    """The words of a figure are set in its own block."""
    words = "```python exec=\"on\"\ncaption = 'of something else'\n```\n\n"
    site.write(words + BLOCK.format(name="g").replace("caption =", "_ ="))
    built = site.build("--no-strict")
    assert built.returncode == 1
    assert "a figure block must leave 'caption'" in built.stderr


def test_no_two_figures_have_one_id(site):
    """The second figure of the same id ends the build."""
    site.write(BLOCK.format(name="f") + "\n" + BLOCK.format(name="f"))
    built = site.build("--no-strict")
    assert built.returncode == 1
    assert "the id 'f' is taken or is none." in built.stderr


def test_greys_stay_apart(site):
    """A light grey and a dark one are mixed from text and page in different shares."""
    site.write(BLOCK.format(name="f").replace('"C0"', '"0.2"').replace('"C3"', '"0.8"'))
    assert site.build("--strict").returncode == 0
    svg = str(BeautifulSoup(site.html(), "html.parser").find("figure").svg)
    assert 'stroke="color-mix(in srgb, currentColor 80%, var(--md-default-bg-color))"' in svg
    assert 'fill="color-mix(in srgb, currentColor 20%, var(--md-default-bg-color))"' in svg


def test_two_figures_stand_in_one_page_without_clashes(site):
    """Ids are unique, references lead to ids of the same figure, and every text is there."""
    site.write(BLOCK.format(name="one") + "\n" + BLOCK.format(name="two"))
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    html = site.html()
    page = BeautifulSoup(html, "html.parser")
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    for figure in page.find_all("figure"):
        svg, own = figure.svg, {element["id"] for element in figure.find_all(id=True)}
        references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', str(svg))
        assert references
        assert {a or b for a, b in references} <= own
        assert set(svg["aria-labelledby"].split()) <= own
        assert svg.title.text == "A parabola"
        assert svg.desc.text == "A curve from 0 to 4 <b>."
        assert figure.figcaption.get_text().startswith("A parabola. It ends at 4,")
        assert figure.figcaption.find("math")


def test_one_path_sets_the_marks_of_a_line(site):
    """Its corners are where the marks are; a mark alone has a path too, if it looks the same."""
    dots = 'ax.plot([0, 1, 2], [1, 2, 4], "o", color="C3")\nax.plot(1, 3, "o", color="C3")\nalt ='
    site.write(BLOCK.format(name="f").replace("alt =", dots))
    assert site.build("--strict").returncode == 0
    svg = BeautifulSoup(site.html(), "html.parser").find("figure").svg
    marker = svg.find("marker")
    look = marker.path.attrs
    assert look["fill"].startswith("var(--role-")
    assert look["fill"] == look["stroke"]
    lines = svg.find_all("path", {"marker-start": f"url(#{marker['id']})"})
    corners = [re.findall(r"[ML]([\d.]+) ([\d.]+)", line["d"]) for line in lines]
    assert [len(line) for line in corners] == [3, 1]
    (left, mid, right), [alone] = [[tuple(map(float, c)) for c in line] for line in corners]
    assert left[0] < mid[0] == alone[0] < right[0]
    assert left[1] > mid[1] > alone[1] > right[1]
    ends = [{key for key in line.attrs if key.startswith("marker")} for line in lines]
    assert ends == [{"marker-start", "marker-mid", "marker-end"}, {"marker-start"}]
    assert f"#{marker['id']}" not in {use["href"] for use in svg.find_all("use")}


def test_marks_that_look_unlike_are_not_made_one(site):
    """Dots of two colours keep them, each at its place."""
    dots = 'ax.scatter(range(1, 41), range(1, 41), c=["C1", "C3"] * 20, clip_on=False)\nalt ='
    site.write(BLOCK.format(name="f").replace("alt =", dots))
    assert site.build("--strict").returncode == 0
    svg = BeautifulSoup(site.html(), "html.parser").find("figure").svg
    uses = [use for use in svg.find_all("use") if use.get("fill", "").startswith("var(--role-")]
    assert len(uses) == 40
    assert [use["fill"] for use in uses] == [uses[0]["fill"], uses[1]["fill"]] * 20
    assert uses[0]["fill"] != uses[1]["fill"]
    assert svg.find("path", id=uses[0]["href"].removeprefix("#"))


def test_a_figure_has_no_style_of_its_own(site):
    """Colours are roles or the text's, faces are the page's, and nothing is written inline."""
    site.write(BLOCK.format(name="f"))
    assert site.build("--strict").returncode == 0
    svg = str(BeautifulSoup(site.html(), "html.parser").find("figure").svg)
    assert "style=" not in svg
    assert "<style" not in svg
    assert "font-family" not in svg
    assert 'stroke="var(--role-batch)"' in svg
    assert 'fill="var(--role-parameter)"' in svg
    assert not re.findall(r"#[0-9a-f]{6}", svg)


def test_a_figure_is_drawn_to_two_decimals(site):
    """No number in a drawing has more than two decimals, and no id stands there for nothing."""
    site.write(BLOCK.format(name="f"))
    assert site.build("--strict").returncode == 0
    svg = BeautifulSoup(site.html(), "html.parser").find("figure").svg
    values = [value for e in svg.find_all(True) for value in e.attrs.values()]
    assert any(re.search(r"\.\d\d", value) for value in values)
    assert not [value for value in values if re.search(r"\.\d\d\d", value)]
    named = {e["id"] for e in svg.find_all(id=True)} - {"fig-f-title", "fig-f-alt"}
    assert named == set(re.findall(r"#([\w-]+)", str(svg)))
