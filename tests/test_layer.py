"""The layer: which calls change what, and that a call that raises changes nothing."""

import copy
import pickle
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import numpy as safetensors

from refbn import (
    BatchNorm,
    Moments,
    RunningStatistics,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_infer_backward,
    batch_norm_train,
    cumulative_average,
    exponential_average,
)
from refbn.running import pooled_statistics

SUFFIXES = [".npz", ".safetensors"]

# Single-precision values: their squares and products neither overflow nor underflow in double.
FLOATS = st.floats(-(2.0**10), 2.0**10, width=32, allow_subnormal=False).filter(
    lambda value: value == 0 or abs(value) > 2.0**-20
)
BATCHES = arrays(np.float64, st.tuples(st.integers(2, 6), st.just(2)), elements=FLOATS)


# Worked example by hand


def test_two_calls_by_hand():
    """Train on 1 and 3 at decay 0.5, then evaluate: mean 1, variance 1.5, and 1 becomes 0."""
    bn = BatchNorm(1, eps=0.0, decay=0.5)
    assert bn(np.array([[1.0], [3.0]])).tolist() == [[-1.0], [1.0]]
    assert unpacked(bn.running) == ([1.0], [1.5], 1)
    assert bn.eval()(np.array([[1.0]])).tolist() == [[0.0]]


