"""The marks of a drawn line, set by one path instead of one element each.

Matplotlib sets each mark by a `use`, and a browser keeps and styles a tree of its own for each of
these: 400 dots took it as long as the rest of their page. A path sets the same mark at its corners.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

_SVG = "{http://www.w3.org/2000/svg}"
_ENDS = ("start", "end", "mid")  # where a path has marks: of one corner, of two, of more


def gather(root: ET.Element) -> None:
    """Give the marks of each line to one path, which shows nothing else.

    Dots of several looks, as a scatter plot may have, stay what they are.

    Args:
        root: A drawing of Matplotlib, whose marks have ids; it is changed.
    """
    lines = [(group, group.findall(f"{_SVG}use")) for group in root.iter(f"{_SVG}g")]
    lines = [(group, uses) for group, uses in lines if uses]
    scattered = [uses for _, uses in lines if any(_look(use) != _look(uses[0]) for use in uses)]
    unlike = {use.attrib["href"] for uses in scattered for use in uses}
    several = {uses[0].attrib["href"] for _, uses in lines if len(uses) > 1} - unlike
    for parent in list(root.iter(f"{_SVG}defs")):
        for i, mark in enumerate(parent):
            if f"#{mark.get('id')}" in several:
                parent[i] = _marker(mark)
    markers = {f"#{marker.get('id')}": marker for marker in root.iter(f"{_SVG}marker")}
    for group, uses in lines:
        if (link := uses[0].attrib["href"]) in several:
            _set(group, uses, link, markers[link][0])


def _look(use: ET.Element) -> dict[str, str]:
    return {key: value for key, value in use.attrib.items() if key not in {"x", "y"}}


def _marker(mark: ET.Element) -> ET.Element:
    name = mark.attrib.pop("id")
    marker = ET.Element(f"{_SVG}marker", id=name, overflow="visible", markerUnits="userSpaceOnUse")
    marker.append(mark)
    return marker


def _set(group: ET.Element, uses: list[ET.Element], link: str, mark: ET.Element) -> None:
    """Put a path in the place of the uses of a mark; all marks of a line look alike."""
    corners = [f"{use.attrib['x']} {use.attrib['y']}" for use in uses]
    look = {key: value for key, value in _look(uses[0]).items() if key != "href"}
    mark.attrib = look | mark.attrib
    path = f"M{'L'.join(corners)}" + "h0" * (len(uses) == 1)  # a place alone is no line
    line = ET.Element(f"{_SVG}path", d=path, fill="none")
    line.attrib |= {f"marker-{end}": f"url({link})" for end in _ENDS[: len(uses)]}
    group.insert(list(group).index(uses[0]), line)
    for use in uses:
        group.remove(use)
