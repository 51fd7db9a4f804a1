"""A page as a script: cells in the percent format, with what it needs in its head (PEP 723).

It runs from top to bottom and prints what the page shows. A declared error is caught, and the
script ends if it does not come.
"""

from __future__ import annotations

import builtins
import re
import textwrap

from _kit.download.cells import Cell, Needs, is_warning, last_statement
from _kit.download.source import Fence
from _kit.page import Page

WIDTH = 88
SHOW = (
    "# To see the figures when this runs as a script, uncomment:\n"
    "# import matplotlib.pyplot; matplotlib.pyplot.show()"
)
_ALONE = re.compile(r"\||#|\$\$|```|!\[|\s{4}")  # lines that are no prose, so they keep their ends
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)]|>)\s+")
_MARK = re.compile(r" (?=(?:[-+*>=]|#+|\d+[.)])(?:\s|$))")  # at the start of a line it is a list


def script(page: Page, made: list[Cell], needs: Needs, site: str) -> str:
    """Return the script.

    Args:
        page: The page.
        made: Its cells.
        needs: What they need.
        site: Name of the site.
    """
    head = [
        "# /// script",
        f'# requires-python = "{needs.python}"',
        "# dependencies = [",
        *(f'#     "{name}",' for name in needs.packages),
        "# ]",
        "# ///",
    ]
    about = comment(
        f"A page of the site of {site}, as a script. It runs from top to bottom, and prints what "
        "the page shows. Many editors also run it cell by cell."
    )
    parts = ["\n".join(head), about, *(_cell(page, cell) for cell in made)]
    if any(cell.fence and cell.fence.result in {"figure", "slider"} for cell in made):
        parts.append(f"# %%\n{SHOW}")
    return "\n\n".join(parts) + "\n"


def _cell(page: Page, cell: Cell) -> str:
    if not cell.is_code:
        return "# %% [markdown]\n" + comment(cell.source)
    code = cell.source.strip("\n")
    if cell.fence and "raises" in cell.fence.block.options:
        code = _expecting(page, cell.fence)
    if cell.fence and cell.fence.result == "slider":
        code += "\n\n" + cell.fence.left["call"]
    if cell.fence and cell.fence.result in {"figure", "slider"}:
        code += '\nprint(f"{title}. {caption}")'
    return f"# %%\n{code}"


def _expecting(page: Page, fence: Fence) -> str:
    """Return code that checks that the declared error comes, prints it and goes on."""
    before, statement = last_statement(page, fence)
    name = fence.block.options["raises"]
    known = hasattr(builtins, name)
    lines = ["try:", statement.rstrip("\n")]
    if is_warning(fence):
        before = f"import warnings\n\n{before}"
        inside = textwrap.indent(lines[1], "    ")
        lines = ["try:", '    with warnings.catch_warnings(action="error"):', inside]
    lines.append(f"except {name if known else 'Exception'} as caught:")
    if not known:
        names = "[kind.__name__ for kind in type(caught).__mro__]"
        lines += [f'    if "{name}" not in {names}:', "        raise"]
    lines += ['    print(f"{type(caught).__name__}: {caught}")', "else:"]
    return before + "\n".join([*lines, f'    raise AssertionError("this must raise {name}")'])


def comment(text: str) -> str:
    """Return Markdown as comments, its paragraphs and list items filled to the width."""
    lines: list[str] = []
    for paragraph in _paragraphs(text):
        lines += _filled(paragraph)
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _paragraphs(text: str) -> list[str]:
    """Return lines that belong together as one line; all others as they are."""
    found: list[str] = []
    joined, ending = False, ""
    for line in text.split("\n"):
        marks = re.match(r"`{3,}|\$\$", line)
        alone = bool(marks or ending) or not line.strip() or bool(_ALONE.match(line))
        if joined and not alone and not _ITEM.match(line):
            found[-1] += " " + line.strip()
        else:
            found.append("\0" + line if alone else line)
        joined = not alone
        if marks and ending in {"", marks[0]} and not re.fullmatch(r"\$\$.*\$\$\s*", line):
            ending = "" if ending else marks[0]
    return found


def _filled(paragraph: str) -> list[str]:
    if paragraph.startswith("\0"):
        return [paragraph[1:]]
    item = _ITEM.match(paragraph)
    glued = _MARK.sub("\0", paragraph[item.end() :] if item else paragraph)
    lines = textwrap.wrap(
        (item[0] if item else "") + glued,
        WIDTH - 2,
        subsequent_indent=" " * item.end() if item else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]
