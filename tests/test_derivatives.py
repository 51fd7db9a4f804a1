"""Forward mode and the double backward pass: the identities that tie them to the first ones."""

import ml_dtypes
import numpy as np
import pytest
from helpers import whole

from refbn import (
    Gradients,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_infer_backward,
    batch_norm_train,
)
from refbn.derivatives import (
    batch_norm_double_backward,
    batch_norm_infer_double_backward,
    batch_norm_infer_jvp,
    batch_norm_jvp,
)
from refbn.gradcheck import central_difference, check_backward, complex_step

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
EVERY_AXIS = [((7, 3), 1), ((7, 3), -2), ((4, 3, 5), 1), ((4, 5, 3), -1), ((2, 3, 2, 3), 1)]
EVERY_EPS = [0.0, 1e-5, 0.1, 1.0]
PARTS = [("x",), ("gamma",), ("beta",), ("x", "gamma", "beta")]

every_axis = pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
every_mask = pytest.mark.parametrize("masked", [False, True])
every_part = pytest.mark.parametrize("parts", PARTS, ids="+".join)


# Worked example by hand


def test_forward_mode_by_hand():
    """Of 0, 0, 2, 2 with gamma 2, raising the first raises its output by 1 and lowers the next."""
    _, cache = batch_norm_train(column(0, 0, 2, 2), [2.0], [7.0], eps=0.0)
    along_x = batch_norm_jvp(column(1, 0, 0, 0), cache)
    assert along_x.ravel().tolist() == [1.0, -1.0, 0.0, 0.0]
    along_all = batch_norm_jvp(column(1, 0, 0, 0), cache, [10.0], [5.0])
    assert along_all.ravel().tolist() == [-4.0, -6.0, 15.0, 15.0]


def test_eps_stands_inside_the_root():
    """Of 1 and 3 with eps 3, x_hat is ∓1/2 and the slope 4 eps / (d² + 4 eps)^1.5 is 12 / 64."""
    _, cache = batch_norm_train(column(1, 3), eps=3.0)
    assert batch_norm_jvp(column(0, 1), cache).ravel().tolist() == [-12 / 64, 12 / 64]


def test_double_backward_by_hand():
    """For S = dx[0] and dy = (1, 0, 0, 0) it is gamma (3, -1, -1, -1) / 8, and dS/dgamma is 1/2."""
    _, cache = batch_norm_train(column(0, 0, 2, 2), [2.0], [7.0], eps=0.0)
    first = column(1, 0, 0, 0)
    of_x = batch_norm_double_backward(Gradients(first, None, None), first, cache)
    assert of_x.x.ravel().tolist() == [0.75, -0.25, -0.25, -0.25]
    assert of_x.gamma.tolist() == [0.5]
    assert of_x.dy.ravel().tolist() == [1.0, -1.0, 0.0, 0.0]
    upstream = Gradients(first, np.array([8.0]), np.array([3.0]))
    of_all = batch_norm_double_backward(upstream, first, cache)
    assert of_all.x.ravel().tolist() == [4.75, -4.25, -0.25, -0.25]
    assert of_all.gamma.tolist() == [0.5]
    assert of_all.dy.ravel().tolist() == [-4.0, -6.0, 11.0, 11.0]


def test_a_mask_by_hand():
    """A masked value takes no part, whatever it is, and its own results are 0."""
    where = np.array([[True], [True], [False], [True], [True]])
    _, cache = batch_norm_train(column(0, 0, 100, 2, 2), [2.0], where=where, eps=0.0)
    first = column(1, 0, np.nan, 0, 0)
    y_dot = batch_norm_jvp(first, cache, beta_dot=[5.0])
    assert y_dot.ravel().tolist() == [6.0, 4.0, 0.0, 5.0, 5.0]
    double = batch_norm_double_backward(Gradients(first, None, np.array([3.0])), first, cache)
    assert double.x.ravel().tolist() == [0.75, -0.25, 0.0, -0.25, -0.25]
    assert double.gamma.tolist() == [0.5]
    assert double.dy.ravel().tolist() == [4.0, 2.0, 0.0, 3.0, 3.0]


def test_inference_by_hand():
    """5 is x_hat = 2 by mean 1 and s = sqrt(3 + 1); with gamma 3 all is products of small numbers."""
    rule = {"mean": [1.0], "var": [3.0], "gamma": [3.0], "beta": [7.0], "eps": 1.0}
    y_dot = batch_norm_infer_jvp([[4.0]], [[5.0]], **rule, gamma_dot=[10.0], beta_dot=[1.0])
    assert y_dot.tolist() == [[3 / 2 * 4.0 + 10 * 2 + 1]]
    upstream = Gradients(np.array([[7.0]]), np.array([5.0]), np.array([1.0]))
    double = batch_norm_infer_double_backward(upstream, [[4.0]], [[5.0]], **rule)
    assert double.x.tolist() == [[5 / 2 * 4.0]]
    assert double.gamma.tolist() == [7 * 4.0 / 2]
    assert double.dy.tolist() == [[3 / 2 * 7.0 + 5 * 2 + 1]]


def test_the_defaults_of_inference():
    """eps is 1e-5 and the channels are on axis 1."""
    one, x = np.ones(2), np.ones((3, 2))
    slope = 1 / np.sqrt(1 + 1e-5)
    assert batch_norm_infer_jvp(x, x, one, one)[0, 0] == slope
    double = batch_norm_infer_double_backward(Gradients(x, None, None), x, x, one, one)
    assert double.dy[0, 0] == slope


# Laws of forward mode


