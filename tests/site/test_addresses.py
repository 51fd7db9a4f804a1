"""Each version of the site names its own address, which the environment gives, and no other."""

import re
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from building import Site, build

PAGES = ("index", "more/two")
CODE = '\n\n```python exec="on"\nprint(1)\n```\n'


@pytest.fixture(scope="module", params=["/en/latest/", "/en/v1.0/", "/refbn"])
def version(request, tmp_path_factory):
    """Return a site, and the address for which it was built; GitHub Pages gives it without the last slash."""
    site = Site(tmp_path_factory.mktemp("version"))
    site.write(f"# One {{ #one }}{CODE}")
    site.write(f"# Two {{ #two }}{CODE}", "more/two.md")
    home = f"https://example.org{request.param}"
    built = build(site.folder, "--strict", SITE_URL=home)
    assert built.returncode == 0, built.stderr
    return site, f"{home.rstrip('/')}/"


def found(page, selector, attribute):
    """Return an attribute of the only element of a page that a selector finds."""
    (element,) = page.select(selector)
    return element[attribute]


def test_a_page_says_where_it_stands(version):
    """Canonical address, picture, and the entry for a bibliography are those of the version."""
    site, home = version
    for path in PAGES:
        page = BeautifulSoup(site.html(f"{path}.html"), "html.parser")
        address = f"{home}{path}.html"
        assert found(page, 'link[rel="canonical"]', "href") == address
        assert found(page, 'meta[property="og:url"]', "content") == address
        picture = found(page, 'meta[property="og:image"]', "content")
        assert picture == f"{home}assets/social/{path}.png"
        assert f"url = {{{address}}}" in page.select_one(".page-facts pre").get_text()


def test_the_map_lists_the_pages_where_they_stand(version):
    """sitemap.xml names each page once, by its canonical address."""
    site, home = version
    text = site.html("sitemap.xml")
    assert sorted(re.findall(r"<loc>(.*)</loc>", text)) == [f"{home}{path}.html" for path in PAGES]


def test_what_is_not_found_leads_into_the_same_version(version):
    """The page for what is not found, shown at any depth, finds its files from the root of its host."""
    site, home = version
    page = BeautifulSoup(site.html("404.html"), "html.parser")
    folder = urlsplit(home).path
    ways = [link["href"] for link in page.select("[href]")] + [
        s["src"] for s in page.select("script[src]")
    ]
    outside = [way for way in ways if not way.startswith((folder, "#"))]
    assert len(ways) > 5
    assert outside == []
    assert page.select('link[rel="canonical"], meta[property="og:url"]') == []


def test_nothing_names_another_place(version):
    """No file names an address of this host that is not below the version; what leads from file to file is relative."""
    site, home = version
    for path in (site.folder / "site").rglob("*"):
        if path.suffix in {".html", ".xml", ".txt", ".md", ".py", ".ipynb", ".json", ".css"}:
            named = re.findall(r"https://example\.org[^\s\"'<}]*", path.read_text("utf-8"))
            assert [address for address in named if not address.startswith(home)] == [], path
    assert "](more/two.md)" in site.html("llms.txt")


def test_without_an_address_nothing_is_said_of_one(site):
    """A site that may stand anywhere, as on a disk, names no place: no canonical address, no map of addresses."""
    site.write(f"# One {{ #one }}{CODE}")
    built = build(site.folder, "--strict", SITE_URL="")
    assert built.returncode == 0, built.stderr
    page = BeautifulSoup(site.html(), "html.parser")
    assert page.select('link[rel="canonical"], meta[property="og:url"]') == []
    assert "url = " not in page.select_one(".page-facts pre").get_text()
    assert "<loc>" not in site.html("sitemap.xml")
