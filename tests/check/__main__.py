"""Check everything, some steps, or one page; say what is wrong as it is found; end with a table."""

import argparse
import sys
from pathlib import Path

from check.run import Result, broken, run
from check.show import Meter
from check.steps import COVERED, LOGS, STEPS, of_page

NAMES = [step.name for step in STEPS]


def main():
    """Run the steps, and return 1 if anything was found."""
    given = arguments()
    steps = [step for step in STEPS if step.name in given.steps]
    if given.page:
        steps = [of_page(given.page)]
    LOGS.mkdir(exist_ok=True)
    COVERED.unlink(missing_ok=True)  # it tells of an earlier check
    meter, results = Meter(), []
    for step in steps:
        meter.begin(step)
        results.append(attempt(step, meter, skipping=not given.no_skips))
    meter.table(results)
    return int(any(result.findings for result in results))


def attempt(step, meter, *, skipping):
    """Run a step; one that cannot be run must not hide the others."""
    try:
        return run(step, meter, skipping=skipping)
    except OSError as error:
        result = Result(step)
        meter.tell(result.found([broken(step, error)]))
        return result


def arguments():
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="make check", description=__doc__)
    parser.add_argument("--steps", default="", help="some of them, between blanks; else all")
    parser.add_argument("--page", default="", help="a page below docs/, such as learn/backward.md")
    parser.add_argument("--no-skips", action="store_true", help="a skipped test is a finding")
    given = parser.parse_args()
    if given.page and given.steps.strip():
        parser.error("PAGE and STEPS cannot both choose; leave out one of them.")
    given.steps = given.steps.split() or NAMES
    if unknown := [name for name in given.steps if name not in NAMES]:
        parser.error(f"STEPS must be among {' '.join(NAMES)}; got {' '.join(unknown)}.")
    if given.page:
        given.page = f"{given.page.removeprefix('docs/').removesuffix('.md')}.md"
        if not Path("docs", given.page).is_file():
            parser.error(f"PAGE must be a file below docs/, such as index.md; got {given.page}.")
    return given


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nEnded before all was checked.")
