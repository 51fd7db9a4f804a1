"""One build for somebody who writes, in a process of its own: every module as it is on the disk.

The process is a copy of one that has imported the large packages and nothing of ours, so that it
begins at once (see builder.py); or a copy of one that has run the first blocks of the page already
(see stand_by.py).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import traceback
from pathlib import Path

from click import ClickException
from mkdocs.commands.build import build
from mkdocs.config import load_config

from _kit import stand_by
from _kit.builder import Order


def begin(order: Order, alive: socket.socket, caller: socket.socket) -> None:
    """Build as ordered, in a new process, and tell how it went.

    Args:
        order: The order.
        alive: Is at its end when nobody wants anything any more.
        caller: Gets what `answer` writes: who builds, and later how it went.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever gave the order hears it
    logging.basicConfig(format="%(message)s")
    logging.getLogger("mkdocs.commands.build").addFilter(_is_no_error)
    logging.getLogger("mkdocs.kit").setLevel(logging.INFO)
    os.environ["PAGE"] = order.page

    def answer(to: socket.socket) -> None:
        to.sendall(f"{os.getpid()}\n".encode())
        to.sendall(json.dumps({"slip": _slip(order)}).encode() + b"\n")

    if order.page and hasattr(os, "fork"):
        stand_by.leave_copies(f"docs/{order.page}", Path(order.copies), alive, caller, answer)
    answer(caller)


def _is_no_error(record: logging.LogRecord) -> bool:
    """Tell whether a record is to be shown: what ends a build is told by whoever ordered it."""
    return record.levelno < logging.ERROR


def _slip(order: Order) -> str:
    """Build, and return what ended it; nothing if all went well."""
    try:
        config = load_config(site_dir=order.site, strict=False)
        config.plugins.on_startup(command="serve", dirty=False)
        config.site_url = order.url
        build(config, serve_url=order.url)
        config.plugins.on_shutdown()
    except ClickException as error:
        return error.format_message()
    except BaseException:  # noqa: BLE001 (whatever it is, the author is told, and the server goes on)
        return traceback.format_exc()
    return ""
