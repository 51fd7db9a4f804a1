"""One page's run: its blocks, its namespace, and the ledger of what was declared and what ran.

A page is read twice. Before Markdown touches it, the ledger notes every fence that stands in the
source, with its line. Later, fences come in one after the other to be shown or executed, and each
is struck off the ledger. What was declared and did not come in was misread by Markdown and would
have been published as something else; that stops the build.
"""

from __future__ import annotations

import ast
import contextlib
import decimal
import difflib
import io
import json
import logging
import os
import random
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from click import ClickException
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown_exec import MarkdownConverter
from pymdownx.superfences import RE_OPTIONS, SuperFencesException
from threadpoolctl import threadpool_limits

from _kit.broken import place
from _kit.prose import CODE, blank

SEED = 0  # of the global generators at the start of each page; any number would do


class PageError(SuperFencesException, ClickException):  # type: ignore[misc] # pymdownx has no types
    """A page that cannot be published. The build ends, and the message says where and what to do.

    Markdown swallows every other exception of a fence and shows the block as plain code. As a
    ClickException it ends a command line with its message instead of a traceback.
    """

    def __init__(self, where: str, what: str, remedy: str) -> None:
        """Put together the message.

        Args:
            where: File and line, and the block if there is one.
            what: What must hold, and what was found instead.
            remedy: What to do about it.
        """
        super().__init__(f"{where}: {what}\n  To do: {remedy}")
        self.args = where, what, remedy  # what it is made of in another process

    def __str__(self) -> str:
        """Return the message, for builders that print the exception."""
        return str(self.message)


@dataclass(frozen=True, slots=True)
class Block:
    """A fence as it stands in the source."""

    number: int  # of the fence in its page, from 1
    line: int  # of the opening fence in its file, from 1
    last: int  # of the closing one
    header: str
    code: str

    @property
    def options(self) -> dict[str, str]:
        """Return the options that the header gives, as SuperFences reads them."""
        options = RE_OPTIONS.finditer(self.header)
        return {option["key"]: option["value"] for option in options if option["quot"]}

    @property
    def executes(self) -> str:
        """Return how the block is run, or "off"."""
        return self.options.get("exec", "off")


@dataclass(frozen=True, slots=True)
class Run:
    """What a block left behind."""

    output: str
    error: str | None  # the declared exception: its name and what it says
    namespace: dict[str, Any]
    assigned: set[str]  # names that this very block gives a value


