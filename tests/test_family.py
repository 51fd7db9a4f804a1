"""Layer, instance, group and RMS norm: what they share with batch norm, and what they do not."""

import dataclasses
from functools import partial

import ml_dtypes
import numpy as np
import pytest
from helpers import laid_out, whole

from refbn import batch_norm_backward, batch_norm_train
from refbn.family import (
    NormCache,
    group_norm,
    instance_norm,
    layer_norm,
    norm_backward,
    rms_norm,
)
from refbn.gradcheck import adjoint_errors, check_backward, complex_step

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
CENTRED = {
    "layer": layer_norm,
    "instance": instance_norm,
    "group": partial(group_norm, groups=2),
    "one group": partial(group_norm, groups=1),
}
NORMS = CENTRED | {"rms": rms_norm}
SHAPES = [(6, 8), (4, 6, 8), (2, 4, 6, 4), (2, 4, 2, 4, 2)]  # any axis makes two groups
EVERY_AXIS = [(shape, axis) for shape in SHAPES for axis in range(-len(shape), len(shape))]

every_norm = pytest.mark.parametrize("name", NORMS)


# Worked example by hand


def test_layer_norm_by_hand():
    """1 and 3 become -1 and 1, and so do 10 and 50; then each column has its gamma and beta."""
    x = [[1.0, 3.0], [10.0, 50.0]]
    y, cache = layer_norm(x, [10.0, 20.0], [5.0, 0.0], eps=0.0)
    assert y.tolist() == [[-5.0, 20.0], [-5.0, 20.0]]
    assert cache.x_hat.tolist() == [[-1.0, 1.0], [-1.0, 1.0]]
    assert cache.core.inv_std.tolist() == [1.0, 0.05]


def test_instance_norm_by_hand():
    """Each channel of a sample is normalised alone; gamma and beta belong to the channel."""
    y, _ = instance_norm([[[1.0, 3.0], [10.0, 50.0]]], [10.0, 20.0], [5.0, 0.0], eps=0.0)
    assert y.tolist() == [[[-5.0, 15.0], [-20.0, 20.0]]]


def test_group_norm_by_hand():
    """Of four channels in two groups, the first two are normalised together, and the last two."""
    x = [[1.0, 3.0, 10.0, 50.0]]
    y, _ = group_norm(x, [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 5.0], groups=2, eps=0.0)
    assert y.tolist() == [[-1.0, 2.0, -3.0, 9.0]]


def test_rms_norm_by_hand():
    """The mean square of 1 and 7 is 25: they become 1/5 and 7/5, times gamma."""
    y, cache = rms_norm([[1.0, 7.0], [0.0, 0.0]], [10.0, 5.0], eps=1e-300)
    np.testing.assert_allclose(y, [[2.0, 7.0], [0.0, 0.0]], rtol=1e-15)  # 1/5 is rounded
    assert cache.core.inv_std[0] == 0.2


def test_backward_by_hand():
    """For 3, 1 and dy = (5, 0), RMS norm has dx = (1/2, -3/2) / sqrt(5); layer norm as batch norm."""
    _, cache = rms_norm([[3.0, 1.0]], [1.0, 1.0], eps=0.0)
    gradients = norm_backward([[5.0, 0.0]], cache)
    np.testing.assert_allclose(gradients.x, np.array([[0.5, -1.5]]) / np.sqrt(5), rtol=32 * U)
    np.testing.assert_allclose(gradients.gamma, [15 / np.sqrt(5), 0.0], rtol=8 * U)
    assert gradients.beta is None
    _, cache = layer_norm([[0.0, 1.0, 2.0]], [1.0, 1.0, 1.0], np.zeros(3), eps=0.0)
    gradients = norm_backward([[1.0, 0.0, 0.0]], cache)
    a = np.sqrt(1.5)
    np.testing.assert_allclose(gradients.x, [[a / 6, -a / 3, a / 6]], rtol=32 * U)
    np.testing.assert_allclose(gradients.gamma, [-a, 0.0, 0.0], rtol=8 * U)
    assert gradients.beta.tolist() == [1.0, 0.0, 0.0]


def test_eps_stands_inside_the_root():
    """With variance or mean square 1 and eps 3 the divisor is sqrt(1 + 3) = 2, in all four."""
    x = np.array([[[1.0, -1.0], [1.0, -1.0]]])
    for norm in NORMS.values():
        assert norm(x, eps=3.0)[0].tolist() == (x / 2).tolist()


