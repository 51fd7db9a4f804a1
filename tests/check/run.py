"""Running the programs of a step: their output goes to a file, what they find is told at once."""

import json
import os
import subprocess
import time
from collections import Counter

from check.finding import Finding
from check.read import ended, failure, skips, unheard
from check.steps import LOGS

LEFT_OUT = (
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "PAGE",
    "SKIPS",
    "STEPS",
)  # what make gave to this call


class Result:
    """What a step has found so far."""

    def __init__(self, step):
        """Begin with nothing."""
        self.step = step
        self.counts = Counter()
        self.tests = 0  # how many there will be
        self.findings = []
        self.skipped = []
        self.begun = time.monotonic()
        self.ended = None

    @property
    def seconds(self):
        """Return how long it has taken."""
        return (self.ended or time.monotonic()) - self.begun

    def found(self, findings):
        """Take findings in; return those that are new."""
        known = {finding.key for finding in self.findings}
        new = {finding.key: finding for finding in findings if finding.key not in known}
        self.findings += new.values()
        return list(new.values())

    def take(self, line):
        """Take a line of the plugin of pytest; return what is found by it."""
        if "tests" in line:
            self.tests = max(self.tests, line["tests"])
            return []
        self.counts[line["outcome"]] += 1
        if line["outcome"] == "skipped":
            self.skipped.append(line)
        return self.found(failure(line)) if line["outcome"] == "failed" else []


def run(step, meter, *, skipping=True):
    """Run the programs of a step, one after the other.

    `meter` is told of each finding, and now and then of how far it is. Where no test may be skipped,
    one that was is a finding too.
    """
    result = Result(step)
    for number, program in enumerate(step.programs, 1):
        log = LOGS / f"{step.name}-{number}.log"
        before = len(result.findings)
        status = watch(program, log, result, meter)
        text = log.read_text(encoding="utf-8", errors="replace")
        meter.tell(result.found(program.read(text)))
        if status and len(result.findings) == before:
            meter.tell(result.found(ended(step.name, status, text, log)))
        told = sum(result.counts.values())
        if program.tests and not status and not 0 < result.tests <= told:
            meter.tell(result.found([unheard(step.name, told, result.tests, log)]))
        if not program.tests:
            result.counts["passed" if not status else "failed"] += 1
        if status and program.needed:
            break
    if not skipping:
        meter.tell(result.found(skips(result.skipped)))
    meter.clear()
    result.ended = time.monotonic()
    return result


def watch(program, log, result, meter):
    """Run a program, read meanwhile what its tests tell, and return its status."""
    report = LOGS / "report.jsonl"
    report.write_text("", encoding="utf-8")
    with log.open("wb") as out, report.open(encoding="utf-8") as lines:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(program, report),
        )
        try:
            while process.poll() is None:
                take(lines, result, meter)
                time.sleep(0.1)
        finally:
            process.wait()
        take(lines, result, meter)
    return process.returncode


def take(lines, result, meter):
    """Take in the lines that are new, up to the last whole one."""
    while True:
        start = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(start)
            break
        meter.tell(result.take(json.loads(line)))
    meter.show(result)


def environment(program, report):
    """Return the environment of a program; that of tests names the plugin and its file."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    kept |= program.settings
    if program.tests:
        kept["CHECK_REPORT"] = str(report.resolve())
        kept["PYTEST_ADDOPTS"] = f"{kept.get('PYTEST_ADDOPTS', '')} -p check.report".strip()
    return kept


def broken(step, error):
    """Return the finding of a step that could not be run at all."""
    return Finding(step.name, f"its program must be there; {error}.", "Install it: see README.md.")