@pytest.mark.parametrize("eps", EVERY_EPS)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_jacobian_column_by_column(n, eps, rng):
    """J is symmetric, J 1 = 0, J x_hat = slope eps / (var + eps) x_hat, the rest has the slope."""
    _, cache = batch_norm_train(rng.standard_normal((n, 1)), [-1.7], eps=eps)
    jacobian = np.hstack([batch_norm_jvp(e[:, np.newaxis], cache) for e in np.eye(n)])
    slope, var = (-1.7 * cache.inv_std).item(), cache.moments.var().item()
    shrunk = slope * eps / (var + eps)
    x_hat = cache.x_hat[:, 0]
    # the rounding of x_hat, of size n at most, in a column of n values
    atol = 16 * n * n * U * abs(slope)
    np.testing.assert_allclose(jacobian, jacobian.T, rtol=0, atol=atol)
    np.testing.assert_allclose(jacobian @ np.ones(n), 0, atol=atol)
    np.testing.assert_allclose(jacobian @ x_hat, shrunk * x_hat, rtol=0, atol=atol)
    spectrum = np.sort([0.0, shrunk] + [slope] * (n - 2))
    np.testing.assert_allclose(np.linalg.eigvalsh(jacobian), spectrum, rtol=0, atol=atol)


@every_axis
@every_mask
@every_part
def test_the_adjoint_identity(shape, channel_axis, masked, parts, rng):
    """<dy, J v> = <dx, v> + <dgamma, u> + <dbeta, w>, exactly but for rounding, without a step."""
    batch = Batch(shape, channel_axis, rng, masked=masked)
    cache = batch.cache()
    direction = batch.direction(parts)
    y_dot = batch_norm_jvp(direction.x, cache, direction.gamma, direction.beta)
    gradients = batch_norm_backward(batch.dy, cache)
    left = np.sum(batch.dy * y_dot)
    right = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True) if d is not None)
    # less than 64 values of order 10, in sums within sums
    assert abs(left - right) <= 64 * 10 * 16 * U


@every_axis
@every_mask
@every_part
def test_forward_mode_is_the_derivative_of_the_forward_pass(
    shape, channel_axis, masked, parts, rng
):
    """The derivative of y along a direction of x, gamma, beta or all of them is y_dot."""
    batch = Batch(shape, channel_axis, rng, masked=masked)
    direction = batch.direction(parts)
    still = [np.zeros_like(a) for a in batch.inputs]
    moving = [s if d is None else d for s, d in zip(still, direction, strict=True)]
    y_dot = batch_norm_jvp(direction.x, batch.cache(), direction.gamma, direction.beta)
    with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
        expected = complex_step(lambda *a: batch.forward(*a)[0], batch.inputs, moving)
    # some 60 terms of order 10
    np.testing.assert_allclose(y_dot, expected, rtol=0, atol=60 * 10 * 4 * U)


@every_mask
def test_along_x_alone_it_is_the_backward_pass(masked, rng):
    """The Jacobian is symmetric: forward mode gives for x_dot what backward gives for dy."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache = batch.cache()
    np.testing.assert_allclose(
        batch_norm_jvp(batch.dy, cache),
        batch_norm_backward(batch.dy, cache).x,
        rtol=0,
        atol=20 * 10 * 4 * U,  # 20 values of order 1 times slopes of order 10
    )


@every_mask
def test_the_order_of_two_derivatives_is_of_no_account(masked, rng):
    """Forward over forward, along one direction and then another, is symmetric in the two."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    one, other = (tuple(batch.direction(PARTS[-1])) for _ in range(2))
    forth, back = batch.second(one, other), batch.second(other, one)
    assert np.max(np.abs(forth)) > 0.1
    # some 60 terms of order 100: two slopes and two directions
    np.testing.assert_allclose(forth, back, rtol=0, atol=60 * 100 * 4 * U)


# Laws of the first backward pass that follow from the Jacobian


