"""The site opens and works from a disk, and asks nobody for anything."""

import pytest
from building import CHROMIUM, note_slips
from test_browser import PAGES, search_for_epsilon

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("site"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture
def on_disk(chromium, built_site):
    """Return a function that opens a page from the disk and notes what it asks for."""
    context = chromium.new_context()

    def open_page(name):
        page = context.new_page()
        note_slips(page, "file:")
        page.goto(f"{built_site.as_uri()}/{name}")
        page.mouse.move(150, 300)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    context.close()


@pytest.mark.about  # it tries the theme and the kit
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_a_disk(on_disk, name):
    """Nothing fails, nothing is asked of a host, and its styles are there."""
    page = on_disk(name)
    assert page.slips == []
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith(
        '"Source Serif"'
    )


def test_search_works_from_a_disk(on_disk):
    """Typing 'epsilon' leads to the page about it, without a server."""
    page = on_disk("learn/backward.html")
    search_for_epsilon(page)
