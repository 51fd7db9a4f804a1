"""How many units in the last place the results are off, counted against exact arithmetic.

Every finite float is an integer times a power of two, so sums, and sums of products, are exact in
Python's integers, and `math.isqrt` gives as many digits of a root as one likes. What follows in
float64 from these is right to some 1e-16, which is 1e-9 of the units that are counted for float32.

The unit is the one at the size of what is compared, with a floor where a result can be 0:

- For y = x_hat, which is of order one, the floor is 0.01. Below it x lies so near the mean that the
  part of the mean that float32 cannot hold is as large as x_hat.
- For y = gamma x_hat + beta it is the larger of the two terms, as their sum may cancel.
- For a mean it is its own standard error, std / sqrt(n): of values around 0 the mean is of that
  order, and may lie nearer to 0 by chance.
"""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from refbn import Moments, batch_norm_backward, batch_norm_train

EPS = 1e-5
U = 2.0**-53  # unit round-off of float64: the relative error of one operation
U32 = 2.0**-24  # and that of float32
SHAPES = [  # and the axis of the channels
    ((256, 128), 1),
    ((4096, 32), 1),
    ((64, 8, 28, 28), 1),  # larger than one block
    ((28, 64, 28, 8), -1),
    ((5, 4), 1),
]
OFFSETS = [0, 1, 10, 1e3, 1e6]  # of the mean, in standard deviations
EVERYWHERE = [
    pytest.param(shape, axis, offset, id=f"{'x'.join(map(str, shape))}+{offset:g}")
    for shape, axis in SHAPES
    for offset in OFFSETS
]


@dataclass(frozen=True)
class Exact:
    """What exact arithmetic makes of one channel, each rounded once; the statistics not at all."""

    x_hat: np.ndarray
    centered: np.ndarray  # dy less its mean
    mean: Fraction
    m2: Fraction
    inv_std: float
    dgamma: float
    dbeta: float


def exact(x, dy):
    """Return the exact results for one channel, without gamma and beta."""
    x, unit = integers(x)
    dy, unit_dy = integers(dy)
    n, total, total_dy = len(x), sum(x), sum(dy)
    squares = n * sum(v * v for v in x) - total * total  # n² var, in units of x
    products = n * sum(v * d for v, d in zip(x, dy, strict=True)) - total * total_dy
    root = math.isqrt(int((squares + n * n * Fraction(EPS) / unit**2) * 4**100))  # n std, 2^100
    covariance = Fraction(products << 100, root) * unit_dy
    return Exact(
        x_hat=np.array([((n * v - total) << 100) / root for v in x]),
        centered=np.array([(n * d - total_dy) / n for d in dy]) * float(unit_dy),
        mean=total * unit / n,
        m2=squares * unit**2 / n,
        inv_std=float((n << 100) / (root * unit)),
        dgamma=float(covariance),
        dbeta=float(total_dy * unit_dy),
    )


def integers(values):
    """Return floats as integers, and the power of two that makes the floats of them."""
    mantissas, exponents = np.frexp(values.astype(np.float64))
    least = int(exponents.min())
    digits, shifts = np.ldexp(mantissas, 53).tolist(), (exponents - least).tolist()
    return [int(d) << s for d, s in zip(digits, shifts, strict=True)], Fraction(2) ** (least - 53)


@functools.cache
def drawn(shape, axis, offset, dtype=np.float32, offset_dy=0, seed=0):
    """Return a batch, a gradient, gamma, beta, and the exact results for its first two channels."""
    rng = np.random.default_rng([seed, int(offset), int(offset_dy), *shape])
    x, dy = (
        (rng.standard_normal(shape, dtype) + dtype(c)).astype(dtype) for c in (offset, offset_dy)
    )
    gamma, beta = rng.standard_normal((2, shape[axis]))
    channels = [exact(channel(x, axis, c), channel(dy, axis, c)) for c in range(2)]
    return x, dy, gamma, beta, channels


def channel(a, axis, c):
    """Return all values of one channel."""
    return np.moveaxis(a, axis, 0)[c].ravel()


