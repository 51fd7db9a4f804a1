r"""Batch norm over the shards of several workers, as if one worker had the whole batch.

Statistics over workers need no algorithm of their own. [`Moments`][refbn.Moments] merge, whatever
the sizes of the shards, so each worker sends the moments of its shard and merges what all of them
sent. Going back, two sums over the whole batch are wanted, and sums add up. Averages do not: equal
weights for unequal shards are wrong, and a mean of variances, or of inverse standard deviations,
forgets how far apart the shards lie.

A communicator is anything with the lower-case `allreduce` of mpi4py, such as
`mpi4py.MPI.COMM_WORLD`; mpi4py itself is never imported. That method adds Python objects with `+`.
All that is sent here are lists of length 1, whose sum is one list with an entry for each worker.
Three things come of it, none of which the upper-case `Allreduce`, a sum of buffers, can offer:

- Moments are merged, not added, so nothing is lost where the means are large.
- All workers merge the same numbers in the same order, so their results agree to the last bit. MPI
  only advises that a sum of buffers should.
- An error on one worker is sent like a result, and raised on all of them. Else the others would
  wait for ever.

The price is that a worker receives a few numbers per channel from *each* of the others.

Every worker must make the same calls in the same order, with an empty shard too. A worker that does
not call, or is stopped, leaves the others waiting. `gamma`, `beta` and `eps` must be the same on
all workers, as the gradient is that of *one* batch norm; this is not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, as_floating, as_mask, check_eps, per_channel, reduced_axes
from refbn.moments import Moments
from refbn.transform import Cache, Gradients, gradient_sums, gradient_with, train_with


class Communicator(Protocol):
    """What is asked of a communicator: a part of mpi4py's."""

    def allreduce(self, sendobj: Any, /) -> Any:
        """Wait for all workers, and return the sum of what they sent, in the order of their ranks.

        Args:
            sendobj: A list, which can be pickled.

        Returns:
            The sum, by `+`.
        """


def sync_moments(moments: Moments, communicator: Communicator) -> Moments:
    """Merge the moments of the shards of all workers.

    Args:
        moments: Moments of this worker's shard, each field of shape `(C,)`. They may be of no
            values at all.
        communicator: Anything with mpi4py's `allreduce`.

    Returns:
        Moments of the whole batch, to the last bit the same on every worker.

    Raises:
        ValueError: On every worker, if they have different numbers of channels.

    Examples:
        This worker has 1 and 3, and the communicator plays another one that has 5 and 7:

        >>> class WithAnother:
        ...     def allreduce(self, parts):
        ...         return [*parts, Moments.of([[5.0], [7.0]], axis=0)]
        >>> sync_moments(Moments.of([[1.0], [3.0]], axis=0), WithAnother())
        Moments(count=array([4]), mean=array([4.]), m2=array([20.]))

    References:
        Chan, Golub and LeVeque (1979), equation 2.1.
    """
    return _merged(_exchange(lambda: moments, communicator)[1])


def sync_batch_norm_train(
    x: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    communicator: Communicator,
    eps: float = 1e-5,
    channel_axis: int = 1,
    where: npt.ArrayLike | None = None,
) -> tuple[Array, Cache]:
    r"""Normalise a shard with mean and variance of the whole batch, then scale and shift.

    $$\mu = \frac{1}{n} \sum_k \sum_i x_{k,i}, \qquad
    \sigma^2 = \frac{1}{n} \sum_k \sum_i (x_{k,i} - \mu)^2, \qquad n = \sum_k n_k$$

    The inner sums run over the shard of worker \(k\), the outer ones over all workers. So the
    shards' outputs together are what [`batch_norm_train`][refbn.batch_norm_train] makes of the
    shards together. Shards may differ in everything but the channels, also in how many values a
    mask leaves them. Running statistics made from `cache.moments` are the same on every worker.

    Args:
        x: Shard of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating. `N` may
            be 0: that worker still takes part.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        communicator: Anything with mpi4py's `allreduce`.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.
        where: Booleans that broadcast to the shape of `x`, True at the values that count.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`Cache`][refbn.Cache] for
        [`sync_batch_norm_backward`][refbn.sync_batch_norm_backward]. Its `moments` are those of
        the whole batch.

    Raises:
        TypeError: On every worker, if an array of one worker is not floating, or its `where` not
            boolean.
        ValueError: On every worker, if a shape on one of them does not fit, its `eps` is negative,
            they have different numbers of channels, a channel has no values on any of them, or
            one is constant on all of them and `eps` is 0.

    Examples:
        This worker has a 1, and the communicator plays another one that has a 3:

        >>> class WithAnother:
        ...     def allreduce(self, parts):
        ...         return [*parts, Moments.of([[3.0]], axis=0)]
        >>> y, cache = sync_batch_norm_train([[1.0]], communicator=WithAnother(), eps=0.0)
        >>> y
        array([[-1.]])
    """

    def checked_moments() -> Moments:
        # all that could fail on one worker alone fails here, where the others hear of it
        array = as_floating("x", x)
        axis = reduced_axes(array.shape, channel_axis)
        for name, value in (("gamma", gamma), ("beta", beta)):
            if value is not None:
                per_channel(name, value, array.shape, channel_axis)
        check_eps(eps)
        return Moments.of(array, axis, as_mask(where, array.shape))

    own, parts = _exchange(checked_moments, communicator)
    moments = _merged(parts)
    if np.any(moments.count == 0):
        raise ValueError(
            "training needs at least 1 value per channel on all workers together; "
            f"got none in channels {np.flatnonzero(moments.count == 0).tolist()}. "
            "One worker may have none, but not all: leave this batch out on every worker."
        )
    x = np.asarray(x)
    return train_with(moments, own, x, gamma, beta, eps, channel_axis, as_mask(where, x.shape))


