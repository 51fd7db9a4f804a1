"""One reduction over all workers, whose result, or whose error, is the same on all of them.

What workers do together has three ways to go wrong that one worker alone does not know. One of them
fails, and the others wait for it for ever. They disagree, about the channels or the dtype, and
compute something that none of them meant. Or each adds up the parts in an order of its own, and
their results drift apart by rounding.

So nothing is sent here but *parts*. A part holds the value of a worker, the terms that all must
have in common, or the error that kept it from having a value. Two parts make one: their values
merge; terms that differ become an error; and where one of them is an error, that is the result.
All is settled by one reduction, before any worker goes on.

A communicator is anything with the `rank` and the lower-case `allreduce` of mpi4py, such as
`mpi4py.MPI.COMM_WORLD`; mpi4py itself is never imported. It reduces to one worker and sends the
result to all, so it is the same on all to the last bit. The upper-case `Allreduce`, a sum of
buffers, would be faster, but can carry neither errors nor shapes that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

REMEDIES = {
    "call": "All workers must make the same calls in the same order, with empty shards too.",
    "number of channels": "Look for another layout, or another channel_axis, on one.",
    "dtype": "Convert the shards to one dtype, empty ones too.",
    "eps": "It is one batch norm: give it one epsilon.",
    "moments in the forward pass": (
        "Go back through the layers in the same order on all workers, with the cache of "
        "sync_batch_norm_train and the same communicator."
    ),
}
NO_PART = (
    "all workers must make the same calls; got {} in the place of what another worker has. Look "
    "for a layer in another mode on one, or an allreduce too many; one's own allreduce returns "
    "what op makes of all parts."
)


@runtime_checkable
class Communicator(Protocol):
    """What is asked of a communicator: a part of mpi4py's.

    Another library needs few lines. It may also hand all parts to every worker, and each merges
    them for itself. All must do that in the same order, that of the ranks: else their results
    differ by rounding.

    Examples:
        One worker alone. With `torch.distributed` as `dist`, the rank is `dist.get_rank()`; `parts`
        begin as `[None] * dist.get_world_size()`, and `dist.all_gather_object(parts, sendobj)`
        fills them:

        >>> from functools import reduce
        >>> from refbn import Moments
        >>> class Gathering:
        ...     rank = 0
        ...     def allreduce(self, sendobj, op):
        ...         parts = [sendobj]
        ...         return reduce(op, parts)
        >>> merged(Moments.of([[1.0], [3.0]], axis=0), {}, Gathering())
        Moments(count=array([2]), mean=array([2.]), m2=array([2.]))
    """

    @property
    def rank(self) -> int:
        """Number of this worker, from 0."""

    def allreduce(self, sendobj: Any, op: Callable[[Any, Any], Any], /) -> Any:
        """Wait for all workers, and return what they sent, merged two by two.

        Args:
            sendobj: An object that can be pickled.
            op: Merges two of them. It is associative, and the first is of lower ranks.

        Returns:
            What is left at the end, on every worker the same.
        """


class Mergeable(Protocol):
    """A value of which two make one, such as [`Moments`][refbn.Moments]."""

    def merge(self, other: Any, /) -> Any:
        """Return the value of both together."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker sends, or what several make together.

    Attributes:
        rank: The lowest rank of those workers.
        terms: By name, what must be the same on all workers; first of all the name of the `call`.
        value: What is merged, or None if there is an error.
        error: What is to be raised, or None.
    """

    rank: int
    terms: dict[str, Any]
    value: Any
    error: Exception | None = None

    @classmethod
    def failed(cls, rank: int, error: Exception) -> Part:
        """Return the part of a worker that has an error to send, and no value.

        Args:
            rank: Its number.
            error: What it raised. Its kind is told as far as Python itself has it, because what
                some library made of it may not survive the journey.

        Returns:
            A part that makes every other one fail.
        """
        kind = next(
            k for k in (TypeError, ValueError, RuntimeError, Exception) if isinstance(error, k)
        )
        heard = kind(text_of(error))
        heard.add_note(f"It was raised on worker {rank}. The others only heard of it.")
        return cls(rank, {}, None, heard)

    @np.errstate(all="ignore")  # whoever merges, whatever NumPy was told to raise there
    def merge(self, other: Part) -> Part:
        """Return the part of all workers of two parts. It never raises: the others would wait.

        Args:
            other: The part of workers of higher ranks.

        Returns:
            Their values merged, or the first error, or that they disagree or do not merge.
        """
        if not isinstance(other, Part):  # that worker is in a call of its own, not of refbn's
            return Part(self.rank, {}, None, TypeError(NO_PART.format(type(other).__name__)))
        for part in (self, other):
            if part.error:
                return part
        for name, mine in self.terms.items():
            theirs = other.terms.get(name)
            if mine != theirs:
                error = ValueError(
                    f"all workers must have the same {name}; got {mine} on worker {self.rank} "
                    f"and {theirs} on worker {other.rank}. {REMEDIES[name]}"
                )
                return Part(self.rank, {}, None, error)
        try:
            return Part(self.rank, self.terms, self.value.merge(other.value))
        except Exception as error:  # noqa: BLE001 (the others wait)
            unmerged = ValueError(
                f"values from worker {self.rank} and from worker {other.rank} on must merge; got "
                f"{type(error).__name__}: {text_of(error)}. Give them one shape."
            )
            return Part(self.rank, {}, None, unmerged)


def text_of(error: Exception) -> str:
    """Return the text of an error, also of one that has none to give.

    Args:
        error: Any error.

    Returns:
        Its text, or its type where making the text fails.
    """
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (the others wait to hear of the first error, not of this one)
        return f"{type(error).__name__}, whose text could not be made"


def check_communicator(communicator: Communicator) -> None:
    """Raise a TypeError if this is no communicator.

    Args:
        communicator: What a caller passed as one.

    Raises:
        TypeError: If it has not mpi4py's `rank` and `allreduce`.
    """
    if not isinstance(communicator, Communicator):
        raise TypeError(
            "a communicator must have the rank and the allreduce of those of mpi4py; got "
            f"{type(communicator).__name__}. Pass mpi4py.MPI.COMM_WORLD, or one of its kind."
        )


@contextmanager
def told(communicator: Communicator) -> Iterator[None]:
    """Tell the other workers of an error in this block, in the place of what they wait for.

    Args:
        communicator: Anything with mpi4py's `rank` and `allreduce`.

    Yields:
        Nothing.

    Raises:
        TypeError: If the communicator is none.
        Exception: What was raised in the block, when all have heard of it.
    """
    check_communicator(communicator)
    try:
        yield
    except Exception as error:
        communicator.allreduce(Part.failed(communicator.rank, error), Part.merge)
        error.add_note(
            f"It was raised here, on worker {communicator.rank}; the others heard of it."
        )
        raise


def merged(value: Mergeable, terms: dict[str, Any], communicator: Communicator) -> Any:
    """Merge the values of all workers, by one reduction.

    Args:
        value: What this worker has; it can be pickled.
        terms: By name, what must be the same on all workers: those of `REMEDIES`.
        communicator: Anything with mpi4py's `rank` and `allreduce`.

    Returns:
        The values of all workers merged, to the last bit the same on every worker.

    Raises:
        TypeError: On every worker, if one of them raised one.
        ValueError: On every worker, if one of them raised one, their terms differ, or their values
            do not merge.
        Exception: On every worker, if one of them raised another one.
    """
    part = communicator.allreduce(Part(communicator.rank, terms, value), Part.merge)
    if not isinstance(part, Part):
        raise TypeError(NO_PART.format(type(part).__name__))
    if part.error:
        raise part.error
    return part.value
