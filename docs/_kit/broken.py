"""Where a package that the pages explain is broken, so that a page cannot even import it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def place(raised: BaseException, packages: Sequence[str]) -> str:
    """Return the line of a package at which its import failed; nothing if that did not.

    Args:
        raised: What a block of a page raised.
        packages: Names of the packages.

    Returns:
        For example `refbn/moments.py:17`.
    """
    frames = traceback.extract_tb(raised.__traceback__)
    places = [(frame.filename, frame.lineno, frame.name) for frame in frames]
    if isinstance(raised, SyntaxError):  # Python could not read the file, so no frame is of it
        places.append((raised.filename or "", raised.lineno, "<module>"))
    ours = [(source, *at) for file, *at in places if (source := _source(file, packages))]
    failed = any(name == "<module>" for *_, name in ours)  # what runs as a module is imported
    return f"{ours[-1][0]}:{ours[-1][1]}" if failed else ""


def _source(file: str, packages: Sequence[str]) -> str:
    """Return a file as the package that it is part of knows it; nothing for other files."""
    for spec in filter(None, map(find_spec, packages)):
        folder = Path(spec.origin or "").parent
        if Path(file).is_relative_to(folder):
            return Path(file).relative_to(folder.parent).as_posix()
    return ""
