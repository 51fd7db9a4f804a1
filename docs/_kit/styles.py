"""One style sheet for the built site, with what the site uses and nothing else.

Markdown and the converter of formulas write alignments as `style="text-align: right;"`. A strict
policy (see policy.py) makes no exception for that, so each such value becomes a class. The sheets
of theme, plugins and site become one file, because a browser shows nothing before it has them all.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

from _kit import css
from _kit.built import Built, Site
from _kit.page import PageError

FOLDER = "assets"  # of the new sheet
NAME = f"{FOLDER}/sheet.css"  # without a digest: a page is the same file whatever the others are
SCRIPTS = "assets/**/*.js"  # where classes and elements may come from besides the pages

_STYLED = re.compile(
    r"<[a-zA-Z](?:[^<>\"']|\"[^\"]*\"|'[^']*')*\sstyle=(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>"
)
_STYLE = re.compile(r'\sstyle="([^"]*)"')
_CLASS = re.compile(r'\sclass="([^"]*)"')
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SHEET = re.compile(r'[ \t]*<link rel="stylesheet" href="([^":]*)"[^>]*>\n?')
_URL = re.compile(r"url\(([\"']?)(?!data:|/|https?:)([^\"')]+)\1\)")
# What the theme's script makes only for pages that have it already, by how its classes begin
OPTIONAL = (
    *("highlighttable", "linenodiv", "md-annotation", "md-author", "md-banner", "md-consent"),
    *("md-feedback", "md-path", "md-post", "md-progress", "md-social", "md-source", "md-status"),
    *("md-tabs", "md-tag", "md-tooltip", "md-version", "mermaid", "tabbed", "task-list", "twemoji"),
)

_CLOSED_SETS = re.compile(r"dir|data-md-color-\w+")  # attributes whose values no script makes up


def gather(site: Site) -> None:
    """Give the site one style sheet.

    Args:
        site: The built site.
    """
    rules: dict[str, str] = {}
    for page in site.pages:
        page.html = _STYLED.sub(lambda tag: _with_class(tag[0], rules), page.html)
    sheets = _sheets(site)
    text = "".join(_read(site, sheet) for sheet in sheets) + "".join(rules.values())
    sheet = _reduced(site, text)
    site.files[NAME] = sheet
    for page in site.pages:
        _link(page, NAME)


def _with_class(tag: str, rules: dict[str, str]) -> str:
    """Return a tag with a class for its style, and note the rule for it."""
    found = _STYLE.search(tag)
    if not found:
        return tag
    name = _name(found[1])
    declarations = [f"{one} !important" for one in css.split(found[1], ";")]  # as strong as before
    rules[name] = f".{name}{{{';'.join(declarations)}}}"
    tag = _STYLE.sub("", tag)
    if _CLASS.search(tag):
        return _CLASS.sub(lambda old: f' class="{old[1]} {name}"', tag)
    return re.sub(r"^<[\w-]+", lambda start: f'{start[0]} class="{name}"', tag)


def _name(style: str) -> str:
    """Return the class for a style; that of a simple one says what it does, for other rules."""
    if simple := re.fullmatch(r"\s*([a-z-]+):\s*([a-z-]+);?\s*", style):
        return "-".join(simple.groups())
    return "s-" + hashlib.sha256(style.encode()).hexdigest()[:6]


def _sheets(site: Site) -> list[str]:
    """Return the style sheets of the pages, by their paths, in their order."""
    lists = {
        page.path: [_path(page, href) for href in _SHEET.findall(page.html)] for page in site.pages
    }
    longest = max(lists.values(), key=len, default=[])
    for path, sheets in lists.items():
        if sheets != longest:
            what = f"all pages must have the same style sheets, {longest}; this has {sheets}."
            raise PageError(path, what, "Name the sheets in extra_css in mkdocs.yml.")
    return longest


def _path(page: Built, href: str) -> str:
    if href.startswith("/"):
        return href.removeprefix(page.root)
    return posixpath.normpath(posixpath.join(posixpath.dirname(page.path), href))


def _read(site: Site, sheet: str) -> str:
    """Return a style sheet, with its addresses as seen from the folder of the new one."""
    text = (site.folder / sheet).read_text(encoding="utf-8")
    folder = posixpath.dirname(sheet)
    return _URL.sub(
        lambda url: f'url("{posixpath.relpath(posixpath.join(folder, url[2]), FOLDER)}")', text
    )


def _reduced(site: Site, text: str) -> str:
    """Return a style sheet without what no page and no script of the site asks for."""
    pages = "".join(page.html for page in site.pages)
    scripts = "".join(
        path.read_text("utf-8")
        for path in sorted(site.folder.glob(SCRIPTS))
        if "lunr" not in path.parts
    )
    scripts += "".join(sorted(set(_INLINE.findall(pages))))
    classes = {word for names in re.findall(r'\bclass="([^"]*)"', pages) for word in names.split()}
    missing = tuple(part for part in OPTIONAL if not any(word.startswith(part) for word in classes))
    made = set(re.findall(r"[\w-]+", scripts))
    classes |= {word for word in made if not word.startswith(missing)}
    elements = made | set(re.findall(r"<([a-z][\w-]*)", pages))
    values = set(re.findall(r'\s([\w-]+)="([^"]*)"', pages))

    def needed(selector: str) -> bool:
        names, kinds, attributes = css.asks_for(selector)
        closed = {pair for pair in attributes if _CLOSED_SETS.fullmatch(pair[0])}
        return names <= elements and kinds <= classes and closed <= values

    rules = css.without_unread(list(css.reduce(css.read(text), needed)), pages + scripts)
    return "".join(map(str, rules))


def _link(page: Built, name: str) -> None:
    """Put the new sheet where the first old one was, and take out the others."""
    first = _SHEET.search(page.html)
    if first:
        link = f'<link rel="stylesheet" href="{page.root}{name}">\n'
        start = first.start()
        page.html = page.html[:start] + link + _SHEET.sub("", page.html[start:])
