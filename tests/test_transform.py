"""Forward and backward: the identities of batch normalisation, at the edges too."""

import dataclasses
import tracemalloc
from itertools import product

import ml_dtypes
import mpmath
import numpy as np
import pytest
from helpers import laid_out, whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refbn import (
    Moments,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_infer_backward,
    batch_norm_train,
    normalize,
)
from refbn.gradcheck import central_difference, check_backward, complex_step

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]

# Single-precision values: their squares and products neither overflow nor underflow in double.
FLOATS = st.floats(-(2.0**10), 2.0**10, width=32, allow_subnormal=False).filter(
    lambda value: value == 0 or abs(value) > 2.0**-20
)
EPS = st.sampled_from([1e-5, 1e-3, 0.1, 1.0])
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 3))
SHAPES = {2: (7, 3), 3: (4, 3, 5), 4: (3, 2, 4, 3), 5: (2, 3, 2, 3, 2)}
EVERY_AXIS = [(shape, axis) for shape in SHAPES.values() for axis in range(-1, len(shape) - 1)]


@st.composite
def batches(draw, sizes=SIZES):
    """Draw a batch (N, C), a gradient, a scale and a shift."""
    samples, channels = draw(sizes)
    matrix, vector = (samples, channels), (channels,)
    return tuple(
        draw(arrays(np.float64, s, elements=FLOATS)) for s in (matrix, matrix, vector, vector)
    )


# Worked example by hand


def test_forward_by_hand():
    """1 and 3 have mean 2 and variance 1; with gamma 10 and beta 5 they become -5 and 15."""
    y, cache = batch_norm_train([[1.0], [3.0]], [10.0], [5.0], eps=0.0)
    assert y.tolist() == [[-5.0], [15.0]]
    assert cache.x_hat.tolist() == [[-1.0], [1.0]]
    assert cache.inv_std.tolist() == [1.0]


def test_eps_stands_inside_the_root():
    """With variance 1 and eps 3 the divisor is sqrt(1 + 3) = 2, not 1 + 3 or 1 + sqrt(3)."""
    y, cache = batch_norm_train([[1.0], [3.0]], eps=3.0)
    assert y.tolist() == [[-0.5], [0.5]]
    assert cache.inv_std.tolist() == [0.5]


def test_backward_by_hand():
    """For 0, 1, 2 and dy = (1, 0, 0), with a² = 3/2, dx = a (1, -2, 1) / 6 and dgamma = -a."""
    _, cache = batch_norm_train([[0.0], [1.0], [2.0]], [1.0], [0.0], eps=0.0)
    gradients = batch_norm_backward([[1.0], [0.0], [0.0]], cache)
    a = np.sqrt(1.5)
    np.testing.assert_allclose(gradients.x, [[a / 6], [-a / 3], [a / 6]], rtol=16 * U)
    np.testing.assert_allclose(gradients.gamma, [-a], rtol=8 * U)
    assert gradients.beta.tolist() == [1.0]


def test_inference_by_hand():
    """5 is 2 standard deviations of sqrt(3 + 1) above 1; gamma 3 and beta 1 make it 7."""
    given_ = {"mean": [1.0], "var": [3.0], "gamma": [3.0], "beta": [1.0], "eps": 1.0}
    assert batch_norm_infer([[5.0]], **given_).tolist() == [[7.0]]
    assert normalize([[5.0]], [1.0], [3.0], eps=1.0).tolist() == [[2.0]]
    gradients = batch_norm_infer_backward([[4.0]], [[5.0]], **given_)
    assert [g.tolist() for g in gradients] == [[[6.0]], [8.0], [4.0]]


def test_a_mask_by_hand():
    """The masked 100 takes no part: 1 and 3 become -1 and 1, and its own place 0."""
    where = np.array([[True], [False], [True]])
    y, cache = batch_norm_train([[1.0], [100.0], [3.0]], None, [7.0], eps=0.0, where=where)
    assert y.tolist() == [[6.0], [0.0], [8.0]]
    assert cache.x_hat.tolist() == [[-1.0], [0.0], [1.0]]
    assert cache.moments.count.tolist() == [2]


def test_the_defaults():
    """eps is 1e-5 and the channels are on axis 1, in all five functions."""
    x, one = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]), np.ones(2)
    root = 1 / np.sqrt(1 + 1e-5)
    assert normalize(x, one * 0, one)[0, 0] == root
    assert batch_norm_infer(x, one * 0, one)[0, 0] == root
    assert batch_norm_infer_backward(x, x, one * 0, one).x[0, 0] == root
    _, cache = batch_norm_train(x)
    assert cache.inv_std.tolist() == (1 / np.sqrt(np.array([2 / 3, 0]) + 1e-5)).tolist()
    assert batch_norm_backward(x, cache).x.shape == (3, 2)


# Laws of the forward pass


@given(batch=batches(), eps=EPS)
def test_mean_and_standard_deviation_of_the_output(batch, eps):
    """The output has mean beta and standard deviation |gamma| sqrt(var / (var + eps))."""
    x, _, gamma, beta = batch
    y, cache = batch_norm_train(x, gamma, beta, eps=eps)
    var, slack = cache.moments.var(), rounding(x, cache)
    std = np.abs(gamma) * np.sqrt(var / (var + eps))
    atol = slack * np.abs(gamma) + len(x) * U * np.abs(beta)
    assert np.all(np.abs(np.mean(y, axis=0) - beta) <= atol)
    assert np.all(np.abs(rms(y - beta) - std) <= 4 * atol)


@given(batch=batches(), eps=EPS)
def test_training_is_inference_with_the_batchs_own_moments(batch, eps):
    """Training output is, to the last bit, inference with mean and biased variance of the batch."""
    x, _, gamma, beta = batch
    y, cache = batch_norm_train(x, gamma, beta, eps=eps)
    moments = Moments.of(x, axis=0)
    same = batch_norm_infer(x, moments.mean, moments.var(), gamma, beta, eps=eps)
    assert same.tobytes() == y.tobytes()
    hat = normalize(x, moments.mean, moments.var(ddof=0), eps=eps)
    assert hat.tobytes() == cache.x_hat.tobytes()


@given(batch=batches(), eps=EPS, a=st.sampled_from([3.0, -2.0, 1e-3, -1.0]), b=st.integers(-99, 99))
def test_scale_and_shift_of_the_input(batch, eps, a, b):
    """x_hat of ax + b is x_hat of x with eps / a², and the sign of a."""
    x, *_ = batch
    y, cache = batch_norm_train(x, eps=eps / a**2)
    moved, moved_cache = batch_norm_train(a * x + b, eps=eps)
    slack = rounding(x, cache) + rounding(np.abs(a * x) + abs(b), moved_cache)
    assert np.all(np.abs(moved - np.sign(a) * y) <= slack)


