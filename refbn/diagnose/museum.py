r"""Wrong batch norms as they occur in the wild, each beside the law that catches it.

[`Right`][refbn.diagnose.museum.Right] is how everybody writes batch norm with NumPy, and it is
right. An exhibit is the same with a line or two written otherwise; nothing else differs. They are
here to be shown and to be recognised: a batch norm that breaks a law and gives the wrong numbers of
an exhibit has, most likely, its mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from refbn.axes import Array
from refbn.diagnose.layout import Layout
from refbn.diagnose.subject import Start, Subject


class Right(Subject):
    """Batch norm with NumPy, as it should be.

    Attributes:
        eps: What is added to the variance.
        decay: Weight of the old value in the running average.
        ddof: 1 to store the unbiased variance, 0 to store the biased one.
        channel_axis: The axis of the channels.
    """

    layouts = (Layout(2, 1), Layout(4, 1))
    eps, decay, ddof, channel_axis = 1e-5, 0.9, 1, 1
    where: Array | bool = True

    def __init__(self, start: Start) -> None:
        """Begin anew."""
        super().__init__(start)
        self.gamma, self.beta, self.running_mean, self.running_var = start

    def train(self, x: Array) -> Array:
        """Normalise with the statistics of the batch, and move the running ones."""
        x = self.precise(x)
        mean, var = self.moments(x)
        self.update(x, mean, var)
        return self.normalize(x, mean, var)

    def infer(self, x: Array) -> Array:
        """Normalise with the running statistics."""
        mean, var = self.per_channel(x, self.running_mean), self.per_channel(x, self.running_var)
        return self.normalize(x, mean, var)

    def backward(self, dy: Array) -> tuple[Array, Array, Array]:
        """Return the gradients of the last batch."""
        x, x_hat, inv_std = self.cache
        dx = self.per_channel(dy, self.gamma) * inv_std * self.centred(dy, x_hat)
        return dx, self.sum(dy * self.factor(x, x_hat, inv_std)), self.sum(dy)

    def train_masked(self, x: Array, where: Array) -> Array:
        """Normalise with the statistics of what counts."""
        self.where = where
        return self.train(x)

    def train_on_workers(self, parts: Sequence[Array]) -> list[Array]:
        """Normalise with the statistics of all workers together."""
        mean, var = self.moments_of_all(parts)
        return [self.normalize(self.precise(part), mean, var) for part in parts]

    def folded(self) -> tuple[Array, Array]:
        """Return inference as a scale and a shift."""
        scale = self.gamma * self.inv_std(self.running_var)
        return scale, self.beta - scale * self.running_mean

    def statistics(self) -> tuple[Array, Array]:
        """Return the running statistics."""
        return self.running_mean, self.running_var

    # What the exhibits write otherwise

    def axes(self, x: Array) -> tuple[int, ...]:
        """Return the axes that are averaged over."""
        return self.other_axes(x)

    def precise(self, x: Array) -> Array:
        """Return the batch in the precision to compute with."""
        return np.asarray(x.astype(np.result_type(x, np.float32)))

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Return mean and biased variance of a batch."""
        mean = self.mean(x)
        return mean, self.mean(np.square(x - mean))

    def moments_of_all(self, parts: Sequence[Array]) -> tuple[Array, Array]:
        """Return mean and biased variance of the batches of several workers."""
        counts = [self.count(part) for part in parts]
        means, variances = zip(*map(self.moments, map(self.precise, parts)), strict=True)
        mean = np.average(means, axis=0, weights=counts)
        return mean, np.average(variances + np.square(means - mean), axis=0, weights=counts)

    def inv_std(self, var: Array) -> Array:
        """Return one over the standard deviation."""
        return np.asarray(1 / np.sqrt(var + self.eps))

    def normalize(self, x: Array, mean: Array, var: Array) -> Array:
        """Return the output for given statistics, and keep what backward needs."""
        x_hat = (x - mean) * self.inv_std(var)
        self.keep(x, x_hat, self.inv_std(var))
        return np.asarray(self.per_channel(x, self.gamma) * x_hat + self.per_channel(x, self.beta))

    def keep(self, x: Array, x_hat: Array, inv_std: Array) -> None:
        """Keep what the backward pass needs."""
        self.cache = x, x_hat, inv_std

    def centred(self, dy: Array, x_hat: Array) -> Array:
        """Return dy without its parts along 1 and along x_hat."""
        return np.asarray(dy - self.mean(dy) - x_hat * self.mean(dy * x_hat))

    def factor(self, x: Array, x_hat: Array, inv_std: Array) -> Array:
        """Return what gamma multiplies, by which its gradient is taken."""
        return x_hat

    def update(self, x: Array, mean: Array, var: Array) -> None:
        """Move the running statistics, unless they would never recover."""
        if self.count(x) > self.ddof and np.isfinite(mean + var).all():
            self.running_mean = self.mix(self.running_mean, mean)
            self.running_var = self.mix(self.running_var, self.stored(x, var))

    def stored(self, x: Array, var: Array) -> Array:
        """Return the variance to store, of the biased variance of a batch."""
        n = self.count(x)
        return var * n / (n - self.ddof)

    def mix(self, old: Array, new: Array) -> Array:
        """Return the average after a batch."""
        return self.decay * old + (1 - self.decay) * new.ravel()

    # Shapes

    def other_axes(self, x: Array) -> tuple[int, ...]:
        """Return all axes but that of the channels."""
        return tuple(axis for axis in range(x.ndim) if axis != self.channel_axis % x.ndim)

    def per_channel(self, x: Array, values: Array) -> Array:
        """Return one number per channel, in a shape that fits the batch."""
        return np.asarray(np.expand_dims(values, self.other_axes(x)), x.dtype)

    def count(self, x: Array) -> int:
        """Return how many values a channel has."""
        return x.size // len(self.gamma)

    def mean(self, values: Array) -> Array:
        """Return the mean over a channel, of what counts."""
        return np.asarray(values.mean(axis=self.axes(values), keepdims=True, where=self.where))

    def sum(self, values: Array) -> Array:
        """Return the sum over a channel."""
        return np.asarray(values.sum(axis=self.other_axes(values)))


