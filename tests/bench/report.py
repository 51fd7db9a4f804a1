"""The tables: what was measured, which bars are met, and the page of the site."""

import platform
from datetime import UTC, datetime
from math import floor, log10, prod
from pathlib import Path

from bench.measure import FLOOR

IMAGES = (64, 64, 56, 56), (32, 256, 28, 28)
SHAPES = (*IMAGES, (4096, 512), (256, 128))

TORCH = "PyTorch"
AGAINST_TORCH = {  # at most so many times the time of PyTorch
    (64, 64, 56, 56): {"forward": 1.0, "both": 1.3},
    (32, 256, 28, 28): {"forward": 1.0, "both": 1.3},
    (4096, 512): {"forward": 3.0},
}
AGAINST_NUMPY = 2.0  # at least so many times as fast as everybody who runs on NumPy
MEMORY = 16.0  # MiB, at most, on images
UNMEASURED = {TORCH}  # tracemalloc does not see what is allocated outside of Python and NumPy

MIB = 2**20
SHORT = 1e-3  # seconds; where refbn takes less, times are in the short unit
LONG_UNIT, SHORT_UNIT = ("milliseconds", 1e3), ("microseconds", 1e6)
PASSES = "forward", "both"


def bars(results):
    """Yield each bar: the shape, the passes, the bar, what was measured, and whether it is met."""
    for shape, row in results.items():
        for what in PASSES:
            times = {n: getattr(r, what)[1] for n, r in row.items() if getattr(r, what) is not None}
            ours, torch = times.pop("refbn"), times.pop(TORCH, None)
            limit = AGAINST_TORCH.get(shape, {}).get(what)
            if torch and limit:
                bar, ratio = f"at most {limit} × {TORCH}", ours / torch
                yield shape, what, bar, f"{ratio:.2f} ×", ratio <= limit
            times.pop(FLOOR, None)
            peer = min(times, key=times.get)
            bar, ratio = (
                f"at least {AGAINST_NUMPY:g} × faster than any on NumPy",
                times[peer] / ours,
            )
            yield shape, what, bar, f"{ratio:.2f} × ({peer})", ratio >= AGAINST_NUMPY
            if shape in IMAGES:
                extra = getattr(row["refbn"], f"{what}_memory") / MIB
                bar = f"at most {MEMORY:g} MiB of extra memory"
                yield shape, what, bar, f"{extra:.1f} MiB", extra <= MEMORY


def tables(results):
    """Return all that was measured, as Markdown that can also be read in a terminal."""
    rows = [
        (unbroken(shape), what, bar, figure, "met" if met else "**missed**")
        for shape, what, bar, figure, met in bars(results)
    ]
    parts = [
        "## The bars { #bars }",
        "What refbn is meant to reach, and whether it did. Both is forward and backward.",
        table(("shape", "passes", "bar", "measured", "state"), rows, left=5),
    ]
    for shape, row in results.items():
        size = 4 * prod(shape) / MIB
        unit, factor = SHORT_UNIT if row["refbn"].forward[1] < SHORT else LONG_UNIT
        lines = [line(name, result, row["refbn"], factor) for name, result in row.items()]
        parts += [
            heading(shape),
            f"One array has {size:.3g} MiB. Times are in {unit}.",
            table(("", "forward", "÷ refbn", "both", "÷ refbn"), lines),
        ]
    parts += [
        "## Extra memory { #memory }",
        "MiB beyond inputs and outputs: forward / both.",
        memory(results),
    ]
    return "\n\n".join(parts) + "\n"


def heading(shape):
    """Return the heading of a shape, with an id that stays."""
    return f"## {shape} {{ #shape-{'-'.join(map(str, shape))} }}"