@pytest.mark.parametrize("eps", EVERY_EPS)
@every_mask
def test_the_gradient_is_no_longer_than_its_slope(eps, masked, rng):
    """|dx| is at most |gamma| inv_std |dy|, and <dx, x> is gamma eps / (var + eps) <dy, x_hat>."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked, eps=eps)
    cache = batch.cache()
    gradients = batch_norm_backward(batch.dy, cache)
    dy = batch.dy if batch.where is None else np.where(batch.where, batch.dy, 0.0)
    size, dx_size = (np.sqrt(np.sum(t * t, axis=(0, 2))) for t in (dy, gradients.x))
    assert np.all(dx_size <= batch.gamma * cache.inv_std * size)
    along_x = np.sum(gradients.x * batch.x, axis=(0, 2))
    expected = batch.gamma * eps / (cache.moments.var() + eps) * gradients.gamma
    np.testing.assert_allclose(along_x, expected, rtol=0, atol=20 * 100 * 8 * U)


@pytest.mark.parametrize("eps", EVERY_EPS)
def test_weights_that_feed_a_batch_norm(eps, rng):
    """<w, dw> is gamma eps / (var + eps) dgamma, and the gradient of a bias is 0."""
    inputs, weights, dy = weighted(rng)
    gamma = np.array([1.5, -0.7])
    _, cache = batch_norm_train(inputs @ weights + 3.0, gamma, eps=eps)
    dx, dgamma, _ = batch_norm_backward(dy, cache)
    along_w = np.sum(weights * (inputs.T @ dx), axis=0)
    expected = gamma * eps / (cache.moments.var() + eps) * dgamma
    # 12 samples of 5 features, of order 10
    np.testing.assert_allclose(along_w, expected, rtol=0, atol=60 * 10 * 8 * U)
    np.testing.assert_allclose(np.sum(dx, axis=0), 0, atol=60 * 10 * 8 * U)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 3.0, 1e6])
def test_the_length_of_weights_is_of_no_account(scale, rng):
    """Without eps, a w gives the y of w and 1 / a of its gradient, which is orthogonal to w."""
    inputs, weights, dy = weighted(rng)
    y, cache = batch_norm_train(inputs @ weights, eps=0.0)
    dw = inputs.T @ batch_norm_backward(dy, cache).x
    longer, longer_cache = batch_norm_train(inputs @ (scale * weights), eps=0.0)
    longer_dw = inputs.T @ batch_norm_backward(dy, longer_cache).x
    atol = 60 * 10 * 8 * U
    np.testing.assert_allclose(longer, y, rtol=0, atol=atol)
    np.testing.assert_allclose(scale * longer_dw, dw, rtol=0, atol=atol)
    step = weights - 0.1 * dw  # so Pythagoras: no step makes the weights shorter
    squares = [np.sum(a * a, axis=0) for a in (step, weights, 0.1 * dw)]
    np.testing.assert_allclose(squares[0], squares[1] + squares[2], rtol=60 * 8 * U)


@pytest.mark.parametrize("eps", EVERY_EPS)
def test_the_sign_of_weights_goes_into_gamma(eps, rng):
    """-w with -gamma is w with gamma, to the last bit."""
    inputs, weights, _ = weighted(rng)
    gamma = np.array([1.5, -0.7])
    y, _ = batch_norm_train(inputs @ weights, gamma, eps=eps)
    same, _ = batch_norm_train(inputs @ -weights, -gamma, eps=eps)
    assert same.tobytes() == y.tobytes()


def test_x_hat_is_the_nearest_point_of_a_sphere(rng):
    """Without eps, of all u with mean 0 and |u|² = n, x_hat is nearest to x."""
    n = 7
    x = rng.standard_normal((n, 1))
    x_hat, _ = batch_norm_train(x, eps=0.0)
    others = rng.standard_normal((n, 2000)) * np.geomspace(1e-3, 1e3, 2000) + x_hat
    others -= others.mean(axis=0)
    others *= np.sqrt(n / np.sum(others * others, axis=0))
    farther = np.sum((others - x) ** 2, axis=0)
    assert np.all(farther > np.sum((x_hat - x) ** 2))


# Laws of the double backward pass


@every_axis
@every_mask
@every_part
@pytest.mark.parametrize("derivative", [central_difference, complex_step])
def test_double_backward_is_the_adjoint(shape, channel_axis, masked, parts, derivative, rng):
    """It is the backward pass of the backward pass, for dx, dgamma, dbeta, and all of them."""
    batch = Batch(shape, channel_axis, rng, masked=masked)

    def first(x, gamma, dy):
        gradients = batch_norm_backward(dy, batch.forward(x, gamma, batch.beta)[1])
        return np.concatenate([getattr(gradients, part).ravel() for part in parts])

    def second(cotangents, x, gamma, dy):
        cache = batch.forward(x, gamma, batch.beta)[1]
        return batch_norm_double_backward(batch.unpacked(cotangents, parts), dy, cache)

    check(first, second, [batch.x, batch.gamma, batch.dy], derivative)


@every_mask
@pytest.mark.parametrize("derivative", [central_difference, complex_step])
def test_without_gamma_it_is_the_adjoint_too(masked, derivative, rng):
    """Without gamma and beta it is the backward pass of dx by x and dy, and gamma's is None."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)

    def first(x, dy):
        return batch_norm_backward(dy, batch.forward(x)[1]).x

    def second(v, x, dy):
        upstream = Gradients(v, None, None)
        double = batch_norm_double_backward(upstream, dy, batch.forward(x)[1])
        assert double.gamma is None
        return double.x, double.dy

    check(first, second, [batch.x, batch.dy], derivative)


@pytest.mark.parametrize("eps", EVERY_EPS)
@every_mask
def test_double_backward_sums_to_zero(eps, masked, rng):
    """A shift of all values changes no gradient, so dS/dx sums to 0 per channel, for any eps."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked, eps=eps)
    double = batch_norm_double_backward(batch.direction(PARTS[-1]), batch.dy, batch.cache())
    assert np.max(np.abs(double.x)) > 0.1
    # 20 values of order 100
    np.testing.assert_allclose(double.x.sum(axis=(0, 2)), 0, atol=20 * 100 * 8 * U)


@every_mask
def test_euler_for_x(masked, rng):
    """Without eps dx is of degree -1 in x - mean, the others of 0: <x - mean, dS/dx> = -<v, dx>."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked, eps=0.0)
    cache, upstream = batch.cache(), batch.direction(PARTS[-1])
    double = batch_norm_double_backward(upstream, batch.dy, cache)
    deviation = batch.x - cache.moments.mean[:, np.newaxis]
    dx = batch_norm_backward(batch.dy, cache).x
    left, right = (np.sum(t, axis=(0, 2)) for t in (deviation * double.x, -upstream.x * dx))
    assert np.max(np.abs(right)) > 0.1
    np.testing.assert_allclose(left, right, rtol=0, atol=20 * 100 * 8 * U)


@every_mask
def test_euler_for_gamma_and_dy(masked, rng):
    """dx is linear in gamma, all are linear in dy: gamma dS/dgamma = <v, dx>, <dy, dS/ddy> = S."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache, upstream = batch.cache(), batch.direction(PARTS[-1])
    double = batch_norm_double_backward(upstream, batch.dy, cache)
    gradients = batch_norm_backward(batch.dy, cache)
    along_x = np.sum(upstream.x * gradients.x, axis=(0, 2))
    s = along_x + upstream.gamma * gradients.gamma + upstream.beta * gradients.beta
    atol = 20 * 100 * 8 * U
    np.testing.assert_allclose(batch.gamma * double.gamma, along_x, rtol=0, atol=atol)
    np.testing.assert_allclose(np.sum(batch.dy * double.dy, axis=(0, 2)), s, rtol=0, atol=atol)


@every_mask
def test_backward_over_backward_is_forward_over_forward(masked, rng):
    """<dS/dx, a> is <dy, second derivative of y along v and a>: S is <dy, y_dot>."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    upstream, other = batch.direction(PARTS[-1]), batch.direction(("x", "gamma"))
    double = batch_norm_double_backward(upstream, batch.dy, batch.cache())
    along = other.x, other.gamma, np.zeros_like(batch.beta)
    left = np.sum(double.x * other.x, axis=(0, 2)) + double.gamma * other.gamma
    right = np.sum(batch.dy * batch.second(tuple(upstream), along), axis=(0, 2))
    assert np.max(np.abs(right)) > 0.1
    np.testing.assert_allclose(left, right, rtol=0, atol=20 * 100 * 8 * U)


