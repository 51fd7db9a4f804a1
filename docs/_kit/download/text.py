"""A page as Markdown with its results, for machines that read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from _kit.download.cells import fenced, shown
from _kit.download.generated import generated
from _kit.download.marks import for_machines
from _kit.download.source import Fence, Text

LABELS = {
    "starter": "Start from this",
    "check": "It must pass this check",
    "solution": "Solution",
}


def text(pieces: Iterable[Text | Fence]) -> str:
    """Return the Markdown of a page."""
    parts: list[str] = []
    for piece in pieces:
        parts += [for_machines(piece.text)] if isinstance(piece, Text) else _fence(piece)
    return "\n\n".join(parts) + "\n"


def _fence(fence: Fence) -> Iterator[str]:
    """Yield the code, unless the page leaves it out, and what it left."""
    if fence.block.executes in LABELS:
        yield f"{LABELS[fence.block.executes]}:"
    if not fence.runs:
        yield shown(fence)
        return
    if fence.block.options.get("source") != "none":
        yield fenced(fence.block.code.strip("\n"), "python")
    output, error = fence.left["output"].strip("\n"), fence.left["error"]
    if fence.result in {"figure", "slider"}:
        yield "**Figure. {title}.** {caption} *(What is drawn: {alt})*".format_map(fence.left)
    if fence.result == "slider":
        yield generated(f"fig-{fence.block.options.get('id')}")
    elif fence.result == "markdown":
        yield output
    elif output or error:
        yield fenced("\n".join(filter(None, [output, error])), "text")
