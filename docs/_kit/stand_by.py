"""Copies of a process that runs a page, so that at the next save only what changed runs again.

A page's names are real objects, and no file holds them truthfully. So while a page is previewed,
the process that runs it leaves copies of itself behind, where a block has just ended. When the page
is saved, the newest copy for which all is as it was up to its block carries on from there: it
builds the page anew, takes over what it has, and runs the blocks below. What it gives is what a run
from the start gives, the state of random generators and of other modules included.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from _kit.builder import saved
from _kit.page import Block, Page, earlier, run_keys, watchers

WORTH = 0.1  # seconds of running that are worth a copy, which costs some hundredths and megabytes

Build = Callable[[socket.socket], None]
callers: list[socket.socket] = []
"""Who waits for what this process builds; no copy may hold the line, or a crash is not heard."""


def leave_copies(
    name: str, folder: Path, alive: socket.socket, caller: socket.socket, build: Build
) -> None:
    """Let this process leave copies behind as it runs a page.

    Args:
        name: The page, for example `docs/learn/backward.md`.
        folder: Where the copies are to be found: sockets whose names sort by age.
        alive: Is at its end when whoever wants the copies is gone.
        caller: Waits for what this process builds.
        build: Builds the page, and tells over a socket how it went.
    """
    callers[:] = [caller]
    before = _stamp(name)
    since = time.perf_counter()

    def watch(page: Page, block: Block) -> None:
        nonlocal since
        if block.executes == "off" or time.perf_counter() - since < WORTH:
            return
        page.leave()
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork() == 0:
            callers.pop().close()
            _stand_by(folder / f"{time.monotonic_ns():020}", page, block, before, alive, build)
        since = time.perf_counter()

    watchers[:] = [watch]


def _stamp(but: str) -> str:
    """Return a word that changes with all files that a page may depend on, but for itself."""
    around = (path for path in sorted(Path().glob("*.*")) if path.is_file())
    states = {path: path.stat().st_mtime_ns for path in around} | saved()
    states.pop(Path(but), None)
    return sha256(repr(states).encode()).hexdigest()


def _stand_by(
    place: Path, page: Page, block: Block, before: str, alive: socket.socket, build: Build
) -> NoReturn:
    """Wait, as a copy, for a build that can begin behind a block; end when there will be none."""
    building = 0
    try:
        with _listening(place) as server:
            while alive not in select.select([server, alive], [], [])[0]:
                caller, _ = server.accept()
                if not _holds(page, block, before):
                    break
                _end(building)
                building = os.fork()
                if building == 0:
                    server.close()
                    callers[:], earlier[:] = [caller], [page]
                    build(caller)
                    os._exit(0)
                caller.close()
    finally:
        _end(building)
        os._exit(0)


def _end(process: int) -> None:
    """End a process that builds, if there is one, and if it still does."""
    if process:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


@contextlib.contextmanager
def _listening(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        try:
            yield server
        finally:
            place.unlink(missing_ok=True)


def _holds(page: Page, block: Block, before: str) -> bool:
    """Tell whether a page, up to a block, and all around it are as they were."""
    then, now = run_keys(page.source), run_keys(Path(page.name).read_text(encoding="utf-8"))
    same = slice(block.number + 1)
    return then[same] == now[same] and before == _stamp(page.name)
