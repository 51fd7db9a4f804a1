"""Count, mean and squared deviations: exact where they can be, accurate where they cannot."""

import dataclasses
import math
from fractions import Fraction
from functools import reduce

import ml_dtypes
import numpy as np
import pytest
from helpers import laid_out, whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from refbn import Moments

U = 2.0**-53  # unit round-off of float64: the relative error of one operation

# Single-precision values: their squares and products neither overflow nor underflow in double.
FLOATS = st.floats(-(2.0**20), 2.0**20, width=32, allow_subnormal=False)
VALUES = st.lists(FLOATS, min_size=1, max_size=40)
# Multiples of 2^-10 up to 2^10: adding an integer up to 2^28 to them is exact.
GRID = st.lists(st.integers(-(2**20), 2**20).map(lambda k: k / 2**10), min_size=2, max_size=40)


# Worked example by hand


def test_one_and_three():
    """1 and 3 are two values with mean 2, each 1 away from it."""
    moments = Moments.of([1.0, 3.0])
    assert (moments.count, moments.mean, moments.m2) == (2, 2.0, 2.0)
    assert moments.var() == 1.0
    assert moments.var(ddof=1) == 2.0


def test_merging_by_hand():
    """1 and 3 with 8 alone: mean 4, deviations -3, -1 and 4, squares 26."""
    moments = Moments.of([1.0, 3.0]).merge(Moments.of([8.0]))
    assert (moments.count, moments.mean, moments.m2) == (3, 4.0, 26.0)


def test_a_mask_by_hand():
    """A mask counts for each channel on its own: 1 and 3 in the first, only 5 in the second."""
    where = np.array([[True, False], [True, True]])
    moments = Moments.of([[1.0, 9.0], [3.0, 5.0]], axis=0, where=where)
    assert moments.count.tolist() == [2, 1]
    assert moments.mean.tolist() == [2.0, 5.0]
    assert moments.m2.tolist() == [2.0, 0.0]


def test_a_variance_may_vanish():
    """The squares of values around 1e-162 are no float64: the variance is 0, or nearly."""
    assert Moments.of([1e-162, 2e-162, 4e-162]).var() < 1e-320


# Laws


@given(values=VALUES, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_merging_any_split_gives_the_whole(values, cuts):
    """However values are dealt out, with empty and single parts, merging gives their moments."""
    parts = [Moments.of(part) for part in np.split(np.array(values), sorted(cuts))]
    assert_near(reduce(Moments.merge, parts, Moments.empty()), values)


@given(a=VALUES, b=VALUES)
def test_merging_is_commutative(a, b):
    """The order of two parts does not matter."""
    assert_near(Moments.of(a).merge(Moments.of(b)), a + b)
    assert_near(Moments.of(b).merge(Moments.of(a)), a + b)


@given(a=VALUES, b=VALUES, c=VALUES)
def test_merging_is_associative(a, b, c):
    """Three parts may be merged from the left or from the right."""
    a_, b_, c_ = Moments.of(a), Moments.of(b), Moments.of(c)
    assert_near(a_.merge(b_).merge(c_), a + b + c)
    assert_near(a_.merge(b_.merge(c_)), a + b + c)


@given(x=arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=FLOATS))
def test_empty_is_an_exact_identity(x):
    """Merging with no values changes not one bit, from either side and in every shape."""
    moments = Moments.of(x, axis=0)
    for nothing in (Moments.empty(), Moments.of(x[:0], axis=0)):
        assert_identical(moments.merge(nothing), moments)
        assert_identical(nothing.merge(moments), moments)


@given(values=GRID, shift=st.integers(-(2**28), 2**28))
def test_a_shift_moves_the_mean_only(values, shift):
    """var(x + c) = var(x), for c up to 10^8 times the standard deviation."""
    still, moved = Moments.of(values), Moments.of(np.array(values) + shift)
    # deviation, square and sum: a relative error of at most n + 3 operations on either side
    assert_within(moved.m2, still.m2, relative=2 * (len(values) + 3) * U)
    assert_within(moved.mean, still.mean + shift, absolute=4 * U * (abs(shift) + 2**10))


