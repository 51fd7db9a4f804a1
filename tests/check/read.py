"""What the tools say, read as findings."""

import json
import re
import sys
from pathlib import Path

from check.finding import Finding

PLACE = re.compile(r"(?P<where>[\w./-]+\.\w+:\d+)(?::\d+)?[: -]+(?P<what>.*)", re.DOTALL)
# An error of the kit, as docs/_kit/page.py writes it: where, what, and what to do; after it, or a line
# of MkDocs' log, begins something else.
PAGE_ERROR = re.compile(
    r"^(?:Error: |E +|ERROR +- +(?:Error reading page '[^']*': *)?)?"
    r"(?P<where>[\w/-]*[\w-]\.\w+(?::\d+)?|PAGE|unknown place): "
    r"(?P<what>(?:(?!^(?:Error: |[A-Z]+ +- ))[\s\S])*?)\n *To do: (?P<remedy>.*)$",
    re.MULTILINE,
)
LISTED = re.compile(r"^\[\s*[{\]].*", re.MULTILINE | re.DOTALL)  # a list in JSON
WARNING = re.compile(r"^WARNING +- +(.*(?:\n +- .*)*)", re.MULTILINE)
NAMED = re.compile(
    r"([\w/-]+\.md)\b'?(?:.*?'([^']+)')?"
)  # the page of a warning, and what is in it
NO_ENTRY = "are not included in the"  # the navigation, of which alone a warning names no page first


def ruff(text):
    """Return what `ruff check --output-format=json` found."""
    return [
        Finding(line_of(slip), f"{slip['code']}: {slip['message']}.", mended_by_ruff(slip))
        for slip in slips_of_ruff(text)
    ]


def slips_of_ruff(text):
    """Return the slips in what ruff printed, which a warning may come before."""
    listed = LISTED.search(text)
    return json.loads(listed[0]) if listed else []


def line_of(slip):
    """Return where ruff found a slip."""
    return f"{relative(slip['filename'])}:{slip['location']['row']}"


def mended_by_ruff(slip):
    """Return what mends a slip that ruff found."""
    fix = slip.get("fix") or {}
    if fix.get("applicability") == "safe":
        return f"{fix['message']}; ruff check --fix does it."
    return f"{fix.get('message') or 'Mend the line'}; ruff rule {slip['code']} says why."


def ruff_format(text):
    """Return which files `ruff format --check --output-format=json` would write otherwise."""
    what = "the file must be laid out as ruff format does; from this line on it is not."
    slips = slips_of_ruff(text)
    return [
        Finding(line_of(slip), what, f"ruff format {relative(slip['filename'])}") for slip in slips
    ]


def mypy(text):
    """Return the errors among what `mypy --output=json` says."""
    slips = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        Finding(
            f"{slip['file']}:{slip['line']}",
            f"{slip['message']} [{slip['code']}].",
            slip["hint"] or "Mend the types; the name in brackets is that of mypy's rule.",
        )
        for slip in slips
        if slip["severity"] == "error"
    ]


def build(text):
    """Return what ended a build of the site: an error of the kit, or warnings of MkDocs."""
    errors = [Finding(*error.groups()) for error in PAGE_ERROR.finditer(text)]
    warned = [warning(said) for said in WARNING.findall(text)]
    return list(dict.fromkeys(errors + warned))


def warning(said):
    """Return a warning of MkDocs as a finding, with the line that it speaks of."""
    if NO_ENTRY in said:
        pages = ", ".join(re.findall(r"^ +- (.*)", said, re.MULTILINE))
        what = f"every page must be in the menu; not there: {pages}."
        return Finding("mkdocs.yml", what, "Add a line for it below nav:.")
    named = NAMED.search(said)
    where = f"docs/{named[1]}" if named else "mkdocs.yml"
    path = Path(where)
    if named and named[2] and path.exists():
        lines = path.read_text(encoding="utf-8").split("\n")
        number = next((i for i, line in enumerate(lines, 1) if named[2] in line), 1)
        where = f"{where}:{number}"
    return Finding(
        where, f"{said.rstrip('.')}.", "Mend the line: warnings of MkDocs end the build."
    )


