"""Claims: no sentence without its check, no check without its sentence, and both can be found."""

import pytest
from bs4 import BeautifulSoup
from building import Site

PAGE = """# Page { #page }

**[All is [below](#page) $x$, by `y`.]{claim="below"}** And [two hold.]{claim="two"}

| a |
|---|
| [In a cell.]{claim="cell"} |

It [may well be]{hunch}, or [it was]{cited="Author, 2015"}.

```python exec="on" source="fold"
import numpy as np
y = np.array([0.25, 0.5])
assert y.max() < 1  # claim below: nothing is rounded here
for i in (0, 2, 1):
    assert i <= 2  # claims two, cell
assert np.all(y[:1] < y[1:]) and 0 < y[0] < 1  # claim two: because
```

```python exec="on"
# claim cell: rounding, and
# more
np.testing.assert_allclose(
    y, y + 1e-13, rtol=0, atol=1e-12
)
assert np.array_equal(y, y)  # claim cell
assert 0.1 <= y[0]  # claim cell
assert y.size == 2, "said"  # claim cell
```
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a site with claims on two pages, and the pages that list them."""
    site = Site(tmp_path_factory.mktemp("claims"))
    site.write(PAGE)
    site.write("## Author, 2015 { #author }\n", "reference/bibliography.md")
    site.write("# Status { #s }\n\n<!-- status -->\n", "more/status.md")
    site.write("# Claims { #c }\n\n<!-- claims -->\n", "more/claims.md")
    other = '# Other { #o }\n\n[Yes.]{claim="yes"}\n\n```python exec="on" raises="ValueError"\n'
    site.write(
        other
        + 'assert True  # claim yes\nraise ValueError("no")\n```\n\nA {{ 1 + 1 }}. [Below.]{settled="below"}\n',
        "more/other.md",
    )
    done = site.build("--strict")
    assert done.returncode == 0, done.stderr
    return site


def article(site, page="index.html"):
    """Return the article of a built page."""
    return BeautifulSoup(site.html(page), "html.parser").article


def test_a_mark_leads_from_the_sentence_to_its_check_and_back(built):
    """Behind the sentence stands a link to the block; below the block one to the sentence."""
    page = article(built)
    sentence = page.select_one("strong > span.claim")
    assert sentence.get_text() == "All is below x, by y.✓"
    mark = sentence.select_one("a.claim-mark")
    target = page.find(id=mark["href"].removeprefix("#"))
    assert target.find_parent("details")  # the browser opens it
    back = page.select_one("ul.checks a[href='#claim-below']")
    assert back["href"] == f"#{sentence['id']}"
    assert page.select_one("td > span.claim")["id"] == "claim-cell"
    assert len(page.find_all(id="check-cell")) == 1  # of the first of its two blocks


def test_what_a_check_compared_is_shown(built):
    """Both sides of a comparison are noted, of many runs the worst, with the tolerance."""
    folded, shown = (
        [item.get_text() for item in notes.select("li")]
        for notes in article(built).select("ul.checks")
    )
    assert folded == ["below: 0.5 < 1", "two: 2 ≤ 2; 0.25 < 0.5; 0.25 > 0 and < 1", "cell: 2 ≤ 2"]
    assert shown == [
        "cell: difference 1e-13 ≤ rtol 0, atol 1e-12; true; 0.25 ≥ 0.1; 2 = 2",
    ]


def test_what_is_not_checked_says_so(built):
    """A hunch and a citation carry their label in the text."""
    text = " ".join(article(built).get_text().split())
    assert "It may well be (hunch), or it was (Author, 2015)." in text
    source = article(built).select_one(".cited > small > a")
    assert source["href"] == "reference/bibliography.html#author"


def test_a_sentence_can_rest_on_the_check_of_another_page(built):
    """Its mark leads to that check; it is no claim of its own."""
    sentence = article(built, "more/other.html").select_one(".settled")
    assert sentence.get_text() == "Below.✓"
    assert sentence.a["href"] == "../index.html#check-below"
    assert article(built).find(id="check-below")


def test_a_sentence_cannot_rest_on_a_claim_that_is_not_there(site):
    """The page that leans on it is named, and the nearest claim."""
    site.write(f'[Yes.]{{claim="one"}} [Indeed.]{{settled="on"}}\n{CHECKED}')
    refusal = site.refusal()
    assert "docs/index.md: no page has the claim 'on', which is to settle" in refusal
    assert "Did you mean 'one'?" in refusal


