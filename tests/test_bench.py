"""The benchmark measures what it says; how fast anything is, no test asks."""

import platform
import re
from pathlib import Path

import numpy as np
import pytest
from bench.contenders import CONTENDERS, EPS, Case, Contender, reference, textbook
from bench.measure import Result, extra_memory, measure, outcome, take_turns, turn
from bench.report import PAGE, SHAPES, bars, digits, heading, page, processor, table, tables
from helpers import whole

import refbn

IMAGES = SHAPES[0]
MIB = 2**20
SITE = Path(__file__).parents[1] / "docs/reference/benchmark.md"


@pytest.fixture
def case():
    """Return a case so small that it takes no time."""
    return Case.of((8, 3, 4, 4))


def result(forward, both=None, memory=0):
    """Return a Result with these medians, and quartiles in no proportion to them."""
    quartiles = [
        None if t is None else np.array([t - t**2 / 100, t, 2 * t]) for t in (forward, both)
    ]
    return Result(*quartiles, memory, None if both is None else memory)


# Worked example by hand


def test_the_memory_of_each_pass_is_what_it_holds_beyond_its_results():
    """What is kept counts and what is returned does not; nothing hides behind the later dx."""

    def forward():
        kept = np.ones(3 * MIB, np.uint8)
        return np.ones(5 * MIB, np.uint8), kept

    def backward(kept):
        passing = [kept, np.ones(1 * MIB, np.uint8)]
        return np.ones(7 * MIB, np.uint8), passing[1][:0], kept[:0]

    rounded = [round(extra / MIB) for extra in extra_memory(Contender(forward, backward))]
    assert rounded == [3, 3 + 1]
    assert extra_memory(Contender(forward))[1] is None

    def wasteful():
        passing = np.ones(9 * MIB, np.uint8)
        return np.ones(5 * MIB, np.uint8), passing[:0].copy()

    assert [round(m / MIB) for m in extra_memory(Contender(wasteful, backward))] == [9, 9]


def test_the_times_by_hand(case, monkeypatch):
    """A turn is the mean of its calls, a time the median of its turns, with the quartiles."""
    monkeypatch.setattr("bench.measure.perf_counter", iter([0, 1, 3, 10, 12, 16]).__next__)
    assert turn(reference(case), calls=2) == ((1 + 2) / 2, (3 + 6) / 2)
    turns = {"refbn": [(t, 10 + t) for t in (5.0, 1.0, 2.0, 4.0, 3.0)]}
    monkeypatch.setattr("bench.measure.take_turns", lambda *_: turns)
    measured = measure({"refbn": reference(case)}, rounds=5, calls=1)["refbn"]
    assert measured.forward.tolist() == [2.0, 3.0, 4.0]
    assert measured.both.tolist() == [12.0, 13.0, 14.0]


def test_the_bars_by_hand():
    """A bar is met up to its limit, and missed beyond."""
    row = {
        "refbn": result(10.0, 26.0, 16 * MIB),
        "memory copy": result(1.0, 2.0),
        "PyTorch": result(10.0, 20.0),
        "textbook NumPy": result(20.0, 51.0),
        "Keras on NumPy": result(21.0),
    }
    assert [(what, figure, met) for _, what, _, figure, met in bars({IMAGES: row})] == [
        ("forward", "1.00 ×", True),
        ("forward", "2.00 × (textbook NumPy)", True),
        ("forward", "16.0 MiB", True),
        ("both", "1.30 ×", True),
        ("both", "1.96 × (textbook NumPy)", False),
        ("both", "16.0 MiB", True),
    ]
    row["refbn"] = result(10.1, 26.1, 17 * MIB)
    assert not any(met for *_, met in bars({IMAGES: row}))
    assert [bar for _, _, bar, _, _ in bars({(256, 128): row})] == [
        "at least 2 × faster than any on NumPy"
    ] * 2
    assert next(bar for _, _, bar, _, _ in bars({(4096, 512): row})) == "at most 3.0 × PyTorch"


def test_the_cells_by_hand():
    """Times stand beside their ratio to refbn's; what was not measured is not there."""
    row = {name: result(1.0, 2.0, 3 * MIB) for name in ("refbn", "PyTorch", "textbook NumPy")}
    row["Keras on NumPy"] = result(4.0, memory=5 * MIB)
    text = tables({IMAGES: row}).replace("\N{NO-BREAK SPACE}", " ")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert "Times are in milliseconds." in text
    assert ["PyTorch", "1000 (990 to 2000)", "1.00", "2000 (1960 to 4000)", "1.00"] in lines
    assert ["Keras on NumPy", "4000 (3840 to 8000)", "4.00", "", ""] in lines
    assert ["textbook NumPy", "3.0 / 3.0"] in lines
    assert ["Keras on NumPy", "5.0"] in lines
    assert sum(line[:1] == ["PyTorch"] for line in lines) == 1
    assert "Times are in microseconds." in tables({IMAGES: {n: result(9e-4, 2e-3) for n in row}})


