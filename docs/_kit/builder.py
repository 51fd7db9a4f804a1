"""Builds of a page, or of all, for a server: each in a process that is begun for it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import select
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGE = [  # what a build needs of others, imported once for all builds; nothing of ours
    *("markdown_exec", "material", "matplotlib.pyplot", "mkdocs.commands.build", "mkdocstrings"),
    *("nbformat", "numpy", "PIL.Image", "pymdownx.superfences", "sympy", "yaml"),
]


ENDED = """\
A build must tell how it went; this one ended without a word.
  To do: Look for what ends Python itself: a signal, a crash in a library, no memory."""


PATIENCE = 0.2  # seconds between two looks whether something was saved while a page is built
MADE_OF = "docs", "refbn", "mkdocs.yml"
TOLD_OF = ".github", ".lock.txt"  # by the page on security
_LEFT = re.compile(r"[.#]|.*(?:~|\.pyc)$")  # names of what editors and Python leave beside a file


class OutdatedError(Exception):
    """Something was saved while it was built; what is on the disk now is to be built instead."""


@dataclass(frozen=True)
class Order:
    """What to build, and where to put it."""

    page: str  # below docs/, to build it alone; empty for all pages
    site: str  # folder of the built files
    url: str  # where they will be served
    copies: str  # folder of what stand_by.py keeps


def path_of(page: str) -> str:
    """Return a page by its path below docs/, however it was named; nothing for none."""
    name = page.removeprefix("docs/").removesuffix(".md")
    return f"{name}.md" if name else ""


def sources() -> list[Path]:
    """Return the files that a site is made of."""
    named = [Path(name) for name in (*MADE_OF, *TOLD_OF)]
    inside = [path for name in named for path in name.rglob("*") if not _LEFT.match(path.name)]
    return sorted(path for path in named + inside if path.is_file())


def saved() -> dict[Path, int]:
    """Return when each file was saved that a site is made of."""
    times = {}
    for path in sources():
        with suppress(FileNotFoundError):  # some editors make files that are gone at once
            times[path] = path.stat().st_mtime_ns
    return times


def prepare() -> None:
    """Let new processes be copies of one that has imported what is large, where that can be."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("forkserver", force=True)
        multiprocessing.set_forkserver_preload(LARGE)


class Builder:
    """Builds a page, or all pages, again and again."""

    def __init__(self, page: str, site: Path, url: str) -> None:
        """Build nothing yet.

        Args:
            page: Below docs/, to build it alone; empty for all pages.
            site: Folder of the built files.
            url: Where they will be served.
        """
        self._copies = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._order = Order(page, str(site), url, self._copies.name)
        self._ours, self._alive = socket.socketpair()  # what waits ends with the end of ours
        self._process: Any = None

    def build(self) -> str:
        """Build, and return what is wrong; nothing if all went well.

        Raises:
            OutdatedError: If a file is saved meanwhile. No process builds on then.
        """
        said = next(filter(None, self._answers()), b"")
        return str(json.loads(said)["slip"]) if said else ENDED

    def end(self) -> None:
        """End whatever still builds, or waits to go on with the page."""
        if self._process:
            self._process.terminate()
        self._ours.close()
        self._alive.close()
        self._copies.cleanup()

    def _answers(self) -> Iterator[bytes]:
        """Yield what comes of the newest copy, of the one before, ..., and of a new process."""
        before = saved()
        for place in sorted(Path(self._order.copies).iterdir(), reverse=True):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as copy:
                copy.connect(str(place))
                yield _heard(copy, before)
        ours, theirs = socket.socketpair()
        with closing(ours), closing(theirs):
            order = self._order, self._alive, theirs
            self._process = multiprocessing.Process(target=_begin, args=order)
            self._process.start()
            theirs.close()
            yield _heard(ours, before)


def _heard(builds: socket.socket, before: dict[Path, int]) -> bytes:
    """Return how a build went, as its process tells it; nothing if that ended without a word.

    The process says who it is first. So it can be ended when what it builds from is saved anew,
    even if a block of the page would never end.
    """
    with builds.makefile("rb", buffering=0) as line:  # no word may wait where select sees none
        process = int(line.readline() or 0)
        while not select.select([builds], [], [], PATIENCE)[0]:
            if saved() != before:
                with suppress(OSError):  # it may have ended just now
                    os.kill(process, signal.SIGTERM)
                raise OutdatedError
        return line.readline()


def _begin(order: Order, alive: socket.socket, caller: socket.socket) -> None:
    """Hand an order to the kit as it is on the disk now."""
    from _kit import once  # noqa: PLC0415 (it is imported anew in each new process, and only there)

    once.begin(order, alive, caller)
