"""A text tried as a page: the message with which a build of the site would end.

Pages that teach how pages are written show it, so that no message in them can go stale:

    from _kit.tried import message

    print(message(text))

The text is converted in this process, as a page of the site would be, while a page that shows its
message is being converted itself. Neither of the two can tell.
"""

from __future__ import annotations

import contextlib
import decimal
import logging
import random
import re
import sys
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib as mpl
import numpy as np
from markdown import Markdown
from mkdocs.utils.yaml import yaml_load

from _kit.page import PageError, earlier, watchers

CONFIG = Path("mkdocs.yml")
NAME = "docs/your-page.md"


def message(text: str) -> str:
    """Return what a build says of a page that has this text, which must hold a slip.

    Args:
        text: The whole page. The message counts its lines, and calls it docs/your-page.md.

    Raises:
        ValueError: If nothing is wrong with the text.
    """
    settings = _settings()
    with _apart(settings["_kit.page"]["fresh"]), tempfile.TemporaryDirectory() as folder:
        place = Path(folder, NAME)
        place.parent.mkdir()
        place.write_text(text, encoding="utf-8")
        settings["_kit.page"]["docs"] = str(place.parent)
        settings["_kit.mathml"]["sources"] = [str(place.parent)]
        try:
            Markdown(extensions=[*settings], extension_configs=settings).convert(text)
        except PageError as error:
            return str(error).replace(f"{Path(folder).as_posix()}/", "")
    raise ValueError("a page that is tried must hold a slip; this one was converted without any.")


def converter() -> Markdown:
    """Return what converts the pages of the site, to be looked at."""
    settings = _settings()
    return Markdown(extensions=[*settings], extension_configs=settings)


def told(slips: dict[str, str]) -> str:
    """Return Markdown that shows slips, each with what a build says of it.

    Args:
        slips: Texts of pages that hold one slip each, by its name.
    """
    parts = []
    for name, text in slips.items():
        page, said = text.strip("\n"), message(text.strip("\n"))
        marks = "`" * max(len(run) + 1 for run in ["``", *re.findall("`+", page + said)])
        parts.append(
            f"**{name}**\n\n{marks}markdown\n{page}\n{marks}\n\n{marks}text\n{said}\n{marks}\n"
        )
    return "\n".join(parts)


def _settings() -> dict[str, Any]:
    """Return the extensions that mkdocs.yml names, with their settings."""
    with CONFIG.open(encoding="utf-8") as file:
        named = yaml_load(file)["markdown_extensions"]
    settings: dict[str, Any] = {}
    for entry in named:
        settings |= entry if isinstance(entry, dict) else {entry: {}}
    return settings


@contextlib.contextmanager
def _apart(fresh: list[str]) -> Iterator[None]:
    """Put aside all that a page begins with anew, and what looks on while pages run.

    Args:
        fresh: Packages that each page imports for itself.
    """
    looking, waiting, handlers = watchers[:], earlier[:], logging.getLogger().handlers[:]
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002 (pages may use it)
    imported = _imported(fresh)
    watchers.clear()
    earlier.clear()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            decimal.localcontext(),
            np.errstate(),
            np.printoptions(),
            mpl.rc_context(),
            mock.patch("matplotlib._pylab_helpers.Gcf.figs", OrderedDict()),
        ):
            yield
    finally:
        watchers[:], earlier[:], logging.getLogger().handlers[:] = looking, waiting, handlers
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002 (idem)
        for name in _imported(fresh):
            del sys.modules[name]
        sys.modules.update(imported)


def _imported(packages: list[str]) -> dict[str, Any]:
    """Return the modules of some packages that are imported."""
    return {name: found for name, found in sys.modules.items() if name.split(".")[0] in packages}
