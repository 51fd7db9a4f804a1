"""What the head of a page says of it: a description for search engines, its fonts, and its coming.

The description is how the page begins, which on this site is the answer. A browser learns of a font
only when it has read the style sheet and found a letter that needs it; naming the fonts in the head
saves the page from being set twice, and what is read from moving. A large page comes in parts;
while it does, it has the class "coming", by which the style sheet hides what would move.
"""

from __future__ import annotations

import json
import re
from html import escape, unescape

from _kit.built import Site

LENGTH = 155  # of a description; search engines show no more
FONTS = {  # by what stands in a page that needs it
    "source-serif-4": r"<body",
    "source-serif-4-italic": r"<em>|doc-label",
    "source-serif-4-greek": r">[^<]*[Α-Ωα-ω]",
    "source-code-pro": r"<code",
    "source-code-pro-bold": r'<span class="(?:k|kn|nf|nc|ow)">|<h\d[^>]*doc-heading',
    "refbn-math": r"<math",
}
FOLDER = "assets/fonts"

# From a disk, browsers refuse to preload a font, and say so; they load it all the same.
_PRELOAD = (
    'if(location.protocol!=="file:")for(const href of %s){'
    'const link=document.createElement("link");'
    'Object.assign(link,{rel:"preload",as:"font",type:"font/woff2",crossOrigin:"",href});'
    "document.head.append(link)}"
)
_COMING = (
    'document.documentElement.classList.add("coming");'
    'addEventListener("DOMContentLoaded",()=>document.documentElement.classList.remove("coming"),'
    "{once:true});"
)
_DESCRIPTION = re.compile(r'<meta name="description" content="[^"]*"\s*/?>')
_TEXT = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_SPOKEN = re.compile(r'<math\b[^>]*\saria-label="([^"]*)".*?</math>', re.DOTALL)
_HIDDEN = re.compile(
    r"<(svg|script|small|annotation)\b.*?</\1>|<a class=\"claim-mark.*?</a>", re.DOTALL
)
# Greek in them comes from other fonts, or is not shown.
_ELSEWHERE = re.compile(r"<(math|code|pre|script|title|desc|nav)\b[^>]*>.*?</\1>", re.DOTALL)
_SHEET = re.compile(r'[ \t]*<link rel="stylesheet"')


def describe(site: Site) -> None:
    """Give each page the description that its own text begins with.

    Args:
        site: The built site; its pages are changed.
    """
    found = [_DESCRIPTION.search(page.html) for page in site.pages]
    given = [tag[0] for tag in found if tag]
    for page, tag in zip(site.pages, found, strict=True):
        said = _beginning(page.html)
        if tag and said and given.count(tag[0]) > 1:  # one of its own is the author's
            new = f'<meta name="description" content="{escape(said)}">'
            page.html = page.html.replace(tag[0], new, 1)


def _beginning(html: str) -> str:
    """Return the first words of the text of a page."""
    article = html.partition("<article")[2].partition("</article>")[0]
    text = ""
    for paragraph in _TEXT.findall(article):
        words = re.sub(r"<[^>]*>", "", _SPOKEN.sub(r" \1 ", _HIDDEN.sub("", paragraph)))
        text = " ".join(f"{text} {unescape(words)}".split())
        if len(text) > LENGTH / 2:
            break
    if len(text) <= LENGTH:
        return text
    return text[:LENGTH].rpartition(" ")[0].rstrip(",;:–-") + " …"


def preload(site: Site) -> None:
    """Name the fonts in the head of each page that needs them, and tell that the page is coming.

    Args:
        site: The built site; its pages are changed.
    """
    for page in site.pages:
        sheet = _SHEET.search(page.html)
        if not sheet:
            continue
        text = _ELSEWHERE.sub(_without_letters, page.html)
        fonts = [
            f"{page.root}{FOLDER}/{name}.woff2"
            for name, mark in FONTS.items()
            if re.search(mark, text) and (site.folder / FOLDER / f"{name}.woff2").exists()
        ]
        script = f"<script>{_COMING}{_PRELOAD % json.dumps(fonts)}</script>\n"
        page.html = page.html[: sheet.start()] + script + page.html[sheet.start() :]


def _without_letters(element: re.Match[str]) -> str:
    """Return an element without Greek letters."""
    return re.sub(r"[Α-Ωα-ω]", "", element[0])