def test_the_start():
    """A new layer trains, has gamma 1 and beta 0, mean 0 and variance 1, and has seen no batch."""
    bn = BatchNorm(2)
    assert bn.training is True
    assert (bn.gamma.tolist(), bn.beta.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    assert unpacked(bn.running) == ([0.0, 0.0], [1.0, 1.0], 0)


def test_a_frozen_call_by_hand():
    """In training mode, frozen at mean -10 and variance 4 with gamma 2 and beta 0.5: 0 becomes 10.5."""
    bn = made(eps=1.0).freeze()
    assert bn(np.zeros((1, 2)))[:, 0].tolist() == [10 / np.sqrt(3.0 + 1.0) * 2 + 0.5]
    assert unpacked(bn.running) == ([-10.0, 19.0], [3.0, 4.0], 7)


def test_the_names_in_a_file(tmp_path):
    """A file holds the state by name, and eps; nothing of mode, axis or rule."""
    bn = made(eps=0.25, channel_axis=0, decay=0.5).eval().freeze()
    bn.save(tmp_path / "bn.npz")
    with np.load(tmp_path / "bn.npz", allow_pickle=False) as file:
        content = {name: a.tolist() for name, a in file.items()}
    assert content == {
        "gamma": [2.0, -1.0],
        "beta": [0.5, -3.0],
        "running_mean": [-10.0, 19.0],
        "running_var": [3.0, 4.0],
        "num_batches": 7,
        "eps": 0.25,
    }
    bn.save(tmp_path / "bn.safetensors")
    other = safetensors.load_file(tmp_path / "bn.safetensors")
    assert {name: a.tolist() for name, a in other.items()} == content


def test_the_defaults():
    """eps is 1e-5, decay 0.9, the stored variance unbiased, and the channels are on axis 1."""
    bn = BatchNorm(1)
    assert bn.eval()(np.ones((1, 1, 3))).tolist() == [[[1 / np.sqrt(1 + 1e-5)] * 3]]
    bn.train()(np.array([[0.0], [2.0]]))
    np.testing.assert_allclose(bn.running.mean, [0.1], rtol=1e-15)  # 1 - 0.9 is rounded
    np.testing.assert_allclose(bn.running.var, [0.9 + 0.1 * 2], rtol=1e-15)


# Laws


@given(x=BATCHES)
def test_training_is_the_pure_functions(x):
    """In training a call is batch_norm_train, and backward is batch_norm_backward, to the bit."""
    bn = made(channel_axis=-1, eps=0.1)
    y, cache = batch_norm_train(x, bn.gamma, bn.beta, eps=0.1)
    assert bn(x).tobytes() == y.tobytes()
    assert_same(bn.backward(y), batch_norm_backward(y, cache))


@given(x=BATCHES)
def test_evaluation_is_the_pure_functions(x):
    """In evaluation a call is batch_norm_infer with the running statistics, and so is backward."""
    bn = made(channel_axis=-1, eps=0.1).eval()
    given_ = {"mean": bn.running.mean, "var": bn.running.var, "gamma": bn.gamma, "beta": bn.beta}
    y = batch_norm_infer(x, **given_, eps=0.1)
    assert bn(x).tobytes() == y.tobytes()
    assert_same(bn.backward(y), batch_norm_infer_backward(y, x, **given_, eps=0.1))


@given(batches=st.lists(BATCHES, min_size=1, max_size=4))
def test_training_changes_the_running_statistics_only(batches):
    """After some batches gamma and beta are as before, and the statistics have followed each."""
    bn = made()
    before, running = bn.state_dict(), bn.running
    for x in batches:
        bn(x)
        running = exponential_average(running, Moments.of(x, axis=0))
    after = bn.state_dict()
    assert unpacked(bn.running) == unpacked(running)
    assert {name for name in after if after[name].tobytes() != before[name].tobytes()} <= {
        "running_mean",
        "running_var",
        "num_batches",
    }
    assert bn.training


@given(x=BATCHES)
def test_evaluation_changes_nothing(x):
    """Calls in evaluation, and backward through them, leave the whole state as it was."""
    bn = made().eval()
    before = frozen(bn)
    bn.backward(bn(x))
    assert frozen(bn) == before


def test_the_mode_can_be_chosen_in_passing():
    """train() and eval() switch the mode and return the layer."""
    bn = BatchNorm(1)
    assert bn.eval() is bn
    assert bn.training is False
    assert bn.train() is bn
    assert bn.training is True


def test_training_does_not_see_the_running_statistics(rng):
    """What was gathered before has no influence on an output in training."""
    x = rng.standard_normal((5, 2))
    bn = made()
    first = bn(x)
    bn(100 + 10 * x)
    assert bn(x).tobytes() == first.tobytes()


@given(x=BATCHES)
def test_a_frozen_layer_is_in_evaluation_whatever_its_mode(x):
    """Frozen, calls in training are batch_norm_infer to the bit, backward too, and change nothing."""
    bn, plain = made(eps=0.1).freeze(), made(eps=0.1).eval()
    before = frozen(bn)
    y = bn(x)
    assert y.tobytes() == plain(x).tobytes()
    gradients = bn.backward(y)
    assert_same(gradients, plain.backward(y))
    assert gradients.gamma is not None
    assert gradients.beta is not None
    assert frozen(bn) == before
    assert bn.training


def test_only_unfreeze_undoes_freeze(rng):
    """train() and eval() leave a frozen layer frozen; unfreeze() gives it back to its mode."""
    bn, x = made(), rng.standard_normal((5, 2))
    assert bn.frozen is False
    assert bn.freeze() is bn
    assert bn.frozen is True
    bn.eval().train()(x)
    assert bn.running.num_batches == 7
    assert bn.unfreeze() is bn
    assert bn.frozen is False
    bn(x)
    assert bn.running.num_batches == 8
    bn.freeze().eval().unfreeze()(x)
    assert bn.running.num_batches == 8


def test_the_moments_are_those_of_the_last_batch_in_training(rng):
    """A call in training shows the moments of its batch; other calls, and bad ones, leave them."""
    bn, x = made(), rng.standard_normal((5, 2))
    assert bn.moments is None
    bn(x)
    expected = Moments.of(x, axis=0)
    for call in (bn.eval(), bn.train().freeze()):
        call(x[:3])
        assert bn.moments.mean.tolist() == expected.mean.tolist()
        assert bn.moments.m2.tolist() == expected.m2.tolist()
    before = bn.unfreeze().moments
    with pytest.raises(ValueError, match="running statistics must be finite"):
        bn(np.full((3, 2), np.nan))
    assert bn.moments is before


def test_a_network_can_be_recalibrated(rng):
    """From the moments of its calls each layer of a network gets the statistics of its own input."""
    first, second = made(), made()
    batches, kept = rng.normal(5.0, 2.0, (6, 8, 2)), [[], []]
    for x in batches:
        second(np.maximum(first(x), 0))
        for layer, moments in zip((first, second), kept, strict=True):
            moments.append(layer.moments)
    first.running, second.running = map(pooled_statistics, kept)
    inside = [np.maximum(batch_norm_train(x, first.gamma, first.beta)[0], 0) for x in batches]
    for layer, given_ in ((first, batches), (second, np.array(inside))):
        values = given_.reshape(-1, 2)
        # 48 values of order 10
        np.testing.assert_allclose(layer.running.mean, values.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(layer.running.var, values.var(axis=0, ddof=1), rtol=1e-13)
        assert layer.running.num_batches == 6


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_makes_an_equal_layer(suffix, kind, tmp_path, rng):
    """What was saved and loaded is equal to the bit, in parameters, statistics and outputs."""
    bn, other = BatchNorm(6, eps=0.3), BatchNorm(6, eps=0.3)
    special = np.array([0.1, -0.0, 5e-324, 1.7e308, -1 / 3, 2.0**-1074 * 3])
    bn.gamma, bn.beta = special, special[::-1]  # not contiguous
    bn.running = RunningStatistics(-special, abs(special), 2**53 + 1)
    path = kind(tmp_path / f"bn{suffix}")
    bn.save(path)
    other.load(path)
    assert frozen(other) == frozen(bn)
    assert isinstance(other.running.num_batches, int)
    x = np.float32(rng.standard_normal((4, 6)))
    with np.errstate(all="ignore"):  # of 1e308
        assert other.eval()(x).tobytes() == bn.eval()(x).tobytes()
    other.gamma += 1.0  # what was loaded can be trained
    assert [entry.name for entry in tmp_path.iterdir()] == [f"bn{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("gamma", "beta"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_a_file_of_a_layer_without_a_parameter(suffix, gamma, beta, tmp_path):
    """A layer without gamma or beta can be saved, and loaded into a layer without it."""
    bn, other = (BatchNorm(2, gamma=gamma, beta=beta) for _ in range(2))
    bn(np.array([[1.0, 2.0], [4.0, 8.0]]))
    bn.save(tmp_path / f"bn{suffix}")
    other.load(tmp_path / f"bn{suffix}")
    assert frozen(other) == frozen(bn)
    assert (other.gamma is not None, other.beta is not None) == (gamma, beta)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16, ">f8"])
def test_a_parameter_of_any_floating_dtype_is_saved_in_double(suffix, dtype, tmp_path):
    """A gamma that was set in another precision or byte order comes back as its value in float64."""
    bn = made()
    bn.gamma = np.array([0.1, -3.0]).astype(dtype)
    bn.save(tmp_path / f"bn{suffix}")
    other = made()
    other.load(tmp_path / f"bn{suffix}")
    assert other.gamma.dtype == np.float64
    assert other.gamma.tolist() == bn.gamma.astype(np.float64).tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_layer_makes_the_same_file(suffix, tmp_path):
    """Saving twice gives the same bytes, and the second replaces the first."""
    path, contents = tmp_path / f"bn{suffix}", []
    for _ in range(2):
        made().save(path)
        contents.append(path.read_bytes())
    BatchNorm(2).save(path)
    assert contents[0] == contents[1] != path.read_bytes()


@pytest.mark.parametrize("eps", [0, 1e-3, np.float32(1e-5), np.float64(1e-5)])
def test_any_eps_comes_back(eps, tmp_path):
    """Whatever kind of number eps is, its layer can load what it saved."""
    made(eps=eps).save(tmp_path / "bn.npz")
    made(eps=eps).load(tmp_path / "bn.npz")


def test_loading_leaves_the_mode_alone(tmp_path):
    """A state that is loaded changes neither mode nor freezing."""
    made().save(tmp_path / "bn.npz")
    bn = BatchNorm(2).eval().freeze()
    bn.load(tmp_path / "bn.npz")
    assert (bn.training, bn.frozen) == (False, True)


@pytest.mark.parametrize(
    ("gamma", "beta"), [(True, True), (True, False), (False, True), (False, False)]
)
@pytest.mark.parametrize("training", [True, False])
def test_gamma_and_beta_may_be_left_out(gamma, beta, training, rng):
    """Without gamma or beta the layer has none, no gradient of it, and none in its state."""
    bn = BatchNorm(2, gamma=gamma, beta=beta)
    bn.training = training
    y = bn(rng.standard_normal((5, 2)))
    gradients = bn.backward(y)
    assert (bn.gamma is not None, bn.beta is not None) == (gamma, beta)
    assert (gradients.gamma is not None, gradients.beta is not None) == (gamma, beta)
    names = [*["gamma"] * gamma, *["beta"] * beta, "running_mean", "running_var", "num_batches"]
    state = bn.state_dict()
    assert list(state) == names
    bn.load_state_dict(state)
    assert list(bn.state_dict()) == names


@pytest.mark.parametrize("channel_axis", [0, 2, -3])
@pytest.mark.parametrize("training", [True, False])
def test_the_channel_axis_is_passed_on(channel_axis, training, rng):
    """A layer with its channels elsewhere is the same layer on the transposed batch."""
    x, dy = rng.standard_normal((2, 5, 2, 3))
    plain, moved = made(), made(channel_axis=channel_axis)
    plain.training = moved.training = training
    y = moved(np.moveaxis(x, 1, channel_axis))
    # 15 values of order 1, added in another order
    np.testing.assert_allclose(np.moveaxis(y, channel_axis, 1), plain(x), rtol=0, atol=1e-13)
    dx = moved.backward(np.moveaxis(dy, 1, channel_axis)).x
    np.testing.assert_allclose(np.moveaxis(dx, channel_axis, 1), plain.backward(dy).x, atol=1e-12)


def test_a_mask_is_passed_on(rng):
    """In training a mask keeps values out of output and running statistics."""
    x = rng.standard_normal((6, 2))
    where = np.array([[True]] * 4 + [[False]] * 2)
    masked, short = made(), made()
    y, expected = masked(np.where(where, x, np.nan), where=where), short(x[:4])
    np.testing.assert_allclose(y[:4], expected, rtol=0, atol=1e-14)  # 4 values of order 1
    assert not np.any(y[4:])
    np.testing.assert_allclose(masked.running.var, short.running.var, rtol=1e-14)


def test_the_rule_is_passed_on(rng):
    """decay, ddof and the rule itself reach the running statistics."""
    x = rng.standard_normal((5, 2))
    moments, start = Moments.of(x, axis=0), RunningStatistics.initial(2)
    for rule, keywords in [
        (exponential_average, {"decay": 0.5}),
        (exponential_average, {"decay": 0.0, "ddof": 0}),
        (cumulative_average, {}),
        (cumulative_average, {"ddof": 0}),
    ]:
        bn = BatchNorm(2, update=rule, **keywords)
        bn(x)
        assert unpacked(bn.running) == unpacked(rule(start, moments, **keywords))


def test_a_rule_of_ones_own(rng):
    """Any function from running statistics and moments to running statistics will do."""

    def largest(running, moments, *, ddof):
        var = np.maximum(running.var, moments.var(ddof))
        return RunningStatistics(running.mean, var, running.num_batches + 1)

    bn = BatchNorm(2, update=largest, ddof=0)
    x = np.array([1.0, 0.1]) * rng.standard_normal((50, 2)) * 3
    bn(x)
    np.testing.assert_allclose(bn.running.var, [x[:, 0].var(), 1.0], rtol=1e-15)


@given(x=BATCHES)
def test_the_state_makes_an_equal_layer(x):
    """A state loaded into another layer makes it give the same numbers."""
    bn, other = made(), BatchNorm(2)
    bn(x)
    other.load_state_dict(bn.state_dict())
    assert frozen(other) == frozen(bn)
    assert other.eval()(x).tobytes() == bn.eval()(x).tobytes()
    assert isinstance(other.running.num_batches, int)


def test_a_state_of_lists_can_be_loaded():
    """A state that went through JSON, as lists and a number, is the same state."""
    bn, other = made(), BatchNorm(2)
    other.load_state_dict({name: value.tolist() for name, value in bn.state_dict().items()})
    assert frozen(other) == frozen(bn)


def test_the_state_by_name():
    """The state is parameters and statistics in float64, and an integer of shape ()."""
    state = made().state_dict()
    assert {name: (a.shape, a.dtype.kind) for name, a in state.items()} == {
        "gamma": ((2,), "f"),
        "beta": ((2,), "f"),
        "running_mean": ((2,), "f"),
        "running_var": ((2,), "f"),
        "num_batches": ((), "i"),
    }


def test_the_state_goes_out_and_in_as_copies():
    """Writing to a state that was returned or loaded does not reach the layer."""
    bn = made()
    before = frozen(bn)
    state = bn.state_dict()
    bn.load_state_dict(state)
    for a in (*state.values(), *bn.state_dict().values()):
        a[...] = 7
    assert frozen(bn) == before


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_state_in_less_precision_is_loaded_in_double(dtype):
    """What is loaded is kept in float64 and can be trained further."""
    bn = made()
    bn.load_state_dict(
        {
            name: a if name == "num_batches" else a.astype(dtype)
            for name, a in bn.state_dict().items()
        }
    )
    assert bn.gamma.dtype == bn.beta.dtype == bn.running.mean.dtype == np.float64
    bn.gamma -= 0.5
    assert bn.gamma.tolist() == [1.5, -1.5]


# Edges and errors


@pytest.mark.parametrize("training", [True, False])
def test_backward_sees_what_forward_saw(training, rng):
    """What is done in place to gamma, beta or y after a call does not reach backward."""
    x, dy = rng.standard_normal((2, 5, 2))
    for bn in (made(), BatchNorm(2, gamma=False, beta=False)):
        bn.training = training
        bn(x.copy())
        expected = bn.backward(dy)
        given_ = x.copy()
        for a in (bn(given_), bn.gamma, bn.beta, None if training else given_):
            if a is not None:
                np.multiply(a, 3, out=a)
        assert_same(bn.backward(dy), expected)


def test_backward_belongs_to_the_mode_of_the_call(rng):
    """Switching the mode, or loading a state, between call and backward changes nothing."""
    x, dy = rng.standard_normal((2, 5, 2))
    for training in (True, False):
        bn = made()
        bn.training = training
        bn(x)
        expected = bn.backward(dy)
        bn.training = not training
        assert_same(bn.backward(dy), expected)
        bn.load_state_dict(BatchNorm(2).state_dict())
        assert_same(bn.backward(dy), expected)


def test_backward_leaves_the_layer_alone(rng):
    """The gradients are returned and kept nowhere; backward may be asked again."""
    bn = made()
    dy = bn(rng.standard_normal((5, 2)))
    before = frozen(bn)
    assert_same(bn.backward(dy), bn.backward(dy))
    assert frozen(bn) == before


def test_backward_needs_a_call():
    """A layer that was never called has nothing to go back through."""
    message = (
        "backward() needs a forward pass to go back through; the layer has not been "
        "called yet. Call it on a batch first."
    )
    with pytest.raises(RuntimeError, match=whole(message)):
        BatchNorm(1).backward([[1.0]])


def test_dy_is_checked():
    """The gradient must have the shape of the last output, in either mode."""
    message = (
        "dy must have the shape of y, (3, 2); got dy.shape=(2, 2). "
        "Pass the gradient that belongs to this forward pass."
    )
    for training in (True, False):
        bn = made()
        bn.training = training
        bn(np.zeros((3, 2)))
        with pytest.raises(ValueError, match=whole(message)):
            bn.backward(np.zeros((2, 2)))


NOT_FINITE = (
    "running statistics must be finite and variances not negative; "
    "got mean=[nan], var=[nan] in channels [1]. Nothing was stored. "
    "Look for NaN, Inf or overflow in what they were made of."
)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0, 2.0], [1.0, np.nan]], ValueError, NOT_FINITE),
        ([[1.0, 2.0], [1.0, -np.inf]], ValueError, NOT_FINITE),
        (
            [[1.0, 2.0]],
            ValueError,
            (
                "a variance with ddof=1 needs at least 2 values per channel; got count=[1, 1]. "
                "Pass a larger batch, or ddof=0 for the variance of these values alone."
            ),
        ),
        (
            np.zeros((0, 2)),
            ValueError,
            (
                "training needs at least 1 value per channel to take a mean of; "
                "got none in channels [0, 1] for x.shape=(0, 2). "
                "Leave out empty batches, or use batch_norm_infer."
            ),
        ),
        (
            np.zeros((4, 3)),
            ValueError,
            (
                "this layer has 2 channels; got 3 along channel_axis=1 of x.shape=(4, 3). "
                "Make a layer with as many channels, or with another channel_axis."
            ),
        ),
        (
            [[1, 2], [3, 4]],
            TypeError,
            (
                "x must be an array of float16, bfloat16, float32, float64; got dtype int64. "
                "Convert it first, for example with np.asarray(x, dtype=np.float64)."
            ),
        ),
        (
            np.ones((3, 2)) * (1 + 1j),
            TypeError,
            (
                "running statistics must be real; got mean of dtype complex128. "
                "Complex numbers are for complex-step derivatives of the pure functions only."
            ),
        ),
    ],
)
def test_a_call_that_raises_leaves_the_layer_as_it_was(x, error, message, rng):
    """After a bad batch, state and backward are those of the last good call."""
    bn = made()
    dy = bn(rng.standard_normal((5, 2)))
    before, expected = frozen(bn), bn.backward(dy)
    with pytest.raises(error, match=whole(message)):
        bn(x)
    assert frozen(bn) == before
    assert_same(bn.backward(dy), expected)