def test_a_table_by_hand():
    """Words stand to the left, numbers to the right, and each number has three digits."""
    text = "|     |  ms |\n| :-- | --: |\n| ab  | 1.5 |\n| abc |  15 |"
    assert table(("", "ms"), [("ab", "1.5"), ("abc", "15")]) == text
    assert [digits(v) for v in (0.012345, 1.2345, 123.45, 1234.5)] == [
        "0.0123",
        "1.23",
        "123",
        "1234",
    ]


# Laws


@pytest.mark.parametrize("shape", [(8, 3, 4, 4), (16, 5)])
def test_all_contenders_give_the_results_in_the_same_form(shape):
    """y and dx have the shape and dtype of x, and the gradients of the parameters theirs."""
    case = Case.of(shape)
    for name, make in CONTENDERS.items():
        got = outcome(make(case))
        assert list(got) == ["y", "dx", "dgamma", "dbeta"], name
        assert got["y"].shape == got["dx"].shape == shape, name
        assert got["y"].dtype == got["dx"].dtype == np.float32, name
        assert got["dgamma"].shape == got["dbeta"].shape == (shape[1],), name


def test_everybody_has_as_many_turns():
    """Each round gives each contender its calls; the first round is not counted."""
    calls = []
    contenders = {
        name: Contender(lambda name=name: (calls.append(name), None)) for name in ("a", "b")
    }
    seconds = take_turns(contenders, rounds=5, calls=3)
    assert {name: len(turns) for name, turns in seconds.items()} == {"a": 5, "b": 5}
    assert calls.count("a") == calls.count("b") == (1 + 5) * 3
    assert all(0 <= forward <= both for turns in seconds.values() for forward, both in turns)
    assert len({tuple(calls[i : i + 6]) for i in range(0, 36, 6)}) > 1  # the order changes


def test_a_run_gives_the_tables_and_the_page(case):
    """From the contenders to the page: names, versions, processor, and the word snapshot."""
    contenders = {name: make(case) for name, make in CONTENDERS.items()}
    results = {case.x.shape: measure(contenders, rounds=2, calls=1)}
    text = tables(results)
    assert "## (8, 3, 4, 4) { #shape-8-3-4-4 }" in text
    assert all(f"\n| {name} " in text for name in CONTENDERS)
    whole_page = page(results, {"refbn": refbn.__version__, "numpy": np.__version__}, rounds=2)
    assert text in whole_page
    assert '!!! note "A snapshot"' in whole_page
    assert f"| {processor()}, one thread" in whole_page
    for version in (refbn.__version__, np.__version__, platform.python_version()):
        assert f"| {version} " in whole_page
    assert "{" not in re.sub(r"\{ #[a-z0-9-]+ \}", "", whole_page)
    assert platform.node() not in whole_page


def test_the_page_of_the_site_is_one_of_these():
    """Nobody edits the page: its words are those of the report, and all shapes are there."""
    written = SITE.read_text(encoding="utf-8").splitlines()
    assert {line for line in PAGE.splitlines() if "{" not in line} <= set(written)
    assert {heading(shape) for shape in SHAPES} <= set(written)


# Edges and errors


def test_nobody_is_timed_who_computes_something_else(case):
    """Another epsilon, a gradient with the other sign, another precision: nothing is timed."""
    ours, other = reference(case), textbook(case)

    def sharper():
        return refbn.batch_norm_train(case.x, case.gamma, case.beta, eps=100 * EPS)

    def negative(kept):
        dx, dgamma, dbeta = other.backward(kept)
        return dx, -dgamma, dbeta

    def doubled():
        y, kept = other.forward()
        return y.astype(np.float64), kept

    y, wrong = ours.forward()[0], sharper()[0]
    gap = np.abs(y - wrong).max() / np.abs(y).max()
    message = (
        "all contenders must compute the same; {} of peer differs from that of refbn by {:.1e} of "
        "its largest value. Time nothing before that is mended."
    )
    for peer, text in {
        Contender(sharper): message.format("y", gap),
        Contender(other.forward, negative): message.format("dgamma", 2.0),
        Contender(doubled): "all contenders must compute in float32; y of peer comes back in "
        "float64. Give it all its parameters in float32.",
    }.items():
        with pytest.raises(ValueError, match=whole(text)):
            measure({"refbn": ours, "peer": peer}, rounds=1, calls=1)
    measure({"refbn": ours, "memory copy": CONTENDERS["memory copy"](case)}, rounds=1, calls=1)
