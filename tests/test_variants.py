"""Ghost batches, batch renormalisation, weight normalisation: what they share with the core."""

from functools import reduce
from itertools import product

import ml_dtypes
import numpy as np
import pytest
from helpers import whole
from hypothesis import given
from hypothesis import strategies as st

from refbn import (
    Moments,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_infer_backward,
    batch_norm_train,
)
from refbn.gradcheck import adjoint_errors, central_difference, check_backward, complex_step
from refbn.variants import (
    RenormCache,
    batch_renorm_backward,
    batch_renorm_train,
    direction_and_length,
    ghost_batch_norm_backward,
    ghost_batch_norm_train,
    weight_norm,
    weight_norm_backward,
)

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
EVERY_AXIS = [
    (shape, axis)
    for shape in ((7, 3), (5, 3, 2), (5, 2, 3, 2))
    for axis in range(-len(shape), len(shape))
]
SAMPLES_FIRST = [(shape, axis) for shape, axis in EVERY_AXIS if axis % len(shape) != 0]
UNCLIPPED = {"r_max": np.inf, "d_max": np.inf}
PLAIN = {"r_max": 1, "d_max": 0}


# Worked example by hand


def test_ghosts_by_hand():
    """1, 3 and 10, 30 each become -1, 1; with gamma 10 and beta 5, -5 and 15."""
    y, caches = ghost_batch_norm_train([[1.0], [3.0], [10.0], [30.0]], [10.0], [5.0], size=2, eps=0)
    assert y.tolist() == [[-5.0], [15.0], [-5.0], [15.0]]
    assert [cache.moments.mean.tolist() for cache in caches] == [[2.0], [20.0]]
    assert [cache.moments.var().tolist() for cache in caches] == [[1.0], [100.0]]


def test_the_last_ghost_may_be_smaller():
    """Three samples in ghosts of two: the third, alone, becomes beta and has no dx."""
    y, caches = ghost_batch_norm_train([[1.0], [3.0], [7.0]], None, [5.0], size=2, eps=3.0)
    assert y.tolist() == [[4.5], [5.5], [5.0]]
    assert [cache.moments.count.tolist() for cache in caches] == [[2], [1]]
    gradients = ghost_batch_norm_backward([[1.0], [0.0], [9.0]], caches)
    # slope 1/2; direct 1 and 0, mean 1/2, and x_hat = -1/2, 1/2 with mean dy x_hat = -1/4
    assert gradients.x.tolist() == [[3 / 16], [-3 / 16], [0.0]]
    assert gradients.gamma is None
    assert gradients.beta.tolist() == [10.0]


def test_ghost_gradients_by_hand():
    """dgamma and dbeta are summed over the ghosts: -1 * 1 + 1 * 2 - 1 * 3 + 1 * 9, and 15."""
    _, caches = ghost_batch_norm_train([[1.0], [3.0], [10.0], [30.0]], [1.0], [0.0], size=2, eps=0)
    gradients = ghost_batch_norm_backward([[1.0], [2.0], [3.0], [9.0]], caches)
    assert gradients.gamma.tolist() == [7.0]
    assert gradients.beta.tolist() == [15.0]


@pytest.mark.parametrize(
    ("mean", "std", "r", "d", "y"),
    [
        (0.0, 0.5, 1.5, 1.0, [0.0, 30.0]),  # 2 and 4 are too much
        (10.0, 4.0, 0.5, -1.0, [-10.0, 0.0]),  # 1/4 and -2 too little
        (1.0, 1.25, 0.8, 0.8, [5.0, 21.0]),  # these pass
    ],
)
def test_renorm_by_hand(mean, std, r, d, y):
    """1 and 3 become -1 and 1, then 10 (r x_hat + d) + 5, with r and d clipped at both ends."""
    r_max = 1.5 if std < 1 else 2.0
    got, cache = batch_renorm_train(
        [[1.0], [3.0]], [mean], [std**2], [10.0], [5.0], r_max=r_max, d_max=1.0, eps=0
    )
    np.testing.assert_allclose([cache.r[0], cache.d[0]], [r, d], rtol=4 * U)
    np.testing.assert_allclose(got[:, 0], y, atol=64 * U)


def test_eps_stands_inside_both_roots():
    """With eps 3 the roots are sqrt(1 + 3) = 2 and sqrt(13 + 3) = 4, so r = 1/2 and d = -1."""
    x, one, zero = [[1.0], [3.0]], [1.0], [0.0]
    y, cache = batch_renorm_train(x, [6.0], [13.0], one, zero, r_max=3, d_max=5, eps=3.0)
    assert (cache.r.tolist(), cache.d.tolist()) == ([0.5], [-1.0])
    assert y.tolist() == [[-1.25], [-0.75]]


def test_renorm_gradients_by_hand():
    """With r = 2, d = 4 and gamma 10: dgamma = 1 (-2 + 4) + 3 (2 + 4), and dx is that of gamma 20."""
    x = [[1.0], [3.0]]
    _, cache = batch_renorm_train(x, [0.0], [0.25], [10.0], [5.0], r_max=3, d_max=5, eps=0.0)
    gradients = batch_renorm_backward([[1.0], [3.0]], cache)
    assert gradients.gamma.tolist() == [20.0]
    assert gradients.beta.tolist() == [4.0]
    assert gradients.x.tolist() == [[0.0], [0.0]]  # two values without eps have no slope
    _, cache = batch_renorm_train(x, [6.0], [13.0], [10.0], [5.0], r_max=3, d_max=5, eps=3.0)
    # slope 10 r / 2 = 5/2; direct 1 and 0, mean 1/2, x_hat = -1/2, 1/2 with mean dy x_hat = -1/4
    assert batch_renorm_backward([[1.0], [0.0]], cache).x.tolist() == [[15 / 16], [-15 / 16]]


