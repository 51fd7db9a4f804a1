r"""What a law works with: a subject that takes and gives tables, and a way to say what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from refbn.axes import Array
from refbn.conventions import Convention
from refbn.diagnose.layout import Layout
from refbn.diagnose.subject import Start, Target


class Broken(Exception):  # noqa: N818
    """What a law raises when a subject does not keep it.

    Attributes:
        wrong: What is wrong, in words.
        given: What the subject was given, by name.
        got: What it gave.
        want: What it must give; None where many things would do.
    """

    def __init__(
        self, wrong: str, given: dict[str, Array], got: npt.ArrayLike, want: npt.ArrayLike | None
    ) -> None:
        """Say what is wrong.

        Args:
            wrong: What is wrong, in words.
            given: What the subject was given, by name.
            got: What it gave.
            want: What it must give.
        """
        super().__init__(wrong)
        self.wrong, self.given = wrong, given
        self.got = np.asarray(got)
        self.want = None if want is None else np.asarray(want)


@dataclass(frozen=True)
class Found:
    """The convention of a subject, as its behaviour shows it; None where it does not.

    Attributes:
        eps: What it adds to the variance.
        place: Where: `"inside"` the root, `"outside"`, or `"clamp"` for the larger of the two.
        ddof: 0 if it normalises with the biased variance, 1 if with the unbiased one.
        average: `"exponential"`, `"debiased exponential"`, `"cumulative"`, `"pooled"` or `"none"`.
        decay: Weight of the old value in an exponential average.
        stored_ddof: 0 if it stores the biased variance, 1 if the unbiased one.
        layouts: The layouts that it takes.
        infer_eps: What it adds to the variance at inference.
        precision: The dtype in which it computes, whatever dtype it returns.
        unread: What could not be read off, as it raised or came to no end.
    """

    eps: float | None = None
    place: str | None = None
    ddof: int | None = None
    average: str | None = None
    decay: float | None = None
    stored_ddof: int | None = None
    layouts: tuple[Layout, ...] = ()
    infer_eps: float | None = None
    precision: str = "float64"
    unread: tuple[str, ...] = ()


class Tables:
    """A subject in a layout: its batches and outputs are tables.

    Attributes:
        subject: The subject itself.
        layout: The layout.
        start: What the subject began with; the subject has a copy, which it may write to.
    """

    def __init__(self, target: Target, layout: Layout, start: Start) -> None:
        """Begin anew.

        Args:
            target: What makes the subject.
            layout: A layout that it takes.
            start: Parameters and running statistics.
        """
        self.layout, self.start = layout, start
        self.subject = target.make(Start(*map(np.copy, start)))

    def train(self, x: Array) -> Array:
        """Return the output in training."""
        return self._table(self.subject.train(self.layout.array(x)), x)

    def train_masked(self, x: Array, where: Array) -> Array:
        """Return the output in training under a mask."""
        y = self.subject.train_masked(self.layout.array(x), self.layout.array(where))
        return self._table(y, x)

    def train_on_workers(self, parts: Sequence[Array]) -> list[Array]:
        """Return the output of each worker."""
        outputs = self.subject.train_on_workers([self.layout.array(part) for part in parts])
        return [self._table(y, part) for y, part in zip(outputs, parts, strict=True)]

    def infer(self, x: Array) -> Array:
        """Return the output at inference."""
        return self._table(self.subject.infer(self.layout.array(x)), x)

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        """Return the gradients of the last batch in training."""
        dx, dgamma, dbeta = self.subject.backward(self.layout.array(dy))
        return self._table(dx, dy), dgamma, dbeta

    def statistics(self) -> tuple[Array, Array]:
        """Return the running mean and variance."""
        mean, var = self.subject.statistics()
        channels = len(self.start.gamma)
        return (
            per_channel("the running mean", mean, channels),
            per_channel("the running variance", var, channels),
        )

    def _table(self, y: Array, x: Array) -> Array:
        y = np.asarray(y)
        if y.shape != (expected := self.layout.array(x).shape):
            raise Broken(
                f"The result must have the shape {expected} of the batch; it has {y.shape}.",
                {"x": x},
                y,
                None,
            )
        return self.layout.table(y)


def per_channel(name: str, values: Array, channels: int) -> Array:
    """Return one number per channel, however many axes of length one are beside them.

    Args:
        name: What they are.
        values: The numbers.
        channels: How many there must be.

    Returns:
        Shape `(C,)`.

    Raises:
        Broken: If there are more or fewer.
    """
    values = np.asarray(values)
    if values.size != channels:
        raise Broken(
            f"There must be one number per channel in {name}; its shape is {values.shape} "
            f"for {channels} channel{'s' * (channels != 1)}.",
            {},
            values,
            None,
        )
    return values.ravel()


@dataclass
class Case:
    """A target, in one of its layouts, with what is known of it.

    Attributes:
        target: What is diagnosed.
        layout: The layout that the tables are put into.
        found: Its convention.
        like: The convention that it must follow, if one was said.
    """

    target: Target
    layout: Layout
    found: Found = field(default_factory=Found)
    like: Convention | None = None

    @property
    def unit(self) -> float:
        """The distance from 1 to the next number, in the precision of the target."""
        return float(np.finfo(self.found.precision).eps)

    def unit_of(self, statistics: Array) -> float:
        """Return the unit of running statistics, which may be kept in fewer digits than outputs."""
        own = np.finfo(statistics.dtype).eps if statistics.dtype.kind == "f" else 0.0
        return max(self.unit, float(own))

    def table(self, rows: npt.ArrayLike) -> Array:
        """Return a table of rows, with as many columns as the target was made for.

        Args:
            rows: Shape `(n, C)`.

        Returns:
            The rows; where the target has a number of channels, the columns again and again.
        """
        table = np.asarray(rows, np.float64)
        if self.target.channels is None:
            return table
        return table[:, np.arange(self.target.channels) % table.shape[1]]

    def begin(
        self,
        x: Array,
        gamma: npt.ArrayLike = 1.0,
        beta: npt.ArrayLike = 0.0,
        mean: npt.ArrayLike = 0.0,
        var: npt.ArrayLike = 1.0,
    ) -> Tables:
        """Return a new subject for batches with the columns of a table.

        Args:
            x: Table.
            gamma: Scale: a number, or one per column. It is 1 where the target has none.
            beta: Shift. It is 0 where the target has none.
            mean: Running mean.
            var: Running variance.

        Returns:
            The subject, which takes tables.
        """
        has = self.target.parameters
        gamma, beta = gamma if "gamma" in has else 1.0, beta if "beta" in has else 0.0
        start = (np.resize(np.asarray(v, np.float64), x.shape[1]) for v in (gamma, beta, mean, var))
        return Tables(self.target, self.layout, Start(*start))
