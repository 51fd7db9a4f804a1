"""What pages became, kept between the builds of a server: only those that changed run again.

A page is kept under a key of all that it is made of: its source, with all its blocks; the sources
of the package and of this kit; the settings, and the files that they name; which pages there are;
and the versions of Python and of all that is installed. Only servers keep pages. A site that is to
be published is always made from nothing.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from _kit.builder import saved, sources

FOLDER = Path(".kept")


class Kept:
    """The pages of a build, by their keys."""

    def __init__(self, config: Any, files: Any) -> None:
        """Read what all pages have in common.

        Args:
            config: MkDocs' configuration.
            files: MkDocs' files.
        """
        self._saved = saved()
        pages = {str(page.src_uri) for page in files.documentation_pages()}
        made_of = [_text(path) for path in _common(pages) + _named(config["mdx_configs"])]
        installed = sorted(f"{d.name} {d.version}" for d in distributions())
        self._common = repr((sys.version, installed, sorted(pages), made_of))

    def load(self, page: Any) -> Any:
        """Return what a page became when it was kept, or None."""
        try:
            return pickle.loads(self._place(page).read_bytes())  # noqa: S301 (our own file)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def save(self, page: Any, became: Any) -> None:
        """Keep what a page became, unless something was saved meanwhile: its key may be another."""
        if saved() != self._saved:
            return
        place = self._place(page)
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(pickle.dumps(became))
        unfinished.replace(place)
        for old in place.parent.glob(f"{_slug(page)}-*"):
            if old != place:
                old.unlink(missing_ok=True)

    def _place(self, page: Any) -> Path:
        key = hashlib.sha256((self._common + page.file.content_string).encode()).hexdigest()
        return FOLDER / f"{_slug(page)}-{key[:32]}"


def _slug(page: Any) -> str:
    return str(page.file.src_uri).replace("/", "-")


def _common(pages: set[str]) -> list[Path]:
    """Return the files that all pages are made of."""
    own = {Path("docs", page) for page in pages}
    return [path for path in sources() if path not in own]


def _named(settings: Any) -> list[Path]:
    """Return the files that the settings of the extensions name, the bibliography for one."""
    if isinstance(settings, dict):
        settings = list(settings.values())
    if isinstance(settings, list):
        return [path for setting in settings for path in _named(setting)]
    named = isinstance(settings, str) and len(settings) < 200 and Path(settings).is_file()  # noqa: PLR2004 (a path)
    return [Path(settings)] if named else []


def _text(path: Path) -> tuple[str, str]:
    return path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
