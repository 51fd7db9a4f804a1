r"""Tables, and the shapes in which a batch norm takes them.

To batch norm an array is a table: one column for each channel, one row for each value that the
channel has in the batch. The laws speak of tables; a layout puts one into the shape that is wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from refbn.axes import Array


@dataclass(frozen=True)
class Layout:
    """A number of axes, and which of them holds the channels.

    Attributes:
        rank: Number of axes, 2 or more.
        channel_axis: The axis of the channels: 1, or -1 for the last.

    Examples:
        >>> Layout(4, 1).array(np.arange(8.0).reshape(4, 2)).shape
        (2, 2, 1, 2)
        >>> Layout(4, -1).array(np.arange(8.0).reshape(4, 2)).shape
        (2, 1, 2, 2)
    """

    rank: int = 2
    channel_axis: int = 1

    def array(self, table: Array) -> Array:
        """Put a table into this layout.

        Args:
            table: Shape `(n, C)`.

        Returns:
            The same values with `rank` axes. As many of the axes within an example as `n` allows
            have the length 2, the last one first, so that a mean over one of them is none over all.
        """
        n, channels = table.shape
        within: list[int] = []
        for _ in range(self.rank - 2):
            within.insert(0, 2 if n % 2 == 0 and n > 2 else 1)
            n //= within[0]
        return np.moveaxis(table.reshape(n, *within, channels), -1, self.channel_axis).copy()

    def table(self, array: Array) -> Array:
        """Take the table out again.

        Args:
            array: An array in this layout.

        Returns:
            Shape `(n, C)`.
        """
        last = np.moveaxis(array, self.channel_axis, -1)
        return last.reshape(math.prod(last.shape[:-1]), last.shape[-1])
