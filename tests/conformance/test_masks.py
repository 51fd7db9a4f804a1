"""Flax and Keras know masks: what does not count changes nothing, if it is a number."""

import keras
import numpy as np
import pytest
import torch

from conformance.compare import (
    SHAPES,
    Pair,
    apart,
    pairs,
    record_differs,
    record_same,
    target,
)
from refbn.diagnose import Start

MASKING = ("FLAX", "FLAX_NNX", "KERAS")
masking = pytest.mark.parametrize("name", MASKING)


def masked(pair, fill):
    """Return a batch with a fill where its mask is False, that mask, and a dy that is 0 there."""
    rng = np.random.default_rng(3)
    last = rng.random((*SHAPES[pair.layout.rank][:-1], 1)) < 0.6
    x = pair.batch()
    where = np.broadcast_to(np.moveaxis(last, -1, pair.layout.channel_axis), x.shape)
    x = np.where(where, x, np.asarray(fill, x.dtype))
    return x, where, np.where(where, pair.batch(1), np.zeros((), x.dtype))


def steps(name, fill):
    """Yield mask, outputs and gradients of a step of both; Keras wants the channels last."""
    for pair in pairs(name, "float32"):
        if name != "KERAS" or pair.layout.channel_axis == -1:
            x, where, dy = masked(pair, fill)
            outputs = pair.ours(x, where=where), pair.theirs.train_masked(x, where)
            yield pair, where, outputs, (pair.ours.backward(dy), pair.theirs.backward(dy))


@masking
def test_what_is_masked_does_not_count(name, record):
    """Outputs where the mask is True, statistics and gradients are those of the kept values."""
    off = 0.0
    for pair, where, (ours, theirs), gradients in steps(name, fill=5.0):
        (dx, *rest), (their_dx, *their_rest) = gradients
        running, back = pair.ours.running, pair.returned().running
        both = [(ours[where], theirs[where]), (dx[where], their_dx[where])]
        both += [*zip(rest, their_rest, strict=True)]
        both += [(running.mean, back.mean), (running.var, back.var)]
        off = max(off, *(apart(a, b) for a, b in both))
    record_same(record, "mask", name, float32=off)


@masking
def test_nan_where_the_mask_is_false(name, record):
    """It leaves the outputs alone, but not the gradients of the frameworks; those of refbn, too."""
    off = 0.0
    for _, where, (ours, theirs), gradients in steps(name, fill=np.nan):
        off = max(off, apart(ours[where], theirs[where]))
        assert all(np.isfinite(gradient).all() for gradient in gradients[0])
        dx, dgamma, dbeta = gradients[1]
        assert np.isnan(dgamma).all()
        assert np.isnan(dx[where]).any()
        assert np.isfinite(dbeta).all()
    record_same(record, "mask over NaN: output", name, float32=off)
    does = "The gradients of x and gamma are NaN."
    right = "They are as with any number there."
    record_differs(record, "mask over NaN: gradients", name, does, right)


@masking
def test_a_mask_that_keeps_nothing(name, record):
    """There is nothing to estimate: refbn refuses it."""
    pair = Pair(name, target(name, "float32").layouts[0], "float32")
    x = pair.batch()
    where = np.zeros(x.shape, bool)
    with pytest.raises(ValueError, match="needs at least 1 value per channel"):
        pair.ours(x, where=where)
    y = pair.theirs.train_masked(x, where)
    if name == "KERAS":
        gamma, beta = pair.ours.gamma, pair.ours.beta
        assert apart(y, gamma * x / np.sqrt(pair.ours.eps) + beta) < 1e-3 * abs(y).max()
        does = "It divides x by the root of epsilon."
    else:
        assert np.isnan(y).all()
        does = "Outputs and running statistics are NaN."
    right = "There is nothing to estimate: the batch is refused."
    record_differs(record, "mask that keeps nothing", name, does, right)


def test_keras_masks_channels_that_are_many_and_last(record):
    """Keras fails with channels first, and with one channel; refbn takes both."""
    x = torch.ones((4, 3, 2, 2))
    first = keras.layers.BatchNormalization(axis=1)
    with pytest.raises(RuntimeError, match="must match the existing size"):
        first(x, training=True, mask=torch.ones((4, 2, 2), dtype=torch.bool))
    single = keras.layers.BatchNormalization()
    with pytest.raises(IndexError, match="out of range"):
        single(x[..., :1], training=True, mask=torch.ones((4, 3, 2), dtype=torch.bool))
    does, right = "It fails.", "A mask works with any channel axis."
    record_differs(record, "mask, channels first", "KERAS", does, right)
    right = "A mask works with any number of channels."
    record_differs(record, "mask over one channel", "KERAS", does, right)


@pytest.mark.parametrize("name", ["FLAX", "FLAX_NNX"])
def test_flax_masks_one_channel(name, record):
    """Flax takes a mask over one channel."""
    start = Start(*(np.full(1, v) for v in (2.0, 0.5, 0.0, 1.0)))
    pair = Pair(name, target(name, "float32").layouts[0], "float32", start)
    x = pair.laid_out([[1.0], [2.0], [4.0], [8.0]])
    where = x < 8
    both = pair.ours(x, where=where)[where], pair.theirs.train_masked(x, where)[where]
    record_same(record, "mask over one channel", name, float32=apart(*both))
