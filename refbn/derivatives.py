r"""Differentiate forwards along a direction, and differentiate the backward pass once more.

Both are made of one map. When a batch moves along \(t\), its \(\hat{x}\) moves along
\(P(t) / \sqrt{\sigma^2 + \varepsilon}\), where

$$P(t) = t - \frac{1}{n} \sum t - \hat{x}\, \frac{1}{n} \sum t\, \hat{x}$$

is what is left of \(t\) after the mean and the variance have followed it. \(P\) is symmetric, so
forward mode multiplies by the same matrix as the backward pass. It takes a shift to 0, and
\(\hat{x}\) to \(\hat{x}\, \varepsilon / (\sigma^2 + \varepsilon)\); what is orthogonal to both it
leaves alone. Without \(\varepsilon\) it is a projection. At inference the statistics are constants:
there nothing follows, and \(P(t) = t\).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, as_floating, in_double, per_channel, propagate_silently, reduced_axes
from refbn.transform import Cache, Gradients, normalize


class DoubleGradients(NamedTuple):
    r"""Gradients of a number \(S\) computed from [`Gradients`][refbn.Gradients].

    Attributes:
        x: \(\partial S / \partial x\), of the shape and dtype of `x`.
        gamma: \(\partial S / \partial \gamma\), shape `(C,)` in float64, or None without gamma.
        dy: \(\partial S / \partial (dy)\), of the shape and dtype of `x`.
    """

    x: Array
    gamma: Array | None
    dy: Array


@propagate_silently
def batch_norm_jvp(
    x_dot: npt.ArrayLike | None,
    cache: Cache,
    gamma_dot: npt.ArrayLike | None = None,
    beta_dot: npt.ArrayLike | None = None,
) -> Array:
    r"""Carry a direction of the inputs forwards through a training batch norm.

    $$\dot{y} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}\, P(\dot{x})
    + \dot{\gamma}\, \hat{x} + \dot{\beta}, \qquad
    P(t) = t - \frac{1}{n} \sum t - \hat{x}\, \frac{1}{n} \sum t\, \hat{x}$$

    While the inputs move with the speeds \(\dot{x}\), \(\dot{\gamma}\) and \(\dot{\beta}\), the
    output moves with the speed \(\dot{y}\): the Jacobian-vector product of forward mode. The
    Jacobian with respect to \(x\) is symmetric, so \(\dot{x}\) alone gives what
    [`batch_norm_backward`][refbn.batch_norm_backward] gives for \(dy = \dot{x}\).

    Args:
        x_dot: Direction \(\dot{x}\), of the shape of `x`; floating; None stands for 0. Values that
            the mask left out are ignored, and may be NaN.
        cache: What the forward pass returned beside `y`.
        gamma_dot: Direction \(\dot{\gamma}\), shape `(C,)`; None stands for 0. An absent gamma
            counts as 1, and can move like any other.
        beta_dot: Direction \(\dot{\beta}\), shape `(C,)`; None stands for 0.

    Returns:
        \(\dot{y}\), of the shape and dtype of `x`; 0 where masked out.

    Raises:
        TypeError: If an array is not floating, or `cache` no Cache.
        ValueError: If a shape does not fit.

    Examples:
        >>> from refbn import batch_norm_train
        >>> y, cache = batch_norm_train([[0.0], [0.0], [2.0], [2.0]], eps=0.0)
        >>> batch_norm_jvp([[1.0], [0.0], [0.0], [0.0]], cache).ravel()
        array([ 0.5, -0.5,  0. ,  0. ])
    """
    x_hat, gamma, inv_std = _opened(cache)
    p = _project(_values("x_dot", x_dot, cache), x_hat, cache)
    u, w = _channels("gamma_dot", gamma_dot, cache), _channels("beta_dot", beta_dot, cache)
    return _result(gamma * inv_std * p + u * x_hat + w, cache)


@propagate_silently
def batch_norm_double_backward(
    upstream: Gradients, dy: npt.ArrayLike, cache: Cache
) -> DoubleGradients:
    r"""Differentiate the training backward pass: the gradient of a loss made of gradients.

    The cotangents \(v\), \(u\) and \(w\) of the three gradients are to them what \(dy\) is to
    \(y\). They make a number of which the gradient is returned,

    $$S = \langle v, dx \rangle + \langle u, d\gamma \rangle + \langle w, d\beta \rangle
    = \langle dy, \dot{y} \rangle,$$

    where \(\dot{y}\) is the output of [`batch_norm_jvp`][refbn.batch_norm_jvp] for the directions
    \(v\), \(u\), \(w\). With \(s = \sqrt{\sigma^2 + \varepsilon}\), the map \(P\) given there, and
    the means \(m = \frac{1}{n} \sum dy\, \hat{x}\), \(a = \frac{1}{n} \sum v\, \hat{x}\),
    \(c = \frac{1}{n} \sum v\, P(dy)\),

    $$\frac{\partial S}{\partial x} = \frac{u}{s}\, P(dy) - \frac{\gamma}{s^2}
    \bigl( m\, P(v) + a\, P(dy) + c\, \hat{x} \bigr), \qquad
    \frac{\partial S}{\partial \gamma} = \frac{1}{s} \sum v\, P(dy), \qquad
    \frac{\partial S}{\partial (dy)} = \dot{y}.$$

    A shift of the batch changes no gradient, so \(\partial S / \partial x\) sums to 0.

    Args:
        upstream: Cotangents, each of the shape of the gradient it belongs to: `x` is \(v\),
            `gamma` is \(u\), `beta` is \(w\). None stands for 0.
        dy: What the backward pass was given.
        cache: What the backward pass was given beside it.

    Returns:
        Gradients of \(S\) with respect to `x`, `gamma` and `dy`. Beta is in no gradient, so there
        is none with respect to it.

    Raises:
        TypeError: If `upstream` is no Gradients, `cache` no Cache, or an array not floating.
        ValueError: If a shape does not fit.

    Examples:
        >>> from refbn import Gradients, batch_norm_train
        >>> y, cache = batch_norm_train([[0.0], [0.0], [2.0], [2.0]], eps=0.0)
        >>> first = np.array([[1.0], [0.0], [0.0], [0.0]])
        >>> upstream = Gradients(x=first, gamma=None, beta=None)  # S is the first value of dx
        >>> batch_norm_double_backward(upstream, first, cache).x.ravel()
        array([ 0.375, -0.125, -0.125, -0.125])
    """
    x_hat, gamma, inv_std = _opened(cache)
    v, u, w = _cotangents(upstream, cache)
    dy = _values("dy", dy, cache)
    p_v, p_dy = _project(v, x_hat, cache), _project(dy, x_hat, cache)
    m, a, c = (_mean(t, cache) for t in (dy * x_hat, v * x_hat, v * p_dy))
    dx = u * inv_std * p_dy - gamma * inv_std**2 * (m * p_v + a * p_dy + c * x_hat)
    dgamma = np.sum(v * p_dy * inv_std, axis=reduced_axes(v.shape, cache.channel_axis))
    y_dot = gamma * inv_std * p_v + u * x_hat + w
    return DoubleGradients(
        x=_result(dx, cache),
        gamma=None if cache.gamma is None else dgamma,
        dy=_result(y_dot, cache),
    )


@propagate_silently
def batch_norm_infer_jvp(
    x_dot: npt.ArrayLike | None,
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    gamma_dot: npt.ArrayLike | None = None,
    beta_dot: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> Array:
    r"""Carry a direction of the inputs forwards through an inference batch norm.

    $$\dot{y} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}\, \dot{x}
    + \dot{\gamma}\, \hat{x} + \dot{\beta}$$

    The statistics are constants here, and take nothing away from the direction.

    Args:
        x_dot: Direction \(\dot{x}\), of the shape of `x`; floating; None stands for 0.
        x: The input of the forward pass.
        mean: Mean \(\mu\) of each channel, shape `(C,)`.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`.
        gamma: Scale \(\gamma\), shape `(C,)`, or None.
        beta: Shift \(\beta\), shape `(C,)`, or None.
        gamma_dot: Direction \(\dot{\gamma}\), shape `(C,)`; None stands for 0. An absent gamma
            counts as 1, and can move like any other.
        beta_dot: Direction \(\dot{\beta}\), shape `(C,)`; None stands for 0.
        eps: \(\varepsilon\), as in the forward pass.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        \(\dot{y}\), of the shape and dtype of `x`.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative, or both are 0.

    Examples:
        >>> batch_norm_infer_jvp([[1.0]], [[5.0]], [1.0], [4.0], [3.0], gamma_dot=[10.0], eps=0.0)
        array([[21.5]])
    """
    x = as_floating("x", x)
    x_hat = normalize(in_double(x), mean, var, eps=eps, channel_axis=channel_axis)
    line = _Line(x, channel_axis)
    _channels("beta", beta, line)  # checked as in the forward pass
    inv_std = 1.0 / np.sqrt(_channels("var", var, line) + eps)
    gamma = 1.0 if gamma is None else _channels("gamma", gamma, line)
    u, w = _channels("gamma_dot", gamma_dot, line), _channels("beta_dot", beta_dot, line)
    return _result(gamma * inv_std * _values("x_dot", x_dot, line) + u * x_hat + w, line)


@propagate_silently
def batch_norm_infer_double_backward(
    upstream: Gradients,
    dy: npt.ArrayLike,
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> DoubleGradients:
    r"""Differentiate the inference backward pass: the gradient of a loss made of gradients.

    Of \(S = \langle v, dx \rangle + \langle u, d\gamma \rangle + \langle w, d\beta \rangle\), with
    \(s = \sqrt{\sigma^2 + \varepsilon}\), the gradients are

    $$\frac{\partial S}{\partial x} = \frac{u}{s}\, dy, \qquad
    \frac{\partial S}{\partial \gamma} = \frac{1}{s} \sum v\, dy, \qquad
    \frac{\partial S}{\partial (dy)} = \frac{\gamma}{s}\, v + u\, \hat{x} + w.$$

    The statistics are constants here, so \(dx\) does not depend on \(x\); only \(d\gamma\) does.

    Args:
        upstream: Cotangents, each of the shape of the gradient it belongs to: `x` is \(v\),
            `gamma` is \(u\), `beta` is \(w\). None stands for 0.
        dy: What the backward pass was given.
        x: The input of the forward pass.
        mean: Mean \(\mu\) of each channel, shape `(C,)`.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`.
        gamma: Scale \(\gamma\), shape `(C,)`, or None.
        beta: Shift \(\beta\), shape `(C,)`, or None.
        eps: \(\varepsilon\), as in the forward pass.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        Gradients of \(S\) with respect to `x`, `gamma` and `dy`.

    Raises:
        TypeError: If `upstream` is no Gradients, or an array not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative, or both are 0.

    Examples:
        >>> from refbn import Gradients
        >>> upstream = Gradients(x=np.array([[7.0]]), gamma=None, beta=None)
        >>> given = {"x": [[5.0]], "mean": [1.0], "var": [4.0], "gamma": [3.0], "eps": 0.0}
        >>> batch_norm_infer_double_backward(upstream, [[2.0]], **given)
        DoubleGradients(x=array([[0.]]), gamma=array([7.]), dy=array([[10.5]]))
    """
    x = as_floating("x", x)
    x_hat = normalize(in_double(x), mean, var, eps=eps, channel_axis=channel_axis)
    line = _Line(x, channel_axis)
    _channels("beta", beta, line)  # checked as in the forward pass
    inv_std = 1.0 / np.sqrt(_channels("var", var, line) + eps)
    slope = inv_std if gamma is None else _channels("gamma", gamma, line) * inv_std
    v, u, w = _cotangents(upstream, line)
    dy = _values("dy", dy, line)
    dgamma = np.sum(v * dy * inv_std, axis=reduced_axes(x.shape, channel_axis))
    return DoubleGradients(
        x=_result(u * inv_std * dy, line),
        gamma=None if gamma is None else dgamma,
        dy=_result(slope * v + u * x_hat + w, line),
    )


class _Line(NamedTuple):
    """What stands for a cache where the statistics are constants, and y is a straight line."""

    x: Array
    channel_axis: int
    where: None = None


def _project(t: Array, x_hat: Array, cache: Cache) -> Array:
    """Return P(t): what is left of t after the mean and the variance have followed it."""
    return np.asarray(t - _mean(t, cache) - x_hat * _mean(t * x_hat, cache))


def _mean(t: Array, cache: Cache) -> Array:
    """Return the mean over the values that count, one per channel, to broadcast."""
    counts = np.True_ if cache.where is None else cache.where
    axis = reduced_axes(t.shape, cache.channel_axis)
    return np.asarray(np.mean(t, axis=axis, keepdims=True, where=counts))


def _opened(cache: Cache) -> tuple[Array, Array | float, Array | float]:
    """Return x_hat, gamma and inv_std, to broadcast; gamma is 1 where there is none."""
    if not isinstance(cache, Cache):
        raise TypeError(
            f"cache must be the Cache of the forward pass; got {type(cache).__name__}. "
            "batch_norm_train returns two values, y and the cache: pass the second."
        )
    cache.check_whole()
    gamma = 1.0 if cache.gamma is None else _channels("gamma", cache.gamma, cache)
    return cache.x_hat, gamma, _channels("inv_std", cache.inv_std, cache)


def _cotangents(
    upstream: Gradients, cache: Cache | _Line
) -> tuple[Array, Array | float, Array | float]:
    """Return v, u and w, to broadcast."""
    if not isinstance(upstream, Gradients):
        raise TypeError(
            f"upstream must be Gradients, one cotangent for each; got {type(upstream).__name__}. "
            "Pass Gradients(x=v, gamma=None, beta=None) for a function of dx alone."
        )
    u = _channels("upstream.gamma", upstream.gamma, cache)
    w = _channels("upstream.beta", upstream.beta, cache)
    return _values("upstream.x", upstream.x, cache), u, w


def _values(name: str, value: npt.ArrayLike | None, cache: Cache | _Line) -> Array:
    """Return an array of the shape of x in double precision, 0 where masked out or absent."""
    shape = cache.x.shape
    array = in_double(np.zeros(shape) if value is None else as_floating(name, value))
    if array.shape != shape:
        raise ValueError(
            f"{name} must have the shape of x, {shape}; got {name}.shape={array.shape}. "
            "Pass the array that belongs to this forward pass."
        )
    return array if cache.where is None else np.where(cache.where, array, 0.0)


def _channels(name: str, value: npt.ArrayLike | None, cache: Cache | _Line) -> Array | float:
    """Return one value per channel, to broadcast, or 0 where there is none."""
    shape = cache.x.shape
    return 0.0 if value is None else per_channel(name, value, shape, cache.channel_axis)


def _result(value: Array, cache: Cache | _Line) -> Array:
    """Return a result in the dtype of x, 0 where masked out; complex stays complex."""
    kept = np.asarray(value if cache.where is None else np.where(cache.where, value, 0.0))
    return kept if kept.dtype.kind == "c" else kept.astype(cache.x.dtype, copy=False)