@given(batch=batches(), random=st.randoms(use_true_random=False))
def test_a_permutation_of_the_batch_permutes_the_output(batch, random):
    """The order of the samples has no influence."""
    x, _, gamma, beta = batch
    order = random.sample(range(len(x)), len(x))
    y, cache = batch_norm_train(x, gamma, beta)
    shuffled, _ = batch_norm_train(x[order], gamma, beta)
    slack = rounding(x, cache) * np.abs(gamma) + 2 * U * np.abs(beta)
    assert np.all(np.abs(shuffled - y[order]) <= slack)


@given(batch=batches())
def test_a_batch_twice_is_the_batch_once(batch):
    """Duplicating every sample changes no output."""
    x, *_ = batch
    y, cache = batch_norm_train(x)
    twice, _ = batch_norm_train(np.concatenate([x, x]))
    assert np.all(np.abs(twice - np.concatenate([y, y])) <= rounding(x, cache))


@given(batch=batches())
def test_no_value_is_far_out(batch):
    """|x_hat| is at most sqrt(n - 1), however far out a value of x is."""
    x, *_ = batch
    _, cache = batch_norm_train(x)
    assert np.all(np.abs(cache.x_hat) <= np.sqrt(len(x) - 1) + rounding(x, cache))


@pytest.mark.parametrize("n", [2, 3, 8, 128])
def test_a_one_hot_batch_is_farthest_out(n):
    """The bound sqrt(n - 1) is attained by one value that differs from all others."""
    y, _ = batch_norm_train(np.eye(n)[:, :1], eps=0.0)
    assert abs(y.max() - np.sqrt(n - 1)) <= n * U * np.sqrt(n)


def test_normalising_twice_is_normalising_once(rng):
    """Without eps, batch norm is idempotent, and an inner gamma counts with its sign only."""
    x, gamma = rng.standard_normal((20, 3)), np.array([2.0, -3.0, 0.5])
    once, _ = batch_norm_train(x, eps=0.0)
    inner, _ = batch_norm_train(x, gamma, gamma, eps=0.0)
    twice, _ = batch_norm_train(inner, eps=0.0)
    np.testing.assert_allclose(twice, np.sign(gamma) * once, rtol=0, atol=200 * U)


@given(d=st.floats(1e-6, 1e6), eps=EPS)
def test_of_two_values_little_more_than_the_sign_is_left(d, eps):
    """Of two values d apart the outputs are ± d / sqrt(d² + 4 eps)."""
    y, _ = batch_norm_train([[d], [0.0]], eps=eps)
    expected = d / np.sqrt(d * d + 4 * eps)
    np.testing.assert_allclose(y, [[expected], [-expected]], rtol=16 * U)


@given(batch=batches(), row=st.integers(0, 11))
def test_inference_of_a_row_does_not_depend_on_the_others(batch, row):
    """A sample alone has the output, to the last bit, that it has among others."""
    x, _, gamma, beta = batch
    row = row % len(x)
    given_ = {"mean": beta, "var": gamma**2, "gamma": gamma, "beta": beta}
    alone = batch_norm_infer(x[row : row + 1], **given_)
    assert alone.tobytes() == batch_norm_infer(x, **given_)[row].tobytes()


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
def test_every_rank_is_a_matrix(shape, channel_axis, rng):
    """An array of any rank with the channels anywhere gives what its matrix (values, C) gives."""
    x, dy = 3 + rng.standard_normal((2, *shape))
    gamma, beta = rng.standard_normal((2, shape[channel_axis]))
    flat = {"x": matrix(x, channel_axis), "dy": matrix(dy, channel_axis)}
    y, cache = batch_norm_train(x, gamma, beta, channel_axis=channel_axis)
    y_flat, cache_flat = batch_norm_train(flat["x"], gamma, beta)
    given_ = {"mean": beta, "var": gamma**2, "gamma": gamma, "beta": beta}
    kept = given_ | {"channel_axis": channel_axis}
    pairs = [
        ((y,), (y_flat,)),
        (batch_norm_backward(dy, cache), batch_norm_backward(flat["dy"], cache_flat)),
        ((batch_norm_infer(x, **kept),), (batch_norm_infer(flat["x"], **given_),)),
        (
            batch_norm_infer_backward(dy, x, **kept),
            batch_norm_infer_backward(flat["dy"], flat["x"], **given_),
        ),
    ]
    assert cache.moments.mean.shape == cache.inv_std.shape == (shape[channel_axis],)
    for deep, shallow in pairs:
        assert deep[0].shape == shape
        for a, b in zip((matrix(deep[0], channel_axis), *deep[1:]), shallow, strict=True):
            # some 100 values of order 10, added in another order
            np.testing.assert_allclose(a, b, rtol=0, atol=100 * 10 * 16 * U)


@given(batch=batches())
def test_the_channel_axis_may_be_counted_from_the_end(batch):
    """A negative channel axis is the same axis, to the last bit."""
    x, dy, gamma, beta = batch
    for results in zip(
        both_passes(x, dy, gamma, beta), both_passes(x, dy, gamma, beta, -1), strict=True
    ):
        assert results[0].tobytes() == results[1].tobytes()


@given(batch=batches(), missing=st.sampled_from([(True, False), (False, True), (True, True)]))
def test_an_absent_gamma_is_one_and_an_absent_beta_zero(batch, missing):
    """Leaving gamma or beta out gives what ones or zeros give, and None for its gradient."""
    x, dy, gamma, beta = batch
    no_gamma, no_beta = missing
    absent = {"gamma": None if no_gamma else gamma, "beta": None if no_beta else beta}
    neutral = {"gamma": np.ones_like(gamma) if no_gamma else gamma, "beta": beta * (not no_beta)}
    stats = {"mean": beta, "var": gamma**2}
    y, cache = batch_norm_train(x, **absent)
    y_full, cache_full = batch_norm_train(x, **neutral)
    np.testing.assert_array_equal(y, y_full)
    np.testing.assert_array_equal(
        batch_norm_infer(x, **stats, **absent), batch_norm_infer(x, **stats, **neutral)
    )
    for got, full in (
        (batch_norm_backward(dy, cache), batch_norm_backward(dy, cache_full)),
        (
            batch_norm_infer_backward(dy, x, **stats, **absent),
            batch_norm_infer_backward(dy, x, **stats, **neutral),
        ),
    ):
        np.testing.assert_array_equal(got.x, full.x)
        assert (got.gamma is None, got.beta is None) == missing
        assert no_gamma or got.gamma.tobytes() == full.gamma.tobytes()
        assert no_beta or got.beta.tobytes() == full.beta.tobytes()


