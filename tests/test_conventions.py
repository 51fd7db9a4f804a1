"""The conventions: every framework's own formula, its own words, its own names, and back again."""

import re
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from helpers import whole

from refbn import BatchNorm, RunningStatistics, conventions, cumulative_average
from refbn.conventions import CONVENTIONS, ConversionWarning
from refbn.running import debiased_exponential_average

U = np.finfo(float).eps / 2

# The words that say eps=1e-5 and "a tenth of the weight for the new batch", and rank where needed.
WORDS = {
    "PYTORCH": {"eps": 1e-5, "momentum": 0.1},
    "TINYGRAD": {"eps": 1e-5, "momentum": 0.1},
    "MLX": {"eps": 1e-5, "momentum": 0.1},
    "KERAS": {"epsilon": 1e-5, "momentum": 0.9},
    "TF_KERAS": {"epsilon": 1e-5, "momentum": 0.9},
    "TENSORFLOW": {"epsilon": 1e-5, "exponential_avg_factor": 0.1},
    "FLAX": {"epsilon": 1e-5, "momentum": 0.9},
    "FLAX_NNX": {"epsilon": 1e-5, "momentum": 0.9},
    "HAIKU": {"create_scale": True, "create_offset": True, "eps": 1e-5, "decay_rate": 0.9},
    "EQUINOX": {"eps": 1e-5, "momentum": 0.9},
    "ONNX": {"epsilon": 1e-5, "momentum": 0.9},
    "PADDLE": {"epsilon": 1e-5, "momentum": 0.9},
    "MXNET": {"epsilon": 1e-5, "momentum": 0.9},
    "MXNET_GPU": {"epsilon": 1e-5, "momentum": 0.9},
    "CHAINER": {"eps": 1e-5, "decay": 0.9},
    "CAFFE": {"eps": 1e-5, "moving_average_fraction": 0.9},
    "DARKNET": {"eps": 1e-5, "decay": 0.9},
    "NUMPY_ML": {"epsilon": 1e-5, "momentum": 0.9},
    "CS231N": {"eps": 1e-5, "momentum": 0.9},
}
# What a training call stores, by measurement or source; tf_keras depends on the number of axes.
UNBIASED = {"PYTORCH", "TINYGRAD", "MLX", "TENSORFLOW", "MXNET_GPU", "CHAINER", "CAFFE", "DARKNET"}
CHANNELS_LAST = {
    *("MLX", "KERAS", "TF_KERAS", "TENSORFLOW", "FLAX", "FLAX_NNX", "HAIKU", "NUMPY_ML"),
}
DARKNET = (
    "Darknet divides by the root of the unbiased variance in training, and on a CPU by "
    "sqrt(var) + 1e-6; refbn does neither. For inference as on its CPU, put "
    "(sqrt(rolling_variance) + 1e-6)**2 in the place of rolling_variance, with eps=0.0."
)
FORMATS = (
    "one integer, or one of channels_first, NC, NCL, NCHW, NCDHW, channels_last, NLC, NHWC, NDHWC"
)

# The shared example: any framework, given these, returns what stands below.
X_A = np.array([[1, 10, -2], [2, 14, 0.5], [4, 11, 3], [-1, 13, -0.5]])
X_B = np.reshape(
    [
        *(-2, -1.77493775, -1.36342788, -0.830542445, -0.19950223, 0.516272068, 1.30772567),
        *(2.16821098, -1.9074235, -0.923320293, 0.117092133, 1.21091652, 2.35566044, -1.45084667),
        *(-0.210519791, 1.07493401, 2.40398216, -1.22476006, 0.187444687, 1.63944626),
        *(-1.86982346, -0.341342926, 1.22397804, 2.82529068),
    ],
    (2, 3, 2, 2),
)
BEFORE = {
    "gamma": np.array([1.5, -0.5, 2]),
    "beta": np.array([0.1, -0.2, 0.3]),
    "running_mean": np.array([0.2, -0.1, 0.4]),
    "running_var": np.array([0.5, 2, 1.5]),
}
AFTER = {  # running mean, biased running variance, unbiased running variance
    "A": [
        [0.33, 1.11, 0.385],
        [0.775, 2.05, 1.68125],
        [0.8833333333, 2.1333333333, 1.7916666667],
    ],
    "B": [
        [0.1275039989, -0.0050147558, 0.3641920899],
        [0.6543546266, 1.9367714608, 1.5881237462],
        [0.6835481447, 1.9563102409, 1.6221414242],
    ],
}
TRAINING = {
    "A": [
        *(-0.3160245071, 0.4324542671, -2.172486419, 0.5160245071, -0.8324542671, 0.5747207132),
        *(2.1801225357, 0.1162271336, 3.3219278455, -1.9801225357, -0.5162271336, -0.5241621397),
    ],
    "B": [
        *(-1.4477533534, -1.2115964663, -0.7798008636, -0.220646383, 0.2486348166, -0.0573830432),
        *(-0.3957563798, -0.7636431198, -2.2264825629, -0.9510180562, 0.3974270177, 1.8150976159),
        *(3.1226231119, -0.871529038, 0.4299408207, 1.7787621717, -0.8644433191, 0.6869674137),
        *(0.0832018474, -0.5375782157, -2.1777503607, -0.1967359138, 1.8320262318, 3.9074360281),
    ],
}
INFERENCE = {
    "A": [
        *(1.7970393045, -3.7708803178, -3.6191705246, 3.9183384352, -5.1850903447, 0.4632987719),
        *(8.1609366966, -4.1244328245, 4.5457680683, -2.4455589568, -4.8315378379, -1.1696889467),
    ],
    "B": [
        *(-4.5668580875, -4.0894337322, -3.2164982027, -2.0860887927, -0.1648207372),
        *(-0.4178845345, -0.6977049394, -1.0019316777, -3.467994237, -1.8609657862),
        *(-0.1619850723, 1.6242167179, 4.6728006174, -3.4019396059, -0.7708352758, 1.9559967548),
        *(-1.0852891694, 0.1976617387, -0.3016267896, -0.8149855855, -3.4065938335),
        *(-0.9106038934, 1.6455460197, 4.2604698944),
    ],
}
EXAMPLES = {"A": X_A, "B": X_B}


