"""The diagnosis knows the frameworks by their behaviour, and names the mistakes of others."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import keras
import ml_dtypes  # noqa: F401 - so that NumPy knows bfloat16
import numpy as np
import onnx
import pytest
import torch
from keras import ops
from torch import nn

from conformance.peers import PEERS, peer
from refbn import conventions
from refbn.diagnose import Lacking, Start, check
from refbn.diagnose.__main__ import main
from refbn.diagnose.declared import differences
from refbn.diagnose.infer import infer, layouts_taken
from refbn.diagnose.keras_layer import keras_target
from refbn.diagnose.onnx_file import onnx_target

CONVENTIONS = {**vars(conventions), "onnxruntime": conventions.ONNX}
SECONDS = 60  # a law may take: JAX compiles for each new shape, maybe beside other tests


@cache
def report(name):
    """Return the diagnosis of a peer with its defaults."""
    return check(PEERS[name], like=CONVENTIONS[name], seconds=SECONDS)


def laws(diagnosis, *verdicts):
    """Return the names of the laws with some verdicts."""
    return {finding.law for finding in diagnosis.findings if finding.verdict in verdicts}


def named(diagnosis, *, sure=True):
    """Return the names of the mistakes that are told, and the laws that show each."""
    return {m.name: set(m.laws) for m in diagnosis.mistakes if m.sure == sure}


# The frameworks


def assert_found(found, target, convention):
    """Assert that all was found, and is what the convention says."""
    eps = convention.words[convention.eps]
    assert (found.eps, found.infer_eps, found.place, found.ddof) == (eps, eps, "inside", 0)
    assert found.layouts == tuple(target.layouts)
    assert None not in {found.average, found.stored_ddof}
    assert (found.decay is None) == (found.average == "cumulative")
    for layout in found.layouts:
        assert differences(found, convention, layout.rank) == {}


def found(target):
    """Return the convention of a target, without trying the laws."""
    return infer(target, layouts_taken(target), SECONDS)[0]


@pytest.mark.parametrize("name", PEERS)
def test_the_convention_of_each_framework_is_read_off_its_behaviour(name):
    """What refbn says of a framework's defaults is what its batch norm does."""
    assert_found(report(name).found, PEERS[name], CONVENTIONS[name])


OTHERS = {
    "PYTORCH": ({"momentum": 0.3, "eps": 1e-3}, {"momentum": None, "affine": False}),
    "KERAS": (
        {"momentum": 0.7, "epsilon": 1e-5},
        {"axis": 1, "momentum": 0.5, "scale": False},
    ),
    "FLAX": ({"momentum": 0.7, "epsilon": 1e-3}, {"axis": 1, "momentum": 0.5}),
    "FLAX_NNX": ({"momentum": 0.7, "epsilon": 1e-3}, {"axis": 1, "momentum": 0.5}),
    "ONNX": ({"momentum": 0.7, "epsilon": 1e-3}, {"momentum": 0.99}),
    "onnxruntime": ({"momentum": 0.7, "epsilon": 1e-3}, {"momentum": 0.99}),
    "NUMPY_ML": ({"momentum": 0.7, "epsilon": 1e-3}, {"momentum": 0.99}),
    "TENSORFLOW": (
        {"exponential_avg_factor": 0.3, "epsilon": 1e-5},
        {"exponential_avg_factor": 0.01, "data_format": "NDHWC"},
    ),
}


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name in PEERS for words in OTHERS[name]]
)
def test_other_settings_of_each_framework_are_read_off_too(name, words):
    """Whatever a framework's batch norm is made with is found again, in the framework's words."""
    target, convention = peer(name, **words), CONVENTIONS[name]
    assert_found(found(target), target, replace(convention, words=convention.words | words))


