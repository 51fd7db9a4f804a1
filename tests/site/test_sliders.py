"""Sliders: every frame is what refbn computes, a script only picks, and without it nothing is lost."""

import itertools
import json
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from building import CHROMIUM, ROOT, Site

import refbn
from _kit.page import declared_blocks

PAGE = """```python exec="on" result="slider" id="s" source="none"
import matplotlib.pyplot as plt
import numpy as np

chance = np.random.default_rng(0)

def frame(slope, offset):
    fig, ax = plt.subplots()
    ax.plot([0, 1], [offset, offset + slope], "C0o-")
    ax.axhline(offset, color="C3")
    ax.set(ylim=(0, 4), yticks=[0, 2, 4])
    return fig, {"end": slope + offset, "rise": f"{slope:.1f}", "fixed": "no"}

inputs = {"slope a": [-1.0, 0.0, 1.0], "offset": {"values": (2.0, 3.0), "colour": "C4"}}
title = "A line"
caption = f"It ends at **{2 + 1}**."
alt = "A line from 3 to 3, where it began <b>."
```
"""
RETURN = 'return fig, {"end": slope + offset, "rise": f"{slope:.1f}", "fixed": "no"}'
START = "the frame at slope a = 0, offset = 3"
FIRST = "the frame at slope a = −1, offset = 2"

SLIPS = {
    "no id": (' id="s"', "", "a slider must have an id."),
    "an id that is none": ('id="s"', 'id="s t"', "the id 's t' is taken or is none."),
    "no inputs": ("inputs =", "_ =", "a slider block must leave 'inputs', a dict; got None."),
    "empty inputs": ("inputs = {", "inputs = {} and {", "'inputs', a dict; got {}."),
    "no frame": (
        "def frame",
        "def fame",
        "a slider block must leave 'frame', a function; got None",
    ),
    "no alternative text": ("alt =", "_ =", "a slider block must leave 'alt', a str; got None."),
    "words inside frame only": (
        'title = "A line"',
        'def inner():\n    title = "A line"',
        "a slider block must leave 'title', a str; got None.",
    ),
    "a print beside frame": (
        "alt =",
        "print(1)\nalt =",
        "a slider block must not print; got '1\\n'.",
    ),
    "a print in frame": (
        "fig, ax =",
        "print(7)\n    fig, ax =",
        f"frame must not print; {FIRST} printed '7\\n'.",
    ),
    "four controls": (
        '"offset":',
        '"b": [1, 2], "c": [1, 2], "offset":',
        "a slider has at most 3 controls; inputs has 4.",
    ),
    "a label that is none": ('"slope a"', "3", "a control needs a label; got 3."),
    "a text for values": (
        "[-1.0, 0.0, 1.0]",
        '"abc"',
        "the control 'slope a' needs a sequence of values; got 'abc'.",
    ),
    "a number for values": ("[-1.0, 0.0, 1.0]", "5", "needs a sequence of values; got 5."),
    "one value": (
        "[-1.0, 0.0, 1.0]",
        "[1.0]",
        "the control 'slope a' needs at least two values; got 1.",
    ),
    "values that read alike": (
        "[-1.0, 0.0, 1.0]",
        "[1.0, 1.00001]",
        "two values of the control 'slope a' read alike: '1'.",
    ),
    "an option that does not exist": (
        '"colour"',
        '"color"',
        "the control 'offset' has no 'color'.",
    ),
    "a colour that is no role": (
        '"colour": "C4"',
        '"colour": "red"',
        "the colour of the control 'offset' must be a role; got 'red'.",
    ),
    "a start that is no value": (
        '"colour": "C4"',
        '"start": 2.5',
        "the control 'offset' must start at one of its values; got 2.5.",
    ),
    "a format that fails": (
        '"colour": "C4"',
        '"format": "{:d}".format',
        "the format of the control 'offset' fails for 2.0: ValueError(",
    ),
    "a format that makes no text": (
        '"colour": "C4"',
        '"format": float',
        "the format of the control 'offset' must make a line of text; got 2.0.",
    ),
    "an error in one frame": (
        "fig, ax =",
        "assert slope < 1\n    fig, ax =",
        "line 8 raised AssertionError\n    in the frame at slope a = 1, offset = 2\n    assert slope < 1",
    ),
    "a warning in one frame": (
        "fig, ax =",
        "np.float64(1) / slope\n    fig, ax =",
        "raised RuntimeWarning: divide by zero encountered in scalar divide\n    in the frame at slope a = 0",
    ),
    "an error while a frame is drawn": (
        "ax.set(",
        'ax.set_title("\u65e5\u672c")\n    ax.set(',
        f"{FIRST} cannot be drawn: UserWarning(",
    ),
    "a foreign colour": (
        '"C0o-"',
        '"o-", color="tomato"',
        f"it uses #ff6347. (In {FIRST}.)",
    ),
    "no readouts": (
        RETURN,
        "return fig",
        f"frame must return a figure and a dict of readouts; {FIRST} returned <Figure",
    ),
    "empty readouts": (RETURN, "return fig, {}", f"at least one readout; {FIRST} has none."),
    "a readout that is a list": (
        RETURN,
        'return fig, {"end": [1]}',
        f"a readout must be a text or a number under a name; {FIRST} has 'end': [1].",
    ),
    "readouts that change their names": (
        RETURN,
        'return fig, {f"end {slope:g}": 1}',
        f"all frames must have the same readouts; {FIRST} has ['end -1'], {START} ['end 0'].",
    ),
    "a line that is left out": (
        '    ax.plot([0, 1], [offset, offset + slope], "C0o-")',
        '    if slope:\n        ax.plot([0, 1], [offset, offset + slope], "C0")',
        f"all frames must consist of the same elements; {FIRST} has ",
    ),
    "a tick that comes and goes": (
        "yticks=[0, 2, 4]",
        "yticks=[0, 2, 4][: 3 + int(min(slope, 0))]",
        f"{FIRST} has 8 markers, not the 9 of {START}.",
    ),
    "another size": (
        "plt.subplots()",
        "plt.subplots(figsize=(5, 3 + slope))",
        f"all frames must have one size; {FIRST} differs from {START}.",
    ),
    "chance in a frame": (
        "offset + slope]",
        "offset + slope + chance.random()]",
        f"a frame must be the same whenever it is drawn; {START} differs the second time.",
    ),
    "too much for a page": (
        "[0, 1], [offset, offset + slope]",
        "np.arange(500), np.random.default_rng(int(100 * slope + offset) + 200).random(500)",
        "a slider may add 12,000 bytes to a page, compressed; this one adds ",
    ),
}

