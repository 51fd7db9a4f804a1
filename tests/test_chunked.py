"""Moments of Dask arrays: whatever the chunks are, those of the whole, in the memory of a few."""

import itertools
import math
import operator
import pickle
import sys
import tracemalloc
from fractions import Fraction

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from dask.core import get_dependencies
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st

from refbn import (
    BatchNorm,
    Moments,
    chunked_moments,
    chunked_population_statistics,
    pooled_statistics,
    population_statistics,
)

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
MEBIBYTE = 2**20
CHUNKINGS = [((5, 0, 1, 3), (4,), (2, 5)), ((9,), (1, 3), (7,)), ((0, 9), (2, 0, 2), (1,) * 7)]
SCHEDULERS = ["threads", "synchronous"]


@pytest.fixture(autouse=True, params=["threads"])
def scheduler(request):
    """Run on two threads, or as the test says."""
    with dask.config.set(scheduler=request.param, num_workers=2):
        yield


def cut(x, *chunks):
    """Return a Dask array of the parts that have these lengths."""
    return da.from_array(x, chunks=tuple(map(tuple, chunks)))


def assert_same(found, right, size):
    """Moments are equal up to the rounding of means, which are as large as the values may be."""
    n = np.maximum(right.count, 1)
    np.testing.assert_array_equal(found.count, right.count)
    assert np.all(abs(found.mean - right.mean) <= 16 * U * size)
    slack = U * right.m2 + U * size * np.sqrt(n * right.m2) + n * (U * size) ** 2
    assert np.all(abs(found.m2 - right.m2) <= 16 * slack)


def merging(lazy):
    """Return the tasks that merge, by name, and the names of what each of them merges."""
    graph = dict(lazy.__dask_graph__())
    return {key: get_dependencies(graph, key) for key in graph if "_merge" in key[0]}


def unpacked(running):
    return running.mean.tolist(), running.var.tolist(), running.num_batches


# Worked example by hand


def test_two_unequal_chunks_by_hand():
    """Of 1, 3 and of 8 the means are 2 and 8, m2 2 and 0: together mean 4, m2 2 + 36 * 2 / 3."""
    moments = chunked_moments(cut(np.array([1.0, 3.0, 8.0]), (2, 1))).compute()
    assert (moments.count, moments.mean, moments.m2) == (3, 4.0, 26.0)


def test_population_statistics_by_hand():
    """0, 2 and 4 in chunks of two and one have the mean 2, and 8 / (3 - 1) or 8 / 3 as variance."""
    x = cut(np.array([[0.0], [2.0], [4.0]]), (2, 1), (1,))
    assert unpacked(chunked_population_statistics(x)) == ([2.0], [4.0], 2)
    assert unpacked(chunked_population_statistics(x, ddof=0)) == ([2.0], [8 / 3], 2)


# Laws