# Keras and Flax compute E[x²] - E[x]² in float32; Keras with one masked channel squeezes its axis
# away. TensorFlow's default keeps nothing of the old statistics: who calls it shall average.
BREAKS = {
    "KERAS": {"offset", "mask"},
    "FLAX": {"offset"},
    "FLAX_NNX": {"offset"},
    "TENSORFLOW": {"memory"},
}
# No framework looks at the batch before it moves its statistics; only PyTorch leaves them as they
# are after an empty one. ONNX's evaluator computes with float16 what comes in float16.
CAUTIONS = {name: {"one-bad-batch", "empty-batch"} for name in PEERS} | {
    "PYTORCH": {"one-bad-batch"},
    "ONNX": {"one-bad-batch", "empty-batch", "half-precision"},
}
BAD_BATCH = {"bad-batch-stored": {"one-bad-batch"}}
MISTAKES = dict.fromkeys(PEERS, BAD_BATCH) | {
    "KERAS": BAD_BATCH | {"square-of-mean-subtracted": {"offset"}},
    "ONNX": BAD_BATCH | {"half-statistics": {"half-precision"}},
    # the lost digits are those of XLA's order of adding, so no exhibit has the same numbers
    "FLAX": {},
    "FLAX_NNX": {},
    "TENSORFLOW": {"momentum-reversed": {"memory"}},  # its default weighs the new value alone
}
PERHAPS = {
    "FLAX": {"bad-batch-stored", "square-of-mean-subtracted", "square-of-mean-clamped"},
    "FLAX_NNX": {"bad-batch-stored", "square-of-mean-subtracted", "square-of-mean-clamped"},
    "TENSORFLOW": {"bad-batch-stored"},
}


@pytest.mark.parametrize("name", PEERS)
def test_the_frameworks_break_these_laws_and_no_others(name):
    """A right batch norm breaks no law; where a framework's does, its mistake is named."""
    diagnosis = report(name)
    assert laws(diagnosis, "broken") == BREAKS.get(name, set())
    assert laws(diagnosis, "caution") == CAUTIONS[name]
    assert named(diagnosis) == MISTAKES[name]
    assert set(named(diagnosis, sure=False)) == PERHAPS.get(name, set())


@pytest.mark.parametrize("name", ["FLAX", "FLAX_NNX"])
def test_flax_keeps_the_digits_where_it_is_told_to(name):
    """Without its fast variance Flax's batch norm keeps all laws."""
    assert not laws(check(peer(name, use_fast_variance=False), seconds=SECONDS), "broken")


BACKENDS = {
    "torch": {"offset", "mask"},
    "jax": {"mask"},
    "tensorflow": set(),
    "numpy": {"offset", "mask"},
}


@pytest.mark.parametrize("backend", [name for name in BACKENDS if find_spec(name)])
def test_keras_is_diagnosed_on_each_backend(backend, tmp_path):
    """The command line tries a layer of Keras on whatever Keras runs on, with its gradients."""
    words = [sys.executable, "-m", "refbn.diagnose", "keras.layers:BatchNormalization", "--json",
             f"--seconds={SECONDS}", "--like=Keras"]  # fmt: skip
    environment = os.environ | {"KERAS_BACKEND": backend}
    run = subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    findings = json.loads(run.stdout)["findings"]
    assert {f["law"] for f in findings if f["verdict"] == "broken"} == BACKENDS[backend]
    verdict = next(f["verdict"] for f in findings if f["law"] == "gradient")
    assert verdict == ("untried" if backend == "numpy" else "kept")
    assert run.returncode == bool(BACKENDS[backend])


# Broken modules of PyTorch


