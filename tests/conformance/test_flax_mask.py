"""Flax's test of a batch norm with a mask, on refbn, with Flax beside it.

The test is `NormalizationTest.test_batch_norm` in tests/linen/linen_test.py of Flax 0.12.8
(https://github.com/google/flax, Apache-2.0). Its data, its assertions and its tolerances of 1e-4
are kept, in our own words. What the mask leaves out is NaN, so a single leak spoils everything.
The tolerances are for Flax's default variance, E[x²] - E[x]² in float32, and let epsilon pass.

Beside Flax itself, in the mode that subtracts the mean first, 4 units of float32's epsilon are
enough: refbn rounds to float32 once, Flax a few times, which with so few values is 1 unit.

Left out is `test_batch_norm_complex`: refbn takes complex numbers for complex-step derivatives only,
where the variance is another.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from conformance.suite import difference
from refbn.conventions import FLAX

MASKED = {"mask": True, "no mask": False}
UNITS = 4  # of float32's epsilon
passed, off = [], []


def batch(masked):
    """Return the batch of the test, and its mask or None; what is masked out is NaN."""
    first, second, _ = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(first, (4, 3, 2))
    if not masked:
        return np.array(x), None
    mask = np.array(jax.random.randint(second, (4, 3, 1), 0, 2, jnp.int32).astype(bool))
    return np.where(mask, x, np.nan), mask


@pytest.mark.parametrize("masked", MASKED.values(), ids=MASKED)
def test_assertions_of_flax(masked):
    """Flax's assertions hold of refbn: over what counts, mean 0, variance 1, and their average."""
    x, mask = batch(masked)
    layer = FLAX.layer(2, momentum=0.9)
    y = layer(x, where=mask)
    kept = {"axis": (0, 1), "where": True if mask is None else mask}
    np.testing.assert_allclose(y.mean(**kept), [0.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(y.var(**kept), [1.0, 1.0], rtol=1e-4)
    np.testing.assert_allclose(layer.running.mean, 0.1 * x.mean(**kept), atol=1e-4)
    np.testing.assert_allclose(layer.running.var, 0.9 + 0.1 * x.var(**kept), rtol=1e-4)
    passed.append(("assertions", masked))


@pytest.mark.parametrize("masked", MASKED.values(), ids=MASKED)
def test_beside_flax(masked):
    """refbn's output and running statistics are Flax's; masked out, it is 0 and not NaN."""
    x, mask = batch(masked)
    layer = FLAX.layer(2, momentum=0.9)
    y = layer(x, where=mask)
    model = linen.BatchNorm(momentum=0.9, use_running_average=False, use_fast_variance=False)
    start = model.init(jax.random.key(1), x, mask=mask)
    theirs, state = model.apply(start, x, mask=mask, mutable=["batch_stats"])
    counts = np.broadcast_to(True if mask is None else mask, x.shape)
    assert (y[~counts] == 0).all()
    assert np.isnan(np.asarray(theirs)[~counts]).all()
    ema = state["batch_stats"]
    pairs = [(y[counts], np.asarray(theirs)[counts])]
    pairs += [(layer.running.mean, ema["mean"]), (layer.running.var, ema["var"])]
    off.append(max(difference(*pair) for pair in pairs))
    assert off[-1] <= UNITS * np.finfo(np.float32).eps
    passed.append(("beside Flax", masked))


def test_results(record):
    """Every case has passed."""
    record(
        "Flax mask test",
        "FLAX",
        suite=True,
        passed=len(passed),
        of=2 * len(MASKED),
        largest=max(off),
        says="Flax's own assertions on refbn, and refbn beside Flax, with a mask and without; "
        f"beside Flax to {UNITS} units of float32's epsilon.",
    )
    assert len(passed) == 2 * len(MASKED)