def ulps(got, expected, floor):
    """Return the largest distance to the correctly rounded value, in units in the last place."""
    right = np.asarray(expected).astype(got.dtype)
    unit = np.spacing(np.maximum(np.abs(right), np.asarray(floor)).astype(got.dtype))
    return np.max(np.abs(got.astype(np.float64) - right) / unit)


def exact_ulps(got, expected, floor=0.0):
    """Return the distance of a float64 to a rational, in units in the last place."""
    unit = np.spacing(max(abs(float(expected)), floor))
    return float(abs(Fraction(float(got)) - expected) / Fraction(float(unit)))


# Worked example by hand


def test_a_mean_between_two_floats():
    """2^20 and the next float32, 2^20 + 1/8, become -1 and 1, though their mean is no float32."""
    x = np.array([[2.0**20], [2.0**20 + 0.125]], np.float32)
    assert np.nextafter(x[0, 0], x[1, 0]) == x[1, 0]
    y, cache = batch_norm_train(x, eps=0.0)
    assert y.tolist() == [[-1.0], [1.0]]
    assert cache.moments.mean.tolist() == [2.0**20 + 0.0625]
    assert cache.moments.var().tolist() == [2.0**-8]


def test_the_exact_results_by_hand():
    """1 and 3 with dy 0.5 and 1: x_hat -1 and 1 over the root of 1 + eps, dy ∓ 0.25 about 0.75."""
    got = exact(np.array([1.0, 3.0]), np.array([0.5, 1.0]))
    inv_std = 1 / math.sqrt(1 + EPS)
    assert (got.mean, got.m2, got.dbeta) == (2, 2, 1.5)
    assert got.centered.tolist() == [-0.25, 0.25]
    np.testing.assert_allclose(got.x_hat, [-inv_std, inv_std], rtol=2 * U)
    np.testing.assert_allclose([got.inv_std, got.dgamma], [inv_std, 0.5 * inv_std], rtol=2 * U)


# Laws


@pytest.mark.parametrize(("shape", "axis", "offset"), EVERYWHERE)
def test_the_output_is_right_to_two_units_in_the_last_place(shape, axis, offset):
    """Of float32, x_hat is within 2 units of the correctly rounded value, gamma x_hat + beta 3."""
    x, _, gamma, beta, channels = drawn(shape, axis, offset)
    plain, _ = batch_norm_train(x, channel_axis=axis)
    scaled, _ = batch_norm_train(x, gamma, channel_axis=axis)
    shifted, _ = batch_norm_train(x, gamma, beta, channel_axis=axis)
    for c, right in enumerate(channels):
        # x - mean and the slope are rounded, which together is 3/2 units in their product, and the
        # product is, and what it is compared with: less than 3 units, and so 2 at most
        term = gamma[c] * right.x_hat
        assert ulps(channel(plain, axis, c), right.x_hat, floor=0.01) <= 2
        assert ulps(channel(scaled, axis, c), term, floor=0.01 * abs(gamma[c])) <= 2
        # beta is rounded, and so is the sum: half a unit each
        terms = np.maximum(np.abs(term), abs(beta[c]))
        assert ulps(channel(shifted, axis, c), term + beta[c], floor=terms) <= 3


@pytest.mark.parametrize(("shape", "axis", "offset"), EVERYWHERE)
def test_the_statistics_are_right_to_four_units_in_the_last_place(shape, axis, offset):
    """Of float32, mean, sum of squares, variance and inv_std are within 4 units of float64."""
    x, *_, channels = drawn(shape, axis, offset)
    _, cache = batch_norm_train(x, channel_axis=axis)
    moments = cache.moments
    for c, right in enumerate(channels):
        n = moments.count[c].item()
        standard_error = math.sqrt(right.m2) / n
        assert exact_ulps(moments.mean[c], right.mean, standard_error) <= 4
        assert exact_ulps(moments.m2[c], right.m2) <= 4
        assert exact_ulps(moments.var()[c], right.m2 / n) <= 4
        assert exact_ulps(cache.inv_std[c], Fraction(right.inv_std)) <= 4


