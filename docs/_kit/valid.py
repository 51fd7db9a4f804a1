"""What the theme writes and HTML does not allow, taken out of every page."""

from __future__ import annotations

import re

from _kit.built import Site

_EMPTY = re.compile(r'(<label\b[^>]*) tabindex=""')  # of a section, which the keyboard passes by


def take_out_what_is_invalid(site: Site) -> None:
    """Drop attributes that have no value and need one.

    Args:
        site: The site; its pages are changed.
    """
    for page in site.pages:
        page.html = _EMPTY.sub(r"\1", page.html)
