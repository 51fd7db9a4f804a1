"""Running statistics: what the rules forget, what they keep, and what they refuse."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st

from refbn import Moments, RunningStatistics, cumulative_average, exponential_average

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
RULES = [exponential_average, cumulative_average]

NUMBERS = st.integers(-(2**20), 2**20).map(lambda k: k / 2**10)
VARIANCES = NUMBERS.map(abs)
STATISTICS = st.tuples(NUMBERS, VARIANCES)


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


def test_the_default_decay():
    """By default nine tenths of the old statistics remain."""
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


def test_the_first_batch_replaces_the_start_exactly():
    """The first cumulative update leaves nothing of mean 0 and variance 1."""
    running = cumulative_average(RunningStatistics.initial(1), of(0.1, 0.7))
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


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    """The weight of the old value lies between 0 and 1."""
    message = (
        f"decay must lie between 0 and 1, the weight of the old value; got decay={decay}. "
        "The usual value is 0.9."
    )
    with pytest.raises(ValueError, match=whole(message)):
        exponential_average(RunningStatistics.initial(1), of(1.0, 3.0), decay=decay)


@pytest.mark.parametrize("rule", RULES)
def test_momentum_is_refused_with_the_translation(rule):
    """The word momentum is an error that says what to write instead."""
    message = (
        "exponential_average() takes decay, the weight of the old value, not momentum, which means "
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
        "which are eps, channel_axis, gamma, beta and update."
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


# Oracles


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


def unpacked(running):
    """Return mean, variance and number of batches as lists and a number."""
    return running.mean.tolist(), running.var.tolist(), running.num_batches