# Laws of the backward pass


def test_constant_dy_gives_no_dx_and_no_dgamma(rng):
    """The gradient of sum(y) is 0, as the sum is fixed; so a test with dy = 1 tests nothing."""
    x = rng.standard_normal((16, 3))
    _, cache = batch_norm_train(x, np.array([1.0, -2.0, 3.0]), np.zeros(3))
    gradients = batch_norm_backward(np.ones_like(x), cache)
    np.testing.assert_allclose(gradients.x, 0, atol=16 * 3 * 4 * U)
    np.testing.assert_allclose(gradients.gamma, 0, atol=16 * 4 * U)
    assert gradients.beta.tolist() == [16.0] * 3


@given(batch=batches(), eps=EPS)
def test_the_gradient_sums_to_zero(batch, eps):
    """A shift of all values changes nothing, so dx sums to 0 in each channel, for any eps."""
    x, dy, gamma, _ = batch
    _, cache = batch_norm_train(x, gamma, eps=eps)
    dx = batch_norm_backward(dy, cache).x
    assert np.all(np.abs(dx.sum(axis=0)) <= backward_rounding(x, dy, cache))


@given(batch=batches(), eps=EPS)
def test_the_gradient_along_x_hat(batch, eps):
    """<dx, x_hat> = gamma inv_std eps / (var + eps) <dy, x_hat>: 0 only without eps."""
    x, dy, gamma, _ = batch
    _, cache = batch_norm_train(x, gamma, eps=eps)
    dx = batch_norm_backward(dy, cache).x
    left = np.sum(dx * cache.x_hat, axis=0)
    shrink = eps / (cache.moments.var() + eps)
    right = gamma * cache.inv_std * shrink * np.sum(dy * cache.x_hat, axis=0)
    assert np.all(np.abs(left - right) <= len(x) * backward_rounding(x, dy, cache))


@given(batch=batches(st.tuples(st.integers(2, 9), st.just(1))), eps=EPS)
def test_the_spectrum_of_the_jacobian(batch, eps):
    """Times sqrt(var + eps) / gamma its eigenvalues are 0, eps / (var + eps), and 1 n - 2 times."""
    x, _, gamma, _ = batch
    n = len(x)
    _, cache = batch_norm_train(x, gamma, eps=eps)
    jacobian = np.hstack([batch_norm_backward(e[:, np.newaxis], cache).x for e in np.eye(n)])
    slope = gamma * cache.inv_std
    spectrum = np.sort(slope * np.array([0, *(eps / (cache.moments.var() + eps)), *[1] * (n - 2)]))
    slack = n * rounding(x, cache) * np.abs(slope)
    assert np.all(np.abs(jacobian - jacobian.T) <= slack)
    assert np.all(np.abs(np.linalg.eigvalsh(jacobian) - spectrum) <= slack)


@given(batch=batches(), a=st.integers(-8, 8), data=st.data())
def test_backward_is_linear(batch, a, data):
    """The gradients of a sum of losses are the sum of the gradients, for all three inputs."""
    x, dy, gamma, beta = batch
    other = data.draw(arrays(np.float64, x.shape, elements=FLOATS))
    _, cache = batch_norm_train(x, gamma, beta)
    first, second = batch_norm_backward(dy, cache), batch_norm_backward(other, cache)
    size = 8 * np.abs(dy) + np.abs(other)
    slack = backward_rounding(x, size, cache)
    for one, two, both in zip(
        first, second, batch_norm_backward(a * dy + other, cache), strict=True
    ):
        assert np.all(np.abs(both - (a * one + two)) <= slack + len(x) ** 2 * U * size.max())


@given(batch=batches())
def test_parameter_gradients_are_sums(batch):
    """dbeta is the sum of dy, dgamma the sum of dy x_hat, in double precision."""
    x, dy, gamma, beta = batch
    _, cache = batch_norm_train(x, gamma, beta)
    gradients = batch_norm_backward(dy, cache)
    np.testing.assert_array_equal(gradients.beta, dy.sum(axis=0))
    # the sum is taken before it is divided by the standard deviation, or after
    terms = np.abs(dy * cache.x_hat).sum(axis=0)
    assert np.all(np.abs(gradients.gamma - (dy * cache.x_hat).sum(axis=0)) <= 8 * U * terms)


@given(d=st.floats(1e-3, 1e3), eps=EPS, dy=FLOATS)
def test_the_slope_of_two_values(d, eps, dy):
    """For two values d apart and dy = (dy, -dy) the slope is 8 eps / (d² + 4 eps)^1.5."""
    _, cache = batch_norm_train([[d], [0.0]], eps=eps)
    dx = batch_norm_backward([[dy], [-dy]], cache).x
    expected = 8 * eps * dy / (d * d + 4 * eps) ** 1.5
    # 1 - x_hat² is left of a difference of numbers of order 1
    np.testing.assert_allclose(
        dx[:, 0], [expected, -expected], rtol=0, atol=64 * U * abs(dy) / np.sqrt(eps)
    )


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
@pytest.mark.parametrize("derivative", [central_difference, complex_step])
@pytest.mark.parametrize("masked", [False, True])
def test_training_backward_is_the_adjoint(shape, channel_axis, derivative, masked, rng):
    """<dy, J v> = <dx, v> for x, gamma and beta, at every rank, on every axis, under any mask."""
    rule = {"channel_axis": channel_axis, "eps": 0.1}
    if masked:
        rule["where"] = rng.random(shape) < 0.8

    def forward(x, gamma, beta):
        return batch_norm_train(x, gamma, beta, **rule)[0]

    def backward(dy, x, gamma, beta):
        return batch_norm_backward(dy, batch_norm_train(x, gamma, beta, **rule)[1])

    check(
        forward,
        backward,
        [rng.standard_normal(shape), *parameters(shape[channel_axis], rng)],
        derivative,
    )


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
@pytest.mark.parametrize("derivative", [central_difference, complex_step])
def test_inference_backward_is_the_adjoint(shape, channel_axis, derivative, rng):
    """With fixed statistics too, backward is the adjoint of forward, in all three inputs."""
    mean, std = parameters(shape[channel_axis], rng)
    rule = {"mean": mean, "var": std**2, "channel_axis": channel_axis, "eps": 0.1}

    def forward(x, gamma, beta):
        return batch_norm_infer(x, gamma=gamma, beta=beta, **rule)

    def backward(dy, x, gamma, beta):
        return batch_norm_infer_backward(dy, x, gamma=gamma, beta=beta, **rule)

    check(
        forward,
        backward,
        [rng.standard_normal(shape), *parameters(shape[channel_axis], rng)],
        derivative,
    )


