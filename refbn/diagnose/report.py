r"""What was found out, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refbn.diagnose.case import Found
from refbn.diagnose.findings import Finding, Mistake
from refbn.diagnose.lines import Line, convention, counts, slips, summary, wrapped


@dataclass(frozen=True)
class Report:
    """The diagnosis of a batch norm.

    Attributes:
        name: What was diagnosed.
        found: Its convention, as its behaviour shows it.
        matches: The frameworks whose defaults these are.
        findings: What became of each law.
        mistakes: The likely mistakes, the one that explains most first.
        printed: What it printed while it was tried.

    Examples:
        >>> from refbn.diagnose import check
        >>> def batch_norm(x):
        ...     return (x - x.mean(axis=0)) / (x.var(axis=0) + 1e-5)
        >>> report = check(batch_norm)
        >>> [mistake.name for mistake in report.mistakes]
        ['root-forgotten', 'half-statistics']
        >>> [finding.law for finding in report.broken]
        ['units', 'spread', 'epsilon']
        >>> report.exit_status
        1
    """

    name: str
    found: Found
    matches: tuple[str, ...]
    findings: tuple[Finding, ...]
    mistakes: tuple[Mistake, ...]
    printed: str = ""

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The laws that are broken; cautions are not among them."""
        return tuple(finding for finding in self.findings if finding.verdict == "broken")

    @property
    def exit_status(self) -> int:
        """0 if no law is broken, 1 if one is."""
        return int(bool(self.broken))

    def to_json(self) -> str:
        """Return the report as JSON; what is not finite stands there as a string.

        Returns:
            JSON text.
        """
        return json.dumps(_plain(asdict(self) | {"exit_status": self.exit_status}), indent=2)

    def __str__(self) -> str:
        """Return the report as text."""
        return "\n".join(text for text, _ in self.lines())

    def show(self) -> None:
        """Print the report, in colour where rich is installed."""
        try:
            from rich.console import Console  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415
        except ImportError:
            print(self)  # noqa: T201
            return
        console = Console()
        for text, style in self.lines():
            console.print(Text(text, style=style), soft_wrap=True)

    def explain(self, law: str) -> str:
        """Return what is wrong about one law.

        Args:
            law: Its name.

        Returns:
            Text: the likely mistake, and the smallest example.
        """
        findings = [finding for finding in self.findings if finding.law == law]
        return "\n".join(text for text, _ in wrapped(slips(findings, self.mistakes))).strip()

    def lines(self) -> Iterator[Line]:
        """Return the lines of the report.

        Yields:
            A line, and how rich may show it.
        """
        yield from wrapped(self._long_lines())

    def _long_lines(self) -> Iterator[Line]:
        yield summary(self.name, self.findings)
        yield from slips(self.findings, self.mistakes)
        if self.found.layouts:
            yield "", ""
            yield from convention(self.found, self.matches)
            yield "", ""
            yield from counts(self.findings)
        if self.printed:
            more = " …" * (len(self.printed) > 40)
            yield f"It printed {self.printed[:40]!r}{more}", "dim"


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
