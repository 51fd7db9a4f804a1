"""What a page says of random numbers does not hang on the numbers that it happened to draw."""

import os
import subprocess
import sys

import pytest
from building import ROOT

RANDOM = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if "default_rng" in path.read_text(encoding="utf-8")
)

OVER_RANKS = "practice/several-workers.md"

# Makes each seed another one, in a page and in the programs that it starts.
RESEEDING = """
import os
import numpy as np

default_rng = np.random.default_rng

def reseeded(seed=None):  # SciPy passes a generator on
    plain = isinstance(seed, int | np.integer | list | tuple)
    return default_rng([int(os.environ["SHIFT"]), *np.atleast_1d(seed)] if plain else seed)

np.random.default_rng = reseeded
"""

# Converts a page, for each shift of the seeds; its assertions are those of the page.
CONVERTING = """
import os, sys
import numpy as np
from markdown import Markdown
from mkdocs.config import load_config

assert np.random.default_rng.__name__ == "reseeded"
name, *shifts = sys.argv[1:]
config = load_config()
config.plugins.run_event("config", config)
source = open("docs/" + name, encoding="utf-8").read()
for shift in shifts:
    os.environ["SHIFT"] = shift
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    try:
        md.convert(source)
    except Exception as error:
        sys.exit(f"seeds of the kind [{shift}, seed]: {error}")
"""


@pytest.mark.about  # it takes longer than one waits for a page
@pytest.mark.parametrize("name", RANDOM)
def test_what_a_page_asserts_holds_for_other_seeds(name, tmp_path):
    """Every block of a random page runs, and every assertion holds, with three other seeds."""
    if name == OVER_RANKS and sys.platform == "win32":
        pytest.skip("no package brings mpiexec to Windows; what was recorded of ranks has one seed")
    (tmp_path / "sitecustomize.py").write_text(RESEEDING, encoding="utf-8")
    command = [sys.executable, "-c", CONVERTING, name, "1", "2", "3"]
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": places}
    told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