@dataclass(eq=False)
class Page:
    """A page: where it stands, which blocks it declares, and the namespace they share."""

    name: str
    is_file: bool  # False for docstrings and for what blocks print: text that executes nothing
    blocks: list[Block]
    fresh: list[str]
    prose: str = ""  # the source line by line; what stands in fences is left out
    first_line: int = 1  # of the prose, in its file
    namespace: dict[str, Any] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)  # by the number of the block
    made: dict[str, str] = field(default_factory=dict)  # by a line of slashes, as Markdown
    quotes: list[Block] = field(default_factory=list)  # sources, shown above their lines
    seen: int = 0
    ids: set[str] = field(default_factory=set)
    record: dict[str, Any] = field(default_factory=dict)  # JSON: what finish.py is to know
    rewriters: list[Rewriter] = field(default_factory=list)  # look into a block before it runs
    listeners: list[Listener] = field(default_factory=list)  # are told when a block has ended
    notes: list[Callable[[Block], str]] = field(default_factory=list)  # HTML behind a block
    anchors: dict[int, list[str]] = field(default_factory=dict)  # ids of a block, by its number
    evaluated: dict[int, list[str]] = field(
        default_factory=dict
    )  # by the number of the block above
    shown: dict[int, str] = field(default_factory=dict)  # blocks as HTML, by their numbers
    source: str = ""
    drawn: tuple[Any, Any] = ((), ())  # states of the global generators when the page was left

    def where(self, block: Block | None = None) -> str:
        """Return a block's place in words for an error message: file, line, number, header."""
        if block is None:
            return self.name
        return f"{self.name}:{block.line}: block {block.number} ({block.header})"

    def line_of(self, offset: int) -> int:
        """Return the line in the file of a place in the prose."""
        return self.first_line + self.prose.count("\n", 0, offset)

    def place_of(self, text: str) -> str:
        """Return where a text stands first in the prose, as file:line, or nothing.

        Args:
            text: What to look for; code in a sentence is passed by.
        """
        found = _spaced(text).search(blank(CODE, self.prose)) if self.is_file else None
        return f"{self.name}:{self.line_of(found.start())}" if found else ""

    def current(self) -> Block:
        """Return the block that is being read: the first that is not struck off."""
        if self.seen == len(self.blocks):
            raise PageError(
                self.name,
                "a fence came in that does not stand in the page's source.",
                "Let blocks print no fences that are to be executed.",
            )
        return self.blocks[self.seen]

    def strike_off(self, source: str) -> Block:
        """Return the block that came in, and note that it did.

        Args:
            source: Its code, as Markdown read it.

        Raises:
            PageError: If another block was due.
        """
        block = self.current()
        if block.code.strip() != source.expandtabs(4).strip():
            raise self.misread(block)
        self.seen += 1
        return block

    def ended(self, block: Block | None) -> None:
        """Tell the listeners that a block has been shown, and run if it had to; None: the start."""
        for listen in self.listeners:
            listen(block)

    def leave(self) -> None:
        """Note what a builder may disturb before another reading takes over: it draws numbers."""
        self.drawn = random.getstate(), np.random.get_state()  # noqa: NPY002 (blocks may use it)

    def goes_on(self, other: Page) -> bool:
        """Tell whether what another reading of a page ran so far is how this one begins."""
        same = slice(other.seen + 1)
        return (
            self.name == other.name and run_keys(self.source)[same] == run_keys(other.source)[same]
        )

    def take_over(self, other: Page) -> None:
        """Take what the same first blocks left in another reading of the page, instead of running.

        Args:
            other: That reading, which has come as far as its last block that is shown.
        """
        for name in ("namespace", "runs", "evaluated", "shown", "ids"):
            setattr(self, name, getattr(other, name))
        random.setstate(other.drawn[0])
        np.random.set_state(other.drawn[1])  # noqa: NPY002 (idem)
        for name, noted in other.record.items():
            here = self.record.setdefault(name, noted)
            if isinstance(noted, dict) and here is not noted:
                here.update(noted)
        self.ended(self.blocks[other.seen - 1])

    def close(self) -> None:
        """Check that every declared block came in.

        Raises:
            PageError: For the first that did not.
        """
        if self.seen < len(self.blocks):
            raise self.misread(self.blocks[self.seen])

    def misread(self, block: Block) -> PageError:
        """Return the error for a fence that Markdown did not take for one."""
        return PageError(
            self.where(block),
            "every fence must be read as one; Markdown read this one as something else.",
            'Write options as name="value", close every quote, indent the whole block alike, and '
            "close it with as many backticks as opened it.",
        )

    def run(self, block: Block, raises: str | None = None) -> Run:
        """Execute a block in the page's namespace.

        Whatever is written to standard output or standard error is the block's output. Warnings are
        errors. The lines of tracebacks are those of the page.

        Args:
            block: The block.
            raises: Name of the exception that its last statement must raise, if it must.

        Returns:
            Output, declared error, and the namespace.

        Raises:
            PageError: If the block raises, warns or exits and should not, or does not and should.
        """
        self.begin()
        tree = self.parsed(block)
        if raises and len(tree.body) > 1 and tree.body[-2].end_lineno == tree.body[-1].lineno:
            what = "a declared error must come from a statement on a line of its own."
            raise PageError(self.where(block), what, "Begin a new line for the last statement.")
        for rewrite in self.rewriters:
            tree = rewrite(block, tree)
        code = compile(tree, self.name, "exec", dont_inherit=True, optimize=0)
        last_line = tree.body[-1].lineno
        output = io.StringIO()
        error = None
        try:
            with _unchanged(), _captured(output):
                exec(code, self.namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            if raises is None or raises not in _names(raised) or self._line(raised) < last_line:
                raise self._failure(block, raised, output.getvalue(), raises) from raised
            error = "".join(traceback.format_exception_only(raised)).strip()
            error = error.removeprefix(f"{type(raised).__module__}.")  # as scripts print it
        if raises and error is None:
            raise PageError(
                self.where(block),
                f"the block must raise {raises}, as it declares; it raised nothing.",
                f'Mend the code, or take out raises="{raises}".',
            )
        run = Run(output.getvalue(), error, self.namespace, _assigned(tree))
        self.runs[block.number] = run
        return run

    def begin(self) -> None:
        """Make the namespace, if no block has run yet."""
        if not self.namespace:
            self.namespace = {"__name__": "__main__"}
            start_afresh(self.fresh)

    def evaluate(self, expression: ast.Expression) -> Any:
        """Return the value of an expression that stands between two blocks.

        Args:
            expression: The expression, parsed.

        Raises:
            BaseException: Whatever it raises, warnings too; it must print nothing.
        """
        self.begin()
        output = io.StringIO()
        with _unchanged(), _captured(output):
            value = eval(compile(expression, self.name, "eval"), self.namespace)  # noqa: S307
        if output.getvalue():
            raise ValueError("it printed something")
        return value

    def call(self, block: Block, function: Callable[[], Any], remedy: str) -> tuple[Any, str]:
        """Call what a block left behind, under the conditions under which the block ran.

        Args:
            block: The block.
            function: What to call, without arguments.
            remedy: What to do if it fails.

        Returns:
            What it returned, and what it printed.

        Raises:
            PageError: If it raises, warns or exits.
        """
        output = io.StringIO()
        try:
            with _unchanged(), _captured(output):
                return function(), output.getvalue()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            error = self._failure(block, raised, output.getvalue(), None, remedy)
            raise error from raised

    def parsed(self, block: Block) -> ast.Module:
        """Return the code of a block with the page's line numbers.

        Raises:
            PageError: If Python cannot read it, or it has no statement.
        """
        try:
            with warnings.catch_warnings(action="error"):
                compile(block.code, self.name, "exec", dont_inherit=True)
                tree = ast.parse(block.code, filename=self.name)
        except SyntaxError as error:
            line = block.line + (error.lineno or 0)
            raise PageError(
                self.where(block), f"Python cannot read line {line}: {error.msg}.", "Mend the line."
            ) from error
        if not tree.body:
            raise PageError(
                self.where(block), "the block has no statement.", "Write one, or take it out."
            )
        ast.increment_lineno(tree, block.line)
        return tree

    def _line(self, raised: BaseException) -> int:
        """Return the line of the page that an exception comes from."""
        frames = traceback.extract_tb(raised.__traceback__)
        return next((f.lineno or 0 for f in frames if f.filename == self.name), 0)

    def _failure(
        self,
        block: Block,
        raised: BaseException,
        output: str,
        raises: str | None,
        remedy: str = "",
    ) -> PageError:
        """Return the error for a block that failed, with the statement and what it printed."""
        line = self._line(raised)
        inside = 0 < line - block.line <= block.code.count("\n") + 1
        statement = block.code.split("\n")[line - block.line - 1].strip() if inside else ""
        what = "".join(traceback.format_exception_only(raised)).strip()
        if broken := place(raised, self.fresh):
            what = f"{type(raised).__name__} in {broken}: {raised}"
        message = [f"line {line} raised {what}", f"    {statement}"] if line else [f"{what}"]
        if raises in _names(raised):
            message.insert(
                0, "a declared error must come from the last statement of its block, but"
            )
        elif raises:
            message.insert(0, f"the block must raise {raises}, as it declares, but")
        if output:
            message += ["  It had printed:", textwrap.indent(output.rstrip(), "    ")]
        remedy = _remedy(raised, broken) or remedy
        remedy = remedy or (
            f'Mend the code, or declare the error with raises="{type(raised).__name__}".'
        )
        return PageError(self.where(block), "\n".join(message), remedy)


def _remedy(raised: BaseException, broken: str) -> str:
    """Return what to do about an error that no page can declare; nothing for others.

    Args:
        raised: The error.
        broken: The line of a package that could not be imported, if that is why.
    """
    if broken:
        return f"Mend {broken}: as it is, no page can import the package."
    remedies = {
        AssertionError: "Find out which is wrong, the page or the code that it describes.",
        Warning: "Mend what causes the warning; in pages warnings are errors.",
        MeddlingError: "Put it back in the same block: other pages share it.",
        SystemExit: "Take out the exit: a page cannot end the build.",
    }
    return next((remedies[kind] for kind in remedies if isinstance(raised, kind)), "")


Rewriter = Callable[[Block, ast.Module], ast.Module]
Listener = Callable[[Block | None], None]
watchers: list[Callable[[Page, Block], None]] = []
"""Are called when a block of a page has been shown, before anybody else is told."""
earlier: list[Page] = []
"""A reading of a page that ended at a block, whose results its next reading may take over."""
Renderer = Callable[[Markdown, Page, Block, dict[str, str], Run], str]
results: dict[str, Renderer] = {}
"""How to show what a block left behind, as HTML, by the value of its option `result`."""
Executor = Callable[[Markdown, Page, Block, str], str]
executors: dict[str, Executor] = {}
"""How to run and show a block whose `exec` is neither on nor off, by that word, from its code."""

Refuse = Callable[[str, str], PageError]  # of what is wrong, and what to do about it
annotators: dict[str, Callable[[Element, Refuse], Element]] = {}
"""What is done to each formula once it is MathML, by name. A `title` is for what is around it."""


def start_afresh(modules: list[str]) -> None:
    """Put back what blocks of other pages may have changed, and forget some modules.

    Args:
        modules: Packages to import anew, so that a page sees their source as it is now.
    """
    for name in [name for name in sys.modules if name.split(".")[0] in modules]:
        del sys.modules[name]
    for reset in resets.values():
        reset()


def _reset_numpy() -> None:
    """Make NumPy as it is after import, but for one thread.

    The last digit of a product of matrices may depend on the number of threads, and with it on the
    machine. For the small matrices of a page, threads also wait longer than they work.
    """
    threadpool_limits(1)
    np.random.seed(SEED)  # noqa: NPY002 (the global generator is what a page may disturb)
    np.set_printoptions(**_PRINT)
    np.seterr(**_ERRORS)


_PRINT: Any = np.get_printoptions()
_ERRORS: Any = np.geterr()
_HANDLERS = logging.getLogger().handlers[:]
resets: dict[str, Callable[[], None]] = {
    "logging": lambda: logging.getLogger().handlers.__setitem__(slice(None), _HANDLERS),
    "random": lambda: random.seed(SEED),
    "decimal": lambda: decimal.setcontext(decimal.Context()),
    "numpy": _reset_numpy,
}
"""What to put back before a page's first block, by name."""


def render_markdown(md: Markdown, page: Page, block: Block, text: str, prefix: str) -> str:
    """Return Markdown that a block made, as HTML.

    Args:
        md: The Markdown instance of the page.
        page: The page.
        block: The block.
        text: The Markdown.
        prefix: What to put before the ids in it.

    Returns:
        HTML.

    Raises:
        PageError: If it links to a page: only links in the page's own text are followed.
    """
    html = str(MarkdownConverter(md, update_toc=False).convert(text, id_prefix=prefix))
    if link := re.search(r'href="(?!https?:|#)([^"]*)"', html):
        raise PageError(
            page.where(block),
            f"Markdown that a block makes cannot link to a page; it links to {link[1]!r}.",
            "Put the link into the text of the page.",
        )
    return html


_ledgers: WeakKeyDictionary[Markdown, Page] = WeakKeyDictionary()


def page_of(md: Markdown) -> Page:
    """Return the page that a Markdown instance is converting."""
    if md not in _ledgers:
        where, what = (
            "mkdocs.yml",
            "the fences need the extension _kit.page, which keeps the ledger.",
        )
        raise PageError(where, what, "Add _kit.page to markdown_extensions.")
    return _ledgers[md]


def choice(wrong: str, known: Sequence[str]) -> str:
    """Return the remedy for a misspelt word: the one that is meant, or all that there are."""
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose one of {', '.join(known)}."


def find_line(roots: list[Path], text: str) -> str:
    """Return where a text stands first, as file:line, among the sources of a site.

    Args:
        roots: Folders to look in for Markdown and Python files.
        text: What to look for; white space matters no more than in a formula.

    Returns:
        For example `docs/index.md:12`, or `unknown place`.
    """
    pattern = _spaced(text)
    for path in _sources(roots, "md", "py"):
        source = path.read_text(encoding="utf-8")
        if found := pattern.search(source):
            return f"{_short(path)}:{source[: found.start()].count(chr(10)) + 1}"
    return "unknown place"


def _spaced(text: str) -> re.Pattern[str]:
    """Return what finds a text, whatever white space stands in it."""
    return re.compile(r"\s*".join(re.escape(word) for word in text.split()))


class PageExtension(Extension):
    """Keeps the ledger of each page that a Markdown instance converts."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {
            "docs": ["docs", "Folder of the pages, to name them in messages"],
            "fresh": [[], "Packages that each page imports anew"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (Python-Markdown's name)
        """Open the ledger before everything else, and close it after the fences were read."""
        docs, fresh = Path(self.getConfig("docs")), self.getConfig("fresh")

        def begin(lines: list[str]) -> None:
            path, first_line = _identify(docs, "\n".join(lines))
            name = _short(path) if path else "(text that is not a page)"
            blocks = list(declared_blocks(lines, first_line))
            source = "\n".join(lines)
            prose = outside_fences(source)
            page = Page(name, path is not None, blocks, fresh, prose, first_line, source=source)
            _ledgers[md] = page
            for block in blocks:
                _look_closed(page, block)

        def start(_: list[str]) -> None:
            page = page_of(md)
            if earlier and page.goes_on(earlier[0]):
                page.take_over(earlier.pop())
            else:
                page.ended(None)

        md.preprocessors.register(_Step(begin), "page-open", 1000)
        md.preprocessors.register(_Step(start), "page-start", 26)
        md.preprocessors.register(_Step(lambda _: page_of(md).close()), "page-close", 24.5)
        md.treeprocessors.register(_Record(md), "page-record", -1000)  # after all others


class _Step(Preprocessor):
    """A preprocessor that looks at the lines and leaves them as they are."""

    def __init__(self, look: Callable[[list[str]], None]) -> None:
        super().__init__()
        self.look = look

    def run(self, lines: list[str]) -> list[str]:
        self.look(lines)
        return lines


class _Record(Treeprocessor):
    """Puts what finish.py is to know of a page behind it, as data that no browser runs or shows.

    The built files are all that the step over the whole site needs, whatever builder made them.
    """

    def run(self, root: Element) -> None:
        page = page_of(self.md)
        if not page.is_file:
            return
        versions = {name: sys.modules[name].__version__ for name in _versioned(page)}
        record = {"source": page.name, "versions": versions} | page.record
        data = json.dumps(record, ensure_ascii=False, sort_keys=True).replace("<", r"\u003c")
        raw = self.md.htmlStash.store(f"{RECORD_OPEN}{data}{RECORD_CLOSE}")
        SubElement(root, "p").text = raw


def _versioned(page: Page) -> list[str]:
    """Return the packages whose versions the page depends on: those it explains, and NumPy."""
    return [name for name in (*page.fresh, "numpy") if page.namespace and name in sys.modules]


RECORD_OPEN, RECORD_CLOSE = '<script type="application/json" class="page-record">', "</script>"


def declared_blocks(lines: list[str], first_line: int) -> Iterator[Block]:
    """Yield every fence that stands in a source.

    Args:
        lines: Lines of the source.
        first_line: Number of the first of them in its file.

    Yields:
        Blocks in their order; a fence that is never closed ends with the source.
    """
    number, start, opening = 0, 0, None
    for i, line in enumerate(lines):
        fence = re.match(r"^[ \t>]*(`{3,}|~{3,})(.*)$", line)
        if opening is None and fence and "`" not in fence[2]:
            number, start, opening = number + 1, i, fence
        elif opening and fence and fence[1] == opening[1] and not fence[2].strip():
            yield _block(lines, number, start, i, first_line)
            opening = None
    if opening:
        yield _block(lines, number, start, len(lines), first_line)


_MARKS = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*(\w[^`]*)?$")  # of a fence, and its language


def _look_closed(page: Page, block: Block) -> None:
    """Look that a fence ends before the next one opens.

    Otherwise what follows it would be its code, and be told as missing.

    Raises:
        PageError: If it does not, or is never closed.
    """
    mark = re.match(r"`+|~+", block.header)[0]  # type: ignore[index] # a header begins so
    wrong = ""
    for line, text in enumerate(block.code.split("\n"), block.line + 1):
        found = _MARKS.match(text)
        if found and found[2] and found[1].startswith(mark):
            what = f"the fence also takes in the one of line {line}."
            remedy = wrong or f"Close it: {mark} on a line of its own above line {line}."
            remedy += " A fence that shows another needs more backticks than that."
            raise PageError(page.where(block), what, remedy)
        if found and not found[2]:
            wrong = wrong or f"Close it in line {line} with {mark}, as it is opened."
    if block.last == page.first_line + page.source.count("\n") + 1:
        remedy = wrong or f"Close it: {mark} on a line of its own."
        raise PageError(page.where(block), "the fence is never closed.", remedy)


def _block(lines: list[str], number: int, start: int, end: int, first_line: int) -> Block:
    indent = len(lines[start].expandtabs(4)) - len(lines[start].expandtabs(4).lstrip(" >"))
    code = "\n".join(line.expandtabs(4)[indent:] for line in lines[start + 1 : end])
    header = lines[start].strip(" >")
    return Block(number, first_line + start, first_line + end, header, code)


def outside_fences(source: str) -> str:
    """Return a source with the lines of its fences emptied."""
    kept = source.split("\n")
    for block in declared_blocks(source.split("\n"), first_line=0):
        end = min(block.last + 1, len(kept))
        kept[block.line : end] = [""] * (end - block.line)
    return "\n".join(kept)


_RUNS = re.compile(r"\{\{ .*? \}\}|^/{3,} *[\w-]*", re.MULTILINE | re.DOTALL)


def run_keys(source: str) -> list[str]:
    """Return a key for each block of a page, by its number; the first stands for the start.

    Where two pages have the same key, all that runs is the same, up to this block and with it: the
    blocks, and the values in the text between them, in the same questions and exercises.

    Args:
        source: The page.
    """
    lines, digest = source.split("\n"), sha256()
    keys, end = [digest.hexdigest()], 0
    for block in declared_blocks(lines, first_line=0):
        between = _RUNS.findall("\n".join(lines[end : block.line]))
        digest.update(repr((between, block.header, block.code)).encode())
        keys.append(digest.hexdigest())
        end = block.last + 1
    return keys


def _identify(docs: Path, source: str) -> tuple[Path | None, int]:
    """Return the file that a source comes from, and the number of its first line there.

    The builder strips the front matter, so a page is the file that is the source but for it.
    Knowing it by its text works with every builder that takes Python-Markdown extensions.
    """
    body = source.rstrip()
    for path in _sources([docs], "md"):
        text = _text(path, path.stat().st_mtime_ns)
        front_matter = text.removesuffix(body)
        before = front_matter.strip()
        if body and text.endswith(body) and (not before or before.startswith("---")):
            return path, front_matter.count("\n") + 1
    return None, 1


@cache
def _text(path: Path, changed: int) -> str:  # noqa: ARG001 (read anew when the file has changed)
    """Return the text of a file. Each formula of a docstring is looked for in all of them."""
    return path.read_text(encoding="utf-8-sig").rstrip()


def _sources(roots: list[Path], *endings: str) -> Iterator[Path]:
    for root in roots:
        for ending in endings:
            yield from sorted(root.rglob(f"*.{ending}"))


def _short(path: Path) -> str:
    """Return a path as a reader of the repository knows it, without the place of the checkout."""
    with contextlib.suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return path.as_posix()


def _names(raised: BaseException) -> list[str]:
    return [cls.__name__ for cls in type(raised).__mro__]


def _assigned(tree: ast.Module) -> set[str]:
    """Return the names that a block gives a value, itself and not inside a function of its."""
    names: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        nodes += ast.iter_child_nodes(node)
    return names


class MeddlingError(Exception):
    """A block changed something that other pages share."""


_SHARED = ["builtins", "math", "random", "decimal", "numpy", "numpy.linalg"]


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Let no block leave the working folder, the environment or a shared module changed.

    Raises:
        MeddlingError: If one does; everything is put back before.
    """
    modules = [sys.modules[name] for name in _SHARED if name in sys.modules]
    before = {module: dict(vars(module)) for module in modules}
    folder, environment = Path.cwd(), dict(os.environ)
    try:
        yield
    finally:  # a block that raises, as it declares, must leave things in order too
        changed = [*_restored(before), *_restored_process(folder, environment)]
        if changed:
            raise MeddlingError(f"the block left changed: {', '.join(changed)}")


def _restored(before: dict[ModuleType, dict[str, Any]]) -> list[str]:
    """Put modules back as they were; return what was changed in them or added to them."""
    changed, added = [], []
    for module, held in before.items():
        name, now = module.__name__, vars(module)
        changed += [f"{name}.{key}" for key, value in held.items() if now.get(key) is not value]
        for key in now.keys() - held.keys():
            if not key.startswith("__") and not isinstance(now[key], ModuleType):
                del now[key]
                added.append(f"{name}.{key}")
        now.update(held)
    return [*changed, *sorted(added)]


def _restored_process(folder: Path, environment: dict[str, str]) -> list[str]:
    """Put the working folder and the environment back; return what was changed of them."""
    changed = ["the working folder"] if Path.cwd() != folder else []
    changed += [f"os.environ[{k!r}]" for k, v in environment.items() if os.environ.get(k) != v]
    for key in os.environ.keys() - environment.keys():  # scikit-learn sets one as it comes in
        del os.environ[key]
    os.environ.update(environment)
    os.chdir(folder)
    return changed


@contextlib.contextmanager
def _captured(output: io.StringIO) -> Iterator[None]:
    """Catch what is printed, and turn into errors what Python would let pass.

    These are warnings, exceptions in threads and in what nobody waits for, and a hard exit, which
    would end the build with success and no site.
    """
    lost: list[BaseException] = []

    def note(args: Any) -> None:
        lost.append(args.exc_value)

    def refuse_exit(status: int) -> None:
        raise SystemExit(status)

    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(),
        mock.patch("threading.excepthook", note),
        mock.patch("sys.unraisablehook", note),
        mock.patch("os._exit", refuse_exit),
    ):
        warnings.simplefilter("error")
        try:
            yield
        finally:
            if lost:
                raise lost[0]


def makeExtension(**kwargs: Any) -> PageExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return PageExtension(**kwargs)
