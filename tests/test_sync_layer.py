"""The layer over workers: K layers on K shards are one layer on one batch, and fail together."""

import numpy as np
import pytest
from helpers import whole
from workers import HEARD, HERE, Team, cut

from refbn import BatchNorm, SyncBatchNorm, cumulative_average

U = 2.0**-53  # unit round-off of float64: the relative error of one operation


def layers(team, channels, **options):
    """Return the layer of each worker of a team."""
    members = map(team.member, range(len(team.sent)))
    return [SyncBatchNorm(channels, communicator=member, **options) for member in members]


def on_all(team, work, *arguments):
    """Return what `work(*arguments of the worker)` returns or raises on each."""
    return team.run(lambda _, *mine: work(*mine), *arguments)


def bits(layer):
    """Return the bytes of all that a layer has learned and gathered."""
    return {name: value.tobytes() for name, value in layer.state_dict().items()}


def all_of(team, trio, dy):
    """Return what the layers of a team hold, also for going back."""
    gradients = on_all(team, lambda bn, dy: bn.backward(dy).x.tobytes(), trio, dy)
    return [bits(bn) for bn in trio], [bn.moments for bn in trio], gradients


# Worked example by hand


def test_one_step_by_hand():
    """1 on one worker and 3 on another: mean 2 and variance 1, or 2 unbiased, and halved weights."""
    team = Team(2)
    pair = layers(team, 1, eps=0.0, decay=0.5)
    assert on_all(team, lambda bn, x: bn(x).tolist(), pair, [[[1.0]], [[3.0]]]) == [[[-1]], [[1]]]
    for bn in pair:
        assert (bn.running.mean, bn.running.var) == ([1.0], [1.5])
        assert (bn.moments.count, bn.moments.mean, bn.moments.m2) == ([2], [2.0], [2.0])
        assert bn.eval()([[1.0]]) == 0.0


# Laws


@pytest.mark.parametrize("options", [{}, {"update": cumulative_average, "ddof": 0}])
@pytest.mark.parametrize("sizes", [(5,), (10, 27, 43, 20), (0, 7, 0, 1)])
def test_the_layers_are_one_layer(sizes, options, rng):
    """Over several steps outputs, gradients and statistics are those of one layer on all of it."""
    team = Team(len(sizes))
    workers, one = layers(team, 3, **options), BatchNorm(3, **options)
    for bn in (*workers, one):
        bn.gamma, bn.beta = [0.5, 2.0, -1.0], [0.0, 1.0, 2.0]
    for _ in range(3):
        x, dy = 3 + 2 * rng.standard_normal((2, sum(sizes), 3, 2))
        ys = on_all(team, lambda bn, x: bn(x), workers, cut(x, sizes))
        gradients = on_all(team, lambda bn, dy: bn.backward(dy), workers, cut(dy, sizes))
        y, expected = one(x), one.backward(dy)
        # sums of up to two hundred terms of order 10
        np.testing.assert_allclose(np.concatenate(ys), y, rtol=0, atol=1e4 * U)
        dx = np.concatenate([g.x for g in gradients])
        np.testing.assert_allclose(dx, expected.x, rtol=0, atol=1e4 * U)
        for name in ("gamma", "beta"):
            total = sum(getattr(g, name) for g in gradients)
            np.testing.assert_allclose(total, getattr(expected, name), rtol=0, atol=1e4 * U)
    for bn in workers:
        np.testing.assert_allclose(bn.running.mean, one.running.mean, rtol=100 * U)
        np.testing.assert_allclose(bn.running.var, one.running.var, rtol=100 * U)
        assert bn.running.num_batches == 3
        assert bits(bn) == bits(workers[0])  # to the bit


def test_each_training_pass_is_one_reduction_and_evaluation_none(rng):
    """Forward 1, backward 1; in evaluation and frozen each worker is on its own."""
    team, x = Team(2), list(rng.standard_normal((2, 4, 3)))
    pair = layers(team, 3)
    on_all(team, lambda bn, x: bn(x), pair, x)
    assert team.calls == 1
    on_all(team, lambda bn, x: bn.backward(x), pair, x)
    assert team.calls == 2
    for bn in (pair[0].eval(), pair[1].freeze()):  # one after the other: none waits
        bn(x[0])
        bn.backward(x[0])
    assert team.calls == 2


