"""Derivatives beyond those of a training step: twice, and in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen

import refbn
from conformance.compare import apart, record_same

SHAPES = ((8, 3), (4, 3, 5), (4, 3, 2, 3))


def numbers(shape, seed=0):
    """Return a batch, gamma, beta, statistics, a dy and three directions, in float64."""
    rng = np.random.default_rng(seed)
    x, dy, v = rng.normal(1, 2, shape), rng.normal(size=shape), rng.normal(size=shape)
    gamma, beta, mean, u, w = rng.normal(size=(5, 3))
    return x, gamma, beta, mean, rng.uniform(0.5, 2, 3), dy, v, u, w


def by_torch(x, gamma, beta, mean, var, dy, v, u, w, *, training):
    """Return the gradients of PyTorch, and those of a number that is made of them."""
    x, gamma, beta, dy = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta, dy))
    stored = torch.tensor(mean), torch.tensor(var)
    y = torch.nn.functional.batch_norm(x, *stored, gamma, beta, training=training)
    first = torch.autograd.grad(y, (x, gamma, beta), dy, create_graph=True)
    number = sum((torch.tensor(a) * g).sum() for a, g in zip((v, u, w), first, strict=True))
    second = torch.autograd.grad(number, (x, gamma, dy))
    return [[g.detach().numpy() for g in gradients] for gradients in (first, second)]


def by_jax(x, gamma, beta, mean, var, dy, v, u, w, *, training):
    """Return the same of Flax."""
    layer = linen.BatchNorm(use_running_average=not training, axis=1)

    def first(x, gamma, dy):
        def forward(x, gamma, beta):
            stored = {"mean": jnp.asarray(mean), "var": jnp.asarray(var)}
            params = {"scale": gamma, "bias": beta}
            given = {"params": params, "batch_stats": stored}
            return layer.apply(given, x, mutable=["batch_stats"])[0]

        return jax.vjp(forward, x, gamma, jnp.asarray(beta))[1](dy)

    def number(*inputs):
        return sum((a * g).sum() for a, g in zip((v, u, w), first(*inputs), strict=True))

    inputs = [jnp.asarray(a) for a in (x, gamma, dy)]
    return first(*inputs), jax.grad(number, (0, 1, 2))(*inputs)


def by_refbn(x, gamma, beta, mean, var, dy, v, u, w, *, training):
    """Return the same of refbn, by its formulas."""
    upstream = refbn.Gradients(v, u, w)
    if training:
        _, cache = refbn.batch_norm_train(x, gamma, beta)
        first = refbn.batch_norm_backward(dy, cache)
        second = refbn.batch_norm_double_backward(upstream, dy, cache)
    else:
        first = refbn.batch_norm_infer_backward(dy, x, mean, var, gamma, beta)
        second = refbn.batch_norm_infer_double_backward(upstream, dy, x, mean, var, gamma, beta)
    return first, (second.x, second.gamma, second.dy)


@pytest.mark.parametrize(("name", "differentiate"), [("PYTORCH", by_torch), ("FLAX", by_jax)])
def test_double_backward_and_the_gradients_in_evaluation_agree(name, differentiate, record):
    """What automatic differentiation finds, twice, is what the formulas say, in both modes."""
    far = {}
    for training in (True, False):
        for shape in SHAPES:
            given = numbers(shape)
            both = zip(by_refbn(*given, training=training),
                       differentiate(*given, training=training), strict=True)  # fmt: skip
            for order, (ours, theirs) in enumerate(both, 1):
                off = max(apart(a, b) for a, b in zip(ours, theirs, strict=True))
                far[training, order] = max(off, far.get((training, order), 0.0))
    assert far[True, 1] <= 64 * 2.0**-52
    record_same(record, "double backward in training", name, float64=far[True, 2])
    record_same(record, "gradients in evaluation", name, float64=far[False, 1])
    record_same(record, "double backward in evaluation", name, float64=far[False, 2])