@every_mask
def test_dy_moves_the_gradients_as_forward_mode_moves_y(masked, rng):
    """The backward pass is linear in dy, so dS/ddy is y_dot along the cotangents, to the bit."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache, upstream = batch.cache(), batch.direction(PARTS[-1])
    double = batch_norm_double_backward(upstream, batch.dy, cache)
    y_dot = batch_norm_jvp(upstream.x, cache, upstream.gamma, upstream.beta)
    assert double.dy.tobytes() == y_dot.tobytes()


@every_mask
def test_the_cotangents_add_up(masked, rng):
    """All cotangents together give the sum of what each alone gives."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache, upstream = batch.cache(), batch.direction(PARTS[-1])
    alone = [
        batch_norm_double_backward(batch.only(upstream, part), batch.dy, cache) for part in PARTS
    ]
    for *each, together in zip(*alone, strict=True):
        np.testing.assert_allclose(sum(each), together, rtol=0, atol=100 * 8 * U)


# Laws of inference


@every_axis
@every_part
def test_inference_forward_mode_is_a_derivative_and_an_adjoint(shape, channel_axis, parts, rng):
    """y_dot is the derivative of y along the direction, and <dy, y_dot> that of the gradients."""
    batch = Batch(shape, channel_axis, rng)
    direction, rule = batch.direction(parts), batch.statistics()
    moving = [
        np.zeros_like(a) if d is None else d for a, d in zip(batch.inputs, direction, strict=True)
    ]
    y_dot = along(direction, batch, batch.gamma, beta=batch.beta)
    with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
        expected = complex_step(
            lambda x, g, b: batch_norm_infer(x, gamma=g, beta=b, **rule), batch.inputs, moving
        )
    # some 4 terms of order 10
    np.testing.assert_allclose(y_dot, expected, rtol=0, atol=4 * 10 * 4 * U)
    gradients = batch_norm_infer_backward(
        batch.dy, batch.x, gamma=batch.gamma, beta=batch.beta, **rule
    )
    right = sum(np.sum(g * d) for g, d in zip(gradients, moving, strict=True))
    assert abs(np.sum(batch.dy * y_dot) - right) <= 64 * 10 * 16 * U


@every_axis
@every_part
@pytest.mark.parametrize("derivative", [central_difference, complex_step])
def test_inference_double_backward_is_the_adjoint(shape, channel_axis, parts, derivative, rng):
    """It is the backward pass of the inference backward pass, for each gradient and for all."""
    batch = Batch(shape, channel_axis, rng)
    rule = batch.statistics() | {"beta": batch.beta}

    def first(x, gamma, dy):
        gradients = batch_norm_infer_backward(dy, x, gamma=gamma, **rule)
        return np.concatenate([getattr(gradients, part).ravel() for part in parts])

    def second(cotangents, x, gamma, dy):
        upstream = batch.unpacked(cotangents, parts)
        return batch_norm_infer_double_backward(upstream, dy, x, gamma=gamma, **rule)

    check(first, second, [batch.x, batch.gamma, batch.dy], derivative)


def test_inference_without_gamma_or_cotangents(rng):
    """An absent gamma is ones with None for its gradient; without cotangents all results are 0."""
    batch = Batch((4, 3, 5), 1, rng)
    rule, upstream = batch.statistics(), batch.direction(PARTS[-1])
    ones = rule | {"gamma": np.ones(3)}
    np.testing.assert_array_equal(along(upstream, batch, ones["gamma"]), along(upstream, batch))
    got, full = (
        batch_norm_infer_double_backward(upstream, batch.dy, batch.x, **r) for r in (rule, ones)
    )
    assert got.gamma is None
    np.testing.assert_array_equal(got.x, full.x)
    np.testing.assert_array_equal(got.dy, full.dy)
    none = Gradients(None, None, None)
    assert not np.any(along(none, batch))
    zero = batch_norm_infer_double_backward(none, batch.dy, batch.x, **ones)
    assert not any(np.any(a) for a in zero)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inference_results_are_rounded_once(dtype, rng):
    """Results of the shape of x have its dtype, gamma's has float64; all is computed in float64."""
    # bfloat16 has 8 digits, so that all dtypes hold the same numbers
    x, dy, v = np.round(8 * rng.standard_normal((3, 9, 2)))
    u, w, gamma, mean, var = np.round(1 + 8 * rng.random((5, 2)))
    results = {}
    for precision in (dtype, np.float64):
        low = [a.astype(precision) for a in (x, dy, v, u, w, gamma, mean, var)]
        x_, dy_, upstream = low[0], low[1], Gradients(*low[2:5])
        rule = dict(zip(("gamma", "mean", "var"), low[5:], strict=True))
        y_dot = batch_norm_infer_jvp(
            upstream.x, x_, **rule, gamma_dot=upstream.gamma, beta_dot=upstream.beta
        )
        double = batch_norm_infer_double_backward(upstream, dy_, x_, **rule)
        results[precision] = y_dot, double.x, double.dy, double.gamma
    *coarse, of_gamma = results[dtype]
    *fine, exact = results[np.float64]
    assert {a.dtype for a in coarse} == {np.dtype(dtype)}
    assert [a.tobytes() for a in coarse] == [a.astype(dtype).tobytes() for a in fine]
    assert of_gamma.dtype == np.float64
    assert of_gamma.tobytes() == exact.tobytes()


