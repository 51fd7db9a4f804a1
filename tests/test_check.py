"""`make check` says of each mistake where it is and what to do, and hides none behind another."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from check import read
from check.finding import Finding
from check.steps import STEPS

ROOT = Path(__file__).parents[1]
PROJECT = """
[tool.ruff]
lint.select = ["F"]
exclude = ["tests/check"]
[tool.mypy]
strict = true
files = ["refbn"]
[tool.pytest.ini_options]
testpaths = ["tests"]
filterwarnings = ["error"]
markers = ["alone: alone"]
[tool.coverage.run]
branch = true
source = ["refbn"]
[tool.coverage.report]
fail_under = 100
"""
CLEAN = {
    "refbn/__init__.py": '"""A package."""\n\nONE: int = 1\n',
    "tests/test_one.py": (
        "import pytest\n\nimport refbn\n\n\ndef test_one():\n"
        '    """One is one."""\n    assert refbn.ONE == 1\n\n\n'
        '@pytest.mark.alone\ndef test_alone():\n    """One is alone."""\n'
    ),
    "Makefile": (
        f"newest wheel:\n\t@echo $@\nconformance:\n\t@{sys.executable} -m pytest -m 'not alone'\n"
    ),
}
WRONG = {
    "refbn/__init__.py": (
        '"""A package."""\n\n\n\n\ndef one(x: int) -> str:\n    if x:\n        return x\n'
        '    return ""\n\n\ndef two(x: int) -> int:\n    if x:\n        x = 2\n    return x\n'
    ),
    "tests/test_one.py": (
        "import pytest\n\nimport refbn\n\n\ndef test_one():\n"
        '    """One is an empty word."""\n    assert refbn.one(0) == str(refbn.two(1))\n\n\n'
        '@pytest.mark.parametrize("page", ["learn/a.md"])\ndef test_none(page):\n'
        '    """No word of a page is misspelt.\n\n    More.\n    """\n'
        '    assert ["README.md:3:7 - Unknown word (teh)"] == [], "Spell it otherwise."\n\n\n'
        '@pytest.fixture\ndef broken():\n    raise OSError("no site")\n\n\n'
        'def test_first(broken):\n    """A."""\n\n\ndef test_second(broken):\n    """B."""\n\n\n'
        '@pytest.mark.skip(reason="needs time")\ndef test_third():\n    """C."""\n\n\n'
        '@pytest.mark.alone\ndef test_alone():\n    """One is quick."""\n    raise ValueError("slow")\n'
    ),
    "tests/test_two.py": "import os\n\nx = (1,\n  2)\n",
    "tests/test_three.py": "import refbn.nothing\n\nrefbn.nothing.do()\n",
    "README.md": "One\n\nAnd teh other.\n",
    "Makefile": "wheel:\n\t@echo no licence; exit 3\n",
}
FINDINGS = {  # each a whole line: where, what, and what to do
    "a rule of ruff": "tests/test_two.py:1: F401: `os` imported but unused. To do: Remove unused import: `os`; ruff check --fix does it.",
    "the layout": "tests/test_two.py:3: the file must be laid out as ruff format does; from this line on it is not. To do: ruff format tests/test_two.py",
    "a type": 'refbn/__init__.py:8: Incompatible return value type (got "int", expected "str") [return-value]. To do: Mend the types; the name in brackets is that of mypy\'s rule.',
    "an error": "tests/test_one.py:41: One is quick. But ValueError: slow To do: See it alone: {python} -m pytest 'tests/test_one.py::test_alone'.",
    "a comparison": "tests/test_one.py:8: One is an empty word. But expected == '2', observed ''. To do: See it alone: {python} -m pytest 'tests/test_one.py::test_one'.",
    "a list that must be empty": "README.md:3: Unknown word (teh) (No word of a page is misspelt. [learn/a.md]) To do: Spell it otherwise. See it alone: {python} -m pytest 'tests/test_one.py::test_none[learn/a.md]'.",
    "a fixture": "tests/test_one.py:22: the tests must be able to begin; OSError said: no site. To do: Mend what fails. See it alone: {python} -m pytest 'tests/test_one.py::test_",
    "a file that cannot be read": "tests/test_three.py: the tests must be able to begin; pytest said: ModuleNotFoundError: No module named 'refbn.nothing'. To do:",
    "a test that was skipped": "tests/test_one.py:33: every test that can run must run; tests/test_one.py::test_third did not: needs time To do:",
    "a line that no test runs": "refbn/__init__.py:8: every line must run in a test; line 8 runs in none. To do: Write a test that does, or take the code out.",
    "a branch": "refbn/__init__.py:13: every branch must run in a test; from line 13 to line 15 none goes. To do: Write",
    "a program": "wheel: its program must end with 0; it ended with 2. It said last: no licence",
    "a program that is not there": "newest: its program must end with 0; it ended with 2. It said last: make: *** No rule to make target",
}


def checked(folder, files, *flags):
    """Run the program in a small repository; return its status and its lines."""
    shutil.copytree(ROOT / "tests/check", folder / "tests/check")
    for name, text in {"pyproject.toml": PROJECT, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST", "CHECK"))}
    done = subprocess.run(
        [sys.executable, "-m", "check", *flags],
        cwd=folder,
        env=kept | {"PYTHONPATH": f"{folder}{os.pathsep}{folder / 'tests'}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def cells(lines):
    """Return the table's rows: the step, and how many checks passed, failed and were skipped."""
    rows = [re.fullmatch(r"(\w+) .*? +(\d+) +(\d+) +(\d+) +\d+", line) for line in lines]
    return {row[1]: tuple(map(int, row.groups()[1:])) for row in rows if row}