def test_weight_norm_by_hand():
    """(3, 4) has length 5; with length 10 it is (6, 8), and dw = (5, 0) gives dv = (6.4, -4.8)."""
    v = [[3.0, 0.0], [4.0, -2.0]]
    u, length = direction_and_length(v)
    assert length.tolist() == [5.0, 2.0]
    assert u.tolist() == [[3 / 5, 0.0], [4 / 5, -1.0]]
    np.testing.assert_allclose(weight_norm(v, [10.0, 7.0]), [[6, 0], [8, -7]], rtol=4 * U)
    dv, dg = weight_norm_backward([[5.0, 3.0], [0.0, 1.0]], v, [10.0, 7.0])
    np.testing.assert_allclose(dg, [3.0, -1.0], rtol=4 * U)
    np.testing.assert_allclose(dv, [[6.4, 10.5], [-4.8, 0.0]], rtol=8 * U)


def test_the_defaults():
    """eps is 1e-5 and the channels are on axis 1."""
    x, zero, one = np.array([[1.0, 7.0], [-1.0, 7.0]]), np.zeros(2), np.ones(2)
    root = 1 / np.sqrt(np.array([1, 0]) + 1e-5)
    for cache in (
        ghost_batch_norm_train(x, size=2)[1][0],
        batch_renorm_train(x, zero, one, one, zero, **PLAIN)[1].inner,
    ):
        assert cache.inv_std.tolist() == root.tolist()
    _, cache = batch_renorm_train(x, zero, one, one, zero, **UNCLIPPED)
    assert cache.r.tolist() == (np.sqrt(np.array([1, 0]) + 1e-5) / np.sqrt(1 + 1e-5)).tolist()


# Laws of ghost batches


@pytest.mark.parametrize(("shape", "channel_axis"), SAMPLES_FIRST)
@pytest.mark.parametrize("more", [0, 1, 99])
def test_one_ghost_is_the_batch(shape, channel_axis, more, rng):
    """With a size of at least all samples, ghosts are plain batch norm, to the last bit."""
    x, dy = rng.standard_normal((2, *shape))
    rule = {"channel_axis": channel_axis, "eps": 0.1}
    gamma, beta = rng.standard_normal((2, shape[channel_axis]))
    y, caches = ghost_batch_norm_train(x, gamma, beta, size=shape[0] + more, **rule)
    plain, cache = batch_norm_train(x, gamma, beta, **rule)
    assert len(caches) == 1
    assert y.tobytes() == plain.tobytes()
    for got, expected in zip(
        ghost_batch_norm_backward(dy, caches), batch_norm_backward(dy, cache), strict=True
    ):
        assert got.tobytes() == expected.tobytes()


@given(samples=st.integers(1, 13), size=st.integers(1, 14))
def test_ghosts_are_batches_of_their_own(samples, size):
    """Adding up the gradients of small batches gives the gradients of the ghosts."""
    rng = np.random.default_rng(samples)
    x, dy = rng.standard_normal((2, samples, 3, 2))
    gamma, beta = rng.standard_normal((2, 3))
    y, caches = ghost_batch_norm_train(x, gamma, beta, size=size)
    dx, dgamma, dbeta = ghost_batch_norm_backward(dy, caches)
    sums = np.zeros((2, 3))
    for start in range(0, samples, size):
        part = slice(start, start + size)
        alone, cache = batch_norm_train(x[part], gamma, beta)
        gradients = batch_norm_backward(dy[part], cache)
        assert y[part].tobytes() == alone.tobytes()
        assert dx[part].tobytes() == gradients.x.tobytes()
        sums += gradients[1:]
    # at most 13 terms of order 10, added up in another order
    np.testing.assert_allclose([dgamma, dbeta], sums, rtol=0, atol=13 * 10 * U)


@given(samples=st.integers(1, 13), size=st.integers(1, 14))
def test_total_variance(samples, size):
    """Merged, the ghosts' moments are the batch's: the mean variance and that of the means."""
    x = np.random.default_rng(samples).standard_normal((samples, 3))
    _, caches = ghost_batch_norm_train(x, size=size)
    parts = [cache.moments for cache in caches]
    merged, batch = reduce(Moments.merge, parts), Moments.of(x, axis=0)
    share = np.array([part.count for part in parts]) / samples
    means, variances = (np.array([f(part) for part in parts]) for f in (mean_of, Moments.var))
    within = np.sum(share * variances, axis=0)
    between = np.sum(share * (means - batch.mean) ** 2, axis=0)
    assert merged.count.tolist() == batch.count.tolist() == [samples] * 3
    # some tens of operations on numbers of order 10
    np.testing.assert_allclose(merged.mean, batch.mean, rtol=0, atol=13 * 16 * U)
    np.testing.assert_allclose(merged.var(), batch.var(), rtol=0, atol=13 * 64 * U)
    np.testing.assert_allclose(within + between, batch.var(), rtol=0, atol=13 * 64 * U)