def test_an_evaluation_that_raises_leaves_the_layer_as_it_was(rng):
    """In evaluation too, backward still belongs to the last good call."""
    bn = made().eval()
    dy = bn(rng.standard_normal((5, 2)))
    before, expected = frozen(bn), bn.backward(dy)
    message = (
        "this layer has 2 channels; got 3 along channel_axis=1 of x.shape=(4, 3). "
        "Make a layer with as many channels, or with another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        bn(np.zeros((4, 3)))
    assert frozen(bn) == before
    assert_same(bn.backward(dy), expected)


def test_other_channels_are_refused_without_parameters_too():
    """Without gamma and beta too, the layer notices a batch of other channels."""
    message = (
        "this layer has 2 channels; got 3 along channel_axis=1 of x.shape=(4, 3). "
        "Make a layer with as many channels, or with another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        BatchNorm(2, gamma=False, beta=False)(np.zeros((4, 3)))


def test_a_mask_in_evaluation_is_refused():
    """In evaluation a mask would change nothing but itself, so it is an error."""
    message = (
        "where is for training, where it keeps values out of the statistics; "
        "got a mask in evaluation mode. Leave it out, or mask the output."
    )
    bn = made().eval()
    before = frozen(bn)
    with pytest.raises(ValueError, match=whole(message)):
        bn(np.zeros((3, 2)), where=np.True_)
    assert frozen(bn) == before


@pytest.mark.parametrize("training", [True, False])
def test_a_mask_to_a_frozen_layer_is_refused(training):
    """Frozen is like evaluation here too, and the error says that it is why."""
    message = (
        "where is for training, where it keeps values out of the statistics; "
        "got a mask in frozen mode. Leave it out, or mask the output."
    )
    bn = made().freeze()
    bn.training = training
    before = frozen(bn)
    with pytest.raises(ValueError, match=whole(message)):
        bn(np.zeros((3, 2)), where=np.True_)
    assert frozen(bn) == before


def test_a_frozen_layer_takes_any_number_of_samples(rng):
    """One sample, or none, is no error for a frozen layer in training."""
    bn, x = made().freeze(), rng.standard_normal((3, 2))
    assert bn(x[:1]).tobytes() == bn(x)[:1].tobytes()
    assert bn(x[:0]).shape == (0, 2)


def test_backward_belongs_to_the_call_before_freezing(rng):
    """Freezing between call and backward changes nothing, nor does unfreezing."""
    x, dy = rng.standard_normal((2, 5, 2))
    bn = made()
    bn(x)
    trained = bn.backward(dy)
    assert_same(bn.freeze().backward(dy), trained)
    bn(x)
    assert not np.allclose(bn.backward(dy).x, trained.x)
    assert_same(bn.unfreeze().backward(dy), bn.freeze().backward(dy))


def test_evaluation_takes_any_number_of_samples(rng):
    """One sample, none, or one with NaN can be evaluated, and no sample sees another."""
    bn = made().eval()
    x = rng.standard_normal((3, 2))
    x[1, 0] = np.nan
    y = bn(x)
    assert bn(x[:1]).tobytes() == y[:1].tobytes()
    assert bn(x[:0]).shape == (0, 2)
    assert np.isnan(y).tolist() == np.isnan(x).tolist()


@pytest.mark.parametrize("eps", [-1.0, float("nan")])
def test_a_negative_eps_fails_at_construction(eps):
    """A layer with an eps that cannot be is not made."""
    message = (
        f"eps must be a finite number, not negative; got eps={eps!r}. The usual value is 1e-5."
    )
    with pytest.raises(ValueError, match=whole(message)):
        BatchNorm(2, eps=eps)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (
            {"momentum": 0.1},
            TypeError,
            (
                "an exponential average takes decay, the weight of the old value, not momentum, "
                "which means opposite things in different frameworks; got momentum=0.1. "
                "From PyTorch pass decay=1-0.1, from Keras, Flax or ONNX decay=0.1; "
                "cumulative_average() has neither."
            ),
        ),
        (
            {"decay": 1.5},
            ValueError,
            "decay must lie between 0 and 1, the weight of the old value; got decay=1.5. "
            "The usual value is 0.9.",
        ),
        (
            {"update": cumulative_average, "decay": 0.9},
            TypeError,
            "cumulative_average() got unexpected keyword arguments ['decay']. "
            "Look for a slip in their spelling; BatchNorm passes on here what is not one of its own, "
            "which are eps, channel_axis, gamma, beta and update. "
            "For a framework's words see refbn.conventions.",
        ),
    ],
)
def test_a_rule_that_cannot_work_fails_at_construction(rule, error, message):
    """Keywords that the rule refuses are refused before the first batch."""
    with pytest.raises(error, match=whole(message)):
        BatchNorm(2, **rule)


