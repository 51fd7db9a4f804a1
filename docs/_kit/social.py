"""What other sites show of a page when somebody links to it: a picture of its title.

The picture is drawn from the page as it was built, in the site's own face and colours: the section,
the title, and the lines of the first figure, or the mark of the site where there is none.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape, unescape
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from _kit.built import Built, Site
from _kit.sketch import Colour, outlines, sketch

SIZE = (1200, 630)  # what most sites cut a picture to
FACE = "assets/fonts/source-serif-4-latin-wght-normal.woff2"
MARK, STYLE = "assets/mark.svg", "assets/site.css"

_EDGE = 80
_COLUMN = 500  # of the title beside a figure
_TALLEST = 400  # of the title
_INK, _QUIET = "#21201d", "#5b5852"
_STEPS = 12  # from the colour of the page to another
_FIGURE = re.compile(r"<figure[^>]*>.*?(<svg.*?</svg>)", re.DOTALL)
_DESCRIPTION = re.compile(r'<meta name="description" content="([^"]*)"')


def write(site: Site) -> None:
    """Draw a picture of each page, and name it in the page.

    Args:
        site: The built site; its pages are changed.
    """
    start = next((page.html for page in site.pages if page.path == "index.html"), "")
    name = re.search(r"<title>(?:.* - )?(.*?)</title>", start)
    card = Card(site.folder, unescape(name[1]) if name else "")
    for page in site.pages:
        if page.path == "404.html":  # nobody links to it
            continue
        path = f"assets/social/{page.path.removesuffix('.html')}.png"
        figures = _FIGURE.findall(page.html)
        site.files[path] = card.draw(page.title, _section(page), figures[0] if figures else None)
        page.html = page.html.replace("</head>", f"{_tags(page, path)}</head>", 1)


def _section(page: Built) -> str:
    """Return the folder of a page as words."""
    return page.path.rpartition("/")[0].replace("-", " ").capitalize()


def _tags(page: Built, picture: str) -> str:
    """Return the tags that name the picture; with whole addresses, where the site's is known."""
    root = page.address.removesuffix(page.path) if page.address else page.root
    description = unescape(found[1]) if (found := _DESCRIPTION.search(page.html)) else ""
    said = {
        "og:type": "website" if page.path == "index.html" else "article",
        "og:title": page.title,
        "og:description": description,
        "og:url": page.address,
        "og:image": root + picture,
        "og:image:width": SIZE[0],
        "og:image:height": SIZE[1],
        "og:image:alt": f"The title of the page: {page.title}",
    }
    tags = [
        f'<meta property="{name}" content="{escape(str(value))}">'
        for name, value in said.items()
        if value
    ]
    return "".join([*tags, '<meta name="twitter:card" content="summary_large_image">'])


@dataclass(frozen=True)
class Card:
    """Draws the pictures of a site."""

    folder: Path  # of the built site
    name: str  # of the site

    @cached_property
    def face(self) -> bytes:
        """The face of the text, as Pillow reads it: a web font is packed."""
        font, plain = TTFont(self.folder / FACE), io.BytesIO()
        font.flavor = None
        font.save(plain)
        return plain.getvalue()

    @cached_property
    def colours(self) -> dict[str, Colour]:
        """The colours of the figures by what they are called there, on white paper."""
        css = (self.folder / STYLE).read_text(encoding="utf-8")
        roles = dict(
            reversed(re.findall(r"--(role-[a-z]+):\s*(#[0-9a-f]{6})", css))
        )  # the first counts
        ground = re.search(r'"default"\] \{[^}]*--md-default-bg-color:\s*(#[0-9a-f]{6})', css)
        named = {f"var(--{name})": colour for name, colour in roles.items()}
        named |= {"currentColor": _INK, "ground": ground[1] if ground else "#ffffff"}
        return {name: _rgb(colour) for name, colour in named.items()}

    @cached_property
    def palette(self) -> Image.Image:
        """Each colour in steps to that of the page: a picture holds no others, and is small."""
        ground, image = self.colours["ground"], Image.new("P", (1, 1))
        inks = [*self.colours.values(), _rgb(_QUIET)]
        steps = [step / _STEPS for step in range(_STEPS + 1)]
        mixed = [_mixed(ink, ground, step) for ink in inks for step in steps]
        image.putpalette([value for colour in mixed for value in colour])
        return image

    @cache  # noqa: B019 (there is one card, and a dozen fonts)
    def font(self, size: int, weight: int) -> ImageFont.FreeTypeFont:
        """Return the face in a size and a weight."""
        font = ImageFont.truetype(io.BytesIO(self.face), size, layout_engine=ImageFont.Layout.BASIC)
        font.set_variation_by_axes([weight])
        return font

    def mark(self, height: int, colour: Colour) -> Image.Image:
        """Return the mark of the site."""
        svg = (self.folder / MARK).read_text(encoding="utf-8")
        image = Image.new("RGB", (4 * height, 4 * height), self.colours["ground"])
        draw = ImageDraw.Draw(image)
        for path in re.findall(r' d="([^"]*)"', svg):
            for line in outlines(path, 4 * height / 32):
                draw.polygon(line, fill=colour)
        return image.reduce(4)

    def draw(self, title: str, section: str, figure: str | None) -> bytes:
        """Return the picture of a page.

        Args:
            title: Its title.
            section: Where it stands.
            figure: Its figure, an SVG element.

        Returns:
            A PNG, which is the same for the same page.
        """
        image = Image.new("RGB", SIZE, self.colours["ground"])
        blue = self.colours["var(--role-batch)"]
        drawing = sketch(figure, self.colours, (520, 380)) if figure else None
        room = _COLUMN if drawing else 760
        drawing = drawing or self.mark(300, _mixed(blue, self.colours["ground"], 0.14))
        right = SIZE[0] - _EDGE - drawing.width
        image.paste(drawing, (right, (SIZE[1] - drawing.height) // 2 + 30))
        self._words(image, title, section, room)
        image.paste(self.mark(56, blue), (_EDGE, 64))
        data = io.BytesIO()
        few = image.quantize(palette=self.palette, dither=Image.Dither.NONE)
        few.save(data, "PNG", compress_level=6)
        return data.getvalue()

    def _words(self, image: Image.Image, title: str, section: str, room: int) -> None:
        """Write the section, and the title in the largest letters in which it has room."""
        draw = ImageDraw.Draw(image)
        name = self.font(36, 600)
        draw.text((_EDGE + 74, 69), self.name, _INK, name)
        at = _EDGE + 74 + (name.getlength(f"{self.name}  ") if self.name else 0)
        draw.text((at, 69), section, _QUIET, self.font(36, 400))
        for size in (66, 60, 54, 48, 42, 36, 30):
            font = self.font(size, 600)
            lines = wrapped(title, font, room)
            height = round(1.22 * size) * len(lines)
            if height <= _TALLEST and all(font.getlength(line) <= room for line in lines):
                break
        for number, line in enumerate(lines):
            y = (SIZE[1] - height) // 2 + 30 + round(1.22 * size) * number
            draw.text((_EDGE, y), line, _INK, font)


def wrapped(text: str, font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    """Return a text in lines that are no wider than a column, if its words are not."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _rgb(colour: str) -> Colour:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _mixed(colour: Colour, ground: Colour, share: float) -> Colour:
    red, green, blue = (
        round(share * a + (1 - share) * b) for a, b in zip(colour, ground, strict=True)
    )
    return red, green, blue
