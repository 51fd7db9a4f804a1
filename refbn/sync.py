r"""Batch norm over the shards of several workers, as if one worker had the whole batch.

Statistics over workers need no algorithm of their own. [`Moments`][refbn.Moments] merge, whatever
the sizes of the shards, so the forward pass is one reduction of the moments of the shards. Going
back, two sums over the whole batch are wanted, and sums add up: one more reduction. Averages do
not: equal weights for unequal shards are wrong, and a mean of variances, or of inverse standard
deviations, forgets how far apart the shards lie.

[`refbn.exchange`][refbn.exchange] says what a communicator is, and how an error on one worker, or
workers that disagree, become the same error on all of them before anything has changed.

Every worker must make the same calls in the same order, with an empty shard too. A worker that does
not call leaves the others waiting; so start those of MPI by
`mpiexec -n 4 python -m mpi4py program.py`, which ends all of them when one has an error of its own.
`gamma` and `beta` must be the same on all workers, as the gradient is that of *one* batch norm;
this is not checked.
"""

from __future__ import annotations

from binascii import crc32
from operator import add
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, as_floating, as_mask, check_eps, per_channel, reduced_axes
from refbn.exchange import Communicator, merged, told
from refbn.moments import Moments
from refbn.transform import Cache, Gradients, gradient_sums, gradient_with, train_with


def sync_moments(moments: Moments, communicator: Communicator) -> Moments:
    """Merge the moments of the shards of all workers.

    Args:
        moments: Moments of this worker's shard, each field of shape `(C,)`. They may be of no
            values at all.
        communicator: Anything with mpi4py's `rank` and `allreduce`.

    Returns:
        Moments of the whole batch, to the last bit the same on every worker.

    Raises:
        TypeError: If the communicator is none, or, on every worker, if one passes no Moments.
        ValueError: On every worker, if they have different numbers of channels.

    Examples:
        This worker has 1 and 3, and the communicator plays another one that has 5 and 7:

        >>> from refbn.exchange import Part
        >>> class WithAnother:
        ...     rank = 0
        ...     def allreduce(self, part, op):
        ...         return op(part, Part(1, part.terms, Moments.of([[5.0], [7.0]], axis=0)))
        >>> sync_moments(Moments.of([[1.0], [3.0]], axis=0), WithAnother())
        Moments(count=array([4]), mean=array([4.]), m2=array([20.]))

    References:
        Chan, Golub and LeVeque (1979), equation 2.1.
    """
    with told(communicator):
        if not isinstance(moments, Moments):
            raise TypeError(
                f"sync_moments() takes the Moments of a shard; got {type(moments).__name__}. "
                "Moments.of makes them from an array."
            )
    terms = {"call": "sync_moments", "number of channels": moments.mean.size}
    return cast(Moments, merged(moments, terms, communicator))


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
    shards together. Shards may differ in their length and in how many values a mask leaves them.
    Running statistics made from `cache.moments` are the same on every worker.

    Alone, `batch_norm_train` lets NaN and Inf pass: they stay in their channel, where you see them
    beside the input that they came from. Here every worker would get them, and none could tell
    where from. So a shard that has them is refused, and the error names its worker. Values of `y`
    too large for its dtype become Inf on their worker, without a warning: what NumPy was told to
    raise there, the others would not hear of.

    Args:
        x: Shard of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating, of the
            same dtype on all workers. `N` may be 0: that worker still takes part.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        communicator: Anything with mpi4py's `rank` and `allreduce`.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.
        where: Booleans that broadcast to the shape of `x`, True at the values that count.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`Cache`][refbn.Cache] for
        [`sync_batch_norm_backward`][refbn.sync_batch_norm_backward]. Its `moments` are those of
        the whole batch.

    Raises:
        TypeError: If the communicator is none; on every worker, if an array of one worker is not
            floating, or its `where` not boolean.
        ValueError: On every worker, if a shape on one of them does not fit, its `eps` is negative,
            or its shard has NaN or Inf; if they differ in the number of channels, the dtype or
            `eps`; if a channel has no values on any of them, its variance over all of them is not
            finite, or it is constant on all of them and `eps` is 0.
        Exception: On every worker, if one raises another error as its array is read.

    Examples:
        This worker has a 1, and the communicator plays another one that has a 3:

        >>> from refbn.exchange import Part
        >>> class WithAnother:
        ...     rank = 0
        ...     def allreduce(self, part, op):
        ...         return op(part, Part(1, part.terms, Moments.of([[3.0]], axis=0)))
        >>> y, cache = sync_batch_norm_train([[1.0]], communicator=WithAnother(), eps=0.0)
        >>> y
        array([[-1.]])
    """
    with told(communicator):  # all that could fail on one worker alone
        array = as_floating("x", x)
        axis, mask = reduced_axes(array.shape, channel_axis), as_mask(where, array.shape)
        for name, value in (("gamma", gamma), ("beta", beta)):
            if value is not None:
                per_channel(name, value, array.shape, channel_axis)
        check_eps(eps)
        eps = float(eps)
        own = Moments.of(array, axis, mask)
        _check_finite(own)
    terms = {
        "call": "sync_batch_norm_train",
        "number of channels": own.mean.size,
        "dtype": array.dtype.name,
        "eps": eps,
    }
    moments = merged(own, terms, communicator)
    _check_whole(moments)
    with np.errstate(over="ignore"):  # from here on, one worker alone must not raise
        return train_with(moments, own, array, gamma, beta, eps, channel_axis, mask)


@np.errstate(invalid="ignore", over="ignore")  # Inf passes, and no worker raises alone
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

    NaN and Inf in `dy` pass, to every worker: training in half precision looks for them, to leave
    out a step whose gradient overflowed.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating.
        cache: What the forward pass returned beside `y`.
        communicator: The one of the forward pass.

    Returns:
        Gradients with respect to `x`, in full, and this shard's part of those with respect to
        `gamma` and `beta`.

    Raises:
        TypeError: If the communicator is none; on every worker, if `dy` of one is not floating, or
            its `cache` no Cache.
        ValueError: On every worker, if `dy` of one is not of the shape of its `y`, its shard is
            not what it was, or the workers or the caches are not those of one forward pass.

    Examples:
        One worker alone receives what it sent, and the gradients are those of its batch:

        >>> class Alone:
        ...     rank = 0
        ...     def allreduce(self, part, op):
        ...         return part
        >>> x, gamma, beta = [[0.0], [1.0], [2.0]], [1.0], [0.0]
        >>> y, cache = sync_batch_norm_train(x, gamma, beta, communicator=Alone())
        >>> sync_batch_norm_backward([[1.0], [0.0], [0.0]], cache, Alone()).beta
        array([1.])
    """
    with told(communicator):
        own = _Sums(*gradient_sums(dy, cache), int(cache.own.count.sum()))
    n = int(cache.moments.count.sum())
    terms = {
        "call": "sync_batch_norm_backward",
        "moments in the forward pass": _described(cache.moments),
    }
    whole = merged(own, terms, communicator)
    if whole.values != n:
        raise ValueError(
            "the workers must be those of the forward pass; got parts of "
            f"{whole.values} values together, for a forward pass over {n}. "
            "Pass the cache of sync_batch_norm_train, and the same communicator."
        )
    return Gradients(
        x=gradient_with(whole.dgamma, whole.dbeta, dy, cache),
        gamma=None if cache.gamma is None else own.dgamma,
        beta=own.dbeta if cache.has_beta else None,
    )