def test_a_rule_that_returns_something_else_stores_nothing(rng):
    """What a rule returns is looked at, at construction and at each batch, and then refused."""
    message = (
        "running must be RunningStatistics; got NoneType. "
        "Make them with RunningStatistics(mean, var); a rule for update returns them."
    )
    with pytest.raises(TypeError, match=whole(message)):
        BatchNorm(2, update=lambda *_: None)
    rule = iter([RunningStatistics.initial(2), None])
    bn = BatchNorm(2, update=lambda *_: next(rule))
    before = bn.running
    with pytest.raises(TypeError, match=whole(message)):
        bn(rng.standard_normal((4, 2)))
    assert bn.running is before
    assert bn.moments is None


@pytest.mark.parametrize("mode", ["train", "eval", "freeze"])
def test_a_masked_array_is_refused_in_every_mode(mode):
    """Its mask would be lost, in evaluation as in training."""
    bn = getattr(BatchNorm(2), mode)()
    with pytest.raises(TypeError, match="the mask of a masked one would be lost"):
        bn(np.ma.masked_invalid([[1.0, np.nan], [2.0, 3.0]]))


@pytest.mark.parametrize(
    ("change", "missing", "unknown"),
    [
        ({"gamma": None}, ["gamma"], []),
        ({"weight": np.ones(2)}, [], ["weight"]),
        ({"beta": None, "num_batches": None, "bias": 1.0}, ["beta", "num_batches"], ["bias"]),
    ],
)
def test_a_state_with_other_names_is_refused(change, missing, unknown):
    """A state with a name too few or too many is refused, and none of it loaded."""
    names = ["beta", "gamma", "num_batches", "running_mean", "running_var"]
    message = (
        f"the state must have the names {names}; missing {missing}, "
        f"unknown {unknown}. Nothing was loaded. Rename or leave out what does not fit."
    )
    assert_refused(change, ValueError, message)


