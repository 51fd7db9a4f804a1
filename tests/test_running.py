"""Running statistics: what the rules forget, what they keep, and what they refuse."""

import dataclasses
import sys
import weakref
from functools import partial, reduce

import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st

from refbn import Moments, RunningStatistics, cumulative_average, exponential_average
from refbn.running import (
    debiased_exponential_average,
    pooled_statistics,
    population_statistics,
)

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
RULES = [exponential_average, debiased_exponential_average, cumulative_average]

NUMBERS = st.integers(-(2**20), 2**20).map(lambda k: k / 2**10)
VARIANCES = NUMBERS.map(abs)
STATISTICS = st.tuples(NUMBERS, VARIANCES)
PERCENT = st.integers(0, 100)


# Worked example by hand


def test_one_step_by_hand():
    """1 and 3 after mean 0 and variance 1, at decay 0.75: mean 0.5, variance 0.75 + 0.25 * 2."""
    running = exponential_average(RunningStatistics.initial(1), of(1.0, 3.0), decay=0.75)
    assert unpacked(running) == ([0.5], [1.25], 1)


def test_the_start():
    """At first the mean is 0, the variance 1 and the number of batches 0."""
    assert unpacked(RunningStatistics.initial(2)) == ([0.0, 0.0], [1.0, 1.0], 0)


def test_the_stored_variance_is_the_unbiased_one():
    """Of 4 values with biased variance 3 the rules store 3 * 4 / (4 - 1) = 4; ddof=0 stores 3."""
    moments = of(0.0, 0.0, 0.0, 4.0)
    assert moments.var().tolist() == [3.0]
    start = RunningStatistics.initial(1)
    assert exponential_average(start, moments, decay=0.0).var.tolist() == [4.0]
    assert exponential_average(start, moments, decay=0.0, ddof=0).var.tolist() == [3.0]
    assert cumulative_average(start, moments).var.tolist() == [4.0]
    assert cumulative_average(start, moments, ddof=0).var.tolist() == [3.0]


def test_the_debiased_average_by_hand():
    """At decay 0.5 three batches weigh 1, 2 and 4 sevenths, and the start nothing."""
    running, seen = statistics(1000.0, 1000.0), []
    for mean, var in [(7.0, 14.0), (14.0, 7.0), (21.0, 0.0)]:
        running = debiased_exponential_average(running, moments(mean, var), decay=0.5)
        seen.append((running.mean.item(), running.var.item()))
    # means 7, then a third of 7 and 28, then a seventh of 7, 28 and 84
    np.testing.assert_allclose(seen, [(7, 14), (35 / 3, 28 / 3), (17, 4)], rtol=8 * U)
    assert running.num_batches == 3


def test_the_pooled_statistics_by_hand():
    """0, 2 and 10, 12 and 6 lie 36 + 16 + 16 + 36 = 104 around their mean 6."""
    batches = [np.array([[0.0], [2.0]]), np.array([[10.0], [12.0]]), np.array([[6.0]])]
    parts = [Moments.of(x, axis=0) for x in batches]
    assert unpacked(pooled_statistics(parts)) == ([6.0], [104 / 4], 3)
    assert unpacked(pooled_statistics(parts, ddof=0)) == ([6.0], [104 / 5], 3)
    assert unpacked(population_statistics(batches)) == ([6.0], [104 / 4], 3)
    assert unpacked(population_statistics(batches, ddof=0)) == ([6.0], [104 / 5], 3)


@pytest.mark.parametrize("rule", [exponential_average, debiased_exponential_average])
def test_the_default_decay(rule):
    """By default nine tenths of the old statistics remain, long after the start."""
    running = rule(RunningStatistics([10.0], [0.0], 10_000), moments(0.0, 10.0))
    np.testing.assert_allclose([running.mean, running.var], [[9.0], [1.0]], rtol=8 * U)


def test_the_default_decay_at_the_start():
    """By default the start keeps nine tenths of its weight."""
    moments = Moments([2], [10.0], [0.0])
    running = exponential_average(RunningStatistics.initial(1), moments)
    np.testing.assert_allclose(running.mean, [1.0], rtol=4 * U)
    np.testing.assert_allclose(running.var, [0.9], rtol=4 * U)