def test_accumulated_gradients_are_not_those_of_the_batch(rng):
    """Ghosts have another gradient than the whole batch, as each has statistics of its own."""
    x, dy = rng.standard_normal((2, 32, 3))
    _, caches = ghost_batch_norm_train(x, size=4)
    _, cache = batch_norm_train(x)
    dx, full = ghost_batch_norm_backward(dy, caches).x, batch_norm_backward(dy, cache).x
    assert np.linalg.norm(dx - full) > 0.1 * np.linalg.norm(full)


def test_no_gradient_crosses_a_ghost(rng):
    """A dy in one ghost gives a dx there and none in the others; each ghost's dx sums to 0."""
    x, dy = rng.standard_normal((2, 8, 3))
    _, caches = ghost_batch_norm_train(x, size=3)
    dy[3:6] = 0.0
    dx = ghost_batch_norm_backward(dy, caches).x
    assert not np.any(dx[3:6])
    for part in (slice(3), slice(6, None)):
        assert np.all(dx[part] != 0)
        # the slope 1 / sqrt(var + eps) is below some 10
        np.testing.assert_allclose(dx[part].sum(axis=0), 0, atol=10 * 3 * 8 * U)


@pytest.mark.parametrize("absent", list(product([True, False], repeat=2)))
def test_absent_parameters_of_ghosts(absent, rng):
    """Leaving gamma or beta out is as ones and zeros, and has None for its gradient."""
    x, dy = rng.standard_normal((2, 5, 2))
    gamma, beta = rng.standard_normal((2, 2))
    no_gamma, no_beta = absent
    y, caches = ghost_batch_norm_train(
        x, None if no_gamma else gamma, None if no_beta else beta, size=2
    )
    full_y, full_caches = ghost_batch_norm_train(
        x, gamma ** (not no_gamma), beta * (not no_beta), size=2
    )
    got, full = (ghost_batch_norm_backward(dy, c) for c in (caches, full_caches))
    np.testing.assert_array_equal(y, full_y)
    np.testing.assert_array_equal(got.x, full.x)
    assert (got.gamma is None, got.beta is None) == absent
    assert no_gamma or got.gamma.tobytes() == full.gamma.tobytes()
    assert no_beta or got.beta.tobytes() == full.beta.tobytes()


@pytest.mark.parametrize(("shape", "channel_axis"), SAMPLES_FIRST)
@pytest.mark.parametrize("size", [2, 3])
def test_ghost_backward_is_the_adjoint(shape, channel_axis, size, rng):
    """<dy, J v> = <dx, v> for x, gamma and beta, with a last ghost that is smaller."""
    rule = {"channel_axis": channel_axis, "eps": 0.1, "size": size}

    def forward(x, gamma, beta):
        return ghost_batch_norm_train(x, gamma, beta, **rule)[0]

    def backward(dy, x, gamma, beta):
        return ghost_batch_norm_backward(dy, ghost_batch_norm_train(x, gamma, beta, **rule)[1])

    arguments = [rng.standard_normal(shape), *rng.standard_normal((2, shape[channel_axis]))]
    check(forward, backward, arguments)