@st.composite
def cases(draw):
    """Draw an array, how it is cut, which axes are reduced, and a mask or none."""
    chunks = [
        draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
        for _ in range(draw(st.integers(1, 3)))
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = [sum(lengths) for lengths in chunks]
    x = draw(st.sampled_from([0.0, 1e6])) + rng.standard_normal(shape)
    axis = draw(st.sets(st.integers(0, x.ndim - 1)))
    kept = [n if draw(st.booleans()) else 1 for n in shape]
    return x, chunks, tuple(axis), draw(st.sampled_from([None, rng.random(kept) < 0.6]))


@given(case=cases())
def test_chunks_do_not_matter(case):
    """Of any shape, cut anyhow, over any axes, under any mask: the moments of the whole array."""
    x, chunks, axis, where = case
    found = chunked_moments(cut(x, *chunks), axis, where).compute()
    right = Moments.of(x, axis, where)
    assert found.mean.shape == right.mean.shape
    assert_same(found, right, abs(x).max(initial=0))


@pytest.mark.parametrize("axis", [None, 1, -1, (0, 2), [0, -1], range(2)])
def test_axes_are_read_as_numpy_reads_them(axis, rng):
    """One axis or several, from the start or the end, or None for all of them."""
    x = rng.standard_normal((9, 4, 7))
    axis_of_numpy = tuple(axis) if isinstance(axis, (list, range)) else axis
    mean = chunked_moments(cut(x, *CHUNKINGS[0]), axis).compute().mean
    np.testing.assert_allclose(mean, x.mean(axis=axis_of_numpy), rtol=0, atol=1e-14)


@pytest.mark.parametrize("chunks", CHUNKINGS)
@pytest.mark.parametrize("chunks_of_mask", CHUNKINGS)
def test_a_mask_may_be_cut_differently(chunks, chunks_of_mask, rng):
    """The mask is a Dask array with chunks of its own, or lies in memory; what it hides may be NaN."""
    x = rng.standard_normal((9, 4, 7))
    where = x > 0
    x[~where] = np.nan
    lazy = cut(where, *chunks_of_mask)
    for mask in (lazy, where):
        found = chunked_moments(cut(x, *chunks), (0, 2), mask).compute()
        assert_same(found, Moments.of(x, (0, 2), where), np.nanmax(abs(x)))


def test_a_mask_for_samples_or_channels_is_spread(rng):
    """A mask of length 1 along an axis holds for all of it, and one of no axes for everything."""
    x = rng.standard_normal((9, 4, 7))
    lazy = cut(x, *CHUNKINGS[0])
    for where in (x[:, :1, :1] > 0, x[:1, :, :1] > 0, np.array(True), np.array(False)):
        assert_same(
            chunked_moments(lazy, 0, where).compute(), Moments.of(x, 0, where), abs(x).max()
        )


@pytest.mark.parametrize("chunks", [((0, 1), (2,)), ((1, 0), (2,)), ((1,), (2, 0))])
def test_an_empty_chunk_beside_a_single_value_is_none(chunks):
    """An axis of length 1 in two chunks, one of them empty, is one value under a mask as well."""
    x, where = np.array([[3.0, 4.0]]), np.array([[True, False]])
    for mask in (where, cut(where, *chunks), True):
        found = chunked_moments(cut(x, *chunks), 0, mask).compute()
        assert_same(found, Moments.of(x, 0, np.asarray(mask)), 4)


def test_lengths_may_be_unknown(rng):
    """Behind a selection Dask knows no lengths; moments count what is there, under a mask too."""
    x = rng.standard_normal((9, 4))
    lazy = cut(x, (4, 5), (2, 2))
    some, kept = lazy[lazy[:, 0] > 0], x[x[:, 0] > 0]
    assert math.isnan(some.shape[0])
    assert_same(chunked_moments(some, 0).compute(), Moments.of(kept, 0), 9)
    for where in (operator.lt, operator.gt):
        found = chunked_moments(some, 0, where(some, 0.5)).compute()
        assert_same(found, Moments.of(kept, 0, where(kept, 0.5)), 9)
    assert chunked_population_statistics(some).num_batches == 2


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_dtype_is_accumulated_in_float64(dtype, rng):
    """Chunks of narrow numbers have float64 moments, with no error but that of a few roundings."""
    x = (100 + rng.standard_normal((64, 3))).astype(dtype)
    found = chunked_moments(cut(x, (32, 32), (3,)), 0).compute()
    assert_same(found, Moments.of(x.astype(np.float64), 0), 200)
    assert found.mean.dtype == np.float64


def test_nothing_is_read_before_it_is_asked_for(rng):
    """Asking for moments reads nothing; computing two of them at once reads each chunk once."""
    read = []

    def chunk(k):
        read.append(k)
        return rng.standard_normal((2, 3))

    parts = [da.from_delayed(dask.delayed(chunk)(k), (2, 3), float) for k in range(8)]
    x = da.concatenate(parts)
    of_all, of_channels = chunked_moments(x), chunked_moments(x, axis=0, where=x > 0)
    assert read == []
    dask.compute(of_all, of_channels)
    assert sorted(read) == list(range(8))


def test_moments_of_one_array_have_one_name(rng):
    """Asking twice is the same task, so that Dask does it once; other axes are another."""
    x = cut(rng.standard_normal((4, 3)), (2, 2), (3,))
    assert chunked_moments(x, 0).key == chunked_moments(x, (-2,)).key
    assert chunked_moments(x, 0).key != chunked_moments(x, 1).key
    assert chunked_moments(x, 0).key != chunked_moments(x, 0, x > 0).key


def test_it_can_be_sent(rng):
    """Lazy moments can be pickled, as they are for workers elsewhere, and then computed."""
    x = rng.standard_normal((4, 3))
    lazy = pickle.loads(pickle.dumps(chunked_moments(cut(x, (3, 1), (2, 1)), 0)))  # noqa: S301
    assert_same(lazy.compute(), Moments.of(x, 0), 9)


@pytest.mark.parametrize("split", [2, 4, 16])
@pytest.mark.parametrize("number", [1, 5, 64, 200])
def test_the_tree_is_flat_and_narrow(split, number):
    """A task merges at most `split_every` parts, and as many levels as the logarithm says do so."""
    with dask.config.set(split_every=split):
        lazy = chunked_moments(da.ones((number, 3), chunks=(1, 3)), 0)
    tasks = merging(lazy)
    assert max(map(len, tasks.values())) == min(split, number)

    def depth(key):
        return 1 + max(map(depth, tasks[key])) if key in tasks else 0

    assert max(map(depth, tasks)) == max(1, math.ceil(math.log(number, split) - 1e-9))


def test_parts_on_several_axes_are_merged_together():
    """Over three axes a task merges two from each, as Dask shares out its 4 (2 at the least)."""
    lazy = chunked_moments(da.ones((8, 8, 8), chunks=1))
    assert set(map(len, merging(lazy).values())) == {2**3}


def of_moments(x):
    moments = chunked_moments(x, 0).compute()
    return moments.mean, moments.var()


def of_population(x):
    running = chunked_population_statistics(x, ddof=0)
    return running.mean, running.var


@pytest.mark.usefixtures("scheduler")
@pytest.mark.parametrize("scheduler", SCHEDULERS, indirect=True)
@pytest.mark.parametrize("statistics", [of_moments, of_population])
def test_memory_is_that_of_a_few_chunks(statistics):
    """Sixteen times the chunks take no more memory, but for the list of what is to be done."""

    def values(block_id):
        return np.full((2**12, 64), block_id[0], np.float32)

    def peak(number):
        meta = np.empty((0, 0), np.float32)
        chunks = ((2**12,) * number, (64,))
        x = da.map_blocks(values, chunks=chunks, dtype=np.float32, meta=meta)
        assert x.nbytes == number * MEBIBYTE
        tracemalloc.start()
        mean, var = statistics(x)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        np.testing.assert_allclose(mean, (number - 1) / 2, rtol=1e-14)
        np.testing.assert_allclose(var, (number**2 - 1) / 12, rtol=1e-14)
        return most

    peak(2)  # what is imported or made once
    few, many = peak(16), peak(256)
    # Dask's list takes 5 to 10 KiB for each chunk. At the peak with few chunks, one thread of two
    # may have had nothing: it has a chunk, its copy in float64 and 2 * 2 MiB in blocks.
    assert many - few < 240 * 16 * 2**10 + 7 * MEBIBYTE


def test_running_statistics_know_the_number_of_chunks(rng):
    """Chunks count where they cut what is reduced, not where they cut the channels."""
    x = rng.standard_normal((9, 4, 7))
    for chunks in CHUNKINGS:
        n, c, places = map(len, chunks)
        assert chunked_population_statistics(cut(x, *chunks)).num_batches == n * places
        last = chunked_population_statistics(cut(x, *chunks), channel_axis=-1)
        assert (last.num_batches, last.mean.shape) == (n * c, (7,))


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1])
@pytest.mark.parametrize("ddof", [0, 1])
def test_it_is_the_sibling_of_population_statistics(channel_axis, ddof, rng):
    """What NumPy's arrays give as one batch, a Dask array gives in chunks."""
    x = 100 + rng.standard_normal((9, 4, 7))
    right = population_statistics([x], channel_axis=channel_axis, ddof=ddof)
    for chunks in CHUNKINGS:
        lazy = cut(x, *chunks)
        found = chunked_population_statistics(lazy, channel_axis=channel_axis, ddof=ddof)
        np.testing.assert_allclose(found.mean, right.mean, rtol=1e-15)
        np.testing.assert_allclose(found.var, right.var, rtol=1e-13)


