r"""Normalise with given statistics, and train by normalising with the batch's own.

This is the whole of batch normalisation. Training takes the moments of the batch and normalises
with them; inference normalises with moments that somebody kept. What makes training special is its
derivative: there, mean and variance are functions of the batch too.

Everywhere in this module \(\varepsilon\) (`eps`) stands *inside* the root,

$$\hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y = \gamma \hat{x} + \beta.$$

References:
    Ioffe and Szegedy (2015), Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift, PMLR 37:448-456, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from refbn.axes import (
    Array,
    as_floating,
    as_mask,
    check_eps,
    expand,
    in_double,
    per_channel,
    propagate_silently,
    reduced_axes,
)
from refbn.moments import Moments


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    r"""What the training forward pass hands on: to the backward pass, and to running statistics.

    Keeping \(\hat{x}\) costs one array of the size of the batch. Recomputing it from \(x\) would
    save that, but would go wrong silently if \(x\) were changed in place in between.

    Attributes:
        x_hat: Normalised batch \(\hat{x}\), the shape of `x`, in float64; 0 where masked out.
        inv_std: \(1 / \sqrt{\sigma^2 + \varepsilon}\), shape `(C,)`.
        moments: Moments of the batch, each field of shape `(C,)`; running statistics are updated
            with them.
        gamma: Scale \(\gamma\), shape `(C,)`, or None where there was none.
        has_beta: Whether there was a shift \(\beta\).
        where: Mask of the shape of `x`, or None.
        channel_axis: The axis of the channels.
        dtype: dtype of `x`, in which its gradient comes back.
    """

    x_hat: Array
    inv_std: Array
    moments: Moments
    gamma: Array | None
    has_beta: bool
    where: Array | None
    channel_axis: int
    dtype: np.dtype[np.generic]

    def __post_init__(self) -> None:
        """Make the arrays read-only, so that a value stays what it was."""
        for array in (self.x_hat, self.inv_std, self.gamma, self.where):
            if array is not None:
                array.flags.writeable = False


class Gradients(NamedTuple):
    r"""Gradients of the loss with respect to the inputs of a batch norm.

    Attributes:
        x: \(\partial L / \partial x\), of the shape and dtype of `x`.
        gamma: \(\partial L / \partial \gamma\), shape `(C,)` in float64, or None without gamma.
        beta: \(\partial L / \partial \beta\), shape `(C,)` in float64, or None without beta.
    """

    x: Array
    gamma: Array | None
    beta: Array | None


@propagate_silently
def normalize(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> Array:
    r"""Subtract a mean and divide by a standard deviation, both given.

    $$\hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}$$

    Whatever the statistics are, each value is treated on its own: no value depends on another.

    Args:
        x: Array of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating.
        mean: Mean \(\mu\) of each channel, shape `(C,)`.
        var: Variance \(\sigma^2\) of each channel, not negative, shape `(C,)`.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        \(\hat{x}\), of the shape and dtype of `x`.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative,
            or both are 0.

    Examples:
        >>> normalize([[1.0], [3.0]], mean=[1.0], var=[4.0], eps=0.0)
        array([[0.],
               [1.]])
    """
    x = as_floating("x", x)
    x_hat, _ = _normalize(x, mean, var, eps, channel_axis)
    return _in(x.dtype, x_hat)


@propagate_silently
def batch_norm_train(
    x: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
    where: npt.ArrayLike | None = None,
) -> tuple[Array, Cache]:
    r"""Normalise a batch with its own mean and variance, then scale and shift.

    $$\mu = \frac{1}{n} \sum_i x_i, \qquad \sigma^2 = \frac{1}{n} \sum_i (x_i - \mu)^2, \qquad
    y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta$$

    The sums run over all axes but the channels, so \(n\) is `N` times the product of the spatial
    lengths. The variance is the biased one, divided by \(n\). The output has the mean \(\beta\)
    and the standard deviation \(|\gamma| \sqrt{\sigma^2 / (\sigma^2 + \varepsilon)}\), a little
    less than \(|\gamma|\). With one finite value per channel the output is \(\beta\).

    Args:
        x: Batch of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.
        where: Booleans that broadcast to the shape of `x`, True at the values that count. The
            others, which may be NaN, take no part in the statistics, and their output is 0.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`Cache`][refbn.Cache] for
        [`batch_norm_backward`][refbn.batch_norm_backward].

    Raises:
        TypeError: If an array is not floating, or `where` not boolean.
        ValueError: If a shape does not fit, `eps` is negative, a channel has no values, or one is
            constant and `eps` is 0.

    Examples:
        >>> y, cache = batch_norm_train([[1.0], [3.0]], eps=0.0)
        >>> y
        array([[-1.],
               [ 1.]])
        >>> cache.moments.var()
        array([1.])

    References:
        Ioffe and Szegedy (2015), algorithm 1.
    """
    x = as_floating("x", x)
    axis = reduced_axes(x.shape, channel_axis)
    mask = as_mask(where, x.shape)
    moments = Moments.of(x, axis=axis, where=mask)
    if np.any(moments.count == 0):
        raise ValueError(
            "training needs at least 1 value per channel to take a mean of; "
            f"got none in channels {np.flatnonzero(moments.count == 0).tolist()} "
            f"for x.shape={x.shape}. Leave out empty batches, or use batch_norm_infer."
        )
    kept = x if mask is None else np.where(mask, x, x.dtype.type(0))
    x_hat, inv_std = _normalize(kept, moments.mean, moments.var(), eps, channel_axis)
    y = _scale_and_shift(x_hat, gamma, beta, channel_axis)
    if mask is not None:
        x_hat, y = np.where(mask, x_hat, 0.0), np.where(mask, y, 0.0)
    elif y is x_hat:  # the cache keeps x_hat, and y is the caller's to change
        y = x_hat.copy()
    cache = Cache(
        x_hat=x_hat,
        inv_std=inv_std,
        moments=moments,
        gamma=None if gamma is None else np.array(gamma),
        has_beta=beta is not None,
        where=None if mask is None else mask.copy(),
        channel_axis=channel_axis,
        dtype=x.dtype,
    )
    return _in(x.dtype, y), cache


@propagate_silently
def batch_norm_backward(dy: npt.ArrayLike, cache: Cache) -> Gradients:
    r"""Carry the gradient of the loss back through a training batch norm.

    $$\frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} \Bigl(
    dy - \underbrace{\frac{1}{n} \sum dy}_{\text{through } \mu}
    - \underbrace{\hat{x} \frac{1}{n} \sum dy\, \hat{x}}_{\text{through } \sigma^2} \Bigr)$$

    The first term is the direct path. The other two are there because moving one value moves the
    mean and the variance of the whole batch. The gradient sums to 0 over the batch, as a shift of
    all values changes nothing.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating. Values that
            the mask left out are ignored, and may be NaN.
        cache: What the forward pass returned beside `y`.

    Returns:
        Gradients with respect to `x`, `gamma` and `beta`.

    Raises:
        TypeError: If `dy` is not floating, or `cache` no Cache.
        ValueError: If `dy` is not of the shape of `y`.

    Examples:
        >>> y, cache = batch_norm_train([[0.0], [1.0], [2.0]], [1.0], [0.0], eps=0.0)
        >>> batch_norm_backward([[1.0], [0.0], [0.0]], cache).beta
        array([1.])

    References:
        Ioffe and Szegedy (2015), section 3, in closed form. Step by step, the derivative by the
        mean has a second term, through the variance, which is always 0.
    """
    if not isinstance(cache, Cache):
        raise TypeError(
            f"cache must be the Cache of the forward pass; got {type(cache).__name__}. "
            "batch_norm_train returns two values, y and the cache: pass the second."
        )
    dy = _gradient_like(dy, cache.x_hat.shape)
    if cache.where is not None:
        dy = np.where(cache.where, dy, 0.0)
    axis = reduced_axes(dy.shape, cache.channel_axis)
    n = cache.moments.count
    dgamma, dbeta = _parameter_gradients(dy, cache.x_hat, axis)

    direct = dy
    through_mean = expand(dbeta / n, axis)
    through_var = cache.x_hat * expand(dgamma / n, axis)

    slope = expand(_slope(cache.gamma, cache.inv_std), axis)
    dx = slope * (direct - through_mean - through_var)
    if cache.where is not None:
        dx = np.where(cache.where, dx, 0.0)
    return Gradients(
        x=_in(cache.dtype, dx),
        gamma=None if cache.gamma is None else dgamma,
        beta=dbeta if cache.has_beta else None,
    )


@propagate_silently
def batch_norm_infer(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> Array:
    r"""Normalise with kept statistics, then scale and shift.

    $$y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta$$

    With \(\mu\) and \(\sigma^2\) fixed this is one straight line per channel. The output for one
    sample does not depend on the others, so any number of samples will do, also one or none.

    Args:
        x: Array of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating.
        mean: Mean \(\mu\) of each channel, shape `(C,)`; usually a running mean.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`; usually a running variance.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        `y`, of the shape and dtype of `x`.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative,
            or both are 0.

    Examples:
        >>> batch_norm_infer([[5.0]], mean=[1.0], var=[4.0], gamma=[3.0], beta=[1.0], eps=0.0)
        array([[7.]])

    References:
        Ioffe and Szegedy (2015), section 3.1.
    """
    x = as_floating("x", x)
    x_hat, _ = _normalize(x, mean, var, eps, channel_axis)
    return _in(x.dtype, _scale_and_shift(x_hat, gamma, beta, channel_axis))


@propagate_silently
def batch_norm_infer_backward(
    dy: npt.ArrayLike,
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> Gradients:
    r"""Carry the gradient of the loss back through an inference batch norm.

    $$\frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}\, dy$$

    The statistics are constants here, so two of the three terms of the training gradient are
    missing. This is the gradient to use for a batch norm with frozen statistics.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `x`; floating.
        x: The input of the forward pass.
        mean: Mean \(\mu\) of each channel, shape `(C,)`.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`.
        gamma: Scale \(\gamma\), shape `(C,)`, or None.
        beta: Shift \(\beta\), shape `(C,)`, or None.
        eps: \(\varepsilon\), as in the forward pass.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        Gradients with respect to `x`, `gamma` and `beta`.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative,
            or both are 0.

    Examples:
        >>> batch_norm_infer_backward([[1.0]], [[5.0]], [1.0], [4.0], [3.0], eps=0.0).x
        array([[1.5]])
    """
    x = as_floating("x", x)
    dy = _gradient_like(dy, x.shape)
    axis = reduced_axes(x.shape, channel_axis)
    x_hat, inv_std = _normalize(x, mean, var, eps, channel_axis)
    if gamma is not None:
        gamma = np.squeeze(per_channel("gamma", gamma, x.shape, channel_axis), axis)
    if beta is not None:
        per_channel("beta", beta, x.shape, channel_axis)  # checked as in the forward pass
    dgamma, dbeta = _parameter_gradients(dy, x_hat, axis)
    dx = expand(_slope(gamma, inv_std), axis) * dy
    return Gradients(
        x=_in(x.dtype, dx),
        gamma=None if gamma is None else dgamma,
        beta=None if beta is None else dbeta,
    )


def _normalize(
    x: Array, mean: npt.ArrayLike, var: npt.ArrayLike, eps: float, channel_axis: int
) -> tuple[Array, Array]:
    """Return x_hat in double precision, and 1 / sqrt(var + eps) of shape (C,)."""
    axis = reduced_axes(x.shape, channel_axis)
    mean = per_channel("mean", mean, x.shape, channel_axis)
    var = per_channel("var", var, x.shape, channel_axis)
    check_eps(eps)
    if np.any(var.real < 0):
        raise ValueError(
            f"var must not be negative; got var={var.ravel().tolist()}. "
            "A variance that comes out negative was computed as E[x²] - E[x]²; use Moments.of."
        )
    if np.any(var + eps == 0):
        raise ValueError(
            "var + eps must be positive to divide by its root; "
            f"got 0 in channels {np.flatnonzero(var + eps == 0).tolist()}. "
            "These channels hardly vary: pass eps above 0, usually 1e-5."
        )
    std = np.sqrt(var + eps)
    return (in_double(x) - mean) / std, np.squeeze(1.0 / std, axis)


def _scale_and_shift(
    x_hat: Array, gamma: npt.ArrayLike | None, beta: npt.ArrayLike | None, channel_axis: int
) -> Array:
    """Return gamma * x_hat + beta, where either may be absent."""
    y = x_hat
    if gamma is not None:
        y = per_channel("gamma", gamma, x_hat.shape, channel_axis) * y
    if beta is not None:
        y = y + per_channel("beta", beta, x_hat.shape, channel_axis)
    return y


def _in(dtype: np.dtype[np.generic], y: Array) -> Array:
    """Return y in a dtype; complex stays complex, whichever argument brought it in."""
    return y if y.dtype.kind == "c" else y.astype(dtype, copy=False)


def _gradient_like(dy: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return dy in double precision, or say how its shape differs from that of y."""
    array = as_floating("dy", dy)
    if array.shape != shape:
        raise ValueError(
            f"dy must have the shape of y, {shape}; got dy.shape={array.shape}. "
            "Pass the gradient that belongs to this forward pass."
        )
    return in_double(array)


def _parameter_gradients(dy: Array, x_hat: Array, axis: tuple[int, ...]) -> tuple[Array, Array]:
    """Return dgamma and dbeta, each of shape (C,): the sums that the backward pass is made of."""
    return np.sum(dy * x_hat, axis=axis), np.sum(dy, axis=axis)


def _slope(gamma: Array | None, inv_std: Array) -> Array:
    """Return dy/dx for fixed statistics, shape (C,): gamma / sqrt(var + eps)."""
    return inv_std if gamma is None else in_double(gamma) * inv_std
