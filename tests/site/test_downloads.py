"""What a page can be downloaded as: it runs elsewhere, and shows what the page shows."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from building import ROOT

from _kit.download.generated import as_markdown
from _kit.page import outside_fences
from _kit.prose import CODE, blank

SOURCES = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if not {"_kit", "assets"} & set(path.parts)
)
EXECUTED = [
    name
    for name in SOURCES
    if 'exec="on"' in (source := (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    and not re.search(r"^(from|import) _kit\b", source, re.MULTILINE)
]

pytestmark = pytest.mark.xdist_group("site")  # one worker builds the site, once

# Runs a notebook with the kernel of another environment; warnings are errors in all its cells.
# Not so while the kernel itself is imported: its packages are no part of any page.
NOTEBOOK = """
import sys
import tempfile
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from traitlets.config import Config

source, target, python, path = sys.argv[1:]

class Kernel(AsyncKernelManager):
    kernel_spec = KernelSpec(
        argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        env={"PYTHONPATH": path},
    )

book = nbformat.read(source, as_version=4)
strict = "import warnings; warnings.simplefilter('error')"
book.cells.insert(0, nbformat.v4.new_code_cell(strict))
# by files, not by ports: a port that was free may be somebody's when the kernel takes it
with tempfile.TemporaryDirectory() as private:
    files = {"transport": "ipc", "connection_file": f"{private}/kernel.json"}
    config = Config(KernelManager=files)
    NotebookClient(book, kernel_manager_class=Kernel, timeout=300, config=config).execute()
nbformat.write(book, target)
"""


def pip(*arguments):
    """Run pip; it installs no version that .constraints.txt does not name."""
    command = [sys.executable, "-m", "pip", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


def install(*arguments):
    """Return the arguments of pip that install something as it is pinned."""
    pins = str(ROOT / ".constraints.txt")
    return ["install", "--quiet", "--no-compile", "--constraint", pins, *arguments]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return a wheel of the package as it is in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "refbn", tree / "refbn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(tree))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def kernel(tmp_path_factory):
    """Return a folder with what a notebook needs to be run at all, whatever is in it."""
    folder = tmp_path_factory.mktemp("kernel")
    pip(*install("--target", str(folder), "ipykernel"))
    return folder


@pytest.fixture(scope="session")
def python_with(tmp_path_factory, wheel):
    """Return a function that gives a Python which has refbn and some distributions, no others."""
    made = {}

    def environment(*packages):
        if packages not in made:
            folder = tmp_path_factory.mktemp("environment")
            venv.create(folder, symlinks=True)
            python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            others = [name for name in packages if name != "refbn"]
            pip("--python", str(python), *install(str(wheel), *others))
            made[packages] = python
        return made[packages]

    return environment


def elsewhere(folder):
    """Return the settings of a process that knows nothing of this repository."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    home = {
        name: str(folder) for name in ("HOME", "MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_DATA_DIR")
    }
    # one thread, as when the site is built: the last digit of a sum may depend on their number
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return kept | home | threads | {"MPLBACKEND": "agg", "PYTHONUTF8": "1"}


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder to work in."""
    path = tmp_path / "empty"
    path.mkdir()
    return path


def outputs_of(page):
    """Return what the blocks of a built page printed or raised, letter by letter."""
    html = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    return [output.get_text() for output in html.select("article .output")]


def assert_shows(printed, page):
    """Check that a text has all outputs of a page in order, and beside them only its Markdown."""
    markdown = page.with_suffix(".md").read_text(encoding="utf-8").replace("**", "")
    rest, place = [], 0
    for output in outputs_of(page):
        whole = rf"^{re.escape(output.rstrip())} *$"  # lines: a 1 alone is in many tables
        found = re.compile(whole, re.MULTILINE).search(printed, place)
        assert found, output
        rest.append(printed[place : found.start()])
        place = found.end()
    for line in "".join([*rest, printed[place:]]).replace("**", "").splitlines():
        assert line.strip() in markdown, line


@pytest.mark.about  # it takes longer than one waits for a page
@pytest.mark.parametrize("name", EXECUTED)
def test_the_script_prints_what_the_page_shows(name, built_site, python_with, folder, tmp_path):
    """With nothing but refbn and its stated needs a page's script runs, strictly, to its end."""
    script = built_site / f"{name}.py"
    head = re.search(r"# /// script\n(.*?)# ///", script.read_text("utf-8"), re.DOTALL)
    needs = tomllib.loads(re.sub(r"^# ?", "", head[1], flags=re.MULTILINE))
    done = subprocess.run(
        [python_with(*needs["dependencies"]), "-W", "error", script],
        cwd=folder,
        env=elsewhere(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_shows(done.stdout, built_site / f"{name}.html")
    assert not list(folder.iterdir())


@pytest.mark.about  # likewise
@pytest.mark.parametrize("name", EXECUTED)
def test_the_notebook_shows_what_the_page_shows(
    name, built_site, python_with, kernel, folder, tmp_path
):
    """With a kernel, refbn and its stated needs a page's notebook runs cell by cell."""
    source, target = built_site / f"{name}.ipynb", tmp_path / "executed.ipynb"
    needs = json.loads(source.read_text("utf-8"))["metadata"]["needs"]["dependencies"]
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, source, target, python_with(*needs), kernel],
        cwd=folder,
        env=elsewhere(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in nbformat.read(target, 4).cells[1:] if cell.cell_type == "code"]
    for cell in cells:
        raised = [output for output in cell.outputs if output.output_type == "error"]
        assert bool(raised) == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    shown = "".join(shown_by(output) for cell in cells for output in cell.outputs)
    assert_shows(shown, built_site / f"{name}.html")
    assert not list(folder.iterdir())


def shown_by(output):
    """Return an output of a notebook as text; of a figure, nothing."""
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}\n"
    if output.output_type == "stream":
        return output.text
    return output.data.get("text/markdown", "") + "\n"