def test_masked_statistics_go_through_moments(rng):
    """With a mask the way is `pooled_statistics` of the one Moments that all chunks give."""
    x = rng.standard_normal((9, 4))
    lazy = cut(x, (5, 4), (4,))
    found = pooled_statistics([chunked_moments(lazy, 0, lazy < 1).compute()])
    right = pooled_statistics([Moments.of(x, 0, x < 1)])
    np.testing.assert_allclose(found.var, right.var, rtol=1e-14)


def test_layers_inside_a_network_are_recalibrated(rng):
    """Layer by layer, from chunks, a network gets the statistics that all values at once give."""
    x = 3 + rng.standard_normal((200, 5))
    maps = rng.standard_normal((5, 8)), rng.standard_normal((8, 6))

    def recalibrated(statistics, x, then):
        norms = []
        for w in maps:
            norm = BatchNorm(w.shape[1]).eval()
            x = then(lambda part, w=w: part @ w, x)
            norm.running = statistics(x)
            x = then(lambda part, norm=norm: np.maximum(norm(part), 0), x)
            norms.append(norm)
        return norms

    at_once = recalibrated(lambda z: population_statistics([z]), x, lambda f, z: f(z))
    in_chunks = recalibrated(
        chunked_population_statistics,
        da.from_array(x, chunks=(33, 5)),
        lambda f, z: z.map_blocks(f, dtype=float),
    )
    for found, right in zip(in_chunks, at_once, strict=True):
        np.testing.assert_allclose(found.running.mean, right.running.mean, rtol=1e-12)
        np.testing.assert_allclose(found.running.var, right.running.var, rtol=1e-12)
    assert [norm.running.num_batches for norm in in_chunks] == [7, 7]