# Laws of batch renormalisation


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
def test_renorm_without_correction_is_batch_norm(shape, channel_axis, rng):
    """With r_max 1 and d_max 0 it is plain batch norm, to the last bit, whatever was kept."""
    x, dy = rng.standard_normal((2, *shape))
    mean, std, gamma, beta = rng.standard_normal((4, shape[channel_axis]))
    rule = {"channel_axis": channel_axis, "eps": 0.1}
    y, cache = batch_renorm_train(x, mean, std**2, gamma, beta, **PLAIN, **rule)
    plain, plain_cache = batch_norm_train(x, gamma, beta, **rule)
    assert y.tobytes() == plain.tobytes()
    for got, expected in zip(
        batch_renorm_backward(dy, cache), batch_norm_backward(dy, plain_cache), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
def test_unclipped_renorm_is_inference(shape, channel_axis, rng):
    """Where nothing is clipped, y and dgamma are those of inference, and dx is batch norm's."""
    x, dy = rng.standard_normal((2, *shape))
    mean, std, gamma, beta = 1 + rng.random((4, shape[channel_axis]))
    rule = {"channel_axis": channel_axis, "eps": 0.1}
    kept = {"mean": mean, "var": std**2, "gamma": gamma, "beta": beta, **rule}
    y, cache = batch_renorm_train(x, **kept, **UNCLIPPED)
    dx, dgamma, dbeta = batch_renorm_backward(dy, cache)
    frozen = batch_norm_infer_backward(dy, x, **kept)
    plain = batch_norm_backward(dy, batch_norm_train(x, gamma * cache.r, **rule)[1])
    # some 10 operations, 60 in sums, on numbers of order 10
    close = {"rtol": 0, "atol": 60 * 10 * 8 * U}
    np.testing.assert_allclose(y, batch_norm_infer(x, **kept), **close)
    np.testing.assert_allclose(dgamma, frozen.gamma, **close)
    np.testing.assert_allclose(dbeta, frozen.beta, **close)
    np.testing.assert_allclose(dx, plain.x, **close)
    axis = tuple(a for a in range(x.ndim) if a != channel_axis % x.ndim)
    np.testing.assert_allclose(dx.sum(axis=axis), 0, **close)
    assert np.all(np.abs(frozen.x.sum(axis=axis)) > 1e-3)


def test_the_start_normalises_nothing(rng):
    """Unclipped, with the initial mean 0 and variance 1, the first step puts out x as it came in."""
    x = 10 + 5 * rng.standard_normal((8, 3))
    zero, one = np.zeros(3), np.ones(3)
    y, _ = batch_renorm_train(x, zero, one, one, zero, **UNCLIPPED, eps=0.0)
    np.testing.assert_allclose(y, x, rtol=0, atol=30 * 8 * U)
    clipped, _ = batch_renorm_train(x, zero, one, one, zero, **PLAIN, eps=0.0)
    np.testing.assert_allclose(clipped.mean(axis=0), 0, atol=8 * 8 * U)


@pytest.mark.parametrize(("shape", "channel_axis"), EVERY_AXIS)
@pytest.mark.parametrize("bounds", [UNCLIPPED, PLAIN, {"r_max": 1.2, "d_max": 0.3}])
def test_renorm_backward_is_the_adjoint(shape, channel_axis, bounds, rng):
    """<dy, J v> = <dx, v> where J is the complex step, which keeps r and d fixed, as backward does."""
    mean, std, gamma, beta = rng.standard_normal((4, shape[channel_axis]))
    rule = {"mean": mean, "var": std**2, "channel_axis": channel_axis, "eps": 0.1, **bounds}

    def forward(x, gamma, beta):
        return batch_renorm_train(x, gamma=gamma, beta=beta, **rule)[0]

    def backward(dy, x, gamma, beta):
        cache = batch_renorm_train(x, gamma=gamma, beta=beta, **rule)[1]
        return batch_renorm_backward(dy, cache)

    check(forward, backward, [rng.standard_normal(shape), gamma, beta])


@pytest.mark.parametrize("bounds", [UNCLIPPED, PLAIN, {"r_max": 1.2, "d_max": 0.3}])
def test_the_gradient_with_r_and_d_held_fixed(bounds, rng):
    """Differences of the equation with r and d as numbers, in plain NumPy, give this gradient."""
    x, kept = rng.standard_normal((9, 3)), (np.array([0.5, 0.0, -2.0]), np.array([1.0, 4.0, 0.1]))
    gamma, beta = rng.standard_normal((2, 3))
    std = np.sqrt(kept[1] + 0.1)
    r = np.clip(np.sqrt(x.var(axis=0) + 0.1) / std, 1 / bounds["r_max"], bounds["r_max"])
    d = np.clip((x.mean(axis=0) - kept[0]) / std, -bounds["d_max"], bounds["d_max"])

    def forward(x, gamma, beta):
        x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.1)
        return gamma * (x_hat * r + d) + beta

    def backward(dy, x, gamma, beta):
        cache = batch_renorm_train(x, *kept, gamma, beta, **bounds, eps=0.1)[1]
        return batch_renorm_backward(dy, cache)

    # central differences have some ten right digits
    check_backward(forward, backward, [x, gamma, beta], tolerance=1e-8)
    y, cache = batch_renorm_train(x, *kept, gamma, beta, **bounds, eps=0.1)
    np.testing.assert_allclose(y, forward(x, gamma, beta), rtol=0, atol=10 * 64 * U)
    np.testing.assert_allclose([cache.r, cache.d], [r, d], rtol=0, atol=10 * 32 * U)


def test_r_and_d_that_move_have_the_gradient_of_inference(rng):
    """Differences of the forward pass itself, unclipped, see inference: not what backward gives."""
    x, mean, var = rng.standard_normal((9, 3)), np.ones(3), np.full(3, 2.0)
    rule = {"gamma": np.array([1.0, -2.0, 3.0]), "beta": np.zeros(3)}

    def forward(x):
        return batch_renorm_train(x, mean, var, **rule, **UNCLIPPED)[0]

    def backward(dy, x):
        return [
            batch_renorm_backward(dy, batch_renorm_train(x, mean, var, **rule, **UNCLIPPED)[1]).x
        ]

    def frozen(dy, x):
        return [batch_norm_infer_backward(dy, x, mean, var, **rule).x]

    assert adjoint_errors(forward, backward, [x], derivative=central_difference)[0] > 0.01
    check_backward(forward, frozen, [x], tolerance=1e-8)


def test_renorm_gradients_are_orthogonal(rng):
    """Without eps, dx is orthogonal to x_hat and sums to 0, however r and d were clipped."""
    x, dy = rng.standard_normal((2, 16, 3))
    one = np.ones(3)
    _, cache = batch_renorm_train(x, one, one, one, one, r_max=1.1, d_max=0.2, eps=0.0)
    dx = batch_renorm_backward(dy, cache).x
    np.testing.assert_allclose(dx.sum(axis=0), 0, atol=16 * 4 * 8 * U)
    np.testing.assert_allclose((dx * cache.inner.x_hat).sum(axis=0), 0, atol=16 * 4 * 8 * U)


@given(
    seed=st.integers(0, 99),
    a=st.sampled_from([0.5, 2.0, 16.0]),
    b=st.integers(-9, 9),
    bounds=st.sampled_from([UNCLIPPED, PLAIN, {"r_max": 1.2, "d_max": 0.3}]),
)
def test_renorm_does_not_see_units(seed, a, b, bounds):
    """Data, kept statistics and eps in another unit, with another zero, give the same y."""
    rng = np.random.default_rng(seed)
    x, mean, var = rng.standard_normal((9, 3)), rng.standard_normal(3), 0.1 + rng.random(3)
    rule = {"gamma": rng.standard_normal(3), "beta": rng.standard_normal(3), **bounds}
    y, _ = batch_renorm_train(x, mean, var, **rule, eps=0.1)
    moved, _ = batch_renorm_train(a * x + b, a * mean + b, a * a * var, **rule, eps=0.1 * a * a)
    # the shift leaves an error of 9 U in x and in mean, which slopes of order 10 enlarge
    np.testing.assert_allclose(moved, y, rtol=0, atol=(9 + 16) * 10 * 16 * U)


