"""The words of pages, docstrings and comments are British, or in the list of words.txt."""

import re
import shutil
import subprocess

import pytest
from bs4 import BeautifulSoup
from building import CHECKERS, ROOT, needs

pytestmark = [pytest.mark.xdist_group("site"), needs("node", "cspell")]

WORDS = (ROOT / "tests/site/words.txt").read_text(encoding="utf-8").split("\n")
SOURCES = [
    "*.md",
    "docs/**/*.md",
    "docs/**/*.css",
    "docs/**/*.js",
    "refbn/**/*.py",
    "docs/_kit/**/*.py",
]
SAID = ("alt", "aria-label", "placeholder", "title")  # attributes that are read out or shown
QUIET = ["--no-progress", "--no-summary", "--config", ROOT / "tests/site/cspell.json"]
# What a page shows and is no prose of ours: code, titles of papers, and what Material says.
UNSPELT = """script, style, code, pre, math, .symbol, svg, .references, .doc-heading, .md-nav--secondary,
    .md-search, .cited small, #not-checked + ul small, #bibliography ~ h3, #bibliography ~ h3 + p"""


def unknown(*flags, cwd=ROOT):
    """Return what the spelling checker does not know: a line each, or a word."""
    done = subprocess.run(
        [shutil.which("node"), CHECKERS / "cspell/bin.mjs", "lint", *QUIET, *flags],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(scope="session")
def sources(chosen):
    """Return what is read: the chosen page, or all files with prose in them."""
    return [f"docs/{chosen}"] if chosen else SOURCES


@pytest.fixture(scope="session")
def prose(built_site, judged, tmp_path_factory):
    """Return a folder with what each built page says: its text, and the texts of its pictures.

    What a block printed and what it computed for a caption stand in no source.
    """
    folder = tmp_path_factory.mktemp("prose")
    for path in judged:
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        said = [element.get_text() for element in page.select("svg title, svg desc")]
        for element in page.select(UNSPELT):
            element.decompose()
        said += [e[name] for e in page.select(":not(.autorefs)") for name in SAID if e.get(name)]
        said.append(page.get_text(" "))
        name = path.relative_to(built_site).with_suffix(".txt").as_posix().replace("/", "-")
        (folder / name).write_text("\n".join(said), encoding="utf-8")
    return folder


def test_every_word_of_the_sources_is_spelt_right(sources):
    """No word of a page, a docstring or a comment is misspelt, or spelt as in America."""
    assert unknown(*sources) == [], "Spell it as in Britain, or put it into tests/site/words.txt."


def test_every_word_of_the_built_pages_is_spelt_right(prose):
    """No word that a block printed or a caption computed is misspelt, or spelt as in America."""
    assert unknown("--root", prose, "**/*.txt", cwd=prose) == []


@pytest.mark.about
def test_the_list_of_words_is_in_order_and_no_longer_than_needed(prose):
    """The list is sorted, has no word twice, and none that is known or is used no more."""
    assert WORDS.pop() == ""
    assert sorted(set(WORDS), key=str.casefold) == WORDS
    flags = ("--disable-dictionary", "refbn", "--words-only", "--unique")
    needed = unknown(*flags, *SOURCES) + unknown(*flags, "--root", prose, "**/*.txt", cwd=prose)
    parts = {word.casefold() for word in needed}
    assert not [word for word in WORDS if not any(part in word.casefold() for part in parts)]


SLIPS = {  # a file, and the words in it that are to be found
    "1.md": ("A teh color of `teh`, $teh$ and\n\n```python\nteh = 1\n```\n", ["teh", "color"]),
    "2.md": ("Behavior [teh][teh]{claim=teh} is {{ teh(1) }}.\n", ["Behavior", "teh"]),
    "3.md": (
        "We normalize and optimize; refbn.teh or teh_teh did not.\n",
        ["normalize", "optimize"],
    ),
    "4.md": ("Text.\n\n    ```python\n    teh\n    ```\n\nTeh end.\n", ["Teh"]),
    "5.md": ("```python\nteh\n```\n\nTeh&nbsp;end.\n\n```python\nteh\n```\n", ["Teh"]),
    "1.py": ('"""Teh.\n\nArgs:\n    teh: Teh\n"""\nteh = 1  # a teh\n', ["Teh", "Teh", "teh"]),
    "2.py": ('"""A.\n\n    >>> teh()\n    teh\n\nThe center."""\n', ["center"]),
    "3.py": ('"""A.\n\nReferences:\n    Normalization.\n\nAn artifact."""\n', ["artifact"]),
    "4.py": ("teh = 'teh'  # noqa: TEH001 (teh)\n", ["teh"]),
    "1.css": ("/* The gray */ a { color: gray }\n", ["gray"]),
    "1.txt": ("NumPy's, PyTorch’s and teh Caffes\n", ["teh", "Caffes"]),
}


def test_slips_are_found_where_prose_is(tmp_path):
    """The checker reads prose and comments, and leaves code, formulas and titles alone."""
    for file, (text, _) in SLIPS.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    found = [
        re.fullmatch(r"(.*?):\d+:\d+ - (?:Unknown|Forbidden) word \((.*)\).*", line).groups()
        for line in unknown("--root", tmp_path, *SLIPS, cwd=tmp_path)
    ]
    for file, (_, words) in SLIPS.items():
        assert [word for name, word in found if name == file] == words, file
