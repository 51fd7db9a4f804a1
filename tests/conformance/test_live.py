"""On ordinary batches each framework does as its convention says: layers, states, gradients."""

import numpy as np
import pytest

from conformance.compare import DTYPES, NAMES, WITH_GRADIENTS, apart, pairs, record_same

peers = pytest.mark.parametrize("name", NAMES)


def largest(name, difference):
    """Return the largest difference over all layouts that a peer takes, by dtype."""
    return {dtype: max(difference(pair) for pair in pairs(name, dtype)) for dtype in DTYPES[name]}


def after(pair, steps):
    """Train both for some steps; the difference of their running statistics."""
    for seed in range(steps):
        x = pair.batch(seed)
        pair.ours(x)
        pair.theirs.train(x)
    ours, theirs = pair.ours.running, pair.returned().running
    return max(apart(ours.mean, theirs.mean), apart(ours.var, theirs.var))


@peers
def test_the_outputs_in_training_agree(name, record):
    """Of the same state and batch comes the same output, in every layout."""

    def difference(pair):
        x = pair.batch()
        return apart(pair.ours(x), pair.theirs.train(x))

    record_same(record, "output in training", name, **largest(name, difference))


@pytest.mark.parametrize("name", WITH_GRADIENTS)
def test_all_gradients_agree(name, record):
    """The gradients of the batch, of gamma and of beta are the same, for a random dy."""

    def difference(pair):
        x, dy = pair.batch(0), pair.batch(1)
        pair.ours(x)
        pair.theirs.train(x)
        both = zip(pair.ours.backward(dy), pair.theirs.backward(dy), strict=True)
        return max(apart(ours, theirs) for ours, theirs in both)

    record_same(record, "gradients in training", name, **largest(name, difference))


@peers
@pytest.mark.parametrize("steps", [1, 10])
def test_the_running_statistics_agree(name, steps, record):
    """With the framework's own defaults the statistics move as the convention says."""
    case = f"running statistics after {'one step' if steps == 1 else 'ten steps'}"
    record_same(record, case, name, **largest(name, lambda pair: after(pair, steps)))


@peers
def test_the_outputs_in_evaluation_agree(name, record):
    """After ten steps both evaluate alike, and so does a layer made of the framework's state."""

    def difference(pair):
        after(pair, 10)
        x = pair.batch(11)
        y = pair.theirs.infer(x)
        returned = pair.returned()
        return max(apart(pair.ours.eval()(x), y), apart(returned.eval()(x), y))

    record_same(record, "output in evaluation", name, **largest(name, difference))


@peers
def test_evaluation_leaves_the_state_alone(name):
    """What a framework stores is bit for bit the same after it has evaluated."""
    for pair in pairs(name, "float32"):
        x = pair.batch()
        pair.theirs.train(x)
        before = pair.theirs.statistics()
        pair.theirs.infer(x)
        for old, new in zip(before, pair.theirs.statistics(), strict=True):
            np.testing.assert_array_equal(old, new)