@dataclass(frozen=True)
class Exhibit:
    """A wrong batch norm.

    Attributes:
        name: Its name, words with hyphens.
        title: The mistake, in a few words.
        law: Name of the law that catches it.
        instead: What to write instead.
        wrong: The batch norm itself.
    """

    name: str
    title: str
    law: str
    instead: str
    wrong: type[Right]


EXHIBITS: list[Exhibit] = []
"""All exhibits."""


def caught_by(law: str, instead: str) -> Callable[[type[Right]], type[Right]]:
    """Return a decorator that puts a class into the museum; its docstring is the mistake.

    Args:
        law: Name of the law that catches it.
        instead: What to do instead.
    """

    def add(wrong: type[Right]) -> type[Right]:
        name = "".join(f"-{c.lower()}" if c.isupper() else c for c in wrong.__name__)[1:]
        title = (wrong.__doc__ or "").partition("\n")[0].rstrip(".")
        EXHIBITS.append(Exhibit(name, title, law, instead, wrong))
        return wrong

    return add


# The statistics of the batch


@caught_by("channels", "Reduce all axes but that of the channels.")
class FeatureAxes(Right):
    """Each example is normalised over its features."""

    def axes(self, x: Array) -> tuple[int, ...]:
        return tuple(range(1, x.ndim))

    def update(self, x: Array, mean: Array, var: Array) -> None:
        """Its statistics are not of channels."""


