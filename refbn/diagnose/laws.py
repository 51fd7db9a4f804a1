r"""What holds for every batch norm, whatever its convention; each law looks at one thing.

A law is a function of a case and a table. It returns nothing if the law is kept, and raises
[`Broken`][refbn.diagnose.Broken] if it is not. Its docstring is what the report says. It is tried
with tables of growing size, so the first that breaks it is the smallest.

A law that many rightly used batch norms break, because they leave the case to their user, is a
caution: the report names it, and nothing fails.

Tolerances are a multiple of the unit in the last place of the precision in which it computes, as
its outputs show it. The laws look for mistakes, which are a thousand times larger than rounding; 64
units leave room for any order of adding a few numbers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import Array
from refbn.diagnose.case import Broken, Case, Tables, per_channel
from refbn.diagnose.declared import differences
from refbn.diagnose.subject import Lacking

Rows = Sequence[Sequence[float]]
SMALL: tuple[Rows, ...] = (
    ((0,), (2,)),
    ((1,), (2,), (6,)),
    ((0, 5), (2, 1), (3, 3)),
    ((1, 10, -2), (2, 14, 0.5), (4, 11, 3), (-1, 13, -0.5)),
)
"""The batches of most laws. None has equal columns, and the first two have a column only."""

PLACES = {
    "inside": "inside the root",
    "outside": "outside the root",
    "clamp": "as a lower bound of the variance",
}
"""Where an epsilon may stand, in words."""

_UNITS = 64


@dataclass(frozen=True)
class Law:
    """What must hold.

    Attributes:
        name: Its name, words with hyphens.
        says: What must hold, a sentence.
        check: Raises if it does not hold for a case and a table.
        tables: The tables that it is tried with, from small to large.
        caution: Whether it is a caution only.
    """

    name: str
    says: str
    check: Callable[[Case, Array], None]
    tables: tuple[Rows, ...]
    caution: bool


LAWS: list[Law] = []
"""All laws, in the order in which they are tried."""


def law(
    *, tables: tuple[Rows, ...] = SMALL, caution: bool = False
) -> Callable[[Callable[[Case, Array], None]], Callable[[Case, Array], None]]:
    """Return a decorator that makes a law of a function."""

    def add(check: Callable[[Case, Array], None]) -> Callable[[Case, Array], None]:
        says = (check.__doc__ or "").partition("\n")[0]
        LAWS.append(Law(check.__name__.replace("_", "-"), says, check, tables, caution))
        return check

    return add


def expect(
    wrong: str,
    given: dict[str, Any],
    got: Array,
    want: npt.ArrayLike,
    error: float,
    due: npt.ArrayLike | None = None,
) -> None:
    """Raise Broken if what was got is farther from what is wanted than a bound.

    Where two outputs of the same batch norm are compared, neither need be right: then `due` is.
    """
    if not np.allclose(got, want, rtol=0, atol=error, equal_nan=True):
        raise Broken(wrong, given, got, want if due is None else due)


def _largest(values: npt.ArrayLike) -> float:
    """Return the largest magnitude, at least 1."""
    return float(max(1.0, np.max(np.abs(values), initial=0.0)))


def _gradient(x: Array) -> Array:
    """Return a random gradient of the output: the same in every run, and nothing like ones."""
    return np.random.default_rng([2015, *x.shape]).standard_normal(x.shape).round(1)


# In training


@law()
def shape(case: Case, x: Array) -> None:
    """The output has the shape of the batch, and is made of floating-point numbers."""
    y = case.begin(x).train(x)
    if y.dtype.kind != "f":
        raise Broken(f"The output has the dtype {y.dtype}.", {"x": x}, y, None)


@law()
def arguments(case: Case, x: Array) -> None:
    """The batch, its gradient and the parameters are left as they are."""
    tables = case.begin(x, gamma=2.0, beta=1.0)
    subject, batch, dy = tables.subject, case.layout.array(x), case.layout.array(_gradient(x))
    subject.train(batch)
    with contextlib.suppress(Lacking):
        subject.backward(dy)
        expect("It writes to dy.", {"dy": _gradient(x)}, case.layout.table(dy), _gradient(x), 0.0)
    with contextlib.suppress(Lacking):
        subject.infer(batch)
    expect("It writes to x.", {"x": x}, case.layout.table(batch), x, 0.0)
    for name in ("gamma", "beta"):
        now, before = getattr(subject.start, name), getattr(tables.start, name)
        expect(f"It writes to {name}.", {name: before}, now, before, 0.0)


@law()
def repeated(case: Case, x: Array) -> None:
    """Begun anew, the same batch gives the same output."""
    first, again = case.begin(x).train(x), case.begin(x).train(x)
    expect("The second run gives another output.", {"x": x}, again, first, 0.0)


# the last has two values along each axis of an image
@law(tables=(*SMALL[2:], tuple((k, (3 * k) % 8, (5 * k + 1) % 8) for k in range(8))))
def channels(case: Case, x: Array) -> None:
    """An output depends on every value of its channel, and on no other channel."""
    moved = x.copy()
    moved[0, 0] += 1
    y, after = case.begin(x).train(x), case.begin(x).train(moved)
    changed = np.abs(after - y) > _UNITS * case.unit
    own = x[0] == moved[0]
    want = np.broadcast_to(~own, x.shape)
    if not np.array_equal(changed, want):
        where = (
            "the output changes by this, in other channels too"
            if changed[:, own].any()
            else "the output changes by this, not all over the channel"
        )
        due = _normal(moved, case.found.eps) - _normal(x, case.found.eps)
        raise Broken(f"The first value grown by 1, {where}.", {"x": x}, after - y, due)


@law()
def training(case: Case, x: Array) -> None:
    """In training the running statistics play no part in the output."""
    y = case.begin(x).train(x)
    subject = case.begin(x, mean=5.0, var=4.0)
    with contextlib.suppress(Lacking):
        subject.infer(x)  # from which training must come back
    moved = subject.train(x)
    given = {"x": x, "running_mean": np.array(5.0), "running_var": np.array(4.0)}
    wrong, due = "Other running statistics give another output.", _normal(x, case.found.eps)
    expect(wrong, given, moved, y, _UNITS * case.unit, due)


@law()
def units(case: Case, x: Array) -> None:
    """A batch in other units gives the same output, where epsilon does not count."""
    y, larger = case.begin(x).train(1024 * x), case.begin(x).train(4096 * x)
    error = (1e-5 + _UNITS * case.unit) * float(np.max(np.abs(y)))  # what an epsilon of 1 would do
    wrong, given = "Four times as large, it gives another output.", {"x": 4096 * x}
    expect(wrong, given, larger, y, error, _normal(4096 * x))


@law()
def spread(case: Case, x: Array) -> None:
    """The mean of the squared outputs is 1: the biased variance normalises."""
    y = case.begin(x).train(1024 * x)
    error = 1e-5 + _UNITS * case.unit
    square = np.mean(np.square(y), axis=0)
    if not np.allclose(square, 1, rtol=0, atol=error):
        worst = square[np.argmax(np.abs(square - 1))]
        raise Broken(f"The mean square is {worst:.4g}.", {"x": 1024 * x}, y, _normal(1024 * x))


@law()
def centre(case: Case, x: Array) -> None:
    """The mean of the outputs of a channel is beta."""
    subject = case.begin(x, beta=3.0)
    y, beta = subject.train(x), subject.start.beta
    error = _UNITS * case.unit * _largest(x)
    expect("The mean is not beta.", {"x": x, "beta": beta}, y.mean(axis=0), beta, error)


@law(tables=(((-1,), (1,)), ((-1,), (-1,), (2,))))
def epsilon(case: Case, x: Array) -> None:
    """Epsilon is added to the variance, inside the root."""
    if case.found.eps == 0:
        raise Lacking("epsilon")
    far = case.begin(x).train(1e-12 * x)
    if not 0 < (eps := (1e-12 * x[-1, 0] / float(far[-1, 0])) ** 2) < math.inf:
        raise Lacking("epsilon that shows")
    wrong = f"It stands {PLACES.get(case.found.place or '', 'elsewhere')}."
    var = x.var(axis=0, ddof=case.found.ddof or 0)
    for ratio in (0.25, 1.0, 4.0):
        a = ratio * math.sqrt(eps) * x
        y = case.begin(x).train(a)
        want = a / np.sqrt(ratio**2 * eps * var + eps)
        expect(wrong, {"x": a}, y, want, 1e-3, _normal(a, case.found.eps or eps))


@law()
def parameters(case: Case, x: Array) -> None:
    """The output is gamma times the normalised batch, plus beta."""
    if not case.target.parameters:
        raise Lacking("gamma and no beta")
    columns = np.arange(x.shape[1])
    plain, subject = case.begin(x).train(x), case.begin(x, 2 - 3.5 * columns, 1.0 + columns)
    y, gamma, beta = subject.train(x), subject.start.gamma, subject.start.beta
    given = {"x": x, "gamma": gamma, "beta": beta}
    expect(
        "It is something else.",
        given,
        y,
        gamma * plain + beta,
        _UNITS * case.unit * _largest([gamma, beta]),
    )


# the second and the third make a variance that cancels to less than 0, in float32 and in float64
@law(
    tables=(
        ((-1,), (1,)),
        ((0,), (0,), (1,)),
        ((0,), (0,), (2,)),
        ((-1, 0), (1, 2), (-3, 1), (0, 1)),
    )
)
def offset(case: Case, x: Array) -> None:
    """A large offset of the batch changes nothing but rounding."""
    y = case.begin(x).train(x)
    large = 2.0 ** round(math.log2(4 / math.sqrt(case.unit)))  # its square leaves no digit
    moved = case.begin(x).train(x + large)
    error = 16 * case.unit * large  # x + large itself is given no better
    expect(f"With {large:.0f} added, the output is another.", {"x": x + large}, moved, y, error)


@law(tables=(((7,), (7,)), ((7, 100), (7, 100), (7, 100), (7, 100))))
def constant(case: Case, x: Array) -> None:
    """A constant channel gives beta."""
    subject = case.begin(x, beta=3.0)
    y, beta = subject.train(x), subject.start.beta
    given, error = {"x": x, "beta": beta}, _error_at_epsilon(case, x)
    expect("It gives something else.", given, y, np.broadcast_to(beta, x.shape), error)


@law(tables=(((5,),), ((5, -2, 0),)))
def one_value(case: Case, x: Array) -> None:
    """A single value per channel gives beta, or is refused; the statistics stay finite."""
    subject = case.begin(x, gamma=2.0, beta=3.0)
    y = _accepted(subject, x)
    if y is None:
        return
    gamma, beta = subject.start.gamma, subject.start.beta
    given = {"x": x, "gamma": gamma, "beta": beta}
    error = 2 * _error_at_epsilon(case, x)
    expect("It gives something else.", given, y, np.broadcast_to(beta, x.shape), error)
    with contextlib.suppress(Lacking):  # it may keep none
        statistics = np.array(subject.statistics())
        if not np.isfinite(statistics).all():
            raise Broken("Mean and variance are not finite after it.", given, statistics, None)


@law(tables=(((math.nan, 0), (1, 2), (2, 7)), ((math.inf, 0), (1, 2), (2, 7))))
def not_a_number(case: Case, x: Array) -> None:
    """NaN and infinity stay in their channel."""
    y = _accepted(case.begin(x), x)
    if y is None:
        return
    healthy = np.isfinite(x).all(axis=0)
    got, want = y[:, healthy], case.begin(x).train(np.where(healthy, x, 0.0))[:, healthy]
    expect("They reach other channels.", {"x": x}, got, want, _UNITS * case.unit * _largest(want))


def _accepted(subject: Tables, x: Array) -> Array | None:
    """Return the output in training; None for a batch that is refused, in whatever way."""
    try:
        return subject.train(x)
    except (Lacking, Broken):
        raise
    except Exception:  # noqa: BLE001
        return None


def _error_at_epsilon(case: Case, x: Array) -> float:
    """Return the rounding error of scale * x + shift where only epsilon bounds the scale."""
    return 4 * case.unit * _largest(x) / math.sqrt(case.found.eps or 1e-5)


# Backward


def _gammas(x: Array) -> Array:
    """Return a scale for each channel, of which none is 1 and the first three differ."""
    return 2.0 + np.arange(x.shape[1]) % 3


def _trained(case: Case, x: Array, **start: npt.ArrayLike) -> tuple[Tables, Array]:
    subject = case.begin(x, **start)
    return subject, subject.train(x)


@law()
def gradient_of_beta(case: Case, x: Array) -> None:
    """The gradient of beta is the sum of dy over the channel."""
    dy = _gradient(x)
    subject, _ = _trained(case, x, gamma=_gammas(x))
    _, _, dbeta = subject.backward(dy)
    if dbeta is None:
        raise Lacking("gradient of beta")
    got, error = per_channel("it", dbeta, x.shape[1]), _UNITS * case.unit * _largest(dy)
    given = {"x": x, "gamma": subject.start.gamma, "dy": dy}
    expect("It is something else.", given, got, dy.sum(axis=0), error)


@law()
def gradient_of_gamma(case: Case, x: Array) -> None:
    """The gradient of gamma is the sum of dy times the normalised batch."""
    dy = _gradient(x)
    subject, y = _trained(case, x, gamma=_gammas(x), beta=1.0)
    _, dgamma, _ = subject.backward(dy)
    if dgamma is None:
        raise Lacking("gradient of gamma")
    gamma, beta = subject.start.gamma, subject.start.beta
    got, want = per_channel("it", dgamma, x.shape[1]), (dy * (y - beta) / gamma).sum(axis=0)
    given, error = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}, _UNITS * case.unit
    expect("It is something else.", given, got, want, error * _largest(want))


@law(tables=SMALL[1:])
def gradient_along_ones(case: Case, x: Array) -> None:
    """The gradient of x sums to 0 in each channel, as an offset changes nothing."""
    dy = _gradient(x)
    subject, _ = _trained(case, x, gamma=2.0)
    dx, _, _ = subject.backward(dy)
    sums, given = dx.sum(axis=0), {"x": x, "gamma": subject.start.gamma, "dy": dy}
    if not np.abs(sums).max() <= _UNITS * case.unit * _largest(dx):
        worst = sums[np.argmax(np.abs(sums))]
        due = _dx(x, subject.start.gamma, dy, case.found.eps)
        raise Broken(f"It sums to {worst:.4g}.", given, dx, due)


@law(tables=SMALL[1:])
def gradient_along_x(case: Case, x: Array) -> None:
    """The gradient of x has no part along x, as a larger spread changes nothing."""
    dy, large = _gradient(x), 1024 * x
    subject, _ = _trained(case, large, gamma=2.0)
    dx, _, _ = subject.backward(dy)
    gamma = subject.start.gamma
    along = (dx * (large - large.mean(axis=0))).sum(axis=0)
    if not np.abs(along).max() <= (1e-4 + _UNITS * case.unit) * _largest(dy):
        worst = along[np.argmax(np.abs(along))]
        given, due = {"x": large, "gamma": gamma, "dy": dy}, _dx(large, gamma, dy, case.found.eps)
        raise Broken(f"Along x it is {worst:.4g}.", given, dx, due)


@law(tables=SMALL[1:])
def gradient(case: Case, x: Array) -> None:
    """The gradient of x is the derivative of its own output."""
    dy = _gradient(x)
    gamma = _gammas(x)
    subject, _ = _trained(case, x, gamma=gamma)
    dx, _, _ = subject.backward(dy)
    few = x[:, :3]  # each value costs two forward passes
    want, step = np.empty(few.shape), case.unit ** (1 / 3)
    for at in np.ndindex(few.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[at] += step
        behind[at] -= step
        rise = case.begin(x, gamma).train(ahead) - case.begin(x, gamma).train(behind)
        want[at] = np.vdot(dy, rise) / (ahead[at] - behind[at])
    # of central differences, near x of order 1
    error = 15 * case.unit ** (2 / 3) * _largest(dy) * _largest(gamma)
    given = {"x": x, "gamma": subject.start.gamma, "dy": dy}
    expect("It is something else.", given, dx[:, :3], want, max(error, 1e-6))


@law(tables=SMALL[1:])
def last_batch(case: Case, x: Array) -> None:
    """The gradients are those of the last batch."""
    dy = _gradient(x)
    want = _trained(case, x)[0].backward(dy)
    earlier = x[::-1] ** 2 + 1
    subject, _ = _trained(case, earlier)
    subject.backward(dy)  # which must not stay either
    subject.train(x)
    got, given = subject.backward(dy), {"an earlier x": earlier, "x": x, "dy": dy}
    for name, mine, due in zip(("dx", "dgamma", "dbeta"), got, want, strict=True):
        if mine is not None and due is not None:
            wrong, error = f"After another batch, {name} differs.", _UNITS * _largest(due)
            expect(wrong, given, mine, due, error * case.unit)


# The running statistics


@law(tables=(((-3,), (3,)), SMALL[3]))
def average(case: Case, x: Array) -> None:
    """The running mean is a weighted mean of its start and the batches."""
    subject = case.begin(x)
    subject.train(x + 1)
    mean, _ = subject.statistics()
    if "average" in case.found.unread:
        raise Lacking("average that could be read off")
    if case.found.average is None:
        raise Broken("Its weights are those of no known average.", {"x": x + 1}, mean, None)
    if case.found.average == "none":
        raise Broken("It stays where it began.", {"x": x + 1}, mean, None)
    kept = {"exponential": case.found.decay}.get(case.found.average) or 0.0
    want, error = (1 - kept) * (x + 1).mean(axis=0), _UNITS * case.unit_of(mean) * _largest(x)
    expect("It is that of other values.", {"x": x + 1}, mean, want, error)


@law(tables=(((-3,), (3,)),))
def convention(case: Case, x: Array) -> None:
    """Epsilon, average and stored variance are those of the framework that was named."""
    if case.like is None:
        raise Lacking("named framework to be like")
    slips = differences(case.found, case.like, case.layout.rank)
    if not slips and case.found.stored_ddof is None:
        raise Lacking("running statistics to compare with those of a framework")
    if slips:
        wrong = "; ".join(_differs(case.like.name, *slip) for slip in slips.items())
        raise Broken(f"{wrong[0].upper()}{wrong[1:]}.", {"x": x}, _statistics(case, x), None)


def _statistics(case: Case, x: Array) -> Array:
    """Return running mean and variance after a batch; nothing where there are none."""
    subject = case.begin(x)
    try:
        subject.train(x)
        return np.array(subject.statistics())
    except Lacking:
        return np.array([])


def _differs(framework: str, what: str, values: tuple[Any, Any]) -> str:
    """Return in what a convention differs from that of a framework."""
    names = {"ddof": "the variance that normalises", "stored_ddof": "the stored variance"}
    if what in names:
        got, due = (("biased", "unbiased")[ddof] for ddof in values)
        return f"{names[what]} is {got}, {framework} has {due}"
    if what == "place":
        return f"eps stands {PLACES[values[0]]}, {framework} has it {PLACES[values[1]]}"
    return f"{what} is {values[0]}, {framework} has {values[1]}"


@law(tables=(((-3,), (3,)),))
def memory(case: Case, x: Array) -> None:
    """The running average weighs the old value more than the new one."""
    subject = case.begin(x)
    subject.train(x + 1)
    mean, _ = subject.statistics()
    if case.found.average == "exponential" and (case.found.decay or 0) < 1 / 2:
        decay = case.found.decay or 0
        raise Broken(
            f"It weighs the old value {decay:g}, the new one {1 - decay:g}.",
            {"x": x + 1, "running_mean": np.array(0.0)},
            mean,
            np.full(mean.shape, decay),
        )


@law(tables=(((-3,), (3,)), ((1,), (2,), (6,)), SMALL[3]))
def stored_variance(case: Case, x: Array) -> None:
    """What is stored is the variance of the batch, biased or unbiased."""
    subject = case.begin(x, var=4.0)
    subject.train(x)
    _, var = subject.statistics()
    kept = {"exponential": case.found.decay, "none": 1.0}.get(case.found.average or "", 0.0)
    if kept is None or case.found.average is None:
        raise Lacking("average that is known")
    ddofs = (0, 1) if case.found.stored_ddof is None else (case.found.stored_ddof,)
    wants = [kept * 4 + (1 - kept) * x.var(axis=0, ddof=ddof) for ddof in ddofs]
    error = _UNITS * case.unit_of(var) * 9
    if not any(np.allclose(var, want, rtol=0, atol=error) for want in wants):
        due = " or ".join(f"{want[0]:.4g}" for want in wants)
        wrong, given = f"It is neither: {due} is due.", {"x": x, "running_var": np.array(4.0)}
        raise Broken(wrong, given, var, wants[-1])


# Inference


@law()
def alone(case: Case, x: Array) -> None:
    """At inference the output of a value does not depend on the others."""
    together = case.begin(x, mean=1.0, var=4.0).infer(x)
    first = case.begin(x, mean=1.0, var=4.0).infer(x[:1])
    given = {"x": x, "running_mean": np.array(1.0), "running_var": np.array(4.0)}
    wrong, error = "Alone, the first row gives something else.", _UNITS * case.unit * _largest(x)
    due = (x[:1] - 1) / math.sqrt(4 + (case.found.infer_eps or 0.0))
    expect(wrong, given, first, together[:1], error, due)


@law()
def inference(case: Case, x: Array) -> None:
    """At inference the running statistics normalise."""
    columns = np.arange(x.shape[1])
    subject = case.begin(x, 2 - 3.5 * columns, 1.0 + columns, 1.0 - columns, 4.0 + columns)
    gamma, beta, mean, var = subject.start
    y = subject.infer(x)
    given = {"x": x, "gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
    eps = case.found.infer_eps or 0.0
    want = gamma * (x - mean) / np.sqrt(var + eps) + beta
    expect(
        "The output is that of other numbers.",
        given,
        y,
        want,
        1e-5 + _UNITS * case.unit * _largest(want),
    )


@law()
def after_training(case: Case, x: Array) -> None:
    """Inference uses the statistics that training has moved."""
    subject, _ = _trained(case, x)
    mean, var = subject.statistics()
    want = (x - mean) / np.sqrt(var + (case.found.infer_eps or 0.0))
    y = subject.infer(x)
    expect(
        "It uses other statistics than it has.",
        {"x": x},
        y,
        want,
        1e-4 + _UNITS * case.unit * _largest(want),
    )


@law(tables=(((0,), (1,)),))
def same_epsilon(case: Case, x: Array) -> None:
    """Training and inference add the same epsilon."""
    small = 1e-6 * x
    y = case.begin(x, var=0.0).infer(small)
    trained, inferred = case.found.eps, case.found.infer_eps
    if trained is None or inferred is None:
        raise Lacking("epsilon that shows")
    if abs(inferred - trained) > 0.02 * max(trained, inferred) and case.found.place != "outside":
        raise Broken(
            f"Training adds {trained:g}, inference {inferred:g}.",
            {"x": small, "running_mean": np.array(0.0), "running_var": np.array(0.0)},
            y,
            small / math.sqrt(trained),
        )


@law()
def inference_keeps(case: Case, x: Array) -> None:
    """Inference leaves the running statistics as they are."""
    subject = case.begin(x)
    before = [value.copy() for value in subject.statistics()]
    subject.infer(x)
    for name, was, now in zip(("mean", "variance"), before, subject.statistics(), strict=True):
        expect(f"It moves the running {name}.", {"x": x}, now, was, 0.0)


@law()
def folding(case: Case, x: Array) -> None:
    """Folded into a scale and a shift, inference gives the same output."""
    subject = case.begin(x, gamma=2.0, beta=3.0, mean=1.0, var=1e-4)
    scale, shift = subject.subject.folded()
    y = subject.infer(x)
    given = {"x": x} | subject.start._asdict()
    got = np.ravel(scale) * x + np.ravel(shift)
    expect("The folded line gives another output.", given, got, y, _UNITS * case.unit * _largest(y))


# Masks, workers, and batches that are none


@law(tables=(((1,), (2,), (6,), (9,)), ((1, 10), (2, 14), (4, 11), (9, 9))))
def mask(case: Case, x: Array) -> None:
    """What is masked counts nowhere: the rest comes out as if it were alone."""
    where = np.ones(x.shape, bool)
    where[-1] = False
    y = case.begin(x).train_masked(x, where)
    want = case.begin(x).train(x[:-1])
    given = {"x": x, "where": where}
    expect(
        "What is masked counts somewhere.",
        given,
        y[:-1],
        want,
        1e-6 + _UNITS * case.unit * _largest(want),
    )


@law(tables=(((0,), (2,), (7,)), ((1, 10), (2, 14), (4, 11), (-1, 13), (3, 3), (0, 1))))
def workers(case: Case, x: Array) -> None:
    """Workers with unequal batches normalise as one worker does that has them all."""
    cut = max(1, len(x) // 3)
    outputs = case.begin(x).train_on_workers([x[:cut], x[cut:]])
    y = np.concatenate(outputs)
    want = case.begin(x).train(x)
    given = {"of the first worker": x[:cut], "of the second": x[cut:]}
    expect(
        "One worker with all gives another output.",
        given,
        y,
        want,
        _UNITS * case.unit * _largest(want),
    )


@law(tables=(((-300,), (300,)), ((-300, 10), (300, 14), (200, 11), (-100, 13))), caution=True)
def half_precision(case: Case, x: Array) -> None:
    """A float16 batch is normalised with statistics that do not overflow."""
    half = x.astype(np.float16)
    try:
        y = case.begin(x).train(half)
    except (TypeError, ValueError):
        raise Lacking("support for float16") from None
    error = 4 * float(np.finfo(np.float16).eps)  # float16 cannot say it better
    expect(
        "The statistics overflow.",
        {"x": half},
        y.astype(np.float64),
        _normal(x, case.found.eps),
        error,
    )


@law(tables=(((math.inf,), (1,), (2,)), ((math.nan,), (1,), (2,))), caution=True)
def one_bad_batch(case: Case, x: Array) -> None:
    """A batch that is not finite does not reach the running statistics."""
    subject = case.begin(x)
    _accepted(subject, x)
    mean, var = subject.statistics()
    if not np.isfinite([mean, var]).all():
        wrong, start = "Mean and variance never recover.", subject.start
        raise Broken(wrong, {"x": x}, np.array([mean, var]), np.array([start.mean, start.var]))


@law(tables=(((0,), (1,)),), caution=True)
def empty_batch(case: Case, x: Array) -> None:
    """An empty batch leaves the running statistics as they are, or is refused."""
    subject = case.begin(x)
    _accepted(subject, x[:0])
    start = np.array([subject.start.mean, subject.start.var])
    expect("Mean and variance are moved.", {"x": x[:0]}, np.array(subject.statistics()), start, 0.0)


def _normal(x: Array, eps: float | None = None) -> Array:
    """Return a batch normalised, without epsilon if none is given."""
    return np.asarray((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + (eps or 0.0)))


def _dx(x: Array, gamma: Array, dy: Array, eps: float | None) -> Array:
    """Return the gradient of x."""
    x_hat = _normal(x, eps)
    inv_std = 1 / np.sqrt(x.var(axis=0) + (eps or 0.0))
    return np.asarray(gamma * inv_std * (dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0)))
