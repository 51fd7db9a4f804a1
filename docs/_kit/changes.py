"""Every displayed number that differs between two built sites, as Markdown.

    python -m _kit.changes BEFORE AFTER             all of them
    python -m _kit.changes BEFORE AFTER --most 20   at most 20 lines a section; the rest is counted

What counts is what is displayed, character by character: in sentences and formulas, code, what
blocks printed, claims, tables, figures and sliders. Texts are aligned by their words. A number has
changed where the words around it stayed; one that came or went with its sentence, line or row was
added or removed. A sentence that moved, or was only written anew around its number, is not listed.
The links are relative to the folder of the site.

To compare two commits, build both, for example:

    git worktree add ../before main && make -C ../before site
    make site && make changes BEFORE=../before/site AFTER=site
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from _kit.differing import Difference, difference
from _kit.listed import Page, count, link, listed, plain
from _kit.shown import read

_ARTICLE = re.compile(r"<article\b.*?(?=<footer class=\"page-facts\"|</article>)", re.DOTALL)
_FACTS = re.compile(r'<footer class="page-facts"><p>(.*?)</p>', re.DOTALL)
_VERSION = re.compile(r"(?:^| · |, )([\w-]+) (\d+\.[\w.+]*)")
_CLAIM = re.compile(r'<span class="claim" id="claim-([\w-]+)"')


@dataclass
class Site:
    """What a comparison needs of a built site."""

    articles: dict[str, str]  # the content of its pages, by path
    claims: dict[str, str]  # their pages, by id
    versions: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Site:
        """Read a built site.

        Args:
            folder: Its folder.
        """
        if not (folder / "index.html").is_file():
            remedy = "Build the site, and give its folder."
            sys.exit(f"A built site must hold index.html; {folder} does not. {remedy}")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.html")}
        pages = {path: files[path].read_text(encoding="utf-8") for path in sorted(files)}
        articles = {path: a[0] for path, html in pages.items() if (a := _ARTICLE.search(html))}
        claims = {name: path for path, html in articles.items() for name in _CLAIM.findall(html)}
        facts = [fact for html in pages.values() for fact in _FACTS.findall(html)]
        versions = {name: v for fact in facts for name, v in _VERSION.findall(fact)}
        return cls(articles, claims, versions)


def compare(before: Site, after: Site) -> list[Page]:
    """Return the pages of both sites that differ, and how.

    Args:
        before: A built site.
        after: Another.
    """
    both = [path for path in after.articles if path in before.articles]
    pages = [_page(path, before.articles[path], after.articles[path]) for path in both]
    return [page for page in pages if page]


def _page(path: str, before: str, after: str) -> Page:
    """Return how a page differs."""
    if before == after:
        return Page(path, Difference())
    old, new = read(before), read(after)
    found = difference(old.places, new.places)
    told = {token.place.name for token in [*found.removed, *found.added]}
    told |= {token.place.name for _, token in found.changed}
    figures = {place.name: place for place in reversed(new.places)}
    redrawn = [
        figures[name]
        for name, drawing in new.drawings.items()
        if name in figures.keys() - told and old.drawings.get(name, drawing) != drawing
    ]
    return Page(path, found, redrawn)


def report(before: Site, after: Site, most: int | None = None) -> str:
    """Return the list of what changed, as Markdown.

    Args:
        before: A built site.
        after: Another.
        most: Lines to show of a section; None for all.
    """
    pages = compare(before, after)
    parts = [_summary(pages), "\n".join(f"- {fact}" for fact in _facts(before, after))]
    parts += [listed(page, most) for page in pages]
    return "\n\n".join(filter(None, parts))


def _summary(pages: list[Page]) -> str:
    """Return what changed in one line."""
    found = [page.numbers for page in pages]
    changed, on = sum(len(d.changed) for d in found), sum(bool(d.changed) for d in found)
    first = "No displayed number changed"
    if changed:
        first = f"**{count(changed, 'displayed number')} changed on {count(on, 'page')}**"
    others = [
        (sum(len(d.added) for d in found), "number", "added"),
        (sum(len(d.removed) for d in found), "number", "removed"),
        (sum(len(d.reworded) for d in found), "output", "with other words"),
        (sum(len(page.drawings) for page in pages), "figure", "redrawn"),
    ]
    said = ", ".join(f"{count(number, what)} {done}" for number, what, done in others if number)
    return f"{'; '.join(filter(None, [first, said]))}."


def _facts(before: Site, after: Site) -> Iterator[str]:
    """Yield which pages and claims came and went, and which versions changed."""
    for verb, one, other in (("removed", before, after), ("added", after, before)):
        pages = {path: "" for path in one.articles if path not in other.articles}
        claims = {name: f"claim-{name}" for name in one.claims if name not in other.claims}
        for what, anchors in (("Pages", pages), ("Claims", claims)):
            links = [link(name, one.claims.get(name, name), at) for name, at in anchors.items()]
            names = links if verb == "added" else [*map(plain, anchors)]
            if names:
                yield f"{what} {verb}: {', '.join(names)}"
    old, new = before.versions, after.versions
    changed = [name for name in old | new if old.get(name) != new.get(name)]
    if changed:
        moves = [f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}" for name in changed]
        yield f"Versions: {', '.join(map(plain, moves))}"


def main() -> None:
    """Compare the two sites that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m _kit.changes")
    parser.description = "List every displayed number that differs between two built sites."
    parser.add_argument("before", type=Path, help="folder of a built site")
    parser.add_argument("after", type=Path, help="folder of another")
    parser.add_argument("--most", type=int, help="lines to show of a section; the rest is counted")
    given = parser.parse_args()
    text = report(Site.of(given.before), Site.of(given.after), given.most)
    sys.stdout.buffer.write(f"{text}\n".encode())


if __name__ == "__main__":
    main()
