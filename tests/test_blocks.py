"""Blocks: each position once, whatever the layout; and sums and formulas that do not show them."""

import itertools
import math
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from helpers import laid_out

from refbn import Moments, batch_norm_backward, batch_norm_train
from refbn.blocks import (
    Scratch,
    blocks,
    evaluate,
    quick_sum,
    reduce_in_blocks,
    rounded,
    sum_of_products,
)

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
MEBIBYTE = 2**20
SHAPE = (6, 5, 7)
LAYOUTS = ["C", "F", "strided", "reversed", "transposed", "broadcast"]
SIZES = [1, 4, 30, 209, 210]  # of a block; SHAPE has 210 values
AXES = [axes for n in range(4) for axes in itertools.combinations(range(3), n)]
LARGE = [(64, 64, 56, 56), (32, 256, 28, 28)]


@pytest.fixture(params=SIZES)
def limit(request, monkeypatch):
    """Return how many values a block may have, here."""
    monkeypatch.setattr("refbn.blocks._BLOCK", request.param)
    return request.param


def lay(x, layout):
    """Return an equal array in a layout; for a broadcast one, the first column of it again."""
    return np.broadcast_to(x[:, :, :1], x.shape) if layout == "broadcast" else laid_out(x, layout)


def whole_numbers(rng, shape=SHAPE, kind=np.float64):
    """Return an array of small whole numbers, whose sums and products are exact."""
    return rng.integers(-9, 10, shape).astype(kind)


# Worked example by hand


def test_blocks_by_hand(monkeypatch):
    """In C order rows stay together, in Fortran order columns do."""
    monkeypatch.setattr("refbn.blocks._BLOCK", 3)
    x = np.arange(6.0).reshape(2, 3)
    assert [block.tolist() for (block,) in blocks(x)] == [[[0, 1, 2]], [[3, 4, 5]]]
    columns = [block.tolist() for (block,) in blocks(np.asfortranarray(x))]
    assert columns == [[[0], [3]], [[1], [4]], [[2], [5]]]


def test_a_formula_by_hand():
    """2 x + 1 of 1, 2 and 3, but of the masked value it is 0."""

    def formula(out, spare, x, slope):
        np.multiply(x, slope, out=spare)
        np.add(spare, 1, out=out)

    x, slope = np.array([[1.0, 2.0, 3.0]]), np.array([[2.0]])
    assert evaluate(formula, [x], [slope]).tolist() == [[3.0, 5.0, 7.0]]
    where = np.array([[True, False, True]])
    assert evaluate(formula, [x], [slope], where).tolist() == [[3.0, 0.0, 7.0]]


def test_a_number_in_two_parts_by_hand():
    """Float32 holds 1 of 1 + 2^-30, and the rest is 2^-30; float64 holds all of it."""
    value = np.array([1 + 2.0**-30])
    parts = rounded(value, np.dtype(np.float32))
    assert [part.tolist() for part in parts] == [[1.0], [2.0**-30]]
    parts = rounded(value, np.dtype(np.float64))
    assert [part.tolist() for part in parts] == [[1 + 2.0**-30], [0.0]]


# Laws


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_position_is_in_one_block(layout, limit, rng):
    """Blocks are views no larger than the limit, and what broadcasts is cut along."""
    x, channel = lay(rng.standard_normal(SHAPE), layout), np.arange(5.0).reshape(1, 5, 1)
    position = np.arange(x.size).reshape(SHAPE)
    seen = []
    for part, where, number in blocks(x, position, channel):
        assert 0 < part.size <= limit
        assert part.shape == where.shape
        assert np.shares_memory(part, x)
        assert np.shares_memory(number, channel)
        i, c, j = np.unravel_index(where, SHAPE)
        assert np.array_equal(part, x[i, c, j])
        assert np.array_equal(np.broadcast_to(number, part.shape), c)
        seen += where.ravel().tolist()
    assert sorted(seen) == position.ravel().tolist()


@pytest.mark.parametrize("layout", ["C", "F", "transposed", "reversed"])
@pytest.mark.usefixtures("limit")
def test_blocks_of_contiguous_memory_are_contiguous(layout, rng):
    """An array without gaps is cut where its parts lie farthest apart, into parts without gaps."""
    x = laid_out(rng.standard_normal(SHAPE), layout)
    for (part,) in blocks(x):
        assert spans(part) == part.size