@given(seed=st.integers(0, 99), r_max=st.floats(1, 9), d_max=st.floats(0, 9))
def test_the_bounds_hold(seed, r_max, d_max):
    """r lies in [1 / r_max, r_max] and d in [-d_max, d_max], and both are read-only."""
    rng = np.random.default_rng(seed)
    x, mean, var = rng.standard_normal((4, 5)), 3 * rng.standard_normal(5), 9 * rng.random(5)
    _, cache = batch_renorm_train(x, mean, var, np.ones(5), np.ones(5), r_max=r_max, d_max=d_max)
    assert np.all((1 / r_max <= cache.r) & (cache.r <= r_max))
    assert np.all(np.abs(cache.d) <= d_max)
    assert not cache.r.flags.writeable
    assert not cache.d.flags.writeable


def test_running_statistics_follow_the_batch(rng):
    """The cache holds the moments of the batch, whatever the kept statistics are."""
    x, one = rng.standard_normal((8, 3)), np.ones(3)
    _, cache = batch_renorm_train(x, one, one, one, one, **PLAIN)
    batch = Moments.of(x, axis=0)
    for name in ("count", "mean", "m2"):
        assert getattr(cache.inner.moments, name).tolist() == getattr(batch, name).tolist()


# Laws of weight normalisation

WEIGHTS = [(shape, axis) for shape, axis in EVERY_AXIS if axis >= 0 or axis == -1]


@pytest.mark.parametrize(("shape", "channel_axis"), WEIGHTS)
def test_length_and_direction(shape, channel_axis, rng):
    """Each channel of w has the length |g| and the direction of v, turned round if g is negative."""
    v, g = rng.standard_normal(shape), rng.standard_normal(shape[channel_axis])
    w = weight_norm(v, g, channel_axis=channel_axis)
    u, length = direction_and_length(w, channel_axis=channel_axis)
    assert w.shape == u.shape == shape
    np.testing.assert_allclose(length, np.abs(g), rtol=60 * U)
    for c, sign in enumerate(np.sign(g)):
        mine, theirs = (np.take(a, c, axis=channel_axis) for a in (u, v))
        np.testing.assert_allclose(
            mine, sign * theirs / np.linalg.norm(theirs), rtol=0, atol=60 * U
        )


def test_weights_can_be_taken_over(rng):
    """v = w and g = |w| give w."""
    w = rng.standard_normal((6, 3))
    _, length = direction_and_length(w)
    np.testing.assert_allclose(weight_norm(w, length), w, rtol=4 * U)


@pytest.mark.parametrize("a", [0.5, -4.0, 2.0**30])
def test_the_length_of_v_is_of_no_account(a, rng):
    """Scaling v by a power of two turns w at most round, and divides dv by it, to the last bit."""
    v, dw = rng.standard_normal((2, 6, 3))
    g, sign = rng.standard_normal(3), np.sign(a)
    assert weight_norm(a * v, g).tobytes() == (sign * weight_norm(v, g)).tobytes()
    dv, dg = weight_norm_backward(dw, v, g)
    scaled_dv, scaled_dg = weight_norm_backward(sign * dw, a * v, g)
    assert scaled_dv.tobytes() == (dv / a).tobytes()
    assert scaled_dg.tobytes() == dg.tobytes()


@pytest.mark.parametrize(("shape", "channel_axis"), WEIGHTS)
def test_dv_is_orthogonal_and_v_grows(shape, channel_axis, rng):
    """<dv, v> = 0, so a step of gradient descent has |v - s dv|² = |v|² + s² |dv|²."""
    v, dw = rng.standard_normal((2, *shape))
    g = rng.standard_normal(shape[channel_axis])
    dv, _ = weight_norm_backward(dw, v, g, channel_axis=channel_axis)
    axis = tuple(a for a in range(v.ndim) if a != channel_axis % v.ndim)
    # at most 60 products of numbers of order 10
    np.testing.assert_allclose(np.sum(dv * v, axis=axis), 0, atol=60 * 10 * 8 * U)
    moved = v - 0.5 * dv
    after = np.sum(moved**2, axis=axis)
    expected = np.sum(v**2, axis=axis) + 0.25 * np.sum(dv**2, axis=axis)
    np.testing.assert_allclose(after, expected, rtol=60 * 8 * U)
    assert np.all(after > np.sum(v**2, axis=axis))


@pytest.mark.parametrize(("shape", "channel_axis"), WEIGHTS)
def test_weight_norm_backward_is_the_adjoint(shape, channel_axis, rng):
    """<dw, J t> = <dv, t> for v and for g, on every axis."""
    rule = {"channel_axis": channel_axis}
    arguments = [rng.standard_normal(shape), rng.standard_normal(shape[channel_axis])]
    check(
        lambda v, g: weight_norm(v, g, **rule),
        lambda dw, v, g: weight_norm_backward(dw, v, g, **rule),
        arguments,
    )