def test_the_defaults(rng):
    """eps is 1e-5; the channels are on axis 1, in layer and RMS norm on the last."""
    x = rng.standard_normal((2, 4, 6))
    for name, norm in NORMS.items():
        axis = -1 if name in {"layer", "rms"} else 1
        y, _ = norm(x)
        assert y.tobytes() == norm(x, eps=1e-5, channel_axis=axis)[0].tobytes(), name


# Laws


def test_the_family_is_one(rng):
    """GN(C) = IN, GN(1) = LN without places, LN = BN of the transpose, BN of one sample = IN."""
    x, dy = 3 + rng.standard_normal((2, 6, 8, 5, 7))
    flat, dy_flat = x.reshape(6, -1), dy.reshape(6, -1)
    turned, turned_cache = batch_norm_train(flat.T)
    alone, alone_cache = batch_norm_train(x[:1])
    pairs = [
        (group_norm(x, groups=8), instance_norm(x), dy),
        (group_norm(flat, groups=1), layer_norm(flat), dy_flat),
        (instance_norm(x.reshape(6, 1, -1)), layer_norm(x.reshape(6, 1, -1)), dy.reshape(6, 1, -1)),
    ]
    for (one, one_cache), (other, other_cache), g in pairs:
        assert one.tobytes() == other.tobytes()
        assert norm_backward(g, one_cache).x.tobytes() == norm_backward(g, other_cache).x.tobytes()
    y, cache = layer_norm(flat)
    instance, instance_cache = instance_norm(x[:1])
    whole_sample, _ = group_norm(x, groups=1)
    # the same sums of at most 280 values near 3, perhaps in another order
    close = partial(np.testing.assert_allclose, rtol=0, atol=280 * 4 * U)
    close(whole_sample, y.reshape(x.shape))
    close(y, turned.T)
    close(norm_backward(dy_flat, cache).x, batch_norm_backward(dy_flat.T, turned_cache).x.T)
    close(instance, alone)
    close(norm_backward(dy[:1], instance_cache).x, batch_norm_backward(dy[:1], alone_cache).x)


def test_rms_norm_of_centred_values_is_layer_norm(rng):
    """Where the mean is 0, RMS norm and layer norm are the same."""
    x = 3 + rng.standard_normal((6, 40))
    centred = x - x.mean(axis=1, keepdims=True)
    # 40 values, and what rounding leaves in their mean
    np.testing.assert_allclose(rms_norm(centred)[0], layer_norm(x)[0], rtol=0, atol=40 * 4 * U)


def test_rms_norm_is_the_layer_norm_of_the_values_and_their_negatives(rng):
    """Beside its negative every value has mean 0 around it, so layer norm divides by the RMS."""
    x, dy = 3 + rng.standard_normal((2, 6, 40))
    y, cache = rms_norm(x)
    mirrored, mirrored_cache = layer_norm(np.hstack([x, -x]))
    np.testing.assert_allclose(np.hstack([y, -y]), mirrored, rtol=0, atol=80 * 4 * U)
    dx = norm_backward(np.hstack([dy, np.zeros_like(dy)]), mirrored_cache).x
    np.testing.assert_allclose(
        norm_backward(dy, cache).x, dx[:, :40] - dx[:, 40:], rtol=0, atol=80 * 16 * U
    )


def test_rms_norm_leaves_zeros_and_signs(rng):
    """No mean is taken off: 0 stays exactly 0, and -x becomes exactly -y."""
    x = rng.standard_normal((6, 41)) * (rng.random((6, 41)) < 0.5) * 1e3
    y, _ = rms_norm(x)
    assert np.all((y == 0) == (x == 0))
    assert np.all(np.sign(y) == np.sign(x))
    np.testing.assert_array_equal(rms_norm(-x)[0], -y)


@every_norm
def test_samples_do_not_depend_on_one_another(name, rng):
    """A sample that changes, even to NaN or Inf, changes no bit of the others, there and back."""
    x, dy = rng.standard_normal((2, 5, 4, 3))
    gamma = rng.standard_normal(3 if name in {"layer", "rms"} else 4)
    y, cache = NORMS[name](x, gamma)
    dx = norm_backward(dy, cache).x
    for value in (1e6, np.nan, np.inf):
        changed, dy_changed = x.copy(), dy.copy()
        changed[2], dy_changed[2] = value, 7.0
        changed[2, 0, 0] = 0.0
        other, other_cache = NORMS[name](changed, gamma)
        other_dx = norm_backward(dy_changed, other_cache).x
        for a, b in ((y, other), (dx, other_dx)):
            assert np.delete(a, 2, 0).tobytes() == np.delete(b, 2, 0).tobytes()
            assert not np.array_equal(a[2], b[2])


