r"""The executing fence: code is shown, run, and followed by what it printed.

    ```python exec="on"                       show the code, run it, show what it prints
    ```python exec="on" source="fold"         the code folded away; "none" leaves it out
    ```python exec="on" result="markdown"     what it prints is Markdown: a table, a sentence
    ```python exec="on" raises="ValueError"   the last statement must raise; the error is shown
    ```python exec="off"                      Python that is shown and not run, on purpose
    ```python exec="starter"                  as another room says: see `executors` in page.py

Other languages are shown. A language or an option that does not exist stops the build, and so does
Python that says nothing about `exec`. A comment that is a number, `# (1)`, is shown as a mark that
is not copied; it stands for an item of the list below the block. The fence stands on markdown-exec
for Markdown inside Markdown, and on SuperFences for the fences; only running the code is our own.
"""

from __future__ import annotations

import re
import time
from html import escape
from typing import Any

from markdown import Markdown
from pygments.lexers import get_all_lexers, get_lexer_by_name

from _kit.page import (
    Block,
    Page,
    PageError,
    Run,
    choice,
    executors,
    page_of,
    render_markdown,
    results,
    watchers,
)

LANGUAGES = sorted({alias for _, aliases, _, _ in get_all_lexers() for alias in aliases})
PYTHON = {*get_lexer_by_name("python").aliases, *get_lexer_by_name("pycon").aliases} - {"python"}
DEFAULTS = {"source": "above", "result": "text"}
SHOWN = {"title", "hl_lines", "linenums"}
_NUMBER = re.compile(r'[ \t]*(?:<span class="w">[ \t]*</span>)?<span class="c1"># \((\d+)\)</span>')
EXECUTED = SHOWN | {"exec", "id", "raises", "result", "source"}


def validate(
    language: str,
    inputs: dict[str, str],
    options: dict[str, Any],
    attrs: dict[str, Any],  # noqa: ARG001 (SuperFences' signature)
    md: Markdown,
) -> bool:
    """Check the header of a fence, and sort its options.

    Args:
        language: Its language.
        inputs: Its options as written.
        options: Where to put them.
        attrs: Unused: attributes of the HTML element.
        md: The Markdown instance.

    Returns:
        True.

    Raises:
        PageError: If the language or an option does not exist, or Python is neither on nor off.
    """
    page = page_of(md)
    block = page.current()
    where = page.where(block)
    if not language and block.header.strip("`~ "):
        raise page.misread(block)  # the end of a fence whose header could not be read
    if language not in LANGUAGES:
        what = f"there is no language {language!r}." if language else "a fence needs a language."
        raise PageError(where, what, choice(language, LANGUAGES) if language else "Write text.")
    if language in PYTHON:
        raise PageError(where, f"Python is written python, not {language}.", "Write python.")
    executed = inputs.get("exec") == "on"
    _check_options(where, block.header, inputs, executed)
    if inputs.get("exec", "off") != "off" and not (page.is_file and language == "python"):
        remedy = f'Take out exec="{inputs["exec"]}".'
        raise PageError(where, "only Python in a page can run.", remedy)
    if language == "python" and "exec" not in inputs:
        what = "a block of Python must say whether it runs."
        raise PageError(where, what, 'Write exec="on" or exec="off" behind python.')
    options.update(DEFAULTS | inputs)
    return True


def _check_options(where: str, header: str, inputs: dict[str, str], executed: bool) -> None:  # noqa: FBT001
    """Raise a PageError for an option that does not exist, stands twice, or has a wrong value."""
    allowed = EXECUTED if executed else SHOWN | {"exec"}
    for name in inputs:
        if name not in allowed:
            kind = "an executed block" if executed else "a block that is only shown"
            what = f"{kind} has no option {name!r}."
            raise PageError(where, what, choice(name, sorted(allowed)))
        if len(re.findall(rf"\b{name}=", re.sub(r'"[^"]*"', "", header))) > 1:
            raise PageError(where, f"the option {name!r} stands twice.", "Take one of them out.")
    if "'" in re.sub(r'"[^"]*"', "", header):
        raise PageError(where, "options stand in double quotes.", 'Write name="value".')
    if not all(inputs.values()):
        raise PageError(where, "an option cannot be empty.", "Give it a value, or take it out.")
    values = {
        "exec": ["on", "off", *sorted(executors)],
        "source": ["above", "fold", "none"],
        "result": sorted(results),
    }
    for name, known in values.items():
        if name in inputs and inputs[name] not in known:
            what = f"{name} cannot be {inputs[name]!r}."
            raise PageError(where, what, choice(inputs[name], known))