POISON = (
    "running statistics must be finite and variances not negative; "
    "got mean=[{mean}], var=[{var}] in channels [1]. Nothing was stored. "
    "Look for NaN, Inf or overflow in what they were made of."
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *[
            (
                {name: np.ones(shape)},
                ValueError,
                (
                    f"{name} must have the shape {expected}; got {shape}. Nothing was changed. "
                    "Pass one value for each channel of the layer."
                ),
            )
            for name, shape, expected in [
                ("gamma", (3,), (2,)),
                ("beta", (1,), (2,)),
                ("running_mean", (2, 1), (2,)),
                ("running_var", (), (2,)),
                ("num_batches", (1,), ()),
            ]
        ],
        *[
            (
                {name: np.ones(2, int)},
                TypeError,
                (
                    f"{name} must be an array of float16, bfloat16, float32, float64; "
                    "got dtype int64. "
                    f"Convert it first, for example with np.asarray({name}, dtype=np.float64)."
                ),
            )
            for name in ("gamma", "beta", "running_mean", "running_var")
        ],
        ({"running_var": [1.0, -1.0]}, ValueError, POISON.format(mean=20.0, var=-1.0)),
        ({"running_var": [1.0, np.inf]}, ValueError, POISON.format(mean=20.0, var=np.inf)),
        ({"running_mean": [1.0, np.nan]}, ValueError, POISON.format(mean=np.nan, var=5.0)),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, error, message):
    """A wrong shape or dtype, a NaN or a negative variance is refused, and nothing is loaded."""
    assert_refused(change, error, message)


