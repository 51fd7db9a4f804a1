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
from functools import cache
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

from _kit.page import Block, Page, PageError, Run, render_markdown, resets, results

NAMES: dict[str, type] = {"fig": Figure, "title": str, "caption": str, "alt": str}
STYLE = Path(__file__).with_name("figure.mplstyle")

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_ROLE = re.compile(r"--(role-[a-z]+):\s*(#[0-9a-f]{6})")


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
    where = page.where(block)
    if "id" not in options:
        raise PageError(where, "a figure must have an id.", 'Add id="..." to the block.')
    if run.output or run.error:
        remedy = "Take out the print, or print in a block of its own."
        raise PageError(where, f"a figure block must not print; got {run.output!r}.", remedy)
    left: dict[str, Any] = {name: run.namespace.get(name) for name in NAMES}
    for name, kind in NAMES.items():
        if name not in run.assigned or not isinstance(left[name], kind) or not left[name]:
            what = f"a figure block must leave {name!r}, a {kind.__name__}; got {left[name]!r}."
            raise PageError(where, what, f"Set {name} in this block.")
    name = f"fig-{options['id']}"
    if name in page.ids or not re.fullmatch(r"[\w-]+", name):
        remedy = "Choose another id, of letters, digits and hyphens."
        raise PageError(where, f"the id {options['id']!r} is taken or is none.", remedy)
    page.ids.add(name)
    try:
        svg = inline_svg(left["fig"], name, roles, left["title"], left["alt"])
    except ForeignColourError as error:
        remedy = 'Use C0, C1, .. for the roles, "black", or a grey such as "0.35".'
        raise PageError(where, str(error), remedy) from error
    text = f"**{left['title']}.** {left['caption']}"
    caption = render_markdown(md, page, block, text, f"{name}-")
    return f'<figure id="{name}">{svg}<figcaption>{caption}</figcaption></figure>'


def inline_svg(fig: Any, name: str, roles: dict[str, str], title: str, alt: str) -> str:
    """Return a Matplotlib figure as an SVG element to stand inside a page.

    Args:
        fig: The figure; it is closed.
        name: Prefix of all ids in it, unique in the page.
        roles: What to write for a colour.
        title: Its title.
        alt: Its description for those who cannot see it.

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
        _prefix_ids(element, name)
    for attribute in ("width", "height", "version"):
        del root.attrib[attribute]
    root.attrib |= {
        "fill": "currentColor",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-alt",
    }
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


def _prefix_ids(element: ET.Element, name: str) -> None:
    """Make ids and references to them unique in the page."""
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    link = element.attrib.pop(f"{{{_LINK}}}href", None)
    if link:
        element.set("href", f"#{name}-{link.removeprefix('#')}")
    for key, value in element.attrib.items():
        element.set(key, value.replace("url(#", f"url(#{name}-"))


def makeExtension(**kwargs: Any) -> FigureExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return FigureExtension(**kwargs)
