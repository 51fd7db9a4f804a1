"""A strict Content-Security-Policy: in every page, with no exception, and it holds in a browser."""

import base64
import hashlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM


@pytest.fixture(scope="module")
def pages(built_site, judged):
    """Return the text of every page by its path."""
    return {
        path.relative_to(built_site).as_posix(): path.read_text(encoding="utf-8") for path in judged
    }


@pytest.mark.xdist_group("site")
def test_every_page_states_the_policy_before_it_loads_anything(pages):
    """It stands right after the character set; nothing unsafe and no other host is allowed."""
    for name, html in pages.items():
        head = BeautifulSoup(html, "html.parser").head.find_all(True, recursive=False)
        assert head[0].get("charset") == "utf-8", name
        assert head[1].get("http-equiv") == "Content-Security-Policy", name
        policy = head[1]["content"]
        assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-"), name
        assert "; style-src 'self'; " in policy, name
        assert not re.search(r"unsafe|https?:|\*", policy), name


@pytest.mark.xdist_group("site")
def test_exactly_the_inline_scripts_of_a_page_are_allowed(pages):
    """Each digest is that of a script that is there, and each script has one."""
    for name, html in pages.items():
        soup = BeautifulSoup(html, "html.parser")
        scripts = [s.string for s in soup.find_all("script", src=False) if not s.get("type")]
        digests = {
            base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            for script in scripts
        }
        assert set(re.findall(r"'sha256-([^']*)'", html)) == digests, name


@pytest.mark.xdist_group("site")
def test_no_style_and_no_script_stands_in_an_attribute(pages):
    """What a policy would switch off is not there to begin with."""
    for name, html in pages.items():
        for element in BeautifulSoup(html, "html.parser").find_all(True):
            assert element.name != "style", name
            assert not [key for key in element.attrs if key == "style" or key[:2] == "on"], element
            assert not str(element.get("href", "")).startswith("javascript:"), element


@pytest.mark.parametrize(
    "slip",
    [
        '<p onclick="alert(1)">text</p>',
        '<a href=" javascript:alert(1)">text</a>',
        "<style>p { color: red }</style>",
    ],
)
def test_what_the_policy_would_break_ends_the_build(site, slip):
    """A handler, a script in a link or a style in a page is refused, with the page and a remedy."""
    site.write(f"# T\n\n{slip}\n")
    said = site.refusal()
    assert "docs/index.md: the site's policy allows no style and no script" in said
    assert "To do: Use a class" in said


def test_a_style_in_an_attribute_becomes_a_class(site):
    """The alignment of a column stays, as a rule of the site's one style sheet."""
    site.write("# T\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    soup = BeautifulSoup(site.html(), "html.parser")
    name = soup.find("td", string="1")["class"][0]
    (sheet,) = soup.find_all("link", rel="stylesheet")
    css = (site.folder / "site" / sheet["href"]).read_text(encoding="utf-8")
    assert f".{name}{{text-align: right !important}}" in css


@pytest.mark.browser
@pytest.mark.xdist_group("site")
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_what_gets_into_a_page_does_not_run(visit):
    """A script, a handler or a style put into the open page has no effect, and is reported."""
    page = visit("index.html")
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = 'script'";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend",
        `<p id="probe" style="color: rgb(1, 2, 3)" onclick="window.ran = 'handler'">text</p>`);
      document.getElementById("probe").click();
    }""")
    assert page.evaluate("window.ran") is None
    colour = "getComputedStyle(document.getElementById('probe')).color"
    assert page.evaluate(colour) != "rgb(1, 2, 3)"
    assert len(page.slips) == 3


def test_while_writing_the_page_reloads_itself(site):
    """`mkdocs serve` puts a script of its own into a page; so there the policy is left out."""
    site.write("# T\n\ntext\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "PYTHONPATH": f"{site.folder}:{site.folder}/docs",
        "NO_MKDOCS_2_WARNING": "1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "mkdocs", "serve", "--livereload", "--dev-addr", place],
        cwd=site.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        html = until_it_answers(f"http://{place}/")
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "livereload(" in html
    assert "Content-Security-Policy" not in html


def until_it_answers(address):
    """Return a page of a server that is starting."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310
                return answer.read().decode()
        except OSError:
            time.sleep(0.5)
    return pytest.fail(f"{address} never answered")