@every_norm
def test_a_sample_alone_has_the_same_output(name, rng):
    """A batch of one is a batch like any other."""
    x = rng.standard_normal((5, 4, 3))
    y, _ = NORMS[name](x)
    alone = np.concatenate([NORMS[name](sample[np.newaxis])[0] for sample in x])
    np.testing.assert_allclose(alone, y, rtol=0, atol=12 * 4 * U)  # sums of at most 12 values


def test_layer_norm_takes_each_place_alone(rng):
    """The tokens of a sequence do not depend on one another, nor on how far it is padded."""
    x = rng.standard_normal((2, 5, 4))
    padded = np.concatenate([x, np.zeros((2, 3, 4))], axis=1)
    for norm in (layer_norm, rms_norm):
        assert norm(padded)[0][:, :5].tobytes() == norm(x)[0].tobytes()


@pytest.mark.parametrize("name", CENTRED)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_the_gradient_sums_to_zero_in_each_set(name, eps, rng):
    """A shift of a whole set changes nothing, so dx sums to 0 in it, for any eps and any gamma."""
    x, dy = rng.standard_normal((2, 5, 4, 6))
    gamma = rng.standard_normal(6 if name == "layer" else 4)
    _, cache = CENTRED[name](x, gamma, eps=eps)
    dx = norm_backward(dy, cache).x
    # 24 values times a slope of order 10
    np.testing.assert_allclose(sets(dx, name).sum(axis=1), 0, rtol=0, atol=24 * 10 * 8 * U)
    assert np.max(np.abs(dx)) > 0.1


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5])
def test_the_gradient_of_rms_norm_along_x(eps, rng):
    """<dx, x> = eps / (r + eps) <gamma dy, x_hat>: without eps, scaling a set changes nothing."""
    x, dy = rng.standard_normal((2, 5, 8))
    gamma = rng.standard_normal(8)
    _, cache = rms_norm(x, gamma, eps=eps)
    left = np.sum(norm_backward(dy, cache).x * x, axis=1)
    right = eps * cache.core.inv_std**2 * np.sum(gamma * dy * cache.x_hat, axis=1)
    np.testing.assert_allclose(left, right, rtol=0, atol=8 * 10 * 8 * U)  # 8 values, slope 10


@every_norm
def test_scaling_and_shifting_the_input(name, rng):
    """Without eps, all forget the scale of a set; all but RMS norm forget its mean too."""
    x = rng.standard_normal((5, 4, 6))
    y, _ = NORMS[name](x, eps=0.0)
    scale = 0.5 + rng.random((5, 1, 1))
    np.testing.assert_allclose(NORMS[name](scale * x, eps=0.0)[0], y, rtol=0, atol=24 * 16 * U)
    shifted, _ = NORMS[name](x + 10 * scale, eps=0.0)
    if name == "rms":
        assert np.max(np.abs(shifted - y)) > 0.1
    else:  # values near 15 are rounded 15 times more coarsely, and divided by a spread near 0.3
        np.testing.assert_allclose(shifted, y, rtol=0, atol=24 * 16 * 50 * U)


@every_norm
@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
def test_backward_is_the_adjoint(name, shape, channel_axis, rng):
    """<dy, J v> = <dx, v> for x, gamma and beta, at every rank and on every axis."""
    channels = shape[channel_axis]
    arguments = [rng.standard_normal(shape), 0.5 + rng.random(channels)]
    if name != "rms":
        arguments.append(rng.standard_normal(channels))
    norm = partial(NORMS[name], channel_axis=channel_axis, eps=0.1)

    def forward(*given):
        return norm(*given)[0]

    def backward(dy, *given):
        return norm_backward(dy, norm(*given)[1])[: len(given)]

    with np.errstate(under="ignore"):  # the square of the complex step is meant to vanish
        # rounding of some 100 terms
        check_backward(forward, backward, arguments, derivative=complex_step, tolerance=1e-13)