def test_the_page_of_claims_lists_them_all(built):
    """Each claim stands there with its id, its sentence, observed value, bound, reason and page."""
    page = article(built, "more/claims.html")
    rows = {row["id"]: row for row in page.select("tbody tr[id]")}
    assert set(rows) == {"below", "two", "cell", "yes"}
    sentence, observed, required = rows["below"].find_all("td")
    assert sentence.get_text() == "All is below x, by y. below"
    assert sentence.a["href"] == "../index.html#claim-below"
    assert observed.get_text() == "0.5"
    assert required.get_text() == "< 1 (nothing is rounded here)"
    found = [row.find_all("td")[-1].get_text() for row in page.select("tbody tr")]
    assert found[1:4] == ["≤ 2", "< 0.5 (because)", "> 0 and < 1 (because)"]  # of two
    assert found[4:6] == ["≤ 2", "≤ rtol 0, atol 1e-12 (rounding, and more)"]  # of cell
    assert rows["two"].td["rowspan"] == "3"
    opinions = [item.get_text() for item in page.select("h2#not-checked + ul li")]
    assert [a["href"] for a in page.select("h2#not-checked + ul a")] == ["../index.html"] * 2
    assert opinions == ["may well be (hunch; Page)", "it was (Author, 2015; Page)"]


def test_the_status_page_counts_what_ran(built):
    """Blocks, claims, values and declared errors of each page, and their sums."""
    rows = [
        [cell.get_text() for cell in row.find_all("td")]
        for row in article(built, "more/status.html").select("tbody tr")
    ]
    assert rows == [
        ["Page", "2", "3", "0", "0", "0", ""],
        ["Other", "1", "1", "1", "0", "0", "ValueError"],
        ["all", "3", "4", "1", "0", "0", ""],
    ]


