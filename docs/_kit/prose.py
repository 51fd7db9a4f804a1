"""What stands in the text of a page: code, formulas, values, and plain words."""

from __future__ import annotations

import re

SAME_PARAGRAPH = r"(?!\n[ \t]*\n)"
CODE = re.compile(
    rf"(?P<code>(?P<ticks>`+)(?!`)(?:{SAME_PARAGRAPH}.)+?(?<!`)(?P=ticks)(?!`))", re.DOTALL
)
FORMULA = (
    r"(?P<formula>\$\$.+?\$\$"
    rf"|(?<![\\$])\$(?!\s)(?:{SAME_PARAGRAPH}[^$])+?(?<![\s\\])\$)"
)
FIELD = re.compile(rf"\{{\{{ (?P<field>(?:{SAME_PARAGRAPH}.)+?) \}}\}}", re.DOTALL)
PLACES = re.compile(f"{CODE.pattern}|{FORMULA}|{FIELD.pattern}", re.DOTALL)
"""Finds in a text what is no plain word; the group that matched tells what it is."""


def blank(pattern: re.Pattern[str], text: str) -> str:
    """Return a text with what matches put out, every line and column where it was."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
