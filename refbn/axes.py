r"""Which axes are reduced, which one is kept, and what an array may be made of.

Everything that has to do with the shape of an array is decided here, so that the other
modules can write down their equations as if every array were a matrix.

Two words are easily confused, so each has one meaning throughout `refbn`:

- `axis` is NumPy's: the axes that a mean or a sum runs over, the ones that *disappear*;
- `channel_axis` is the one axis that a batch norm *keeps*: one mean, one variance, one gamma
  and one beta for every position along it.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

propagate_silently = np.errstate(divide="ignore", invalid="ignore", under="ignore")
"""Decorator: NaN and Inf go through and stay in their channel; what vanishes may vanish."""

REAL = ("float16", "bfloat16", "float32", "float64")
"""The name of each dtype of real numbers that `refbn` computes with."""

_NUMPYS = {np.float16, np.float32, np.float64, np.complex128}  # bfloat16 is of another package


def as_floating(name: str, value: npt.ArrayLike) -> Array:
    """Return `value` as an array of a dtype that `refbn` computes with.

    Args:
        name: What to call the value in an error message.
        value: Array of any shape; float16, bfloat16 (of the package ml_dtypes), float32 or
            float64. complex128 passes too: the complex-step derivative of
            [`refbn.gradcheck`][refbn.gradcheck] needs it.

    Returns:
        The same array, not copied where it is one already.

    Raises:
        TypeError: For integers, booleans, objects and every other dtype, as a mean of integers
            has no dtype to come back in; and for masked arrays, whose mask would be lost.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain array, because the mask of a masked one would be lost. "
            f"Pass {name}.data, and where=~np.ma.getmaskarray({name})."
        )
    array = np.asarray(value)
    if array.dtype.type not in _NUMPYS and array.dtype.name != "bfloat16":
        raise TypeError(
            f"{name} must be an array of {', '.join(REAL)}; got dtype {array.dtype}. "
            f"Convert it first, for example with np.asarray({name}, dtype=np.float64)."
        )
    return array