@pytest.mark.parametrize("offset_dy", [0, 1, 1e6])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("offset", [0, 10, 1e6])
def test_the_gradient_is_right_to_its_operations(shape, axis, offset, offset_dy):
    """Of float32, dx has the error of 7 operations on its terms, whatever the means of x and dy."""
    x, dy, gamma, beta, channels = drawn(shape, axis, offset, offset_dy=offset_dy)
    _, cache = batch_norm_train(x, gamma, beta, channel_axis=axis)
    dx, dgamma, dbeta = batch_norm_backward(dy, cache)
    for c, right in enumerate(channels):
        values = np.abs(channel(dy, axis, c).astype(np.float64))
        n, size = values.size, np.sum(values * np.abs(right.x_hat))
        # a sum over the batch: 2 roundings of each product, and those of adding them, at random
        assert abs(dgamma[c] - right.dgamma) <= 32 * U * size
        assert abs(dbeta[c] - right.dbeta) <= 4 * U * np.sum(values)
        slope, tilted = gamma[c] * right.inv_std, right.x_hat * right.dgamma / n
        # x - mean, tilt, their product; or dy less its mean; the difference; the rest, and it
        # added; the slope, and times it: 7 for the one term and 5 for the other
        slack = 7 * np.abs(tilted) + 5 * np.abs(right.centered)
        slack += 32 * U / U32 * size / n * np.abs(right.x_hat)  # of dgamma
        rest = abs(right.dbeta / n) + abs(float(right.mean) * right.inv_std * right.dgamma / n)
        slack += 2 * U32 * rest  # the rest is as large as the last digit of a mean in float32
        error = np.abs(channel(dx, axis, c) - slope * (right.centered - tilted))
        assert np.all(error <= U32 * abs(slope) * slack)


@pytest.mark.parametrize("offset", [0, 1, 1e3])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_double_precision_is_right_to_twelve_digits(shape, axis, offset):
    """Of float64 with a mean of up to 10^3 deviations, all results are right to 1e-12."""
    x, dy, gamma, beta, channels = drawn(shape, axis, offset, np.float64)
    plain, _ = batch_norm_train(x, channel_axis=axis)
    scaled, cache = batch_norm_train(x, gamma, beta, channel_axis=axis)
    dx, dgamma, _ = batch_norm_backward(dy, cache)
    for c, right in enumerate(channels):
        n = right.x_hat.size
        # the deviations are rounded too, so no better than their own size times U
        assert exact_ulps(cache.moments.mean[c], right.mean, math.sqrt(right.m2 / n)) <= 4
        assert abs(Fraction(float(cache.moments.m2[c])) / right.m2 - 1) <= 1e-12
        assert_relative(channel(plain, axis, c), right.x_hat, 1e-12)
        assert_relative(channel(scaled, axis, c), gamma[c] * right.x_hat + beta[c], 1e-12)
        expected = right.centered - right.x_hat * right.dgamma / n
        assert_relative(channel(dx, axis, c) / (gamma[c] * right.inv_std), expected, 1e-12)
        assert abs(dgamma[c] - right.dgamma) <= 1e-12 * np.sum(np.abs(right.x_hat))


@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
def test_a_mask_costs_no_accuracy(offset, rng):
    """Under a mask with NaN behind it the values that count are as accurate as without it."""
    x, dy, *_ = drawn((4096, 32), 1, offset)
    where = rng.random(x.shape) < 0.7
    y, cache = batch_norm_train(np.where(where, x, np.float32(np.nan)), where=where)
    moments = cache.moments
    for c in range(2):
        right = exact(x[where[:, c], c], dy[where[:, c], c])
        assert ulps(y[where[:, c], c], right.x_hat, floor=0.01) <= 2
        standard_error = math.sqrt(right.m2) / moments.count[c]
        assert exact_ulps(moments.mean[c], right.mean, standard_error) <= 4
        assert exact_ulps(moments.m2[c], right.m2) <= 4