def test_weight_norm_is_batch_norm_of_white_inputs(rng):
    """For inputs of mean 0, variance 1 and no correlation, both have one output and one gradient."""
    x = np.array(list(product([1.0, -1.0], repeat=4)))
    assert (x.T @ x / len(x)).tolist() == np.eye(4).tolist()
    v, dy = rng.standard_normal((4, 3)), rng.standard_normal((16, 3))
    gamma, beta = rng.standard_normal((2, 3))
    y, cache = batch_norm_train(x @ v, gamma, beta, eps=0.0)
    dx, dgamma, _ = batch_norm_backward(dy, cache)
    dv, dg = weight_norm_backward(x.T @ dy, v, gamma)
    # sums of 16 numbers of order 10
    close = {"rtol": 0, "atol": 16 * 10 * 8 * U}
    np.testing.assert_allclose(x @ weight_norm(v, gamma) + beta, y, **close)
    np.testing.assert_allclose(dv, x.T @ dx, **close)
    np.testing.assert_allclose(dg, dgamma, **close)


def test_batch_norm_sees_the_direction_only(rng):
    """Without eps a batch norm puts out the same for weights and for their direction."""
    x, v = rng.standard_normal((16, 4)), rng.standard_normal((4, 3))
    u, _ = direction_and_length(v)
    full, direction = (batch_norm_train(x @ w, eps=0.0)[0] for w in (v, u))
    np.testing.assert_allclose(direction, full, rtol=0, atol=16 * 16 * U)


# Precision


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype, rng):
    """y and dx have the dtype of x; parameters, their gradients and weights are float64."""
    x, dy = (3 * rng.standard_normal((2, 9, 4))).astype(dtype)
    gamma, beta = one = np.ones((2, 4), dtype)
    y, caches = ghost_batch_norm_train(x, gamma, beta, size=4)
    renorm_y, cache = batch_renorm_train(x, beta, gamma, gamma, beta, **UNCLIPPED)
    gradients = ghost_batch_norm_backward(dy, caches), batch_renorm_backward(dy, cache)
    coarse = [y, renorm_y, *(g.x for g in gradients)]
    fine = [cache.r, cache.d, *(a for g in gradients for a in g[1:])]
    fine += [*direction_and_length(x), weight_norm(x, gamma), *weight_norm_backward(dy, x, one[0])]
    assert {a.dtype for a in coarse} == {np.dtype(dtype)}
    assert {a.dtype for a in fine} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_renorm_in_less_precision(dtype, rng):
    """In less precision y and dx are those in double precision, to a few of its roundings."""
    x, dy = (100 + rng.standard_normal((2, 99, 4))).astype(dtype)
    mean, var, gamma, beta = (1 + rng.random((4, 4))).astype(dtype)
    results = []
    for kind in (dtype, np.float64):
        arguments = [a.astype(kind) for a in (x, mean, var, gamma, beta)]
        y, cache = batch_renorm_train(*arguments, r_max=3, d_max=5)
        dx = batch_renorm_backward(dy.astype(kind), cache).x
        results.append([a.astype(np.float64) for a in (y, dx)])
    unit = float(ml_dtypes.finfo(dtype).eps)
    for low, high in zip(*results, strict=True):
        # a few roundings of a slope, a product and a sum, relative to the largest terms
        assert np.max(np.abs(low - high)) <= 2 * unit * np.max(np.abs(high))


def test_large_half_precision_weights_have_a_length():
    """300 and 400, whose squares float16 cannot hold, have the length 500."""
    assert direction_and_length(np.array([[300.0], [400.0]], np.float16))[1].tolist() == [500.0]


# Edges and errors