@every_part
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_at_inference_a_value_that_is_not_finite_spoils_itself_only(value, parts, rng):
    """One NaN or Inf in x, dy or v changes no bit of another value's results, and does not warn."""
    batch = Batch((7, 3), 1, rng)
    rule = batch.statistics() | {"gamma": batch.gamma}
    _, u, w = batch.direction(parts)
    clean = {"x": batch.x, "dy": batch.dy, "v": batch.direction(("x",)).x}
    for source, array in clean.items():
        spoilt = clean | {source: array.copy()}
        spoilt[source][2, 1] = value
        results = [
            (
                batch_norm_infer_jvp(g["v"], g["x"], **rule, gamma_dot=u, beta_dot=w),
                *batch_norm_infer_double_backward(Gradients(g["v"], u, w), g["dy"], g["x"], **rule),
            )
            for g in (clean, spoilt)
        ]
        for i in (0, 1, 3):
            same = results[0][i] == results[1][i]
            assert np.all(same.ravel()[np.arange(21) != 2 * 3 + 1])
        assert results[0][2][[0, 2]].tobytes() == results[1][2][[0, 2]].tobytes()


def test_inference_of_no_values():
    """Of an empty batch the results are empty, and gamma's is 0."""
    x, rule = np.zeros((0, 3)), {"mean": np.zeros(3), "var": np.ones(3), "gamma": np.ones(3)}
    assert batch_norm_infer_jvp(x, x, **rule).shape == (0, 3)
    double = batch_norm_infer_double_backward(Gradients(x, None, None), x, x, **rule)
    assert [a.shape for a in double] == [(0, 3), (3,), (0, 3)]
    assert not np.any(double.gamma)


def test_inference_arguments_are_not_written_to(rng):
    """No argument is written to, read-only ones will do, and the results are new and writable."""
    batch = Batch((4, 3, 5), 1, rng)
    zero, one = np.zeros(3), np.ones(3)
    upstream = batch.direction(PARTS[-1])
    arguments = *upstream, batch.dy, batch.x, zero, one
    before = [a.tobytes() for a in arguments]
    for a in arguments:
        a.flags.writeable = False
    rule = {"mean": zero, "var": one, "gamma": one, "eps": 0.0}
    results = [
        batch_norm_infer_jvp(upstream.x, batch.x, **rule),
        *batch_norm_infer_double_backward(upstream, batch.dy, batch.x, **rule),
    ]
    assert [a.tobytes() for a in arguments] == before
    for a in results:
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in arguments)


# Laws of both


@every_mask
def test_none_stands_for_zero(masked, rng):
    """An absent direction or cotangent counts as zeros; without any of them all results are 0."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache = batch.cache()
    zeros = Gradients(*(np.zeros_like(a) for a in batch.inputs))
    none = Gradients(None, None, None)
    for part in PARTS:
        given = batch.direction(part)
        full = Gradients(*(z if g is None else g for z, g in zip(zeros, given, strict=True)))
        np.testing.assert_array_equal(
            batch_norm_jvp(given.x, cache, given.gamma, given.beta),
            batch_norm_jvp(full.x, cache, full.gamma, full.beta),
        )
        for a, b in zip(
            batch_norm_double_backward(given, batch.dy, cache),
            batch_norm_double_backward(full, batch.dy, cache),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    assert not np.any(batch_norm_jvp(None, cache))
    assert not any(np.any(a) for a in batch_norm_double_backward(none, batch.dy, cache))


def test_an_absent_gamma_is_one_and_beta_is_of_no_account(rng):
    """Without gamma, or beta, the results are those with ones, and gamma's gradient is None."""
    batch = Batch((4, 3, 5), 1, rng)
    upstream = batch.direction(PARTS[-1])
    _, full = batch.forward(batch.x, np.ones(3), batch.beta)
    for gamma, beta in ((None, batch.beta), (np.ones(3), None), (None, None)):
        _, cache = batch.forward(batch.x, gamma, beta)
        y_dot, expected = (
            batch_norm_jvp(upstream.x, c, upstream.gamma, upstream.beta) for c in (cache, full)
        )
        assert y_dot.tobytes() == expected.tobytes()
        got, expected = (batch_norm_double_backward(upstream, batch.dy, c) for c in (cache, full))
        assert got.x.tobytes() == expected.x.tobytes()
        assert got.dy.tobytes() == expected.dy.tobytes()
        assert (got.gamma is None) == (gamma is None)
        assert gamma is None or got.gamma.tobytes() == expected.gamma.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_results_are_rounded_once(dtype, rng):
    """Results of the shape of x have its dtype, gamma's has float64; all is computed in float64."""
    batch = Batch((4, 3, 5), 1, rng)
    # bfloat16 has 8 digits, so that all dtypes hold the same numbers
    x, dy, v = (
        np.round(8 * a).astype(dtype) for a in (batch.x, batch.dy, batch.direction(("x",)).x)
    )
    gamma, u, w = (np.round(8 * rng.random(3)).astype(dtype) for _ in range(3))
    results = {}
    for precision in (dtype, np.float64):
        low = [a.astype(precision) for a in (x, dy, v, gamma, u, w)]
        _, cache = batch_norm_train(low[0], low[3])
        y_dot = batch_norm_jvp(low[2], cache, *low[4:])
        double = batch_norm_double_backward(Gradients(low[2], *low[4:]), low[1], cache)
        results[precision] = y_dot, double.x, double.dy, double.gamma
    *coarse, gamma = results[dtype]
    *fine, exact = results[np.float64]
    assert {a.dtype for a in coarse} == {np.dtype(dtype)}
    assert [a.tobytes() for a in coarse] == [a.astype(dtype).tobytes() for a in fine]
    assert gamma.dtype == np.float64
    # the mean of x is rounded once where x is narrow, and twice where it is double
    np.testing.assert_allclose(gamma, exact, rtol=1e-14)


