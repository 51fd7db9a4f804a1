"""A plugin of pytest that writes down, line by line and in JSON, what became of each test.

It is loaded with `-p check.report`, and writes to the file that CHECK_REPORT names. The line of a
test that failed has its law, which is the first line of its docstring, and what was compared.
"""

import json
import os
import reprlib
from pathlib import Path

import pytest

FILE = os.environ.get("CHECK_REPORT")
TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 200  # characters
LISTED = 20  # so many elements of a list that must be empty are told one by one
compared = {}  # the last comparison that did not hold: its operator and both sides


def pytest_assertrepr_compare(op, left, right):
    """Note what an assertion compared."""
    compared.update(op=op, observed=SHORT.repr(left), expected=f"{op} {SHORT.repr(right)}")
    if (
        op == "=="
        and isinstance(right, list | dict)
        and not right
        and isinstance(left, list | dict)
    ):
        several = left.items() if isinstance(left, dict) else left  # findings, one by one
        listed = [*several][:LISTED]
        compared["each"] = [one if isinstance(one, str) else repr(one) for one in listed]


def pytest_runtest_setup():
    """Forget what the test before compared."""
    compared.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Put behind a report what only the process of the test knows; it goes to the one that writes."""
    report = yield
    if report.failed:
        report.user_properties.append(("check", failure(item, call)))
    return report


def failure(item, call):
    """Return what is to be known of a failure."""
    law = (getattr(item.obj, "__doc__", None) or item.name).strip().split("\n")[0]
    where, error = place(item, call.excinfo), call.excinfo.value
    said = str(error).split("\nassert ")[0]
    known = {
        "where": where,
        "law": law,
        "message": "" if said.startswith("assert ") else said,
        "kind": type(error).__name__,
        "flags": f" --page {page}" if (page := item.config.getoption("page", "")) else "",
        "case": item.nodeid.partition("[")[2].removesuffix("]"),
    }
    return known | (compared if isinstance(error, AssertionError) else {})


def place(item, excinfo):
    """Return file and line of the last call on the way to an error that stands in the tests."""
    for entry in reversed(excinfo.traceback):
        path = Path(entry.path)
        if path.is_relative_to(TESTS):
            return f"{path.relative_to(ROOT).as_posix()}:{entry.lineno + 1}"
    path, line, _ = item.location
    return f"{path}:{(line or 0) + 1}"


class Writer:
    """Writes the lines, in the one process that hears of all tests."""

    def write(self, **line):
        """Write a line."""
        with Path(FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def pytest_collection_finish(self, session):
        """Tell how many tests there are."""
        if session.items:
            self.write(tests=len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        """Tell how many tests there are, where other processes collect them."""
        self.write(tests=len(ids))

    def pytest_collectreport(self, report):
        """Tell of a file that could not be read, or that was left out as a whole."""
        if not report.passed:
            self.tell(report)

    def pytest_runtest_logreport(self, report):
        """Tell what became of a test: its call, or whatever went wrong before or after it."""
        if report.when == "call" or not report.passed:
            self.tell(report)

    def tell(self, report):
        """Write a result."""
        known = dict(getattr(report, "user_properties", [])).get("check", {})
        if report.skipped and isinstance(report.longrepr, tuple):
            path, line, reason = report.longrepr
            path = Path(path)
            path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            known = {
                "where": f"{path.as_posix()}:{line}",
                "reason": reason.removeprefix("Skipped: "),
            }
        elif report.failed and not known:
            known = {"where": report.nodeid, "message": last_words(report.longrepr)}
        when = getattr(report, "when", "collect")
        self.write(test=report.nodeid, when=when, outcome=report.outcome, **known)


def last_words(longrepr):
    """Return the lines of a traceback that say what went wrong, if there are any."""
    text = str(longrepr)
    said = [line.removeprefix("E").strip() for line in text.split("\n") if line.startswith("E ")]
    return "\n".join(said) or text


def pytest_configure(config):
    """Write only where a file is named, and in no process that only runs tests for another."""
    if FILE and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer())