class Right(nn.Module):
    """A batch norm as many write it, with names as in TensorFlow."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels))
        self.beta = nn.Parameter(torch.zeros(1, channels))
        self.register_buffer("moving_mean", torch.zeros(1, channels))
        self.register_buffer("moving_var", torch.ones(1, channels))

    def forward(self, x):
        mean, var = self.statistics(x) if self.training else (self.moving_mean, self.moving_var)
        return self.gamma * (x - mean) * self.inv_std(var) + self.beta

    def statistics(self, x):
        mean, var = self.moments(x)
        with torch.no_grad():
            self.moving_mean += 0.1 * (mean - self.moving_mean)
            self.moving_var += 0.1 * (var - self.moving_var)
        return mean, var

    def moments(self, x):
        return x.mean(0, keepdim=True), x.var(0, correction=0, keepdim=True)

    def inv_std(self, var):
        return torch.rsqrt(var + 1e-5)


class PlainTensors(Right):
    """Its statistics are no buffers, and are replaced by each batch, with their graph."""

    def __init__(self, channels):
        super().__init__(channels)
        del self.moving_mean, self.moving_var
        self.moving_mean, self.moving_var = torch.zeros(1, channels), torch.ones(1, channels)

    def statistics(self, x):
        mean, var = self.moments(x)
        self.moving_mean = 0.9 * self.moving_mean + 0.1 * mean
        self.moving_var = 0.9 * self.moving_var + 0.1 * var
        return mean, var


class EpsilonOutside(Right):
    def inv_std(self, var):
        return 1 / (var.sqrt() + 1e-5)


class Unbiased(Right):
    def moments(self, x):
        return x.mean(0, keepdim=True), x.var(0, keepdim=True)


class Detached(Right):
    def moments(self, x):
        return tuple(moment.detach() for moment in super().moments(x))


class OverFeatures(Right):
    def statistics(self, x):
        return x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)


class AlwaysTraining(Right):
    def forward(self, x):
        return Right.forward(self.train(), x)


class Wrapped(nn.Module):
    """A module that has a batch norm, and another parameter of a name that it might have."""

    def __init__(self, channels, **words):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7))
        self.norm = nn.BatchNorm2d(channels, **words)

    def forward(self, x):
        return self.norm(x)


@pytest.mark.parametrize("module", [Right, PlainTensors, Right(3), PlainTensors(3)])
def test_a_right_module_breaks_no_law(module):
    """A batch norm of one's own, with names of its own, is no worse than PyTorch's."""
    diagnosis = check(module)
    assert not diagnosis.broken
    assert laws(diagnosis, "untried") == {"convention", "folding", "mask", "workers"}


@pytest.mark.parametrize(
    ("module", "mistake", "law"),
    [
        (EpsilonOutside, "epsilon-outside", "epsilon"),
        (Unbiased, "unbiased-normalises", "spread"),
        (Detached, "statistics-detached", "gradient"),
        (OverFeatures, "feature-axes", "channels"),
        (AlwaysTraining, "batch-at-inference", "alone"),
        (AlwaysTraining, "moved-at-inference", "inference-keeps"),
        (nn.BatchNorm1d(3, momentum=0.9), "momentum-reversed", "memory"),
        (Wrapped(3, momentum=0.99), "momentum-reversed", "memory"),
        (nn.LayerNorm(3), "feature-axes", "channels"),
    ],
)
def test_the_mistake_of_a_module_is_named(module, mistake, law):
    """A broken module breaks the law that the museum names, and its mistake is told."""
    diagnosis = check(module)
    assert law in laws(diagnosis, "broken")
    assert law in (named(diagnosis) | named(diagnosis, sure=False))[mistake]


def test_instance_norm_is_no_batch_norm():
    """A norm over each image breaks the law about channels."""
    assert "channels" in laws(check(nn.InstanceNorm2d, affine=True), "broken")


# Whole modules of PyTorch


STATELESS = {"training", "average", "memory", "stored-variance", "alone", "inference",
             "after-training", "same-epsilon", "inference-keeps", "one-bad-batch",
             "empty-batch"}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "more"),
    [
        (nn.BatchNorm1d(5), set()),
        (nn.BatchNorm2d(1), set()),
        (nn.BatchNorm3d(2).double(), {"half-precision"}),
        (nn.LazyBatchNorm2d(), set()),
        (nn.BatchNorm2d(3, momentum=None).eval().requires_grad_(requires_grad=False), set()),
        (nn.Sequential(nn.BatchNorm2d(3)), set()),
        (Wrapped(3), set()),
        (nn.BatchNorm1d(3, bias=False), {"gradient-of-beta"}),
        (
            nn.BatchNorm1d(3, affine=False),
            {"parameters", "gradient-of-gamma", "gradient-of-beta"},
        ),
        (nn.BatchNorm2d(3, track_running_stats=False), STATELESS),
        (
            nn.BatchNorm2d(3, affine=False, track_running_stats=False),
            STATELESS | {"parameters", "gradient-of-gamma", "gradient-of-beta"},
        ),
    ],
    ids=str,
)
def test_a_module_is_tried_with_the_laws_that_it_can_keep_and_left_as_it_is(module, more):
    """All laws are tried but those about what a module has not; the module itself is not touched."""
    kind, training = type(module), module.training
    state = {} if isinstance(module, nn.LazyBatchNorm2d) else copy.deepcopy(module.state_dict())
    frozen = [parameter.requires_grad for parameter in module.parameters()]
    diagnosis = check(module)
    assert not diagnosis.broken
    assert laws(diagnosis, "untried") == {"convention", "folding", "mask", "workers"} | more
    assert module.training == training
    assert [parameter.requires_grad for parameter in module.parameters()] == frozen
    assert type(module) is kind  # a lazy module becomes another
    for name, value in state.items():
        assert torch.equal(module.state_dict()[name], value)


def test_a_module_that_has_seen_batches_begins_anew():
    """A cumulative average, too, is diagnosed as if it had seen none."""
    module = nn.BatchNorm1d(3, momentum=None)
    module(torch.randn(4, 3))
    assert check(module).found.average == "cumulative"


def test_a_module_is_converted_where_a_dtype_is_said():
    """In float64 the laws are tried with the precision of float64."""
    diagnosis = check(nn.BatchNorm1d, dtype="float64", momentum=0.25, eps=1e-12)
    assert not diagnosis.broken
    assert (diagnosis.found.eps, diagnosis.found.decay) == (1e-12, 0.75)


def test_a_batch_of_half_precision_reaches_a_module_as_it_is():
    """bfloat16, which NumPy has not, comes out as it went in; only what needs float32 refuses."""
    start = Start(np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))
    x = np.arange(6).reshape(2, 3)
    for dtype in ("float16", "bfloat16"):
        subject = PEERS["PYTORCH"].make(start)
        y = subject.train(x.astype(dtype))
        assert y.dtype == dtype
        assert np.array_equal(y, np.array([[-1] * 3, [1] * 3]))
        with pytest.raises(Lacking, match=f"^support for {dtype}$"):
            peer("PYTORCH", dtype="float64").make(start).train(x.astype(dtype))


def test_of_two_batch_norms_in_a_module_one_must_be_chosen():
    """Where it is not clear what to diagnose, the message names what there is."""
    with pytest.raises(
        ValueError,
        match=r"^there must be one batch norm in it; there are \['0', '1'\]\. Pass one of them\.$",
    ):
        check(nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)))


def test_a_module_that_is_made_takes_no_words():
    """What a module is made with cannot be said when it is made already."""
    with pytest.raises(
        TypeError,
        match=r"^a module that is made already takes no words; got \['eps'\]\. Pass the class "
        r"BatchNorm1d, or make the module with them\.$",
    ):
        check(nn.BatchNorm1d(3), eps=1e-3)


# Layers of Keras


class OwnLayer(keras.layers.Layer):
    """A batch norm as many write it, for channels that come last."""

    axes = None

    def build(self, shape):
        ones = {"shape": shape[-1:], "initializer": "ones"}
        zeros = {"shape": shape[-1:], "initializer": "zeros"}
        self.gamma = self.add_weight(name="gamma", **ones)
        self.beta = self.add_weight(name="beta", **zeros)
        self.mean = self.add_weight(name="moving_mean", trainable=False, **zeros)
        self.var = self.add_weight(name="moving_variance", trainable=False, **ones)

    def call(self, x, training=None):
        mean, var = self.moments(x) if training else (self.mean, self.var)
        return (x - mean) * ops.rsqrt(var + 1e-3) * self.gamma + self.beta

    def moments(self, x):
        axes = self.axes or tuple(range(len(x.shape) - 1))
        mean, var = ops.mean(x, axes, keepdims=True), ops.var(x, axes, keepdims=True)
        if mean.shape[-1] == self.mean.shape[-1]:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.reshape(mean, (-1,)))
            self.var.assign(0.9 * self.var + 0.1 * ops.reshape(var, (-1,)))
        return mean, var


class LastAxis(OwnLayer):
    axes = (-1,)


class VariancePutOutside(keras.layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=training) * 1.5


def test_a_right_layer_breaks_no_law():
    """A layer of one's own is tried with all laws that it can keep."""
    diagnosis = check(OwnLayer)
    assert not diagnosis.broken
    assert laws(diagnosis, "untried") == {"convention", "folding", "mask", "workers"}


