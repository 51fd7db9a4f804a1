"""The last step of a build, over the built files: what only the whole site can know.

Each page left its record behind its text (see page.py). Here the records are taken out of the
pages, and every step gets all pages at once. Nothing is written before all steps have passed.
MkDocs calls this as a hook (see hooks.py); with another builder it is `python -m _kit.finish site`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from _kit import download, facts, head, mend, overview, policy, social, styles, valid
from _kit.built import Site

STEPS: list[Callable[[Site], None]] = [  # in this order
    overview.settle,
    overview.claims,
    overview.status,
    facts.write,
    head.describe,
    download.write,
    social.write,
    valid.take_out_what_is_invalid,
    mend.theme,
    head.preload,
    styles.gather,
    policy.protect,  # last: it allows the scripts that the other steps left
]


def finish(folder: Path) -> None:
    """Take all steps over a built site.

    Args:
        folder: The folder of the built files.
    """
    site = Site.read(folder)
    for step in STEPS:
        step(site)
    site.write()


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
