r"""The batch norm of `refbn` as a subject; also an example of how one is written."""

from __future__ import annotations

from typing import Any

import numpy as np

import refbn
from refbn.axes import Array
from refbn.diagnose.layout import Layout
from refbn.diagnose.subject import Start, Subject, Target


def reference_target(**words: Any) -> Target:
    """Adapt `refbn.BatchNorm`, made with some words.

    Args:
        **words: What its constructor takes beside the number of channels.

    Returns:
        What the laws are tried on.
    """

    class _Reference(_Layer):
        settings = words

    axis = words.get("channel_axis", 1)
    return Target("refbn.BatchNorm", _Reference, tuple(Layout(rank, axis) for rank in (2, 3, 4)))


class _Layer(Subject):
    """`refbn.BatchNorm`, and what `refbn` does beside the layer."""

    settings: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.layer = refbn.BatchNorm(start.gamma.size, **self.settings)
        self.layer.gamma, self.layer.beta = start.gamma, start.beta
        self.layer.running = refbn.RunningStatistics(start.mean, start.var, num_batches=0)

    def train(self, x: Array) -> Array:
        return self.layer.train()(x)

    def train_masked(self, x: Array, where: Array) -> Array:
        return self.layer.train()(x, where=where)

    def infer(self, x: Array) -> Array:
        return self.layer.eval()(x)

    def backward(self, dy: Array) -> tuple[Array, Array, Array]:
        dx, dgamma, dbeta = self.layer.backward(dy)
        return dx, np.asarray(dgamma), np.asarray(dbeta)

    def statistics(self) -> tuple[Array, Array]:
        return self.layer.running.mean, self.layer.running.var

    def folded(self) -> tuple[Array, Array]:
        running, layer = self.layer.running, self.layer
        line = refbn.scale_and_shift(
            running.mean, running.var, layer.gamma, layer.beta, eps=layer.eps
        )
        return line.scale, line.shift
