r"""Walk through arrays of any size and layout in blocks, within a few mebibytes.

A sum over a large array is made of the sums over its two halves, and so on until a block fits into
a cache. That is fast, as a value is fetched from memory once for all that is done with it; it is
accurate, as rounding errors grow with the logarithm of the size only; and it copies no array whole.
All walking happens here. The other modules say what is done with a block, and how the results of
two halves are merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, double

Parts = tuple[Array, ...]

_BLOCK = 2**18  # values: two mebibytes in float64, so that a block stays in a cache
_CHANNELS = 2**10  # kept together in a block: with more, there are few values for each to reduce
_WORTH_A_DOT = 64  # values: for shorter rows, calling a dot product costs more than it saves
_DOT = 2**10  # values: a dot product adds so many nearly as well as pairwise
_DOUBLE = 8  # bytes of a float64; a complex128 has more
_TINY, _HUGE = 1e-37, 1e30  # float32 ends at 1e-38 and 3e38


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Walk through arrays side by side.

    Args:
        *arrays: Arrays that broadcast to the shape of the first, which decides the blocks.

    Yields:
        Views of all arrays, which together hold every position of the first array once.

    Examples:
        >>> [block.shape for (block,) in blocks(np.zeros((3, 200_000)))]
        [(1, 200000), (1, 200000), (1, 200000)]
    """
    x = arrays[0]
    if x.size <= _BLOCK:
        yield arrays
        return
    cut = _outermost(x, range(x.ndim))
    for part in _cut(cut, _BLOCK * x.shape[cut] // x.size, *arrays):
        yield from blocks(*part)


def reduce_in_blocks(
    function: Callable[..., Parts],
    merge: Callable[[Parts, Parts], Parts],
    axis: tuple[int, ...],
    *arrays: Array,
) -> Parts:
    """Reduce arrays block by block, and merge the results pair by pair.

    Args:
        function: What turns one block of each array into a tuple of arrays that have length 1
            along `axis` and the length of the block along all other axes.
        merge: What makes one such tuple of two, whose blocks lay side by side along `axis`.
        axis: The axes that are reduced, non-negative.
        *arrays: Arrays that broadcast to the shape of the first, which decides the blocks.

    Returns:
        The tuple for the whole arrays.
    """
    x = arrays[0]
    if x.size <= _BLOCK:
        return function(*arrays)
    kept = [k for k in range(x.ndim) if k not in axis]
    channels = math.prod(x.shape[k] for k in kept)
    cut = _outermost(x, kept if channels > _CHANNELS else range(x.ndim))
    values = max(_BLOCK, _CHANNELS * x.size // channels) if channels > _CHANNELS else _BLOCK
    pieces = _cut(cut, values * x.shape[cut] // x.size, *arrays)
    results = [reduce_in_blocks(function, merge, axis, *piece) for piece in pieces]
    joined = tuple(np.concatenate(parts, axis=cut) for parts in zip(*results, strict=True))
    return _merged(merge, cut, joined) if cut in axis else joined


def _merged(merge: Callable[[Parts, Parts], Parts], cut: int, parts: Parts) -> Parts:
    """Merge results that lie side by side along an axis: each with its neighbour, all at once."""
    while (length := parts[0].shape[cut]) > 1:
        even = length - length % 2
        pairs = merge(_slice(parts, cut, 0, even, 2), _slice(parts, cut, 1, even, 2))
        last = _slice(parts, cut, even, length, 1)
        parts = tuple(np.concatenate(both, axis=cut) for both in zip(pairs, last, strict=True))
    return parts


def _cut(cut: int, step: int, *arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Cut arrays along an axis; those of length 1, which broadcast, go whole into all parts."""
    step = max(step, 1)
    for start in range(0, arrays[0].shape[cut], step):
        yield _slice(arrays, cut, start, start + step, 1)


def _slice(arrays: Parts, cut: int, start: int, stop: int, step: int) -> Parts:
    """Return views of a part of each array along an axis, of the whole where its length is 1."""
    part = (*(slice(None),) * cut, slice(start, stop, step))
    return tuple([a if a.shape[cut] == 1 else a[part] for a in arrays])


def _outermost(x: Array, axes: Iterable[int]) -> int:
    """Return the axis, longer than 1, along which neighbours lie farthest apart in memory."""
    return max((abs(x.strides[a]), a) for a in axes if x.shape[a] > 1)[1]


class Scratch:
    """Memory for one block, used again for the next: new memory would cost more than the sums."""

    __slots__ = ("_memory",)

    def __init__(self, x: Array, dtype: npt.DTypeLike) -> None:
        """Make room for any block of an array.

        Args:
            x: The array that will be walked through.
            dtype: The dtype to compute in.
        """
        self._memory = np.empty(min(x.size, _BLOCK), dtype)

    def like(self, block: Array) -> Array:
        """Return the memory in the shape of a block, with anything in it.

        Args:
            block: A block of the array, of any layout.

        Returns:
            A contiguous array, which the next call overwrites.
        """
        return self._memory[: block.size].reshape(block.shape)

    def filled(self, block: Array) -> Array:
        """Return a copy of a block in the dtype to compute in.

        Args:
            block: A block of the array, of any layout.

        Returns:
            A contiguous array, which the next call overwrites.
        """
        copy = self.like(block)
        copy[...] = block
        return copy


def quick_sum(a: Array, axis: tuple[int, ...]) -> Array:
    """Return the sum over some axes, which stay with length 1, in an order of no merit.

    The outermost and the innermost axes are summed as matrix products, which is fast, but does not
    add pairwise. This is for sums whose rounding errors are corrected, or small beside what they
    are used for.

    Args:
        a: Contiguous array in double precision.
        axis: The axes to sum over, non-negative.

    Returns:
        Sums of the shape of `a` with length 1 along `axis`.

    Examples:
        >>> quick_sum(np.array([[1.0, 2.0], [3.0, 4.0]]), (0,))
        array([[4., 6.]])
    """
    kept = [k for k in range(a.ndim) if k not in axis]
    first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
    outer, inner = math.prod(a.shape[:first]), math.prod(a.shape[last:])
    middle = [1] * first + [*a.shape[first:last]] + [1] * (a.ndim - last)
    if a.size > 0:
        a = a if outer == 1 else np.ones(outer) @ a.reshape(outer, -1)
        a = a if inner == 1 else a.reshape(-1, inner) @ np.ones(inner)
        a = a.reshape(middle)
    return np.asarray(np.add.reduce(a, axis=axis, keepdims=True))


def sum_of_products(a: Array, b: Array, axis: tuple[int, ...], scratch: Scratch) -> Array:
    """Return the sum of `a * b` over some axes, which stay with length 1, added pairwise.

    NumPy adds pairwise along the last axis only, and along the first one after the other. So the
    products are folded in halves here. Where the last axes are summed and long, each stretch of
    them is a dot product first.

    Args:
        a: Contiguous array in double precision.
        b: Array like `a`.
        axis: The axes to sum over, non-negative.
        scratch: Memory that holds neither `a` nor `b`.

    Returns:
        Sums of the shape of `a` with length 1 along `axis`; complex numbers are not conjugated.

    Examples:
        >>> a = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> sum_of_products(a, a, (0,), Scratch(a, a.dtype))
        array([[10., 20.]])
    """
    inner = max((k for k in range(a.ndim) if k not in axis), default=-1) + 1
    stretch = math.prod(a.shape[inner:])
    if stretch < _WORTH_A_DOT:
        sums = np.multiply(a, b, out=scratch.like(a))
    else:
        rows = a.shape[:inner]
        sums = _dots(a.reshape(*rows, stretch), b.reshape(*rows, stretch))
        sums = sums.reshape(*rows, *(1,) * (a.ndim - inner))
    for cut in axis:
        while (length := sums.shape[cut]) > 1:
            (first,), (rest,) = _cut(cut, (length + 1) // 2, sums)
            first[tuple(map(slice, rest.shape))] += rest
            sums = first
    return np.asarray(np.add.reduce(sums, axis=axis, keepdims=True))  # not in scratch memory


def _dots(a: Array, b: Array) -> Array:
    """Return the dot products of rows; a dot adds in a few lanes, so long rows are cut."""
    whole = a.shape[-1] - a.shape[-1] % _DOT
    pieces = (*a.shape[:-1], -1, _DOT)
    head, tail = np.s_[..., :whole], np.s_[..., whole:]
    # vecdot conjugates its first argument once more
    dots = np.vecdot(a[head].reshape(pieces).conj(), b[head].reshape(pieces))
    return np.asarray(np.add.reduce(dots, axis=-1) + np.vecdot(a[tail].conj(), b[tail]))


def evaluate(
    formula: Callable[..., None],
    arrays: Sequence[Array],
    numbers: Sequence[Array],
    where: Array | None = None,
) -> Array:
    """Return what a formula makes of some arrays and of some numbers for each channel.

    Arrays narrower than float64 are computed with in float32, except in channels whose numbers it
    cannot hold. Complex stays complex, whichever argument brought it in.

    Args:
        formula: Function `(out, spare, *arrays, *numbers)` that writes its result for one block
            into `out`, and may use `spare` as it likes.
        arrays: Arrays of one shape.
        numbers: Arrays in double precision that broadcast to that shape, one value per channel.
        where: Mask of that shape, or None; the result is 0 where it is False.

    Returns:
        Array of the shape, the layout and the dtype of the first array.
    """
    dtype = arrays[0].dtype
    if any(a.dtype.kind == "c" for a in (*arrays, *numbers)):
        dtype = np.dtype(np.complex128)
    y = np.empty_like(arrays[0], dtype=dtype)
    if where is not None:  # what is masked out may be anything, but must not overflow
        for target, here, *block in blocks(y, where, *arrays, *numbers):
            kept = [np.where(here, a, a.dtype.type(0)) for a in block[: len(arrays)]]
            np.copyto(target, evaluate(formula, kept, block[len(arrays) :]))
            target[~here] = 0
    elif dtype.itemsize >= _DOUBLE:
        _sweep(formula, y, double(dtype), arrays, numbers)
    else:
        every = np.stack(numbers)
        size = np.abs(every)
        wide = ~np.all((size == 0) | ((size > _TINY) & (size < _HUGE)), axis=0)
        narrow = np.where(wide, 0, every).astype(np.float32)  # with 0 nothing overflows
        _sweep(formula, y, narrow.dtype, arrays, narrow)
        if wide.any():
            _sweep(formula, y, every.dtype, arrays, every, wide)
    return y


def rounded(value: Array, dtype: np.dtype[np.generic]) -> tuple[Array, Array]:
    """Cut a number in two: what [`evaluate`][refbn.blocks.evaluate] can hold of it, and the rest.

    Args:
        value: Array in double precision.
        dtype: The dtype of the arrays that it will meet.

    Returns:
        Two arrays whose sum is `value`. The first is subtracted without error from arrays whose
        values lie near it. What lies beyond float32 is all in the first, as `evaluate` computes
        with it in float64.
    """
    rest = np.zeros_like(value)
    if dtype.itemsize >= _DOUBLE or value.dtype.kind == "c":
        return value, rest
    held, near = value.copy(), np.abs(value) < _HUGE
    held[near] = value[near].astype(np.float32)
    return held, np.subtract(value, held, out=rest, where=near)


def _sweep(
    formula: Callable[..., None],
    y: Array,
    precision: np.dtype[Any],
    arrays: Sequence[Array],
    numbers: Iterable[Array],
    channels: Array | None = None,
) -> None:
    """Write the values of a formula into an array, or into some channels, block by block."""
    scratch, spare = Scratch(y, precision), Scratch(y, precision)
    here = np.ones((1,) * y.ndim, bool) if channels is None else channels
    for target, where, *block in blocks(y, here, *arrays, *numbers):
        direct = channels is None and y.dtype == precision
        out = target if direct else scratch.like(target)
        formula(out, spare.like(target), *block)
        if not direct:
            np.copyto(target, out, casting="unsafe", where=where)
