"""Every built page is valid HTML, says the checker of the W3C."""

import json
import re
import shutil
import subprocess

import pytest
from building import CHECKERS, needs, served

pytestmark = [pytest.mark.xdist_group("site"), needs("java", "vnu-jar")]

# What the checker says of a page, around which HTML, and why it stays.
LEFT = {
    "a data block is no script, and a policy does not concern it": (
        r"Inline script violates Content Security Policy",
        r'type="application/json">',
    ),
    "Firefox keeps the state of a box over a reload, and the menu would stay open; so Material says": (
        r"Attribute “autocomplete” is only allowed when the input type is",
        r'<input class="md-toggle" data-md-toggle="(drawer|search)" type="checkbox"',
    ),
}


def messages(folder, paths):
    """Return what the checker says of pages in a folder.

    It asks for them as a browser does, since from a disk no file belongs to the host that a policy
    of content calls "self".
    """
    jar = CHECKERS / "vnu-jar/build/dist/vnu.jar"
    allow = "-Dnu.validator.servlet.allow-forbidden-hosts=true"  # such as this machine
    flags = ["--stdout", "--exit-zero-always", "--format", "json"]
    pages = [path.relative_to(folder).as_posix() for path in paths]
    with served(folder) as address:
        done = subprocess.run(
            [shutil.which("java"), allow, "-jar", jar, *flags, *(address + page for page in pages)],
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)["messages"]


def reason(message):
    """Return why a message may stay, if it may."""
    return next(
        (
            why
            for why, (says, html) in LEFT.items()
            if re.match(says, message["message"]) and re.search(html, message.get("extract", ""))
        ),
        None,
    )


def test_every_page_is_valid(built_site, judged):
    """The checker finds no error and no warning but those with a reason, and each reason is due."""
    said = messages(built_site, judged)
    left = [reason(message) for message in said]
    assert [
        f"{message['url']}:{message.get('lastLine')}: {message['message']} {message.get('extract')}"
        for message, why in zip(said, left, strict=True)
        if why is None
    ] == []
    assert set(left) == set(LEFT)


INVALID = {
    "<p><div>a</div></p>": "No “p” element in scope",
    '<p style="colour: red">a</p>': "Property “colour” doesn't exist",
    "<img src='a.png'>": "An “img” element must have an “alt” attribute",
    "<math><mfrak></mfrak></math>": "Element “mfrak” not allowed",
    "<p>a\u0332</p>": None,
    "<p>\u0332</p>": "Text run starts with a composing character",
}


def test_what_is_invalid_is_found(tmp_path):
    """The checker reads every page in a folder, and notices what is no HTML there."""
    head = '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>a</title></head><body><h1>a</h1>'
    (tmp_path / "sub").mkdir()
    for number, html in enumerate(INVALID):
        page = tmp_path / f"sub/{number}.html"
        page.write_text(f"{head}{html}</body></html>", encoding="utf-8")
    said = [
        message
        for message in messages(tmp_path, sorted(tmp_path.rglob("*.html")))
        if not reason(message)
    ]
    for number, (html, says) in enumerate(INVALID.items()):
        about = [m["message"] for m in said if m["url"].endswith(f"/{number}.html")]
        assert any(says in text for text in about) if says else about == [], html
