"""The batch norm that remembers, over the shards of several workers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy.typing as npt

from refbn.axes import Array
from refbn.exchange import Communicator, check_communicator, told
from refbn.layer import BatchNorm
from refbn.sync import sync_batch_norm_backward, sync_batch_norm_train
from refbn.transform import Gradients


class SyncBatchNorm(BatchNorm):
    """A [`BatchNorm`][refbn.BatchNorm] whose batch is cut into shards, one on each worker.

    In training each call is one reduction, and so is each `backward`; all workers must take part,
    with an empty shard too. Their running statistics stay the same to the last bit. A call that
    raises on one worker raises on all of them, and leaves the layer of each as it was.

    In evaluation, or frozen, every worker is on its own, with its errors too; so all must be in the
    same mode. All layers must be made with the same options, and hold the same state: an `update`
    that raises on one worker only would part them.

    Gradients of `gamma` and `beta` are those of the worker's own shard: sum them over the workers,
    as those of all other parameters.

    Attributes:
        communicator: What the workers send through; the others are those of `BatchNorm`.

    Examples:
        One worker alone has what a BatchNorm has:

        >>> import numpy as np
        >>> class Alone:
        ...     rank = 0
        ...     def allreduce(self, part, op):
        ...         return part
        >>> bn = SyncBatchNorm(1, communicator=Alone(), eps=0.0)
        >>> bn(np.array([[1.0], [3.0]]))
        array([[-1.],
               [ 1.]])
    """

    __slots__ = ("communicator",)

    communicator: Communicator

    def __init__(self, channels: int, *, communicator: Communicator, **options: Any) -> None:
        """Make a layer in training mode, the same on every worker.

        Args:
            channels: Number of channels `C`.
            communicator: Anything with mpi4py's `rank` and `allreduce`.
            **options: What [`BatchNorm`][refbn.BatchNorm] takes.

        Raises:
            TypeError: If the communicator is none, and as `BatchNorm`.
            ValueError: As `BatchNorm`.
        """
        check_communicator(communicator)
        self.communicator = communicator
        super().__init__(channels, **options)

    def backward(self, dy: npt.ArrayLike) -> Gradients:
        """Return the gradients of the last call, in the mode that it was made in.

        Args:
            dy: Gradient of the loss with respect to the output of the last call.

        Returns:
            Gradients with respect to `x`, in full, and this shard's part of those with respect to
            `gamma` and `beta`; the layer keeps none of them.

        Raises:
            RuntimeError: On every worker, if the layer of one has not been called yet.
            TypeError: On every worker, if `dy` of one is not floating.
            ValueError: On every worker, if `dy` of one is not of the shape of the output.
        """
        if self._backward is None:
            with told(self.communicator):
                return super().backward(dy)
        return super().backward(dy)

    def _train(self, x: npt.ArrayLike, where: npt.ArrayLike | None) -> Array:
        with told(self.communicator):
            self._check_channels(x)
        y, cache = sync_batch_norm_train(
            x, self.gamma, self.beta, communicator=self.communicator, where=where, **self._how
        )
        back = partial(sync_batch_norm_backward, cache=cache, communicator=self.communicator)
        self._follow(cache.moments, back)
        return y