@pytest.mark.parametrize(
    ("layer", "how", "mistake", "law"),
    [
        (LastAxis, {}, "feature-axes", "channels"),
        (keras.layers.LayerNormalization(epsilon=1e-5), {}, "feature-axes", "channels"),
        (keras.layers.BatchNormalization(axis=1), {"channel_axis": -1}, "other-layout", "channels"),
        (keras.layers.BatchNormalization(momentum=0.1), {}, "momentum-reversed", "memory"),
    ],
)
def test_the_mistake_of_a_layer_is_named(layer, how, mistake, law):
    """A broken layer, or one with the axis of another layout, is recognised."""
    diagnosis = check(layer, **how)
    assert law in laws(diagnosis, "broken")
    assert law in (named(diagnosis) | named(diagnosis, sure=False))[mistake]


def test_a_subclass_is_diagnosed_as_what_it_does():
    """What a subclass changes breaks the laws that its parent keeps."""
    broken = laws(check(VariancePutOutside), "broken")
    assert broken >= {"spread", "inference"}


def test_a_layer_is_left_as_it_is():
    """A layer is made again from its configuration; the one that is given is not touched."""
    layer = keras.layers.BatchNormalization(momentum=0.5)
    layer(np.ones((4, 3), np.float32), training=True)
    before = [ops.copy(variable.value) for variable in layer.variables]
    diagnosis = check(layer, epsilon=0.01)
    assert (diagnosis.found.decay, diagnosis.found.eps) == (0.5, 0.01)
    for variable, was in zip(layer.variables, before, strict=True):
        assert ops.all(variable.value == was)