# Edges and errors


def test_no_values_have_empty_moments():
    """An array of no samples, and one of no channels, have moments all the same."""
    none = chunked_moments(da.zeros((0, 3), chunks=(1, 2)), 0).compute()
    assert (none.count.tolist(), none.mean.tolist(), none.m2.tolist()) == (
        [0] * 3,
        [0.0] * 3,
        [0.0] * 3,
    )
    assert chunked_moments(da.zeros((3, 0)), 0).compute().mean.shape == (0,)


def test_nothing_reduced_leaves_every_value_alone(rng):
    """Over no axes each value is a group of one."""
    x = rng.standard_normal((3, 2))
    moments = chunked_moments(cut(x, (2, 1), (1, 1)), ()).compute()
    np.testing.assert_array_equal(moments.mean, x)
    assert (moments.count == 1).all()


def test_moments_let_nan_through_in_its_channel(rng):
    """As everywhere, NaN and Inf spoil their channel and no other; statistics are what refuses them."""
    x = rng.standard_normal((6, 3))
    x[4, 1] = np.inf
    moments = chunked_moments(cut(x, (3, 3), (2, 1)), 0).compute()
    assert np.isnan(moments.m2).tolist() == [False, True, False]


def test_the_chunk_that_is_not_finite_is_named(rng):
    """The error says which chunk has the NaN, and in which of its channels."""
    x = rng.standard_normal((9, 4))
    x[7, 3] = np.nan
    message = (
        "running statistics must be finite and variances not negative; got mean=[nan], var=[nan] "
        "in channels [1]. Nothing was stored. Look for NaN, Inf or overflow in what they were made of."
        "\nIt was the chunk x.blocks[2, 1], with its channels counted from 0. No statistics were made."
    )
    with pytest.raises(ValueError, match=whole(message)):
        chunked_population_statistics(cut(x, (4, 2, 3), (2, 2)))


