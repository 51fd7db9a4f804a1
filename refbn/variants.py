r"""Variants of batch norm, each of them the core used in another way.

- Ghost batches: the core on parts of the batch. Workers that do not share their statistics are
  ghost batches too, and so are small batches whose gradients are added up.
- Batch renormalisation: the core with another \(\gamma\) and \(\beta\), which move what training
  puts out towards what inference will.
- Frozen statistics need no function here. [`batch_norm_infer`][refbn.batch_norm_infer] and
  [`batch_norm_infer_backward`][refbn.batch_norm_infer_backward] are that batch norm: one straight
  line per channel, with no gradient through the statistics.
- Weight normalisation: what remains of batch norm where there is no batch. For \(z = v \cdot x\)
  batch norm divides by the standard deviation of \(z\), weight normalisation by
  \(\lVert v \rVert\). The two are equal for inputs with variance 1 and no correlation.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from refbn.axes import (
    Array,
    along_channels,
    as_floating,
    in_double,
    per_channel,
    propagate_silently,
    reduced_axes,
)
from refbn.moments import Moments
from refbn.transform import Cache, Gradients, batch_norm_backward, batch_norm_train, normalize


def ghost_batch_norm_train(
    x: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    size: int,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> tuple[Array, tuple[Cache, ...]]:
    r"""Cut a batch into ghost batches, and normalise each with its own mean and variance.

    $$y_i = \gamma \frac{x_i - \mu_g}{\sqrt{\sigma_g^2 + \varepsilon}} + \beta, \qquad
    g = \lfloor i / \mathrm{size} \rfloor$$

    A large batch then has the noise of a small one. Where `size` does not divide the number of
    samples, the last ghost is smaller. A ghost with one value per channel becomes \(\beta\), and
    its `x` gets no gradient.

    The moments of the ghosts are `[cache.moments for cache in caches]`. Merged, they are those of
    the whole batch. Averaged, their variances lack the variance between the ghosts' means. Which of
    the two inference uses is for the caller to say.

    Args:
        x: Batch with the samples on axis 0, and the channels on another; floating.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        size: Number of samples in a ghost, from 1 up.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels; not 0.

    Returns:
        `y`, of the shape and dtype of `x`, and for
        [`ghost_batch_norm_backward`][refbn.ghost_batch_norm_backward] a tuple with one
        [`Cache`][refbn.Cache] per ghost.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If `size` is no integer from 1 up, the channels lie on axis 0, a shape does not
            fit, `eps` is negative, there are no values, or a channel of a ghost is constant and
            `eps` is 0.

    Examples:
        >>> y, caches = ghost_batch_norm_train([[1.0], [3.0], [10.0], [30.0]], size=2, eps=0.0)
        >>> y.ravel()
        array([-1.,  1., -1.,  1.])
        >>> [cache.moments.mean.item() for cache in caches]
        [2.0, 20.0]

    References:
        Hoffer, Hubara and Soudry (2017), Train longer, generalize better: closing the
        generalization gap in large batch training of neural networks.
    """
    x = as_floating("x", x)
    if not (0 in reduced_axes(x.shape, channel_axis) and isinstance(size, Integral) and size >= 1):
        raise ValueError(
            f"pass samples on axis 0 and an integer size from 1 up; got {channel_axis=}, {size=}."
        )
    ghosts = np.split(x, range(size, len(x), size))
    done = [batch_norm_train(g, gamma, beta, eps=eps, channel_axis=channel_axis) for g in ghosts]
    return np.concatenate([y for y, _ in done]), tuple(cache for _, cache in done)


@propagate_silently
def ghost_batch_norm_backward(dy: npt.ArrayLike, caches: tuple[Cache, ...]) -> Gradients:
    r"""Carry the gradient of the loss back through ghost batches.

    $$\frac{\partial L}{\partial \gamma} = \sum_g \sum_{i \in g} dy_i\, \hat{x}_i, \qquad
    \frac{\partial L}{\partial \beta} = \sum_g \sum_{i \in g} dy_i$$

    No gradient of `x` crosses from one ghost to another: there
    [`batch_norm_backward`][refbn.batch_norm_backward] is applied to each.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating.
        caches: What the forward pass returned beside `y`.

    Returns:
        Gradients with respect to `x`, `gamma` and `beta`.

    Raises:
        TypeError: If `dy` is not floating, or `caches` no tuple of Caches.
        ValueError: If the part of `dy` that belongs to a ghost is not of its shape.

    Examples:
        >>> x = [[1.0], [3.0], [10.0], [30.0]]
        >>> y, caches = ghost_batch_norm_train(x, [1.0], size=2, eps=0.0)
        >>> ghost_batch_norm_backward([[0.0], [2.0], [0.0], [5.0]], caches).gamma
        array([7.])
    """
    if not (isinstance(caches, tuple) and caches and all(isinstance(c, Cache) for c in caches)):
        raise TypeError(
            f"pass the caches that ghost_batch_norm_train returned; got {type(caches).__name__}."
        )
    ends = np.cumsum([len(cache.x) for cache in caches])
    ghosts = zip(np.split(dy, ends[:-1]), caches, strict=True)
    dx, *others = zip(*(batch_norm_backward(*ghost) for ghost in ghosts), strict=True)
    sums = (None if parts[0] is None else np.sum(parts, axis=0) for parts in others)
    return Gradients(np.concatenate(dx), *sums)


class RenormCache(NamedTuple):
    r"""What the forward pass of a batch renormalisation leaves for the backward pass.

    Attributes:
        inner: Cache of the batch norm inside, which has the scale \(\gamma r\) and the shift
            \(\beta + \gamma d\); running statistics are updated with `inner.moments`.
        r: Ratio of the standard deviations \(r\), clipped, shape `(C,)`, read-only.
        d: Distance of the means \(d\), clipped, shape `(C,)`, read-only.

    Examples:
        >>> one, zero = [1.0], [0.0]
        >>> _, cache = batch_renorm_train([[1.0], [3.0]], one, one, one, zero, r_max=3, d_max=0.5)
        >>> cache.r.round(3), cache.d
        (array([1.]), array([0.5]))
    """

    inner: Cache
    r: Array
    d: Array


def batch_renorm_train(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike,
    beta: npt.ArrayLike,
    *,
    r_max: float,
    d_max: float,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> tuple[Array, RenormCache]:
    r"""Normalise a batch with its own moments, and correct that towards the kept statistics.

    $$y = \gamma\, (\hat{x}\, r + d) + \beta, \qquad
    r = \frac{\sqrt{\sigma_B^2 + \varepsilon}}{\sqrt{\sigma^2 + \varepsilon}}, \qquad
    d = \frac{\mu_B - \mu}{\sqrt{\sigma^2 + \varepsilon}}$$

    Here \(\hat{x}\) is normalised with the mean \(\mu_B\) and the biased variance \(\sigma_B^2\)
    of the batch, while \(\mu\) and \(\sigma^2\) were kept from batches before it. Then \(r\) is
    clipped to \([1/r_{\max}, r_{\max}]\), and \(d\) to \([-d_{\max}, d_{\max}]\). The backward
    pass takes both for constants. So this is [`batch_norm_train`][refbn.batch_norm_train] with the
    scale \(\gamma r\) and the shift \(\beta + \gamma d\).

    With `r_max=1` and `d_max=0` it is plain batch norm. Where nothing is clipped, it puts out what
    [`batch_norm_infer`][refbn.batch_norm_infer] does; only the gradient is another. Training goes
    from the first to the second, and the caller sets the pace. Unclipped statistics that are still
    at their start, mean 0 and variance 1, would normalise nothing: then \(\hat{x} r + d\) is `x`,
    up to `eps`.

    Args:
        x: Batch of shape `(N, C)` to `(N, C, *spatial)` in any order of axes; floating.
        mean: Mean \(\mu\) of each channel, shape `(C,)`; a running mean.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`; a running variance.
        gamma: Scale \(\gamma\), shape `(C,)`.
        beta: Shift \(\beta\), shape `(C,)`.
        r_max: Bound of \(r\), from 1 up; `np.inf` clips nothing.
        d_max: Bound of \(d\), from 0 up; `np.inf` clips nothing.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.
        channel_axis: The axis of `x` that holds the channels.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`RenormCache`][refbn.RenormCache] for
        [`batch_renorm_backward`][refbn.batch_renorm_backward].

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a bound is out of range, a shape does not fit, `var` or `eps` is negative,
            there are no values, or a variance and `eps` are both 0.

    Examples:
        >>> x, kept = [[1.0], [3.0]], {"mean": [0.0], "var": [0.25]}
        >>> y, _ = batch_renorm_train(x, **kept, gamma=[1.0], beta=[0.0], r_max=3, d_max=5, eps=0)
        >>> y
        array([[2.],
               [6.]])

    References:
        Ioffe (2017), Batch Renormalization: Towards Reducing Minibatch Dependence in
        Batch-Normalized Models, algorithm 1. There \(\sigma\) is an average of standard
        deviations; here its square is the variance that inference uses.
    """
    if not (isinstance(r_max, Real) and isinstance(d_max, Real) and r_max >= 1 and d_max >= 0):
        raise ValueError(
            f"r_max must be a number from 1 up, d_max one from 0 up; got {r_max=}, {d_max=}. "
            "1 and 0 make it plain batch norm, np.inf clips nothing."
        )
    x = as_floating("x", x)
    axis = reduced_axes(x.shape, channel_axis)
    moments = Moments.of(x, axis)
    gamma = per_channel("gamma", gamma, x.shape, channel_axis).ravel()
    beta = per_channel("beta", beta, x.shape, channel_axis).ravel()
    shift = along_channels(moments.mean, x.ndim, channel_axis)
    d = normalize(shift, mean, var, eps=eps, channel_axis=channel_axis)
    r = np.sqrt(moments.var() + eps) / np.sqrt(in_double(np.asarray(var)) + eps)
    # a complex step carries the derivative in the imaginary part: to drop it stops the gradient
    r, d = np.clip(r.real, 1.0 / r_max, r_max), np.clip(d.real.ravel(), -d_max, d_max)
    r.flags.writeable = d.flags.writeable = False
    y, inner = batch_norm_train(x, gamma * r, beta + gamma * d, eps=eps, channel_axis=channel_axis)
    return y, RenormCache(inner, r, d)


@propagate_silently
def batch_renorm_backward(dy: npt.ArrayLike, cache: RenormCache) -> Gradients:
    r"""Carry the gradient of the loss back through a batch renormalisation.

    $$\frac{\partial L}{\partial x} = \frac{\gamma r}{\sqrt{\sigma_B^2 + \varepsilon}} \Bigl( dy
    - \frac{1}{n} \sum dy - \hat{x} \frac{1}{n} \sum dy\, \hat{x} \Bigr), \qquad
    \frac{\partial L}{\partial \gamma} = \sum dy\, (\hat{x}\, r + d)$$

    These are the gradients of a batch norm with the scale \(\gamma r\) and the shift
    \(\beta + \gamma d\), by the chain rule, with \(r\) and \(d\) constant. Like those of batch norm
    they sum to 0 over the batch, which those of inference do not.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating.
        cache: What the forward pass returned beside `y`.

    Returns:
        Gradients with respect to `x`, `gamma` and `beta`.

    Raises:
        TypeError: If `dy` is not floating, or `cache` no RenormCache.
        ValueError: If `dy` is not of the shape of `y`.

    Examples:
        >>> x, kept = [[1.0], [3.0]], {"mean": [0.0], "var": [0.25]}
        >>> rule = {"gamma": [1.0], "beta": [0.0], "r_max": 3, "d_max": 5, "eps": 0}
        >>> y, cache = batch_renorm_train(x, **kept, **rule)
        >>> batch_renorm_backward([[1.0], [0.0]], cache).gamma
        array([2.])
    """
    if not isinstance(cache, RenormCache):
        raise TypeError(
            f"pass the cache that batch_renorm_train returned; got {type(cache).__name__}."
        )
    dx, dscale, dshift = cast("tuple[Array, ...]", batch_norm_backward(dy, cache.inner))
    return Gradients(dx, cache.r * dscale + cache.d * dshift, dshift)


def direction_and_length(v: npt.ArrayLike, *, channel_axis: int = 1) -> tuple[Array, Array]:
    r"""Split the weights of each output channel into a direction and a length.

    $$v = \lVert v \rVert\, u, \qquad \lVert v \rVert = \sqrt{\sum v^2}, \qquad
    \lVert u \rVert = 1$$

    A batch norm that comes after the weights sees the direction only, up to its `eps`.

    Args:
        v: Weights of two or more axes; floating.
        channel_axis: The axis of `v` that holds the output channels, each of which has one length:
            1 in a matrix `(inputs, outputs)`, 0 in a convolution `(outputs, inputs, *kernel)`.

    Returns:
        The directions \(u\), of the shape of `v`, and the lengths, shape `(C,)`, both in float64.

    Raises:
        TypeError: If `v` is not floating.
        ValueError: If a length is 0, or there is no such axis.

    Examples:
        >>> direction_and_length([[3.0], [4.0]])
        (array([[0.6],
               [0.8]]), array([5.]))
    """
    v = in_double(as_floating("v", v))
    axis = reduced_axes(v.shape, channel_axis)
    length = np.sqrt(np.sum(v * v, axis=axis))
    if zeros := np.flatnonzero(length == 0).tolist():
        raise ValueError(
            f"v must not be 0, start from random weights; got length 0 in channels {zeros}."
        )
    return v / along_channels(length, v.ndim, channel_axis), length


def weight_norm(v: npt.ArrayLike, g: npt.ArrayLike, *, channel_axis: int = 1) -> Array:
    r"""Return weights with the direction of one array and the length of another.

    $$w = g \frac{v}{\lVert v \rVert}$$

    How long \(v\) is has no influence on \(w\). To start from weights that are there, take them
    for \(v\), and their length for \(g\).

    Args:
        v: Weights \(v\), of which only the direction counts, with two or more axes; floating.
        g: Length \(g\) of each output channel, shape `(C,)`.
        channel_axis: The axis of `v` that holds the output channels.

    Returns:
        \(w\), of the shape of `v`, in float64.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a length of `v` is 0, or a shape does not fit.

    Examples:
        >>> weight_norm([[3.0], [4.0]], [10.0])
        array([[6.],
               [8.]])

    References:
        Salimans and Kingma (2016), Weight Normalization: A Simple Reparameterization to Accelerate
        Training of Deep Neural Networks.
    """
    u, _ = direction_and_length(v, channel_axis=channel_axis)
    return per_channel("g", g, u.shape, channel_axis) * u


def weight_norm_backward(
    dw: npt.ArrayLike, v: npt.ArrayLike, g: npt.ArrayLike, *, channel_axis: int = 1
) -> tuple[Array, Array]:
    r"""Carry the gradient of the loss back through a weight normalisation.

    $$\frac{\partial L}{\partial g} = \langle dw, u \rangle, \qquad
    \frac{\partial L}{\partial v} = \frac{g}{\lVert v \rVert}
    \bigl( dw - u\, \langle dw, u \rangle \bigr), \qquad u = \frac{v}{\lVert v \rVert}$$

    The gradient of \(v\) is orthogonal to \(v\). So no step of plain gradient descent makes
    \(v\) shorter, and the longer it is, the shorter is its gradient. Without `eps` the same is true
    of the weights before a batch norm.

    Args:
        dw: Gradient of the loss with respect to \(w\), of the shape of `v`; floating.
        v: Weights \(v\), as in the forward pass.
        g: Lengths \(g\), as in the forward pass.
        channel_axis: The axis of `v` that holds the output channels.

    Returns:
        Gradients with respect to `v` and to `g`, each of its shape, in float64.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a length of `v` is 0, or a shape does not fit.

    Examples:
        >>> dv, dg = weight_norm_backward([[5.0], [0.0]], [[3.0], [4.0]], [10.0])
        >>> dv.round(9), dg
        (array([[ 6.4],
               [-4.8]]), array([3.]))

    References:
        Salimans and Kingma (2016).
    """
    u, length = direction_and_length(v, channel_axis=channel_axis)
    dw, axis = in_double(as_floating("dw", dw)), reduced_axes(u.shape, channel_axis)
    if dw.shape != u.shape:
        raise ValueError(
            f"dw, the gradient of w, must have the shape of v, {u.shape}; got {dw.shape=}."
        )
    dg = np.sum(dw * u, axis=axis)
    g = per_channel("g", g, u.shape, channel_axis)
    slope = g / along_channels(length, u.ndim, channel_axis)
    return slope * (dw - u * along_channels(dg, u.ndim, channel_axis)), dg
