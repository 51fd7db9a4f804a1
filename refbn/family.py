r"""Layer, instance, group and RMS norm: the same core, other axes.

Each of these norms scales and shifts every channel with a \(\gamma\) and a \(\beta\) of its own.
They differ in what they take one mean and one variance of, which is called a set here:

| norm | one set |
| --- | --- |
| batch | one channel, at all places of all samples |
| layer | all channels, at one place of one sample |
| instance | one channel, at all places of one sample |
| group | several channels, at all places of one sample |
| RMS | as for layer, but each value beside its negative, so that the mean is 0 |

So each of them is two steps of the core. The first normalises: it is a batch norm to which every
set is a channel. (What it refuses, it therefore names by the number of the set.) The second scales
and shifts: it is inference with mean 0 and variance 1.

No sample depends on another. There are no running statistics, training and inference are the same
function, a batch of one is a batch like any other, and an empty array comes back as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from refbn import transform
from refbn.axes import Array, as_floating, propagate_silently, reduced_axes

Parameter = npt.ArrayLike | None


class _Sets(NamedTuple):
    """How an array is cut into sets."""

    channel_axis: int
    order: tuple[int, ...]  # the axes of x, those along which a set lies last
    rows: tuple[int, int]  # the shape that then has one set in each row
    signs: tuple[float, ...] = (1.0,)  # what a set is multiplied with to become a batch


@dataclass(frozen=True, slots=True, eq=False)
class NormCache:
    r"""What a norm of this family hands on to [`norm_backward`][refbn.norm_backward].

    Attributes:
        x_hat: Normalised input \(\hat{x}\), of the shape of `x`, in float64.
        core: Cache of the batch norm to which every set is a channel. Its `inv_std` has one value
            for each set.
        gamma: Scale \(\gamma\), shape `(C,)`, or None where there was none.
        beta: Shift \(\beta\), shape `(C,)`, or None where there was none.
        sets: How `x` was cut into sets.
        dtype: dtype of `x`, in which its gradient comes back.

    Examples:
        >>> _, cache = layer_norm([[1.0, 3.0]], eps=0.0)
        >>> cache.x_hat
        array([[-1.,  1.]])
    """

    x_hat: Array
    core: transform.Cache
    gamma: Array | None
    beta: Array | None
    sets: _Sets
    dtype: np.dtype[np.generic]


def layer_norm(
    x: npt.ArrayLike,
    gamma: Parameter = None,
    beta: Parameter = None,
    *,
    channel_axis: int = -1,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    r"""Normalise all channels of one sample, at one place, by their own mean and variance.

    $$y_c = \gamma_c \frac{x_c - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta_c, \qquad
    \mu = \frac{1}{C} \sum_c x_c, \qquad \sigma^2 = \frac{1}{C} \sum_c (x_c - \mu)^2$$

    Without \(\gamma\) and \(\beta\), the layer norm of a matrix is the batch norm of the transposed
    matrix. To normalise several axes together, with a \(\gamma\) for each of their values, make
    them one first: `layer_norm(x.reshape(len(x), -1))`. To do so with a \(\gamma\) for each
    channel, call [`group_norm`][refbn.group_norm] with one group.

    Args:
        x: Array of shape `(N, C)` to `(N, *places, C)` in any order of axes; floating.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        channel_axis: The axis of `x` that holds the channels, which is the one that the sums run
            over: the last, unlike in a batch norm.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`NormCache`][refbn.NormCache] for
        [`norm_backward`][refbn.norm_backward].

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `eps` is negative, or a set is constant and `eps` is 0.

    Examples:
        >>> y, cache = layer_norm([[1.0, 3.0], [10.0, 50.0]], [1.0, 2.0], [0.0, 5.0], eps=0.0)
        >>> y
        array([[-1.,  7.],
               [-1.,  7.]])

    References:
        Ba, Kiros and Hinton (2016), Layer Normalization, arXiv:1607.06450.
    """
    return _norm(x, gamma, beta, _across(x, channel_axis), eps)


def instance_norm(
    x: npt.ArrayLike,
    gamma: Parameter = None,
    beta: Parameter = None,
    *,
    channel_axis: int = 1,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    r"""Normalise each channel of each sample by its own mean and variance.

    This is [`group_norm`][refbn.group_norm] with as many groups as channels. For a batch of one it
    is [`batch_norm_train`][refbn.batch_norm_train].

    A channel with one value, as in a matrix `(N, C)`, is its own mean: the output is \(\beta\),
    whatever `x` was, and the gradient of `x` is 0.

    Args:
        x: Array of shape `(N, C)` to `(N, C, *spatial)`; floating. The channels may be on any axis;
            the samples are on the first axis that is not theirs.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        channel_axis: The axis of `x` that holds the channels.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`NormCache`][refbn.NormCache] for
        [`norm_backward`][refbn.norm_backward].

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `eps` is negative, or a set is constant and `eps` is 0.

    Examples:
        >>> y, cache = instance_norm([[[1.0, 3.0], [10.0, 50.0]]], eps=0.0)
        >>> y
        array([[[-1.,  1.],
                [-1.,  1.]]])

    References:
        Ulyanov, Vedaldi and Lempitsky (2016), Instance Normalization, arXiv:1607.08022.
    """
    reduced_axes(np.shape(x), channel_axis)  # refuses an axis that is not there
    groups = np.shape(x)[channel_axis] or 1
    return group_norm(x, gamma, beta, groups=groups, channel_axis=channel_axis, eps=eps)


def group_norm(
    x: npt.ArrayLike,
    gamma: Parameter = None,
    beta: Parameter = None,
    *,
    groups: int,
    channel_axis: int = 1,
    eps: float = 1e-5,
) -> tuple[Array, NormCache]:
    r"""Normalise neighbouring channels of one sample together, by their mean and variance.

    The first \(C / G\) channels are one group, the next as many the second, and so on. One group
    takes in the whole sample; without spatial axes it is [`layer_norm`][refbn.layer_norm]. As many
    groups as channels are [`instance_norm`][refbn.instance_norm].

    Args:
        x: Array of shape `(N, C)` to `(N, C, *spatial)`; floating. The channels may be on any axis;
            the samples are on the first axis that is not theirs.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        groups: Number of groups \(G\), a divisor of the number of channels.
        channel_axis: The axis of `x` that holds the channels.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`NormCache`][refbn.NormCache] for
        [`norm_backward`][refbn.norm_backward].

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `groups` does not divide the number of channels, `eps`
            is negative, or a set is constant and `eps` is 0.

    Examples:
        >>> y, cache = group_norm([[1.0, 3.0, 10.0, 50.0]], groups=2, eps=0.0)
        >>> y
        array([[-1.,  1., -1.,  1.]])

    References:
        Wu and He (2018), Group Normalization, arXiv:1803.08494.
    """
    sample, *spatial = reduced_axes(np.shape(x), channel_axis)
    samples, channels = np.shape(x)[sample], np.shape(x)[channel_axis]
    if groups < 1 or channels % groups:
        raise ValueError(
            f"groups must divide the number of channels, {channels}; got groups={groups!r} "
            f"for x.shape={np.shape(x)} with channel_axis={channel_axis}. "
            "Use 1 for all channels together, or another channel_axis."
        )
    sets = _Sets(channel_axis, (sample, channel_axis, *spatial), (samples * groups, -1))
    return _norm(x, gamma, beta, sets, eps)


def rms_norm(
    x: npt.ArrayLike, gamma: Parameter = None, *, channel_axis: int = -1, eps: float = 1e-5
) -> tuple[Array, NormCache]:
    r"""Divide all channels of one sample, at one place, by the root of their mean square.

    $$y_c = \gamma_c \frac{x_c}{\sqrt{r + \varepsilon}}, \qquad r = \frac{1}{C} \sum_c x_c^2$$

    No mean is taken off, and there is no \(\beta\). It is computed as the layer norm of the values
    together with their negatives: these have the mean 0, and \(r\) for a variance.

    Args:
        x: Array of shape `(N, C)` to `(N, *places, C)` in any order of axes; floating.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        channel_axis: The axis of `x` that holds the channels, which is the one that the sum runs
            over: the last, unlike in a batch norm.
        eps: \(\varepsilon\), in the square of the unit of `x`; not negative.

    Returns:
        `y`, of the shape and dtype of `x`, and the [`NormCache`][refbn.NormCache] for
        [`norm_backward`][refbn.norm_backward].

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `eps` is negative, or a set is all 0 and `eps` is 0.

    Examples:
        >>> y, cache = rms_norm([[1.0, 7.0]], [10.0, 10.0], eps=0.0)
        >>> y
        array([[ 2., 14.]])

    References:
        Zhang and Sennrich (2019), Root Mean Square Layer Normalization, NeurIPS 2019.
    """
    return _norm(x, gamma, None, _across(x, channel_axis)._replace(signs=(1.0, -1.0)), eps)


def norm_backward(dy: npt.ArrayLike, cache: NormCache) -> transform.Gradients:
    r"""Carry the gradient of the loss back through a layer, instance, group or RMS norm.

    With \(d = \gamma\, dy\) and sums over the \(n\) values of one set,

    $$\frac{\partial L}{\partial x} = \frac{1}{\sqrt{\sigma^2 + \varepsilon}} \Bigl(
    d - \underbrace{\frac{1}{n} \sum d}_{\text{through } \mu}
    - \underbrace{\hat{x} \frac{1}{n} \sum d\, \hat{x}}_{\text{through } \sigma^2} \Bigr).$$

    These are the three terms of [`batch_norm_backward`][refbn.batch_norm_backward]; only
    \(\gamma\), which may differ within a set, stands inside the sums. For the RMS norm there is no
    term through \(\mu\), and \(\sigma^2\) is the mean square.

    Args:
        dy: Gradient of the loss with respect to `y`, of the shape of `y`; floating.
        cache: What the forward pass returned beside `y`.

    Returns:
        Gradients with respect to `x`, `gamma` and `beta`.

    Raises:
        TypeError: If `dy` is not floating, or `cache` no NormCache.
        ValueError: If `dy` is not of the shape of `y`.

    Examples:
        >>> y, cache = rms_norm([[1.0, 7.0]], [1.0, 1.0], eps=0.0)
        >>> gradients = norm_backward([[50.0, 0.0]], cache)
        >>> gradients.gamma
        array([10.,  0.])
        >>> gradients.x.round(12)
        array([[ 9.8, -1.4]])
    """
    if not isinstance(cache, NormCache):
        raise TypeError(
            f"cache must be the NormCache of the forward pass; got {type(cache).__name__}. "
            "layer_norm and its like return two values, y and the cache: pass the second."
        )
    affine = _affine(cache.x_hat, cache.gamma, cache.beta, cache.sets)
    gradients = transform.batch_norm_infer_backward(dy, cache.x_hat, **affine)
    dx = transform.batch_norm_backward(_batch(gradients.x, cache.sets), cache.core).x
    return gradients._replace(x=_in(cache.dtype, _unbatch(dx, cache.x_hat.shape, cache.sets)))


def _across(x: npt.ArrayLike, channel_axis: int) -> _Sets:
    """Return the sets of all channels at one place: the rows of a matrix (.., C)."""
    order = (*reduced_axes(np.shape(x), channel_axis), channel_axis)
    return _Sets(channel_axis, order, (-1, np.shape(x)[channel_axis]))


def _norm(
    x: npt.ArrayLike, gamma: Parameter, beta: Parameter, sets: _Sets, eps: float
) -> tuple[Array, NormCache]:
    """Normalise each set, then scale and shift each channel."""
    x = as_floating("x", x)
    _, core = transform.batch_norm_train(_batch(x, sets), eps=eps)
    x_hat = _unbatch(core.x_hat, x.shape, sets)
    x_hat.flags.writeable = False
    y = transform.batch_norm_infer(x_hat, **_affine(x_hat, gamma, beta, sets))
    return _in(x.dtype, y), NormCache(x_hat, core, _kept(gamma), _kept(beta), sets, x.dtype)


def _affine(x_hat: Array, gamma: Parameter, beta: Parameter, sets: _Sets) -> dict[str, Any]:
    """Return the arguments that make inference scale and shift, and do nothing else."""
    ones = np.ones(x_hat.shape[sets.channel_axis])
    statistics = {"mean": 0.0 * ones, "var": ones, "eps": 0.0, "channel_axis": sets.channel_axis}
    return statistics | {"gamma": gamma, "beta": beta}


def _kept(parameter: Parameter) -> Array | None:
    """Return a copy that nobody can write to, neither through the cache nor the argument."""
    return None if parameter is None else np.broadcast_to(np.array(parameter), np.shape(parameter))


def _batch(x: Array, sets: _Sets) -> Array:
    """Return the sets as channels, (1 or 2, sets, values), in double precision like the signs."""
    rows = x.transpose(sets.order).reshape(sets.rows if x.size else (0, 0))
    return np.multiply.outer(sets.signs, rows)


def _unbatch(batch: Array, shape: tuple[int, ...], sets: _Sets) -> Array:
    """Return what belongs to x, and not to its negative, where it lies in x."""
    moved = batch[0].reshape([shape[a] for a in sets.order])
    return np.moveaxis(moved, range(len(shape)), sets.order)


@propagate_silently
def _in(dtype: np.dtype[np.generic], y: Array) -> Array:
    """Return y in a dtype; complex stays complex, whichever argument brought it in."""
    return y if y.dtype.kind == "c" else y.astype(dtype)
