"""Each page has a picture and tags by which other sites show a link to it."""

import io
import shutil
import struct
import zlib

import pytest
from bs4 import BeautifulSoup
from building import ROOT
from PIL import Image

from _kit import social
from _kit.built import Built, Site

ADDRESS = "https://example.org/books/"
FIGURE = """<figure id="fig-a"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 180" fill="currentColor">
<defs><path id="fig-a-dot" d="M -3 0 L 3 0 L 0 3 z" /></defs>
<g id="fig-a-xtick_1"><path d="M 0 90 L 360 90" stroke="currentColor" fill="none" /></g>
<path d="M 10 10 L 350 170 C 300 20 200 20 100 100" fill="none" stroke="var(--role-batch)" stroke-width="2" stroke-dasharray="4 2" />
<use x="50" y="50" href="#fig-a-dot" fill="var(--role-statistics)" /></svg></figure>"""


def page(path, title="A question", address="", body=""):
    """Return a built page."""
    canonical = f'<link rel="canonical" href="{address}{path}">' if address else ""
    return Built(
        path,
        f'<html><head><meta name="description" content="What &lt;x&gt; is">{canonical}</head><body>'
        f'<article><h1 id="t">{title}<a href="#t" class="headerlink">#</a></h1>{body}</article></body></html>',
        {},
    )


def pictured(tmp_path, *pages):
    """Return a site after the step."""
    if not (tmp_path / "assets").exists():
        shutil.copytree(ROOT / "docs/assets", tmp_path / "assets")
    site = Site(tmp_path, list(pages))
    social.write(site)
    return site


def tags(built):
    """Return the tags of a page by their names."""
    found = BeautifulSoup(built.html, "html.parser").select("head > meta")
    return {tag.get("property") or tag.get("name"): tag["content"] for tag in found}


def pixels(site, path):
    """Return a picture."""
    return Image.open(io.BytesIO(site.files[path])).convert("RGB")


def test_a_page_gets_a_picture_and_its_tags(tmp_path):
    """The tags name title, description and address; the picture has the size that they say."""
    site = pictured(tmp_path, page("learn/a.html", "Does &lt;x&gt; <em>help</em>?", ADDRESS))
    said = tags(site.pages[0])
    image = pixels(site, "assets/social/learn/a.png")
    assert image.size == (1200, 630)
    assert said == {
        "description": "What <x> is",
        "og:type": "article",
        "og:title": "Does <x> help?",
        "og:description": "What <x> is",
        "og:url": f"{ADDRESS}learn/a.html",
        "og:image": f"{ADDRESS}assets/social/learn/a.png",
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": "The title of the page: Does <x> help?",
        "twitter:card": "summary_large_image",
    }


@pytest.mark.parametrize(("path", "way"), [("index.html", ""), ("a/b/c.html", "../../")])
def test_without_an_address_the_picture_is_named_from_the_page(tmp_path, path, way):
    """Where the site will stand is not known: then the picture is found from the page, and no page is said to stand anywhere."""
    site = pictured(tmp_path, page(path))
    said = tags(site.pages[0])
    assert said["og:image"] == f"{way}assets/social/{path.removesuffix('.html')}.png"
    assert "og:url" not in said


def test_the_start_is_the_site_and_may_be_named_by_its_folder(tmp_path):
    """The canonical address of the start page may end with its folder."""
    start = page("index.html", address=ADDRESS)
    start.html = start.html.replace(f"{ADDRESS}index.html", ADDRESS)
    said = tags(pictured(tmp_path, start).pages[0])
    assert said["og:type"] == "website"
    assert said["og:image"] == f"{ADDRESS}assets/social/index.png"


def test_what_is_not_found_is_not_shared(tmp_path):
    """The page for what is not found has no picture; it has no address either."""
    site = pictured(tmp_path, page("404.html"))
    assert site.files == {}
    assert "og:title" not in tags(site.pages[0])


def test_the_picture_shows_title_mark_and_figure(tmp_path):
    """Another title, another figure or none make another picture; the figure has the colours of its roles."""
    pages = [page("a.html", "One?"), page("b.html", "Two?"), page("c.html", "One?", body=FIGURE)]
    site = pictured(tmp_path, *pages)
    one, two, drawn = (pixels(site, f"assets/social/{name}.png") for name in "abc")
    assert one.tobytes() != two.tobytes()
    assert one.tobytes() != drawn.tobytes()
    colours = {colour for _, colour in drawn.getcolors(1 << 20)}
    for role in ((0x00, 0x72, 0xB2), (0xB3, 0x47, 0x00)):
        assert min(sum(abs(a - b) for a, b in zip(c, role, strict=True)) for c in colours) < 12


def test_a_long_title_stays_inside(tmp_path):
    """However long a title is, the margin of its picture is empty."""
    site = pictured(tmp_path, page("a.html", "Does an overlong title " * 9, body=FIGURE))
    image = pixels(site, "assets/social/a.png")
    ground = image.getpixel((2, 2))
    for box in ((0, 0, 40, 630), (1160, 0, 1200, 630), (0, 600, 1200, 630), (0, 0, 1200, 30)):
        assert image.crop(box).getcolors() == [((box[2] - box[0]) * (box[3] - box[1]), ground)]


def test_the_same_page_gives_the_same_bytes(tmp_path):
    """A picture depends on nothing but its page: it holds no time and no name of a program."""
    first, second = (pictured(tmp_path, page("a.html", body=FIGURE)).files for _ in range(2))
    assert first == second
    data, kinds = first["assets/social/a.png"], []
    assert len(data) < 40_000
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kinds.append(data[at + 4 : at + 8].decode())
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(data[at + 4 : at + 8 + length])
        at += length + 12
    assert set(kinds) <= {"IHDR", "PLTE", "IDAT", "IEND"}


def test_every_page_of_a_built_site_has_its_picture(site):
    """The step is one of those that finish a site; the address comes from SITE_URL."""
    site.write("# One { #one }\n")
    site.write("# Two { #two }\n", "more/two.md")
    assert site.build("--strict").returncode == 0
    for path in ("index", "more/two"):
        with Image.open(site.folder / f"site/assets/social/{path}.png") as image:
            assert image.size == (1200, 630)
        head = BeautifulSoup(site.html(f"{path}.html"), "html.parser").head
        assert head.select_one('meta[property="og:image"]')["content"].endswith(f"{path}.png")
