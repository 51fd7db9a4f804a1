r"""Call what may hang, print, warn or raise, and learn what it did."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    Attributes:
        value: What it returned.
        error: What it raised.
        late: Whether it had not returned in time.
        printed: What it printed.
    """

    value: Any = None
    error: BaseException | None = None
    late: bool = False
    printed: str = ""


def limited(function: Callable[[], Any], seconds: float) -> Outcome:
    """Call a function, for some seconds at most.

    It runs in a thread of its own. One that hangs cannot be ended, only be left behind; it goes on
    until the program ends, which does not wait for it.

    Args:
        function: What to call.
        seconds: How long to wait.

    Returns:
        What became of it.
    """
    said, result = io.StringIO(), {}

    def call() -> None:
        try:
            with np.errstate(all="ignore"):
                result["value"] = function()
        except BaseException as error:  # noqa: BLE001 - also what would end the program
            result["error"] = error

    thread = threading.Thread(target=call, daemon=True)
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(action="ignore"),
    ):
        thread.start()
        thread.join(seconds)
    return Outcome(
        late=thread.is_alive(), printed=said.getvalue(), **({} if thread.is_alive() else result)
    )