def summary(lines):
    """Return the place of the line after which the findings are told again, in short."""
    return next(i for i, line in enumerate(lines) if line.endswith("told above:"))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """Return what is said of a repository with a mistake of each kind."""
    folder = tmp_path_factory.mktemp("wrong")
    steps = "style types speed package wheel newest"
    return checked(folder, WRONG, "--no-skips", "--steps", steps)


def test_a_clean_repository_passes_and_ends_with_the_table(tmp_path):
    """Where nothing is wrong the status is 0, and the table names steps, what they hold, and counts."""
    steps = "style types speed package conformance wheel newest"
    begun = time.monotonic()
    status, lines = checked(tmp_path, CLEAN, "--steps", steps)
    took = time.monotonic() - begun
    assert status == 0, lines
    assert list(cells(lines)) == steps.split()
    assert cells(lines) == {
        "style": (2, 0, 0),
        "types": (1, 0, 0),
        "speed": (1, 0, 0),
        "package": (1, 0, 0),
        "conformance": (1, 0, 0),
        "wheel": (1, 0, 0),
        "newest": (1, 0, 0),
    }
    seconds = [int(line.split()[-1]) for line in lines if line.split(" ")[0] in cells(lines)]
    assert sum(seconds) <= took + len(seconds) / 2  # each its own time, rounded to a second
    assert lines[-1] == "All is well."
    assert not any("\033" in line or "\r" in line for line in lines)


@pytest.mark.parametrize("kind", FINDINGS)
def test_a_mistake_is_one_line_with_its_place_and_what_to_do(wrong, kind):
    """Each kind of mistake is told once, wherever else something is wrong."""
    status, lines = wrong
    told = FINDINGS[kind].replace("{python}", sys.executable)
    assert status == 1
    lines = lines[: summary(lines)]
    assert len([line for line in lines if line.startswith(told)]) == 1, lines
    assert all("To do: " in line for line in lines if line.startswith(told))


