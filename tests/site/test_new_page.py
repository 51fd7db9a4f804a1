"""`make page NAME=learn/my-question` makes a page that passes every check, and harms no other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from building import CHECKERS, ROOT

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.about]
LEADS = re.compile(r"^Next: .*\((.*)\)$", re.MULTILINE)


class Plain(yaml.SafeLoader):
    """Reads YAML, and takes a tag that it does not know for its name."""


Plain.add_multi_constructor("", lambda _, tag, node: (tag, str(node.value)))


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the repository."""
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("docs", "refbn", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("mkdocs.yml", "CITATION.cff", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    if CHECKERS.exists():
        (tmp_path / "tests/site/node_modules").symlink_to(CHECKERS.resolve())
    return tmp_path


def make(folder, name):
    """Call the program as make does; return what it said, and whether it was content."""
    done = subprocess.run(
        [sys.executable, "docs/_kit/new.py", *name.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def contents(folder):
    """Return the texts that the program could change."""
    found = [folder / "mkdocs.yml", *sorted((folder / "docs").rglob("*.md"))]
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in found}


def menu(folder):
    """Return the navigation of a site, and all the rest of its settings."""
    text = (folder / "mkdocs.yml").read_text(encoding="utf-8")
    settings = yaml.load(text, Loader=Plain)  # noqa: S506 (it makes nothing else)
    return settings.pop("nav"), settings


def test_new_pages_pass_every_check_of_a_page(copy):
    """Two new pages, in two sections, are built and judged as any other, and nothing is wanting."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CHECK", "COV"))}
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (copy, copy / "docs")))}
    assert make(copy, "learn/made-by-a-test")[0] == 0
    assert make(copy, "family/made-by-another-test.md")[0] == 0
    for page in ("learn/made-by-a-test.md", "family/made-by-another-test.md"):
        flags = ["--page", page, "-m", "not alone", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/site", *flags],
            cwd=copy,
            env=kept | paths,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20, done.stdout[-6000:]


@pytest.mark.parametrize(
    ("name", "title"),
    [("learn/made-by-a-test", "Made by a test"), ("docs/edge-cases/no.md", "No")],
)
def test_a_new_page_is_the_last_of_its_section(copy, name, title):
    """The navigation has one line more, and the page before leads to it; it leads where that led."""
    before, (old, rest) = contents(copy), menu(copy)
    status, said = make(copy, name)
    assert status == 0, said
    after, (new, same) = contents(copy), menu(copy)
    page = name.removeprefix("docs/").removesuffix(".md") + ".md"
    assert same == rest
    sections = [pages for part in new for pages in part.values()]
    (section,) = [part for part in sections if isinstance(part, list) and {title: page} in part]
    assert section[-1] == {title: page}
    assert section.pop()
    assert new == old
    changed = sorted(name for name in after if after[name] != before.get(name))
    last = f"docs/{next(iter(section[-1].values()))}"
    assert changed == sorted([f"docs/{page}", last, "mkdocs.yml"])
    lines = after["mkdocs.yml"].splitlines(keepends=True)
    assert "".join(line for line in lines if page not in line) == before["mkdocs.yml"]
    assert LEADS.findall(after[last]) == [Path(page).name]
    assert LEADS.findall(after[f"docs/{page}"]) == LEADS.findall(before[last])
    assert f"make check PAGE={page}" in said
    assert f"docs/{page}" in said


REFUSED = {
    "": "NAME must be a folder and a name in small letters, digits and hyphens; it is ''.",
    "learn": "NAME must be a folder and a name in small letters",
    "learn/My-question": "NAME must be a folder and a name in small letters",
    "learn/my question": "it is 'learn/my question'.",
    "../learn/question": "NAME must be a folder and a name in small letters",
    "learn/backward": "the page must be a new one; docs/learn/backward.md exists.",
    "nowhere/question": "'nowhere' is none.\n  To do: Choose one of edge-cases, family, learn, practice",
    "reference/question": "a page must be in a folder whose pages lead on to the next",
    "learn/one-value-gives-beta": "no other page may have the claim 'one-value-gives-beta'; docs/edge",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_will_not_do_changes_nothing(copy, name):
    """What must hold, what was given, and what to do are said, and no file is another."""
    before = contents(copy)
    status, said = make(copy, name)
    assert status == 1
    assert REFUSED[name] in said
    assert "\n  To do: " in said
    assert contents(copy) == before


def test_a_section_whose_last_page_leads_nowhere_takes_none(copy):
    """Where a page leads on is read from the page before, so that one must say it."""
    path = copy / "docs/learn/does-it-help.md"
    path.write_text(LEADS.sub("", path.read_text("utf-8")), encoding="utf-8")
    status, said = make(copy, "learn/made-by-a-test")
    assert status == 1
    assert "'learn' is none.\n  To do: Choose one of edge-cases" in said