class _Sums(NamedTuple):
    """The two sums over a shard that gradients are made of, and how many values it has."""

    dgamma: Array
    dbeta: Array
    values: int

    def merge(self, other: _Sums) -> _Sums:
        return _Sums(*map(add, self, other))


def _described(moments: Moments) -> str:
    """Return a short text that is another one for nearly all other moments, such as of a layer."""
    checksum = crc32(moments.mean.tobytes() + moments.m2.tobytes())
    return f"{moments.count.sum()} values (checksum {checksum:08x})"


def _check_finite(own: Moments) -> None:
    """Raise a ValueError if a shard would make the statistics of all workers NaN or infinite."""
    odd = ~np.isfinite(own.m2)  # NaN where the mean is not finite
    if odd.any():
        raise ValueError(
            "a shard must be finite, as its statistics go to all workers; "
            f"got NaN, Inf or squares that overflow in channels {np.flatnonzero(odd).tolist()}. "
            "Look for the layer before this one that made them, or mask them out by where."
        )


def _check_whole(moments: Moments) -> None:
    """Raise a ValueError, the same on every worker, if nothing can be normalised with these."""
    if np.any(moments.count == 0):
        raise ValueError(
            "training needs at least 1 value per channel on all workers together; "
            f"got none in channels {np.flatnonzero(moments.count == 0).tolist()}. "
            "One worker may have none, but not all: leave this batch out on every worker."
        )
    odd = ~np.isfinite(moments.m2)
    if odd.any():
        raise ValueError(
            "the shards together must have a finite variance; "
            f"got squares that overflow in channels {np.flatnonzero(odd).tolist()}. "
            "Look for the layer before this one that made such large values."
        )
