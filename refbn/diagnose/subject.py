r"""A batch norm as the laws see it: something that starts, trains, infers and goes backward.

Whoever wants to diagnose what is no function, module, layer or file derives from
[`Subject`][refbn.diagnose.Subject], writes the methods that theirs can do, and passes the class.
The laws about the others are then said not to apply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from refbn.axes import Array
from refbn.diagnose.layout import Layout

BOTH = frozenset({"gamma", "beta"})


class Lacking(Exception):  # noqa: N818
    """What a subject raises when it has no means to do what a law asks for.

    Attributes:
        args: What is lacking, in words that can follow "It has no".
    """


class Start(NamedTuple):
    """What a batch norm is made with, one number per channel.

    Attributes:
        gamma: Scale, shape `(C,)`.
        beta: Shift, shape `(C,)`.
        mean: Running mean before the first batch, shape `(C,)`.
        var: Running variance before the first batch, shape `(C,)`.
    """

    gamma: Array
    beta: Array
    mean: Array
    var: Array


class Subject:
    """A batch norm that is diagnosed. Derive from it, and write what yours can do.

    Attributes:
        layouts: The layouts that it takes, the one that it is made for first.
        channels: Number of channels, if it has been made for some; None if it takes any.
        parameters: Which of `"gamma"` and `"beta"` it has.

    Examples:
        >>> import numpy as np
        >>> class Mine(Subject):
        ...     def __init__(self, start):
        ...         super().__init__(start)
        ...         self.mean, self.var = start.mean, start.var
        ...
        ...     def train(self, x):
        ...         mean, var = x.mean(axis=0), x.var(axis=0)
        ...         self.mean = 0.9 * self.mean + 0.1 * mean
        ...         self.var = 0.9 * self.var + 0.1 * np.sqrt(var)
        ...         return self.start.gamma * (x - mean) / np.sqrt(var + 1e-5) + self.start.beta
        ...
        ...     def statistics(self):
        ...         return self.mean, self.var
        >>> from refbn.diagnose import check
        >>> [mistake.title for mistake in check(Mine).mistakes if mistake.law == "stored-variance"]
        ['The running variance follows the standard deviation']
    """

    layouts: Sequence[Layout] = (Layout(2, 1),)
    channels: int | None = None
    parameters: frozenset[str] = BOTH

    def __init__(self, start: Start) -> None:
        """Begin anew.

        Args:
            start: Parameters and running statistics.
        """
        self.start = start

    def train(self, x: Array) -> Array:
        """Return the output in training, and move the running statistics.

        Args:
            x: Batch, in one of the layouts.

        Returns:
            Output of the same shape.

        Raises:
            Lacking: If it cannot train.
        """
        raise Lacking("forward pass in training")

    def train_masked(self, x: Array, where: Array) -> Array:
        """Return the output in training, where only some values count.

        Args:
            x: Batch.
            where: Booleans of the shape of the batch; what is False does not count.

        Returns:
            Output of the same shape; what does not count may be anything.

        Raises:
            Lacking: If it knows no masks.
        """
        raise Lacking("support for masks")

    def train_on_workers(self, parts: Sequence[Array]) -> list[Array]:
        """Return the outputs of several workers that train together.

        Args:
            parts: The batch of each worker.

        Returns:
            The output of each worker.

        Raises:
            Lacking: If it does not synchronise.
        """
        raise Lacking("support for several workers")

    def infer(self, x: Array) -> Array:
        """Return the output at inference, from the running statistics.

        Args:
            x: Batch, in one of the layouts.

        Returns:
            Output of the same shape.

        Raises:
            Lacking: If it cannot infer.
        """
        raise Lacking("forward pass at inference")

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        """Return the gradients of the last batch in training.

        Args:
            dy: Gradient of the output.

        Returns:
            Gradients of `x`, `gamma` and `beta`; None for a parameter that it does not have.

        Raises:
            Lacking: If it has no backward pass.
        """
        raise Lacking("backward pass")

    def statistics(self) -> tuple[Array, Array]:
        """Return the running statistics as they are now.

        Returns:
            Running mean and running variance, `C` numbers each.

        Raises:
            Lacking: If it keeps none.
        """
        raise Lacking("running statistics")

    def folded(self) -> tuple[Array, Array]:
        """Return the straight line that inference is folded into.

        Returns:
            Scale and shift, `C` numbers each: inference is `scale * x + shift`.

        Raises:
            Lacking: If it does not fold.
        """
        raise Lacking("folding")


@dataclass(frozen=True)
class Target:
    """What an adapter makes of somebody's batch norm.

    Attributes:
        name: What the report calls it.
        make: Begins anew with parameters and running statistics.
        layouts: The layouts that may be tried.
        channels: Number of channels, if it has been made for some.
        parameters: Which of `"gamma"` and `"beta"` it has.
    """

    name: str
    make: Callable[[Start], Subject]
    layouts: Sequence[Layout]
    channels: int | None = None
    parameters: frozenset[str] = BOTH
