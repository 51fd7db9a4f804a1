"""The batch norms of the frameworks that are installed, each as the laws see it.

`PEERS["PYTORCH"]` is PyTorch's with its defaults, and so on: the keys are names of entries of
`refbn.conventions`, and `"onnxruntime"`, whose convention is that of ONNX. A peer is a
`refbn.diagnose.Target`: to compare with it,

    peer = PEERS["KERAS"]
    subject = peer.make(Start(gamma, beta, mean, var))  # arrays of shape (C,)
    for layout in peer.layouts:  # that it takes: layout.rank, layout.channel_axis
        y = subject.train(x)  # x has that layout; this moves the running statistics
        dx, dgamma, dbeta = subject.backward(dy)  # of the last call of train
        mean, var = subject.statistics()
        y = subject.infer(x)

A subject belongs to one layout: Keras builds its layer for the rank that it first sees. What a
framework cannot do raises `refbn.diagnose.Lacking`. Batches are converted to the dtype of the peer,
but for those of float16 and bfloat16, which reach the framework as they are.

`peer(name, dtype="float64", momentum=0.5)` is one with other settings, in the words of the
framework; `dtype` is that of parameters and batches, float32 without (numpy-ml has no other than
float64). Keras runs on PyTorch here, unless KERAS_BACKEND says otherwise. Its float64 layers
compute in float32, so nothing exact can be asked of it. Channels come first in Keras and
Flax with `axis=1`, in TensorFlow with `data_format="NCHW"`.
"""
# ruff: noqa: PLC0415 - each is imported where it is installed

import collections
import collections.abc
import os
import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from refbn.diagnose import Layout, Subject, Target
from refbn.diagnose.keras_layer import keras_target
from refbn.diagnose.onnx_file import onnx_target
from refbn.diagnose.torch_module import torch_target

os.environ.setdefault("KERAS_BACKEND", "torch")

FIRST = tuple(Layout(rank, 1) for rank in (2, 3, 4, 5))
LAST = tuple(Layout(rank, -1) for rank in (2, 3, 4, 5))


