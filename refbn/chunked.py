r"""Moments of a Dask array, whose chunks need not fit into memory together.

[`Moments`][refbn.Moments] merge, so the moments of a data set are those of its parts. Dask has
chunks of arrays, schedulers that run through them, and reductions in the shape of a tree. What is
added here is what happens in its nodes: [`Moments.of`][refbn.moments.Moments.of] a chunk, and
[`Moments.merge`][refbn.moments.Moments.merge]. Each value is read once. Behind a chunk only three
numbers for each channel are kept, so memory is that of the chunks that are at work at one time.

Nothing is added to how Dask runs it. Without more ado that is a pool of threads; after
`dask.distributed.Client()` it is a cluster, with the same line of code. A worker that dies takes
its results along, and Dask makes them again. Merging in another order changes rounding only.

Dask is imported when a function is called: `pip install "refbn[dask]"` brings it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import REAL, Array, check_mask, reduced_axes
from refbn.moments import Moments
from refbn.running import RunningStatistics

Axes = tuple[int, ...]

_TABLE = np.dtype([("count", np.int64), ("mean", np.float64), ("m2", np.float64)])


def chunked_moments(
    x: Any, axis: int | Iterable[int] | None = None, where: npt.ArrayLike | None = None
) -> Any:
    r"""Return the moments of a Dask array over some of its axes, lazily.

    $$\bar{x} = \bar{x}_a + \delta \frac{n_b}{n}, \qquad
    M_2 = M_{2,a} + M_{2,b} + \delta^2 \frac{n_a n_b}{n}, \qquad
    \delta = \bar{x}_b - \bar{x}_a$$

    Two chunks \(a\) and \(b\) are merged so, then the results with one another: few at a time, as
    Dask's setting `split_every` says, and in as many levels as the logarithm of their number. The
    value is that of [`Moments.of`][refbn.moments.Moments.of] for the whole array, up to rounding,
    whatever the chunks are: unequal, empty, or cut through the channels.

    Nothing is read until the result is computed. Several results are computed in one pass over
    what they share: `dask.compute(first, second)`.

    Args:
        x: Dask array of any shape; float16, bfloat16, float32 or float64. Lengths of chunks may be
            unknown, as they are behind `x[condition]`.
        axis: Axes to reduce, in NumPy's sense; None for all of them.
        where: Booleans that broadcast to the shape of `x`, True at the values that count; a Dask
            array, with any chunks, or anything that NumPy takes.

    Returns:
        A `dask.delayed.Delayed` whose `compute()` returns [`Moments`][refbn.Moments] of the shape
        of `x` without the reduced axes.

    Raises:
        ImportError: If Dask is not installed.
        TypeError: If `x` is no Dask array, or masked, or of another dtype; or `where` is not
            boolean.
        ValueError: If `where` does not broadcast to the shape of `x`, or has fewer axes.

    Examples:
        Chunks of 1, 3 and of 8 have the means 2 and 8; the three values have the mean 4:

        >>> import dask.array as da
        >>> x = da.from_array(np.array([[1.0], [3.0], [8.0]]), chunks=(2, 1))
        >>> chunked_moments(x, axis=0).compute()
        Moments(count=array([3]), mean=array([4.]), m2=array([26.]))

    References:
        Chan, Golub and LeVeque (1979), equation 2.1.
    """
    _check_chunked(x)
    axes = np.lib.array_utils.normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    table = _merged(_of_chunks(x, axes, where), axes)
    # optimised now, each result would get chunks of its own, and two of them read the data twice
    parts = table.to_delayed(optimize_graph=False).tolist()
    return _dask().delayed(_to_moments, pure=True)(parts)


def chunked_population_statistics(
    x: Any, *, channel_axis: int = 1, ddof: int = 1
) -> RunningStatistics:
    r"""Go once through all chunks and return the statistics of all their values, to recalibrate.

    This is [`population_statistics`][refbn.population_statistics] of a Dask array. Set
    `layer.running` to the result. A layer *inside* a network is given what the layers before it
    make of a chunk, and that is a Dask array as well: `x.map_blocks(before)`, where `before` takes
    and returns NumPy arrays and the model no longer changes.

    It runs where Dask runs: on threads, or on the workers of a `dask.distributed.Client`.

    Args:
        x: Dask array of shape `(N, C)` to `(N, C, *spatial)`, floating. Any axis may be cut into
            chunks, that of the channels too.
        channel_axis: The axis of `x` that holds the channels.
        ddof: 1 divides by \(n - 1\), 0 by \(n\), the number of all values of a channel.

    Returns:
        Mean and variance of all values, and as `num_batches` how many chunks each channel has.

    Raises:
        ImportError: If Dask is not installed.
        TypeError: If `x` is no Dask array, or not floating and real, or masked.
        ValueError: If `x` has too few axes, a value is not finite, a channel has not more than
            `ddof` values in all, or `ddof` is neither 0 nor 1. The first chunk that is found to
            have a value that is not finite ends the run, and a note says which it was. Chunks
            with other channels than the rest end it as well.

    Examples:
        >>> import dask.array as da
        >>> x = da.from_array(np.array([[0.0], [2.0], [4.0]]), chunks=(2, 1))
        >>> chunked_population_statistics(x, ddof=0)
        RunningStatistics(mean=array([2.]), var=array([2.66666667]), num_batches=2)

    References:
        Ioffe and Szegedy (2015), section 3.1: population statistics instead of those of a batch.
        Chan, Golub and LeVeque (1979), equation 2.1.
    """
    _check_chunked(x)
    axes = reduced_axes(x.shape, channel_axis)
    Moments(*np.full((3, 1), 2.0)).var(ddof)  # a ddof that cannot be fails before a long run
    parts = _of_chunks(x, axes)
    finite = parts.map_blocks(_refuse_what_is_not_finite, meta=_nothing(x.ndim))
    total = _to_moments(_merged(finite, axes).compute())
    number = math.prod(x.numblocks[axis] for axis in axes)
    return RunningStatistics(total.mean, total.var(ddof), number)


def _of_chunks(x: Any, axes: Axes, where: npt.ArrayLike | None = None) -> Any:
    """Return a Dask array whose chunks are Moments, each where the chunk was that it is of."""
    da = _dask().array
    arrays = [x]
    if where is not None:
        mask = da.asarray(where)
        check_mask(mask.dtype, mask.shape, x.shape)
        arrays = [_without_empty_beside_one(array) for array in (x, mask)]
    pairs = [each for array in arrays for each in (array, range(array.ndim))]
    # `blockwise` cuts array and mask into the same chunks
    return da.blockwise(_of_chunk, range(x.ndim), *pairs, axes=axes, meta=_nothing(x.ndim))


def _without_empty_beside_one(x: Any) -> Any:
    """Return an array with one chunk on axes of length 1; Dask broadcasts to each of several."""
    return x.rechunk({axis: 1 for axis, length in enumerate(x.shape) if length == 1})


def _of_chunk(x: Array, where: Array | None = None, *, axes: Axes) -> Moments:
    return Moments.of(x, axes, where)


def _refuse_what_is_not_finite(part: Moments, block_id: tuple[int, ...]) -> Moments:
    """Return the moments of a chunk, or say which chunk spoils the total."""
    try:
        RunningStatistics(part.mean, part.m2)
    except ValueError as error:
        place = ", ".join(map(str, block_id))
        error.add_note(
            f"It was the chunk x.blocks[{place}], with its channels counted from 0. "
            "No statistics were made."
        )
        raise
    return part


def _merged(parts: Any, axes: Axes) -> Any:
    """Return the moments of all chunks together as a Dask array, by a reduction that is a tree."""
    return _dask().array.reduction(
        parts,
        chunk=_as_it_is,
        combine=_merge,
        aggregate=_merge_to_table,
        axis=axes,
        dtype=_TABLE,
        concatenate=False,
        meta=_nothing(parts.ndim - len(axes)),
    )


def _as_it_is(part: Moments, **_: Any) -> Moments:
    return part


def _merge(parts: Any, **_: Any) -> Moments:
    """Merge what Dask brings together: moments in lists, one in the other for each axis."""
    found = list(_dask().core.flatten([parts]))
    shapes = sorted({part.mean.shape for part in found})
    if len(shapes) > 1:  # they would broadcast
        raise ValueError(
            f"all chunks must have the same channels; got moments of shapes {shapes}. Look for odd "
            "files, such as grey pictures among coloured ones."
        )
    merged: Moments = reduce(Moments.merge, found)
    return merged


def _merge_to_table(parts: Any, **_: Any) -> Array:
    """Return merged moments as an array, because Dask lays those of several channels together."""
    total = _merge(parts)
    table = np.empty(total.count.shape, _TABLE)
    table["count"], table["mean"], table["m2"] = total.count, total.mean, total.m2
    return table


def _to_moments(parts: Any) -> Moments:
    """Return the moments of a table, or of parts of one in lists in lists, one for each axis."""
    table = np.block(parts)
    return Moments(table["count"], table["mean"], table["m2"])


def _nothing(ndim: int) -> Array:
    """Return what Dask asks for, that it need not try our functions on nothing."""
    return np.empty((0,) * ndim, _TABLE)


def _check_chunked(x: Any) -> None:
    """Raise a TypeError if something is no Dask array that moments can be taken of."""
    array = _dask().array
    if not isinstance(x, array.Array):
        raise TypeError(
            f"x must be a Dask array; got {type(x).__name__}. Make one with dask.array.from_array, "
            "from_zarr, from_npy_stack or from_delayed. Arrays in memory go to Moments.of or "
            "population_statistics."
        )
    if isinstance(array.utils.meta_from_array(x), np.ma.MaskedArray):
        raise TypeError(
            "x must be of plain arrays, because the mask of masked ones would be lost. "
            "Pass dask.array.ma.getdata(x); chunked_moments takes the mask as "
            "where=~dask.array.ma.getmaskarray(x)."
        )
    if x.dtype.name not in REAL:
        raise TypeError(
            f"x must be an array of {', '.join(REAL)}; got dtype {x.dtype}. "
            "Convert it first, chunk by chunk: x.astype(np.float32)."
        )


def _dask() -> Any:
    """Return the package dask with its arrays."""
    try:
        import dask.array  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise ImportError(
            "chunked arrays need the package dask, which cannot be imported. "
            'Run pip install "refbn[dask]", or pass the parts one by one to population_statistics.'
        ) from error
    return dask
