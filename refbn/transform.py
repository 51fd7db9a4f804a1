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
    along_channels,
    as_floating,
    as_mask,
    check_eps,
    double,
    in_double,
    per_channel,
    propagate_silently,
    reduced_axes,
)
from refbn.blocks import (
    Parts,
    Scratch,
    evaluate,
    quick_sum,
    reduce_in_blocks,
    rounded,
    sum_of_products,
)
from refbn.moments import Moments

_ROUNDING = 2.0**-51  # of a sum, for each value in it: twice what may be lost at worst
_UNDERFLOW = 1e-150  # a deviation below this may be missing in m2, as its square vanishes


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    r"""What the training forward pass hands on: to the backward pass, and to running statistics.

    It keeps the batch itself, not a copy and not \(\hat{x}\), so that training needs no memory
    beyond its output. The batch must therefore stay as it is until the backward pass. That notices
    most of what could be written into it, by its mean and by a sample of its values.

    Attributes:
        x: The batch, the very array that the forward pass was given.
        where: Mask of the shape of `x`, read-only, or None.
        moments: Moments that the batch was normalised with, each field of shape `(C,)`; running
            statistics are updated with them.
        std: \(\sqrt{\sigma^2 + \varepsilon}\), shape `(C,)`.
        gamma: Scale \(\gamma\), shape `(C,)`, or None where there was none.
        has_beta: Whether there was a shift \(\beta\).
        channel_axis: The axis of the channels.
        own: Moments of the batch itself. They are `moments`, unless other workers hold a part.
        sample: Some values of the batch, as bytes, to notice where it was written to.
    """

    x: Array
    where: Array | None
    moments: Moments
    std: Array
    gamma: Array | None
    has_beta: bool
    channel_axis: int
    own: Moments
    sample: bytes

    def __post_init__(self) -> None:
        """Make the small arrays read-only, so that a value stays what it was."""
        for array in (self.std, self.gamma):
            if array is not None:
                array.flags.writeable = False

    @property
    def inv_std(self) -> Array:
        r"""\(1 / \sqrt{\sigma^2 + \varepsilon}\), shape `(C,)`: what frameworks keep."""
        return 1.0 / self.std

    @property
    @propagate_silently
    def x_hat(self) -> Array:
        r"""Normalised batch \(\hat{x}\) in double precision, computed anew; 0 where masked out."""
        x, counts = in_double(self.x), np.True_ if self.where is None else self.where
        deviation = np.zeros_like(x)
        np.subtract(x, self.along(self.moments.mean), out=deviation, where=counts)
        self.check_batch(np.sum(deviation, axis=reduced_axes(x.shape, self.channel_axis)))
        return np.divide(deviation, self.along(self.std), out=deviation, where=counts)

    def check_batch(self, drift: Array) -> None:
        """Raise a ValueError if the batch is not what it was, as far as mean and sample can tell.

        Args:
            drift: Sum of the deviations from `moments.mean`, shape `(C,)`.

        Raises:
            ValueError: If it is not what it was in the forward pass, up to rounding.
        """
        n, mean, m2 = self.own.count, self.own.mean, self.own.m2
        apart = n * (mean - self.moments.mean)
        size = n * (np.abs(mean) + _UNDERFLOW) + np.abs(apart) + np.sqrt(n * np.abs(m2))
        moved = np.abs(drift - apart) > _ROUNDING * (n + 2000) * size
        if moved.any() or self.sample != _sample(self.x, self.where):
            raise ValueError(
                "the batch must still be what it was in the forward pass, because the backward "
                "pass reads it again; got other values. Call backward before you write into x, "
                "or pass a copy of x to the forward pass."
            )

    def check_whole(self) -> None:
        """Raise a ValueError if other workers hold a part of the batch.

        Raises:
            ValueError: If the moments are those of more values than this batch has.
        """
        if (self.own.count != self.moments.count).any():
            raise ValueError(
                "cache must be that of a whole batch; got one of a part with "
                f"{self.own.count.tolist()} of {self.moments.count.tolist()} values per channel. "
                "Pass it to sync_batch_norm_backward, with the communicator."
            )

    def along(self, values: Array) -> Array:
        """Return one value per channel, shaped so that it broadcasts against the batch.

        Args:
            values: Array of shape `(C,)`.

        Returns:
            A view of shape `(1, .., C, .., 1)`.
        """
        return along_channels(values, self.x.ndim, self.channel_axis)


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
    return batch_norm_infer(x, mean, var, eps=eps, channel_axis=channel_axis)


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
    mask = as_mask(where, x.shape)
    moments = Moments.of(x, axis=reduced_axes(x.shape, channel_axis), where=mask)
    return train_with(moments, moments, x, gamma, beta, eps, channel_axis, mask)