@given(values=VALUES, power=st.integers(-20, 20), sign=st.sampled_from([1, -1]))
def test_a_scale_squares_in_the_variance(values, power, sign):
    """var(ax) = a² var(x), to the last bit where a is a power of two."""
    a = sign * 2.0**power
    once, scaled = Moments.of(values), Moments.of(a * np.array(values))
    assert scaled.mean == a * once.mean
    assert scaled.m2 == a * a * once.m2


@given(values=st.lists(FLOATS, min_size=2, max_size=40))
def test_both_variances_belong_to_one_sum(values):
    """(n - 1) var(ddof=1) = n var(ddof=0)."""
    moments = Moments.of(values)
    n = len(values)
    assert_within((n - 1) * moments.var(ddof=1), n * moments.var(), relative=4 * U)


@given(
    value=st.floats(-1e100, 1e100).filter(lambda c: c == 0 or abs(c) > 1e-100),
    n=st.integers(1, 99),
    masked=st.integers(0, 9),
)
def test_a_constant_has_its_own_mean_and_no_variance(value, n, masked):
    """The mean of n copies of any number is that number exactly, the variance exactly 0."""
    x = np.append(np.full(n, value), np.full(masked, np.nan))
    moments = Moments.of(x, where=~np.isnan(x) if masked else None)
    assert moments.mean == value
    assert moments.m2 == 0.0


@given(x=arrays(np.float64, array_shapes(min_dims=2, max_dims=4), elements=FLOATS))
def test_a_full_mask_is_no_mask(x):
    """A mask that is True everywhere gives the moments of the whole array."""
    masked = Moments.of(x, where=np.True_)
    assert masked.count == x.size
    assert_near(masked, x)


@given(data=st.data(), junk=st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_a_mask_is_leaving_out(data, junk):
    """Under a mask each channel has the moments of its own valid values, whatever the rest is."""
    x = data.draw(arrays(np.float64, (6, 3), elements=FLOATS))
    where = data.draw(arrays(bool, (6, 3)))
    masked = Moments.of(np.where(where, x, junk), axis=0, where=where)
    for channel in range(3):
        assert_near(channel_of(masked, channel), x[where[:, channel], channel])


@given(
    data=st.data(), shape=array_shapes(min_dims=2, max_dims=5), block=st.sampled_from([1, 4, 2**16])
)
def test_each_group_of_a_reduction_stands_alone(data, shape, block):
    """Over any axes, each entry has the moments of the values that were reduced into it."""
    x = data.draw(arrays(np.float64, shape, elements=FLOATS))
    axis = data.draw(st.sets(st.integers(0, x.ndim - 1)).map(tuple))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refbn.blocks._BLOCK", block)
        moments = Moments.of(x, axis=axis)
    kept = [a for a in range(x.ndim) if a not in axis]
    groups = x.transpose(*kept, *axis).reshape(*(shape[a] for a in kept), -1)
    assert moments.count.shape == moments.mean.shape == moments.m2.shape == groups.shape[:-1]
    for group in np.ndindex(groups.shape[:-1]):
        assert_near(channel_of(moments, group), groups[group])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f8"])
def test_moments_are_double_whatever_the_array_is(dtype, rng):
    """Every dtype is summed in float64: to its rounding, as if the array were converted first."""
    x = (100 * rng.standard_normal((50, 3))).astype(dtype)
    moments, converted = Moments.of(x, axis=0), Moments.of(x.astype(np.float64), axis=0)
    assert [str(a.dtype) for a in fields(moments)] == ["int64", "float64", "float64"]
    assert moments.count.tolist() == converted.count.tolist()
    # 16: the mean is a tenth of the values here, so their rounding weighs more in it
    np.testing.assert_allclose(moments.mean, converted.mean, rtol=16 * U)
    np.testing.assert_allclose(moments.m2, converted.m2, rtol=4 * U)


def test_the_complex_step_goes_through(rng):
    """A complex step gives the exact derivatives of mean and squared deviations."""
    x, v = rng.standard_normal((2, 20))
    with np.errstate(under="ignore"):  # the square of the step, 1e-400, is meant to vanish
        moments = Moments.of(x + 1e-200j * v)
    # sums of 20 terms of order one
    np.testing.assert_allclose(moments.mean.imag / 1e-200, v.mean(), atol=20 * U)
    np.testing.assert_allclose(
        moments.m2.imag / 1e-200, 2 * np.sum((x - x.mean()) * v), atol=99 * U
    )


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "transposed", "broadcast"])
def test_the_layout_in_memory_is_of_no_account(layout, rng):
    """An array larger than a block has its moments however it lies in memory."""
    x = 1e4 + rng.standard_normal((300, 5, 100))  # 150 000 values, and a block is 2^16
    x = np.broadcast_to(x[:, :, :1], x.shape) if layout == "broadcast" else laid_out(x, layout)
    moments = Moments.of(x, axis=(0, 2))
    for channel in range(5):
        assert_near(channel_of(moments, channel), x[:, channel, :])