def line(name, result, ours, factor):
    """Return the cells of one contender, with its seconds times a factor."""
    cells = [name]
    for what in PASSES:
        seconds = getattr(result, what)
        if seconds is None:
            cells += ["", ""]
        else:
            low, median, high = (digits(factor * s) for s in seconds)
            ratio = digits(seconds[1] / getattr(ours, what)[1])
            cells += [unbroken(f"{median} ({low} to {high})"), ratio]
    return cells


def memory(results):
    """Return the table of the extra memory, one column for each shape."""
    rows = []
    for name in next(iter(results.values())):
        if name not in UNMEASURED:
            pairs = [(row[name].forward_memory, row[name].both_memory) for row in results.values()]
            cells = (" / ".join(f"{b / MIB:.1f}" for b in p if b is not None) for p in pairs)
            rows.append([name, *map(unbroken, cells)])
    return table(("", *map(unbroken, results)), rows)


def unbroken(value):
    """Return a value as a text that stays on one line."""
    return str(value).replace(" ", "\N{NO-BREAK SPACE}")


def digits(value):
    """Return a positive number with three digits, or more where it has more before the point."""
    return f"{value:.{max(0, 2 - floor(log10(value)))}f}"


def table(header, rows, left=1):
    """Return a Markdown table, aligned; all but the first columns hold numbers, to the right."""
    columns = []
    for i, cells in enumerate(zip(header, *rows, strict=True)):
        width = max(map(len, cells))
        align = str.ljust if i < left else str.rjust
        head, *rest = (align(cell, width) for cell in cells)
        columns.append([head, align(":", width, "-"), *rest])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True))


def setting(versions):
    """Return the table of what it ran on."""
    rows = [
        ("day", datetime.now(UTC).date().isoformat()),
        ("processor", f"{processor()}, one thread"),
        ("system", f"{platform.system()}, {platform.machine()}"),
        ("Python", platform.python_version()),
        *versions.items(),
    ]
    return table(("", "measured on"), rows, left=2)


def processor():
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


PAGE = """\
<!-- numbers: written by make bench -->

# Benchmark { #benchmark }

How long a training step of batch norm takes, and how much memory: `refbn` beside PyTorch, three other implementations on NumPy, and the lines that every tutorial has.

!!! note "A snapshot"

    These numbers were measured once, on the day and the machine below. The build of this site does not compute them again. `make bench` measures on your machine, and prints the same tables.

{setting}

{tables}
## What is measured { #method }

- Everybody gets the same numbers in float32, with `gamma` and `beta`, in training mode, on one thread. Channels are along axis 1; numpy-ml gets arrays with the channels last, made beforehand, as it knows no others. Keras is told `axis=1`.
- PyTorch, ONNX, Keras and numpy-ml update running statistics in their forward pass, a few numbers per channel; `refbn` has another function for that. The ONNX reference, its `ReferenceEvaluator`, and Keras on NumPy have no backward pass. PyTorch builds its graph in the forward pass.
- Before anybody is timed, each `y` and each gradient is compared with those of `refbn`. Only the memory copy computes something else: it copies `x`, and then `dy`.
- In each round everybody has one turn, in a new order. A time is the median over {rounds} rounds, and in parentheses stand the quartiles; far apart, they tell of a busy machine. "÷ refbn" divides it by the time of `refbn`: below 1 is faster than `refbn`.
- Every call allocates its results anew, as in use. NumPy asks the system for huge pages, which makes that cheaper on Linux; PyTorch does so if it is told to, with `THP_MEM_ALLOC_ENABLE=1`. Here everybody runs as installed.
- Extra memory is the most that is held at once beyond inputs and outputs: `x`, `dy` and the parameters, `y` and the gradients. What the forward pass keeps for the backward pass counts. It is what `tracemalloc` sees: the memory of Python and NumPy, not that of PyTorch.

`make bench PAGE=docs/reference/benchmark.md` writes this page again.
"""


def page(results, versions, rounds):
    """Return the page of the site."""
    text = PAGE.replace("{setting}", setting(versions)).replace("{tables}", tables(results))
    return text.replace("{rounds}", str(rounds))
