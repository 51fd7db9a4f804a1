r"""Check anybody's backward pass with two random vectors and one number.

A backward pass computes \(dx = J^\mathsf{T} dy\) for the Jacobian \(J\) of the forward pass. For
every direction \(v\) therefore

$$\langle dy, J v \rangle = \langle J^\mathsf{T} dy, v \rangle.$$

The left side needs the forward pass only: \(J v\) is its derivative along \(v\). The right side
needs the backward pass only. If they agree for random \(dy\) and \(v\), the backward pass is right.

Random \(dy\) matters. For batch norm the loss \(\sum y\) has \(dy = 1\), and then the exact
gradients of x and gamma are 0: a backward pass that returns zeros would pass that test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Forward = Callable[..., Array]
Derivative = Callable[[Forward, Sequence[Array], Sequence[Array]], Array]


def central_difference(
    forward: Forward, arguments: Sequence[Array], directions: Sequence[Array], step: float = 6e-6
) -> Array:
    r"""Return the derivative of a function along a direction, by two evaluations.

    $$J v \approx \frac{f(a + h v) - f(a - h v)}{2 h}$$

    The error has a part \(h^2\) from the curvature of the function and a part \(u / h\) from
    rounding, with \(u = 2.2 \cdot 10^{-16}\). Their sum is least near \(h = u^{1/3}\), the default,
    where some ten digits are right: for a function and arguments of order 1. Far from that, with
    values near a million or a spread of a thousandth, no step is right; use the complex step.

    Args:
        forward: Function of arrays that returns an array; float64.
        arguments: Where to differentiate, one array per argument.
        directions: Direction \(v\), one array per argument, of the same shapes.
        step: \(h\).

    Returns:
        The derivative, of the shape of the function's value.

    Examples:
        >>> slope = central_difference(np.square, [np.array(3.0)], [np.array(1.0)])
        >>> round(float(slope), 6)
        6.0
    """
    ahead = forward(*(a + step * v for a, v in zip(arguments, directions, strict=True)))
    behind = forward(*(a - step * v for a, v in zip(arguments, directions, strict=True)))
    return np.asarray((ahead - behind) / (2 * step))


def complex_step(
    forward: Forward, arguments: Sequence[Array], directions: Sequence[Array], step: float = 1e-200
) -> Array:
    r"""Return the derivative of a function along a direction, by one complex evaluation.

    $$J v = \frac{\operatorname{Im} f(a + \mathrm{i} h v)}{h}$$

    Nothing is subtracted, so \(h\) can be so small that the result is exact to rounding. The
    function must be analytic and keep the imaginary part. The functions of `refbn` do. A forward
    pass that calls `np.var` or `np.abs` does not: `np.var` of complex numbers is real, and the
    result is then, silently, the derivative with the variance held fixed.

    Args:
        forward: Analytic function of arrays that returns an array.
        arguments: Where to differentiate, one float64 array per argument.
        directions: Direction \(v\), one array per argument, of the same shapes.
        step: \(h\).

    Returns:
        The derivative, of the shape of the function's value.

    Raises:
        TypeError: If the function returns a real array, so that the imaginary part was lost.

    Examples:
        >>> complex_step(np.exp, [np.array(0.0)], [np.array(1.0)])
        np.float64(1.0)

    References:
        Squire and Trapp (1998), Using Complex Variables to Estimate Derivatives of Real Functions,
        SIAM Review 40(1):110-112.
    """
    value = np.asarray(
        forward(*(a + 1j * step * v for a, v in zip(arguments, directions, strict=True)))
    )
    if value.dtype.kind != "c":
        raise TypeError(
            "complex_step needs a function that keeps the imaginary part; "
            f"got a value of dtype {value.dtype}. Use central_difference instead."
        )
    return (value.imag / step)[()]


def adjoint_errors(
    forward: Forward,
    backward: Callable[..., Sequence[Array]],
    arguments: Sequence[npt.ArrayLike],
    *,
    derivative: Derivative = central_difference,
    seed: int = 0,
) -> list[float]:
    r"""Compare both sides of the adjoint identity, for one argument after the other.

    $$\text{error} = \frac{|\langle dy, J v \rangle - \langle dx, v \rangle|}
    {\lVert dy \rVert\, \lVert J v \rVert + \lVert dx \rVert\, \lVert v \rVert}$$

    Args:
        forward: Function of the arguments that returns the output \(y\).
        backward: Function of `dy` and the arguments that returns one gradient per argument.
        arguments: Real arrays; they are converted to float64.
        derivative: How to get \(J v\):
            [`central_difference`][refbn.gradcheck.central_difference] or
            [`complex_step`][refbn.gradcheck.complex_step].
        seed: Seed of the random `dy` and directions. The directions lean towards the gradient,
            so that a wrong scale shows in large arrays too.

    Returns:
        One error per argument, from 0 to 1. A right backward pass gives about 1e-10 with central
        differences and 1e-16 with the complex step.

    Raises:
        TypeError: If `arguments` is one array, or `forward` returns a tuple.
        ValueError: If there is not one gradient per argument, each of the argument's shape.
    """
    if isinstance(arguments, np.ndarray):
        raise TypeError(
            "arguments must be a list, with one array for each argument of forward; "
            f"got an array of shape {arguments.shape}. Pass [x], not x."
        )
    rng = np.random.default_rng([seed, *b"gradcheck"])  # not the numbers that x was drawn from
    arrays = [np.array(a, dtype=np.float64) for a in arguments]
    # copies, so that a pass that works in place cannot change what is compared
    y = forward(*(a.copy() for a in arrays))
    if isinstance(y, tuple):
        raise TypeError(
            f"forward must return the output alone; got a tuple of {len(y)}. "
            "Leave the cache out: lambda *arguments: forward(*arguments)[0]."
        )
    dy = rng.standard_normal(np.shape(y))
    gradients = [np.asarray(g) for g in backward(dy.copy(), *(a.copy() for a in arrays))]
    expected, received = [a.shape for a in arrays], [g.shape for g in gradients]
    if expected != received:
        raise ValueError(
            "backward must return one gradient for each argument, of the argument's shape; "
            f"got gradients of shapes {received} for arguments of shapes {expected}."
        )
    errors = []
    for i, gradient in enumerate(gradients):
        directions = [np.zeros_like(a) for a in arrays]
        directions[i] = v = _direction(rng, gradient)
        jv = derivative(forward, arrays, directions)
        gap = float(abs(np.vdot(dy, jv) - np.vdot(gradient, v)))
        scale = _norm(dy) * _norm(jv) + _norm(gradient) * _norm(v)
        errors.append(0.0 if scale == 0 else gap / scale)
    return errors


def check_backward(
    forward: Forward,
    backward: Callable[..., Sequence[Array]],
    arguments: Sequence[npt.ArrayLike],
    *,
    derivative: Derivative = central_difference,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> None:
    r"""Raise an AssertionError if a backward pass is not the adjoint of its forward pass.

    Args:
        forward: Function of the arguments that returns the output.
        backward: Function of `dy` and the arguments that returns one gradient per argument.
        arguments: Real arrays; they are converted to float64.
        derivative: How to differentiate the forward pass.
        tolerance: Largest error that passes. The default is far above the rounding of central
            differences, about 1e-10, and far below a mistake of 0.1 %.
        seed: Seed of the random `dy` and directions.

    Raises:
        AssertionError: If an error is above the tolerance or not a number; it says which.
        TypeError: If `arguments` is one array, or `forward` returns a tuple.
        ValueError: If there is not one gradient per argument, each of the argument's shape.

    Examples:
        >>> check_backward(np.sin, lambda dy, x: [dy * np.cos(x)], [np.linspace(0, 1, 5)])
        >>> check_backward(np.sin, lambda dy, x: [dy * np.sin(x)], [np.linspace(0, 1, 5)])
        Traceback (most recent call last):
        AssertionError: the backward pass must be the adjoint ... for argument 0...
    """
    errors = adjoint_errors(forward, backward, arguments, derivative=derivative, seed=seed)
    for i, error in enumerate(errors):
        if not error <= tolerance:
            raise AssertionError(
                f"the backward pass must be the adjoint of the forward pass to {tolerance:g}; "
                f"got an error of {error:.2g} for argument {i}. "
                "Look for a term that is missing or scaled wrongly. Differences also need "
                "arguments of order 1; for others pass derivative=complex_step."
            )


def _direction(rng: np.random.Generator, gradient: Array) -> Array:
    """Return a random direction that leans towards the gradient that is being checked.

    In many dimensions a random direction is nearly orthogonal to the gradient, and would hardly
    see that it is scaled wrongly.
    """
    largest = np.max(np.abs(gradient), initial=0.0)
    lean = gradient / largest if 0 < largest < np.inf else 0.0
    return np.asarray(rng.standard_normal(gradient.shape) + lean)


def _norm(array: Array) -> float:
    """Return the Euclidean length of all values together."""
    return float(np.linalg.norm(np.ravel(array)))