# Laws


@given(start=STATISTICS, batch=STATISTICS, percent=st.integers(0, 100), t=st.integers(0, 30))
def test_the_start_fades_geometrically(start, batch, percent, t):
    """After t batches with the same statistics s the running ones are s + decay^t (start - s)."""
    decay = percent / 100
    running = repeat(exponential_average, statistics(*start), moments(*batch), t, decay=decay)
    for got, first, s in zip(unpacked(running), start, batch, strict=False):
        # three roundings in each of t steps, on numbers up to 2^10
        expected = s + decay**t * (first - s)
        assert abs(got[0] - expected) <= 4 * (t + 1) * 2**10 * U
    assert running.num_batches == t


@given(start=STATISTICS, batch=STATISTICS)
def test_decay_one_never_moves(start, batch):
    """With decay 1 a batch changes nothing but the number of batches."""
    running = exponential_average(statistics(*start), moments(*batch), decay=1.0)
    assert unpacked(running) == ([start[0]], [start[1]], 1)


@given(start=STATISTICS, batch=STATISTICS)
def test_decay_zero_forgets(start, batch):
    """With decay 0 nothing is left but the last batch."""
    running = exponential_average(statistics(*start), moments(*batch), decay=0.0)
    assert unpacked(running) == ([batch[0]], [batch[1]], 1)


@given(start=STATISTICS, batches=st.lists(STATISTICS, min_size=1, max_size=20))
def test_the_cumulative_average_is_the_mean_over_the_batches(start, batches):
    """The cumulative average is the mean of all batches' statistics, the start forgotten."""
    running = statistics(*start)
    for batch in batches:
        running = cumulative_average(running, moments(*batch))
    for got, expected in zip(unpacked(running), np.mean(batches, axis=0), strict=False):
        # three roundings in each step, on numbers up to 2^10
        assert abs(got[0] - expected) <= 4 * len(batches) * 2**10 * U
    assert running.num_batches == len(batches)


@given(start=STATISTICS, batches=st.lists(STATISTICS, min_size=1, max_size=20), percent=PERCENT)
def test_the_debiased_average_weighs_the_batches_only(start, batches, percent):
    """Batch k of t has the weight decay^(t - k) among the batches, and the start has none."""
    decay, running = percent / 100, statistics(*start)
    for batch in batches:
        running = debiased_exponential_average(running, moments(*batch), decay=decay)
    weights = decay ** np.arange(len(batches) - 1.0, -1.0, -1.0)
    expected = weights @ np.array(batches) / weights.sum()
    for got, e in zip(unpacked(running), expected, strict=False):
        # a step rounds thrice, on numbers up to 2^10; at decay 0.99 its weight, of cancelling
        # numbers, is known to 100 roundings
        assert abs(got[0] - e) <= 110 * len(batches) * 2**10 * U
    assert running.num_batches == len(batches)


@given(batch=STATISTICS, percent=PERCENT, t=st.integers(1, 30))
def test_the_debiased_average_of_equal_batches_is_exact_from_the_first(batch, percent, t):
    """Where all batches have the same statistics, these are the debiased ones at every step."""
    start = RunningStatistics.initial(1)
    running = repeat(debiased_exponential_average, start, moments(*batch), t, decay=percent / 100)
    for got, s in zip(unpacked(running), batch, strict=False):
        assert abs(got[0] - s) <= 3 * t * abs(s) * U  # three roundings a step
    assert running.num_batches == t


@given(start=STATISTICS, batches=st.lists(STATISTICS, min_size=1, max_size=20))
def test_debiased_with_decay_one_is_the_cumulative_average(start, batches):
    """Decay 1, where the formula is 0/0, is its limit: all batches weigh the same, to the bit."""
    debiased = close = cumulative = statistics(*start)
    for batch in batches:
        debiased = debiased_exponential_average(debiased, moments(*batch), decay=1)
        close = debiased_exponential_average(close, moments(*batch), decay=1 - 2.0**-30)
        cumulative = cumulative_average(cumulative, moments(*batch))
    assert unpacked(debiased) == unpacked(cumulative)
    # 20 weights, each off by some 20 * 2^-30 of itself, of numbers up to 2^10
    np.testing.assert_allclose(close.mean, cumulative.mean, rtol=0, atol=400 * 2.0**-20)
    np.testing.assert_allclose(close.var, cumulative.var, rtol=0, atol=400 * 2.0**-20)


