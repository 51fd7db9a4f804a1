"""What the suites written by others share."""

import numpy as np


def difference(ours, theirs):
    """Return the largest difference in units of the largest value, or of 1 where all are smaller.

    A NaN on one side gives NaN, which is below no tolerance.
    """
    ours, theirs = (np.asarray(values, dtype=np.float64) for values in (ours, theirs))
    assert ours.shape == theirs.shape
    return float(np.max(np.abs(ours - theirs)) / max(1.0, np.max(np.abs(theirs))))
