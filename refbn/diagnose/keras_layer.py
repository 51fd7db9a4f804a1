r"""Layers of Keras 3, with PyTorch, TensorFlow, JAX or NumPy beneath.

Keras is imported when a layer is tried; whoever has a layer has Keras. JAX compiles each operation
for each shape, so on JAX a law may need more seconds than it is given unless told otherwise.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refbn.axes import Array
from refbn.diagnose.layout import Layout
from refbn.diagnose.roles import by_role, fit, require_statistics
from refbn.diagnose.subject import BOTH, Lacking, Start, Subject, Target

_HALF = 2  # bytes, of float16 and bfloat16
Pull = Callable[[Array], tuple[Any, Sequence[Any]]]
"""Takes the gradient of the output; gives that of the batch, and those of trainable variables."""


def keras_target(layer: Any, *, channel_axis: int | None = None, **words: Any) -> Target:
    """Adapt a layer of Keras: its variables are known by their names.

    Args:
        layer: A layer, which is made again from its configuration; or a class of them.
        channel_axis: The axis of the channels in its batches. Without it that is the layer's own
            `axis`; the last if it has no such word.
        **words: What the layer is made with instead of its own, such as `dtype="float64"`.

    Returns:
        What the laws are tried on.
    """
    if isinstance(layer, type):
        layer = layer(**words)
    kind, config = type(layer), layer.get_config() | words
    axis = np.ravel(config.get("axis", -1))[0] if channel_axis is None else channel_axis
    layouts = tuple(Layout(r, int(axis)) for r in (2, 3, 4, 5) if -r <= axis < r and axis % r)

    def again(start: Start) -> _Layer:
        return _Layer(kind.from_config(dict(config)), start, int(axis))

    return Target(kind.__name__, again, layouts, parameters=_parameters(again, layouts))


class _Layer(Subject):
    """A layer, of which nobody else has hold. The first batch that it sees builds it."""

    def __init__(self, layer: Any, start: Start, channel_axis: int) -> None:
        import keras  # noqa: PLC0415

        super().__init__(start)
        self.keras, self.layer, self.channel_axis = keras, layer, channel_axis
        self.ready, self.variables = False, dict[str, Any]()

    def train(self, x: Array) -> Array:
        return self._train(x)

    def train_masked(self, x: Array, where: Array) -> Array:
        if "mask" not in inspect.signature(self.layer.call).parameters:
            raise Lacking("support for masks")
        if self.channel_axis % x.ndim != x.ndim - 1:
            raise Lacking("support for masks, as its channels do not come last")
        return self._train(x, mask=where[..., 0])

    def infer(self, x: Array) -> Array:
        self._build(x)
        return self._numpy(self.layer(self._batch(x), training=False))

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        dx, others = self.pull(self._batch(dy))
        of = dict(zip(map(id, self.layer.trainable_variables), others, strict=True))
        dgamma, dbeta = (of.get(id(self.variables.get(role))) for role in ("gamma", "beta"))
        return (
            self._numpy(dx),
            None if dgamma is None else self._numpy(dgamma),
            None if dbeta is None else self._numpy(dbeta),
        )

    def statistics(self) -> tuple[Array, Array]:
        if not self.ready:
            return self.start.mean, self.start.var
        if not self.variables.keys() >= {"mean", "var"}:
            raise Lacking("running statistics")
        mean, var = (self._numpy(self.variables[role].value) for role in ("mean", "var"))
        return mean, var

    def _train(self, x: Array, **how: Any) -> Array:
        if not self.layer.trainable:  # Keras then infers
            raise Lacking("forward pass in training, as its trainable is False")
        self._build(x)
        differentiate = _BACKENDS[self.keras.backend.backend()]
        y, self.pull = differentiate(self.layer, self._batch(x), how | {"training": True})
        return self._numpy(y)

    def _build(self, x: Array) -> None:
        """Build the layer, and write the start into it."""
        if self.ready:
            return
        self.ready = True
        self.layer(self._batch(x), training=False)
        self.variables = by_role({v.path: v for v in self.layer.variables}, "/")
        require_statistics(self.variables, self.start)
        for role, variable in self.variables.items():
            variable.assign(fit(role, getattr(self.start, role), tuple(variable.shape)))

    def _batch(self, x: Array) -> Array:
        return x if x.dtype.itemsize == _HALF else np.asarray(x, self.layer.compute_dtype)

    def _numpy(self, tensor: Any) -> Array:
        with warnings.catch_warnings():  # Keras 3.15 asks tensors of PyTorch in an old way
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            return np.array(self.keras.ops.convert_to_numpy(tensor))


def _parameters(again: Callable[[Start], _Layer], layouts: Sequence[Layout]) -> frozenset[str]:
    """Return which of gamma and beta a layer has, once it is built for a layout that it takes."""
    start = Start(np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))
    for layout in layouts:
        with (
            contextlib.suppress(Exception),  # whatever it raises, it does not take it
            warnings.catch_warnings(action="ignore"),
        ):
            layer = again(start)
            layer.infer(layout.array(np.arange(18.0).reshape(6, 3)))
            return BOTH & layer.variables.keys()
    return BOTH


def _by_torch(layer: Any, x: Array, how: dict[str, Any]) -> tuple[Any, Pull]:
    import torch  # noqa: PLC0415

    batch = torch.tensor(x, requires_grad=True)
    y = layer(batch, **how)
    inputs = [batch, *(variable.value for variable in layer.trainable_variables)]

    def pull(dy: Array) -> tuple[Any, Sequence[Any]]:
        dx, *others = torch.autograd.grad(
            y, inputs, torch.tensor(dy), allow_unused=True, materialize_grads=True
        )
        return dx, others

    return y, pull


def _by_tensorflow(layer: Any, x: Array, how: dict[str, Any]) -> tuple[Any, Pull]:
    import tensorflow as tf  # noqa: PLC0415

    batch = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        y = layer(batch, **how)
    inputs = [batch, *(variable.value for variable in layer.trainable_variables)]

    def pull(dy: Array) -> tuple[Any, Sequence[Any]]:
        dx, *others = tape.gradient(y, inputs, dy, tf.UnconnectedGradients.ZERO)
        return dx, others

    return y, pull


def _by_jax(layer: Any, x: Array, how: dict[str, Any]) -> tuple[Any, Pull]:
    import jax  # noqa: PLC0415

    trainable = [variable.value for variable in layer.trainable_variables]
    fixed = [variable.value for variable in layer.non_trainable_variables]
    y = layer(x, **how)

    def forward(batch: Any, trainable: Any) -> Any:
        return layer.stateless_call(trainable, fixed, batch, **how)[0]

    def pull(dy: Array) -> tuple[Any, Sequence[Any]]:
        dx, others = jax.vjp(forward, x, trainable)[1](dy)
        return dx, others

    return y, pull


def _by_numpy(layer: Any, x: Array, how: dict[str, Any]) -> tuple[Any, Pull]:
    def pull(_: Array) -> tuple[Any, Sequence[Any]]:
        raise Lacking("backward pass with NumPy beneath Keras")

    return layer(x, **how), pull


_BACKENDS = {
    "torch": _by_torch, "tensorflow": _by_tensorflow, "jax": _by_jax, "numpy": _by_numpy,
}  # fmt: skip
