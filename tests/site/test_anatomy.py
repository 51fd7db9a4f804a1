"""Every page that explains something is made in the same way, and reads well."""

import posixpath
import re
from statistics import median

import pytest
from bs4 import BeautifulSoup
from building import CONCEPTS, ROOT

from _kit import new
from _kit.anatomy import BELITTLING, PARTS, SENTENCE, WORDS

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.about(*CONCEPTS)]


@pytest.fixture(scope="module")
def concepts(pages):
    """Return the text of each page that explains something, by its name."""
    found = {name: page for name, page in pages.items() if name.startswith(CONCEPTS)}
    assert found
    return {name: page.select_one("article") for name, page in found.items()}


def lacking(name, found):
    """Return what is said of a page, for each part that is not as it must be.

    `found` has for each part whether it is there, and what was found.
    """
    page = name.removesuffix(".html")
    return [PARTS[part].says(page, seen) for part, (holds, seen) in found.items() if not holds]


def opening(article):
    """Return what stands first: the title, a question, and the answer, in bold and checked."""
    answer = article.h1.find_next_sibling()
    title = article.h1.get_text().removesuffix("#")
    bold = " ".join(strong.get_text() for strong in answer.find_all("strong"))
    return {
        "title": (title.endswith("?"), f"it is “{title}”"),
        "answer": (
            answer.name == "p" and bold.split() == answer.get_text().split(),
            f"in bold is “{bold[:60]}”",
        ),
        "checked": (bool(answer.select(".claim-mark")), "it holds none"),
    }


def parts(article):
    """Return which parts are there."""
    text, headings = article.get_text(), [h.find(string=True) for h in article.find_all("h2")]
    kinds = [kind.get_text() for kind in article.select(".question > .kind strong")]
    checks = kinds.count("Check yourself")
    found = {
        "goals": ("You will be able to" in text, "no such words were found"),
        "needs": ("Needs:" in text, "no such word was found"),
        "prediction": (kinds[:1] == ["Predict"], f"the questions are {kinds}"),
        "questions": (checks >= 2, f"there are {checks}"),
        "figure": (bool(article.select("figure svg")), "there is none"),
        "exercise": (bool(article.select(".exercise")), "there is none"),
    }
    for part, words in {
        "turn": "Your turn",
        "sure": "How sure is this?",
        "short": "In short",
    }.items():
        there = any(heading.startswith(words) for heading in headings)
        found[part] = there, f"the sections are {headings}"
    return found


def reading(article):
    """Return how long the page and its sentences are, and whether a word talks down."""
    paragraphs = prose(article)
    words = sum(len(p.split()) for p in paragraphs)
    usual = median([len(s.split()) for s in sentences(paragraphs)] or [0])
    belittling = re.findall(rf"\b({'|'.join(BELITTLING)})\b", " ".join(paragraphs), re.IGNORECASE)
    return {
        "length": (WORDS[0] <= words <= WORDS[1], f"it has {words}"),
        "sentences": (usual <= SENTENCE, f"it has {usual:g}"),
        "belittling": (not belittling, f"it has {belittling}"),
    }


def test_the_answer_comes_first_and_holds_a_claim(concepts):
    """Below the title, which is a question, stands the answer, in bold and checked."""
    assert [slip for name, page in concepts.items() for slip in lacking(name, opening(page))] == []


def test_every_part_of_the_anatomy_is_there(concepts):
    """What one learns and needs, a prediction, questions, exercises, how sure, and the short of it."""
    assert [slip for name, page in concepts.items() for slip in lacking(name, parts(page))] == []


def test_pages_are_short_and_so_are_their_sentences(concepts):
    """Words of a page, and of the median sentence, are within bounds; no word talks down."""
    assert [slip for name, page in concepts.items() for slip in lacking(name, reading(page))] == []


def test_each_page_leads_to_the_next(pages, concepts):
    """The last paragraph leads on to the page that comes next in the navigation."""
    slips = [lacking(name, {"next": leads_on(name, pages[name])}) for name in concepts]
    assert [slip for found in slips for slip in found] == []


def test_nothing_of_the_example_is_left(concepts):
    """A page that `make page` made is all example, or none."""
    sources = {name: ROOT / "docs" / name.replace(".html", ".md") for name in concepts}
    slips = [
        lacking(name, {"example": all_or_nothing(path.read_text(encoding="utf-8"))})
        for name, path in sources.items()
    ]
    assert [slip for found in slips for slip in found] == []


def all_or_nothing(text):
    """Return whether a page has nothing of the example, and what it has; one just made has all."""
    example = {p for p in written(new.read(new.TEMPLATE)) if "new-page" not in p}
    left = [p for p in written(text) if p in example]
    return not left or len(left) == len(example), f"it has “{' '.join(left)[:60]}…”"


def written(text):
    """Return the paragraphs of a source that are prose, and long enough to be nobody else's."""
    return [p for p in text.split("\n\n") if p[0:1].isupper() and len(p) > 40]


def test_what_is_left_of_the_example_is_seen():
    """One paragraph of the example is too much on a page that has others; all of it is not."""
    made = new.filled("a-page", "b.md", "Next: [c](c.md)")
    assert all_or_nothing(made)[0]
    half = "\n\n".join(made.split("\n\n")[:20])
    there, seen = all_or_nothing(half)
    assert not there
    assert seen.startswith("it has “Begin with a question that readers answer")


def leads_on(name, page):
    """Return whether a page leads to the next of the menu, and where it leads."""
    menu = page.select(".md-nav--primary .md-nav__link[href]")
    order = list(dict.fromkeys(address(name, link) for link in menu))
    last = [p for p in page.select("article p") if p.get_text().startswith("Next:")]
    leads = address(name, last[-1].a) if last else "nowhere"
    return leads == order[order.index(name) + 1], f"it leads to {leads}"


BARE = (
    """<article><h1>Details<a>#</a></h1><p>Some <strong>words</strong>, obviously.</p></article>"""
)


def test_a_page_without_a_part_is_told_what_to_do():
    """Of a page that has nothing, each part is demanded, with the place and what to do."""
    article = BeautifulSoup(BARE, "html.parser").article
    found = opening(article) | parts(article) | reading(article)
    said = lacking("learn/a.html", found | {"next": (False, "it leads to nowhere")})
    assert set(PARTS) - set(found) == {"next", "example"}
    assert len(said) == len(PARTS) - 2  # the sentence is short, and nothing of the example is left
    for slip in said:
        assert re.fullmatch(r"docs/learn/a\.md:1: .+; .+\. To do: .+\.", slip)


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