def spans(a):
    """Return how many values lie between the first and the last of an array in memory."""
    low, high = np.lib.array_utils.byte_bounds(a)
    return (high - low) // a.itemsize


def test_what_fits_is_one_block(monkeypatch):
    """An array of as many values as a block has, or none, comes whole; with one more it is cut."""
    monkeypatch.setattr("refbn.blocks._BLOCK", 6)
    x, number = np.zeros((2, 3)), np.zeros((1, 3))
    ((one, other),) = blocks(x, number)
    assert one is x
    assert other is number
    assert len(list(blocks(x))) == len(list(blocks(x[:0]))) == 1
    assert [part.shape for (part,) in blocks(np.zeros(7))] == [(6,), (1,)]
    parts = reduce_in_blocks(lambda a: (a.sum(keepdims=True),), pytest.fail, (0, 1), x)
    assert parts[0].tolist() == [[0.0]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("channels", [1, 6, 1000])
def test_a_reduction_in_blocks_is_that_of_the_whole(
    layout, axis, channels, limit, rng, monkeypatch
):
    """Over any axes, however it is cut, the parts are merged and joined to the whole."""
    monkeypatch.setattr("refbn.blocks._CHANNELS", channels)
    x, y = lay(whole_numbers(rng), layout), whole_numbers(rng)
    number = np.arange(5.0).reshape(1, 5, 1)

    def function(x, y, number):
        assert x.size <= limit
        value = x * y + number
        return value.sum(axis=axis, keepdims=True), value.max(axis=axis, keepdims=True)

    def merge(a, b):
        return a[0] + b[0], np.maximum(a[1], b[1])

    total, largest = reduce_in_blocks(function, merge, axis, x, y, number)
    value = x * y + number
    assert np.array_equal(total, value.sum(axis=axis, keepdims=True))
    assert np.array_equal(largest, value.max(axis=axis, keepdims=True))


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.usefixtures("limit")
def test_the_parts_are_merged_in_their_order(layout):
    """What is merged is a part and the one that follows it, so that the ends are the ends."""
    x = laid_out(np.arange(210.0).reshape(SHAPE), layout)

    def ends(x):
        return x[:, :, :1], x[:, :, -1:]

    first, last = reduce_in_blocks(ends, lambda a, b: (a[0], b[1]), (2,), x)
    assert np.array_equal(first, x[:, :, :1])
    assert np.array_equal(last, x[:, :, -1:])


def test_many_channels_are_cut_before_they_are_merged(monkeypatch):
    """With more channels than are kept together, a few rows of them are cut along the channels."""
    monkeypatch.setattr("refbn.blocks._BLOCK", 64)
    monkeypatch.setattr("refbn.blocks._CHANNELS", 16)
    seen = []

    def function(x):
        seen.append(x.shape)
        return (x.sum(axis=0, keepdims=True),)

    x = np.arange(4.0 * 256).reshape(4, 256)
    (total,) = reduce_in_blocks(function, pytest.fail, (0,), x)
    assert np.array_equal(total, x.sum(axis=0, keepdims=True))
    assert set(seen) == {(4, 16)}
    seen.clear()
    rows = x.reshape(64, 16)  # as many channels as are kept together
    reduce_in_blocks(function, lambda a, b: (a[0] + b[0],), (0,), rows)
    assert set(seen) == {(4, 16)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scratch_is_one_piece_of_memory(layout, limit, rng):
    """Scratch of the size of one block serves all of them, contiguous and in its own dtype."""
    x = lay(rng.standard_normal(SHAPE).astype(np.float32), layout)
    scratch, before = Scratch(x, np.float64), x.tobytes()
    memory = scratch.like(next(blocks(x))[0])
    for (block,) in blocks(x):
        copy = scratch.filled(block)
        assert np.array_equal(copy, block)
        assert (copy.shape, copy.dtype, copy.flags.c_contiguous) == (block.shape, np.float64, True)
        assert np.shares_memory(copy, scratch.like(block))
        assert np.shares_memory(copy, memory)
    assert spans(memory.base) <= limit
    assert x.tobytes() == before


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("kind", [np.float64, np.complex128])
@pytest.mark.parametrize("worth", [1, 7, 8, 64])
def test_sums_over_any_axes(axis, kind, worth, rng, monkeypatch):
    """Sums, and sums of products by dots or without, are exact where every operation is."""
    monkeypatch.setattr("refbn.blocks._WORTH_A_DOT", worth)
    a, b = (whole_numbers(rng, kind=kind) for _ in range(2))
    if kind is np.complex128:
        a, b = a + 1j * whole_numbers(rng), b - 1j * whole_numbers(rng)
    before = a.tobytes(), b.tobytes()
    total = quick_sum(a, axis)
    products = sum_of_products(a, b, axis, Scratch(a, kind))
    squares = sum_of_products(a, a, axis, Scratch(a, kind))
    for got, value in [(total, a), (products, a * b), (squares, a * a)]:  # none conjugated
        assert np.array_equal(got, value.sum(axis=axis, keepdims=True))
        assert got.dtype == kind
    assert (a.tobytes(), b.tobytes()) == before


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (3, 0)])
def test_sums_of_few_values(shape):
    """Of no values the sum is 0, and of one it is that one."""
    a = np.full(shape, 2.0)
    assert quick_sum(a, (0,)).tolist() == a.sum(axis=0, keepdims=True).tolist()
    products = sum_of_products(a, a, (0,), Scratch(a, np.float64))
    assert products.tolist() == (a * a).sum(axis=0, keepdims=True).tolist()


