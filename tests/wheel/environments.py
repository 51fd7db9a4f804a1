"""Programs that know nothing of this repository, and the Pythons of this machine."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = [classifier.split(" :: ")[-1] for classifier in PROJECT["classifiers"]]
SUPPORTED = [name for name in NAMES if name.startswith("3.")]  # the versions of Python
HELD = ["--build-constraints", str(ROOT / ".lock.txt")]  # hatchling is the locked one


def program(*command, cwd=None):
    """Run a program to which no variable of Python points out this repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env=kept, check=False, capture_output=True, encoding="utf-8"
    )


def run(*command, cwd=None):
    """Return what a program printed; it must succeed."""
    done = program(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def uv(*arguments):
    """Return the command that runs uv with the Pythons that are there; it downloads none."""
    return [sys.executable, "-m", "uv", "--quiet", "--no-python-downloads", *arguments]


def interpreters():
    """Return where each supported Python is, if it is on this machine."""
    tries = {version: program(*uv("python", "find", "--system", version)) for version in SUPPORTED}
    return {version: t.stdout.strip() for version, t in tries.items() if t.returncode == 0}


PYTHONS = interpreters()
