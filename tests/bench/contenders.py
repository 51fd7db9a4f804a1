"""What is timed: a case to compute, and the contenders that need no other package."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import refbn

EPS = 1e-5


class Case(NamedTuple):
    """A batch, the gradient of its output, and the parameters, all in float32."""

    x: np.ndarray
    dy: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray

    @classmethod
    def of(cls, shape):
        """Return random numbers, the same in every run, with channels along axis 1."""
        rng = np.random.default_rng(2015)
        shapes = shape, shape, shape[1], shape[1]
        x, dy, gamma, beta = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
        return cls(1 + x / 2, dy, 1 + gamma / 4, beta)

    @property
    def axis(self):
        """The axes that are averaged over."""
        return tuple(a for a in range(self.x.ndim) if a != 1)


class Contender(NamedTuple):
    """An implementation that is ready to compute one case.

    Attributes:
        forward: Takes nothing, returns y and what its backward pass wants.
        backward: Takes that, returns dx, dgamma and dbeta; None where there is no backward pass.
    """

    forward: Callable[[], tuple[Any, Any]]
    backward: Callable[[Any], tuple[Any, Any, Any]] | None = None


def reference(case):
    """Return refbn's public functions."""

    def forward():
        return refbn.batch_norm_train(case.x, case.gamma, case.beta, eps=EPS)

    def backward(cache):
        return refbn.batch_norm_backward(case.dy, cache)

    return Contender(forward, backward)


def textbook(case):
    """Return the lines that every tutorial has, written with NumPy."""
    x, dy, axis = case.x, case.dy, case.axis
    gamma, beta = (np.expand_dims(p, axis) for p in case[2:])
    n = x.size // gamma.size

    def forward():
        mean = x.mean(axis=axis, keepdims=True)
        std = np.sqrt(x.var(axis=axis, keepdims=True) + EPS)
        x_hat = (x - mean) / std
        return gamma * x_hat + beta, (x_hat, std)

    def backward(kept):
        x_hat, std = kept
        dbeta = dy.sum(axis=axis, keepdims=True)
        dgamma = (dy * x_hat).sum(axis=axis, keepdims=True)
        dx = gamma / std * (dy - dbeta / n - x_hat * (dgamma / n))
        return dx, dgamma.ravel(), dbeta.ravel()

    return Contender(forward, backward)


def copy(case):
    """Return a copy of x, then one of dy: as many bytes as the result, and no arithmetic."""
    return Contender(
        lambda: (case.x.copy(), None),
        lambda _: (case.dy.copy(), case.gamma, case.beta),
    )


CONTENDERS = {"refbn": reference, "memory copy": copy, "textbook NumPy": textbook}