def test_the_complex_step_reaches_one_argument_alone(rng):
    """A complex gamma, beta, mean or variance beside a real batch keeps its imaginary part."""
    x, one = rng.standard_normal((5, 2)), np.ones(2)
    step = one + 1e-200j
    with np.errstate(under="ignore"):  # the square of the step is meant to vanish
        results = [
            batch_norm_train(x, step, one)[0],
            batch_norm_train(x, one, step)[0],
            batch_norm_infer(x, one, one, step),
            batch_norm_infer(x, one, one, None, step),
            normalize(x, step, one),
            normalize(x, one, step),
        ]
    assert all(np.all(y.imag != 0) for y in results)


# Precision


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, rng):
    """y and dx have the dtype of x; statistics and parameter gradients are always float64."""
    x, dy = (3 * rng.standard_normal((2, 9, 4))).astype(dtype)
    gamma, beta = np.ones((2, 4), dtype)
    stats = {"mean": beta, "var": gamma}
    y, cache = batch_norm_train(x, gamma, beta)
    gradients = (
        batch_norm_backward(dy, cache),
        batch_norm_infer_backward(dy, x, **stats, gamma=gamma, beta=beta),
    )
    coarse = [y, normalize(x, **stats), batch_norm_infer(x, **stats, gamma=gamma, beta=beta)]
    coarse += [g.x for g in gradients]
    fine = [cache.x_hat, cache.inv_std, cache.moments.mean, cache.moments.m2, cache.moments.var()]
    fine += [a for g in gradients for a in (g.gamma, g.beta)]
    assert {a.dtype for a in coarse} == {np.dtype(dtype)}
    assert {a.dtype for a in fine} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_less_precision_means_less_precise_results_only(dtype, rng):
    """In less precision the results are those in double precision, to a few of its roundings."""
    x, dy = (100 + rng.standard_normal((2, 99, 4))).astype(dtype)
    gamma, beta = rng.standard_normal((2, 4)).astype(dtype)
    double = [a.astype(np.float64) for a in (x, dy, gamma, beta)]
    low, high = both_passes(x, dy, gamma, beta), both_passes(*double)
    for a, b in zip(low, high, strict=True):
        # three roundings on the way to a result, relative to its largest terms
        unit = float(ml_dtypes.finfo(a.dtype).eps)
        assert np.max(np.abs(a.astype(np.float64) - b)) <= 2 * unit * np.max(np.abs(b))


def test_half_precision_does_not_overflow():
    """300 and -300, whose squares float16 cannot hold, become 1 and -1."""
    x = np.array([[300.0], [-300.0]] * 4, np.float16)
    y, cache = batch_norm_train(x)
    assert y.tolist() == [[1.0], [-1.0]] * 4
    assert cache.moments.var().tolist() == [90_000.0]


def test_a_large_mean(rng):
    """At a mean of 10^8 the output is right to the rounding of the mean; E[x²] - E[x]² is not."""
    offset = 1e8
    x = rng.integers(-1000, 1000, (64, 1)) / 2.0**9  # so that adding the offset is exact
    still, _ = batch_norm_train(x)
    moved, cache = batch_norm_train(x + offset)
    assert np.max(np.abs(moved - still)) <= 4 * U * offset * cache.inv_std[0]
    shortcut = np.mean((x + offset) ** 2) - np.mean(x + offset) ** 2
    assert abs(shortcut - cache.moments.var()[0]) > 0.1


# Edges and errors


@pytest.mark.parametrize("value", [-1e9, 0.0, 3.7, 3e5])
@pytest.mark.parametrize("shape", [(1, 2), (1, 2, 1, 1)])
def test_one_value_per_channel_gives_exactly_beta(value, shape, rng):
    """A batch of one becomes beta; dx and dgamma are exactly 0 and dbeta is dy."""
    gamma, beta = rng.standard_normal((2, 2))
    dy = rng.standard_normal(shape)
    y, cache = batch_norm_train(np.full(shape, value), gamma, beta)
    gradients = batch_norm_backward(dy, cache)
    assert y.ravel().tolist() == beta.tolist()
    assert not np.any(gradients.x)
    assert not np.any(gradients.gamma)
    assert gradients.beta.tolist() == dy.ravel().tolist()


@given(value=FLOATS, n=st.integers(2, 99), eps=EPS)
def test_a_constant_channel_gives_exactly_beta(value, n, eps):
    """A constant channel becomes beta, and its gradient is dy less its mean, over sqrt(eps)."""
    dy = np.random.default_rng(n).standard_normal((n, 1))
    y, cache = batch_norm_train(np.full((n, 1), value / 3), [2.0], [0.1], eps=eps)
    assert np.all(y == 0.1)
    dx = batch_norm_backward(dy, cache).x
    np.testing.assert_allclose(
        dx, 2 * (dy - dy.mean()) / np.sqrt(eps), rtol=0, atol=99 * 8 * U / np.sqrt(eps)
    )


@pytest.mark.parametrize("shape", [(0, 3), (4, 3, 0)])
def test_an_empty_batch_cannot_train(shape):
    """Of no values there is no mean; inference on them gives no values."""
    message = (
        "training needs at least 1 value per channel to take a mean of; "
        f"got none in channels [0, 1, 2] for x.shape={shape}. "
        "Leave out empty batches, or use batch_norm_infer."
    )
    x = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_train(x)
    y = batch_norm_infer(x, np.zeros(3), np.ones(3), np.ones(3), np.ones(3))
    assert (y.shape, y.dtype) == (shape, np.float32)
    gradients = batch_norm_infer_backward(x, x, np.zeros(3), np.ones(3), np.ones(3), np.ones(3))
    assert [g.tolist() for g in gradients[1:]] == [[0.0] * 3] * 2


