"""What each rank does in a test: one function for each case, called with mpi4py's communicator."""

import faulthandler
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np

from refbn import SyncBatchNorm

CHANNELS, STEPS, CULPRIT = 5, 3, 1
# by the number of ranks: unequal and empty shards
SIZES = {1: (7,), 2: (9, 2), 4: (10, 27, 0, 1), 8: (1, 5, 0, 12, 3, 0, 30, 2)}
GAMMA, BETA = np.linspace(-1.0, 2.0, CHANNELS), np.linspace(3.0, 0.0, CHANNELS)


class Counting:
    """A communicator that counts its reductions; with nothing else to call, there are no others."""

    def __init__(self, communicator):
        self.communicator, self.rank, self.calls = communicator, communicator.rank, 0

    def allreduce(self, sendobj, op):
        self.calls += 1
        return self.communicator.allreduce(sendobj, op)


def batches(size):
    """Return x and dy of all ranks together, one pair for each step."""
    rng = np.random.default_rng(2015)  # the year of the paper; any other must do as well
    return 3 + 2 * rng.standard_normal((STEPS, 2, sum(SIZES[size]), CHANNELS, 3))


def shard(array, communicator):
    """Return what a rank has of an array."""
    start = sum(SIZES[communicator.size][: communicator.rank])
    return array[start : start + SIZES[communicator.size][communicator.rank]]


def layer(communicator):
    """Return the layer of a rank."""
    bn = SyncBatchNorm(CHANNELS, communicator=communicator)
    bn.gamma, bn.beta = GAMMA, BETA
    return bn


def training(communicator):
    """Train some steps; return outputs, gradients and statistics, and how many reductions each took."""
    counting = Counting(communicator)
    bn, found = layer(counting), []
    for x, dy in batches(communicator.size):
        y = bn(shard(x, communicator))
        forward = counting.calls
        gradients = bn.backward(shard(dy, communicator))
        found.append((y, *gradients, forward, counting.calls - forward))
        counting.calls = 0
    return found, bn.state_dict()


def refused(change):
    """Return the case in which one rank has something else, and all go on afterwards."""

    def case(communicator):
        bn, (x, _), (later, _), *_ = layer(communicator), *batches(communicator.size)
        bn(shard(x, communicator))
        before = bn.state_dict()
        mine = shard(x, communicator)
        try:
            bn(change(mine) if communicator.rank == CULPRIT else mine)
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            after = bn.state_dict()
            bn(shard(later, communicator))
            return error, before, after, bn.state_dict()

    return case


def before_its_call(action):
    """Return the case in which one rank does something instead of its second forward pass."""

    def case(communicator):
        bn, (x, _), *_ = layer(communicator), *batches(communicator.size)
        bn(shard(x, communicator))
        if communicator.rank == CULPRIT:
            return action()
        bn(shard(x, communicator))
        return "went on without it"

    return case


def killed():
    """End as by the system, which is short of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def stopped():
    """End without a word to anybody."""
    os._exit(3)


def error_of_its_own():
    """End with an error that has nothing to do with batch norm."""
    raise KeyError("batch 17")


def leaving(communicator):
    """One rank has no batches left and leaves; a watch of each ends what waits for it."""
    faulthandler.dump_traceback_later(3, exit=True)
    return before_its_call(lambda: "no batches left")(communicator)


CASES = {
    "training": training,
    "NaN": refused(lambda x: np.full_like(x, np.nan)),
    "channels": refused(lambda x: x[:, :-1]),
    "dtype": refused(lambda x: x.astype(np.float32)),
    "killed": before_its_call(killed),
    "stopped": before_its_call(stopped),
    "error of its own": before_its_call(error_of_its_own),
    "leaving": leaving,
}

if __name__ == "__main__":
    from mpi4py import MPI  # it starts MPI, which the tests that read the cases must not do

    found = CASES[sys.argv[1]](MPI.COMM_WORLD)
    (Path(sys.argv[2]) / f"{MPI.COMM_WORLD.rank}.pickle").write_bytes(pickle.dumps(found))
