"""Sites to look at: a tiny one for each test, and the real one, built once.

With `--page learn/backward.md` only that page is built, and only the tests run that judge it: those
that have it as a parameter, and those that look at whatever pages there are.
"""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM, ROOT, SIZES, Site, build, note_slips
from playwright.sync_api import sync_playwright
from serving import serving

JUDGES = {"judged", "pages", "sources"}  # the fixtures of tests that look at each page for itself


def pytest_addoption(parser):
    """Let one page be chosen, and the folder of a site that is built already."""
    parser.addoption("--page", help="judge this page only, such as learn/backward.md")
    parser.addoption("--built", help="the folder of the built site; without it, the site is built")


def pytest_configure(config):
    """Register the mark of tests that are about some pages only."""
    about = "about(*beginnings): judges the pages that begin so; without one, no page alone"
    config.addinivalue_line("markers", about)


def pytest_collection_modifyitems(config, items):
    """Leave out what does not judge the page, if one was chosen."""
    if page := config.getoption("page"):
        kept = [item for item in items if judges(item, page)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def judges(item, page):
    """Return whether a test says something of a page alone."""
    about = item.get_closest_marker("about")
    if about and not page.startswith(about.args or ("none at all",)):
        return False
    stem = page.removesuffix(".md")
    names = {stem, page, f"{stem}.html", ROOT / "docs" / page}
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    if any(isinstance(part, str | Path) and part in names for part in parts):
        return True
    return bool(JUDGES & set(item.fixturenames)) and not parts


@pytest.fixture
def site(tmp_path):
    """Return an empty site."""
    return Site(tmp_path)


@pytest.fixture(scope="session")
def chosen(pytestconfig):
    """Return the one page to judge, as --page names it, or nothing."""
    return pytestconfig.getoption("page") or ""


@pytest.fixture(scope="session")
def built_site(pytestconfig, tmp_path_factory, chosen):
    """Return the folder of the real site, built as `make site` or `make preview` builds it."""
    if built := pytestconfig.getoption("built"):
        return Path(built).resolve()
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, "--strict", "--site-dir", str(target), PAGE=chosen)
    if built.returncode:
        pytest.fail(built.stderr, pytrace=False)
    return target


@pytest.fixture(scope="session")
def judged(built_site, chosen):
    """Return the files of the built pages to look at: all of them, or the chosen one."""
    if chosen:
        return [built_site / chosen.replace(".md", ".html")]
    return sorted(built_site.rglob("*.html"))


@pytest.fixture(scope="session")
def pages(built_site, judged):
    """Return the pages to look at, parsed, by their paths."""
    return {
        path.relative_to(built_site).as_posix(): BeautifulSoup(
            path.read_text(encoding="utf-8"), "html.parser"
        )
        for path in judged
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

    def open_page(name, size="desktop", scheme="light", slowdown=1, home=address, **settings):
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
        note_slips(page, home)
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        page.goto(home + name)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
