"""The checker is checked: right derivatives pass, and each known mistake fails."""

import re

import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st

from refbn import batch_norm_backward, batch_norm_train
from refbn.gradcheck import adjoint_errors, central_difference, check_backward, complex_step

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
METHODS = [central_difference, complex_step]


@pytest.fixture(autouse=True)
def _underflow_is_meant():
    """Let the square of the complex step vanish: that is how the method works."""
    with np.errstate(under="ignore"):
        yield


# Worked example by hand


def test_the_slope_of_a_square():
    """The derivative of x² at 3 along 2 is 12; for a square the central difference is exact too."""
    arguments, directions = [np.array(3.0)], [np.array(2.0)]
    assert complex_step(np.square, arguments, directions) == 12.0
    # rounding of numbers near 9, divided by twice the step
    slope = central_difference(np.square, arguments, directions)
    assert abs(slope - 12.0) <= 4 * 9 * U / 6e-6
    assert central_difference(np.square, arguments, directions, step=0.5) == 12.0


def test_an_error_by_hand():
    """For y = x and dx = 2 dy, of one number each, the error is |1 - 2| / (1 + 2)."""
    (error,) = adjoint_errors(lambda x: x, lambda dy, x: [2 * dy + 0 * x], [[1.0]])
    np.testing.assert_allclose(error, 1 / 3, rtol=1e-9)  # what the central difference leaves


# Laws


@pytest.mark.parametrize("derivative", METHODS)
def test_both_methods_give_the_derivative(derivative, rng):
    """Of a function of two arguments they give the directional derivative in both together."""
    a, b, v, w = 1 + rng.random((4, 5))
    slope = derivative(lambda a, b: a * np.exp(b), [a, b], [v, w])
    # the complex step is exact; the central difference is right to U^(2/3) times numbers near 10
    rtol = 16 * U if derivative is complex_step else 1e-9
    np.testing.assert_allclose(slope, (v + a * w) * np.exp(b), rtol=rtol)


@given(step=st.sampled_from([1e-3, 1e-4]))
def test_the_central_difference_is_of_second_order(step):
    """Halving the step quarters the error, as it is the third derivative times h² / 6."""
    one = [np.array(1.0)]
    error = central_difference(np.exp, one, one, step=step) - np.e
    np.testing.assert_allclose(error, np.e * step**2 / 6, rtol=1e-2)


@pytest.mark.parametrize("derivative", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_right_derivatives_pass(derivative, seed, rng):
    """The batch norm of this package passes for every seed, to the precision of the method."""
    errors = adjoint_errors(forward, backward, arguments(rng), derivative=derivative, seed=seed)
    assert len(errors) == 3
    assert max(errors) < (1e-15 if derivative is complex_step else 1e-9)
    assert all(type(error) is float for error in errors)
    check_backward(forward, backward, arguments(rng), derivative=derivative, seed=seed)


def scaled(dy, *given_):
    """Return gradients whose dx is wrong by 0.1 %."""
    dx, dgamma, dbeta = backward(dy, *given_)
    return dx * 1.001, dgamma, dbeta


def without_mean(dy, x, gamma, beta):
    """Return gradients whose dx lacks the path through the mean."""
    dx, dgamma, dbeta = backward(dy, x, gamma, beta)
    inv_std = batch_norm_train(x, eps=0.1)[1].inv_std
    return dx + gamma * inv_std * dy.mean(axis=0), dgamma, dbeta


def without_variance(dy, x, gamma, beta):
    """Return gradients whose dx lacks the path through the variance."""
    dx, dgamma, dbeta = backward(dy, x, gamma, beta)
    x_hat, cache = batch_norm_train(x, eps=0.1)
    return dx + gamma * cache.inv_std * x_hat * np.mean(dy * x_hat, axis=0), dgamma, dbeta


def with_a_wrong_gamma(dy, *given_):
    """Return gradients whose dgamma is wrong by 0.1 %."""
    dx, dgamma, dbeta = backward(dy, *given_)
    return dx, dgamma * 0.999, dbeta


def with_a_wrong_beta(dy, *given_):
    """Return gradients whose dbeta is a mean and not a sum."""
    dx, dgamma, dbeta = backward(dy, *given_)
    return dx, dgamma, dbeta / len(dy)


def of_zeros(dy, x, gamma, beta):
    """Return zeros, which are the right gradients for dy = 1."""
    return np.zeros_like(x), np.zeros_like(gamma), dy.sum(axis=0) + 0 * beta


@pytest.mark.parametrize("derivative", METHODS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        (scaled, 0),
        (without_mean, 0),
        (without_variance, 0),
        (with_a_wrong_gamma, 1),
        (with_a_wrong_beta, 2),
        (of_zeros, 0),
    ],
)
def test_wrong_derivatives_fail(wrong, argument, derivative, seed, rng):
    """An error of 0.1 %, or a dropped term, fails, with the argument that it belongs to."""
    pattern = (
        r"^the backward pass must be the adjoint of the forward pass to 1e-06; "
        rf"got an error of \d(\.\d)?(e-\d\d)?\d* for argument {argument}\. "
        r"Look for a term that is missing or scaled wrongly\. Differences also need "
        r"arguments of order 1; for others pass derivative=complex_step\.\Z"
    )
    with pytest.raises(AssertionError, match=pattern):
        check_backward(forward, wrong, arguments(rng), derivative=derivative, seed=seed)


