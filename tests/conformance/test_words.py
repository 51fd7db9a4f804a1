"""The words, defaults and names of refbn.conventions are those of the installed frameworks."""

import inspect

import flax.linen
import flax.traverse_util
import jax
import jax.numpy as jnp
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import torch
from flax import nnx
from onnx.reference import ReferenceEvaluator

import refbn
from conformance.compare import apart, convention_of, target
from conformance.tolerances import TOLERANCES
from refbn.diagnose import Start

SCHEMA = onnx.defs.get_schema("BatchNormalization", 15)


def keras_names():
    """Return the names of the variables of Keras' layer."""
    layer = keras.layers.BatchNormalization()
    layer.build((2, 3))
    return {variable.name for variable in layer.variables}


def flax_names():
    """Return the paths of the variables of Flax linen's layer."""
    layer = flax.linen.BatchNorm(use_running_average=True)
    made = layer.init(jax.random.key(0), jnp.ones((2, 3)))
    return {"/".join(path) for path in flax.traverse_util.flatten_dict(made)}


def numpy_ml():
    """Return a layer of numpy-ml that has its parameters."""
    subject = target("NUMPY_ML", "float64").make(Start(*np.ones((4, 3))))
    subject.infer(np.ones((2, 3)))
    return subject.layer


def defaults(function):
    """Return the words that a function takes, with their defaults."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items()}


def attributes():
    """Return the attributes of the ONNX operator; they are numbers in float32."""
    value = onnx.helper.get_attribute_value
    return {n: float(f"{value(a.default_value):.7g}") for n, a in SCHEMA.attributes.items()}


FUSED = tf.compat.v1.nn.fused_batch_norm
THEIRS = {  # the words with their defaults, and the names
    "PYTORCH": lambda: (defaults(torch.nn.BatchNorm1d), torch.nn.BatchNorm1d(3).state_dict()),
    "KERAS": lambda: (defaults(keras.layers.BatchNormalization), keras_names()),
    "FLAX": lambda: (defaults(flax.linen.BatchNorm), flax_names()),
    "FLAX_NNX": lambda: (
        defaults(nnx.BatchNorm.__init__),
        {path[0] for path, _ in nnx.to_flat_state(nnx.state(nnx.BatchNorm(3, rngs=nnx.Rngs(0))))},
    ),
    "ONNX": lambda: (attributes(), {formal.name for formal in SCHEMA.inputs} - {"X"}),
    "TENSORFLOW": lambda: (
        defaults(FUSED),
        {"scale", "offset", "mean", "variance"} & set(defaults(FUSED)),
    ),
    "NUMPY_ML": lambda: (defaults(type(numpy_ml())), numpy_ml().parameters),
}


@pytest.mark.parametrize("name", THEIRS)
def test_words_and_names_are_those_of_the_framework(name, record):
    """Every word is one of its constructor's, with that default; every name is one of its state."""
    convention = convention_of(name)
    words, names = THEIRS[name]()
    assert {word: words[word] for word in convention.words} == dict(convention.words)
    assert set(names) == convention.to_state(convention.layer(3)).keys()
    record("words, defaults and names", name, verdict="same")


def by_torch(state, x):
    """Evaluate PyTorch's layer, which takes exactly the names that it knows."""
    layer = torch.nn.BatchNorm1d(3).double().eval()
    layer.load_state_dict({n: torch.tensor(v) for n, v in state.items()}, strict=True)
    return layer(torch.tensor(x)).detach().numpy()


def by_keras(state, x):
    """Evaluate Keras' layer, with variables set by name."""
    layer = keras.layers.BatchNormalization()
    layer.build(x.shape)
    for variable in layer.variables:
        variable.assign(state[variable.name])
    return layer(torch.tensor(x), training=False).detach().numpy()


def by_flax(state, x):
    """Evaluate Flax linen's layer, with a tree of the nested names."""
    tree = flax.traverse_util.unflatten_dict({tuple(n.split("/")): v for n, v in state.items()})
    return np.asarray(flax.linen.BatchNorm(use_running_average=True).apply(tree, x))


def by_nnx(state, x):
    """Evaluate Flax nnx' layer, with its attributes set."""
    layer = nnx.BatchNorm(3, use_running_average=True, rngs=nnx.Rngs(0))
    for n, value in state.items():
        getattr(layer, n).set_value(jnp.asarray(value))
    return np.asarray(layer(jnp.asarray(x)))


def by_onnx(state, x):
    """Evaluate the operator, with inputs in the order of its schema."""
    inputs = [formal.name for formal in SCHEMA.inputs]
    node = onnx.helper.make_node("BatchNormalization", inputs, ["Y"])
    return ReferenceEvaluator(node).run(None, {"X": x} | state)[0]


def by_tensorflow(state, x):
    """Evaluate the fused kernel, with arguments by name; it takes images in float32."""
    given = {n: v.astype(np.float32) for n, v in state.items()}
    y = FUSED(x[:, None, None].astype(np.float32), **given, is_training=False)[0]
    return y.numpy()[:, 0, 0]


def by_numpy_ml(state, x):
    """Evaluate the layer of numpy-ml, with its parameters set by name."""
    layer = numpy_ml()
    layer.parameters |= state
    return layer.forward(x, retain_derived=False)


EVALUATE = {
    "PYTORCH": by_torch,
    "KERAS": by_keras,
    "FLAX": by_flax,
    "FLAX_NNX": by_nnx,
    "ONNX": by_onnx,
    "TENSORFLOW": by_tensorflow,
    "NUMPY_ML": by_numpy_ml,
}


@pytest.mark.parametrize("name", EVALUATE)
def test_each_name_means_what_the_convention_says(name):
    """A framework that is given the state by its names evaluates as refbn does."""
    rng = np.random.default_rng(0)
    layer = convention_of(name).layer(3).eval()
    layer.gamma, layer.beta = rng.normal(size=(2, 3))
    layer.running = refbn.RunningStatistics(
        rng.normal(size=3), rng.uniform(0.5, 2, 3), num_batches=0
    )
    x = rng.normal(1, 2, (8, 3))
    images = x[:, None, None] if name == "TENSORFLOW" else x
    y = EVALUATE[name](convention_of(name).to_state(layer), x)
    assert apart(layer(images).reshape(x.shape), y) <= TOLERANCES["float32"]