def test_every_page_is_there_as_markdown(built_site):
    """Each page has its Markdown beside it and says so; llms.txt leads to all of them."""
    index = (built_site / "llms.txt").read_text(encoding="utf-8")
    title, about, *_ = index.split("\n\n")
    assert title.startswith("# ")
    assert about.startswith("> ")
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\.md\): \S", index, re.MULTILINE)
    assert sorted(listed) == SOURCES
    for name in SOURCES:
        page, markdown = built_site / f"{name}.html", built_site / f"{name}.md"
        html = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        link = html.head.find("link", rel="alternate", type="text/markdown")
        assert (page.parent / link["href"]) == markdown
        text = markdown.read_text(encoding="utf-8")
        assert text.startswith("# ")
        prose = blank(CODE, outside_fences(text))  # code may show how pages are written
        assert not re.search(r"^:::|^\?\?\?|^///|\{\{ | exec=\"|<!-- ", prose, re.MULTILINE), name
        for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)", prose):
            assert (markdown.parent / target).is_file(), (name, target)


def test_only_what_runs_is_there_as_script_and_notebook(built_site):
    """Pages with code that runs have a script and a notebook, unless it runs in the repository only."""
    for ending in ("py", "ipynb"):
        found = built_site.rglob(f"*.{ending}")
        names = [path.relative_to(built_site).with_suffix("").as_posix() for path in found]
        assert sorted(names) == EXECUTED


def test_machines_can_read_the_whole_reference(built_site):
    """Each object of the reference pages is in their Markdown, by its full name."""
    objects = 0
    for page in (built_site / "reference").glob("*.html"):
        html = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        text = page.with_suffix(".md").read_text(encoding="utf-8")
        names = [heading["id"] for heading in html.select("article .doc-heading[id]")]
        objects += len(names)
        for name in names:
            assert re.search(rf"^#+ `{re.escape(name)}`$", text, re.MULTILINE), name
    assert objects > 100


