"""What is shown: the findings as they come, how far a step is, and the table at the end."""

import sys

QUIET = 60  # seconds between two lines on how far a step is, where no line can be written over
RED, GREEN, PLAIN = "\033[31m", "\033[32m", "\033[0m"
HEAD = ("step", "what it holds", "passed", "failed", "skipped", "seconds")


class Meter:
    """Writes to the terminal, or to a file, where nothing is coloured or written over."""

    def __init__(self, out=sys.stdout):
        """Take the file to write to."""
        self.out = out
        self.terminal = out.isatty()
        self.shown = 0.0  # when a line was last written, in seconds of the step
        self.told = {}  # the findings by their keys, in the order in which they came

    def begin(self, step):
        """Say that a step begins."""
        self.shown = 0.0
        if not self.terminal:
            print(f"{step.name}: {step.holds} …", file=self.out, flush=True)

    def show(self, result):
        """Say how far a step is."""
        done, failed = sum(result.counts.values()), result.counts["failed"]
        of = f" {done} of {result.tests}" if result.tests else ""
        bad = f", {failed} failed" if failed else ""
        line = f"{result.step.name}:{of}{bad} ({clock(result.seconds)})"
        if self.terminal:
            print(f"\r{line}\033[K", end="", file=self.out, flush=True)
        elif result.seconds - self.shown > QUIET:
            self.shown = result.seconds
            print(line, file=self.out, flush=True)

    def clear(self):
        """Take away the line on how far a step is."""
        if self.terminal:
            print("\r\033[K", end="", file=self.out, flush=True)

    def tell(self, findings):
        """Write findings, a line each, unless another step has found them too."""
        new = {finding.key: finding for finding in findings if finding.key not in self.told}
        self.told |= new
        if new:
            self.clear()
        for finding in new.values():
            print(finding, file=self.out, flush=True)

    def table(self, results):
        """Write the table of all steps, the sum, and the findings in short once more."""
        rows = [row(result) for result in results]
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        print(file=self.out)
        print(aligned(HEAD, widths), file=self.out)
        for result, cells in zip(results, rows, strict=True):
            print(self.painted(aligned(cells, widths), bool(result.findings)), file=self.out)
        number = len(self.told)
        said = f"{number} finding{'s' * (number != 1)}, told above:" if number else "All is well."
        print(f"\n{self.painted(said, bool(number))}", file=self.out)
        for finding in self.told.values():  # the end of a long log is what people get to see
            print(finding.short, file=self.out)
        self.out.flush()

    def painted(self, text, bad):
        """Return a text, coloured on a terminal."""
        return f"{RED if bad else GREEN}{text}{PLAIN}" if self.terminal else text


def row(result):
    """Return a row of the table; a failure is a test that failed, or else a finding."""
    counts = result.counts
    failed = max(counts["failed"], len(result.findings))
    numbers = (counts["passed"], failed, counts["skipped"], round(result.seconds))
    return (result.step.name, result.step.holds, *map(str, numbers))


def aligned(cells, widths):
    """Return a line of a table: words to the left, numbers to the right."""
    padded = [
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def clock(seconds):
    """Return minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
