"""The package as a whole: what it imports, how it is documented, and how large it is."""

import ast
import inspect
import io
import pkgutil
import subprocess
import sys
import tokenize
from importlib import import_module
from pathlib import Path

import pytest

import refbn
import refbn.diagnose

FILES = sorted(Path(refbn.__file__).parent.glob("*.py"))
DIAGNOSE = sorted(Path(refbn.diagnose.__file__).parent.glob("*.py"))
MODULES = [import_module(module.name) for module in pkgutil.walk_packages(refbn.__path__, "refbn.")]
FRONTS = (refbn, refbn.diagnose)  # these show what other modules have
# refbn.axes is how the package talks to itself; gradcheck's functions are public by their module
PUBLIC = [
    getattr(owner, name)
    for owner in (refbn, refbn.gradcheck, refbn.conventions, refbn.diagnose)
    for name, value in vars(owner).items()
    if (owner in FRONTS or getattr(value, "__module__", "") == owner.__name__)
    and (inspect.isfunction(value) or inspect.isclass(value))
    and not name.startswith("_")
]
METHODS = [
    method
    for value in PUBLIC
    if inspect.isclass(value)
    for name, method in inspect.getmembers(value, callable)
    if getattr(method, "__module__", None) == value.__module__
    and (not name.startswith("_") or name == "__call__")
    and name in vars(value)
    and method.__name__ != "<lambda>"  # a field's default
]
NAMES = """
BatchNorm Cache DoubleGradients Gradients Line Moments NormCache RenormCache RunningStatistics
SyncBatchNorm
batch_norm_backward batch_norm_double_backward batch_norm_infer batch_norm_infer_backward
batch_norm_infer_double_backward batch_norm_infer_jvp batch_norm_jvp batch_norm_train
batch_renorm_backward batch_renorm_train chunked_moments chunked_population_statistics
cumulative_average debiased_exponential_average direction_and_length exponential_average
fold_into_next fold_into_previous ghost_batch_norm_backward ghost_batch_norm_train group_norm
identity_parameters instance_norm layer_norm norm_backward normalize padding_value pooled_statistics population_statistics rms_norm
scale_and_shift sync_batch_norm_backward sync_batch_norm_train sync_moments weight_norm weight_norm_backward
"""
DIAGNOSE_NAMES = "Broken Lacking Layout Report Start Subject Target check"
# Lines of code in the bodies of functions and classes. Whoever needs more shows that it is worth it.
LINES = {
    "__init__": 0,
    "axes": 30,
    "blocks": 105,
    "chunked": 70,
    "conventions": 150,
    "derivatives": 70,
    "exchange": 55,
    "family": 50,
    "folding": 30,
    "gradcheck": 35,
    "layer": 130,
    "moments": 60,
    "running": 60,
    "sync": 50,
    "sync_layer": 20,
    "transform": 140,
    "variants": 50,
}
WAS_IMPORTED = """
import sys
import copy, dataclasses  # with the modules of Python that these need
import numpy
before = set(sys.modules)
import refbn
print(*sorted(set(sys.modules) - before))
"""


# Worked example by hand


def test_the_public_names():
    """These are the names of the package, and there are no others."""
    modules = {module.__name__.removeprefix("refbn.") for module in MODULES}
    own = {name for name in vars(refbn) if not name.startswith("_")} - modules
    assert own == set(NAMES.split())
    fronts = {name for name in vars(refbn.diagnose) if not name.startswith("_")}
    modules = {file.stem for file in DIAGNOSE}
    assert fronts - modules == set(DIAGNOSE_NAMES.split())
    others = 4 + 2  # those of gradcheck and conventions
    assert len(PUBLIC) == len(NAMES.split()) + len(DIAGNOSE_NAMES.split()) + others


# Laws