@np.errstate(invalid="ignore")  # Inf on one worker and -Inf on another
def sync_batch_norm_backward(
    dy: npt.ArrayLike, cache: Cache, communicator: Communicator
) -> Gradients:
    r"""Carry the gradient of the loss back to a shard, through the statistics of the whole batch.

    $$\frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} \Bigl(
    dy - \frac{1}{n} \sum_k \sum_i dy_{k,i}
    - \hat{x} \frac{1}{n} \sum_k \sum_i dy_{k,i}\, \hat{x}_{k,i} \Bigr)$$

    \(L\) is the sum of the losses of all workers: a value of one shard moves the mean, and so the
    outputs on all of them. The gradient of `x` has all of that in it. Those of `gamma` and `beta`
    are of this shard only, and *their sum over the workers* is the gradient of the whole batch.
    Every other layer's parameters leave such a sum to the training loop, which would count these
    \(K\) times on \(K\) workers if they were summed here.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating.
        cache: What the forward pass returned beside `y`.
        communicator: The one of the forward pass.

    Returns:
        Gradients with respect to `x`, in full, and this shard's part of those with respect to
        `gamma` and `beta`.

    Raises:
        TypeError: On every worker, if `dy` of one is not floating, or its `cache` no Cache.
        ValueError: On every worker, if `dy` of one is not of the shape of its `y`, its shard is
            not what it was, or the workers are not those of the forward pass.

    Examples:
        One worker alone receives what it sent, and the gradients are those of its batch:

        >>> class Alone:
        ...     def allreduce(self, parts):
        ...         return parts
        >>> x, gamma, beta = [[0.0], [1.0], [2.0]], [1.0], [0.0]
        >>> y, cache = sync_batch_norm_train(x, gamma, beta, communicator=Alone())
        >>> sync_batch_norm_backward([[1.0], [0.0], [0.0]], cache, Alone()).beta
        array([1.])
    """
    (dgamma, dbeta, *_), parts = _exchange(
        lambda: (*gradient_sums(dy, cache), cache.own.count, cache.moments.count), communicator
    )
    all_dgamma, all_dbeta, n, _ = (reduce(np.add, each) for each in zip(*parts, strict=True))
    expected = [count.tolist() for *_, count in parts]
    if expected != [n.tolist()] * len(parts):
        raise ValueError(
            "the workers must be those of the forward pass, each with the cache it got there; "
            f"got parts of {n.tolist()} values per channel for forward passes over {expected}. "
            "Pass the cache of sync_batch_norm_train, and the same communicator."
        )
    dx = gradient_with(all_dgamma, all_dbeta, dy, cache)
    return Gradients(dx, None if cache.gamma is None else dgamma, dbeta if cache.has_beta else None)


def _exchange(part: Callable[[], Any], communicator: Communicator) -> tuple[Any, list[Any]]:
    """Return what this worker makes, and what all make; or raise on all what one raised."""
    try:
        mine = part()
    except Exception as error:
        communicator.allreduce([error])
        raise
    parts = communicator.allreduce([mine])
    for rank, theirs in enumerate(parts):
        if isinstance(theirs, Exception):
            theirs.add_note(f"It was raised on worker {rank}. The others only heard of it.")
            raise theirs
    return mine, parts


def _merged(parts: list[Moments]) -> Moments:
    """Return the moments of all shards, merged in the order of the workers."""
    shapes = [part.mean.shape for part in parts]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"all workers must have the same channels; got moments of shapes {shapes}, in the "
            "order of the workers. Look for another layout, or another channel_axis, on one."
        )
    return reduce(Moments.merge, parts, Moments.empty())