# Worked example by hand


def test_one_number_by_hand():
    """Of the batch 1, 3 the mean is 2, the variance 1 or 2: a PyTorch and a Keras of momentum 1/2."""
    x = np.array([[1.0], [3.0]])
    torch = conventions.PYTORCH.layer(1, momentum=0.5)
    keras = conventions.KERAS.layer(1, momentum=0.5)
    torch(x)
    keras(x)
    assert unpacked(torch.running) == ([1.0], [1.5], 1)
    assert unpacked(keras.running) == ([1.0], [1.0], 1)


def test_all_conventions_are_in_the_tests():
    """The table of the module, by the names of its constants, is the table of these tests."""
    assert set(CONVENTIONS) == set(WORDS)
    assert all(getattr(conventions, name) is value for name, value in CONVENTIONS.items())
    assert len({convention.name for convention in CONVENTIONS.values()}) == len(CONVENTIONS)


@pytest.mark.parametrize(
    ("name", "words", "eps", "weight", "start"),
    [  # default eps, weight of the new batch, running variance of a new layer
        ("PYTORCH", {}, "1e-05", 0.1, 1),
        ("TINYGRAD", {}, "1e-05", 0.1, 1),
        ("MLX", {}, "1e-05", 0.1, 1),
        ("KERAS", {}, "0.001", 0.01, 1),
        ("TF_KERAS", {}, "0.001", 0.01, 1),
        ("TENSORFLOW", {}, "0.001", 1, 1),
        ("FLAX", {}, "1e-05", 0.01, 1),
        ("FLAX_NNX", {}, "1e-05", 0.01, 1),
        ("HAIKU", {"create_scale": True, "create_offset": False, "decay_rate": 0.8}, "1e-05", 1, 1),
        ("EQUINOX", {}, "1e-05", 1, 1),
        ("ONNX", {}, "1e-05", 0.1, 1),
        ("PADDLE", {}, "1e-05", 0.1, 1),
        ("MXNET", {}, "1e-05", 0.1, 1),
        ("MXNET_GPU", {}, "1e-05", 0.1, 1),
        ("CHAINER", {}, "2e-05", 0.1, 1),
        ("CAFFE", {}, "1e-05", 1, 0),
        ("DARKNET", {}, "1e-05", 0.01, 0),
        ("NUMPY_ML", {}, "1e-05", 0.1, 1),
        ("CS231N", {}, "1e-05", 0.1, 0),
    ],
)
def test_the_defaults(name, words, eps, weight, start):
    """A new layer has the framework's eps, its start, and weighs its first batch as it does."""
    with unlike(name):
        layer = CONVENTIONS[name].layer(2, rank=2, **words)
    assert repr(layer.eps) == eps
    assert unpacked(layer.running) == ([0.0, 0.0], [start, start], 0)
    layer(np.array([[0.0, 2.0], [2.0, 6.0]]))
    n = 1 + (name not in UNBIASED)  # of two values, the biased variance is half the unbiased one
    np.testing.assert_allclose(layer.running.mean, weight * np.array([1, 4]), rtol=1e-13)
    var = (1 - weight) * start + weight * np.array([2, 8]) / n
    np.testing.assert_allclose(layer.running.var, var, rtol=1e-14)


@pytest.mark.parametrize(("name", "decay"), [("HAIKU", 0.8), ("EQUINOX", 0.99), ("CAFFE", 0.999)])
def test_the_defaults_of_the_debiased(name, decay):
    """Their second batch has the weight 1 / (1 + decay), so the first is multiplied by decay."""
    words = WORDS[name] | {"decay_rate": 0.8} if name == "HAIKU" else {}
    layer = CONVENTIONS[name].layer(1, rank=2, **words)
    for offset in (0.0, 1.0):
        layer(np.array([[offset], [offset]]))
    np.testing.assert_allclose(layer.running.mean, [1 / (1 + decay)], rtol=1e-12)