def test_one_value_per_channel():
    """Unclipped, a batch of one becomes what inference makes of it, and gets no dx."""
    kept = {"mean": [1.0], "var": [4.0], "gamma": [3.0], "beta": [1.0], "eps": 0.5}
    y, cache = batch_renorm_train([[5.0]], **kept, **UNCLIPPED)
    np.testing.assert_allclose(y, batch_norm_infer([[5.0]], **kept), rtol=8 * U)
    assert batch_renorm_backward([[7.0]], cache).x.tolist() == [[0.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("source", ["x", "dy"])
def test_what_is_not_finite_stays_in_its_channel(value, source, rng):
    """A NaN or Inf warns of nothing, and changes no bit of other channels, nor of other ghosts."""
    clean = {"x": rng.standard_normal((6, 3)), "dy": rng.standard_normal((6, 3))}
    spoilt = {name: a.copy() for name, a in clean.items()}
    spoilt[source][1, 2] = value
    spoilt[source][5, 2] = -value
    passes = [*both_passes(**clean), *both_passes(**spoilt)]
    n = len(passes) // 2
    for a, b in zip(passes[:n], passes[n:], strict=True):
        assert a[..., :2].tobytes() == b[..., :2].tobytes()
    assert not all(np.all(np.isfinite(a)) for a in passes[n:])
    for a, b in zip(passes[:2], passes[n : n + 2], strict=True):  # y and dx of the ghosts
        assert a[2:4].tobytes() == b[2:4].tobytes()


def test_an_infinite_gradient_warns_of_nothing():
    """Where an infinite dy meets d = 0, dgamma is NaN, without a warning."""
    x, one = [[1.0], [3.0]], [1.0]
    _, cache = batch_renorm_train(x, one, one, one, one, **PLAIN)
    assert np.isnan(batch_renorm_backward([[np.inf], [0.0]], cache).gamma).tolist() == [True]


def test_arguments_are_left_alone(rng):
    """No function writes to what it is given, and y can be written to."""
    arrays = rng.random((2, 6, 3)), 1 + rng.random((4, 3))
    before = [a.tobytes() for a in arrays]
    (x, dy), (mean, var, gamma, beta) = arrays
    for y in both_passes(x, dy, mean, var, gamma, beta)[::2][:2]:
        y[:] = 0.0
    weight_norm(x, gamma)[:] = 0.0
    dv, dg = weight_norm_backward(dy, x, gamma)
    dv[:], dg[:] = 0.0, 0.0
    assert [a.tobytes() for a in arrays] == before


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", None, float("nan")])
def test_a_size_that_is_none_is_refused(size):
    """The size of a ghost is an integer from 1 up."""
    message = (
        f"pass samples on axis 0 and an integer size from 1 up; got channel_axis=1, size={size!r}."
    )
    with pytest.raises(ValueError, match=whole(message)):
        ghost_batch_norm_train(np.zeros((4, 3)), size=size)
    assert len(ghost_batch_norm_train(np.zeros((4, 3)), size=np.int64(3))[1]) == 2


@pytest.mark.parametrize("channel_axis", [0, -3])
def test_channels_where_the_samples_should_be_are_refused(channel_axis):
    """Ghosts are cut along axis 0, which cannot hold the channels."""
    message = (
        "pass samples on axis 0 and an integer size from 1 up; "
        f"got channel_axis={channel_axis}, size=2."
    )
    with pytest.raises(ValueError, match=whole(message)):
        ghost_batch_norm_train(np.zeros((4, 3, 2)), size=2, channel_axis=channel_axis)


def test_no_samples_are_refused():
    """Of an empty batch there is no ghost to normalise, and no moments to correct with."""
    message = (
        "training needs at least 1 value per channel to take a mean of; "
        "got none in channels [0, 1] for x.shape=(0, 2). "
        "Leave out empty batches, or use batch_norm_infer."
    )
    with pytest.raises(ValueError, match=whole(message)):
        ghost_batch_norm_train(np.zeros((0, 2)), size=2)
    message = (
        "a variance with ddof=0 needs at least 1 value per channel; got count=[0, 0]. "
        "Pass a batch with values in it."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_renorm_train(np.zeros((0, 2)), *np.ones((4, 2)), **PLAIN)


@pytest.mark.parametrize("wrong", ["y", "both", "one", "none", "list", "mixed"])
def test_other_things_than_the_caches_are_refused(wrong):
    """Backward takes the tuple of caches, and says so when it gets something else."""
    both = y, caches = ghost_batch_norm_train(np.eye(4), size=2)
    given_, name = {
        "y": (y, "ndarray"),
        "both": (both, "tuple"),
        "one": (caches[0], "Cache"),
        "none": ((), "tuple"),
        "list": (list(caches), "list"),
        "mixed": ((caches[0], y), "tuple"),
    }[wrong]
    message = f"pass the caches that ghost_batch_norm_train returned; got {name}."
    with pytest.raises(TypeError, match=whole(message)):
        ghost_batch_norm_backward(np.eye(4), given_)


@pytest.mark.parametrize(
    ("shape", "part", "got"),
    [((4, 4), (1, 4), (0, 4)), ((6, 4), (1, 4), (2, 4)), ((5, 3), (2, 4), (2, 3))],
)
def test_another_shape_of_dy_is_refused(shape, part, got):
    """A dy with too few or too many samples, or channels, does not fit one of the ghosts."""
    message = (
        f"dy must have the shape of y, {part}; got dy.shape={got}. "
        "Pass the gradient that belongs to this forward pass."
    )
    _, caches = ghost_batch_norm_train(np.ones((5, 4)), size=2)
    with pytest.raises(ValueError, match=whole(message)):
        ghost_batch_norm_backward(np.ones(shape), caches)


@pytest.mark.parametrize(
    ("r_max", "d_max"),
    [(0.9, 0), (-1, 0), (np.nan, 0), (1, -0.1), (1, np.nan), ("3", 5), (3, None)],
)
def test_bounds_out_of_range_are_refused(r_max, d_max):
    """r_max is a number from 1 up, d_max one from 0 up."""
    message = (
        "r_max must be a number from 1 up, d_max one from 0 up; "
        f"got r_max={r_max!r}, d_max={d_max!r}. "
        "1 and 0 make it plain batch norm, np.inf clips nothing."
    )
    with pytest.raises(ValueError, match=whole(message)):
        batch_renorm_train(np.eye(3), *np.ones((4, 3)), r_max=r_max, d_max=d_max)


@pytest.mark.parametrize("name", ["mean", "var", "gamma", "beta"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (4,)])
def test_statistics_and_parameters_of_another_shape_are_refused(name, shape):
    """Nothing is broadcast: each has one value per channel."""
    kept = dict.fromkeys(("mean", "var", "gamma", "beta"), np.ones(3)) | {name: np.ones(shape)}
    message = rf"^{name} must have one value for each of the 3 channels, shape \(3,\); got "
    with pytest.raises(ValueError, match=message):
        batch_renorm_train(np.ones((2, 4, 3)), **kept, **PLAIN, channel_axis=-1)


def test_statistics_that_cannot_divide_are_refused():
    """A negative variance, a negative eps, and 0 for both, kept or of the batch, are errors."""
    x, one, zero = np.array([[1.0], [2.0]]), [1.0], [0.0]
    with pytest.raises(ValueError, match=r"^var must not be negative; got var=\[-1.0\]"):
        batch_renorm_train(x, one, [-1.0], one, one, **PLAIN)
    with pytest.raises(ValueError, match=r"^eps must be a finite number, not negative; got eps=-1"):
        batch_renorm_train(x, one, one, one, one, **PLAIN, eps=-1)
    for values, var in ((x, zero), (0 * x, one)):
        with pytest.raises(ValueError, match=r"^var \+ eps must be positive to divide by its root"):
            batch_renorm_train(values, one, var, one, one, **PLAIN, eps=0.0)


@pytest.mark.parametrize("wrong", ["y", "both", "inner"])
def test_other_things_than_the_cache_are_refused(wrong):
    """The backward pass takes what the forward pass returned second, and says so."""
    both = y, cache = batch_renorm_train(np.eye(3), *np.ones((4, 3)), **PLAIN)
    given_ = {"y": y, "both": both, "inner": cache.inner}[wrong]
    name = {"y": "ndarray", "both": "tuple", "inner": "Cache"}[wrong]
    message = f"pass the cache that batch_renorm_train returned; got {name}."
    assert isinstance(cache, RenormCache)
    with pytest.raises(TypeError, match=whole(message)):
        batch_renorm_backward(np.eye(3), given_)


@pytest.mark.parametrize("function", [direction_and_length, weight_norm, weight_norm_backward])
def test_weights_without_direction_are_refused(function):
    """A channel whose weights are all 0 has no direction, and is named."""
    v = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 1.0, -0.0]])
    arguments = {
        direction_and_length: (v,),
        weight_norm: (v, v[0]),
        weight_norm_backward: (v, v, v),
    }
    message = "v must not be 0, start from random weights; got length 0 in channels [1, 3]."
    with pytest.raises(ValueError, match=whole(message)):
        function(*arguments[function])


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 3), (3, 2), ()])
def test_another_shape_of_dw_is_refused(shape):
    """The gradient of w has the shape of v, and is not broadcast."""
    message = f"dw, the gradient of w, must have the shape of v, (2, 3); got dw.shape={shape}."
    with pytest.raises(ValueError, match=whole(message)):
        weight_norm_backward(np.ones(shape), np.ones((2, 3)), np.ones(3))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 3)])