def test_the_check_finds_a_term_that_is_missing(rng):
    """With the gradient of layer norm in the place of that of RMS norm, the error is large."""
    x = 3 + rng.standard_normal((5, 4))
    errors = adjoint_errors(
        lambda x: rms_norm(x)[0], lambda dy, x: [norm_backward(dy, layer_norm(x)[1]).x], [x]
    )
    assert errors[0] > 0.01


@every_norm
def test_gradients_of_what_is_absent_are_none(name, rng):
    """Without gamma or beta its gradient is None, and dx is that for gamma = 1."""
    x, dy = rng.standard_normal((2, 5, 4, 4))
    gamma, beta = np.ones(4), np.zeros(4)
    y, cache = NORMS[name](x)
    got = norm_backward(dy, cache)
    assert got.gamma is None
    assert got.beta is None
    full, cache = NORMS[name](x, gamma) if name == "rms" else NORMS[name](x, gamma, beta)
    gradients = norm_backward(dy, cache)
    np.testing.assert_array_equal(y, full)
    np.testing.assert_array_equal(got.x, gradients.x)
    assert gradients.gamma.shape == (4,)
    assert (gradients.beta is None) == (name == "rms")


# Edges and errors


@every_norm
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_output_is_rounded_once(name, dtype, rng):
    """y and dx have the dtype of x and are those in double precision, rounded at the very end."""
    x, dy = rng.standard_normal((2, 5, 4, 4)).astype(dtype)
    gamma = (0.5 + rng.random(4)).astype(dtype)
    y, cache = NORMS[name](x, gamma)
    gradients = norm_backward(dy, cache)
    double, double_cache = NORMS[name](x.astype(float), gamma.astype(float))
    expected = norm_backward(dy.astype(float), double_cache)
    assert y.dtype == gradients.x.dtype == dtype
    assert gradients.gamma.dtype == np.float64
    np.testing.assert_array_equal(y, double.astype(dtype))
    np.testing.assert_array_equal(gradients.x, expected.x.astype(dtype))
    np.testing.assert_array_equal(gradients.gamma, expected.gamma)


@every_norm
@pytest.mark.parametrize(("dtype", "value"), [(np.float16, 300.0), (np.float32, 1e30)])
def test_squares_do_not_overflow(name, dtype, value):
    """Values whose squares the dtype of x cannot hold are normalised like any others."""
    x = np.array([[[value, -value] * 2] * 4] * 3, dtype)
    y, _ = NORMS[name](x)
    np.testing.assert_array_equal(y, np.sign(x))


@every_norm
def test_a_complex_gamma_keeps_its_imaginary_part(name, rng):
    """The complex step may reach gamma alone, beside a real x."""
    x = rng.standard_normal((5, 4, 4))
    y, _ = NORMS[name](x, np.ones(4) + 2j)
    np.testing.assert_allclose(y, NORMS[name](x)[0] * (1 + 2j), rtol=4 * U)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1, 1)])
def test_one_value_in_each_instance_gives_exactly_beta(shape, rng):
    """Instance norm of one value per channel is beta, and its gradient is 0."""
    x, dy = rng.standard_normal((2, *shape))
    beta = rng.standard_normal(4)
    y, cache = instance_norm(x, np.ones(4), beta)
    assert y.reshape(5, 4).tolist() == [beta.tolist()] * 5
    gradients = norm_backward(dy, cache)
    assert not gradients.x.any()
    assert not gradients.gamma.any()


@every_norm
@pytest.mark.parametrize("shape", [(0, 4, 4), (3, 4, 0), (3, 0, 4), (0, 0, 0)])
def test_an_empty_array_comes_back_as_it_is(name, shape):
    """Of no values there is nothing to normalise, and nothing to refuse."""
    y, cache = NORMS[name](np.zeros(shape, np.float32))
    dx = norm_backward(np.zeros(shape), cache).x
    assert y.shape == dx.shape == shape
    assert y.dtype == dx.dtype == np.float32


@every_norm
@pytest.mark.parametrize("layout", ["F", "strided", "reversed", "transposed"])
def test_the_layout_in_memory_is_of_no_account(name, layout, rng):
    """Fortran order, strides and negative strides give what a fresh array gives."""
    x, dy = rng.standard_normal((2, 6, 4, 4))
    gamma = rng.standard_normal(4)
    y, cache = NORMS[name](x, gamma)
    laid, laid_cache = NORMS[name](laid_out(x, layout), gamma[::-1].copy()[::-1])
    # at most 16 values of order 1 added in another order, times slopes of order 10
    close = partial(np.testing.assert_allclose, rtol=0, atol=16 * 10 * 4 * U)
    close(laid, y)
    dx, dgamma, _ = norm_backward(laid_out(dy, layout), laid_cache)
    close(dx, norm_backward(dy, cache).x)
    close(dgamma, norm_backward(dy, cache).gamma)


