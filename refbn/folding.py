r"""Fold an inference batch norm into the layer before it or after it.

With its statistics fixed a batch norm is one straight line per channel,

$$y = \text{scale} \cdot x + \text{shift}, \qquad
\text{scale} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}, \qquad
\text{shift} = \beta - \text{scale} \cdot \mu,$$

and a linear layer or a convolution next to it can take that line in. The result computes the same
up to rounding, and the batch norm is gone. Two conditions: nothing stands between the two layers,
no activation either, and the batch norm is used for inference only. In training its statistics
move with the batch, so there is no fixed line to fold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_tuple

from refbn.axes import (
    Array,
    along_channels,
    as_floating,
    in_double,
    per_channel,
    propagate_silently,
)
from refbn.transform import batch_norm_infer, batch_norm_infer_backward


class Line(NamedTuple):
    r"""One straight line per channel, \(y = \text{scale} \cdot x + \text{shift}\).

    Attributes:
        scale: Slope of each channel, shape `(C,)`.
        shift: Value at 0 of each channel, shape `(C,)`.

    Examples:
        >>> Line(scale=np.array([1.5]), shift=np.array([-0.5])).scale
        array([1.5])
    """

    scale: Array
    shift: Array


def scale_and_shift(
    mean: npt.ArrayLike,
    var: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Line:
    r"""Return the slope of an inference batch norm and its value at 0.

    $$\text{scale} = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}, \qquad
    \text{shift} = \beta - \text{scale} \cdot \mu$$

    Args:
        mean: Mean \(\mu\) of each channel, shape `(C,)`; usually a running mean.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`; usually a running variance.
        gamma: Scale \(\gamma\), shape `(C,)`; None leaves it out.
        beta: Shift \(\beta\), shape `(C,)`; None leaves it out.
        eps: \(\varepsilon\), in the square of the unit of the input; not negative. It must be that
            of the batch norm: the frameworks differ in their defaults.

    Returns:
        The line: `scale` and `shift`, each of shape `(C,)` in float64.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative, or both are 0.

    Examples:
        >>> scale_and_shift(mean=[1.0], var=[4.0], gamma=[3.0], beta=[1.0], eps=0.0)
        Line(scale=array([1.5]), shift=array([-0.5]))
    """
    zero = np.zeros((1, np.size(mean)))
    shift = batch_norm_infer(zero, mean, var, gamma, beta, eps=eps)
    slope = batch_norm_infer_backward(zero + 1.0, zero, mean, var, gamma, eps=eps)
    return Line(slope.x[0], shift[0])


@propagate_silently
def fold_into_previous(
    weight: npt.ArrayLike, bias: npt.ArrayLike | None, line: Line, *, output_axis: int = 0
) -> tuple[Array, Array]:
    r"""Fold a batch norm into the linear layer or convolution before it.

    $$W' = \text{scale} \cdot W, \qquad b' = \text{scale} \cdot b + \text{shift}$$

    Each output of the layer is one channel of the batch norm, and its weights and its bias are
    scaled as a whole. So nothing depends on how a convolution picks its inputs: rank, stride,
    dilation, padding and groups may be any, and it may be transposed.

    Args:
        weight: Weights of the layer, of any rank: `(out, in)`, `(out, in, *kernel)`, or in another
            order of axes; floating.
        bias: Bias of the layer, shape `(out,)`, or None. Layers before a batch norm often have
            none; the folded one always does.
        line: The batch norm, one slope and one shift for each output, from
            [`scale_and_shift`][refbn.scale_and_shift].
        output_axis: The axis of `weight` that holds the outputs. In PyTorch 0, in Keras and Flax
            -1; in transposed convolutions of PyTorch 1, in those of Keras -2. Where the outputs
            lie on two axes, as in the depthwise kernels of Keras, reshape the weights first.

    Returns:
        New weights and new bias, computed in float64. Each comes back in the dtype that it had,
        and a bias that was None in that of the weights.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If `weight` has no such axis, or another shape does not fit.

    Examples:
        >>> line = scale_and_shift([1.0], [4.0], [3.0], [1.0], eps=0.0)
        >>> fold_into_previous([[2.0, 4.0]], [1.0], line)
        (array([[3., 6.]]), array([1.]))
    """
    weight, bias, scale, shift = _checked(weight, bias, line, (output_axis,))
    return _like(weight, weight * scale), _like(bias, bias * scale.ravel() + shift.ravel())


@propagate_silently
def fold_into_next(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    line: Line,
    *,
    axes: tuple[int, int] = (0, 1),
    zero_padding: bool = True,
) -> tuple[Array, Array]:
    r"""Fold a batch norm into the linear layer or convolution after it.

    $$W' = W \cdot \text{scale}, \qquad b' = b + \sum_{\text{in},\,\text{kernel}} W \cdot
    \text{shift}$$

    A convolution that pads with zeros is refused, unless every `shift` is 0. Its zeros are set
    *after* the batch norm, so they are not shifted, yet \(b'\) counts the shift under the whole
    kernel: the output would be wrong wherever the kernel reaches over the border. Padding that
    repeats the input (reflect, replicate, circular) does no harm. In place of zeros pad with
    [`padding_value`][refbn.padding_value], outside the convolution, and let it pad nothing.

    The batch norm subtracts the mean from its input before anything else. Folded, the large numbers
    meet only at the end, so rounding errors grow with \(|\mu| / \sqrt{\sigma^2 + \varepsilon}\).

    A transposed convolution sets zeros between the values too, so it takes in a scale only: leave
    `zero_padding` True. A grouped one is folded group by group; so is a depthwise kernel of Keras,
    `(*kernel, in, multiplier)`, where no single axis holds the outputs.

    Args:
        weight: Weights of the layer, `(out, in)`, `(out, in, *kernel)`, or in another order of
            axes; floating.
        bias: Bias of the layer, shape `(out,)`, or None; the folded layer always has one.
        line: The batch norm, one slope and one shift for each input, from
            [`scale_and_shift`][refbn.scale_and_shift].
        axes: The axis of `weight` that holds the outputs, and the one that holds the inputs. In
            PyTorch `(0, 1)`, in Keras and Flax `(-1, -2)`.
        zero_padding: Whether the folded convolution will pad with zeros; True unless you say
            otherwise. A linear layer, where `weight` has two axes, has no padding.

    Returns:
        New weights and new bias, computed in float64. Each comes back in the dtype that it had,
        and a bias that was None in that of the weights.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If the convolution pads with zeros and a `shift` is not 0, `weight` has no such
            axes, or another shape does not fit.

    Examples:
        >>> line = scale_and_shift([1.0], [4.0], [3.0], [1.0], eps=0.0)
        >>> fold_into_next([[2.0]], [1.0], line)
        (array([[3.]]), array([0.]))
        >>> fold_into_next([[[2.0, 4.0]]], [1.0], line, zero_padding=False)
        (array([[[3., 6.]]]), array([-2.]))
    """
    weight, bias, scale, shift = _checked(weight, bias, line, axes)
    if zero_padding and weight.ndim > 2 and shift.any():  # noqa: PLR2004 (there is a kernel)
        raise ValueError(
            "a shift cannot be folded into a convolution that pads with zeros, which are not "
            f"shifted; got zero_padding={zero_padding} for weight.shape={weight.shape}. If it does "
            "not, pass zero_padding=False; if it does, pad outside of it with padding_value(line)."
        )
    rest = tuple(np.delete(range(weight.ndim), axes[0]))  # inputs and kernel
    return _like(weight, weight * scale), _like(bias, bias + np.sum(weight * shift, axis=rest))


def padding_value(line: Line) -> Array:
    r"""Return what a batch norm maps to 0, to pad with before a convolution it was folded into.

    $$\text{scale} \cdot \Bigl(-\frac{\text{shift}}{\text{scale}}\Bigr) + \text{shift} = 0$$

    Padding the *input* of the batch norm with this value is padding its *output* with zeros.

    Args:
        line: The batch norm, from [`scale_and_shift`][refbn.scale_and_shift].

    Returns:
        One value per channel, shape `(C,)` in float64; 0 where `scale` and `shift` are both 0.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If the shapes differ, or `scale` is 0 where `shift` is not.

    Examples:
        >>> line = scale_and_shift([1.0], [4.0], [3.0], [3.0], eps=0.0)
        >>> padding_value(line)
        array([-1.])
    """
    scale, shift = (per_channel(*v, (1, np.size(line[0])), 1)[0] for v in line._asdict().items())
    if (constant := (scale == 0) & (shift != 0)).any():
        raise ValueError(
            "scale must not be 0 where shift is not, because nothing is mapped to 0 there; got "
            f"scale=0 in channels {np.flatnonzero(constant).tolist()}. Keep this batch norm."
        )
    return np.asarray((0.0 - shift) / np.where(scale == 0, 1.0, scale))


def identity_parameters(
    mean: npt.ArrayLike, var: npt.ArrayLike, *, eps: float = 1e-5
) -> tuple[Array, Array]:
    r"""Return the gamma and beta with which an inference batch norm changes nothing.

    $$\gamma = \sqrt{\sigma^2 + \varepsilon}, \qquad \beta = \mu$$

    Without \(\varepsilon\) the slope would be \(\sigma / \sqrt{\sigma^2 + \varepsilon}\), far from
    1 where the variance is small. In training the same parameters undo the forward pass of that
    one batch only, and never the backward pass.

    Args:
        mean: Mean \(\mu\) of each channel, shape `(C,)`.
        var: Variance \(\sigma^2\) of each channel, shape `(C,)`.
        eps: \(\varepsilon\) of the batch norm.

    Returns:
        `gamma` and `beta`, each of shape `(C,)` in float64.

    Raises:
        TypeError: If an array is not floating.
        ValueError: If a shape does not fit, `var` or `eps` is negative, or both are 0.

    Examples:
        >>> identity_parameters(mean=[1.0], var=[3.0], eps=1.0)
        (array([2.]), array([1.]))

    References:
        Ioffe and Szegedy (2015), section 3, where \(\varepsilon\) is left out.
    """
    scale_and_shift(mean, var, eps=eps)  # refuses what no batch norm could be made of
    return np.sqrt(in_double(np.asarray(var)) + eps), np.array(in_double(np.asarray(mean)))


def _checked(
    weight: npt.ArrayLike, bias: npt.ArrayLike | None, line: Line, axes: tuple[int, ...]
) -> tuple[Array, Array, Array, Array]:
    """Return weights and bias as they are, scale and shift so that they meet the weights."""
    array = as_floating("weight", weight)
    lengths = [(array.shape[a],) for a in normalize_axis_tuple(axes, array.ndim, "axes")]
    old = as_floating("bias", np.zeros(lengths[0], array.dtype) if bias is None else bias)
    scale, shift = (as_floating(*field) for field in Line(*line)._asdict().items())
    if [old.shape, scale.shape, shift.shape] != [lengths[0], lengths[-1], lengths[-1]]:
        raise ValueError(
            f"bias must have shape {lengths[0]}, scale and shift {lengths[-1]}; got {old.shape}, "
            f"{scale.shape} and {shift.shape} for weight.shape={array.shape} and axes {axes}. "
            "Name other axes, or fold a grouped convolution group by group."
        )
    scale, shift = (along_channels(in_double(v), array.ndim, axes[-1]) for v in (scale, shift))
    return array, old, scale, shift


def _like(old: Array, new: Array) -> Array:
    """Return the new values in the dtype of the old; complex stays complex."""
    return new if new.dtype.kind == "c" else new.astype(old.dtype, copy=False)
