"""Statistics and gradients over workers: K shards are one batch, whatever their sizes."""

import pickle
from binascii import crc32
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st
from workers import HEARD, HERE, Team, cut, together

from refbn import (
    Moments,
    RunningStatistics,
    SyncBatchNorm,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_jvp,
    batch_norm_train,
    exponential_average,
)
from refbn.gradcheck import check_backward, complex_step
from refbn.sync import sync_batch_norm_backward, sync_batch_norm_train, sync_moments

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
SIZES = [(5,), (10, 27, 43, 20), (0, 7, 0, 1), (1, 1, 1), (3, 0), (64, 1)]


def training(x, gamma=None, beta=None, where=None, **options):
    """Return y and cache of each worker, for a list of shards."""
    masks = [None] * len(x) if where is None else where

    def work(communicator, x, where):
        return sync_batch_norm_train(
            x, gamma, beta, communicator=communicator, where=where, **options
        )

    return zip(*together(work, x, masks), strict=True)


def going_back(dy, caches):
    """Return the gradients of each worker."""
    return together(
        lambda communicator, dy, c: sync_batch_norm_backward(dy, c, communicator), dy, caches
    )


def of(*values):
    """Return the moments of some values of one channel."""
    return Moments.of(np.array(values)[:, np.newaxis], axis=0)


def bits(moments):
    """Return the bytes of the three fields."""
    return [field.tobytes() for field in (moments.count, moments.mean, moments.m2)]


# Worked example by hand


def test_moments_by_hand():
    """1 and 3 on one worker, 8 on another, none on a third: n is 3, the mean 4, m2 9 + 1 + 16."""
    shards = [of(1.0, 3.0), of(8.0), of()]
    for moments in together(lambda c, mine: sync_moments(mine, c), shards):
        assert (moments.count, moments.mean, moments.m2) == ([3], [4.0], [26.0])


def test_forward_and_backward_by_hand():
    """1 on one worker and 3 on another become -5 and 15; n is 2, so dx is 0 at eps 0."""
    (y, z), caches = training([[[1.0]], [[3.0]]], [10.0], [5.0], eps=0.0)
    assert (y.tolist(), z.tolist()) == ([[-5.0]], [[15.0]])
    one, two = going_back([[[4.0]], [[2.0]]], caches)
    assert (one.x.tolist(), two.x.tolist()) == ([[0.0]], [[0.0]])
    # each worker's own part: dy x_hat, and dy
    assert (one.gamma, one.beta, two.gamma, two.beta) == ([-4.0], [4.0], [2.0], [2.0])


def test_a_gradient_crosses_to_the_other_workers():
    """For 0 | 1, 2 and dy = (1 | 0, 0), with a² = 3/2, dx = a (1 | -2, 1) / 6: not 0 there."""
    _, caches = training([np.array([[0.0]]), np.array([[1.0], [2.0]])], eps=0.0)
    one, two = going_back([np.array([[1.0]]), np.array([[0.0], [0.0]])], caches)
    a = np.sqrt(1.5)
    np.testing.assert_allclose(one.x, [[a / 6]], rtol=16 * U)
    np.testing.assert_allclose(two.x, [[-a / 3], [a / 6]], rtol=16 * U)


def test_the_defaults():
    """eps is 1e-5, the channels are on axis 1, and gamma, beta and mask are left out."""
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    _, (cache,) = training([x])
    assert cache.inv_std.tolist() == (1 / np.sqrt(np.array([2 / 3, 0]) + 1e-5)).tolist()
    assert (cache.channel_axis, cache.gamma, cache.has_beta, cache.where) == (1, None, False, None)


# Laws


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(3,), (3, 4)])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_shards_are_one_batch(sizes, shape, masked, rng):
    """Output, gradients and statistics are those of the shards side by side on one worker."""
    x, dy = 3 + 2 * rng.standard_normal((2, sum(sizes), *shape))
    gamma, beta = rng.standard_normal((2, 3))
    where = rng.random(x.shape) < 0.7
    where[0] = True  # at least one value in each channel
    where = where if masked else None
    y, cache = batch_norm_train(x, gamma, beta, where=where)
    expected = batch_norm_backward(dy, cache)

    masks = cut(where, sizes) if masked else None
    ys, caches = training(cut(x, sizes), gamma, beta, masks)
    gradients = going_back(cut(dy, sizes), caches)
    # sums of up to some hundred terms of order 10; a channel of few values may have a small
    # variance, which divides
    slack = 1000 * U * (1 + cache.inv_std.max()) ** 2
    assert [part.shape[0] for part in ys] == list(sizes)
    np.testing.assert_allclose(np.concatenate(ys), y, rtol=0, atol=slack)
    for got in caches:
        assert got.moments.count.tolist() == cache.moments.count.tolist()
        np.testing.assert_allclose(got.moments.mean, cache.moments.mean, rtol=0, atol=100 * U)
        np.testing.assert_allclose(got.moments.m2, cache.moments.m2, rtol=100 * U)
    np.testing.assert_allclose(
        np.concatenate([part.x for part in gradients]), expected.x, rtol=0, atol=slack
    )
    for name in ("gamma", "beta"):
        parts = [getattr(part, name) for part in gradients]
        np.testing.assert_allclose(sum(parts), getattr(expected, name), rtol=0, atol=10 * slack)


