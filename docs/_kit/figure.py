"""Figures: Matplotlib drawings become inline SVG that follows the site in light and in dark.

    ```python exec="on" result="figure" id="halves" source="fold"
    fig, ax = plt.subplots()
    ...
    title = "What to see, in a few words"
    caption = f"What it means, in Markdown, with numbers from the run: {value:.2f}."
    alt = f"What is drawn, for somebody who cannot see it: a line from {a:.1f} to {b:.1f}."
    ```

A figure block leaves these four names and nothing else is needed, so it also runs outside the site.
The colours C0, C1, .. are the roles that the style sheet defines as `--role-..` custom properties.
In the SVG they are references to these properties; black is the colour of the text, white that of
the page, and greys are mixed from both. Other colours, and pictures made of pixels, cannot follow
the page into the dark; they stop the build.
"""

from __future__ import annotations

import atexit
import io
import re
import tempfile
import warnings
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from fontTools.ttLib import TTFont
from markdown import Markdown
from markdown.extensions import Extension
from matplotlib import font_manager, style
from matplotlib.figure import Figure

from _kit import marks
from _kit.page import Block, Page, PageError, Run, render_markdown, resets, results

NAMES: dict[str, type] = {"fig": Figure, "title": str, "caption": str, "alt": str}
STYLE = Path(__file__).with_name("figure.mplstyle")

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_ROLE = re.compile(r"--(role-[a-z]+):\s*(#[0-9a-f]{6})")
_NUMBER = re.compile(r"-?\d+\.\d+")
_PLACES = {
    "d",
    "x",
    "y",
    "cx",
    "cy",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "points",
    "viewBox",
}
_REFERENCE = re.compile(r"#([\w-]+)(?=\)|$|\s)")


class ForeignColourError(ValueError):
    """A colour that would stay as it is when the page turns dark."""