def test_another_shape_of_g_is_refused(shape):
    """There is one length per channel, forward and backward."""
    v, g = np.ones((2, 3)), np.ones(shape)
    message = r"^g must have one value for each of the 3 channels, shape \(3,\); got g.shape="
    with pytest.raises(ValueError, match=message):
        weight_norm(v, g)
    with pytest.raises(ValueError, match=message):
        weight_norm_backward(v, v, g)


def test_a_masked_gradient_is_refused():
    """The mask of a masked array is not lost between the ghosts, but refused."""
    _, caches = ghost_batch_norm_train(np.eye(4), size=2)
    with pytest.raises(TypeError, match=r"^dy must be a plain array"):
        ghost_batch_norm_backward(np.ma.masked_equal(np.eye(4), 0.0), caches)


def test_integers_are_refused():
    """An array of integers has no dtype to come back in."""
    whole_numbers, x, one = np.ones((2, 3), int), np.eye(2, 3), np.ones(3)
    _, caches = ghost_batch_norm_train(x, size=1)
    _, cache = batch_renorm_train(x, one, one, one, one, **PLAIN)
    for call in (
        lambda: ghost_batch_norm_train(whole_numbers, size=1),
        lambda: ghost_batch_norm_backward(whole_numbers, caches),
        lambda: batch_renorm_train(whole_numbers, one, one, one, one, **PLAIN),
        lambda: batch_renorm_train(x, one, whole_numbers[0], one, one, **PLAIN),
        lambda: batch_renorm_backward(whole_numbers, cache),
        lambda: direction_and_length(whole_numbers),
        lambda: weight_norm(np.ones((2, 3)), whole_numbers[0]),
        lambda: weight_norm_backward(whole_numbers, np.ones((2, 3)), one),
    ):
        with pytest.raises(TypeError, match=r" must be an array of float16, .* got dtype int64"):
            call()


# Oracles


@pytest.mark.parametrize("size", [1, 3, 4, 12])
def test_ghosts_in_plain_numpy(size, rng):
    """Cut by a reshape, in plain NumPy, ghosts are a mean and a variance over one more axis."""
    x = rng.standard_normal((12, 3, 2))
    gamma, beta = rng.standard_normal((2, 3, 1))
    cut = x.reshape(-1, size, 3, 2)
    mean, var = (f(cut, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    expected = (gamma * (cut - mean) / np.sqrt(var + 0.1) + beta).reshape(x.shape)
    y, _ = ghost_batch_norm_train(x, gamma[:, 0], beta[:, 0], size=size, eps=0.1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=24 * 10 * U)


def both_passes(x, dy, mean=(1.0,) * 3, var=(2.0,) * 3, gamma=(3.0,) * 3, beta=(4.0,) * 3):
    """Return y and all gradients, with ghosts of 2 and with a renormalisation that clips."""
    y, caches = ghost_batch_norm_train(x, gamma, beta, size=2)
    dx, *parameters = ghost_batch_norm_backward(dy, caches)
    renorm_y, cache = batch_renorm_train(x, mean, var, gamma, beta, r_max=1.5, d_max=0.5)
    return [y, dx, renorm_y, *batch_renorm_backward(dy, cache), *parameters]


def mean_of(moments):
    """Return the mean of some moments."""
    return moments.mean


def check(forward, backward, arguments):
    """Check a backward pass with the complex step, whose error is rounding alone."""
    with np.errstate(under="ignore"):  # the square of the step is meant to vanish
        check_backward(forward, backward, arguments, derivative=complex_step, tolerance=1e-13)
