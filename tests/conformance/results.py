"""What `make conformance` finds: recorded case by case, kept in a file of the package.

The file is written by `make conformance WRITE=1` and by nothing else. Without that, a run must find
what the file says. A difference is kept with one digit, rounded up, with room to spare, as the
others are those of one machine.
"""

import hashlib
import json
import math
import tomllib
from importlib.metadata import version
from pathlib import Path

from conformance.tolerances import TOLERANCES

ROOT = Path(__file__).parents[2]
FILE = ROOT / "refbn/conformance.json"
HEADROOM = 1.5  # other processors sum in another order; rounding errors then differ by so much
ROUNDING = 1e-6  # what is smaller may be 0 on another machine; the comparison itself bounds it
STALE = 10  # by this factor no rounding error differs from one machine to the other


def bound(difference):
    """Return a number of one digit that bounds a difference, with headroom; 0 for none at all."""
    if not difference:
        return 0.0
    digits, exponent = f"{HEADROOM * difference:.12e}".split("e")
    return float(f"{math.ceil(float(digits))}e{exponent}")


def pins():
    """Return the version that pyproject.toml asks for, by peer; each is pinned exactly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = (need.split("==") for need in project["optional-dependencies"]["peers"])
    return dict(need for need in pinned if need[1:])


def installed():
    """Return the version that is installed, by peer; without the name of a build, such as +cpu."""
    return {name: version(name).partition("+")[0] for name in pins()}


DTYPES = tuple(TOLERANCES)


class Results:
    """The results of a run, in the order of the cases."""

    def __init__(self):
        self.found = {}

    def record(self, case, peer, **facts):
        """Take down what was found; what is named by a dtype is a difference, kept as its bound."""
        if (case, peer) in self.found:
            raise ValueError(f"{case!r} of {peer!r} was recorded before; name the case otherwise.")
        kept = {n: bound(v) if n in DTYPES or n == "largest" else v for n, v in facts.items()}
        self.found[case, peer] = {"case": case, "peer": peer} | kept

    def rows(self):
        """Return the results by case, in an order that does not hang on that of the tests."""
        return [self.found[key] for key in sorted(self.found)]

    def content(self):
        """Return what the file holds."""
        return {"versions": installed(), "tolerances": TOLERANCES, "results": self.rows()}


def digest(content):
    """Return a digest of versions and results."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(content, path=FILE):
    """Write the file, one result a line."""
    rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in content["results"])
    head = {"digest": digest(content)} | {n: content[n] for n in ("versions", "tolerances")}
    head = json.dumps(head, indent=2)
    text = head.removesuffix("\n}") + ',\n  "results": [\n' + rows + "\n  ]\n}\n"
    path.write_text(text, encoding="utf-8")


def read(path=FILE):
    """Return the digest of the file, and its versions and results."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content.pop("digest"), content


def stale(kept, found):
    """Return what the file says otherwise than a run found it, as readable lines."""
    old, new = ({(r["case"], r["peer"]): r for r in c["results"]} for c in (kept, found))
    missing = [f"{case}, {peer}: in the file only" for case, peer in old.keys() - new.keys()]
    added = [f"{case}, {peer}: not in the file" for case, peer in new.keys() - old.keys()]
    changed = [
        f"{case}, {peer}: {name} is {b!r}, in the file {a!r}"
        for case, peer in old.keys() & new.keys()
        for name in old[case, peer].keys() | new[case, peer].keys()
        if not _same(a := old[case, peer].get(name), b := new[case, peer].get(name))
    ]
    heads = [
        f"{name}: {found[name]}, in the file {kept[name]}"
        for name in ("versions", "tolerances")
        if found[name] != kept[name]
    ]
    return heads + sorted(missing + added + changed)


def _same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b) < ROUNDING or (min(a, b) > 0 and 1 / STALE < a / b < STALE)
    return a == b
