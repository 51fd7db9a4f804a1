"""The reference as Markdown: a directive `::: package.module` becomes what its docstrings say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_DIRECTIVE = re.compile(r"^::: *([\w.]+)((?:\n[ \t]+\S.*)*)", re.MULTILINE)


def expand(text: str, paths: list[str]) -> str:
    """Return Markdown with docstrings in place of the directives for them.

    Args:
        text: Markdown.
        paths: Where the packages are.
    """

    def documented(match: re.Match[str]) -> str:
        owner = griffe.load(match[1], search_paths=paths)
        if not owner.is_module:
            level = re.search(r"heading_level: (\d)", match[2])
            return "\n\n".join(_described(owner, int(level[1]) if level else 1, match[1]))
        heading = "" if "show_root_heading: false" in match[2] else f"# `{match[1]}`"
        parts = [heading, *_docstring(owner)]
        if "members: false" not in match[2]:
            parts += [part for m in _members(owner) for part in _described(m, 2, m.path)]
        return "\n\n".join(filter(None, parts))

    return _DIRECTIVE.sub(documented, text)


def _members(owner: Any) -> Iterator[Any]:
    """Yield what is public, stands in this very place, and has a docstring, as on the page."""
    for name, member in owner.members.items():
        if not name.startswith("_") and not member.is_alias and member.docstring:
            yield member


def _described(owner: Any, level: int, path: str) -> Iterator[str]:
    """Yield what is said of an object, under the name that the page has for it."""
    owner = owner.final_target if owner.is_alias else owner
    yield f"{'#' * level} `{path}`"
    yield f"```python\n{_signature(owner)}\n```"
    yield from _docstring(owner)
    if owner.is_class:
        for member in _members(owner):
            yield from _described(member, level + 1, f"{path}.{member.name}")


def _signature(owner: Any) -> str:
    if owner.is_class:
        init = owner.all_members.get("__init__")
        parameters = init.signature().split("(", 1)[1].removesuffix(" -> None") if init else ")"
        return f"class {owner.name}({parameters.removeprefix('self, ').removeprefix('self')}"
    if owner.is_function:
        kinds = [kind for kind in ("classmethod", "staticmethod") if kind in owner.labels]
        return "".join(f"@{kind}\n" for kind in kinds) + str(owner.signature())
    value = f" = {owner.value}" if owner.value else ""
    annotation = f": {owner.annotation}" if owner.annotation else ""
    return f"{owner.name}{annotation}{value}"


def _docstring(owner: Any) -> Iterator[str]:
    if owner.docstring:
        for section in owner.docstring.parse("google", returns_multiple_items=False):
            yield from _section(section)


def _section(section: Any) -> Iterator[str]:
    kind, value = section.kind.value, section.value
    if kind == "text":
        yield value
    elif kind == "admonition":
        yield f"**{section.title}**"
        yield value.description
    elif kind == "examples":
        yield "**Examples**"
        yield from (
            f"```python\n{text}\n```" if k.value == "examples" else text for k, text in value
        )
    else:
        yield f"**{kind.replace('other ', '').capitalize()}**"
        yield "\n".join(_item(item) for item in value)


def _item(item: Any) -> str:
    """Return a parameter, a result or an exception as an item of a list."""
    name = getattr(item, "name", "") or ""
    kind = f" ({item.annotation})" if item.annotation and name else f"{item.annotation or ''}"
    label = f"`{name}`{kind}" if name else f"`{kind}`"
    return f"- {label}: {' '.join(item.description.split())}"