CHECKED = '\n```python exec="on"\nassert 1 < 2  # claim one\n```\n'
SLIPS = {
    "a claim without a check": (
        '\nText\n[Yes.]{claim="one"}\n',
        "docs/index.md:3: the claim 'one' has no check.",
        "Write behind an assert of the page: # claim one: and the reason.",
    ),
    "a check without a claim": (
        CHECKED,
        "docs/index.md:3: the check of 'one' belongs to no claim of this page.",
        'To do: Mark its sentence: [Sentence.]{claim="one"}.',
    ),
    "a misspelt id": (
        f'[Yes.]{{claim="ones"}}\n{CHECKED}',
        "docs/index.md:4: the check of 'one' belongs to no claim of this page.",
        "Did you mean 'ones'? If not: mark its sentence: [Sentence.]{claim=\"one\"}.",
    ),
    "a claim that stands twice": (
        f'[Yes.]{{claim="one"}}\n\n[No.]{{claim="one"}}\n{CHECKED}',
        "docs/index.md:3: the claim 'one' stands twice, first in line 1.",
        "Give one of them another id.",
    ),
    "a claim without an id": (
        "[Yes.]{claim}\n",
        "docs/index.md:1: the mark {claim} cannot be read.",
        'Write {claim="short-name"}',
    ),
    "a mark without quotes": (
        f"Text.\n\n[Yes.]{{claim=one}}\n{CHECKED}",
        "docs/index.md:3: the mark {claim=one} cannot be read.",
        'Write {claim="short-name"}',
    ),
    "a mark that is not closed": (
        f'Text.\n\n[Yes.]{{claim="one" More.\n{CHECKED}',
        'docs/index.md:3: the mark {claim="one" More. cannot be read.',
        'Write {claim="short-name"}',
    ),
    "a mark behind a space": (
        f'Text.\n\n[Yes.] {{claim="one"}}\n{CHECKED}',
        'docs/index.md:3: the mark {claim="one"} cannot be read.',
        "It stands right behind the ] of its sentence.",
    ),
    "a claim with a wrong id": (
        '[Yes.]{claim="One of"}\n',
        'docs/index.md:1: the mark {claim="One of"} cannot be read.',
        'Write {claim="short-name"}',
    ),
    "a citation of nobody": (
        "[Yes.]{cited}\n",
        "docs/index.md:1: the mark {cited} cannot be read.",
        'Write {cited="Author, year"}.',
    ),
    "a citation that the bibliography lacks": (
        'Text.\n\n[Yes.]{cited="Author, 2015"}\n',
        "docs/index.md:3: 'Author, 2015' is cited, and is no heading of docs/reference/bibliog",
        "Write into docs/reference/bibliography.md: ### Author, 2015 { #author-2015 }",
    ),
    "a hunch of somebody": (
        '[Yes.]{hunch="mine"}\n',
        'docs/index.md:1: the mark {hunch="mine"} cannot be read.',
        "Write {hunch} alone.",
    ),
    "a sentence settled by nothing": (
        '[Yes.]{settled="Some claim"}\n',
        'docs/index.md:1: the mark {settled="Some claim"} cannot be read.',
        "the id of a claim of another page.",
    ),
    "a misspelt mark": (
        '[Yes.]{cite="Author, 2015"}\n',
        'docs/index.md:1: there is no mark {cite="Author, 2015"}.',
        'Write {cited="Author, year"}.',
    ),
    "a sentence that is not opened": (
        f'Text.\n\nYes.]{{claim="one"}}\n{CHECKED}',
        'docs/index.md:3: no sentence ends with ]{claim="one"}.',
        "Open the sentence with a [",
    ),
    "a claim that does not hold": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\nx = 0.5\nassert x < 0.25  # claim one\n```\n',
        "line 5 raised AssertionError: observed 0.5, required < 0.25\n    assert x < 0.25  # claim one",
        "Find out which is wrong, the page or the code that it describes.",
    ),
    "a check that does not run": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\nif not print:\n    assert 1 < 2  # claim one\n```\n',
        "docs/index.md:5: the check of the claim 'one' did not run.",
        "Let the block reach it",
    ),
    "a check whose failure is declared": (
        '[Yes.]{claim="one"}\n\n```python exec="on" raises="AssertionError"\nassert 2 < 1  # claim one\n```\n',
        "docs/index.md:4: the check of the claim 'one' failed, and its block went on.",
        "Let nothing catch or declare the failure of a check.",
    ),
    "a check whose failure is caught": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\ntry:\n    assert 2 < 1  # claim one\n'
        "except AssertionError:\n    pass\n```\n",
        "docs/index.md:5: the check of the claim 'one' failed, and its block went on.",
        "Let nothing catch or declare the failure of a check.",
    ),
    "a second mark that is not opened": (
        "[Yes.]{hunch} and no.]{hunch}\n",
        "docs/index.md:1: no sentence ends with ]{hunch}.",
        "Open the sentence with a [",
    ),
    "a check behind something else": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\nx = 1  # claim one\n```\n',
        "docs/index.md:4: '# claim one' must stand behind or above an assert or an assert_allclose.",
        "Put it behind the assertion that is the check.",
    ),
    "a check that nobody can see": (
        '[Yes.]{claim="one"}\n\n```python exec="on" source="none"\nassert 1 < 2  # claim one\n```\n',
        "docs/index.md:4: a check must be shown; its block is hidden.",
        'Write source="fold" instead of source="none".',
    ),
    "a check in a block that does not run": (
        '[Yes.]{claim="one"}\n\n```python exec="off"\nassert 1 < 2  # claim one\n```\n',
        "docs/index.md:1: the claim 'one' has no check.",
        "Write behind an assert",
    ),
    "a misspelt check": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\nassert 1 < 2  # claim: one\n```\n',
        "docs/index.md:4: '# claim: one' names no claim.",
        "Write behind an assert",
    ),
    "a claim in what a block prints": (
        '```python exec="on" result="markdown"\nprint(\'[Yes.]{claim="one"}\')\n```\n',
        "only a page can hold",
        "Put it into a page.",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_ends_the_build(site, slip):
    """What is claimed and not checked, or checked and not claimed, is named with page and line."""
    page, what, remedy = SLIPS[slip]
    site.write(page)
    said = site.refusal()
    assert what in said
    assert remedy in said


def test_an_id_stands_for_one_claim_of_the_whole_site(site):
    """Two pages with a claim of the same id have no site."""
    page = f'# Page\n\n[Yes.]{{claim="one"}}\n{CHECKED}'
    site.write(page)
    site.write(f"{page}\nMore.\n", "other.md")
    said = site.refusal()
    assert (
        "an id stands for one claim of the site; 'one' is in docs/index.md and docs/other.md."
        in said
    )
