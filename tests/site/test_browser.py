"""The real site in a real browser: on a desktop and on a phone, in light and in dark."""

import pytest
from building import CHROMIUM, ROOT, SIZES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("site"),
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="needs Chromium: install it, on Debian with 'apt-get install chromium'",
    ),
]
PAGES = sorted(
    path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if not {"_kit", "assets"} & set(path.parts)
)
SMALLEST = {"width": 320, "height": 640}


# In a page: what is wider than the page, and formulas and figures that cannot be seen.
LOOK = """() => {
  const slips = [];
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth)
    slips.push("the page is wider than the screen");
  for (const math of document.querySelectorAll("article math")) {
    const box = math.getBoundingClientRect();
    if (math.checkVisibility() && (box.width < 3 || box.height < 5))
      slips.push("invisible formula: " + math.textContent);
  }
  for (const svg of document.querySelectorAll("figure svg")) {
    const box = svg.getBoundingClientRect();
    if (box.width < 240 || box.height < 80) slips.push("small figure: " + svg.id);
    for (const text of svg.querySelectorAll("text"))
      if (text.getBoundingClientRect().height < 7) slips.push("tiny text: " + text.textContent);
  }
  return slips;
}"""

# In a page: whether the font of the formulas has come.
MATH_FONT = "[...document.fonts].some(f => f.family.includes('refbn Math') && f.status == 'loaded')"

# In a page: the contrast of the text and the lines of its figures against the page, by WCAG.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = colour => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  const against = colour => {
    const [a, b] = [light(colour), page].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const worst = {};
  const note = (kind, colour) => {
    if (colour && !["none", "transparent", "rgba(0, 0, 0, 0)"].includes(colour))
      worst[kind] = Math.min(worst[kind] ?? 99, against(colour));
  };
  for (const p of document.querySelectorAll("article p, article li, article td, figcaption"))
    note("text", getComputedStyle(p).color);
  for (const text of document.querySelectorAll("figure svg text"))
    note("labels", getComputedStyle(text).fill);
  for (const path of document.querySelectorAll("figure svg [stroke^='var(--role']"))
    note("lines", getComputedStyle(path).stroke);
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_on_every_screen(visit, name, size, scheme):
    """No error, no request to another host, nothing is cut off, all is to be seen."""
    page = visit(name, size, scheme)
    page.mouse.move(150, 300)  # whatever waits for the reader comes now
    page.wait_for_load_state("networkidle")
    assert page.evaluate(LOOK) == []
    worst = page.evaluate(CONTRAST)
    assert worst["text"] >= 4.5  # WCAG 2.1 AA for text ..
    assert worst.get("labels", 9) >= 4.5
    assert worst.get("lines", 9) >= 3.0  # .. and for graphics
    page.set_viewport_size({"desktop": {"width": 1920, "height": 1080}, "phone": SMALLEST}[size])
    assert page.evaluate(LOOK) == []
    assert page.slips == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_where_its_fonts_come_too_late(visit, name):
    """A slow connection leaves a page in the fonts of the system, which may run wider."""
    page = visit(name, "phone")
    page.route("**/*.woff2", lambda route: route.abort())
    page.reload()
    assert not page.evaluate(MATH_FONT)
    page.set_viewport_size(SMALLEST)
    assert page.evaluate(LOOK) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_palette_follows_the_system(visit, scheme):
    """Somebody who prefers dark gets dark without asking."""
    page = visit("index.html", scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, background.removeprefix("rgb(").rstrip(")").split(","))) < 3 * 60
    assert dark == (scheme == "dark")


def test_formulas_are_set_in_the_site_s_own_mathematical_font(visit):
    """The font of the formulas is loaded, and its brackets stretch."""
    page = visit("edge-cases/epsilon.html")
    assert page.evaluate("document.fonts.check('1em \"refbn Math\"')")
    assert page.evaluate(MATH_FONT)
    page.set_content(
        page.content().replace(
            "</article>",
            "<math display='block' id='probe'><mrow><mo id='tall'>(</mo><mfrac>"
            "<mfrac><mi>a</mi><mi>b</mi></mfrac><mfrac><mi>c</mi><mi>d</mi></mfrac></mfrac>"
            "<mo>)</mo></mrow></math><math><mo id='small'>(</mo></math></article>",
        )
    )
    heights = [
        page.evaluate(f"document.getElementById('{name}').getBoundingClientRect().height")
        for name in ("tall", "small")
    ]
    assert heights[0] > 2 * heights[1]


def test_a_symbol_in_a_formula_says_what_it_is(visit):
    """The box around a formula has the title of the symbol that is pointed at, and then none."""
    page = visit("learn/backward.html")
    box = page.locator(".formula").first
    for symbol in box.locator("[data-says]").all()[:3]:
        symbol.hover()
        assert box.get_attribute("title") == symbol.get_attribute("data-says")
    page.locator("h1").hover()
    assert box.get_attribute("title") is None
    alone = page.locator(".symbol[title]").first
    before = alone.get_attribute("title")
    alone.hover()
    page.locator("h1").hover()
    assert alone.get_attribute("title") == before
    assert page.slips == []


def test_code_is_copied_without_its_output(visit):
    """The copy button of a block puts its code, and nothing else, on the clipboard."""
    page = visit("index.html")
    page.locator(".run .highlight").first.hover()
    page.locator(
        ".run .highlight button[data-clipboard-target], .run .highlight .md-clipboard"
    ).first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    shown = page.locator(".run .highlight code").first.inner_text()
    assert copied.strip() == shown.strip()
    assert "import refbn" in copied


def search_for_epsilon(page):
    """Type it, and follow what is found, without a slip."""
    page.locator("input.md-search__input").press_sequentially("epsilon", delay=50)
    first = page.locator(".md-search-result__link[href*='epsilon.html']").first
    first.wait_for(state="visible", timeout=30_000)
    first.click()
    page.wait_for_url("**/edge-cases/epsilon.html*")
    assert page.slips == []


def test_search_finds_epsilon(visit):
    """Typing 'epsilon' into the search leads to the page about it."""
    page = visit("index.html")
    search_for_epsilon(page)


def test_the_source_of_a_function_is_readable(visit):
    """The reference shows the source of a function line by line, on a phone too."""
    page = visit("reference/moments.html", "phone")
    source = page.locator("details.mkdocstrings-source").first
    source.locator("summary").click()
    code = source.locator("td.code code")
    lines = code.inner_text().count("\n")
    assert lines > 5
    line_height = code.evaluate("e => parseFloat(getComputedStyle(e).lineHeight)")
    assert code.evaluate("e => e.getBoundingClientRect().height") > 0.8 * lines * line_height


def test_search_finds_the_parts_of_a_dotted_name(visit):
    """Typing 'gradcheck' leads to the page of refbn.gradcheck."""
    page = visit("index.html")
    page.locator("input.md-search__input").press_sequentially("gradcheck", delay=50)
    page.locator(".md-search-result__link[href*='reference/gradcheck.html']").first.wait_for(
        state="attached", timeout=30_000
    )