@pytest.mark.parametrize(
    ("axis", "layouts"),
    [
        (1, [(2, 1), (3, 1), (4, 1), (5, 1)]),
        (3, [(4, 3), (5, 3)]),
        (-2, [(3, -2), (4, -2), (5, -2)]),
    ],
)
def test_a_layer_takes_the_layouts_that_its_axis_says(axis, layouts):
    """A layout is tried where the axis is not that of the batch."""
    target = keras_target(keras.layers.BatchNormalization(axis=axis))
    assert [(layout.rank, layout.channel_axis) for layout in target.layouts] == layouts


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ({"scale": False}, {"gradient-of-gamma"}),
        (
            {"scale": False, "center": False},
            {"parameters", "gradient-of-gamma", "gradient-of-beta"},
        ),
    ],
)
def test_what_a_layer_has_not_is_not_tried(words, more):
    """Laws about a missing gamma or beta do not apply."""
    diagnosis = check(keras.layers.BatchNormalization, **words)
    assert laws(diagnosis, "untried") == {"convention", "folding", "workers"} | more
    assert laws(diagnosis, "broken") == BREAKS["KERAS"]  # as with the defaults


def test_a_frozen_layer_does_not_train():
    """Keras infers with a layer that is frozen, so nothing is said about its training."""
    findings = check(keras.layers.BatchNormalization(trainable=False)).findings
    remarks = {f.law: f.remark for f in findings}
    assert remarks["shape"] == "It has no forward pass in training, as its trainable is False."
    assert {f.law for f in findings if f.verdict == "kept"} >= {"alone", "inference"}


def test_a_mask_needs_channels_that_come_last():
    """Keras takes a mask without the last axis, whatever the axis of the channels."""
    subject = keras_target(keras.layers.BatchNormalization(axis=1)).make(
        Start(np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))
    )
    x = np.ones((2, 3, 4))
    with pytest.raises(Lacking, match=r"^support for masks, as its channels do not come last$"):
        subject.train_masked(x, x > 0)


def test_layers_without_statistics_are_not_asked_for_them():
    """A layer that keeps none is tried with the other laws only."""
    untried = laws(check(keras.layers.LayerNormalization), "untried")
    assert untried >= {"inference", "after-training", "inference-keeps"}


def test_a_model_is_a_layer_and_weights_may_be_frozen():
    """A model is tried for the batch norm in it; what is not trained is asked for no gradient."""
    norm = keras.layers.BatchNormalization()
    diagnosis = check(keras.Sequential([norm]))
    assert laws(diagnosis, "broken") == BREAKS["KERAS"]

    class Frozen(OwnLayer):
        def build(self, shape):
            super().build(shape)
            self.gamma.trainable = False

    assert "gradient-of-gamma" in laws(check(Frozen), "untried")


def test_a_layer_that_takes_no_batch_says_why():
    """What cannot be called is reported, not raised."""

    class Refusing(keras.layers.Layer):
        def call(self, x, training=None):  # noqa: ARG002
            raise ValueError("no batch is good enough")

    diagnosis = check(Refusing)
    assert [finding.law for finding in diagnosis.findings] == ["shape"]
    assert "no batch is good enough" in diagnosis.findings[0].remark


# Files of ONNX


def model(*nodes, version=15):
    """Return a model with these nodes: a name, and attributes."""
    made = []
    for name, attributes in nodes:
        outputs = ["y", "m", "v"] if attributes.get("training_mode") else ["y"]
        made.append(onnx.helper.make_node(
            "BatchNormalization", ["x", "scale", "B", "mean", "var"], outputs, name, **attributes
        ))  # fmt: skip
    graph = onnx.helper.make_graph(made, "batch_norm", [], [])
    opset = [onnx.helper.make_opsetid("ai.onnx.ml", 3), onnx.helper.make_opsetid("", version)]
    return onnx.helper.make_model(graph, opset_imports=opset)