def render(
    source: str,
    language: str,
    css_class: str,  # noqa: ARG001 (SuperFences' signature)
    options: dict[str, str],
    md: Markdown,
    **kwargs: Any,
) -> str:
    """Show a fence, and run it if it says so.

    Args:
        source: The code.
        language: Its language.
        css_class: Unused: a class of the HTML element.
        options: What `validate` sorted out.
        md: The Markdown instance.
        **kwargs: What SuperFences passes on to the highlighter.

    Returns:
        HTML.

    Raises:
        PageError: If the block does not do what it declares, or cannot be shown.
    """
    page = page_of(md)
    block = page.strike_off(source)
    if block.number in page.shown:  # it ran in an earlier reading; see stand_by.py
        return page.shown[block.number]
    start = time.perf_counter()
    try:
        code = _highlight(md, source, language, options, kwargs)
        if options.get("exec") == "on":
            code = _run(md, page, block, options, code)
        elif options.get("exec") in executors:
            code = executors[options["exec"]](md, page, block, code)
        elif options.get("exec") == "off":
            code = f'<div class="not-run">{code}</div>'
        page.shown[block.number] = code
        page.record.setdefault("seconds", {})[block.line] = time.perf_counter() - start
        for watch in watchers:
            watch(page, block)
        page.ended(block)
    except PageError:
        raise
    except Exception as error:  # SuperFences would swallow it and publish the source as text
        what = f"the block cannot be shown: {error!r}."
        raise PageError(page.where(block), what, "Mend its options, or what it leaves.") from error
    return code


def _run(md: Markdown, page: Page, block: Block, options: dict[str, str], code: str) -> str:
    """Run a block, and return its code and what it left, as HTML."""
    run = page.run(block, options.get("raises"))
    page.record.setdefault("blocks", []).append({"line": block.line, "error": run.error})
    result = results[options["result"]](md, page, block, options, run)
    notes = "".join(note(block) for note in page.notes)
    anchors = "".join(f'<span id="{name}"></span>' for name in page.anchors.get(block.number, []))
    if options["source"] == "fold":
        summary = "Show the code" if result or "assert" not in block.code else "Show the check"
        # an anchor inside lets the browser open the details when a link leads to it
        summary = f"<summary>{summary}</summary>{anchors}"
        shown = f'<details class="code">{summary}{code}{notes}</details>'
    elif options["source"] == "none":
        shown = anchors
    else:
        shown = f"{anchors}{code}{notes}"
    return f'<div class="run{"" if result else " silent"}">{shown}{result}</div>'


def as_text(md: Markdown, page: Page, block: Block, options: dict[str, str], run: Run) -> str:  # noqa: ARG001 (a Renderer)
    """Show what a block printed, and its declared error, letter by letter."""
    parts = [run.output.rstrip("\n"), run.error or ""]
    if not any(parts):
        return ""
    text = escape("\n".join(part for part in parts if part))
    kind = "output raised" if run.error else "output"
    return f'<div class="{kind}"><pre><code>{text}</code></pre></div>'


def as_markdown(md: Markdown, page: Page, block: Block, options: dict[str, str], run: Run) -> str:
    """Show what a block printed as the Markdown that it is."""
    if run.error or not run.output.strip():
        raise PageError(
            page.where(block),
            'a block with result="markdown" must print some Markdown and raise nothing.',
            'Print it, or take out result="markdown".',
        )
    prefix = f"{options.get('id', f'block-{block.number}')}-"
    return render_markdown(md, page, block, run.output, prefix)


results |= {"text": as_text, "markdown": as_markdown}


def _highlight(
    md: Markdown, source: str, language: str, options: dict[str, str], given: dict[str, Any]
) -> str:
    """Return the code as SuperFences shows it."""
    fences: Any = md.preprocessors["fenced_code_block"]
    shown = {name: options[name] for name in SHOWN if name in options}
    code = str(fences.highlight(src=source, language=language, options=shown, md=md, **given))
    return _NUMBER.sub(r'<span class="note" role="img" aria-label="note \1"></span>', code)