@caught_by("channels", "Reduce the axes of the image too.")
class BatchAxisOnly(Right):
    """Each pixel is normalised on its own."""

    def axes(self, x: Array) -> tuple[int, ...]:
        return (0,)

    def update(self, x: Array, mean: Array, var: Array) -> None:
        """Its statistics are of channels with vectors only."""
        if x.ndim == 2:
            super().update(x, mean, var)


@caught_by("channels", "Reduce the axis of the examples too.")
class InstanceAxes(Right):
    """Each example is normalised on its own, channel by channel."""

    def axes(self, x: Array) -> tuple[int, ...]:
        return tuple(axis for axis in self.other_axes(x) if axis != 0)

    def update(self, x: Array, mean: Array, var: Array) -> None:
        """Its statistics are not of channels."""


@caught_by("channels", "Keep the axis of the channels, wherever the layout has it.")
class OtherLayout(Right):
    """The axes of another layout are reduced."""

    def axes(self, x: Array) -> tuple[int, ...]:
        kept = 1 if self.channel_axis == -1 else -1
        return tuple(axis for axis in range(x.ndim) if axis != kept % x.ndim)

    def update(self, x: Array, mean: Array, var: Array) -> None:
        """Its statistics are of channels with vectors only."""
        if x.ndim == 2:
            super().update(x, mean, var)


@caught_by("units", "Divide by the root of the variance.")
class RootForgotten(Right):
    """The variance divides, not its root."""

    def inv_std(self, var: Array) -> Array:
        return np.asarray(1 / (var + self.eps))


@caught_by("spread", "Divide by the root of the variance.")
class SquareForRoot(Right):
    """The square of the variance divides, not its root."""

    def inv_std(self, var: Array) -> Array:
        return np.asarray(1 / np.square(var + self.eps))


@caught_by("epsilon", "Add epsilon to the variance, then take the root.")
class EpsilonOutside(Right):
    """Epsilon is added to the standard deviation."""

    def inv_std(self, var: Array) -> Array:
        return np.asarray(1 / (np.sqrt(var) + self.eps))


@caught_by("constant", "Add epsilon to the variance; a constant channel has none of its own.")
class EpsilonForgotten(Right):
    """Nothing is added to the variance."""

    def inv_std(self, var: Array) -> Array:
        return np.asarray(1 / np.sqrt(var))


@caught_by("epsilon", "Add epsilon to the variance, also where it is large.")
class EpsilonAsBound(Right):
    """Epsilon is a lower bound of the variance."""

    def inv_std(self, var: Array) -> Array:
        return np.asarray(1 / np.sqrt(np.maximum(var, self.eps)))


@caught_by("spread", "Normalise with the biased variance; the unbiased one is for storing.")
class UnbiasedNormalises(Right):
    """The unbiased variance normalises."""

    def moments(self, x: Array) -> tuple[Array, Array]:
        mean, var = super().moments(x)
        return mean, var * self.count(x) / (self.count(x) - 1)


@caught_by("offset", "Subtract the mean before you square.")
class SquareOfMeanSubtracted(Right):
    """The variance is the mean square minus the square of the mean."""

    def moments(self, x: Array) -> tuple[Array, Array]:
        mean = self.mean(x)
        return mean, self.mean(np.square(x)) - np.square(mean)


@caught_by("offset", "Subtract the mean before you square; a bound hides the loss.")
class SquareOfMeanClamped(Right):
    """The variance is the mean square minus the square of the mean, or 0."""

    def moments(self, x: Array) -> tuple[Array, Array]:
        mean = self.mean(x)
        return mean, np.maximum(self.mean(np.square(x)) - np.square(mean), 0)


@caught_by("training", "In training, normalise with the statistics of the batch.")
class RunningInTraining(Right):
    """The running statistics normalise in training too."""

    def train(self, x: Array) -> Array:
        self.update(x, *self.moments(x))
        return self.infer(x)