# Edges and errors


def test_empty_is_no_values():
    """The moments of no values are all 0, of an empty array, of the neutral element, or masked."""
    for moments in (Moments.empty(), Moments.of(np.zeros(0)), Moments.of([np.nan], where=[False])):
        assert [a.tolist() for a in fields(moments)] == [0, 0.0, 0.0]


def test_half_precision_does_not_overflow():
    """300 and -300 have the variance 90 000, which float16 cannot hold and np.var makes Inf."""
    x = np.array([300.0, -300.0] * 4, np.float16)
    assert Moments.of(x).var() == 90_000.0
    with np.errstate(over="ignore"):
        assert np.var(x) == np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("block", [4, 2**16])
def test_what_is_not_finite_stays_in_its_channel(value, block, monkeypatch):
    """A channel with NaN or Inf has moments that are not finite; the others are as ever."""
    monkeypatch.setattr("refbn.blocks._BLOCK", block)
    x = np.arange(18.0).reshape(9, 2)
    clean = Moments.of(x, axis=0)
    x[2, 0] = value
    spoilt = Moments.of(x, axis=0)
    assert_identical(channel_of(spoilt, 1), channel_of(clean, 1))
    assert not np.isfinite(spoilt.mean[0])
    assert np.isnan(spoilt.m2[0])


def test_infinite_means_merge_without_a_warning():
    """An infinite mean stays itself beside no values, and becomes NaN beside another."""
    infinite = Moments([1], [np.inf], [0.0])
    assert_identical(infinite.merge(Moments.empty()), infinite)
    assert np.isnan(infinite.merge(infinite).mean)


