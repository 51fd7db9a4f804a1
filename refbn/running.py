r"""What inference normalises with: statistics gathered over many batches.

A running statistic is not the [`Moments`][refbn.Moments] of anything. An exponential average has
no count, so it cannot be merged with another; that is why it has a type of its own.

The rules that update it are functions `(running, moments) -> running`. They are given a value and
return a new one, so an update that fails leaves nothing half done.

No rule can give the statistics of all values as one heap: a running statistic has forgotten how
many values it was made of. Merged moments have not. So
[`pooled_statistics`][refbn.pooled_statistics] and
[`population_statistics`][refbn.population_statistics] are no rules. They go once through all
batches of a model that no longer changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, propagate_silently, reduced_axes
from refbn.moments import Moments


@dataclass(frozen=True, slots=True, eq=False)
class RunningStatistics:
    r"""Mean and variance for inference, and how many batches went into them.

    Attributes:
        mean: Running mean of each channel, shape `(C,)`, float64, finite, read-only.
        var: Running variance of each channel, shape `(C,)`, float64, finite, not negative,
            read-only.
        num_batches: Number of updates so far.

    Raises:
        TypeError: If a value is complex.
        ValueError: If the shapes differ, the number of batches is none, a value is not finite or a
            variance negative. One bad batch would otherwise spoil every later average: no update
            ever gets rid of a NaN.

    Examples:
        >>> RunningStatistics.initial(2)
        RunningStatistics(mean=array([0., 0.]), var=array([1., 1.]), num_batches=0)
    """

    mean: Array
    var: Array
    num_batches: int = 0

    def __post_init__(self) -> None:
        """Keep read-only copies, and refuse what would poison every later update."""
        for name in ("mean", "var"):
            value = np.asarray(getattr(self, name))
            if value.dtype.kind == "c":
                raise TypeError(
                    f"running statistics must be real; got {name} of dtype {value.dtype}. "
                    "Complex numbers are for complex-step derivatives of the pure functions only."
                )
            copy = np.array(value, dtype=np.float64)
            copy.flags.writeable = False
            object.__setattr__(self, name, copy)
        if self.mean.ndim != 1 or self.mean.shape != self.var.shape:
            raise ValueError(
                "mean and var must have one value per channel, the same shape (C,); "
                f"got mean.shape={self.mean.shape}, var.shape={self.var.shape}. "
                "Give two one-dimensional arrays of equal length."
            )
        if not isinstance(self.num_batches, Integral) or self.num_batches < 0:
            raise ValueError(
                "num_batches must be an integer that is not negative; "
                f"got num_batches={self.num_batches!r}. It counts the updates so far."
            )
        bad = ~(np.isfinite(self.mean) & np.isfinite(self.var) & (self.var >= 0))
        if bad.any():
            raise ValueError(
                "running statistics must be finite and variances not negative; "
                f"got mean={self.mean[bad].tolist()}, var={self.var[bad].tolist()} "
                f"in channels {np.flatnonzero(bad).tolist()}. Nothing was stored. "
                "Look for NaN, Inf or overflow in what they were made of."
            )

    @classmethod
    def initial(cls, channels: int) -> RunningStatistics:
        """Return the statistics before the first batch: mean 0 and variance 1.

        Args:
            channels: Number of channels `C`.

        Returns:
            Statistics that leave the input as it is, up to `eps`.
        """
        return cls(np.zeros(channels), np.ones(channels))


def exponential_average(
    running: RunningStatistics,
    moments: Moments,
    *,
    decay: float = 0.9,
    ddof: int = 1,
    **unknown: Any,
) -> RunningStatistics:
    r"""Move a little from the old statistics towards those of a new batch.

    $$\text{new} = \text{decay} \cdot \text{old} + (1 - \text{decay}) \cdot \text{batch}$$

    After \(t\) updates the start (mean 0, variance 1) still has the weight
    \(\text{decay}^t\): with `decay=0.9` that is below 1 % from the 44th update on.
    [`debiased_exponential_average`][refbn.debiased_exponential_average] divides the start out.

    Args:
        running: Statistics so far.
        moments: Moments of a batch, each field of shape `(C,)`.
        decay: Weight of the *old* value, from 0 to 1. PyTorch calls `1 - decay` its momentum,
            Keras calls `decay` its momentum.
        ddof: 1 stores the unbiased variance of the batch, divided by \(n - 1\), as the paper and
            PyTorch do; 0 the biased one, as Keras, Flax and ONNX do.
        **unknown: Nothing else; `momentum` is refused with the translation.

    Returns:
        New statistics; the old ones are unchanged.

    Raises:
        TypeError: If `momentum` or another unknown name is passed.
        ValueError: If `decay` is not from 0 to 1, a channel has not more than `ddof` values, the
            numbers of channels differ, or the result is not finite.

    Examples:
        >>> moments = Moments.of([[1.0], [3.0]], axis=0)
        >>> exponential_average(RunningStatistics.initial(1), moments, decay=0.5)
        RunningStatistics(mean=array([1.]), var=array([1.5]), num_batches=1)
    """
    _refuse("exponential_average", unknown)
    _check_decay(decay)
    return _blend(running, moments, decay, ddof)


def debiased_exponential_average(
    running: RunningStatistics,
    moments: Moments,
    *,
    decay: float = 0.9,
    ddof: int = 1,
    **unknown: Any,
) -> RunningStatistics:
    r"""Average exponentially without a trace of the start, by the correction known from Adam.

    $$\text{new} = \text{old} + w_t \, (\text{batch} - \text{old}), \qquad
    w_t = \frac{1 - \text{decay}}{1 - \text{decay}^t}, \qquad t = 1, 2, \dots$$

    Adam starts at zero, averages exponentially and divides by \(1 - \text{decay}^t\), the weight
    that \(t\) batches have together. This is the same average, kept divided: what is stored is
    what inference may use, and no second accumulator is needed. The correction is right for a
    start at zero only; dividing an average that began with variance 1 makes it far too large.

    The first batch replaces the start completely. With `decay=1` the formula is 0/0; its limit
    \(w_t = 1/t\) is taken, which is [`cumulative_average`][refbn.cumulative_average].

    Args:
        running: Statistics so far. Their `num_batches` is \(t - 1\); where it is 0 their values do
            not matter.
        moments: Moments of a batch, each field of shape `(C,)`.
        decay: Weight of the *old* value once the start is long ago, from 0 to 1.
        ddof: 1 stores the unbiased variance of the batch, 0 the biased one.
        **unknown: Nothing else; `momentum` is refused with the translation.

    Returns:
        New statistics; the old ones are unchanged.

    Raises:
        TypeError: If `momentum` or another unknown name is passed.
        ValueError: If `decay` is not from 0 to 1, a channel has not more than `ddof` values, the
            numbers of channels differ, or the result is not finite.

    Examples:
        Weights 1, then 1/3 and 2/3:

        >>> first, second = (Moments.of([[v], [v + 2.0]], axis=0) for v in (0.0, 9.0))
        >>> once = debiased_exponential_average(RunningStatistics.initial(1), first, decay=0.5)
        >>> once
        RunningStatistics(mean=array([1.]), var=array([2.]), num_batches=1)
        >>> debiased_exponential_average(once, second, decay=0.5)
        RunningStatistics(mean=array([7.]), var=array([2.]), num_batches=2)

    References:
        Kingma and Ba (2015), Adam, section 3: initialization bias correction.
    """
    _refuse("debiased_exponential_average", unknown)
    _check_decay(decay)
    t = running.num_batches + 1
    new = 1.0 / t if decay == 1 else (1.0 - decay) / (1.0 - float(decay) ** t)
    return _blend(running, moments, 1.0 - new, ddof)


def cumulative_average(
    running: RunningStatistics, moments: Moments, *, ddof: int = 1, **unknown: Any
) -> RunningStatistics:
    r"""Average the statistics of all batches so far with equal weight.

    $$\text{new} = \text{old} + \frac{\text{batch} - \text{old}}{t}, \qquad t = 1, 2, \dots$$

    The first batch replaces the start completely. Every batch counts the same, so the result is
    for a model that no longer changes. The variance *between* the batches is not in it; for that
    see [`pooled_statistics`][refbn.pooled_statistics].

    Args:
        running: Statistics so far.
        moments: Moments of a batch, each field of shape `(C,)`.
        ddof: 1 averages unbiased variances of the batches, 0 biased ones.
        **unknown: Nothing else; `momentum` is refused with the translation.

    Returns:
        New statistics; the old ones are unchanged.

    Raises:
        TypeError: If `momentum` or another unknown name is passed.
        ValueError: If a channel has not more than `ddof` values, the numbers of channels differ, or
            the result is not finite.

    Examples:
        >>> first, second = (Moments.of([[v], [v + 2.0]], axis=0) for v in (0.0, 10.0))
        >>> once = cumulative_average(RunningStatistics.initial(1), first)
        >>> cumulative_average(once, second)
        RunningStatistics(mean=array([6.]), var=array([2.]), num_batches=2)

    References:
        Ioffe and Szegedy (2015), section 3.1: the average over many batches of the unbiased
        variance.
    """
    _refuse("cumulative_average", unknown)
    t = running.num_batches + 1
    return _blend(running, moments, 1.0 - 1.0 / t, ddof)


def pooled_statistics(moments: Iterable[Moments], *, ddof: int = 1) -> RunningStatistics:
    r"""Merge the moments of all batches: the statistics of all their values as one heap.

    $$\bar{x} = \frac{1}{n} \sum_k n_k \bar{x}_k, \qquad
    M_2 = \sum_k M_{2,k} + \sum_k n_k (\bar{x}_k - \bar{x})^2, \qquad n = \sum_k n_k$$

    The second sum is the variance between the batches, which every average of variances drops.
    It is all there is to find where the batches are sorted, one class each. Batches may differ in
    size; each *value* counts the same. The "pooled variance" that textbooks estimate from groups
    is another thing: it leaves the second sum out.

    Args:
        moments: Moments of one batch after the other, each field of shape `(C,)`. Only one is
            kept at a time.
        ddof: 1 divides by \(n - 1\), an unbiased estimate; 0 by \(n\), the variance of these very
            values. \(n\) is the number of all values, so there is hardly a difference.

    Returns:
        Mean and variance of all values, and how many batches there were.

    Raises:
        TypeError: If something is not [`Moments`][refbn.Moments], or complex.
        ValueError: If there are no batches, the numbers of channels differ, a value is not finite,
            a channel has not more than `ddof` values in all, or `ddof` is neither 0 nor 1. An
            error on the way carries a note with the number of the batch.

    Examples:
        The batches 0, 2 and 10, 12 both have the variance 1; their four values have 26:

        >>> parts = [Moments.of([[v], [v + 2.0]], axis=0) for v in (0.0, 10.0)]
        >>> pooled_statistics(parts, ddof=0)
        RunningStatistics(mean=array([6.]), var=array([26.]), num_batches=2)

    References:
        Chan, Golub and LeVeque (1979), equation 2.1.
    """
    Moments(*np.full((3, 1), 2.0)).var(ddof)  # a ddof that cannot be fails before a long run
    total, number = Moments.empty(), 0
    try:
        for part in moments:
            total = _joined(total, part)
            number += 1
    except Exception as error:
        error.add_note(f"It was batch {number}, counted from 0. No statistics were made.")
        raise
    if number == 0:
        raise ValueError(
            "statistics need at least 1 batch; got none. "
            "An iterator that was used up before is empty: make a new one."
        )
    return RunningStatistics(total.mean, total.var(ddof), number)


def population_statistics(
    batches: Iterable[npt.ArrayLike],
    *,
    channel_axis: int = 1,
    ddof: int = 1,
    progress: bool = False,
) -> RunningStatistics:
    r"""Go once through all batches and return the statistics of all their values, to recalibrate.

    This is [`pooled_statistics`][refbn.pooled_statistics] of the batches' moments. Running averages
    lag behind a model that changes, and describe other data than it will meet. Stop training, call
    this over what the layer is given, and set `layer.running` to the result: "precise" statistics.

    A layer *inside* a network is given what the layers before it make of a batch. So run the
    network, in training mode, and after each batch collect the `moments` of every
    [`BatchNorm`][refbn.BatchNorm] in a list of its own; then set each layer's `running` to
    [`pooled_statistics`][refbn.pooled_statistics] of its list. The same way is open to batches
    with masks: `Moments.of` takes them.

    Args:
        batches: Arrays of shape `(N, C)` to `(N, C, *spatial)`, floating; `N` may differ. A
            generator is read once, one batch at a time, so the data need not fit in memory.
        channel_axis: The axis of each batch that holds the channels.
        ddof: 1 divides by \(n - 1\), 0 by \(n\), the number of all values of a channel.
        progress: Whether to show a progress bar on stderr, which needs the package tqdm.

    Returns:
        Mean and variance of all values, and how many batches there were.

    Raises:
        ImportError: If a progress bar is wanted and tqdm is not installed.
        TypeError: If a batch is not floating and real, or the batches are one Dask array, for
            which there is [`chunked_population_statistics`][refbn.chunked_population_statistics].
        ValueError: If there are no batches, a batch has too few axes or other channels than the
            first, a value is not finite, a channel has not more than `ddof` values in all, or
            `ddof` is neither 0 nor 1. An error on the way carries a note with the number of the
            batch.

    Examples:
        >>> population_statistics([np.array([[0.0], [2.0]]), np.array([[4.0]])], ddof=0)
        RunningStatistics(mean=array([2.]), var=array([2.66666667]), num_batches=2)

    References:
        Ioffe and Szegedy (2015), section 3.1: population statistics instead of those of a batch.
        Wu and Johnson (2021): statistics aggregated over a fixed model.
    """
    if hasattr(batches, "__dask_graph__"):
        raise TypeError(
            "population_statistics() takes batches, one after the other, and a Dask array would "
            f"be cut into its samples; got {type(batches).__module__}.{type(batches).__name__}. "
            "Pass it to chunked_population_statistics(), which takes it whole."
        )
    if progress:
        batches = _with_progress(batches)
    return pooled_statistics(
        (Moments.of(x, reduced_axes(np.shape(x), channel_axis)) for x in batches), ddof=ddof
    )


def _check_decay(decay: float) -> None:
    """Raise a ValueError if a decay is not a weight."""
    if not (isinstance(decay, Real) and 0 <= decay <= 1):
        raise ValueError(
            f"decay must lie between 0 and 1, the weight of the old value; got decay={decay!r}. "
            "The usual value is 0.9."
        )


def _refuse(function: str, unknown: dict[str, Any]) -> None:
    """Raise a TypeError for unknown keywords, with the translation where the word is `momentum`."""
    if "momentum" in unknown:
        momentum = unknown["momentum"]
        raise TypeError(
            "an exponential average takes decay, the weight of the old value, not momentum, which "
            f"means opposite things in different frameworks; got momentum={momentum!r}. From "
            f"PyTorch pass decay=1-{momentum!r}, from Keras, Flax or ONNX decay={momentum!r}; "
            "cumulative_average() has neither."
        )
    if unknown:
        raise TypeError(
            f"{function}() got unexpected keyword arguments {sorted(unknown)}. Look for a slip in "
            "their spelling; BatchNorm passes on here what is not one of its own, which are eps, "
            "channel_axis, gamma, beta and update. For a framework's words see refbn.conventions."
        )


@propagate_silently  # what is not finite is refused with a message of its own
def _blend(
    running: RunningStatistics, moments: Moments, decay: float, ddof: int
) -> RunningStatistics:
    """Return decay * old + (1 - decay) * batch for both statistics."""
    _check_channels(moments, running.mean.shape)
    mean = decay * running.mean + (1.0 - decay) * moments.mean
    var = decay * running.var + (1.0 - decay) * moments.var(ddof)
    return RunningStatistics(mean, var, running.num_batches + 1)


def _check_channels(moments: Moments, shape: tuple[int, ...]) -> None:
    """Raise a ValueError if moments are of other channels, which might broadcast."""
    if moments.mean.shape != shape:
        raise ValueError(
            f"the moments must have one value per channel, shape {shape}; "
            f"got moments.mean.shape={moments.mean.shape}. "
            "Take them over all axes but that of the channels."
        )


def _joined(total: Moments, part: Moments) -> Moments:
    """Return both together, or refuse what would spoil the total while its batch is known."""
    if not isinstance(part, Moments):
        raise TypeError(
            f"pooled_statistics() takes Moments, one for each batch; got {type(part).__name__}. "
            "population_statistics() takes the batches themselves."
        )
    _check_channels(part, total.mean.shape or part.mean.shape)
    total = total.merge(part)
    RunningStatistics(total.mean, total.m2)  # raises where they are not finite
    return total


def _with_progress(batches: Iterable[npt.ArrayLike]) -> Any:
    """Return the batches, which now show a bar as they are read."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise ImportError(
            "progress=True needs the package tqdm, which cannot be imported. "
            'Run pip install "refbn[progress]", or leave progress out.'
        ) from error
    return tqdm(batches, unit="batch")
