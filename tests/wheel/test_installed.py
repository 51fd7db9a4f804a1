"""The package where nothing but NumPy is: it imports, keeps its laws, and has its types."""

import json
import sys
from pathlib import Path

import pytest
from environments import PROJECT, PYTHONS, SUPPORTED, program, run, uv

STRICT = ["-I", "-W", "error"]  # the environment alone, and no warning
# Another test says that the sdist gives the same wheel, so this one is enough.
OF_THE_WHEEL = pytest.mark.parametrize("python", ["wheel"], indirect=True, scope="session")
EXAMPLES = """
import doctest, importlib, pkgutil
import refbn

names = [found.name for found in pkgutil.walk_packages(refbn.__path__, "refbn.")]
modules = [refbn, *map(importlib.import_module, names)]
tried = [
    doctest.testmod(module, optionflags=doctest.ELLIPSIS, raise_on_error=True).attempted
    for module in modules
    if module.__name__ != "refbn.chunked"  # its examples need Dask
]
print(len(modules), sum(tried))
"""
TYPED = """\
from typing import Any
import numpy as np
import numpy.typing as npt
import refbn

y: tuple[npt.NDArray[Any], refbn.Cache] = refbn.batch_norm_train(np.zeros((2, 3)))
"""
WRONG = TYPED + "z: str = refbn.batch_norm_train(np.zeros((2, 3)))\n"


@pytest.fixture(
    scope="session",
    params=[(v, numpy) for v in PYTHONS for numpy in ("lowest", "highest")],
    ids=" ".join,
)
def end(request):
    """Return a Python, and which end of the NumPys that it can have."""
    return request.param


@pytest.fixture(scope="session", params=["wheel", "sdist"])
def python(request, end, python_with):
    """Return the Python of an environment with the wheel or the sdist."""
    return python_with(request.getfixturevalue(request.param), *end)


def distributions(python):
    """Return the names and versions of what is installed beside this Python."""
    frozen = run(*uv("pip", "list", "--python", python, "--format", "json"))
    return {found["name"]: found["version"] for found in json.loads(frozen)}


def test_nothing_but_numpy_comes_with_it(python, end):
    """Who installs it has it and NumPy; the oldest Python can have the lowest NumPy of all."""
    found = distributions(python)
    assert set(found) == {"refbn", "numpy"}
    if end == (SUPPORTED[0], "lowest"):
        assert PROJECT["dependencies"] == [f"numpy>={found['numpy'].removesuffix('.0')}"]


def test_it_passes_its_smoke_test(python, tmp_path):
    """`python -m refbn.diagnose refbn:BatchNorm` finds every law kept, by what was installed."""
    where = run(python, *STRICT, "-c", "import refbn; print(refbn.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    run(python, *STRICT, "-m", "refbn.diagnose", "refbn:BatchNorm", cwd=tmp_path)


@OF_THE_WHEEL
def test_its_examples_are_true(python, tmp_path):
    """Each module imports, and each example of a docstring prints what stands there."""
    modules, examples = map(int, run(python, *STRICT, "-c", EXAMPLES, cwd=tmp_path).split())
    assert modules > 30
    assert examples > 100


@OF_THE_WHEEL
def test_its_types_are_known(python, tmp_path):
    """A strict mypy, run by another program, reads the types of what was installed."""
    (tmp_path / "right.py").write_text(TYPED, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
    run(*mypy, "right.py", cwd=tmp_path)
    wrong = program(*mypy, "wrong.py", cwd=tmp_path)
    assert "error: Incompatible types in assignment" in wrong.stdout
    assert wrong.stdout.count("error:") == 1