def test_a_channel_that_is_masked_out_cannot_train():
    """A mask that leaves nothing of a channel is refused with the channel's number."""
    where = np.array([[True, False, True]] * 4)
    message = (
        "training needs at least 1 value per channel to take a mean of; "
        "got none in channels [1] for x.shape=(4, 3). "
        "Leave out empty batches, or use batch_norm_infer."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_train(np.zeros((4, 3)), where=where)


def test_no_channels_are_fine():
    """An array without channels comes back as it is."""
    y, cache = batch_norm_train(np.zeros((4, 0)))
    assert y.shape == batch_norm_backward(y, cache).x.shape == (4, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_what_happens_in_a_channel_stays_there(value, rng):
    """A perturbed, NaN or Inf value of x changes no bit of the other channels, there and back."""
    x, dy = rng.standard_normal((2, 9, 3))
    gamma, beta = np.array([0.0, 1.0, 2.0]), np.zeros(3)
    clean = both_passes(x, dy, gamma, beta)
    for channel, source in product(range(3), ("x", "dy")):
        spoilt = {"x": x.copy(), "dy": dy.copy()}
        spoilt[source][4, channel] = value
        others = [c for c in range(3) if c != channel]
        for a, b in zip(both_passes(spoilt["x"], spoilt["dy"], gamma, beta), clean, strict=True):
            assert a[..., others].tobytes() == b[..., others].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_spoils_its_channel(value, rng):
    """In training one NaN or Inf makes its whole channel NaN; at inference only itself is lost."""
    x, dy = rng.standard_normal((2, 5, 2))
    x[3, 0] = value
    train_y, train_dx, _, _, infer_y, infer_dx, _, _ = both_passes(x, dy, np.ones(2), np.ones(2))
    assert np.all(np.isnan(train_y[:, 0]))
    assert np.all(np.isnan(train_dx[:, 0]))
    assert np.isfinite(infer_y[:, 0]).tolist() == [True, True, True, False, True]
    assert np.all(np.isfinite(infer_dx))


@pytest.mark.parametrize("junk", [np.nan, np.inf, np.finfo(float).max, 7.0])
@pytest.mark.parametrize("channel_axis", [1, 2])
def test_masked_values_leak_nowhere(junk, channel_axis, rng):
    """Whatever is masked in x and dy, y and dx are 0 there and the rest is the same."""
    where = rng.random((5, 4, 3)) < 0.7
    gamma, beta = rng.standard_normal((2, where.shape[channel_axis]))
    gamma[0] = 0.0
    x, dy = 0.1 * rng.standard_normal((2, *where.shape))  # to be divided by some 0.1
    results = []
    for fill in (0.0, junk):
        y, cache = batch_norm_train(
            np.where(where, x, fill), gamma, beta, where=where, channel_axis=channel_axis
        )
        gradients = batch_norm_backward(np.where(where, dy, fill), cache)
        assert not np.any(y[~where])
        assert not np.any(cache.x_hat[~where])
        assert not np.any(gradients.x[~where])
        results.append([a.tobytes() for a in (y, *gradients)])
    assert results[0] == results[1]


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 1, 3), (1, 4, 1)])
def test_a_mask_is_the_valid_values_put_together(shape, rng):
    """Each channel under a broadcast mask is a batch of its valid values alone, there and back."""
    where = rng.random(shape) < 0.6
    where[0, :, 0] = True
    full = np.broadcast_to(where, (5, 4, 3))
    x, dy = rng.standard_normal((2, 5, 4, 3))
    gamma, beta = rng.standard_normal((2, 3))
    y, cache = batch_norm_train(x, gamma, beta, channel_axis=-1, where=where)
    dx, dgamma, dbeta = batch_norm_backward(dy, cache)
    assert cache.moments.count.tolist() == full.sum(axis=(0, 1)).tolist()
    for c in range(3):
        valid = full[..., c]
        alone, own = batch_norm_train(x[valid, c][:, None], gamma[c : c + 1], beta[c : c + 1])
        gradients = batch_norm_backward(dy[valid, c][:, None], own)
        got = y[valid, c], dx[valid, c], dgamma[c], dbeta[c]
        for a, b in zip(
            got,
            (alone[:, 0], gradients.x[:, 0], gradients.gamma[0], gradients.beta[0]),
            strict=True,
        ):
            # at most 20 values of order 1, times inv_std and gamma of order 10, in another order
            np.testing.assert_allclose(a, b, rtol=0, atol=20 * 10 * 8 * U)


def test_a_full_mask_is_no_mask(rng):
    """A mask that is True everywhere changes nothing but rounding."""
    x, dy = rng.standard_normal((2, 8, 3))
    for where in (np.True_, np.ones((8, 1), bool)):
        y, cache = batch_norm_train(x, where=where)
        plain, plain_cache = batch_norm_train(x)
        np.testing.assert_allclose(y, plain, rtol=0, atol=16 * U)
        dx, expected = (batch_norm_backward(dy, c).x for c in (cache, plain_cache))
        np.testing.assert_allclose(dx, expected, rtol=0, atol=64 * U)


@pytest.mark.parametrize("layout", ["F", "strided", "reversed", "transposed"])
def test_the_layout_in_memory_is_of_no_account(layout, rng):
    """Fortran order, strides and negative strides give what a fresh array gives."""
    x, dy = rng.standard_normal((2, 6, 3, 4))
    gamma, beta = rng.standard_normal((2, 3))
    plain = both_passes(x, dy, gamma, beta)
    laid = both_passes(laid_out(x, layout), laid_out(dy, layout), gamma[::-1].copy()[::-1], beta)
    for a, b in zip(laid, plain, strict=True):
        # 24 values of order 1 added in another order, times slopes of order 10
        np.testing.assert_allclose(a, b, rtol=0, atol=24 * 10 * 4 * U)


def test_arguments_are_not_written_to(rng):
    """No function writes to an array that it is given; all of them may be read-only."""
    x, dy = rng.standard_normal((2, 6, 3))
    gamma, beta = 1 + rng.random((2, 3))
    where = rng.random((6, 3)) < 0.8
    arguments = x, dy, gamma, beta, where
    before = [a.tobytes() for a in arguments]
    for a in arguments:
        a.flags.writeable = False
    both_passes(x, dy, gamma, beta)
    both_passes(x, dy, None, None)
    normalize(x, beta, gamma)
    _, cache = batch_norm_train(x, gamma, beta, where=where)
    batch_norm_backward(dy, cache)
    assert [a.tobytes() for a in arguments] == before


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_results_share_no_memory(masked, scaled, rng):
    """What is done in place to y or a parameter, as by a ReLU, does not reach backward."""
    x, dy = rng.standard_normal((2, 6, 3))
    gamma, beta = np.full((2, 3), 2.0) if scaled else (None, None)
    where = np.ones((6, 1), bool) if masked else None
    y, cache = batch_norm_train(x, gamma, beta, where=where)
    before = batch_norm_backward(dy, cache).x.tobytes()
    for a in (y, gamma, where):
        if a is not None:
            a[...] = 0
    assert batch_norm_backward(dy, cache).x.tobytes() == before