@pytest.mark.parametrize(
    ("axis", "positive"),
    [
        (None, (0, 1, 2)),
        (1, (1,)),
        (-1, (2,)),
        (np.int64(1), (1,)),
        ([0, -1], (0, 2)),
        (iter((0, 2)), (0, 2)),
        ((), ()),
    ],
)
def test_axes_are_numpys(axis, positive):
    """Axes are given as to np.sum: one, several, from the end, none, or None for all."""
    x = np.arange(24.0).reshape(2, 3, 4)
    moments = Moments.of(x, axis=axis)
    np.testing.assert_array_equal(moments.mean, np.mean(x, axis=positive))
    assert np.all(moments.count == x.size // moments.count.size)


@pytest.mark.parametrize("axis", [2, -3, (0, 5)])
def test_an_axis_that_is_not_there_is_refused(axis):
    """An axis out of range is NumPy's AxisError."""
    with pytest.raises(np.exceptions.AxisError):
        Moments.of(np.zeros((2, 2)), axis=axis)


def test_an_axis_twice_is_refused():
    """Naming one axis twice, once from either end, is an error, as it is for np.sum."""
    with pytest.raises(ValueError, match="repeated axis"):
        Moments.of(np.zeros((2, 2)), axis=(0, -2))


def test_integers_are_refused():
    """The mean of integers has no dtype to come back in."""
    message = (
        "x must be an array of float16, bfloat16, float32, float64; got dtype int64. "
        "Convert it first, for example with np.asarray(x, dtype=np.float64)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        Moments.of(np.arange(3))


def test_a_mask_that_does_not_fit_is_refused():
    """The mask must broadcast to the array."""
    message = (
        "where must broadcast to the shape of x, (3, 2); got where.shape=(3,). "
        "Give it as many axes as x, with length 1 along those that it does not depend on."
    )
    with pytest.raises(ValueError, match=whole(message)):
        Moments.of(np.zeros((3, 2)), where=np.ones(3, bool))


@pytest.mark.parametrize(
    ("count", "ddof", "message"),
    [
        (
            [3, 0],
            0,
            (
                "a variance with ddof=0 needs at least 1 value per channel; got count=[3, 0]. "
                "Pass a batch with values in it."
            ),
        ),
        (
            [1, 2],
            1,
            (
                "a variance with ddof=1 needs at least 2 values per channel; got count=[1, 2]. "
                "Pass a larger batch, or ddof=0 for the variance of these values alone."
            ),
        ),
    ],
)
def test_a_variance_needs_more_values_than_ddof(count, ddof, message):
    """Where one channel has not more than ddof values, there is no variance of any."""
    count = np.array(count)
    with pytest.raises(ValueError, match=whole(message)):
        Moments(count, np.zeros(count.shape), np.zeros(count.shape)).var(ddof=ddof)


def test_a_variance_needs_no_more_than_that():
    """One value is enough for ddof=0, two for ddof=1."""
    assert Moments.of([5.0]).var() == 0.0
    assert Moments.of([5.0, 7.0]).var(ddof=1) == 2.0


@pytest.mark.parametrize("ddof", [-1, 0.5, 2])
def test_a_variance_divides_by_n_or_by_one_less(ddof):
    """There is no third divisor."""
    message = f"ddof must be 0 or 1; got ddof={ddof!r}. 0 divides by n, 1 by n - 1."
    with pytest.raises(ValueError, match=whole(message)):
        Moments.of([5.0, 7.0, 9.0, 11.0]).var(ddof=ddof)


def test_moments_have_one_shape():
    """Count, mean and m2 belong to the same channels."""
    message = (
        "count, mean and m2 must have one shape; got (2,), (3,) and (2,). "
        "Moments.of makes them from an array."
    )
    with pytest.raises(ValueError, match=whole(message)):
        Moments(np.ones(2, int), np.zeros(3), np.zeros(2))


def test_moments_that_do_not_broadcast_cannot_be_merged():
    """Two channels and three have no moments together."""
    two, three = (Moments.of(np.zeros((4, c)), axis=0) for c in (2, 3))
    with pytest.raises(ValueError, match="cannot be broadcast"):
        two.merge(three)


def test_a_value_stays_what_it_was():
    """Moments are frozen, read-only, and copies of what they were made from."""
    given = np.array([1.0, 2.0])
    moments = Moments([1, 1], given, given)
    given[:] = 9.0
    assert moments.mean.tolist() == [1.0, 2.0]
    assert moments.m2.tolist() == [1.0, 2.0]
    assert not any(a.flags.writeable for a in fields(moments.merge(moments)))
    for name in ("count", "mean", "m2"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(moments, name, given)


def test_values_are_equal_to_themselves_only():
    """Two moments are compared field by field, by who knows how closely; == is identity."""
    one, other = Moments.of([1.0, 3.0]), Moments.of([1.0, 3.0])
    assert {one: 1}[one] == 1
    assert one != other


def test_made_by_hand_they_are_double_too():
    """Moments made from integers or half precision keep their statistics in float64."""
    for dtype in (np.int64, np.float16):
        moments = Moments(*np.ones((3, 2), dtype))
        assert [str(a.dtype) for a in fields(moments)] == ["int64", "float64", "float64"]


def test_the_array_is_not_written_to(rng):
    """Neither array nor mask is written to, and both may be read-only."""
    x, where = rng.standard_normal((9, 2)), rng.random((9, 2)) < 0.8
    before = x.tobytes(), where.tobytes()
    x.flags.writeable = where.flags.writeable = False
    Moments.of(x, axis=0)
    Moments.of(x, axis=0, where=where)
    assert (x.tobytes(), where.tobytes()) == before


# Oracles


@given(values=VALUES)
def test_against_exact_rationals(values):
    """The moments differ from those in exact arithmetic by a few units in the last place."""
    n, mean, m2 = exact(values)
    moments = Moments.of(values)
    spread = max(values) - min(values)
    assert moments.count == n
    # rounded once, and before that corrected by a sum of n deviations
    assert_within(moments.mean, mean, absolute=U * abs(float(mean)) + 2 * n * U * spread)
    # three operations on each deviation, twice in the square, and a sum of n squares
    assert_within(moments.m2, m2, relative=(n + 8) * U)


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_a_large_mean_costs_nothing(offset, rng):
    """At a mean of 10^8 the variance is right to rounding; E[x²] - E[x]² has lost it."""
    x = offset + rng.standard_normal(1000)
    _, _, m2 = exact(x)
    assert_within(Moments.of(x).m2, m2, relative=1000 * U)
    shortcut = np.mean(x * x) - np.mean(x) ** 2
    assert abs(shortcut - float(m2) / 1000) > 0.1  # of about 1


def test_a_million_rows_of_single_precision(rng):
    """Along axis 0 NumPy adds float32 row by row and is off by whole units; we are not."""
    x = (1000 + rng.standard_normal((1_000_000, 2))).astype(np.float32)
    moments = Moments.of(x, axis=0)
    for channel, column in enumerate(x.T.tolist()):
        mean = math.fsum(column) / len(column)
        m2 = math.fsum((value - mean) ** 2 for value in column)
        # the mean is corrected, then rounded in each of log2(10^6 / 2^15) = 5 merges; the squares
        # are added row by row in blocks of 2^15 rows
        assert_within(moments.mean[channel], mean, relative=4 * U)
        assert_within(moments.m2[channel], m2, relative=2**16 * U)
        assert abs(x.mean(axis=0)[channel] - mean) > 1.0


@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "transposed"])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_against_one_block(layout, masked, rng, monkeypatch):
    """Merged from blocks or summed at once, the moments are the same to rounding."""
    x = laid_out(1e6 + rng.standard_normal((4001, 3, 7)), layout)
    where = rng.random((4001, 1, 7)) < 0.7 if masked else None
    merged = Moments.of(x, axis=(0, 2), where=where)
    monkeypatch.setattr("refbn.blocks._BLOCK", x.size)
    at_once = Moments.of(x, axis=(0, 2), where=where)
    assert merged.count.tolist() == at_once.count.tolist()
    # the means of blocks are rounded to U * 10^6; their differences enter m2 with n/sqrt(n) = 170
    np.testing.assert_allclose(merged.mean, at_once.mean, rtol=4 * U)
    np.testing.assert_allclose(merged.m2, at_once.m2, rtol=28_007 * U)


def exact(values):
    """Return count, mean and squared deviations as rationals."""
    rationals = [Fraction(float(value)) for value in np.ravel(values)]
    n = len(rationals)
    mean = sum(rationals) / n if n else Fraction(0)
    return n, mean, sum((value - mean) ** 2 for value in rationals)


def assert_near(moments, values):
    """Assert that these are the moments of these values, up to the rounding of merged means."""
    values = np.ravel(values)
    if values.size > 1000:  # rationals are slow
        mean = math.fsum(values) / values.size
        n, m2 = values.size, math.fsum((values - mean) ** 2)
    else:
        n, mean, m2 = exact(values)
    size = np.max(np.abs(values), initial=0.0)
    spread = np.ptp(values) if n else 0.0
    assert moments.count == n
    # each merge rounds the mean once more, by U times its size; there are at most some ten in a row
    assert_within(moments.mean, mean, absolute=16 * U * size + 2 * n * U * spread)
    # that error times the distance of the parts, for each of n values, and the sum itself
    assert_within(moments.m2, m2, relative=(n + 8) * U, absolute=32 * n * U * size * spread)


def assert_within(actual, expected, *, relative=0.0, absolute=0.0):
    """Assert closeness in exact arithmetic, so that the comparison itself adds no rounding."""
    expected = expected if isinstance(expected, Fraction) else Fraction(float(expected))
    error = abs(Fraction(float(actual)) - expected)
    assert error <= Fraction(relative) * abs(expected) + Fraction(absolute), float(error)


def assert_identical(a, b):
    """Assert the same shape and bits in all three fields."""
    for one, other in zip(fields(a), fields(b), strict=True):
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def fields(moments):
    """Return count, mean and m2."""
    return moments.count, moments.mean, moments.m2


def channel_of(moments, index):
    """Return the moments of one channel."""
    return Moments(*(a[index] for a in fields(moments)))