class FigureExtension(Extension):
    """Makes `result="figure"` known, and gives every page the site's look for its figures."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {
            "css": ["docs/assets/site.css", "Style sheet that defines the roles"],
            "fonts": [[], "Fonts of the page's text, so that Matplotlib leaves the right room"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: ARG002, N802 (Python-Markdown's)
        """Read the roles, for the style of the figures and for the SVG."""
        roles = read_roles(Path(self.getConfig("css")).read_text(encoding="utf-8"))
        faces = [_add_font(path) for path in self.getConfig("fonts")]

        def reset() -> None:
            plt.close("all")
            mpl.rcdefaults()
            mpl.use("svg")
            style.use(STYLE)
            mpl.rcParams["axes.prop_cycle"] = cycler(color=list(roles))
            mpl.rcParams["font.family"] = [*faces, "DejaVu Sans"]

        def as_figure(
            md: Markdown, page: Page, block: Block, options: dict[str, str], run: Run
        ) -> str:
            return _figure(md, page, block, options, run, roles)

        resets["figure"] = reset
        results["figure"] = as_figure


def read_roles(css: str) -> dict[str, str]:
    """Return the custom property of each role by its light colour, in the order of the style sheet.

    Args:
        css: A style sheet; the first value of a property is the light one.

    Returns:
        For example `{"#0072b2": "var(--role-batch)"}`.
    """
    light: dict[str, str] = {}
    for name, colour in _ROLE.findall(css):
        light.setdefault(name, colour)
    return {colour: f"var(--{name})" for name, colour in light.items()}


@cache
def _add_font(path: str) -> str:
    """Make a web font known to Matplotlib, and return its name.

    Matplotlib reads no woff2, so it gets a plain copy. Letters that the font lacks are measured in
    Matplotlib's own.
    """
    font = TTFont(path)
    font.flavor = None
    with tempfile.NamedTemporaryFile(suffix=".ttf", delete=False) as plain:
        font.save(plain)
    font_manager.fontManager.addfont(plain.name)
    atexit.register(Path(plain.name).unlink)
    return font_manager.FontProperties(fname=plain.name).get_name()


def _figure(
    md: Markdown,
    page: Page,
    block: Block,
    options: dict[str, str],
    run: Run,
    roles: dict[str, str],
) -> str:
    """Return the figure that a block left, as HTML."""
    name, left = take(page, block, options, run, "figure", NAMES)
    try:
        svg = to_text(to_svg(left["fig"], name, roles), name, left["title"], left["alt"])
    except ForeignColourError as error:
        raise PageError(page.where(block), str(error), COLOUR_REMEDY) from error
    caption = caption_of(md, page, block, name, left)
    return f'<figure id="{name}">{svg}{caption}</figure>'


COLOUR_REMEDY = 'Use C0, C1, .. for the roles, "black", or a grey such as "0.35".'


def take(
    page: Page, block: Block, options: dict[str, str], run: Run, kind: str, names: dict[str, type]
) -> tuple[str, dict[str, Any]]:
    """Return the id of a block's figure, new in its page, and the names that the block left.

    Args:
        page: The page.
        block: The block.
        options: Its options.
        run: What it left.
        kind: What it is called in messages.
        names: What it must leave, with the types.

    Raises:
        PageError: If it has no id of its own, if it printed, or if a name is missing.
    """
    where = page.where(block)
    if "id" not in options:
        raise PageError(where, f"a {kind} must have an id.", 'Add id="..." to the block.')
    if run.output or run.error:
        remedy = "Take out the print, or print in a block of its own."
        raise PageError(where, f"a {kind} block must not print; got {run.output!r}.", remedy)
    left: dict[str, Any] = {name: run.namespace.get(name) for name in names}
    for name, type_ in names.items():
        if name not in run.assigned or not isinstance(left[name], type_) or not left[name]:
            got = given(run, name)
            what = f"a {kind} block must leave {name!r}, a {type_.__name__}; got {got}."
            raise PageError(where, what, f"Set {name} in this block.")
    name = f"fig-{options['id']}"
    if name in page.ids or not re.fullmatch(r"[\w-]+", name):
        remedy = "Choose another id, of letters, digits and hyphens."
        raise PageError(where, f"the id {options['id']!r} is taken or is none.", remedy)
    page.ids.add(name)
    return name, left


def given(run: Run, name: str) -> str:
    """Return in words what a block left by a name: its value may be one of an earlier block."""
    value = run.namespace.get(name)
    inherited = name not in run.assigned and value is not None
    return f"{value!r}, which is from an earlier block" if inherited else repr(value)


def caption_of(md: Markdown, page: Page, block: Block, name: str, left: dict[str, Any]) -> str:
    """Return the caption of a figure, as HTML, from the title and caption that its block left."""
    text = f"**{left['title']}.** {left['caption']}"
    return f"<figcaption>{render_markdown(md, page, block, text, f'{name}-')}</figcaption>"


def to_svg(fig: Figure, name: str, roles: dict[str, str]) -> ET.Element:
    """Return a Matplotlib figure as an SVG element to stand inside a page.

    Args:
        fig: The figure; it is closed.
        name: Prefix of all ids in it, unique in the page.
        roles: What to write for a colour.

    Returns:
        The element, without inline styles, dates or foreign fonts.

    Raises:
        ForeignColourError: If a colour is neither a role, black, white nor a grey.
    """
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}),
        warnings.catch_warnings(action="error"),
    ):
        fig.savefig(buffer, format="svg")
    plt.close(fig)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 (our own text)
    _drop(root, "metadata", "style")  # the metadata hold a time
    if root.find(f".//{{{_SVG}}}image") is not None:
        raise ForeignColourError("a figure must be drawn in lines and areas; it holds pixels.")
    for element in root.iter():
        _plain_attributes(element, roles)
        _round(element)
    _shorten_ids(root, name)
    marks.gather(root)
    for attribute in ("width", "height", "version"):
        del root.attrib[attribute]
    root.attrib |= {
        "fill": "currentColor",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-alt",
    }
    return root


def to_text(root: ET.Element, name: str, title: str, alt: str) -> str:
    """Return an SVG element as text, with a title and a description for who cannot see it.

    Args:
        root: The element.
        name: The prefix of its ids.
        title: Its title.
        alt: Its description.
    """
    described = f'<title id="{name}-title">{escape(title)}</title>'
    described += f'<desc id="{name}-alt">{escape(alt)}</desc>'
    ET.register_namespace("", _SVG)
    head, rest = ET.tostring(root, encoding="unicode").split(">", 1)
    return f"{head}>{described}{rest}"


def _drop(root: ET.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}{tag}" for tag in tags}:
                parent.remove(child)


def _plain_attributes(element: ET.Element, roles: dict[str, str]) -> None:
    """Turn an inline style into attributes, which a strict content security policy lets pass."""
    for declaration in filter(None, element.attrib.pop("style", "").split(";")):
        key, value = declaration.split(":", 1)
        element.set(key.strip(), value.strip())
    element.attrib.pop("font-family", None)  # the page's own face
    for key in ("fill", "stroke"):
        if (value := element.get(key, "none")).startswith("#"):
            element.set(key, _colour(value, roles))


def _colour(value: str, roles: dict[str, str]) -> str:
    if value in roles:
        return roles[value]
    if value == "#000000":
        return "currentColor"
    if value == "#ffffff":
        return "var(--md-default-bg-color)"
    if value[1:3] == value[3:5] == value[5:7]:
        ink = round(100 * (1 - int(value[1:3], 16) / 255))
        return f"color-mix(in srgb, currentColor {ink}%, var(--md-default-bg-color))"
    raise ForeignColourError(f"a figure must keep to the colours of the site; it uses {value}.")


def _round(element: ET.Element) -> None:
    """Leave out what nobody sees: decimals of places, and white space between commands.

    A drawing is 360 units wide; half a tenth of one is a tenth of a pixel in a desktop's column.
    What scales or dashes keeps two decimals.
    """
    for key, value in element.attrib.items():
        if key != "id" and "#" not in value:
            digits = 1 if key in _PLACES else 2
            element.set(key, _NUMBER.sub(partial(_shorter, digits), value))
    if "d" in element.attrib:
        element.set("d", re.sub(r"\s*([A-Za-z])\s*", r"\1", element.attrib["d"]).strip())
    if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
        del element.attrib["transform"]
    if not (element.text or "").strip():
        element.text = None
    element.tail = None


def _shorter(digits: int, number: re.Match[str]) -> str:
    return f"{round(float(number[0]), digits) + 0:g}"


def _shorten_ids(root: ET.Element, name: str) -> None:
    """Number the ids that are referred to, unique in the page, and drop the others.

    Matplotlib's ids of markers and clips are hashes of what they look like, so those of two frames
    of a slider may differ where these numbers do not.
    """
    for element in root.iter():
        if link := element.attrib.pop(f"{{{_LINK}}}href", None):
            element.set("href", link)
    values = " ".join(value for element in root.iter() for value in element.attrib.values())
    referred = set(_REFERENCE.findall(values))
    short: dict[str, str] = {}
    for element in root.iter():
        if (old := element.attrib.pop("id", "")) in referred:
            element.set("id", short.setdefault(old, f"{name}-{len(short) + 1}"))
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _REFERENCE.sub(lambda found: f"#{short[found[1]]}", value))


def makeExtension(**kwargs: Any) -> FigureExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return FigureExtension(**kwargs)
