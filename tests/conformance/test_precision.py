"""What each framework does with float64, and with float16 and bfloat16 whose squares overflow."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import torch

from conformance.compare import (
    IN_FLOAT32,
    NAMES,
    Pair,
    apart,
    convention_of,
    pairs,
    record_differs,
    record_same,
    target,
)
from conformance.tolerances import FAR, TOLERANCES
from refbn.diagnose import Start

CASE = "all in float64"
HALF = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def one_step(pair):
    """Return the difference of the outputs, and that of the running statistics."""
    x = pair.batch()
    off = apart(pair.ours(x), pair.theirs.train(x))
    ours, theirs = pair.ours.running, pair.returned().running
    return off, max(apart(ours.mean, theirs.mean), apart(ours.var, theirs.var))


def test_keras_on_pytorch_computes_float64_in_float32(record):
    """A layer of float64 gives outputs in float64, of which half of the digits are not right."""
    off = max(max(one_step(pair)) for pair in pairs("KERAS", "float64"))
    assert FAR * TOLERANCES["float64"] < off <= TOLERANCES["float32"]
    assert keras.backend.result_type("float64", "float32") == "float32"
    does = "On PyTorch a layer with the dtype float64 computes in float32."
    right = "What has the dtype float64 is as exact as that."
    record_differs(record, CASE, "KERAS", does, right, float64=off)


@pytest.mark.parametrize("name", ["ONNX", "ONNXRUNTIME"])
def test_attributes_of_onnx_are_numbers_in_float32(name, record):
    """In float64 a momentum of 0.9 is off by 2.4e-8; told of that number, refbn agrees."""
    layout = target(name, "float64").layouts[0]
    off = max(one_step(Pair(name, layout, "float64")))
    assert FAR * TOLERANCES["float64"] < off < abs(IN_FLOAT32["momentum"] - 0.9) * 16
    assert max(one_step(Pair(name, layout, "float64", **IN_FLOAT32))) <= TOLERANCES["float64"]
    does = "Its attributes, epsilon and momentum, are numbers in float32."
    right = "With these very numbers refbn agrees."
    record_differs(record, CASE, name, does, right, float64=off)


def test_tensorflow_has_no_float64(record):
    """The fused kernel refuses it."""
    pair = Pair("TENSORFLOW", target("TENSORFLOW", "float64").layouts[0], "float64")
    with pytest.raises(tf.errors.InvalidArgumentError):
        pair.theirs.train(pair.batch())
    does, right = "It has no kernel for float64.", "float64 is a dtype like the others."
    record_differs(record, CASE, "TENSORFLOW", does, right)


@pytest.mark.parametrize("name", ["PYTORCH", "FLAX", "FLAX_NNX", "NUMPY_ML"])
def test_float64_is_kept_by_the_others(name, record):
    """Outputs and statistics are as exact as float64 is."""
    off = max(max(one_step(pair)) for pair in pairs(name, "float64"))
    record_same(record, CASE, name, float64=off)


def trained(name, x):
    """Return the output and running variance of a new layer with float32 parameters."""
    if name == "KERAS":
        layer = keras.layers.BatchNormalization(dtype=f"mixed_{x.dtype.name}")
        tensor = torch.tensor(x.astype(np.float32)).to(getattr(torch, x.dtype.name))
        y = layer(tensor, training=True)
        return y.detach().float().numpy(), layer.moving_variance.value.detach().numpy()
    subject = target(name, "float32").make(Start(*(np.full(3, v) for v in (1.0, 0.0, 0.0, 1.0))))
    return subject.train(x), subject.statistics()[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision(name, dtype, record):
    """Statistics are computed in more than half precision, as squares above 65504 are infinite."""
    case = f"{dtype}, deviation of 300"
    right = "Statistics are computed in more than half precision."
    table = np.random.default_rng(0).normal(0, 300, (16, 3)).astype(HALF[dtype])
    x = table[:, None, None, :] if name == "TENSORFLOW" else table
    ours = convention_of(name).layer(3)
    y = np.asarray(ours(x))
    assert y.dtype == x.dtype
    if (name, dtype) == ("ONNXRUNTIME", "bfloat16"):
        with pytest.raises(Exception, match="Could not find an implementation"):
            trained(name, x)
        does = "It has no kernel for bfloat16."
        return record_differs(record, case, name, does, right)
    got, var = trained(name, x)
    off = apart(y, got)
    if (name, dtype) == ("ONNX", "float16"):
        assert np.isinf(var).all()
        assert not np.any(got)
        does = "The reference evaluator finds an infinite variance, and gives 0."
        return record_differs(record, case, name, does, right)
    # float16 statistics, as ONNX stores them, keep eleven bits
    assert np.all(abs(np.ravel(var).astype(np.float64) / ours.running.var - 1) < 2.0**-7)
    return record_same(record, case, name, **{dtype: off})