@pytest.mark.parametrize("channel_axis", [1, 2])
def test_a_mask_is_the_valid_values_put_together(channel_axis, rng):
    """Each channel under a mask is a batch of its valid values alone."""
    batch = Batch((4, 3, 5), channel_axis, rng, masked=True)
    upstream = batch.direction(PARTS[-1])
    double = batch_norm_double_backward(upstream, batch.dy, batch.cache())
    y_dot = batch_norm_jvp(upstream.x, batch.cache(), upstream.gamma, upstream.beta)
    for c in range(len(batch.gamma)):
        keep = np.moveaxis(batch.where, channel_axis, 0)[c]
        x, v, dy, *expected = (
            np.moveaxis(a, channel_axis, 0)[c][keep][:, np.newaxis]
            for a in (batch.x, upstream.x, batch.dy, double.x, double.dy, y_dot)
        )
        one = slice(c, c + 1)
        _, cache = batch_norm_train(x, batch.gamma[one], eps=batch.eps)
        u, w = upstream.gamma[one], upstream.beta[one]
        alone = batch_norm_double_backward(Gradients(v, u, w), dy, cache)
        for a, b in zip(
            (alone.x, alone.dy, batch_norm_jvp(v, cache, u, w), alone.gamma),
            (*expected, double.gamma[one]),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=0, atol=20 * 100 * 8 * U)


@pytest.mark.parametrize("name", ["x", "gamma", "v", "u", "w", "dy"])
def test_the_complex_step_reaches_one_argument_alone(name, rng):
    """One complex argument among real ones keeps its imaginary part."""
    batch = Batch((4, 3, 5), 1, rng)
    v, u, w = batch.direction(PARTS[-1])
    given = {"x": batch.x, "gamma": batch.gamma, "v": v, "u": u, "w": w, "dy": batch.dy}
    given[name] = given[name] + 1e-200j * rng.standard_normal(given[name].shape)
    with np.errstate(under="ignore"):  # the square of the step is meant to vanish
        _, cache = batch.forward(given["x"], given["gamma"])
        upstream = Gradients(given["v"], given["u"], given["w"])
        y_dot = batch_norm_jvp(upstream.x, cache, upstream.gamma, upstream.beta)
        double = batch_norm_double_backward(upstream, given["dy"], cache)
    assert np.any(y_dot.imag) == (name != "dy")
    assert np.any(double.x.imag) == (name != "w")
    assert np.any(double.dy.imag) == (name != "dy")


# Edges and errors


@pytest.mark.parametrize("junk", [np.nan, np.inf, np.finfo(float).max, 7.0])
def test_masked_values_leak_nowhere(junk, rng):
    """Whatever is masked in x, dy and the direction, the results are 0 there and else the same."""
    batch = Batch((4, 3, 5), 1, rng, masked=True)
    upstream, results = batch.direction(PARTS[-1]), []
    for fill in (0.0, junk):
        x, dy, v = (np.where(batch.where, a, fill) for a in (batch.x, batch.dy, upstream.x))
        _, cache = batch.forward(x, batch.gamma, batch.beta)
        y_dot = batch_norm_jvp(v, cache, upstream.gamma, upstream.beta)
        double = batch_norm_double_backward(upstream._replace(x=v), dy, cache)
        for a in (y_dot, double.x, double.dy):
            assert not np.any(a[~batch.where])
        results.append([a.tobytes() for a in (y_dot, *double)])
    assert results[0] == results[1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("source", ["x", "dy", "v", "u", "w", "gamma"])
def test_what_happens_in_a_channel_stays_there(value, source, rng):
    """NaN and Inf anywhere in a channel change no bit of the other channels, and do not warn."""
    batch = Batch((7, 3), 1, rng)
    v, u, w = batch.direction(PARTS[-1])
    clean = {"x": batch.x, "dy": batch.dy, "v": v, "u": u, "w": w, "gamma": batch.gamma}
    spoilt = clean | {source: clean[source].copy()}
    spoilt[source][..., 1].flat[-1] = value
    results = []
    for given in (clean, spoilt):
        _, cache = batch.forward(given["x"], given["gamma"], batch.beta)
        upstream = Gradients(given["v"], given["u"], given["w"])
        y_dot = batch_norm_jvp(upstream.x, cache, upstream.gamma, upstream.beta)
        results.append([y_dot, *batch_norm_double_backward(upstream, given["dy"], cache)])
    for a, b in zip(*results, strict=True):
        assert a[..., [0, 2]].tobytes() == b[..., [0, 2]].tobytes()
    assert not all(np.all(np.isfinite(b)) for b in results[1])


@pytest.mark.parametrize("shape", [(1, 2), (1, 2, 1)])
def test_one_value_per_channel(shape, rng):
    """Of one value x_hat is 0 wherever it is: y_dot is beta_dot, and of dS only w is left."""
    x, dy, v = rng.standard_normal((3, *shape))
    u, w, gamma = rng.standard_normal((3, 2))
    _, cache = batch_norm_train(x, gamma)
    assert batch_norm_jvp(v, cache, u, w).ravel().tolist() == w.tolist()
    double = batch_norm_double_backward(Gradients(v, u, w), dy, cache)
    assert not np.any(double.x)
    assert not np.any(double.gamma)
    assert double.dy.ravel().tolist() == w.tolist()


def test_no_channels_are_fine():
    """An array without channels has derivatives without channels."""
    x = np.zeros((4, 0))
    _, cache = batch_norm_train(x, np.zeros(0))
    assert batch_norm_jvp(x, cache).shape == (4, 0)
    double = batch_norm_double_backward(Gradients(x, None, None), x, cache)
    assert [a.shape for a in double] == [(4, 0), (0,), (4, 0)]


@every_mask
def test_arguments_are_not_written_to(masked, rng):
    """No argument is written to, read-only ones will do, and the results are new and writable."""
    batch = Batch((4, 3, 5), 1, rng, masked=masked)
    cache, upstream = batch.cache(), batch.direction(PARTS[-1])
    arguments = *upstream, batch.dy
    before = [a.tobytes() for a in arguments]
    for a in arguments:
        a.flags.writeable = False
    y_dot = batch_norm_jvp(upstream.x, cache, upstream.gamma, upstream.beta)
    double = batch_norm_double_backward(upstream, batch.dy, cache)
    assert [a.tobytes() for a in arguments] == before
    for a in (y_dot, *double):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in (*arguments, cache.x_hat))


