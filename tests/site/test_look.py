"""The look of the site: what a reader meets on paper, on a phone, without a page, or without scripts."""

import re

import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM, ROOT

SOURCES = sorted(
    path
    for path in (ROOT / "docs").rglob("*.md")
    if not {"_kit", "assets", "_theme"} & set(path.relative_to(ROOT / "docs").parts)
)
PAGE = """# A page with a long line of code { #page }

```python exec="on"
words = ["a", "list", "of", "words", "that", "is", "much", "too", "long", "for", "the", "narrow", "screen"]
print(len(words))
```

```python exec="on" source="fold"
folded = "what is folded away"
```

```python exec="on"
first = 1  # (1)
second = 2  # a comment
```

1. The first line.

[Elsewhere](https://example.org/elsewhere), and [here](#page).

| a | b |
|--:|:--|
| 10 | one |
"""


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix()
)
def test_every_heading_has_an_id_of_its_own(path):
    """A link to a heading survives a change of its words: its id is written beside it."""
    source = path.read_text(encoding="utf-8")
    text = re.sub(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", "", source, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} .*$", text, flags=re.MULTILINE)
    assert headings or "\n::: " in f"\n{text}"  # mkdocstrings makes headings from names, and ids
    assert [line for line in headings if not re.search(r"\{ #[a-z0-9-]+ \}$", line)] == []


@pytest.fixture
def lost(site):
    """Return the page for what is not found, of a site that stands in a folder of its host."""
    config = (site.folder / "mkdocs.yml").read_text(encoding="utf-8")
    config = re.sub(
        r"^site_url:.*$", "site_url: https://example.org/books/", config, flags=re.MULTILINE
    )
    nav = "nav:\n  - Start: index.md\n  - Part one:\n      - Second: more/second.md\n"
    (site.folder / "mkdocs.yml").write_text(f"{config}\n{nav}", encoding="utf-8")
    site.write("# What is first? { #first }\n")
    site.write("# What is second? { #second }\n", "more/second.md")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    return BeautifulSoup(site.html("404.html"), "html.parser")


def test_an_address_that_does_not_exist_leads_on(lost):
    """The page for what is not found names every page by its question, and the search."""
    links = {link.get_text(): link["href"] for link in lost.select("article a")}
    assert links == {
        "What is first?": "/books/index.html",
        "What is second?": "/books/more/second.html",
    }
    assert lost.select_one("article h2").get_text() == "Part one"
    assert lost.select_one('article label[for="__search"]')


def test_the_page_for_what_is_not_found_works_at_any_depth(lost):
    """Whatever address was asked for, its styles, scripts and links are found from the root."""
    for element in lost.select("[href], [src]"):
        address = element.get("href") or element.get("src")
        assert address.startswith(("/books/", "#", "https://example.org/books/", "javascript:")), (
            element
        )


def test_a_page_is_called_by_its_question(site):
    """The title of a tab, a bookmark or a search result is the first heading."""
    site.write('# Does it "work"? { #page }\n')
    assert site.build("--strict").returncode == 0
    title = BeautifulSoup(site.html(), "html.parser").title
    assert title.get_text() == "Does it “work”? - refbn"


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="needs Chromium: install it, on Debian with 'apt-get install chromium'",
)


@pytest.fixture
def opened(site, chromium):
    """Return a function that opens the built page in a browser."""
    site.write(PAGE)
    assert site.build("--strict").returncode == 0
    contexts = []

    def open_page(**settings):
        contexts.append(chromium.new_context(**settings))
        page = contexts[-1].new_page()
        page.goto((site.folder / "site/index.html").as_uri())
        page.mouse.move(10, 300)  # whatever waits for the reader comes now
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.browser
@needs_chromium
def test_the_button_to_copy_covers_no_code(opened):
    """On a phone the button is always there, large enough for a finger, and outside the code."""
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    button = page.locator(".run .md-code__button").first
    button.wait_for(state="visible")
    box, code = button.bounding_box(), page.locator(".run pre > code").first.bounding_box()
    assert box["width"] >= 24
    assert box["height"] >= 24
    assert box["y"] + box["height"] <= code["y"] + 0.5
    assert (
        page.locator(".run .md-code__nav").first.evaluate("e => getComputedStyle(e).opacity") == "1"
    )


@pytest.mark.browser
@needs_chromium
def test_a_number_beside_a_line_is_not_copied(opened):
    """A comment `# (1)` is a mark that is seen and read aloud, and that no copy of the code holds."""
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".run", has=page.locator(".note"))
    mark = block.locator(".note")
    assert mark.get_attribute("aria-label") == "note 1"
    assert mark.evaluate("e => getComputedStyle(e, '::after').content") == "counter(note)"
    block.locator("pre").hover()
    block.locator(".md-code__button").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "first = 1\nsecond = 2  # a comment"


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white_and_shows_everything(opened, scheme):
    """In print there is no navigation; the ink is black, the folded is unfolded, code wraps, links say where they lead."""
    page = opened(viewport={"width": 640, "height": 900}, color_scheme=scheme)
    page.emulate_media(media="print", color_scheme=scheme)
    for name in (
        ".md-header",
        ".md-sidebar--primary",
        ".md-footer",
        ".md-code__nav",
        ".headerlink",
    ):
        assert not page.locator(name).first.is_visible(), name
    style = "(e, name) => getComputedStyle(e).getPropertyValue(name)"
    assert page.locator("body").evaluate(style, "background-color") == "rgb(255, 255, 255)"
    assert page.locator("article > p").last.evaluate(style, "color") == "rgb(0, 0, 0)"
    assert page.get_by_text("what is folded away").is_visible()
    wide = page.locator("pre > code").first
    assert wide.evaluate("e => e.scrollWidth <= e.clientWidth")
    after = "e => getComputedStyle(e, '::after').content"
    assert "example.org" in page.locator("article a[href^='https']").evaluate(after)
    assert page.locator("article a[href$='#page']").last.evaluate(after) == "none"


@pytest.mark.browser
@needs_chromium
def test_without_scripts_nothing_needs_them(opened):
    """Without JavaScript there is no button that does nothing, and a wide line scrolls inside its block."""
    page = opened(viewport={"width": 320, "height": 740}, java_script_enabled=False)
    assert page.locator(".md-code__button").count() == 0
    assert page.locator("article table").is_visible()
    box = page.locator("article").bounding_box()
    assert box["x"] + box["width"] <= 320
