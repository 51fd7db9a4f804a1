"""The site can be used with any eyes and hands, and without scripts."""

import pytest
from bs4 import BeautifulSoup
from building import CHECKERS, CHROMIUM, SIZES, needs
from playwright.sync_api import expect
from test_browser import PAGES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("site"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
AXE = CHECKERS / "axe-core/axe.min.js"

OPEN = "document.querySelectorAll('article details').forEach(details => details.open = true)"
# In a page: what the rules of axe-core find, in a line each.
VIOLATIONS = """async () => (await axe.run({resultTypes: ["violations"]})).violations.flatMap(
  found => found.nodes.map(node => `${found.id}: ${node.target} ${node.html.slice(0, 120)}`))"""


@needs("axe-core")
@pytest.mark.parametrize("name", [*PAGES, "404.html"])
def test_axe_finds_nothing(visit, name):
    """No rule of axe-core is broken, in light and in dark, on a desktop and on a phone."""
    page = visit(name, reduced_motion="reduce")  # no colour on its way to another
    page.mouse.move(150, 300)
    page.wait_for_load_state("networkidle")
    page.evaluate(OPEN)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = {}
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(50)
            found[size, scheme] = page.evaluate(VIOLATIONS)
    assert {where: slips for where, slips in found.items() if slips} == {}


@needs("axe-core")
def test_axe_would_find_something(visit):
    """A picture without a text is found, so the rules do run."""
    page = visit("index.html")
    page.evaluate("document.querySelector('article').append(document.createElement('img'))")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert any(slip.startswith("image-alt") for slip in page.evaluate(VIOLATIONS))


@pytest.mark.about  # it tries the theme and the kit
@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_all_is_there(visit, name):
    """Text, formulas, figures, tables and answers are the same; only controls that need it are not."""
    texts = []
    for scripts in (True, False):
        page = visit(name, java_script_enabled=scripts)
        article = BeautifulSoup(page.content(), "html.parser").article
        for made in article.select(".controls, button, nav, .md-clipboard, noscript"):
            made.decompose()
        texts.append(" ".join(article.get_text(" ").split()))
        assert page.slips == []
    assert texts[1] == texts[0]
    for summary in page.locator("article details > summary:visible").all()[:6]:
        summary.click()
    shown = page.locator("article details[open] > :not(summary, span)")
    assert all(part.is_visible() for part in shown.all()[:6])
    assert page.locator("article .controls:visible").count() == 0


# In a page: what has the focus, and what of its looks tells so.
FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const looks = e => {
    const style = getComputedStyle(e);
    return [style.outlineStyle + style.outlineWidth + style.outlineColor, style.boxShadow,
      style.backgroundColor, style.color, style.textDecorationLine, style.borderColor].join(";");
  };
  const label = element.labels?.[0], near = [element, label, element.parentElement].filter(Boolean);
  const focused = near.map(looks).join("|");
  const seen = near.some(e => { const box = e.getBoundingClientRect();
    return box.width > 3 && box.height > 3 && box.bottom > 0 && box.top < innerHeight; });
  element.blur();
  const blurred = near.map(looks).join("|");
  element.focus({preventScroll: true, focusVisible: true});
  return {what: `${element.localName}.${element.className} ${element.id}`.trim(),
    html: element.outerHTML.slice(0, 150), seen, marked: focused !== blurred};
}"""


@pytest.mark.parametrize(
    "name", ["index.html", "edge-cases/epsilon.html", "reference/moments.html"]
)
def test_all_is_reached_with_the_tab_key_and_shows_it(visit, name):
    """From the skip link to the foot, what has the focus is on the screen and looks like it."""
    page = visit(name)
    kinds, slips = set(), []
    for _ in range(400):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        kinds.add(focused["what"].split()[0])
        if not (focused["seen"] and focused["marked"]):
            slips.append(focused)
    else:
        pytest.fail("the focus never leaves the page")
    assert slips == []
    assert {"a.md-skip", "input.md-search__input"} <= kinds
    assert any(kind.startswith("summary.") for kind in kinds)
    sliders = kinds & {"input.", "input.focus-visible"}
    assert bool(sliders) == (name != "reference/moments.html")


def test_the_skip_link_leads_to_the_text(visit):
    """The first press of Tab shows it, and Enter passes all navigation by."""
    page = visit("learn/backward.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('md-skip')")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('article') !== null")


def test_search_is_opened_and_left_with_the_keyboard(visit):
    """A slash opens it, Escape closes it, and the first result is an arrow away."""
    page = visit("index.html")
    page.keyboard.press("/")
    expect(page.locator(".md-search__input")).to_be_focused()
    page.keyboard.type("epsilon", delay=30)
    page.locator(".md-search-result__link[href*='epsilon.html']").first.wait_for(timeout=30_000)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.matches('.md-search-result__link')")
    page.keyboard.press("Escape")
    expect(page.locator("#__search")).not_to_be_checked()


def test_a_reader_is_not_disturbed_when_the_script_comes(visit):
    """The focus stays where it was, and what was typed into the search is searched."""
    page = visit("index.html")
    held = []

    def hold(route):
        held.append(route)

    page.route("**/bundle.*", hold)
    with page.expect_request("**/bundle.*"):
        page.keyboard.press("Tab")
    tab_to(page, ".md-search__input")
    page.keyboard.type("epsilon")
    held.pop().continue_()
    page.locator(".md-search-result__link[href*='epsilon.html']").first.wait_for(timeout=30_000)
    search = page.locator(".md-search__input")
    expect(search).to_be_focused()
    expect(search).to_have_value("epsilon")


def test_light_and_dark_are_chosen_with_the_keyboard(visit):
    """The button of the palette is reached by Tab, and Enter changes the scheme."""
    page = visit("index.html")
    scheme = "document.body.getAttribute('data-md-color-scheme')"
    before = page.evaluate(scheme)
    tab_to(page, "[data-md-component=palette] *")
    seen = {before}
    for _ in range(3):
        page.keyboard.press("Enter")
        page.keyboard.press("Space")
        page.wait_for_timeout(100)
        seen.add(page.evaluate(scheme))
    assert len(seen) == 2


def tab_to(page, selector):
    """Press Tab until the focus is on what a selector names."""
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not reach {selector}")
