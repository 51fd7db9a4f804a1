"""What stands in the built page and not in its source, as Markdown: tables that a step wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    """Return headings, lists and tables as Markdown.

    A Markdown table has one row of heads and no cell that spans others. So heads of two rows are
    joined by a sign of equality, a head that spans columns stands in each of them, and a cell that
    spans rows leaves the others empty.
    """
    reader = _Reader()
    reader.feed(html)
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.parts)).strip()


_BEFORE = {"li": "- ", "h2": "\n\n## ", "caption": "\n\n**", "br": "; ", "a": "["}
_AFTER = {"li": "\n", "h2": "\n\n", "caption": "**\n\n"}
_BOTH = {"code": "`", "strong": "**", "table": "\n\n", "ul": "\n\n"}


class _Reader(HTMLParser):
    """Reads the few elements that the steps of the kit write."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.target = ""
        self.row = -1
        self.rows: list[dict[int, str]] = []  # of the head, or of the body; by column
        self.cell = (0, 1, 1, 0)  # its column, columns, rows, and where its text begins

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        given = dict(attrs)
        self.parts.append(_BEFORE.get(tag, _BOTH.get(tag, "")))
        if tag == "a":
            self.target = (given.get("href") or "").replace(".html", ".md")
        elif tag in {"thead", "tbody"}:
            self.rows, self.row = [], -1
        elif tag == "tr":
            self.row += 1
        elif tag in {"td", "th"}:
            spans = int(given.get("colspan") or 1), int(given.get("rowspan") or 1)
            column = next(c for c in range(1000) if c not in self._cells(self.row))
            self.cell = (column, *spans, len(self.parts))

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        if tag in {"td", "th"}:
            self._place()
        elif tag == "thead":
            heads = [[r[c] for r in self.rows if r[c]] for c in sorted(self.rows[0])]
            self.parts.append(
                _row(" = ".join(texts) for texts in heads) + _row("---" for _ in heads)
            )
        elif tag == "tbody":
            self.parts += [_row(row[column] for column in sorted(row)) for row in self.rows]
        self.parts.append(
            f"]({self.target})" if tag == "a" else _AFTER.get(tag, _BOTH.get(tag, ""))
        )

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.parts.append(re.sub(r"\s+", " ", data).replace("|", r"\|") if data.strip() else "")

    def _cells(self, row: int) -> dict[int, str]:
        self.rows += [{} for _ in range(row + 1 - len(self.rows))]
        return self.rows[row]

    def _place(self) -> None:
        """Move the text of a cell to its places in the table."""
        column, columns, rows, begin = self.cell
        text = "".join(self.parts[begin:]).strip()
        del self.parts[begin:]
        for i in range(rows):
            for j in range(columns):
                self._cells(self.row + i)[column + j] = "" if i else text


def _row(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |\n"