def test_notebooks_are_open_questions(built_site):
    """Notebooks are valid, their ids are no accident, and they hold no output."""
    for name in EXECUTED:
        book = nbformat.read(built_site / f"{name}.ipynb", as_version=4)
        nbformat.validate(book)
        assert [cell.id for cell in book.cells] == [f"cell-{n + 1}" for n in range(len(book.cells))]
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_pages_run_where_the_package_runs(built_site):
    """A page asks for the versions of Python that the package asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in EXECUTED:
        script = (built_site / f"{name}.py").read_text(encoding="utf-8")
        assert f'# requires-python = "{project["requires-python"]}"\n' in script


def test_downloads_tell_nothing_of_the_machine(built_site):
    """No file names a place on the machine that built it."""
    places = [str(ROOT), str(Path.home()) + "/", sys.prefix, tempfile.gettempdir() + "/"]
    for ending in ("py", "ipynb", "md", "txt"):
        for path in built_site.rglob(f"*.{ending}"):
            text = path.read_text(encoding="utf-8")
            assert not [place for place in places if place in text], path


PAGE = '''
# A page

**What it [says](other.md#part) is short.** And [more](https://example.org/).

??? note "Predict: is it $x$?"

    ```python exec="on"
    import numpy as np
    import sklearn
    x = 2
    print(x)
    ```

    Two, that is {{ x + 0.5:.2f }}; see the [function][numpy.sum], and [`sum`][numpy.sum].

## A part { #part }

1. An item of a list

    ```python exec="on" source="none"
    three = x + 1
    ```

    and the rest of the item.

[Three is more than two.]{claim="three"} [It `[may]` be $x[1]$.]{hunch} [Said.]{cited="A, 2015"} [Other.]{settled="three"}

```python exec="on" source="fold"
assert three > 2  # claim three
```

```python exec="on" raises="ValueError"
seen = """
one
"""
int(
    "a"
)
```

```python exec="on" raises="LinAlgError"
np.linalg.inv(np.zeros((2, 2)))
```

```python exec="on" result="markdown"
print("| a |")
print("|---|")
print("| 1 |")
```

```python exec="off"
never()
```

```text
only shown
```
'''


@pytest.fixture
def downloads(site):
    """Return a function that builds a site with a page, and returns a file made from it."""

    def build(text, ending):
        site.write("# Other\n\nText.\n\n## Part { #part }\n\nText.\n", "other.md")
        site.write("## A, 2015 { #a }\n", "reference/bibliography.md")
        site.write(text)
        built = site.build("--strict", "--quiet")
        assert built.returncode == 0, built.stderr
        return (site.folder / f"site/index.{ending}").read_text(encoding="utf-8")

    return build


def test_a_script_reads_as_a_script(downloads):
    """Text becomes comments, declared errors are met and passed, and what is only shown is shown."""
    script = downloads(PAGE, "py")
    head, _, body = script.partition("# %% [markdown]\n")
    assert '# dependencies = [\n#     "numpy",\n#     "scikit-learn",\n# ]\n' in head
    assert body == SCRIPT


SCRIPT = '''# # A page
#
# **What it says is short.** And [more](https://example.org/).
#
# **Predict: is it $x$?**

# %%
import numpy as np
import sklearn
x = 2
print(x)

# %% [markdown]
# Two, that is 2.50; see the function (`numpy.sum`), and `sum`.

# %% [markdown]
# ## A part
#
# 1. An item of a list

# %%
three = x + 1

# %% [markdown]
# and the rest of the item.
#
# Three is more than two. It `[may]` be $x[1]$. (hunch) Said. (A, 2015) Other.

# %%
assert three > 2  # claim three

# %%
seen = """
one
"""
try:
    int(
        "a"
    )
except ValueError as caught:
    print(f"{type(caught).__name__}: {caught}")
else:
    raise AssertionError("this must raise ValueError")

# %%
try:
    np.linalg.inv(np.zeros((2, 2)))
except Exception as caught:
    if "LinAlgError" not in [kind.__name__ for kind in type(caught).__mro__]:
        raise
    print(f"{type(caught).__name__}: {caught}")
else:
    raise AssertionError("this must raise LinAlgError")

# %%
print("| a |")
print("|---|")
print("| 1 |")

# %% [markdown]
# Not run:
#
# ```python
# never()
# ```
#
# ```text
# only shown
# ```
'''


def test_the_markdown_has_what_the_page_shows(downloads):
    """Each block is followed by what it left; hidden code is left out; claims say they are checked."""
    text = downloads(PAGE, "md")
    assert "[says](other.md#part)" in text
    assert "print(x)\n```\n\n```text\n2\n```\n\nTwo, that is 2.50; see the" in text
    assert "three = x + 1" not in text
    assert "Three is more than two. (checked) It `[may]` be $x[1]$. (hunch)" in text
    assert "Other. (checked)" in text
    assert "```text\nValueError: invalid literal for int() with base 10: 'a'\n```" in text
    assert "\n\n| a |\n|---|\n| 1 |\n\nNot run:\n\n```python\nnever()\n```" in text


def test_a_notebook_runs_as_a_notebook(downloads):
    """Cells that raise are tagged, code that the page hides is folded, and Markdown is shown as such."""
    book = nbformat.reads(downloads(PAGE, "ipynb"), as_version=4)
    cells = {cell.source: cell for cell in book.cells}
    hidden = {"jupyter": {"source_hidden": True}}
    assert cells["three = x + 1"].metadata == hidden
    assert cells["assert three > 2  # claim three"].metadata == hidden
    assert cells["np.linalg.inv(np.zeros((2, 2)))"].metadata == {"tags": ["raises-exception"]}
    sources = list(cells)
    table = next(i for i, source in enumerate(sources) if source.startswith("%%capture printed\n"))
    assert sources[table + 1] == "Markdown(printed.stdout)"
    assert sources[1] == "from IPython.display import Markdown  # shows tables and captions"
    assert book.metadata.needs.dependencies == ["numpy", "scikit-learn"]


def test_long_paragraphs_are_filled(downloads):
    """Comments keep to their width, without making a list of a minus sign; tables stay as they are."""
    long = "| a long row of a table " * 8 + "|"
    item = "- " + "n - 1 " * 40
    text = (
        f'# Title\n\n{"one - 2 " * 40}\n\n{item}\n\n{long}\n\n```python exec="on"\nprint(1)\n```\n'
    )
    comments = [line for line in downloads(text, "py").split("\n") if line.startswith("# ")]
    assert f"# {long}" in comments
    assert all(len(line) <= 88 for line in comments if line != f"# {long}")
    assert sum(line.startswith("# - ") for line in comments) == 1


def test_a_figure_tells_its_caption(downloads):
    """Where a figure is drawn again its caption is shown; the Markdown says what is drawn."""
    code = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n"
    code += "title, caption, alt = 'A title', 'A caption.', 'An empty frame.'"
    text = f'# T\n\n```python exec="on" result="figure" id="f" source="none"\n{code}\n```\n'
    shown = '"**Figure. A title.** A caption. *(What is drawn: An empty frame.)*"'
    assert downloads(text, "md") == f"# T\n\n{json.loads(shown)}\n"
    assert f'{code}\nprint(f"{{title}}. {{caption}}")\n' in downloads(text, "py")
    cells = nbformat.reads(downloads(text, "ipynb"), as_version=4).cells
    assert cells[-1].source == f'{code}\nMarkdown(f"**{{title}}.** {{caption}}")'


EXERCISE = """
# A page

