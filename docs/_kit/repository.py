"""What stands in the repository beside the pages, for pages that are about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def workflows() -> dict[str, Any]:
    """Return the workflows by the names of their files; `on` is a word in them, no truth value."""
    return {
        path.name: yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 (texts only)
        for path in sorted(Path(".github/workflows").glob("*.yml"))
    }


def locked() -> dict[str, int]:
    """Return how many hashes each locked package has, by its name and version."""
    hashes: dict[str, int] = {}
    for line in Path(".lock.txt").read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            hashes[line.split()[0]] = 0
        elif "--hash=" in line:
            hashes[[*hashes][-1]] += 1
    return hashes
