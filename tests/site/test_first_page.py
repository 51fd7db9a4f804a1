"""Whoever follows the page "Your first page" word for word gets what it says."""

import os
import re
import subprocess
import sys

import pytest
from building import ROOT, build
from check import read
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
        rf"^{start}.*?(?=^## |^/// question \| Predict|^Next: |\Z)", text, re.MULTILINE | re.DOTALL
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
    parts = re.findall(r"^## (.*?) \{", text, re.MULTILINE)
    assert [*STARTS, *parts] == list(PIECES)
    for part, piece in PIECES.items():
        text = replaced(text, part, piece)
        assert fails(text) == "", part
    page.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check", "--page", f"{NAME}.md"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CHECK", "COV"))}
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (copy / "tests", copy, copy / "docs")))}
    done = subprocess.run(
        command,
        cwd=copy,
        env=kept | paths,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    (shown,) = [block.code for block in BLOCKS if block.code.startswith("page: ")]
    assert words(done.stdout) == words(shown)


def words(text):
    """Return the words of a text, with its numbers made alike."""
    return re.sub(r"\d+", "0", text).split()


def test_each_slip_is_refused_in_the_page_as_it_is_told(page):
    """In the made page, each slip is refused with the words that are shown for it, but for places."""
    text, seen = page.read_text(encoding="utf-8"), {}
    for part, piece in PIECES.items():
        text = replaced(text, part, piece)
    before, mark, behind = text.rpartition("## Your turn")
    namespace = {}
    (first,) = [block for block in BLOCKS if "SLIPS = " in block.code]
    exec(compile(first.code, "first-page.md", "exec"), namespace)
    for name, slip in namespace["SLIPS"].items():
        said = message(f"{before}{slip}\n\n{mark}{behind}")
        seen[name] = said
        assert shape(said) in shape(namespace["shown"][name]), name
    assert len({shape(said) for said in seen.values()}) == len(seen) >= 7


def shape(said):
    """Return a message without the numbers of lines and blocks, and without what a block printed."""
    return re.sub(r"line \d+|block \d+|^\S+\.md:\d+: ", "", said)


def test_a_broken_link_is_told_as_shown(page, copy, monkeypatch):  # noqa: F811
    """The finding that the page shows for a link is that of `make check PAGE=…`."""
    (told,) = [block for block in BLOCKS if "single-samples" in block.header]
    text = replaced(page.read_text(encoding="utf-8"), "the title", PIECES["the title"])
    page.write_text(text.replace("single-sample.md", "single-samples.md"), encoding="utf-8")
    monkeypatch.chdir(copy)
    built = build(copy, "--strict", PAGE=f"{NAME}.md")
    assert [str(finding) for finding in read.build(built.stderr)] == [told.code]


def test_what_the_page_says_of_troubles_is_what_programs_say():
    """Each message in the table of troubles stands in the program that prints it."""
    told = re.findall(r"^- `(.*?)` –", SOURCE[SOURCE.index("## Troubles") :], re.MULTILINE)
    programs = ["Makefile", "docs/_kit/serve.py", "tests/site/test_browser.py"]
    known = "".join((ROOT / name).read_text(encoding="utf-8") for name in programs)
    for message_ in told[1:]:  # the first is the shell's
        for part in re.split(r"; got …|127\.0\.0\.1:8000 | \(Address.*", message_):
            assert part in known, part