# Laws


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("example", ["A", "B"])
def test_the_shared_example(name, example):
    """A layer made of the framework's state returns its outputs, and its state after one step."""
    x = seen_by(name, EXAMPLES[example])
    state = stored(name, BEFORE, rank=x.ndim)
    with unlike(name):
        layer = CONVENTIONS[name].from_state(state, rank=x.ndim, **WORDS[name])
    if name not in {"HAIKU", "EQUINOX"}:  # what these two are given here is not yet an average
        y = scaled(name, seen_by(name, layer.eval()(x), back=True))
        np.testing.assert_allclose(y.ravel(), INFERENCE[example], rtol=0, atol=1e-9)
    y = scaled(name, seen_by(name, layer.train()(x), back=True))
    np.testing.assert_allclose(y.ravel(), TRAINING[example], rtol=0, atol=1e-9)
    with may_warn():
        after = CONVENTIONS[name].to_state(layer, rank=x.ndim, **WORDS[name])
    unbiased = name in UNBIASED or (name == "TF_KERAS" and example == "B")
    mean, var = moved(name, after)
    np.testing.assert_allclose(mean, AFTER[example][0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(var, AFTER[example][1 + unbiased], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", WORDS)
def test_the_two_switches(name):
    """The word weighs the old or the new value, and the stored variance is biased or unbiased."""
    convention = CONVENTIONS[name]
    new = {"PYTORCH", "TINYGRAD", "MLX", "TENSORFLOW"}
    assert convention.weight_of == ("new" if name in new else "old")
    if name == "TF_KERAS":
        assert convention.ddof == {2: 0, 3: 0, 4: 1, 5: 1}
    else:
        assert convention.ddof == (name in UNBIASED)


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_tf_keras_by_the_number_of_axes(rank, rng):
    """tf_keras stores a biased variance of vectors and sequences, an unbiased one of images."""
    x = rng.standard_normal((2,) * rank)
    layer = conventions.TF_KERAS.layer(2, rank=rank, momentum=0)
    layer(x)
    want = x.reshape(-1, 2).var(axis=0, ddof=int(rank > 3))
    np.testing.assert_allclose(layer.running.var, want, rtol=1e-14)


@pytest.mark.parametrize("m", [0.0, 0.1, 0.25, 1.0])
def test_momentum_of_pytorch_is_one_minus_that_of_keras(m, rng):
    """The sequence of running means is the same to rounding; a weight of 1 - m is itself rounded."""
    torch = conventions.PYTORCH.layer(2, momentum=m)
    keras = conventions.KERAS.layer(2, momentum=1 - m)
    for x in rng.standard_normal((10, 4, 2)):
        torch(x)
        keras(x)
        np.testing.assert_allclose(torch.running.mean, keras.running.mean, rtol=0, atol=50 * U)


def test_no_momentum_in_pytorch_is_the_cumulative_average(rng):
    """With momentum=None the running statistics are the means over the batches."""
    layer = conventions.PYTORCH.layer(2, momentum=None)
    batches = rng.standard_normal((5, 4, 2))
    for x in batches:
        layer(x)
    np.testing.assert_allclose(layer.running.mean, batches.mean((0, 1)), rtol=0, atol=20 * U)
    want = batches.var(1, ddof=1).mean(0)
    np.testing.assert_allclose(layer.running.var, want, rtol=0, atol=20 * U)
    state = conventions.PYTORCH.to_state(layer, momentum=None)
    back = conventions.PYTORCH.from_state(state, momentum=None)
    assert back.update.func is cumulative_average
    assert unpacked(back.running) == unpacked(layer.running)


@pytest.mark.parametrize(
    ("name", "words", "gamma", "beta"),
    [
        ("PYTORCH", {"affine": True}, True, True),
        ("PYTORCH", {"affine": False}, False, False),
        ("PYTORCH", {"bias": False}, True, False),
        ("TINYGRAD", {"affine": False}, False, False),
        ("MLX", {"affine": False}, False, False),
        ("KERAS", {"center": False}, True, False),
        ("KERAS", {"scale": False}, False, True),
        ("FLAX", {"use_bias": False}, True, False),
        ("FLAX", {"use_scale": False}, False, True),
        ("HAIKU", {"create_scale": False}, False, True),
        ("HAIKU", {"create_offset": False}, True, False),
        ("EQUINOX", {"channelwise_affine": False}, False, False),
        ("PADDLE", {"weight_attr": False}, False, True),
        ("PADDLE", {"bias_attr": False}, True, False),
        ("MXNET", {"center": False}, True, False),
        ("MXNET", {"scale": False}, False, True),
        ("CHAINER", {"use_gamma": False}, False, True),
        ("CHAINER", {"use_beta": False}, True, False),
        ("CAFFE", {}, False, False),
        ("ONNX", {}, True, True),
    ],
)
def test_switches_of_scale_and_shift(name, words, gamma, beta, rng):
    """Scale and shift are there or not as the words say, in the layer, its state, and back."""
    words = WORDS[name] | words
    layer = CONVENTIONS[name].layer(3, rank=2, **words)
    assert (layer.gamma is not None, layer.beta is not None) == (gamma, beta)
    layer(rng.standard_normal((4, 3)))
    with may_warn():
        state = CONVENTIONS[name].to_state(layer, rank=2, **words)
    theirs = CONVENTIONS[name].names
    assert (theirs[0] in state, theirs[1] in state) == (gamma, beta)
    back = CONVENTIONS[name].from_state(state, rank=2, **words)
    assert (back.gamma is not None, back.beta is not None) == (gamma, beta)


@pytest.mark.parametrize(
    ("name", "words", "axis"),
    [
        ("PYTORCH", {}, 1),
        ("MLX", {}, -1),
        ("NUMPY_ML", {}, -1),
        ("EQUINOX", {}, 1),
        ("KERAS", {}, -1),
        ("KERAS", {"axis": 1}, 1),
        ("FLAX", {"axis": 0}, 0),
        ("MXNET", {}, 1),
        ("TENSORFLOW", {}, -1),
        ("TENSORFLOW", {"data_format": "NCHW"}, 1),
        ("PADDLE", {}, 1),
        ("PADDLE", {"data_format": "NLC"}, -1),
        ("HAIKU", {"data_format": "channels_first"}, 1),
        ("HAIKU", {}, -1),
    ],
)
def test_the_channel_axis(name, words, axis):
    """The channels are where the framework has them, unless its words say otherwise."""
    assert CONVENTIONS[name].layer(2, rank=2, **WORDS[name] | words).channel_axis == axis


@pytest.mark.parametrize("name", sorted(WORDS.keys() - {"EQUINOX", "CAFFE", "DARKNET"}))
def test_the_way_there_and_back_is_exact(name, rng):
    """A trained layer comes back to the last bit; without a counter the count is lost, and said."""
    convention = CONVENTIONS[name]
    layer = trained(name, rng)
    counts = convention.names[4] is not None
    expected = f"num_batches=0 instead of {layer.running.num_batches}"
    with nullcontext() if counts else said(cannot(name, expected)):
        state = convention.to_state(layer, rank=2, **WORDS[name])
    back = convention.from_state(state, rank=2, **WORDS[name])
    ours, theirs = layer.state_dict(), back.state_dict()
    assert list(ours) == list(theirs)
    for key in ours.keys() - (set() if counts else {"num_batches"}):
        assert ours[key].tobytes() == theirs[key].tobytes(), key
    assert back.running.num_batches == counts * layer.running.num_batches
    x = rng.standard_normal((4, 3))
    assert back.eval()(x).tobytes() == layer.eval()(x).tobytes()
    assert str(back.update) == str(layer.update)


@pytest.mark.parametrize("name", ["EQUINOX", "CAFFE"])
def test_what_is_stored_as_a_product_is_exact_or_said(name, rng):
    """Products come back to an ulp or two, and if not exactly then a warning says so."""
    for _ in range(20):
        layer = trained(name, rng)
        with warnings.catch_warnings(record=True, action="always") as record:
            state = CONVENTIONS[name].to_state(layer, **WORDS[name])
        back = CONVENTIONS[name].from_state(state, **WORDS[name])
        lost = []
        for key, value in layer.state_dict().items():
            np.testing.assert_allclose(back.state_dict()[key], value, rtol=4 * U, atol=0)
            lost += [f"{key} rounded"] * (back.state_dict()[key].tobytes() != value.tobytes())
        assert [str(w.message) for w in record] == [cannot(name, ", ".join(lost))] * bool(lost)
        assert back.running.num_batches == layer.running.num_batches == 3


@pytest.mark.parametrize("name", WORDS)
def test_what_the_framework_stored_comes_back_to_the_bit(name, rng):
    """A state in float32 comes back in float32 as it was, also where it holds products.

    Haiku alone holds both the products and the quotients; the quotients are what is kept.
    """
    state = stored(name, BEFORE | {"running_mean": rng.standard_normal(3)}, rank=2, batches=7)
    state = {
        key: value.astype("f4") if value.dtype == float else value for key, value in state.items()
    }
    with unlike(name):
        layer = CONVENTIONS[name].from_state(state, rank=2, **WORDS[name])
    with may_warn():
        back = CONVENTIONS[name].to_state(layer, rank=2, **WORDS[name])
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert back[key].shape == value.shape
        if "hidden" not in key:
            assert back[key].astype(value.dtype).tobytes() == value.tobytes(), key
        np.testing.assert_allclose(back[key], value, rtol=2e-7)  # two roundings in float32


@pytest.mark.parametrize("name", WORDS)
def test_a_new_layer_is_stored_as_a_new_one(name):
    """Before the first batch the stored numbers are the framework's own at the start."""
    with may_warn():
        layer = CONVENTIONS[name].layer(2, rank=2, **WORDS[name])
        state = CONVENTIONS[name].to_state(layer, rank=2, **WORDS[name])
        back = CONVENTIONS[name].from_state(state, rank=2, **WORDS[name])
    assert unpacked(back.running) == unpacked(layer.running)
    zeros = {"CAFFE": "blobs[1]", "CS231N": "running_var", "DARKNET": "rolling_variance"}
    if name in zeros:
        assert not state[zeros[name]].any()
    if name == "CAFFE":
        assert state["blobs[2]"].tolist() == [0.0]
    if name == "HAIKU":
        assert not state["var_ema/hidden"].any()
    if name == "EQUINOX":
        assert state["batch_state_index/1"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["HAIKU", "EQUINOX", "CAFFE"])
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
@pytest.mark.parametrize(
    ("mean", "var"), [((3, 5), (1, 1)), ((3, 5), (0, 0)), ((0, 0), (1, 0.5)), ((0, 0), (0, 0.5))]
)
def test_statistics_without_a_count_survive_a_framework_that_needs_one(name, decay, mean, var, rng):
    """Statistics from Keras are not thrown away by the first batch that follows."""
    convention, words = CONVENTIONS[name], WORDS[name] | {CONVENTIONS[name].average: decay}
    keras = BatchNorm(2, gamma=name != "CAFFE", beta=name != "CAFFE")
    keras.running = RunningStatistics(mean, var, 0)
    with may_warn():
        layer = convention.from_state(convention.to_state(keras, rank=2, **words), rank=2, **words)
    np.testing.assert_allclose(layer.running.mean, mean, rtol=4 * U)
    np.testing.assert_allclose(layer.running.var, var, rtol=4 * U)
    x = rng.standard_normal((4, 2))
    layer(x)
    # the settled average is an exponential one
    want = decay * np.array(mean) + (1 - decay) * x.mean(0)
    np.testing.assert_allclose(layer.running.mean, want, rtol=0, atol=1e-14)


def test_states_are_copies():
    """Neither a written state nor a read one shares memory with the layer."""
    layer = conventions.PYTORCH.layer(2)
    state = conventions.PYTORCH.to_state(layer)
    state["weight"][:] = 7.0
    assert layer.gamma.tolist() == [1.0, 1.0]
    back = conventions.PYTORCH.from_state(state)
    state["weight"][:] = 8.0
    assert back.gamma.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("layout", "shape"), [("channels_first", (1, 3, 1, 1)), ("channels_last", (1, 1, 1, 3))]
)
def test_haiku_stores_as_many_axes_as_its_input_has(layout, shape):
    """Haiku's arrays have length 1 along all axes but that of the channels; its counters none."""
    words = WORDS["HAIKU"] | {"data_format": layout}
    layer = conventions.HAIKU.layer(3, rank=4, **words)
    state = conventions.HAIKU.to_state(layer, rank=4, **words)
    assert {key: value.shape for key, value in state.items()} == {
        **dict.fromkeys(["scale", "offset", "mean_ema/average", "var_ema/average"], shape),
        **dict.fromkeys(["mean_ema/hidden", "var_ema/hidden"], shape),
        **dict.fromkeys(["mean_ema/counter", "var_ema/counter"], ()),
    }


# Edges and errors


def test_what_is_lost_is_said():
    """Another eps, axis, rule, scale and count are named with both values, and nothing else is."""
    layer = BatchNorm(2, eps=0.5, gamma=False)
    layer(np.array([[1.0, 2.0], [3.0, 5.0]]))
    lost = (
        "eps=0.001 instead of 0.5, channel_axis=-1 instead of 1, "
        "update=exponential_average(decay=0.99, ddof=0) instead of "
        "exponential_average(decay=0.9, ddof=1), gamma=True instead of False, "
        "num_batches=0 instead of 1"
    )
    with said(cannot("KERAS", lost)):
        state = conventions.KERAS.to_state(layer)
    assert state["gamma"].tolist() == [1.0, 1.0]
    with said(cannot("KERAS", "num_batches=0 instead of 1")):
        words = {"epsilon": 0.5, "axis": 1, "scale": False, "momentum": 0.9}
        conventions.KERAS.to_state(biased(layer), **words)


def test_a_channel_axis_from_either_end_is_the_same():
    """With rank known, the last axis may be counted from the front."""
    layer = BatchNorm(2, eps=1e-3, channel_axis=3, decay=0.99, ddof=0)
    conventions.KERAS.to_state(layer, rank=4)
    lost = "channel_axis=-1 instead of 3"
    with said(cannot("KERAS", lost)):
        conventions.KERAS.to_state(layer)


def test_scale_and_shift_that_caffe_cannot_keep():
    """Caffe has them in another layer."""
    layer = BatchNorm(1, update=debiased_exponential_average, decay=0.999)
    layer.running = RunningStatistics([0.0], [0.0])
    with said(cannot("CAFFE", "gamma=False instead of True, beta=False instead of True")):
        state = conventions.CAFFE.to_state(layer)
    assert list(state) == ["blobs[0]", "blobs[1]", "blobs[2]"]


def test_a_scale_that_the_words_deny():
    """A scale is not stored, and said to be lost, if the words say that there is none."""
    layer = BatchNorm(1)
    with said(cannot("PYTORCH", "gamma=False instead of True, beta=False instead of True")):
        state = conventions.PYTORCH.to_state(layer, affine=False)
    assert list(state) == ["running_mean", "running_var", "num_batches_tracked"]


def test_a_weight_that_is_rounded_is_no_loss():
    """1 - 0.9 is not 0.1 in binary, but that is not worth a warning."""
    with said():
        conventions.PYTORCH.to_state(BatchNorm(1, decay=0.1), momentum=0.9)


def test_sums_of_no_batch_are_read_as_zero():
    """Caffe reads 0 where its scale factor is 0, whatever the sums are; that is said."""
    state = {"blobs[0]": np.ones(2), "blobs[1]": np.ones(2), "blobs[2]": np.zeros(1)}
    with said(cannot("CAFFE", "blobs[0] otherwise than given, blobs[1] otherwise than given")):
        layer = conventions.CAFFE.from_state(state)
    assert unpacked(layer.running) == ([0.0, 0.0], [0.0, 0.0], 0)


def test_a_rule_of_somebody_else_is_named():
    """A rule that no framework has is lost, by its name."""

    def frozen(running, moments):
        del moments
        return running

    lost = "update=exponential_average(decay=0.9, ddof=1) instead of frozen()"
    with said(cannot("PYTORCH", lost)):
        conventions.PYTORCH.to_state(BatchNorm(1, update=frozen))
    rule = Rule()
    with said(cannot("PYTORCH", lost.replace("frozen", "a rule"))):
        conventions.PYTORCH.to_state(BatchNorm(1, update=rule))


@pytest.mark.parametrize(
    ("name", "word", "lost"),
    [
        ("HAIKU", "decay_rate", ["mean_ema/hidden", "var_ema/hidden"]),
        ("CAFFE", "moving_average_fraction", ["blobs[0]", "blobs[1]", "blobs[2]"]),
    ],
)
def test_another_decay_than_the_state_was_made_with(name, word, lost):
    """What is stored beside the average shows that the word was another one."""
    state = stored(name, BEFORE, rank=2, batches=20)
    words = WORDS[name] | {word: 0.5}
    with said(cannot(name, ", ".join(f"{key} otherwise than given" for key in lost))):
        CONVENTIONS[name].from_state(state, rank=2, **words)


def test_darknet_is_not_quite_ours():
    """Each method says what Darknet does otherwise, and the way to its outputs on a CPU is right."""
    with said(DARKNET):
        layer = conventions.DARKNET.layer(3)
    with said(cannot("DARKNET", "num_batches=0 instead of 2"), DARKNET):
        layer.running = RunningStatistics(np.zeros(3), np.zeros(3), 2)
        conventions.DARKNET.to_state(layer)
    mean, var = BEFORE["running_mean"], np.array([0.0, 1e-14, 2.0])
    state = {"scales": np.ones(3), "biases": np.zeros(3), "rolling_mean": mean}
    with said(DARKNET):
        cpu = conventions.DARKNET.from_state(
            state | {"rolling_variance": (np.sqrt(var) + 1e-6) ** 2}, eps=0.0
        )
    want = (X_A - mean) / (np.sqrt(var) + 1e-6)
    np.testing.assert_allclose(cpu.eval()(X_A), want, rtol=1e-14)


def test_unknown_words_are_refused():
    """A word of another framework is an error that lists those of this one."""
    message = (
        "PyTorch takes the words ['eps', 'momentum', 'affine', 'track_running_stats', 'bias']; "
        "missing [], unknown ['decay', 'epsilon']. Use its own words."
    )
    with pytest.raises(TypeError, match=whole(message)):
        conventions.PYTORCH.layer(1, epsilon=1e-5, decay=0.9)


def test_required_words_are_required():
    """Haiku has no defaults for three of its words, so neither have we."""
    message = (
        "Haiku takes the words ['create_scale', 'create_offset', 'decay_rate', 'eps', "
        "'data_format']; missing ['create_offset', 'decay_rate'], unknown []. Use its own words."
    )
    for method in (conventions.HAIKU.layer, conventions.HAIKU.from_state):
        with pytest.raises(TypeError, match=whole(message)):
            method(1, rank=2, create_scale=True)


@pytest.mark.parametrize(
    ("name", "words", "must"),
    [
        ("PYTORCH", {"momentum": -0.5}, "a number from 0 to 1 or None"),
        ("PYTORCH", {"momentum": 1.5}, "a number from 0 to 1 or None"),
        ("PYTORCH", {"momentum": "a"}, "a number from 0 to 1 or None"),
        ("PYTORCH", {"momentum": np.nan}, "a number from 0 to 1 or None"),
        ("KERAS", {"momentum": None}, "a number from 0 to 1"),
        ("EQUINOX", {"momentum": 1}, "a number from 0 to below 1"),
        ("CAFFE", {"moving_average_fraction": 1.0}, "a number from 0 to below 1"),
        ("HAIKU", WORDS["HAIKU"] | {"decay_rate": -1}, "a number from 0 to below 1"),
        ("KERAS", {"epsilon": -1.0}, "a finite number, not negative"),
        ("KERAS", {"epsilon": None}, "a finite number, not negative"),
        ("KERAS", {"epsilon": np.inf}, "a finite number, not negative"),
        ("PYTORCH", {"affine": "no"}, "True or False"),
        ("PYTORCH", {"affine": None}, "True or False"),
        ("PYTORCH", {"affine": np.ones(2)}, "True or False"),
        ("HAIKU", WORDS["HAIKU"] | {"create_scale": None}, "True or False"),
        ("PADDLE", {"weight_attr": "ones"}, "True or False or None"),
        ("PYTORCH", {"track_running_stats": False}, "True, because refbn can do nothing else"),
        ("PYTORCH", {"track_running_stats": np.ones(2)}, "True, because refbn can do nothing else"),
        ("KERAS", {"renorm": True}, "False, because refbn can do nothing else"),
        ("KERAS", {"synchronized": True}, "False, because refbn can do nothing else"),
        ("EQUINOX", {"mode": "ema"}, "'batch', because refbn can do nothing else"),
        ("PADDLE", {"use_global_stats": True}, "None, because refbn can do nothing else"),
        ("FLAX", {"axis": (1, 2)}, FORMATS),
        ("KERAS", {"axis": [1]}, FORMATS),
        ("KERAS", {"axis": None}, FORMATS),
        ("TENSORFLOW", {"data_format": "NCHW_VECT_C"}, FORMATS),
    ],
)
def test_what_cannot_be_done_is_refused(name, words, must):
    """A word that refbn cannot honour is an error with its own reason, not a silent other thing."""
    ((word, value),) = words.items() - WORDS[name].items() if name == "HAIKU" else words.items()
    message = f"{CONVENTIONS[name].name}: {word} must be {must}; got {word}={value!r}."
    for method, first in (("layer", 1), ("to_state", BatchNorm(1)), ("from_state", {})):
        with pytest.raises(ValueError, match=whole(message)):
            getattr(CONVENTIONS[name], method)(first, rank=2, **words)


def test_every_wrong_word_has_its_reason():
    """Two wrong words are refused together."""
    message = (
        "Keras: momentum must be a number from 0 to 1; got momentum=2. renorm must be False, "
        "because refbn can do nothing else; got renorm=True."
    )
    with pytest.raises(ValueError, match=whole(message)):
        conventions.KERAS.layer(1, renorm=True, momentum=2)


@pytest.mark.parametrize("name", ["TF_KERAS", "HAIKU"])
@pytest.mark.parametrize("rank", [None, 6, [4]])
def test_a_rank_that_is_needed(name, rank):
    """Where what is stored depends on the number of axes, it must be said."""
    message = (
        f"{CONVENTIONS[name].name}: rank must be one of 2, 3, 4, 5, the number of axes of the "
        f"input, because what {CONVENTIONS[name].name} stores depends on it; got rank={rank!r}. "
        "Pass rank=2 for vectors, rank=4 for images."
    )
    for method, first in (("layer", 1), ("to_state", BatchNorm(1)), ("from_state", {})):
        with pytest.raises(ValueError, match=whole(message)):
            getattr(CONVENTIONS[name], method)(first, rank=rank, **WORDS[name])


def test_numbers_of_numpy_are_numbers():
    """A word may be a scalar of NumPy."""
    words = {"axis": np.int64(1), "momentum": np.float32(0.5), "epsilon": np.float32(0.25)}
    layer = conventions.KERAS.layer(1, **words)
    assert (layer.channel_axis, layer.eps, layer.update.keywords["decay"]) == (1, 0.25, 0.5)
    assert conventions.KERAS.layer(1, momentum=np.int64(1)).update.keywords["decay"] == 1


@pytest.mark.parametrize("state", [None, [np.ones(3)], "bn1.npz"])
def test_a_state_is_a_mapping(state):
    """A list of arrays has no names."""
    message = (
        "state must be a mapping from names to arrays, such as a dict; got "
        f"{type(state).__name__}. The names are those that to_state gives."
    )
    with pytest.raises(TypeError, match=whole(message)):
        conventions.KERAS.from_state(state)


def test_a_layer_is_a_layer():
    """to_state and from_state are not to be confused."""
    message = (
        "layer must be a BatchNorm; got dict. from_state makes one of a state of the framework."
    )
    with pytest.raises(TypeError, match=whole(message)):
        conventions.KERAS.to_state(BEFORE)


@pytest.mark.parametrize(
    ("state", "missing", "unknown"),
    [
        (
            BEFORE,
            "['moving_mean', 'moving_variance']",
            "['running_mean', 'running_var']",
        ),
        (
            {f"bn1.{name}": np.ones(1) for name in ("gamma", "beta")},
            "['beta', 'gamma', 'moving_mean', 'moving_variance']",
            "['bn1.beta', 'bn1.gamma']",
        ),
        (
            {"bn1": {"gamma": np.ones(1)}},
            "['beta', 'gamma', 'moving_mean', 'moving_variance']",
            "['bn1']",
        ),
    ],
)
def test_a_state_of_another_framework_is_refused(state, missing, unknown):
    """Missing and unknown names are listed, with the usual reasons: a prefix, nesting, a switch."""
    message = (
        "a state of Keras with these words has the names ['beta', 'gamma', 'moving_mean', "
        f"'moving_variance']; missing {missing}, unknown {unknown}. Take the names of one layer, "
        "cut a prefix such as 'bn1.' off, and join nested names with slashes; or say in its words "
        "that there is no scale or no shift."
    )
    with pytest.raises(ValueError, match=whole(message)):
        conventions.KERAS.from_state(state)


@pytest.mark.parametrize("name", ["PYTORCH", "TINYGRAD", "CHAINER"])
def test_a_count_that_nothing_is_computed_with_may_be_missing(name):
    """Old checkpoints have none; PyTorch takes 0 there."""
    state = stored(name, BEFORE, rank=2)
    del state[CONVENTIONS[name].names[4]]
    with said():
        layer = CONVENTIONS[name].from_state(state, **WORDS[name])
    assert layer.running.num_batches == 0
    assert layer.running.mean.tolist() == BEFORE["running_mean"].tolist()


@pytest.mark.parametrize(
    ("name", "words"),
    [("HAIKU", {}), ("EQUINOX", {}), ("CAFFE", {}), ("PYTORCH", {"momentum": None})],
)
def test_a_count_that_averages_are_made_with_is_required(name, words):
    """Without it the average is not known, or the next batch would replace it."""
    state = stored(name, BEFORE, rank=2)
    counter = CONVENTIONS[name].names[4]
    del state[counter]
    with pytest.raises(ValueError, match=rf"missing {re.escape(str([counter]))}, unknown \[\]\."):
        CONVENTIONS[name].from_state(state, rank=2, **WORDS[name] | words)


@pytest.mark.parametrize("name", ["EQUINOX", "PYTORCH", "CAFFE"])
def test_integers_are_no_statistics(name):
    """A state has the dtypes that any state must have, and is spoken of in its own names."""
    state = stored(name, BEFORE, rank=2)
    var = CONVENTIONS[name].names[3]
    state[var] = np.array([1, 2, 3])
    message = (
        f"{var} must be an array of float16, bfloat16, float32, float64; got dtype int64. "
        f"Convert it first, for example with np.asarray({var}, dtype=np.float64)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        CONVENTIONS[name].from_state(state, **WORDS[name])


@pytest.mark.parametrize(
    ("name", "key", "value", "shape"),
    [
        ("PYTORCH", "weight", np.ones(4), (3,)),
        ("PYTORCH", "running_mean", np.ones((1, 3)), (3,)),
        ("PYTORCH", "num_batches_tracked", np.array([1]), ()),
        ("CHAINER", "avg_var", np.ones(1), (3,)),
        ("CAFFE", "blobs[1]", np.ones(4), (3,)),
        ("HAIKU", "scale", np.ones(3), (1, 3)),
        ("HAIKU", "var_ema/average", np.ones((1, 1, 1, 3)), (1, 3)),
    ],
)
def test_a_shape_that_does_not_fit(name, key, value, shape):
    """An array of another layer, or for another rank, is named as it is there."""
    message = (
        f"{key} must have the shape {shape}, by the size of the mean; got {value.shape}. "
        "Take the arrays of one layer as they are, and the rank of its input."
    )
    with pytest.raises(ValueError, match=whole(message)):
        CONVENTIONS[name].from_state(
            stored(name, BEFORE, rank=2) | {key: value}, rank=2, **WORDS[name]
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTORCH", np.array(-1)),
        ("PYTORCH", np.array(1.0)),
        ("CHAINER", np.array("a")),
        ("EQUINOX", np.array(2.5)),
        ("CAFFE", np.array([-1.0])),
        ("CAFFE", np.array([np.nan])),
        ("CAFFE", np.array([np.inf])),
    ],
)
def test_a_count_that_is_none(name, value):
    """A count is whole and not negative, Caffe's sum of weights finite."""
    count = CONVENTIONS[name].names[4]
    message = (
        f"{count} must be a finite number, not negative, and whole where it counts the batches; "
        f"got {count}={value}. For a new layer it is 0."
    )
    with pytest.raises(ValueError, match=whole(message)):
        CONVENTIONS[name].from_state(stored(name, BEFORE, rank=2) | {count: value}, **WORDS[name])


# Oracles


def test_haiku_by_its_own_formula(rng):
    """hidden = decay * hidden + (1 - decay) * batch from 0; average = hidden / (1 - decay**t)."""
    layer = conventions.HAIKU.layer(3, rank=2, **WORDS["HAIKU"])
    hidden = np.zeros((2, 3))
    for t, x in enumerate(rng.standard_normal((5, 4, 3)), start=1):
        hidden = 0.9 * hidden + 0.1 * np.array([x.mean(0), x.var(0)])
        layer(x)
        state = conventions.HAIKU.to_state(layer, rank=2, **WORDS["HAIKU"])
        for row, kind in enumerate(("mean_ema", "var_ema")):
            np.testing.assert_allclose(state[f"{kind}/hidden"][0], hidden[row], atol=30 * U)
            average = hidden[row] / (1 - 0.9**t)
            np.testing.assert_allclose(state[f"{kind}/average"][0], average, atol=30 * U)
            assert state[f"{kind}/counter"] == t


@pytest.mark.parametrize("fraction", [0.0, 0.9, 0.999])
def test_caffe_by_its_own_formula(fraction, rng):
    """Sums S = f * S + batch, and scale = f * scale + 1; batch variances unbiased."""
    words = {"moving_average_fraction": fraction}
    layer = conventions.CAFFE.layer(3, **words)
    sums, scale = np.zeros((2, 3)), 0.0
    for t, x in enumerate(rng.standard_normal((5, 4, 3)), start=1):
        sums = fraction * sums + [x.mean(0), x.var(0, ddof=1)]
        scale = fraction * scale + 1
        layer(x)
        with may_warn():
            state = conventions.CAFFE.to_state(layer, **words)
        # 1 - f**t over 1 - f loses three digits at f = 0.999
        np.testing.assert_allclose(state["blobs[2]"], [scale], rtol=1e-12)
        np.testing.assert_allclose(state["blobs[0]"], sums[0], rtol=0, atol=1e-11)
        np.testing.assert_allclose(state["blobs[1]"], sums[1], rtol=0, atol=1e-11)
        back = conventions.CAFFE.from_state(state, **words)
        assert back.running.num_batches == t or fraction == 0


def test_equinox_by_its_own_formula(rng):
    """From a stored state on: hidden = m * hidden + (1 - m) * batch, / (1 - m**t) at inference."""
    state = stored("EQUINOX", BEFORE, rank=2, batches=3)
    layer = conventions.EQUINOX.from_state(state, momentum=0.9)
    mean, var = BEFORE["running_mean"], BEFORE["running_var"]
    for t, x in enumerate(rng.standard_normal((5, 4, 3)), start=4):
        mean, var = 0.9 * mean + 0.1 * x.mean(0), 0.9 * var + 0.1 * x.var(0)
        layer.train()(x)
        z = (x - mean / (1 - 0.9**t)) / np.sqrt(var / (1 - 0.9**t) + 1e-5)
        want = z * BEFORE["gamma"] + BEFORE["beta"]
        np.testing.assert_allclose(layer.eval()(x), want, rtol=0, atol=1e-13)


class Rule:
    """A rule that is not a function."""

    def __call__(self, running, moments):
        del moments
        return running

    def __str__(self):
        return "a rule"


def trained(name, rng):
    """Return a layer of three channels with odd parameters, after three batches."""
    with unlike(name):
        layer = CONVENTIONS[name].layer(3, rank=2, **WORDS[name])
    for x in rng.standard_normal((3, 4, 3)):
        layer(x)
    if layer.gamma is not None:
        layer.gamma, layer.beta = rng.standard_normal((2, 3))
    return layer


def biased(layer):
    """Return a layer with the same state and settings, but which stores biased variances."""
    new = BatchNorm(2, eps=layer.eps, gamma=False, ddof=0)
    new.load_state_dict(layer.state_dict())
    return new


def seen_by(name, x, *, back=False):
    """Return a batch as the framework has it by default, or from there back."""
    moves = (-1, 1) if back else (1, -1)
    return np.moveaxis(x, *moves) if name in CHANNELS_LAST else x


def scaled(name, y):
    """Return the output with gamma and beta, which Caffe has in another layer."""
    if name != "CAFFE":
        return y
    y = np.moveaxis(y, 1, -1) * BEFORE["gamma"] + BEFORE["beta"]
    return np.moveaxis(y, -1, 1)


def stored(name, state, *, rank, batches=1):
    """Return what a framework has stored, by hand; averages that it keeps as sums are the sums."""
    names = {
        "PYTORCH": "weight bias running_mean running_var num_batches_tracked",
        "TINYGRAD": "weight bias running_mean running_var num_batches_tracked",
        "MLX": "weight bias running_mean running_var",
        "KERAS": "gamma beta moving_mean moving_variance",
        "TF_KERAS": "gamma beta moving_mean moving_variance",
        "TENSORFLOW": "scale offset mean variance",
        "FLAX": "params/scale params/bias batch_stats/mean batch_stats/var",
        "FLAX_NNX": "scale bias mean var",
        "EQUINOX": "weight bias batch_state_index/0 batch_state_index/1 batch_counter",
        "ONNX": "scale B input_mean input_var",
        "PADDLE": "weight bias _mean _variance",
        "MXNET": "gamma beta running_mean running_var",
        "MXNET_GPU": "gamma beta running_mean running_var",
        "CHAINER": "gamma beta avg_mean avg_var N",
        "CAFFE": "- - blobs[0] blobs[1] blobs[2]",
        "DARKNET": "scales biases rolling_mean rolling_variance",
        "NUMPY_ML": "scaler intercept running_mean running_var",
        "CS231N": "gamma beta running_mean running_var",
        "HAIKU": "scale offset mean_ema/hidden var_ema/hidden",
    }[name].split()
    values = [*(state[key].copy() for key in BEFORE), np.array(batches)]
    theirs = dict(zip(names, values, strict=False))
    if name == "CAFFE":
        del theirs["-"]
        theirs["blobs[2]"] = np.array([sum(0.9**i for i in range(batches))])
    if name == "HAIKU":
        for kind in ("mean_ema", "var_ema"):
            theirs[f"{kind}/average"] = theirs[f"{kind}/hidden"] / (1 - 0.9**batches)
        shape = (1,) * (rank - 1) + (3,)
        theirs = {key: value.reshape(shape) for key, value in theirs.items()}
        theirs |= {f"{kind}/counter": np.array(batches) for kind in ("mean_ema", "var_ema")}
    return theirs


def moved(name, state):
    """Return running mean and variance of a state of the framework, one step after `stored`."""
    mean, var = {"HAIKU": ("mean_ema/hidden", "var_ema/hidden")}.get(
        name, CONVENTIONS[name].names[2:4]
    )
    if name == "CAFFE":  # S = f * S + batch, not (1 - f) * batch
        before = 0.9 * BEFORE["running_mean"], 0.9 * BEFORE["running_var"]
        return [0.1 * (state[key] - b) + b for key, b in zip((mean, var), before, strict=True)]
    return state[mean].ravel(), state[var].ravel()


def cannot(name, lost):
    """Return the warning of what a convention loses."""
    convention = CONVENTIONS[name]
    return (
        f"{convention.name} cannot keep all: converted and back it has {lost}. What its words "
        f"({', '.join(convention.words)}) can say, say here and to the layer there; keep the rest "
        "beside the state."
    )


class said:  # noqa: N801 (reads as a word)
    """Context in which exactly these conversion warnings come, at the caller's line."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.catch = warnings.catch_warnings(record=True, action="always")

    def __enter__(self):
        self.record = self.catch.__enter__()

    def __exit__(self, *error):
        self.catch.__exit__(*error)
        if error[0] is None:
            assert [str(w.message) for w in self.record] == self.messages
            assert {w.category for w in self.record} <= {ConversionWarning}
            assert {w.filename for w in self.record} <= {__file__}


def unlike(name):
    """Return a context in which Darknet warns and no other convention does."""
    return said(*[DARKNET] * (name == "DARKNET"))


def may_warn():
    """Return a context in which conversion warnings are not what is tested."""
    return warnings.catch_warnings(action="ignore", category=ConversionWarning)


def unpacked(running):
    """Return mean, variance and number of batches as lists and a number."""
    return running.mean.tolist(), running.var.tolist(), running.num_batches