@caught_by("half-precision", "Compute the statistics in float32 or more.")
class HalfStatistics(Right):
    """The statistics of a float16 batch are computed in float16."""

    def precise(self, x: Array) -> Array:
        return x


@caught_by("mask", "Divide by the number of values that count.")
class MaskInNumeratorOnly(Right):
    """What is masked is not added, but counted."""

    def mean(self, values: Array) -> Array:
        return np.asarray(np.mean(values * self.where, axis=self.axes(values), keepdims=True))


@caught_by("mask", "Leave out what is masked: a zero counts.")
class ZerosForMasked(Right):
    """What is masked is set to zero, and counted."""

    def train_masked(self, x: Array, where: Array) -> Array:
        return self.train(x * where)


@caught_by("workers", "Weigh the statistics of each worker by its number of values.")
class EqualWorkers(Right):
    """The statistics of all workers weigh alike, however many values each has."""

    def moments_of_all(self, parts: Sequence[Array]) -> tuple[Array, Array]:
        means = [self.mean(part) for part in parts]
        squares = [self.mean(np.square(part)) for part in parts]
        mean = np.mean(means, axis=0)
        return mean, np.mean(squares, axis=0) - np.square(mean)


# The backward pass


@caught_by("gradient", "Let the gradient pass through mean and variance.")
class StatisticsDetached(Right):
    """Mean and variance are taken for constants in the backward pass."""

    def centred(self, dy: Array, x_hat: Array) -> Array:
        return dy


@caught_by("gradient-along-ones", "Subtract the mean of dy: the batch mean moves with each value.")
class MeanTermDropped(Right):
    """The gradient does not pass through the mean."""

    def centred(self, dy: Array, x_hat: Array) -> Array:
        return np.asarray(dy - x_hat * self.mean(dy * x_hat))


@caught_by("gradient-along-ones", "Divide the sum by the number of values.")
class SumForMean(Right):
    """The sum of dy is subtracted, not its mean."""

    def centred(self, dy: Array, x_hat: Array) -> Array:
        return np.asarray(dy - self.count(dy) * self.mean(dy) - x_hat * self.mean(dy * x_hat))


@caught_by("gradient-along-x", "Subtract the part of dy along x_hat: the variance moves too.")
class VarianceTermDropped(Right):
    """The gradient does not pass through the variance."""

    def centred(self, dy: Array, x_hat: Array) -> Array:
        return np.asarray(dy - self.mean(dy))


@caught_by("gradient", "Multiply with gamma, through which the output was scaled.")
class GammaLeftOut(Right):
    """The gradient of x is not multiplied with gamma."""

    def backward(self, dy: Array) -> tuple[Array, Array, Array]:
        x, x_hat, inv_std = self.cache
        dx = inv_std * self.centred(dy, x_hat)
        return dx, self.sum(dy * self.factor(x, x_hat, inv_std)), self.sum(dy)


@caught_by("gradient-of-gamma", "Multiply dy with the normalised batch, mean subtracted.")
class GammaGradientFromX(Right):
    """The gradient of gamma is taken with x, from which no mean was subtracted."""

    def factor(self, x: Array, x_hat: Array, inv_std: Array) -> Array:
        return x * inv_std


@caught_by("last-batch", "Return the cache with the output, or replace it in every forward pass.")
class StaleCache(Right):
    """The backward pass uses what an earlier forward pass has kept."""

    def keep(self, x: Array, x_hat: Array, inv_std: Array) -> None:
        if not hasattr(self, "cache"):
            super().keep(x, x_hat, inv_std)


# The running statistics


@caught_by("memory", "Ask which value the number weighs: 0.9 for the old one is 0.1 for the new.")
class MomentumReversed(Right):
    """The weights of the old and the new value are exchanged."""

    def mix(self, old: Array, new: Array) -> Array:
        return (1 - self.decay) * old + self.decay * new.ravel()


