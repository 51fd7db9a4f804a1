"""Zensical builds the same site from the same files; in what it differs, engines.py lists."""

import copy
import difflib
import fnmatch
import itertools
import os
import posixpath
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM, ROOT, Site, note_slips
from engines import ATTRIBUTES, FILES, PARTS
from test_policy import until_it_answers

ENGINE = [sys.executable, "-m", "_kit.engine"]
whole = pytest.mark.xdist_group("site")  # these share the site that MkDocs builds


def environment(folder):
    """Return the environment in which a folder that has docs/ and refbn/ is built."""
    return os.environ | {
        "PYTHONPATH": f"{folder}:{folder}/docs",
        "NO_MKDOCS_2_WARNING": "1",
        "SOURCE_DATE_EPOCH": "1",
        "GIT_DIR": str(ROOT / ".git"),  # the foot of a page names the commit
        "GIT_WORK_TREE": str(ROOT),
    }


def build(folder):
    """Build the site in a folder with Zensical; return exit code and messages."""
    return subprocess.run(
        [*ENGINE, "build"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="session")
def second_site(tmp_path_factory):
    """Return the folder of the real site, built as `make site ENGINE=zensical` builds it."""
    folder = tmp_path_factory.mktemp("second")
    for name in ("docs", "refbn", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "CITATION.cff", ".lock.txt"):
        shutil.copy(ROOT / name, folder)
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def articles(pages, second_pages):
    """Return the articles of both sites, by their paths, without what one engine alone writes."""
    return [
        {path: _common(page.article) for path, page in site.items()}
        for site in (pages, second_pages)
    ]


def _common(article):
    article = copy.copy(article)
    for element in article.select(", ".join(PARTS)):
        element.decompose()
    for name in ATTRIBUTES:
        for element in article.select(f"[{name}]"):
            del element[name]
    return article


@pytest.fixture
def tiny(tmp_path):
    """Return an empty site whose files are its own: Zensical follows no link to a folder."""
    site = Site(tmp_path)
    (tmp_path / "docs/assets").unlink()
    shutil.copytree(ROOT / "docs/assets", tmp_path / "docs/assets")
    return site


@pytest.fixture(scope="session")
def second_pages(second_site):
    """Return every page that Zensical built, parsed, by its path."""
    return {
        path.relative_to(second_site).as_posix(): BeautifulSoup(
            path.read_text(encoding="utf-8"), "html.parser"
        )
        for path in sorted(second_site.rglob("*.html"))
    }


def _words(element):
    return " ".join(element.get_text(" ").split())


def _target(path, href):
    """Return where a link of a page leads, as seen from the root of the site."""
    if urlsplit(href).scheme or href.startswith("/"):
        return href
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), href))


def _markup(article, _):
    """Return the lines of an article; empty ones are where a theme's template has them."""
    return [line for line in map(str.strip, str(article).splitlines()) if line]


def _text(article, _):
    return list(filter(None, map(str.strip, article.get_text("\n").splitlines())))


def _formulas(article, _):
    return [str(formula) for formula in article.find_all("math")]


def _claims(article, _):
    """Return the claims of a page; on the page of all claims, each with what was observed."""
    rows = [str(row) for row in article.select("table.claims tr")]
    return [f"{claim['id']}: {_words(claim)}" for claim in article.select(".claim")] + rows


def _links(article, path):
    return [_target(path, link["href"]) for link in article.find_all("a", href=True)]


def _navigation(page, path):
    links = page.select(".md-nav--primary a.md-nav__link")
    return [f"{_words(link)}: {_target(path, link['href'])}" for link in links]


def _head(page, _):
    about = page.select('title, meta[name="description"], meta[property^="og:"]')
    return [str(element) for element in about]


def _name(aspect):
    return aspect.__name__.strip("_")


def _compare(first, second, aspect):
    """Compare an aspect of all pages of two sites."""
    assert first.keys() == second.keys()
    found = {path: aspect(page, path) for path, page in first.items()}
    assert sum(map(len, found.values())) > 50  # there is something to compare
    differ = {}
    for path, lines in found.items():
        if lines != (others := aspect(second[path], path)):
            diff = difflib.unified_diff(lines, others, "MkDocs", "Zensical", lineterm="", n=0)
            differ[path] = list(itertools.islice(diff, 12))
    assert differ == {}


