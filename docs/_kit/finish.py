"""The last step of a build, over the built files: what only the whole site can know.

Each page left its record behind its text (see page.py). Here the records are taken out of the
pages, and every step gets all pages at once. Nothing is written before all steps have passed.
MkDocs calls this as a hook (see hooks.py); with another builder it is `python -m _kit.finish site`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from _kit import download, facts, head, mend, overview, pace, policy, social, styles, valid
from _kit.built import Site

Step = Callable[[Site], None]
STEPS: list[Step] = [  # in this order
    overview.unique,
    overview.settle,
    overview.claims,
    overview.status,
    pace.slowest,
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


def finish(folder: Path, steps: Sequence[Step] = STEPS) -> None:
    """Take all steps over a built site.

    Args:
        folder: The folder of the built files.
        steps: The steps, in their order.
    """
    site = Site.read(folder)
    for step in steps:
        step(site)
    site.write()


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
