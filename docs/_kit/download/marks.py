"""What the site's own marks in a text become where only plain Markdown is read."""

from __future__ import annotations

import re

_INNER = r"(?:[^\[\]`$]|`[^`]*`|\$[^$]*\$|\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])?)*"
_SAID = re.compile(rf'\[({_INNER})\]\{{\s*(claim|settled|cited|hunch)(?:="([^"]*)")?\s*\}}')
_LINK = re.compile(
    r"(`+).+?\1|\$[^$]+\$|(!?)\[([^\]]*)\](?:\(([^()\s]*)\)|\[([^\]]+)\])", re.DOTALL
)
_ATTRIBUTES = re.compile(r"[ \t]*\{:?[ \t]*[#.][^{}\n]*\}[ \t]*$", re.MULTILINE)


def for_machines(text: str) -> str:
    """Return a text whose links lead to the other pages' Markdown, and whose claims are marked."""
    return _ATTRIBUTES.sub("", _LINK.sub(_object, _said(text, " (checked)")))


def for_students(text: str) -> str:
    """Return a text that makes sense far from the site: relative links leave their words."""
    return _ATTRIBUTES.sub("", _LINK.sub(_words, _said(text, "")))


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without marks."""
    paragraph = text.strip().split("\n\n", 1)[0].replace("\n", " ").replace("**", "")
    plain = for_students(paragraph)  # a mark may hold two sentences
    sentence = re.match(r".*?[.?!](?=\s|$)", plain)
    return sentence[0] if sentence else plain


def _said(text: str, checked: str) -> str:
    def mark(match: re.Match[str]) -> str:
        said, how, source = match.groups()
        return said + (checked if how in {"claim", "settled"} else f" ({source or how})")

    return _SAID.sub(mark, text)


def _object(match: re.Match[str]) -> str:
    """Return a reference to an object of the package as words and its name; no page is known."""
    words, name = match[3], match[5]
    if not name:
        return match[0]
    return (
        words if words.strip("`").split(".")[-1] == name.split(".")[-1] else f"{words} (`{name}`)"
    )


def _words(match: re.Match[str]) -> str:
    target = match[4]
    if target is None:
        return _object(match)
    return match[0] if target.startswith(("http:", "https:")) else match[3]
