"""One page alone: PAGE converts it, and the others are places that its links lead to."""

import re

import pytest
from building import build

CHOSEN = """# Chosen

See [there](other.md#below), [this place](other.md#place) and [the name][refbn.moments.Moments].

[It is one.]{settled="one"} [It is two.]{claim="two"}

```python exec="on"
import refbn
x = 2
assert x == 2  # claim two: exact
print("chosen ran")
```
"""
OTHER = """---
title: Another name
---

# Other

## Below {{ x }}: [a claim in a heading.]{hunch} { #below }

A paragraph with a place.
{ #place }

[It is one.]{claim="one"}

```python exec="on"
x = 1
assert x == 1  # claim one: exact
open("other ran", "w").close()
```
"""


@pytest.fixture
def two(site):
    """Return a site of a page, another that it leads to, and one of the reference."""
    site.write("# Start\n")
    site.write(CHOSEN, "learn/chosen.md")
    site.write(OTHER.replace(" {{ x }}", ""), "learn/other.md")
    site.write("::: refbn.moments\n", "reference/moments.md")
    return site


def alone(site, name, *flags):
    """Build one page of a site."""
    return build(site.folder, "--strict", *flags, PAGE=name)


def article(site, page):
    """Return what a built page says, but for what is told when a name is pointed at."""
    html = site.html(page)
    article = html[html.index("<article") : html.index("</article>")]
    return re.sub(r'(class="autorefs[^>]*) title="[^"]*"', r"\1", article)


def test_a_page_alone_is_the_page_of_the_whole_site(two):
    """The article is the same, byte by byte, its foot and its downloads too."""
    assert two.build("--strict").returncode == 0
    whole = article(two, "learn/chosen.html")
    scripts = (two.folder / "site/learn/chosen.py").read_bytes()
    built = alone(two, "learn/chosen.md", "--clean")
    assert built.returncode == 0, built.stderr
    assert article(two, "learn/chosen.html") == whole
    assert (two.folder / "site/learn/chosen.py").read_bytes() == scripts


@pytest.mark.parametrize("name", ["learn/chosen.md", "learn/chosen", "docs/learn/chosen.md"])
def test_the_others_run_nothing(two, name):
    """Another page is its places and a word on why; the chosen one is named in any usual way."""
    built = alone(two, name)
    assert built.returncode == 0, built.stderr
    assert not (two.folder / "other ran").exists()
    assert "chosen ran" in two.html("learn/chosen.html")
    assert 'id="below"' in two.html("learn/other.html")
    assert 'id="refbn.moments.Moments"' in two.html("reference/moments.html")
    assert "Only one page is converted here" in two.html("learn/other.html")
    assert not (two.folder / "site/learn/other.py").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("other.md#below", "other.md#above", "does not contain an anchor '#above'"),
        ("other.md#place", "nowhere.md", "'learn/nowhere.md' is not found"),
        ("refbn.moments.Moments]", "refbn.moments.Momenta]", "refbn.moments.Momenta"),
        ('settled="one"', 'settled="won"', "no page has the claim 'won'"),
        ('claim="two"', 'claim="one"', "'one' is in docs/learn/"),
    ],
)
def test_what_leads_into_nothing_is_found_as_in_the_whole_site(two, right, wrong, told):
    """Links, names and claims of the other pages are looked up as if these were there."""
    text = CHOSEN.replace(right, wrong)
    two.write(
        text.replace("claim two", f"claim {wrong[7:-1]}") if "claim=" in wrong else text,
        "learn/chosen.md",
    )
    built = alone(two, "learn/chosen.md")
    assert built.returncode == 1
    assert told in built.stdout + built.stderr


def test_a_page_that_does_not_exist_is_refused_with_the_one_that_is_meant(two):
    """The message names the page that was asked for, and the nearest that there is."""
    built = alone(two, "learn/chosne.md")
    assert built.returncode == 1
    assert "PAGE must name a page below docs/; got 'learn/chosne.md'." in built.stderr
    assert "Did you mean 'learn/chosen.md'?" in built.stderr
    assert "Traceback" not in built.stderr


def test_what_another_page_settles_leads_to_the_place_of_its_check(two):
    """The mark behind a settled sentence leads to an id that the stub of the other page has."""
    assert alone(two, "learn/chosen.md").returncode == 0
    assert "other.html#check-one" in two.html("learn/chosen.html")
    assert two.html("learn/other.html").count('id="check-one"') == 1
