"""What a page says of random numbers does not hang on the numbers that it happened to draw."""

import subprocess
import sys

import pytest
from building import ROOT

RANDOM = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if "default_rng" in path.read_text(encoding="utf-8")
)

# Converts a page, with each seed in it made another; its assertions are those of the page.
RESEEDED = """
import sys
import numpy as np
from markdown import Markdown
from mkdocs.config import load_config

name, *shifts = sys.argv[1:]
config = load_config()
config.plugins.run_event("config", config)
source = open("docs/" + name, encoding="utf-8").read()
default_rng = np.random.default_rng

def reseeded(seed=None):  # SciPy passes a generator on
    plain = isinstance(seed, int | np.integer | list | tuple)
    return default_rng([shift, *np.atleast_1d(seed)] if plain else seed)

np.random.default_rng = reseeded
for shift in map(int, shifts):
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    try:
        md.convert(source)
    except Exception as error:
        sys.exit(f"seeds of the kind [{shift}, seed]: {error}")
"""


@pytest.mark.about  # it takes longer than one waits for a page
@pytest.mark.parametrize("name", RANDOM)
def test_what_a_page_asserts_holds_for_other_seeds(name):
    """Every block of a random page runs, and every assertion holds, with three other seeds."""
    command = [sys.executable, "-c", RESEEDED, name, "1", "2", "3"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
