"""Change one place of the package at a time, and see that a test fails: `make mutants`.

What is changed, and into what, is mutmut's. It is run here, because mutmut itself leaves out every
function with a decorator and all that stands outside of functions: half of this package. Added are
the loss of a decorator and that of a statement. Each mutant is tested in a process of its own, which
is forked when all but the package is imported.

`survivors.toml` lists the mutants that no test fails for, and says why none has to.
"""

import difflib
import importlib.machinery
import io
import os
import resource
import signal
import sys
import tomllib
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
SECONDS, BYTES = 120, 4 * 2**30  # for one mutant; one that needs more counts as killed


def main():
    """Run all mutants of some modules, print the survivors, and compare them with the list."""
    sys.path.insert(0, str(TESTS.parent))  # wherever another refbn may be installed
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # an example need not be small
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, deadline=None, database=None, phases=phases
    )
    modules = sys.argv[1:] or list(FILES)
    survivors = {(m, text) for m in modules for text in survivors_of(m)}
    new, gone = compare(survivors, listed(TESTS / "survivors.toml", modules))
    for module, text in new:
        print(f"No test fails for it, and survivors.toml does not say why: {module}: {text}")
    for module, text in gone:
        print(f"survivors.toml lists what does not survive: {module}: {text}")
    sys.exit(bool(new or gone))


def compare(survivors, known):
    """Return the survivors that are not known, and the known that did not survive, in order."""
    return sorted(survivors - known), sorted(known - survivors)


def listed(file, modules):
    """Return the survivors that a file explains, as pairs of module and mutant."""
    groups = tomllib.loads(file.read_text(encoding="utf-8"))
    return {(m, text) for m in modules for group in groups.get(m, []) for text in group["mutants"]}


def described(source, mutant):
    """Return the lines that differ: those of the source, an arrow, and those of the mutant."""
    lines = list(difflib.ndiff(source.splitlines(), mutant.splitlines()))
    sides = (" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return " → ".join(sides)


def survivors_of(module):
    """Yield each mutant of a module that no test fails for, as text."""
    file = TESTS.parent / "refbn" / f"{module}.py"
    source = file.read_text(encoding="utf-8")
    import_all_but_the_package(module)
    if os.waitpid(fork(module, file, source), 0)[1]:
        sys.exit(f"The tests of {module} fail without a change.")
    running, outcomes = {}, []
    for mutant in [*mutants_of(source), None]:  # after the last, all are waited for
        while running and (mutant is None or len(running) == os.cpu_count()):
            pid, status = os.wait()
            text = described(source, running.pop(pid))
            outcomes.append(bool(status))
            if not status:
                print(f"{module}: {text}", flush=True)
                yield text
        if mutant is not None:
            running[fork(module, file, mutant)] = mutant
    print(f"{module}: {len(outcomes)} mutants, {sum(outcomes)} killed", flush=True)


def import_all_but_the_package(module):
    """Import what the tests import, and forget what a mutant may change, so that a fork is quick."""
    with redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-qq", *OPTIONS, *tests_of(module)])
    for name, loaded in list(sys.modules.items()):
        parents = Path(getattr(loaded, "__file__", None) or "/").parents
        if TESTS.parent in parents and name != "__main__":
            del sys.modules[name]


def tests_of(module):
    """Return the test files of a module."""
    return [str(TESTS / f"test_{name}.py") for name in FILES[module]]


def fork(module, file, code):
    """Run the tests of a module, made of other code, in a process of its own; return its number."""
    if pid := os.fork():
        return pid
    failed = True
    try:
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        unchanged = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader, name):
            if name == f"refbn.{module}":
                return compile(code, file, "exec", dont_inherit=True)
            return unchanged(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code
        failed = any(pytest.main([*OPTIONS, test]) for test in tests_of(module))
    finally:
        os._exit(failed)


def mutants_of(source):
    """Yield the source with one change, for each place and each change."""
    import libcst as cst  # noqa: PLC0415 (only `make mutants` installs it, with mutmut)
    from mutmut.mutation.mutators import mutation_operators  # noqa: PLC0415

    def without_decorators(node):
        return [node.with_changes(decorators=[])] if node.decorators else []

    def without_call(node):
        return [cst.Expr(cst.Name("None"))] if isinstance(node.value, cst.Call) else []

    own = [(cst.FunctionDef, without_decorators), (cst.Expr, without_call)]
    # an error's text is tested whole, see test_package.py, and what decides about it is changed
    untouched = (cst.Annotation, cst.Import, cst.ImportFrom, cst.Raise)
    tree = cst.parse_module(source)
    for node in places(tree, untouched):
        for kind, operator in [*mutation_operators, *own]:
            if isinstance(node, kind):
                yield from (tree.deep_replace(node, change).code for change in operator(node))


def places(node, untouched):
    """Yield a node and all that it is made of, but for some kinds."""
    if not isinstance(node, untouched):
        yield node
        for child in node.children:
            yield from places(child, untouched)


if __name__ == "__main__":
    main()
