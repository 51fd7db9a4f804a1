r"""What became of the laws, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from refbn.axes import Array
from refbn.diagnose.layout import Layout

Verdict = Literal["kept", "broken", "caution", "untried"]


@dataclass(frozen=True)
class Finding:
    """What became of one law.

    Attributes:
        law: Its name.
        says: What must hold.
        verdict: `"kept"`, `"broken"`, `"caution"` for a law that many leave to their user, or
            `"untried"`.
        remark: What is wrong, or why it was not tried.
        layout: The layout of the smallest input that shows it.
        given: The smallest input that shows it, by name.
        got: What came out.
        due: What must come out; None where many things would do.
    """

    law: str
    says: str
    verdict: Verdict
    remark: str = ""
    layout: Layout | None = None
    given: dict[str, Array] | None = None
    got: Array | None = None
    due: Array | None = None


@dataclass(frozen=True)
class Mistake:
    """A likely mistake.

    Attributes:
        name: Name of the exhibit of the museum.
        title: The mistake.
        instead: What to do instead.
        law: The law that catches the exhibit.
        laws: The broken laws whose wrong numbers are those of the exhibit.
        sure: Whether the numbers are the same; if not, only the law points to it.
        caution: Whether it explains cautions only, and no broken law.
    """

    name: str
    title: str
    instead: str
    law: str
    laws: tuple[str, ...]
    sure: bool
    caution: bool
