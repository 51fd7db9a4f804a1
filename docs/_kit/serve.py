"""Serves a page, or all, while somebody writes, and builds again at each save.

    python -m _kit.serve 127.0.0.1:8000 learn/backward.md     that page alone
    python -m _kit.serve 127.0.0.1:8000                       all pages

It stands on MkDocs' server, which watches the files and lets browsers reload. Of all pages, the one
that was saved is built first, and shown; what it changes in others follows behind it.
"""

from __future__ import annotations

import difflib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from html import escape
from pathlib import Path

from mkdocs.livereload import LiveReloadServer

from _kit.builder import MADE_OF, TOLD_OF, Builder, OutdatedError, path_of, prepare, saved

MADE = ".html", ".py", ".ipynb", ".md"  # what a page becomes


class One:
    """Builds one page into a folder."""

    def __init__(self, page: str, folder: Path, url: str) -> None:
        """Build nothing yet.

        Args:
            page: The page, below docs/.
            folder: For the built files.
            url: Where they will be served.
        """
        self.page, self.shown = page, folder
        self._builder = Builder(page, folder, url)

    def build(self) -> None:
        """Build the page, and say how it went."""
        start = time.perf_counter()
        _say(self.make(), start)

    def make(self) -> str:
        """Build the page, or put in its place what is wrong with it; return the latter."""
        if slip := self._builder.build():
            _show(slip, self.shown / place_of(self.page))
        return slip

    def end(self) -> None:
        """End what waits to go on with the page."""
        self._builder.end()


class All:
    """Builds all pages: the one that was saved at once, the others behind it."""

    page = ""

    def __init__(self, folder: Path, url: str) -> None:
        """Build nothing yet.

        Args:
            folder: For the built files.
            url: Where they will be served.
        """
        self.shown, self._next, self._first = folder / "1", folder / "2", folder / "page"
        self._url = url
        self._one, self._rest = One("", self._first, url), Builder("", self._next, url)
        self._saved: dict[Path, int] = {}

    def build(self) -> None:
        """Build what has changed since the last time."""
        self._rest.end()
        self._rest = Builder("", self._next, self._url)
        before, self._saved = self._saved, saved()
        changed = {path for path, _ in before.items() ^ self._saved.items()}
        if len(changed) == 1 and all(self._shows(path) for path in changed):
            self._build_first(changed.pop().relative_to("docs").as_posix())
            threading.Thread(target=self._build_rest, args=[self._rest], daemon=True).start()
        else:
            self._build_rest(self._rest)

    def end(self) -> None:
        """End what builds, and what waits."""
        self._rest.end()
        self._one.end()

    def _shows(self, path: Path) -> bool:
        """Tell whether a file is a page that is shown already."""
        is_page = path.suffix == ".md" and path.is_relative_to("docs") and path.exists()
        return is_page and (self.shown / place_of(path.relative_to("docs").as_posix())).exists()

    def _build_first(self, page: str) -> None:
        """Build a page alone, and put it among the others."""
        if page != self._one.page:
            self._one.end()
            self._one = One(page, self._first, self._url)
        start = time.perf_counter()
        slip = self._one.make()
        for made in MADE:
            place = Path(place_of(page)).with_suffix(made)
            if (self._first / place).exists():
                shutil.copyfile(self._first / place, self.shown / place)
        _say(slip, start)

    def _build_rest(self, builder: Builder) -> None:
        """Build all pages, and show them in the place of those that are shown."""
        start = time.perf_counter()
        with suppress(OutdatedError):
            slip = builder.build()
            if builder is not self._rest:
                return  # it was ended, because something was saved
            if slip:
                _show(slip, self.shown / place_of(""))
            else:
                self.shown, self._next = self._next, self.shown
            _say(slip, start)


def place_of(page: str) -> str:
    """Return where in a site a page is; without one, where the site begins."""
    return f"{page.removesuffix('.md') or 'index'}.html"


def _say(slip: str, since: float) -> None:
    """Say what is wrong with what is shown now, or how long it took."""
    said = f"\n{slip}\n" if slip else f"Built in {time.perf_counter() - since:.1f} s."
    print(said, file=sys.stderr, flush=True)  # noqa: T201 (a program)


def _show(slip: str, place: Path) -> None:
    """Put what is wrong in the place of a page, so that it is seen there too."""
    place.parent.mkdir(parents=True, exist_ok=True)
    text = f"<!doctype html><title>Not built</title><body><pre>{escape(slip)}</pre></body>"
    place.write_text(text, encoding="utf-8")


class Server(LiveReloadServer):
    """MkDocs' server, which shows what the builder shows now."""

    def __init__(self, builder: One | All, host: str, port: int) -> None:
        """Serve nothing yet.

        Args:
            builder: Builds, and knows where the built files are.
            host: Name or number of this machine.
            port: Where browsers ask.
        """
        super().__init__(self.build, host, port, str(builder.shown), polling_interval=0.2)
        self._shows = builder
        self._seen: dict[Path, int] = {}
        self.url += place_of(builder.page)  # it is what is said where to look

    def build(self) -> None:
        """Build until what is shown is what was saved; what editors and Python leave is nothing."""
        while self._seen != (now := saved()):
            self._seen = now
            with suppress(OutdatedError):
                self._shows.build()

    @property
    def root(self) -> str:
        """Return the folder of the files that are served."""
        return str(self._shows.shown)

    @root.setter
    def root(self, folder: str) -> None:
        """Take no folder: the builder knows it."""


def serve(address: str, page: str) -> None:
    """Build and serve until somebody presses Ctrl-C.

    Args:
        address: Host and port.
        page: The page below docs/; empty for all.
    """
    for asked in (signal.SIGINT, signal.SIGTERM):  # the first may come in ignored
        signal.signal(asked, signal.default_int_handler)
    host, port = host_and_port(address)
    prepare()
    url = f"http://{address}/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        builder = One(page, Path(folder), url) if page else All(Path(folder), url)
        server = Server(builder, host, port)
        for path in filter(os.path.exists, (*MADE_OF, *TOLD_OF)):
            server.watch(path)
        try:
            server.build()
            server.serve()  # type: ignore[no-untyped-call] # MkDocs has none there
        except KeyboardInterrupt:
            print("Ended.", file=sys.stderr)  # noqa: T201 (a program)
        finally:
            server.shutdown()
            builder.end()


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of an address; end if it cannot be had, before anything is built.

    Args:
        address: Host and port.
    """
    host, _, port = address.rpartition(":")
    try:
        with LiveReloadServer(lambda: None, host or "?", int(port), "") as server:
            server.server_bind()
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", "") or error
        sys.exit(f"{address} cannot be had ({why}). Choose another: ADDRESS=host:port.")
    return host, int(port)


def _existing(page: str) -> str:
    """Return a page that somebody named by its path below docs/; end if there is none."""
    path, known = (
        path_of(page),
        [p.relative_to("docs").as_posix() for p in Path("docs").rglob("*.md")],
    )
    if path and path not in known:
        close = difflib.get_close_matches(path, known, n=1)
        remedy = f"Did you mean {close[0]}?" if close else f"make page NAME={page} makes one."
        sys.exit(f"PAGE must name a page below docs/; got {page!r}. {remedy}")
    return path


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("mkdocs.livereload").setLevel(logging.INFO)
    serve(sys.argv[1], _existing("".join(sys.argv[2:])))