@every_norm
def test_nothing_is_written_to_and_nothing_shared(name, rng):
    """Arguments may be read-only; what is done to them or to y afterwards does not reach backward."""
    x, dy = rng.standard_normal((2, 5, 4, 4))
    arguments = [x, np.full(4, 2.0)] + [np.ones(4)] * (name != "rms")
    for a in (*arguments, dy):
        a.flags.writeable = False
    y, cache = NORMS[name](*arguments)
    plain, plain_cache = NORMS[name](x)
    before = [norm_backward(dy, c).x.tobytes() for c in (cache, plain_cache)]
    for a in (*arguments, y, plain):
        a.flags.writeable = True
        a[...] = 0
    assert [norm_backward(dy, c).x.tobytes() for c in (cache, plain_cache)] == before


def test_a_cache_stays_what_it_was(rng):
    """A cache is frozen, so are its arrays, and it is equal to itself only."""
    for name, norm in NORMS.items():
        x = rng.standard_normal((5, 4, 4))
        _, cache = norm(x, np.ones(4)) if name == "rms" else norm(x, np.ones(4), np.ones(4))
        _, other = norm(x)
        assert isinstance(cache, NormCache)
        assert {cache: 1}[cache] == 1
        assert cache != other
        for field in dataclasses.fields(cache):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(cache, field.name, None)
        for array in (cache.x_hat, cache.gamma, cache.beta):
            assert array is None or not array.flags.writeable