def test_the_import_brings_numpy_and_little_else():
    """Importing the package in a fresh interpreter imports NumPy, itself and next to nothing."""
    run = subprocess.run(
        [sys.executable, "-c", WAS_IMPORTED],
        cwd=FILES[0].parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    others = {name for name in run.stdout.split() if name.split(".")[0] not in {"numpy", "refbn"}}
    assert "refbn" in run.stdout.split()
    assert "refbn.diagnose" not in run.stdout.split()  # it is for who asks for it
    assert others <= {"__future__", "binascii"}


@pytest.mark.parametrize("value", [*PUBLIC, *METHODS], ids=lambda value: value.__qualname__)
def test_every_public_name_is_documented(value):
    """What is public has a docstring: one line, then what goes in and what comes out."""
    doc = inspect.getdoc(value) or ""
    assert doc.partition("\n")[0].endswith(".")
    if inspect.isclass(value):
        assert "\nAttributes:\n" in doc
        return
    parameters = [
        name for name in inspect.signature(value).parameters if name not in {"self", "cls"}
    ]
    arguments = section(doc, "Args")
    assert [name.lstrip("*") for name in arguments] == parameters
    returns = inspect.signature(value).return_annotation not in {None, "None"}
    assert bool(section(doc, "Returns") or section(doc, "Yields")) == returns
    assert bool(section(doc, "Raises")) or "raise " not in inspect.getsource(value)


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: value.__qualname__)
def test_what_is_computed_has_an_example(value):
    """Every function and every class that computes shows an example."""
    example = ">>> " in (inspect.getdoc(value) or "")
    without = {refbn.Cache, refbn.Gradients, refbn.DoubleGradients, refbn.gradcheck.adjoint_errors}
    without |= {getattr(refbn.diagnose, name) for name in ("Broken", "Lacking", "Start", "Target")}
    assert example or value in without


@pytest.mark.parametrize("value", [*MODULES, refbn], ids=lambda module: module.__name__)
def test_every_module_says_what_it_is_for(value):
    """A module starts with a sentence."""
    assert (value.__doc__ or "").partition("\n")[0].endswith((".", "?"))


def test_the_examples_are_run(pytestconfig):
    """Together with the tests, pytest runs the examples in the package's docstrings."""
    assert "refbn" in pytestconfig.getini("testpaths")
    assert "--doctest-modules" in pytestconfig.getini("addopts")


def test_the_package_is_small(record_property, capsys):
    """Each module has at most so many lines of code in its bodies, and all of them below 1070."""
    counts = {file.stem: count_lines(file.read_text(encoding="utf-8")) for file in FILES}
    table = "\n".join(
        f"{name:12} {bodies:4} lines in bodies, {others:4} in signatures, imports, data, errors"
        for name, (bodies, others) in counts.items()
    )
    record_property("lines of code", table)
    with capsys.disabled():
        print(f"\n{table}")  # noqa: T201 (for whoever reads the log)
    assert counts.keys() == LINES.keys()
    assert {name: bodies for name, (bodies, _) in counts.items() if bodies > LINES[name]} == {}
    assert sum(bodies for bodies, _ in counts.values()) < 1070


@pytest.mark.parametrize("file", [*FILES, *DIAGNOSE], ids=lambda file: file.name)
def test_functions_are_short(file):
    """No function body has more than 30 lines of code."""
    source = file.read_text(encoding="utf-8")
    lines = lines_of_code(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = [line for line in lines if node.body[0].lineno <= line <= node.end_lineno]
            assert len(body) <= 30, node.name


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.__name__.count(".") == 1], ids=lambda module: module.__name__
)
def test_no_name_hides_a_module(module):
    """No public object has the name of a module, so `refbn.layer` is what it says."""
    assert getattr(refbn, module.__name__.removeprefix("refbn.")) is module


DIAGNOSE_ORDER = [
    "layout",
    "subject",
    "case",
    "declared",
    "limit",
    "infer",
    "laws",
    "museum",
    "words",
    "roles",
    "calls",
    "functions",
    "objects",
    "reference",
    "torch_module",
    "keras_layer",
    "onnx_file",
    "adapters",
    "findings",
    "recognise",
    "lines",
    "report",
    "diagnosis",
    "testing",
    "__init__",
    "__main__",
]


