"""A framework's batch norm and refbn's, made of the same state, and how far they are apart."""

from functools import cache

import numpy as np

import refbn
from conformance.peers import peer
from conformance.tolerances import TOLERANCES, UNITS
from refbn.conventions import CONVENTIONS
from refbn.diagnose import Start

SHAPES = {2: (16, 3), 3: (4, 5, 3), 4: (4, 3, 2, 3), 5: (2, 3, 2, 2, 3)}  # channels last
NAMES = ("PYTORCH", "KERAS", "FLAX", "FLAX_NNX", "ONNX", "ONNXRUNTIME", "TENSORFLOW", "NUMPY_ML")
WITH_GRADIENTS = tuple(name for name in NAMES if not name.startswith("ONNX"))
# TensorFlow has no kernel for float64, and Keras on PyTorch computes in float32: test_precision.py
DTYPES = dict.fromkeys(NAMES, ("float64", "float32")) | dict.fromkeys(
    ("TENSORFLOW", "KERAS"), ("float32",)
)
# The attributes of an ONNX node are numbers in float32
IN_FLOAT32 = {"epsilon": float(np.float32(1e-5)), "momentum": float(np.float32(0.9))}


def convention_of(name):
    """Return the convention of a peer."""
    return CONVENTIONS[name.removesuffix("RUNTIME")]


@cache
def target(name, dtype, **words):
    """Return a peer, compiled once."""
    return peer(name.replace("ONNXRUNTIME", "onnxruntime"), dtype=dtype, **words)


def words_of(name):
    """Return the settings in which a peer is compared: its defaults, and the other channel axis."""
    if name in {"KERAS", "FLAX", "FLAX_NNX"}:
        return {}, {"axis": 1}
    return (IN_FLOAT32 if name.startswith("ONNX") else {},)


class Pair:
    """A framework's layer and refbn's.

    Both begin with the same random numbers, which go through `Convention.to_state`; what the
    framework has later comes back through `Convention.from_state`.
    """

    def __init__(self, name, layout, dtype, start=None, **words):
        rng, self.convention, self.words = np.random.default_rng(6), convention_of(name), words
        self.name, self.layout, self.dtype = name, layout, dtype
        numbers = start or (*rng.normal(size=(3, 3)), rng.uniform(0.5, 2, 3))
        gamma, beta, mean, var = (np.asarray(v, dtype).astype(np.float64) for v in numbers)
        self.ours = self.convention.layer(gamma.size, **words)
        self.ours.gamma, self.ours.beta = gamma, beta
        self.ours.running = refbn.RunningStatistics(mean, var, num_batches=0)
        self.state = self.convention.to_state(self.ours, **words)
        start = Start(*(self.state[name] for name in self.convention.names[:4]))
        self.theirs = target(name, dtype, **words).make(start)

    def batch(self, seed=0):
        """Return a random batch in the layout of the pair."""
        values = np.random.default_rng(seed).normal(1, 2, SHAPES[self.layout.rank])
        return np.moveaxis(values, -1, self.layout.channel_axis).astype(self.dtype)

    def laid_out(self, table, dtype=None):
        """Return a table, one column for each channel, in the layout of the pair."""
        table = np.asarray(table, dtype or self.dtype)
        within = [1] * (self.layout.rank - 2)
        last = table.reshape(len(table), *within, table.shape[1])
        return np.moveaxis(last, -1, self.layout.channel_axis)

    def returned(self):
        """Return a layer of refbn made of the state that the framework has now."""
        mean, var = self.convention.names[2:4]
        moved = dict(zip((mean, var), self.theirs.statistics(), strict=True))
        return self.convention.from_state(self.state | moved, **self.words)


def pairs(name, dtype):
    """Yield a new pair for each layout that a peer takes."""
    for words in words_of(name):
        for layout in target(name, dtype, **words).layouts:
            yield Pair(name, layout, dtype, **words)


def apart(ours, theirs):
    """Return the largest difference of two arrays, which must have the same shape."""
    ours, theirs = (np.asarray(a).astype(np.float64) for a in (ours, theirs))
    assert ours.shape == theirs.shape
    return float(abs(ours - theirs).max(initial=0.0))


def record_same(record, case, name, **differences):
    """Take down that a peer does as refbn, where its largest difference allows that."""
    for dtype, difference in differences.items():
        assert difference <= TOLERANCES[dtype], dtype
    # below a unit in the last place chance decides, on another machine otherwise
    kept = {dtype: max(d, UNITS[dtype]) for dtype, d in differences.items()}
    record(case, name, verdict="same", **kept)


def record_differs(record, case, name, does, right, **differences):
    """Take down what a peer does and what is right; both were asserted before."""
    record(case, name, verdict="differs", does=does, right=right, **differences)
