"""What a page can be downloaded as: it runs elsewhere, and shows what the page shows."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv

import nbformat
import pytest
from bs4 import BeautifulSoup
from building import ROOT

SOURCES = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if not {"_kit", "assets"} & set(path.parts)
)
EXECUTED = [
    name
    for name in SOURCES
    if 'exec="on"' in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
]

pytestmark = pytest.mark.xdist_group("site")  # one worker builds the site, once

# Runs a notebook with the kernel of another environment; warnings are errors in all its cells.
# Not so while the kernel itself is imported: its packages are no part of any page.
NOTEBOOK = """
import sys
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient

source, target, python, path = sys.argv[1:]

class Kernel(AsyncKernelManager):
    kernel_spec = KernelSpec(
        argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        env={"PYTHONPATH": path},
    )

book = nbformat.read(source, as_version=4)
strict = "import warnings; warnings.simplefilter('error')"
book.cells.insert(0, nbformat.v4.new_code_cell(strict))
NotebookClient(book, kernel_manager_class=Kernel, timeout=300).execute()
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
        found = printed.find(output, place)
        assert found >= 0, output
        rest.append(printed[place:found])
        place = found + len(output)
    for line in "".join([*rest, printed[place:]]).replace("**", "").splitlines():
        assert line.strip() in markdown, line


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
