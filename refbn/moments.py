r"""Count, mean and sum of squared deviations: the statistics of a batch as one value.

A batch norm needs a mean and a variance. Neither can be put together from parts: the mean of
two means is wrong where the parts differ in size, and the mean of two variances forgets how far
apart the means lie. Count, mean and the *sum* of squared deviations can. So these three are kept
together, and dividing by \(n\) or by \(n - 1\) waits until somebody asks for a variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, as_floating, as_mask, double, in_double, propagate_silently
from refbn.blocks import Parts, Scratch, quick_sum, reduce_in_blocks, sum_of_products


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    r"""How many values there were, their mean, and how far they lie from it.

    $$n, \qquad \bar{x} = \frac{1}{n} \sum_i x_i, \qquad M_2 = \sum_i (x_i - \bar{x})^2$$

    The fields have one entry for each group of values, for a batch norm one per channel, shape
    `(C,)`. They are float64 (the count is int64) whatever the array was, and read-only.

    Attributes:
        count: Number of values \(n\); under a mask it may differ between channels.
        mean: Mean of the values; 0 where there are none.
        m2: Sum of squared deviations from the mean, in the square of the values' unit.

    Raises:
        ValueError: If the three fields differ in shape.

    Examples:
        >>> Moments.of(np.array([1.0, 3.0]))
        Moments(count=array(2), mean=array(2.), m2=array(2.))

    References:
        Chan, Golub and LeVeque (1979), Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances, Stanford CS-TR-79-773.
    """

    count: Array
    mean: Array
    m2: Array

    def __post_init__(self) -> None:
        """Keep read-only copies, so that a value stays what it was."""
        for name in ("count", "mean", "m2"):
            value = np.asarray(getattr(self, name))
            copy = value.astype(np.int64) if name == "count" else np.array(in_double(value))
            copy.flags.writeable = False
            object.__setattr__(self, name, copy)
        if not self.count.shape == self.mean.shape == self.m2.shape:
            raise ValueError(
                "count, mean and m2 must have one shape; got "
                f"{self.count.shape}, {self.mean.shape} and {self.m2.shape}. "
                "Moments.of makes them from an array."
            )

    def __reduce__(self) -> tuple[type[Moments], tuple[Array, Array, Array]]:
        """Be made anew where a pickle is read, so that the fields are read-only there too."""
        return Moments, (self.count, self.mean, self.m2)

    @classmethod
    def empty(cls) -> Moments:
        """Return the moments of no values at all: merging them with others changes nothing.

        Returns:
            Moments of shape `()`, which broadcast against every other shape.
        """
        return cls(np.array(0), np.array(0.0), np.array(0.0))

    @classmethod
    def of(
        cls,
        x: npt.ArrayLike,
        axis: int | Iterable[int] | None = None,
        where: npt.ArrayLike | None = None,
    ) -> Moments:
        """Return the moments of an array over some of its axes.

        Large arrays are halved again and again, and the halves are merged. Each block is first
        centred by its own mean. The textbook shortcut, the mean of the squares minus the square of
        the mean, is never used: it subtracts two large numbers to get a small one.

        Args:
            x: Array of any shape; float16, bfloat16, float32 or float64.
            axis: Axes to reduce, in NumPy's sense; None for all of them.
            where: Booleans that broadcast to the shape of `x`, True at the values that count.
                The others may be anything, also NaN.

        Returns:
            Moments of the shape of `x` without the reduced axes.

        Raises:
            TypeError: If `x` is not floating or `where` not boolean.
            ValueError: If `where` does not broadcast to the shape of `x`.

        Examples:
            >>> Moments.of([[1.0, 10.0], [3.0, 10.0]], axis=0)
            Moments(count=array([2, 2]), mean=array([ 2., 10.]), m2=array([2., 0.]))
        """
        array = as_floating("x", x)
        axes = _normalized(axis, array.ndim)
        parts = _blockwise(array, as_mask(where, array.shape), axes)
        count, center, slip, m2 = (np.squeeze(part, axes) for part in parts)
        return cls(count, center + slip, m2)

    @propagate_silently
    def merge(self, other: Moments) -> Moments:
        r"""Return the moments of both sets of values together.

        $$\bar{x} = \bar{x}_a + \delta \frac{n_b}{n}, \qquad
        M_2 = M_{2,a} + M_{2,b} + \delta^2 \frac{n_a n_b}{n}, \qquad
        \delta = \bar{x}_b - \bar{x}_a$$

        Args:
            other: Moments of the other values; the shapes must broadcast.

        Returns:
            Moments of the union. Merging with [`empty`][refbn.moments.Moments.empty] returns the
            same numbers exactly.

        References:
            Chan, Golub and LeVeque (1979), equation 2.1.
        """
        mean_a, mean_b = np.broadcast_arrays(self.mean, other.mean)
        rest = np.zeros_like(mean_a)  # of a mean in one part
        count, center, slip, m2 = _merge(
            (self.count, mean_a, rest, self.m2), (other.count, mean_b, rest, other.m2)
        )
        return Moments(count, center + slip, m2)

    @propagate_silently
    def var(self, ddof: int = 0) -> Array:
        r"""Return the variance \(M_2 / (n - \mathrm{ddof})\).

        Args:
            ddof: 0 divides by \(n\): the variance of these very values, which batch norm
                normalises with. 1 divides by \(n - 1\): an unbiased estimate of the variance of
                the population they came from, which batch norm stores for inference.

        Returns:
            Variances of the shape of `mean`.

        Raises:
            ValueError: Where there are not more than `ddof` values, or `ddof` is neither 0 nor 1.

        Examples:
            >>> Moments.of([1.0, 3.0]).var()
            np.float64(1.0)
            >>> Moments.of([1.0, 3.0]).var(ddof=1)
            np.float64(2.0)
        """
        if ddof not in {0, 1}:
            raise ValueError(f"ddof must be 0 or 1; got ddof={ddof!r}. 0 divides by n, 1 by n - 1.")
        if np.any(self.count <= ddof):
            raise ValueError(
                f"a variance with ddof={ddof} needs at least {ddof + 1} "
                f"value{'s' if ddof else ''} per channel; got count={self.count.tolist()}. "
                + (
                    "Pass a larger batch, or ddof=0 for the variance of these values alone."
                    if ddof
                    else "Pass a batch with values in it."
                )
            )
        return np.asarray(self.m2 / (self.count - ddof))[()]


def _normalized(axis: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Return the axes as non-negative numbers, as NumPy reads them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))


@propagate_silently
def _blockwise(x: Array, where: Array | None, axis: tuple[int, ...]) -> Parts:
    """Return count, centre, slip and m2 of an array, with length 1 along the axes, from its blocks.

    The mean is the sum of centre and slip. As long as it is in two parts, the difference of two
    means is exact, also where both are a million times as large as their difference.
    """
    scratch, spare = Scratch(x, double(x.dtype)), Scratch(x, double(x.dtype))

    def corrected_two_pass(x: Array, where: Array | None = None) -> Parts:
        """Centre by the mean, then correct for what rounding left in the mean.

        The centre is a number of the dtype of `x`. For anything narrower than float64 the
        deviations are then exact, and so is their sum, as far as the total is. float64 has no
        such room: there the deviations are centred once more by their own mean.
        """
        deviation = scratch.filled(x)
        if where is not None:
            deviation[~where] = 0
        total = quick_sum(deviation, axis)
        count = _count(x, where, axis)
        n = np.maximum(count, 1)
        center = in_double((total / n).astype(x.dtype))
        kept: Any = True if where is None else where
        np.subtract(deviation, center, out=deviation, where=kept)
        if x.dtype.itemsize < deviation.dtype.itemsize:
            slip = (total - n * center) / n
            m2 = sum_of_products(deviation, deviation, axis, spare) - n * slip * slip
        else:
            slip = quick_sum(deviation, axis) / n
            np.subtract(deviation, slip, out=deviation, where=kept)
            m2 = sum_of_products(deviation, deviation, axis, spare)
        return count, center, slip, m2

    arrays = (x,) if where is None else (x, where)
    return reduce_in_blocks(corrected_two_pass, _merge, axis, *arrays)


def _count(x: Array, where: Array | None, axis: tuple[int, ...]) -> Array:
    """Return how many values count, with length 1 along the axes."""
    if where is not None:
        return np.asarray(np.sum(where, axis=axis, keepdims=True))
    shape = [1 if a in axis else length for a, length in enumerate(x.shape)]
    return np.full(shape, math.prod(x.shape[a] for a in axis))


def _merge(a: Parts, b: Parts) -> Parts:
    """Return count, centre, slip and m2 of two sets of values: Chan, Golub and LeVeque (2.1)."""
    (n_a, center_a, slip_a, m2_a), (n_b, center_b, slip_b, m2_b) = a, b
    n = n_a + n_b
    delta = np.where(n_b > 0, (center_b - center_a) + (slip_b - slip_a), 0.0)
    share = n_b / np.maximum(n, 1)
    m2 = m2_a + m2_b + delta * (delta * (n_a * share))
    return n, center_a, slip_a + delta * share, m2