def as_mask(where: npt.ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """Return a copy of a mask, seen in the full shape, or None.

    Args:
        where: Booleans that broadcast to `shape`, True at the values that count, or None. They
            need as many axes: one for each sample would else be taken for one for each channel.
        shape: Shape of the array that is masked.

    Returns:
        A read-only view of shape `shape`, or None where there is no mask.

    Raises:
        TypeError: If `where` is not boolean.
        ValueError: If `where` does not broadcast to `shape`, or has fewer axes.
    """
    if where is None:
        return None
    mask = np.array(where)  # a copy, of the shape that it was given in
    check_mask(mask.dtype, mask.shape, shape)
    return np.broadcast_to(mask, shape)


def check_mask(dtype: np.dtype[Any], mask: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise an error if a mask is no mask, or does not fit.

    Args:
        dtype: dtype of the mask.
        mask: Shape of the mask. A length may be NaN, as Dask has it where it is not known yet.
        shape: Shape of the array that is masked, likewise.

    Raises:
        TypeError: If the dtype is not boolean.
        ValueError: If the mask does not broadcast to `shape`, or has fewer axes.
    """
    if dtype.kind != "b":
        raise TypeError(
            f"where must be an array of booleans; got dtype {dtype}. "
            "Compare first, for example with where != 0."
        )
    fits = all(m in {1, n} or math.isnan(m + n) for m, n in zip(mask, shape, strict=False))
    if len(mask) not in {0, len(shape)} or not fits:
        raise ValueError(
            f"where must broadcast to the shape of x, {shape}; got where.shape={mask}. "
            "Give it as many axes as x, with length 1 along those that it does not depend on."
        )


def reduced_axes(shape: tuple[int, ...], channel_axis: int) -> tuple[int, ...]:
    """Return the axes that are averaged over: all but the channel axis.

    Args:
        shape: Shape of the array, `(N, C)` up to `(N, C, *spatial)` in any order of axes.
        channel_axis: The axis that is kept; negative values count from the end.

    Returns:
        The other axes in increasing order, all of them non-negative.

    Raises:
        ValueError: If there are fewer than two axes, or no such axis.

    Examples:
        >>> reduced_axes((8, 3, 32, 32), channel_axis=1)
        (0, 2, 3)
        >>> reduced_axes((8, 32, 32, 3), channel_axis=-1)
        (0, 1, 2)
    """
    ndim = len(shape)
    if ndim < 2:  # noqa: PLR2004 (samples and channels)
        raise ValueError(
            f"x must have at least 2 axes, samples and channels; got x.shape={shape}. "
            "Use x.reshape(-1, 1) for samples of one channel, x.reshape(1, -1) for one sample."
        )
    if not (isinstance(channel_axis, Integral) and -ndim <= channel_axis < ndim):
        raise ValueError(
            f"channel_axis must name an axis of x, from {-ndim} to {ndim - 1}; "
            f"got channel_axis={channel_axis!r} for x.shape={shape}."
        )
    return tuple(a for a in range(ndim) if a != channel_axis % ndim)


def check_eps(eps: float) -> None:
    """Raise a ValueError if an epsilon is not a number from 0 up.

    Args:
        eps: What is added to a variance.

    Raises:
        ValueError: If it is no real number, negative, infinite or NaN.
    """
    if not (isinstance(eps, Real) and 0 <= eps < np.inf):
        raise ValueError(
            f"eps must be a finite number, not negative; got eps={eps!r}. The usual value is 1e-5."
        )


def per_channel(
    name: str, value: npt.ArrayLike, shape: tuple[int, ...], channel_axis: int
) -> Array:
    """Return one value per channel, shaped so that it broadcasts against the whole array.

    Args:
        name: What to call the value in an error message.
        value: One number per channel, shape `(C,)`.
        shape: Shape of the array that it is to meet.
        channel_axis: The axis of that array that holds the channels.

    Returns:
        A view of shape `(1, .., C, .., 1)` in float64 (complex128 if `value` is complex).

    Raises:
        TypeError: If `value` is not floating.
        ValueError: If its shape is not `(C,)`.
    """
    reduced_axes(shape, channel_axis)  # which says what is wrong with the channel axis
    array = as_floating(name, value)
    channels = shape[channel_axis]
    if array.shape != (channels,):
        raise ValueError(
            f"{name} must have one value for each of the {channels} channels, shape ({channels},); "
            f"got {name}.shape={array.shape} for an array of shape {shape} "
            f"with channel_axis={channel_axis}. "
            "Pass one value per channel, or another channel_axis."
        )
    return along_channels(in_double(array), len(shape), channel_axis)


def along_channels(values: Array, ndim: int, channel_axis: int) -> Array:
    """Shape one value per channel so that it broadcasts against an array.

    Args:
        values: Array of shape `(C,)`.
        ndim: Number of axes of the array that it is to meet.
        channel_axis: The axis of that array that holds the channels.

    Returns:
        A view of shape `(1, .., C, .., 1)`.

    Examples:
        >>> along_channels(np.array([1.0, 2.0, 3.0]), ndim=4, channel_axis=1).shape
        (1, 3, 1, 1)
    """
    shape = [1] * ndim
    shape[channel_axis] = -1
    return values.reshape(shape)


def double(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the precision of all sums: complex128 for complex numbers, float64 for all others.

    Args:
        dtype: A dtype that `refbn` computes with.

    Returns:
        The dtype of sums of it.
    """
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def in_double(array: Array) -> Array:
    """Return the array in float64, or in complex128 if it is complex: the precision of all sums.

    NumPy adds pairwise only along the fast axis in memory. Along axis 0 it adds one row after the
    other, and in float32 a mean over a million rows can then be off by whole units.

    Args:
        array: Array of any shape and floating dtype.

    Returns:
        The array in double precision, not copied where it is already.
    """
    return array.astype(double(array.dtype), copy=False)


@propagate_silently
def in_dtype(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return a result in the dtype of what it was made of; complex stays complex.

    Args:
        array: Result in double precision.
        dtype: dtype of the input. Where another argument was complex, so is the result.

    Returns:
        The array in `dtype` or complex128, not copied where it is that already.
    """
    return array if array.dtype.kind == "c" else array.astype(dtype, copy=False)