def test_a_step_that_fails_hides_no_other(wrong):
    """Every step has its row; the sum is that of the lines, which end the log, in short."""
    _, lines = wrong
    assert {name: row[1] > 0 for name, row in cells(lines).items()} == dict.fromkeys(
        ("style", "types", "speed", "package", "wheel", "newest"), True
    )
    told = [line for line in lines if "To do: " in line]
    head, *shorts = lines[summary(lines) :]
    assert head == f"{len(told)} findings, told above:"
    for short, line in zip(shorts, told, strict=True):
        said, beginning = line.partition(" To do: ")[0], short.removesuffix(" …")
        assert said.startswith(beginning)
        assert short == said or len(beginning) > 100  # enough to know what it is


def test_a_step_that_cannot_begin_says_why_and_hides_no_other(tmp_path):
    """Settings that ruff cannot read, and tests that cannot begin, are told with the tool's own words."""
    wrong = {
        "pyproject.toml": PROJECT.replace("[tool.ruff]", "[tool.ruff]\nunheard-of = 1"),
        "tests/conftest.py": "import unheard_of\n",
        ".check/coverage.json": '{"files": {"an/earlier.py": {"missing_lines": [1]}}}',
    }
    status, lines = checked(tmp_path, CLEAN | wrong, "--steps", "style package")
    assert status == 1
    assert list(cells(lines)) == ["style", "package"]
    assert any("unknown field `unheard-of`" in line for line in lines)
    assert any("No module named 'unheard_of'" in line for line in lines)
    assert not any("earlier" in line for line in lines)


@pytest.mark.parametrize(
    ("before", "inside", "told"),
    [("", "os._exit(0)", "0 of 1 did"), ("os._exit(0)\n", "", "0 of none did")],
)
def test_tests_that_end_before_their_end_are_a_finding(tmp_path, before, inside, told):
    """Where Python itself is ended with 0, in a test or while it is read, nothing is well."""
    text = f'import os\nimport pytest\n\n{before}\n@pytest.mark.alone\ndef test_a():\n    """A."""\n    {inside}\n'
    status, lines = checked(tmp_path, {"tests/test_a.py": text}, "--steps", "speed")
    assert status == 1
    assert f"speed: every test must tell its result; {told}" in "\n".join(lines)


