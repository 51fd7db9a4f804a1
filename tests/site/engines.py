"""In what the sites of the two engines differ: the one list of it, with the reasons.

MkDocs with Material builds what is released. Zensical, which its makers wrote to follow it, builds
the same pages from the same mkdocs.yml; see docs/_kit/engine.py. What is not listed here is the
same, and what is listed does differ: test_engines.py asks for both.
"""

# Files, as patterns, of which one site has another than the other, or has none.
FILES = {
    "assets/_mkdocstrings.css": "Zensical has these rules in the style sheet of its theme.",
    "assets/javascripts/*": "Each engine comes with a script of its own.",
    "assets/stylesheets/*": "Each engine comes with style sheets of its own.",
    "assets/sheet.css": "It is what the site needs of them.",
    "search*": "Each engine writes an index for the search in its script.",
    "sitemap.xml*": "Without an address of the site, MkDocs' map is empty, Zensical's has paths.",
}

# Parts of an article, as CSS selectors, that only one engine writes.
PARTS = {
    "a#__skip": "Zensical's link that skips to the content leads to a place of its own.",
}

# Attributes of elements of an article that only one engine writes.
ATTRIBUTES = {
    "data-search-exclude": "Zensical leaves these elements out of the search, and then forgets why.",
}
