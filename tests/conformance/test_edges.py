"""Where batch norm has an edge, each framework does something; this and what is right are asserted."""

import warnings

import numpy as np
import pytest

import refbn
from conformance.compare import (
    NAMES,
    WITH_GRADIENTS,
    Pair,
    apart,
    record_differs,
    record_same,
    target,
)
from conformance.tolerances import FAR, TOLERANCES
from refbn.diagnose import Start

FOLDED = "It computes `a * x + b`, of which both terms are large."
FAST = "Its variance is E[x²] − E[x]², of which rounding leaves nothing."
CENTRED = "An offset changes nothing: the mean is subtracted first."
BETA = "All values are the mean: the output is beta."
REFUSED = "There is nothing to estimate: the batch is refused."
peers = pytest.mark.parametrize("name", NAMES)


def pair_of(name, channels=1, dtype="float32"):
    """Return a pair in the first layout of a peer, with gamma 2, beta 0.5 and moved statistics."""
    start = Start(*(np.full(channels, value) for value in (2.0, 0.5, 0.25, 1.5)))
    return Pair(name, target(name, dtype).layouts[0], dtype, start)


def table_of(pair, y):
    """Return the table again that an array of the pair was laid out from."""
    last = np.moveaxis(np.asarray(y, np.float64), pair.layout.channel_axis, -1)
    return last.reshape(-1, last.shape[-1])


# One value per channel


@peers
def test_one_value_per_channel(name, record):
    """The output is beta and the gradient 0; the biased variance is 0 and there is no unbiased one."""
    pair, case = pair_of(name), "one value per channel"
    x = pair.laid_out([[7.0]])
    y, cache = refbn.batch_norm_train(
        x, pair.ours.gamma, pair.ours.beta, eps=pair.ours.eps, channel_axis=pair.layout.channel_axis
    )
    assert apart(table_of(pair, y), [[0.5]]) == 0
    assert apart(refbn.batch_norm_backward(x, cache).x, 0 * x) == 0
    if name == "PYTORCH":
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            pair.theirs.train(x)
        does = "It refuses the batch."
        right = "The output is beta, the gradient 0; only an unbiased variance cannot be stored."
        return record_differs(record, case, name, does, right)
    got = pair.theirs.train(x)
    assert apart(got, y) == 0
    if name in WITH_GRADIENTS:
        assert apart(pair.theirs.backward(x)[0], 0 * x) == 0
    if pair.convention.ddof:
        with pytest.raises(ValueError, match="needs at least 2 values per channel"):
            pair.ours(x)
        assert apart(np.ravel(pair.theirs.statistics()[1]), [0.0]) == 0
        does = "It stores 0 for the unbiased variance."
        right = "There is none of one value: the layer refuses to store it."
        return record_differs(record, case, name, does, right)
    pair.ours(x)
    running, ours = pair.returned().running, pair.ours.running
    difference = max(apart(running.mean, ours.mean), apart(running.var, ours.var))
    return record_same(record, case, name, float32=difference)


# No value at all

EMPTY = {
    "PYTORCH": "It leaves its statistics alone, but counts the batch.",
    "TENSORFLOW": "The statistics that it returns are NaN.",
}


@peers
def test_an_empty_batch(name, record):
    """There is nothing to estimate: refbn refuses it in training, and evaluates it to nothing."""
    pair = pair_of(name)
    x = pair.laid_out(np.zeros((0, 1)))
    with pytest.raises(ValueError, match="needs at least 1 value per channel"):
        pair.ours(x)
    assert pair.ours.eval()(x).shape == x.shape
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NumPy's of no values
        assert pair.theirs.train(x).shape == x.shape
    statistics = np.ravel(pair.theirs.statistics())
    if name == "PYTORCH":
        assert statistics.tolist() == [0.25, 1.5]
    else:
        assert np.isnan(statistics).all()
    does = EMPTY.get(name, "Its running statistics are NaN from then on.")
    record_differs(record, "empty batch in training", name, does, REFUSED)


# A channel that is constant


@peers
def test_a_constant_channel(name, record):
    """The output is beta, exactly. Sums of 7 are exact, so all would be if they subtracted first."""
    pair, case = pair_of(name), "constant channel"
    x = pair.laid_out(np.full((8, 1), 7.0))
    y = table_of(pair, pair.ours(x))
    assert apart(y, np.full((8, 1), 0.5)) == 0
    off = apart(table_of(pair, pair.theirs.train(x)), y)
    if name == "PYTORCH":
        assert TOLERANCES["float32"] < off < FAR * TOLERANCES["float32"]
        return record_differs(record, case, name, FOLDED, BETA, float32=off)
    assert off == 0
    return record_same(record, case, name)


