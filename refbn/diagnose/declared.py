r"""Compare what was found with the conventions of the frameworks."""

from __future__ import annotations

import warnings

from refbn.conventions import CONVENTIONS, Convention
from refbn.diagnose.case import Found


def differences(
    found: Found, convention: Convention, rank: int
) -> dict[str, tuple[object, object]]:
    """Return in what a subject differs from a framework's defaults.

    Args:
        found: Its convention, as its behaviour shows it.
        convention: The framework's.
        rank: Number of axes of the batches.

    Returns:
        What was found and what is due, by name; without what was not seen.
    """
    words: dict[str, object] = {
        w: True for w, default in convention.words.items() if default is ...
    }
    if convention.average in words:
        words[convention.average] = 0.9 if found.decay is None else found.decay
    with warnings.catch_warnings(action="ignore"):
        layer = convention.layer(1, rank=rank, **words)
    rule = layer.update
    due = {
        "eps": layer.eps,
        "average": rule.func.__name__.removesuffix("_average").replace("_", " "),
        "place": "inside",
        "ddof": 0,
        "decay": rule.keywords.get("decay"),
        "stored_ddof": rule.keywords.get("ddof"),
    }
    seen = {name: getattr(found, name) for name in due}
    seen["eps"] = found.infer_eps if found.eps is None else found.eps
    return {
        name: (seen[name], due[name])
        for name in due
        if seen[name] is not None and seen[name] != due[name]
    }


def matches(found: Found) -> tuple[str, ...]:
    """Return the frameworks of whose defaults all was found.

    Args:
        found: The convention of a subject.

    Returns:
        Their names.
    """
    if found.eps is None or found.average in {None, "none"} or found.stored_ddof is None:
        return ()
    rank = found.layouts[0].rank
    return tuple(c.name for c in CONVENTIONS.values() if not differences(found, c, rank))
