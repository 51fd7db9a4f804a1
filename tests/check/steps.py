"""What is checked, in which order, and by which programs."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from check import read

LOGS = Path(".check")
COVERED = LOGS / "coverage.json"
PYTEST = (sys.executable, "-m", "pytest")
PARALLEL = ("--numprocesses", "auto", "--dist", "loadgroup")
MAKE = os.environ.get("MAKE", "make")


@dataclass(frozen=True)
class Program:
    """A program to run, and how its findings are read from what it prints."""

    command: tuple[str, ...]
    read: Callable[[str], list] = lambda _: []
    tests: bool = False  # it is pytest, and tells its results by the plugin
    needed: bool = False  # without its success the programs behind it have nothing to look at
    settings: dict[str, str] = field(default_factory=dict)  # for its environment


@dataclass(frozen=True)
class Step:
    """A part of the check."""

    name: str
    holds: str
    programs: tuple[Program, ...]


def pytest(*arguments, read=lambda _: []):
    """Return a call of pytest."""
    return Program((*PYTEST, "--continue-on-collection-errors", *arguments), read, tests=True)


def ruff(*arguments, read):
    """Return a call of ruff."""
    return Program((sys.executable, "-m", "ruff", *arguments), read)


STEPS = (
    Step(
        "style",
        "rules of Python, layout",
        (
            ruff("check", "--output-format=json", read=read.ruff),
            ruff("format", "--check", "--output-format=json", read=read.ruff_format),
        ),
    ),
    Step(
        "types",
        "types of package and kit",
        (Program((sys.executable, "-m", "mypy", "--output=json"), read.mypy),),
    ),
    Step("speed", "times, with nothing beside them", (pytest("-m", "alone"),)),
    Step(
        "package",
        "laws of refbn, every line run",
        (
            pytest(
                *("-m", "not alone", "--ignore=tests/site", *PARALLEL),
                *("--cov", f"--cov-report=json:{COVERED}"),  # below 100 % it fails
                read=lambda _: read.coverage(COVERED),
            ),
        ),
    ),
    Step(
        "site",
        "pages, kit, browsers",
        (pytest("tests/site", "-m", "not alone", *PARALLEL),),
    ),
    Step(
        "conformance",
        "refbn beside its peers",
        (Program((MAKE, "--no-print-directory", "conformance"), tests=True),),
    ),
    Step(
        "scale",
        "over ranks and on a cluster",
        (Program((MAKE, "--no-print-directory", "scale"), tests=True),),
    ),
    Step("wheel", "the built package, alone", (Program((MAKE, "--no-print-directory", "wheel")),)),
    Step(
        "newest", "with the newest versions", (Program((MAKE, "--no-print-directory", "newest")),)
    ),
)


def of_page(page):
    """Return the one step that checks what concerns one page: it is built alone, and judged."""
    site, mkdocs = str(LOGS / "site"), (sys.executable, "-m", "mkdocs", "build", "--strict")
    alone = Program((*mkdocs, "--site-dir", site), read.build, needed=True, settings={"PAGE": page})
    chosen = ("--page", page, "--built", site, "-m", "not alone")
    judged = pytest("tests/site", *chosen, "--numprocesses", "auto")
    return Step("page", page, (alone, judged))
