"""Whoever follows the page "Your first page" word for word gets what it says."""

import ast
import os
import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup
from building import ROOT
from test_new_page import copy, make  # noqa: F401 (`copy` is a fixture)

from _kit.page import declared_blocks
from _kit.tried import message

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.about]
SOURCE = (ROOT / "docs/contribute/first-page.md").read_text(encoding="utf-8")
BLOCKS = list(declared_blocks(SOURCE.split("\n"), first_line=1))
PIECES = {
    block.options["title"].removeprefix("instead of: "): block.code
    for block in BLOCKS
    if block.options.get("title", "").startswith("instead of: ")
}
NAME = "edge-cases/sample-twice"
STARTS = {"the title": "# ", "the prediction": "/// question | Predict"}


def replaced(text, part, piece):
    """Return a page with a part replaced, as the page tells: up to the next part, or to `Next:`."""
    start = re.escape(STARTS.get(part, f"## {part}"))
    found = re.search(
        rf"^{start}.*?(?=^## |^/// question \| Predict|^Next: |\Z)", text, re.M | re.S
    )
    assert found, part
    return f"{text[: found.start()]}{piece}\n\n{text[found.end() :]}"


@pytest.fixture
def page(copy):  # noqa: F811 (the fixture)
    """Return the page that the command makes."""
    status, said = make(copy, NAME)
    assert status == 0, said
    return copy / f"docs/{NAME}.md"


def fails(text):
    """Return what a build says of a page, or nothing."""
    try:
        return message(text)
    except ValueError:
        return ""


def test_the_page_passes_at_each_step_and_every_check_in_the_end(page, copy):  # noqa: F811
    """Part by part replaced, the page is always green; `make check PAGE=…` then finds nothing."""
    text = page.read_text(encoding="utf-8")
    parts = re.findall(r"^## (.*?) \{", text, re.M)
    assert [*STARTS, *parts] == list(PIECES)
    for part, piece in PIECES.items():
        text = replaced(text, part, piece)
        assert fails(text) == "", part
    page.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check", "--page", f"{NAME}.md"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CHECK", "COV"))}
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (copy / "tests", copy, copy / "docs")))}
    done = subprocess.run(
        command, cwd=copy, env=kept | paths, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout
    (shown,) = [block.code for block in BLOCKS if block.code.startswith("page: ")]
    assert words(done.stdout) == words(shown)


def words(text):
    """Return the words of a text, with its numbers made alike."""
    return re.sub(r"\d+", "0", text).split()