@pytest.mark.parametrize("file", DIAGNOSE, ids=lambda file: file.name)
def test_modules_of_the_diagnosis_know_only_those_before_them(file):
    """Those of the diagnosis too can be read in one order."""
    before = set(DIAGNOSE_ORDER[: DIAGNOSE_ORDER.index(file.stem)])
    imports = [n for n in ast.walk(ast.parse(file.read_bytes())) if isinstance(n, ast.ImportFrom)]
    own = "refbn.diagnose."
    assert {n.module.removeprefix(own) for n in imports if n.module.startswith(own)} <= before


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_modules_know_only_those_before_them(file):
    """The modules can be read in one order, each knowing only those before it."""
    order = [
        "axes",
        "blocks",
        "moments",
        "transform",
        "derivatives",
        "running",
        "layer",
        "folding",
        "family",
        "variants",
        "exchange",
        "sync",
        "sync_layer",
        "chunked",
        "conventions",
        "gradcheck",
        "__init__",
    ]
    beside = {"transform", "derivatives"}
    independent = {"running": beside, "gradcheck": set(order)}
    before = set(order[: order.index(file.stem)]) - independent.get(file.stem, set())
    imports = [n for n in ast.walk(ast.parse(file.read_bytes())) if isinstance(n, ast.ImportFrom)]
    known = {n.module.removeprefix("refbn.") for n in imports if n.module.startswith("refbn.")}
    assert known <= before


# Edges and errors


def test_lines_of_code_are_counted_rightly():
    """Docstrings, comments and empty lines do not count; a statement on two lines counts twice."""
    doc = '"""Doc\n    more."""'
    source = f"{doc}\n\n# why\ndef f(a):\n    {doc}\n    return (a +  # why\n        1)\n"
    assert lines_of_code(source) == [5, 8, 9]
    assert count_lines(
        "import os\nA = 1\n" + source + "def g(\n  a):\n    raise E(\n      a)\n"
    ) == (2, 7)


# Oracles


@pytest.mark.parametrize("file", [*FILES, *DIAGNOSE], ids=lambda file: file.name)
def test_no_message_is_untested(file):
    """Every piece of text in every error that the package raises stands in a test of it."""
    tests = Path(__file__).parent
    tested = {
        text.replace("\\", "")  # of a pattern
        for folder in (tests, tests / "conformance")
        for test in folder.glob("test_*.py")
        for text in texts(parsed(test))
    }
    findings = {"Broken", "Lacking"}  # what the diagnosis finds is no error; laws have their tests
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Raise) and called(node.exc) not in findings:
            for text in texts(node):
                assert any(text in other for other in tested), text


def called(node):
    """Return the name of what is called, of an expression that is a call."""
    return getattr(getattr(node, "func", None), "id", None)


def parsed(file):
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def texts(tree):
    """Return all texts of more than a word below a node, cut where a value is put in."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]


def count_lines(source):
    """Return how many lines of code stand in bodies, and how many around and in errors."""
    lines, others = set(lines_of_code(source)), set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise):
            others.update(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.FunctionDef):
            first = min(node.lineno, *(d.lineno for d in [*node.decorator_list, node]))
            others.update(range(first, node.body[0].lineno))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            others.update(range(node.lineno, node.end_lineno + 1))
    return len(lines - others), len(lines & others)


def lines_of_code(source):
    """Return the numbers of the lines that hold something but docstring and comment."""
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in ignored | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return sorted(lines)


def section(doc, title):
    """Return the entries of a section of a Google style docstring: what stands before a colon."""
    _, _, rest = f"\n{doc}\n".partition(f"\n{title}:\n")
    entries = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            entries.append(line.strip().partition(":")[0])
    return entries
