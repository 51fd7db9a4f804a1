"""What wheel and sdist hold, and what they say of themselves."""

import tarfile
import zipfile

import pytest
from environments import PROJECT, ROOT, SUPPORTED, run
from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet


def tracked(folder="."):
    """Return the files that git tracks, or would, in a folder."""
    which = ["--cached", "--others", "--exclude-standard"]
    return set(run("git", "ls-files", *which, folder, cwd=ROOT).splitlines())


@pytest.fixture(scope="session")
def metadata(wheel):
    """Return the metadata of the wheel; whatever breaks the specification raises."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name), validate=True)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    """A wheel is the files of refbn, py.typed among them, the licence, and what wheels need."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = f"refbn-{wheel.name.split('-')[1]}.dist-info"
    needed = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert "refbn/py.typed" in names
    assert names == tracked("refbn") | needed


def test_the_sdist_is_the_repository(sdist):
    """An sdist holds all that is tracked; so its tests run, and its site is built, as here."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    assert names == tracked() | {"PKG-INFO"}


def test_the_sdist_gives_the_same_wheel(build, sdist, wheel):
    """It makes no difference, not by a byte, whether the wheel comes from the sdist."""
    assert build(sdist, "wheel").read_bytes() == wheel.read_bytes()


def test_the_metadata_say_what_users_must_know(metadata):
    """Summary, description, licence and author are there; the required package is NumPy alone."""
    assert all([metadata.summary, metadata.author, metadata.keywords])
    assert metadata.license_expression == "MIT"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
    needed = [str(need) for need in metadata.requires_dist if "extra" not in str(need.marker)]
    assert needed == PROJECT["dependencies"]


def test_the_supported_pythons_begin_with_the_first_that_is_accepted(metadata):
    """The classifiers name every Python from the required one on, without a gap."""
    minors = [int(version.partition(".")[2]) for version in SUPPORTED]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert metadata.requires_python == SpecifierSet(f">=3.{minors[0]}")


def test_the_readme_says_which_versions_work():
    """README names the supported Pythons and the lowest NumPy as the metadata do."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    numpy = PROJECT["dependencies"][0].replace("numpy>=", "NumPy ")
    assert f"Python {SUPPORTED[0]} to {SUPPORTED[-1]} and {numpy} or later" in readme
