"""The contenders from other packages, which `make bench` installs."""

import collections
import collections.abc
import warnings
from importlib import import_module

import keras
import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from bench.contenders import EPS, Contender

with warnings.catch_warnings(action="ignore"):  # numpy-ml misses packages for its other parts,
    collections.Hashable = collections.abc.Hashable  # and this, which Python 3.10 has moved
    numpy_ml = import_module("numpy_ml.neural_nets.layers")

torch.set_num_threads(1)


def pytorch(case):
    """Return PyTorch's function, with a graph for the gradient; updates running statistics."""
    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (case.x, *case[2:]))
    dy = torch.tensor(case.dy)
    mean, var = torch.zeros_like(gamma), torch.ones_like(gamma)

    def forward():
        y = torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training=True, eps=EPS)
        return y, y

    def backward(y):
        return torch.autograd.grad(y, (x, gamma, beta), dy)

    return Contender(forward, backward)


def onnx_reference(case):
    """Return ONNX's reference, a model of one node; updates running statistics."""
    names = ["x", "gamma", "beta", "mean", "var"], ["y", "new_mean", "new_var"]
    node = onnx.helper.make_node("BatchNormalization", *names, epsilon=EPS, training_mode=1)
    values = [
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in part]
        for part in names
    ]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "batch_norm", *values),
        opset_imports=[onnx.helper.make_opsetid("", 15)],
    )
    run = ReferenceEvaluator(model).run
    statistics = np.zeros_like(case.gamma), np.ones_like(case.gamma)
    feed = dict(zip(names[0], (case.x, *case[2:], *statistics), strict=True))
    return Contender(lambda: (run(None, feed)[0], None))


def keras_numpy(case):
    """Return Keras' layer on NumPy, told that axis 1 has the channels; updates its statistics."""
    if keras.backend.backend() != "numpy":
        raise RuntimeError("Keras must run on NumPy here. Set KERAS_BACKEND=numpy, or make bench.")
    layer = keras.layers.BatchNormalization(axis=1, epsilon=EPS)
    layer.build(case.x.shape)
    layer.gamma.assign(case.gamma)
    layer.beta.assign(case.beta)
    return Contender(lambda: (layer(case.x, training=True), None))


def numpy_ml_layer(case):
    """Return numpy-ml's layer on arrays with the channels last; updates running statistics."""
    x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in case[:2])
    layer = (numpy_ml.BatchNorm1D if x.ndim == 2 else numpy_ml.BatchNorm2D)(epsilon=EPS)
    layer.forward(x, retain_derived=False)  # makes the parameters
    layer.parameters |= {"scaler": case.gamma, "intercept": case.beta}

    def forward():
        layer.flush_gradients()
        return np.moveaxis(layer.forward(x), -1, 1), None

    def backward(_):
        dx = layer.backward(dy)
        return np.moveaxis(dx, -1, 1), layer.gradients["scaler"], layer.gradients["intercept"]

    return Contender(forward, backward)


PEERS = {
    "PyTorch": pytorch,
    "ONNX reference": onnx_reference,
    "Keras on NumPy": keras_numpy,
    "numpy-ml": numpy_ml_layer,
}
PACKAGES = ("torch", "onnx", "keras", "numpy-ml")
