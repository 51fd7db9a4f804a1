"""What stands in the built page and not in its source, as Markdown: tables that a step wrote."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_MARK = re.compile(r"<!-- ([\w-]+) -->")


def generated(name: str) -> str:
    """Return the mark for what the built page has in an element of this id."""
    return f"<!-- {name} -->"


def fill(text: str, html: str) -> str:
    """Put into a page's Markdown what its HTML has at the marks.

    Args:
        text: Markdown with marks, `<!-- name -->`.
        html: The built page: it has `<!-- name -->..<!-- /name -->`, or a figure of that id.
    """

    def filled(mark: re.Match[str]) -> str:
        name = mark[1]
        places = rf'<!-- {name} -->(.*?)<!-- /{name} -->|<figure[^>]* id="{name}"(.*?)</figure>'
        found = re.search(places, html, re.DOTALL)
        if not found:
            return mark[0]
        tables = "".join(re.findall(r"<table.*?</table>", found[2] or "", re.DOTALL))
        return as_markdown(found[1] or tables)

    return _MARK.sub(filled, text)


def as_markdown(html: str) -> str:
    """Return headings, lists and tables as Markdown; marks inside them are left out."""
    reader = _Reader()
    reader.feed(html)
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.parts)).strip()


_BEFORE = {"li": "- ", "h2": "\n\n## ", "caption": "\n\n**", "tr": "|", "td": " ", "th": " "}
_AFTER = {"li": "\n", "h2": "\n\n", "caption": "**\n\n", "tr": "\n", "td": " |", "th": " |"}
_BOTH = {"code": "`", "strong": "**", "table": "\n\n", "ul": "\n\n"}


class _Reader(HTMLParser):
    """Reads the few elements that the steps of the kit write."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.columns = 0
        self.target = ""
        self.spanned = 0  # rows that the first cell of a row still reaches into

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        if tag == "a":
            self.target = (dict(attrs).get("href") or "").replace(".html", ".md")
            self.parts.append("[")
        elif tag == "br":
            self.parts.append("; ")
        self.spanned += int(dict(attrs).get("rowspan") or 1) - 1
        self.columns = 0 if tag == "thead" else self.columns + (tag == "th")
        self.parts.append(_BEFORE.get(tag, _BOTH.get(tag, "")))
        if tag == "tr" and self.spanned:
            self.spanned -= 1
            self.parts.append("  |")

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        self.parts.append(_AFTER.get(tag, _BOTH.get(tag, "")))
        if tag == "a":
            self.parts.append(f"]({self.target})")
        elif tag == "thead":
            self.parts.append("|" + " --- |" * self.columns + "\n")

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.parts.append(re.sub(r"\s+", " ", data).replace("|", r"\|") if data.strip() else "")
