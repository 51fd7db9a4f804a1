"""Run the benchmark: print its tables, and write the page of the site if asked."""

import argparse
from importlib.metadata import version
from math import prod
from pathlib import Path

import numpy as np
import threadpoolctl

import refbn
from bench.contenders import CONTENDERS, Case
from bench.measure import measure
from bench.peers import PACKAGES, PEERS
from bench.report import SHAPES, page, setting, tables

ROUNDS = 25
SMALL = 2**19  # a turn at fewer values than this is made of several calls


def main():
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PATH", help="the page to write")
    target = parser.parse_args().write
    if any(pool["num_threads"] != 1 for pool in threadpoolctl.threadpool_info()):
        raise SystemExit("Everybody must have one thread. Call make bench, which sees to that.")
    versions = {"refbn": refbn.__version__, "numpy": np.__version__}
    versions |= {name: version(name) for name in PACKAGES}
    print(setting(versions), flush=True)
    results = {}
    for shape in SHAPES:
        print(f"Measuring {shape} …", flush=True)
        case = Case.of(shape)
        contenders = {name: make(case) for name, make in (CONTENDERS | PEERS).items()}
        results[shape] = measure(contenders, ROUNDS, calls=max(1, SMALL // prod(shape)))
    print(f"\n{tables(results)}")
    if target:
        target.write_text(page(results, versions, ROUNDS), encoding="utf-8")
        print(f"Written: {target}")


if __name__ == "__main__":
    main()