def coverage(path):
    """Return the lines and branches that no test of the package runs, from coverage's JSON."""
    if not path.exists():
        return []
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return [
        Finding(f"{name}:{line}", what, "Write a test that does, or take the code out.")
        for name, found in files.items()
        for line, what in missed(found)
    ]


def missed(found):
    """Yield line and words for each stretch of lines, and each branch, that was never taken."""
    stretches = []
    for line in found["missing_lines"]:
        if stretches and line == stretches[-1][1] + 1:
            stretches[-1][1] = line
        else:
            stretches.append([line, line])
    for first, last in stretches:
        lines = f"lines {first} to {last} run" if last > first else f"line {first} runs"
        yield first, f"every line must run in a test; {lines} in none."
    for start, end in found.get("missing_branches", []):
        if start not in found["missing_lines"] and abs(end) not in found["missing_lines"]:
            to = f"line {end}" if end > 0 else "the end"
            yield start, f"every branch must run in a test; from line {start} to {to} none goes."


def failure(line):
    """Return the findings of a test that failed, from a line of the plugin in report.py."""
    message = line.get("message", "")
    if line["when"] != "call":  # what many tests need, told once
        return build(message) or [unready(line, message)]
    case = f" [{line['case']}]" if line["case"] else ""
    law = f"{line['law']}{case}"
    remedy = alone(line)
    if line.get("each"):
        return [element(one, line["where"], law, f"{message} {remedy}") for one in line["each"]]
    if "observed" in line:
        said = f"expected {line['expected']}, observed {line['observed']}. {message}"
    else:
        said = f"{line['kind']}: {message}" if message else "its assertion does not hold."
    return [Finding(line["where"], f"{law} But {said.strip()}", remedy)]


def alone(line):
    """Return how a test is seen alone, with the page that was chosen."""
    return f"See it alone: {relative(sys.executable)} -m pytest '{line['test']}'{line.get('flags', '')}."


def unready(line, message):
    """Return the finding of a test that could not begin, or a file that could not be read."""
    what = f"the tests must be able to begin; {line.get('kind', 'pytest')} said: {message}."
    return Finding(line["where"], what, f"Mend what fails. {alone(line)}")


def element(one, where, law, remedy):
    """Return a finding of one element of a list that must be empty."""
    place = PLACE.fullmatch(one)
    if place and Path(place["where"].rpartition(":")[0]).exists():
        return Finding(place["where"], f"{place['what']} ({law})", remedy)
    return Finding(where, f"{law} But expected none, observed {one}.", remedy)


def skips(lines):
    """Return a finding for each reason for which tests were skipped."""
    reasons = {}
    for line in lines:
        reasons.setdefault((line["where"], line["reason"]), []).append(line["test"])
    what = "every test that can run must run; {} did not: {}"
    return [
        Finding(
            where,
            what.format(f"{len(tests)} tests" if tests[1:] else tests[0], reason),
            "Install what it needs.",
        )
        for (where, reason), tests in reasons.items()
    ]


def unheard(step, told, tests, log):
    """Return the finding of tests that ended with 0 although not all of them came to their end."""
    what = (
        f"every test must tell its result; {told} of {tests or 'none'} did, and all ended with 0."
    )
    return Finding(step, what, f"Look for what ends Python itself, such as os._exit; read {log}.")


def relative(name):
    """Return a path as one knows it in the repository."""
    path = Path(name)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def ended(step, status, text, log):
    """Return what is to be said of a program that failed and named no place."""
    found = build(text)
    if not found:
        last = [line for line in text.splitlines() if line.strip()][-3:]
        what = (
            f"its program must end with 0; it ended with {status}. It said last: {' | '.join(last)}"
        )
        found = [Finding(step, what, f"Read {log}.")]
    return found