@propagate_silently
def train_with(
    moments: Moments,
    own: Moments,
    x: Array,
    gamma: npt.ArrayLike | None,
    beta: npt.ArrayLike | None,
    eps: float,
    channel_axis: int,
    where: Array | None,
) -> tuple[Array, Cache]:
    """Train with moments that may be those of a larger batch, of which `x` is one part.

    Args:
        moments: Moments to normalise with, each field of shape `(C,)`.
        own: Moments of `x` alone.
        x: Batch as in [`batch_norm_train`][refbn.batch_norm_train]; an array.
        gamma: Scale, or None.
        beta: Shift, or None.
        eps: Epsilon.
        channel_axis: The axis of `x` that holds the channels.
        where: Mask of the shape of `x`, or None.

    Returns:
        `y` and the [`Cache`][refbn.Cache].

    Raises:
        ValueError: If a channel has no values, or as in `batch_norm_train`.
    """
    if (moments.count == 0).any():
        raise ValueError(
            "training needs at least 1 value per channel to take a mean of; "
            f"got none in channels {np.flatnonzero(moments.count == 0).tolist()} "
            f"for x.shape={x.shape}. Leave out empty batches, or use batch_norm_infer."
        )
    given = _Given.of(x, moments.mean, moments.var(), gamma, beta, eps, channel_axis)
    cache = Cache(
        x=x,
        where=where,
        moments=moments,
        std=given.std.ravel(),
        gamma=None if gamma is None else np.array(gamma),
        has_beta=beta is not None,
        channel_axis=channel_axis,
        own=own,
        sample=_sample(x, where),
    )
    return _straight_line(x, given, where), cache


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
        ValueError: If `dy` is not of the shape of `y`, or the batch was written to in between,
            or other workers hold a part of it.

    Examples:
        >>> y, cache = batch_norm_train([[0.0], [1.0], [2.0]], [1.0], [0.0], eps=0.0)
        >>> batch_norm_backward([[1.0], [0.0], [0.0]], cache).beta
        array([1.])

    References:
        Ioffe and Szegedy (2015), section 3, in closed form. Step by step, the derivative by the
        mean has a second term, through the variance, which is always 0.
    """
    dgamma, dbeta = gradient_sums(dy, cache)
    cache.check_whole()
    return Gradients(
        x=gradient_with(dgamma, dbeta, dy, cache),
        gamma=None if cache.gamma is None else dgamma,
        beta=dbeta if cache.has_beta else None,
    )


@propagate_silently
def gradient_sums(dy: npt.ArrayLike, cache: Cache) -> tuple[Array, Array]:
    r"""Return the two sums over the batch that its gradients are made of.

    $$d\gamma = \sum dy\, \hat{x}, \qquad d\beta = \sum dy$$

    Args:
        dy: Gradient of the loss with respect to `y`.
        cache: What the forward pass returned beside `y`.

    Returns:
        Two arrays of shape `(C,)`.

    Raises:
        TypeError: If `dy` is not floating, or `cache` no Cache.
        ValueError: If `dy` is not of the shape of `y`, or the batch is not what it was.
    """
    if not isinstance(cache, Cache):
        raise TypeError(
            f"cache must be the Cache of the forward pass; got {type(cache).__name__}. "
            "batch_norm_train returns two values, y and the cache: pass the second."
        )
    dy = _gradient_like(dy, cache.x.shape)
    products, dbeta, drift = _sums(dy, cache.x, cache.moments.mean, cache.channel_axis, cache.where)
    cache.check_batch(drift)
    n = cache.moments.count
    rest_of_mean = np.where(cache.own.count == n, drift / n, 0.0)  # by rounding; unknown of a shard
    return cache.inv_std * (products - dbeta * rest_of_mean), dbeta


@propagate_silently
def gradient_with(dgamma: Array, dbeta: Array, dy: npt.ArrayLike, cache: Cache) -> Array:
    """Return the gradient of x, given the two sums over the batch, or over all its parts.

    Args:
        dgamma: Sum of `dy * x_hat`, shape `(C,)`.
        dbeta: Sum of `dy`, shape `(C,)`.
        dy: Gradient of the loss with respect to `y`, of the shape of `x`.
        cache: What the forward pass returned beside `y`.

    Returns:
        `dx`, of the shape and dtype of `x`.
    """
    n = cache.moments.count
    slope = cache.inv_std if cache.gamma is None else in_double(cache.gamma) * cache.inv_std
    mean, rest_of_mean = rounded(cache.moments.mean, cache.x.dtype)
    mean_dy, rest_of_dy = rounded(dbeta / n, cache.x.dtype)
    tilt = cache.inv_std * dgamma / n
    rest = tilt * rest_of_mean - rest_of_dy

    def formula(dx: Array, through_var: Array, x: Array, dy: Array, *numbers: Array) -> None:
        mean, mean_dy, tilt, rest, slope = numbers
        # dx = slope * (dy - mean_dy - tilt * (x - mean)), and what rounding took from the means
        np.subtract(x, mean, out=through_var)
        through_var *= tilt
        np.subtract(dy, mean_dy, out=dx)
        dx -= through_var
        dx += rest
        dx *= slope

    numbers = [cache.along(v) for v in (mean, mean_dy, tilt, rest, slope)]
    return evaluate(formula, (cache.x, np.asarray(dy)), numbers, cache.where)


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
    return _straight_line(x, _Given.of(x, mean, var, gamma, beta, eps, channel_axis))


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
    given = _Given.of(x, mean, var, gamma, beta, eps, channel_axis)
    products, dbeta, _ = _sums(dy, x, given.mean.ravel(), channel_axis)

    def formula(dx: Array, _: Array, __: Array, dy: Array, slope: Array) -> None:
        np.multiply(dy, slope, out=dx)

    return Gradients(
        x=evaluate(formula, (x, dy), [given.gamma / given.std]),
        gamma=None if gamma is None else products / given.std.ravel(),
        beta=None if beta is None else dbeta,
    )


class _Given(NamedTuple):
    """What the straight line of each channel is made of, of shape (1, .., C, .., 1)."""

    mean: Array
    std: Array
    gamma: Array
    beta: Array

    @classmethod
    def of(
        cls,
        x: Array,
        mean: npt.ArrayLike,
        var: npt.ArrayLike,
        gamma: npt.ArrayLike | None,
        beta: npt.ArrayLike | None,
        eps: float,
        channel_axis: int,
    ) -> _Given:
        """Check all that is given, and return it in double precision."""
        reduced_axes(x.shape, channel_axis)
        mean = per_channel("mean", mean, x.shape, channel_axis)
        var = per_channel("var", var, x.shape, channel_axis)
        check_eps(eps)
        if (var.real < 0).any():
            raise ValueError(
                f"var must not be negative; got var={var.ravel().tolist()}. "
                "A variance that comes out negative was computed as E[x²] - E[x]²; use Moments.of."
            )
        if (var + eps == 0).any():
            raise ValueError(
                "var + eps must be positive to divide by its root; "
                f"got 0 in channels {np.flatnonzero(var + eps == 0).tolist()}. "
                "These channels hardly vary: pass eps above 0, usually 1e-5."
            )
        one, zero = np.ones_like(mean), np.zeros_like(mean)
        gamma = one if gamma is None else per_channel("gamma", gamma, x.shape, channel_axis)
        beta = zero if beta is None else per_channel("beta", beta, x.shape, channel_axis)
        return cls(mean, np.sqrt(var + eps), gamma, beta)


def _straight_line(x: Array, given: _Given, where: Array | None = None) -> Array:
    """Return gamma * (x - mean) / std + beta; what rounding takes from the mean goes to beta.

    Multiplying with gamma / std, float32 stays within 2 units of the last place, dividing within
    3. Divided once by std / gamma, float64 is exact where a division by hand is.
    """
    mean, rest = rounded(given.mean, x.dtype)
    slope, none = given.gamma / given.std, given.gamma == 0
    scale: np.ufunc = np.multiply
    by, shift = slope, given.beta - slope * rest
    if x.dtype.itemsize >= slope.dtype.itemsize:
        with np.errstate(over="ignore"):  # of a gamma so small that y is beta
            by = np.where(none, np.inf, given.std / np.where(none, 1.0, given.gamma))
        scale, shift = np.divide, given.beta

    def formula(y: Array, _: Array, x: Array, mean: Array, by: Array, shift: Array) -> None:
        np.subtract(x, mean, out=y)
        scale(y, by, out=y)
        y += shift

    return evaluate(formula, (x,), [mean, by, shift], where)


def _sample(x: Array, where: Array | None) -> bytes:
    """Return up to 15 values along each axis; of a masked batch none, as its junk may change."""
    spread = tuple(slice(None, None, max(n // 8, 1)) for n in x.shape)
    return b"" if where is not None else x[spread].tobytes()


def _sums(
    dy: Array, x: Array, mean: Array, channel_axis: int, where: Array | None = None
) -> tuple[Array, ...]:
    """Return the sums of dy * (x - mean), of dy and of x - mean, each of shape (C,)."""
    axis = reduced_axes(x.shape, channel_axis)

    room = [Scratch(x, np.result_type(double(x.dtype), double(dy.dtype))) for _ in range(3)]

    def block(dy: Array, x: Array, mean: Array, where: Array | None = None) -> Parts:
        dy, deviation = room[0].filled(dy), room[1].filled(x)
        deviation -= mean
        if where is not None:
            dy[~where], deviation[~where] = 0, 0
        products = sum_of_products(dy, deviation, axis, room[2])
        return products, quick_sum(dy, axis), quick_sum(deviation, axis)

    def merge(a: Parts, b: Parts) -> Parts:
        return tuple(left + right for left, right in zip(a, b, strict=True))

    arrays = [dy, x, along_channels(mean, x.ndim, channel_axis)]
    arrays += [] if where is None else [where]
    return tuple(np.squeeze(s, axis) for s in reduce_in_blocks(block, merge, axis, *arrays))


def _gradient_like(dy: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return dy as an array, or say how its shape differs from that of y."""
    array = as_floating("dy", dy)
    if array.shape != shape:
        raise ValueError(
            f"dy must have the shape of y, {shape}; got dy.shape={array.shape}. "
            "Pass the gradient that belongs to this forward pass."
        )
    return array
