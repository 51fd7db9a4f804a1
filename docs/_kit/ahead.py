"""Pages that execute are converted ahead, as many at once as there are processors.

What a page becomes does not depend on it: with one processor, or where processes cannot be forked,
the builder converts one page after the other and gets the same bytes.

Pages that hold `:::` stay with the builder: `mkdocstrings` notes there what it has documented.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from logging.handlers import QueueHandler
from typing import Any

from markdown import Markdown

from _kit import pace
from _kit.kept import Kept
from _kit.page import PageError, declared_blocks

RENDERED = ["content", "toc", "present_anchor_ids", "links_to_anchors", "_title_from_render"]
"""What MkDocs' `Page.render` leaves at a page."""

PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent is gone

State = dict[str, Any]
Records = list[logging.LogRecord]
Became = tuple[State, Records]
_build: tuple[Any, Any] = (None, None)  # configuration and files, which forked processes inherit
_copies: list[ProcessPoolExecutor] = []


def begin(config: Any, files: Any, kept: Kept | None = None) -> None:
    """Begin to convert the pages that execute.

    Args:
        config: MkDocs' configuration.
        files: MkDocs' files, with their pages.
        kept: Pages that need not be converted again, and a place for those that are.
    """
    global _build  # noqa: PLW0603 (a process that is forked sees it; it cannot be sent to one)
    _build = config, files
    pages = {
        file.src_uri: file.page
        for file in files.documentation_pages()
        if _executes(file.content_string)
    }
    became = {name: kept.load(page) if kept else None for name, page in pages.items()}
    left = [name for name in pages if became[name] is None]
    convert = dict(zip(left, _conversions(left, config), strict=True))
    for name, page in pages.items():
        if name in convert:
            told = partial(_telling, list(convert).index(name), convert)
            page.render = partial(_take, page, partial(_keeping, kept, page, told))
        else:
            page.render = partial(_take, page, partial(_same, became[name]))


def _conversions(names: list[str], config: Any) -> list[Callable[[], Became]]:
    """Return functions that give what each page became; where there can be, processes begin."""
    processors = _processors()
    if processors == 1 or len(names) < 2:  # noqa: PLR2004 (one needs no company)
        return [partial(_convert, name) for name in names]
    # What the extensions load once, such as fonts, they load here, once for all processes.
    Markdown(extensions=config["markdown_extensions"], extension_configs=config["mdx_configs"])
    fork = multiprocessing.get_context("fork")
    copies = ProcessPoolExecutor(min(processors, len(names)), fork, _follow)
    _copies.append(copies)
    futures = [copies.submit(_convert, name) for name in names]
    return [future.result for future in futures]


def end() -> None:
    """Convert no more pages: the build has failed, or the command ends.

    Python would end the executors too, but may then stumble over what it has closed already.
    """
    while _copies:
        for copy in multiprocessing.active_children():
            copy.terminate()
        _copies.pop().shutdown(cancel_futures=True)


def _follow() -> None:
    """Leave Ctrl-C to the builder, and end when it is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _processors() -> int:
    """Return how many processors there are for copies of this process: 1 where none can be made."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _executes(source: str) -> bool:
    blocks = declared_blocks(source.splitlines(), first_line=1)
    return ":::" not in source and any(block.executes != "off" for block in blocks)


def _convert(name: str) -> Became:
    """Convert a page as the builder does; return what it left at the page, and what it logged."""
    config, files = _build
    page = files.get_file_from_path(name).page
    with _noting() as logged:
        if page.markdown is None:  # the builder has not come as far
            page.read_source(config)
            page.markdown = config.plugins.on_page_markdown(
                page.markdown, page=page, config=config, files=files
            )
        type(page).render(page, config, files)
    state = {name: getattr(page, name) for name in RENDERED}
    links = state["links_to_anchors"] or {}
    state["links_to_anchors"] = {to.src_uri: anchors for to, anchors in links.items()}
    return state, list(logged.queue)


@contextlib.contextmanager
def _noting() -> Iterator[queue.Queue[logging.LogRecord]]:
    """Note what is logged instead of showing it: it will be said when it is the page's turn."""
    logged: queue.Queue[logging.LogRecord] = queue.Queue()
    logger = logging.getLogger("mkdocs")
    shown, logger.handlers = logger.handlers, [QueueHandler(logged)]
    try:
        yield logged
    finally:
        logger.handlers = shown


def _same(became: Any) -> Became:
    return became  # type: ignore[no-any-return] # it was kept as what it is


def _telling(done: int, convert: dict[str, Callable[[], Became]]) -> Became:
    """Convert the next page, and say how far the build is."""
    name = list(convert)[done]
    pace.tell(done, len(convert), name)
    return convert[name]()


def _keeping(kept: Kept | None, page: Any, convert: Callable[[], Became]) -> Became:
    """Convert a page, and keep what it became, where pages are kept."""
    became = convert()
    if kept:
        kept.save(page, became)
    return became


def _take(
    page: Any,
    convert: Callable[[], Became],
    config: Any,  # noqa: ARG001 (the arguments of what it stands for)
    files: Any,
) -> None:
    """Do what `Page.render` would do, with what the page became, here or in another process.

    Raises:
        PageError: For what is wrong with the page.
    """
    try:
        state, records = convert()
    except BrokenProcessPool as error:
        what = "a process ended without a word while it converted this page, or one beside it."
        remedy = "Look for what ends Python itself: a signal, a crash in a library, no memory."
        raise PageError(page.file.src_uri, what, remedy) from error
    links = state["links_to_anchors"]
    state["links_to_anchors"] = {files.get_file_from_path(to): links[to] for to in links}
    vars(page).update(state)
    for record in records:
        logging.getLogger(record.name).handle(record)