@pytest.mark.parametrize("not_a_cache", [None, np.zeros((4, 3)), batch_norm_train(np.eye(2))])
def test_the_cache_is_checked(not_a_cache):
    """What is not the cache is refused, with a hint at the pair of the forward pass."""
    message = (
        f"cache must be the Cache of the forward pass; got {type(not_a_cache).__name__}. "
        "batch_norm_train returns two values, y and the cache: pass the second."
    )
    with pytest.raises(TypeError, match=whole(message)):
        batch_norm_jvp(np.zeros((4, 3)), not_a_cache)
    with pytest.raises(TypeError, match=whole(message)):
        batch_norm_double_backward(Gradients(None, None, None), np.zeros((4, 3)), not_a_cache)


NONE = Gradients(None, None, None)
STATISTICS = {"mean": np.zeros(3), "var": np.ones(3)}
X = np.zeros((4, 3))


def some_cache():
    """Return the cache of some batch (4, 3)."""
    return batch_norm_train(X)[1]


def double_of(upstream, dy=X):
    """Return the double backward pass of some batch (4, 3) for these cotangents."""
    return batch_norm_double_backward(upstream, dy, some_cache())


def infer_jvp(x_dot=None, **given):
    """Return the direction of inference of some batch (4, 3)."""
    return batch_norm_infer_jvp(x_dot, **{"x": X} | STATISTICS | given)


def infer_double_of(upstream=NONE, dy=X, **given):
    """Return the double backward pass of inference of some batch (4, 3)."""
    return batch_norm_infer_double_backward(upstream, dy, **{"x": X} | STATISTICS | given)


# by the argument that is bad: how to pass it
OF_VALUES = [
    ("x_dot", lambda bad: batch_norm_jvp(bad, some_cache())),
    ("x_dot", infer_jvp),
    ("dy", lambda bad: double_of(NONE, bad)),
    ("dy", lambda bad: infer_double_of(NONE, bad)),
    ("upstream.x", lambda bad: double_of(NONE._replace(x=bad))),
    ("upstream.x", lambda bad: infer_double_of(NONE._replace(x=bad))),
]
OF_CHANNELS = [
    ("gamma_dot", lambda bad: batch_norm_jvp(None, some_cache(), gamma_dot=bad)),
    ("gamma_dot", lambda bad: infer_jvp(gamma_dot=bad)),
    ("beta_dot", lambda bad: batch_norm_jvp(None, some_cache(), beta_dot=bad)),
    ("beta_dot", lambda bad: infer_jvp(beta_dot=bad)),
    ("upstream.gamma", lambda bad: double_of(NONE._replace(gamma=bad))),
    ("upstream.gamma", lambda bad: infer_double_of(NONE._replace(gamma=bad))),
    ("upstream.beta", lambda bad: double_of(NONE._replace(beta=bad))),
    ("upstream.beta", lambda bad: infer_double_of(NONE._replace(beta=bad))),
]
for each in ("mean", "var", "gamma", "beta"):
    OF_CHANNELS.append((each, lambda bad, each=each: infer_jvp(**{each: bad})))
    OF_CHANNELS.append((each, lambda bad, each=each: infer_double_of(**{each: bad})))
OF_X = [("x", lambda bad: infer_jvp(x=bad)), ("x", lambda bad: infer_double_of(x=bad))]


@pytest.mark.parametrize("double", [double_of, infer_double_of])
@pytest.mark.parametrize("upstream", [np.zeros((3, 4, 3)), (None, None, None), None])
def test_the_cotangents_must_be_named(upstream, double):
    """An array of v alone, or a bare tuple, is refused: which cotangent is which must be said."""
    message = (
        f"upstream must be Gradients, one cotangent for each; got {type(upstream).__name__}. "
        "Pass Gradients(x=v, gamma=None, beta=None) for a function of dx alone."
    )
    with pytest.raises(TypeError, match=whole(message)):
        double(upstream)