@peers
def test_constant_channels_of_which_the_sums_are_rounded(name, record):
    """refbn still gives beta; the others divide what is left of the mean by sqrt(eps)."""
    constants = np.linspace(-200, 200, 100) + 0.1
    pair, case = pair_of(name, channels=100), "constant channels, sums rounded"
    x = pair.laid_out(np.tile(constants, (10, 1)))
    y = table_of(pair, pair.ours(x))
    assert apart(y, np.full((10, 100), 0.5)) == 0
    off = apart(table_of(pair, pair.theirs.train(x)), y)
    if name == "KERAS":
        assert np.isnan(off)
        does = "Some are NaN, where E[x²] − E[x]² is below −epsilon."
        return record_differs(record, case, name, does, BETA)
    units = 10 * np.spacing(np.float32(200))  # each of ten sums is rounded to half a unit, twice
    assert TOLERANCES["float32"] < off < 2 * units / np.sqrt(pair.ours.eps)
    does = "What rounding leaves of the deviation is divided by the root of epsilon."
    return record_differs(record, case, name, does, BETA, float32=off)


# A mean far from 0, in float32

OFFSET = {"PYTORCH": FOLDED, "ONNXRUNTIME": FOLDED, "KERAS": FAST, "FLAX": FAST, "FLAX_NNX": FAST}


@peers
@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_a_large_offset(name, offset, record):
    """Adding a constant to all values changes nothing: 1, 2, 3, 4 and these far from 0."""
    pair = pair_of(name)
    rows = np.array([[1.0], [2.0], [3.0], [4.0]])
    x = pair.laid_out(rows + offset)
    right = 2 * (rows - 2.5) / np.sqrt(1.25 + pair.ours.eps) + 0.5
    assert apart(table_of(pair, pair.ours(x)), right) <= TOLERANCES["float32"]
    off = apart(table_of(pair, pair.theirs.train(x)), right)
    case = f"offset of {offset:.0e} in float32".replace("e+0", "e")
    if name not in OFFSET:
        return record_same(record, case, name, float32=off)
    if OFFSET[name] is FOLDED:
        assert 10 * TOLERANCES["float32"] < off < 1
        return record_differs(record, case, name, FOLDED, CENTRED, float32=off)
    assert not off < FAR * TOLERANCES["float32"]  # NaN, where the difference is below 0
    return record_differs(record, case, name, FAST, CENTRED)


def test_flax_without_its_fast_variance():
    """With use_fast_variance=False Flax is right too."""
    for name in ("FLAX", "FLAX_NNX"):
        slow = target(name, "float32", use_fast_variance=False)
        subject = slow.make(Start(*(np.array([v]) for v in (1.0, 0.0, 0.0, 1.0))))
        rows = np.array([[1.0], [2.0], [3.0], [4.0]])
        y = subject.train((rows + 1e4).astype(np.float32))
        assert apart(y, (rows - 2.5) / np.sqrt(1.25 + 1e-5)) <= TOLERANCES["float32"]


# NaN and infinity


def step_with(name, bad):
    """Give both a batch with a bad value in the first of two channels; return the second's error.

    The layer of refbn refuses to store what comes of it; its function computes the output.
    """
    pair = pair_of(name, channels=2)
    x = pair.laid_out([[bad, 1.0], [2.0, 2.0], [3.0, 4.0]])
    before, axis = pair.ours.running, pair.layout.channel_axis
    with pytest.raises(ValueError, match="must be finite"):
        pair.ours(x)
    assert pair.ours.running is before
    y, _ = refbn.batch_norm_train(
        x, pair.ours.gamma, pair.ours.beta, eps=pair.ours.eps, channel_axis=axis
    )
    ours, theirs = table_of(pair, y), table_of(pair, pair.theirs.train(x))
    assert np.isnan([ours[:, 0], theirs[:, 0]]).all()
    return pair, apart(ours[:, 1], theirs[:, 1])


@peers
def test_a_value_that_is_not_finite(name, record):
    """It makes its channel NaN and leaves the others alone; only refbn does not store it."""
    case, off = "NaN or Inf in a channel", 0.0
    for bad in (np.nan, np.inf):
        pair, more = step_with(name, bad)
        off = max(off, more)
        mean, var = (np.ravel(values) for values in pair.theirs.statistics())
        assert not np.isfinite([mean[0], var[0]]).any()
        assert np.isfinite([mean[1], var[1]]).all()
        after = table_of(pair, pair.theirs.infer(pair.laid_out([[1.0, 1.0], [2.0, 2.0]])))
        assert np.isnan(after[:, 0]).all()
    record_same(record, f"{case}: output", name, float32=off)
    does = "It stores what is not finite, and evaluates to NaN from then on."
    right = "The batch is refused, and the state is what it was."
    record_differs(record, f"{case}: running statistics", name, does, right)