@pytest.mark.usefixtures("scheduler")
@pytest.mark.parametrize("scheduler", ["synchronous"], indirect=True)
def test_a_chunk_that_is_not_finite_ends_the_run():
    """What is bad at the start is found there, not after all has been read."""
    read = []

    def values(block_id):
        read.append(block_id)
        return np.full((2, 3), np.nan)

    meta = np.empty((0, 0))
    x = da.map_blocks(values, chunks=((2,) * 50, (3,)), dtype=float, meta=meta)
    with pytest.raises(ValueError, match="finite"):
        chunked_population_statistics(x)
    assert len(read) == 1


def test_an_error_in_a_chunk_comes_out_as_it_is():
    """What a chunk raises while it is made is what the caller gets."""

    def values(part):
        raise LookupError(f"no file for {part.shape}")

    x = da.zeros((4, 3), chunks=(2, 3)).map_blocks(values, meta=np.empty((0, 0)))
    with pytest.raises(LookupError, match="no file for"):
        chunked_moments(x).compute()


def test_chunks_are_checked_too():
    """Dask believes what it is told of a dtype; chunks that are of another are refused."""
    x = da.zeros((4, 3), chunks=(2, 3)).map_blocks(lambda a: a.astype(int), meta=np.empty((0, 0)))
    with pytest.raises(TypeError, match=r"x must be an array of .*; got dtype int64"):
        chunked_moments(x).compute()


BOTH = pytest.mark.parametrize("function", [chunked_moments, chunked_population_statistics])


@BOTH
@pytest.mark.parametrize("x", [np.ones((2, 3)), [[1.0]], None], ids=["ndarray", "list", "NoneType"])
def test_what_is_no_dask_array_is_refused(function, x):
    """An array in memory is refused with the name of the function that takes it."""
    message = (
        f"x must be a Dask array; got {type(x).__name__}. Make one with dask.array.from_array, "
        "from_zarr, from_npy_stack or from_delayed. Arrays in memory go to Moments.of or "
        "population_statistics."
    )
    with pytest.raises(TypeError, match=whole(message)):
        function(x)


