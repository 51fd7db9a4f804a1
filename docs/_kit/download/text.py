"""A page as Markdown with its results, for machines that read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from _kit.download.cells import fenced, shown
from _kit.download.marks import for_machines
from _kit.download.source import Fence, Text


def text(pieces: Iterable[Text | Fence]) -> str:
    """Return the Markdown of a page."""
    parts: list[str] = []
    for piece in pieces:
        parts += [for_machines(piece.text)] if isinstance(piece, Text) else _fence(piece)
    return "\n\n".join(parts) + "\n"


def _fence(fence: Fence) -> Iterator[str]:
    """Yield the code, unless the page leaves it out, and what it left."""
    if fence.left is None:
        yield shown(fence)
        return
    if fence.options.get("source") != "none":
        yield fenced(fence.block.code.strip("\n"), "python")
    output = fence.left.get("output", "").strip("\n")
    error = fence.left.get("error", "")
    if fence.result == "figure":
        yield "**Figure. {title}.** {caption} *(What is drawn: {alt})*".format_map(fence.left)
    elif fence.result == "markdown":
        yield output
    elif output or error:
        yield fenced("\n".join(filter(None, [output, error])), "text")
