"""Workflows run the code of strangers, and publish: they may do what they need, and no more."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from test_repository import slips as told

ROOT = Path(__file__).parents[1]
PATHS = sorted(ROOT.glob(".github/workflows/*"))
WORKFLOWS = {path.name: path.read_text("utf-8") for path in PATHS}
PUBLISH = {("pages.yml", "deploy"), ("release.yml", "publish")}  # the jobs that may write
PINNED = re.compile(r"\./\.github/workflows/\w+\.yml|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
TOOLS = re.compile(r"\b(pip|npm|npx|python|pytest|mkdocs|ruff|mypy)\b")
COMMENT = re.compile(r"(?:^|\s)#.*")
EVENTS = {"push", "pull_request", "workflow_call", "workflow_dispatch", "release", "schedule"}


def workflow_slips(name, text):
    """Return what is wrong with a workflow, by our own laws."""
    workflow = yaml.safe_load(text)
    used = [line.split(" # zizmor")[0].strip() for line in re.findall(r"\buses: (.*)", text)]
    found = [f"not pinned by hash and version: {use}" for use in used if not PINNED.fullmatch(use)]
    events = workflow[True]  # in YAML 1.1, `on` is a truth value
    found += [f"may not start a workflow: {event}" for event in sorted(set(events) - EVENTS)]
    if "secrets" in COMMENT.sub("", text):
        found.append("uses a secret")
    if workflow.get("permissions") != {} or "concurrency" not in workflow:
        found.append("needs 'permissions: {}' and 'concurrency' at the top")
    for job, said in workflow["jobs"].items():
        found += [f"{job}: {slip}" for slip in job_slips(said, (name, job) in PUBLISH)]
    return found


def job_slips(job, may_write):
    """Return what is wrong with a job."""
    if "uses" not in job and "timeout-minutes" not in job:
        yield "has no timeout"
    writes = [scope for scope, right in job.get("permissions", {}).items() if right != "read"]
    if writes and not may_write:
        yield f"may write: {', '.join(writes)}"
    for step in job.get("steps", []):
        checkout = "actions/checkout" in step.get("uses", "")
        if may_write and ("run" in step or checkout):
            yield "may write, and runs code of the repository"
        if checkout and step.get("with", {}).get("persist-credentials", True):
            yield "leaves the token in the checkout"
        if TOOLS.search(step.get("run", "").replace("PYTHON=python", "")):
            yield "runs a tool that has a make target"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_what_it_needs_and_no_more(name):
    """Actions are pinned; strangers get no secrets; only the jobs that publish write, and they run no code of ours."""
    assert workflow_slips(name, WORKFLOWS[name]) == []


@pytest.mark.parametrize(
    ("name", "right", "wrong", "slip"),
    [
        ("check.yml", r"@[0-9a-f]{40} # v7.0.1", "@v7", "not pinned by hash and version: .*@v7"),
        ("check.yml", r" # v7.0.1", "", "not pinned by hash and version: .*"),
        ("check.yml", r"pull_request:", "pull_request_target:", "may not start a workflow: .*"),
        ("preview.yml", r"retention-days: 14", "name: ${{ secrets.X }}", "uses a secret"),
        ("check.yml", r"permissions: \{\}", "permissions: {contents: read}", "needs .* at the top"),
        ("check.yml", r"contents: read", "contents: write", "all: may write: contents"),
        ("pages.yml", r"pages: read", "pages: write", "build: may write: pages"),
        ("check.yml", r"timeout-minutes: \d+", "", "all: has no timeout"),
        ("check.yml", r"credentials: false", "credentials: true", "all: leaves the token in .*"),
        (
            "check.yml",
            r"make check SKIPS=0 PYTHON=python",
            "pytest",
            "all: runs a tool that has .*",
        ),
        (
            "pages.yml",
            r"uses: (actions/deploy-pages@.*)",
            r"run: make site",
            "deploy: may write, .*",
        ),
    ],
)
def test_a_planted_mistake_is_found(name, right, wrong, slip):
    """Each of the laws finds what breaks it, and nothing else does."""
    text, count = re.subn(right, wrong, WORKFLOWS[name], count=1)
    assert count == 1
    (found,) = workflow_slips(name, text)
    assert re.fullmatch(slip, found)


def test_an_action_has_one_version():
    """An action that several workflows use is the same in all of them."""
    uses = set(re.findall(r"uses: ([\w-]+/[\w-]+)@(\w+)", "\n".join(WORKFLOWS.values())))
    names = [name for name, _ in uses]
    assert len(names) > 5
    assert sorted(names) == sorted(set(names))


def test_workflows_call_the_make_targets_that_people_call():
    """Every target that a workflow or Read the Docs calls is one of the Makefile."""
    texts = [*WORKFLOWS.values(), (ROOT / ".readthedocs.yaml").read_text("utf-8")]
    code = COMMENT.sub("", "\n".join(texts))
    called = set(re.findall(r"\bmake (?:--?\w+ |\"[^\"]*\" )*(\w+)", code))
    rules = re.findall(r"^(\w[\w ]*):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"check", "site"} <= called
    assert called <= {name for rule in rules for name in rule.split()}


def test_each_supported_python_is_checked():
    """The oldest version that pyproject.toml allows is checked, and every later one up to the newest."""
    matrix = yaml.safe_load(WORKFLOWS["check.yml"])["jobs"]["elsewhere"]["strategy"]["matrix"]
    minors = {version.split(".")[1] for version in matrix["python"]}
    minors |= {case["python"].split(".")[1] for case in matrix["include"]}
    minors = sorted(map(int, minors))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">=3.{minors[0]}"
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert sorted({"ubuntu", "macos", "windows"}) == sorted(
        s.split("-")[0] for s in matrix["system"]
    )


def test_both_hosts_build_the_site_with_one_python():
    """GitHub Pages and Read the Docs show the same site, so they build it with the same version."""
    (step,) = re.findall(r'python-version: "(.*)"', WORKFLOWS["pages.yml"])
    hosted = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text("utf-8"))
    assert hosted["build"]["tools"]["python"] == step


def test_no_workflow_and_no_template_names_a_registry_or_a_place_on_a_machine():
    """What holds for all files (see test_repository.py) holds for the folders with a dot."""
    paths = [path for path in ROOT.glob(".github/**/*") if path.is_file()]
    assert len(paths) > 10
    found = {path.name: told(path.read_text("utf-8")) for path in paths}
    assert {name: names for name, names in found.items() if names} == {}


def audit(root):
    """Return what zizmor finds in the workflows below a folder, without asking anybody."""
    program = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    assert program, "zizmor must be installed beside Python; call 'make check', which installs it."
    flags = ["--offline", "--no-progress", "--quiet", "--persona=pedantic", "--format=github"]
    done = subprocess.run(
        [program, *flags, root / ".github"], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_an_audit_of_the_workflows_finds_nothing():
    """zizmor knows how workflows are attacked, and sees no way in."""
    assert audit(ROOT) == ""


def test_the_audit_sees_a_planted_hole(tmp_path):
    """A title that strangers write must not be part of a script."""
    text = WORKFLOWS["preview.yml"]
    hole = text.replace("cat changes.md", "echo '${{ github.event.pull_request.title }}'")
    assert hole != text
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/preview.yml").write_text(hole, "utf-8")
    assert "template-injection" in audit(tmp_path)
