"""What a page loads is what it needs: one style sheet, small fonts."""

import re

import pytest
from bs4 import BeautifulSoup
from building import ROOT
from fontTools.ttLib import TTFont

from _kit import css

ASSETS = ROOT / "docs/assets"
FACES = re.findall(r"@font-face \{(.*?)\}", (ASSETS / "fonts.css").read_text("utf-8"), re.DOTALL)
FILES = [face for face in FACES if "local(" not in face]


def test_a_style_sheet_is_read_and_written_as_it_is():
    """Strings, addresses, nested rules and escapes are left alone; comments and white space go."""
    text = (
        '@charset "utf-8"; /* a; b { */ a:hover > b, .c\\:d { color : red; } '
        '@media print { .e { content: "}/* no */"; background: url(data:x;y) } } '
        "@font-face{src:url('a.woff2')}"
    )
    rules = css.read(text)
    assert [rule.head for rule in rules] == ["a:hover > b, .c\\:d", "@media print", "@font-face"]
    assert '"}/* no */"' in str(rules[1])
    assert "url(data:x;y)" in str(rules[1])
    assert css.read("".join(map(str, rules))) == rules


@pytest.mark.parametrize(
    ("selector", "needs"),
    [
        (".a .b-c", (set(), {"a", "b-c"}, set())),
        ("p.a > li::before", ({"p", "li"}, {"a"}, set())),
        ("[dir=rtl] .a", (set(), {"a"}, {("dir", "rtl")})),
        (".a:not(.b):is(.c, .d:hover)", (set(), {"a"}, set())),
        (".c\\:d", (set(), {"c:d"}, set())),
        ("a[href^='x.y']", ({"a"}, set(), set())),
    ],
)
def test_what_a_selector_asks_for(selector, needs):
    """Classes, elements and values are conditions, but not those inside `:not()` and `:is()`."""
    assert css.asks_for(selector) == needs


def test_a_rule_without_a_match_and_a_property_without_a_reader_go():
    """Of a list of selectors those stay that can match; an empty `@media` goes too."""
    rules = css.read(".a, .b { --x: 1; --y: 2; top: var(--x) } @media print { .b { left: 0 } }")
    kept = list(css.reduce(rules, lambda selector: ".b" not in selector))
    assert "".join(map(str, css.without_unread(kept, ""))) == ".a{--x: 1;top: var(--x)}"


@pytest.mark.parametrize("face", FILES, ids=lambda face: re.search(r"fonts/([^.]*)", face)[1])
def test_a_font_has_the_letters_that_it_is_asked_for(face):
    """`unicode-range` promises nothing that is not in the file; the small ones keep none back."""
    name = re.search(r'url\("(.*?)"\)', face)[1]
    asked = code_points(re.search(r"unicode-range: (.*?);", face)[1])
    there = set(TTFont(ASSETS / name).getBestCmap())
    assert asked <= there, [hex(point) for point in sorted(asked - there)]
    if "full" not in name and "wght" not in name and "Signs" not in face:
        assert asked == there


@pytest.mark.xdist_group("site")
def test_every_page_says_what_it_is_about(judged):
    """Each page has a title and a description of its own, made of whole words of its text."""
    titles, descriptions = [], []
    for path in judged:
        if path.name == "404.html":
            continue
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        titles.append(soup.title.string)
        descriptions.append(soup.find("meta", {"name": "description"})["content"])
        assert 10 <= len(titles[-1]) <= 90, titles[-1]
        assert 40 <= len(descriptions[-1]) <= 160, (path, descriptions[-1])
        assert not re.search(r"[<>\n]|  ", descriptions[-1]), descriptions[-1]
    assert len(set(titles)) == len(titles)
    assert len(set(descriptions)) == len(descriptions)


def code_points(text):
    """Return the code points of a CSS range."""
    points = set()
    for part in text.split(", "):
        first, _, last = part.removeprefix("U+").partition("-")
        points |= set(range(int(first, 16), int(last or first, 16) + 1))
    return points