CHANGES = {
    "relu": lambda x: np.maximum(x, 0, out=x),
    "scaled": lambda x: np.multiply(x, 1.001, out=x),
    "shifted": lambda x: np.add(x, 1e-11, out=x),
    "the next batch": lambda x: np.copyto(x, np.random.default_rng(1).standard_normal(x.shape)),
    "one value": lambda x: x.__setitem__((3, 1), x[3, 1] + 1e-6),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_that_was_written_to_is_refused(change, masked, rng):
    """Backward reads the batch again, and says so if the batch has changed in between."""
    x, dy = rng.standard_normal((2, 6, 3))
    _, cache = batch_norm_train(x, where=np.ones((6, 1), bool) if masked else None)
    change(x)
    message = (
        "the batch must still be what it was in the forward pass, because the backward pass "
        "reads it again; got other values. "
        "Call backward before you write into x, or pass a copy of x to the forward pass."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_backward(dy, cache)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.multiply(x, 2, out=x),
        lambda x: np.negative(x, out=x),
        lambda x: np.random.default_rng(1).shuffle(x),
        lambda x: x[::-1].sort(axis=0),
    ],
)
@pytest.mark.parametrize("shape", [(8, 3), (100, 3), (40, 3, 30)])
def test_a_change_that_keeps_the_mean_is_noticed_too(change, shape, rng):
    """What leaves the mean as it was shows in a sample of the values."""
    x, dy = rng.standard_normal((2, *shape))
    x -= x.mean(axis=tuple(a for a in range(x.ndim) if a != 1), keepdims=True)
    _, cache = batch_norm_train(x)
    batch_norm_backward(dy, cache)
    change(x)
    with pytest.raises(ValueError, match="the batch must still be what it was"):
        batch_norm_backward(dy, cache)
    with pytest.raises(ValueError, match="the batch must still be what it was"):
        _ = cache.x_hat


@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_a_change_of_any_one_value_is_noticed(unit, rng):
    """In whatever unit, the mean tells of one value that changed by a deviation."""
    x, dy = rng.standard_normal((2, 100, 3))
    x *= unit
    _, cache = batch_norm_train(x, eps=0.0)
    for row in range(100):
        before = x[row, 1]
        x[row, 1] += unit
        with pytest.raises(ValueError, match="the batch must still be what it was"):
            batch_norm_backward(dy, cache)
        x[row, 1] = before
    batch_norm_backward(dy, cache)


def test_what_is_masked_out_may_change(rng):
    """Junk at masked positions can be written over between the passes."""
    x, dy = rng.standard_normal((2, 8, 3))
    where = np.arange(8)[:, np.newaxis] < 5
    x[~where[:, 0]] = np.nan
    _, cache = batch_norm_train(x, where=where)
    before = batch_norm_backward(dy, cache)
    x[5:] = 0
    assert batch_norm_backward(dy, cache).x.tobytes() == before.x.tobytes()


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, 1e15])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_that_was_not_written_to_is_never_refused(offset, dtype, rng):
    """Rounding alone, however large the mean, does not look like a change of the batch."""
    for shape in [(2, 3), (1000, 3), (70, 3, 1000)]:
        x = (offset + rng.standard_normal(shape)).astype(dtype)
        _, cache = batch_norm_train(x)
        batch_norm_backward(rng.standard_normal(shape), cache)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_sorted_batch_is_never_refused(dtype, rng):
    """Rounding errors that all point in one direction do not look like a change of the batch."""
    normal = np.sort(rng.standard_normal((10**6, 2)), axis=0)
    flat = np.repeat([[1 / 3], [-1 / 3]], 2**17, axis=0) + 1e-3 * rng.standard_normal((2**18, 2))
    for batch in (normal, normal[: 2**17], flat):
        with np.errstate(under="ignore"):
            x = batch.astype(dtype)
        _, cache = batch_norm_train(x)
        batch_norm_backward(x, cache)
        assert cache.x_hat.shape == x.shape


@pytest.mark.parametrize("unit", [1e-160, 1e-165, 1e-200, 1e-300, 5e-324])
def test_a_batch_whose_squares_vanish_is_never_refused(unit, rng):
    """Where values are so small that m2 is 0, rounding still does not look like a change."""
    for n in range(2, 50):
        x = rng.choice([-5, -3, 1, 7], (n, 3)) * unit
        for batch in (x, np.concatenate([x, -x])):
            _, cache = batch_norm_train(batch)
            batch_norm_backward(np.ones(batch.shape), cache)
            assert cache.x_hat.shape == batch.shape


@pytest.mark.parametrize("value", [1e29, 1e30, 1e35, -3e38])
def test_a_constant_float32_channel_of_any_size_becomes_beta(value):
    """Its values less their mean are 0 to the last bit, also where float32 nearly ends."""
    x = np.full((4, 1), value, np.float32)
    y, cache = batch_norm_train(x, [2.0], [0.5])
    assert y.tolist() == [[0.5]] * 4
    mean, var = cache.moments.mean, cache.moments.var()
    assert batch_norm_infer(x, mean, var, [2.0], [0.5]).tolist() == [[0.5]] * 4