@given(start=STATISTICS, batch=STATISTICS)
def test_debiased_with_decay_zero_forgets(start, batch):
    """With decay 0 nothing is left but the last batch, also long after the start."""
    for t in (0, 1, 5):
        old = RunningStatistics([start[0]], [start[1]], t)
        running = debiased_exponential_average(old, moments(*batch), decay=0.0)
        assert unpacked(running) == ([batch[0]], [batch[1]], t + 1)


@pytest.mark.parametrize("decay", [0.9, np.float64(0.9)])
def test_long_after_the_start_there_is_nothing_to_correct(decay):
    """After a million batches the debiased average is the exponential one, and nothing underflows."""
    running, batch = RunningStatistics([3.0], [2.0], 10**6), moments(1.0, 4.0)
    one = debiased_exponential_average(running, batch, decay=decay)
    other = exponential_average(running, batch, decay=decay)
    np.testing.assert_allclose(one.mean, other.mean, rtol=4 * U)
    np.testing.assert_allclose(one.var, other.var, rtol=4 * U)
    assert one.num_batches == 10**6 + 1


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(lambda s: sum(s) > 1))
def test_pooled_statistics_are_those_of_all_values(sizes):
    """However the values are cut into batches, pooled they are one array, batch of none and all."""
    x = np.random.default_rng(7).normal(3.0, 2.0, (sum(sizes), 2))
    batches = np.split(x, np.cumsum(sizes)[:-1])
    for ddof in (0, 1):
        got = pooled_statistics((Moments.of(batch, axis=0) for batch in batches), ddof=ddof)
        # up to 30 values of order 10, squared, and 6 merges
        np.testing.assert_allclose(got.mean, x.mean(axis=0), rtol=0, atol=400 * U)
        np.testing.assert_allclose(got.var, x.var(axis=0, ddof=ddof), rtol=400 * U)
        assert got.num_batches == len(sizes)


def test_sorted_batches_keep_their_variance_when_pooled(rng):
    """Ten batches of one class each: pooling has the whole variance, an average what lies within."""
    batches = rng.normal(2.0 * np.arange(10)[:, np.newaxis, np.newaxis], 1.0, (10, 64, 1))
    mixed = rng.permutation(batches.reshape(-1, 1)).reshape(10, 64, 1)
    everything, within = batches.var(), batches.var(axis=1).mean()
    between = batches.mean(axis=1).var()
    average = repeat_over(partial(cumulative_average, ddof=0), batches)
    # 640 values of order 10: their squares add up with some hundred roundings
    tolerance = {"rtol": 1000 * U}
    np.testing.assert_allclose(population_statistics(batches, ddof=0).var, everything, **tolerance)
    np.testing.assert_allclose(population_statistics(mixed, ddof=0).var, everything, **tolerance)
    np.testing.assert_allclose(average.var, within, **tolerance)
    np.testing.assert_allclose(within + between, everything, **tolerance)
    assert average.var < 0.05 * everything  # the classes lie wide apart: that is the failure


def test_one_batch_pooled_is_that_batch(rng):
    """The pooled statistics of one batch are its mean and its variance, exactly."""
    batch = Moments.of(rng.standard_normal((5, 3)), axis=0)
    running = pooled_statistics([batch])
    assert running.mean.tolist() == batch.mean.tolist()
    assert running.var.tolist() == batch.var(ddof=1).tolist()