# Edges and errors


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_are_added_pairwise(dtype, rng):
    """Of 131072 rows m2 and dgamma are within 4 units; as NumPy adds rows they are not."""
    x = rng.standard_normal((131_072, 2), dtype)
    _, cache = batch_norm_train(x, np.ones(2))
    _, dgamma, _ = batch_norm_backward(x, cache)  # the products are positive, so nothing cancels
    right = [exact(column, column) for column in x.T]
    squares, products = [r.m2 for r in right], [Fraction(r.dgamma) for r in right]
    assert max(map(exact_ulps, cache.moments.m2, squares)) <= 4
    assert max(map(exact_ulps, dgamma, products)) <= 4
    deviation = x - cache.moments.mean
    assert max(map(exact_ulps, np.sum(deviation**2, axis=0), squares)) > 10
    rows = np.sum(x * deviation, axis=0) * cache.inv_std
    assert max(map(exact_ulps, rows, products)) > 10


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("shape", [(4096, 32), (5, 4), (64, 8, 28, 28)])
def test_statistics_in_double_precision_at_any_mean(shape, offset):
    """Of float64, m2 is right to 4 units and the mean to half a one, however far from 0 it lies."""
    x, *_, channels = drawn(shape, 1, offset, np.float64)
    moments = batch_norm_train(x)[1].moments
    for c, right in enumerate(channels):
        assert exact_ulps(moments.mean[c], right.mean) <= 0.51
        assert exact_ulps(moments.m2[c], right.m2) <= 4


@pytest.mark.parametrize(
    ("dtype", "offset", "off_var", "off_y"),
    [
        (np.float32, 0, 1e8, 10),
        (np.float32, 1, 1e9, 100),
        (np.float32, 1e3, 1e14, 1e6),
        (np.float64, 1e3, 1e7, -1),  # y may be right: of 16 digits 6 are lost, and 7 are enough
        (np.float64, 1e6, 1e12, 1e3),
    ],
)
def test_the_shortcut_misses_the_bar(dtype, offset, off_var, off_y):
    """By E[x²] - E[x]² variance and output of the same data are off by far more units."""
    x, *_, channels = drawn((4096, 32), 1, offset)
    values = x.astype(dtype)
    mean = values.mean(axis=0)
    var = np.maximum(np.mean(values * values, axis=0) - mean * mean, 0)
    y = ((values - mean) / np.sqrt(var + dtype(EPS))).astype(np.float32)
    for c, right in enumerate(channels):
        assert exact_ulps(var[c], right.m2 / len(x)) > off_var
        assert ulps(y[:, c], right.x_hat, floor=0.01) > off_y


@pytest.mark.parametrize(
    ("offset", "off_y"), [(0, 10), (1, 100), (10, 1e3), (1e3, 1e5), (1e6, 1e8)]
)
def test_single_precision_sums_miss_the_bar(offset, off_y):
    """With mean and variance as NumPy adds float32 along axis 0, y is off by far more units."""
    x, *_, channels = drawn((4096, 32), 1, offset)
    mean, var = x.mean(axis=0), x.var(axis=0)
    y = (x - mean) / np.sqrt(var + np.float32(EPS))
    for c, right in enumerate(channels):
        assert exact_ulps(mean[c], right.mean) > 1e8
        assert exact_ulps(var[c], right.m2 / len(x)) > 1e8
        assert ulps(y[:, c], right.x_hat, floor=0.01) > off_y


def assert_relative(got, expected, tolerance):
    """Assert closeness relative to the expected value, or to 1 where that is smaller."""
    assert np.max(np.abs(got - expected) / np.maximum(1.0, np.abs(expected))) <= tolerance


@pytest.mark.parametrize("shape", [(2**18,), (200_000,), (1023,)])
def test_a_long_row_is_summed_pairwise_too(shape):
    """Of equal squares, whose rounding errors all point one way, the sum is right to 4 units."""
    x = np.random.default_rng(0).choice([-0.1, 0.1], shape)
    numbers, unit = integers(x)
    n, total = len(numbers), sum(numbers)
    m2 = (sum(v * v for v in numbers) - Fraction(total * total, n)) * unit**2
    assert exact_ulps(Moments.of(x).m2, m2) <= 4
