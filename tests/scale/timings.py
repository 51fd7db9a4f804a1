"""What the ranks measure together: turns of several calls, timed on rank 0."""

import pickle
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from refbn import (
    batch_norm_backward,
    batch_norm_train,
    sync_batch_norm_backward,
    sync_batch_norm_train,
    sync_moments,
)
from refbn.exchange import merged
from scale.parts import CHANNELS, parts, size

BYTES = 8, 256, 1024, 4096, 16384, 65536
SHAPE = 8, 256, 14, 14  # of a shard, in float32: a layer in the middle of ResNet-50
TURNS = 15


def seconds(communicator, call, calls):
    """Return the quartiles of the time of a call, each turn being the mean of some in a row.

    A reduction ends for all when it has begun for all, so calls in a row need no clock in common.
    """
    turns = []
    for _ in range(1 + TURNS):
        communicator.Barrier()
        start = perf_counter()
        for _ in range(calls):
            call()
        turns.append((perf_counter() - start) / calls)
    return np.percentile(turns[1:], [25, 50, 75]).tolist()  # the first is for the caches


def reductions(communicator):
    """Return the times of one reduction, by the number of channels, forward and backward."""
    found = []
    for channels in CHANNELS:
        there, back = parts(channels).values()
        passes = {
            "forward": partial(sync_moments, there.value, communicator),
            "backward": partial(merged, back.value, back.terms, communicator),
        }
        for name, call in passes.items():
            row = {"ranks": communicator.size, "channels": channels, "pass": name}
            found.append(row | {"seconds": seconds(communicator, call, calls=8)})
    return found


def messages(communicator):
    """Return the times of one way between two ranks, half of a ping-pong, by the number of bytes."""
    found, other = [], 1 - communicator.rank
    for number in BYTES:
        buffer = np.zeros(number, np.uint8)

        def there_and_back(buffer=buffer):
            if communicator.rank:
                communicator.Recv(buffer, other)
                communicator.Send(buffer, other)
            else:
                communicator.Send(buffer, other)
                communicator.Recv(buffer, other)

        both = seconds(communicator, there_and_back, calls=128)
        found.append({"bytes": number, "seconds": [s / 2 for s in both]})
    return found


def handling(communicator):
    """Return the times of what one rank does with a part: pickle and unpickle it, merge two."""
    found = []
    for channels in CHANNELS:
        for name, part in parts(channels).items():
            row = {"channels": channels, "pass": name, "bytes": size(part)}
            row["pickling"] = seconds(communicator, partial(copied, part), calls=64)
            row["merging"] = seconds(communicator, partial(part.merge, part), calls=64)
            found.append(row)
    return found


def copied(part):
    """Return what mpi4py makes of an object on its way."""
    return pickle.loads(pickle.dumps(part, pickle.HIGHEST_PROTOCOL))  # noqa: S301 (its own)


def merges(communicator):
    """Return how often each rank merges two values in one reduction."""
    calls = []

    def merge(a, b):
        calls.append(b)
        return a + b

    communicator.allreduce(communicator.rank, merge)
    return {"ranks": communicator.size, "merges": communicator.allgather(len(calls))}


def steps(communicator):
    """Return the times of batch norm forward and backward on each rank: alone, and synchronised."""
    rng = np.random.default_rng(2015)
    x, dy = rng.standard_normal((2, *SHAPE), dtype=np.float32)

    def alone():
        _, cache = batch_norm_train(x)
        batch_norm_backward(dy, cache)

    def synchronised():
        _, cache = sync_batch_norm_train(x, communicator=communicator)
        sync_batch_norm_backward(dy, cache, communicator)

    found = {"ranks": communicator.size, "shape": SHAPE}
    for step in (alone, synchronised):
        calls = [step, communicator.Barrier]  # the slowest ends the step, synchronised or not

        def both(calls=calls):
            for call in calls:
                call()

        found[step.__name__] = seconds(communicator, both, calls=1)
    return found


def measured(communicator):
    """Return by name all that so many ranks can measure."""
    found = {
        "reductions": reductions(communicator),
        "merges": [merges(communicator)],
        "steps": [steps(communicator)],
    }
    if communicator.size == 1:
        found["handling"] = handling(communicator)
    if communicator.size == 2:
        found["messages"] = messages(communicator)
    return found


if __name__ == "__main__":
    from mpi4py import MPI  # it starts MPI, which pytest, as it reads this file, must not do

    found = measured(MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        Path(sys.argv[1]).write_bytes(pickle.dumps(found))
