"""Measure what synchronising costs over 1 to 8 local ranks: print tables, and write if asked."""

import argparse

from bench.report import digits, table

from scale.record import FILE, RUNS, quickest, setting, together, write


def times(quartiles):
    """Return a median and its quartiles, in microseconds."""
    low, median, high = (digits(1e6 * s) for s in quartiles)
    return f"{median} ({low} to {high})"


def tables(found):
    """Yield each table of what was measured, as Markdown."""
    for name, rows in found.items():
        cells = [[times(v) if is_time(v) else str(v) for v in row.values()] for row in rows]
        yield f"{name}\n\n{table(list(rows[0]), cells)}\n"


def is_time(value):
    """Whether this is a list of quartiles."""
    return isinstance(value, list) and isinstance(value[0], float)


def main():
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="make scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write refbn/{FILE.name}")
    wanted = parser.parse_args().write
    where = setting(RUNS if wanted else 1)
    print(f"{where['processor']}, {where['cores']} cores; medians and quartiles in microseconds\n")
    found = together(quickest(where["runs"]))
    print("\n".join(tables(found)))
    if wanted:
        write(where | found)
        print(f"Written: {FILE.name}")


if __name__ == "__main__":
    main()
