"""What synchronising sends is what its page computes with; how long it takes, no test asks."""

import json
from importlib.resources import files

import numpy as np
import pytest
from scale.parts import CHANNELS, parts, size
from scale.record import FILE, RANKS, quickest, short, text, together

from refbn import Moments, sync_batch_norm_backward, sync_batch_norm_train
from refbn.exchange import Part
from refbn.sync import _Sums

FOUND = json.loads(FILE.read_text("utf-8"))
PER_CHANNEL = {"forward": 24, "backward": 16}  # count, mean and m2; two sums; 8 bytes each


# Worked example by hand


def test_times_have_three_digits_and_all_else_stays():
    """Of rows from several numbers of ranks one list is made, with short times."""
    one = {"steps": [{"ranks": 1, "alone": [0.0012345, 0.002, 0.3]}]}
    two = {"steps": [{"ranks": 2, "merges": [1, 0]}], "messages": [{"bytes": 1234}]}
    rows = together([one, two])
    assert rows["steps"] == [
        {"ranks": 1, "alone": [0.00123, 0.002, 0.3]},
        {"ranks": 2, "merges": [1, 0]},
    ]
    assert rows["messages"] == [{"bytes": 1234}]
    assert short({"bytes": 12345}) == {"bytes": 12345}


def test_of_several_runs_the_quickest_is_kept(monkeypatch):
    """Each number of ranks keeps its own quickest run, by the medians of its reductions."""
    seconds = iter([*range(1, 9), *range(8, 0, -1)])

    def measured(size):
        quartiles = [0.0, next(seconds), 99.0]
        return {"ranks": size, "reductions": [{"seconds": quartiles}]}

    monkeypatch.setattr("scale.record.measure", measured)
    kept = [(run["ranks"], run["reductions"][0]["seconds"][1]) for run in quickest(2)]
    assert kept == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 3), (7, 2), (8, 1)]


def test_the_file_has_a_line_for_each_row():
    """What is written is JSON, and a change of one row is a change of one line."""
    content = {"cores": 2, "rows": [{"a": 1}, {"a": 2}]}
    expected = '{\n  "cores": 2,\n  "rows": [\n    {"a": 1},\n    {"a": 2}\n  ]\n}'
    assert text(content) == expected
    assert json.loads(text(content)) == content


# Laws


@pytest.mark.parametrize("way", PER_CHANNEL)
def test_a_part_has_so_many_bytes_per_channel_and_some_hundred(way):
    """Three numbers per channel go forward and two back, and the rest does not grow with them."""
    rest = [size(parts(c)[way]) - PER_CHANNEL[way] * c for c in (32, 64, 256, 2048, 26_560)]
    assert min(rest) > 200
    assert max(rest) - min(rest) < 50  # the lengths that pickle writes
    assert max(rest) < 500


@pytest.mark.parametrize("way", PER_CHANNEL)
def test_merging_makes_no_part_larger(way):
    """However many workers a part is of, its bytes stay: a tree sends the same at every height."""
    part = parts(64)[way]
    merged = part.merge(part).merge(part)
    assert abs(size(merged) - size(part)) <= 8  # the sum of the numbers of values is longer


def test_the_parts_are_those_that_batch_norm_sends():
    """What is weighed and timed has the terms of the real calls, and values of their kind."""

    class Listening:
        rank = 0

        def __init__(self):
            self.sent = []

        def allreduce(self, part, _):
            self.sent.append(part)
            return part

    ear = Listening()
    y, cache = sync_batch_norm_train(np.eye(8, 64, dtype=np.float32), communicator=ear)
    sync_batch_norm_backward(y, cache, ear)
    for heard, made in zip(ear.sent, parts(64).values(), strict=True):
        assert heard.terms.keys() == made.terms.keys()
        assert type(heard.value) is type(made.value) in {Moments, _Sums}
        assert abs(size(heard) - size(made)) <= 8  # another number of values
        assert isinstance(heard, Part)


# The file


def test_the_file_has_every_number_of_ranks():
    """1 to 8 ranks reduced each number of channels both ways, and made steps."""
    rows = {(r["ranks"], r["channels"], r["pass"]) for r in FOUND["reductions"]}
    assert rows == {(k, c, way) for k in RANKS for c in CHANNELS for way in PER_CHANNEL}
    assert [row["ranks"] for row in FOUND["steps"]] == list(RANKS)
    assert [row["ranks"] for row in FOUND["merges"]] == list(RANKS)


def test_the_file_has_what_parts_weigh_today():
    """Where parts grew, the page would compute with old bytes: make scale WRITE=1."""
    for row in FOUND["handling"]:
        assert row["bytes"] == size(parts(row["channels"])[row["pass"]])


def test_mpi4py_merges_at_every_rank_that_has_a_partner():
    """On each height the lower of two ranks merges, even where its result is never asked for."""
    for row in FOUND["merges"]:
        ranks, heights = range(row["ranks"]), (1, 2, 4)
        partners = [[r | h for h in heights if not r & h and r | h in ranks] for r in ranks]
        assert row["merges"] == [len(some) for some in partners]


def test_all_times_are_quartiles():
    """A time is three positive numbers that do not fall."""
    names = {"seconds", "pickling", "merging", "alone", "synchronised"}
    rows = (row for rows in FOUND.values() if isinstance(rows, list) for row in rows)
    times = [row[name] for row in rows for name in names & row.keys()]
    assert len(times) > 50
    for low, median, high in times:
        assert 0 < low <= median <= high < 1


def test_the_file_comes_with_the_package():
    """The page and its downloads read it from there."""
    assert files("refbn").joinpath("cost.json").read_text("utf-8") == text(FOUND) + "\n"
