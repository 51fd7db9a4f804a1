"""Figures without what no eye can see: tenths of a unit are enough.

Matplotlib writes coordinates to a millionth and each tick on lines of its own. A page holds its
figures, so they are loaded before anything below them is shown. A figure is some hundred units
wide; half a tenth of one is less than half a pixel of the sharpest screen.
"""

from __future__ import annotations

import re

from _kit.built import Site

_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_DRAWING = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_PLACES = re.compile(
    r'(?<=\s)(?:data-)?(?:d|x|y|cx|cy|x1|x2|y1|y2|width|height|points|viewBox)="[^"]*"'
)
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_BETWEEN = re.compile(r">\s+<")
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')


def figures(site: Site) -> None:
    """Write the figures of all pages shorter.

    Args:
        site: The built site; its pages are changed.
    """
    for page in site.pages:
        page.html = _FIGURE.sub(lambda one: _DRAWING.sub(_shorter, one[0]), page.html)


def _shorter(drawing: re.Match[str]) -> str:
    """Return a drawing that looks the same."""
    svg = _UNTURNED.sub("", _BETWEEN.sub("><", drawing[0]))
    return _PLACES.sub(lambda place: re.sub(" +", " ", _NUMBER.sub(_rounded, place[0])), svg)


def _rounded(number: re.Match[str]) -> str:
    short = f"{float(number[0]):.1f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short
