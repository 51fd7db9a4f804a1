"""An SVG figure as a small drawing in pixels: its lines and areas, without words and axes.

Only what the figures of the pages are made of is understood: paths, and marks set by `use` or at
the corners of a path. That is enough for a picture that is looked at for a second, and needs no
program that draws SVG.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from fontTools.pens.basePen import BasePen
from fontTools.svgLib.path import parse_path
from PIL import Image, ImageDraw

Point = tuple[float, float]
Line = list[Point]
Colour = tuple[int, int, int]

_SVG = "{http://www.w3.org/2000/svg}"
_FINER = 2  # drawn larger and then reduced, since Pillow's lines have steps
_PIECES = 8  # straight pieces of a curve


class _Flat(BasePen):  # type: ignore[misc] # fontTools has no types
    """Collects the outlines of a path, with straight pieces for its curves."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[Line] = []

    def _moveTo(self, point: Point) -> None:  # noqa: N802 (fontTools' names)
        self.lines.append([point])

    def _lineTo(self, point: Point) -> None:  # noqa: N802
        self.lines[-1].append(point)

    def _curveToOne(self, b: Point, c: Point, d: Point) -> None:  # noqa: N802
        corners = (self.lines[-1][-1], b, c, d)
        for t in (piece / _PIECES for piece in range(1, _PIECES + 1)):
            weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3)
            x = sum(w * corner[0] for w, corner in zip(weights, corners, strict=True))
            y = sum(w * corner[1] for w, corner in zip(weights, corners, strict=True))
            self.lines[-1].append((x, y))

    def _closePath(self) -> None:  # noqa: N802
        self.lines[-1].append(self.lines[-1][0])


def outlines(path: str, scale: float = 1, at: Point = (0, 0)) -> list[Line]:
    """Return the outlines of a path, as points.

    Args:
        path: The path, as SVG writes it.
        scale: By what to multiply it.
        at: By what to move it, before.
    """
    pen = _Flat()
    parse_path(path, pen)
    return [[((x + at[0]) * scale, (y + at[1]) * scale) for x, y in line] for line in pen.lines]


def sketch(svg: str, colours: dict[str, Colour], size: tuple[int, int]) -> Image.Image | None:
    """Draw what has a colour in a figure.

    Args:
        svg: The figure, an SVG element.
        colours: What a colour is called in it, and what it is; "ground" is that of the page.
        size: The largest width and height.

    Returns:
        The drawing, or None if nothing in the figure has one of the colours.
    """
    root = ET.fromstring(svg)  # noqa: S314 (our own text)
    marks = {f"#{path.get('id')}": path for path in root.iter(f"{_SVG}path")}
    marks |= {f"url(#{marker.get('id')})": marker[0] for marker in root.iter(f"{_SVG}marker")}
    shapes = [
        (shape, path, at)
        for shape, path, at in _shapes(root, marks)
        if {shape.get("fill"), shape.get("stroke")} & {*colours}
    ]
    if not shapes:
        return None
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    scale = _FINER * min(size[0] / width, size[1] / height)
    image = Image.new("RGB", (round(width * scale), round(height * scale)), colours["ground"])
    draw = ImageDraw.Draw(image)
    for shape, path, at in shapes:
        _paint(draw, outlines(path, scale, at), shape, colours, scale)
    return image.reduce(_FINER)


def _shapes(
    element: ET.Element, marks: dict[str, ET.Element]
) -> Iterator[tuple[ET.Element, str, Point]]:
    """Yield what is painted, in its order: what it looks like, its path, and where that starts."""
    for child in element:
        if child.tag == f"{_SVG}path":
            path = child.get("d", "")
            yield child, path, (0, 0)
            if (mark := marks.get(child.get("marker-start", ""))) is not None:
                for at in itertools.chain(*outlines(path)):
                    yield mark, mark.get("d", ""), at
        elif child.tag == f"{_SVG}use":
            at = (float(child.get("x", 0)), float(child.get("y", 0)))
            yield child, marks[child.attrib["href"]].get("d", ""), at
        elif child.tag == f"{_SVG}g" and "axis" not in child.get("id", ""):
            yield from _shapes(child, marks)


def _paint(
    draw: ImageDraw.ImageDraw,
    lines: list[Line],
    shape: ET.Element,
    colours: dict[str, Colour],
    scale: float,
) -> None:
    """Paint the area and the line of a shape."""
    for line in lines:
        if (name := shape.get("fill", "")) in colours:
            draw.polygon(line, fill=_thinned(name, shape, "fill", colours))
        if (name := shape.get("stroke", "")) in colours:
            colour = _thinned(name, shape, "stroke", colours)
            width = max(_FINER, round(float(shape.get("stroke-width", 1)) * scale))
            pattern = [
                float(x) * scale
                for x in shape.get("stroke-dasharray", "").replace(",", " ").split()
            ]
            for dash in dashes(line, pattern):
                draw.line(dash, fill=colour, width=width, joint="curve")


def _thinned(name: str, shape: ET.Element, kind: str, colours: dict[str, Colour]) -> Colour:
    """Return a colour as it looks on the page, where it lets the page shine through."""
    share = float(shape.get(f"{kind}-opacity", 1)) * float(shape.get("opacity", 1))
    red, green, blue = (
        round(share * a + (1 - share) * b)
        for a, b in zip(colours[name], colours["ground"], strict=True)
    )
    return red, green, blue


def dashes(line: Line, pattern: list[float]) -> Iterator[Line]:
    """Yield the dashes of a line.

    Args:
        line: Its points.
        pattern: Lengths of dash, gap, dash, ..; none for a line without gaps.

    Yields:
        Points of each dash.
    """
    if not pattern:
        yield line
        return
    lengths = itertools.cycle(pattern * (1 + len(pattern) % 2))
    left, drawn, dash = next(lengths), True, line[:1]
    for start, end in itertools.pairwise(line):
        at = start
        while (far := math.dist(at, end)) > left:
            at = tuple(a + (b - a) * left / far for a, b in zip(at, end, strict=True))  # type: ignore[assignment]
            if drawn:
                yield [*dash, at]
            left, drawn, dash = next(lengths), not drawn, [at]
        left, dash = left - far, [*dash, end]
    if drawn and len(dash) > 1:
        yield dash
