r"""Try the laws on a batch norm, one after the other, and name what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

from refbn.conventions import CONVENTIONS, Convention
from refbn.diagnose.adapters import target_of
from refbn.diagnose.case import Broken, Case, Found
from refbn.diagnose.declared import matches
from refbn.diagnose.findings import Finding, Verdict
from refbn.diagnose.infer import infer, layouts_taken
from refbn.diagnose.laws import LAWS, Law
from refbn.diagnose.limit import Outcome, limited
from refbn.diagnose.recognise import Slip, mistakes
from refbn.diagnose.report import Report
from refbn.diagnose.subject import Lacking, Target

_PATIENCE = 2  # laws that come to no end, after which no other is tried


def check(
    thing: Any, *, like: str | Convention | None = None, seconds: float = 5.0, **how: Any
) -> Report:
    """Diagnose a batch norm: try all laws on it, and read its convention off its behaviour.

    Args:
        thing: A function of NumPy arrays, a class or an object with `forward`, a torch module, a
            Keras layer, the path of an ONNX file, or a class derived from
            [`Subject`][refbn.diagnose.Subject].
        like: The convention that it must follow: one of [`refbn.conventions`][refbn.conventions],
            or its name, such as `"PyTorch"`.
        seconds: How long a law may take.
        **how: What the adapter takes: for a function `infer`, `backward` and arguments by name.

    Returns:
        The report. Printed, it is readable.

    Raises:
        TypeError: If nothing can be made of `thing`, or of what is said of it.
        ValueError: If `like` is no convention, or `seconds` is not positive.

    Examples:
        >>> def batch_norm(x, gamma, beta, eps=1e-5):
        ...     std = x.std(axis=0) + eps
        ...     return gamma * (x - x.mean(axis=0)) / std + beta
        >>> report = check(batch_norm)
        >>> report.mistakes[0].title
        'Epsilon is added to the standard deviation'
        >>> print(report)  # doctest: +ELLIPSIS
        batch_norm: 1 law broken, 1 caution
        <BLANKLINE>
        Most likely: Epsilon is added to the standard deviation.
        (epsilon-outside)
        Add epsilon to the variance, then take the root.
        ✗ epsilon
        ...
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive; got {seconds}.")
    convention, made = _convention(like), limited(lambda: target_of(thing, **how), seconds)
    if isinstance(made.error, TypeError | ValueError | ImportError):
        raise made.error
    target: Target | None = made.value
    first = limited(lambda: layouts_taken(target), seconds) if target else made
    if target is None or first.value is None:
        name = target.name if target else getattr(thing, "__name__", type(thing).__name__)
        return Report(name, Found(), (), (_unusable(first, seconds),), (), first.printed)
    found, printed = infer(target, first.value, seconds)
    printed = made.printed + first.printed + printed
    findings: list[Finding] = []
    slips: list[Slip] = []
    for law in LAWS:
        if sum(finding.remark.startswith(_LATE) for finding in findings) >= _PATIENCE:
            findings.append(Finding(law.name, law.says, "untried", "Others came to no end."))
            continue
        outcome = limited(lambda law=law: _slip(law, target, found, convention), seconds)  # type: ignore[misc]
        findings.append(_finding(law, outcome, seconds))
        slips += [outcome.value] if outcome.value else []
        printed += outcome.printed
    return Report(target.name, found, matches(found), tuple(findings), mistakes(slips), printed)


def _slip(law: Law, target: Target, found: Found, like: Convention | None) -> Slip | None:
    """Return the examples that break a law, the smallest first; None if the law is kept.

    A table that raises hides no other that breaks the law.
    """
    examples, errors = [], []
    for layout in found.layouts:
        case = Case(target, layout, found, like)
        for table in map(case.table, law.tables):
            try:
                law.check(case, table)
            except Broken as broken:
                examples.append((case, table, broken))
            except Exception as error:  # noqa: BLE001 - whatever it raises
                errors.append(error)
    if errors and not examples:
        raise errors[0]
    return Slip(law, tuple(examples)) if examples else None


_LATE = "It came to no end"


def _finding(law: Law, outcome: Outcome, seconds: float) -> Finding:
    """Return what became of a law."""
    bad: Verdict = "caution" if law.caution else "broken"
    if outcome.late:
        return Finding(law.name, law.says, "broken", f"{_LATE} within {seconds:g} s.")
    if isinstance(outcome.error, Lacking):
        return Finding(law.name, law.says, "untried", f"It has no {outcome.error}.")
    if outcome.error is not None:
        return Finding(law.name, law.says, bad, f"It raised {_said(outcome.error)}")
    if outcome.value is None:
        return Finding(law.name, law.says, "kept")
    case, _, broken = outcome.value.examples[0]
    return Finding(
        law.name, law.says, bad, broken.wrong, case.layout, broken.given, broken.got, broken.want
    )


def _unusable(outcome: Outcome, seconds: float) -> Finding:
    """Return the only finding about what takes no batch at all."""
    says = "A batch of ordinary numbers comes out, in its own shape."
    wrong = f"{_LATE} within {seconds:g} s." if outcome.late else _said(outcome.error)
    return Finding("shape", says, "broken", wrong)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _said(error: BaseException | None) -> str:
    text = " ".join(_COLOUR.sub("", str(error)).split())
    return text if isinstance(error, Broken) else f"{type(error).__name__}: {text}"


def _convention(like: str | Convention | None) -> Convention | None:
    """Return the convention of a name, in any spelling of capitals."""
    if like is None or isinstance(like, Convention):
        return like
    if not isinstance(like, str):
        raise TypeError(f"like must be a convention or its name; got {type(like).__name__}.")
    names = {convention.name.lower(): convention for convention in CONVENTIONS.values()}
    names |= {key.lower(): value for key, value in CONVENTIONS.items()}
    if like.lower() not in names:
        known = ", ".join(convention.name for convention in CONVENTIONS.values())
        raise ValueError(f"like must be the name of a convention; got {like!r}. Known: {known}.")
    return names[like.lower()]
