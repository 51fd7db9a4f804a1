"""PyTorch's numerical checks of derivatives, run on refbn.

The checks are `torch.autograd.gradcheck` and `gradgradcheck` of PyTorch 2.13.0
(https://github.com/pytorch/pytorch, BSD-3-Clause). They know refbn as a function with a backward
pass, a backward pass of that, and forward mode, and compare each, entry by entry of the Jacobian,
with central differences of what it is a derivative of. PyTorch's batch norm has no part in it.

The tolerance is a thousandth of PyTorch's default, which would let an error of 0.1 % pass. With
PyTorch's step of 1e-6 central differences in float64 have an error near 1e-9.
"""

import itertools

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

import refbn
from conformance.torch_function import batch_norm

pytestmark = pytest.mark.filterwarnings(  # PyTorch's own, when it first uses forward mode
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning"
)

SHAPES = ((4, 3), (2, 1), (4, 3, 2), (1, 2, 5), (3, 2, 2, 3), (2, 3, 2, 2, 2))
AFFINE = ("gamma beta", "gamma", "beta", "")
MODES = ("training", "inference")
EPS = (1e-5, 0.5)
CASES = list(itertools.product(SHAPES, AFFINE, MODES, EPS))
TOLERANCE = {"atol": 1e-8, "rtol": 1e-6}
passed = []


def function(shape, affine, mode, eps):
    """Return refbn's batch norm as a function of x, gamma and beta, and random values for them."""
    torch.manual_seed(0)
    x, gamma, beta = (
        torch.randn(size, dtype=torch.float64, requires_grad=True)
        for size in (shape, shape[1], shape[1])
    )
    mean, var = torch.randn(shape[1], dtype=torch.float64), torch.rand(shape[1]).double() + 0.5
    kept = (None, None) if mode == "training" else (mean, var)

    def forward(x, gamma, beta):
        return batch_norm(x, *kept, gamma, beta, training=mode == "training", eps=eps)

    return forward, (x, gamma if "gamma" in affine else None, beta if "beta" in affine else None)


def check(forward, inputs):
    """Check all derivatives; an error is raised where one is wrong."""
    assert gradcheck(forward, inputs, check_forward_ad=True, **TOLERANCE)
    assert gradgradcheck(forward, inputs, **TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives(case):
    """Backward pass, forward mode and double backward are the derivatives of what they belong to."""
    check(*function(*case))
    passed.append(case)


@pytest.mark.parametrize(
    "name", ["batch_norm_backward", "batch_norm_jvp", "batch_norm_double_backward"]
)
def test_the_checks_notice_a_slight_error(monkeypatch, name):
    """A derivative by x that is off by a hundredth of a per cent does not pass."""
    right = getattr(refbn, name)

    def off(*args, **kwargs):
        result = right(*args, **kwargs)
        return result._replace(x=1.0001 * result.x) if "back" in name else 1.0001 * result

    monkeypatch.setattr(refbn, name, off)
    with pytest.raises(GradcheckError, match=r"Jacobian (computed with forward mode )?mismatch"):
        check(*function((4, 3), "gamma beta", "training", 1e-5))


def test_results(record):
    """Every case has passed."""
    record(
        "torch gradcheck",
        "PYTORCH",
        suite=True,
        passed=len(passed),
        of=len(CASES),
        says="gradcheck, with forward mode, and gradgradcheck: shapes of 2 to 5 axes, with and "
        "without gamma and beta, in training and at inference, with a small and a large epsilon; "
        f"to {TOLERANCE['rtol']:g} of each derivative.",
    )
    assert passed == CASES