@given(data=st.data(), sizes=st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any))
def test_all_workers_have_the_same_statistics_to_the_bit(data, sizes):
    """Moments, running statistics and all that is made of them agree on all workers exactly."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = cut(1e3 + rng.standard_normal((sum(sizes), 2)), sizes)
    first, *others = together(
        lambda communicator, x: sync_batch_norm_train(x, communicator=communicator)[1], x
    )
    start = RunningStatistics.initial(2)
    for cache in others:
        assert bits(cache.moments) == bits(first.moments)
        assert cache.inv_std.tobytes() == first.inv_std.tobytes()
        one, two = (exponential_average(start, c.moments, ddof=0) for c in (cache, first))
        assert (one.mean.tobytes(), one.var.tobytes()) == (two.mean.tobytes(), two.var.tobytes())


def test_the_sums_of_the_backward_pass_are_the_same_to_the_bit(rng):
    """Workers with the same shard and dy get the same dx exactly, in whatever order they add."""
    x, dy = rng.standard_normal((2, 4, 3))
    odd = rng.standard_normal((9, 3))
    _, caches = training([x, odd, x, x, odd])
    gradients = going_back([dy, odd, dy, dy, odd], caches)
    assert len({gradients[k].x.tobytes() for k in (0, 2, 3)}) == 1
    assert len({gradients[k].x.tobytes() for k in (1, 4)}) == 1


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_worker_is_batch_norm(dtype, masked, rng):
    """Alone, a worker has what batch_norm_train has, to the last bit."""
    x, dy = (5 + rng.standard_normal((2, 6, 3, 4))).astype(dtype)
    gamma, beta = rng.standard_normal((2, 3))
    where = rng.random((6, 1, 4)) < 0.7 if masked else None
    y, cache = batch_norm_train(x, gamma, beta, where=where)
    (got,), (got_cache,) = training([x], gamma, beta, [where])
    assert (got.tobytes(), got.dtype) == (y.tobytes(), dtype)
    assert bits(got_cache.moments) == bits(cache.moments) == bits(got_cache.own)
    for one, two in zip(
        *going_back([dy], [got_cache]), batch_norm_backward(dy, cache), strict=True
    ):
        assert (one.tobytes(), one.dtype) == (two.tobytes(), two.dtype)


@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1))
def test_moments_are_those_of_all_values(sizes, seed):
    """Merged over the workers, moments are the moments of all values, also where there are none."""
    x = np.random.default_rng(seed).integers(-64, 64, (sum(sizes), 2)) / 8.0
    shards = [Moments.of(part, axis=0) for part in cut(x, sizes)]
    for moments in together(lambda c, mine: sync_moments(mine, c), shards):
        assert moments.count.tolist() == [sum(sizes)] * 2
        mean = x.mean(axis=0) if len(x) else np.zeros(2)
        # up to 36 values of at most 8, and 6 merges
        np.testing.assert_allclose(moments.mean, mean, rtol=0, atol=100 * U)
        np.testing.assert_allclose(moments.m2, ((x - mean) ** 2).sum(axis=0), rtol=0, atol=1e4 * U)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("eps", [1e-5, 1.0])
def test_the_gradient_is_that_of_the_whole_batch(sizes, masked, eps, rng):
    """The gradients are the adjoint of the forward pass over all shards, by the complex step."""
    x, gamma, beta = rng.standard_normal((sum(sizes), 2)), *rng.standard_normal((2, 2))
    where = rng.random(x.shape) < 0.7
    where[0] = True
    masks = cut(where, sizes) if masked else None

    def forward(x, gamma, beta):
        return np.concatenate(next(training(cut(x, sizes), gamma, beta, masks, eps=eps)))

    def backward(dy, x, gamma, beta):
        _, caches = training(cut(x, sizes), gamma, beta, masks, eps=eps)
        x, gamma, beta = zip(*going_back(cut(dy, sizes), caches), strict=True)
        return np.concatenate(x), sum(gamma), sum(beta)

    # rounding, and not the 27 % of gradients from sums over a shard
    check_backward(forward, backward, [x, gamma, beta], derivative=complex_step, tolerance=1e-12)


def test_equal_shards_may_be_averaged_and_no_others(rng):
    """Averaging means or variances, the usual short cuts, is wrong where shards differ at all."""
    sizes = (10, 27, 43, 20)
    shards = [k + rng.standard_normal((n, 6)) for k, n in enumerate(sizes)]
    everything = np.concatenate(shards)
    _, (cache, *_) = training(shards)
    np.testing.assert_allclose(cache.moments.mean, everything.mean(axis=0), rtol=100 * U)
    np.testing.assert_allclose(cache.moments.var(), everything.var(axis=0), rtol=100 * U)

    means, variances = (np.array([f(x, axis=0) for x in shards]) for f in (np.mean, np.var))
    squares = np.array([np.mean(x * x, axis=0) for x in shards])
    weights = np.array(sizes) / sum(sizes)
    inv_std = 1 / np.sqrt(variances + 1e-5)
    assert off(means.mean(axis=0), everything.mean(axis=0)) > 0.05
    assert off(variances.mean(axis=0), everything.var(axis=0)) > 0.3
    assert off((squares.mean(axis=0) - means.mean(axis=0) ** 2), everything.var(axis=0)) > 0.05
    # weights by the counts do not help what forgets how far apart the means lie
    assert off(weights @ variances, everything.var(axis=0)) > 0.3
    assert off(weights @ inv_std, cache.inv_std) > 0.2
    # with equal shards, means and mean squares may be averaged
    pair = [x[:10] for x in shards[:2]]
    _, (cache, _) = training(pair)
    mean = np.mean(pair, axis=(0, 1))
    square = np.mean(np.square(pair), axis=(0, 1))
    np.testing.assert_allclose(cache.moments.mean, mean, rtol=100 * U, atol=100 * U)
    np.testing.assert_allclose(cache.moments.var(), square - mean**2, rtol=200 * U)


def test_local_sums_are_not_the_gradient(rng):
    """Each worker's own sums instead of the sums over all leave a gradient far off."""
    sizes = (10, 27, 43, 20)
    x, dy = rng.standard_normal((2, sum(sizes), 6))
    x, dy = cut(x, sizes), cut(dy, sizes)
    _, caches = training(x)
    right = np.concatenate([g.x for g in going_back(dy, caches)])
    alone = [
        batch_norm_backward(g, batch_norm_train(part)[1]).x for g, part in zip(dy, x, strict=True)
    ]
    assert off(np.concatenate(alone), right) > 0.1
    message = (
        "cache must be that of a whole batch; got one of a part with [10, 10, 10, 10, 10, 10] of "
        "[100, 100, 100, 100, 100, 100] values per channel. "
        "Pass it to sync_batch_norm_backward, with the communicator."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_backward(dy[0], caches[0])
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_jvp(dy[0], caches[0])


@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_a_large_offset_costs_nothing(offset, rng):
    """A million standard deviations away the variance is right to what the values can hold."""
    sizes = (10, 0, 27, 43)
    noise = rng.standard_normal((sum(sizes), 3))
    x = offset + noise
    noise = x - offset  # what rounding left of it, exactly
    ys, (cache, *_) = training(cut(x, sizes), eps=0.0)
    centred = noise - noise.mean(axis=0)
    # a mean is stored to 1e6 * U = 1e-10
    np.testing.assert_allclose(cache.moments.var(), noise.var(axis=0), rtol=1e-9)
    np.testing.assert_allclose(np.concatenate(ys), centred / noise.std(axis=0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_single_precision(offset, rng):
    """Shards in float32 are as one batch in float32: the statistics in double, the output in float32."""
    sizes = (10, 0, 27, 43)
    x, dy = rng.standard_normal((2, sum(sizes), 3, 2)).astype(np.float32)
    x += np.float32(offset)
    y, cache = batch_norm_train(x)
    ys, caches = training(cut(x, sizes))
    gradients = going_back(cut(dy, sizes), caches)
    expected = batch_norm_backward(dy, cache).x
    assert {part.dtype for part in (*ys, *(g.x for g in gradients))} == {np.dtype(np.float32)}
    # outputs of order 1 in float32, each computed with two or three roundings
    np.testing.assert_allclose(np.concatenate(ys), y, rtol=0, atol=4 * 2.0**-22)
    np.testing.assert_allclose(
        np.concatenate([g.x for g in gradients]), expected, rtol=0, atol=4 * 2.0**-22
    )
    np.testing.assert_allclose(caches[0].moments.var(), cache.moments.var(), rtol=1e-9)


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1])
def test_the_channels_may_lie_anywhere(channel_axis, rng):
    """With the channels on another axis, shards may be cut along any of the rest."""
    x, dy = rng.standard_normal((2, 9, 3, 4))
    along = {0: 1, 1: 2, 2: 0, -1: 1}[channel_axis]
    x, dy = (np.moveaxis(a, 1, channel_axis) for a in (x, dy))
    sizes = (1, x.shape[along] - 1)
    y, cache = batch_norm_train(x, channel_axis=channel_axis)
    expected = batch_norm_backward(dy, cache)
    ys, caches = training(cut(x, sizes, along), channel_axis=channel_axis)
    gradients = going_back(cut(dy, sizes, along), caches)
    # some 36 values of order 1
    np.testing.assert_allclose(np.concatenate(ys, along), y, rtol=0, atol=100 * U)
    dx = np.concatenate([g.x for g in gradients], along)
    np.testing.assert_allclose(dx, expected.x, rtol=0, atol=100 * U)


def test_shards_may_differ_in_length_layout_and_mask(rng):
    """Shards of other lengths and layouts, masked or not, have their values merged."""
    shards = [
        rng.standard_normal((2, 3, 5)),
        rng.standard_normal((4, 3)),
        np.asfortranarray(rng.standard_normal((1, 3, 2, 2))),
    ]
    masks = [None, rng.random((4, 1)) < 0.7, None]
    values = [np.moveaxis(x, 1, -1).reshape(-1, 3) for x in shards]
    values[1] = values[1][masks[1].ravel()]
    everything = np.concatenate(values)
    ys, caches = training(shards, where=masks)
    for x, y, cache, mask in zip(shards, ys, caches, masks, strict=True):
        assert y.shape == x.shape
        var = everything.var(axis=0)
        np.testing.assert_allclose(cache.moments.var(), var, rtol=100 * U)
        same = batch_norm_infer(x, cache.moments.mean, cache.moments.var())
        np.testing.assert_array_equal(y, same if mask is None else np.where(mask, same, 0))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_one_reduction_forward_and_one_backward(size, rng):
    """However many workers there are, each pass is one call of allreduce."""
    team, x = Team(size), list(rng.standard_normal((size, 4, 3)))
    caches = [
        cache for _, cache in team.run(lambda c, x: sync_batch_norm_train(x, communicator=c), x)
    ]
    assert team.calls == 1
    team.run(lambda c, dy, cache: sync_batch_norm_backward(dy, cache, c), x, caches)
    assert team.calls == 2


def test_what_is_sent_does_not_grow_with_the_workers(rng):
    """What is left of sixteen parts is as long as each of them: moments are merged, not collected."""
    lengths = []

    def work(communicator, x):
        def op(a, b):
            lengths.append(len(pickle.dumps(both := a.merge(b))))
            return both

        own = SimpleNamespace(rank=communicator.rank)
        own.allreduce = lambda part, _: communicator.allreduce(part, op)
        return sync_batch_norm_train(x, communicator=own)[1]

    together(work, list(rng.standard_normal((16, 4, 100))))
    assert len(lengths) == 15
    assert len(set(lengths)) == 1
    assert lengths[0] < 3 * 8 * 100 + 1000  # three numbers for each channel, and the terms


def test_the_gradients_of_the_parameters_are_this_shards(rng):
    """dgamma and dbeta are sums over the shard, with x_hat of the whole batch; None without them."""
    sizes = (4, 0, 5)
    x, dy = rng.standard_normal((2, 9, 3))
    ones = np.ones(3)
    for gamma, beta in [(None, None), (ones, None), (None, ones), (ones, ones)]:
        _, caches = training(cut(x, sizes), gamma, beta)
        for g, d, cache in zip(
            going_back(cut(dy, sizes), caches), cut(dy, sizes), caches, strict=True
        ):
            assert (g.gamma is None, g.beta is None) == (gamma is None, beta is None)
            if gamma is not None:
                np.testing.assert_allclose(g.gamma, (d * cache.x_hat).sum(axis=0), atol=50 * U)
            if beta is not None:
                np.testing.assert_allclose(g.beta, d.sum(axis=0), atol=50 * U)


@pytest.mark.parametrize("n", [100, 1000])
def test_a_constant_shard_far_from_the_others_is_not_taken_for_changed(n, rng):
    """A shard of zeros, say after a ReLU, has rounding in its distance from the mean, no more."""
    x = [np.zeros((n, 2)), 0.7 + 3 * rng.standard_normal((5, 2))]
    _, caches = training(x)
    dy = [rng.standard_normal(part.shape) for part in x]
    _, cache = batch_norm_train(np.concatenate(x))
    expected = batch_norm_backward(np.concatenate(dy), cache).x
    got = np.concatenate([g.x for g in going_back(dy, caches)])
    # sums of n terms, divided by n
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


# Edges and errors


def test_an_empty_shard_takes_part(rng):
    """A worker without samples gets an empty output and gradient, and the statistics of the others."""
    x, empty = rng.standard_normal((4, 3, 2)), np.zeros((0, 3, 2))
    (y, _), caches = training([empty, x], np.ones(3), np.ones(3))
    gradients, _ = going_back([empty, x], caches)
    assert y.shape == gradients.x.shape == (0, 3, 2)
    assert gradients.gamma.tolist() == gradients.beta.tolist() == [0.0] * 3
    assert bits(caches[0].moments) == bits(Moments.of(x, axis=(0, 2)))


def test_a_channel_that_one_worker_has_only(rng):
    """Where all but one worker have a channel masked out, its statistics are those of that one."""
    x = rng.standard_normal((2, 5, 2))
    masks = [np.array([[True, False]]), np.array([[True, True]])]
    _, (one, two) = training(list(x), where=masks)
    assert one.moments.count.tolist() == [10, 5]
    assert one.own.count.tolist() == [5, 0]
    np.testing.assert_allclose(two.moments.mean[1], x[1, :, 1].mean(), rtol=0, atol=10 * U)


@pytest.mark.parametrize("culprit", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_not_finite_is_refused_on_every_worker(culprit, value, rng):
    """NaN on one worker would be everybody's: all are told which worker has it, and where."""
    x = rng.standard_normal((3, 4, 2))
    x[culprit, 2, 1] = value
    with np.errstate(over="ignore"):  # what the square of 1e200 does is not what is tried here
        errors = Team(3).run(lambda c, x: sync_batch_norm_train(x, communicator=c), x)
    message = (
        "a shard must be finite, as its statistics go to all workers; "
        "got NaN, Inf or squares that overflow in channels [1]. "
        "Look for the layer before this one that made them, or mask them out by where."
    )
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 3
    notes = [getattr(error, "__notes__", []) for error in errors]
    assert notes == [[(HERE if rank == culprit else HEARD).format(culprit)] for rank in range(3)]


def test_what_is_not_finite_may_be_masked_out(rng):
    """What the mask leaves out may be anything, as on one worker."""
    x = rng.standard_normal((2, 4, 2))
    x[0, 2, 1] = np.nan
    _, (cache, _) = training(list(x), where=[~np.isnan(part) for part in x])
    assert cache.moments.count.tolist() == [8, 7]
    assert np.isfinite(cache.moments.m2).all()


def test_infinite_gradients_add_up_without_a_warning(rng):
    """Inf on one worker and -Inf on another make NaN in their channel, silently."""
    x, dy = rng.standard_normal((2, 2, 4, 2))
    _, caches = training(list(x))
    dy[0, 0, 0], dy[1, 0, 0] = np.inf, -np.inf
    for gradients in going_back(list(dy), caches):
        assert np.isnan(gradients.x[:, 0]).all()
        assert np.isfinite(gradients.x[:, 1]).all()


def test_moments_are_a_value_also_after_the_journey(rng):
    """What comes back is read-only, like all moments, and the moments that were sent are as before."""
    mine = [Moments.of(rng.standard_normal((4, 3)), axis=0) for _ in range(2)]
    before = [bits(moments) for moments in mine]
    for team in (mine, mine[:1]):
        for moments in together(lambda c, part: sync_moments(part, c), team):
            flags = [f.flags.writeable for f in (moments.count, moments.mean, moments.m2)]
            assert flags == [False] * 3
    assert [bits(moments) for moments in mine] == before


@pytest.mark.parametrize("masked", [False, True])
def test_a_channel_without_values_is_refused_on_every_worker(masked, rng):
    """A channel that has no values on any worker is the same ValueError on all of them."""
    n = 4 if masked else 0
    x = rng.standard_normal((3, n, 2))
    where = np.array([[not masked, True]])
    errors = Team(3).run(lambda c, x: sync_batch_norm_train(x, communicator=c, where=where), x)
    message = (
        "training needs at least 1 value per channel on all workers together; "
        f"got none in channels {[0] if masked else [0, 1]}. "
        "One worker may have none, but not all: leave this batch out on every worker."
    )
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 3


def test_a_constant_channel_is_refused_on_every_worker_without_eps():
    """A variance of 0 at eps 0 is known after the exchange, and then on all workers."""
    x = [np.full((k + 1, 1), 2.0) for k in range(3)]
    errors = Team(3).run(lambda c, x: sync_batch_norm_train(x, communicator=c, eps=0.0), x)
    assert [str(e).partition(";")[0] for e in errors] == [
        "var + eps must be positive to divide by its root"
    ] * 3


GOOD = {"x": [[1.0, 2.0], [3.0, 5.0]], "gamma": [1.0, 1.0], "beta": [0.0, 0.0], "eps": 1e-5}
BAD = {
    "dtype": ({"x": [[1, 2]]}, TypeError, "x must be an array of float16"),
    "axes": ({"x": [1.0, 2.0]}, ValueError, "x must have at least 2 axes"),
    "gamma": ({"gamma": [1.0]}, ValueError, "gamma must have one value for each"),
    "beta": ({"beta": [1.0]}, ValueError, "beta must have one value for each"),
    "eps": ({"eps": -1.0}, ValueError, "eps must be a finite number"),
    "channel_axis": ({"channel_axis": 2}, ValueError, "channel_axis must name an axis of x"),
    "where": ({"where": [[1, 1]]}, TypeError, "where must be an array of booleans"),
    "mask": ({"where": [True] * 3}, ValueError, "where must broadcast to the shape of x"),
}


@pytest.mark.parametrize("culprit", [0, 1, 2])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_an_error_on_one_worker_is_raised_on_all(culprit, bad):
    """Nobody waits for a worker whose input is refused: the others raise the same, with a note."""
    change, kind, start = bad
    given_ = [GOOD | (change if rank == culprit else {}) for rank in range(3)]
    errors = Team(3).run(lambda c, mine: sync_batch_norm_train(communicator=c, **mine), given_)
    assert {type(error) for error in errors} == {kind}
    assert len({str(error) for error in errors}) == 1
    assert str(errors[0]).startswith(start)
    notes = [getattr(error, "__notes__", []) for error in errors]
    assert notes == [[(HERE if rank == culprit else HEARD).format(culprit)] for rank in range(3)]


def test_of_two_errors_each_worker_raises_its_own():
    """Workers that fail raise what they found themselves, the others what the first of them found."""
    given_ = [GOOD, GOOD | BAD["eps"][0], GOOD | BAD["dtype"][0]]
    errors = Team(3).run(lambda c, mine: sync_batch_norm_train(communicator=c, **mine), given_)
    assert [type(error) for error in errors] == [ValueError, ValueError, TypeError]
    assert errors[0].__notes__ == [HEARD.format(1)]


@pytest.mark.parametrize("culprit", [0, 1])
def test_an_error_in_the_backward_pass_is_raised_on_all(culprit, rng):
    """A wrong dy, a wrong cache and a batch that was written to stop all workers, not one."""
    x = rng.standard_normal((2, 4, 3))

    def outcome(dy=lambda dy: dy, cache=lambda cache: cache, batch=lambda _: None):
        shards = list(x.copy())
        _, caches = training(shards)
        batch(shards[culprit])
        pairs = [(x[k], caches[k]) for k in range(2)]
        pairs[culprit] = dy(x[culprit]), cache(caches[culprit])
        return Team(2).run(lambda c, pair: sync_batch_norm_backward(*pair, communicator=c), pairs)

    for errors, kind, start in [
        (outcome(dy=lambda dy: dy[1:]), ValueError, "dy must have the shape of y, (4, 3); got"),
        (outcome(dy=lambda dy: dy.astype(int)), TypeError, "dy must be an array of float16"),
        (outcome(cache=lambda cache: (1, cache)), TypeError, "cache must be the Cache of the f"),
        (outcome(batch=lambda x: x.fill(7.0)), ValueError, "the batch must still be what it was"),
    ]:
        assert {type(error) for error in errors} == {kind}
        assert all(str(error).startswith(start) for error in errors)
        assert errors[1 - culprit].__notes__ == [HEARD.format(culprit)]


OTHER = {
    "channels": ({"x": np.ones((2, 1))}, "number of channels; got {} on worker {}", (2, 1)),
    "dtype": ({"x": np.ones((2, 2), np.float32)}, "dtype; got {} on worker {}", ("float64", "float32")),
    "empty": ({"x": np.ones((0, 2), np.float32)}, "dtype; got {} on worker {}", ("float64", "float32")),
    "eps": ({"eps": 1e-3}, "eps; got {} on worker {}", (1e-5, 1e-3)),
}  # fmt: skip


@pytest.mark.parametrize("culprit", [0, 1, 2, 4])
@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_workers_that_disagree_are_told_on_what(culprit, other):
    """Other channels would broadcast, another dtype or epsilon be another batch norm: all refuse."""
    change, start, (usual, odd) = other
    good = {"x": [[1.0, 2.0], [3.0, 5.0]]}
    given_ = [{**good, **(change if rank == culprit else {})} for rank in range(5)]
    errors = Team(5).run(lambda c, mine: sync_batch_norm_train(communicator=c, **mine), given_)
    one, two = {0: (0, 1), 1: (0, 1), 2: (2, 3), 4: (0, 4)}[culprit]  # the first two that meet
    first, second = (odd, usual) if culprit == one else (usual, odd)
    start = (
        f"all workers must have the same {start.format(first, one)} and {second} on worker {two}. "
    )
    assert {type(error) for error in errors} == {ValueError}
    assert len({str(error) for error in errors}) == 1
    assert str(errors[0]).startswith(start)


def test_moments_of_other_channels_are_refused(rng):
    """Moments of 1 and of 3 channels would broadcast; they are refused, on every worker."""
    x = [rng.standard_normal((4, 3)), rng.standard_normal((4, 1))]
    message = (
        "all workers must have the same number of channels; got 3 on worker 0 and 1 on worker 1. "
        "Look for another layout, or another channel_axis, on one."
    )
    errors = Team(2).run(lambda c, x: sync_moments(Moments.of(x, axis=0), c), x)
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 2


def test_what_is_no_moments_is_refused_on_every_worker():
    """An array in the place of moments is named by its type."""
    message = (
        "sync_moments() takes the Moments of a shard; got ndarray. "
        "Moments.of makes them from an array."
    )
    errors = Team(2).run(lambda c, x: sync_moments(x, c), [of(1.0), np.ones(1)])
    assert [(type(e), str(e)) for e in errors] == [(TypeError, message)] * 2


def test_workers_that_make_different_calls_are_told(rng):
    """One that goes back while another goes forward is an error of both, not a wrong number."""
    x = rng.standard_normal((2, 4, 1))
    _, caches = training(list(x))

    def work(communicator, x, cache):
        if communicator.rank == 0:
            return sync_batch_norm_train(x, communicator=communicator)
        return sync_batch_norm_backward(x, cache, communicator)

    message = (
        "all workers must have the same call; got sync_batch_norm_train on worker 0 and "
        "sync_batch_norm_backward on worker 1. "
        "All workers must make the same calls in the same order, with empty shards too."
    )
    errors = Team(2).run(work, list(x), caches)
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 2


def of_both(one, two):
    """Return what is said of two workers that go back through these caches."""
    first, second = (
        f"{c.moments.count.sum()} values (checksum "
        f"{crc32(c.moments.mean.tobytes() + c.moments.m2.tobytes()):08x})"
        for c in (one, two)
    )
    return (
        f"moments in the forward pass; got {first} on worker 0 and {second} on worker 1. "
        "Go back through the layers in the same order on all workers, with the cache of "
        "sync_batch_norm_train and the same communicator."
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_a_call_of_ones_own_in_between_is_told(rank):
    """Where one worker sums numbers of its own while another is in a layer, that one is told."""

    class Odd:
        """A communicator that gets what another worker sent in a call of its own."""

        def __init__(self):
            self.rank = rank

        def allreduce(self, part, op):
            return op(part, 3.5) if rank == 0 else [part]

    message = (
        f"all workers must make the same calls; got {('float', 'list')[rank]} in the place of what "
        "another worker has. Look for a layer in another mode on one, or an allreduce too many; "
        "one's own allreduce returns what op makes of all parts."
    )
    with pytest.raises(TypeError, match=whole(message)):
        sync_batch_norm_train([[1.0]], communicator=Odd())


def test_going_back_with_others_than_forward_is_refused(rng):
    """A cache of one worker's own batch, or of a larger team, would give a wrong gradient."""
    x = rng.standard_normal((3, 4, 1))
    _, caches = training(list(x))
    alone = batch_norm_train(x[0])[1]
    remedy = ". Pass the cache of sync_batch_norm_train, and the same communicator."

    def refused(caches, message):
        work = partial(sync_batch_norm_backward, x[0])
        errors = Team(len(caches)).run(lambda c, cache: work(cache, c), caches)
        assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * len(caches)

    def start(n, over):
        return (
            "the workers must be those of the forward pass; got parts of "
            f"{n} values together, for a forward pass over {over}{remedy}"
        )

    _, (pair, _) = training(list(x[:2]))
    refused([alone, alone], start(8, 4))
    refused(caches[:2], start(8, 12))
    _, (other, _) = training(list(x[1:]))  # as many values, as of another layer
    for two in (alone, other):
        refused([pair, two], f"all workers must have the same {of_both(pair, two)}")


def test_what_is_no_communicator_is_refused():
    """The mistake is named before anybody waits."""
    message = (
        "a communicator must have the rank and the allreduce of those of mpi4py; got "
        "int. Pass mpi4py.MPI.COMM_WORLD, or one of its kind."
    )
    for call in (
        lambda: sync_moments(of(1.0), 4),
        lambda: sync_batch_norm_train([[1.0]], communicator=4),
        lambda: sync_batch_norm_backward([[1.0]], batch_norm_train([[1.0]])[1], 4),
        lambda: SyncBatchNorm(1, communicator=4),
    ):
        with pytest.raises(TypeError, match=whole(message)):
            call()


def test_an_error_that_cannot_travel_is_told_by_its_text():
    """What an array of some library raises on one worker may not survive a pickle; its text does."""

    class Unruly:
        def __array__(self, *_, **__):
            class OddError(Exception):
                pass

            raise OddError("no array today")

    mine, theirs = Team(2).run(
        lambda c, x: sync_batch_norm_train(x, communicator=c), [Unruly(), [[1.0]]]
    )
    assert (type(mine).__name__, str(mine)) == ("OddError", "no array today")
    assert (type(theirs), str(theirs)) == (Exception, "no array today")
    assert theirs.__notes__ == [HEARD.format(0)]


def test_an_error_without_a_text_is_told_by_its_type():
    """Where making the text of an error fails too, the others hear of the error all the same."""

    class WordlessError(Exception):
        def __str__(self):
            raise RuntimeError("no words today")

    class Unruly:
        def __array__(self, *_, **__):
            raise WordlessError

    mine, theirs = Team(2).run(
        lambda c, x: sync_batch_norm_train(x, communicator=c), [Unruly(), [[1.0]]]
    )
    assert type(mine) is WordlessError
    assert (type(theirs), str(theirs)) == (Exception, "WordlessError, whose text could not be made")


def test_an_eps_that_is_no_float_is_one_on_all():
    """A fraction is taken for the float that it is, and what is too large for one is told."""
    shards = [[[1.0]], [[3.0]]]

    def work(communicator, x, eps):
        return sync_batch_norm_train(x, communicator=communicator, eps=eps)

    (y, _), (z, _) = Team(2).run(work, shards, [3.0, Fraction(3)])
    assert (y, z) == ([[-0.5]], [[0.5]])
    errors = Team(2).run(work, shards, [3.0, 10**400])
    assert {str(error) for error in errors} == {"int too large to convert to float"}


def test_moments_that_do_not_merge_are_an_error_on_all():
    """As many numbers in another shape fail where they meet; no worker is left waiting."""
    shards = [Moments(*np.zeros((3, 2, 3))), Moments(*np.zeros((3, 6))), Moments(*np.zeros((3, 6)))]
    errors = Team(3).run(lambda c, mine: sync_moments(mine, c), shards)
    assert {type(error) for error in errors} == {ValueError}
    start = "values from worker 0 and from worker 1 on must merge; got ValueError: shape mismatch"
    assert all(str(error).startswith(start) for error in errors)
    assert len({str(error) for error in errors}) == 1


@pytest.mark.parametrize("handling", ["ignore", "raise"])
def test_squares_that_overflow_only_together_are_refused_on_all(handling):
    """Two finite shards may lie too far apart, whatever NumPy was told to do on overflow."""
    with np.errstate(over=handling):
        errors = Team(3).run(
            lambda c, x: sync_batch_norm_train(x, communicator=c),
            [[[1e200]], [[-1e200]], [[0.0]]],
        )
    message = (
        "the shards together must have a finite variance; got squares that overflow in "
        "channels [0]. Look for the layer before this one that made such large values."
    )
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 3


def test_what_overflows_on_one_worker_is_inf_there(rng):
    """Outputs and gradients too large for their dtype raise on no worker alone."""
    x = [np.array([[10.0], *[[0.0]] * 7]), np.zeros((8, 1))]
    dy = [np.array([[0.0], [6e4], *[[0.0]] * 6]), np.zeros((8, 1))]
    x, dy = ([part.astype(np.float16) for part in parts] for parts in (x, dy))
    with np.errstate(over="raise"):
        ys, caches = training(x, [4e4])
        gradients = going_back(dy, caches)
        # sums that overflow as they meet
        huge = np.full((1, 2), 1e308)
        _, doubles = training(list(rng.standard_normal((3, 1, 2))))
        together_huge = going_back([huge] * 3, doubles)
    assert [np.isinf(y).sum() for y in ys] == [1, 0]
    assert np.isinf(gradients[0].x).any()
    assert not any(np.isfinite(g.x).any() for g in together_huge)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_going_back_through_another_layer_is_refused(channels, rng):
    """Sums of another layer would fit, broadcast or not fit; they are refused, on every worker."""
    _, (one, _) = training(list(rng.standard_normal((2, 4, channels))))
    _, (_, two) = training(list(rng.standard_normal((2, channels, 4))))  # as many values in all
    dy = [np.ones((4, channels)), np.ones((channels, 4))]
    errors = Team(2).run(lambda c, dy, k: sync_batch_norm_backward(dy, k, c), dy, [one, two])
    message = f"all workers must have the same {of_both(one, two)}"
    assert [(type(e), str(e)) for e in errors] == [(ValueError, message)] * 2


# Oracles


@given(
    shards=st.lists(
        st.lists(st.integers(-(2**20), 2**20).map(lambda k: k / 8), max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_moments_against_exact_rationals(shards):
    """Merged over any shards, mean and m2 are those of exact arithmetic to a few roundings."""
    values = [Fraction(value) for shard in shards for value in shard]
    mean = sum(values) / max(len(values), 1)
    m2 = sum((value - mean) ** 2 for value in values)
    size = max(map(abs, values), default=0)
    for moments in together(lambda c, mine: sync_moments(mine, c), [of(*s) for s in shards]):
        assert moments.count == [len(values)]
        assert abs(Fraction(float(moments.mean[0])) - mean) <= 8 * size * U
        # a mean of a shard is stored with its rounding, and enters with a distance of m2's size
        assert abs(Fraction(float(moments.m2[0])) - m2) <= 64 * U * (m2 + size * size * U)


@pytest.mark.parametrize("offset", [0, 1000])
def test_output_and_gradient_in_forty_digits(offset, rng):
    """y, dx, dgamma and dbeta are those that mpmath computes over all shards at once."""
    sizes, gamma, beta, eps = (3, 0, 1, 4), 1.5, -0.25, 1e-5
    x, dy = offset + rng.standard_normal((8, 1)), rng.standard_normal((8, 1))
    with mpmath.workdps(40):
        xs, dys = ([mpmath.mpf(float(v)) for v in a.ravel()] for a in (x, dy))
        mean = mpmath.fsum(xs) / 8
        root = mpmath.sqrt(mpmath.fsum((v - mean) ** 2 for v in xs) / 8 + mpmath.mpf(eps))
        hat = [(v - mean) / root for v in xs]
        dgamma, dbeta = mpmath.fdot(dys, hat), mpmath.fsum(dys)
        y = [gamma * h + beta for h in hat]
        dx = [
            gamma / root * (d - dbeta / 8 - h * dgamma / 8) for d, h in zip(dys, hat, strict=True)
        ]
    ys, caches = training(cut(x, sizes), [gamma], [beta], eps=eps)
    gradients = going_back(cut(dy, sizes), caches)
    slack = 100 * U * (1 + offset)  # numbers of order 1, from a mean that is stored with offset * U
    np.testing.assert_allclose(np.concatenate(ys).ravel(), [float(v) for v in y], atol=slack)
    dx_got = np.concatenate([g.x for g in gradients]).ravel()
    np.testing.assert_allclose(dx_got, [float(v) for v in dx], rtol=0, atol=slack)
    assert abs(sum(g.gamma for g in gradients) - float(dgamma)) <= slack
    assert abs(sum(g.beta for g in gradients) - float(dbeta)) <= slack


def off(wrong, right):
    """Return how far something is off, as a share of what is right."""
    return np.linalg.norm(wrong - right) / np.linalg.norm(right)