# Converts pages in one process, and prints the error of each, or what it became.
CONVERT = """
import json, sys
from markdown import Markdown
from mkdocs.config import load_config
from _kit.page import PageError
config = load_config()
config.plugins.run_event("config", config)
for name in sys.argv[1:]:
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    try:
        print(json.dumps(["", md.convert(open("docs/" + name, encoding="utf-8").read())]))
    except PageError as error:
        print(json.dumps([str(error), ""]))
"""

# Converts pages, and prints for some frames of each slider a drawing made afresh.
REDRAW = """
import itertools, json, random, sys
from xml.etree import ElementTree as ET
from markdown import Markdown
from mkdocs.config import load_config
import _kit.slider
from _kit.figure import to_svg
config = load_config()
config.plugins.run_event("config", config)
def redraw(page, block, name, left, run, roles):
    if page.name.removeprefix("docs/") not in sys.argv:  # a page that a page tries
        return whole(page, block, name, left, run, roles)
    inputs = [v["values"] if isinstance(v, dict) else v for v in left["inputs"].values()]
    every = list(itertools.product(*(range(len(values)) for values in inputs)))
    for places in [every[0], every[-1], *random.Random(0).sample(every, min(6, len(every)))]:
        fig, readouts = run.namespace["frame"](*(v[i] for v, i in zip(inputs, places)))
        svg = ET.tostring(to_svg(fig, name, roles), encoding="unicode")
        print(json.dumps([page.name.removeprefix("docs/"), name[4:], places, svg, readouts]))
    return ""
_kit.slider._slider, whole = redraw, _kit.slider._slider
for name in sys.argv[1:]:
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    md.convert(open("docs/" + name, encoding="utf-8").read())
"""

SLIDERS = sorted(
    (path.relative_to(ROOT / "docs").as_posix(), block.options["id"])
    for path in (ROOT / "docs").rglob("*.md")
    for block in declared_blocks(path.read_text(encoding="utf-8").split("\n"), 1)
    if block.options.get("result") == "slider"
)


def run(program, folder, *names):
    """Return the lines that a program prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *names],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder}/docs", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Return message and HTML of the page above, and of the page with each of the slips."""
    site = Site(tmp_path_factory.mktemp("slips"))
    pages = {"": PAGE}
    for slip, (old, new, _) in SLIPS.items():
        assert PAGE.count(old) == 1, slip
        pages[slip] = PAGE.replace(old, new)
    for number, page in enumerate(pages.values()):
        site.write(page, f"{number}.md")
    lines = run(CONVERT, site.folder, *(f"{number}.md" for number in range(len(pages))))
    return dict(zip(pages, lines, strict=True))


