"""`make page NAME=learn/my-question`: a page that has all its parts, is green, and is in the menu.

It is made of page.md, which stands beside this file, and comes at the end of the section of its
folder. So the page that was the last one there now leads to it, and it leads where that one led.
This program needs nothing but Python; it is called in the folder of mkdocs.yml.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).with_name("page.md")
CONFIG, DOCS = Path("mkdocs.yml"), Path("docs")
NAME = re.compile(r"[a-z0-9-]+/[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAV = re.compile(r"^nav:\n(?:[ #].*\n)+", re.MULTILINE)
ENTRY = re.compile(r"^( +- )(?:.*: )?([\w-]+)/([\w-]+\.md)\b.*\n", re.MULTILINE)
CLAIM = re.compile(r'\{claim="([\w-]+)"\}')
FENCE = re.compile(r"^( *)(`{3,})[^`\n]*\n.*?^\1\2 *$", re.MULTILINE | re.DOTALL)
NEXT = re.compile(r"^Next: .*$", re.MULTILINE)
SAID = """\
{page} is made; {config} has it in the menu, and {before} leads to it.
Now write it: make preview PAGE={name} shows it at each save,
and make check PAGE={name} checks it.
"""
NO_TEXT = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}  # no words unless quoted


def refusal(what: str, remedy: str) -> SystemExit:
    """Return what ends the program, before anything is changed.

    Args:
        what: What must hold, and what was found instead.
        remedy: What to do about it.
    """
    return SystemExit(f"make page: {what}\n  To do: {remedy}")


def read_name(given: str) -> tuple[str, str]:
    """Return the folder and the name of a page.

    Args:
        given: Both, as they were given to make.
    """
    name = given.removeprefix("docs/").removesuffix(".md")
    if not NAME.fullmatch(name):
        what = (
            "NAME must be a folder and a name in small letters, digits and hyphens; "
            f"it is {given!r}."
        )
        raise refusal(what, "Write, for example, make page NAME=learn/my-question.")
    folder, _, stem = name.partition("/")
    return folder, stem


def last_entry(config: str, folder: str) -> re.Match[str]:
    """Return the last entry of a folder in the navigation.

    Args:
        config: What stands in mkdocs.yml.
        folder: The folder; its pages must lead from one to the next.
    """
    nav = NAV.search(config)
    entries = ENTRY.finditer(config, *nav.span()) if nav else []
    last = {entry[2]: entry for entry in entries}
    known = sorted(name for name in last if NEXT.search(read(DOCS / name / last[name][3])))
    if folder not in known:
        what = f"a page must be in a folder whose pages lead on to the next; {folder!r} is none."
        raise refusal(what, f"Choose one of {', '.join(known)}.")
    return last[folder]


def check_free(page: Path, text: str) -> None:
    """Let nobody's page be written over, and no claim have an id that is taken.

    Args:
        page: The file to come.
        text: What will stand in it.
    """
    if page.exists():
        raise refusal(f"the page must be a new one; {page} exists.", "Choose another NAME.")
    ids = claims(text)
    for other in sorted(DOCS.rglob("*.md")):
        taken = ids & claims(read(other))
        if taken and not other.samefile(TEMPLATE):
            what = f"no other page may have the claim {taken.pop()!r}; {other} has it."
            raise refusal(what, "Choose another NAME: the claims are called after it.")


def claims(text: str) -> set[str]:
    """Return the ids of the claims that a page makes; what stands in fences is only shown.

    Args:
        text: The page.
    """
    return set(CLAIM.findall(FENCE.sub("", text)))


def filled(stem: str, before: str, leads_on: str) -> str:
    """Return the text of a new page.

    Args:
        stem: Its name.
        before: The file of the page before it.
        leads_on: The line that leads to the page after it.
    """
    text = read(TEMPLATE)
    text = text.replace("new-page", stem).replace("New page", titled(stem))
    return NEXT.sub(lambda _: leads_on, text.replace("(before.md)", f"({before})"))


def titled(stem: str) -> str:
    """Return a name as words."""
    return stem.replace("-", " ").capitalize()


def make(given: str) -> str:
    """Make a page, put it into the navigation, and lead to it from the page before.

    Args:
        given: Folder and name.

    Returns:
        What was done, and what to do next.
    """
    folder, stem = read_name(given)
    config = read(CONFIG)
    entry = last_entry(config, folder)
    page, before = DOCS / folder / f"{stem}.md", DOCS / folder / entry[3]
    led = read(before)
    *_, leads_on = NEXT.finditer(led)
    text = filled(stem, before.name, leads_on[0])
    check_free(page, text)
    write(page, text)
    leads_here = f"Next: [{stem.replace('-', ' ')}?]({stem}.md)"
    write(before, led[: leads_on.start()] + leads_here + led[leads_on.end() :])
    title = f'"{titled(stem)}"' if stem in NO_TEXT else titled(stem)
    line = f"{entry[1]}{title}: {folder}/{stem}.md\n"
    write(CONFIG, config[: entry.end()] + line + config[entry.end() :])
    return SAID.format(page=page, config=CONFIG, before=before, name=f"{folder}/{stem}.md")


def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Write a file, with the same ends of lines everywhere."""
    path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.stdout.write(make(" ".join(sys.argv[1:])))