@pytest.mark.parametrize("name", ["gamma", "beta", "running_mean", "running_var"])
def test_a_complex_state_is_refused(name):
    """A complex parameter or statistic is a TypeError, and never quietly its real part."""
    message = (
        f"{name} must be real; got dtype complex128. Nothing was changed. "
        "Complex numbers are for complex-step derivatives of the pure functions only."
    )
    assert_refused({name: np.ones(2) + 1j}, TypeError, message)


@pytest.mark.parametrize("number", [-1, 2.5, np.nan, 1j])
def test_a_number_of_batches_that_is_none_is_refused(number):
    """The number of batches is an integer that is not negative."""
    message = (
        "num_batches must be an integer that is not negative; "
        f"got num_batches={number!r}. It counts the updates so far."
    )
    assert_refused({"num_batches": np.array(number)}, ValueError, message)


@pytest.mark.parametrize("name", ["bn", "bn.pt", "bn.npz.zip", ".npz", "bn.NPZ"])
@pytest.mark.parametrize("method", ["save", "load"])
def test_another_kind_of_file_is_refused(method, name, tmp_path, monkeypatch):
    """A name that ends in neither of the two endings is refused, and no file written."""
    message = (
        f"the name of the file must end in .npz or .safetensors; got {name!r}. "
        "Choose .npz where nothing but NumPy is installed."
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=whole(message)):
        getattr(made(), method)(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["save", "load"])