@pytest.mark.parametrize("slip", SLIPS)
def test_an_incomplete_slider_cannot_be_published(converted, slip):
    """The message gives the page, the line, what is wrong and what to do."""
    message, _ = converted[slip]
    number = list(converted).index(slip)
    assert message.startswith(f"docs/{number}.md:1: block 1 (```python exec=")
    assert SLIPS[slip][2] in message
    assert "\n  To do: " in message


def test_a_slip_ends_the_build(site):
    """With a bad slider there is no site, whatever the flags."""
    site.write(PAGE.replace("alt =", "_ ="))
    said = site.refusal()
    assert "docs/index.md:1: block 1 (" in said


def test_no_slider_inherits_the_frame_of_the_one_before(site):
    """A second slider that forgets its function does not get the first one's."""
    site.write(PAGE + "\n" + PAGE.replace('id="s"', 'id="t"').replace("def frame", "def fame"))
    said = site.refusal()
    assert "block 2 (" in said
    assert "must leave 'frame'" in said


def test_frames_are_drawn_by_the_site_only():
    """Outside the site the block runs, and draws nothing."""
    code = PAGE.split("\n", 1)[1].removesuffix("```\n")
    before = plt.get_fignums()
    exec(code, {})
    assert plt.get_fignums() == before


def test_a_value_is_told_by_the_controls_on_which_it_depends(converted):
    """Readouts of one control share a table; one of two has a table with the last of them across."""
    message, html = converted[""]
    assert message == ""
    tables = [
        [[cell.text for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
        for table in BeautifulSoup(html, "html.parser").find_all("table")
    ]
    assert BeautifulSoup(html, "html.parser").caption.text == "end"
    assert tables == [
        [
            ["slope a", "offset"],
            ["2", "3"],
            ["−1", "1", "2"],
            ["0", "2", "3"],
            ["1", "3", "4"],
        ],
        [["slope a", "rise"], ["−1", "−1.0"], ["0", "0.0"], ["1", "1.0"]],
        [["fixed"], ["no"]],
    ]


def test_only_what_differs_is_written_for_every_frame(converted):
    """What follows one control is written for that control alone; what stands is written once."""
    svg = svg_of(converted[""][1], "s")
    line, marks, level = [e for e in svg.iter() if "data-d" in e.attrib]
    assert "marker-start" in marks.attrib
    for element, follows, frames in ((line, "01", 3 * 2), (marks, "01", 3 * 2), (level, "1", 2)):
        on, *paths = element.attrib["data-d"].split("\n")
        assert on == follows
        assert len(paths) == frames
    standing = [e for e in svg.iter() if "d" in e.attrib and "data-d" not in e.attrib]
    assert standing
    written = {k for e in svg.iter() for k in e.attrib if k.startswith("data-")}
    assert written == {"data-d"}


def test_the_page_shows_the_frame_at_the_start(converted):
    """Before anything moves, the drawing is the frame of the middle values, or of those chosen."""
    for element in svg_of(converted[""][1], "s").iter():
        shown = {k: v for k, v in element.attrib.items() if not k.startswith("data-")}
        shown |= {"text": element.text} if element.text else {}
        assert decoded(element, [3, 2], (1, 1)) == shown


@pytest.fixture(scope="module")
def redrawn(chosen):
    """Return drawings made afresh, of some frames of each slider to look at, by page and id."""
    drawings, pages = {}, [chosen] if chosen else sorted({name for name, _ in SLIDERS})
    for name, slider, *frame in run(REDRAW, ROOT, *pages):
        drawings.setdefault((name, slider), []).append(frame)
    return drawings


@pytest.mark.xdist_group("site")
@pytest.mark.parametrize("which", SLIDERS, ids="-".join)
def test_every_frame_is_what_a_new_drawing_shows(built_site, redrawn, which):
    """The frame that the script would pick is, element by element, the figure drawn again."""
    name, slider = which
    html = (built_site / name.replace(".md", ".html")).read_text(encoding="utf-8")
    figure = BeautifulSoup(html, "html.parser").find(id=f"fig-{slider}")
    sizes = [int(control["max"]) + 1 for control in figure.find_all("input")]
    svg = svg_of(html, slider)
    for places, drawing, readouts in redrawn[which]:
        fresh = ET.fromstring(drawing)  # noqa: S314 (our own)
        picked = [
            e for e in svg.iter() if e.get("id", "").rpartition("-")[2] not in {"title", "alt"}
        ]
        for here, there in zip(picked, fresh.iter(), strict=True):
            expected = dict(there.attrib) | ({"text": there.text} if there.text else {})
            assert decoded(here, sizes, places) == expected
        assert told(figure, sizes, places) == {
            name: re.sub("^-", "−", value if isinstance(value, str) else f"{value:.4g}")
            for name, value in readouts.items()
        }


@pytest.mark.xdist_group("site")
def test_the_points_of_the_start_page_are_what_refbn_computes(built_site):
    """For all values of gamma, beta and epsilon, the four points lie where the numbers say."""
    html = (built_site / "index.html").read_text(encoding="utf-8")
    controls = BeautifulSoup(html, "html.parser").select("#fig-four-numbers input")
    values = [[float(t.replace("−", "-")) for t in c["data-texts"].split("\n")] for c in controls]
    sizes = [len(v) for v in values]
    above, below = [e for e in svg_of(html, "four-numbers").iter() if "marker-mid" in e.attrib]
    x = np.array([[1.0], [7.0], [9.0], [15.0]])
    for places in itertools.product(*map(range, sizes)):
        gamma, beta, eps = (v[i] for v, i in zip(values, places, strict=True))
        y, _ = refbn.batch_norm_train(x, gamma=[gamma], beta=[beta], eps=eps)
        paths = [decoded(row, sizes, places)["d"] for row in (above, below)]
        drawn = [float(x) for path in paths for x in re.findall(r"[ML]([\d.]+) ", path)]
        assert len(drawn) == 8
        unit = (drawn[3] - drawn[0]) / 14
        seen = 1 + (np.array(drawn[4:]) - drawn[0]) / unit
        # places are rounded to 0.1, and 0.05 / unit is 0.004
        assert np.abs(seen - y.ravel()).max() < 1e-2


def test_the_script_is_small():
    """The one script of all sliders has at most two kilobytes."""
    assert len((ROOT / "docs/assets/slider.js").read_bytes()) <= 2048


needs_browser = [
    pytest.mark.browser,
    pytest.mark.xdist_group("site"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


def in_browser(test):
    """Mark a test that needs Chromium."""
    for mark in needs_browser:
        test = mark(test)
    return test


@in_browser
@pytest.mark.parametrize(("name", "slider"), SLIDERS, ids=lambda part: part)
def test_the_keyboard_moves_a_slider(visit, name, slider):
    """Home, End and the arrows lead to the frames, drawing and text and spoken value alike."""
    page = visit(name.replace(".md", ".html"))
    figure = page.locator(f"#fig-{slider}")
    html = BeautifulSoup(figure.evaluate("e => e.outerHTML"), "html.parser")
    sizes = [int(control["max"]) + 1 for control in html.find_all("input")]
    places = [int(control["value"]) for control in html.find_all("input")]
    assert shown(figure) == picked(html, sizes, places)
    for number, control in enumerate(figure.locator("input").all()):
        control.focus()
        texts = control.get_attribute("data-texts").split("\n")
        for key, there in (("Home", 0), ("ArrowRight", 1), ("End", sizes[number] - 1)):
            page.keyboard.press(key)
            places[number] = there
            assert shown(figure) == picked(html, sizes, places)
            assert control.get_attribute("aria-valuetext") == texts[there]
            assert control.locator("xpath=following-sibling::span").inner_text() == texts[there]
    assert page.slips == []


@in_browser
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize(("name", "slider"), SLIDERS, ids=lambda part: part)
def test_controls_are_large_enough_and_fit(visit, name, slider, width):
    """On a small phone too, every control is 44 pixels high and wide enough to aim at."""
    page = visit(name.replace(".md", ".html"), viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.locator(f"#fig-{slider} input").all():
        box = control.bounding_box()
        assert box["height"] >= 44
        assert box["width"] >= 100
        label = control.locator("xpath=preceding-sibling::label").bounding_box()
        assert label["x"] + label["width"] <= box["x"]


@in_browser
@pytest.mark.parametrize(("name", "slider"), SLIDERS, ids=lambda part: part)
def test_without_a_script_the_tables_are_there_and_no_dead_control(visit, name, slider):
    """Nothing is shown that does not work, and all frames can be read."""
    page = visit(name.replace(".md", ".html"), java_script_enabled=False)
    figure = page.locator(f"#fig-{slider}")
    assert figure.locator("svg").is_visible()
    assert not any(control.is_visible() for control in figure.locator("input, output").all())
    assert all(cell.is_visible() for cell in figure.locator("td").all())
    assert figure.locator("td").last.bounding_box()["height"] > 5


@in_browser
@pytest.mark.parametrize(("name", "slider"), SLIDERS, ids=lambda part: part)
def test_on_paper_the_tables_are_there(visit, name, slider):
    """Printed, a slider is a figure and its tables, without controls."""
    page = visit(name.replace(".md", ".html"))
    figure = page.locator(f"#fig-{slider}")
    assert not figure.locator("td").first.is_visible()  # on the screen it waits to be opened
    page.emulate_media(media="print")
    assert figure.locator("td").first.is_visible()
    assert figure.locator("td").last.bounding_box()["height"] > 5
    assert not figure.locator("input").first.is_visible()


@in_browser
def test_a_slider_works_under_a_strict_policy(chromium, address, built_site):
    """Under a policy that lets only the site's own files pass, the slider moves, without a murmur."""
    html = (built_site / "index.html").read_text(encoding="utf-8")
    figure = BeautifulSoup(html, "html.parser").find(class_="slider")
    document = (
        '<!doctype html><html lang="en"><head><title>x</title><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="assets/site.css"><script defer src="assets/slider.js">'
        f'</script></head><body><div class="md-typeset">{figure}</div></body></html>'
    )
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src data:"
    )
    context = chromium.new_context()
    page, murmurs = context.new_page(), []
    page.on("console", lambda message: murmurs.append(message.text))
    page.on("pageerror", lambda error: murmurs.append(str(error)))
    headers = {"Content-Security-Policy": policy, "Content-Type": "text/html"}
    page.route("**/strict.html", lambda route: route.fulfill(body=document, headers=headers))
    page.goto(address + "strict.html")
    before = shown(page.locator("figure"))
    page.locator("input").first.press("End")
    assert shown(page.locator("figure")) != before
    assert murmurs == []
    context.close()


@in_browser
def test_a_slider_works_from_a_disk(chromium, built_site):
    """The page opened as a file moves too."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto((built_site / "index.html").as_uri())
    figure = page.locator("figure.slider").first
    before = shown(figure)
    figure.locator("input").first.press("End")
    assert shown(figure) != before
    context.close()


# Of a slider as it stands: each element that can vary, with what it is, and the text of its readouts.
SHOWN = """figure => [
  [...figure.querySelectorAll("svg *")]
    .filter(e => [...e.attributes].some(a => a.name.startsWith("data-")))
    .map(e => Object.fromEntries(
      [...e.attributes].map(a => [a.name, a.value]).concat([["text", e.textContent]])
        .filter(([name, value]) => value && !name.startsWith("data-")))),
  [...figure.querySelectorAll("output b")].map(e => e.textContent)]"""


def shown(figure):
    """Return what a slider shows in the browser."""
    elements, readouts = figure.evaluate(SHOWN)
    return elements, readouts


def picked(figure, sizes, places):
    """Return what a slider has to show in a frame."""
    elements = []
    for element in figure.svg.find_all(True):
        if any(key.startswith("data-") for key in element.attrs):
            plain = ET.Element("e", dict(element.attrs))
            plain.text = element.get_text()
            elements.append(decoded(plain, sizes, places))
    return elements, list(told(figure, sizes, places).values())


def svg_of(html, slider):
    """Return the drawing of a slider."""
    figure = re.search(
        rf'<figure id="fig-{slider}" class="slider">(<svg.*?</svg>)', html, re.DOTALL
    )
    return ET.fromstring(figure[1].replace("\n", "&#10;"))  # noqa: S314 (our own)


def place(on, sizes, places):
    """Return the place of a frame among those that differ in some controls."""
    number = 0
    for control in map(int, on):
        number = number * sizes[control] + places[control]
    return number


def decoded(element, sizes, places):
    """Return what an element is in a frame: its attributes and its text."""
    plain = {k: v for k, v in element.attrib.items() if not k.startswith("data-")}
    plain |= {"text": element.text} if element.text else {}
    for key, value in element.attrib.items():
        if key.startswith("data-"):
            on, *values = value.split("\n")
            plain[key.removeprefix("data-")] = values[place(on, sizes, places)]
    return {key: value for key, value in plain.items() if value}


def told(figure, sizes, places):
    """Return the readouts of a frame by their names, from the tables."""
    names, cells = [], []
    for table in figure.find_all("table"):
        heads = [head.text for head in table.select(".readout")]
        first = place(table["data-on"], sizes, places) * len(heads)
        names += heads
        cells += [cell.text for cell in table.find_all("td")[first : first + len(heads)]]
    assert names == [span.contents[0].strip() for span in figure.select("output span")]
    return dict(zip(names, cells, strict=True))
