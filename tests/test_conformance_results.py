"""The file that the pages on conformance are made from is whole, and nobody wrote in it by hand."""

import json

import pytest
from conformance.results import FILE, Results, bound, digest, pins, read, stale, write
from conformance.tolerances import TOLERANCES

from refbn.conventions import CONVENTIONS

KEPT, CONTENT = read()


def of(case):
    """Return the peers that have a result for a case."""
    return {row["peer"] for row in CONTENT["results"] if row["case"] == case}


LIVE = of("output in training")


def test_a_bound_by_hand():
    """A difference is kept with one digit, with room for half as much again; none is none."""
    assert [bound(v) for v in (2e-8, 2.1e-8, 6.1e-7, 1.0, 0.0)] == [3e-8, 4e-8, 1e-6, 2.0, 0.0]


def test_the_file_has_its_digest():
    """Whoever changes a number or a word by hand changes the digest."""
    assert digest(CONTENT) == KEPT, "Do not write in the file; make conformance WRITE=1 does."


def test_the_versions_are_those_that_are_pinned_and_those_of_the_conventions():
    """What was compared is what `make conformance` installs, and what refbn.conventions names."""
    assert CONTENT["versions"] == pins()
    assert {CONVENTIONS[p].version for p in LIVE if p in CONVENTIONS} <= set(pins().values())


def test_every_peer_has_the_ordinary_cases():
    """Nobody is left out: output, running statistics and evaluation of each, and gradients."""
    assert len(LIVE) == 8
    assert LIVE - CONVENTIONS.keys() == {"ONNXRUNTIME"}
    for case in (
        "output in evaluation",
        "running statistics after one step",
        "running statistics after ten steps",
    ):
        assert of(case) == LIVE, case
    assert LIVE - of("gradients in training") == {"ONNX", "ONNXRUNTIME"}


def test_what_is_the_same_is_within_the_tolerance_and_what_differs_says_how():
    """A verdict is borne out by its numbers, up to their headroom, or by a sentence."""
    assert CONTENT["tolerances"] == TOLERANCES
    for row in CONTENT["results"]:
        if row.get("verdict") == "same":
            measured = row.keys() & TOLERANCES.keys()
            assert all(row[dtype] <= bound(TOLERANCES[dtype]) for dtype in measured), row
        elif row.get("verdict") == "differs":
            assert row["does"].endswith("."), row
            assert row["right"].endswith("."), row
        else:
            assert row["passed"] == row["of"] > 0, row


@pytest.fixture
def kept():
    """Return content of two rows."""
    rows = [
        {"case": "a", "peer": "P", "verdict": "same", "float32": 1e-6},
        {"case": "b", "peer": "P", "verdict": "differs", "does": "It does."},
    ]
    return {"versions": {"p": "1"}, "tolerances": {}, "results": rows}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, []),
        (lambda c: c["results"][0].update(float32=1.1e-7), []),
        (lambda c: c["results"][0].update(float32=1e-8), ["a, P: float32 is 1e-08, in the file 1e-06"]),
        (lambda c: c["results"][0].update(float32=0.0), ["a, P: float32 is 0.0, in the file 1e-06"]),
        (lambda c: c["results"][1].update(verdict="same"), ["b, P: verdict is 'same', in the file 'differs'"]),
        (lambda c: c["results"].pop(), ["b, P: in the file only"]),
        (lambda c: c["results"].append({"case": "c", "peer": "P"}), ["c, P: not in the file"]),
        (lambda c: c["versions"].update(p="2"), ["versions: {'p': '2'}, in the file {'p': '1'}"]),
    ],
)  # fmt: skip
def test_what_is_stale_is_said(kept, change, said):
    """Other verdicts, cases and versions are stale, and numbers that are more than a decade off."""
    found = json.loads(json.dumps(kept))
    change(found)
    assert stale(kept, found) == said


def test_the_file_is_read_as_it_was_written(kept, tmp_path):
    """Writing and reading keep all, with the digest; one letter more breaks it."""
    write(kept, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == (digest(kept), kept)
    kept["results"][1]["does"] += "!"
    assert digest(kept) != read(tmp_path / "results.json")[0]
    assert read(FILE) == (KEPT, CONTENT)


def test_nothing_is_recorded_twice():
    """One case of one peer has one result; the order of the tests does not matter."""
    results = Results()
    for case in ("b", "a"):
        results.record(case, "P", verdict="same", float32=6.1e-7, count=3)
    assert [row["case"] for row in results.rows()] == ["a", "b"]
    assert results.rows()[0] == {
        "case": "a",
        "peer": "P",
        "verdict": "same",
        "float32": 1e-6,
        "count": 3,
    }
    with pytest.raises(ValueError, match="was recorded before"):
        results.record("a", "P")
