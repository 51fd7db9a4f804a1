"""The pages that tell of all pages: every claim with its check, and what was run.

Each is written into the page that holds its mark, `<!-- claims -->` or `<!-- status -->`.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape

from _kit.built import Built, Site
from _kit.page import PageError, choice

_CLAIM = re.compile(
    r'<span class="claim" id="claim-([\w-]+)">(.*?)<a class="claim-mark"', re.DOTALL
)
_OPINION = re.compile(
    r'<span class="(?:cited|hunch)">(.*?)<small> \((.*?)\)</small></span>', re.DOTALL
)
_SETTLED = re.compile(r'(?<=<a class="claim-mark" )href="#settled-([\w-]+)"')
COUNTED = {  # of a page's record
    "claims": "claims",
    "values": "computed",
    "questions": "questions",
    "exercises": "exercises",
}


def settle(site: Site) -> None:
    """Lead from each sentence that a claim of another page settles to the check of that claim.

    Args:
        site: The built site; pages with such sentences are changed.

    Raises:
        PageError: If there is no such claim.
    """
    homes = {name: page for page in site.pages for name in page.record.get("claims", {})}
    for page in site.pages:

        def lead(mark: re.Match[str], page: Built = page) -> str:
            if mark[1] not in homes:
                what = f"no page has the claim {mark[1]!r}, which is to settle a sentence here."
                raise PageError(page.record["source"], what, choice(mark[1], sorted(homes)))
            return f'href="{page.root}{homes[mark[1]].path}#check-{mark[1]}"'

        page.html = _SETTLED.sub(lead, page.html)


def unique(site: Site) -> None:
    """Look that each claim of the site has an id of its own.

    Args:
        site: The built site.

    Raises:
        PageError: If two pages have a claim of the same id.
    """
    first: dict[str, Built] = {}
    for page in site.pages:
        for name in page.record.get("claims", {}):
            if name in first:
                places = f"{first[name].record['source']} and {page.record['source']}"
                what = f"an id stands for one claim of the site; {name!r} is in {places}."
                raise PageError(page.record["source"], what, "Give one of them another id.")
            first[name] = page


def claims(site: Site) -> None:
    """Write the page of all claims.

    Args:
        site: The built site; its page with the mark is changed.

    Raises:
        PageError: If a claim was lost on the way into its page.
    """
    parts = [_claims_of(page) for page in site.pages if page.record.get("claims")]
    opinions = [_opinions_of(page) for page in site.pages if _OPINION.search(page.html)]
    if opinions:
        parts.append('<h2 id="not-checked">Said, but not checked here</h2>')
        parts.append(f"<ul>{''.join(opinions)}</ul>")
    _put(site, "claims", "\n".join(parts))


def _claims_of(page: Built) -> str:
    """Return the claims of a page as a table."""
    rows, sentences = [], _CLAIM.findall(page.html)
    if {name for name, _ in sentences} != set(page.record["claims"]):
        what = "every claim must stand in the built page; one was lost."
        raise PageError(page.record["source"], what, "Put no claim into another, or into HTML.")
    for name, sentence in sentences:
        checks = [
            f"<td>{o}</td><td>{r}</td>" for o, r in map(_of_check, page.record["claims"][name])
        ]
        link = f'<a href="/{page.path}#claim-{name}"><code>{name}</code></a>'
        first = f'<td rowspan="{len(checks)}">{_plain(sentence)} {link}</td>'
        rows.append(f'<tr id="{name}">{first}{"</tr><tr>".join(checks)}</tr>')
    head = "<th>claim</th><th>observed</th><th>must be</th>"
    return (
        f'<h2 id="{_slug(page)}">{_link(page)}</h2>\n<table class="claims">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _of_check(check: dict[str, str]) -> tuple[str, str]:
    reason = f" <small>({escape(check['reason'])})</small>" if check["reason"] else ""
    return escape(check["observed"]), escape(check["required"]) + reason


def _opinions_of(page: Built) -> str:
    """Return the sentences of a page that are cited or a hunch, as items of a list."""
    found = _OPINION.findall(page.html)
    return "".join(
        f"<li>{_plain(s)} <small>({_plain(who)}; {_link(page)})</small></li>" for s, who in found
    )


def status(site: Site) -> None:
    """Write the page that says what was run.

    Args:
        site: The built site; its page with the mark is changed.
    """
    rows = [_status_of(page) for page in site.pages if page.record.get("blocks")]
    sums = [sum(column) for column in zip(*(numbers for _, numbers, _ in rows), strict=True)]
    cells = [(name, [*map(str, numbers)], errors) for name, numbers, errors in rows]
    cells.append(("<strong>all</strong>", [f"<strong>{n}</strong>" for n in sums], ""))
    lines = [
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in (name, *numbers, errors)) + "</tr>"
        for name, numbers, errors in cells
    ]
    names = ("page", "blocks", *COUNTED, "errors it expects")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    _put(site, "status", f'<table class="status">{body}</table>')


def _status_of(page: Built) -> tuple[str, list[int], str]:
    """Return a page's link, its numbers, and the errors that it declares and met."""
    blocks = page.record["blocks"]
    met = Counter(block["error"].partition(":")[0] for block in blocks if block["error"])
    errors = ", ".join(f"{name} × {n}" if n > 1 else name for name, n in sorted(met.items()))
    numbers = [len(blocks), *(len(page.record.get(kind, [])) for kind in COUNTED.values())]
    return _link(page), numbers, errors


def _put(site: Site, mark: str, html: str) -> None:
    """Put HTML in the place of a mark, and mend its links for where it stands."""
    for page in site.pages:
        here = html.replace('href="/', f'href="{page.root}')
        marked = f"<!-- {mark} -->{here}<!-- /{mark} -->"
        page.html = page.html.replace(f"<!-- {mark} -->", marked)


def _link(page: Built) -> str:
    return f'<a href="/{page.path}">{escape(page.title)}</a>'


def _slug(page: Built) -> str:
    return page.path.removesuffix(".html").replace("/", "-")


def _plain(sentence: str) -> str:
    """Return a sentence without its links, which lead from another page."""
    return re.sub(r"</?a\b[^>]*>", "", sentence)
