"""Sites to look at: a tiny one for each test, and the real one, built once."""

import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM, ROOT, SIZES, Site, build, note_slips
from playwright.sync_api import sync_playwright
from serving import serving


@pytest.fixture
def site(tmp_path):
    """Return an empty site."""
    return Site(tmp_path)


@pytest.fixture(scope="session")
def built_site(tmp_path_factory):
    """Return the folder of the real site, built as `make site` builds it."""
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, "--strict", "--site-dir", str(target))
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="session")
def pages(built_site):
    """Return every page of the built site, parsed, by its path."""
    return {
        path.relative_to(built_site).as_posix(): BeautifulSoup(
            path.read_text(encoding="utf-8"), "html.parser"
        )
        for path in sorted(built_site.rglob("*.html"))
    }


@pytest.fixture(scope="session")
def address(built_site):
    """Serve the built site as static hosts do, on a free port of this machine."""
    with serving(built_site) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    """Start Chromium once, without asking anybody for anything."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


# In a page, from its start: by how much what is on the screen moved without being asked to.
SHIFTS = """
  window.shifts = [];
  new PerformanceObserver(list => {
    for (const shift of list.getEntries())
      if (!shift.hadRecentInput)
        window.shifts.push([shift.value, ...shift.sources.map(s => s.node?.className)].join(" "));
  }).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture
def visit(chromium, address):
    """Return a function that opens a page and notes what goes wrong in it."""
    contexts = []

    def open_page(name, size="desktop", scheme="light", slowdown=1, **settings):
        width, height = SIZES[size]
        context = chromium.new_context(
            **{
                "viewport": {"width": width, "height": height},
                "color_scheme": scheme,
                "permissions": ["clipboard-read", "clipboard-write"],
            }
            | settings
        )
        contexts.append(context)
        context.add_init_script(SHIFTS)
        page = context.new_page()
        note_slips(page, address)
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        page.goto(address + name)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
