"""The foot of each page: what was run and checked, with which versions, and how to cite it."""

from __future__ import annotations

import re
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import yaml

from _kit.built import Built, Site

CITATION = Path("CITATION.cff")
KINDS = {".py": "Python script", ".ipynb": "Notebook", ".md": "Markdown"}


def write(site: Site) -> None:
    """Put the facts at the foot of each page that has a source.

    Args:
        site: The built site; its pages are changed.
    """
    cited = yaml.safe_load(CITATION.read_text(encoding="utf-8")) if CITATION.exists() else {}
    commit = _git("describe", "--always", "--dirty", "--abbrev=10")
    year = _git("log", "-1", "--format=%cd", "--date=format:%Y")
    for page in site.pages:
        if page.record:
            foot = _foot(page, commit, _bibtex(page, cited, commit, year))
            page.html = page.html.replace("</article>", f"{foot}</article>", 1)


def _git(*command: str) -> str:
    """Return what git says of the sources; nothing where they are no repository."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _foot(page: Built, commit: str, bibtex: str) -> str:
    """Return the foot of a page."""
    record = page.record
    ran = [
        _count(len(record.get("blocks", [])), "block", "ran"),
        _count(len(record.get("claims", {})), "claim", "checked"),
    ]
    versions = [f"{name} {version}" for name, version in record.get("versions", {}).items()]
    source = f"<code>{escape(record['source'])}</code>"
    source += f" at <code>{escape(commit)}</code>" if commit else ""
    facts = [", ".join(filter(None, ran)), ", ".join(versions), f"source: {source}"]
    said = f"<p>{' · '.join(filter(None, facts))}</p>"
    entry = f"<pre><code>{escape(bibtex)}</code></pre>"
    cite = f"<details><summary>How to cite this page</summary>{entry}</details>"
    return f'<footer class="page-facts">{said}{_downloads(page)}{cite}</footer>'


def _count(number: int, what: str, done: str) -> str:
    return f"{number} {what}{'s' * (number != 1)} {done}" if number else ""


def _downloads(page: Built) -> str:
    """Return links to the files made from the page."""
    stem = page.path.rpartition("/")[2].removesuffix(".html")
    files = page.record.get("downloads", {}).get("files", {})
    items = [
        f'<li><a href="{stem}{ending}" download>{name}</a></li>'
        for ending, name in KINDS.items()
        if ending in files
    ]
    return f'<ul class="downloads">{"".join(items)}</ul>'


def _bibtex(page: Built, cited: dict[str, Any], commit: str, year: str) -> str:
    """Return an entry for a bibliography."""
    title = re.sub(r"([&%#_$])", r"\\\1", page.title)  # as TeX wants them
    version = f"version {cited['version']}" if "version" in cited else ""
    fields = {
        "title": title,
        "author": " and ".join(f"{{{author['name']}}}" for author in cited.get("authors", [])),
        "howpublished": cited.get("title", ""),
        "note": ", ".join(filter(None, [version, commit and f"commit {commit}"])),
        "year": year,
        "url": page.address,
    }
    key = re.sub(r"\W+", "-", page.path.removesuffix(".html"))
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}"])
