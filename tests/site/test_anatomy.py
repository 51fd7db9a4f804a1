"""Every page that explains something is made in the same way, and reads well."""

import posixpath
import re
from statistics import median

import pytest
from bs4 import BeautifulSoup
from building import CONCEPTS

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.about(*CONCEPTS)]


@pytest.fixture(scope="module")
def concepts(pages):
    """Return the text of each page that explains something, by its name."""
    found = {name: page for name, page in pages.items() if name.startswith(CONCEPTS)}
    assert found
    return {name: page.select_one("article") for name, page in found.items()}


def test_the_answer_comes_first_and_holds_a_claim(concepts):
    """Below the title, which is a question, stands the answer, in bold and checked."""
    for name, article in concepts.items():
        answer = article.h1.find_next_sibling()
        assert article.h1.get_text().removesuffix("#").endswith("?"), name
        assert answer.name == "p", name
        bold = [strong.get_text() for strong in answer.find_all("strong")]
        assert " ".join(bold).split() == answer.get_text().split(), name
        assert answer.select(".claim-mark"), name


def test_every_part_of_the_anatomy_is_there(concepts):
    """What one learns and needs, a prediction, questions, exercises, how sure, and the short of it."""
    for name, article in concepts.items():
        text, headings = article.get_text(), [h.find(string=True) for h in article.find_all("h2")]
        questions = [kind.get_text() for kind in article.select(".question > .kind strong")]
        assert "You will be able to" in text, name
        assert "Needs:" in text, name
        assert questions[0] == "Predict", name
        assert questions.count("Check yourself") >= 2, name
        assert article.select(".exercise"), name
        for part in ("Your turn", "How sure is this?", "In short"):
            assert any(heading.startswith(part) for heading in headings), (name, part)
        assert article.select("figure svg"), name


def test_pages_are_short_and_so_are_their_sentences(concepts):
    """900 to 1,600 words, in sentences of at most fifteen for the median; no word talks down."""
    for name, article in concepts.items():
        paragraphs = prose(article)
        lengths = [len(s.split()) for s in sentences(paragraphs)]
        assert 900 <= sum(len(p.split()) for p in paragraphs) <= 1600, name
        assert median(lengths) <= 15, name
        belittling = r"\b(simply|obviously|trivially|of course|needless to say)\b"
        assert not re.search(belittling, " ".join(paragraphs), re.IGNORECASE), name


def test_each_page_leads_to_the_next(pages, concepts):
    """The last paragraph leads on to the page that comes next in the navigation."""
    for name, article in concepts.items():
        menu = pages[name].select(".md-nav--primary .md-nav__link[href]")
        order = list(dict.fromkeys(address(name, link) for link in menu))
        last = [p for p in article.find_all("p") if p.get_text().startswith("Next:")][-1]
        assert address(name, last.a) == order[order.index(name) + 1], name


def address(name, link):
    """Return the page that a link in a page leads to."""
    href = link["href"].split("#")[0] or posixpath.basename(name)
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), href))


def prose(article):
    """Return the paragraphs of a page that are read, a formula counted as a word."""
    article = BeautifulSoup(str(article), "html.parser")
    for math in article.select("math"):
        math.replace_with("x")
    for other in article.select("pre, table, figure, script, .output, .claim-mark, .page-facts"):
        other.decompose()
    return [" ".join(p.get_text().split()) for p in article.select("p, li")]


def sentences(paragraphs):
    """Split paragraphs into sentences."""
    ends = re.compile(r"(?<=[.?!:])[”’)]?\s+(?=[A-Z“‘(])")
    return [s for p in paragraphs for s in ends.split(p) if len(s.split()) > 1]
