"""Figures without what no eye can see: hundredths of a pixel are enough.

Matplotlib writes coordinates to a millionth and each tick on lines of its own. A page holds its
figures, so they are loaded before anything below them is shown.
"""

from __future__ import annotations

import re

from _kit.built import Site

_FIGURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_PLACES = re.compile(r'(?<=\s)(?:d|x|y|points|viewBox)="[^"]*"')
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_BETWEEN = re.compile(r">\s+<")
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')


def figures(site: Site) -> None:
    """Write the figures of all pages shorter.

    Args:
        site: The built site; its pages are changed.
    """
    for page in site.pages:
        page.html = _FIGURE.sub(lambda svg: _shorter(svg[0]), page.html)


def _shorter(svg: str) -> str:
    """Return a figure that looks the same."""
    svg = _UNTURNED.sub("", _BETWEEN.sub("><", svg))
    return _PLACES.sub(lambda place: re.sub(r"\s+", " ", _NUMBER.sub(_rounded, place[0])), svg)


def _rounded(number: re.Match[str]) -> str:
    short = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short
