"""One page alone: with `PAGE=learn/backward.md` in the environment, the builder converts that page.

The others are stubs that run nothing: their headings and other places that links lead to, so that
the links of the page still hold, and the claims that they declare, so that the page may refer to
them. The page itself becomes what it is in the whole site.
"""

from __future__ import annotations

import os
import pkgutil
import re
from copy import copy
from functools import partial
from types import ModuleType
from typing import Any

from mkdocs.structure.files import InclusionLevel

from _kit.builder import path_of
from _kit.built import Built, Site
from _kit.claims import declared
from _kit.page import PageError, choice, outside_fences
from _kit.prose import FIELD

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_PLACE = re.compile(r"\{[^}\n]*#([\w.-]+)[^}\n]*\}")
_MARKED = re.compile(r"\[(.*?)\]\{\w+[^}]*\}")
_DOCUMENTED = re.compile(r"^::: ([\w.]+)", re.MULTILINE)
_NAMES = re.compile(r"(?:#|\]\[)(\w+(?:\.\w+)+)[)\]]")
SAID = "*Only one page is converted here, and this is another. `make serve` shows all.*"

_stubs: dict[str, dict[str, Any]] = {}  # by their paths in the site: what their records would say
_wanted: set[str] = set()  # dotted names that the chosen page leads to


def chosen() -> str:
    """Return the page that is to be converted alone, by its path below docs/; nothing for all."""
    return path_of(os.environ.get("PAGE", ""))


def choose(files: Any) -> None:
    """Put stubs in the place of all pages but the chosen one, if one is chosen.

    Args:
        files: MkDocs' files.

    Raises:
        PageError: If there is no such page.
    """
    name, pages = chosen(), {file.src_uri: file for file in files.documentation_pages()}
    _stubs.clear()
    _wanted.clear()
    if not name:
        return
    if name not in pages:
        what = f"PAGE must name a page below docs/; got {name!r}."
        raise PageError("PAGE", what, choice(name, sorted(pages)))
    _wanted.update(_NAMES.findall(pages[name].content_string))
    for path, file in pages.items():
        if path != name:
            source = file.content_string
            claims: dict[str, list[object]] = {claim: [] for claim in declared(source)}
            documents = _DOCUMENTED.search(source)
            _stubs[file.dest_uri] = {
                "source": f"docs/{path}",
                "claims": claims,
                "documents": documents and documents[1],
            }
            file.content_string = stub(source)


def stub(source: str) -> str:
    """Return Markdown that has the places of a page, and runs nothing.

    Args:
        source: The page.
    """
    front = _FRONT_MATTER.match(source)
    text = FIELD.sub("…", outside_fences(source[front.end() if front else 0 :]))
    headings = [_MARKED.sub(r"\1", heading) for heading in _HEADING.findall(text)]
    places = set(_PLACE.findall(text)) - set(_PLACE.findall("\n".join(headings)))
    places |= {f"check-{claim}" for claim in declared(source)}
    anchors = "".join(f"[](){{ #{place} }}" for place in sorted(places))
    parts = [headings[0] if headings else "", SAID, *headings[1:], anchors]
    return (front[0] if front else "") + "\n\n".join(filter(None, parts))


def simplify(files: Any) -> None:
    """Let the stubs be converted without what only pages need."""
    for file in files.documentation_pages():
        if file.page and file.dest_uri in _stubs:
            file.page.render = partial(_render, file.page)


def _render(page: Any, config: Any, files: Any) -> None:
    """Convert a stub as MkDocs converts a page, with the few extensions that make places."""
    few = copy(config)
    few["markdown_extensions"], few["mdx_configs"] = ["attr_list", "toc"], {}
    type(page).render(page, few, files)


def leave_out(files: Any) -> None:
    """Let no stub be written, now that all links have been looked at."""
    for file in files.documentation_pages():
        if file.dest_uri in _stubs:
            file.inclusion = InclusionLevel.EXCLUDED


def document(html: str, page: Any, autorefs: Any) -> str:
    """Return a stub with the places of the names that it documents and the chosen page leads to.

    Args:
        html: The content of a page.
        page: MkDocs' page, whose source may document a module, if it is a stub.
        autorefs: The plugin that knows where names are documented.
    """
    module = _stubs.get(page.file.dest_uri, {}).get("documents")
    places = set()
    for name in _wanted if module else ():
        home, place, title = _home(name)
        if home == module:
            autorefs.register_anchor(page, name, place, title=title)
            places.add(place)
    return html + "".join(f'<a id="{place}"></a>' for place in sorted(places))


def _home(name: str) -> tuple[str, str, str]:
    """Return the module that documents a name, and its anchor and title there."""
    try:
        found = pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return "", name, name
    if isinstance(found, ModuleType):
        return name, name, name
    module = getattr(found, "__module__", name.rpartition(".")[0])
    title = getattr(found, "__name__", name.rpartition(".")[2])
    return module, f"{module}.{getattr(found, '__qualname__', title)}", title


def lend(site: Site) -> None:
    """Put all stubs into the site, written or not, so that the page may refer to their claims."""
    leave(site)
    site.pages[:0] = [Built(path, "", record) for path, record in _stubs.items()]


def leave(site: Site) -> None:
    """Take the stubs out of the site: what follows is for the chosen page. Their files stay."""
    site.pages = [page for page in site.pages if page.path not in _stubs]