@pytest.mark.parametrize("gamma", [0.0, 5e-324, -1e-310, 1e-300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gamma_that_all_but_vanishes_leaves_beta(gamma, dtype):
    """Weight decay can make gamma as small as floats get; nothing overflows for it."""
    x = np.array([[1.0], [3.0]], dtype)
    assert batch_norm_train(x, [gamma], [0.5])[0].tolist() == [[0.5], [0.5]]
    assert batch_norm_infer(x, [2.0], [1e10], [gamma], [0.5]).tolist() == [[0.5], [0.5]]


@pytest.mark.parametrize(
    ("dtype", "most", "gamma"), [(np.float32, 3e38, 1.0), (np.float16, 6e4, 1e-40)]
)
def test_nothing_overflows_on_the_way_to_a_small_gradient(dtype, most, gamma):
    """dy and x may both be as large as their dtype allows, with opposite signs."""
    x = np.array([[-most], [most], [-most], [most]], dtype)
    dy = np.array([[most], [-most], [most], [most / 2]], dtype)
    _, cache = batch_norm_train(x, [gamma])
    dx = batch_norm_backward(dy, cache).x
    wide = batch_norm_train(x.astype(np.float64), [gamma])[1]
    expected = batch_norm_backward(dy.astype(np.float64), wide).x
    np.testing.assert_allclose(dx, expected, 1e-6, np.finfo(dtype).smallest_subnormal)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_x_hat_is_0_where_masked_out_in_a_channel_with_nan_too(odd):
    """What is not finite spoils the values that count, and none of the others."""
    where = np.array([[True], [True], [False]])
    _, cache = batch_norm_train([[odd, 1.0], [3.0, 2.0], [1e308, 3.0]], where=where)
    assert np.isnan(cache.x_hat[:2, 0]).all()
    assert cache.x_hat[2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("gamma", [1.0, 1e-40])
def test_a_mask_or_a_number_beyond_float32_needs_little_memory(masked, gamma, rng):
    """Beside its output, the gradient of 16 MiB takes 8 MiB at most."""
    x, dy = rng.standard_normal((2, 2**17, 32), np.float32)
    where = rng.random((2**17, 1)) < 0.5 if masked else None
    _, cache = batch_norm_train(x, np.r_[gamma, np.ones(31)], where=where)
    tracemalloc.start()
    try:
        dx = batch_norm_backward(dy, cache).x
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - dx.nbytes < 8 * 2**20


def test_the_output_of_inference_is_new(rng):
    """Normalising with mean 0 and variance 1 still returns another array, safe to write to."""
    x, zero, one = rng.standard_normal((6, 3)), np.zeros(3), np.ones(3)
    dy = rng.standard_normal((6, 3))
    for y in (
        normalize(x, zero, one, eps=0.0),
        batch_norm_infer(x, zero, one, eps=0.0),
        batch_norm_infer_backward(dy, x, zero, one, eps=0.0).x,
    ):
        assert not np.shares_memory(y, x)
        assert not np.shares_memory(y, dy)
        assert y.flags.writeable


def test_a_cache_stays_what_it_was(rng):
    """A cache is frozen, and so are its arrays, but for the batch, which is the caller's."""
    where = rng.random((6, 3)) < 0.9
    _, cache = batch_norm_train(rng.standard_normal((6, 3)), np.ones(3), where=where)
    for field in dataclasses.fields(cache):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(cache, field.name, None)
    for array in (cache.std, cache.gamma, cache.where):
        assert not array.flags.writeable


def test_caches_are_equal_to_themselves_only():
    """Arrays have no one answer to ==, so for caches it is identity."""
    one, other = (batch_norm_train(np.eye(2))[1] for _ in range(2))
    assert {one: 1}[one] == 1
    assert one != other


INFER = {"mean": np.zeros(3), "var": np.ones(3)}
X = np.zeros((4, 3))


@pytest.mark.parametrize(
    "call",
    [
        batch_norm_train,
        lambda bad: normalize(bad, **INFER),
        lambda bad: batch_norm_infer(bad, **INFER),
        lambda bad: batch_norm_infer_backward(X, bad, **INFER),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "bool", "object"])
def test_an_x_that_is_not_floating_is_refused(call, dtype):
    """Integers, booleans and objects have no dtype for the output to come back in."""
    with pytest.raises(TypeError, match=whole(not_floating("x", dtype))):
        call(np.zeros((4, 3), dtype))


@pytest.mark.parametrize("name", ["mean", "var", "gamma", "beta"])
def test_channel_values_are_checked(name):
    """Each per-channel argument of each function must be floating and of shape (C,)."""
    functions = [
        lambda **given_: batch_norm_infer(X, **INFER | given_),
        lambda **given_: batch_norm_infer_backward(X, X, **INFER | given_),
    ]
    if name in INFER:
        functions.append(lambda **given_: normalize(X, **INFER | given_))
    else:
        functions.append(lambda **given_: batch_norm_train(X, **given_))
    message = (
        f"{name} must have one value for each of the 3 channels, shape (3,); "
        f"got {name}.shape=(1,) for an array of shape (4, 3) with channel_axis=1. "
        "Pass one value per channel, or another channel_axis."
    )
    for function in functions:
        with pytest.raises(TypeError, match=whole(not_floating(name, "int64"))):
            function(**{name: np.ones(3, int)})
        with pytest.raises(ValueError, match=whole(message)):
            function(**{name: np.ones(1)})


@pytest.mark.parametrize(
    "backward",
    [
        lambda dy: batch_norm_backward(dy, batch_norm_train(X)[1]),
        lambda dy: batch_norm_infer_backward(dy, X, **INFER),
    ],
)
def test_dy_is_checked(backward):
    """dy must be floating and of the shape of y; it is not broadcast."""
    with pytest.raises(TypeError, match=whole(not_floating("dy", "int64"))):
        backward(np.ones((4, 3), int))
    message = (
        "dy must have the shape of y, (4, 3); got dy.shape=(1, 3). "
        "Pass the gradient that belongs to this forward pass."
    )
    with pytest.raises(ValueError, match=whole(message)):
        backward(np.ones((1, 3)))


CALLS = [
    batch_norm_train,
    lambda x, **given_: normalize(x, **INFER | given_),
    lambda x, **given_: batch_norm_infer(x, **INFER | given_),
    lambda x, **given_: batch_norm_infer_backward(x, x, **INFER | given_),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("eps", [-1e-5, float("nan")])
def test_a_negative_eps_is_refused(call, eps):
    """eps is a variance, so it is not negative, nor NaN."""
    message = (
        f"eps must be a finite number, not negative; got eps={eps!r}. The usual value is 1e-5."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(X, eps=eps)


@pytest.mark.parametrize("call", CALLS)
def test_the_shape_is_checked(call):
    """Every function wants two axes at least, and a channel axis that is there."""
    message = (
        "x must have at least 2 axes, samples and channels; got x.shape=(3,). "
        "Use x.reshape(-1, 1) for samples of one channel, x.reshape(1, -1) for one sample."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(X[0])
    message = (
        "channel_axis must name an axis of x, from -2 to 1; got channel_axis=2 for x.shape=(4, 3)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(X, channel_axis=2)


@pytest.mark.parametrize("call", CALLS[1:])
def test_a_negative_variance_is_refused(call):
    """A variance below 0 is refused with a hint at how people come by it."""
    message = (
        "var must not be negative; got var=[1.0, -0.5, 0.0]. "
        "A variance that comes out negative was computed as E[x²] - E[x]²; use Moments.of."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(X, var=[1.0, -0.5, 0.0], eps=1.0)


@pytest.mark.parametrize("call", CALLS)
def test_a_constant_channel_without_eps_is_refused(call):
    """Where variance and eps are both 0 there is no dividing, and the channels are named."""
    message = (
        "var + eps must be positive to divide by its root; got 0 in channels [0, 2]. "
        "These channels hardly vary: pass eps above 0, usually 1e-5."
    )
    x = np.array([[0.0, 1.0, 5.0], [0.0, 2.0, 5.0]])
    given_ = {} if call is batch_norm_train else {"var": x.var(axis=0)}
    with pytest.raises(ValueError, match=whole(message)):
        call(x, eps=0.0, **given_)


def test_the_mask_is_checked():
    """A mask must be boolean and broadcast to x."""
    message = (
        "where must be an array of booleans; got dtype int64. "
        "Compare first, for example with where != 0."
    )
    with pytest.raises(TypeError, match=whole(message)):
        batch_norm_train(X, where=np.ones((4, 3), int))
    message = (
        "where must broadcast to the shape of x, (4, 3); got where.shape=(4,). "
        "Give it as many axes as x, with length 1 along those that it does not depend on."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_train(X, where=np.ones(4, bool))


# Oracles


@given(batch=batches(), eps=EPS)
def test_against_the_backward_pass_of_the_paper(batch, eps):
    """The closed form is the paper's three steps, by the variance, the mean and each value."""
    x, dy, gamma, beta = batch
    n = len(x)
    _, cache = batch_norm_train(x, gamma, beta, eps=eps)
    mean, var = x.mean(axis=0), x.var(axis=0)
    d_hat = dy * gamma
    d_var = np.sum(d_hat * (x - mean), axis=0) * -0.5 * (var + eps) ** -1.5
    d_mean = np.sum(d_hat, axis=0) / -np.sqrt(var + eps) + d_var * np.mean(-2 * (x - mean), axis=0)
    dx = d_hat / np.sqrt(var + eps) + d_var * 2 * (x - mean) / n + d_mean / n
    slack = backward_rounding(x, dy, cache)
    assert np.all(np.abs(batch_norm_backward(dy, cache).x - dx) <= slack)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_against_fifty_digits(offset, scale, rng):
    """Of an ill-conditioned batch, all results are right to the condition times rounding."""
    n, eps = 5, 1e-5
    x, dy = (rng.standard_normal((2, n, 1)) * scale) + np.array([offset, 0.0]).reshape(2, 1, 1)
    gamma, beta = [1.7], [-0.3]
    y, cache = batch_norm_train(x, gamma, beta, eps=eps)
    dx, dgamma, dbeta = batch_norm_backward(dy, cache)
    expected = in_fifty_digits(x.ravel(), dy.ravel(), gamma[0], beta[0], eps)
    # the mean is rounded by U * offset, which x_hat sees times inv_std
    condition = 1 + offset * cache.inv_std[0]
    slack = 8 * n * U * condition
    slope = 1.7 * cache.inv_std[0]
    size = np.abs(dy).sum()
    bounds = [2 * slack, slack * slope * size, slack * size, slack * size]
    for got, exact, bound in zip((y, dx, dgamma, dbeta), expected, bounds, strict=True):
        for a, b in zip(np.ravel(got), exact, strict=True):
            assert abs(mpmath.mpf(float(a)) - b) <= bound


def in_fifty_digits(x, dy, gamma, beta, eps):
    """Return y, dx, dgamma, dbeta by the Jacobian, summed term by term in 50 digits."""
    with mpmath.workdps(50):
        x, dy = ([mpmath.mpf(float(value)) for value in a] for a in (x, dy))
        gamma, beta, eps = map(mpmath.mpf, (gamma, beta, eps))
        n = len(x)
        mean = mpmath.fsum(x) / n
        std = mpmath.sqrt(mpmath.fsum((value - mean) ** 2 for value in x) / n + eps)
        hat = [(value - mean) / std for value in x]
        dx = [
            mpmath.fsum(
                gamma / std * ((i == j) - 1 / mpmath.mpf(n) - hat[i] * hat[j] / n) * dy[j]
                for j in range(n)
            )
            for i in range(n)
        ]
        dgamma = mpmath.fsum(a * b for a, b in zip(dy, hat, strict=True))
        return [gamma * h + beta for h in hat], dx, [dgamma], [mpmath.fsum(dy)]


def both_passes(x, dy, gamma, beta, channel_axis=1):
    """Return y and gradients of training, then the same of inference with some statistics."""
    stats = {
        "mean": np.full(x.shape[channel_axis], 0.5),
        "var": np.full(x.shape[channel_axis], 2.0),
    }
    rest = {"gamma": gamma, "beta": beta, "channel_axis": channel_axis}
    y, cache = batch_norm_train(x, **rest)
    results = y, *batch_norm_backward(dy, cache)
    results += (
        batch_norm_infer(x, **stats, **rest),
        *batch_norm_infer_backward(dy, x, **stats, **rest),
    )
    return [a for a in results if a is not None]


def check(forward, backward, arguments, derivative):
    """Check a backward pass, as sharply as the derivative allows."""
    # complex step: rounding of some 100 terms; central difference: U^(2/3) = 2e-11, curvature 100
    tolerance = 1e-13 if derivative is complex_step else 1e-8
    with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
        check_backward(forward, backward, arguments, derivative=derivative, tolerance=tolerance)


def parameters(channels, rng):
    """Return two random vectors of values per channel, the first of them not near 0."""
    return 0.5 + rng.random(channels), rng.standard_normal(channels)


def rounding(x, cache):
    """Bound the rounding error of x_hat, and of what x_hat should sum up to.

    The mean is rounded by U times the size of x, and x_hat sees that times inv_std. The rest is n
    times some operations on numbers up to sqrt(n).
    """
    n = len(x)
    return 8 * n * U * (np.sqrt(n) + np.max(np.abs(x), axis=0) * cache.inv_std)


def backward_rounding(x, dy, cache):
    """Bound the rounding error of dx and of its sum: that of x_hat, twice, times dy and slope."""
    slope = np.abs(cache.gamma) * cache.inv_std
    return 4 * slope * np.sum(np.abs(dy), axis=0) * rounding(x, cache) * np.sqrt(len(x))


def rms(a):
    """Return the root of the mean square of each channel."""
    return np.sqrt(np.mean(a * a, axis=0))


def matrix(x, channel_axis):
    """Return the array as (values, C)."""
    return np.moveaxis(x, channel_axis, -1).reshape(-1, x.shape[channel_axis])


def not_floating(name, dtype):
    """Return the message that refuses a dtype."""
    return (
        f"{name} must be an array of float16, bfloat16, float32, float64; got dtype {dtype}. "
        f"Convert it first, for example with np.asarray({name}, dtype=np.float64)."
    )


def test_the_pair_of_the_forward_pass_is_no_cache(rng):
    """Passing y and the cache together is told apart from passing the cache."""
    pair = batch_norm_train(rng.standard_normal((4, 3)))
    message = (
        "cache must be the Cache of the forward pass; got tuple. "
        "batch_norm_train returns two values, y and the cache: pass the second."
    )
    with pytest.raises(TypeError, match=whole(message)):
        batch_norm_backward(np.zeros((4, 3)), pair)


@pytest.mark.parametrize("eps", [np.inf, "1e-5", None, np.ones(3)])
def test_an_eps_that_is_no_finite_number_is_refused(eps):
    """Epsilon is one finite number."""
    message = (
        f"eps must be a finite number, not negative; got eps={eps!r}. The usual value is 1e-5."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_norm_train(np.zeros((4, 3)), eps=eps)
