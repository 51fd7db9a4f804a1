"""The samples that PyTorch tests its own batch norm with, on refbn beside PyTorch.

The samples are those of `torch.testing._internal.common_methods_invocations` of PyTorch 2.13.0
(https://github.com/pytorch/pytorch, BSD-3-Clause). They are made there; nothing is copied. Of the
operators with a batch norm one is left out, "nn.functional.batch_norm without_cudnn": it is the
first again, with the same samples, for CUDA only.

Compared are the output, the running statistics, the statistics that the native operators save for
their backward pass, and all gradients, in every dtype that refbn and PyTorch share. The tolerance
is in units of the dtype's epsilon, relative to the largest value of an array. In float64 and
float32 PyTorch sums in that precision; with two samples dx is a difference of nearly equal numbers
and loses a digit, 13 units at most. In float16 and bfloat16 both sides compute in a better
precision and round once or twice: 2.4 units at most.
"""

from functools import cache

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import refbn
from conformance.suite import difference
from conformance.torch_function import batch_norm, to_numpy

SAMPLES = {  # how many PyTorch has for each operator
    "nn.functional.batch_norm": 12,
    "native_batch_norm": 10,
    "_native_batch_norm_legit": 10,
    "_batch_norm_with_update": 9,
}
EMPTY = (3, 4)  # of the first operator; the others leave them out
UNITS = {torch.float64: 32, torch.float32: 32, torch.float16: 4, torch.bfloat16: 4}
FULL = [
    (name, dtype, i)
    for name, number in SAMPLES.items()
    for dtype in UNITS
    for i in range(number)
    if (name, i) not in {("nn.functional.batch_norm", i) for i in EMPTY}
]
WITHOUT_RUNNING = {"running_mean": None, "running_var": None}
passed = []


@cache
def operator(name):
    """Return PyTorch's description of an operator."""
    (found,) = [op for op in op_db if op.name == name and not op.variant_test_name]
    return found


def samples(name, dtype):
    """Return the samples of an operator, equal at every call and never the same tensors."""
    torch.manual_seed(0)
    return list(operator(name).sample_inputs("cpu", dtype, requires_grad=True))


def arguments(name, sample):
    """Return the arguments of a sample by the names that `torch.nn.functional.batch_norm` has."""
    names = ["weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"]
    if name == "nn.functional.batch_norm":
        names = ["running_mean", "running_var", "weight", "bias"]
    elif name == "_batch_norm_with_update":
        names.remove("training")
    elif len(sample.args) == 5:  # without running statistics
        names = names[:2] + names[4:]
    defaults = {"training": name == "_batch_norm_with_update", "momentum": 0.1, "eps": 1e-5}
    given = dict(zip(names, sample.args, strict=True)) | sample.kwargs
    return {"x": sample.input} | WITHOUT_RUNNING | defaults | given


def running(given):
    """Return the running statistics, where there are any."""
    return [given[k] for k in ("running_mean", "running_var") if given[k] is not None]


def gradients(y, given):
    """Return the gradients of all inputs for a random gradient of the output."""
    torch.manual_seed(1)
    inputs = [given[k] for k in ("x", "weight", "bias") if given[k] is not None]
    return torch.autograd.grad(y, inputs, torch.randn_like(y))


def saved_by_refbn(given):
    """Return the mean and the inverse standard deviation that the backward pass needs."""
    _, cache = refbn.batch_norm_train(to_numpy(given["x"]), eps=given["eps"])
    return torch.tensor(cache.moments.mean), torch.tensor(cache.inv_std)


@pytest.mark.parametrize(("name", "dtype", "i"), FULL)
def test_sample(name, dtype, i):
    """refbn computes what PyTorch does: output, statistics and gradients."""
    sample = samples(name, dtype)[i]
    theirs, ours = arguments(name, sample), arguments(name, samples(name, dtype)[i])
    if ours["training"] and ours["momentum"] < 0:
        with pytest.raises(ValueError, match="momentum must be a number from 0 to 1 or None"):
            batch_norm(**ours)
        ours |= WITHOUT_RUNNING  # so that the rest can be compared
        theirs |= WITHOUT_RUNNING
    y = batch_norm(**ours)
    result = operator(name).op(sample.input, *sample.args, **sample.kwargs)
    theirs_y, *saved = [result] if torch.is_tensor(result) else result
    pairs = [
        (y, theirs_y),
        *zip(running(ours), running(theirs), strict=True),
        *zip(gradients(y, ours), gradients(theirs_y, theirs), strict=True),
        *zip(saved_by_refbn(ours), saved if ours["training"] else [], strict=False),
    ]
    off = max(difference(*(v.detach().double() for v in pair)) for pair in pairs)
    assert off <= UNITS[dtype] * torch.finfo(dtype).eps
    passed.append((name, dtype, i))


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize("i", EMPTY)
def test_empty_sample(dtype, i):
    """An empty batch of one axis has no channels: refbn refuses it, PyTorch returns it."""
    name = "nn.functional.batch_norm"
    sample = samples(name, dtype)[i]
    with pytest.raises(ValueError, match="x must have at least 2 axes, samples and channels"):
        batch_norm(**arguments(name, sample))
    assert operator(name).op(sample.input, *sample.args, **sample.kwargs).shape == (0,)
    passed.append((name, dtype, i))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_all_there_are(name):
    """PyTorch has so many samples, in no dtype but these."""
    assert set(operator(name).dtypes) == set(UNITS)
    assert [len(samples(name, dtype)) for dtype in UNITS] == [SAMPLES[name]] * len(UNITS)


def test_results(record):
    """Every sample has passed, in every dtype."""
    of = sum(SAMPLES.values()) * len(UNITS)
    record(
        "PyTorch OpInfo samples",
        "PYTORCH",
        suite=True,
        passed=len(set(passed)),
        of=of,
        says=f"In {', '.join(str(dtype).removeprefix('torch.') for dtype in UNITS)}, to "
        f"{', '.join(map(str, UNITS.values()))} units of the dtype's epsilon. A momentum of -1, "
        "which PyTorch takes, refbn refuses; there the running statistics are not compared. "
        "Empty batches without channels refbn refuses too.",
    )
    assert len(set(passed)) == len(passed) == of
