"""How far a build has come, and at its end which blocks took longest."""

from __future__ import annotations

import logging

from _kit.built import Site

log = logging.getLogger("mkdocs.kit")  # below MkDocs' own: its -q and -v count
SHOWN = 5
WORTH = 1.0  # seconds that are worth a word


def tell(done: int, of: int, page: str) -> None:
    """Say which page is waited for, if there are several.

    Args:
        done: How many are done.
        of: How many there are to do.
        page: The one that is waited for.
    """
    if of > 1:
        log.info("%d of %d pages ran; now %s", done, of, page)


def slowest(site: Site) -> None:
    """Say which blocks took longest, and where they stand.

    Args:
        site: The built site.
    """
    took = [
        (seconds, f"{page.record['source']}:{line}")
        for page in site.pages
        for line, seconds in page.record.get("seconds", {}).items()
        if seconds > WORTH
    ]
    for seconds, place in sorted(took, reverse=True)[:SHOWN]:
        log.info("%.1f s in the block of %s", seconds, place)