@pytest.mark.parametrize("groups", [3, 0, -2, 8, 1.5])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    """All groups have the same number of channels."""
    message = (
        f"groups must divide the number of channels, 4; got groups={groups} "
        "for x.shape=(2, 3, 4) with channel_axis=-1. "
        "Use 1 for all channels together, or another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        group_norm(np.zeros((2, 3, 4)), groups=groups, channel_axis=-1)


@every_norm
def test_the_shape_is_checked(name):
    """Every norm wants two axes at least, and a channel axis that is there."""
    message = (
        "x must have at least 2 axes, samples and channels; got x.shape=(4,). "
        "Use x.reshape(-1, 1) for samples of one channel, x.reshape(1, -1) for one sample."
    )
    with pytest.raises(ValueError, match=whole(message)):
        NORMS[name](np.zeros(4))
    message = (
        "channel_axis must name an axis of x, from -2 to 1; got channel_axis=2 for x.shape=(3, 4)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        NORMS[name](np.zeros((3, 4)), channel_axis=2)


@every_norm
def test_the_other_arguments_are_checked(name):
    """x and gamma are floating, gamma has one value per channel, eps is not negative."""
    norm, x = NORMS[name], np.zeros((3, 4, 4))
    floating = (
        "{} must be an array of float16, bfloat16, float32, float64; got dtype int64. "
        "Convert it first, for example with np.asarray({}, dtype=np.float64)."
    )
    with pytest.raises(TypeError, match=whole(floating.format("x", "x"))):
        norm(x.astype("int64"))
    with pytest.raises(TypeError, match=whole(floating.format("gamma", "gamma"))):
        norm(x, np.ones(4, "int64"))
    message = (
        "gamma must be a plain array, because the mask of a masked one would be lost. "
        "Pass gamma.data, and where=~np.ma.getmaskarray(gamma)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        norm(x, np.ma.ones(4))
    axis = -1 if name in {"layer", "rms"} else 1
    message = (
        "gamma must have one value for each of the 4 channels, shape (4,); got gamma.shape=(1,) "
        f"for an array of shape (3, 4, 4) with channel_axis={axis}. "
        "Pass one value per channel, or another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        norm(x, np.ones(1))
    message = "eps must be a finite number, not negative; got eps=-1. The usual value is 1e-5."
    with pytest.raises(ValueError, match=whole(message)):
        norm(x, eps=-1)


def test_a_set_that_does_not_vary_is_refused_without_eps():
    """Where variance and eps are both 0 there is no dividing, and the sets are named."""
    message = (
        "var + eps must be positive to divide by its root; got 0 in channels [1]. "
        "These channels hardly vary: pass eps above 0, usually 1e-5."
    )
    for norm, x in (
        (layer_norm, [[1.0, 2.0], [5.0, 5.0]]),
        (rms_norm, [[5.0, 5.0], [0.0, 0.0]]),
        (partial(group_norm, groups=2), [[1.0, 2.0, 5.0, 5.0]]),
        (instance_norm, [[[1.0, 2.0], [5.0, 5.0]]]),
    ):
        with pytest.raises(ValueError, match=whole(message)):
            norm(x, eps=0.0)


def test_the_cache_is_checked():
    """The cache is that of this family, not the pair of the forward pass, nor batch norm's."""
    x = np.zeros((3, 4))
    for bad in (layer_norm(x), batch_norm_train(x)[1]):
        message = (
            f"cache must be the NormCache of the forward pass; got {type(bad).__name__}. "
            "layer_norm and its like return two values, y and the cache: pass the second."
        )
        with pytest.raises(TypeError, match=whole(message)):
            norm_backward(x, bad)


@every_norm
def test_dy_is_checked(name):
    """dy has the shape of y; one that has merely as many values is refused."""
    _, cache = NORMS[name](np.zeros((2, 4, 6)))
    message = (
        "dy must have the shape of y, (2, 4, 6); got dy.shape=(2, 6, 4). "
        "Pass the gradient that belongs to this forward pass."
    )
    with pytest.raises(ValueError, match=whole(message)):
        norm_backward(np.zeros((2, 6, 4)), cache)


# Oracles


@every_norm
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_against_the_formulas(name, offset, eps, rng):
    """All results are those of the definitions, written down in plain NumPy with their gradients."""
    x, dy = rng.standard_normal((2, 3, 4, 6, 5))
    x += offset
    tokens = name in {"layer", "rms"}
    channels, others = (5, (0, 1, 2)) if tokens else (4, (0, 2, 3))
    gamma, beta = rng.standard_normal((2, channels))
    given = (gamma,) if name == "rms" else (gamma, beta)
    y, cache = NORMS[name](x, *given, eps=eps)
    got = norm_backward(dy, cache)
    # gamma and beta beside x, then everything as a matrix with one set in each row
    g, b = (v if tokens else v[:, np.newaxis, np.newaxis] for v in (gamma, beta))
    xs, ds = sets(x, name), sets(g * dy, name)
    mean = 0.0 if name == "rms" else xs.mean(axis=1, keepdims=True)
    root = np.sqrt(np.mean((xs - mean) ** 2, axis=1, keepdims=True) + eps)
    hats = (xs - mean) / root
    through_mean = 0.0 if name == "rms" else ds.mean(axis=1, keepdims=True)
    dxs = (ds - through_mean - hats * np.mean(ds * hats, axis=1, keepdims=True)) / root
    x_hat, dx = hats.reshape(x.shape), dxs.reshape(x.shape)
    # the mean is rounded by offset * U = 1e-14, and divided by a spread above 0.1
    close = partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    close(cache.x_hat, x_hat)
    close(y, g * x_hat + (0.0 if name == "rms" else b))
    close(got.x, dx, atol=1e-11)  # a slope of order 10
    close(got.gamma, np.sum(dy * x_hat, axis=others), atol=1e-11)  # 90 values
    if name != "rms":
        close(got.beta, np.sum(dy, axis=others))


def test_what_float16_cannot_hold_vanishes_in_silence():
    """An output or a gradient below its smallest number is 0, as in a batch norm, and no error."""
    y, cache = layer_norm(np.array([[1, 2, 3]], np.float16), np.full(3, 1e-9))
    assert y.tolist() == [[0.0, 0.0, 0.0]]
    assert norm_backward(np.ones((1, 3), np.float16), cache).x.tolist() == [[0.0, 0.0, 0.0]]


def test_rms_norm_is_its_formula_to_the_last_bits(rng):
    """Taking the values beside their negatives loses nothing against dividing by the root."""
    x = rng.standard_normal((7, 1000)) + 5.0
    expected = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(rms_norm(x)[0], expected, rtol=16 * U)


def sets(x, name):
    """Return a matrix with one set per row: for the default axes, slices of x in their order."""
    match name:
        case "layer" | "rms":
            return x.reshape(-1, x.shape[-1])
        case "instance":
            return x.reshape(x.shape[0] * x.shape[1], -1)
        case "group":
            return x.reshape(x.shape[0] * 2, -1)
        case "one group":
            return x.reshape(x.shape[0], -1)
    raise AssertionError(name)
