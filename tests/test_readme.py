"""The README keeps its word."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_six_lines_print_what_the_readme_says():
    """The README's example, run as it stands, prints the text that stands below it."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (text,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 6
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == text


def test_what_the_readme_names_is_there():
    """Every file, folder and make target that the README names exists."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"make (serve|site|check|page)", README)) <= set(targets)
    for name in re.findall(r"\]\(([^)]+)\)|`((?:refbn|docs|tests)/[\w/]*)`", README):
        assert (ROOT / "".join(name)).exists(), name