TRAINING = {"training_mode": 1}


@pytest.mark.parametrize("runtime", ["reference", "onnxruntime"])
@pytest.mark.parametrize("version", [14, 15])
def test_a_node_that_trains_is_diagnosed(runtime, version):
    """The average and the epsilon are those of the node's attributes."""
    node = "norm", TRAINING | {"momentum": 0.75, "epsilon": 0.01}
    diagnosis = check(model(node, version=version), runtime=runtime)
    assert not diagnosis.broken
    assert (diagnosis.name, diagnosis.found.decay) == ("model:norm", 0.75)
    assert diagnosis.found.eps == diagnosis.found.infer_eps == 0.01


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (15, "forward pass in training, as its training_mode is 0"),
        (9, "forward pass in training, which version 9 of the operators has not"),
    ],
)
def test_a_node_for_inference_is_tried_at_inference(version, why):
    """Files that were made for inference are diagnosed by what they do, and told what they miss."""
    diagnosis = check(model(("", {"epsilon": 0.01}), version=version))
    assert laws(diagnosis, "kept") == {"alone", "inference", "inference-keeps"}
    assert not diagnosis.broken
    assert diagnosis.found.infer_eps == 0.01
    assert diagnosis.findings[0].remark == f"It has no {why}."


def test_the_mistake_in_a_file_is_named(tmp_path, capsys):
    """A file that was written with PyTorch's momentum weighs the new statistics as the old ones."""
    onnx.save(model(("norm", TRAINING | {"momentum": 0.1})), tmp_path / "wrong.onnx")
    assert main([str(tmp_path / "wrong.onnx")]) == 1
    printed = capsys.readouterr().out
    assert "wrong.onnx:norm: 1 law broken" in printed
    assert "(momentum-reversed)" in printed


def test_a_right_file_passes_by_path(tmp_path):
    """A path is read, as text or as a Path; the exit status is 0."""
    path = tmp_path / "right.onnx"
    onnx.save(
        model(("norm", TRAINING | {"momentum": 0.5})), path
    )  # exact in float32, as it is kept
    assert check(str(path)).exit_status == check(path, dtype="float64").exit_status == 0


def test_of_different_nodes_one_must_be_chosen():
    """A file may have many batch norms; where they differ, one is chosen by its name."""
    several = model(("a", TRAINING), ("b", TRAINING | {"momentum": 0.5}))
    assert check(model(("a", TRAINING), ("b", TRAINING))).name == "model:a"
    assert check(several, node="b").found.decay == 0.5
    with pytest.raises(ValueError, match=r"^the nodes BatchNormalization of model differ\. "
                       r"Say which: node= one of \['a', 'b'\]\.$"):  # fmt: skip
        check(several)
    with pytest.raises(
        ValueError, match=r"^model must have a node BatchNormalization of the name 'c'\.$"
    ):
        check(several, node="c")


def test_a_file_without_batch_norm_says_so(tmp_path, capsys):
    """What is no file, no model, or has no node to try, is told on the command line."""
    with pytest.raises(
        ValueError, match=r"^model must have a node BatchNormalization; it has none\.$"
    ):
        check(model())
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(SystemExit, match=r"^2$"):
            main([str(tmp_path / name)])
        assert f"{name} must be a file of ONNX; reading it failed: " in capsys.readouterr().err


def test_without_its_packages_a_file_says_what_to_install(monkeypatch):
    """onnx is needed; without onnxruntime its own evaluator runs the file."""
    trains = model(("norm", TRAINING))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert check(trains).found.decay == 0.9
    assert "half-precision" in laws(check(trains), "caution")  # which onnxruntime keeps
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"^to diagnose a file of ONNX, its package must be "
                       r"installed: pip install onnx\.$"):  # fmt: skip
        onnx_target("any.onnx")


# The command line


def test_the_command_line_takes_classes_of_the_frameworks(capsys):
    """`package.module:name` may be a class of PyTorch, with words for it."""
    assert main(["torch.nn:BatchNorm2d", "--like", "PyTorch"]) == 0
    assert main(["torch.nn:BatchNorm2d", "--with", "momentum=0.9", "--like", "PyTorch"]) == 1
    assert "(momentum-reversed)" in capsys.readouterr().out
