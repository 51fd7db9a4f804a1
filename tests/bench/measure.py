"""The clock, the scales, and the check that everybody computes the same."""

import gc
import tracemalloc
from time import perf_counter
from typing import NamedTuple

import numpy as np

TOLERANCE = 2e-4
"""Largest difference from refbn, over the largest value. numpy-ml reaches 4e-5: it adds 200 704
rows in float32, one after the other. An epsilon of 1e-3 would differ by 2e-3."""

FLOOR = "memory copy"  # it alone computes something else


class Result(NamedTuple):
    """What was measured of one contender on one case; None where it has no backward pass.

    Attributes:
        forward: Seconds of the forward pass: lower quartile, median, upper quartile.
        both: Seconds of the forward and the backward pass together, as above.
        forward_memory: Most bytes held beyond inputs and output during the forward pass.
        both_memory: Most bytes held beyond inputs and outputs during either pass.
    """

    forward: np.ndarray
    both: np.ndarray | None
    forward_memory: int
    both_memory: int | None


def measure(contenders, rounds, calls):
    """Return a Result of each contender, by its name.

    Args:
        contenders: Contenders by name, all with the same case; refbn is among them.
        rounds: How often each has its turn. One turn more comes first and does not count.
        calls: Calls in a row that make up a turn.
    """
    check(contenders)
    seconds = take_turns(contenders, rounds, calls)
    results = {}
    for name, contender in contenders.items():
        forward, both = np.percentile(seconds[name], [25, 50, 75], axis=0).T
        first, second = extra_memory(contender)
        backward = contender.backward is not None
        results[name] = Result(forward, both if backward else None, first, second)
    return results


def check(contenders):
    """Raise a ValueError if what a contender computes is not what refbn computes."""
    expected = outcome(contenders["refbn"])
    for name in (name for name in contenders if name != FLOOR):
        for what, value in outcome(contenders[name]).items():
            wanted = expected[what]
            gap = np.abs(value - wanted).max() / np.abs(wanted).max()
            if not gap <= TOLERANCE:
                raise ValueError(
                    f"all contenders must compute the same; {what} of {name} differs from that of "
                    f"refbn by {gap:.1e} of its largest value. Time nothing before that is mended."
                )
            if what in {"y", "dx"} and value.dtype != wanted.dtype:
                raise ValueError(
                    f"all contenders must compute in {wanted.dtype}; {what} of {name} comes back "
                    f"in {value.dtype}. Give it all its parameters in {wanted.dtype}."
                )


def outcome(contender):
    """Return y, and dx, dgamma and dbeta where there is a backward pass, as arrays."""
    y, kept = contender.forward()
    results = (y, *contender.backward(kept)) if contender.backward else (y,)
    arrays = (r.detach() if hasattr(r, "detach") else r for r in results)  # out of PyTorch's graph
    return dict(zip(("y", "dx", "dgamma", "dbeta"), map(np.asarray, arrays), strict=False))


def take_turns(contenders, rounds, calls):
    """Return the seconds of each contender's turns: forward, and forward and backward.

    In each round everybody has one turn, in an order drawn anew. What slows the machine down for
    a while so slows down all of them, and nobody always comes after the same neighbour.
    """
    rng = np.random.default_rng(0)
    seconds = {name: [] for name in contenders}
    gc.disable()
    try:
        for _ in range(1 + rounds):
            for name in rng.permutation(list(contenders)):
                seconds[name].append(turn(contenders[name], calls))
            gc.collect()
    finally:
        gc.enable()
    return {name: turns[1:] for name, turns in seconds.items()}


def turn(contender, calls):
    """Return the mean seconds of a forward pass, and of a forward and a backward pass."""
    forward = both = 0.0
    for _ in range(calls):
        start = perf_counter()
        y, kept = contender.forward()
        middle = perf_counter()
        gradients = contender.backward(kept) if contender.backward else None
        end = perf_counter()
        del y, kept, gradients  # to give memory back takes time too, which is nobody's
        forward += (middle - start) / calls
        both += (end - start) / calls
    return forward, both


def extra_memory(contender):
    """Return the most bytes held beyond inputs and outputs: in forward, and in either pass.

    What the forward pass keeps for the backward pass is no output, so it counts. The forward pass
    is weighed on its own too: else what it needs for a while would hide behind the later dx.
    """
    tracemalloc.start()
    try:
        y, kept = contender.forward()
        forward = tracemalloc.get_traced_memory()[1] - y.nbytes
        if contender.backward is None:
            return forward, None
        gradients = contender.backward(kept)
        outputs = y.nbytes + sum(g.nbytes for g in gradients)
        return forward, max(forward, tracemalloc.get_traced_memory()[1] - outputs)
    finally:
        tracemalloc.stop()
