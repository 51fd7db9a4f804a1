"""Shapes, dtypes and masks: what `refbn` accepts, and how it says no."""

import ml_dtypes
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refbn.axes import (
    as_floating,
    as_mask,
    in_double,
    per_channel,
    propagate_silently,
    reduced_axes,
)

REAL_DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


# Worked example by hand


def test_images_keep_their_channels():
    """A batch of images is averaged over samples, rows and columns, with the channels anywhere."""
    assert reduced_axes((8, 3, 32, 32), 1) == (0, 2, 3)
    assert reduced_axes((8, 32, 32, 3), -1) == (0, 1, 2)
    assert reduced_axes((3, 8), 0) == (1,)


def test_one_value_per_channel_meets_its_channel():
    """Channel values are laid along the channel axis and along no other."""
    column = per_channel("gamma", np.array([1.0, 10.0]), (3, 2, 4), 1)
    assert column.tolist() == [[[1.0], [10.0]]]


# Laws


@given(shape=SHAPES, data=st.data())
def test_reduced_and_kept_axes_are_all_axes(shape, data):
    """The reduced axes and the channel axis together are all the axes, in order, once each."""
    kept = data.draw(st.integers(0, len(shape) - 1))
    axis = reduced_axes(shape, kept)
    assert list(axis) == sorted(axis)
    assert sorted((*axis, kept)) == list(range(len(shape)))
    assert reduced_axes(shape, kept - len(shape)) == axis


@given(shape=SHAPES, data=st.data())
def test_per_channel_is_what_a_loop_over_channels_does(shape, data):
    """Meeting a per-channel value is the same as going through the channels one by one."""
    channel_axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    values = np.arange(1.0, shape[channel_axis] + 1)
    met = np.ones(shape) * per_channel("beta", values, shape, channel_axis)
    for i, value in enumerate(values):
        assert np.all(np.take(met, i, axis=channel_axis) == value)


@pytest.mark.parametrize("dtype", [*REAL_DTYPES, np.complex128, ">f8"])
def test_floating_arrays_pass_as_they_are(dtype):
    """An array of a dtype to compute with is returned itself, not a copy."""
    x = np.ones(3, dtype)
    assert as_floating("x", x) is x


def test_lists_of_floats_are_arrays():
    """A list of Python floats is an array in double precision."""
    assert as_floating("x", [1.0, 2.0]).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_double_holds_every_value_of_less_precision(dtype):
    """Going to double precision and back loses nothing."""
    x = np.array([1 / 3, -300.0, 0.0], dtype)
    assert in_double(x).dtype == np.float64
    assert in_double(x).astype(dtype).tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_double_is_not_copied(dtype):
    """What is in double precision already, real or complex, is returned itself."""
    x = np.ones(3, dtype)
    assert in_double(x) is x


def test_per_channel_values_are_double():
    """Channel values take part in double precision, complex ones as complex numbers."""
    shape = (1, 1)
    assert per_channel("gamma", np.ones(1, np.float16), shape, 1).dtype == np.float64
    assert per_channel("gamma", np.ones(1, np.complex128), shape, 1).dtype == np.complex128


def test_a_mask_repeats_along_length_1():
    """A mask has the shape of the array, is a copy, and cannot be written to; one value is for all."""
    given = np.array([[[True], [False]]])
    mask = as_mask(given, (3, 2, 2))
    given[:] = True
    assert mask.tolist() == [[[True, True], [False, False]]] * 3
    assert not mask.flags.writeable
    assert as_mask(True, (3, 2)).tolist() == [[True, True]] * 3


def test_no_mask_is_none():
    """Where there is no mask there is no array of ones either."""
    assert as_mask(None, (3, 2)) is None


# Edges and errors


