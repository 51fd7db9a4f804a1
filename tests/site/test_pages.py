"""The real site: whole, reproducible, self-contained, and unable to survive a lie."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from building import ROOT, build, one_processor

PAGES = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if not {"_kit", "assets"} & set(path.parts)
)

pytestmark = pytest.mark.xdist_group("site")  # one worker builds the site, once

# Converts pages in the order given, in one process, and prints a digest of each.
CONVERT = """
import hashlib, re, sys
from markdown import Markdown
from mkdocs.config import load_config
config = load_config()
config.plugins.run_event("config", config)
for name in sys.argv[1:]:
    source = open("docs/" + name, encoding="utf-8").read()
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    # how long a block took is for whoever builds, and in no finished page
    html = re.sub(r'"seconds": \\{.*?\\}', "", md.convert(source))
    print(name, hashlib.sha256(html.encode()).hexdigest())
"""


@pytest.mark.about
def test_every_source_becomes_a_page(pages):
    """There is one page for each Markdown file, and one for what is not found."""
    assert set(pages) == {name.replace(".md", ".html") for name in PAGES} | {"404.html"}


def test_the_same_sources_give_the_same_bytes(built_site, tmp_path):
    """Another folder, user, country, terminal, or order of hashing, one processor: no other byte."""
    elsewhere, home = tmp_path / "a folder", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    copy_of_repository(elsewhere)
    strange = {
        "COLUMNS": "33",
        "HOME": str(home),  # without any cache
        "LANGUAGE": "de",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "1",
        "TERM": "dumb",
        "TMPDIR": str(home),
        "TZ": "Pacific/Kiritimati",
        "USER": "somebody",
    }
    with one_processor():  # pages are built one by one
        built = build(elsewhere, "--strict", "--quiet", **strange, **same_commit())
    assert built.returncode == 0, built.stderr
    ours, theirs = files(built_site), files(elsewhere / "site")
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_page_without_the_others_is_the_same_file(built_site, tmp_path):
    """A page is the same file, with all around its text, when no other page has run a block."""
    alone = "learn/training-and-inference.md"  # it draws random numbers and trains
    copy_of_repository(tmp_path)
    for name in [*executed_pages(), "questions.md"]:  # whose sentences rest on the others' checks
        path = tmp_path / "docs" / name
        headings = re.sub(
            r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        if name != alone:
            kept = "\n\n".join(
                re.findall(r"\A---\n.*?^---|^#+ [^\n]*", headings, re.DOTALL | re.MULTILINE)
            )
            # without the blocks there are no values
            path.write_text(re.sub(r"\{\{.*?\}\}", "a value", kept), encoding="utf-8")
    built = build(tmp_path, "--no-strict", "--quiet", **same_commit())
    assert built.returncode == 0, built.stderr
    html = alone.replace(".md", ".html")
    assert (tmp_path / "site" / html).read_text("utf-8") == (built_site / html).read_text("utf-8")


def test_a_page_is_the_same_alone_and_after_all_others():
    """The order in which pages are built, and building one twice, changes nothing."""
    executed = executed_pages()
    assert len(executed) > 5
    forward, backward = convert(executed), convert(executed[::-1] + executed[-1:])
    assert set(forward) == set(backward)


def test_ids_are_unique_and_figures_are_described(pages):
    """No id stands twice in a page; every picture says what it shows."""
    for name, page in pages.items():
        ids = [element["id"] for element in page.find_all(id=True)]
        assert sorted(ids) == sorted(set(ids)), name
        for svg in page.select("figure svg"):
            assert len(svg.desc.text) > 40, name
        assert all(image.get("alt") is not None for image in page.find_all("img")), name


def test_pages_show_no_traceback_and_no_place(pages):
    """Nothing in a page tells of the machine that built it."""
    places = {str(ROOT), str(Path.home()), sys.prefix, sys.base_prefix, tempfile.gettempdir() + "/"}
    for name, page in pages.items():
        assert not any("Traceback" in output.get_text() for output in page.select(".output")), name
        assert not [place for place in places if place in str(page)], name


def test_no_formula_is_left_as_latex(pages):
    """Every formula is MathML with something in it; no dollar or backslash of one is left over."""
    for name, page in pages.items():
        assert not page.select("merror, .math-core-error, .arithmatex"), name
        assert all(math.find_all(True) for math in page.find_all("math")), name
        for text in page.select_one("article").find_all(string=True):
            verbatim = text.find_parent(["code", "pre", "math", "svg"])
            assert verbatim or not re.search(r"\$|\\[(\[]|\(\?\?\)", text), (name, text)
        for element in page.select("article *"):
            for attribute in ("alt", "title"):
                assert not re.search(r"\$|\\\(", element.get(attribute, "")), (name, str(element))


def test_nothing_is_asked_of_another_host(pages, built_site):
    """Scripts, styles, fonts and pictures are the site's own; only links that are clicked lead away."""
    for name, page in pages.items():
        for element in page.find_all(["script", "link", "img", "iframe", "source", "use"]):
            for attribute in ("src", "href", "srcset"):
                address = urlsplit(element.get(attribute, ""))
                if element.name == "link" and element.get("rel") == ["canonical"]:
                    continue
                assert not address.netloc, (name, str(element))
    for style in built_site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


LIES = {
    "another sign in the backward pass": (
        "refbn/transform.py",
        "dx -= through_var",
        "dx += through_var",
    ),
    "another divisor in the variance": (
        "refbn/moments.py",
        "self.m2 / (self.count - ddof)",
        "self.m2 / (self.count + ddof)",
    ),
    "another sign in the update": ("refbn/running.py", "+ (1.0 - decay)", "- (1.0 - decay)"),
    "epsilon outside the root": (
        "refbn/transform.py",
        "np.sqrt(var + eps)",
        "np.sqrt(var) + eps",
    ),
    "a shift with the other sign": (
        "refbn/transform.py",
        "y += shift",
        "y -= shift",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_package_has_no_site(lie, tmp_path):
    """With one sign or one divisor wrong in the package, the site is not built."""
    file, old, new = LIES[lie]
    copy_of_repository(tmp_path)
    path = tmp_path / file
    source = path.read_text(encoding="utf-8")
    assert source.count(old) >= 1
    path.write_text(source.replace(old, new), encoding="utf-8")
    built = build(tmp_path, "--no-strict", "--quiet")
    assert built.returncode == 1
    assert "block" in built.stderr
    assert "To do:" in built.stderr


def copy_of_repository(folder):
    """Copy what a build needs."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("docs", "refbn", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("mkdocs.yml", "CITATION.cff", ".lock.txt"):
        shutil.copy(ROOT / name, folder)


def executed_pages():
    """Return the pages that run anything."""
    return [name for name in PAGES if 'exec="on"' in (ROOT / "docs" / name).read_text("utf-8")]


def same_commit():
    """Return what makes git speak of the repository in another folder, if this is one."""
    asked = subprocess.run(
        [shutil.which("git") or "false", "-C", ROOT, "rev-parse", "--absolute-git-dir"],
        capture_output=True,
        text=True,
        check=False,
    )
    folder = asked.stdout.strip()
    return {"GIT_DIR": folder, "GIT_WORK_TREE": str(ROOT)} if folder else {}


def files(folder):
    """Return the contents of all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def convert(names):
    """Return a digest of each page, converted in this order in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return done.stdout.split("\n")
