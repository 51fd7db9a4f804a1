"""Workers in threads, for the tests of what several workers do together."""

import contextvars
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np

HEARD = "It was raised on worker {}. The others only heard of it."
HERE = "It was raised here, on worker {}; the others heard of it."


class Team:
    """Workers in threads. What one sends is pickled, and merged two by two, as mpi4py does it."""

    def __init__(self, size):
        self.sent, self.calls = [None] * size, 0
        self.barrier = threading.Barrier(size, timeout=30)  # a deadlock fails, it does not hang

    def member(self, rank):
        return Member(self, rank)

    def run(self, work, *arguments):
        """Return what `work(communicator, *arguments of the rank)` returns or raises, by rank."""
        with ThreadPoolExecutor(len(self.sent)) as pool:
            futures = [  # each thread inherits what NumPy does about floating-point errors
                pool.submit(contextvars.copy_context().run, work, self.member(rank), *mine)
                for rank, mine in enumerate(zip(*arguments, strict=True))
            ]
        return [future.exception() or future.result() for future in futures]


class Member:
    """A communicator with no more of mpi4py's interface than is asked for."""

    def __init__(self, team, rank):
        self.team, self.rank = team, rank

    def allreduce(self, sendobj, op):
        team = self.team
        team.sent[self.rank] = pickle.dumps(sendobj)
        if team.barrier.wait() == 0:  # one of them
            sent = [pickle.loads(sent) for sent in team.sent]  # noqa: S301
            team.sent[0] = pickle.dumps(in_pairs(op, sent))
            team.calls += 1
        team.barrier.wait()
        received = pickle.loads(team.sent[0])  # noqa: S301
        team.barrier.wait()
        return received


def in_pairs(op, values):
    """Return what is left when neighbours are merged, then neighbours of those, and so on."""
    while len(values) > 1:
        values = [reduce(op, values[i : i + 2]) for i in range(0, len(values), 2)]
    return values[0]


def together(work, *arguments):
    """Return the results of all workers, or raise what one of them raised."""
    results = Team(len(arguments[0])).run(work, *arguments)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def cut(array, sizes, axis=0):
    """Return copies of the parts of an array that have these lengths."""
    return [part.copy() for part in np.split(array, np.cumsum(sizes)[:-1], axis=axis)]
