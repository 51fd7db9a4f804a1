"""What the theme gets wrong, or does too early, mended in the built files.

Its script is the largest part of a page, and does nothing for somebody who reads: the search, the
copy buttons and the palette answer to a pointer or a key. So it is named in the page, and start.js
fetches it with the first of these.

A mend that finds nothing to mend does nothing, so that the site builds with the next version of the
theme too; the tests of the built site look at the effects.
"""

from __future__ import annotations

import re

from _kit.built import Site

LATER = ("iframe-worker", r"bundle\.\w+\.min")
PAGES = {
    # The search is a dialog, and a dialog has a name.
    r'(<div class="md-search"[^>]* role="dialog")>': r'\1 aria-label="Search">',
    # Where nobody said where the site will stand, a page has no address either.
    r'<link rel="canonical" href="/[^"]*">\s*': "",
    # The corner of a table is the head of nothing.
    r"<th\b[^>]*>\s*</th>": r"<td></td>",
    # Who has chosen nothing gets what the system is set to, and at once.
    r'(var palette=__md_get\("__palette"\));': (r'\1||{color:{media:"(prefers-color-scheme)"}};'),
    # Scripts that answer to the reader wait for one.
    rf'<script src="([^"]*(?:{"|".join(LATER)})[^"]*)"(?: defer)?>': (
        r'<script type="text/plain" data-later="\1">'
    ),
    # The others are fetched at once and run, in their order, when the page is there.
    r"<script (src=\"[^\"]*\")>": r"<script \1 defer>",
}
SCRIPTS = {
    # The index of the search is as large as ten pages; it is fetched when somebody searches ..
    r'\w+\(\$\(location\.protocol!=="file:"\),(\w+\("search"\))\)': r"\1",
    # .. or comes from a search, so that the words can be marked.
    r'(\w+\("search\.highlight"\))\?(?=\w+\(\w+,\{index\$)': r"\1&&/[?&]h=/.test(location.search)?",
    # The Markdown of a page is no translation of the site, which has a map of its own.
    r'"link\[rel=alternate\]"': '"link[rel=alternate][hreflang]"',
    # Styles come as a sheet: the policy allows no style element.
    r'(\w+)\.appendChild\(\w+\("style",\{\},(\w+)\.toString\(\)\)\)': (
        r"\1.adoptedStyleSheets=[(s=>(s.replaceSync(\2.toString()),s))(new CSSStyleSheet)]"
    ),
    # The place of the copy button is no navigation.
    r'"nav"(,\{class:"md-code__nav"\})': r'"div"\1',
}


def theme(site: Site) -> None:
    """Mend the pages and the scripts of the theme.

    Args:
        site: The built site.
    """
    for page in site.pages:
        page.html = _mended(page.html, PAGES)
    for path in sorted((site.folder / "assets/javascripts").glob("bundle.*.js")):
        name = path.relative_to(site.folder).as_posix()
        site.files[name] = _mended(path.read_text(encoding="utf-8"), SCRIPTS)


def _mended(text: str, mends: dict[str, str]) -> str:
    for wrong, right in mends.items():
        text = re.sub(wrong, right, text)
    return text
