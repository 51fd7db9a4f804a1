r"""What was found out, in lines for people."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from refbn.axes import Array
from refbn.diagnose.case import Found
from refbn.diagnose.findings import Finding, Mistake, Verdict
from refbn.diagnose.laws import PLACES

WIDTH = 66  # as many letters as a line of the site shows
_MARKS: dict[Verdict, tuple[str, str]] = {
    "kept": ("✓", "green"), "broken": ("✗", "bold red"), "caution": ("!", "yellow"),
    "untried": ("·", "dim"),
}  # fmt: skip

Line = tuple[str, str]
"""A line, and how rich may show it."""


def wrapped(lines: Iterator[Line]) -> Iterator[Line]:
    """Return lines that are not too long; what goes on begins below what began."""
    for text, style in lines:
        begins = re.match(r"[✓✗!·] | +\w+ += | *", text)
        wrapper = textwrap.TextWrapper(
            WIDTH, subsequent_indent=" " * begins.end() if begins else "",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        yield from ((part, style) for part in wrapper.wrap(text) or [""])


def summary(name: str, findings: Sequence[Finding]) -> Line:
    """Return how many laws are broken."""
    broken, cautions = (
        sum(finding.verdict == verdict for finding in findings) for verdict in ("broken", "caution")
    )
    said = [_count(broken, "law") + " broken" if broken else "no law broken"]
    said += [_count(cautions, "caution")] if cautions else []
    return f"{name}: {', '.join(said)}", "bold red" if broken else "bold green"


def slips(findings: Sequence[Finding], mistakes: Sequence[Mistake]) -> Iterator[Line]:
    """Return what is wrong: likely mistakes first, then other laws, then cautions."""
    said: set[str] = set()
    broken = [finding for finding in findings if finding.verdict == "broken"]
    for mistake in mistakes:
        laws = [f for f in broken if f.law in mistake.laws and f.law not in said]
        if mistake.sure and laws:
            yield from _explained(mistake, laws)
            said.update(finding.law for finding in laws)
    for finding in (*broken, *(f for f in findings if f.verdict == "caution")):
        if finding.law not in said:
            yield "", ""
            yield from _example(finding)
            yield from _hints(finding, mistakes)


def _explained(mistake: Mistake, findings: list[Finding]) -> Iterator[Line]:
    """Return the lines about a mistake: what to do, and the example of the law that catches it."""
    yield "", ""
    yield f"Most likely: {mistake.title}. ({mistake.name})", "bold"
    yield mistake.instead, ""
    shown, *others = sorted(findings, key=lambda finding: finding.law != mistake.law)
    yield from _example(shown)
    if others:
        yield f"  The same mistake breaks {', '.join(other.law for other in others)}.", ""


def _hints(finding: Finding, mistakes: Sequence[Mistake]) -> Iterator[Line]:
    """Return what may be wrong where no example is wholly explained, and what to do."""
    for mistake in mistakes:
        if finding.law in mistake.laws:
            if finding.verdict == "broken":
                yield f"  Perhaps: {mistake.title}. ({mistake.name})", ""
            yield f"  {mistake.instead}", ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def convention(found: Found, matches: Sequence[str]) -> Iterator[Line]:
    """Return the convention that the behaviour shows, a line for each part."""
    unknown = "not seen"
    variances = {0: "the biased variance", 1: "the unbiased variance", None: unknown}
    ranks: dict[int, list[str]] = {}
    for layout in found.layouts:
        ranks.setdefault(layout.channel_axis, []).append(str(layout.rank))
    axes = (f"along axis {axis} of {' or '.join(of)} axes" for axis, of in ranks.items())
    compared = found.eps is not None and found.stored_ddof is not None
    none = "those of no framework that refbn knows" if compared else "not compared"
    decay = "" if found.decay is None else f", decay {found.decay:g}"
    said = {
        "epsilon": unknown if found.eps is None else _epsilon(found.eps, found.place),
        "running average": (found.average or unknown) + decay,
        "normalises with": variances[found.ddof],
        "stores": variances[found.stored_ddof],
        "channels": ", ".join(axes),
        "computes in": found.precision,
        "these defaults": ", ".join(matches) or none,
    }
    yield from ((f"{name:16} {what}", "") for name, what in said.items())


def _epsilon(eps: float, place: str | None) -> str:
    return f"{eps:g}, {PLACES[place]}" if place else "none"


def _example(finding: Finding) -> Iterator[Line]:
    """Return the lines about a law that is broken, with the smallest example."""
    mark, style = _MARKS[finding.verdict]
    yield f"{mark} {'caution: ' * (finding.verdict == 'caution')}{finding.law}", style
    yield f"  {finding.says}", ""
    yield f"  {finding.remark}", ""
    values = dict(finding.given or {})
    values |= {k: v for k, v in (("got", finding.got), ("due", finding.due)) if v is not None}
    width = max(map(len, values), default=0)
    for name, value in values.items():
        yield f"    {name:{width}} = {_short(value)}", ""
    if finding.layout and finding.layout.rank > 2 and finding.given and "x" in finding.given:
        shape, axis = finding.layout.array(finding.given["x"]).shape, finding.layout.channel_axis
        yield f"    with x in the shape {shape}, its columns along axis {axis}", ""


def counts(findings: Sequence[Finding]) -> Iterator[Line]:
    """Return the names of the laws that were kept, and of those that were not tried, with why."""
    kept = [finding.law for finding in findings if finding.verdict == "kept"]
    mark, style = _MARKS["kept"]
    yield f"{mark} {len(kept)} kept: {', '.join(kept)}", style
    mark, style = _MARKS["untried"]
    untried = [f for f in findings if f.verdict == "untried" and f.law != "convention"]
    for reason in dict.fromkeys(finding.remark for finding in untried):
        laws = [finding.law for finding in untried if finding.remark == reason]
        yield f"{mark} {len(laws)} not tried: {', '.join(laws)}. {reason}", style


def _short(value: Array) -> str:
    """Return an array in a line."""
    if np.size(value) == 0:
        return f"empty, of the shape {np.shape(value)}"
    text = np.array2string(
        np.asarray(value), precision=5, separator=", ", threshold=24, max_line_width=10**6
    )
    return " ".join(text.split())
