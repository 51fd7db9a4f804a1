r"""Sliders: figures that the reader moves, every frame of them computed when the site is built.

    ```python exec="on" result="slider" id="steepness" source="fold"
    def frame(slope):
        fig, ax = plt.subplots()
        ax.plot([0, 1], [0, slope], "C0")
        ax.set(ylim=(0, 2))
        return fig, {"end of the line": f"{slope:.2f}"}

    inputs = {"slope a": np.linspace(0, 2, 9)}
    title, caption, alt = ...  # as for a figure; they describe the frame at the start
    ```

`inputs` has one to three controls: a label, and the values that `frame` gets, one of each control.
In the place of the values may stand a dict with `values` and any of `start` (the middle one),
`format` (a function from a value to its text) and `colour` (a role, C0, C1, ..). `frame` returns a
figure and its readouts: names, and what to tell about this frame. Outside the site nobody calls it.

The drawing stands in the page once, as the frame at the start. What differs between frames stands
in `data-` attributes of its elements: first the numbers of the controls on which it depends, then a
line for each of their combinations, the last control fastest. The tables of the readouts are laid
out in the same order. So docs/assets/slider.js only picks, and without it one frame and the tables
are there.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from numbers import Real
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
from markdown import Markdown
from markdown.extensions import Extension
from matplotlib.figure import Figure

from _kit.figure import (
    COLOUR_REMEDY,
    ForeignColourError,
    caption_of,
    given,
    read_roles,
    take,
    to_svg,
    to_text,
)
from _kit.page import Block, Page, PageError, Run, results

NAMES: dict[str, type] = {"title": str, "caption": str, "alt": str, "inputs": dict}
MOST = 3  # controls of a slider
HEAVIEST = 12_000  # bytes that moving may add to a page, compressed


class SliderExtension(Extension):
    """Makes `result="slider"` known."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the settings from mkdocs.yml."""
        self.config = {"css": ["docs/assets/site.css", "Style sheet that defines the roles"]}
        super().__init__(**kwargs)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: ARG002, N802 (Python-Markdown's)
        """Read the roles, for the controls and for the SVG."""
        roles = read_roles(Path(self.getConfig("css")).read_text(encoding="utf-8"))

        def as_slider(
            md: Markdown, page: Page, block: Block, options: dict[str, str], run: Run
        ) -> str:
            name, left = take(page, block, options, run, "slider", NAMES)
            try:
                html = _slider(page, block, name, left, run, roles)
            except _SlipError as slip:
                raise PageError(page.where(block), *slip.args) from slip
            return html.replace(_CAPTION, caption_of(md, page, block, name, left))

        results["slider"] = as_slider


_CAPTION = "<figcaption></figcaption>"


class _SlipError(Exception):
    """What is wrong, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control: what it is called, the values it runs through, and how they read."""

    label: str
    values: Any  # a sequence
    texts: list[str]
    start: int  # place of the value at the start
    role: str  # of the quantity, for example role-epsilon; may be empty


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: for which values it was drawn, the drawing, and what it tells."""

    at: str  # for messages
    svg: ET.Element
    readouts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Varying:
    """A text that may differ between frames: on which controls it depends, and all it can be."""

    on: tuple[int, ...]
    values: list[str]

    @classmethod
    def of(cls, texts: list[str], controls: list[Control]) -> Varying:
        """Leave out the controls that do not matter.

        Args:
            texts: One for each frame, the last control fastest.
            controls: The controls.
        """
        grid = np.array(texts, dtype=object).reshape([len(c.values) for c in controls])
        for axis in range(grid.ndim):
            if (grid == grid.take([0], axis)).all():
                grid = grid.take([0], axis)
        on = tuple(axis for axis, length in enumerate(grid.shape) if length > 1)
        return cls(on, grid.ravel().tolist())

    @property
    def key(self) -> str:
        """Return the numbers of the controls in one word."""
        return "".join(map(str, self.on))


def _slider(
    page: Page, block: Block, name: str, left: dict[str, Any], run: Run, roles: dict[str, str]
) -> str:
    """Return the slider that a block left, as HTML, with an empty caption."""
    frame = run.namespace.get("frame")
    if "frame" not in run.assigned or not callable(frame):
        what = f"a slider block must leave 'frame', a function; got {given(run, 'frame')}."
        raise _SlipError(what, "Define frame in this block.")
    controls = read_controls(left["inputs"], list(roles.values()))
    every = list(itertools.product(*(range(len(c.values)) for c in controls)))
    start = every.index(tuple(c.start for c in controls))

    def draw(places: tuple[int, ...]) -> Frame:
        return _draw(page, block, frame, controls, places, name, roles)

    frames = [draw(places) for places in every]
    _compare(frames, start, again=draw(every[start]))
    svg = frames[start].svg
    still = to_text(svg, name, left["title"], left["alt"])
    _annotate(svg, [list(f.svg.iter()) for f in frames], controls)
    moving = to_text(svg, name, left["title"], left["alt"]).replace("&#10;", "\n")
    tables, readouts = _tables([f.readouts for f in frames], controls)
    html = f"{moving}{_controls(name, controls, readouts)}{tables}{_CAPTION}"  # a caption is last
    _weigh(html, still)
    return f'<figure id="{name}" class="slider">{html}</figure>'


def read_controls(inputs: dict[Any, Any], roles: list[str]) -> list[Control]:
    """Return the controls that an author describes.

    Args:
        inputs: Values by label, or dicts of `values`, `start`, `format` and `colour` by label.
        roles: References to the custom properties of the roles, in the order of C0, C1, ..
    """
    if len(inputs) > MOST:
        what = f"a slider has at most {MOST} controls; inputs has {len(inputs)}."
        raise _SlipError(what, "Fix some of them, or make a second slider.")
    return [_control(label, given, roles) for label, given in inputs.items()]


def _control(label: Any, given: Any, roles: list[str]) -> Control:
    if not isinstance(label, str) or not label.strip():
        raise _SlipError(f"a control needs a label; got {label!r}.", "Write its name as the key.")
    options = dict(given) if isinstance(given, dict) else {"values": given}
    if unknown := options.keys() - {"values", "start", "format", "colour"}:
        what = f"the control {label!r} has no {', '.join(map(repr, sorted(unknown, key=repr)))}."
        raise _SlipError(what, "Choose from values, start, format and colour.")
    values = options.get("values")
    if not isinstance(values, list | tuple | range | np.ndarray) or np.ndim(values) != 1:
        what = f"the control {label!r} needs a sequence of values; got {values!r}."
        raise _SlipError(what, "Give it a list, or an array of one axis.")
    if len(values) < 2:  # noqa: PLR2004 (with one there is nothing to move)
        what = f"the control {label!r} needs at least two values; got {len(values)}."
        raise _SlipError(what, "Give it more, or take it out.")
    texts = [_read(label, value, options.get("format", _plain)) for value in values]
    if twice := [text for text, times in Counter(texts).items() if times > 1]:
        what = f"two values of the control {label!r} read alike: {twice[0]!r}."
        raise _SlipError(what, "Give it a format with more digits, or other values.")
    start = _start(label, values, options.get("start", values[len(values) // 2]))
    return Control(label, values, texts, start, _role(label, options.get("colour"), roles))


def _read(label: str, value: Any, form: Any) -> str:
    try:
        text = form(value)
    except Exception as error:
        what = f"the format of the control {label!r} fails for {value!r}: {error!r}."
        raise _SlipError(what, 'Give it a function to text, such as "{:.2f}".format.') from error
    if not isinstance(text, str) or not text.strip() or "\n" in text:
        what = f"the format of the control {label!r} must make a line of text; got {text!r}."
        raise _SlipError(what, 'Give it a function to text, such as "{:.2f}".format.')
    return text


def _plain(value: Any) -> str:
    """Return a value as text, with a minus that is as wide as a plus."""
    text = f"{value:.4g}" if isinstance(value, Real) else str(value)
    return text.replace("-", "−", 1) if text.startswith("-") else text


def _start(label: str, values: Any, start: Any) -> int:
    for place, value in enumerate(values):
        near = isinstance(value, Real) and isinstance(start, Real)
        if value == start or (near and math.isclose(value, start)):
            return place
    what = f"the control {label!r} must start at one of its values; got {start!r}."
    raise _SlipError(what, "Choose one of them, or add it to the values.")


def _role(label: str, colour: Any, roles: list[str]) -> str:
    known = {f"C{i}": role for i, role in enumerate(roles)}
    if colour is not None and colour not in known:
        what = f"the colour of the control {label!r} must be a role; got {colour!r}."
        raise _SlipError(what, f"Choose one of {', '.join(known)}.")
    return known.get(colour, "").removeprefix("var(--").removesuffix(")")


def _draw(
    page: Page,
    block: Block,
    frame: Callable[..., Any],
    controls: list[Control],
    places: tuple[int, ...],
    name: str,
    roles: dict[str, str],
) -> Frame:
    """Return one frame, drawn under the conditions under which the page runs."""
    here = list(zip(controls, places, strict=True))
    at = f"the frame at {', '.join(f'{c.label} = {c.texts[i]}' for c, i in here)}"

    def call() -> Any:
        try:
            return frame(*(c.values[i] for c, i in here))
        except BaseException as error:
            error.add_note(f"    in {at}")
            raise

    left, printed = page.call(block, call, "Mend frame: it is called with all values of inputs.")
    if printed:
        what = f"frame must not print; {at} printed {printed!r}."
        raise _SlipError(what, "Return what is to be told in the dict of readouts.")
    fig, readouts = _checked(left, at)
    try:
        return Frame(at, to_svg(fig, name, roles), {k: _plain(v) for k, v in readouts.items()})
    except ForeignColourError as error:
        raise _SlipError(f"{error} (In {at}.)", COLOUR_REMEDY) from error
    except Exception as error:
        raise _SlipError(f"{at} cannot be drawn: {error!r}.", "Mend what frame draws.") from error


def _checked(left: Any, at: str) -> tuple[Figure, dict[str, Any]]:
    """Return what a call of frame left, if it is a figure and its readouts."""
    remedy = 'End frame with a line such as: return fig, {"mean": f"{x.mean():.2f}"}'
    if not isinstance(left, tuple) or [type(part) for part in left] != [Figure, dict]:
        what = f"frame must return a figure and a dict of readouts; {at} returned {left!r}."
        raise _SlipError(what, remedy)
    for key, value in left[1].items():
        if not isinstance(key, str) or not isinstance(value, str | Real) or "\n" in f"{key}{value}":
            what = (
                f"a readout must be a text or a number under a name; {at} has {key!r}: {value!r}."
            )
            raise _SlipError(what, remedy)
    if not left[1]:
        raise _SlipError(f"frame must return at least one readout; {at} has none.", remedy)
    return cast("tuple[Figure, dict[str, Any]]", left)


_KINDS = {"use": "markers", "path": "lines or areas", "text": "lines of text"}


def _compare(frames: list[Frame], start: int, again: Frame) -> None:
    """Raise a slip if the frames do not consist of the same elements and readouts."""
    first = frames[start]
    if (ET.tostring(first.svg), first.readouts) != (ET.tostring(again.svg), again.readouts):
        what = f"a frame must be the same whenever it is drawn; {first.at} differs the second time."
        raise _SlipError(what, "Draw random numbers, and change things, before frame is defined.")
    for frame in frames:
        if list(frame.readouts) != list(first.readouts):
            what = (
                f"all frames must have the same readouts; {frame.at} has {list(frame.readouts)}, "
                f"{first.at} {list(first.readouts)}."
            )
            raise _SlipError(what, "Give a readout that does not apply the text –.")
        if frame.svg.attrib != first.svg.attrib:
            what = f"all frames must have one size; {frame.at} differs from {first.at}."
            raise _SlipError(what, "Give all the same figsize.")
        if _outline(frame.svg) != _outline(first.svg):
            what = (
                f"all frames must consist of the same elements; {frame.at} has "
                f"{_difference(frame, first)} {first.at}."
            )
            remedy = (
                "Fix limits and ticks of the axes, draw the same artists in every frame, and give "
                "what is not to be seen alpha=0 instead of leaving it out."
            )
            raise _SlipError(what, remedy)


def _outline(element: ET.Element) -> list[Any]:
    return [element.tag, *map(_outline, element)]


def _difference(frame: Frame, first: Frame) -> str:
    here, there = (Counter(e.tag.rpartition("}")[2] for e in f.svg.iter()) for f in (frame, first))
    for tag, kind in _KINDS.items():
        if here[tag] != there[tag]:
            return f"{here[tag]} {kind}, not the {there[tag]} of"
    return "them in another order than"


def _annotate(root: ET.Element, frames: list[list[ET.Element]], controls: list[Control]) -> None:
    """Write into each element what of it differs between frames."""
    for element, *variants in zip(list(root.iter()), *frames, strict=True):
        for key in sorted({key for variant in variants for key in variant.attrib}):
            texts = [variant.get(key, "") for variant in variants]
            _note(element, key, Varying.of(texts, controls))
        _note(element, "text", Varying.of([variant.text or "" for variant in variants], controls))


def _note(element: ET.Element, key: str, varying: Varying) -> None:
    if varying.on:
        element.set(f"data-{key}", "\n".join([varying.key, *varying.values]))


def _controls(name: str, controls: list[Control], readouts: list[str]) -> str:
    """Return the controls, which the script shows, and the names of the readouts, in order."""
    rows, ids = [], []
    for number, control in enumerate(controls):
        ids.append(f"{name}-input-{number + 1}")
        texts = escape("\n".join(control.texts))
        rows.append(
            f'<div class="control {control.role}"><label for="{ids[-1]}">{escape(control.label)}'
            f'</label><input type="range" id="{ids[-1]}" max="{len(control.values) - 1}" '
            f'value="{control.start}" autocomplete="off" data-texts="{texts}">'
            '<span aria-hidden="true"></span></div>'
        )
    told = " ".join(f"<span>{escape(readout)} <b></b></span>" for readout in readouts)
    output = f'<output for="{" ".join(ids)}" aria-live="polite">{told}</output>'
    return f'<div class="controls" data-search-exclude hidden>{"".join(rows)}{output}</div>'


def _tables(frames: list[dict[str, str]], controls: list[Control]) -> tuple[str, list[str]]:
    """Return the tables of all readouts, and the names of these in the order of the tables.

    Readouts that depend on the same control are columns of one table. One that depends on several
    controls has a table of its own, with the last of them across.
    """
    varying = {name: Varying.of([f[name] for f in frames], controls) for name in frames[0]}
    groups: dict[Any, dict[str, Varying]] = {}
    for name, values in varying.items():
        alone = name if len(values.on) > 1 else None
        groups.setdefault((values.on, alone), {})[name] = values
    tables = [_table(list(on), group, controls) for (on, _), group in groups.items()]
    summary = f"All frames as {'a table' if len(tables) == 1 else 'tables'}"
    html = f"<details data-search-exclude><summary>{summary}</summary>{''.join(tables)}</details>"
    return html, [name for group in groups.values() for name in group]


def _table(on: list[int], group: dict[str, Varying], controls: list[Control]) -> str:
    key = next(iter(group.values())).key
    across = controls[on.pop()] if len(on) > 1 else None
    down = [controls[i] for i in on]
    rows = ' rowspan="2"' if across else ""
    head = "".join(f'<th scope="col"{rows}>{escape(c.label)}</th>' for c in down)
    if across:
        columns = "".join(f'<th scope="col">{escape(text)}</th>' for text in across.texts)
        caption = f'<caption class="readout">{escape(next(iter(group)))}</caption>'
        width = len(across.texts)
        head += (
            f'<th scope="colgroup" colspan="{width}">{escape(across.label)}</th></tr><tr>{columns}'
        )
    else:
        caption, width = "", len(group)
        head += "".join(f'<th scope="col" class="readout">{escape(name)}</th>' for name in group)
    body = _body(
        down, width, itertools.chain(*zip(*(v.values for v in group.values()), strict=True))
    )
    return f'<table data-on="{key}">{caption}<thead><tr>{head}</tr></thead>{body}</table>'


def _body(down: list[Control], width: int, cells: Iterator[str]) -> str:
    """Return the rows of a table: for each combination of controls, its texts and some cells."""
    rows = []
    for texts in itertools.product(*(control.texts for control in down)):
        row = "".join(f'<th scope="row">{escape(text)}</th>' for text in texts)
        row += "".join(f"<td>{escape(cell)}</td>" for cell in itertools.islice(cells, width))
        rows.append(f"<tr>{row}</tr>")
    return f"<tbody>{''.join(rows)}</tbody>"


def _weigh(html: str, still: str) -> None:
    """Raise a slip if moving adds too much to the page."""
    added = len(zlib.compress(html.encode())) - len(zlib.compress(still.encode()))
    if added > HEAVIEST:
        what = (
            f"a slider may add {HEAVIEST:,} bytes to a page, compressed; this one adds {added:,}."
        )
        raise _SlipError(what, "Use fewer values, or draw fewer points.")


def makeExtension(**kwargs: Any) -> SliderExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return SliderExtension(**kwargs)