@pytest.mark.parametrize("axis", AXES)
def test_the_sum_of_one_block_survives_the_next(axis, rng):
    """What is returned lies in memory of its own, not in what the next block overwrites."""
    for shape in [SHAPE, (1, 5, 1), (2, 3, 100)]:
        a = whole_numbers(rng, shape)
        scratch = Scratch(a, np.float64)
        total = sum_of_products(a, a, axis, scratch)
        assert not np.shares_memory(total, scratch.like(a))
        assert not np.shares_memory(total, a)
        assert not np.shares_memory(quick_sum(a, axis), a)


@pytest.mark.parametrize(
    ("shape", "axis", "steps"),
    [
        # one for the product, and one for each time that a length is halved, rounded up
        ((131_072, 2), (0,), 1 + 17),
        ((131_071, 2), (0,), 1 + 17),
        ((65_537, 2), (0,), 1 + 17),
        ((512, 256, 2), (0, 1), 1 + 9 + 8),
        ((4096, 3, 7), (0, 2), 1 + 12 + 3),
        # in a dot product, in whatever order, one for each of its values
        ((512, 2, 100), (0, 2), 100 + 9),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_products_are_added_pairwise(shape, axis, steps, constant, rng):
    """The error grows with the logarithm of the number of rows, where NumPy's grows faster."""
    a, b = np.full((2, *shape), 0.1) if constant else rng.random((2, *shape))
    got = sum_of_products(a, b, axis, Scratch(a, np.float64))
    kept = next(k for k in range(a.ndim) if k not in axis)
    assert largest_error(got, a, b, kept) <= steps
    if axis == (0,):
        assert largest_error(np.sum(a * b, axis=0), a, b, kept) > 2 * steps


def largest_error(got, a, b, kept):
    """Return the largest relative error of sums of positive products, in units of U.

    The products are rounded here too, before `math.fsum` adds them exactly: that is one unit.
    """
    products = np.moveaxis(a * b, kept, 0).reshape(a.shape[kept], -1)
    right = [math.fsum(values) for values in products.tolist()]
    return max(abs(g / r - 1) / U for g, r in zip(got.ravel().tolist(), right, strict=True))


DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex128]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("limit")
def test_a_formula_in_blocks_is_that_of_the_whole(layout, dtype, rng):
    """To the last bit, and in the layout and the dtype of the first array."""
    x, z = (lay(rng.standard_normal(SHAPE).astype(dtype), layout) for _ in range(2))
    before = x.tobytes(), z.tobytes()
    numbers = rng.standard_normal((2, 1, 5, 1))
    y = evaluate(a_line_and_a_product, [x, z], numbers)
    precision = np.dtype(dtype) if np.dtype(dtype).itemsize >= 8 else np.dtype(np.float32)
    assert_same_bits(y, written_out(x, z, *numbers, precision).astype(dtype))
    assert y.strides == np.empty_like(x).strides
    assert not np.shares_memory(y, x)
    assert (x.tobytes(), z.tobytes()) == before


def a_line_and_a_product(out, spare, x, z, slope, shift):
    """Write slope * x + shift * z."""
    np.multiply(z, shift, out=spare)
    np.multiply(x, slope, out=out)
    out += spare


def written_out(x, z, slope, shift, precision):
    """Return the same for whole arrays, computed in a precision."""
    real = np.float32 if precision == np.float32 else np.float64
    slope, shift = (a if a.dtype.kind == "c" else a.astype(real) for a in (slope, shift))
    return x.astype(precision) * slope + z.astype(precision) * shift


def assert_same_bits(a, b):
    """Assert the same shape, dtype and bits."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES[:4])
@pytest.mark.parametrize("which", range(4))
@pytest.mark.usefixtures("limit")
def test_complex_stays_complex(dtype, which, rng):
    """Whichever argument brings it in, array or number, the result is complex128 and exact."""
    arguments = [
        *rng.standard_normal((2, *SHAPE)).astype(dtype),
        *rng.standard_normal((2, 1, 5, 1)),
    ]
    arguments[which] = arguments[which] * (1 + 2j)
    x, z, *numbers = arguments
    y = evaluate(a_line_and_a_product, [x, z], numbers)
    assert_same_bits(y, written_out(x, z, *numbers, np.dtype(np.complex128)))


def test_a_wider_second_array_is_read_as_it_is(rng):
    """A float64 gradient beside a float32 batch is not rounded before the formula sees it."""
    x, z = np.zeros((4, 3), np.float32), 1 + 2.0**-40 * rng.random((4, 3))

    def formula(out, _, x, z, one):
        np.subtract(z, one, out=out)
        out += x

    y = evaluate(formula, [x, z], [np.ones((1, 3))])
    assert_same_bits(y, (z - 1).astype(np.float32))


@pytest.mark.parametrize(
    ("number", "partner"),
    [
        (1e-40, 1e25),
        (-1e-40, 1e25),
        (1e35, 1e-25),
        (-1e35, 1e-25),
        (1e300, 1e-300),
        (np.inf, 0.0),
        (np.nan, 1.0),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES[1:3])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.usefixtures("limit")
def test_numbers_beyond_single_precision(number, partner, dtype, swapped, rng):
    """A channel whose numbers float32 cannot hold is right, and no bit of the others changes."""
    x = rng.standard_normal(SHAPE).astype(dtype)
    plain = rng.standard_normal((2, 1, 5, 1))
    numbers = plain.copy()
    numbers[:, 0, 2, 0] = (partner, number) if swapped else (number, partner)
    y = evaluate(times_both, [x], numbers)
    with np.errstate(invalid="ignore"):
        exact = x[:, 2].astype(np.float64) * numbers[0, 0, 2] * numbers[1, 0, 2]
    others = [0, 1, 3, 4]
    assert_same_bits(y[:, 2], exact.astype(dtype))
    assert_same_bits(y[:, others], evaluate(times_both, [x], plain)[:, others])
    assert np.all(np.isnan(y[:, 2]) != np.isfinite(number))


def times_both(out, _, x, a, b):
    """Write x * a * b."""
    with np.errstate(invalid="ignore"):
        np.multiply(x, a, out=out)
        out *= b


@pytest.mark.parametrize("number", [0.0, 1.1e-37, -1.1e-37, 0.9e30])
def test_numbers_that_single_precision_holds(number):
    """Zero and what lies well inside the range of float32 are computed with in float32."""
    seen = set()

    def formula(out, _, x, number):
        seen.add((out.dtype, number.dtype))
        np.multiply(x, number, out=out)

    evaluate(formula, [np.ones((2, 1), np.float32)], [np.full((1, 1), number)])
    assert seen == {(np.dtype(np.float32),) * 2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, "largest"])
@pytest.mark.usefixtures("limit")
def test_what_is_masked_out_is_of_no_account(dtype, junk, rng):
    """Where the mask is False the result is 0; elsewhere no bit depends on what stands there."""
    x, z = rng.standard_normal((2, *SHAPE)).astype(dtype)
    where = np.broadcast_to(rng.random((6, 1, 7)) < 0.7, SHAPE)
    numbers = np.full((2, 1, 5, 1), 9.0)
    clean = evaluate(a_line_and_a_product, [x, z], numbers)
    if junk == "largest":
        junk = ml_dtypes.finfo(x.real.dtype).max
    x[~where] = z[~where] = junk
    y = evaluate(a_line_and_a_product, [x, z], numbers, where)
    assert_same_bits(y, np.where(where, clean, clean.dtype.type(0)))


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_a_rounded_number_and_its_rest_are_the_number(dtype, rng):
    """To the last bit; the first part is a float32, and leaves values near it without an error."""
    value = rng.standard_normal(1000) * 10.0 ** rng.integers(-30, 29, 1000)
    held, rest = rounded(value, np.dtype(dtype))
    assert held.dtype == rest.dtype == np.float64
    assert_same_bits(held, held.astype(np.float32).astype(np.float64))
    assert_same_bits(held + rest, value)
    assert np.all(np.abs(rest) <= 2.0**-24 * np.abs(value))
    near = (value * rng.uniform(0.51, 1.99, 1000)).astype(np.float32)
    assert_same_bits((near - held.astype(np.float32)).astype(np.float64), near - held)


@pytest.mark.parametrize("value", [1e30, 1e35, -1e35, 1e300, 1e-42, 1e-60, 0.0])
def test_both_parts_of_a_number_make_it(value):
    """Nothing is lost, and what lies beyond float32 is whole in the first part."""
    with np.errstate(under="ignore"):
        held, rest = rounded(np.array([value]), np.dtype(np.float32))
        assert (held + rest).tolist() == [value]
        if abs(value) < 1e30:
            assert held.astype(np.float32).tolist() == held.tolist()
        else:
            assert rest.tolist() == [0.0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1 + 2.0**-30, np.float64), (1 + 1j, np.float32), (1 + 1j, np.complex128)],
)
def test_in_double_precision_nothing_is_left_over(value, dtype):
    """For float64, and of complex numbers for every dtype, the rest is 0."""
    value = np.array([value])
    held, rest = rounded(value, np.dtype(dtype))
    assert_same_bits(held, value)
    assert_same_bits(rest, np.zeros_like(value))


@pytest.mark.parametrize("shape", LARGE)
def test_training_needs_little_memory(shape, rng):
    """Beside its inputs and outputs, training forward and backward takes 16 MiB at most."""
    x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
    gamma, beta = rng.standard_normal((2, shape[1]))
    with measured() as peak:
        y, cache = batch_norm_train(x, gamma, beta)
        assert peak() - y.nbytes <= 16 * MEBIBYTE < y.nbytes
        dx, *_ = batch_norm_backward(dy, cache)
        assert peak() - y.nbytes - dx.nbytes <= 16 * MEBIBYTE


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("layout", ["C", "F", "channels last", "strided", "reversed"])
def test_moments_copy_no_array_whole(shape, layout):
    """However a large array lies in memory, no block of it is copied but one or two."""
    n, c, h, w = shape
    match layout:
        case "C" | "F":
            x = np.ones(shape, np.float32, order=layout)
        case "channels last":
            x = np.ones((n, h, w, c), np.float32).transpose(0, 3, 1, 2)
        case "strided":
            x = np.ones((n, c, h, 2 * w), np.float32)[..., ::2]
        case "reversed":
            x = np.ones(shape, np.float32)[::-1, :, ::-1]
    with measured() as peak:
        moments = Moments.of(x, axis=(0, 2, 3))
        assert peak() <= 8 * MEBIBYTE < x.nbytes
    assert np.all(moments.mean == 1)


class measured:  # noqa: N801 (a context manager)
    """Trace memory, and give a function that returns how much more was in use at the peak."""

    def __enter__(self):
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        return lambda: tracemalloc.get_traced_memory()[1] - before

    def __exit__(self, *_):
        tracemalloc.stop()


# Edges and errors


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_formula_of_no_values(dtype):
    """Of an array without values nothing is computed, and the result has its shape."""
    numbers = np.ones((2, 1, 3, 1))
    x = np.ones((0, 3, 2), dtype)
    y = evaluate(a_line_and_a_product, [x, x], numbers)
    assert (y.shape, y.dtype) == (x.shape, dtype)