def test_no_order_and_no_grouping_matters(rng):
    """Merged in another order, or in groups first, the moments pool to the same statistics."""
    parts = [Moments.of(rng.normal(k, 1.0, (k + 1, 2)), axis=0) for k in range(6)]
    grouped = [reduce(Moments.merge, parts[:2]), reduce(Moments.merge, parts[2:])]
    for other in (parts[::-1], grouped):
        one, two = pooled_statistics(parts), pooled_statistics(other)
        np.testing.assert_allclose(one.mean, two.mean, rtol=100 * U)  # 6 merges
        np.testing.assert_allclose(one.var, two.var, rtol=100 * U)


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1])
def test_the_channels_are_kept(channel_axis, rng):
    """Population statistics reduce every axis but that of the channels."""
    batches = [rng.standard_normal((n, 3, 4)) for n in (2, 5)]
    moved = [np.moveaxis(x, 1, channel_axis) for x in batches]
    got = population_statistics(moved, channel_axis=channel_axis)
    everything = np.concatenate(batches)
    assert got.mean.shape == (3,)
    np.testing.assert_allclose(got.mean, everything.mean(axis=(0, 2)), rtol=0, atol=50 * U)
    np.testing.assert_allclose(got.var, everything.var(axis=(0, 2), ddof=1), rtol=100 * U)


def test_the_channels_are_on_axis_1_by_default(rng):
    """Images come as (N, C, H, W), so by default their statistics have C values."""
    x = rng.standard_normal((2, 3, 4, 5))
    assert population_statistics([x]).mean.tolist() == Moments.of(x, (0, 2, 3)).mean.tolist()


def test_a_generator_is_read_once_and_not_kept():
    """Batches are asked for one after the other, and forgotten: never more than two are there."""
    alive, most = weakref.WeakSet(), []

    class Batch(np.ndarray):  # an array that can be counted
        __hash__ = object.__hash__

    def batches():
        for k in range(8):
            batch = np.full((2, 1), float(k)).view(Batch)
            alive.add(batch)
            most.append(len(alive))
            yield batch

    assert population_statistics(batches()).num_batches == 8
    assert max(most) == 2  # the one being made, and the one before, which two loops still hold


def test_a_long_offset_run_keeps_its_variance(rng):
    """A thousand batches a million standard deviations away pool to the variance of them all."""
    batches = rng.normal(1e6, 1.0, (1000, 8, 1))
    exact = (batches - 1e6).var(ddof=1)
    # the values themselves are rounded to 1e6 * U = 1e-10
    np.testing.assert_allclose(population_statistics(batches).var, exact, rtol=1e-9)