/// exercise | Write a function.
Some text.

```python exec="starter"
def f(x):

    ...
```

```python exec="check"
assert f(1) == 2
```

```python exec="solution"
def f(x):
    return x + 1
```
///

That was it.
"""


def test_what_runs_only_here_is_there_as_markdown_alone(site):
    """Code that imports the kit needs the repository, so its page has no script and no notebook."""
    site.write('# Page\n\n```python exec="on"\nimport refbn, _kit.prose\nprint(1)\n```\n')
    built = site.build("--strict", "--quiet")
    assert built.returncode == 0, built.stderr
    made = {path.name for path in (site.folder / "site").glob("index.*")}
    assert made == {"index.html", "index.md"}
    foot = BeautifulSoup(site.html(), "html.parser").select(".downloads a")
    assert [link["href"] for link in foot] == ["index.md"]


def test_an_exercise_waits_for_its_reader(downloads):
    """A starter is there to be completed; solution and check run, in this order."""
    script = downloads(EXERCISE, "py")
    assert script.endswith(COMPLETED)
    text = downloads(EXERCISE, "md")
    order = [
        "**Exercise: Write a function.**",
        "...",
        "assert f(1)",
        "return x + 1",
        "That was it.",
    ]
    assert sorted(order, key=text.index) == order


COMPLETED = """
# %% [markdown]
# # A page
#
# **Exercise: Write a function.**
#
# Some text.

# %%
# Your turn: uncomment this, complete it, and leave out the solution below.
# def f(x):
#
#     ...

# %%
# The solution
def f(x):
    return x + 1

# %%
# The check
assert f(1) == 2

# %% [markdown]
# That was it.
"""


def test_tables_that_the_build_makes_are_tables_of_markdown():
    """Cells that span others are spread, and links lead to the Markdown of a page."""
    head = '<tr><th rowspan="2">a</th><th colspan="2">b</th></tr><tr><th>1</th><th>2</th></tr>'
    body = '<tr><td rowspan="2"><a href="x.html#y">|x|</a></td><td>3</td><td>4</td></tr>'
    body += "<tr><td>5</td><td><code>6</code><br>7</td></tr>"
    html = f"<table><caption>of c</caption><thead>{head}</thead><tbody>{body}</tbody></table>"
    rows = [
        "| a | b = 1 | b = 2 |",
        "| --- | --- | --- |",
        r"| [\|x\|](x.md#y) | 3 | 4 |",
        "|  | 5 | `6`; 7 |",
    ]
    assert as_markdown(html) == "**of c**\n\n" + "\n".join(rows)


BAD = {
    "an import that must come first": (
        'Text.\n\n```python exec="on"\nfrom __future__ import annotations\n```\n',
        "docs/index.md:3: block 1 (",
        "a script can import from __future__ only at its start",
        "Do without the import.",
    ),
    "a string that would be indented": (
        '```python exec="on" raises="ValueError"\nint("""a\nb""")\n```\n',
        "docs/index.md:1: block 1 (",
        "the statement that must raise is indented in downloads; its string would change.",
        "Give the string of several lines a name, in a statement before it.",
    ),
}


@pytest.mark.parametrize("slip", BAD)
def test_what_cannot_be_downloaded_stops_the_build(slip, site):
    """A page that would run otherwise as a script is not published."""
    page, where, what, remedy = BAD[slip]
    site.write(page)
    said = site.refusal()
    for part in (where, what, remedy):
        assert part in said