def test_every_argument_is_perturbed_alone():
    """A mistake in one gradient shows in its own error only."""
    x = np.arange(1.0, 4.0)
    errors = adjoint_errors(
        lambda a, b: a * b, lambda dy, a, b: [dy * b, 2 * dy * a], [x, x], derivative=complex_step
    )
    assert errors[0] < 1e-15
    assert errors[1] > 0.01


def test_the_seed_chooses_the_vectors():
    """Equal seeds give equal errors, another seed another one."""
    rule = np.sin, lambda dy, x: [2 * dy * np.cos(x)], [np.ones(3)]
    errors = {adjoint_errors(*rule, seed=seed)[0]: seed for seed in range(5)}
    assert len(errors) == 5
    assert errors[adjoint_errors(*rule)[0]] == 0
    smallest, *_, largest = sorted(errors)
    check_backward(*rule, seed=errors[smallest], tolerance=smallest)
    with pytest.raises(AssertionError, match="for argument 0"):
        check_backward(*rule, seed=errors[largest], tolerance=smallest)


@pytest.mark.parametrize("size", [1, 100, 10_000, 1_000_000])
@pytest.mark.parametrize("derivative", METHODS)
def test_a_wrong_scale_shows_in_arrays_of_any_size(derivative, size, rng):
    """An error of 0.1 % in every value fails with the default tolerance, however many there are."""
    x = rng.standard_normal(size)
    check_backward(np.sin, lambda dy, x: [dy * np.cos(x)], [x], derivative=derivative)
    with pytest.raises(AssertionError):
        check_backward(np.sin, lambda dy, x: [1.001 * dy * np.cos(x)], [x], derivative=derivative)


# Edges and errors


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("derivative", METHODS)
def test_a_gradient_that_is_not_finite_fails(value, derivative):
    """NaN or Inf in a gradient is not a right gradient."""
    message = (
        "the backward pass must be the adjoint of the forward pass to 1e-06; "
        "got an error of nan for argument 0. Look for a term that is missing or scaled wrongly. "
        "Differences also need arguments of order 1; for others pass derivative=complex_step."
    )
    gradient = np.array([0.0, value, 0.0])
    with pytest.raises(AssertionError, match=whole(message)):
        check_backward(np.sin, lambda *_: [gradient], [np.ones(3)], derivative=derivative)


def test_the_tolerance_is_the_callers():
    """The largest error that passes can be chosen, and is in the message."""
    rule = np.sin, lambda dy, x: [1.001 * dy * np.cos(x)], [np.ones(1)]
    check_backward(*rule, tolerance=1e-3)
    message = "the adjoint of the forward pass to 0.0001; got an error of 0.0005 for argument 0"
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_backward(*rule, tolerance=1e-4)


def test_an_error_at_the_tolerance_passes():
    """The tolerance itself still passes."""
    rule = np.sin, lambda dy, x: [1.5 * dy * np.cos(x)], [np.ones(1)]
    (error,) = adjoint_errors(*rule)
    check_backward(*rule, tolerance=error)


def test_no_gradient_of_a_constant():
    """Where nothing depends on the argument the gradient 0 is right, and another is not."""
    assert adjoint_errors(np.ones_like, lambda dy, x: [0 * dy * x], [np.ones(3)]) == [0.0]
    assert adjoint_errors(np.ones_like, lambda dy, x: [dy * x], [np.ones(3)]) != [0.0]


def test_arguments_are_converted_to_double():
    """Integers and single precision are differentiated in float64."""
    seen = []

    def spy(dy, x):
        seen.append((dy.dtype, x.dtype))
        return [2 * x * dy]

    check_backward(np.square, spy, [np.arange(3)])
    check_backward(np.square, spy, [np.ones(3, np.float32)])
    assert seen == [(np.float64, np.float64)] * 2


def test_functions_that_write_to_their_arguments_do_no_harm():
    """Neither a forward nor a backward pass that works in place can change what is compared."""

    def square_in_place(x):
        x *= x
        return x

    def zeros_in_place(dy, x):
        x *= 0
        dy *= 0
        return [dy]

    x = np.full(3, 2.0)
    assert adjoint_errors(square_in_place, lambda dy, _: [4 * dy], [x])[0] < 1e-9
    assert adjoint_errors(np.square, zeros_in_place, [x])[0] > 0.01
    assert x.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("gradients", "shapes"),
    [([], []), ([np.ones(3)] * 2, [(3,), (3,)]), ([np.ones((3, 1))], [(3, 1)]), ([1.0], [()])],
)
def test_other_numbers_or_shapes_of_gradients_are_refused(gradients, shapes):
    """There must be one gradient for each argument, of the argument's shape."""
    message = (
        "backward must return one gradient for each argument, of the argument's shape; "
        f"got gradients of shapes {shapes} for arguments of shapes [(3,)]."
    )
    for check in (adjoint_errors, check_backward):
        with pytest.raises(ValueError, match=whole(message)):
            check(np.sin, lambda *_: gradients, [np.ones(3)])


