"""Batch norm over the ranks of a real MPI: one batch norm, one reduction, and nobody waits for ever."""

import sys
import time

import numpy as np
import psutil
import pytest

from refbn import BatchNorm
from scale.cases import BETA, CHANNELS, CULPRIT, GAMMA, SIZES, batches
from scale.launch import LIMIT, launch, waited_for

EXACT = 1e-12  # float64; values of a few units, sums of up to some hundred of them


@pytest.fixture(scope="module", params=SIZES)
def size(request):
    """Return a number of ranks."""
    return request.param


@pytest.fixture(scope="module")
def trained(size, tmp_path_factory):
    """Return what each rank found when all trained together."""
    ended = launch("training", size, tmp_path_factory.mktemp("ranks"))
    assert ended.code == 0, ended.printed
    return ended.found


@pytest.fixture(scope="module")
def alone(size):
    """Return what one process finds on the whole batches, and its layer."""
    bn = BatchNorm(CHANNELS)
    bn.gamma, bn.beta = GAMMA, BETA
    return [(bn(x), *bn.backward(dy)) for x, dy in batches(size)], bn.state_dict()


# Laws


def test_outputs_and_gradients_are_those_of_one_process(trained, alone):
    """Shards side by side are the batch: y and dx in order, dgamma and dbeta added up."""
    for step, expected in enumerate(alone[0]):
        shards = [found[step] for found, _ in trained]
        y, dx = (np.concatenate([part[k] for part in shards]) for k in (0, 1))
        dgamma, dbeta = (sum(part[k] for part in shards) for k in (2, 3))
        for got, wanted in zip((y, dx, dgamma, dbeta), expected, strict=True):
            # dgamma and dbeta are sums of up to 159 terms, of values up to some tens
            np.testing.assert_allclose(got, wanted, rtol=EXACT, atol=EXACT)


def test_running_statistics_are_those_of_one_process_and_equal_to_the_bit(trained, alone):
    """After some steps, all ranks have the statistics of one process, and the same ones exactly."""
    states = [state for _, state in trained]
    for name, wanted in alone[1].items():
        np.testing.assert_allclose(states[0][name], wanted, rtol=EXACT, atol=EXACT)
        assert len({state[name].tobytes() for state in states}) == 1


def test_one_reduction_forward_and_one_backward(trained):
    """Whatever the number of ranks, a pass calls the communicator once."""
    assert {tuple(step[-2:]) for found, _ in trained for step in found} == {(1, 1)}


# Errors

SEVERAL = pytest.mark.parametrize("several", [2, 4, 8])
REFUSED = {
    "NaN": "a shard must be finite, as its statistics go to all workers; got NaN",
    "channels": "this layer has 5 channels; got 4 along channel_axis=1",
    "dtype": "all workers must have the same dtype; got float64 on worker 0 and float32 on worker 1",
}


@pytest.mark.parametrize(("case", "start"), REFUSED.items(), ids=REFUSED)
@SEVERAL
def test_what_one_rank_has_wrong_is_an_error_of_all(case, start, several, tmp_path):
    """All raise the same, no layer has changed, and all go on with the next batch."""
    ended = launch(case, several, tmp_path)
    assert ended.code == 0, ended.printed
    errors = [error for error, *_ in ended.found]
    assert {type(error) for error in errors} == {ValueError}
    assert len({str(error) for error in errors}) == 1
    assert str(errors[0]).startswith(start)
    if case != "dtype":  # which no rank can know before it has heard of the others
        others = [error for rank, error in enumerate(errors) if rank != CULPRIT]
        assert {tuple(error.__notes__) for error in others} == {
            (f"It was raised on worker {CULPRIT}. The others only heard of it.",)
        }
    for _, before, after, later in ended.found:
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert later["num_batches"] == 2


DEATHS = {
    "killed": ("Killed (signal 9)", "BAD TERMINATION"),
    "stopped": ("Exit codes:", f",{3 << 8}"),  # what the system's wait returns for an exit with 3
    "error of its own": ("KeyError: 'batch 17'",),
    "leaving": ("Timeout (0:00:03)!", "exchange.py", "in merged"),
}


@pytest.mark.parametrize(("case", "told"), DEATHS.items(), ids=DEATHS)
@SEVERAL
def test_a_rank_that_dies_ends_all_of_them(case, told, several, tmp_path):
    """Nobody waits for a rank that is gone: all end soon, with an error that says why."""
    ended = launch(case, several, tmp_path)
    assert ended.code != 0
    assert ended.in_time
    assert "went on without it" not in ended.found
    for words in told:
        assert words in ended.printed


def test_a_launcher_that_waits_for_nobody_is_ended():
    """A program that goes on without processes of its own is ended long before its limit."""
    begun = time.monotonic()
    job = psutil.Popen([sys.executable, "-c", f"import time; time.sleep({LIMIT})"])
    assert waited_for(job) != 0
    assert time.monotonic() - begun < LIMIT / 2
