"""Wheel and sdist as `make wheel` builds them, and environments with nothing but NumPy to try them in."""

import os
import sys

import pytest
from environments import HELD, PYTHONS, ROOT, SUPPORTED, run, uv


def pytest_report_header():
    """Say which of the supported Pythons are tried, and which are not to be had here."""
    absent = [version for version in SUPPORTED if version not in PYTHONS]
    return f"Python {', '.join(PYTHONS)}; not on this machine: {', '.join(absent) or 'none'}"


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Return a function that builds a wheel or an sdist from a folder or an sdist."""

    def built(source, kind):
        folder = tmp_path_factory.mktemp("built")
        where = ["--no-create-gitignore", "--out-dir", folder, "--python", sys.executable]
        run(*uv("build", f"--{kind}", *HELD, "--require-hashes", *where, source))
        (path,) = folder.iterdir()
        return path

    return built


@pytest.fixture(scope="session")
def sdist(build):
    """Return the sdist of the repository."""
    return build(ROOT, "sdist")


@pytest.fixture(scope="session")
def wheel(build):
    """Return the wheel of the repository."""
    return build(ROOT, "wheel")


@pytest.fixture(scope="session")
def python_with(tmp_path_factory):
    """Return a function that gives the Python of a new environment with one file installed."""

    def environment(path, version, numpy):
        folder = tmp_path_factory.mktemp("environment") / "venv"
        run(*uv("venv", "--python", PYTHONS[version], folder))
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        how = ["--resolution", numpy, "--only-binary", "numpy", *HELD]
        run(*uv("pip", "install", "--python", python, *how, path))
        return python

    return environment
