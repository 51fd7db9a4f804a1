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

import numpy as np
import numpy.typing as npt

from refbn.axes import (
    Array,
    as_floating,
    as_mask,
    expand,
    halves,
    in_double,
    propagate_silently,
)

_BLOCK = 2**16  # values: half a mebibyte in float64, so that a block stays in a core's own cache


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
        return _pairwise(array, as_mask(where, array.shape), axes)

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
        count = self.count + other.count
        delta = np.where(other.count > 0, other.mean - self.mean, 0.0)
        share = other.count / np.maximum(count, 1)
        mean = self.mean + delta * share
        m2 = self.m2 + other.m2 + delta * (delta * (self.count * share))
        return Moments(count, mean, m2)

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


def _pairwise(x: Array, where: Array | None, axis: tuple[int, ...]) -> Moments:
    """Halve until a block is small, then merge: the error grows with the logarithm of the size."""
    if x.size <= _BLOCK or all(x.shape[a] == 1 for a in axis):
        return _corrected_two_pass(in_double(x), where, axis)
    left, right = halves(x, axis)
    where_left, where_right = (None, None) if where is None else halves(where, axis)
    return _pairwise(left, where_left, axis).merge(_pairwise(right, where_right, axis))


@propagate_silently
def _corrected_two_pass(x: Array, where: Array | None, axis: tuple[int, ...]) -> Moments:
    """Centre by the mean, then once more by what rounding left in the mean.

    The deviations ought to sum to zero. What they sum to instead is the rounding error of the
    mean: it is added to the mean and taken off the deviations. The sum of squares cannot become
    negative, and a constant channel has its own value as its mean.
    """
    mask = np.True_ if where is None else where
    values = math.prod(x.shape[a] for a in axis)
    total = np.sum(x, axis=axis, where=mask)
    if where is None:
        count = np.full(np.shape(total), values)
    else:
        count = np.asarray(np.sum(where, axis=axis))
    n = np.maximum(count, 1)
    mean = total / n
    center = expand(mean, axis)
    # what is masked out lies at the mean: however large it was, its square cannot overflow
    deviation = (x if where is None else np.where(where, x, center)) - center
    slip = np.sum(deviation, axis=axis, where=mask) / n
    deviation -= expand(slip, axis)
    # d * d, not |d|^2: for the complex step this must stay an analytic function
    m2 = np.sum(deviation * deviation, axis=axis, where=mask)
    return Moments(count, mean + slip, m2)
