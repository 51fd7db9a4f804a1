r"""The convention of a batch norm, read off its behaviour.

Nothing is read from its source or its arguments: what is written there need not be what happens.

Epsilon. The batch \((-a, a)\) has the biased variance \(a^2\), and comes out as \(\pm a s(a)\).
With large \(a\), \(a s\) is 1 if the biased variance normalises and \(\sqrt{1/2}\) if the
unbiased one does. With \(a \to 0\) only \(\varepsilon\) is left: \(s(0)\) is
\(1/\sqrt\varepsilon\), or \(1/\varepsilon\) if it stands outside the root. Which of the two, shows
where both weigh the same, at \(\sigma = 1/s(0)\): there \(s\) has fallen to \(\sqrt{1/2}\) of
\(s(0)\) if \(\varepsilon\) stands inside the root, to one half if outside, and not at all if it is
a bound.

The average. A batch whose mean is 1, among others whose mean is 0, shows in the running mean with
its weight. The weights of the start and of three batches tell all averages apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from refbn.axes import Array
from refbn.diagnose.case import Broken, Case, Found, Tables
from refbn.diagnose.layout import Layout
from refbn.diagnose.limit import Outcome, limited
from refbn.diagnose.subject import Lacking, Target

_CLOSE = 1e-3  # float32 gives five digits here, and the alternatives are far apart
_WEIGHT = 1e-5  # the weight of a batch may be as small as 1e-4
_COUNTS = (2, 4, 6)  # so that an average over values has other weights than one over batches


def layouts_taken(target: Target) -> tuple[Layout, ...]:
    """Return the layouts in which a batch comes out in its own shape.

    Args:
        target: What an adapter has made.

    Returns:
        One layout or more, of those that may be tried.

    Raises:
        Broken: If it takes none: it raised, or gave another shape, every time.
    """
    taken, slips = [], []
    for layout in target.layouts:
        case = Case(target, layout)
        x = case.table(np.arange(18.0).reshape(6, 3) ** 2)  # three channels: no other axis has
        subject = case.begin(x)
        try:
            _either(subject)(x)
        except Exception as slip:  # noqa: BLE001 - whatever it raises, it does not take it
            kind = "" if isinstance(slip, Broken) else f"{type(slip).__name__}: "
            slips.append(f"{layout.array(x).shape}: {kind}{slip}")
        else:
            taken.append(layout)
    if not taken:
        axis = target.layouts[0].channel_axis
        raise Broken(
            f"It takes no batch with the channels along axis {axis}. It was tried with "
            + "; ".join(slips) + ". If they are elsewhere, say channel_axis.", {}, np.nan, None,
        )  # fmt: skip
    return tuple(taken)


def infer(target: Target, layouts: tuple[Layout, ...], seconds: float) -> tuple[Found, str]:
    """Find the convention of a target.

    Args:
        target: What an adapter has made.
        layouts: The layouts that it takes.
        seconds: How long each part may take.

    Returns:
        What was found, with None for what no behaviour showed; and what was printed meanwhile.
    """
    found, printed = Found(layouts=layouts), ""
    parts = {"precision": _precision, "epsilon": _epsilon, "epsilon at inference": _infer_epsilon,
             "average": _average, "stored variance": _stored_ddof}  # fmt: skip
    late = False
    for name, part in parts.items():
        case = Case(target, layouts[0], found)
        outcome = (
            Outcome(late=True)
            if late
            else limited(lambda part=part, case=case: part(case, case.found), seconds)  # type: ignore[misc]
        )
        late, printed = late or outcome.late, printed + outcome.printed
        found = outcome.value or replace(found, unread=(*found.unread, name))
    return found, printed


def _either(subject: Tables) -> Callable[[Array], Array]:
    """Return the forward pass in training, or the one at inference where there is no other."""

    def forward(x: Array) -> Array:
        try:
            return subject.train(x)
        except Lacking:
            return subject.infer(x)

    return forward


def _precision(case: Case, found: Found) -> Found:
    """Find the precision: numbers that were computed in few digits have no more."""
    x = case.table(np.arange(18.0).reshape(6, 3) ** 2)
    y = _either(case.begin(x))(x)
    fitting = [name for name in ("float16", "float32") if np.array_equal(y, y.astype(name))]
    return replace(found, precision=[*fitting, "float64"][0])


def _epsilon(case: Case, found: Found) -> Found:
    """Find epsilon and its place, and the variance that normalises."""

    def slope(a: float) -> float:
        x = case.table([[-a], [a]])
        return float(case.begin(x).train(x)[1, 0]) / a

    ddof = {1.0: 0, 2.0: 1}.get(round(1 / (slope(1e3) * 1e3) ** 2, 2))
    if ddof is None or not 0 < (steepest := slope(1e-12)) < math.inf:
        return replace(found, ddof=ddof)
    if slope(1e-14) > 10 * steepest:  # nothing bounds it
        return replace(found, ddof=ddof, eps=0.0)
    left = slope(1 / steepest / math.sqrt(1 + ddof)) / steepest
    fallen = {math.sqrt(1 / 2): "inside", 1 / 2: "outside", 1.0: "clamp"}
    places = [place for value, place in fallen.items() if abs(left - value) < _CLOSE]
    if not places:
        return replace(found, ddof=ddof)
    eps = 1 / steepest if places == ["outside"] else 1 / steepest**2
    return replace(found, ddof=ddof, place=places[0], eps=_written(eps))


def _infer_epsilon(case: Case, found: Found) -> Found:
    """Find what is added to the running variance at inference."""
    x = case.table([[0.0], [1e-6]])

    def slope(var: float) -> float:
        y = case.begin(x, var=var).infer(x)
        return float(y[1, 0] - y[0, 0]) / 1e-6

    if 0 < (steepest := slope(0.0)) < math.inf and abs(2 * slope(4.0) - 1) < 0.1:
        return replace(found, infer_eps=_written(1 / steepest**2))
    if abs(slope(1e-30) / 1e15 - 1) < _CLOSE:  # nothing bounds it
        return replace(found, infer_eps=0.0)
    return found


def _average(case: Case, found: Found) -> Found:
    """Find the weights of the start and of three batches in the running mean."""
    weights = [_weight(case, one) for one in np.eye(4)]
    old, *batches = weights
    for average, expected in {
        "cumulative": (0, 1 / 3, 1 / 3, 1 / 3),
        "pooled": (0, *np.divide(_COUNTS, sum(_COUNTS))),
    }.items():
        if np.allclose(weights, expected, atol=_WEIGHT):
            return replace(found, average=average)
    if np.allclose(batches, 0, atol=_WEIGHT):
        return replace(found, average="none")
    unit = case.unit_of(case.begin(case.table([[0.0]])).statistics()[0])
    ratio = batches[1] / batches[2] if batches[2] else math.nan
    plain = round(1 - _plain(1 - ratio), 12)
    decay = plain if abs(plain - ratio) < 64 * unit else ratio  # of rounding to what was written
    powers = np.array([decay**2, decay, 1]) * (1 - decay)
    if np.allclose(weights, [decay**3, *powers], atol=_WEIGHT):
        return replace(found, average="exponential", decay=decay)
    if np.allclose(batches, powers / (1 - decay**3), atol=_WEIGHT) and abs(old) < _WEIGHT:
        return replace(found, average="debiased exponential", decay=decay)
    return found


def _weight(case: Case, means: Array) -> float:
    """Return the running mean after three batches of the given means; the first is the start's."""
    start, *batches = means
    subject = case.begin(case.table([[0.0]]), mean=start)
    for mean, count in zip(batches, _COUNTS, strict=True):
        subject.train(case.table(mean + np.resize([-1.0, 1.0], (count, 1))))
    return float(subject.statistics()[0][0])


def _stored_ddof(case: Case, found: Found) -> Found:
    """Find the variance that is stored: what a batch of variance 9 adds to a start at 1."""
    x = case.table([[-3.0], [3.0]])
    subject = case.begin(x)
    subject.train(x)
    new = 1 - (found.decay if found.average == "exponential" and found.decay is not None else 0.0)
    batch = (float(subject.statistics()[1][0]) - (1 - new)) / new if new else math.nan
    ddofs = [ddof for ddof in (0, 1) if abs(batch - 9 / (1 - ddof / 2)) < _CLOSE * 10]
    return replace(found, stored_ddof=ddofs[0] if ddofs else None)


def _written(eps: float) -> float:
    """Return the epsilon that somebody wrote down; the one seen, if that has more digits."""
    plain = _plain(eps)
    return plain if abs(plain - eps) <= 1e-5 * eps else eps


def _plain(value: float) -> float:
    """Return the number that somebody wrote down, from one that was computed of it."""
    return float(f"{value:.3g}")
