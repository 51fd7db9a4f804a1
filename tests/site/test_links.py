"""Every link of the built site leads somewhere: to a file of the site and to an id in it."""

import json
import re
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.xdist_group("site")

HERE = "https://this.site/"  # stands for wherever the site will be served
ADDRESSES = ("href", "src", "action", "formaction", "poster", "data", "cite", "xlink:href")
ARIA = [
    "activedescendant",
    "controls",
    "describedby",
    "details",
    "errormessage",
    "flowto",
    "labelledby",
    "owns",
]
NAMES = {"for", "form", "list", "headers", "popovertarget", *(f"aria-{name}" for name in ARIA)}
MARKUP = (".html", ".svg")
IN_STYLE = re.compile(r"url\(\s*['\"]?(.*?)['\"]?\s*\)")


def addresses(page):
    """Yield every address in a page or a picture, and every id that an attribute names."""
    for element in page.find_all(True):
        for name, value in element.attrs.items():
            text = " ".join(value) if isinstance(value, list) else value
            if name in ADDRESSES:
                yield text
            elif name in {"srcset", "imagesrcset"}:
                yield from (candidate.split()[0] for candidate in text.split(","))
            elif name in NAMES and element.name != "mo":  # a sign's form is no id
                yield from (f"#{word}" for word in text.split())
            else:
                yield from IN_STYLE.findall(text)
        if element.name == "style":
            yield from IN_STYLE.findall(element.get_text())


class Ids(dict):
    """The ids in each file of a site, read when they are asked for."""

    def __init__(self, folder):
        """Take the folder of the site."""
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        """Read a file."""
        found = parsed(self.folder / name).find_all(id=True) if name.endswith(MARKUP) else ()
        self[name] = {element["id"] for element in found}
        return self[name]


def parsed(path):
    """Return a page or a picture, parsed."""
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def slip(folder, ids, path, address):
    """Return what is wrong with an address in a file, or nothing."""
    url = urlsplit(urljoin(HERE + path, address))
    if url.scheme == "data":
        return None
    if f"{url.scheme}://{url.netloc}/" != HERE:
        outside = re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[!-~]*)?", url.geturl())
        return None if outside else "is no address on the web"
    target = unquote(url.path).lstrip("/")
    if not (folder / target).is_file():  # a folder will not do: from a disk it shows no page
        return "leads to no file"
    if url.fragment and unquote(url.fragment) not in ids[target]:
        return "names an id that is not there"
    return None


def dead_links(folder):
    """Return every address in the files of a site that leads nowhere, with its file and reason."""
    marked_up = [path for path in sorted(folder.rglob("*")) if path.name.endswith(MARKUP)]
    found = list(links_in(folder, marked_up))
    for path in sorted(folder.rglob("*.css")):
        text = path.read_text("utf-8")
        found += [(path.relative_to(folder).as_posix(), a) for a in IN_STYLE.findall(text)]
    for path in folder.rglob("search_index.json"):  # what the search offers are links too
        found += [
            ("search", doc["location"] or "index.html")
            for doc in json.loads(path.read_text("utf-8"))["docs"]
        ]
    return dead(folder, found)


def links_in(folder, paths):
    """Yield every address in some pages and pictures of a site, with its file."""
    for path in paths:
        for address in addresses(parsed(path)):
            yield path.relative_to(folder).as_posix(), address


def dead(folder, links):
    """Return the links that lead nowhere, with the reason."""
    ids = Ids(folder)
    return sorted({(*link, why) for link in links if (why := slip(folder, ids, *link))})


def test_every_link_leads_somewhere(built_site):
    """Every address in pages, pictures, styles and search exists, and outside links are https."""
    assert dead_links(built_site) == []


def test_every_link_of_a_page_leads_somewhere(built_site, judged):
    """Every address in a page exists, on this page or another."""
    assert dead(built_site, links_in(built_site, judged)) == []


DEAD = {
    '<a href="gone.html">a</a>': "leads to no file",
    '<a href="sub/">a</a>': "leads to no file",
    '<a href="sub/b.html#no">a</a>': "names an id that is not there",
    '<a href="#no">a</a>': "names an id that is not there",
    '<a href="a.css#no">a</a>': "names an id that is not there",
    '<img src="no.png" alt="">': "leads to no file",
    '<img src="mark.svg" srcset="mark.svg 1x, no.png 2x" alt="">': "leads to no file",
    '<svg><use href="#no"/></svg>': "names an id that is not there",
    '<svg><use href="mark.svg#no"/></svg>': "names an id that is not there",
    '<svg><path clip-path="url(#no)"/></svg>': "names an id that is not there",
    '<label for="no">a</label>': "names an id that is not there",
    '<p role="note" aria-labelledby="yes no">a</p>': "names an id that is not there",
    '<p style="background: url(no.png)">a</p>': "leads to no file",
    "<style>p { background: url('no.png') }</style>": "leads to no file",
    '<a href="http://example.org/">a</a>': "is no address on the web",
    '<a href="https://exa mple.org/">a</a>': "is no address on the web",
    '<a href="javascript:void(0)">a</a>': "is no address on the web",
}
WHOLE = """<h1 id="yes">a</h1><a href="">a</a><a href="#">a</a><a href="#yes">a</a>
<a href="/sub/b.html#%C3%A9">a</a><a href="index.html?q=1#yes">a</a><img src="mark.svg" alt="">
<svg><use href="mark.svg#hat"/></svg><math><mo form="prefix">-</mo></math><p role="note" aria-labelledby="yes">a</p>
<a href="https://example.org/a_(b)?c=d#e">a</a><img src="data:image/png;base64,AA==" alt="">"""


@pytest.fixture
def small_site(tmp_path):
    """Return a folder with a whole site of two pages, a picture, and a style."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(WHOLE, encoding="utf-8")
    (tmp_path / "sub/b.html").write_text('<p id="é">b</p>', encoding="utf-8")
    (tmp_path / "mark.svg").write_text('<svg><path id="hat"/></svg>', encoding="utf-8")
    (tmp_path / "a.css").write_text("p { background: url(mark.svg) }", encoding="utf-8")
    return tmp_path


def test_a_whole_site_has_no_dead_link(small_site):
    """Nothing that leads somewhere is taken for dead."""
    assert dead_links(small_site) == []


@pytest.mark.parametrize("html", DEAD)
def test_a_dead_link_is_found(small_site, html):
    """Each kind of link that leads nowhere is noticed, and nothing else."""
    with (small_site / "index.html").open("a", encoding="utf-8") as page:
        page.write(html)
    assert [(file, why) for file, _, why in dead_links(small_site)] == [("index.html", DEAD[html])]


def test_a_dead_link_in_a_style_is_found(small_site):
    """A style or the search that names what is not there is noticed."""
    (small_site / "a.css").write_text("p { background: url('no.png') }", encoding="utf-8")
    index = {"docs": [{"location": "sub/b.html#no"}]}
    (small_site / "search_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert [(file, why) for file, _, why in dead_links(small_site)] == [
        ("a.css", "leads to no file"),
        ("search", "names an id that is not there"),
    ]
