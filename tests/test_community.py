"""What a host of repositories reads: forms, citation, changelog, licence."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import refbn

ROOT = Path(__file__).parents[1]
FORMS = sorted(ROOT.glob(".github/ISSUE_TEMPLATE/[0-9]*.yml"))
SCHEMAS = {
    **{path.relative_to(ROOT).as_posix(): "github-issue-forms" for path in FORMS},
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    ".github/dependabot.yml": "dependabot",
    ".readthedocs.yaml": "readthedocs",
    "CITATION.cff": "citation-file-format",
}
HEADINGS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # Keep a Changelog's


def invalid(path, schema):
    """Return what a schema that comes with check-jsonschema finds in a file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_host_can_read_the_file(name):
    """A form, a citation or a configuration that breaks its schema is silently not shown or not used."""
    assert invalid(ROOT / name, SCHEMAS[name]) == ""


def test_a_planted_mistake_in_a_form_is_found(tmp_path):
    """A form with a field of a kind that does not exist is no form."""
    text = FORMS[0].read_text("utf-8")
    (tmp_path / "form.yml").write_text(text.replace("type: input", "type: inputs", 1), "utf-8")
    assert "inputs" in invalid(tmp_path / "form.yml", "github-issue-forms")


def test_the_citation_names_this_version_and_this_licence():
    """CITATION.cff, the package, pyproject.toml and LICENSE say the same."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert cited["version"] == refbn.__version__
    assert cited["license"] == project["license"] == "MIT"
    assert set(cited["keywords"]) == set(project["keywords"])
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert licence.startswith("MIT License\n")
    assert cited["authors"][0]["name"] in licence


def test_the_changelog_has_the_form_that_it_names():
    """Unreleased comes first, then versions with their dates; numbers that changed have their own heading."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first, *versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "Unreleased"
    assert [v for v in versions if not re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", v)] == []
    parts = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(parts) <= {*HEADINGS, "Numerical behaviour"}
    assert "Numerical behaviour" in parts