@BOTH
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex128", "longdouble"])
def test_dtypes_without_a_mean_are_refused(function, dtype):
    """What is no real floating number is refused before anything is read."""
    x = da.zeros((2, 3), dtype=dtype)
    message = (
        f"x must be an array of float16, bfloat16, float32, float64; got dtype {x.dtype}. "
        "Convert it first, chunk by chunk: x.astype(np.float32)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        function(x)


@BOTH
def test_masked_arrays_are_refused(function, rng):
    """A mask would be lost; taking the advice of the message gives what was meant."""
    x = rng.standard_normal((4, 3))
    masked = da.ma.masked_greater(da.from_array(x, chunks=(2, 3)), 0.5)
    message = (
        "x must be of plain arrays, because the mask of masked ones would be lost. "
        "Pass dask.array.ma.getdata(x); chunked_moments takes the mask as "
        "where=~dask.array.ma.getmaskarray(x)."
    )
    with pytest.raises(TypeError, match=whole(message)):
        function(masked)
    advised = chunked_moments(da.ma.getdata(masked), 0, where=~da.ma.getmaskarray(masked))
    assert_same(advised.compute(), Moments.of(x, 0, x <= 0.5), 9)


def test_masks_that_do_not_fit_are_refused_at_once():
    """A mask that is not boolean, or of another shape, is refused before anything is read."""
    x = da.zeros((4, 3), chunks=(2, 3))
    with pytest.raises(TypeError, match="where must be an array of booleans; got dtype int64"):
        chunked_moments(x, 0, da.ones((4, 3), dtype=int))
    for where in (da.ones((4, 2), dtype=bool), np.ones(3, bool), np.ones((1, 4, 3), bool)):
        message = f"where must broadcast to the shape of x, (4, 3); got where.shape={where.shape}"
        with pytest.raises(ValueError, match=whole(message)[:-2]):
            chunked_moments(x, 0, where)


@pytest.mark.parametrize("axis", [2, -3, (0, 0)])
def test_axes_that_are_none_are_refused(axis):
    """The errors are NumPy's."""
    with pytest.raises(ValueError, match="axis"):  # AxisError is one
        chunked_moments(da.zeros((4, 3)), axis)


def test_what_cannot_be_is_refused_before_a_long_run():
    """Too few axes, no such channel axis and an impossible ddof are refused, and nothing is read."""

    def values(block_id):
        raise AssertionError(block_id)

    x = da.map_blocks(values, chunks=((2, 2), (3,)), dtype=float, meta=np.empty((0, 0)))
    for arguments, start in (
        ((x[:, 0],), "x must have at least 2 axes, samples and channels; got x.shape=(4,)."),
        ((x, 2), "channel_axis must name an axis of x, from -2 to 1; got channel_axis=2"),
        ((x, 1, 2), "ddof must be 0 or 1; got ddof=2."),
    ):
        options = dict(zip(("channel_axis", "ddof"), arguments[1:], strict=False))
        with pytest.raises(ValueError, match=whole(start)[:-2]):
            chunked_population_statistics(arguments[0], **options)


def test_one_value_has_no_unbiased_variance():
    """A channel of one value, and one of none, have no variance to store."""
    for n, ddof in ((1, 1), (0, 0), (0, 1)):
        with pytest.raises(ValueError, match=rf"a variance with ddof={ddof} needs at least"):
            chunked_population_statistics(da.zeros((n, 2)), ddof=ddof)
    assert unpacked(chunked_population_statistics(da.zeros((1, 1)), ddof=0)) == ([0.0], [0.0], 1)


@BOTH
@pytest.mark.parametrize("module", ["dask", "dask.array"])
def test_dask_must_be_installed(function, module, monkeypatch):
    """Without the package its arrays are an error that says what to install."""
    x = da.zeros((2, 3))
    monkeypatch.setitem(sys.modules, module, None)
    message = (
        "chunked arrays need the package dask, which cannot be imported. "
        'Run pip install "refbn[dask]", or pass the parts one by one to population_statistics.'
    )
    with pytest.raises(ImportError, match=whole(message)):
        function(x)


# Oracles


@given(
    chunks=st.lists(
        st.lists(st.integers(-(2**20), 2**20).map(lambda k: k / 8), max_size=6),
        min_size=1,
        max_size=9,
    )
)
def test_moments_against_exact_rationals(chunks):
    """Over any chunks, mean and m2 are those of exact arithmetic to a few roundings."""
    values = list(itertools.chain(*chunks))
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / max(len(exact), 1)
    m2 = sum((value - mean) ** 2 for value in exact)
    size = max(map(abs, exact), default=0)
    moments = chunked_moments(cut(np.array(values), [len(chunk) for chunk in chunks])).compute()
    assert moments.count == len(values)
    assert abs(Fraction(float(moments.mean)) - mean) <= 8 * size * U
    # a mean of a chunk is stored with its rounding, and enters with a distance of m2's size
    assert abs(Fraction(float(moments.m2)) - m2) <= 64 * U * (m2 + size * size * U)


def test_the_reductions_of_dask(rng):
    """Far from zero, Dask's own mean and variance in float64 agree with ours."""
    x = da.from_array(1000 + rng.standard_normal((500, 6)), chunks=(64, 4))
    found = chunked_population_statistics(x, ddof=0)
    np.testing.assert_allclose(found.mean, x.mean(axis=0).compute(), rtol=1e-14)
    np.testing.assert_allclose(found.var, x.var(axis=0).compute(), rtol=1e-9)


@pytest.mark.parametrize("odd", [1, 2])
def test_a_chunk_with_other_channels_is_refused(odd):
    """Moments of 1 channel would broadcast to 3; all chunks have the same channels."""
    parts = [
        da.from_delayed(dask.delayed(np.ones)((5, width)), (5, 3), float) for width in (3, odd)
    ]
    message = (
        f"all chunks must have the same channels; got moments of shapes [({odd},), (3,)]. "
        "Look for odd files, such as grey pictures among coloured ones."
    )
    for call in (chunked_population_statistics, lambda x: chunked_moments(x, 0).compute()):
        with pytest.raises(ValueError, match=whole(message)):
            call(da.concatenate(parts))