@pytest.mark.parametrize("method", METHODS)
def test_one_direction_for_each_argument(method):
    """Arguments and directions must be equally many."""
    with pytest.raises(ValueError, match="zip"):
        method(np.sin, [np.ones(3)], [])


@pytest.mark.parametrize("drop", [np.real, lambda x: np.abs(x) ** 2])
def test_a_lost_imaginary_part_is_refused(drop):
    """The complex step says so when a function returns real numbers."""
    message = (
        "complex_step needs a function that keeps the imaginary part; "
        "got a value of dtype float64. Use central_difference instead."
    )
    with pytest.raises(TypeError, match=whole(message)):
        complex_step(drop, [np.ones(3)], [np.ones(3)])


def test_the_variance_of_numpy_is_a_trap(rng):
    """np.var drops the imaginary part, and the complex step takes the variance for a constant."""
    x, v = rng.standard_normal((2, 9))
    var = np.var(x)

    def trap(x):
        return (x - np.mean(x)) / np.sqrt(np.var(x))

    frozen = (v - v.mean()) / np.sqrt(var)
    np.testing.assert_allclose(complex_step(trap, [x], [v]), frozen, rtol=0, atol=99 * U)
    right = frozen - trap(x) * np.mean(trap(x) * v) / np.sqrt(var)
    np.testing.assert_allclose(central_difference(trap, [x], [v]), right, rtol=0, atol=1e-8)
    ours = complex_step(lambda x: batch_norm_train(x, eps=0.0)[0], [x[:, None]], [v[:, None]])
    np.testing.assert_allclose(ours[:, 0], right, rtol=0, atol=99 * U)


# Oracles


def test_against_the_whole_jacobian(rng):
    """Both sides of the identity are those of the Jacobian, written out column by column."""
    x = rng.standard_normal(4)
    mix = rng.standard_normal((3, 4))

    def tanh_of_mix(x):
        return np.tanh(mix @ x)

    columns = [complex_step(tanh_of_mix, [x], [e]) for e in np.eye(4)]
    jacobian = (1 - np.tanh(mix @ x) ** 2)[:, np.newaxis] * mix
    np.testing.assert_allclose(np.transpose(columns), jacobian, rtol=0, atol=16 * U)
    check_backward(tanh_of_mix, lambda dy, _: [jacobian.T @ dy], [x])
    with pytest.raises(AssertionError, match="for argument 0"):
        check_backward(lambda x: mix[:, :3] @ x, lambda dy, _: [mix[:, :3] @ dy], [x[:3]])


def forward(x, gamma, beta):
    """Return the batch norm under test."""
    return batch_norm_train(x, gamma, beta, eps=0.1)[0]


def backward(dy, x, gamma, beta):
    """Return its right gradients."""
    return batch_norm_backward(dy, batch_norm_train(x, gamma, beta, eps=0.1)[1])


def arguments(rng):
    """Return a batch, a scale and a shift."""
    return [rng.standard_normal((8, 3)), 1 + rng.random(3), rng.standard_normal(3)]


def test_arguments_are_a_list():
    """One array in the place of the list of arguments is told apart from such a list."""
    message = (
        "arguments must be a list, with one array for each argument of forward; "
        "got an array of shape (6,). Pass [x], not x."
    )
    with pytest.raises(TypeError, match=whole(message)):
        check_backward(np.sin, lambda dy, x: [dy * np.cos(x)], np.linspace(0, 1, 6))


def test_a_forward_pass_returns_its_output_alone(rng):
    """A forward pass of refbn returns a cache too, which is to be left out."""
    message = (
        "forward must return the output alone; got a tuple of 2. "
        "Leave the cache out: lambda *arguments: forward(*arguments)[0]."
    )
    with pytest.raises(TypeError, match=whole(message)):
        check_backward(batch_norm_train, lambda dy, _: [dy], [rng.standard_normal((5, 2))])


@pytest.mark.parametrize("seed", [0, 1])
def test_data_of_the_same_seed_are_no_excuse(seed):
    """Where x comes from default_rng(seed), a gradient of zeros is noticed all the same."""
    x = np.random.default_rng(seed).normal(3, 2, size=(5, 8))
    with pytest.raises(AssertionError, match="must be the adjoint"):
        check_backward(lambda x: batch_norm_train(x)[0], lambda dy, _: [0 * dy], [x], seed=seed)