@caught_by("stored-variance", "Store the variance: inference takes its root.")
class StandardDeviationStored(Right):
    """The running variance follows the standard deviation."""

    def stored(self, x: Array, var: Array) -> Array:
        n = self.count(x)
        return np.sqrt(var) * n / (n - self.ddof)


@caught_by("stored-variance", "Add epsilon where you divide, not where you store.")
class EpsilonStored(Right):
    """Epsilon is stored with the variance, and added again at inference."""

    def stored(self, x: Array, var: Array) -> Array:
        n = self.count(x)
        return (var + self.eps) * n / (n - self.ddof)


@caught_by("convention", "Multiply the variance by n / (n - 1) before it is stored.")
class BiasedStored(Right):
    """The biased variance is stored where the unbiased one is due."""

    ddof = 0


@caught_by("stored-variance", "Begin at 0 what is divided by 1 - decay^t.")
class DebiasedFromOne(Right):
    """A running variance that began at 1 is corrected as if it had begun at 0."""

    batches = 0

    def update(self, x: Array, mean: Array, var: Array) -> None:
        if self.batches == 0:
            self.running_mean = 0 * self.running_mean
        super().update(x, mean, var)
        self.batches += 1

    def statistics(self) -> tuple[Array, Array]:
        grown = 1 - self.decay**self.batches if self.batches else 1
        return self.running_mean / grown, self.running_var / grown

    def infer(self, x: Array) -> Array:
        mean, var = (self.per_channel(x, value) for value in self.statistics())
        return self.normalize(x, mean, var)


@caught_by("average", "Assign what the average returns.")
class NeverMoved(Right):
    """The running statistics stay where they began."""

    def update(self, x: Array, mean: Array, var: Array) -> None:
        self.mix(self.running_mean, mean)


@caught_by("one-value", "Store the variance of two values or more; one value has none.")
class SingleValueStored(Right):
    """The unbiased variance of a single value, 0 / 0, is stored."""

    ddof = 1

    def update(self, x: Array, mean: Array, var: Array) -> None:
        if np.isfinite(mean + var).all():
            self.running_mean = self.mix(self.running_mean, mean)
            self.running_var = self.mix(self.running_var, self.stored(x, var))

    def stored(self, x: Array, var: Array) -> Array:
        return np.asarray(np.divide(var * self.count(x), self.count(x) - 1))


@caught_by("one-bad-batch", "Look at the statistics before you store them.")
class BadBatchStored(Right):
    """A batch that is not finite reaches the running statistics."""

    def update(self, x: Array, mean: Array, var: Array) -> None:
        if self.count(x) > self.ddof:
            self.running_mean = self.mix(self.running_mean, mean)
            self.running_var = self.mix(self.running_var, self.stored(x, var))


# Inference


@caught_by("alone", "Normalise with the running statistics once training is over.")
class BatchAtInference(Right):
    """The statistics of the batch normalise at inference too."""

    def infer(self, x: Array) -> Array:
        return self.normalize(x, *self.moments(x))


@caught_by("inference-keeps", "Move the running statistics in training only.")
class MovedAtInference(Right):
    """The running statistics move at inference too."""

    def infer(self, x: Array) -> Array:
        y = super().infer(x)
        self.update(x, *self.moments(x))
        return y


@caught_by("same-epsilon", "Keep one epsilon for both.")
class OtherEpsilonAtInference(Right):
    """Inference adds another epsilon than training did."""

    def infer(self, x: Array) -> Array:
        mean, var = self.per_channel(x, self.running_mean), self.per_channel(x, self.running_var)
        return self.normalize(x, mean, var + 99 * self.eps)


@caught_by("folding", "Take the epsilon of the layer that is folded.")
class OtherEpsilonFolded(Right):
    """Folding adds another epsilon than the layer does."""

    def folded(self) -> tuple[Array, Array]:
        scale = self.gamma / np.sqrt(self.running_var + 100 * self.eps)
        return scale, self.beta - scale * self.running_mean
