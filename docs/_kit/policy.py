"""A strict Content-Security-Policy in every page: what it may load, and which scripts may run.

A page states in its head that only the site's own files may be loaded, and lists the digests of its
inline scripts. So nothing that finds its way into a page can run, or tell anybody who reads it. The
policy has no exception for styles or event handlers in attributes; a page that has them would be
broken in silence, and is refused instead.
"""

from __future__ import annotations

import base64
import hashlib
import re

from _kit.built import Built, Site
from _kit.page import PageError

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",  # and the digests
    "style-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self' data:",  # the icons stand in the style sheets
    "connect-src": "'self'",  # the search fetches its index
    "worker-src": "'self'",  # .. and runs beside the page
    "base-uri": "'none'",
    "form-action": "'none'",
}

_CHARSET = re.compile(r'<meta charset="utf-8"\s*/?>')
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z](?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(r"\s([\w:-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)")
_RUNS = re.compile(r'type="(?!module|text/javascript)')  # other types are data, which nothing runs


def protect(site: Site) -> None:
    """Put the policy into each page.

    Args:
        site: The built site, with all scripts that it will have.

    Raises:
        PageError: If a page has something that the policy would break.
    """
    for page in site.pages:
        _refuse(page)
        meta = f'<meta http-equiv="Content-Security-Policy" content="{_policy(page.html)}">'
        charset = _CHARSET.search(page.html)
        if not charset:
            what = "a page must state its character set, or the policy has no place in its head."
            raise PageError(page.path, what, 'Put <meta charset="utf-8"> first in the head.')
        page.html = f"{page.html[: charset.end()]}\n{meta}{page.html[charset.end() :]}"


def _policy(html: str) -> str:
    """Return the policy of a page; double quotes do not occur in it."""
    scripts = [code for attributes, code in _SCRIPT.findall(html) if _is_inline(attributes)]
    digests = (hashlib.sha256(code.encode()).digest() for code in scripts)
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    policy = POLICY | {"script-src": " ".join([POLICY["script-src"], *sorted(set(allowed))])}
    return "; ".join(f"{what} {where}" for what, where in policy.items())


def _is_inline(attributes: str) -> bool:
    return not re.search(r"\bsrc=", attributes) and not _RUNS.search(attributes)


def _refuse(page: Built) -> None:
    """Refuse what the policy would silently switch off.

    Raises:
        PageError: For a handler or a style in an attribute, a style element, or a script in a link.
    """
    for tag in _TAG.findall(_SCRIPT.sub("", page.html)):
        if tag.startswith("<style") or any(map(_is_code, _ATTRIBUTE.findall(tag))):
            raise PageError(
                str(page.record.get("source", page.path)),
                f"the site's policy allows no style and no script in the text; found {tag}",
                "Use a class, a style sheet or a script file of the site.",
            )


def _is_code(attribute: tuple[str, str]) -> bool:
    """Return whether an attribute, name and value, is a style or a script."""
    name, value = attribute[0].lower(), attribute[1].strip("\"' \t\n").lower()
    return name == "style" or name.startswith("on") or value.startswith("javascript:")
