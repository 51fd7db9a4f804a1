"""Pages that execute are converted ahead, as many at once as there are processors.

What a page becomes does not depend on it: with one processor, or where processes cannot be forked,
the builder converts one page after the other and gets the same bytes.

Pages that hold `:::` stay with the builder: `mkdocstrings` notes there what it has documented.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import queue
import signal
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from logging.handlers import QueueHandler
from typing import Any

from markdown import Markdown

from _kit.page import PageError, declared_blocks

RENDERED = ["content", "toc", "present_anchor_ids", "links_to_anchors", "_title_from_render"]
"""What MkDocs' `Page.render` leaves at a page."""

PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent is gone

State = dict[str, Any]
Records = list[logging.LogRecord]
_build: tuple[Any, Any] = (None, None)  # configuration and files, which forked processes inherit


def begin(config: Any, files: Any) -> None:
    """Begin to convert the pages that execute.

    Args:
        config: MkDocs' configuration.
        files: MkDocs' files, with their pages.
    """
    global _build  # noqa: PLW0603 (a process that is forked sees it; it cannot be sent to one)
    pages = [file.page for file in files.documentation_pages() if _executes(file.content_string)]
    processors = _processors()
    if processors == 1 or not pages[1:]:
        return
    _build = config, files
    # What the extensions load once, such as fonts, they load here, once for all processes.
    Markdown(extensions=config["markdown_extensions"], extension_configs=config["mdx_configs"])
    fork = multiprocessing.get_context("fork")
    copies = ProcessPoolExecutor(min(processors, len(pages)), fork, _follow)
    for page in pages:
        page.render = partial(_take, page, copies.submit(_convert, page.file.src_uri))
    copies.shutdown(wait=False)  # they end once all is done


def end() -> None:
    """Convert no more pages: the build has failed, or the command ends."""
    for copy in multiprocessing.active_children():
        copy.terminate()


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


def _convert(name: str) -> tuple[State, Records]:
    """Convert a page as the builder does; return what it left at the page, and what it logged."""
    config, files = _build
    page = files.get_file_from_path(name).page
    logged: queue.Queue[logging.LogRecord] = queue.Queue()
    logging.getLogger("mkdocs").handlers = [QueueHandler(logged)]  # to be said when it is its turn
    page.read_source(config)
    page.markdown = config.plugins.on_page_markdown(
        page.markdown, page=page, config=config, files=files
    )
    type(page).render(page, config, files)
    state = {name: getattr(page, name) for name in RENDERED}
    links = state["links_to_anchors"] or {}
    state["links_to_anchors"] = {to.src_uri: anchors for to, anchors in links.items()}
    return state, list(logged.queue)


def _take(
    page: Any,
    converted: Future[tuple[State, Records]],
    config: Any,  # noqa: ARG001 (the arguments of what it stands for)
    files: Any,
) -> None:
    """Do what `Page.render` would do, with what another process made.

    Raises:
        PageError: For what is wrong with the page.
    """
    try:
        state, records = converted.result()
    except BrokenProcessPool as error:
        what = "a process ended without a word while it converted this page, or one beside it."
        remedy = "Look for what ends Python itself: a signal, a crash in a library, no memory."
        raise PageError(page.file.src_uri, what, remedy) from error
    links = state["links_to_anchors"]
    state["links_to_anchors"] = {files.get_file_from_path(to): links[to] for to in links}
    vars(page).update(state)
    for record in records:
        logging.getLogger(record.name).handle(record)
