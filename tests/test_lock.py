"""The exact versions of .lock.txt and .constraints.txt, which `make lock` writes, fit pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK, CONSTRAINTS = ".lock.txt", ".constraints.txt"
LOCKED = ["docs", "lock", "test"]  # what is installed by its hashes
LINE = re.compile(r"# .*|[a-z0-9-]+==\S+( ; [^\\]+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?")


def text_of(name):
    """Return one of the two files."""
    return (ROOT / name).read_text(encoding="utf-8")


def pins(text):
    """Return the pinned requirements of a file, without their hashes."""
    return [Requirement(line.rstrip("\\")) for line in text.splitlines() if line[0] not in "# "]


def asked(extras):
    """Return what the package and some of its extras ask for, without the package itself."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    needs = [Requirement(text) for text in texts]
    inner = {extra for need in needs if need.name == "refbn" for extra in need.extras}
    return [need for need in needs if need.name != "refbn"] + (asked(inner) if inner else [])


def misfits(text, extras):
    """Return what is asked for and has not one version, one that is in its range."""
    versions = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins(text)}
    return [
        str(need)
        for need in asked(extras)
        if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ]


# Worked example by hand


def test_what_does_not_fit_is_found():
    """A version out of its range, and one that is not there, are found; the others are not."""
    text = text_of(LOCK)
    assert "\nnumpy==2" in text
    old = text.replace("\nnumpy==2", "\nnumpy==1")
    assert misfits(old, []) == PROJECT["dependencies"]
    gone = "\n".join(line for line in text.splitlines() if not line.startswith("mpmath=="))
    assert misfits(gone, ["test"]) == [need for need in EXTRAS["test"] if "mpmath" in need]


# Laws


@pytest.mark.parametrize("name", [LOCK, CONSTRAINTS])
def test_nothing_but_names_versions_and_hashes(name):
    """No line names a host, a folder or an address: each is a version, a hash or a comment."""
    assert [line for line in text_of(name).splitlines() if not LINE.fullmatch(line)] == []
    assert "make lock" in text_of(name).splitlines()[1]
    assert "/" not in text_of(name)


@pytest.mark.parametrize(("name", "extras"), [(LOCK, LOCKED), (CONSTRAINTS, list(EXTRAS))])
def test_what_is_asked_for_is_there(name, extras):
    """Each direct dependency has a version in its range; after a change of them, `make lock KEEP=1`."""
    assert misfits(text_of(name), extras) == []


@pytest.mark.parametrize("name", [LOCK, CONSTRAINTS])
def test_one_version_of_each_package(name):
    """On every system and Python the version is the same, and so are the numbers of the pages."""
    names = [pin.name for pin in pins(text_of(name))]
    assert names == sorted(set(names))
    assert len(names) > 80


def test_each_version_has_its_hashes():
    """Behind each version of the lock stands at least one hash, so pip accepts nothing else."""
    text = text_of(LOCK)
    hashed = re.findall(r"^[^# ].* \\\n    --hash=", text, re.MULTILINE)
    assert len(hashed) == len(pins(text))


def test_the_two_files_do_not_contradict():
    """What both environments have, they have in one version."""
    others = {pin.name: pin.specifier for pin in pins(text_of(CONSTRAINTS))}
    assert {pin.name: pin.specifier for pin in pins(text_of(LOCK))}.items() <= others.items()


def test_the_build_backend_is_locked():
    """What builds the package is locked too, in the range that its build asks for."""
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"][
        "requires"
    ]
    assert backend in EXTRAS["lock"]