def pytorch(dtype="float32", **words):
    """PyTorch's layer, whose three classes differ in the ranks that they take, and in no more."""
    import torch

    class BatchNorm(torch.nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - see above
        def _check_input_dim(self, x):
            pass

    return torch_target(BatchNorm, dtype=dtype, **words)


def keras(dtype="float32", **words):
    """Keras' layer, on the backend that Keras was started with."""
    import keras

    return keras_target(keras.layers.BatchNormalization, dtype=dtype, **words)


def onnx(dtype="float32", runtime="reference", **attributes):
    """The operator of ONNX, run by the evaluator of onnx or by onnxruntime."""
    from onnx import helper

    outputs = ["y", "new_mean", "new_var"]
    inputs = ["x", "scale", "B", "mean", "var"]
    node = helper.make_node("BatchNormalization", inputs, outputs, training_mode=1, **attributes)
    graph = helper.make_graph([node], "batch_norm", [], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    return onnx_target(model, dtype=dtype, runtime=runtime)


def numpy_ml(dtype="float64", **words):
    """The layers of numpy-ml, which take vectors and images, channels last."""
    with warnings.catch_warnings(action="ignore"):  # it misses packages for its other parts,
        collections.Hashable = collections.abc.Hashable  # and this, which Python 3.10 has moved
        layers = import_module("numpy_ml.neural_nets.layers")

    class NumpyMl(Subject):
        layer = None

        def _made(self, x):
            if self.layer is None:
                self.layer = {2: layers.BatchNorm1D, 4: layers.BatchNorm2D}[x.ndim](**words)
                self.layer.forward(x, retain_derived=False)  # makes the parameters
                names = ("scaler", "intercept", "running_mean", "running_var")
                values = (np.array(value, dtype) for value in self.start)
                self.layer.parameters |= dict(zip(names, values, strict=True))
            return self.layer

        def train(self, x):
            layer = self._made(x)
            layer.unfreeze()
            layer.flush_gradients()  # which a frozen layer refuses
            return layer.forward(x.astype(dtype))

        def infer(self, x):
            layer = self._made(x)
            layer.freeze()
            return layer.forward(x.astype(dtype))

        def backward(self, dy):
            dx = self.layer.backward(dy.astype(dtype))
            return dx, self.layer.gradients["scaler"], self.layer.gradients["intercept"]

        def statistics(self):
            if self.layer is None:
                return self.start.mean, self.start.var
            return tuple(self.layer.parameters[f"running_{n}"].copy() for n in ("mean", "var"))

    return Target("numpy-ml", NumpyMl, (Layout(2, -1), Layout(4, -1)))


class Flax(Subject):
    """What the layers of Flax have in common: a pure function of a batch and all variables."""

    def __init__(self, start):
        super().__init__(start)
        self.gamma, self.beta, self.mean, self.var = map(self._tensor, start)

    def train(self, x):
        return self.train_masked(x, None)

    def train_masked(self, x, where):
        self.last = (self._tensor(x), self.gamma, self.beta, self.mean, self.var, where)
        y, (self.mean, self.var) = self.forward(*self.last, training=True)
        return np.asarray(y)

    def infer(self, x):
        variables = self.gamma, self.beta, self.mean, self.var
        y, _ = self.forward(self._tensor(x), *variables, None, training=False)
        return np.asarray(y)

    def backward(self, dy):
        return tuple(map(np.asarray, self.gradients(self._tensor(dy), *self.last)))

    def statistics(self):
        return np.asarray(self.mean), np.asarray(self.var)

    def _tensor(self, values):
        return np.asarray(values, values.dtype if values.dtype.itemsize == 2 else self.dtype)


def _flax_target(name, forward, dtype, axis=-1):
    """Return the target of a function of a batch and the four variables, a mask and a switch."""
    import jax

    jax.config.update("jax_enable_x64", True)
    compiled = jax.jit(forward, static_argnames="training")

    @jax.jit
    def gradients(dy, x, gamma, beta, *others):
        def training(x, gamma, beta):
            return forward(x, gamma, beta, *others, training=True)[0]

        return jax.vjp(training, x, gamma, beta)[1](dy)

    passes = {"forward": staticmethod(compiled), "gradients": staticmethod(gradients)}
    layouts = FIRST if axis == 1 else LAST
    return Target(name, type(name, (Flax,), passes | {"dtype": dtype}), layouts)


def flax(dtype="float32", **words):
    """The layer of Flax linen."""
    from flax import linen

    layer = linen.BatchNorm(param_dtype=dtype, **words)

    def forward(x, gamma, beta, mean, var, where, training):
        variables = {
            "params": {"scale": gamma, "bias": beta},
            "batch_stats": {"mean": mean, "var": var},
        }
        how = {"use_running_average": not training, "mask": where, "mutable": ["batch_stats"]}
        y, now = layer.apply(variables, x, **how)
        return y, (now["batch_stats"]["mean"], now["batch_stats"]["var"])

    return _flax_target("flax.linen.BatchNorm", forward, dtype, words.get("axis", -1))


def flax_nnx(dtype="float32", **words):
    """The layer of Flax nnx."""
    from flax import nnx

    def forward(x, gamma, beta, mean, var, where, training):
        layer = nnx.BatchNorm(gamma.size, param_dtype=dtype, rngs=nnx.Rngs(0), **words)
        variables = layer.scale, layer.bias, layer.mean, layer.var
        for variable, value in zip(variables, (gamma, beta, mean, var), strict=True):
            variable.set_value(value)  # in its own dtype; nnx makes statistics in float32
        y = layer(x, use_running_average=not training, mask=where)
        return y, (layer.mean[...], layer.var[...])

    return _flax_target("flax.nnx.BatchNorm", forward, dtype, words.get("axis", -1))


def tensorflow(dtype="float32", data_format="NHWC", **words):
    """TensorFlow's fused batch norm, which takes images in float32."""
    import tensorflow as tf

    operation = partial(tf.compat.v1.nn.fused_batch_norm, data_format=data_format, **words)

    class TensorFlow(Subject):
        def __init__(self, start):
            super().__init__(start)
            self.parameters = [tf.Variable(value, dtype=dtype) for value in start[:2]]
            self.mean, self.var = (tf.constant(value, dtype) for value in start[2:])

        def _batch(self, x):
            return tf.constant(x, x.dtype if x.dtype.itemsize == 2 else dtype)

        def train(self, x):
            self.x = self._batch(x)
            with tf.GradientTape() as self.tape:
                self.tape.watch(self.x)
                self.y, self.mean, self.var = operation(
                    self.x, *self.parameters, self.mean, self.var, is_training=True
                )
            return self.y.numpy()

        def infer(self, x):
            return operation(
                self._batch(x), *self.parameters, self.mean, self.var, is_training=False
            )[0].numpy()

        def backward(self, dy):
            inputs = [self.x, *self.parameters]
            gradients = self.tape.gradient(self.y, inputs, self._batch(dy))
            return tuple(gradient.numpy() for gradient in gradients)

        def statistics(self):
            return self.mean.numpy(), self.var.numpy()

    axis = -1 if data_format.endswith("C") else 1
    return Target("fused_batch_norm", TensorFlow, (Layout(len(data_format), axis),))


_MAKERS = {
    "PYTORCH": ("torch", pytorch),
    "KERAS": ("keras", keras),
    "FLAX": ("flax", flax),
    "FLAX_NNX": ("flax", flax_nnx),
    "ONNX": ("onnx", onnx),
    "onnxruntime": ("onnxruntime", partial(onnx, runtime="onnxruntime")),
    "NUMPY_ML": ("numpy_ml", numpy_ml),
    "TENSORFLOW": ("tensorflow", tensorflow),
}


def peer(name, **words):
    """Return a peer with other settings, in its own words; `dtype` is one of them."""
    return _MAKERS[name][1](**words)


PEERS: dict[str, Target] = {
    name: peer(name) for name, (package, _) in _MAKERS.items() if find_spec(package)
}
