"""Change one place of the package at a time, and see that a test fails: `make mutants`.

What is changed, and into what, is mutmut's. It is run here, as mutmut itself leaves out functions
with a decorator and whatever stands outside of a function, which is half of this package. Added are
the removal of a decorator and of a statement. A mutant is a process of its own, forked when all but
the package is imported.

`survivors.toml` lists the mutants that no test fails for, and why none has to.
"""

import difflib
import importlib.machinery
import io
import os
import resource
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).resolve().parent
FILES = {  # the tests of each module, those that fail soonest first
    "axes": ["axes", "transform", "moments", "derivatives", "family", "folding"],
    "blocks": ["blocks", "accuracy", "moments", "transform"],
    "moments": ["moments", "accuracy", "blocks", "running", "sync", "transform"],
    "transform": ["transform", "accuracy", "blocks", "sync", "derivatives", "layer"],
    "running": ["running", "layer"],
}
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--assert=plain"]
OPTIONS += ["--hypothesis-profile=mutants"]
SECONDS, BYTES = 120, 4 * 2**30  # for one mutant; with more it counts as killed


def main():
    """Run all mutants of some modules, print the survivors, and compare them with the list."""
    sys.path.insert(0, str(TESTS.parent))  # the package of this folder, wherever another is installed
    modules = sys.argv[1:] or list(FILES)
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure is not explained
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, deadline=None, database=None, phases=phases
    )
    survivors, outcomes = set(), Counter()
    for module in modules:
        for mutant, outcome in outcomes_of(module):
            outcomes[module, outcome] += 1
            if outcome == "survived":
                survivors.add((module, mutant))
                print(f"{module}: {mutant}", flush=True)
    print(*(f"{module}: {count} {outcome}" for (module, outcome), count in outcomes.items()), sep="\n")
    new, gone = compare(survivors, listed(TESTS / "survivors.toml", modules))
    print(*(f"Survived, and is not in survivors.toml: {m}: {text}" for m, text in new), sep="\n")
    print(*(f"Stands in survivors.toml, but did not survive: {m}: {text}" for m, text in gone), sep="\n")
    sys.exit(bool(new or gone))


def compare(survivors, known):
    """Return the survivors that are not known, and the known that did not survive, in order."""
    return sorted(survivors - known), sorted(known - survivors)


def listed(file, modules):
    """Return the survivors that a file explains, as pairs of module and mutant."""
    groups = tomllib.loads(file.read_text(encoding="utf-8"))
    return {(m, text) for m in modules for group in groups.get(m, []) for text in group["mutants"]}


def tests_of(module):
    """Return the test files of a module."""
    return [str(TESTS / f"test_{name}.py") for name in FILES[module]]


def import_all_but_the_package(tests):
    """Import what the tests import, and forget what a mutant may change, so that forking is fast."""
    pytest.main(["--collect-only", "-qq", *OPTIONS, *tests])
    for name, module in list(sys.modules.items()):
        if name != "__main__" and TESTS.parent in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]


def outcomes_of(module):
    """Yield each mutant of a module, as text, with what became of it."""
    file = TESTS.parent / "refbn" / f"{module}.py"
    source = file.read_text(encoding="utf-8")
    changes = [lambda: source, *changes_of(source)]
    with redirect_stdout(io.StringIO()):
        import_all_but_the_package(tests_of(module))
    with tempfile.TemporaryDirectory() as folder:
        running = {}
        for number, change in enumerate(changes):
            running[fork(module, file, change, Path(folder, str(number)))] = number
            last = number == len(changes) - 1
            while len(running) >= (os.cpu_count() or 1) or (number == 0 or last) and running:
                pid, status = os.wait()
                done = running.pop(pid)
                text = described(source, Path(folder, str(done)).read_text(encoding="utf-8"))
                if done:
                    yield text, "killed" if status else "survived"
                elif status:
                    sys.exit(f"The tests of {module} fail without a change.")


def fork(module, file, change, result):
    """Start the tests of a module in a process of its own, and return its number."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        mutant = change()
        result.write_text(mutant, encoding="utf-8")
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        loaded = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader, name):
            if name == f"refbn.{module}":
                return compile(mutant, file, "exec", dont_inherit=True)
            return loaded(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code
        code = any(pytest.main([*OPTIONS, test]) for test in tests_of(module))
    finally:
        os._exit(int(code))


def changes_of(source):
    """Return functions that each return the source with one change."""
    import libcst as cst  # noqa: PLC0415 (only `make mutants` installs it, with mutmut)
    from mutmut.mutation.mutators import mutation_operators  # noqa: PLC0415

    def without_decorators(node):
        if node.decorators:
            yield node.with_changes(decorators=[])

    def without_statement(node):
        if isinstance(node.body[0], cst.Expr) and not isinstance(node.body[0].value, cst.BaseString):
            yield node.with_changes(body=[cst.Pass()])

    operators = [
        *mutation_operators,
        (cst.FunctionDef, without_decorators),
        (cst.SimpleStatementLine, without_statement),
    ]

    def walk(node, message):
        if not (isinstance(node, cst.BaseString) and message):
            for kind, operator in operators:
                if isinstance(node, kind):
                    yield from ((node, other) for other in operator(node))
        for child in node.children:
            if not isinstance(child, cst.Annotation | cst.Import | cst.ImportFrom):
                yield from walk(child, message or isinstance(node, cst.Raise))

    tree = cst.parse_module(source)
    return [lambda a=a, b=b: tree.deep_replace(a, b).code for a, b in walk(tree, message=False)]


def described(source, mutant):
    """Return the lines that differ: those of the source, an arrow, and those of the mutant."""
    lines = list(difflib.ndiff(source.splitlines(), mutant.splitlines()))
    sides = (" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return " → ".join(sides)


if __name__ == "__main__":
    main()