@whole
@pytest.mark.parametrize("aspect", [_markup, _text, _formulas, _claims, _links], ids=_name)
def test_every_article_is_the_same(articles, aspect):
    """Zensical's pages say what those of MkDocs say, in the same elements."""
    _compare(*articles, aspect)


@whole
@pytest.mark.parametrize("aspect", [_navigation, _head], ids=_name)
def test_what_is_around_an_article_is_the_same(pages, second_pages, aspect):
    """A page is called and described the same, and leads to the same others."""
    _compare(pages, second_pages, aspect)


@whole
def test_every_other_file_is_the_same_or_listed(built_site, second_site):
    """Downloads, pictures and lists are the same bytes; a file on the list is not."""
    names = {
        path.relative_to(site).as_posix()
        for site in (built_site, second_site)
        for path in site.rglob("*")
        if path.is_file() and path.suffix != ".html"
    }
    differ = {name for name in names if not _same(built_site / name, second_site / name)}
    listed = {p: {name for name in differ if fnmatch.fnmatch(name, p)} for p in FILES}
    assert differ == set().union(*listed.values())
    assert all(listed.values()), "a difference is listed that is none"


def _same(one, other):
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


@whole
@pytest.mark.parametrize("selector", [*PARTS, *(f"[{name}]" for name in ATTRIBUTES)])
def test_what_is_left_out_is_in_one_site_alone(pages, second_pages, selector):
    """Parts and attributes that are not compared do differ."""
    sites = (pages, second_pages)
    counts = [sum(len(page.select(selector)) for page in site.values()) for site in sites]
    assert counts.count(0) == 1


@whole
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_search_works_from_a_disk(chromium, second_site):
    """Zensical's own search finds the page about epsilon, under the policy and without a server."""
    context = chromium.new_context()
    page = context.new_page()
    note_slips(page, "file:")
    page.goto(f"{second_site.as_uri()}/learn/backward.html")
    page.mouse.move(150, 300)
    page.locator(".md-search__button").click()
    page.keyboard.type("epsilon")
    result = page.locator("a[href*='edge-cases/epsilon.html']", has_text="Epsilon has the unit")
    result.click(timeout=60_000)
    page.wait_for_url("**/edge-cases/epsilon.html*")
    assert page.slips == []
    context.close()


SLIPS = {
    "a failing block": (
        '# P {#p}\n\n```python exec="on"\n1 / 0\n```\n',
        "line 4 raised ZeroDivisionError: division by zero",
    ),
    "a false claim": (
        '# P {#p}\n\n[It is 2.]{claim="two"}\n\n```python exec="on"\nx = 1\nassert x == 2  # claim two\n```\n',
        "line 7 raised AssertionError: observed 1, required = 2",
    ),
    "a block that exits": (
        '# P {#p}\n\n```python exec="on"\nimport os\nos._exit(0)\n```\n',
        "line 5 raised SystemExit: 0",
    ),
    "a claim of no page": (
        '# P {#p}\n\n[It is 2.]{settled="nowhere"}\n',
        "no page has the claim 'nowhere', which is to settle a sentence here.",
    ),
    "a link to nowhere": ("# P {#p}\n\n[There](nowhere.md)\n", "page does not exist"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_ends_the_build(tiny, slip):
    """The message is the kit's, without a traceback, and nothing is left to be published."""
    source, message = SLIPS[slip]
    tiny.write(source)
    built = build(tiny.folder)
    assert built.returncode == 1
    assert message in built.stderr
    assert "Traceback" not in built.stderr
    assert not (tiny.folder / "site").exists()


def until_it_refuses(address):
    """Wait until a server is there, which has no page."""
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"{address} must have no page")


def test_what_is_served_follows_the_files(tiny):
    """A slip is waited out; a saved page is built again, with the last step but without the policy."""
    tiny.write(SLIPS["a failing block"][0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [*ENGINE, "serve", place],
        cwd=tiny.folder,
        env=environment(tiny.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_it_refuses(f"http://{place}/")
        tiny.write("# T {#t}\n\nThe first.\n\n<!-- status -->\n")
        first = second = until_it_answers(f"http://{place}/")
        tiny.write("# T {#t}\n\nThe second.\n\n<!-- status -->\n")
        latest = time.monotonic() + 120
        while "The second." not in second and time.monotonic() < latest:
            time.sleep(0.5)
            second = until_it_answers(f"http://{place}/")
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "The first." in first
    assert "The second." in second
    assert "<!-- /status -->" in second
    assert "Content-Security-Policy" not in second
