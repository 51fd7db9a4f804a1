"""refbn behind the interface of PyTorch, so that PyTorch's own suites can be run on it.

`batch_norm` takes what `torch.nn.functional.batch_norm` takes. Its gradients, the gradients of
these and its forward mode are refbn's; autograd only calls them.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import ml_dtypes
import torch

import refbn
from refbn.conventions import PYTORCH


class Passes(NamedTuple):
    """What refbn offers beside the output of one forward pass, and the moments of its batch."""

    backward: Callable
    double_backward: Callable
    jvp: Callable
    moments: refbn.Moments | None


def to_numpy(tensor):
    """Return a copy of a tensor as an array of its dtype; None stays None."""
    if tensor is None:
        return None
    if tensor.dtype == torch.bfloat16:  # of which NumPy knows nothing without ml_dtypes
        return to_numpy(tensor.detach().view(torch.int16)).view(ml_dtypes.bfloat16)
    return tensor.detach().numpy().copy()


def to_torch(array, like):
    """Return an array as a tensor of the dtype of another; None stays None."""
    # by way of float64, which holds the values of every dtype, as PyTorch does not know ml_dtypes
    return None if array is None else torch.from_numpy(array.astype(float)).to(like.dtype)


def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, *, training=False, momentum=0.1, eps=1e-5
):
    """Do with refbn what `torch.nn.functional.batch_norm` does, the running statistics in place."""
    inputs = to_numpy(x), to_numpy(weight), to_numpy(bias)
    if training:
        y, passes = _train(*inputs, eps)
    else:
        y, passes = _infer(*inputs, eps, to_numpy(running_mean), to_numpy(running_var))
    if training and running_mean is not None:
        rule = PYTORCH.layer(len(running_mean), momentum=momentum).update
        old = refbn.RunningStatistics(to_numpy(running_mean), to_numpy(running_var))
        new = rule(old, passes.moments)
        running_mean.copy_(to_torch(new.mean, running_mean))
        running_var.copy_(to_torch(new.var, running_var))
    return _Forward.apply(x, weight, bias, to_torch(y, x), passes)


def _train(x, gamma, beta, eps):
    y, cache = refbn.batch_norm_train(x, gamma, beta, eps=eps)
    return y, Passes(
        partial(refbn.batch_norm_backward, cache=cache),
        partial(refbn.batch_norm_double_backward, cache=cache),
        lambda x_dot, *dots: refbn.batch_norm_jvp(x_dot, cache, *dots),
        cache.moments,
    )


def _infer(x, gamma, beta, eps, mean, var):
    given = {"x": x, "mean": mean, "var": var, "gamma": gamma, "beta": beta, "eps": eps}
    return refbn.batch_norm_infer(**given), Passes(
        partial(refbn.batch_norm_infer_backward, **given),
        partial(refbn.batch_norm_infer_double_backward, **given),
        lambda x_dot, *dots: refbn.batch_norm_infer_jvp(
            x_dot, **given, gamma_dot=dots[0], beta_dot=dots[1]
        ),
        None,
    )


class _Forward(torch.autograd.Function):
    """The output, which refbn has computed, as a function of its inputs."""

    @staticmethod
    def forward(ctx, x, gamma, beta, y, passes):
        ctx.save_for_backward(x, gamma, beta)
        ctx.passes = passes
        return y

    @staticmethod
    def backward(ctx, dy):
        return *_Backward.apply(dy, *ctx.saved_tensors, ctx.passes), None, None

    @staticmethod
    def jvp(ctx, x_dot, gamma_dot, beta_dot, *_):
        y_dot = ctx.passes.jvp(*map(to_numpy, (x_dot, gamma_dot, beta_dot)))
        return to_torch(y_dot, x_dot)


class _Backward(torch.autograd.Function):
    """The gradients, as a function of that of the output and of the inputs."""

    @staticmethod
    def forward(ctx, dy, x, gamma, beta, passes):
        ctx.save_for_backward(dy, x, gamma)
        ctx.passes = passes
        gradients = passes.backward(to_numpy(dy))
        return tuple(map(to_torch, gradients, (x, gamma, beta)))

    @staticmethod
    def backward(ctx, *cotangents):
        dy, x, gamma = ctx.saved_tensors
        upstream = refbn.Gradients(*map(to_numpy, cotangents))
        second = ctx.passes.double_backward(upstream, to_numpy(dy))
        dx, dgamma = to_torch(second.x, x), to_torch(second.gamma, gamma)
        return to_torch(second.dy, dy), dx, dgamma, None, None