def test_a_skip_is_no_finding_unless_it_is_said_to_be(tmp_path):
    """Whoever lacks a browser can check the rest; the table counts what was left out."""
    text = 'import pytest\n\n\n@pytest.mark.alone\n@pytest.mark.skip(reason="a")\ndef test_a():\n    """A."""\n'
    status, lines = checked(tmp_path, {"tests/test_a.py": text}, "--steps", "speed")
    assert status == 0, lines
    assert cells(lines) == {"speed": (0, 0, 1)}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--steps", "stile"), "STEPS must be among style types"),
        (
            ("--page", "no/page.md"),
            "PAGE must be a file below docs/, such as index.md; got no/page",
        ),
        (("--page", "index.md", "--steps", "style"), "PAGE and STEPS cannot both choose"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(flags, said):
    """A step or a page that is not there is named, with those that are; two choices are one too many."""
    done = subprocess.run(
        [sys.executable, "-m", "check", *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr


LISTENING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have begun all this without
runpy.run_module("check", run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="none can press Ctrl-C for another on Windows")
def test_whoever_interrupts_is_told_that_it_ended_early(tmp_path):
    """After Ctrl-C there is one line, no traceback, and a status that is not 0."""
    text = "import os\nimport signal\n\nos.kill(os.getppid(), signal.SIGINT)\n"
    (tmp_path / "ruff").mkdir()
    (tmp_path / "ruff/__main__.py").write_text(text, encoding="utf-8")
    (tmp_path / "ruff/__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", LISTENING, "--steps", "style"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "\nEnded before all was checked.\n"


BUILT = """INFO    -  Cleaning site directory
WARNING -  Doc file 'learn/backward.md' contains a link 'what-it-computes.md', but the target is gone.
INFO    -  Building documentation to directory: site
ERROR   -  Error reading page 'learn/a.md': docs/learn/a.md:12: block 3 (```python exec="on"): line 14 raised AssertionError: observed 0.5, required < 0.25
    assert x < 0.25  # claim one
  It had printed:
    1: 2
  To do: Find out which is wrong, the page or the code that it describes.
Error: docs/learn/a.md:12: block 3 (```python exec="on"): line 14 raised AssertionError: observed 0.5, required < 0.25
    assert x < 0.25  # claim one
  It had printed:
    1: 2
  To do: Find out which is wrong, the page or the code that it describes.
"""


def test_what_ends_a_build_is_read(monkeypatch):
    """An error of the kit keeps its place, block and remedy; a warning of MkDocs gets its line."""
    monkeypatch.chdir(ROOT)
    error, warned = read.build(BUILT)
    assert error.where == "docs/learn/a.md:12"
    assert str(error).endswith(
        "observed 0.5, required < 0.25 assert x < 0.25 # claim one It had printed: 1: 2 "
        "To do: Find out which is wrong, the page or the code that it describes."
    )
    file, line = warned.where.split(":")
    assert file == "docs/learn/backward.md"
    assert "what-it-computes.md" in (ROOT / file).read_text("utf-8").split("\n")[int(line) - 1]


WARNED = """WARNING -  The following pages exist in the docs directory, but are not included in the "nav" configuration:
  - learn/x.md
  - learn/y.md
WARNING -  mkdocs_autorefs: questions.md: Could not find cross-reference target 'train.md'
"""


def test_a_warning_of_mkdocs_names_its_pages(monkeypatch):
    """Of pages that are not in the menu each is named; a name that is not known has its line."""
    monkeypatch.chdir(ROOT)
    menu, name = read.build(WARNED)
    assert str(menu) == (
        "mkdocs.yml: every page must be in the menu; not there: learn/x.md, learn/y.md. "
        "To do: Add a line for it below nav:."
    )
    assert re.match(r"docs/questions\.md:\d+: mkdocs_autorefs: .* 'train\.md'\. To do: ", str(name))


def test_lines_that_nobody_runs_are_told_in_stretches(tmp_path):
    """Lines that follow one another are one finding."""
    found = {"missing_lines": [3, 4, 5, 9], "missing_branches": [[2, 3], [7, -1]]}
    (tmp_path / "c.json").write_text(json.dumps({"files": {"a.py": found}}), encoding="utf-8")
    assert [finding.where for finding in read.coverage(tmp_path / "c.json")] == [
        "a.py:3",
        "a.py:9",
        "a.py:7",
    ]


def test_a_finding_is_one_line_of_bearable_length():
    """Ends of lines become blanks, and what is very long is cut: the log has it."""
    line = str(Finding("a:1", "x\n y " * 1000, "Mend\nit."))
    assert "\n" not in line
    assert line.startswith("a:1: x y x y")
    assert line.endswith("… To do: Mend it.")
    assert len(line) < 700


def test_ci_and_make_run_the_steps_that_there_are():
    """CI calls `make check` and nothing else that checks; each step that make runs is a target."""
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert [line.split("#")[0].strip() for line in lines if line.startswith("make ")] == [
        "make check SKIPS=0"
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in STEPS:
        for program in step.programs:
            if program.command[0] == "make":
                assert re.search(rf"^{program.command[-1]}\b.*:", makefile, re.MULTILINE), step.name


def test_what_runs_before_a_commit_is_there():
    """Each hook is local, and calls what an environment of this repository has."""
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, *rest = hook["entry"].split()
        assert hook["language"] == "system"
        if program == ".venv/bin/python":
            asked = [sys.executable, *rest[:2], "--version"]
            subprocess.run(asked, cwd=ROOT, check=True, capture_output=True)
        else:
            assert program == "node"
            assert rest[0].startswith("tests/site/node_modules/")
            package = json.loads((ROOT / "tests/site/package.json").read_text(encoding="utf-8"))
            assert (
                rest[0].split("/")[3]
                in package["devDependencies" if "devDependencies" in package else "dependencies"]
            )
