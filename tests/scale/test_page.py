"""The page on several workers: what it shows under MPI is recorded, and shown where MPI is missing."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from scale.test_ranks import DEATHS

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "refbn/several_workers.json"
GONE = {case: words[0] for case, words in DEATHS.items()}  # what is said when a rank is gone
PAGE = "practice/several-workers"
BUILD = """
import sys
from mkdocs.__main__ import cli
cli(["build", "--quiet", "--strict", "--site-dir", sys.argv[1]])
"""
RUN = """
import json, pathlib, runpy, sys
found = runpy.run_path(sys.argv[1])
pathlib.Path(sys.argv[2]).write_text(json.dumps(found["ran"]))
"""
WITHOUT = "import shutil\nshutil.which = lambda *_, **__: None\n"


def python(code, *arguments):
    """Run Python code with arguments; warnings are errors, as everywhere."""
    environment = os.environ | {
        "PAGE": f"{PAGE}.md",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs")]),
    }
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=300)


def record(**found):
    """Write into the record what is new in it."""
    content = json.loads(RECORD.read_text("utf-8")) | found
    RECORD.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def writes(request):
    """Return whether the record is to be written."""
    return request.config.getoption("--write-results")


@pytest.fixture(scope="module")
def built(writes, tmp_path_factory):
    """Return the folder of the site, of this page only."""
    if writes:
        record(mpi4py=version("mpi4py"), mpich=version("mpich"), gone=GONE)
    folder = tmp_path_factory.mktemp("site")
    python(BUILD, folder)
    return folder


def rounded(found):
    """Return results as text, with numbers to six digits: the rest depends on the processor."""
    number = re.compile(r"-?\d+\.\d*(?:e[-+]\d+)?|-?\d+e[-+]\d+")
    return number.sub(lambda found: f"{float(found[0]) + 0.0:.6f}", json.dumps(found, indent=1))


def test_the_record_is_what_the_page_shows_under_mpi(built, tmp_path, writes):
    """What each function of the page returns on two ranks stands in the package."""
    python(RUN, built / f"{PAGE}.py", tmp_path / "ran.json")
    ran = json.loads((tmp_path / "ran.json").read_text("utf-8"))
    if writes:
        record(found=ran)
    recorded = json.loads(RECORD.read_text("utf-8"))
    assert rounded(ran) == rounded(recorded["found"]), "make scale WRITE=1 writes it anew"
    assert recorded["gone"] == GONE


def test_without_mpi_the_page_shows_the_record_and_says_so(built, tmp_path):
    """Where no MPI is, the page is the same but for saying that."""
    python(WITHOUT + BUILD, tmp_path)
    with_mpi, without = ((folder / f"{PAGE}.md").read_text("utf-8") for folder in (built, tmp_path))
    assert "ran on two ranks of a real MPI while this page was made" in with_mpi
    assert "MPI is missing where this page was made" in without
    blocks = [re.findall(r"```text\n(.*?)```", text, re.DOTALL) for text in (with_mpi, without)]
    assert len(blocks[0]) > 10
    assert rounded(blocks[0]) == rounded(blocks[1])