@pytest.mark.parametrize("kind", [list, iter])
def test_a_progress_bar_counts_the_batches(kind, capsys):
    """The bar on stderr counts to the last batch, and the statistics are the same to the bit."""
    batches = [np.array([[float(k)], [k + 3.0]]) for k in range(5)]
    quiet = population_statistics(kind(batches))
    assert capsys.readouterr() == ("", "")
    shown = population_statistics(kind(batches), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("5/5 [" if kind is list else "5batch [") in err
    assert unpacked(shown) == unpacked(quiet)


@pytest.mark.parametrize("rule", [debiased_exponential_average, cumulative_average])
def test_the_first_batch_replaces_the_start_exactly(rule):
    """The first update leaves nothing of mean 0 and variance 1, nor of any other start."""
    running = rule(RunningStatistics.initial(1), of(0.1, 0.7))
    assert unpacked(rule(statistics(1e300, 1e300), of(0.1, 0.7))) == unpacked(running)
    assert running.mean.tolist() == of(0.1, 0.7).mean.tolist()
    assert running.var.tolist() == of(0.1, 0.7).var(ddof=1).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_channels_are_kept_apart(rule, rng):
    """Each channel follows its own batches."""
    x = rng.standard_normal((10, 3))
    together = rule(RunningStatistics.initial(3), Moments.of(x, axis=0))
    for c in range(3):
        alone = rule(RunningStatistics.initial(1), Moments.of(x[:, c : c + 1], axis=0))
        np.testing.assert_allclose(together.mean[c], alone.mean[0], rtol=0, atol=10 * U)
        np.testing.assert_allclose(together.var[c], alone.var[0], rtol=10 * U)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_statistics_are_double_whatever_the_batch_is(rule, dtype):
    """Running statistics are kept in float64."""
    x = np.array([[1.0], [2.0]], dtype)
    running = rule(RunningStatistics.initial(1), Moments.of(x, axis=0))
    assert running.mean.dtype == running.var.dtype == np.float64
    assert RunningStatistics(x[0], x[1]).mean.dtype == np.float64


@pytest.mark.parametrize("rule", RULES)
def test_an_update_writes_to_nothing(rule):
    """The old statistics and the moments are what they were before."""
    running, batch = RunningStatistics.initial(1), of(1.0, 3.0)
    rule(running, batch)
    assert unpacked(running) == ([0.0], [1.0], 0)
    assert (batch.mean.tolist(), batch.m2.tolist()) == ([2.0], [2.0])


# Edges and errors


def test_statistics_stay_what_they_were():
    """Running statistics are frozen, read-only, and copies of what they were made from."""
    given_ = np.array([1.0, 2.0])
    running = RunningStatistics(given_, given_)
    given_[:] = 9.0
    assert unpacked(running) == ([1.0, 2.0], [1.0, 2.0], 0)
    for name in ("mean", "var"):
        assert not getattr(running, name).flags.writeable
    for name in ("mean", "var", "num_batches"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(running, name, given_)


def test_values_are_equal_to_themselves_only():
    """Arrays have no one answer to ==, so for running statistics it is identity."""
    one, other = RunningStatistics.initial(2), RunningStatistics.initial(2)
    assert {one: 1}[one] == 1
    assert one != other


def test_they_cannot_be_merged():
    """An average has no count, so there is no merging of two."""
    assert not hasattr(RunningStatistics, "merge")


@pytest.mark.parametrize("rule", RULES)
def test_one_value_has_no_unbiased_variance(rule):
    """A batch of one is refused where the unbiased variance is stored, not where the biased is."""
    message = (
        "a variance with ddof=1 needs at least 2 values per channel; got count=[1]. "
        "Pass a larger batch, or ddof=0 for the variance of these values alone."
    )
    with pytest.raises(ValueError, match=whole(message)):
        rule(RunningStatistics.initial(1), of(5.0))
    assert unpacked(rule(statistics(5.0, 0.0), of(5.0), ddof=0)) == ([5.0], [0.0], 1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("channels", [1, 3])
def test_another_number_of_channels_is_refused(rule, channels):
    """Statistics of two channels do not follow batches of one or three, nor broadcast to them."""
    message = (
        "the moments must have one value per channel, shape (2,); "
        f"got moments.mean.shape=({channels},). Take them over all axes but that of the channels."
    )
    with pytest.raises(ValueError, match=whole(message)):
        rule(RunningStatistics.initial(2), Moments.of(np.zeros((4, channels)), axis=0))


@pytest.mark.parametrize("rule", [exponential_average, debiased_exponential_average])
@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay, rule):
    """The weight of the old value lies between 0 and 1."""
    message = (
        f"decay must lie between 0 and 1, the weight of the old value; got decay={decay}. "
        "The usual value is 0.9."
    )
    with pytest.raises(ValueError, match=whole(message)):
        rule(RunningStatistics.initial(1), of(1.0, 3.0), decay=decay)


@pytest.mark.parametrize("rule", RULES)
def test_momentum_is_refused_with_the_translation(rule):
    """The word momentum is an error that says what to write instead."""
    message = (
        "an exponential average takes decay, the weight of the old value, not momentum, which means "
        "opposite things in different frameworks; got momentum=0.1. From PyTorch "
        "pass decay=1-0.1, from Keras, Flax or ONNX decay=0.1; "
        "cumulative_average() has neither."
    )
    with pytest.raises(TypeError, match=whole(message)):
        rule(RunningStatistics.initial(1), of(1.0, 3.0), momentum=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_other_keywords_are_refused(rule):
    """A keyword that the rule does not know is an error that names it."""
    message = (
        f"{rule.__name__}() got unexpected keyword arguments ['alpha', 'beta']. "
        "Look for a slip in their spelling; BatchNorm passes on here what is not one of its own, "
        "which are eps, channel_axis, gamma, beta and update. "
        "For a framework's words see refbn.conventions."
    )
    with pytest.raises(TypeError, match=whole(message)):
        rule(RunningStatistics.initial(1), of(1.0, 3.0), beta=1, alpha=2)


@pytest.mark.parametrize(
    ("mean", "var"),
    [
        ([0.0, np.nan], [1.0, 1.0]),
        ([0.0, -np.inf], [1.0, 1.0]),
        ([0.0, 0.0], [1.0, np.inf]),
        ([0.0, 0.0], [1.0, np.nan]),
        ([0.0, 0.0], [1.0, -0.5]),
    ],
)
def test_statistics_that_would_poison_are_refused(mean, var):
    """What is not finite, and a negative variance, is refused with its channel."""
    message = (
        "running statistics must be finite and variances not negative; "
        f"got mean={mean[1:]}, var={var[1:]} in channels [1]. Nothing was stored. "
        "Look for NaN, Inf or overflow in what they were made of."
    )
    with pytest.raises(ValueError, match=whole(message)):
        RunningStatistics(mean, var)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_batch_that_is_not_finite_is_refused(rule, value):
    """No rule stores what a NaN or Inf in the batch would leave for ever."""
    message = (
        "running statistics must be finite and variances not negative; "
        "got mean=[nan], var=[nan] in channels [1]. Nothing was stored. "
        "Look for NaN, Inf or overflow in what they were made of."
    )
    batch = Moments.of([[1.0, 1.0], [2.0, value], [3.0, 2.0]], axis=0)
    with pytest.raises(ValueError, match=whole(message)):
        rule(RunningStatistics.initial(2), batch)


def test_moments_that_are_infinite_are_refused_and_not_warned_of():
    """Infinite moments at decay 1, where 0 times Inf is NaN, get the same answer."""
    message = (
        "running statistics must be finite and variances not negative; "
        "got mean=[nan], var=[nan] in channels [0]. Nothing was stored. "
        "Look for NaN, Inf or overflow in what they were made of."
    )
    with pytest.raises(ValueError, match=whole(message)):
        exponential_average(RunningStatistics.initial(1), moments(np.inf, np.inf), decay=1.0)


def test_no_variance_at_all_is_fine():
    """A variance of exactly 0 can be stored."""
    assert RunningStatistics([0.0], [0.0]).var.tolist() == [0.0]


@pytest.mark.parametrize("number", [-1, 2.5])
def test_a_number_of_batches_that_is_none_is_refused(number):
    """The number of batches is an integer that is not negative."""
    message = (
        "num_batches must be an integer that is not negative; "
        f"got num_batches={number}. It counts the updates so far."
    )
    with pytest.raises(ValueError, match=whole(message)):
        RunningStatistics([0.0], [1.0], number)


@pytest.mark.parametrize("name", ["mean", "var"])
def test_complex_statistics_are_refused(name):
    """Complex numbers are for derivatives, and no state is kept of those."""
    message = (
        f"running statistics must be real; got {name} of dtype complex128. "
        "Complex numbers are for complex-step derivatives of the pure functions only."
    )
    with pytest.raises(TypeError, match=whole(message)):
        RunningStatistics(**{"mean": np.ones(1), "var": np.ones(1)} | {name: np.ones(1) + 0j})


@pytest.mark.parametrize(
    ("mean", "var"), [((), ()), ((2,), (3,)), ((2, 2), (2, 2)), ((1,), ()), ((2,), (1,))]
)
def test_statistics_of_another_shape_are_refused(mean, var):
    """Mean and variance are one value per channel, as many of one as of the other."""
    message = (
        "mean and var must have one value per channel, the same shape (C,); "
        f"got mean.shape={mean}, var.shape={var}. "
        "Give two one-dimensional arrays of equal length."
    )
    with pytest.raises(ValueError, match=whole(message)):
        RunningStatistics(np.ones(mean), np.ones(var))


NO_BATCH = (
    "statistics need at least 1 batch; got none. "
    "An iterator that was used up before is empty: make a new one."
)


@pytest.mark.parametrize("function", [pooled_statistics, population_statistics])
def test_no_batch_at_all_is_refused(function):
    """Of no batch there are no statistics, and an iterator that was read before has none."""
    used = iter([])
    for nothing in ([], used):
        with pytest.raises(ValueError, match=whole(NO_BATCH)):
            function(nothing)


BAD_BATCHES = [
    (
        np.array([1.0, 2.0]),
        ValueError,
        "x must have at least 2 axes, samples and channels; got x.shape=(2,). "
        "Use x.reshape(-1, 1) for samples of one channel, x.reshape(1, -1) for one sample.",
    ),
    (
        np.array([[1, 2]]),
        TypeError,
        "x must be an array of float16, bfloat16, float32, float64; got dtype int64. "
        "Convert it first, for example with np.asarray(x, dtype=np.float64).",
    ),
    (
        np.array([[1.0]]),
        ValueError,
        "the moments must have one value per channel, shape (2,); got moments.mean.shape=(1,). "
        "Take them over all axes but that of the channels.",
    ),
    (
        np.array([[1.0, np.nan]]),
        ValueError,
        "running statistics must be finite and variances not negative; "
        "got mean=[nan], var=[nan] in channels [1]. Nothing was stored. "
        "Look for NaN, Inf or overflow in what they were made of.",
    ),
    (
        np.array([[1.0j, 1.0]]),
        TypeError,
        "running statistics must be real; got mean of dtype complex128. "
        "Complex numbers are for complex-step derivatives of the pure functions only.",
    ),
]


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize(("bad", "error", "message"), BAD_BATCHES)
def test_a_batch_that_fails_is_named(bad, error, message, progress):
    """The error carries the number of the batch, and no batch after it was read."""
    good = np.array([[1.0, 2.0], [3.0, 4.0]])
    rest = iter([good, good, bad, good])
    note = "It was batch 2, counted from 0. No statistics were made."
    with pytest.raises(error, match=whole(f"{message}\n{note}")):
        population_statistics(rest, progress=progress)
    assert len(list(rest)) == 1


def test_a_loader_that_fails_is_named():
    """An error of the iterator itself comes through as it is, with the number of the batch."""

    def batches():
        yield np.ones((2, 1))
        raise OSError("disk")  # the loader's own

    note = "It was batch 1, counted from 0. No statistics were made."
    with pytest.raises(OSError, match=whole(f"disk\n{note}")):
        population_statistics(batches())


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (
            np.ones((2, 2)),
            TypeError,
            "pooled_statistics() takes Moments, one for each batch; got ndarray. "
            "population_statistics() takes the batches themselves.",
        ),
        (
            Moments.of([1.0, 2.0]),
            ValueError,
            "mean and var must have one value per channel, the same shape (C,); "
            "got mean.shape=(), var.shape=(). Give two one-dimensional arrays of equal length.",
        ),
    ],
)
def test_what_is_no_moments_of_channels_is_refused(part, error, message):
    """Pooling takes moments with one value per channel, from the first one on."""
    note = "It was batch 0, counted from 0. No statistics were made."
    with pytest.raises(error, match=whole(f"{message}\n{note}")):
        pooled_statistics([part])


def test_too_few_values_in_all_are_refused():
    """One value in all has no unbiased variance; one in every batch is fine."""
    message = (
        "a variance with ddof=1 needs at least 2 values per channel; got count=[1]. "
        "Pass a larger batch, or ddof=0 for the variance of these values alone."
    )
    with pytest.raises(ValueError, match=whole(message)):
        population_statistics([np.ones((1, 1))])
    assert unpacked(population_statistics([np.ones((1, 1))], ddof=0)) == ([1.0], [0.0], 1)
    assert unpacked(population_statistics([[[1.0]], [[3.0]]])) == ([2.0], [2.0], 2)


@pytest.mark.parametrize("function", [pooled_statistics, population_statistics])
def test_an_impossible_ddof_fails_before_the_first_batch(function):
    """A ddof that is neither 0 nor 1 is refused before a long run, not after it."""
    rest = iter([of(1.0, 2.0)])
    message = "ddof must be 0 or 1; got ddof=2. 0 divides by n, 1 by n - 1."
    with pytest.raises(ValueError, match=whole(message)):
        function(rest, ddof=2)
    assert len(list(rest)) == 1


def test_a_progress_bar_needs_tqdm(monkeypatch):
    """Without tqdm a bar is an error that says what to install, and no batch is read."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    message = (
        "progress=True needs the package tqdm, which cannot be imported. "
        'Run pip install "refbn[progress]", or leave progress out.'
    )
    rest = iter([np.ones((2, 1))])
    with pytest.raises(ImportError, match=whole(message)):
        population_statistics(rest, progress=True)
    assert population_statistics(rest).num_batches == 1


def test_a_dask_array_is_not_taken_for_batches():
    """A lazy array would be cut into its samples, and an axis of these taken for the channels."""
    message = (
        "population_statistics() takes batches, one after the other, and a Dask array would be cut "
        "into its samples; got dask.array.core.Array. "
        "Pass it to chunked_population_statistics(), which takes it whole."
    )
    x = da.ones((4, 3, 2), chunks=2)
    with pytest.raises(TypeError, match=whole(message)):
        population_statistics(x)
    assert population_statistics([x]).mean.tolist() == [1.0, 1.0, 1.0]


def test_merging_writes_to_nothing():
    """The moments that were pooled are what they were before."""
    parts = [of(1.0, 3.0), of(5.0, 9.0)]
    pooled_statistics(parts)
    assert [(m.mean.tolist(), m.m2.tolist()) for m in parts] == [([2.0], [2.0]), ([7.0], [8.0])]


# Oracles


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_debiased_average_is_that_of_adam_and_of_caffe(decay, rng):
    """Zero start and division at the end (Adam, Haiku) or by a decayed count (Caffe): the same."""
    running, hidden = RunningStatistics.initial(1), np.zeros(2)
    total, count, wrong = np.zeros(2), 0.0, np.array([0.0, 1.0])
    for t, x in enumerate(rng.normal(5.0, 4.0, (30, 8, 1)), start=1):
        new = np.array([x.mean(), x.var()])
        hidden = decay * hidden + (1 - decay) * new
        total, count = decay * total + new, decay * count + 1
        wrong = decay * wrong + (1 - decay) * new
        running = debiased_exponential_average(running, Moments.of(x, axis=0), decay=decay, ddof=0)
        got = [running.mean[0], running.var[0]]
        # at 0.999 the divisor 1 - decay^t begins at 0.001, known to 1000 U; 30 steps
        np.testing.assert_allclose(got, hidden / (1 - decay**t), rtol=30_000 * U)
        np.testing.assert_allclose(got, total / count, rtol=30_000 * U)
        # the same division of an average that began at variance 1 keeps too large a variance
        trace = decay**t / (1 - decay**t)
        np.testing.assert_allclose((wrong / (1 - decay**t))[1] - got[1], trace, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_the_translation_of_momentum_is_right(momentum, rng):
    """decay = 1 - momentum is PyTorch's sequence, decay = momentum with ddof=0 that of Keras."""
    torch, keras = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    ours = theirs = RunningStatistics.initial(1)
    for x in rng.standard_normal((20, 8, 1)):
        torch = torch + momentum * (np.array([x.mean(), x.var(ddof=1)]) - torch)
        keras = keras * momentum + np.array([x.mean(), x.var()]) * (1 - momentum)
        batch = Moments.of(x, axis=0)
        ours = exponential_average(ours, batch, decay=1 - momentum)
        theirs = exponential_average(theirs, batch, decay=momentum, ddof=0)
    # 20 steps of some 10 operations on numbers of order 1
    np.testing.assert_allclose([ours.mean[0], ours.var[0]], torch, rtol=0, atol=200 * U)
    np.testing.assert_allclose([theirs.mean[0], theirs.var[0]], keras, rtol=0, atol=200 * U)


def of(*values):
    """Return the moments of one channel with these values."""
    return Moments.of(np.array(values)[:, np.newaxis], axis=0)


def moments(mean, var):
    """Return the moments of two values, with this mean and this unbiased variance."""
    return Moments([2], [mean], [var])


def statistics(mean, var):
    """Return the running statistics of one channel before any batch."""
    return RunningStatistics([mean], [var])


def repeat(rule, running, batch, times, **keywords):
    """Return the statistics after the same batch several times."""
    for _ in range(times):
        running = rule(running, batch, **keywords)
    return running


def repeat_over(rule, batches):
    """Return the statistics after these batches, from the usual start."""
    running = RunningStatistics.initial(batches[0].shape[1])
    for x in batches:
        running = rule(running, Moments.of(x, axis=0))
    return running


def unpacked(running):
    """Return mean, variance and number of batches as lists and a number."""
    return running.mean.tolist(), running.var.tolist(), running.num_batches