@pytest.mark.parametrize(("name", "call"), OF_VALUES + OF_CHANNELS + OF_X)
def test_the_dtype_is_checked(name, call):
    """Every array must be floating; the message names it."""
    message = (
        f"{name} must be an array of float16, bfloat16, float32, float64; got dtype int64. "
        f"Convert it first, for example with np.asarray({name}, dtype=np.float64)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        call(np.ones(3, int))


@pytest.mark.parametrize(("name", "call"), OF_VALUES)
@pytest.mark.parametrize("shape", [(1, 3), (3,), (4, 3, 1), ()])
def test_the_shape_of_x_is_checked(name, call, shape):
    """A direction of x, a cotangent of dx and dy have the shape of x; nothing is broadcast."""
    message = (
        f"{name} must have the shape of x, (4, 3); got {name}.shape={shape}. "
        "Pass the array that belongs to this forward pass."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(np.ones(shape))


@pytest.mark.parametrize(("name", "call"), OF_CHANNELS)
@pytest.mark.parametrize("shape", [(1,), (4,), (1, 3), ()])
def test_the_shape_of_the_parameters_is_checked(name, call, shape):
    """What belongs to gamma or beta has one value per channel."""
    message = (
        f"{name} must have one value for each of the 3 channels, shape (3,); "
        f"got {name}.shape={shape} for an array of shape (4, 3) with channel_axis=1. "
        "Pass one value per channel, or another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(np.ones(shape))


@pytest.mark.parametrize("call", [infer_jvp, infer_double_of])
def test_the_statistics_are_checked(call):
    """Inference refuses what the forward pass refuses: bad eps, variances and axes."""
    message = "eps must be a finite number, not negative; got eps=-1.0. The usual value is 1e-5."
    with pytest.raises(ValueError, match=whole(message)):
        call(eps=-1.0)
    message = (
        "var must not be negative; got var=[1.0, -0.5, 0.0]. "
        "A variance that comes out negative was computed as E[x²] - E[x]²; use Moments.of."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(var=[1.0, -0.5, 0.0])
    message = (
        "var + eps must be positive to divide by its root; got 0 in channels [2]. "
        "These channels hardly vary: pass eps above 0, usually 1e-5."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(var=[1.0, 1.0, 0.0], eps=0.0)
    message = (
        "channel_axis must name an axis of x, from -2 to 1; got channel_axis=2 for x.shape=(4, 3)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        call(channel_axis=2)


# Oracles


@pytest.mark.parametrize("eps", EVERY_EPS)
def test_against_a_derivation_through_the_scalar(eps, rng):
    """S = A / s differentiated through A and through s, as by hand, is what the module returns."""
    batch = Batch((9, 3), 1, rng, eps=eps)
    cache, v = batch.cache(), batch.direction(("x",)).x
    double = batch_norm_double_backward(Gradients(v, None, None), batch.dy, cache)
    x_hat, n, s = cache.x_hat, 9, 1 / cache.inv_std

    def mean(t):
        return np.mean(t, axis=0)

    def project(t):
        return t - mean(t) - x_hat * mean(t * x_hat)

    g = batch.gamma * batch.dy
    a = n * (mean(v * g) - mean(v) * mean(g) - mean(v * x_hat) * mean(g * x_hat))
    q = -(v * mean(g * x_hat) + g * mean(v * x_hat)) / s
    dx = project(q) / s - a / s**2 * (batch.x - cache.moments.mean) / (n * s)
    atol = 9 * 100 * 8 * U
    np.testing.assert_allclose(double.x, dx, rtol=0, atol=atol)
    dgamma = np.sum(batch.dy * project(v), axis=0) / s
    np.testing.assert_allclose(double.gamma, dgamma, rtol=0, atol=atol)
    np.testing.assert_allclose(double.dy, batch.gamma / s * project(v), rtol=0, atol=atol)


class Batch:
    """A random batch with everything that belongs to it, 0 in dy and directions where masked."""

    def __init__(self, shape, channel_axis, rng, *, masked=False, eps=0.1):
        self.x, self.dy = rng.standard_normal((2, *shape))
        self.gamma = 0.5 + rng.random(shape[channel_axis])
        self.beta = rng.standard_normal(shape[channel_axis])
        self.where = rng.random(shape) < 0.8 if masked else None
        if masked:  # but no channel as a whole
            np.moveaxis(self.where, channel_axis, 0)[:, 0] = True
        self.eps, self.rng, self.channel_axis = eps, rng, channel_axis

    @property
    def inputs(self):
        """Return x, gamma and beta."""
        return [self.x, self.gamma, self.beta]

    def forward(self, x, gamma=None, beta=None):
        """Return y and cache."""
        rule = {"eps": self.eps, "channel_axis": self.channel_axis, "where": self.where}
        return batch_norm_train(x, gamma, beta, **rule)

    def cache(self):
        """Return the cache of the forward pass of the inputs."""
        return self.forward(*self.inputs)[1]

    def statistics(self):
        """Return statistics for inference that are not those of the batch, eps and the axis."""
        rule = {"eps": self.eps, "channel_axis": self.channel_axis}
        return rule | {"mean": 1 - self.beta, "var": 2 * self.gamma}

    def direction(self, parts):
        """Return a random direction of these inputs, None for the others."""
        shapes = {"x": self.x.shape, "gamma": self.gamma.shape, "beta": self.beta.shape}
        return Gradients(
            *(self.rng.standard_normal(s) if p in parts else None for p, s in shapes.items())
        )

    @staticmethod
    def only(upstream, parts):
        """Return some of the cotangents, None for the others."""
        return Gradients(*(getattr(upstream, f) if f in parts else None for f in upstream._fields))

    def unpacked(self, flat, parts):
        """Return the cotangents that lie one after the other in a vector, None for the others."""
        cotangents = dict.fromkeys(Gradients._fields)
        for part in parts:
            shape = getattr(self, part).shape
            cotangents[part], flat = np.split(flat, [np.prod(shape)])
            cotangents[part] = cotangents[part].reshape(shape)
        return Gradients(**cotangents)

    def second(self, one, other):
        """Return the derivative along another direction of y_dot along one."""

        def y_dot(*inputs):
            _, cache = self.forward(*inputs)
            return batch_norm_jvp(one[0], cache, *one[1:])

        with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
            return complex_step(y_dot, self.inputs, other)


def check(forward, backward, arguments, derivative):
    """Check a backward pass, as sharply as the derivative allows."""
    # complex step: rounding of some 100 terms; central difference: U^(2/3) = 2e-11, curvature 100
    tolerance = 1e-13 if derivative is complex_step else 1e-8
    with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
        check_backward(forward, backward, arguments, derivative=derivative, tolerance=tolerance)


def along(direction, batch, gamma=None, beta=None):
    """Return y_dot of inference along a direction, of this batch."""
    rule = {"gamma": gamma, "beta": beta} | batch.statistics()
    return batch_norm_infer_jvp(
        direction.x, batch.x, gamma_dot=direction.gamma, beta_dot=direction.beta, **rule
    )


def weighted(rng):
    """Return inputs of a linear layer, its weights, and a gradient of its normalised output."""
    return rng.standard_normal((12, 5)), rng.standard_normal((5, 2)), rng.standard_normal((12, 2))


def column(*values):
    """Return a batch of one channel with these values."""
    return np.array(values, dtype=np.float64)[:, np.newaxis]
