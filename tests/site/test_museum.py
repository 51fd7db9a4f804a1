"""The museum of wrong batch norms shows every exhibit, as it is, with where it was seen."""

import re
import tomllib
from inspect import getsource

import pytest
from building import ROOT

from refbn.diagnose import museum
from refbn.diagnose.museum import EXHIBITS

PAGE = ROOT / "docs/reference/museum.md"
SEEN = tomllib.loads((ROOT / "refbn/diagnose/seen.toml").read_text(encoding="utf-8"))
NAMES = {exhibit.name for exhibit in EXHIBITS}
PLACES = {frozenset({"thread"}), frozenset({"file", "line", "commit", "date"})}
OPTIONAL = {"in", "also", "code", "alike"}

site = pytest.mark.xdist_group("site")
pytestmark = pytest.mark.about("reference/museum.md")


def words(line):
    """Return a line of code without what the page leaves out: types, and what they need."""
    line = re.sub(r": \w+(\[\w+\])?(?=[,)])| ->.*(?=:)|  # noqa.*", "", line)
    return re.sub(r"return np\.asarray\((.*)\)$", r"return \1", line).strip()


@pytest.fixture(scope="module")
def sections(pages):
    """Return what the built page shows of each exhibit, by its name: what follows its heading."""
    headings = pages["reference/museum.html"].article.find_all("h3")
    return {heading["id"]: heading.find_next_sibling("div", "run") for heading in headings}


def blocks(section):
    """Return the lines of the diff and of the example of an exhibit."""
    diff, example = section.select(".highlight")
    return [block.get_text().strip("\n").split("\n") for block in (diff, example)]


def test_every_exhibit_hangs_on_the_page_under_its_own_name():
    """Each has a heading whose id is its name, above what shows it, and once only."""
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(
        r'^### \{\{ title\["(.*)"\] \}\} \{ #(.*) \}\n\n```python .*\nshow\("(.*)"\)$',
        text,
        flags=re.MULTILINE,
    )
    assert all(len(set(names)) == 1 for names in shown)
    assert sorted(name for name, *_ in shown) == sorted(NAMES)


def test_every_exhibit_was_seen_or_is_alike_to_what_was():
    """What was seen is an exhibit, each has one reference or more, and no two are the same."""
    assert set(SEEN) == NAMES
    for references in SEEN.values():
        places = [
            (r["repo"], r.get("thread", r.get("file")), r.get("line"), r["note"])
            for r in references
        ]
        assert places
        assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", SEEN)
def test_a_reference_is_complete(name):
    """Who, where and what became of it; a file with its line, its commit and the date of that."""
    for reference in SEEN[name]:
        given = set(reference) - OPTIONAL - {"by", "repo", "note"}
        assert given in PLACES, reference
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", reference["repo"])
        assert re.fullmatch(r"[A-Z`].*\.", reference["note"])
        assert reference.get("alike", True) is True
        if "file" in reference:
            assert re.fullmatch("[0-9a-f]{40}", reference["commit"])
            assert reference["code"]


@site
def test_the_page_says_how_many_there_are(pages):
    """The number in the first sentence is that of the exhibits."""
    first = pages["reference/museum.html"].article.h1.find_next_sibling("p").get_text()
    assert first.startswith(f"Here hang {len(EXHIBITS)} wrong batch norms")


@site
def test_the_overview_leads_to_every_exhibit(pages, sections):
    """It names each once, with its law and a project."""
    article = pages["reference/museum.html"].article
    rows = [row.find_all("td") for row in article.select("table tbody tr")]
    assert [row[0].a["href"] for row in rows] == [f"#{name}" for name in sections]
    laws = {exhibit.name: exhibit.law for exhibit in EXHIBITS}
    assert [row[1].get_text() for row in rows] == [laws[name] for name in sections]
    for row, name in zip(rows, sections, strict=True):
        assert all(reference["by"] in row[2].get_text() for reference in SEEN[name])


@site
@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_code_shown_is_the_code(sections, exhibit):
    """Lines marked with a minus are the exhibit's, with a plus those of Right, and both are there."""
    lines, _ = blocks(sections[exhibit.name])
    owners = {"-": exhibit.wrong, "+": museum.Right}
    for mark, owner in owners.items():
        known = {words(line) for line in getsource(owner).split("\n")}
        shown = {line[1:].strip() for line in lines if line[0] == mark}
        attributes = {f"{name} = {value!r}" for name, value in vars(owner).items()}
        assert shown, mark
        assert shown <= known | attributes


@site
@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_example_tells_wrong_from_right(sections, exhibit):
    """A batch is given; what comes out and what is due have the same names, and other numbers."""
    _, example = blocks(sections[exhibit.name])
    rows, label = {"given": [], "wrong": [], "right": []}, ""
    for line in example:
        if not line.startswith("("):
            label = line[:5].strip() or label
            rows[label].append(re.split(r"  +", line[7:].strip()))
    names = {kind: [name for name, *_ in rows[kind]] for kind in rows}
    assert any(name.startswith(("x", "parts")) for name in names["given"])
    assert names["wrong"] == names["right"]
    assert rows["wrong"] != rows["right"]
    assert [len(row) for row in rows["wrong"]] == [len(row) for row in rows["right"]]


@site
@pytest.mark.parametrize("name", SEEN)
def test_each_reference_is_a_link(sections, name):
    """Every thread, file and further thread is one click away."""
    links = {a["href"] for a in sections[name].select("a")}
    for reference in SEEN[name]:
        at = f"https://github.com/{reference['repo']}/"
        threads = [*reference.get("also", ()), *filter(None, [reference.get("thread")])]
        assert {f"{at}issues/{thread}" for thread in threads} <= links
        if "file" in reference:
            place = f"{reference['commit']}/{reference['file']}#L{reference['line']}"
            assert f"{at}blob/{place}" in links
