r"""What inference normalises with: statistics gathered over many batches.

A running statistic is not the [`Moments`][refbn.Moments] of anything. An exponential average has
no count, so it cannot be merged with another; that is why it has a type of its own.

The rules that update it are functions `(running, moments) -> running`. They are given a value and
return a new one, so an update that fails leaves nothing half done.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from refbn.axes import Array, propagate_silently
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
        return cls(np.zeros(channels), np.ones(channels), 0)


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
    if not 0 <= decay <= 1:
        raise ValueError(
            f"decay must lie between 0 and 1, the weight of the old value; got decay={decay}. "
            "The usual value is 0.9."
        )
    return _blend(running, moments, decay, ddof)


def cumulative_average(
    running: RunningStatistics, moments: Moments, *, ddof: int = 1, **unknown: Any
) -> RunningStatistics:
    r"""Average the statistics of all batches so far with equal weight.

    $$\text{new} = \text{old} + \frac{\text{batch} - \text{old}}{t}, \qquad t = 1, 2, \dots$$

    The first batch replaces the start completely. Every batch counts the same, so the result is
    for a model that no longer changes. The variance *between* the batches is not in it.

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


def debiased_average(
    running: RunningStatistics,
    moments: Moments,
    *,
    decay: float = 0.9,
    ddof: int = 1,
    **unknown: Any,
) -> RunningStatistics:
    r"""Average exponentially, without the start: the first batch replaces it (stand-in).

    Args:
        running: Statistics so far.
        moments: Moments of a batch, each field of shape `(C,)`.
        decay: As in [`exponential_average`][refbn.exponential_average], but below 1.
        ddof: 1 averages unbiased variances of the batches, 0 biased ones.
        **unknown: Nothing else.

    Returns:
        New statistics; the old ones are unchanged.
    """
    _refuse("debiased_average", unknown)
    t = running.num_batches + 1
    return _blend(running, moments, decay * (1 - decay ** (t - 1)) / (1 - decay**t), ddof)


def _refuse(function: str, unknown: dict[str, Any]) -> None:
    """Raise a TypeError for unknown keywords, with the translation where the word is `momentum`."""
    if "momentum" in unknown:
        momentum = unknown["momentum"]
        raise TypeError(
            "exponential_average() takes decay, the weight of the old value, not momentum, which "
            f"means opposite things in different frameworks; got momentum={momentum!r}. From "
            f"PyTorch pass decay=1-{momentum!r}, from Keras, Flax or ONNX decay={momentum!r}; "
            "cumulative_average() has neither."
        )
    if unknown:
        raise TypeError(
            f"{function}() got unexpected keyword arguments {sorted(unknown)}. Look for a slip in "
            "their spelling; BatchNorm passes on here what is not one of its own, which are eps, "
            "channel_axis, gamma, beta and update."
        )


@propagate_silently  # what is not finite is refused with a message of its own
def _blend(
    running: RunningStatistics, moments: Moments, decay: float, ddof: int
) -> RunningStatistics:
    """Return decay * old + (1 - decay) * batch for both statistics."""
    if moments.mean.shape != running.mean.shape:
        raise ValueError(
            f"the moments must have one value per channel, shape {running.mean.shape}; "
            f"got moments.mean.shape={moments.mean.shape}. "
            "Take them over all axes but that of the channels."
        )
    mean = decay * running.mean + (1.0 - decay) * moments.mean
    var = decay * running.var + (1.0 - decay) * moments.var(ddof)
    return RunningStatistics(mean, var, running.num_batches + 1)