def test_what_is_not_finite_and_what_vanishes_pass_silently():
    """NaN, Inf and 0 come out of a decorated function without a warning; an overflow does not."""
    apply = propagate_silently(lambda function, *values: function(*map(np.float64, values)))
    assert np.isnan(apply(np.subtract, np.inf, np.inf))
    assert np.isinf(apply(np.divide, 1.0, 0.0))
    assert apply(np.multiply, 1e-200, 1e-200) == 0
    with pytest.raises(FloatingPointError):
        apply(np.multiply, 1e200, 1e200)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.arange(3), "int64"),
        (np.arange(3, dtype=np.uint8), "uint8"),
        (np.array([True]), "bool"),
        (np.array([1.0, None]), "object"),
        (np.ones(1, np.complex64), "complex64"),
        (np.ones(1, np.longdouble), np.dtype(np.longdouble).name),
        (np.ones(1, ml_dtypes.float8_e5m2), "float8_e5m2"),
        (["1.0"], "<U3"),
        ([1, 2], "int64"),
        (1, "int64"),
    ],
)
def test_other_dtypes_are_refused(value, dtype):
    """Integers, booleans, objects, text and unusual precisions are a TypeError that names them."""
    message = (
        "gamma must be an array of float16, bfloat16, float32, float64; "
        f"got dtype {dtype}. Convert it first, for example with np.asarray(gamma, dtype=np.float64)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        as_floating("gamma", value)


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_a_mask_of_numbers_is_refused(dtype):
    """Numbers are not a mask: 0.5 is neither in nor out."""
    message = (
        f"where must be an array of booleans; got dtype {dtype}. "
        "Compare first, for example with where != 0."
    )
    with pytest.raises(TypeError, match=whole(message)):
        as_mask(np.ones((3, 2), dtype), (3, 2))


@pytest.mark.parametrize("shape", [(2,), (3,), (2, 3), (4, 3, 2), (1, 3, 2)])
def test_a_mask_that_does_not_fit_is_refused(shape):
    """A mask with fewer axes would be one for each channel; it is refused, as is another shape."""
    message = (
        f"where must broadcast to the shape of x, (3, 2); got where.shape={shape}. "
        "Give it as many axes as x, with length 1 along those that it does not depend on."
    )
    with pytest.raises(ValueError, match=whole(message)):
        as_mask(np.ones(shape, bool), (3, 2))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_fewer_than_two_axes_are_refused(shape):
    """Without two axes nobody knows which are the samples and which are the channels."""
    message = (
        f"x must have at least 2 axes, samples and channels; got x.shape={shape}. "
        "Use x.reshape(-1, 1) for samples of one channel, x.reshape(1, -1) for one sample."
    )
    with pytest.raises(ValueError, match=whole(message)):
        reduced_axes(shape, 0)


@pytest.mark.parametrize("channel_axis", [-4, 3, 1.0, "1", None])
def test_a_channel_axis_that_is_not_there_is_refused(channel_axis):
    """The channel axis must be one of the array's axes, counted from either end."""
    message = (
        "channel_axis must name an axis of x, from -3 to 2; "
        f"got channel_axis={channel_axis!r} for x.shape=(5, 2, 7)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        reduced_axes((5, 2, 7), channel_axis)
    with pytest.raises(ValueError, match=whole(message)):
        per_channel("gamma", [1.0, 1.0], (5, 2, 7), channel_axis)


@pytest.mark.parametrize("channel_axis", [-3, 2])
def test_the_outermost_channel_axes_are_there(channel_axis):
    """The first axis counted from the end and the last counted from the start are accepted."""
    assert len(reduced_axes((5, 2, 7), channel_axis)) == 2


@pytest.mark.parametrize("value", [1.0, [1.0], [[1.0, 1.0]], [1.0, 1.0, 1.0]])
def test_channel_values_of_another_shape_are_refused(value):
    """One value per channel is asked for; a number for all of them is not broadcast."""
    message = (
        "beta must have one value for each of the 2 channels, shape (2,); "
        f"got beta.shape={np.shape(value)} for an array of shape (3, 2, 4) with channel_axis=-2. "
        "Pass one value per channel, or another channel_axis."
    )
    with pytest.raises(ValueError, match=whole(message)):
        per_channel("beta", value, (3, 2, 4), -2)


def test_a_masked_array_is_refused():
    """A masked array is not taken for a plain one, which would count what it masks."""
    message = (
        "x must be a plain array, because the mask of a masked one would be lost. "
        "Pass x.data, and where=~np.ma.getmaskarray(x)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        as_floating("x", np.ma.masked_invalid([1.0, np.nan]))


# Oracles


@given(shape=SHAPES, data=st.data())
def test_a_mask_is_numpys_where(shape, data):
    """Summing what a mask keeps is what NumPy does with the mask as it was given."""
    cut = tuple(data.draw(st.sampled_from([1, length])) for length in shape)
    where = data.draw(arrays(bool, cut))
    x = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    assert np.sum(x[as_mask(where, shape)]) == np.sum(x, where=where)
