r"""One line in a test suite of yours, one test per law."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from refbn.diagnose.adapters import target_of
from refbn.diagnose.diagnosis import check
from refbn.diagnose.laws import LAWS


def laws(thing: Any, **how: Any) -> Callable[[str], None]:
    """Return a test for `pytest`: one for each law, in the name of the law.

    A law that does not apply is skipped, with the reason; so is a caution that is not heeded.

    Args:
        thing: What is diagnosed; see [`check`][refbn.diagnose.check].
        **how: As for `check`.

    Returns:
        A test function. Give it a name that begins with `test`.
    """
    import pytest  # noqa: PLC0415 - only who tests needs it

    like, seconds = how.pop("like", None), how.pop("seconds", 5.0)
    target = target_of(thing, **how)  # so that a slip in the words fails here, and once
    report = cache(lambda: check(target, like=like, seconds=seconds))

    @pytest.mark.parametrize("law", [law.name for law in LAWS])
    def test(law: str) -> None:
        finding = next(finding for finding in report().findings if finding.law == law)
        if finding.verdict == "untried":
            pytest.skip(finding.remark)
        if finding.verdict == "caution":
            pytest.skip(f"caution: {finding.remark}")
        if finding.verdict == "broken":
            pytest.fail(report().explain(law), pytrace=False)

    return test