def test_masks_pass(rng):
    """What a mask leaves out is in no statistic, as in one layer."""
    team, x = Team(2), rng.standard_normal((6, 2))
    where = np.array([True, False, True, True, True, False])[:, np.newaxis]
    pair, one = layers(team, 2), BatchNorm(2)
    on_all(team, lambda bn, x, where: bn(x, where=where), pair, cut(x, (2, 4)), cut(where, (2, 4)))
    one(x, where=where)
    for bn in pair:
        np.testing.assert_allclose(bn.running.var, one.running.var, rtol=100 * U)


# Edges and errors

BAD = {
    "NaN": (lambda x: np.where(x == x[0, 0], np.nan, x), ValueError, "a shard must be finite"),
    "channels": (lambda x: x[:, :2], ValueError, "this layer has 3 channels; got 2 along"),
    "dtype": (lambda x: x.astype(np.float32), ValueError, "all workers must have the same dtype"),
    "integers": (lambda x: x.astype(int), TypeError, "x must be an array of float16"),
    "axes": (lambda x: x[0], ValueError, "this layer has 3 channels"),
}


@pytest.mark.parametrize("culprit", [0, 1, 2])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_an_error_leaves_every_layer_as_it_was(culprit, bad, rng):
    """What is wrong on one worker changes no layer, and the next batch is as if nothing had been."""
    change, kind, start = bad
    team, (x, later) = Team(3), rng.standard_normal((2, 3, 4, 3))
    trio, one = layers(team, 3, gamma=False, beta=False), BatchNorm(3, gamma=False, beta=False)
    on_all(team, lambda bn, x: bn(x), trio, list(x))
    before = all_of(team, trio, list(x))
    shards = [change(part) if rank == culprit else part for rank, part in enumerate(later)]
    if start == "this layer has 3 channels":
        shards[culprit] = np.ones((2, 4))
    errors = on_all(team, lambda bn, x: bn(x), trio, shards)
    assert {type(error) for error in errors} == {kind}
    assert all(str(error).startswith(start) for error in errors)
    assert all_of(team, trio, list(x)) == before

    on_all(team, lambda bn, x: bn(x), trio, list(later))
    for batch in (x, later):
        one(np.concatenate(batch))
    for bn in trio:
        np.testing.assert_allclose(bn.running.mean, one.running.mean, rtol=0, atol=100 * U)
        np.testing.assert_allclose(bn.running.var, one.running.var, rtol=100 * U)


def test_going_back_before_going_forward_is_refused_on_all(rng):
    """A layer that was not called has nothing to go back through; the others do not wait for it."""
    team, x = Team(2), list(rng.standard_normal((2, 4, 3)))
    pair = layers(team, 3)
    on_all(team, lambda bn, x: bn(x), pair, x)
    pair[1] = SyncBatchNorm(3, communicator=team.member(1))
    errors = on_all(team, lambda bn, dy: bn.backward(dy), pair, x)
    message = (
        "backward() needs a forward pass to go back through; the layer has not been "
        "called yet. Call it on a batch first."
    )
    assert [(type(e), str(e)) for e in errors] == [(RuntimeError, message)] * 2
    assert [e.__notes__ for e in errors] == [[HEARD.format(1)], [HERE.format(1)]]


def test_options_are_those_of_the_layer():
    """What BatchNorm refuses is refused here, in its words."""
    with pytest.raises(TypeError, match=r"from Keras, Flax or ONNX decay=0\.9"):
        SyncBatchNorm(3, communicator=Team(1).member(0), momentum=0.9)
    message = (
        "channels must be a whole number from 1 up; got 0. "
        "It is the length of the input along channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        SyncBatchNorm(0, communicator=Team(1).member(0))


def test_it_is_saved_and_loaded_as_a_layer(tmp_path, rng):
    """The file of a layer over workers is that of a layer: train on many, infer on one."""
    team = Team(2)
    pair = layers(team, 3)
    on_all(team, lambda bn, x: bn(x), pair, list(rng.standard_normal((2, 4, 3))))
    pair[0].save(tmp_path / "bn.npz")
    one = BatchNorm(3)
    one.load(tmp_path / "bn.npz")
    assert bits(one) == bits(pair[1])