def test_safetensors_must_be_installed(method, tmp_path, monkeypatch):
    """Without the package its files are an error that says what to install; .npz goes on."""
    path = tmp_path / "bn.safetensors"
    made().save(path)
    content = path.read_bytes()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = (
        "a file in .safetensors needs the package safetensors, which cannot be imported. "
        'Run pip install "refbn[safetensors]", or save as .npz.'
    )
    with pytest.raises(ImportError, match=whole(message)):
        getattr(BatchNorm(2), method)(path)
    assert path.read_bytes() == content
    made().save(tmp_path / "bn.npz")
    BatchNorm(2).load(tmp_path / "bn.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_save_that_fails_leaves_the_old_file(suffix, step, tmp_path, monkeypatch):
    """On a full disk, or whatever else fails, the file of before is there, whole and alone."""
    path = tmp_path / f"bn{suffix}"
    made().save(path)
    content = path.read_bytes()

    def fails(file, given_):
        if step == "write_bytes":
            with file.open("wb") as half:
                half.write(given_[: len(given_) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, step, fails)
    with pytest.raises(OSError, match=whole("No space left on device")):
        BatchNorm(2).save(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "gamma",
            [1, 2],
            TypeError,
            "gamma must be an array of float16, bfloat16, float32, float64; got dtype int64. "
            "Convert it first, for example with np.asarray(gamma, dtype=np.float64).",
        ),
        (
            "beta",
            np.array([1j, 2]),
            TypeError,
            "beta must be real; got dtype complex128. Nothing was changed. "
            "Complex numbers are for complex-step derivatives of the pure functions only.",
        ),
        (
            "gamma",
            np.ones(3),
            ValueError,
            "gamma must have the shape (2,); got (3,). Nothing was changed. "
            "Pass one value for each channel of the layer.",
        ),
        (
            "running",
            (np.zeros(2), np.ones(2)),
            TypeError,
            "running must be RunningStatistics; got tuple. "
            "Make them with RunningStatistics(mean, var); a rule for update returns them.",
        ),
        (
            "running",
            RunningStatistics.initial(3),
            ValueError,
            "running must be of 2 channels, as the layer; got 3. "
            "Take the statistics over all axes but channel_axis.",
        ),
    ],
)
def test_what_does_not_fit_cannot_be_set(name, value, error, message):
    """Parameters and statistics are checked when they are set, and stay as they were."""
    bn = made()
    before = frozen(bn)
    with pytest.raises(error, match=whole(message)):
        setattr(bn, name, value)
    assert frozen(bn) == before


def test_a_parameter_that_is_set_is_a_copy():
    """What is done to an array after it was set does not reach the layer, which has float64."""
    bn, gamma = made(), np.ones(2, np.float32)
    bn.gamma = gamma
    gamma[:] = 7
    assert bn.gamma.tolist() == [1.0, 1.0]
    assert bn.gamma.dtype == np.float64


def test_a_layer_can_be_copied(rng):
    """A copy has its own state, and gives the same numbers."""
    bn, x = made(), rng.standard_normal((5, 2))
    bn(x)
    other = copy.deepcopy(bn)
    assert frozen(other) == frozen(bn)
    bn(x)
    assert frozen(other) != frozen(bn)


