r"""Recognise a mistake: an exhibit of the museum that gives the same wrong numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from refbn.axes import Array
from refbn.diagnose.case import Broken, Case
from refbn.diagnose.findings import Mistake
from refbn.diagnose.laws import LAWS, Law
from refbn.diagnose.museum import EXHIBITS, Exhibit, Right
from refbn.diagnose.subject import Target

_SAME = 1e-3  # the same mistake gives the same numbers to rounding; others are far away


@dataclass(frozen=True)
class Slip:
    """A law that was broken, with the examples that broke it.

    Attributes:
        law: The law.
        examples: Case, table and what was wrong, the smallest first.
    """

    law: Law
    examples: tuple[tuple[Case, Array, Broken], ...]

    @property
    def finite(self) -> bool:
        """Whether any number of it is finite; without, all mistakes look the same."""
        return any(np.isfinite(broken.got).any() for *_, broken in self.examples)


def mistakes(slips: Sequence[Slip]) -> tuple[Mistake, ...]:
    """Return the fewest exhibits that give the same wrong numbers; others are only guessed.

    Args:
        slips: The laws that are broken.

    Returns:
        What is most likely, the exhibit that explains most first; then a guess for each law that
        none explains.
    """
    broken = {slip.law.name for slip in slips}
    same = {exhibit.name: _alike(exhibit, slips) for exhibit in EXHIBITS}
    left, chosen = set(broken), []
    while True:
        best = max(EXHIBITS, key=lambda exhibit: _explains(exhibit, same[exhibit.name], left))
        if not (explained := same[best.name] & left):
            break
        chosen.append((best, explained))
        left -= explained
    laws = {slip.law.name for slip in slips if not slip.law.caution}
    sure = len(left & laws) <= len(laws) / 2  # else what is the same is so by chance
    named = {exhibit.name for exhibit, _ in chosen}
    perhaps = [e for e in EXHIBITS if e.law in left and e.name not in named]
    return (
        *(_mistake(exhibit, explained, sure=sure) for exhibit, explained in chosen),
        *(_mistake(exhibit, {exhibit.law}, sure=False) for exhibit in perhaps),
    )


def _alike(exhibit: Exhibit, slips: Sequence[Slip]) -> set[str]:
    """Return the laws that an exhibit breaks with the same numbers.

    None if that is chance: if the law that catches it is kept, or there is no finite number.
    """
    same = [slip for slip in slips if _imitates(exhibit, slip)]
    caught = exhibit.law in {slip.law.name for slip in slips}
    telling = any(slip.law.name == exhibit.law or slip.finite for slip in same)
    return {slip.law.name for slip in same} if caught and telling else set()


def _explains(exhibit: Exhibit, same: set[str], left: set[str]) -> tuple[int, bool]:
    """Return how much an exhibit explains, and whether by its own law."""
    return len(same & left), exhibit.law in same & left


def _mistake(exhibit: Exhibit, explained: set[str], *, sure: bool) -> Mistake:
    cautions = {law.name for law in LAWS if law.caution}
    return Mistake(
        exhibit.name, exhibit.title, exhibit.instead, exhibit.law, tuple(sorted(explained)), sure,
        caution=explained <= cautions,
    )  # fmt: skip


def _imitates(exhibit: Exhibit, slip: Slip) -> bool:
    """Return whether an exhibit breaks a law with the same numbers, whatever variance it stores."""
    if exhibit.law != slip.law.name == "convention":
        return False  # there the numbers do not tell what differs
    found = slip.examples[0][0].found
    ddofs = (0, 1) if found.stored_ddof is None else (found.stored_ddof,)
    layout = slip.examples[0][0].layout  # in others the same mistake may have other axes
    return any(
        all(
            _same(exhibit, ddof, slip.law, case, table, broken)
            for case, table, broken in slip.examples
            if case.layout == layout
        )
        for ddof in ddofs
    )


def _same(exhibit: Exhibit, ddof: int, law: Law, case: Case, table: Array, broken: Broken) -> bool:
    """Return whether an exhibit gives the same wrong numbers of an example."""
    found, got = case.found, broken.got
    decay = 0.9 if found.decay is None else max(found.decay, 1 - found.decay)
    eps = found.eps or found.infer_eps or Right.eps
    settings = {"eps": eps, "decay": decay, "ddof": ddof, "channel_axis": case.layout.channel_axis}
    own = vars(exhibit.wrong)  # what an exhibit sets is its mistake
    wrong = type("Wrong", (exhibit.wrong,), {k: v for k, v in settings.items() if k not in own})
    case = replace(case, target=Target("", wrong, ()))
    table = table.astype(got.dtype if got.dtype.kind == "f" else float)
    theirs = _given_by(case, law, table)
    if theirs is None or theirs.shape != got.shape:
        return False
    scale = float(np.max(np.abs(got), initial=0, where=np.isfinite(got)))
    return np.allclose(got, theirs, _SAME, _SAME * scale, equal_nan=True)


def _given_by(case: Case, law: Law, table: Array) -> Array | None:
    """Return what a case gives that breaks a law; None if it keeps it, or raises."""
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        try:
            law.check(case, table)
        except Broken as broken:
            return broken.got
        except Exception:  # noqa: BLE001 - an exhibit may refuse what others take
            return None
    return None
