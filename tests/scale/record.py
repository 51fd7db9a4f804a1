"""What synchronising costs: measured over real ranks, kept in a file of the package.

The file is written by `make scale WRITE=1` and by nothing else. A time is that of one machine on one
day, so no test compares it with another.
"""

import json
import os
import pickle
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench.report import processor

import refbn
from scale.launch import start

FILE = Path(__file__).parents[2] / "refbn/cost.json"
RANKS = range(1, 9)
RUNS = 5  # of what is kept; other programs on the machine slow a run down


def measure(size):
    """Return by name what so many ranks measure."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "found.pickle"
        done = start("timings.py", size, file)
        if done.returncode:
            raise SystemExit(f"{size} ranks must come to their end; they printed:\n{done.stdout}")
        return pickle.loads(file.read_bytes())  # noqa: S301 (it was written just now)


def quickest(runs):
    """Return what each number of ranks measured in the quickest of so many runs."""
    found = [[measure(size) for size in RANKS] for _ in range(runs)]
    return [min(of_size, key=slowness) for of_size in zip(*found, strict=True)]


def slowness(measured):
    """Return the seconds of all reductions of a run, by their medians."""
    return sum(row["seconds"][1] for row in measured["reductions"])


def together(measured):
    """Return by name the rows of all numbers of ranks, with three digits of each time."""
    names = ("reductions", "merges", "steps", "handling", "messages")
    return {n: [short(row) for some in measured for row in some.get(n, ())] for n in names}


def short(row):
    """Return a row whose times have three digits."""
    return {
        name: [float(f"{v:.3g}") for v in value]
        if isinstance(value, list) and isinstance(value[0], float)
        else value
        for name, value in row.items()
    }


def setting(runs):
    """Return where and when it is measured, and of how many runs the quickest is kept."""
    packages = {"numpy": np.__version__, "refbn": refbn.__version__}
    packages |= {name: version(name) for name in ("mpi4py", "mpich")}
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "runs": runs,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()}, {platform.machine()}",
        "versions": {"Python": platform.python_version()} | packages,
    }


def write(content, path=FILE):
    """Write the file, one row a line."""
    path.write_text(text(content) + "\n", encoding="utf-8")


def text(content):
    """Return the file's text: what is a list of rows has a line for each."""
    entries = []
    for name, value in content.items():
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(row)}" for row in value)
            entries.append(f'  "{name}": [\n{rows}\n  ]')
        else:
            entries.append(f'  "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(entries) + "\n}"