@pytest.mark.parametrize("channels", ["3", 3.0, None, -1, 0])
def test_channels_are_counted_from_one(channels):
    """The number of channels is a whole number from 1 up."""
    message = (
        f"channels must be a whole number from 1 up; got {channels!r}. "
        "It is the length of the input along channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        BatchNorm(channels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_or_folder_that_is_not_there(suffix, tmp_path):
    """A missing file or folder is Python's own error, and the layer stays as it was."""
    bn = made()
    before = frozen(bn)
    with pytest.raises(FileNotFoundError):
        bn.load(tmp_path / f"bn{suffix}")
    with pytest.raises(FileNotFoundError):
        bn.save(tmp_path / "nowhere" / f"bn{suffix}")
    assert frozen(bn) == before
    assert not list(tmp_path.iterdir())


class Trap:
    """An object that shows when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def pickled(tmp_path):
    """Return a pickle, and archives of which one array, or eps, is pickled."""
    yield pickle.dumps(Trap())
    for name in ("gamma", "eps"):
        state = made().state_dict() | {"eps": np.array(1e-5)}
        np.savez(tmp_path / "other.npz", **state | {name: np.array([Trap()] * 2)})
        yield (tmp_path / "other.npz").read_bytes()


def broken(good):
    """Return bytes that are none of our files."""
    yield from (b"", b"nonsense", good[:-1], good[: len(good) // 2], good[:100])


def test_pickled_objects_are_refused(tmp_path):
    """A pickle, alone or inside an archive, is an error that says why, and is not unpickled."""
    for content in pickled(tmp_path):
        assert_file_refused(tmp_path / "bn.npz", content, ValueError, UNREADABLE)
    assert not Trap.sprung
    assert issubclass(Trap, pickle.loads(pickle.dumps(Trap)))  # noqa: S301 (our own)
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301 (it does show)
    assert Trap.sprung
    Trap.sprung = False


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_broken_file_is_refused(suffix, tmp_path):
    """A file that is empty, cut short or of another kind is refused, and nothing loaded."""
    path = tmp_path / f"bn{suffix}"
    made().save(path)
    for content in broken(path.read_bytes()):
        assert_file_refused(path, content, ValueError, UNREADABLE)


def test_a_file_of_the_other_format_is_refused(tmp_path):
    """The contents, not the name alone, must be of the format; one bare array is not."""
    made().save(tmp_path / "one.npz")
    made().save(tmp_path / "one.safetensors")
    np.save(tmp_path / "one.npy", np.ones(2))
    for name, suffix in [
        ("one.npz", SUFFIXES[1]),
        ("one.safetensors", SUFFIXES[0]),
        ("one.npy", SUFFIXES[0]),
    ]:
        content = (tmp_path / name).read_bytes()
        assert_file_refused(tmp_path / f"bn{suffix}", content, ValueError, UNREADABLE)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("eps", "shown"),
    [
        (None, "None"),
        (np.array(1e-3), "0.001"),
        (np.array([1e-5]), "[1.e-05]"),
        (np.array(np.nan), "nan"),
    ],
)
def test_another_eps_is_refused(suffix, eps, shown, tmp_path):
    """The state of a layer with another eps, or none told, would be another function."""
    message = (
        f"the file must be of a layer with eps=1e-05; got eps={shown}. Nothing was loaded. "
        "Make the layer with that eps; load_state_dict() takes a state without."
    )
    path = tmp_path / f"bn{suffix}"
    state = BatchNorm(2).state_dict() | ({} if eps is None else {"eps": eps})
    assert_file_refused(path, written(suffix, state, tmp_path), ValueError, message)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"gamma": None, "weight": np.ones(2)},
            ValueError,
            "the state must have the names ['beta', 'gamma', 'num_batches', 'running_mean', "
            "'running_var']; missing ['gamma'], unknown ['weight']. Nothing was loaded. "
            "Rename or leave out what does not fit.",
        ),
        (
            {"beta": np.ones(3)},
            ValueError,
            "beta must have the shape (2,); got (3,). Nothing was changed. "
            "Pass one value for each channel of the layer.",
        ),
        (
            {"gamma": np.ones(2, int)},
            TypeError,
            "gamma must be an array of float16, bfloat16, float32, float64; got dtype int64. "
            "Convert it first, for example with np.asarray(gamma, dtype=np.float64).",
        ),
        ({"running_var": np.array([1.0, -1.0])}, ValueError, POISON.format(mean=0.0, var=-1.0)),
        ({"running_var": np.array([1.0, np.inf])}, ValueError, POISON.format(mean=0.0, var=np.inf)),
        (
            {"running_mean": np.array([1.0, np.nan])},
            ValueError,
            POISON.format(mean=np.nan, var=1.0),
        ),
        (
            {"num_batches": np.array(2.5)},
            ValueError,
            "num_batches must be an integer that is not negative; "
            "got num_batches=2.5. It counts the updates so far.",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(suffix, change, error, message, tmp_path):
    """Wrong names, shapes, dtypes and values in a file are refused as in a state, and named."""
    state = BatchNorm(2).state_dict() | {"eps": np.array(1e-5)} | change
    state = {name: value for name, value in state.items() if value is not None}
    content = written(suffix, state, tmp_path)
    assert_file_refused(tmp_path / f"bn{suffix}", content, error, message)


UNREADABLE = (
    "the file must hold plain arrays, as save() writes them; got {path!r}. "
    "Nothing was loaded. Pickled objects are refused: they can run any code. Save anew."
)


def assert_file_refused(path, content, error, message):
    """Assert that a file with this content is refused, and that nothing was loaded."""
    path.write_bytes(content)
    bn = made()
    before = frozen(bn)
    if message is UNREADABLE:
        message = message.format(path=str(path))
    with pytest.raises(error, match=whole(message)):
        bn.load(path)
    assert frozen(bn) == before
    assert path.read_bytes() == content


def written(suffix, state, tmp_path):
    """Return the bytes of a file with any arrays, as others would write it."""
    if suffix == ".safetensors":
        return safetensors.save(state)
    np.savez(tmp_path / "other.npz", **state)
    return (tmp_path / "other.npz").read_bytes()


def assert_refused(change, error, message):
    """Assert that a changed state is refused, with this message, and that nothing was loaded."""
    bn = made()
    state = {name: 1 + value for name, value in bn.state_dict().items()} | change
    before = frozen(bn)
    with pytest.raises(error, match=whole(message)):
        bn.load_state_dict({name: value for name, value in state.items() if value is not None})
    assert frozen(bn) == before


def made(**keywords):
    """Return a layer with two channels whose parameters and statistics are all different."""
    bn = BatchNorm(2, **keywords)
    bn.gamma, bn.beta = np.array([2.0, -1.0]), np.array([0.5, -3.0])
    bn.running = RunningStatistics([-10.0, 19.0], [3.0, 4.0], 7)
    return bn


def frozen(bn):
    """Return all that a layer knows, in a form that compares."""
    state = bn.state_dict()
    return bn.training, [(name, a.shape, a.tobytes()) for name, a in state.items()]


def assert_same(one, other):
    """Assert that two triples of gradients are equal to the bit."""
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        assert a is None or a.tobytes() == b.tobytes()


def unpacked(running):
    """Return mean, variance and number of batches as lists and a number."""
    return running.mean.tolist(), running.var.tolist(), running.num_batches


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_whether_there_is_a_parameter_is_yes_or_no(name):
    """A value where True or False belongs is not taken for either."""
    message = (
        f"{name} must be True or False, whether the layer has one; got 2.0. "
        f"Set its values afterwards: layer.{name} = ..."
    )
    with pytest.raises(TypeError, match=whole(message)):
        BatchNorm(3, **{name: 2.0})


@pytest.mark.parametrize("name", ["eps", "gama", "momentum"])
def test_a_misspelt_attribute_is_an_error(name):
    """Setting what the layer does not have changes nothing silently."""
    with pytest.raises(AttributeError):
        setattr(BatchNorm(3), name, 1.0)
